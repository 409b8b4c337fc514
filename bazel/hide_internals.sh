#!/bin/sh
# bazel/hide_internals.sh - gives a static library's internal names a prefix of ours.
#
#     hide_internals.sh ARCHIVE EXPORTS OUTPUT
#
# A program that links an archive shares one space of names with it. What the version script EXPORTS does
# not show gets the prefix waymark__ in definitions and uses alike, so that a program's own `wm_fail` is
# its own. Two libraries of ours that hold the same object still agree on its names.
set -eu

archive=$1 exports=$2 output=$3
names=$(mktemp)
trap 'rm -f "$names"' EXIT

# The patterns of the version script, as one expression for grep.
shown=$(sed -n 's/^ *\([a-z_][a-z_]*\)\*;$/\1/p' "$exports" | paste -sd '|')

nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort -u |
    grep -v -E "^($shown)" | awk '{ print $1, "waymark__" $1 }' >"$names"
objcopy --redefine-syms="$names" "$archive" "$output"
