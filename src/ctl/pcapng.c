/* SPDX-License-Identifier: ISC */
#include "ctl/pcapng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#define PCAPNG_SEGMENT 32768            /* bytes of a session in one packet at most */
#define PCAPNG_HEADERS (sizeof(struct iphdr) + sizeof(struct tcphdr))
#define PCAPNG_WINDOW 65535

/* Block types and options, by the format. */
enum { PCAPNG_SECTION = 0x0A0D0D0A, PCAPNG_INTERFACE = 1, PCAPNG_PACKET = 6 };
enum { PCAPNG_RAW_IP = 101, PCAPNG_OPT_END = 0, PCAPNG_OPT_COMMENT = 1 };

static size_t pcapng_padded(size_t n) {
        return (n + 3) & ~(size_t)3;
}

/* Writes a block around the body, whose length is a multiple of 4. */
static int pcapng_block(struct pcapng *pcapng, uint32_t type, const void *body, size_t n) {
        uint32_t head[2] = { type, (uint32_t)n + 12 };

        errno = 0;
        fwrite(head, sizeof(head), 1, pcapng->out);
        fwrite(body, n, 1, pcapng->out);
        fwrite(&head[1], sizeof(head[1]), 1, pcapng->out);
        if (fflush(pcapng->out) != 0 || ferror(pcapng->out))
                return errno ? -errno : -EIO;
        return 0;
}

/* "10.0.0.1:80" as it is; whatever else by a stand-in, with its port where it has one. */
static struct sockaddr_in pcapng_end(const char *text, const char *stand_in, uint16_t port) {
        const char *colon = strrchr(text, ':');
        struct sockaddr_in end = { .sin_family = AF_INET, .sin_port = htons(port) };
        char host[64] = "";

        if (colon && strncmp(text, "unix", 4) != 0) {
                snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
                end.sin_port = htons((uint16_t)atoi(colon + 1));
        }
        if (inet_pton(AF_INET, host, &end.sin_addr) != 1)
                inet_pton(AF_INET, stand_in, &end.sin_addr);
        return end;
}

int pcapng_begin(struct pcapng *pcapng, FILE *out, const char *client, const char *server, const char *comment) {
        struct { uint16_t link, reserved; uint32_t snap; } interface = { PCAPNG_RAW_IP, 0, 0 };
        struct {
                uint32_t magic;
                uint16_t major, minor;
                uint32_t length[2];     /* not known */
                uint16_t option, option_length;
                char comment[1024 + sizeof(uint32_t)];  /* and the end of options */
        } section = { .magic = 0x1A2B3C4D, .major = 1, .length = { UINT32_MAX, UINT32_MAX },
                      .option = PCAPNG_OPT_COMMENT };
        const uint16_t end[2] = { PCAPNG_OPT_END, 0 };
        size_t n;
        int r;

        *pcapng = (struct pcapng){ .out = out };
        pcapng->ends[PCAPNG_CLIENT] = pcapng_end(client, "127.0.0.1", 40000);
        pcapng->ends[PCAPNG_SERVER] = pcapng_end(server, "127.0.0.2", 80);
        snprintf(section.comment, sizeof(section.comment) - sizeof(end), "%s", comment);
        section.option_length = (uint16_t)strlen(section.comment);
        n = offsetof(__typeof__(section), comment) + pcapng_padded(section.option_length);
        memcpy((char *)&section + n, end, sizeof(end));
        r = pcapng_block(pcapng, PCAPNG_SECTION, &section, n + sizeof(end));
        return r < 0 ? r : pcapng_block(pcapng, PCAPNG_INTERFACE, &interface, sizeof(interface));
}

/* RFC 1071. */
static uint32_t pcapng_sum(uint32_t sum, const void *bytes, size_t n) {
        const uint8_t *at = bytes;

        for (size_t i = 0; i < n; i++)
                sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return sum;
}

static void pcapng_headers(struct pcapng *pcapng, enum pcapng_side from, uint8_t *packet, size_t n) {
        const struct sockaddr_in *source = &pcapng->ends[from], *destination = &pcapng->ends[!from];
        struct iphdr ip = { .version = 4, .ihl = 5, .tot_len = htons((uint16_t)(PCAPNG_HEADERS + n)), .ttl = 64,
                            .protocol = IPPROTO_TCP, .saddr = source->sin_addr.s_addr,
                            .daddr = destination->sin_addr.s_addr };
        struct tcphdr tcp = { .source = source->sin_port, .dest = destination->sin_port,
                              .seq = htonl(pcapng->sequence[from]), .ack_seq = htonl(pcapng->sequence[!from]),
                              .doff = 5, .psh = 1, .ack = 1, .window = htons(PCAPNG_WINDOW) };
        struct { uint32_t source, destination; uint8_t zero, protocol; uint16_t length; } pseudo = {
                ip.saddr, ip.daddr, 0, IPPROTO_TCP, htons((uint16_t)(sizeof(tcp) + n)) };
        uint32_t sum;

        ip.check = htons((uint16_t)~pcapng_sum(0, &ip, sizeof(ip)));
        sum = pcapng_sum(pcapng_sum(pcapng_sum(0, &pseudo, sizeof(pseudo)), &tcp, sizeof(tcp)),
                         packet + PCAPNG_HEADERS, n);
        tcp.check = htons((uint16_t)~sum);
        memcpy(packet, &ip, sizeof(ip));
        memcpy(packet + sizeof(ip), &tcp, sizeof(tcp));
}

/* One segment. */
static int pcapng_packet(struct pcapng *pcapng, enum pcapng_side from, int64_t wall_us, const void *bytes, size_t n) {
        struct {
                uint32_t interface, high, low, captured, length;
                uint8_t packet[PCAPNG_HEADERS + PCAPNG_SEGMENT + 4];
        } block = { .high = (uint32_t)((uint64_t)wall_us >> 32), .low = (uint32_t)wall_us,
                    .captured = (uint32_t)(PCAPNG_HEADERS + n), .length = (uint32_t)(PCAPNG_HEADERS + n) };

        memcpy(block.packet + PCAPNG_HEADERS, bytes, n);
        pcapng_headers(pcapng, from, block.packet, n);
        pcapng->sequence[from] += (uint32_t)n;
        return pcapng_block(pcapng, PCAPNG_PACKET, &block,
                            offsetof(__typeof__(block), packet) + pcapng_padded(PCAPNG_HEADERS + n));
}

int pcapng_bytes(struct pcapng *pcapng, enum pcapng_side from, int64_t wall_us, const void *bytes, size_t n) {
        int r = 0;

        for (size_t at = 0; at < n && r == 0; at += PCAPNG_SEGMENT) {
                size_t piece = n - at < PCAPNG_SEGMENT ? n - at : PCAPNG_SEGMENT;

                r = pcapng_packet(pcapng, from, wall_us, (const char *)bytes + at, piece);
        }
        return r;
}

void pcapng_lost(struct pcapng *pcapng, enum pcapng_side from, uint64_t n) {
        pcapng->sequence[from] += (uint32_t)n;
}
