/* SPDX-License-Identifier: ISC */
#include "session/pick.h"

#include "session/access.h"
#include "session/deadline.h"

#define PICK_REST_MS 200 /* between rounds over the servers */

static enum life_event pick_none(struct session *session, unsigned end) {
        if (session->tried)
                session_note_end(session, ACCESS_CONNECT_FAILED, session->error);
        else
                session_note_end(session, end, 0);
        return LIFE_GIVE_UP;
}

/* What was spent in QUEUED; a first pick comes at once. */
static void pick_count_wait(struct env *env, struct session *session) {
        session->queue_ms += (int32_t)(env->loop.now_ms - session->phase_ms);
        session->until_ms = 0;
}

enum life_event pick_server(struct env *env, struct session *session) {
        struct backend *backend = env_backend(env, session);
        struct backend_request request = { .session = env_index(env, session), .now_ms = env->loop.now_ms };
        int server;

        if (session->until_ms)
                pick_count_wait(env, session);
        if (session->tried > backend->conf->retries) {
                session_note_end(session, ACCESS_CONNECT_FAILED, session->error);
                return LIFE_GIVE_UP;
        }
        if (session->rare != ARENA_NONE) {
                request.tried = env->shared->rares[session->rare].server + session->round;
                request.n_tried = session->tried - session->round;
        }
        server = backend_pick(backend, &request, &env->address);
        switch (server) {
        case BACKEND_ALL_TRIED:
                session->round = session->tried;
                return LIFE_PAUSE;
        case BACKEND_WAIT:
                session->phase_ms = env->loop.now_ms;
                return LIFE_WAIT;
        case BACKEND_QUEUE_FULL:
                return pick_none(session, backend->conf->queue ? ACCESS_QUEUE_FULL : ACCESS_NO_SERVER);
        case BACKEND_NO_SERVER:
                return pick_none(session, ACCESS_NO_SERVER);
        default:
                session->server = (uint16_t)server;
                return LIFE_PICKED;
        }
}

enum life_event pick_rest(struct env *env, struct session *session) {
        session->phase_ms = env->loop.now_ms;
        session->until_ms = env->loop.now_ms + PICK_REST_MS;
        deadline_arm(env, session);
        return LIFE_NOTHING;
}

enum life_event pick_granted(struct env *env, struct session *session) {
        int server = backend_granted(env_backend(env, session), env_index(env, session), &env->address);

        if (server < 0)
                return LIFE_NOTHING;
        pick_count_wait(env, session);
        session->server = (uint16_t)server;
        return LIFE_GRANTED;
}

void pick_give_back(struct env *env, struct backend *backend, unsigned server) {
        uint32_t next = backend_release(backend, server);

        if (next != BACKEND_NOBODY)
                env_post(env->shared, next);
}

void pick_leave(struct env *env, struct session *session) {
        uint32_t next = backend_leave(env_backend(env, session), env_index(env, session));

        if (next != BACKEND_NOBODY)
                env_post(env->shared, next);
}

void pick_release(struct env *env, struct session *session) {
        /* As many records as sessions: one is always there. */
        struct session_rare *rare = env_rare(env, session);

        if (rare && session->tried < SESSION_TRIES)
                rare->server[session->tried++] = session->server;
        pick_give_back(env, env_backend(env, session), session->server);
        session->server = SESSION_NO_SERVER;
}
