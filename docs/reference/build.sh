#!/bin/bash
# docs/reference/build.sh - the reference of the installed headers, as HTML.
#
#     build.sh INCLUDE_DIRECTORY OUTPUT_DIRECTORY
#
# Fails when doxygen has something against a comment, or a function has none.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
include=$(readlink -f "$1")
mkdir -p "$2"
output=$(cd "$2" && pwd)
log=$output/warnings

cd "$include"
{
    cat "$here/Doxyfile"
    printf '%s\n' "INPUT = . \"$here/main.dox\"" "OUTPUT_DIRECTORY = \"$output\"" \
        "STRIP_FROM_PATH = \"$include\"" "WARN_LOGFILE = \"$log\"" \
        "INPUT_FILTER = \"awk -f $here/filter.awk\""
} | doxygen -

# Members and values often say all by their names; functions do not.
wrong=$(grep -v 'is not documented' "$log" || true
    grep -E '\(function\).* is not documented' "$log" || true)
rm -f "$log"
if [ -n "$wrong" ]; then
    printf '%s\n' "$wrong" >&2
    exit 1
fi
