# shellcheck shell=bash
# dev.d/server.sh - the running instance: up, down, env, pid, logs, demo, bench, conformance.
#
# `waymarkd dev --state DIR` starts PostgreSQL, Redis and the dev issuer, and writes into DIR
# pid files, logs and dev.env (KEY=VALUE lines: addresses, sockets, users); see server/dev/state.h.

PORT=${WAYMARK_PORT:-7654}
STATE=$WORK_DIR
START_SECONDS=120 # the first start makes a database cluster
LOG_SIZE_MAX=$((64 << 20)) # then `up` begins a new one and keeps the old as .1
STOP_SECONDS=40   # drains calls, then checkpoints PostgreSQL

# is_running PID NAME: a pid file may be older than the process that has its number now.
is_running() {
    [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && ! is_gone "$1"
}

# A process that nobody has waited for yet is gone too.
is_gone() {
    [ ! -d "/proc/$1" ] || grep -qs '^State:.[ZX]' "/proc/$1/status"
}

# find_pid NAME: of this checkout's waymarkd, PostgreSQL or Redis; nothing when it does not run.
find_pid() {
    local name=$1 comm=$1 file=$STATE/$1.pid pid
    case $name in
        waymarkd | postgres) ;;
        redis) comm=redis-server ;;
        *) die 2 "pid: unknown name $name (waymarkd, postgres, redis)" ;;
    esac
    [ -r "$file" ] || return 1
    pid=$(head -n 1 "$file")
    is_running "$pid" "$comm" || return 1
    printf '%s\n' "$pid"
}

cmd_pid() {
    find_pid "${1:-waymarkd}" || die 1 "${1:-waymarkd} is not running (./dev up starts it)"
}

# Reads one value of dev.env.
dev_env() {
    sed -n "s/^$1=//p" "$STATE/dev.env" 2>/dev/null | head -n 1
}

waymark() {
    WAYMARK_ADDRESS=$(dev_env WAYMARK_ADDRESS) WAYMARK_ISSUER=$(dev_env WAYMARK_ISSUER) \
        WAYMARK_STATE=$STATE \
        "$BIN_DIR/waymark" "$@"
}

serves() {
    find_pid waymarkd >/dev/null && waymark health >/dev/null 2>&1
}

# True when the running program is the one that is built now.
runs_what_is_built() {
    local pid
    pid=$(find_pid waymarkd) && cmp -s "/proc/$pid/exe" "$BIN_DIR/waymarkd"
}

cmd_up() {
    local foreground='' fresh=()
    while [ $# -gt 0 ]; do
        case $1 in
            --foreground) foreground=1 ;;
            --fresh) fresh=(--fresh) ;;
            '') ;; # as cmd_demo calls it
            *) die 2 "up: unknown option $1" ;;
        esac
        shift
    done
    need build run
    build_programs
    build_python_client
    if [ -z "$foreground${fresh[*]}" ] && runs_what_is_built && serves; then
        step "waymark is running already"
        print_welcome
        return
    fi
    stop_server # an older build, or a half-started one; the state stays unless --fresh
    if [ -n "$foreground" ]; then
        exec "$BIN_DIR/waymarkd" dev --state "$STATE" --listen "127.0.0.1:$PORT" "${fresh[@]}"
    fi
    start_server "${fresh[@]}"
    print_welcome
}

start_server() {
    local pid log=$STATE/waymarkd.log
    step "Starting waymark"
    mkdir -p "$STATE"
    rm -f "$STATE/waymarkd.pid"
    if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt "$LOG_SIZE_MAX" ]; then
        mv -f "$log" "$log.1"
    fi
    setsid "$BIN_DIR/waymarkd" dev --state "$STATE" --listen "127.0.0.1:$PORT" "$@" \
        </dev/null >>"$log" 2>&1 &
    pid=$!
    if ! wait_for "$START_SECONDS" serves_or_died "$pid" || ! serves; then
        tail -n 20 "$log" >&2
        kill "$pid" 2>/dev/null || true
        die 1 "waymark did not start; its log is $log"
    fi
}

