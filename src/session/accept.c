/* SPDX-License-Identifier: ISC */
#include "session/accept.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "net/sockopt.h"
#include "net/sys.h"
#include "session/access.h"
#include "session/close.h"
#include "session/counters.h"
#include "session/header.h"
#include "session/preface.h"

#define ACCEPT_BATCH 32         /* connections in a row, before others have their turn */
#define ACCEPT_LAST 4096        /* connections that a listener still serves when it closes */
#define ACCEPT_PAUSE_MS 100     /* until the next attempt where descriptors or memory are short */
#define ACCEPT_LOG_MS 5000      /* between lines about that */

/* Adds one to a counter that must not exceed max (0: no limit).  Exact under any number of threads. */
static int accept_take_place(_Atomic uint32_t *counter, uint32_t max) {
        uint32_t n = atomic_load(counter);

        do
                if (max && n >= max)
                        return 0;
        while (!atomic_compare_exchange_weak(counter, &n, n + 1));
        return 1;
}

/* A token of the frontend's rate. */
static int accept_take_token(struct env *env, struct env_frontend *frontend) {
        return !frontend->rate.rate || bucket_take_shared(&frontend->rate, &frontend->record->paid_ns,
                                                          env->loop.now_ms * BUCKET_NS_PER_MS);
}

static void accept_give_token(struct env_frontend *frontend) {
        if (frontend->rate.rate)
                bucket_give_shared(&frontend->rate, &frontend->record->paid_ns);
}

/*
 * Takes a place in every limit for one session, or none at all.  The frontend's comes first: whoever stands still
 * because of that place, given back here, does so while all places are taken, and is taken up when a session ends.
 * So with the token before it: there is no place for whoever missed it.
 */
static int accept_reserve(struct env *env, const struct env_listener *listener, int paced) {
        struct env_shared *shared = env->shared;
        struct env_frontend *frontend = &shared->frontends[listener->frontend];

        /* Who waits at one that closes is served all the same: nobody would come back. */
        if (paced && atomic_load(&frontend->record->paused))
                return 0;
        if (paced && !accept_take_token(env, frontend))
                return 0;
        if (accept_take_place(&frontend->sessions, frontend->conf->max_connections)) {
                if (accept_take_place(&shared->sessions_now, shared->max_sessions))
                        return 1;
                atomic_fetch_sub(&frontend->sessions, 1);
        }
        if (paced)
                accept_give_token(frontend);
        return 0;
}

/* Gives back what came to nothing.  Another thread may have stood still because of it meanwhile. */
static void accept_unreserve(struct env *env, const struct env_listener *listener, int paced) {
        struct env_frontend *frontend = &env->shared->frontends[listener->frontend];

        atomic_fetch_sub(&frontend->sessions, 1);
        atomic_fetch_sub(&env->shared->sessions_now, 1);
        if (paced)
                accept_give_token(frontend);
        accept_resume(env);
}

/* Where it is the rate that keeps the listener waiting, nobody takes it up again but a timer. */
static void accept_wait_for_token(struct env *env, uint32_t number) {
        struct env_listener *listener = &env->shared->listeners[number];
        struct env_frontend *frontend = &env->shared->frontends[listener->frontend];
        int64_t now_ns = env->loop.now_ms * BUCKET_NS_PER_MS, when;
        struct log_context context = { .frontend = frontend->conf->name };
        uint32_t times;

        if (!frontend->rate.rate)
                return;
        when = bucket_when(&frontend->rate, atomic_load(&frontend->record->paid_ns), 1, now_ns);
        if (when <= now_ns)
                return;
        wheel_arm(&env->loop.wheel, env_listener_node(env, number),
                  env->loop.now_ms + (when - now_ns + BUCKET_NS_PER_MS - 1) / BUCKET_NS_PER_MS);
        times = log_limit_ask(&env->admit_limits[listener->frontend].rate, env->loop.now_ms, ACCEPT_LOG_MS);
        if (times)
                log_info(env->log, &context, "new clients over the rate of %" PRIu64
                         " a second wait in the backlog (%" PRIu32 " times since the last such line)",
                         frontend->rate.rate, times);
}

/*
 * Like accept_reserve(), but leaves a mark where there is no place.  The mark comes
 * before the second look: a session that ends between the two sees it.
 */
static int accept_admit(struct env *env, uint32_t number, int paced) {
        struct env_listener *listener = &env->shared->listeners[number];

        if (accept_reserve(env, listener, paced))
                return 1;
        if (!atomic_exchange(&listener->full, 1))
                atomic_fetch_add(&env->shared->listeners_full, 1);
        if (accept_reserve(env, listener, paced))
                return 1;
        if (paced)
                accept_wait_for_token(env, number);
        return 0;
}

static void accept_clear_mark(struct env *env, struct env_listener *listener) {
        if (atomic_load_explicit(&listener->full, memory_order_relaxed) && atomic_exchange(&listener->full, 0))
                atomic_fetch_sub(&env->shared->listeners_full, 1);
}

