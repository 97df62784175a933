/* SPDX-License-Identifier: ISC */
#include "session/pick.h"

#include <string.h>

#include "balance/source.h"
#include "net/sys.h"
#include "session/access.h"
#include "session/deadline.h"
#include "session/header.h"

#define PICK_REST_MS 200        /* between rounds over the servers */
#define PICK_LOOK_MS 1000       /* between looks of a session that waits */

/* What `source` goes by: who the client is, as a PROXY header or its socket says. */
static uint64_t pick_hash(struct env *env, const struct session *session) {
        struct ucred creds = { .uid = UINT32_MAX };

        if (env_backend(env, session)->conf->balance != CONF_SOURCE)
                return 0;
        if (session->client_family != AF_UNIX)
                return source_hash_address(session->client_family, &session->client);
        header_client_ids(env, session, &creds);
        return source_hash_uid(creds.uid);
}

static struct backend_request pick_request(struct env *env, const struct session *session) {
        struct backend_request request = { .session = env_index(env, session), .hash = pick_hash(env, session),
                                           .now_ms = env->loop.now_ms };

        if (session->rare != ARENA_NONE) {
                request.tried = env->shared->rares[session->rare].server + session->round;
                request.n_tried = session->tried - session->round;
        }
        return request;
}

static enum life_event pick_none(struct session *session, unsigned end) {
        if (session->tried)
                session_note_end(session, ACCESS_CONNECT_FAILED, session->error);
        else
                session_note_end(session, end, 0);
        return LIFE_GIVE_UP;
}

/* Its wait has taken so long since phase_ms; what a number cannot tell, it does not. */
static void pick_note_wait(struct env *env, struct session *session) {
        int64_t sum = session->queue_ms + env->loop.now_ms - session->phase_ms;

        session->queue_ms = sum < INT32_MAX ? (int32_t)sum : INT32_MAX;
}

/* What was spent in QUEUED is over.  A crash between these finds a session that chooses anew. */
static void pick_end_wait(struct env *env, struct session *session) {
        if (!session->until_ms)
                return;
        pick_note_wait(env, session);
        session->until_ms = 0;
        session->waits = 0;
}

/* It looks again when there may be room, or after a while. */
static enum life_event pick_wait(struct env *env, struct session *session) {
        int64_t now_ms = env->loop.now_ms, opens_ms = backend_opens_ms(env_backend(env, session));

        if (!session->waits)
                session->phase_ms = now_ms;
        session->until_ms = now_ms + PICK_LOOK_MS;
        if (opens_ms > now_ms && opens_ms < session->until_ms)
                session->until_ms = opens_ms;
        atomic_signal_fence(memory_order_seq_cst);
        session->waits = 1;
        return LIFE_WAIT;
}

/* Whether it has had the tries that it may have. */
static int pick_spent(const struct env *env, const struct session *session) {
        uint32_t dropped = session->rare == ARENA_NONE ? 0 : env->shared->rares[session->rare].dropped;

        return dropped + session->tried > env_backend(env, session)->conf->retries;
}

/* No try is left; but a backend that waits for its servers goes on.  LIFE_NOTHING: so does the session. */
static enum life_event pick_last(struct env *env, struct session *session) {
        const struct conf_backend *conf = env_backend(env, session)->conf;

        if (conf->when_down != CONF_WHEN_DOWN_WAIT) {
                session_note_end(session, ACCESS_CONNECT_FAILED, session->error);
                return LIFE_GIVE_UP;
        }
        if (conf->timeouts.queue != CONF_OFF && session->queue_ms >= conf->timeouts.queue) {
                session_note_end(session, ACCESS_QUEUE_TIMEOUT, session->error);
                return LIFE_GIVE_UP;
        }
        return LIFE_NOTHING;
}

enum life_event pick_server(struct env *env, struct session *session) {
        struct backend *backend = env_backend(env, session);
        struct backend_request request;
        int server;

        /* What the clock has opened is first for those that wait. */
        if (env->loop.now_ms >= backend_due_ms(backend))
                env_grant(env->shared, backend, env->loop.now_ms);
        if (!session->waits) {
                pick_end_wait(env, session);
                if (pick_spent(env, session) && pick_last(env, session) == LIFE_GIVE_UP)
                        return LIFE_GIVE_UP;
        }
        request = pick_request(env, session);
        /* Of more servers than are kept in mind: those that fail at once must not keep this thread for ever. */
        if (!session->waits && request.n_tried == SESSION_TRIES) {
                session->round = session->tried;
                return LIFE_PAUSE;
        }
        server = backend_pick(backend, &request, &env->address);
        if (server == BACKEND_WAIT)
                return pick_wait(env, session);
        pick_end_wait(env, session);
        switch (server) {
        case BACKEND_ALL_TRIED:
                session->round = session->tried;
                return LIFE_PAUSE;
        case BACKEND_QUEUE_FULL:
                return pick_none(session, ACCESS_QUEUE_FULL);
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
        pick_end_wait(env, session);
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

        pick_end_wait(env, session);
        if (next != BACKEND_NOBODY)
                env_post(env->shared, next);
}

void pick_rejoin(struct env *env, struct session *session) {
        struct backend_request request = pick_request(env, session);

        backend_rejoin(env_backend(env, session), &request);
}

/* Notes the present server as tried; of very many tries, only the last are kept. */
static void pick_note_tried(struct env *env, struct session *session) {
        /* As many records as sessions: one is always there. */
        struct session_rare *rare = env_rare(env, session);
        uint16_t drop = SESSION_TRIES / 2;

        if (!rare)
                return;
        if (session->tried == SESSION_TRIES) {
                memmove(rare->server, rare->server + drop, (SESSION_TRIES - drop) * sizeof(rare->server[0]));
                rare->dropped += drop;
                session->tried -= drop;
                session->round = session->round > drop ? session->round - drop : 0;
        }
        rare->server[session->tried++] = session->server;
}

enum life_event pick_next(struct env *env, struct session *session) {
        struct server_record *failed = env_server(env, session)->record;
        enum life_event event;

        pick_note_tried(env, session);
        pick_give_back(env, env_backend(env, session), session->server);
        session->server = SESSION_NO_SERVER;
        if (env_backend(env, session)->conf->when_down == CONF_WHEN_DOWN_WAIT && pick_spent(env, session))
                pick_note_wait(env, session);
        event = pick_server(env, session);
        if (event != LIFE_GIVE_UP)
                atomic_fetch_add_explicit(&failed->retried, 1, memory_order_relaxed);
        return event;
}
