/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_BACKEND_H
#define SPLICED_BALANCE_BACKEND_H

#include <pthread.h>
#include <stdint.h>

#include "balance/server.h"
#include "conf/conf.h"
#include "engine/arena.h"

/*
 * Backends, the choice of a server and the queue for one: pure policy, no I/O.  What must outlive
 * a process is in server_record (server.h); members, what an algorithm keeps, and the queue can
 * be derived and live in process memory.  All threads share a backend; its lock is held for single steps alone.
 *
 * A place at a server is counted in its record's `sessions`, and never given beyond its max-connections.  Who has to
 * wait is named by the index of its session.  A place that comes free goes to the first in the queue that can use it:
 * whoever made it free is told whom, and sees to it that this session's thread takes it up (backend_granted()).
 */

#define BACKEND_NOBODY UINT32_MAX

/* One address of a server. */
struct backend_member {
        struct server_record *record;
        uint16_t slot;
        uint16_t server;                        /* index into conf->servers */
        uint16_t weight;                        /* that counts now: slow-start makes it less than the record's */
        uint8_t usable;                         /* gets sessions, as of the last backend_refresh() */
};

/* A session that waits; process memory, by session index, zeroed.  All backends share the array. */
struct backend_waiter {
        uint32_t next, prev;                    /* as index + 1; 0: none */
        int32_t slot;                           /* of the server whose place it was given; -1: none yet */
        uint32_t waits;                         /* it is in the queue, or has a place that it has not taken up */
        const uint16_t *tried;
        unsigned n_tried;
        uint64_t hash;
};

/* Who asks for a server. */
struct backend_request {
        uint32_t session;                       /* its index: for the queue */
        uint64_t hash;                          /* of the client's address or uid */
        const uint16_t *tried;                  /* slots not to be given again; must stay while it waits */
        unsigned n_tried;
        int64_t now_ms;
};

struct backend;

/* Members that take sessions together: backups are one group, the others are the other. */
struct balance_group {
        struct backend *backend;
        uint16_t *members;                      /* indices of those that are usable and have a weight; owned */
        size_t n;
        void *state;                            /* the algorithm's */
};

/* An algorithm: one file, one row in backend.c.  All run under the backend's lock. */
struct balance_algorithm {
        const char *name;
        int (*init)(struct balance_group *group);       /* sets group->state; 0 or -errno */
        void (*deinit)(struct balance_group *group);
        /* The group's members or their weights have changed.  0 or -errno. */
        int (*rebuild)(struct balance_group *group);
        /* The best member that backend_fits(); its index, or -1 where there is none. */
        int (*pick)(struct balance_group *group, const struct backend_request *request);
        /* A member's sessions have become more or fewer.  May be NULL. */
        void (*changed)(struct balance_group *group, unsigned member);
};

enum backend_group { BACKEND_REGULAR, BACKEND_BACKUP, BACKEND_GROUPS };

struct backend {
        const struct conf_backend *conf;                /* borrowed */
        const struct balance_algorithm *algorithm;
        struct server_record *records;                  /* slab ARENA_SERVERS */
        pthread_mutex_t lock;
        struct backend_member *members;                 /* owned */
        size_t n_members;
        uint16_t *by_slot;                              /* owned: member's index + 1, by slot - first_slot */
        uint16_t first_slot;
        uint16_t n_slots;
        struct balance_group groups[BACKEND_GROUPS];
        struct backend_waiter *waiters;                 /* borrowed, by session */
        uint32_t first, last, queued;                   /* the queue, as index + 1, and its length */
        int64_t refresh_ms;                             /* when something changes by itself; INT64_MAX: never */
        void *ghost;                                    /* conf, where the caller made it from a record */
};

/*
 * Prepares a backend whose servers' first instances have these slots.  The records are
 * filled already; further instances of the same names are found in the slab.  waiters: one for each session.
 * Returns 0 or -errno.  backend_deinit() is fine on a zeroed or failed one.
 */
int backend_init(struct backend *backend, const struct conf_backend *conf, const struct arena *arena,
                 const uint16_t *slots, struct backend_waiter *waiters);
void backend_deinit(struct backend *backend);

/* Outcomes of backend_pick() other than a server. */
#define BACKEND_NO_SERVER (-1)          /* none is usable */
#define BACKEND_ALL_TRIED (-2)          /* each usable one is among those tried */
#define BACKEND_WAIT (-3)               /* the session is in the queue now */
#define BACKEND_QUEUE_FULL (-4)

/*
 * Chooses a server that is not among those tried: one that is no backup where
 * there is one, else a backup.  On success the session has a place
 * (to be given back by backend_release()) and *addr is the address to connect to.
 * Where all are at their limit, or none is usable and the backend waits for one, the session joins the queue.
 * Returns the server's slot, or one of the outcomes above.
 */
int backend_pick(struct backend *backend, const struct backend_request *request, struct addr *addr);

/*
 * A session has let go of the server in that slot.  Returns the session that was given the place instead, or
 * BACKEND_NOBODY.
 */
uint32_t backend_release(struct backend *backend, unsigned slot);

/*
 * A waiting session asks for the place that it was given: the slot, with *addr set, and it waits no more; or -1.
 */
int backend_granted(struct backend *backend, uint32_t session, struct addr *addr);

/*
 * A session waits no more.  Fine where it did not.  Returns the session that gets the place that this one
 * may have been given, or BACKEND_NOBODY.
 */
uint32_t backend_leave(struct backend *backend, uint32_t session);

/*
 * After anything that may have made room (a server is up, has more weight or a new address): gives one
 * place to a session that waits and returns it, or BACKEND_NOBODY.  To be called until then.
 */
uint32_t backend_grant(struct backend *backend, int64_t now_ms);

/*
 * Changes a record under the lock and makes it count: fn(record, arg) may change admin, weight, check, ejected_until_ms
 * and the address of the server in that slot.  Call backend_grant() afterwards.
 */
void backend_change(struct backend *backend, unsigned slot, void (*fn)(struct server_record *record, void *arg),
                    void *arg, int64_t now_ms);

/* Copies the server's present address. */
void backend_address(struct backend *backend, unsigned slot, struct addr *addr);

/* Puts a resolved address in place; sessions that have the old one keep it. */
void backend_set_address(struct backend *backend, unsigned slot, const struct addr *addr);

/* Whether checks are configured for the server in that slot. */
int backend_checked(const struct backend *backend, unsigned slot);

/* For algorithms: whether the member may be given to the request: usable, below its limit, not tried. */
int backend_fits(const struct backend *backend, unsigned member, const struct backend_request *request);

/* Sessions that wait now. */
uint32_t backend_queued(struct backend *backend);

#endif