serves_or_died() {
    serves || ! kill -0 "$1" 2>/dev/null
}

# In this order: where it listens, how to get a token, three lines to paste.
print_welcome() {
    local address
    address=$(dev_env WAYMARK_ADDRESS)
    cat <<END

waymark listens on $address (gRPC without TLS, reflection is on)
  its log is $STATE/waymarkd.log

A token, good for an hour, from the development issuer:
  export TOKEN=\$($BIN_DIR/waymark token --state $STATE --sub alice --role operator)

Three lines to paste after it, by grpcurl, the waymark command and Python:
  grpcurl -plaintext -H "authorization: Bearer \$TOKEN" $address waymark.auth.v1.AuthService/WhoAmI
  $BIN_DIR/waymark --address $address --token "\$TOKEN" whoami
  PYTHONPATH=$WORK_DIR/python /usr/bin/python3 -c 'import grpc, os; from waymark.auth.v1 import auth_service_pb2 as m, auth_service_pb2_grpc as s; print(s.AuthServiceStub(grpc.insecure_channel("$address")).WhoAmI(m.WhoAmIRequest(), metadata=[("authorization", "Bearer " + os.environ["TOKEN"])]))'

eval "\$(./dev env)" brings waymark, psql and redis-cli into this shell; ./dev demo shows what it does.
END
}

# Ends what is left of an instance: the server, which stops PostgreSQL and Redis itself, and these
# two where the server was killed before it could.
stop_server() {
    local name pid signal
    for name in waymarkd postgres redis; do
        pid=$(find_pid "$name") || continue
        step "Stopping $name"
        signal=TERM
        [ "$name" = postgres ] && signal=INT # fast shutdown: do not wait for sessions
        kill -s "$signal" "$pid" 2>/dev/null || true
        wait_for "$STOP_SECONDS" is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
    done
}

# The database lies outside the state directory where its user could not reach it inside.
remove_data() {
    local data
    data=$(dirname "$(dev_env PGHOST)")
    case $data in
        /var/tmp/waymark-*) rm -rf "$data" ;;
    esac
}

cmd_down() {
    stop_server
    step "waymark is down"
}

cmd_logs() {
    case ${1:-} in
        -f) tail -n 100 -f "$STATE/waymarkd.log" ;;
        '') cat "$STATE/waymarkd.log" ;;
        *) die 2 "logs: unknown option $1" ;;
    esac
}

# Prints `export NAME='VALUE'`, safe to eval whatever the value holds.
print_export() {
    local value=$2
    printf "export %s='%s'\n" "$1" "${value//\'/\'\\\'\'}"
}

cmd_env() {
    local key token
    serves || die 1 "waymark is not running (./dev up starts it)"
    token=$(waymark token --sub dev-admin --expires 24h) || die 1 "the dev issuer gave no token"
    while IFS='=' read -r key value; do
        [[ $key =~ ^[A-Z][A-Z0-9_]*$ ]] && [ "$key" != WAYMARK_TOKEN ] && print_export "$key" "$value"
    done <"$STATE/dev.env"
    print_export WAYMARK_TOKEN "$token"
    print_export WAYMARK_STATE "$STATE"
    # shellcheck disable=SC2016 # the reader's shell expands it
    printf '%s:"$PATH"\n' "$(print_export PATH "$BIN_DIR")"
    # redis-cli reads no socket from its environment.
    # shellcheck disable=SC2016
    printf 'redis-cli() { command redis-cli -s "$REDIS_SOCKET" "$@"; }\n'
}


cmd_demo() {
    if asks_for_help "$@"; then
        build_programs
        "$BIN_DIR/waymark" demo --help
        return
    fi
    cmd_up "" >/dev/null
    cd "$CALLER_DIR" || return
    WAYMARK_TOKEN=$(waymark token --sub dev-admin) waymark demo "$@"
}

