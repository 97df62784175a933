/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_QUOTA_H
#define SPLICED_BALANCE_QUOTA_H

#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bucket.h"

/*
 * How many sessions each source has now, and how fast it opens them.  A source
 * is one IPv4 address, one IPv6 /64 or one uid, for each frontend by itself.
 *
 * Memory is bounded, and an outsider cannot make it grow: there is an entry for each source that has a session, so no
 * more than there may be sessions, and room for QUOTA_IDLE sources without one.  A refused session makes no
 * entry.  A source without a session is remembered for its bucket alone: as soon as that is full again,
 * one second after it was last used at most, the entry says no more than none would, and is free.  Should more
 * than QUOTA_IDLE sources come and go within a second, the one that has been without a session for longest is forgotten
 * first, and gets the rest of its burst early.  An entry with a session is never evicted, so
 * max-per-source holds whatever happens.
 *
 * Derived state in process memory: a successor counts the sessions that it adopts, and starts with full buckets.
 * All threads share it; each call takes one lock of QUOTA_STRIPES, chosen by a keyed hash, for a few
 * hundred instructions, and a second one for fewer where an entry comes or goes.
 */

#define QUOTA_STRIPES 64
#define QUOTA_IDLE 65536u       /* QUOTA_STRIPES times as many as a stripe keeps */
#define QUOTA_NONE 0u           /* no place */

enum quota_kind { QUOTA_IPV4 = 1, QUOTA_IPV6, QUOTA_UID };

struct quota_source {
        uint64_t address;       /* or uid */
        uint32_t frontend;
        uint32_t kind;          /* enum quota_kind */
};

struct quota_limits {
        uint32_t sessions;              /* at once; 0: off */
        struct bucket_limit rate;       /* new ones; rate 0: off */
};

/* Links are indices of entries, 0: none. */
struct quota_entry {
        struct quota_source source;
        int64_t paid;           /* of its bucket */
        uint32_t sessions;      /* 0: it is in its stripe's list of idle ones */
        uint32_t head;          /* of the chain that it is in */
        uint32_t next;          /* in that chain, or in the list of free entries */
        uint32_t newer, older;  /* among the idle ones */
};

struct quota_stripe {
        pthread_mutex_t lock;
        uint32_t newest, oldest, n_idle;
} __attribute__((aligned(64)));

struct quota {
        struct quota_entry *entries;    /* owned mapping, touched only as it comes to be used; the first is not used */
        uint32_t *heads;                /* owned mapping, of chains */
        uint32_t n_entries, n_heads;
        uint64_t key[2];
        pthread_mutex_t free_lock;
        uint32_t free, used;            /* entries that came back; entries from here on were never used */
        struct quota_stripe *stripes;   /* owned */
};

/* The source of a client: by its address, the first 64 bits of an IPv6 one; by its peer's uid where it is AF_UNIX. */
struct quota_source quota_source(uint32_t frontend, int family, const struct in6_addr *address, uint32_t uid);

/* What rate-per-source and max-per-source mean; 0 is off. */
struct quota_limits quota_limits(uint32_t sessions, uint32_t rate);

/*
 * Prepares the table for so many sessions at once.  seed: secret and random, so that nobody can
 * choose addresses that meet in one chain.  Returns 0 or -errno.  quota_deinit() is fine on a zeroed or failed one.
 */
int quota_init(struct quota *quota, uint32_t sessions, const uint64_t seed[2]);
void quota_deinit(struct quota *quota);

/* Outcomes of quota_enter(). */
#define QUOTA_OVER_SESSIONS 1
#define QUOTA_OVER_RATE 2

/*
 * Counts a session of that source, within the limits.  Returns 0 with *place, to be given back by
 * quota_leave(); one of the outcomes above with nothing counted and no token taken; -ENOSPC where more sessions are
 * counted than quota_init() was told of.
 */
int quota_enter(struct quota *quota, const struct quota_source *source, const struct quota_limits *limits,
                int64_t now_ns, uint32_t *place);

/* Counts a session that is there already, without a limit.  Returns 0 or -ENOSPC. */
int quota_adopt(struct quota *quota, const struct quota_source *source, uint32_t *place);

/* A session of that place has ended. */
void quota_leave(struct quota *quota, uint32_t place, int64_t now_ns);

/* Sessions of that source now, and whether it has an entry at all.  For tests and status. */
uint32_t quota_sessions(struct quota *quota, const struct quota_source *source, int *known);

#endif
