#!/usr/bin/env bash
# tests/clients/go/build.sh OUT - grpc-go, with the stubs that its two protoc plugins make.
# needs: go protoc
set -euo pipefail

out=$1
here=$(dirname "$(readlink -f "$0")")
proto=$here/../../../proto
export GOFLAGS="-p=1 -mod=readonly" GOWORK=off

# The module is built in OUT: generated code lies inside a Go module, and none in this tree.
mkdir -p "$out/src" "$out/bin"
cp "$here"/go.mod "$here"/go.sum "$here"/*.go "$out/src/"
cd "$out/src"
go mod download || exit 77
GOBIN=$out/bin go install tool

# Our protos name no Go package, so each file is told its own.
options=()
mapfile -t protos < <(cd "$proto" && find waymark -name '*.proto' | sort)
for file in "${protos[@]}"; do
    package=M$file=waymark.test/scenario/gen/$(dirname "$file")
    options+=("--go_opt=$package" "--go-grpc_opt=$package")
done
PATH=$out/bin:$PATH protoc -I"$proto" -I/usr/include "${options[@]}" \
    --go_out=. --go_opt=module=waymark.test/scenario \
    --go-grpc_out=. --go-grpc_opt=module=waymark.test/scenario "${protos[@]}"
go build -o "$out/client" .
