#!/bin/sh
# Runs one end-to-end suite with the system's Python, which has Debian's grpcio.
set -eu
suite=$1
WAYMARKD=$2
WAYMARK=$3
export WAYMARKD WAYMARK
export WAYMARK_PROTO="${WAYMARK_PROTO:-proto}"
exec /usr/bin/python3 -B "tests/e2e/$suite.py"
