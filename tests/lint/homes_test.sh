#!/usr/bin/env bash
# homes.sh must find what it is there for, must not cry wolf, and must find this tree clean.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

say() {
    printf '%s\n' "$*"
    failed=1
}

# expect PATH LINE-OF-CODE clean|dirty
expect() {
    local path=$1 code=$2 wanted=$3 got=clean
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree/$(dirname "$path")"
    printf '%s\n' "$code" >"$scratch/tree/$path"
    "$here/homes.sh" "$scratch/tree" >"$scratch/out" || got=dirty
    [ "$got" = "$wanted" ] || say "$path with '$code' is $got, should be $wanted: $(cat "$scratch/out")"
}

expect server/geo/a.c '    grpc_call_unref(call);' dirty
expect server/rpc/a.c '    grpc_call_unref(call);' clean
expect client/a.c '    gpr_free(p);' clean
expect client/cli/a.c '    gpr_free(p);' dirty
expect server/geo/a.c '#include <grpc/grpc.h>' dirty
expect server/geo/a.c '#include <grpc/support/log.h>' dirty
expect client/cli/a.c '#include <grpc/health/v1/health.pb-c.h>' clean
expect server/geo/a.c '    PQexec(conn, sql);' dirty
expect server/store/a.c '    PQexec(conn, sql);' clean
expect client/a.c '#include <libpq-fe.h>' dirty
expect client/a.c '#include <postgresql/libpq-fe.h>' dirty
expect server/geo/a.c 'redisAsyncCommand(c, NULL, NULL, "PING");' dirty
expect server/bus/a.c 'redisAsyncCommand(c, NULL, NULL, "PING");' clean
expect server/auth/grants.c 'oauth2_init(1, 0);' dirty
expect server/auth/token.c 'oauth2_init(1, 0);' clean
expect server/dev/a.c '#include <cjose/cjose.h>' dirty
expect server/geo/a.c '/* grpc_call_unref(call) is the caller'"'"'s. */' clean
expect server/geo/a.c '// PQexec(conn)' clean
expect server/geo/a.c 'log("grpc_init(%d)", n);' clean
expect server/geo/a.c 'log("a \" b"); PQexec(conn, sql);' dirty
expect server/geo/a.c 'wm_grpc_thing(1); redis_like(2);' clean
expect server/geo/a.c $'/* one\n * two */ PQfinish(c);' dirty

"$here/homes.sh" || say "this tree calls the outside world outside its home"
[ "$failed" -eq 0 ] && echo "homes are kept"
exit "$failed"
