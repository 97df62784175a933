/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_ENV_H
#define SPLICED_SESSION_ENV_H

#include <stdatomic.h>
#include <stdint.h>

#include "balance/acl.h"
#include "balance/backend.h"
#include "balance/quota.h"
#include "base/bucket.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/arena.h"
#include "engine/loop.h"
#include "engine/pipe.h"
#include "net/listener.h"
#include "session/session.h"
#include "session/survey.h"
#include "session/tap.h"

/*
 * What the data path works with: one struct env a thread, and one struct
 * env_shared for all of them.  src/worker makes both.
 */

/*
 * Slots: places in the arena for what a config names, so that a session can name them too, whatever becomes of
 * the config.  A slot that is `used` but in no config any more keeps what its sessions need to go on.
 */
#define ENV_LISTENERS 4096
#define ENV_FRONTENDS 4096
#define ENV_BACKENDS 4096
#define ENV_SERVERS 32768
#define ENV_NAME_SIZE (CONF_NAME_MAX + 1)
#define ENV_TEXT_SIZE 128

/* Whose clients come in by a listening socket: a frontend's, or those of the admin API and its read-only part. */
enum env_listener_use { ENV_LISTENER_TRAFFIC, ENV_LISTENER_ADMIN, ENV_LISTENER_HTTP };

/* Record of slab ARENA_LISTENERS: a listening socket that the arena owns. */
struct env_listener_record {
        uint32_t used;
        int32_t fd;                     /* meaningful while used; -1: closed */
        uint32_t frontend;              /* slot, of ENV_LISTENER_TRAFFIC */
        uint32_t use;                   /* enum env_listener_use */
        uint16_t leaving;               /* the next config does without it */
        uint16_t pending;               /* a reload opened it that is not carried out yet */
        char text[ENV_TEXT_SIZE];       /* the address as written */
        struct addr addr;
        struct listener_path path;      /* of an AF_UNIX path that we bound */
};

/* Record of slab ARENA_FRONTENDS. */
struct env_frontend_record {
        uint32_t used;
        uint8_t half_close, access_log, unused[2];
        _Atomic uint32_t paused;        /* at run time: its clients wait in the backlogs */
        char name[ENV_NAME_SIZE];
        struct conf_client_timeouts timeouts;
        uint64_t upload_rate, download_rate;
        _Atomic int64_t paid_ns;                /* the token bucket of `rate` */
        _Atomic uint64_t denied, limited;       /* clients that were turned away */
};

/* Record of slab ARENA_BACKENDS. */
struct env_backend_record {
        uint32_t used;
        uint32_t retries;
        char name[ENV_NAME_SIZE];
        struct conf_server_timeouts timeouts;
};

/* What the threads see of a slot: tables in process memory, indexed by slot, zero where it is not used. */
struct env_listener {
        const struct conf_listener *conf;       /* NULL where it is in no config: nothing is accepted on it */
        struct env_listener_record *record;
        uint32_t frontend;                      /* slot */
        int family;
        int accepted_options;                   /* accepted sockets need options of their own */
        struct acl proxy_from;                  /* who may send a PROXY header */
        _Atomic int full;                       /* stands still at a limit; whoever ends a session takes it up again */
};

struct env_frontend {
        const struct conf_frontend *conf;       /* of the config, or the ghost */
        void *ghost;                            /* made from the record, in no config; worker/slots.c owns it */
        uint32_t backend;                       /* slot, or ARENA_NONE: none by default */
        _Atomic uint32_t sessions;
        struct env_frontend_record *record;
        struct acl acl;                         /* allow and deny */
        int asks;                               /* admission has to look at each client: session/admit.c */
        struct quota_limits source;             /* of one source */
        struct bucket_limit rate;               /* new connections */
        struct bucket_limit bytes[SESSION_SIDES];       /* of a session, by the side that is read */
};

struct env_server {
        const struct conf_server *conf;         /* of the config, or the ghost */
        void *ghost;                            /* as above */
        struct server_record *record;
};

