# shellcheck shell=bash disable=SC2034 # STATE is the server part's
# dev.d/build.sh - Bazel calls: build, clean, install, and the programs that other parts run.

SERVER_LABEL=//server:waymarkd
CLI_LABEL=//client/cli:waymark

# Results are shared by checkouts and configurations; going from --asan back costs nothing.
bazel_flags() {
    local cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/waymark/bazel
    printf '%s\n' "--disk_cache=$cache" --config="$1" --show_result=0
    # shellcheck disable=SC2086 # these are words
    [ -n "${BAZEL_FLAGS:-}" ] && printf '%s\n' $BAZEL_FLAGS
    if [ ! -t 2 ]; then
        printf '%s\n' --curses=no --show_progress_rate_limit=20 --noshow_loading_progress
    fi
}

# bazel_run CONFIG build|test ARGUMENTS...
bazel_run() {
    local config=$1 verb=$2 flags
    shift 2
    mapfile -t flags < <(bazel_flags "$config")
    bazel "$verb" "${flags[@]}" "$@" >&2
}

bazel_bin() {
    bazel info --config="$1" bazel-bin 2>/dev/null
}

# config_option OPTION: the Bazel configuration that --asan and its like name.
config_option() {
    case $1 in
        --asan | --tsan | --clang | --opt) printf '%s\n' "${1#--}" ;;
        *) return 1 ;;
    esac
}

# Puts a built program into .waymark/bin, by rename: the old one may be running.
publish() {
    local built=$1 name=$2
    mkdir -p "$BIN_DIR"
    cmp -s "$built" "$BIN_DIR/$name" && return 0
    cp "$built" "$BIN_DIR/.$name.new"
    chmod 755 "$BIN_DIR/.$name.new"
    mv -f "$BIN_DIR/.$name.new" "$BIN_DIR/$name"
}

build_programs() {
    local bin
    step "Building waymark (the first time takes some minutes)"
    bazel_run opt build "$SERVER_LABEL" "$CLI_LABEL"
    bin=$(bazel_bin opt)
    publish "$bin/server/waymarkd" waymarkd
    publish "$bin/client/cli/waymark" waymark
}

# Python clients in .waymark/python, as any user would generate them from proto/.
build_python_client() {
    local out=$WORK_DIR/python protos
    step "Generating the Python client"
    rm -rf "$out.new"
    mkdir -p "$out.new"
    mapfile -t protos < <(cd proto && find waymark -name '*.proto')
    /usr/bin/python3 -m grpc_tools.protoc -Iproto -I/usr/include --python_out="$out.new" \
        --grpc_python_out="$out.new" "${protos[@]}" >&2
    rm -rf "$out"
    mv "$out.new" "$out"
}

cmd_build() {
    local config=opt
    case ${1:-} in
        --packages) # what the image's first layer is
            need build
            return
            ;;
        --programs) # and its second
            need build
            build_programs
            return
            ;;
    esac
    while [ $# -gt 0 ] && [[ $1 == --* ]]; do
        config=$(config_option "$1") || die 2 "build: unknown option $1"
        shift
    done
    if [ "$config" = clang ]; then need build test; else need build; fi
    step "Building ${*:-everything} ($config)"
    [ $# -gt 0 ] || set -- //...
    bazel_run "$config" build "$@"
    step "Built; programs are below $(bazel_bin "$config")"
}

cmd_install() {
    local prefix=''
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix) prefix=${2:?} && shift 2 ;;
            --prefix=*) prefix=${1#*=} && shift ;;
            *) die 2 "install: unknown option $1" ;;
        esac
    done
    [ -n "$prefix" ] || die 2 "install: --prefix DIR is missing"
    prefix=$(absolute "$prefix")
    need build
    step "Building what is installed (the first time takes some minutes)"
    bazel_run opt build //bazel/install:tree
    step "Installing waymark into $prefix"
    mkdir -p "$prefix"
    tar --extract --no-same-owner --file="$(bazel_bin opt)/bazel/install/waymark.tar" \
        --directory="$prefix"
}

cmd_clean() {
    local state
    for state in "$WORK_DIR" "$WORK_DIR/bench" "$WORK_DIR/image"; do
        STATE=$state # that the next two are about
        stop_server
        remove_data
    done
    step "Removing state and built files"
    rm -rf "$WORK_DIR"
    have bazel && bazel clean >&2
    return 0
}
