/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_ROUTE_H
#define SPLICED_SESSION_ROUTE_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

/* Which route of a frontend takes a client.  Pure: no system call, no memory. */

enum route_hello {
        ROUTE_HELLO_AWAITED,            /* the client has not said enough */
        ROUTE_HELLO_NONE,               /* it will not say, or not in time */
        ROUTE_HELLO_HERE,               /* sni and alpn tell */
};

/* What is known of a client. */
struct route_client {
        int family;                     /* AF_INET, AF_INET6 or AF_UNIX */
        struct in6_addr address;        /* an IPv4 one in its first four bytes */
        int has_ids;                    /* of the socket's peer: */
        uint32_t uid, gid;
        const uint32_t *groups;         /* the peer's supplementary ones */
        size_t n_groups;
        enum route_hello hello;
        const char *sni;                /* lower case; "": it named none */
        const uint8_t *alpn;            /* protocols, each with its length in a byte before it */
        size_t alpn_len;
};

#define ROUTE_NONE (-1)                 /* none takes it: the default */
#define ROUTE_AWAIT (-2)                /* the answer depends on what the client will say */

/*
 * The first route that takes the client: each condition that it has must match.  Returns
 * its index, ROUTE_NONE, or ROUTE_AWAIT, which is never for a client whose hello is not awaited.
 */
int route_match(const struct conf_route *routes, size_t n, const struct route_client *client);

/* Whether a route asks for the peer's groups. */
int route_asks_groups(const struct conf_route *routes, size_t n);

#endif
