#!/bin/bash
# bazel/install/stage.sh - lays out what ./dev install installs, as a tar file.
#
#     stage.sh OUTPUT.tar VERSION.h FILE...
#
# Where a file goes follows from its path in the tree. Everything in it finds the rest by its own place, so
# that it may be unpacked anywhere.
set -euo pipefail

output=$1 version_header=$2
shift 2
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
version=$(sed -n 's/^#define WAYMARK_VERSION "\(.*\)"$/\1/p' "$version_header")

# put MODE FILE DIRECTORY[/NAME]
put() {
    install -D -m "$1" "$2" "$stage/$3"
}

# The place of each kind of file; one that fits none is an error of the BUILD file.
place() {
    local file=${1#./} name=${1##*/}
    case $file in
        */bin/proto/*.h) put 644 "$file" "include/${file#*/bin/proto/}" ;;
        proto/*.proto) put 644 "$file" "include/${file#proto/}" ;;
        include/waymark/*.h) put 644 "$file" "$file" ;;
        server/sdk/include/*.h) put 644 "$file" "${file#server/sdk/}" ;;
        base/method.h) put 644 "$file" include/waymark/method.h ;;
        *.a) put 644 "$file" "lib/$name" ;;
        *.so.0)
            put 755 "$file" "lib/$name"
            ln -s "$name" "$stage/lib/${name%.0}"
            ;;
        */waymark | */waymarkd | */protoc-gen-waymark-c) put 755 "$file" "bin/$name" ;;
        docs/*.md | README.md | CHANGELOG.md | LICENSE | NOTICE) put 644 "$file" "share/doc/waymark/$name" ;;
        examples/*) put 644 "$file" "share/doc/waymark/$file" ;;
        *)
            echo "stage.sh: there is no place for $file" >&2
            exit 1
            ;;
    esac
}

# pkg_config NAME DESCRIPTION REQUIRES PRIVATE
pkg_config() {
    cat >"$stage/lib/pkgconfig/$1.pc" <<END
prefix=\${pcfiledir}/../..
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: $1
Description: $2
Version: $version
Requires: $3
Requires.private: $4
Libs: -L\${libdir} -l$1
Cflags: -I\${includedir}
END
}

# manual NAME SECTION SUMMARY COMMAND...: a manual page of what the commands' help says.
manual() {
    local name=$1 section=$2 summary=$3 page=$stage/share/man/man$2/$1.$2
    shift 3
    mkdir -p "$(dirname "$page")"
    {
        printf '.TH %s %s "" "waymark %s"\n' "${name^^}" "$section" "$version"
        printf '.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n' "$name" "$summary"
        for command in "$@"; do
            printf '.nf\n'
            # shellcheck disable=SC2086 # a program and its arguments
            "$stage"/bin/$command | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/"
            printf '.fi\n'
        done
    } >"$page"
}

for file in "$@"; do
    place "$file"
done
manual waymark 1 "command for a waymark server" "waymark --help"
manual waymarkd 8 "server for workflows, positions and access" "waymarkd --help" "waymarkd serve --help"
manual protoc-gen-waymark-c 1 "generates gRPC clients and servers in C" "protoc-gen-waymark-c --help"
mkdir -p "$stage/lib/pkgconfig"
pkg_config waymark "C client of waymark, and of gRPC services of your own" libprotobuf-c grpc
pkg_config waymark-server "gRPC servers in C" libprotobuf-c "grpc, libuv"

tar --create --file="$output" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --directory="$stage" bin include lib share
