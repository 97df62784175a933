/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_BACKEND_H
#define SPLICED_BALANCE_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
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
 * Between two calls nobody waits who could use a place that is free, so who comes anew overtakes nobody.
 */

#define BACKEND_NOBODY UINT32_MAX
#define BACKEND_PARTS 64                        /* slow-start raises a weight in so many steps */
#define BACKEND_LOOK_AHEAD 256                  /* how many in the queue are asked whether they can use a place */
#define BACKEND_TRIED 64                        /* so many servers that a request has tried are passed over */

/* One address of a server. */
struct backend_member {
        struct server_record *record;
        uint16_t slot;
        uint16_t server;                        /* index into conf->servers */
        uint16_t base;                          /* the record's weight, as of the last look */
        uint16_t weight;                        /* that counts now, in BACKEND_PARTS: base * ramp */
        uint8_t ramp;                           /* 1 to BACKEND_PARTS: less while it starts slowly */
        uint8_t group;                          /* enum backend_group */
        uint8_t usable;                         /* its state lets it have sessions, and it has a weight */
        uint8_t full;                           /* at its max-connections */
        uint8_t open;                           /* usable and not full: who is not is never picked */
        uint32_t sessions;                      /* as in the record */
        uint32_t asked;                         /* the request that has tried it, by number */
        double connect_us;                      /* the record's, in full; 0: nothing is known */

