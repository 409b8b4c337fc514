# shellcheck shell=bash
# dev.d/package.sh - Debian packages of what ./dev install installs.

cmd_package() {
    local output=$WORK_DIR/packages version
    while [ $# -gt 0 ]; do
        case $1 in
            --out) output=$(absolute "${2:?}") && shift 2 ;;
            --out=*) output=$(absolute "${1#*=}") && shift ;;
            *) die 2 "package: unknown option $1" ;;
        esac
    done
    need build package
    step "Building what goes into the packages (the first time takes some minutes)"
    bazel_run opt build //bazel/install:tree
    version=$(sed -n 's/^#define WAYMARK_VERSION "\(.*\)"$/\1/p' server/version.h)
    step "Packing waymark $version into $output"
    packaging/debs.sh "$(bazel_bin opt)/bazel/install/waymark.tar" "$version" "$output"
}
