/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_HEALTH_H
#define SPLICED_HEALTH_HEALTH_H

#include "session/env.h"

/*
 * The thread that looks after servers, one a worker; no event loop of traffic waits for it.  It runs the active checks
 * of every address of every server, each by itself, and notes what came of them in the servers' records, where that
 * outlives it.  It notices when an ejection is over.  Every change is logged, and sessions that wait are given what
 * there is.
 *
 * A server of which nothing is known is checked at once, any other in the pace of `interval`, or of `fast-interval`
 * while results say other than its state.  Times are spread, so that a thousand servers are not checked at the same
 * moment, and HEALTH_FLIGHT checks at most are under way: others that are due wait for their turn.  A server in
 * maintenance is not checked; one that drains is.
 */

#define HEALTH_FLIGHT 512

struct health;

/*
 * Starts the thread, and sets shared->health, through which env_wake_health() reaches it.  *out is NULL where no
 * backend has check { } or outlier { }.  To be called before the threads of traffic start.  shared is borrowed until
 * health_stop().  Returns 0 or -errno.
 */
int health_start(struct health **out, struct env_shared *shared);

/* When the thread was last at work, on CLOCK_MONOTONIC in ms; INT64_MAX for NULL. */
int64_t health_beat(const struct health *health);

/* Tells it to end, without waiting.  NULL is fine. */
void health_leave(struct health *health);

/*
 * Waits for its end, no longer than one step of a check takes, and frees; the threads that may call env_wake_health()
 * have ended.  leaving: they need not have, and what it holds goes with the process.  NULL is fine.
 */
void health_stop(struct health *health, int leaving);

/* Descriptors that the checks of a config may take. */
size_t health_descriptors(const struct conf *conf);

/*
 * The same without a thread: for tests and health_start().  A round is as loop_round().  health_free() closes what is
 * under way.
 */
int health_new(struct health **out, struct env_shared *shared);
int health_round(struct health *health, int max_wait_ms);
void health_free(struct health *health);

#endif
