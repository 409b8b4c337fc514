#!/bin/sh
# libwaymark as users get it: what it shows, what it links, and that the example programs, in plain
# C11, build against nothing but the installed files, shared and static.
#
#     sdk_test.sh LIBWAYMARK.SO.0 LIBWAYMARK.A
# shellcheck disable=SC2046,SC2086 # flags are lists of words
set -eu

shared=$1
static=$2
failed=0

fail() {
    echo "FAIL: $*" >&2
    failed=1
}

strange=$(nm -D --defined-only "$shared" | awk '{print $3}' |
    grep -v -E '^(waymark_|google__protobuf__|google__rpc__|libwaymark)' || true)
[ -z "$strange" ] || fail "the shared library shows: $strange"

readelf -d "$shared" | grep -q 'SONAME.*\[libwaymark\.so\.0\]' || fail "the soname is wrong"
for library in libpq liboauth2 libcjose libhiredis libuv libstdc++; do
    if readelf -d "$shared" | grep -q "NEEDED.*\[$library\."; then
        fail "the shared library links $library"
    fi
done

if grep -n -E '#include <grpc|grpc_' include/waymark/*.h; then
    fail "public headers speak of gRPC"
fi

# An installation, by hand.
prefix=$(mktemp -d /tmp/wmsdkXXXXXX)
trap 'rm -rf "$prefix"' EXIT
mkdir -p "$prefix/include/waymark" "$prefix/lib"
cp include/waymark/*.h "$prefix/include/waymark/"
(cd proto && find -L . \( -name '*.pb-c.h' -o -name '*.client.h' \) |
    while IFS= read -r header; do
        mkdir -p "$prefix/include/$(dirname "$header")"
        cp "$header" "$prefix/include/$header"
    done)
cp "$static" "$prefix/lib/libwaymark.a"
cp "$shared" "$prefix/lib/libwaymark.so.0"
ln -s libwaymark.so.0 "$prefix/lib/libwaymark.so"

flags="-std=c11 -Wall -Wextra -Werror -pedantic-errors"
for header in "$prefix"/include/waymark/*.h; do
    name=waymark/$(basename "$header")
    echo "#include <$name>" >"$prefix/alone.c"
    cc $flags -I"$prefix/include" -fsyntax-only "$prefix/alone.c" || fail "$name alone, in C11"
    cp "$prefix/alone.c" "$prefix/alone.cc"
    c++ -std=c++17 -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only "$prefix/alone.cc" ||
        fail "$name alone, in C++17"
done

for example in examples/*.c; do
    program=$prefix/$(basename "$example" .c)
    cc $flags -D_POSIX_C_SOURCE=200809L -I"$prefix/include" "$example" -o "$program" \
        -L"$prefix/lib" -lwaymark -lprotobuf-c -lm || fail "$example with the shared library"
    cc $flags -D_POSIX_C_SOURCE=200809L -I"$prefix/include" "$example" -o "$program-static" \
        "$prefix/lib/libwaymark.a" $(pkg-config --libs grpc) -lprotobuf-c -lpthread -lm ||
        fail "$example with the static library"
    status=0
    LD_LIBRARY_PATH=$prefix/lib "$program" 2>/dev/null || status=$?
    [ "$status" = 2 ] || fail "$example does not run"
done

exit $failed
