#!/bin/bash
# The installed libraries: which names they show, what they link, and that a program may have names of its
# own, linked to either kind of library, to one or to both.
#
#     library_test.sh TREE.tar
set -uo pipefail

both=$PWD/tests/integration/sdk/both.c
work=$(mktemp -d /tmp/wmlibXXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    printf 'FAIL: %s\n' "$*"
    failed=1
}

tar --extract --file="$1" --directory="$work" || exit 1
lib=$work/lib
ours='^(waymark_|google__protobuf__|google__rpc__)'

# shows FILE PATTERN NM_OPTIONS...: nothing but these names, and more than none.
shows() {
    local file=$1 pattern=$2 names strange
    shift 2
    names=$(nm "$@" --defined-only "$file" | awk 'NF == 3 && $2 != "A" { print $3 }' | sort -u)
    strange=$(grep -v -E "$pattern" <<<"$names")
    [ -z "$strange" ] || fail "${file##*/} shows $strange"
    [ "$(grep -c -E "$ours" <<<"$names")" -gt 20 ] || fail "${file##*/} shows nothing"
}

# sendmsg is the server's, for the core to find: server/rpc/cork.c.
shows "$lib/libwaymark.so.0" "$ours" -D
shows "$lib/libwaymark.a" "$ours" -g
shows "$lib/libwaymark-server.so.0" "$ours|^sendmsg$" -D
shows "$lib/libwaymark-server.a" "$ours|^sendmsg$" -g

# What is shown by hand is in the headers, and what is in them is there.
# declared HEADER...: the functions that they declare.
declared() {
    sed -e 's|/\*.*\*/||' -e '/\/\*/,/\*\//d' "$@" | grep -v typedef |
        grep -oE '\bwaymark_[a-z_0-9]+\(' | tr -d '(' | sort -u
}
shown() {
    nm -D --defined-only "$1" | awk 'NF == 3 { print $3 }' | grep '^waymark_' | grep -v '_v1_' | sort -u
}
headers=$(find "$work/include/waymark" -maxdepth 1 -name '*.h' -not -name server.h)
# shellcheck disable=SC2086 # paths without spaces
[ "$(declared $headers)" = "$(shown "$lib/libwaymark.so.0")" ] ||
    fail "libwaymark and its headers: $(diff <(declared $headers) <(shown "$lib/libwaymark.so.0"))"
[ "$(declared "$work/include/waymark/server.h")" = "$(shown "$lib/libwaymark-server.so.0")" ] ||
    fail "libwaymark-server and its header: $(diff <(declared "$work/include/waymark/server.h") \
        <(shown "$lib/libwaymark-server.so.0"))"

for name in libwaymark libwaymark-server; do
    dynamic=$(readelf -d "$lib/$name.so.0")
    grep -q "SONAME.*\[$name\.so\.0\]" <<<"$dynamic" || fail "$name has a wrong soname"
    for library in libpq liboauth2 libcjose libhiredis libstdc++ libmicrohttpd; do
        ! grep -q "NEEDED.*\[$library\." <<<"$dynamic" || fail "$name links $library"
    done
    [ "$(readlink "$lib/$name.so")" = "$name.so.0" ] || fail "$name.so leads nowhere"
done

# Every header by itself, in plain C and in C++.
while IFS= read -r header; do
    echo "#include <$header>" >"$work/alone.c"
    cp "$work/alone.c" "$work/alone.cc"
    cc -std=c11 -Wall -Wextra -Werror -pedantic-errors -I"$work/include" -fsyntax-only "$work/alone.c" ||
        fail "$header alone, in C11"
    c++ -std=c++17 -Wall -Wextra -Werror -I"$work/include" -fsyntax-only "$work/alone.cc" ||
        fail "$header alone, in C++17"
done < <(cd "$work/include" && find waymark -maxdepth 1 -name '*.h' | sort)
! grep -n -E 'grpc_[a-z]|<grpc/|<uv\.h>' "$work"/include/waymark/*.h || fail "headers speak of what is below"

export PKG_CONFIG_PATH=$lib/pkgconfig
cp "$work"/share/doc/waymark/examples/hello/* "$work"
cd "$work" || exit 1
protoc --plugin="$work/bin/protoc-gen-waymark-c" --waymark-c_out=. hello.proto || fail protoc
generated='hello.pb-c.c hello.methods.c hello.server.c hello.client.c'
flags='-std=c11 -Wall -Wextra -Werror -O1'

# runs NAME FLAGS...: both.c, linked so.
runs() {
    local name=$1
    shift
    # shellcheck disable=SC2086 # flags and files are words
    cc $flags "$both" $generated -I. "-I$work/include" "$@" -o "$name" || { fail "$name does not link"; return; }
    LD_LIBRARY_PATH=$lib "./$name" "unix:$work/socket" || fail "$name does not run"
}

system='-lgrpc -lgpr -luv -lprotobuf-c'
# shellcheck disable=SC2046,SC2086 # flags are words
{
    runs shared $(pkg-config --cflags --libs waymark waymark-server)
    runs static "$lib/libwaymark-server.a" "$lib/libwaymark.a" $system
    runs static_the_other_way "$lib/libwaymark.a" "$lib/libwaymark-server.a" $system
    runs mixed "$lib/libwaymark-server.a" "-L$lib" -lwaymark $system
}

[ "$failed" -eq 0 ] && echo "the libraries are as they should be"
exit "$failed"
