/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_CLOSE_H
#define SPLICED_SESSION_CLOSE_H

#include "session/env.h"

/*
 * The end of a session: the one place where everything it holds is released.
 */

/* How long what was written may take to reach a peer: before a reset is passed on, and before a clean end. */
#define CLOSE_LINGER_MS 1000
#define CLOSE_DELIVER_MS 30000

/*
 * Both directions have ended, but bytes may be on their way to a TCP peer
 * that a close with a reset would destroy: looks, and comes back to look. Returns LIFE_FLUSHED or LIFE_NOTHING.
 */
enum life_event close_linger(struct env *env, struct session *session);
enum life_event close_look(struct env *env, struct session *session);

/* Actions of the life cycle: release everything.  The record is free afterwards.  Return LIFE_NOTHING. */
enum life_event close_abort(struct env *env, struct session *session);      /* TCP peers see a reset */
enum life_event close_finish(struct env *env, struct session *session);     /* they have seen a FIN */
enum life_event close_part(struct env *env, struct session *session);       /* as SESSION_RESET says */

/* no-descriptors for errors that mean "out of descriptors or memory", else `otherwise` (both enum access_end). */
unsigned close_end_of_error(int error, unsigned otherwise);

#endif
