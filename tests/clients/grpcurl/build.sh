#!/usr/bin/env bash
# tests/clients/grpcurl/build.sh OUT - nothing is generated: grpcurl asks the server's reflection.
# `./dev test` builds grpcurl where Go is and names it in GRPCURL.
# needs: curl jq
set -euo pipefail

out=$1
here=$(dirname "$(readlink -f "$0")")
grpcurl=${GRPCURL:-$(command -v grpcurl || true)}
[ -x "$grpcurl" ] || exit 77
mkdir -p "$out"
cat >"$out/client" <<END
#!/bin/sh
GRPCURL='$grpcurl' exec '$here/client.sh'
END
chmod +x "$out/client"
