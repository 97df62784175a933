/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_RESOLVE_H
#define SPLICED_HEALTH_RESOLVE_H

#include "session/env.h"

/*
 * Names of servers: one thread of the worker's follows them all, see dns.h for the look-ups and names.h for what
 * answers mean.  Each address is a server of its own, with a slot; one that leaves keeps its slot while sessions
 * have it.  What is in use stands in the records, so a successor goes on with it and looks the names up anew.
 * A server whose name has no address is down, and looked up again.
 */

struct resolve;

/*
 * Starts to follow the names of the config's servers, and waits at most wait_ms until those that were never looked
 * up have been.  *out is NULL where there is no name.  Only one runs at a time, and while it does nobody else
 * gives servers' slots out.  Sets shared->names, through which env_wake_names() reaches it.
 * shared is borrowed until resolve_stop().  Returns 0 or -errno.
 */
int resolve_start(struct resolve **out, struct env_shared *shared, int wait_ms);

/* When the thread was last at work, on CLOCK_MONOTONIC in ms; INT64_MAX for NULL. */
int64_t resolve_beat(const struct resolve *resolve);

/*
 * Ends the thread, at once, and frees; the threads that may call env_wake_names() have ended.  leaving: they need not
 * have, and what it holds goes with the process.  NULL is fine.
 */
void resolve_stop(struct resolve *resolve, int leaving);

/* Descriptors that the names of a config may take. */
size_t resolve_descriptors(const struct conf *conf);

#endif