        /* What the algorithm keeps. */
        uint16_t at;                            /* place in a heap or row */
        uint64_t turn;                          /* among those that are alike: the lowest is next */
        int64_t credit;
        double cost;
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
enum backend_group { BACKEND_REGULAR, BACKEND_BACKUP, BACKEND_GROUPS };

/* What of a group has to be worked out anew before the next pick. */
enum balance_stale {
        BALANCE_FRESH,
        BALANCE_STALE,                          /* weights have moved, or members have come or gone */
        BALANCE_ANEW,                           /* weights are others: nobody is owed anything */
};

struct balance_group {
        struct backend *backend;
        uint8_t number;                         /* enum backend_group */
        uint8_t stale;                          /* enum balance_stale */
        uint32_t usable, full;                  /* members; a full one is usable */
        /* The same of those that the present request has tried, and the weight of the open ones among them. */
        uint32_t tried_usable, tried_full, tried_weight;
        void *state;                            /* the algorithm's */
};

/*
 * An algorithm: one file, one row in backend.c.  All run under the backend's lock.  A member is the group's where its
 * `group` says so and its weight is not 0; only those that are open may be picked.
 */
struct balance_algorithm {
        const char *name;
        /* Makes room for so many members.  group->state is NULL at first; the group is stale.  Returns 0 or -errno. */
        int (*reserve)(struct balance_group *group, size_t members);
        /* Frees all.  Fine where reserve() failed or was never called. */
        void (*deinit)(struct balance_group *group);
        /* The group is stale, group->stale says how much; the next pick needs everything as it is now. */
        void (*rebuild)(struct balance_group *group);
        /* A member has opened, or is open no more.  Not called where the group is stale.  May be NULL. */
        void (*enter)(struct balance_group *group, unsigned member);
        void (*leave)(struct balance_group *group, unsigned member);
        /* An open member's sessions or connect time are others.  Not called where the group is stale.  May be NULL. */
        void (*changed)(struct balance_group *group, unsigned member);
        /* The best open member that the request has not tried, see backend_tried(); its number.  -1: there is none. */
        int (*pick)(struct balance_group *group, const struct backend_request *request);
};

struct backend {
        const struct conf_backend *conf;                /* borrowed */
        const struct balance_algorithm *algorithm;
        struct server_record *records;                  /* slab ARENA_SERVERS */
        pthread_mutex_t lock;
        struct backend_member *members;                 /* owned */
        size_t n_members, room;
        struct balance_group groups[BACKEND_GROUPS];
        struct backend_waiter *waiters;                 /* borrowed, by session */
        uint32_t first, last, queued;                   /* the queue, as index + 1, and its length */
        uint32_t request;                               /* number of the present one ... */
        uint16_t tried[BACKEND_TRIED];                  /* ... and the open members that it has tried, each once */
        unsigned n_tried;
        int64_t now_ms;                                 /* the latest time that anybody gave */
        _Atomic int64_t due_ms, opens_ms;               /* see backend_due_ms() */
        void *ghost;                                    /* conf, where the caller made it from a record */
};

/*
 * Prepares a backend whose servers' first instances have these slots.  The records are
 * filled already; further instances come by backend_add().  waiters: one for each session.
 * Returns 0 or -errno.  backend_deinit() is fine on a zeroed or failed one.
 */
int backend_init(struct backend *backend, const struct conf_backend *conf, const struct arena *arena,
                 const uint16_t *slots, struct backend_waiter *waiters);
void backend_deinit(struct backend *backend);

/*
 * A further address of a server (index into conf->servers) has the record in that slot, filled already.
 * backend_grant() afterwards.  It stays until the end: one that is not needed any more has ADDR_NONE.
 * Returns 0 or -ENOMEM.
 */
int backend_add(struct backend *backend, unsigned slot, unsigned server, int64_t now_ms);

/* Outcomes of backend_pick() other than a server. */
#define BACKEND_NO_SERVER (-1)          /* none is usable */
#define BACKEND_ALL_TRIED (-2)          /* it has tried each that is usable, or need not wait for the others */
#define BACKEND_WAIT (-3)               /* the session is in the queue now */
#define BACKEND_QUEUE_FULL (-4)

/*
 * Chooses a server that is not among those tried: one that is no backup; a backup where no other is
 * usable, or all are full and the backend has no queue.  On success the session has a place
 * (to be given back by backend_release()) and *addr is the address to connect to.
 * Where all are at their limit, or none is usable and the backend waits for one, the session joins the queue.
 * A session that waits already may ask again: it keeps its position, unless there is another outcome.
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

/* Puts a session at the end of the queue that waited in another process.  backend_grant() afterwards. */
void backend_rejoin(struct backend *backend, const struct backend_request *request);

/*
 * After anything that may have made room (a server is up, has more weight or a new address): gives one
 * place to a session that waits and returns it, or BACKEND_NOBODY.  To be called until then.
 */
uint32_t backend_grant(struct backend *backend, int64_t now_ms);

/*
 * When something changes by itself, and backend_grant() is due; INT64_MAX: never.  backend_opens_ms(): when that makes
 * room (a server is ejected no more).  Both take no lock.
 */
int64_t backend_due_ms(const struct backend *backend);
/* See above. */
int64_t backend_opens_ms(const struct backend *backend);

/* The records' sessions were counted anew: so they count.  backend_grant() afterwards. */
void backend_recount(struct backend *backend, int64_t now_ms);

/*
 * Changes a record under the lock and makes it count: fn(record, arg) may change admin, weight, backup, check,
 * ejected_until_ms and the address of the server in that slot.  A server that is usable again, or has another
 * address, starts slowly where it is to; and of another address no health is known.  now_ms: 0 is the latest time
 * that anybody gave.
 * Call backend_grant() afterwards.
 */
void backend_change(struct backend *backend, unsigned slot, void (*fn)(struct server_record *record, void *arg),
                    void *arg, int64_t now_ms);

/* A connect to the server in that slot has succeeded after so many µs. */
void backend_note_connect(struct backend *backend, unsigned slot, int64_t us, int64_t now_ms);

/* A connect to the server in that slot has failed: algorithms that go by connect time count it as a slow one. */
void backend_note_failure(struct backend *backend, unsigned slot, int64_t now_ms);

/*
 * Runs fn under the lock.  It may look at members and their records, and change of these what no choice depends on:
 * check_last, check_streak, check_detail and what live traffic has counted.
 */
void backend_locked(struct backend *backend, void (*fn)(struct backend *backend, void *arg), void *arg);

/* Copies the server's present address; where it has none any more, the last one. */
void backend_address(struct backend *backend, unsigned slot, struct addr *addr);

/* Puts an address in place, as backend_change(); sessions that have the old one keep it. */
void backend_set_address(struct backend *backend, unsigned slot, const struct addr *addr);

/* Whether checks are configured for the server in that slot.  Takes no lock. */
int backend_checked(const struct backend *backend, unsigned slot);

/* What may be shown of a member: a copy. */
struct backend_look {
        uint16_t slot, server;                          /* server: index into conf->servers */
        uint16_t weight, instance;
        uint8_t admin, backup, check_last;              /* as in the record */
        uint8_t checked;
        uint8_t retired;                                /* an address that its name has no more; sessions may have it */
        enum server_state state;
        uint32_t sessions, connect_us;
        uint64_t sessions_total, connect_failed, retried, bytes_up, bytes_down;
        int64_t check_wall_ms;
        char check_detail[SERVER_DETAIL_SIZE];
        struct addr addr;                               /* of one that is retired: what it was */
};

/* Looks at member number `at`, for who is no event loop.  Returns 0 where there are not so many. */
int backend_look(struct backend *backend, size_t at, int64_t now_ms, struct backend_look *look);

/* Sessions that wait now. */
uint32_t backend_queued(struct backend *backend);

/* For algorithms: whether the present request has tried a member. */
static inline int backend_tried(const struct backend *backend, unsigned member) {
        return backend->members[member].asked == backend->request;
}

/* For algorithms: whether a group has nobody that is open and was not tried. */
static inline int backend_exhausted(const struct balance_group *group) {
        return group->usable - group->full == group->tried_usable - group->tried_full;
}

#endif
