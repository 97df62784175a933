/* SPDX-License-Identifier: ISC */
#include "session/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "net/sockopt.h"
#include "net/sys.h"
#include "session/access.h"
#include "session/close.h"
#include "session/connect.h"
#include "session/counters.h"
#include "session/deadline.h"
#include "session/observe.h"
#include "session/tap.h"

/* What one direction may do before others have their turn. */
#define RELAY_BUDGET (1024u * 1024u)    /* bytes */
#define RELAY_STEPS 16                  /* operations */

/* The send buffer of an AF_UNIX socket that a stream has filled up; net.core.wmem_max may allow less. */
#define RELAY_UNIX_SNDBUF (512 * 1024)

/* What limits the bytes of a direction; its rate is 0 where nothing does. */
static const struct bucket_limit *relay_limit(const struct env *env, const struct session *session, unsigned side) {
        return &env->shared->frontends[session->frontend].bytes[side];
}

int64_t relay_resume_ms(const struct env *env, const struct session *session, unsigned side) {
        const struct bucket_limit *limit = relay_limit(env, session, side);
        int64_t now_ms = env->loop.now_ms, now_ns = now_ms * BUCKET_NS_PER_MS, when;
        uint64_t step = limit->rate * RELAY_STEP_MS / 1000;

        /* A reload has lifted the limit. */
        if (!limit->rate)
                return now_ms;
        when = bucket_when(limit, session->paid_ns[side], step ? step : 1, now_ns);
        return now_ms + (when - now_ns + BUCKET_NS_PER_MS - 1) / BUCKET_NS_PER_MS;
}

/* Lets go of the directions that have tokens again. */
static void relay_release(struct env *env, struct session *session) {
        for (unsigned side = 0; side < SESSION_SIDES; side++)
                if (session->direction[side].held && relay_resume_ms(env, session, side) <= env->loop.now_ms)
                        direction_release(&session->direction[side]);
}

/* Nothing can be written to that side any more: what was on its way there is given up. */
static void relay_deaf(struct env *env, struct session *session, unsigned side) {
        struct direction *out = &session->direction[!side];

        uint32_t full = out->piped ? out->pipe : DIRECTION_NO_PIPE;

        if (direction_ended(out))
                return;
        /* Failed first, and the pipe nobody's before it goes: whoever finds the record between finds it in order. */
        direction_fail(out);
        if (full == DIRECTION_NO_PIPE)
                return;
        out->pipe = DIRECTION_NO_PIPE;
        atomic_signal_fence(memory_order_seq_cst);
        pipe_pool_drop(&env->pipes, full);
}

/* A server that resets the connection before its first byte, and not because the client did, has failed. */
static void relay_observe(struct env *env, const struct session *session, int error) {
        const struct direction *down = &session->direction[SESSION_SERVER];
        char byte;

        if (down->bytes || down->piped || session->flags & SESSION_LOST(SESSION_CLIENT) ||
            !env_backend(env, session)->conf->outlier.given)
                return;
        /* What it sent before waits to be read. */
        if (sys_recv(session->fd[SESSION_SERVER], &byte, 1, MSG_PEEK) <= 0)
                observe_failed(env, session, error);
}

void relay_lost(struct env *env, struct session *session, unsigned side, int error) {
        unsigned fin = side == SESSION_CLIENT ? ACCESS_CLIENT_FIN : ACCESS_SERVER_FIN;
        unsigned reset = side == SESSION_CLIENT ? ACCESS_CLIENT_RESET : ACCESS_SERVER_RESET;

        if (session->flags & SESSION_LOST(side))
                return;
        relay_deaf(env, session, side);
        /*
         * EPIPE: the peer sent its FIN, closed, and takes no answer.  All it sent is here and is delivered at the other
         * side's pace, FIN and all.
         */
        if (error == EPIPE) {
                session->flags |= SESSION_DEAF(side);
                session_note_end(session, fin, error);
                return;
        }
        if (side == SESSION_SERVER)
                relay_observe(env, session, error);
        session->flags |= SESSION_LOST(side) | SESSION_RESET;
        session_note_end(session, close_end_of_error(error, reset), error);
        if (!session->close_ms)
                session->close_ms = env->loop.now_ms + CLOSE_LINGER_MS;
        direction_lose(&session->direction[side]);
        deadline_arm(env, session);
}

