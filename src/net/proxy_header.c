/* SPDX-License-Identifier: ISC */
#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROXY_HEADER_UNIX_OFFSET offsetof(struct sockaddr_un, sun_path)
#define PROXY_HEADER_PATH 108           /* bytes of each AF_UNIX address in v2, whatever the system's are */
#define PROXY_HEADER_FIXED 16           /* bytes of v2 before the addresses */
#define PROXY_HEADER_IDS 12             /* bytes of the value of TLV 0xE0 */

/* The second byte of v2's two: family above, protocol below. */
enum proxy_header_family { PROXY_HEADER_UNSPEC, PROXY_HEADER_INET, PROXY_HEADER_INET6, PROXY_HEADER_UNIX };
enum proxy_header_protocol { PROXY_HEADER_ANY, PROXY_HEADER_STREAM, PROXY_HEADER_DGRAM };

#define PROXY_HEADER_LOCAL 0x20         /* version 2, command LOCAL */
#define PROXY_HEADER_PROXY 0x21         /* version 2, command PROXY */
#define PROXY_HEADER_TLV_IDS 0xe0       /* uid, gid and pid: ours, from the range for such */

_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == PROXY_HEADER_PATH, "a path fits");

static const uint8_t proxy_header_v1[6] = { 'P', 'R', 'O', 'X', 'Y', ' ' };
static const uint8_t proxy_header_v2[12] = { 13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10 };

static int proxy_header_bad(const char **why, const char *text) {
        *why = text;
        return -EBADMSG;
}

static unsigned proxy_header_u16(const uint8_t *at) {
        return (unsigned)at[0] << 8 | at[1];
}

static uint32_t proxy_header_u32(const uint8_t *at) {
        return (uint32_t)proxy_header_u16(at) << 16 | proxy_header_u16(at + 2);
}

static struct addr proxy_header_in(const void *address, uint16_t port) {
        struct addr addr = { .kind = ADDR_IP, .len = sizeof(addr.in), .in = { .sin_family = AF_INET } };

        memcpy(&addr.in.sin_addr, address, sizeof(addr.in.sin_addr));
        addr.in.sin_port = htons(port);
        return addr;
}

static struct addr proxy_header_in6(const void *address, uint16_t port) {
        struct addr addr = { .kind = ADDR_IP, .len = sizeof(addr.in6), .in6 = { .sin6_family = AF_INET6 } };

        memcpy(&addr.in6.sin6_addr, address, sizeof(addr.in6.sin6_addr));
        addr.in6.sin6_port = htons(port);
        addr_unmap(&addr);
        return addr;
}

/* A path ends at its first NUL, an abstract name, which begins with one, at the padding. */
static struct addr proxy_header_un(const uint8_t *path) {
        struct addr addr = { .kind = ADDR_UNIX, .un = { .sun_family = AF_UNIX } };
        size_t len;

        if (path[0]) {
                len = strnlen((const char *)path, PROXY_HEADER_PATH);
                memcpy(addr.un.sun_path, path, len);
                len += len < PROXY_HEADER_PATH;
        } else {
                for (len = PROXY_HEADER_PATH; len && !path[len - 1]; len--)
                        ;
                memcpy(addr.un.sun_path, path, len);
        }
        addr.len = (socklen_t)(PROXY_HEADER_UNIX_OFFSET + len);
        return addr;
}

/* The next word of a v1 line, which has to end in the character `end`.  Returns 0 where there is none that fits. */
static int proxy_header_word(const char **line, char end, char *word, size_t size) {
        const char *stop = strchr(*line, end);
        size_t len = stop ? (size_t)(stop - *line) : size;

        if (len == 0 || len >= size)
                return 0;
        memcpy(word, *line, len);
        word[len] = '\0';
        *line = stop + 1;
        return 1;
}

/* A port as v1 writes it: digits without noughts before them. */
static int proxy_header_port(const char *word, uint16_t *port) {
        unsigned n = 0;

        if (word[0] == '0' && word[1])
                return 0;
        for (; *word >= '0' && *word <= '9' && n <= UINT16_MAX; word++)
                n = n * 10 + (unsigned)(*word - '0');
        *port = (uint16_t)n;
        return !*word && n <= UINT16_MAX;
}

