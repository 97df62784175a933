/* SPDX-License-Identifier: ISC */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "net/proxy_header.h"

/* What was read and is written again has to say the same. */
static void fuzz_round_trip(const struct proxy_header *header, unsigned version) {
        struct proxy_header back;
        char buf[PROXY_HEADER_SIZE], text[2][ADDR_STRLEN];
        const char *why = "";
        size_t len = proxy_header_format(header, version, buf);

        FUZZ_CHECK(len > 0 && len <= sizeof(buf));
        FUZZ_CHECK(proxy_header_parse(&back, buf, len, &why) == (int)len);
        if (version == 1 && header->client.kind == ADDR_UNIX) {
                FUZZ_CHECK(back.client.kind == ADDR_NONE);
                return;
        }
        FUZZ_CHECK(back.client.kind == header->client.kind);
        if (header->client.kind == ADDR_NONE)
                return;
        addr_format(&header->client.sa, header->client.len, text[0], ADDR_STRLEN);
        addr_format(&back.client.sa, back.client.len, text[1], ADDR_STRLEN);
        FUZZ_CHECK(strcmp(text[0], text[1]) == 0);
        addr_format(&header->destination.sa, header->destination.len, text[0], ADDR_STRLEN);
        addr_format(&back.destination.sa, back.destination.len, text[1], ADDR_STRLEN);
        FUZZ_CHECK(strcmp(text[0], text[1]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct proxy_header header, again;
        const char *why = NULL;
        int r = proxy_header_parse(&header, data, size, &why);

        FUZZ_CHECK(r >= 0 || (r == -EBADMSG && why));
        FUZZ_CHECK(r != PROXY_HEADER_MORE || size < PROXY_HEADER_V2_MAX);
        if (r <= 0)
                return 0;
        FUZZ_CHECK((size_t)r <= size && r <= PROXY_HEADER_V2_MAX);
        /* Complete with its last byte and not before, whatever follows. */
        FUZZ_CHECK(proxy_header_parse(&again, data, (size_t)r, &why) == r);
        for (int n = 0; n < r; n += n < 20 || n > r - 3 ? 1 : r / 20 + 1)
                FUZZ_CHECK(proxy_header_parse(&again, data, (size_t)n, &why) == PROXY_HEADER_MORE);
        fuzz_round_trip(&header, 1);
        fuzz_round_trip(&header, 2);
        return 0;
}