struct env_thread {
        struct loop_record *record;             /* in the arena */
        _Atomic uint32_t sessions;
        _Atomic uint32_t mail;                  /* first session to be looked at, as index + 1: env_post() */
        _Atomic uint32_t resume;                /* listeners that stand still are to be taken up: env_resume() */
        _Atomic uint32_t taps;                  /* to be looked at, a bit each: tap_wake() */
        uint64_t *own;                          /* sessions that it has taken up: a bit each, by index */
        struct survey_row *rows;                /* what the last survey saw of this thread's sessions: survey.h */
        uint32_t n_rows;
} __attribute__((aligned(64)));

/* What other threads want of a session: process memory, by session index, zeroed. */
struct env_mail {
        uint32_t next;                          /* in its thread's list, as index + 1 */
        _Atomic uint32_t posted;                /* it is in the list */
        _Atomic uint64_t kill;                  /* session id << 8 | enum access_end; 0: no */
};

struct env_shared {
        const struct conf *conf;
        struct log *log;
        struct arena *arena;
        struct session *sessions;               /* slab ARENA_SESSIONS */
        struct session_rare *rares;             /* slab ARENA_RARE */
        struct arena_list session_list;
        struct arena_list rare_list;
        struct pipe_store pipes;
        struct backend *backends;               /* by slot; conf is NULL where it is not used */
        uint16_t *backend_slots;                /* of conf->backends, in their order; owned */
        struct env_server *servers;
        struct env_frontend *frontends;
        struct env_listener *listeners;
        struct env_thread *threads;
        struct survey survey;
        struct tap taps[TAP_MAX];
        pthread_mutex_t listen_lock;            /* while listeners are closed, or looked at by the admin */
        struct loop_links *links;               /* nodes: sessions, then ENV_NODES for each thread */
        struct wheel_node *timers;
        struct env_mail *mail;                  /* by session */
        struct backend_waiter *waiters;         /* by session */
        struct quota quota;
        uint32_t *sources;                      /* by session: its place in the quota, or QUOTA_NONE */
        const struct loop_record *_Atomic health; /* of the thread that looks after servers; NULL: there is none */
        const int *_Atomic names;               /* an eventfd of the thread that follows names; NULL: there is none */
        uint8_t *unsure;                        /* by session: adopted, and its sockets have not been looked at yet */
        uint32_t n_listeners;                   /* slots from here on are not used */
        uint32_t n_threads;
        uint32_t n_sessions;                    /* records */
        uint32_t max_sessions;                  /* the limit */
        _Atomic uint32_t sessions_now;
        _Atomic uint32_t listeners_full;        /* how many stand still at a limit */
};

/* Lines about clients of one frontend that do not come in. */
struct env_admit_limits {
        struct log_limit denied, limited, rate;
};

struct env {
        struct env_shared *shared;
        const struct conf *conf;
        struct log *log;
        struct loop loop;
        struct pipe_pool pipes;
        unsigned thread;
        uint32_t survey;                        /* the last survey that it has begun with */
        uint32_t surveyed;                      /* and sessions from this one on have not been looked at */
        int accepting;                          /* cleared when listeners close for good */
        uint32_t unsure;                        /* this many sessions are */
        uint32_t taps;                          /* that copy bytes of its sessions, a bit each */
        struct addr address;                    /* of the server that was picked last */
        struct log_limit accept_limit;          /* lines about accept that failed */
        struct log_limit socket_limit;          /* lines about sockets to servers that could not be made */
        struct log_limit header_limit;          /* lines about PROXY headers that were wrong */
        struct log_limit *server_limits;        /* lines about failed connects, by server slot */
        struct env_admit_limits *admit_limits;  /* by frontend slot */
        /*
         * Bytes in flight, only while a handler runs.  At the start of a page, as what the kernel copies them from is
         * mostly: a copy to 8 to 24 bytes beyond its source, pages aside, takes three times as long on AMD's Zen 3.
         */
        _Alignas(4096) char scratch[DIRECTION_SCRATCH];
};

