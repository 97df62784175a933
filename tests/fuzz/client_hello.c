/* SPDX-License-Identifier: ISC */
#include "fuzz.h"

#include <string.h>

#include "net/client_hello.h"

/* Parses a copy of the first bytes, in memory that ends where they end. */
static enum client_hello_outcome fuzz_parse(struct client_hello *hello, const uint8_t *data, size_t size,
                                            uint8_t **copy) {
        *copy = malloc(size ? size : 1);
        FUZZ_CHECK(*copy);
        if (size)
                memcpy(*copy, data, size);
        return client_hello_parse(hello, *copy, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct client_hello hello, part;
        enum client_hello_outcome outcome, before;
        uint8_t *copy, *other;
        size_t len;

        outcome = fuzz_parse(&hello, data, size, &copy);
        len = strnlen(hello.sni, sizeof(hello.sni));
        FUZZ_CHECK(len < sizeof(hello.sni));
        FUZZ_CHECK(outcome == CLIENT_HELLO_COMPLETE || (len == 0 && hello.alpn_len == 0));
        for (size_t i = 0; i < len; i++)
                FUZZ_CHECK(hello.sni[i] > ' ' && hello.sni[i] <= '~' && !(hello.sni[i] >= 'A' && hello.sni[i] <= 'Z'));
        if (hello.alpn_len) {
                FUZZ_CHECK(hello.alpn >= copy && hello.alpn + hello.alpn_len <= copy + size);
                for (size_t at = 0; at < hello.alpn_len; at += 1u + hello.alpn[at])
                        FUZZ_CHECK(hello.alpn[at] && hello.alpn[at] < hello.alpn_len - at);
        }
        /* No prefix says anything but "more", or what all of it says; and what is complete stays so. */
        for (size_t n = 0; n < size; n += n < 12 ? 1 : size / 16 + 1) {
                before = fuzz_parse(&part, data, n, &other);
                FUZZ_CHECK(before == CLIENT_HELLO_MORE || before == outcome);
                FUZZ_CHECK(before != CLIENT_HELLO_COMPLETE || strcmp(part.sni, hello.sni) == 0);
                free(other);
        }
        free(copy);
        return 0;
}
