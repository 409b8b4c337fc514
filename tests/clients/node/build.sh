#!/usr/bin/env bash
# tests/clients/node/build.sh OUT - @grpc/grpc-js in TypeScript, with the stubs that ts-proto makes.
# needs: node npm protoc
set -euo pipefail

out=$1
here=$(dirname "$(readlink -f "$0")")
proto=$here/../../../proto
mkdir -p "$out/src/gen"
cp "$here"/package.json "$here"/package-lock.json "$here"/tsconfig.json "$here"/client.ts "$out/src/"
cd "$out/src"
cmp -s package-lock.json "$out/installed" || { npm ci --ignore-scripts || exit 77; }
cp package-lock.json "$out/installed"

mapfile -t protos < <(cd "$proto" && find waymark google/rpc -name '*.proto' | sort)
protoc -I"$proto" -I/usr/include --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=gen \
    --ts_proto_opt=outputServices=grpc-js,esModuleInterop=true,importSuffix=.js,oneof=unions-value,useExactTypes=false \
    "${protos[@]}"
node_modules/.bin/tsc
cat >"$out/client" <<END
#!/bin/sh
exec node '$out/src/client.js'
END
chmod +x "$out/client"