/* Nodes of a thread besides the sessions, which come before these. */
#define ENV_NODES (ENV_LISTENERS + 2)

/* The node of a listener in this thread's loop. */
static inline uint32_t env_listener_node(const struct env *env, uint32_t listener) {
        return env->shared->n_sessions + env->thread * ENV_NODES + listener;
}

/* The node that looks after the pool of pipes. */
static inline uint32_t env_pool_node(const struct env *env) {
        return env_listener_node(env, ENV_LISTENERS);
}

/* The node that gets on with a survey. */
static inline uint32_t env_survey_node(const struct env *env) {
        return env_listener_node(env, ENV_LISTENERS + 1);
}

/* Notes that a session is this thread's, until it is not any more.  Its own alone, so that nobody reads of others. */
static inline void env_own(struct env *env, uint32_t session) {
        env->shared->threads[env->thread].own[session / 64] |= UINT64_C(1) << session % 64;
}
static inline void env_disown(struct env *env, uint32_t session) {
        env->shared->threads[env->thread].own[session / 64] &= ~(UINT64_C(1) << session % 64);
}
static inline int env_owns(const struct env *env, uint32_t session) {
        return env->shared->threads[env->thread].own[session / 64] >> session % 64 & 1;
}

/* Gives an empty pipe back to the pool, which is looked after from then on. */
void env_give_pipe(struct env *env, uint32_t pipe);

/*
 * Has a session looked at by its thread (session_ready()): it was given a place at a server, or is to be ended.
 * May be called in any thread; the session may be gone when it is looked at.
 */
void env_post(struct env_shared *shared, uint32_t session);

/* Ends the session with that id, if it is the one in that record still, as `end` (enum access_end) says. */
void env_post_kill(struct env_shared *shared, uint32_t session, uint64_t id, unsigned end);

/*
 * Ends the running sessions of the server in that slot, as `end` (enum access_end) says; those that are only connecting
 * go on to another by themselves.  Any thread.  Returns how many.
 */
uint32_t env_kill_server(struct env_shared *shared, unsigned server, unsigned end);

/* Has the servers looked at now: one was ejected, or was given another address or state.  Any thread. */
void env_wake_health(const struct env_shared *shared);

/* Has names looked at now: a server was given an address at run time, or its name back.  Any thread. */
void env_wake_names(const struct env_shared *shared);

/* The same for one that a survey saw. */
void env_post_kill_seen(struct env_shared *shared, const struct survey_row *row, unsigned end);

/* Has listeners that stand still taken up again: a frontend is paused no more.  Any thread. */
void env_resume(struct env_shared *shared);

/*
 * Takes in what was posted to this thread: its sessions go to the ready list, and those that another thread has by
 * now are passed on.  On the loop's wake-up.
 */
void env_read_mail(struct env *env);

/* Gives waiting sessions the places that there are: after a change that made room. */
void env_grant(struct env_shared *shared, struct backend *backend, int64_t now_ms);

/* The session's record of rare things, taken now where it has none.  NULL only where the arena is damaged. */
struct session_rare *env_rare(struct env *env, struct session *session);

/* The number of a session's record. */
static inline uint32_t env_index(const struct env *env, const struct session *session) {
        return (uint32_t)(session - env->shared->sessions);
}

/* The frontend that a session came in by. */
static inline const struct conf_frontend *env_frontend_conf(const struct env *env, const struct session *session) {
        return env->shared->frontends[session->frontend].conf;
}

/* The backend that a session is for.  Only once the preface is done. */
static inline struct backend *env_backend(const struct env *env, const struct session *session) {
        return &env->shared->backends[session->backend];
}

/* Only for a session that has a server. */
static inline const struct env_server *env_server(const struct env *env, const struct session *session) {
        return &env->shared->servers[session->server];
}

#endif
