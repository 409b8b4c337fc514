#!/usr/bin/env bash
# tests/clients/python-asyncio/build.sh OUT - the newest grpcio, with the stubs that its tools make.
# needs: /usr/bin/python3 pip
set -euo pipefail

out=$1
here=$(dirname "$(readlink -f "$0")")
proto=$here/../../../proto
mkdir -p "$out/stubs"
if ! cmp -s "$here/requirements.txt" "$out/installed.txt"; then
    rm -rf "$out/site"
    # Any pip will do: it is told for which Python.
    pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --python-version 3.11 --target "$out/site" -r "$here/requirements.txt" || exit 77
    cp "$here/requirements.txt" "$out/installed.txt"
fi
mapfile -t protos < <(cd "$proto" && find waymark -name '*.proto' | sort)
PYTHONPATH=$out/site /usr/bin/python3 -m grpc_tools.protoc -I"$proto" -I/usr/include \
    --python_out="$out/stubs" --grpc_python_out="$out/stubs" "${protos[@]}"
cat >"$out/client" <<END
#!/bin/sh
PYTHONPATH='$out/site:$out/stubs' exec /usr/bin/python3 -B '$here/client.py'
END
chmod +x "$out/client"