/*
 * That side takes no more now: has the poller tell when it does.  To be called before that is noted, since whoever
 * finds a note waits for the event.
 */
static int relay_watch(struct env *env, struct session *session, unsigned side) {
        uint64_t key = session_key(env_index(env, session), session->generation, side);
        int r;

        if (session->sockets & SESSION_WATCHED(side))
                return 0;
        r = poller_watch(env->loop.record->poller, session->fd[side], key);
        if (r >= 0)
                session->sockets |= (uint8_t)SESSION_WATCHED(side);
        return r;
}

/*
 * It has taken all there was.  An AF_UNIX socket would go on to wake its poller whenever the peer has read something;
 * a TCP one does so only after it has filled up, so nothing is won there.  Noted first: whoever finds the note
 * missing watches anew, which does no harm.
 */
static void relay_unwatch(struct env *env, struct session *session, unsigned side) {
        uint64_t key = session_key(env_index(env, session), session->generation, side);

        if (!(session->flags & SESSION_UNIX(side)) || !(session->sockets & SESSION_WATCHED(side)))
                return;
        session->sockets &= (uint8_t)~SESSION_WATCHED(side);
        atomic_signal_fence(memory_order_seq_cst);
        if (poller_unwatch(env->loop.record->poller, session->fd[side], key) < 0)
                session->sockets |= (uint8_t)SESSION_WATCHED(side);
}

/* What the config gives that side's socket; NULL where its listener or server is in no config any more. */
static const struct sockopt_set *relay_sockopts(const struct env *env, const struct session *session, unsigned side) {
        const struct conf_listener *listener = env->shared->listeners[session->listener].conf;

        if (side == SESSION_SERVER)
                return env_server(env, session)->ghost ? NULL : &env_server(env, session)->conf->sockopts;
        return listener ? &listener->sockopts : NULL;
}

/*
 * A stream has filled that side up.  The kernel lets TCP's send buffer grow with a stream, but not that of AF_UNIX,
 * so that is done here, once, unless the config says how large it is to be, or may have said so.  Where the kernel
 * refuses, the stream goes on as it did.
 */
static void relay_grow(const struct env *env, struct session *session, unsigned side) {
        const struct sockopt_set *set;

        if (!(session->flags & SESSION_UNIX(side)) || session->sockets & SESSION_ROOMY(side))
                return;
        session->sockets |= (uint8_t)SESSION_ROOMY(side);
        set = relay_sockopts(env, session, side);
        if (set && !sockopt_given(set, SOCKOPT_SNDBUF))
                sockopt_grow_sndbuf(session->fd[side], RELAY_UNIX_SNDBUF);
}

static void relay_take_pipe(struct env *env, struct session *session, unsigned side, enum pipe_class class) {
        uint32_t owner = env_index(env, session) * SESSION_SIDES + side;

        session->direction[side].pipe = pipe_pool_take(&env->pipes, class, owner);
}

static int relay_pipe_end(const struct env *env, const struct direction *direction, int end) {
        return env->shared->pipes.records[direction->pipe].ends[end];
}

/* What recv said other than bytes. */
static void relay_read_nothing(struct env *env, struct session *session, unsigned side, ssize_t n) {
        struct direction *direction = &session->direction[side];

        if (n == -EAGAIN) {
                direction_in_empty(direction);
                return;
        }
        if (n < 0)
                relay_lost(env, session, side, (int)-n);
        else if (!direction->lost) {
                session_note_end(session, side == SESSION_CLIENT ? ACCESS_CLIENT_FIN : ACCESS_SERVER_FIN, 0);
                if (side == SESSION_SERVER && !direction->bytes)
                        observe_succeeded(env, session);
        }
        direction_eof(direction, env->loop.now_ms);
        /* Where nothing is left to deliver, the FIN is passed on next, and that arms. */
        if (direction->state == DIRECTION_EOF)
                deadline_arm(env, session);
}

/*
 * recv, which on AF_UNIX stops where descriptors were sent along (they are
 * dropped): more may wait behind them, so a short read is not the end.
 */
