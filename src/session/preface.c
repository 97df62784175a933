/* SPDX-License-Identifier: ISC */
#include "session/preface.h"

#include "session/access.h"
#include "session/admit.h"

/* The frontend's default. */
static enum life_event preface_route(struct env *env, struct session *session) {
        uint32_t backend = env->shared->frontends[session->frontend].backend;

        if (backend == ARENA_NONE) {
                session_note_end(session, ACCESS_NO_ROUTE, 0);
                return LIFE_GIVE_UP;
        }
        session->backend = (uint16_t)backend;
        session->stage = PREFACE_DONE;
        return LIFE_ROUTED;
}

enum life_event preface_read(struct env *env, struct session *session) {
        if (session->stage == PREFACE_DONE)
                return LIFE_ROUTED;
        if (session->stage <= PREFACE_ADMIT) {
                if (!admit_client(env, session))
                        return LIFE_GIVE_UP;
                session->stage = PREFACE_ROUTE;
        }
        return preface_route(env, session);
}

enum life_event preface_timeout(struct env *env, struct session *session) {
        session_note_end(session, ACCESS_PREFACE_TIMEOUT, 0);
        return LIFE_KILL;
}
