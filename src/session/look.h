/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_LOOK_H
#define SPLICED_SESSION_LOOK_H

#include <stddef.h>

#include "session/env.h"

/*
 * Looking at what a client has sent, before there is a server for it.
 *
 * MSG_PEEK leaves the bytes where they are.  On AF_UNIX that is not enough: what is unread counts against its
 * sender's buffer by the message, and some seventy messages of a byte each fill it.  So a part that was looked at
 * in vain moves to the pipe of the client's direction, where the bytes that come first in the stream belong; and there
 * it is read, and put back, at the next look.  Without a pipe it stays in the socket.
 */
struct look {
        char *bytes;            /* env->scratch */
        size_t n;               /* of them */
        size_t held;            /* of these, from the pipe */
        int ended;              /* no more will come */
};

/*
 * Looks at the first bytes, `most` at the most (DIRECTION_SCRATCH is all there is room for).
 * Returns 0 with *look filled, which has to be followed by one of the calls below; -EAGAIN where there is nothing to
 * look at yet; another -errno where the connection, or bytes of it, are lost.
 */
int look_begin(struct env *env, struct session *session, size_t most, struct look *look);

/* These bytes are not enough; they are looked at again when there are more.  Returns 0, or -errno: bytes are lost. */
int look_again(struct env *env, struct session *session, const struct look *look);

/* They have been seen and stay part of the stream.  Returns as look_again(). */
int look_keep(struct env *env, struct session *session, const struct look *look);

/*
 * Takes the first `len` bytes out of the stream: more than look->held.  The
 * session is busy from then on, until the caller has noted what they say.  Returns as look_again().
 */
int look_take(struct env *env, struct session *session, const struct look *look, size_t len);

#endif
