/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_ADMIT_H
#define SPLICED_SESSION_ADMIT_H

#include "session/env.h"

/*
 * Admission: a frontend's rules (allow, deny) and what one source may have
 * (max-per-source, rate-per-source), for the client that the session has now: the PROXY header's
 * where there was one, else the socket's peer.  Rules about unix, uid and gid look at the
 * socket's own peer.  How many clients a frontend takes in all, and how fast, is decided before they are accepted:
 * accept.h.
 */

/* Fills in what admission needs to know of a frontend whose conf and record are set.  Returns 0 or -ENOMEM. */
int admit_init(struct env_frontend *frontend);

/* Frees it.  Idempotent. */
void admit_deinit(struct env_frontend *frontend);

/*
 * Whether the session's client may come in; from then on it counts for its source.
 * Returns 1; 0 with the end noted (denied, limited, or no-descriptors where memory is short).
 */
int admit_client(struct env *env, struct session *session);

/* Turns the client away: notes the end (denied or limited), counts it, and logs it at a bounded rate.  Returns 0. */
int admit_refuse(struct env *env, struct session *session, unsigned end, const char *why);

/* The session ends: it no longer counts for its source. */
void admit_leave(struct env *env, const struct session *session);

/* A session that was admitted in a former process counts for its source here, whatever the limits are now. */
void admit_adopt(struct env_shared *shared, const struct session *session);

#endif