static ssize_t relay_recv(struct env *env, struct session *session, unsigned side, size_t len, int flags) {
        struct iovec part = { .iov_base = env->scratch, .iov_len = len };
        struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
        ssize_t n;

        if (!(session->flags & SESSION_UNIX(side)))
                return sys_recv(session->fd[side], env->scratch, len, flags);
        n = sys_recvmsg(session->fd[side], &message, flags);
        if (n > 0 && (message.msg_flags & MSG_CTRUNC))
                session->direction[side].marked = 1;
        return n;
}

/* Before n bytes go to the other side: what the server's socket need not have for a single segment. */
static void relay_prepare(struct env *env, struct session *session, unsigned side, size_t n) {
        if (side != SESSION_CLIENT || (session->sockets & SESSION_SECOND))
                return;
        if (!session->direction[side].bytes && !session->greeting && n <= SOCKOPT_SEGMENT)
                return;
        connect_options(env, session, SOCKOPT_SECOND);
        session->sockets |= SESSION_SECOND;
}

/*
 * Puts what the other side did not take into a pipe: the one that bulk mode left, or the spare that
 * relay_copy() made sure to have.  One that did not take it all is nobody's any more.
 */
static int relay_park(struct env *env, struct session *session, unsigned side, size_t at, size_t n) {
        struct direction *direction = &session->direction[side];
        uint32_t pipe;
        ssize_t written;

        if (direction->pipe == DIRECTION_NO_PIPE)
                relay_take_pipe(env, session, side, PIPE_SMALL);
        pipe = direction->pipe;
        written = sys_write(relay_pipe_end(env, direction, 1), env->scratch + at, n);
        if (written == (ssize_t)n)
                return 0;
        direction->pipe = DIRECTION_NO_PIPE;
        pipe_pool_drop(&env->pipes, pipe);
        return written < 0 ? (int)written : -EIO;
}

/* Bytes are lost, and nobody's fault but ours or the kernel's: no peer may take a part for the whole. */
static enum life_event relay_broken(struct session *session, int error) {
        session_note_end(session, close_end_of_error(error, ACCESS_INTERNAL), error);
        return LIFE_KILL;
}

/* Without a pipe: look, send, and consume just what was taken. */
static enum life_event relay_peek(struct env *env, struct session *session, unsigned side, size_t most) {
        struct direction *direction = &session->direction[side];
        size_t asked = most < DIRECTION_SCRATCH ? most : DIRECTION_SCRATCH;
        ssize_t n, sent, consumed;
        int r;

        session_busy(session, SESSION_BUSY);
        n = relay_recv(env, session, side, asked, MSG_PEEK);
        if (n <= 0) {
                relay_read_nothing(env, session, side, n);
                session_busy(session, SESSION_AT_REST);
                return LIFE_NOTHING;
        }
        relay_prepare(env, session, side, (size_t)n);
        sent = sys_send(session->fd[!side], env->scratch, (size_t)n, 0);
        if (env->taps && sent > 0)
                tap_copy(env, session, side, env->scratch, (size_t)sent);
        for (ssize_t left = sent; left > 0; left -= consumed) {
                consumed = sys_recv(session->fd[side], env->scratch, (size_t)left, 0);
                if (consumed <= 0)
                        return relay_broken(session, consumed ? (int)-consumed : EIO);
        }
        session_busy(session, SESSION_AT_REST);
        if (sent > 0)
                direction_copied(direction, asked, (size_t)sent, (size_t)sent, env->loop.now_ms);
        if (sent == -EAGAIN || (sent >= 0 && sent < n)) {
                r = relay_watch(env, session, !side);
                if (r < 0)
                        return relay_broken(session, -r);
                direction_out_full(direction);
                direction->in_ready = 1;
        } else if (sent < 0)
                relay_lost(env, session, !side, (int)-sent);
        return LIFE_NOTHING;
}

/* most: bytes that may be read, as in the functions around. */
static enum life_event relay_copy(struct env *env, struct session *session, unsigned side, size_t most) {
        struct direction *direction = &session->direction[side];
        size_t asked;
        ssize_t n, sent;
        int r;

