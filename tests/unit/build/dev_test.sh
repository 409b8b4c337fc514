#!/usr/bin/env bash
# ./dev without a server: what it refuses, what it says elsewhere than on Debian, how it quotes.
set -uo pipefail

tree=$(dirname "$(readlink -f dev)")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$tree/dev" "$tree/dev.d" "$scratch"
failed=0

# expect STATUS PATTERN ARGUMENTS...: how ./dev ends, and what it says.
expect() {
    local status=$1 pattern=$2 got=0
    shift 2
    "$scratch/dev" "$@" >"$scratch/out" 2>&1 || got=$?
    if [ "$got" -ne "$status" ] || ! grep -qE -- "$pattern" "$scratch/out"; then
        printf './dev %s: status %s, wanted %s and "%s"; it said:\n' "$*" "$got" "$status" "$pattern"
        cat "$scratch/out"
        failed=1
    fi
}

# inside CODE: runs it with the parts of ./dev loaded.
inside() {
    ROOT=$scratch bash -c '
        set -euo pipefail
        for part in common packages build server test lint image; do . "$ROOT/dev.d/$part.sh"; done
        '"$1" 2>&1
}

# same WHAT GOT WANTED
same() {
    [ "$2" = "$3" ] && return
    printf '%s is "%s", should be "%s"\n' "$1" "$2" "$3"
    failed=1
}

expect 0 'usage: ./dev COMMAND'
expect 0 'usage: ./dev COMMAND' --help
expect 0 'usage: ./dev COMMAND' up --help
expect 2 'unknown command: upp' upp
expect 2 'up: unknown option --frsh' up --frsh
expect 2 'test: unknown option --asam' test --asam
expect 2 'install: --prefix DIR is missing' install
expect 2 'usage: ./dev conformance' conformance jws
expect 2 'usage: ./dev conformance' conformance jws /nonexistent
expect 2 'bad name' conformance ../x "$scratch/dev"
expect 2 'unknown name mysql' pid mysql
expect 1 'waymarkd is not running' pid
expect 1 'not running' env

mkdir -p "$scratch/.waymark"
printf '999999999\n' >"$scratch/.waymark/waymarkd.pid"
expect 1 'waymarkd is not running' pid waymarkd
printf '%s\n' "$$" >"$scratch/.waymark/waymarkd.pid" # another program has the number now
expect 1 'waymarkd is not running' pid waymarkd

# shellcheck disable=SC2016 # a value that a shell would like to expand
value='it'"'"'s $HOME "here"'
# shellcheck disable=SC2016 # the inner shell expands it
exported=$(VALUE=$value inside 'print_export X "$VALUE"')
same 'an exported value' "$(eval "$exported" && printf '%s' "${X:-}")" "$value"

elsewhere=$(inside 'is_debian_12() { false; }; need build run' || true)
case $elsewhere in
    *'not Debian 12'*bazel-bootstrap*postgresql-15*WAYMARK_SKIP_PACKAGES=1*) ;;
    *) same 'the advice on another distribution' "$elsewhere" 'a list of packages' ;;
esac
same 'an installed package' "$(inside 'missing_packages bash waymark-no-such-package')" \
    waymark-no-such-package
same 'nothing with WAYMARK_SKIP_PACKAGES' \
    "$(WAYMARK_SKIP_PACKAGES=1 inside 'is_debian_12() { false; }; need build')" ''

[ "$failed" -eq 0 ] && echo "./dev does as it says"
exit "$failed"
