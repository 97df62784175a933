/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_PCAPNG_H
#define SPLICED_CTL_PCAPNG_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * A capture file of a session's bytes, as pcapng: the bytes in TCP segments of a connection between client and server
 * that never was on a wire like this, so that every analyser knows what to do with them.  The file's comment says who
 * they really are; a side without an IPv4 address of its own is 127.0.0.1 or 127.0.0.2 here, with its port where it
 * has one.
 * Format: draft-ietf-opsawg-pcapng; link type 101, raw IP.
 */

enum pcapng_side { PCAPNG_CLIENT, PCAPNG_SERVER, PCAPNG_SIDES };

struct pcapng {
        FILE *out;                                      /* borrowed */
        struct sockaddr_in ends[PCAPNG_SIDES];
        uint32_t sequence[PCAPNG_SIDES];                /* of the next byte that comes from that side */
};

/*
 * Writes the file's head.  client and server are addresses as the API names them ("10.0.0.1:80", "unix"); the comment
 * says more about them.  0 or -errno.
 */
int pcapng_begin(struct pcapng *pcapng, FILE *out, const char *client, const char *server, const char *comment);

/* n bytes that came from that side at that time.  0 or -errno. */
int pcapng_bytes(struct pcapng *pcapng, enum pcapng_side from, int64_t wall_us, const void *bytes, size_t n);

/* n bytes of that side are missing: an analyser sees a gap. */
void pcapng_lost(struct pcapng *pcapng, enum pcapng_side from, uint64_t n);

#endif
