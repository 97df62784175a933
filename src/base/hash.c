/* SPDX-License-Identifier: ISC */
#include "base/hash.h"

#include <endian.h>
#include <string.h>

struct hash_state {
        uint64_t v[4];
};

static uint64_t hash_rotate(uint64_t x, int bits) {
        return x << bits | x >> (64 - bits);
}

static void hash_rounds(struct hash_state *state, int rounds) {
        uint64_t *v = state->v;

        while (rounds-- > 0) {
                v[0] += v[1];
                v[1] = hash_rotate(v[1], 13) ^ v[0];
                v[0] = hash_rotate(v[0], 32);
                v[2] += v[3];
                v[3] = hash_rotate(v[3], 16) ^ v[2];
                v[0] += v[3];
                v[3] = hash_rotate(v[3], 21) ^ v[0];
                v[2] += v[1];
                v[1] = hash_rotate(v[1], 17) ^ v[2];
                v[2] = hash_rotate(v[2], 32);
        }
}

static void hash_word(struct hash_state *state, uint64_t word) {
        state->v[3] ^= word;
        hash_rounds(state, 2);
        state->v[0] ^= word;
}

uint64_t hash_sip(const uint64_t key[2], const void *data, size_t len) {
        struct hash_state state = { { key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                                      key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573) } };
        const unsigned char *bytes = data;
        size_t left = len;
        uint64_t word;

        for (; left >= sizeof(word); left -= sizeof(word), bytes += sizeof(word)) {
                memcpy(&word, bytes, sizeof(word));
                hash_word(&state, le64toh(word));
        }
        word = (uint64_t)len << 56;
        for (size_t i = 0; i < left; i++)
                word |= (uint64_t)bytes[i] << (8 * i);
        hash_word(&state, word);
        state.v[2] ^= 0xff;
        hash_rounds(&state, 4);
        return state.v[0] ^ state.v[1] ^ state.v[2] ^ state.v[3];
}
