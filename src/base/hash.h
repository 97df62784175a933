/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_HASH_H
#define SPLICED_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Hashes that say the same in every process, on every machine and in every version. */

/* SipHash-2-4 (Aumasson and Bernstein) of len bytes. */
uint64_t hash_sip(const uint64_t key[2], const void *data, size_t len);

/* Spreads a number over 64 bits, one to one: the last step of splitmix64. */
static inline uint64_t hash_mix(uint64_t x) {
        x += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

#endif