        if (direction->pipe != DIRECTION_NO_PIPE)
                asked = env->shared->pipes.records[direction->pipe].size;
        else
                asked = pipe_pool_ready(&env->pipes, PIPE_SMALL);
        if (!asked)
                return relay_peek(env, session, side, most);
        if (asked > DIRECTION_SCRATCH)
                asked = DIRECTION_SCRATCH;
        if (asked > most)
                asked = most;

        session_busy(session, SESSION_BUSY);
        n = relay_recv(env, session, side, asked, 0);
        if (n <= 0) {
                relay_read_nothing(env, session, side, n);
                session_busy(session, SESSION_AT_REST);
                return LIFE_NOTHING;
        }
        relay_prepare(env, session, side, (size_t)n);
        sent = sys_send(session->fd[!side], env->scratch, (size_t)n, 0);
        if (sent < 0 && sent != -EAGAIN) {
                relay_lost(env, session, !side, (int)-sent);
                session_busy(session, SESSION_AT_REST);
                return LIFE_NOTHING;
        }
        if (sent < 0)
                sent = 0;
        if (sent < n) {
                r = relay_watch(env, session, !side);
                if (r >= 0)
                        r = relay_park(env, session, side, (size_t)sent, (size_t)(n - sent));
                if (r < 0)
                        return relay_broken(session, -r);
        }
        session_busy(session, SESSION_AT_REST);
        if (env->taps)
                tap_copy(env, session, side, env->scratch, (size_t)n);
        direction_copied(direction, asked, (size_t)n, (size_t)sent, env->loop.now_ms);
        return LIFE_NOTHING;
}

static enum life_event relay_splice(struct env *env, struct session *session, unsigned side, size_t most) {
        struct direction *direction = &session->direction[side];
        size_t asked;
        ssize_t n;

        if (direction->pipe == DIRECTION_NO_PIPE) {
                /* A pipe that the kernel made tiny costs more calls than a copy. */
                if (pipe_pool_ready(&env->pipes, PIPE_BIG) <= DIRECTION_SCRATCH) {
                        enum life_event event = relay_copy(env, session, side, most);

                        direction->bulk = 0;
                        return event;
                }
                relay_take_pipe(env, session, side, PIPE_BIG);
        }
        asked = env->shared->pipes.records[direction->pipe].size;
        session_busy(session, SESSION_FILLING(side));
        n = sys_splice(session->fd[side], relay_pipe_end(env, direction, 1), asked < most ? asked : most);
        if (n > 0) {
                direction_filled(direction, (size_t)n, env->loop.now_ms);
                if (env->taps)
                        tap_tee(env, session, side, (size_t)n);
        } else if (n == -EAGAIN)
                direction_splice_empty(direction);
        else if (n == 0 || n == -EINVAL)
                /* The end, or a mark of urgent data that looks like it, or nothing that can be spliced: recv tells. */
                direction_splice_end(direction);
        else
                /* The socket has told its error now, and would say EOF if it were asked again. */
                relay_read_nothing(env, session, side, n);
        session_busy(session, SESSION_AT_REST);
        return LIFE_NOTHING;
}

static enum life_event relay_flush(struct env *env, struct session *session, unsigned side) {
        struct direction *direction = &session->direction[side];
        ssize_t n;
        int r;

        relay_prepare(env, session, side, direction->piped);
        session_busy(session, SESSION_FLUSHING(!side));
        n = sys_splice(relay_pipe_end(env, direction, 0), session->fd[!side], direction->piped);
        if (n < 0 && n != -EAGAIN)
                relay_lost(env, session, !side, (int)-n);
        session_busy(session, SESSION_AT_REST);
        if (n > 0) {
                direction_flushed(direction, (size_t)n, env->loop.now_ms);
                if (!direction->piped)
                        relay_unwatch(env, session, !side);
        } else if (n == -EAGAIN) {
                if (direction->bulk)
                        relay_grow(env, session, !side);
                r = relay_watch(env, session, !side);
                if (r < 0)
                        return relay_broken(session, -r);
                direction_out_full(direction);
        } else if (n == 0)
                return relay_broken(session, EIO);
        return LIFE_NOTHING;
}

