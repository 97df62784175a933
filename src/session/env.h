/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_ENV_H
#define SPLICED_SESSION_ENV_H

#include <stdatomic.h>
#include <stdint.h>

#include "balance/backend.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/arena.h"
#include "engine/loop.h"
#include "engine/pipe.h"
#include "net/listener.h"
#include "session/session.h"

/*
 * What the data path works with: one struct env a thread, and one struct
 * env_shared for all of them.  src/worker makes both.
 */

/* Record of slab ARENA_LISTENERS: a listening socket that the arena owns. */
struct env_listener_record {
        int32_t fd;                     /* -1: closed */
        struct addr addr;
        struct listener_path path;      /* of an AF_UNIX path that we bound */
};

/* A listener as the threads see it. */
struct env_listener {
        const struct conf_listener *conf;
        const struct conf_frontend *frontend_conf;
        struct env_listener_record *record;     /* in the arena */
        uint32_t frontend;                      /* its number */
        int family;
        int accepted_options;                   /* accepted sockets need options of their own */
        _Atomic int full;                       /* stands still at a limit; whoever ends a session takes it up again */
};

struct env_frontend {
        _Atomic uint32_t sessions;
};

struct env_thread {
        struct loop_record *record;             /* in the arena */
        _Atomic uint32_t sessions;
} __attribute__((aligned(64)));

struct env_shared {
        const struct conf *conf;
        struct log *log;
        struct arena *arena;
        struct session *sessions;               /* slab ARENA_SESSIONS */
        struct session_tries *tries;            /* slab ARENA_TRIES */
        struct arena_list session_list;
        struct arena_list tries_list;
        struct pipe_store pipes;
        struct backend *backends;
        struct env_frontend *frontends;
        struct env_listener *listeners;
        struct env_thread *threads;
        struct loop_links *links;               /* nodes: sessions, then each thread's listeners and pool */
        struct wheel_node *timers;
        uint32_t n_listeners, n_threads, n_sessions;
        _Atomic uint32_t sessions_now;
        _Atomic uint32_t listeners_full;        /* how many stand still at a limit */
};

struct env {
        struct env_shared *shared;
        const struct conf *conf;
        struct log *log;
        struct loop loop;
        struct pipe_pool pipes;
        unsigned thread;
        int accepting;                          /* cleared when listeners close for good */
        struct addr address;                    /* of the server that was picked last */
        struct log_limit accept_limit;          /* lines about accept that failed */
        struct log_limit socket_limit;          /* lines about sockets to servers that could not be made */
        struct log_limit *server_limits;        /* lines about failed connects, by server record */
        char scratch[DIRECTION_SCRATCH];        /* bytes in flight, only while a handler runs */
};

/* The nodes of each loop besides the sessions: this thread's listeners, and then its pool of pipes. */
static inline uint32_t env_listener_node(const struct env *env, uint32_t listener) {
        return env->shared->n_sessions + env->thread * (env->shared->n_listeners + 1) + listener;
}

/* The node of this thread's pool of pipes. */
static inline uint32_t env_pool_node(const struct env *env) {
        return env_listener_node(env, env->shared->n_listeners);
}

/* Gives an empty pipe back to the pool, which is looked after from then on. */
void env_give_pipe(struct env *env, uint32_t pipe);

/* A session's number: its place in the slab. */
static inline uint32_t env_index(const struct env *env, const struct session *session) {
        return (uint32_t)(session - env->shared->sessions);
}

/* The frontend that a session came in by. */
static inline const struct conf_frontend *env_frontend_conf(const struct env *env, const struct session *session) {
        return env->shared->listeners[session->listener].frontend_conf;
}

/* The backend that a session is for. */
static inline struct backend *env_backend(const struct env *env, const struct session *session) {
        return &env->shared->backends[session->backend];
}

#endif
