#!/bin/bash
# The Debian packages: what is in each and what each needs, that lintian has nothing against them, and that
# a server and a client build from what the packages hold.
#
#     package_test.sh DEBS.SH TREE.tar
set -uo pipefail

debs_sh=$1 tree=$2
work=$(mktemp -d /tmp/wmdebsXXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    printf 'FAIL: %s\n' "$*"
    failed=1
}

if ! command -v dpkg-shlibdeps >/dev/null; then
    echo "skipped: no dpkg-dev"
    exit 0
fi
bash "$debs_sh" "$tree" 0.0.1 "$work/debs" >/dev/null || { echo "FAIL: $debs_sh"; exit 1; }
bash "$debs_sh" "$tree" 0.0.1 "$work/again" >/dev/null
(cd "$work/debs" && sha256sum -- *) | (cd "$work/again" && sha256sum --check --quiet -) ||
    fail "two runs give two results"

# field PACKAGE NAME
field() {
    dpkg-deb --field "$work/debs/$1"_*.deb "$2"
}

# has PACKAGE PATH...: with exactly these files; papers are in each.
has() {
    local package=$1 all got wanted
    shift
    all=$(dpkg-deb --contents "$work/debs/$package"_*.deb | awk '$1 !~ /^d/ { print $6 }' |
        sed 's|^\./||' | sort)
    got=$(grep -v '^usr/share/doc/' <<<"$all")
    wanted=$(printf '%s\n' "$@" | sort)
    [ "$got" = "$wanted" ] || fail "$package has $got"
    for paper in copyright changelog.gz; do
        grep -qxF "usr/share/doc/$package/$paper" <<<"$all" || fail "$package has no $paper"
    done
}

# needs PACKAGE PATTERN..., not_needs PACKAGE PATTERN
needs() {
    local package=$1 pattern
    shift
    for pattern in "$@"; do
        field "$package" Depends | grep -qE "(^|, )$pattern( |,|$)" || fail "$package does not need $pattern"
    done
}
not_needs() {
    ! field "$1" Depends | grep -qE "$2" || fail "$1 needs $(field "$1" Depends)"
}

lib=usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
has libwaymark0 "$lib/libwaymark.so.0"
has libwaymark-server0 "$lib/libwaymark-server.so.0"
has libwaymark-server-dev "$lib/libwaymark-server.so" "$lib/libwaymark-server.a" \
    "$lib/pkgconfig/waymark-server.pc" usr/include/waymark/server.h usr/include/waymark/method.h
has waymark-compiler usr/bin/protoc-gen-waymark-c usr/share/man/man1/protoc-gen-waymark-c.1.gz
has waymark usr/bin/waymark usr/share/man/man1/waymark.1.gz
has waymarkd usr/bin/waymarkd usr/share/man/man8/waymarkd.8.gz \
    lib/systemd/system/waymarkd.service etc/waymark/waymarkd.conf

needs libwaymark0 libgrpc29 libprotobuf-c1
needs libwaymark-server0 libgrpc29 libuv1 libprotobuf-c1
needs libwaymark-dev 'libwaymark0 \(= 0\.0\.1\)' libprotobuf-c-dev
needs libwaymark-server-dev 'libwaymark-server0 \(= 0\.0\.1\)' 'libwaymark-dev \(= 0\.0\.1\)'
needs waymark-compiler protobuf-compiler protobuf-c-compiler
needs waymarkd libpq5 liboauth2-0 libhiredis0.14
for package in libwaymark0 libwaymark-server0 waymark waymark-compiler; do
    not_needs "$package" 'libpq|liboauth2|libhiredis' # and so none of the AGPL
done

if command -v lintian >/dev/null; then
    said=$(lintian --no-cfg --allow-root --fail-on none "$work"/debs/*.deb 2>&1)
    [ -z "$said" ] || fail "lintian: $said"
else
    echo "skipped: lintian is not here"
fi

# Everything unpacked into one root, and the example built from there.
for deb in "$work"/debs/*.deb; do
    dpkg-deb --extract "$deb" "$work/root"
done
export PKG_CONFIG_PATH=$work/root/$lib/pkgconfig LD_LIBRARY_PATH=$work/root/$lib
hello=$work/root/usr/share/doc/libwaymark-server-dev/examples/hello
cd "$hello" || exit 1
protoc --plugin="$work/root/usr/bin/protoc-gen-waymark-c" --waymark-c_out=. hello.proto || fail protoc
for part in server client; do
    library=waymark
    [ "$part" = client ] || library=waymark-server
    flags=$(pkg-config --cflags --libs "$library" | sed "s|\([IL]\)/usr|\1$work/root/usr|g")
    # shellcheck disable=SC2086 # flags are words
    cc -Wall -Wextra -Werror "$part.c" hello.pb-c.c hello.methods.c "hello.$part.c" \
        "-I$work/root/usr/include" "-L$work/root/$lib" $flags -o "$part" || fail "cc $part.c"
done
socket=$work/socket
./server "unix:$socket" >server.log &
server=$!
for _ in $(seq 100); do
    [ -s server.log ] && break
    sleep 0.1
done
grep -q 'serving on port' server.log || fail "the server does not start"
kill "$server"
wait "$server" || fail "the server does not stop"

[ "$failed" -eq 0 ] && echo "the packages are as they should be"
exit "$failed"
