/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_BITS_H
#define SPLICED_BALANCE_BITS_H

#include <stddef.h>
#include <stdint.h>

/* A set of small numbers: one bit each, in words. */

#define BITS_WORDS(n) (((n) + 63) / 64)

/* Puts a number in. */
static inline void bits_set(uint64_t *words, size_t at) {
        words[at / 64] |= UINT64_C(1) << at % 64;
}

/* Takes a number out. */
static inline void bits_clear(uint64_t *words, size_t at) {
        words[at / 64] &= ~(UINT64_C(1) << at % 64);
}

/* The lowest number in the set from `at` on; n, a multiple of 64, where there is none below that. */
static inline size_t bits_next(const uint64_t *words, size_t at, size_t n) {
        uint64_t word;

        if (at >= n)
                return n;
        word = words[at / 64] >> at % 64;
        if (word)
                return at + (size_t)__builtin_ctzll(word);
        for (size_t i = at / 64 + 1; i < n / 64; i++)
                if (words[i])
                        return i * 64 + (size_t)__builtin_ctzll(words[i]);
        return n;
}

#endif
