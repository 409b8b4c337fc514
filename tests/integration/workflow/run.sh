#!/bin/sh
# Runs the workflow suite with the system's Python, which has Debian's grpcio.
set -eu
WAYMARKD=$1
WAYMARK=$2
export WAYMARKD WAYMARK
export WAYMARK_PROTO="${WAYMARK_PROTO:-proto}"
exec /usr/bin/python3 -B tests/integration/workflow/workflow_test.py
