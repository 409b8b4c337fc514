#!/usr/bin/env bash
# tests/clients/python/build.sh OUT - Debian's grpcio, with the stubs that grpc_tools makes.
# needs: /usr/bin/python3
set -euo pipefail

out=$1
here=$(dirname "$(readlink -f "$0")")
root=$here/../../..
mapfile -t protos < <(cd "$root/proto" && find waymark google/rpc -name '*.proto' | sort)
mkdir -p "$out/stubs"
/usr/bin/python3 -m grpc_tools.protoc -I"$root/proto" -I/usr/include \
    --python_out="$out/stubs" --grpc_python_out="$out/stubs" "${protos[@]}"
cat >"$out/client" <<END
#!/bin/sh
PYTHONPATH='$out/stubs' exec /usr/bin/python3 -B '$here/client.py'
END
chmod +x "$out/client"
