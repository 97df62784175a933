/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_RELAY_H
#define SPLICED_SESSION_RELAY_H

#include "session/env.h"

/*
 * Moving bytes.  What direction.h decides is done here, by system calls:
 *
 *   small messages   recv into the thread's scratch buffer, send; what the
 *                    other side does not take at once goes into a pipe
 *   bulk             splice through a pipe, which is given back empty
 *   no pipe to be    a look (MSG_PEEK), send, and then so much is consumed
 *   had              as was taken: three calls, but nothing can get stuck
 *
 * Between two events no byte is in user space.
 *
 * Where the frontend limits upload or download, each direction of a session has a token bucket, whose state is
 * in the record.  One without tokens is held, so that the kernel slows its sender, until RELAY_STEP_MS of tokens, one
 * at least, are there; the session's timer says when.  No read is for more than there are tokens, so the
 * limit is exact, and bulk still moves by splice.
 */

#define RELAY_STEP_MS 20

/*
 * The server is connected.  To be called before the state says so: a successor that finds a session which relays has
 * no event that tells it where to begin.
 */
void relay_ready(struct session *session);

/* After relay_ready(): begins, and tries at once.  Returns as relay_move(). */
enum life_event relay_start(struct env *env, struct session *session);

/* An event on one side's socket; its flags are in the record already.  Returns as relay_move(). */
enum life_event relay_event(struct env *env, struct session *session, unsigned side, uint32_t events);

/*
 * Moves what can be moved in both directions, within a budget; with the
 * budget spent the session goes to the ready list.  Returns LIFE_NOTHING;
 * LIFE_DONE or LIFE_ENDING where both directions have ended.
 */
enum life_event relay_move(struct env *env, struct session *session);

/* When the held direction that reads `side` goes on, in ms on CLOCK_MONOTONIC. */
int64_t relay_resume_ms(const struct env *env, const struct session *session, unsigned side);

/*
 * One side is gone, with an errno.  What it sent before is still delivered to
 * the other, for a second at most; then that one sees a reset.  Idempotent.
 */
void relay_lost(struct env *env, struct session *session, unsigned side, int error);

/*
 * Whether the process before this one died where something of the session was out of the kernel, and is lost: bytes;
 * or the word that a side was reset, which is said once, so that it would look like a FIN now.
 */
int relay_torn(const struct session *session);

#endif
