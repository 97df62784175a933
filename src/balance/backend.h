/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_BACKEND_H
#define SPLICED_BALANCE_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "conf/conf.h"
#include "engine/arena.h"
#include "net/addr.h"

/*
 * Backends and the choice of a server: pure policy, no I/O.  What must outlive
 * a process (a server's address and counters) is its record in the arena; what an
 * algorithm keeps can be derived and lives in process memory.  All threads share a backend; its lock is
 * held for the choice alone.
 */

#define SERVER_NAME_SIZE (CONF_NAME_MAX + 1)
#define SERVER_TEXT_SIZE 320

/*
 * Record of slab ARENA_SERVERS, one a server: its slot.  Sessions name servers by slot, so that
 * they outlive the config in which the server stood.  addr is guarded by the backend's lock.
 */
struct server_record {
        uint32_t used;                          /* the slot is some server's */
        uint32_t backend;                       /* slot of its backend */
        char name[SERVER_NAME_SIZE];
        char text[SERVER_TEXT_SIZE];            /* the address as written */
        struct addr addr;                       /* ADDR_NONE while a host name has not been resolved */
        _Atomic uint32_t sessions;              /* that hold it now */
        _Atomic uint64_t sessions_total;
        _Atomic uint64_t connect_failed;
};

struct backend;

/* An algorithm: one file, one row in backend.c.  All but init and deinit run under the backend's lock. */
struct balance_algorithm {
        const char *name;
        int (*init)(struct backend *backend);           /* sets backend->state; 0 or -errno */
        void (*deinit)(struct backend *backend);
        /* The best of the servers whose entry in backend->eligible is set; there is one. */
        unsigned (*pick)(struct backend *backend);
};

struct backend {
        const struct conf_backend *conf;                /* borrowed */
        const struct balance_algorithm *algorithm;
        struct server_record *records;                  /* slab ARENA_SERVERS */
        uint16_t *slots;                                /* of conf->servers, in their order; owned */
        pthread_mutex_t lock;
        uint8_t *eligible;                              /* scratch for one choice, by server */
        void *state;                                    /* the algorithm's */
        void *ghost;                                    /* conf, where the caller made it from a record */
};

/*
 * Prepares a backend whose servers have these slots (copied).  The records are
 * filled already.  Returns 0 or -errno.  backend_deinit() is fine on a zeroed or failed one.
 */
int backend_init(struct backend *backend, const struct conf_backend *conf, const struct arena *arena,
                 const uint16_t *slots);
void backend_deinit(struct backend *backend);

/* Outcomes of backend_pick() other than a server. */
#define BACKEND_NO_SERVER (-1)          /* none is usable: disabled, drained by weight 0, or without an address */
#define BACKEND_ALL_TRIED (-2)          /* each usable one is among those tried */

/*
 * Chooses a server that is not among the n slots in `tried`: one that is no backup where
 * there is one, else a backup.  On success the session counts as the server's
 * (give it back by backend_release()) and *addr is the address to connect to.
 * Returns the server's slot, or one of the outcomes above.
 */
int backend_pick(struct backend *backend, const uint16_t *tried, unsigned n, struct addr *addr);

/* A session has let go of the server in that slot. */
void backend_release(struct backend *backend, unsigned slot);

/* Puts a resolved address in place; sessions that have the old one keep it. */
void backend_set_address(struct backend *backend, unsigned slot, const struct addr *addr);

/* Copies the server's present address. */
void backend_address(struct backend *backend, unsigned slot, struct addr *addr);

#endif