void accept_resume(struct env *env) {
        struct env_shared *shared = env->shared;

        if (!atomic_load(&shared->listeners_full))
                return;
        for (uint32_t i = 0; i < shared->n_listeners; i++)
                if (atomic_load(&shared->listeners[i].full))
                        loop_ready(&env->loop, env_listener_node(env, i));
}

/* The thread that is to have the next session: this one, unless another has clearly fewer. */
static unsigned accept_choose_thread(const struct env *env) {
        const struct env_shared *shared = env->shared;
        unsigned best = env->thread;
        uint32_t least = atomic_load_explicit(&shared->threads[best].sessions, memory_order_relaxed);

        if (shared->n_threads == 1)
                return best;
        for (unsigned i = 0; i < shared->n_threads; i++) {
                uint32_t n = atomic_load_explicit(&shared->threads[i].sessions, memory_order_relaxed);

                if (n < least) {
                        best = i;
                        least = n;
                }
        }
        return best;
}

static void accept_note_client(struct session *session, const struct sockaddr_storage *sa) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

        session->client_family = sa->ss_family;
        if (sa->ss_family == AF_UNIX)
                session->flags |= SESSION_UNIX(SESSION_CLIENT);
        else if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
                session->client_family = AF_INET;
                session->client_port = in6->sin6_port;
                memcpy(&session->client, &in6->sin6_addr.s6_addr[12], 4);
        } else if (sa->ss_family == AF_INET6) {
                session->client_port = in6->sin6_port;
                session->client = in6->sin6_addr;
        } else {
                session->client_port = in->sin_port;
                memcpy(&session->client, &in->sin_addr, 4);
        }
}

/* Where the preface begins, by the config that the session came in with. */
static void accept_begin_preface(struct env *env, const struct env_listener *listener, struct session *session) {
        if (!listener->conf->accept_proxy)
                session->stage = PREFACE_ADMIT;
        else if (header_may_come(env, listener, session))
                session->stage = PREFACE_HEADER;
        else
                session->stage = PREFACE_REFUSED;
}

/* Gives a fresh connection its record.  The record exists before anything else can happen to the descriptor. */
static struct session *accept_record(struct env *env, uint32_t listener, int fd, const struct sockaddr_storage *sa) {
        struct env_shared *shared = env->shared;
        uint32_t index = arena_list_take(&shared->session_list), frontend = shared->listeners[listener].frontend;
        struct session *session, fresh;

        if (index == ARENA_NONE)
                return NULL;
        fresh = (struct session){
                .fd = { fd, -1 },
                .id = __atomic_fetch_add(&shared->arena->head->next_session, 1, __ATOMIC_RELAXED),
                .accepted_ms = env->loop.now_ms,
                .phase_ms = env->loop.now_ms,
                .connect_ms = -1,
                .rare = ARENA_NONE,
                .thread = (uint16_t)accept_choose_thread(env),
                .listener = (uint16_t)listener,
                .frontend = (uint16_t)frontend,
                .backend = shared->frontends[frontend].backend == ARENA_NONE
                                   ? SESSION_NO_BACKEND : (uint16_t)shared->frontends[frontend].backend,
                .server = SESSION_NO_SERVER,
                .end = ACCESS_END_N,
        };
        /* All but the generation, the first member: another thread may look at that for a stale event. */
        session = &shared->sessions[index];
        fresh.stamp = session->generation;
        memcpy((char *)session + sizeof(fresh.generation), (char *)&fresh + sizeof(fresh.generation),
               sizeof(fresh) - sizeof(fresh.generation));
        direction_init(&session->direction[SESSION_CLIENT], env->loop.now_ms);
        direction_init(&session->direction[SESSION_SERVER], env->loop.now_ms);
        accept_note_client(session, sa);
        accept_begin_preface(env, &shared->listeners[listener], session);
        atomic_fetch_add(&shared->threads[session->thread].sessions, 1);
        atomic_signal_fence(memory_order_seq_cst);
        session->state = LIFE_ACCEPTED;
        counters_accepted(env, session);
        return session;
}