/* The addresses of a v1 line after its protocol; `line` ends in CR. */
static int proxy_header_line(struct proxy_header *header, const char *line, int family, const char **why) {
        char word[4][INET6_ADDRSTRLEN];
        struct in6_addr address[2];
        uint16_t port[2];

        for (int i = 0; i < 4; i++)
                if (!proxy_header_word(&line, i < 3 ? ' ' : '\r', word[i], sizeof(word[i])))
                        return proxy_header_bad(why, "the line lacks an address or a port");
        if (*line)
                return proxy_header_bad(why, "the line goes on after its ports");
        for (int i = 0; i < 2; i++) {
                if (inet_pton(family, word[i], &address[i]) != 1)
                        return proxy_header_bad(why, "not an address of the family that the line names");
                if (!proxy_header_port(word[2 + i], &port[i]))
                        return proxy_header_bad(why, "a port must be a number from 0 to 65535");
        }
        if (family == AF_INET) {
                header->client = proxy_header_in(&address[0], port[0]);
                header->destination = proxy_header_in(&address[1], port[1]);
        } else {
                header->client = proxy_header_in6(&address[0], port[0]);
                header->destination = proxy_header_in6(&address[1], port[1]);
        }
        return 0;
}

static int proxy_header_parse_v1(struct proxy_header *header, const uint8_t *buf, size_t len, const char **why) {
        size_t seen = len < PROXY_HEADER_V1_MAX ? len : PROXY_HEADER_V1_MAX, n;
        char line[PROXY_HEADER_V1_MAX + 1];
        int r;

        for (n = 0; n < seen && buf[n] != '\r' && buf[n] != '\n' && buf[n]; n++)
                ;
        if (n + 1 >= PROXY_HEADER_V1_MAX)
                return proxy_header_bad(why, "the line is longer than 107 bytes");
        if (n < seen && buf[n] != '\r')
                return proxy_header_bad(why, "the line has an odd byte in it");
        if (n + 1 >= seen)
                return PROXY_HEADER_MORE;
        if (buf[n + 1] != '\n')
                return proxy_header_bad(why, "the line does not end in CR LF");

        memcpy(line, buf, n + 1);
        line[n + 1] = '\0';
        if (strncmp(line + 6, "TCP4 ", 5) == 0)
                r = proxy_header_line(header, line + 11, AF_INET, why);
        else if (strncmp(line + 6, "TCP6 ", 5) == 0)
                r = proxy_header_line(header, line + 11, AF_INET6, why);
        else if (strncmp(line + 6, "UNKNOWN", 7) == 0 && (line[13] == ' ' || line[13] == '\r'))
                r = 0;
        else
                r = proxy_header_bad(why, "the protocol must be TCP4, TCP6 or UNKNOWN");
        return r < 0 ? r : (int)n + 2;
}

/* What comes after the addresses.  Of all TLVs, only the ids of an AF_UNIX client mean something to us. */
static int proxy_header_tlvs(struct proxy_header *header, const uint8_t *at, size_t left, const char **why) {
        while (left) {
                size_t n = left < 3 ? 0 : proxy_header_u16(at + 1);

                if (left < 3 || n > left - 3)
                        return proxy_header_bad(why, "a TLV is longer than the header");
                if (at[0] == PROXY_HEADER_TLV_IDS && n == PROXY_HEADER_IDS && header->client.kind == ADDR_UNIX) {
                        header->has_ids = 1;
                        header->uid = proxy_header_u32(at + 3);
                        header->gid = proxy_header_u32(at + 7);
                        header->pid = (int32_t)proxy_header_u32(at + 11);
                }
                at += 3 + n;
                left -= 3 + n;
        }
        return 0;
}

/* The addresses of a whole v2 header, len bytes with TLVs. */
static int proxy_header_addresses(struct proxy_header *header, unsigned family, const uint8_t *at, size_t len,
                                  const char **why) {
        static const uint8_t sizes[] = { 0, 12, 36, 2 * PROXY_HEADER_PATH };
        size_t size = sizes[family];

        if (len < size)
                return proxy_header_bad(why, "the header is too short for its addresses");
        switch (family) {
        case PROXY_HEADER_INET:
                header->client = proxy_header_in(at, (uint16_t)proxy_header_u16(at + 8));
                header->destination = proxy_header_in(at + 4, (uint16_t)proxy_header_u16(at + 10));
                break;
        case PROXY_HEADER_INET6:
                header->client = proxy_header_in6(at, (uint16_t)proxy_header_u16(at + 32));
                header->destination = proxy_header_in6(at + 16, (uint16_t)proxy_header_u16(at + 34));
                break;
        default:
                header->client = proxy_header_un(at);
                header->destination = proxy_header_un(at + PROXY_HEADER_PATH);
                break;
        }
        return proxy_header_tlvs(header, at + size, len - size, why);
}