/* Whether that side is a TCP connection that is over, by both FINs or by a reset. */
static int relay_is_over(const struct session *session, unsigned side) {
        struct tcp_info info = { 0 };
        socklen_t len = sizeof(info);

        return sys_getsockopt(session->fd[side], IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
               info.tcpi_state == TCP_CLOSE;
}

/*
 * That side's connection is no more, and cannot be shut down.  Whether it was reset, or closed after its FIN (EPIPE),
 * only its error tells.  Without one both FINs went their way: whoever sent ours was not there any more to note it.
 */
static void relay_gone(struct env *env, struct session *session, unsigned side) {
        int error = 0;
        socklen_t len = sizeof(error);

        session_busy(session, SESSION_BUSY);
        if (sys_getsockopt(session->fd[side], SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
            (!error && !relay_is_over(session, side)))
                error = ECONNRESET;
        if (error)
                relay_lost(env, session, side, error);
        else
                direction_shut(&session->direction[!side]);
        session_busy(session, SESSION_AT_REST);
}

static enum life_event relay_fin(struct env *env, struct session *session, unsigned side) {
        int r = 0;

        /* The second FIN goes out by the close that follows at once. */
        if (session->direction[!side].state != DIRECTION_SHUT)
                r = sys_shutdown(session->fd[!side], SHUT_WR);
        if (r == -ENOTCONN)
                relay_gone(env, session, !side);
        else if (r < 0)
                relay_lost(env, session, !side, -r);
        else
                direction_shut(&session->direction[side]);
        /* A session that has ended waits for nothing. */
        if (!direction_ended(&session->direction[!side]))
                deadline_arm(env, session);
        return LIFE_NOTHING;
}

int relay_torn(const struct session *session) {
        unsigned side = session->busy & 1;
        ssize_t n;
        char byte;

        if (session->busy == SESSION_AT_REST)
                return 0;
        if (session->state != LIFE_RELAYING || session->busy == SESSION_BUSY || session->busy > SESSION_FLUSHING(1))
                return 1;
        if (!(session->flags & SESSION_UNIX(side)) && !relay_is_over(session, side))
                return 0;
        /* An AF_UNIX peer that is gone is so for every send. */
        if (session->busy == SESSION_FLUSHING(side))
                return !(session->flags & SESSION_UNIX(side));
        /* Bytes come before an error, so where there are some it was not told. */
        if (session->direction[side].piped)
                return 0;
        n = sys_recv(session->fd[side], &byte, 1, MSG_PEEK);
        return n <= 0 && n != -EAGAIN;
}

/* Reads, within what the limit leaves; with nothing left, the direction is held. */
static enum life_event relay_read(struct env *env, struct session *session, unsigned side, enum direction_op op) {
        const struct bucket_limit *limit = relay_limit(env, session, side);
        struct direction *direction = &session->direction[side];
        int64_t now_ns = env->loop.now_ms * BUCKET_NS_PER_MS;
        uint64_t most = SIZE_MAX, before = direction->bytes;
        enum life_event event;

        if (limit->rate) {
                most = bucket_level(limit, session->paid_ns[side], now_ns);
                if (!most) {
                        direction_hold(direction);
                        return LIFE_NOTHING;
                }
        }
        if (op == DIRECTION_COPY)
                event = relay_copy(env, session, side, most);
        else
                event = relay_splice(env, session, side, most);
        /* Whoever reads has an empty pipe, so all that is new was read now. */
        if (limit->rate && !direction_ended(direction))
                session->paid_ns[side] = bucket_take(limit, session->paid_ns[side],
                                                     direction->bytes - before + direction->piped, now_ns);
        return event;
}

static int relay_has_work(const struct direction *direction) {
        enum direction_op op = direction_next(direction);

        return op != DIRECTION_WAIT && op != DIRECTION_END;
}

/* One direction, until it has to wait or its budget is spent (*spent is set then). */
static enum life_event relay_direction(struct env *env, struct session *session, unsigned side, int *spent) {
        struct direction *direction = &session->direction[side];
        uint64_t begin = direction->bytes;
        enum life_event event = LIFE_NOTHING;

        for (int step = 0; event == LIFE_NOTHING; step++) {
                enum direction_op op = direction_next(direction);

                if (op == DIRECTION_WAIT || op == DIRECTION_END)
                        break;
                if (step == RELAY_STEPS || direction->bytes - begin >= RELAY_BUDGET) {
                        *spent = 1;
                        break;
                }
                switch (op) {
                case DIRECTION_COPY:
                case DIRECTION_SPLICE:
                        event = relay_read(env, session, side, op);
                        break;
                case DIRECTION_FLUSH:
                        event = relay_flush(env, session, side);
                        break;
                default:
                        event = relay_fin(env, session, side);
                        break;
                }
        }
        if (side == SESSION_SERVER && !begin && direction->bytes)
                observe_succeeded(env, session);
        if (direction->pipe != DIRECTION_NO_PIPE && !direction->piped && event == LIFE_NOTHING) {
                uint32_t pipe = direction->pipe;

                direction->pipe = DIRECTION_NO_PIPE;
                env_give_pipe(env, pipe);
        }
        return event;
}

/* Where half-close is off, the first FIN, once passed on, ends the session. */
static int relay_cut(const struct env *env, struct session *session) {
        const struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];

        if (env_frontend_conf(env, session)->half_close)
                return 0;
        return up->state == DIRECTION_SHUT || down->state == DIRECTION_SHUT;
}

enum life_event relay_move(struct env *env, struct session *session) {
        const struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];
        enum life_event event = LIFE_NOTHING;
        int spent = 0;

        if (up->held | down->held)
                relay_release(env, session);
        for (unsigned side = 0; side < SESSION_SIDES && event == LIFE_NOTHING; side++)
                if (relay_has_work(&session->direction[side]) || session->direction[side].pipe != DIRECTION_NO_PIPE)
                        event = relay_direction(env, session, side, &spent);
        if (event != LIFE_NOTHING)
                return event;
        if (direction_ended(up) && direction_ended(down))
                return up->state == DIRECTION_SHUT && down->state == DIRECTION_SHUT ? LIFE_DONE : LIFE_ENDING;
        if (relay_cut(env, session))
                return LIFE_ENDING;
        /* The second direction may have woken the first, whose turn was before. */
        if (spent || relay_has_work(up) || relay_has_work(down))
                loop_ready(&env->loop, env_index(env, session));
        if (up->held | down->held)
                deadline_arm(env, session);
        return LIFE_NOTHING;
}

