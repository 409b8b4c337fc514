#!/bin/bash
# The reference: doxygen has nothing against the comments of public headers, no function is without one,
# and one without would be seen.
#
#     reference_test.sh BUILD.SH
set -uo pipefail

build=$1
work=$(mktemp -d /tmp/wmrefXXXXXX)
trap 'rm -rf "$work"' EXIT

if ! command -v doxygen >/dev/null; then
    echo "skipped: no doxygen"
    exit 0
fi
mkdir -p "$work/include/waymark"
cp include/waymark/*.h server/sdk/include/waymark/server.h base/method.h "$work/include/waymark"
bash "$build" "$work/include" "$work/out" || {
    echo "FAIL: the comments of the public headers"
    exit 1
}
for word in waymark_client_new waymark_server_start waymark_server_post wm_method; do
    grep -rq "$word" "$work/out/html" || {
        echo "FAIL: the reference knows nothing of $word"
        exit 1
    }
done

cat >"$work/include/waymark/spoilt.h" <<END
/* waymark/spoilt.h - a header that is not as it should be. */

int naked(int number);
END
if bash "$build" "$work/include" "$work/out" >/dev/null 2>&1; then
    echo "FAIL: nobody sees a function without a comment"
    exit 1
fi
echo "the reference is complete"
