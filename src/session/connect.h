/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_CONNECT_H
#define SPLICED_SESSION_CONNECT_H

#include "net/sockopt.h"
#include "session/env.h"

/* Connecting to the server that was picked. */

/*
 * Opens a socket to env->address and connects.  Returns LIFE_CONNECTED;
 * LIFE_PENDING while the kernel is at it, or while an AF_UNIX backlog is full and the
 * connect is to be repeated; LIFE_FAILED with session->error set.
 */
enum life_event connect_start(struct env *env, struct session *session);

/* Binds a socket to the `source` of a TCP server.  Returns 0 or -errno. */
int connect_bind(int fd, const struct addr *source);

/* Repeats the connect after a full AF_UNIX backlog.  Returns as connect_start(). */
enum life_event connect_again(struct env *env, struct session *session);

/* Goes on with a connect whose events may have been lost with another process.  Returns as connect_start(). */
enum life_event connect_resume(struct env *env, struct session *session);

/* An event on the server's socket while connecting.  Returns LIFE_NOTHING where it decided nothing. */
enum life_event connect_event(struct env *env, struct session *session, uint32_t events);

/* The attempt took too long.  Returns LIFE_FAILED. */
enum life_event connect_timeout(struct env *env, struct session *session);

/* Gives a connected server socket a later stage's options.  One that is refused is told, and the session goes on. */
void connect_options(struct env *env, struct session *session, enum sockopt_stage stage);

/* Lets go of the server that failed and picks the next.  Returns as pick_server(). */
enum life_event connect_next(struct env *env, struct session *session);

#endif
