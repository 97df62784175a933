#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh SECONDS TARGET...: lets libFuzzer loose on each target for so long, from the kept corpus on.
#
# What it finds is left in the folder where it runs, as crash-*; to keep it, copy it to tests/fuzz/corpus/TARGET.
# With SECONDS = merge, the corpus gets those inputs of the folder new-TARGET (from a run by hand) that reach new code.
seconds=$1
shift
for target; do
        corpus=$top_srcdir/tests/fuzz/corpus/$target
        fuzzer=$top_builddir/tests/fuzz/fuzz_$target
        if [ "$seconds" = merge ]; then
                "$fuzzer" -merge=1 "$corpus" "new-$target" || exit 1
                continue
        fi
        scratch=$(mktemp -d) || exit 1
        echo "$target: $seconds s"
        "$fuzzer" -max_total_time="$seconds" -timeout=10 -max_len=20000 -print_final_stats=1 "$scratch" "$corpus"
        status=$?
        rm -rf "$scratch"
        [ "$status" -eq 0 ] || exit "$status"
done