static int proxy_header_parse_v2(struct proxy_header *header, const uint8_t *buf, size_t len, const char **why) {
        unsigned family, protocol;
        size_t rest;
        int r;

        if (len < 13)
                return PROXY_HEADER_MORE;
        if (buf[12] >> 4 != 2)
                return proxy_header_bad(why, "a binary header must have version 2");
        if (buf[12] != PROXY_HEADER_LOCAL && buf[12] != PROXY_HEADER_PROXY)
                return proxy_header_bad(why, "the command must be LOCAL or PROXY");
        if (len < 14)
                return PROXY_HEADER_MORE;
        family = buf[13] >> 4;
        protocol = buf[13] & 15;
        if (buf[12] == PROXY_HEADER_PROXY && protocol == PROXY_HEADER_DGRAM)
                return proxy_header_bad(why, "the client's connection must be a stream");
        if (buf[12] == PROXY_HEADER_PROXY && (family > PROXY_HEADER_UNIX || protocol > PROXY_HEADER_STREAM))
                return proxy_header_bad(why, "the family or the protocol is none that there is");
        if (len < PROXY_HEADER_FIXED)
                return PROXY_HEADER_MORE;
        rest = proxy_header_u16(buf + 14);
        if (PROXY_HEADER_FIXED + rest > PROXY_HEADER_V2_MAX)
                return proxy_header_bad(why, "the header is longer than 4096 bytes");
        if (len < PROXY_HEADER_FIXED + rest)
                return PROXY_HEADER_MORE;

        if (buf[12] == PROXY_HEADER_PROXY && family != PROXY_HEADER_UNSPEC && protocol == PROXY_HEADER_STREAM) {
                r = proxy_header_addresses(header, family, buf + PROXY_HEADER_FIXED, rest, why);
                if (r < 0)
                        return r;
        }
        return (int)(PROXY_HEADER_FIXED + rest);
}

int proxy_header_parse(struct proxy_header *header, const void *data, size_t len, const char **why) {
        const uint8_t *buf = data;

        *header = (struct proxy_header){ .client = { .kind = ADDR_NONE }, .destination = { .kind = ADDR_NONE } };
        if (len == 0)
                return PROXY_HEADER_MORE;
        if (memcmp(buf, proxy_header_v1, len < sizeof(proxy_header_v1) ? len : sizeof(proxy_header_v1)) == 0)
                return len < sizeof(proxy_header_v1) ? PROXY_HEADER_MORE : proxy_header_parse_v1(header, buf, len, why);
        if (memcmp(buf, proxy_header_v2, len < sizeof(proxy_header_v2) ? len : sizeof(proxy_header_v2)) == 0)
                return proxy_header_parse_v2(header, buf, len, why);
        return proxy_header_bad(why, "this does not begin as a PROXY header does");
}

/* As IPv6: an IPv4 address as v4-mapped, beside an IPv6 one.  Returns the port, in host order. */
static uint16_t proxy_header_as_in6(const struct addr *addr, uint8_t *bytes) {
        if (addr->sa.sa_family == AF_INET6) {
                memcpy(bytes, &addr->in6.sin6_addr, 16);
                return ntohs(addr->in6.sin6_port);
        }
        memset(bytes, 0, 10);
        memset(bytes + 10, 0xff, 2);
        memcpy(bytes + 12, &addr->in.sin_addr, 4);
        return ntohs(addr->in.sin_port);
}

/* Hexadecimal groups alone: what v1 asks for, though inet_ntop() likes to end in an IPv4 address. */
static void proxy_header_put_in6(const uint8_t *bytes, char *text) {
        size_t at = 0;

        inet_ntop(AF_INET6, bytes, text, INET6_ADDRSTRLEN);
        if (!strchr(text, '.'))
                return;
        for (int i = 0; i < 16; i += 2)
                at += (size_t)snprintf(text + at, INET6_ADDRSTRLEN - at, "%s%x", i ? ":" : "",
                                       proxy_header_u16(bytes + i));
}

