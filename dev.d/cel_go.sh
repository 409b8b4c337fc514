# shellcheck shell=bash
# dev.d/cel_go.sh - our CEL beside cel-go: what they say (differential cel), how fast (bench cel).

# The program that cel-go is linked into, built anew when its source changes.  Prints its path, or
# nothing without Go.
find_cel_go() {
    local dir=$WORK_DIR/tools source=tests/cel_go/peer
    have go || return 0
    if ! [ "$dir/cel_go_peer" -nt "$source/go.sum" ] ||
        [ -n "$(find "$source" -newer "$dir/cel_go_peer" -print -quit)" ]; then
        step "Building cel-go's side"
        mkdir -p "$dir"
        (cd "$source" && GOFLAGS=-mod=readonly go build -p 1 -o "$dir/cel_go_peer" .) >&2 || return 0
    fi
    printf '%s\n' "$dir/cel_go_peer"
}

# run_beside_cel_go PROGRAM OPTION...
run_beside_cel_go() {
    local program=$1 peer
    shift
    need build
    peer=$(find_cel_go)
    [ -n "$peer" ] || die 1 "cel: there is no Go here to build cel-go with"
    bazel_run opt build "//tests/cel_go:$program"
    "$(bazel_bin opt)/tests/cel_go/$program" --peer "$peer" "$@"
}

cmd_differential() {
    local name=${1:-}
    [ "$name" = cel ] || die 2 "usage: ./dev differential cel [--runs N] [--seed N]"
    shift
    run_beside_cel_go differ "$@"
}
