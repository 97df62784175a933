/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_HEADER_H
#define SPLICED_SESSION_HEADER_H

#include "session/env.h"

/*
 * The header of the PROXY protocol, both ways: taken from a client that is a
 * proxy, and sent to a server.  What one said is kept with the session's rare things.
 */

/*
 * Whether the peer of a socket that was just accepted, whose address is in the record, may send a header to
 * that listener: 1 or 0.  Asked before the record is in use, so that a reload cannot get between.
 */
int header_may_come(struct env *env, const struct env_listener *listener, const struct session *session);

/*
 * Looks for the header, which is consumed only when it is complete, and notes the client that it names.  Returns
 * LIFE_LOOK where that is done; LIFE_MORE; LIFE_GIVE_UP or LIFE_KILL with the end noted.
 */
enum life_event header_read(struct env *env, struct session *session);

/*
 * Sends the session's client as a header of version session->greeting to the server that it has just connected to.
 * Returns 0, or -errno where it did not go out in one piece.
 */
int header_send(const struct env *env, const struct session *session);

/*
 * The uid, gid and pid of an AF_UNIX client: as a header said them, else of the socket's peer.  Returns 0,
 * or -errno where there are none.
 */
int header_client_ids(const struct env *env, const struct session *session, struct ucred *ids);

#endif