static size_t proxy_header_format_v1(const struct addr *client, const struct addr *destination, int family,
                                     char *line) {
        char text[2][INET6_ADDRSTRLEN];
        uint8_t bytes[2][16];
        uint16_t port[2];

        if (family == AF_INET) {
                inet_ntop(AF_INET, &client->in.sin_addr, text[0], sizeof(text[0]));
                inet_ntop(AF_INET, &destination->in.sin_addr, text[1], sizeof(text[1]));
                port[0] = ntohs(client->in.sin_port);
                port[1] = ntohs(destination->in.sin_port);
        } else if (family == AF_INET6) {
                port[0] = proxy_header_as_in6(client, bytes[0]);
                port[1] = proxy_header_as_in6(destination, bytes[1]);
                proxy_header_put_in6(bytes[0], text[0]);
                proxy_header_put_in6(bytes[1], text[1]);
        } else
                return (size_t)sprintf(line, "PROXY UNKNOWN\r\n");
        return (size_t)sprintf(line, "PROXY TCP%d %s %s %u %u\r\n", family == AF_INET ? 4 : 6, text[0], text[1],
                               port[0], port[1]);
}

static void proxy_header_put_path(uint8_t *at, const struct addr *addr) {
        size_t len = addr->kind == ADDR_UNIX ? addr->len - PROXY_HEADER_UNIX_OFFSET : 0;

        memset(at, 0, PROXY_HEADER_PATH);
        memcpy(at, addr->un.sun_path, len < PROXY_HEADER_PATH ? len : PROXY_HEADER_PATH);
}

static size_t proxy_header_format_v2(const struct addr *client, const struct addr *destination, int family,
                                     uint8_t *buf) {
        uint8_t *at = buf + PROXY_HEADER_FIXED;
        uint16_t port[2];
        size_t rest = 0;

        memcpy(buf, proxy_header_v2, sizeof(proxy_header_v2));
        buf[12] = family == AF_UNSPEC ? PROXY_HEADER_LOCAL : PROXY_HEADER_PROXY;
        buf[13] = PROXY_HEADER_UNSPEC;
        switch (family) {
        case AF_INET:
                buf[13] = PROXY_HEADER_INET << 4 | PROXY_HEADER_STREAM;
                memcpy(at, &client->in.sin_addr, 4);
                memcpy(at + 4, &destination->in.sin_addr, 4);
                memcpy(at + 8, &client->in.sin_port, 2);
                memcpy(at + 10, &destination->in.sin_port, 2);
                rest = 12;
                break;
        case AF_INET6:
                buf[13] = PROXY_HEADER_INET6 << 4 | PROXY_HEADER_STREAM;
                port[0] = htons(proxy_header_as_in6(client, at));
                port[1] = htons(proxy_header_as_in6(destination, at + 16));
                memcpy(at + 32, port, sizeof(port));
                rest = 36;
                break;
        case AF_UNIX:
                buf[13] = PROXY_HEADER_UNIX << 4 | PROXY_HEADER_STREAM;
                proxy_header_put_path(at, client);
                proxy_header_put_path(at + PROXY_HEADER_PATH, destination);
                rest = 2 * PROXY_HEADER_PATH;
                break;
        default:
                break;
        }
        buf[14] = (uint8_t)(rest >> 8);
        buf[15] = (uint8_t)rest;
        return PROXY_HEADER_FIXED + rest;
}

size_t proxy_header_format(const struct proxy_header *header, unsigned version, void *buf) {
        const struct addr *client = &header->client, *destination = &header->destination;
        int family = addr_family(client), other = addr_family(destination);

        /* IP on one side and not on the other is no connection that there could be. */
        if (family == AF_INET || family == AF_INET6) {
                if (other == AF_INET6)
                        family = AF_INET6;
                else if (other != AF_INET)
                        family = AF_UNSPEC;
        }
        return version == 1 ? proxy_header_format_v1(client, destination, family, buf)
                            : proxy_header_format_v2(client, destination, family, buf);
}
