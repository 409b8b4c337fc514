#!/bin/bash
# packaging/debs.sh - Debian packages of what ./dev install installs.
#
#     debs.sh TREE.tar VERSION OUTPUT_DIRECTORY
#
# Needs dpkg-dev and binutils; not root. Two runs over the same tree give the same packages.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
tree_tar=$(readlink -f "$1") version=$2
mkdir -p "$3"
output=$(cd "$3" && pwd)

architecture=$(dpkg-architecture -qDEB_HOST_ARCH)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
maintainer="${DEBFULLNAME:-The waymark authors} <${DEBEMAIL:-maintainers@waymark.invalid}>"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1735689600}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
mkdir "$work/tree"
tar --extract --no-same-owner --file="$tree_tar" --directory="$work/tree"
tree=$work/tree

# put PACKAGE MODE DIRECTORY FILE...
put() {
    local root=$work/$1 mode=$2 directory=$3
    shift 3
    install -D -m "$mode" -t "$root/$directory" "$@"
}

# put_headers PACKAGE FIND_ARGUMENTS...: files below include/, with their folders.
put_headers() {
    local package=$1 file
    shift
    while IFS= read -r file; do
        put "$package" 644 "usr/include/$(dirname "$file")" "$tree/include/$file"
    done < <(cd "$tree/include" && find . -type f "$@" | sed 's|^\./||' | sort)
}

# put_library NAME SONAME: the shared one into its package, the rest into the -dev package.
put_library() {
    local name=$1 package=$1${2##*.} lib=usr/lib/$multiarch
    put "$package" 644 "$lib" "$tree/lib/$2"
    strip --strip-unneeded "$work/$package/$lib/$2"
    put "$name-dev" 644 "$lib" "$tree/lib/$name.a"
    strip --strip-debug --enable-deterministic-archives "$work/$name-dev/$lib/$name.a"
    ln -s "$2" "$work/$name-dev/$lib/$name.so"
    mkdir -p "$work/$name-dev/$lib/pkgconfig"
    sed -e "s|^prefix=.*|prefix=/usr|" -e "s|^libdir=.*|libdir=\${prefix}/lib/$multiarch|" \
        "$tree/lib/pkgconfig/${name#lib}.pc" >"$work/$name-dev/$lib/pkgconfig/${name#lib}.pc"
    mkdir -p "$work/$package/DEBIAN"
    printf '%s %s %s (>= %s)\n' "$name" "${2##*.}" "$package" "$version" >"$work/$package/DEBIAN/shlibs"
    printf 'activate-noawait ldconfig\n' >"$work/$package/DEBIAN/triggers"
}

put_program() {
    put "$1" 755 usr/bin "$tree/bin/$2"
    strip --strip-all "$work/$1/usr/bin/$2"
}

# put_manual PACKAGE FILE
put_manual() {
    local directory=$work/$1/usr/share/man/man${2##*.}
    mkdir -p "$directory"
    gzip -9n <"$tree/share/man/man${2##*.}/$2" >"$directory/$2.gz"
}

# Which file is in which package.
fill_packages() {
    local server_headers=(-path ./waymark/server.h -o -path ./waymark/method.h)
    local reference=$tree/share/doc/waymark
    put_library libwaymark libwaymark.so.0
    put_library libwaymark-server libwaymark-server.so.0
    put_headers libwaymark-dev -not \( "${server_headers[@]}" \)
    put_headers libwaymark-server-dev \( "${server_headers[@]}" \)
    put_program waymark-compiler protoc-gen-waymark-c
    put_program waymark waymark
    put_program waymarkd waymarkd
    put_manual waymark-compiler protoc-gen-waymark-c.1
    put_manual waymark waymark.1
    put_manual waymarkd waymarkd.8
    put waymarkd 644 lib/systemd/system "$here/waymarkd.service"
    put waymarkd 644 etc/waymark "$here/waymarkd.conf"
    mkdir -p "$work/waymarkd/DEBIAN"
    printf '/etc/waymark/waymarkd.conf\n' >"$work/waymarkd/DEBIAN/conffiles"
    put waymarkd 644 usr/share/doc/waymarkd "$reference/operations.md" "$reference/access.md"
    put waymark 644 usr/share/doc/waymark "$reference/cli.md"
    put waymark-compiler 644 usr/share/doc/waymark-compiler "$reference/generator.md"
    put libwaymark-dev 644 usr/share/doc/libwaymark-dev "$reference/c-sdk.md"
    put libwaymark-server-dev 644 usr/share/doc/libwaymark-server-dev "$reference/grpc-in-c.md"
    put libwaymark-dev 644 usr/share/doc/libwaymark-dev/examples "$reference"/examples/*.c
    put libwaymark-server-dev 644 usr/share/doc/libwaymark-server-dev/examples/hello \
        "$reference"/examples/hello/*
}

# The copyright file and the changelog that every package has.
add_papers() {
    local package=$1 directory=$work/$1/usr/share/doc/$1
    mkdir -p "$directory"
    {
        cat "$tree/share/doc/waymark/NOTICE"
        printf '\nThe Apache License, Version 2.0, is in /usr/share/common-licenses/Apache-2.0.\n'
    } >"$directory/copyright"
    printf 'waymark (%s) stable; urgency=medium\n\n  * See CHANGELOG.md of the source.\n\n -- %s  %s\n' \
        "$version" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" |
        gzip -9n >"$directory/changelog.gz"
}

# shared_libraries PACKAGE: what its programs and libraries need, as a list of packages.
shared_libraries() {
    local package=$1 files
    mapfile -t files < <(find "$work/$package" -type f \( -name '*.so.*' -o -path '*/usr/bin/*' \))
    mkdir -p "$work/shlibs/debian"
    printf 'Source: waymark\n\nPackage: %s\nArchitecture: any\n' "$package" >"$work/shlibs/debian/control"
    (cd "$work/shlibs" && dpkg-shlibdeps -O "${files[@]/#/-e}" 2>"$work/shlibs/log") |
        sed -n 's/^shlibs:Depends=//p'
}

# paragraph PACKAGE: its fields in the file control.
paragraph() {
    awk -v package="$1" 'BEGIN { RS = ""; FS = "\n" }
        { for (i = 1; i <= NF; i++) if ($i == "Package: " package) print }' "$here/control"
}

write_control() {
    local package=$1 shlibs='' size
    size=$(du -k -s --apparent-size "$work/$package" | cut -f 1)
    if paragraph "$package" | grep -q '@shlibs@'; then
        shlibs=$(shared_libraries "$package")
        [ -n "$shlibs" ] || { cat "$work/shlibs/log" >&2; return 1; }
    fi
    mkdir -p "$work/$package/DEBIAN"
    paragraph "$package" | sed -e "s|@version@|$version|g" -e "s|@shlibs@|$shlibs|g" |
        awk -v more="Source: waymark\nVersion: $version\nArchitecture: $architecture\nMaintainer: $maintainer\nInstalled-Size: $size\nPriority: optional" \
            '{ print } NR == 1 { print more }' >"$work/$package/DEBIAN/control"
    (cd "$work/$package" && find . -type f -not -path './DEBIAN/*' -printf '%P\n' | sort |
        xargs md5sum) >"$work/$package/DEBIAN/md5sums"
}

fill_packages
mapfile -t packages < <(sed -n 's/^Package: //p' "$here/control")
for package in "${packages[@]}"; do
    add_papers "$package"
    write_control "$package"
    find "$work/$package" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$work/$package" \
        "$output/${package}_${version}_${architecture}.deb" >/dev/null
    printf '%s\n' "$output/${package}_${version}_${architecture}.deb"
done
