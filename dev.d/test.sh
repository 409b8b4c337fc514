# shellcheck shell=bash
# dev.d/test.sh - every test, and the count at the end.

GRPCURL_VERSION=v1.9.1

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

# grpcurl is not in Debian.  Where Go is at hand it is built once; else its tests say they skip.
find_grpcurl() {
    local dir=$WORK_DIR/tools
    if have grpcurl; then
        command -v grpcurl
    elif [ -x "$dir/grpcurl" ]; then
        printf '%s\n' "$dir/grpcurl"
    elif have go; then
        step "Building grpcurl $GRPCURL_VERSION"
        if GOBIN=$dir GOFLAGS=-mod=mod go install \
            "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION" >&2; then
            printf '%s\n' "$dir/grpcurl"
        fi
    fi
}

# What tests get from outside the tree, as Bazel options.
test_environment() {
    local grpcurl grpc_go cel_go shared
    grpcurl=$(find_grpcurl)
    if [ -n "$grpcurl" ]; then
        printf '%s\n' "--test_env=GRPCURL=$grpcurl"
    else
        note "skipped: tests by grpcurl (neither grpcurl nor go is here)"
    fi
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
    need build run test
    mkdir -p "$WORK_DIR"
    found=$(test_labels "$@")
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
