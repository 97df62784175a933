/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_PREFACE_H
#define SPLICED_SESSION_PREFACE_H

#include "session/env.h"

/*
 * What comes before the choice of a server, in this order; each step is done once, and session.stage says which are:
 *
 *   HEADER   a PROXY header, where the listener accepts one: it says who the client is
 *   ADMIT    rules and limits, for the client that this is now
 *   ROUTE    the backend, by the frontend's routes; some need a look at the TLS ClientHello
 *   DONE     a session that has to choose a server anew does not come by here again
 */
enum preface_stage { PREFACE_HEADER, PREFACE_ADMIT, PREFACE_ROUTE, PREFACE_DONE };

/*
 * Does what can be done.  Returns LIFE_ROUTED with session->backend set; LIFE_MORE where bytes are
 * missing; LIFE_GIVE_UP with the end noted.
 */
enum life_event preface_read(struct env *env, struct session *session);

/* timeouts.preface is over.  Returns LIFE_ROUTED where the frontend's own backend serves then, else LIFE_KILL. */
enum life_event preface_timeout(struct env *env, struct session *session);

#endif
