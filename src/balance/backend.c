/* SPDX-License-Identifier: ISC */
#include "balance/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/roundrobin.h"

static const struct balance_algorithm *const backend_algorithms[] = {
        [CONF_ROUNDROBIN] = &roundrobin_algorithm,
};

int backend_init(struct backend *backend, const struct conf_backend *conf, const struct arena *arena,
                 const uint16_t *slots) {
        *backend = (struct backend){ .conf = conf, .algorithm = backend_algorithms[conf->balance],
                                     .records = arena_slab(arena, ARENA_SERVERS), .lock = PTHREAD_MUTEX_INITIALIZER };
        backend->eligible = calloc(conf->n_servers + 1, 1);
        backend->slots = calloc(conf->n_servers + 1, sizeof(*backend->slots));
        if (!backend->eligible || !backend->slots)
                return -ENOMEM;
        if (conf->n_servers)
                memcpy(backend->slots, slots, conf->n_servers * sizeof(*slots));
        return backend->algorithm->init(backend);
}

void backend_deinit(struct backend *backend) {
        if (backend->algorithm)
                backend->algorithm->deinit(backend);
        free(backend->eligible);
        free(backend->slots);
        *backend = (struct backend){ 0 };
}

static int backend_usable(const struct backend *backend, size_t i) {
        const struct conf_server *server = &backend->conf->servers[i];

        return !server->disabled && server->weight > 0 && backend->records[backend->slots[i]].addr.kind != ADDR_NONE;
}

static int backend_tried(uint16_t slot, const uint16_t *tried, unsigned n) {
        for (unsigned k = 0; k < n; k++)
                if (tried[k] == slot)
                        return 1;
        return 0;
}

/* Marks who may be chosen among backups or among the others.  Returns how many; *usable counts the tried ones too. */
static size_t backend_mark(struct backend *backend, int backup, const uint16_t *tried, unsigned n, size_t *usable) {
        size_t eligible = 0;

        for (size_t i = 0; i < backend->conf->n_servers; i++) {
                int fits = backend->conf->servers[i].backup == backup && backend_usable(backend, i);

                *usable += (size_t)fits;
                backend->eligible[i] = fits && !(n && backend_tried(backend->slots[i], tried, n));
                eligible += backend->eligible[i];
        }
        return eligible;
}

int backend_pick(struct backend *backend, const uint16_t *tried, unsigned n, struct addr *addr) {
        size_t usable = 0;
        int server;

        pthread_mutex_lock(&backend->lock);
        if (backend_mark(backend, 0, tried, n, &usable) || backend_mark(backend, 1, tried, n, &usable)) {
                server = backend->slots[backend->algorithm->pick(backend)];
                *addr = backend->records[server].addr;
                atomic_fetch_add_explicit(&backend->records[server].sessions, 1, memory_order_relaxed);
                atomic_fetch_add_explicit(&backend->records[server].sessions_total, 1, memory_order_relaxed);
        } else
                server = usable ? BACKEND_ALL_TRIED : BACKEND_NO_SERVER;
        pthread_mutex_unlock(&backend->lock);
        return server;
}

void backend_release(struct backend *backend, unsigned slot) {
        atomic_fetch_sub_explicit(&backend->records[slot].sessions, 1, memory_order_relaxed);
}

void backend_set_address(struct backend *backend, unsigned slot, const struct addr *addr) {
        pthread_mutex_lock(&backend->lock);
        backend->records[slot].addr = *addr;
        pthread_mutex_unlock(&backend->lock);
}

void backend_address(struct backend *backend, unsigned slot, struct addr *addr) {
        pthread_mutex_lock(&backend->lock);
        *addr = backend->records[slot].addr;
        pthread_mutex_unlock(&backend->lock);
}