/* Sets what the socket did not inherit and registers it with its thread, which then takes over. */
static void accept_start(struct env *env, struct session *session) {
        struct env_shared *shared = env->shared;
        const struct env_listener *listener = &shared->listeners[session->listener];
        struct env_thread *thread = &shared->threads[session->thread];
        uint64_t key = session_key(env_index(env, session), session->generation, SESSION_CLIENT);
        int own = session->thread == env->thread, fd = session->fd[SESSION_CLIENT], r = 0;
        enum sockopt_id failed = SOCKOPT_N;

        if (listener->accepted_options)
                r = sockopt_apply(fd, listener->family, &listener->conf->sockopts,
                                  SOCKOPT_ACCEPTED, &failed);
        if (r < 0) {
                struct log_context context = { .frontend = env_frontend_conf(env, session)->name };

                log_warning(env->log, &context, "cannot set socket option %s on an accepted connection: %s",
                            sockopt_spec(failed)->name, strerror(-r));
        } else {
                /* Another thread hears of it by the first event, which there always is where OUT is one. */
                session->sockets = own ? 0 : SESSION_WATCHED(SESSION_CLIENT);
                /* Unchanged, but whoever finds it in an event sees all that was written before. */
                __atomic_store_n(&session->generation, session->stamp, __ATOMIC_RELEASE);
                r = own ? poller_add_quiet(thread->record->poller, fd, key)
                        : poller_add(thread->record->poller, fd, key);
        }
        /* From here on the record is the other thread's, unless it never heard of it. */
        if (r == 0 && !own)
                return;
        if (!own) {
                atomic_fetch_sub(&thread->sessions, 1);
                session->thread = (uint16_t)env->thread;
                atomic_fetch_add(&shared->threads[env->thread].sessions, 1);
        }
        env->loop.record->current = env_index(env, session);
        if (r < 0) {
                session_note_end(session, close_end_of_error(-r, ACCESS_INTERNAL), -r);
                session_run(env, session, LIFE_KILL);
        } else
                session_run(env, session, LIFE_ADMIT);
        env->loop.record->current = LOOP_NONE;
}

/* Descriptors or memory are short: the listener rests, what is established goes on. */
static void accept_pause(struct env *env, uint32_t listener, int error) {
        const struct env_listener *which = &env->shared->listeners[listener];
        struct log_context context = { .frontend = env->shared->frontends[which->frontend].conf->name,
                                       .address = which->conf->text };
        uint32_t times = log_limit_ask(&env->accept_limit, env->loop.now_ms, ACCEPT_LOG_MS);

        wheel_arm(&env->loop.wheel, env_listener_node(env, listener), env->loop.now_ms + ACCEPT_PAUSE_MS);
        if (times)
                log_warning(env->log, &context,
                            "cannot accept: %s; new clients wait in the backlog, next try in %d ms (%u times so far)",
                            strerror(error), ACCEPT_PAUSE_MS, times);
}

/* Returns 1 to go on, 0 where there is no more to accept now.  paced: by the frontend's rate. */
static int accept_one(struct env *env, uint32_t number, int paced) {
        struct env_listener *listener = &env->shared->listeners[number];
        struct sockaddr_storage sa = { .ss_family = (sa_family_t)listener->family };
        socklen_t len = sizeof(sa);
        struct session *session;
        int fd;

        if (!accept_admit(env, number, paced))
                return 0;
        accept_clear_mark(env, listener);
        fd = sys_accept(listener->record->fd, (struct sockaddr *)&sa, &len);
        if (fd >= 0) {
                session = accept_record(env, number, fd, &sa);
                if (session) {
                        accept_start(env, session);
                        return 1;
                }
                sys_close(fd);
                accept_unreserve(env, listener, paced);
                return 1;
        }

        accept_unreserve(env, listener, paced);
        switch (-fd) {
        case EAGAIN:
                return 0;
        /* The connection's own misfortune, reported by accept(2): the next one may be well. */
        case ECONNABORTED:
        case EPERM:
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case EOPNOTSUPP:
        case ETIMEDOUT:
                return 1;
        default:
                accept_pause(env, number, -fd);
                return 0;
        }
}

void accept_run(struct env *env, uint32_t listener) {
        if (!env->accepting || !env->shared->listeners[listener].conf)
                return;
        for (int i = 0; i < ACCEPT_BATCH; i++)
                if (!accept_one(env, listener, 1))
                        return;
        loop_ready(&env->loop, env_listener_node(env, listener));
}

void accept_adopt(struct env *env) {
        for (uint32_t i = env->thread; i < env->shared->n_listeners; i += env->shared->n_threads)
                if (env->shared->listeners[i].conf)
                        loop_ready(&env->loop, env_listener_node(env, i));
}

/*
 * The last batch of a listener; bounded, since clients may go on coming.  Whoever waits because of the rate would be
 * reset, and is served instead.
 */
static void accept_last(struct env *env, uint32_t listener) {
        uint32_t node = env_listener_node(env, listener);

        for (int n = 0; n < ACCEPT_LAST && accept_one(env, listener, 0); n++)
                ;
        wheel_cancel(&env->loop.wheel, node);
        loop_unready(&env->loop, node);
        poller_remove(env->loop.record->poller, env->shared->listeners[listener].record->fd);
}

void accept_leave(struct env *env) {
        for (uint32_t i = 0; i < env->shared->n_listeners; i++)
                if (env->shared->listeners[i].conf && env->shared->listeners[i].record->leaving)
                        accept_last(env, i);
}

void accept_stop(struct env *env) {
        for (uint32_t i = 0; env->accepting && i < env->shared->n_listeners; i++)
                if (env->shared->listeners[i].conf)
                        accept_last(env, i);
        env->accepting = 0;
}
