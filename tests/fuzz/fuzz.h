/* SPDX-License-Identifier: ISC */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A fuzz target is this function: libFuzzer calls it in a build with --enable-fuzzing, and
 * replay.c with the kept corpus in any other.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What has to hold for every input; both fuzzer and replay take an abort for a failure. */
#define FUZZ_CHECK(condition)                                                                                          \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                  \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

#endif
