/* SPDX-License-Identifier: ISC */
#include "session/deadline.h"

#include "net/sockopt.h"
#include "session/access.h"
#include "session/close.h"
#include "session/connect.h"
#include "session/preface.h"
#include "session/relay.h"

#define DEADLINE_LATE_OPTIONS_MS 5000 /* a session that lives so long gets the options that others need not pay for */

enum deadline_kind {
        DEADLINE_NONE, DEADLINE_SESSION, DEADLINE_PREFACE, DEADLINE_QUEUE, DEADLINE_CONNECT, DEADLINE_UNTIL,
        DEADLINE_CLOSE, DEADLINE_CLIENT, DEADLINE_SERVER, DEADLINE_CLIENT_FIN, DEADLINE_SERVER_FIN,
        DEADLINE_LATE_OPTIONS, DEADLINE_TOKENS,
};

struct deadline {
        int64_t when;           /* INT64_MAX: none */
        enum deadline_kind kind;
};

static void deadline_consider(struct deadline *nearest, int64_t base, int64_t timeout, enum deadline_kind kind) {
        if (timeout != CONF_OFF && base + timeout < nearest->when)
                *nearest = (struct deadline){ base + timeout, kind };
}

static int64_t deadline_later(int64_t a, int64_t b) {
        return a > b ? a : b;
}

/* A direction that we hold is not idle, whatever its sides would do: counted as moving until it is released. */
static void deadline_held(const struct env *env, const struct session *session, struct direction held[SESSION_SIDES],
                          struct deadline *nearest) {
        for (unsigned side = 0; side < SESSION_SIDES; side++)
                if (held[side].held) {
                        held[side].in_ms = held[side].out_ms = relay_resume_ms(env, session, side);
                        deadline_consider(nearest, held[side].in_ms, 0, DEADLINE_TOKENS);
                }
}

/* Idle and FIN timeouts of a session that relays. */
static void deadline_relaying(const struct env *env, const struct session *session, struct deadline *nearest) {
        const struct conf_client_timeouts *client = &env_frontend_conf(env, session)->timeouts;
        const struct conf_server_timeouts *server = &env_backend(env, session)->conf->timeouts;
        const struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];
        struct direction held[SESSION_SIDES];

        if (up->held | down->held) {
                held[SESSION_CLIENT] = *up;
                held[SESSION_SERVER] = *down;
                deadline_held(env, session, held, nearest);
                up = &held[SESSION_CLIENT];
                down = &held[SESSION_SERVER];
        }
        if (!(session->flags & SESSION_LATE_OPTIONS))
                deadline_consider(nearest, session->phase_ms, DEADLINE_LATE_OPTIONS_MS, DEADLINE_LATE_OPTIONS);
        deadline_consider(nearest, deadline_later(up->in_ms, down->out_ms), client->client, DEADLINE_CLIENT);
        deadline_consider(nearest, deadline_later(down->in_ms, up->out_ms), server->server, DEADLINE_SERVER);
        if (up->state >= DIRECTION_EOF)
                deadline_consider(nearest, deadline_later(deadline_later(down->in_ms, down->out_ms),
                                                          deadline_later(up->in_ms, up->out_ms)),
                                  client->client_fin, DEADLINE_CLIENT_FIN);
        if (down->state >= DIRECTION_EOF)
                deadline_consider(nearest, deadline_later(deadline_later(up->in_ms, up->out_ms),
                                                          deadline_later(down->in_ms, down->out_ms)),
                                  server->server_fin, DEADLINE_SERVER_FIN);
}

static struct deadline deadline_nearest(const struct env *env, const struct session *session) {
        struct deadline nearest = { INT64_MAX, DEADLINE_NONE };

        deadline_consider(&nearest, session->accepted_ms, env_frontend_conf(env, session)->timeouts.session,
                          DEADLINE_SESSION);
        if (session->until_ms)
                deadline_consider(&nearest, session->until_ms, 0, DEADLINE_UNTIL);
        if (session->close_ms)
                deadline_consider(&nearest, session->close_ms, 0, DEADLINE_CLOSE);
        if (session->state == LIFE_PREFACE)
                deadline_consider(&nearest, session->phase_ms, env_frontend_conf(env, session)->timeouts.preface,
                                  DEADLINE_PREFACE);
        if (session->state == LIFE_QUEUED)
                deadline_consider(&nearest, session->phase_ms - session->queue_ms,
                                  env_backend(env, session)->conf->timeouts.queue, DEADLINE_QUEUE);
        if (session->state == LIFE_CONNECTING)
                deadline_consider(&nearest, session->phase_ms, env_backend(env, session)->conf->timeouts.connect,
                                  DEADLINE_CONNECT);
        if (session->state == LIFE_RELAYING)
                deadline_relaying(env, session, &nearest);
        return nearest;
}

void deadline_arm(struct env *env, struct session *session) {
        struct deadline nearest = deadline_nearest(env, session);
        uint32_t node = env_index(env, session);

        if (nearest.when < wheel_when(&env->loop.wheel, node))
                wheel_arm(&env->loop.wheel, node, nearest.when);
}

static enum life_event deadline_kill(struct session *session, unsigned end) {
        /* Who waits because connects failed is told of the last. */
        session_note_end(session, end, end == ACCESS_QUEUE_TIMEOUT ? session->error : 0);
        return LIFE_KILL;
}

static enum life_event deadline_tokens(struct env *env, struct session *session) {
        enum life_event event = relay_move(env, session);

        if (event == LIFE_NOTHING)
                deadline_arm(env, session);
        return event;
}

enum life_event deadline_expire(struct env *env, struct session *session) {
        for (;;) {
                struct deadline nearest = deadline_nearest(env, session);

                if (nearest.when > env->loop.now_ms) {
                        deadline_arm(env, session);
                        return LIFE_NOTHING;
                }
                switch (nearest.kind) {
                case DEADLINE_SESSION:
                        return deadline_kill(session, ACCESS_SESSION_TIMEOUT);
                case DEADLINE_PREFACE:
                        return preface_timeout(env, session);
                case DEADLINE_QUEUE:
                        return deadline_kill(session, ACCESS_QUEUE_TIMEOUT);
                case DEADLINE_CLIENT:
                        return deadline_kill(session, ACCESS_CLIENT_TIMEOUT);
                case DEADLINE_SERVER:
                        return deadline_kill(session, ACCESS_SERVER_TIMEOUT);
                case DEADLINE_CLIENT_FIN:
                        return deadline_kill(session, ACCESS_CLIENT_FIN_TIMEOUT);
                case DEADLINE_SERVER_FIN:
                        return deadline_kill(session, ACCESS_SERVER_FIN_TIMEOUT);
                case DEADLINE_CONNECT:
                        return connect_timeout(env, session);
                case DEADLINE_CLOSE:
                        return session->state == LIFE_CLOSING ? LIFE_FLUSHED : LIFE_KILL;
                case DEADLINE_UNTIL:
                        return session->state == LIFE_CLOSING ? close_look(env, session) : LIFE_DUE;
                case DEADLINE_LATE_OPTIONS:
                        /* Noted after it was done: whoever takes over before that does it once more. */
                        connect_options(env, session, SOCKOPT_LATER);
                        session->flags |= SESSION_LATE_OPTIONS;
                        break;
                case DEADLINE_TOKENS:
                        return deadline_tokens(env, session);
                default:
                        return LIFE_NOTHING;
                }
        }
}
