# shellcheck shell=bash disable=SC2034 # other parts use these names
# dev.d/common.sh - words, colours and small helpers that the other parts use.

WORK_DIR=$ROOT/.waymark # what up, test and build leave; git-ignored
BIN_DIR=$WORK_DIR/bin

if [ -t 2 ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' RED='' PLAIN=''
fi

# Progress goes to stderr, so that the output of `env`, `pid` and `bench --json` stays clean.
step() {
    printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2
}

note() {
    printf '%s    %s%s\n' "$DIM" "$*" "$PLAIN" >&2
}

# die STATUS MESSAGE...
die() {
    local status=$1
    shift
    printf '%s./dev: %s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit "$status"
}

# absolute PATH: as seen from where ./dev was called.
absolute() {
    case $1 in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s/%s\n' "${CALLER_DIR:-$PWD}" "$1" ;;
    esac
}

have() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die 1 "need root for: $* (become root, or install sudo)"
    fi
}

# wait_for SECONDS COMMAND...: true as soon as COMMAND is.
wait_for() {
    local tries=$(($1 * 10))
    shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.1
    done
}

asks_for_help() {
    case " $* " in
        *" --help "* | *" -h "*) return 0 ;;
        *) return 1 ;;
    esac
}
