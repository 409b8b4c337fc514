#!/usr/bin/env bash
# Fails when code reaches the outside world from anywhere but its one home.
#
#     tests/lint/homes.sh [ROOT]
#
# Prints one line for each offence, "path:line: what", and exits 1 when there was one.
# Comments and strings do not count.  Tests may look at the world for themselves; product code may
# not, and neither may the build tools.
set -euo pipefail

root=$(cd "${1:-$(dirname "$(readlink -f "$0")")/../..}" && pwd)
folders=(base bazel client examples include server)

# A rule: what it is called | words that only the home may use | includes | homes, by prefix.
# The homes of a word begin where the path begins; "!" in front takes a folder out again.
rules=(
    'gRPC|(grpc|gpr)_[a-z0-9_]+|<grpc/([a-z_0-9]+\.h|support/|impl/)|server/rpc/ client/ !client/cli/ base/grpc_security.h'
    'libpq|PQ[a-z][A-Za-z]+|<(postgresql/)?libpq-fe\.h|server/store/'
    'hiredis|redis[A-Z][A-Za-z]+|<hiredis/|server/bus/'
    'TLS of connections|SSL_[A-Za-z0-9_]+|<openssl/ssl[0-9]*\.h|server/gate/'
    'liboauth2|oauth2_[a-z0-9_]+|<(oauth2|cjose)/|server/auth/token.c'
)

# Blanks comments and string literals, and keeps the lines and the names in #include.
strip_comments() {
    awk '
    BEGIN { inside = 0 }
    {
        line = $0; out = ""
        while (line != "") {
            if (inside) {
                end = index(line, "*/")
                if (!end) { line = ""; break }
                line = substr(line, end + 2); inside = 0
                continue
            }
            if (!match(line, /\/\*|\/\/|"/)) { out = out line; break }
            mark = substr(line, RSTART, RLENGTH)
            out = out substr(line, 1, RSTART - 1)
            line = substr(line, RSTART + RLENGTH)
            if (mark == "/*") { inside = 1; continue }
            if (mark == "//") break
            # A string: an include keeps its name, anything else is dropped.
            if (out ~ /^[ \t]*#[ \t]*include/) { out = out "\"" line; break }
            if (match(line, /^([^"\\]|\\.)*"/)) line = substr(line, RLENGTH + 1)
            else line = ""
            out = out "\"\""
        }
        print out
    }' "$1"
}

is_home() {
    local path=$1 home answer=1
    shift
    for home in "$@"; do
        if [[ $home == !* ]]; then
            [[ $path == "${home#!}"* ]] && answer=1
        elif [[ $path == "$home"* ]]; then
            answer=0
        fi
    done
    return "$answer"
}

check_file() {
    local path=$1 rule name words includes homes hits
    for rule in "${rules[@]}"; do
        # The pattern itself holds bars, so fields are cut from both ends.
        name=${rule%%|*}
        rule=${rule#*|}
        homes=${rule##*|}
        rule=${rule%|*}
        includes='<'${rule##*|<}
        words=${rule%%|<*}
        # shellcheck disable=SC2086 # homes are words
        is_home "$path" $homes && continue
        hits=$(strip_comments "$root/$path" |
            grep -nE "(^|[^A-Za-z0-9_])($words)[ ]*\(|^[ ]*#[ ]*include[ ]*$includes" || true)
        [ -z "$hits" ] && continue
        while IFS= read -r hit; do
            printf '%s:%s: %s outside its home (%s)\n' "$path" "${hit%%:*}" "$name" "$homes"
        done <<<"$hits"
    done
}

main() {
    local offences paths
    cd "$root"
    paths=$(for folder in "${folders[@]}"; do
        [ ! -d "$folder" ] || find "$folder" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \)
    done | sort)
    # Most files name nothing of the outside; only the others are looked at closely.
    paths=$(printf '%s\n' "$paths" |
        xargs -r grep -lE '(grpc|gpr|oauth2|SSL)_|PQ[a-z]|redis[A-Z]|<(grpc|hiredis|oauth2|cjose|openssl)/|libpq-fe' || true)
    offences=$(while IFS= read -r path; do
        [ -z "$path" ] || check_file "$path"
    done <<<"$paths")
    [ -z "$offences" ] && return 0
    printf '%s\n' "$offences"
    return 1
}

main
