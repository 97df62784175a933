/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_PROXY_HEADER_H
#define SPLICED_NET_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

/*
 * The header of the PROXY protocol, in which a proxy names the client of a
 * connection: a line of text (v1) or binary (v2), before anything else.  Pure: no system call, no memory.
 */

#define PROXY_HEADER_V1_MAX 107         /* bytes that a line may have, its end included */
#define PROXY_HEADER_V2_MAX 4096        /* bytes that we accept as a binary header, TLVs included */
#define PROXY_HEADER_SIZE 232           /* bytes of the longest header that proxy_header_format() writes */

/*
 * What a header says.  An AF_UNIX address without a name has the length of its family alone.  A v4-mapped address is
 * plain IPv4, so one of the two may be IPv4 and the other IPv6.
 */
struct proxy_header {
        struct addr client;             /* ADDR_NONE (v1 UNKNOWN, v2 LOCAL and UNSPEC): whoever sent it is the client */
        struct addr destination;        /* where the client connected to; ADDR_NONE where client is */
        uint8_t has_ids;                /* of an AF_UNIX client, by TLV 0xE0 */
        uint32_t uid, gid;
        int32_t pid;
};

/*
 * Reads a header from the first bytes of a connection, as many as there are so
 * far.  What is wrong is said as soon as it can be told.
 * Returns the length of the header in bytes, with *header filled; 0 where it is not complete;
 * -EBADMSG with *why set to a static text that says what is wrong.
 */
#define PROXY_HEADER_MORE 0
int proxy_header_parse(struct proxy_header *header, const void *buf, size_t len, const char **why);

/*
 * Writes a header of version 1 or 2, which takes PROXY_HEADER_SIZE bytes at most.  Without a client it says that there
 * is none: UNKNOWN in v1, LOCAL in v2.  v1 knows no AF_UNIX clients: UNKNOWN.  v2 has no TLVs.  Returns its length.
 */
size_t proxy_header_format(const struct proxy_header *header, unsigned version, void *buf);

#endif
