# SPDX-License-Identifier: ISC
# shellcheck shell=sh disable=SC2034 # used by those who source this
# TAP for the tests that are shell scripts: sourced.  They end by printing the plan, 1..$n.
n=0
failed=0

# result NAME STATUS [TEXT]: one line of TAP, with TEXT as its explanation where the status is not 0.
result() {
        n=$((n + 1))
        if [ "$2" -eq 0 ]; then
                echo "ok $n - $1"
        else
                echo "not ok $n - $1"
                printf '%s\n' "$3" | sed 's/^/# /'
                failed=1
        fi
}
