#!/bin/sh
# SPDX-License-Identifier: ISC
# Every input of the kept corpora through its fuzz target, in a build without a fuzzer.  $FUZZ_TARGETS has their names.
n=0
failed=0
for target in $FUZZ_TARGETS; do
        n=$((n + 1))
        if output=$("$top_builddir/tests/fuzz/replay_$target" "$top_srcdir/tests/fuzz/corpus/$target"/* 2>&1); then
                echo "ok $n - $target: $(printf '%s\n' "$output" | wc -l) inputs"
        else
                echo "not ok $n - $target"
                printf '%s\n' "$output" | tail -n 40 | sed 's/^/# /'
                failed=1
        fi
done
echo "1..$n"
exit "$failed"
