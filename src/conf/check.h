/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_CHECK_H
#define SPLICED_CONF_CHECK_H

#include "conf/conf.h"
#include "conf/mistakes.h"

/*
 * Checks that concern more than one key, after everything is loaded.  Each
 * adds what it finds to the mistakes.  Places come from the conf's `where`.
 */

/* No two listeners have the same address.  places: one for each listener, in the order of frontends and listeners. */
void check_listeners(const struct conf *conf, const struct place *places, struct mistakes *mistakes);

/*
 * No listener has the address of the admin socket or of its http, nor do these have the same.  admin: where they are
 * written, the socket's place first; line 0: they are not.  places: as above.
 */
void check_admin(const struct conf *conf, const struct place admin[2], const struct place *places,
                 struct mistakes *mistakes);

/* A server's source address is of the kind that its own address is.  `place` is where the source is given. */
void check_source(const struct conf_server *server, struct place place, struct mistakes *mistakes);

/* The access log is not switched on where it has no target.  `place` is where the frontend's key is given. */
void check_access_log(const struct conf *conf, const struct conf_frontend *frontend, struct place place,
                      struct mistakes *mistakes);

/* Who may send PROXY headers is not said where none are accepted.  `place` is where it is said. */
void check_proxy_from(const struct conf_listener *listener, struct place place, struct mistakes *mistakes);

#endif
