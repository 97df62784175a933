/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_RESOLVE_H
#define SPLICED_HEALTH_RESOLVE_H

#include "balance/backend.h"
#include "base/log.h"

/*
 * Host names of servers: looked up once at start, in a thread of its own,
 * since the system's resolver blocks.  A name that does not resolve is tried again every few seconds until it
 * does; its server is without an address, and so not chosen, until then.
 */

struct resolve;

/*
 * Starts looking up the names of the backends' servers and waits at most
 * wait_ms for the first round.  *out is NULL where there is no name to look up.
 * backends and log are borrowed until resolve_stop() has returned 0.  Returns 0 or -errno.
 */
int resolve_start(struct resolve **out, struct backend *backends, size_t n, struct log *log, int wait_ms);

/*
 * Ends the thread and frees.  NULL is fine.  Returns 0, or RESOLVE_STUCK where
 * the system's resolver does not return: then nothing was freed, and what was borrowed must stay.
 */
#define RESOLVE_STUCK 1
int resolve_stop(struct resolve *resolve);

#endif
