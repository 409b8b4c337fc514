# shellcheck shell=bash
# dev.d/docs.sh - the reference of the installed headers.

cmd_docs() {
    local output=$WORK_DIR/docs tree=$WORK_DIR/docs.tree
    while [ $# -gt 0 ]; do
        case $1 in
            --out) output=$(absolute "${2:?}") && shift 2 ;;
            --out=*) output=$(absolute "${1#*=}") && shift ;;
            *) die 2 "docs: unknown option $1" ;;
        esac
    done
    need build docs
    step "Building what is installed (the first time takes some minutes)"
    bazel_run opt build //bazel/install:tree
    step "Making the reference of its headers"
    rm -rf "$tree"
    mkdir -p "$tree"
    tar --extract --no-same-owner --file="$(bazel_bin opt)/bazel/install/waymark.tar" --directory="$tree"
    docs/reference/build.sh "$tree/include" "$output"
    rm -rf "$tree"
    step "It begins at $output/html/index.html"
}
