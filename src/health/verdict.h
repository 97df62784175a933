/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_VERDICT_H
#define SPLICED_HEALTH_VERDICT_H

#include "balance/server.h"
#include "conf/conf.h"

/*
 * What single checks add up to.  Pure.
 *
 *          first one ok                 `fall` failed in a row
 *   NONE ────────────────► UP ──────────────────────────────────► DOWN
 *     │                     ▲                                      │ ▲
 *     │                     └──────────────────────────────────────┘ │
 *     │                                `rise` ok in a row            │
 *     └──────────────────────────────────────────────────────────────┘
 *          first one failed
 *
 * While nothing is known a server gets sessions, so the first check is worth more than no knowledge.
 */

struct verdict {
        enum server_check check;
        unsigned streak;                /* results in a row that say other than `check`: the state is about to change */
};

/* After one more result, whether it was good. */
struct verdict verdict_step(const struct conf_check *conf, struct verdict before, int ok);

/* "unchecked", "up" or "down". */
const char *verdict_name(enum server_check check);

#endif
