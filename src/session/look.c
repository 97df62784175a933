/* SPDX-License-Identifier: ISC */
#include "session/look.h"

#include <errno.h>

#include "net/sys.h"

static struct direction *look_direction(struct session *session) {
        return &session->direction[SESSION_CLIENT];
}

/* Exactly n bytes that are known to be there, in the socket or in the pipe.  Returns 0, or -errno but never -EAGAIN. */
static int look_read(int fd, ssize_t (*read)(int fd, void *buf, size_t len), char *buf, size_t n) {
        while (n) {
                ssize_t r = read(fd, buf, n);

                if (r <= 0)
                        return r == 0 || r == -EAGAIN ? -EIO : (int)r;
                buf += r;
                n -= (size_t)r;
        }
        return 0;
}

static ssize_t look_recv(int fd, void *buf, size_t len) {
        return sys_recv(fd, buf, len, 0);
}

/* Puts the first n bytes into the session's pipe, an empty one, which it may have to take first.  0 or -errno. */
static int look_hold(struct env *env, struct session *session, const struct look *look, size_t n) {
        struct direction *direction = look_direction(session);
        ssize_t written;

        if (direction->pipe == DIRECTION_NO_PIPE)
                direction->pipe = pipe_pool_take(&env->pipes, PIPE_SMALL,
                                                 env_index(env, session) * SESSION_SIDES + SESSION_CLIENT);
        /* Noted first: a pipe that did not take it all is no empty one. */
        direction->piped = (uint32_t)n;
        written = sys_write(env->shared->pipes.records[direction->pipe].ends[1], look->bytes, n);
        if (written != (ssize_t)n)
                return written < 0 ? (int)written : -EIO;
        session_busy(session, SESSION_AT_REST);
        return 0;
}

int look_begin(struct env *env, struct session *session, size_t most, struct look *look) {
        struct direction *direction = look_direction(session);
        ssize_t n;
        int r;

        *look = (struct look){ .bytes = env->scratch, .held = direction->piped, .ended = direction->in_ended };
        if (look->held) {
                session_busy(session, SESSION_BUSY);
                r = look_read(env->shared->pipes.records[direction->pipe].ends[0], sys_read, look->bytes, look->held);
                if (r < 0)
                        return r;
        }
        look->n = look->held;
        if (look->n >= most)
                return 0;
        n = sys_recv(session->fd[SESSION_CLIENT], look->bytes + look->n, most - look->n, MSG_PEEK);
        if (n < 0 && (n != -EAGAIN || !look->held))
                return (int)n;
        if (n == 0)
                look->ended = 1;
        if (n > 0)
                look->n += (size_t)n;
        return 0;
}

int look_keep(struct env *env, struct session *session, const struct look *look) {
        return look->held ? look_hold(env, session, look, look->held) : 0;
}

int look_again(struct env *env, struct session *session, const struct look *look) {
        struct direction *direction = look_direction(session);
        size_t fresh = look->n - look->held, room = 0;
        int r;

        if (session->flags & SESSION_UNIX(SESSION_CLIENT) && fresh)
                room = direction->pipe == DIRECTION_NO_PIPE ? pipe_pool_ready(&env->pipes, PIPE_SMALL)
                                                            : env->shared->pipes.records[direction->pipe].size;
        if (look->n > room)
                return look_keep(env, session, look);
        session_busy(session, SESSION_BUSY);
        r = look_read(session->fd[SESSION_CLIENT], look_recv, look->bytes + look->held, fresh);
        return r < 0 ? r : look_hold(env, session, look, look->n);
}

int look_take(struct env *env, struct session *session, const struct look *look, size_t len) {
        struct direction *direction = look_direction(session);
        uint32_t pipe = direction->pipe;

        session_busy(session, SESSION_BUSY);
        if (look->held) {
                direction->piped = 0;
                direction->pipe = DIRECTION_NO_PIPE;
                env_give_pipe(env, pipe);
        }
        return look_read(session->fd[SESSION_CLIENT], look_recv, look->bytes + look->held, len - look->held);
}
