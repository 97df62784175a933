/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_DNS_H
#define SPLICED_HEALTH_DNS_H

#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "net/addr.h"

/*
 * Looks names up, by c-ares: /etc/hosts first, then the name servers of the config or, where it names none, those of
 * /etc/resolv.conf (which is read again when it has changed).  Many look-ups may be under way at once.
 * Nothing here waits for a name server but dns_wait().  One thread uses a struct dns.
 */

#define DNS_ADDRESSES 64        /* that one look-up yields at most */

/* What a look-up has learned about one address family. */
enum dns_state {
        DNS_GOOD,               /* the answer has its addresses, all there are */
        DNS_EMPTY,              /* there are none: no such name, or no such record; for SRV, of one target at least */
        DNS_FAILED,             /* not known: no answer, or none that is of use; for SRV, of one target at least */
};

struct dns_address {
        struct addr addr;       /* ADDR_IP, with the port */
        uint16_t priority;      /* SRV: a lower one is to be used first */
        uint16_t weight;        /* SRV */
        uint16_t share;         /* SRV: so many addresses share that weight; 0: no SRV record */
        int unreachable;        /* this machine has no route there, and neither to any other of the answer */
};

/* Without doubles, in an order that does not depend on that of the answers. */
struct dns_answer {
        enum dns_state v4, v6;
        const char *why;        /* static text: what failed, or why there is nothing at all; NULL: neither */
        int64_t ttl_ms;         /* -1: a file says so, which has none */
        size_t n;
        size_t left_out;        /* that were too many, or not reachable from here */
        struct dns_address list[DNS_ADDRESSES];
};

struct dns;

/*
 * Makes one with no look-up under way.  conf is borrowed.  Returns 0 or -errno.
 */
int dns_new(struct dns **out, const struct conf_resolver *conf);

/* Frees; look-ups that are under way end without a word, at once.  NULL is fine. */
void dns_free(struct dns *dns);

/*
 * Starts to look up the addresses of a host name, along the system's search list, or of the targets of an SRV name.
 * done() gets the answer, which is its own for the call; it may come before this returns, and it may start look-ups.
 * Returns 0 or -ENOMEM (then done() is not called).
 */
int dns_host(struct dns *dns, const char *host, uint16_t port,
             void (*done)(void *arg, const struct dns_answer *answer), void *arg);
int dns_srv(struct dns *dns, const char *name, void (*done)(void *arg, const struct dns_answer *answer), void *arg);

/* How many look-ups are under way. */
size_t dns_pending(const struct dns *dns);

/*
 * Whether /etc/resolv.conf has changed while look-ups are under way: a hint to start no more until they have
 * ended, for only then it is read again.
 */
int dns_outdated(struct dns *dns);

/*
 * Waits until a look-up ends or may go on, `wake` is readable or time is up (ms, -1: never), once.
 * Returns 1 where `wake` is readable, else 0; or -errno.
 */
int dns_wait(struct dns *dns, int wake, int64_t timeout_ms);

/* Whether this machine has a route to the address. */
int dns_reachable(const struct addr *addr);

#endif
