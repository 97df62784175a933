/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_PICK_H
#define SPLICED_SESSION_PICK_H

#include "session/env.h"

/*
 * Choosing a server, waiting for one, and the pause before the servers are tried all over again.
 *
 * A session in LIFE_QUEUED either waits in its backend's queue (session.waits), or rests before the next round.
 * Both act by themselves at until_ms: who waits looks again, since what the clock alone has changed nobody tells.
 *
 * A session has `retries` tries after its first.  Where the backend waits for servers that are down, it goes on
 * after that until timeouts.queue is over, and the time that such a try takes counts as waiting.
 */

/*
 * Chooses a server that this round has not tried.  Returns LIFE_PICKED with the place
 * at the server taken and env->address set; LIFE_WAIT where the session is in the backend's queue now;
 * LIFE_PAUSE where all were tried but tries are left; LIFE_GIVE_UP, the end noted, where no server is usable, the
 * queue is full or no try is left.
 */
enum life_event pick_server(struct env *env, struct session *session);

/* Its connect failed: lets go of the server, and chooses as pick_server(). */
enum life_event pick_next(struct env *env, struct session *session);

/* Sets the timer that ends the pause.  Returns LIFE_NOTHING. */
enum life_event pick_rest(struct env *env, struct session *session);

/* A session in LIFE_QUEUED asks what it was given.  Returns LIFE_GRANTED as LIFE_PICKED above, or LIFE_NOTHING. */
enum life_event pick_granted(struct env *env, struct session *session);

/* Gives back the place at a server that was taken.  Whoever waits for it is told. */
void pick_give_back(struct env *env, struct backend *backend, unsigned server);

/* A session in LIFE_QUEUED waits no more. */
void pick_leave(struct env *env, struct session *session);

/* An adopted session goes to the end of its backend's queue.  Before any thread runs; env_grant() afterwards. */
void pick_rejoin(struct env *env, struct session *session);

#endif