void relay_ready(struct session *session) {
        struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];

        /* Both can take bytes, or will say that they cannot; whether they have some, an event says, or trying. */
        up->out_ready = down->out_ready = 1;
        up->in_ready = 1;
        atomic_signal_fence(memory_order_seq_cst);
}

enum life_event relay_start(struct env *env, struct session *session) {
        struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];

        session->connect_ms = (int32_t)(env->loop.now_ms - session->phase_ms);
        backend_note_connect(env_backend(env, session), session->server, sys_clock_us() - session->began_us,
                             env->loop.now_ms);
        session->phase_ms = env->loop.now_ms;
        session->until_ms = 0;
        counters_connected(env, session);
        /* Errors of attempts that were made good are not the session's. */
        if (session->end == ACCESS_END_N)
                session->error = 0;
        up->in_ms = up->out_ms = down->in_ms = down->out_ms = env->loop.now_ms;
        /* What was looked at in vain before. */
        if (env->taps)
                tap_tee(env, session, SESSION_CLIENT, up->piped);
        deadline_arm(env, session);
        return relay_move(env, session);
}

enum life_event relay_event(struct env *env, struct session *session, unsigned side, uint32_t events) {
        int fd = session->fd[side], error = 0;
        socklen_t len = sizeof(error);

        /*
         * An error must not wait for the other side to take what is parked: it is asked for at once.  (Reading would
         * report it only after all that came before it.)
         */
        if (events & POLLER_ERR) {
                session_busy(session, SESSION_BUSY);
                if (sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
                        relay_lost(env, session, side, error);
                session_busy(session, SESSION_AT_REST);
        }
        return relay_move(env, session);
}