# The bench has a server of its own, with fresh state, so that neither disturbs the other. It also
# listens through the gate, on the next port.
BENCH_PORT=$((PORT + 10))
BENCH_GATE_PORT=$((PORT + 11))

# with_bench_server COMMAND ARGUMENT...: runs it beside that server.
with_bench_server() {
    local status=0
    (
        STATE=$WORK_DIR/bench
        PORT=$BENCH_PORT
        trap stop_server EXIT
        stop_server
        start_server --fresh --listen "127.0.0.1:$BENCH_GATE_PORT,gate=always"
        eval "$(cmd_env)"
        "$@"
    ) || status=$?
    return "$status"
}

build_bench() {
    local label bin
    need build run
    build_programs
    bazel_run opt build "$@"
    bin=$(bazel_bin opt)
    for label in "$@"; do
        label=${label#//}
        publish "$bin/${label/:/\/}" "${label#*:}"
    done
}

# compare OPTION...: of tests/bench/compare.py.
compare() {
    /usr/bin/python3 tests/bench/compare.py --load "$BIN_DIR/h2_load" "$@"
}

# bench grpcpp: the call runtime beside grpc++; in the same rounds waymarkd's health check and a call
# with a token.
bench_grpcpp() {
    local pid
    pid=$(cmd_pid waymarkd)
    compare "$@" \
        --beside waymarkd-health "$BENCH_PORT" "$pid" /grpc.health.v1.Health/Check \
        --beside waymarkd-whoami "$BENCH_PORT" "$pid" /waymark.auth.v1.AuthService/WhoAmI \
        "$WAYMARK_TOKEN" \
        -- waymark="$BIN_DIR/interop_server" grpc++="$BIN_DIR/grpcpp_async"
}

# bench gate: a call with a token through the gate, beside the same without it.
bench_gate() {
    local pid
    pid=$(cmd_pid waymarkd)
    compare "$@" \
        --beside gate "$BENCH_GATE_PORT" "$pid" /waymark.auth.v1.AuthService/WhoAmI "$WAYMARK_TOKEN" \
        --beside direct "$BENCH_PORT" "$pid" /waymark.auth.v1.AuthService/WhoAmI "$WAYMARK_TOKEN"
}

# The rows of waymark_bench; with --gate first, through the gate.
bench_rows() {
    if [ "${1:-}" = --gate ]; then
        shift
        export WAYMARK_ADDRESS=127.0.0.1:$BENCH_GATE_PORT
    fi
    cd "$CALLER_DIR" && waymark_bench "$@"
}

cmd_bench() {
    case ${1:-} in
        grpcpp)
            shift
            need build run grpcpp
            build_bench //tests/bench:h2_load //tests/bench:grpcpp_async
            bazel_run opt build //tests/interop:server
            publish "$(bazel_bin opt)/tests/interop/server" interop_server
            with_bench_server bench_grpcpp "$@"
            ;;
        gate)
            shift
            build_bench //tests/bench:h2_load
            with_bench_server bench_gate "$@"
            ;;
        cel)
            shift
            run_beside_cel_go speed "$@"
            ;;
        *)
            build_bench //tests/bench:waymark_bench
            if asks_for_help "$@"; then
                "$BIN_DIR/waymark_bench" --help
            else
                with_bench_server bench_rows "$@"
            fi
            ;;
    esac
}

cmd_conformance() {
    local name=${1:-} file
    file=$(absolute "${2:-}")
    { [ -n "$name" ] && [ -f "$file" ] && [ -r "$file" ]; } ||
        die 2 "usage: ./dev conformance NAME FILE.jsonl (a file that can be read)"
    [[ $name =~ ^[a-z_]+$ ]] || die 2 "conformance: bad name $name"
    grep -qs "\"$name\"" tests/conformance/BUILD ||
        die 2 "conformance: there is no $name in tests/conformance"
    need build
    step "Building the $name cases' judge"
    bazel_run opt build "//tests/conformance:$name"
    "$(bazel_bin opt)/tests/conformance/$name" "$file"
}
