/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_MEMBER_H
#define SPLICED_HEALTH_MEMBER_H

#include "balance/backend.h"
#include "health/probe.h"
#include "health/verdict.h"

/*
 * One address of a server as the health thread knows it, and what that thread does to its record.  Process memory, by
 * slot, zeroed.
 */

struct member {
        struct backend *backend;
        const struct conf_server *conf;
        struct addr addr;               /* of the server, when it was last looked at or checked */
        uint16_t slot;
        uint8_t known;                  /* it is one of its backend's */
        uint8_t planned;                /* it is checked: its timer runs, or its turn comes, or a check is under way */
        uint8_t running;                /* a check is under way */
        uint8_t waits;                  /* for others to end */
        uint8_t listed;                 /* is in the list of those, though perhaps no longer waiting */
        uint8_t close;                  /* was found down by a process before this one: its sessions are to be ended */
        uint32_t next;                  /* in that list, as slot + 1 */
        uint32_t generation;            /* of its checks */
        uint32_t look;                  /* when it was last seen */
        int64_t begin_ms;               /* of its last check */
        int64_t ejected_until_ms;       /* its timer runs for this; 0: none does */
        struct probe probe;
};

/* A result, and what it changed. */
struct member_change {
        int ok;
        const char *detail;
        int64_t now_ms;
        int stale;                      /* out: the server has another address now, or is in maintenance */
        struct verdict from, to;        /* out */
        size_t left, total;             /* out, where the state has changed: servers that get sessions, and all */
};

/* Copies the server's address as of now: ADDR_NONE where it has none. */
void member_address(const struct member *member, struct addr *addr);

/* Puts the result of a check into the record. */
void member_result(struct member *member, struct member_change *change);

/*
 * The time of an ejection is over: makes it count.  Returns 0, or when it will be over, where the server has been
 * ejected anew.
 */
int64_t member_return(struct member *member, int64_t now_ms, size_t *left, size_t *total);

#endif
