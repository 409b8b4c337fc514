#!/usr/bin/env bash
# tests/clients/rust/build.sh OUT - tonic, with the stubs that tonic-prost-build makes.
# needs: cargo protoc
set -euo pipefail

out=$1
cd "$(dirname "$(readlink -f "$0")")"
export CARGO_TARGET_DIR=$out/target
cargo fetch --locked || exit 77
cargo build --locked --offline --jobs 1
ln -sf target/debug/waymark-scenario "$out/client"
