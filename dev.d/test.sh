# shellcheck shell=bash
# dev.d/test.sh - every test, and the count at the end.

GRPCURL_MODULE=github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.1

# The labels to test, one a line: all, or those that hold one of the filters.
test_labels() {
    local labels
    # A BUILD file that does not load would hide its tests: then nothing is tested.
    labels=$(bazel query --noshow_progress --output=label 'tests(//...)' 2>"$WORK_DIR/query.log") || {
        cat "$WORK_DIR/query.log" >&2
        die 1 "not all BUILD files can be read"
    }
    labels=$(sort <<<"$labels")
    if [ $# -gt 0 ]; then
        labels=$(grep -F "$(printf '%s\n' "$@")" <<<"$labels" || true)
    fi
    printf '%s\n' "$labels"
}

# without_tag TAG: of the labels on stdin those whose target does not have it.
without_tag() {
    local tagged
    tagged=$(bazel query --noshow_progress --output=label "attr(tags, '\\b$1\\b', tests(//...))" 2>/dev/null)
    grep -vxF "${tagged:-none}" || true
}

# find_go_tool NAME MODULE@VERSION: where the program is.  It is not in Debian: where Go is at hand it
# is built once; else nothing is printed and its tests say they skip.
find_go_tool() {
    local name=$1 module=$2 dir=$WORK_DIR/tools
    if have "$name"; then
        command -v "$name"
    elif [ -x "$dir/$name" ]; then
        printf '%s\n' "$dir/$name"
    elif have go; then
        step "Building $name ${module##*@}"
        if GOBIN=$dir GOFLAGS=-mod=mod go install -p 1 "$module" >&2; then
            printf '%s\n' "$dir/$name"
        fi
    fi
}

find_grpcurl() {
    find_go_tool grpcurl "$GRPCURL_MODULE"
}

# tool_environment VARIABLE NAME MODULE@VERSION: tells tests of a tool, or people that it is missing.
tool_environment() {
    local found
    found=$(find_go_tool "$2" "$3")
    if [ -n "$found" ]; then
        printf '%s\n' "--test_env=$1=$found"
    else
        note "skipped: tests by $2 (neither $2 nor go is here)"
    fi
}

# What tests get from outside the tree, as Bazel options.
test_environment() {
    local grpc_go cel_go shared
    tool_environment GRPCURL grpcurl "$GRPCURL_MODULE"
    tool_environment GRPC_HEALTH_PROBE grpc-health-probe \
        github.com/grpc-ecosystem/grpc-health-probe@v0.4.25
    tool_environment GHZ ghz github.com/bojand/ghz/cmd/ghz@v0.120.0
    tool_environment H2SPEC h2spec github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
    grpc_go=$(find_grpc_go)
    if [ -n "$grpc_go" ]; then
        printf '%s\n' "--test_env=GRPC_GO_INTEROP=$grpc_go"
    else
        note "skipped: interop cases with grpc-go (go is not here)"
    fi
    cel_go=$(find_cel_go)
    if [ -n "$cel_go" ]; then
        printf '%s\n' "--test_env=CEL_GO_PEER=$cel_go"
    else
        note "skipped: expressions beside cel-go (go is not here)"
    fi
    shared=$(cd "$ROOT/../shared" 2>/dev/null && pwd) || true
    if [ -n "$shared" ]; then
        printf '%s\n' "--test_env=WAYMARK_SHARED=$shared"
    else
        note "skipped: cases and tracks of ../shared (the folder is not here)"
    fi
}

# run_tests CONFIG LABEL...: prints Bazel's progress; leaves the events in a file.
run_tests() {
    local config=$1 environment
    shift
    mapfile -t environment < <(test_environment)
    bazel_run "$config" test --keep_going --local_test_jobs=2 --test_summary=short \
        --build_event_json_file="$WORK_DIR/test-events.json" "${environment[@]}" -- "$@"
}

cmd_test() {
    local config=opt found labels status=0
    if [ "${1:-}" = --clients ]; then
        shift
        test_clients "$@"
        return
    fi
    while [ $# -gt 0 ] && [[ $1 == --* ]]; do
        config=$(config_option "$1") || die 2 "test: unknown option $1"
        shift
    done
    need build run test grpcpp # the peer of h2spec's cases
    mkdir -p "$WORK_DIR"
    found=$(test_labels "$@")
    case $config in
        asan | tsan) found=$(without_tag no-sanitizer <<<"$found") ;;
    esac
    [ -n "$found" ] || die 1 "no test matches: $*"
    mapfile -t labels <<<"$found"
    step "Testing ${#labels[@]} targets ($config)"
    run_tests "$config" "${labels[@]}" || status=$?
    # Bazel: 0 all passed, 1 build failed, 3 some tests failed; the count below says which.
    if [ "$status" -ne 0 ] && [ "$status" -ne 1 ] && [ "$status" -ne 3 ]; then
        die "$status" "bazel failed"
    fi
    /usr/bin/python3 dev.d/count_tests.py "$WORK_DIR/test-events.json" "${labels[@]}"
}
