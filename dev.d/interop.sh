# shellcheck shell=bash
# dev.d/interop.sh - gRPC's own interop cases: our TestService, our client, and grpc-go's two.
#
# With --tls the certificate is the one that grpc-go's programs have by themselves (their module's
# testdata) where that is on this machine, so that `-use_tls -use_test_ca` needs nothing more;
# elsewhere openssl makes one for the same names. Our client trusts both authorities.

GRPC_GO_VERSION=v1.62.0
INTEROP_DIR=$WORK_DIR/interop
INTEROP_TLS_NAME=foo.test.google.fr

# The interop client and server of grpc-go, built once.  Prints their directory, or nothing
# without Go.
find_grpc_go() {
    local dir=$INTEROP_DIR/go-$GRPC_GO_VERSION
    if ! { [ -x "$dir/client" ] && [ -x "$dir/server" ]; }; then
        have go || return 0
        step "Building the interop programs of grpc-go $GRPC_GO_VERSION"
        GOBIN=$dir GOFLAGS=-mod=mod go install -p 1 \
            "google.golang.org/grpc/interop/client@$GRPC_GO_VERSION" \
            "google.golang.org/grpc/interop/server@$GRPC_GO_VERSION" >&2 || return 0
    fi
    printf '%s\n' "$dir"
}

# The test certificates of grpc-go, where its module is on this machine.
grpc_go_testdata() {
    local dir
    have go || return 1
    dir=$(go env GOMODCACHE)/google.golang.org/grpc@$GRPC_GO_VERSION/testdata
    [ -r "$dir/server1.key" ] && printf '%s\n' "$dir"
}

make_interop_certificate() {
    local dir=$INTEROP_DIR
    mkdir -p "$dir"
    [ -r "$dir/server.pem" ] && return 0
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$INTEROP_TLS_NAME" \
        -addext "subjectAltName=DNS:*.test.google.fr,DNS:localhost,IP:127.0.0.1" \
        -keyout "$dir/server.key" -out "$dir/server.pem.new" 2>/dev/null ||
        die 1 "interop: openssl makes no certificate"
    mv "$dir/server.pem.new" "$dir/server.pem"
}

# Prepares $INTEROP_DIR/ca.pem for clients, and prints certificate and key for servers.
interop_certificate() {
    local theirs
    make_interop_certificate
    cp "$INTEROP_DIR/server.pem" "$INTEROP_DIR/ca.pem.new"
    if theirs=$(grpc_go_testdata); then
        cat "$theirs/ca.pem" >>"$INTEROP_DIR/ca.pem.new"
        printf '%s\n' "$theirs/server1.pem" "$theirs/server1.key"
    else
        printf '%s\n' "$INTEROP_DIR/server.pem" "$INTEROP_DIR/server.key"
    fi
    mv "$INTEROP_DIR/ca.pem.new" "$INTEROP_DIR/ca.pem"
}

# `interop server` and `interop client`: options go to the programs, --tls with its files.
cmd_interop() {
    local side=${1:-} certificate arguments=()
    case $side in
        server | client) shift ;;
        *) die 2 "usage: ./dev interop server|client --port PORT [--test_case NAME] [--tls]" ;;
    esac
    need build
    while [ $# -gt 0 ]; do
        if [ "$1" != --tls ]; then
            arguments+=("$1")
        else
            mapfile -t certificate < <(interop_certificate)
            [ ${#certificate[@]} -eq 2 ] || die 1 "interop: there is no certificate"
            case $side in
                server) arguments+=(--tls "${certificate[@]}") ;;
                client) arguments+=(--tls "$INTEROP_DIR/ca.pem" --tls_name "$INTEROP_TLS_NAME") ;;
            esac
        fi
        shift
    done
    bazel_run opt build "//tests/interop:$side"
    publish "$(bazel_bin opt)/tests/interop/$side" "interop_$side"
    exec "$BIN_DIR/interop_$side" "${arguments[@]}"
}
