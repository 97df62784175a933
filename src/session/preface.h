/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_PREFACE_H
#define SPLICED_SESSION_PREFACE_H

#include "session/env.h"

/*
 * What comes before the choice of a server, in this order; each step is done
 * once, and session.stage says which is next:
 *
 *   REFUSED  nothing: the listener wants a PROXY header, and this peer may send none
 *   HEADER   a PROXY header, where the listener accepts one: it says who the client is (header.h)
 *   ADMIT    rules and limits, for the client that this is now
 *   ROUTE    the backend, by the frontend's routes; some need a look at the TLS ClientHello
 *   DONE     a session that has to choose a server anew does not come by here again
 *
 * Bytes are looked at (look.h) for as long as they are not all there, so a
 * process may die at any time: the next one looks again.  Only the header is
 * consumed, once it is complete.  Each part that comes makes an event, and nothing else does: what
 * does not fit into a receive buffer that was made tiny ends by its timeout.
 */
enum preface_stage { PREFACE_REFUSED, PREFACE_HEADER, PREFACE_ADMIT, PREFACE_ROUTE, PREFACE_DONE };

/*
 * Does what can be done.  Returns LIFE_ROUTED with session->backend set; LIFE_MORE where bytes are
 * missing; LIFE_GIVE_UP or LIFE_KILL with the end noted.
 */
enum life_event preface_read(struct env *env, struct session *session);

/*
 * timeouts.preface is over.  Returns LIFE_ROUTED where the client, which has not said enough, has a backend all the
 * same, else LIFE_KILL or LIFE_GIVE_UP.
 */
enum life_event preface_timeout(struct env *env, struct session *session);

#endif
