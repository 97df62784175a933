/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_ACCEPT_H
#define SPLICED_SESSION_ACCEPT_H

#include "session/env.h"

/*
 * Accepting: a batch a time, within the limits, handed to the thread that has
 * the fewest sessions.  What is over a limit is not accepted: it waits in the
 * listen backlog, and the end of a session takes it up.  What is over the frontend's rate waits there too: the bucket
 * is shared by all its listeners and all threads, and a listener that finds it empty rests until a token is there.
 */

/* Accepts what waits on listener number `listener`: on its event, its turn in the ready list, or its timer. */
void accept_run(struct env *env, uint32_t listener);

/* A session has ended: listeners that stand still at a limit get another turn. */
void accept_resume(struct env *env);

/* Gives every listener that falls to this thread a turn: what a former process was told of them is lost. */
void accept_adopt(struct env *env);

/*
 * Serves who waits in the backlogs of listeners that the next config does
 * without, and takes this thread's hands off these.
 */
void accept_leave(struct env *env);

/* Serves who waits in the backlogs already, then takes this thread's hands off all listeners for good.  Idempotent. */
void accept_stop(struct env *env);

#endif
