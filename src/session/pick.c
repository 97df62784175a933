/* SPDX-License-Identifier: ISC */
#include "session/pick.h"

#include "session/access.h"
#include "session/deadline.h"

#define PICK_REST_MS 200 /* between rounds over the servers */

enum life_event pick_server(struct env *env, struct session *session) {
        struct backend *backend = env_backend(env, session);
        const uint16_t *tried = NULL;
        int server;

        /* What was spent in QUEUED; a first pick comes at once. */
        if (session->until_ms) {
                session->queue_ms += (int32_t)(env->loop.now_ms - session->phase_ms);
                session->until_ms = 0;
        }
        if (session->tried > backend->conf->retries) {
                session_note_end(session, ACCESS_CONNECT_FAILED, session->error);
                return LIFE_GIVE_UP;
        }
        if (session->tries != ARENA_NONE)
                tried = env->shared->tries[session->tries].server + session->round;
        server = backend_pick(backend, tried, session->tried - session->round, &env->address);
        if (server == BACKEND_ALL_TRIED) {
                session->round = session->tried;
                return LIFE_PAUSE;
        }
        if (server == BACKEND_NO_SERVER) {
                if (session->tried)
                        session_note_end(session, ACCESS_CONNECT_FAILED, session->error);
                else
                        session_note_end(session, ACCESS_NO_SERVER, 0);
                return LIFE_GIVE_UP;
        }
        session->server = (uint16_t)server;
        return LIFE_PICKED;
}

enum life_event pick_rest(struct env *env, struct session *session) {
        session->phase_ms = env->loop.now_ms;
        session->until_ms = env->loop.now_ms + PICK_REST_MS;
        deadline_arm(env, session);
        return LIFE_NOTHING;
}

void pick_release(struct env *env, struct session *session) {
        struct env_shared *shared = env->shared;

        /* As many records as sessions: one is always there. */
        if (session->tries == ARENA_NONE)
                session->tries = arena_list_take(&shared->tries_list);
        if (session->tries != ARENA_NONE && session->tried < SESSION_TRIES)
                shared->tries[session->tries].server[session->tried++] = session->server;
        backend_release(env_backend(env, session), session->server);
        session->server = SESSION_NO_SERVER;
}
