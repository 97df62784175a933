/* SPDX-License-Identifier: ISC */
#include "worker/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "net/sockopt.h"

/* Memory that is touched only as sessions come to use it. */
static void *shared_map(size_t count, size_t size) {
        void *map = mmap(NULL, count * size + 1, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return map == MAP_FAILED ? NULL : map;
}

static uint32_t shared_nodes(const struct env_shared *shared) {
        return shared->n_sessions + shared->n_threads * (shared->n_listeners + 1);
}

static int shared_arena(struct env_shared *shared, const struct conf *conf, const struct limits *limits) {
        static const uint32_t sizes[ARENA_SLABS] = {
                [ARENA_THREADS] = sizeof(struct loop_record),
                [ARENA_LISTENERS] = sizeof(struct env_listener_record),
                [ARENA_PIPES] = sizeof(struct pipe_record),
                [ARENA_SERVERS] = sizeof(struct server_record),
                [ARENA_SESSIONS] = sizeof(struct session),
                [ARENA_TRIES] = sizeof(struct session_tries),
        };
        uint32_t counts[ARENA_SLABS] = {
                [ARENA_THREADS] = shared->n_threads,
                [ARENA_LISTENERS] = shared->n_listeners,
                [ARENA_PIPES] = limits->pipes,
                [ARENA_SESSIONS] = limits->sessions,
                [ARENA_TRIES] = limits->sessions,
        };
        struct env_listener_record *listeners;
        int r;

        for (size_t i = 0; i < conf->n_backends; i++)
                counts[ARENA_SERVERS] += (uint32_t)conf->backends[i].n_servers;
        r = arena_init(shared->arena, sizes, counts);
        if (r < 0)
                return r;
        listeners = arena_slab(shared->arena, ARENA_LISTENERS);
        for (uint32_t i = 0; i < shared->n_listeners; i++)
                listeners[i].fd = -1;
        shared->sessions = arena_slab(shared->arena, ARENA_SESSIONS);
        shared->tries = arena_slab(shared->arena, ARENA_TRIES);
        return 0;
}

static int shared_allocate(struct env_shared *shared, const struct conf *conf) {
        size_t threads_size = shared->n_threads * sizeof(*shared->threads);

        shared->backends = calloc(conf->n_backends, sizeof(*shared->backends));
        shared->frontends = calloc(conf->n_frontends, sizeof(*shared->frontends));
        shared->listeners = calloc(shared->n_listeners, sizeof(*shared->listeners));
        shared->threads = aligned_alloc(64, threads_size);
        shared->links = shared_map(shared_nodes(shared), sizeof(*shared->links));
        shared->timers = shared_map(shared_nodes(shared), sizeof(*shared->timers));
        if (!shared->backends || !shared->frontends || !shared->listeners || !shared->threads || !shared->links ||
            !shared->timers)
                return -ENOMEM;
        memset(shared->threads, 0, threads_size);
        return 0;
}

static int shared_backends(struct env_shared *shared, const struct conf *conf) {
        uint32_t first = 0;
        int r;

        for (size_t i = 0; i < conf->n_backends; i++) {
                r = backend_init(&shared->backends[i], &conf->backends[i], shared->arena, first);
                if (r < 0)
                        return r;
                first += (uint32_t)conf->backends[i].n_servers;
        }
        return 0;
}

static int shared_threads(struct env_shared *shared) {
        struct loop_record *records = arena_slab(shared->arena, ARENA_THREADS);
        int r;

        for (uint32_t i = 0; i < shared->n_threads; i++) {
                r = loop_record_init(&records[i]);
                if (r < 0)
                        return r;
                shared->threads[i].record = &records[i];
        }
        return 0;
}

static void shared_listeners(struct env_shared *shared, const struct conf *conf) {
        struct env_listener_record *records = arena_slab(shared->arena, ARENA_LISTENERS);
        uint32_t n = 0;

        for (size_t f = 0; f < conf->n_frontends; f++)
                for (size_t l = 0; l < conf->frontends[f].n_listeners; l++, n++) {
                        const struct conf_listener *listener = &conf->frontends[f].listeners[l];
                        int family = addr_family(&listener->addr);

                        shared->listeners[n] = (struct env_listener){
                                .conf = listener, .frontend_conf = &conf->frontends[f], .record = &records[n],
                                .frontend = (uint32_t)f, .family = family,
                                .accepted_options = sockopt_any(family, &listener->sockopts, SOCKOPT_ACCEPTED),
                        };
                }
}

int shared_init(struct env_shared *shared, struct arena *arena, const struct conf *conf, struct log *log,
                unsigned threads, const struct limits *limits) {
        int r;

        memset(shared, 0, sizeof(*shared));
        *arena = ARENA_NULL;
        shared->conf = conf;
        shared->log = log;
        shared->arena = arena;
        shared->n_threads = threads;
        shared->n_sessions = limits->sessions;
        for (size_t i = 0; i < conf->n_frontends; i++)
                shared->n_listeners += (uint32_t)conf->frontends[i].n_listeners;

        r = shared_allocate(shared, conf);
        if (r >= 0)
                r = shared_arena(shared, conf, limits);
        if (r >= 0)
                r = arena_list_init(&shared->session_list, limits->sessions);
        if (r >= 0)
                r = arena_list_init(&shared->tries_list, limits->sessions);
        if (r >= 0)
                r = pipe_store_init(&shared->pipes, arena, limits_pipe_budget());
        if (r >= 0)
                r = shared_backends(shared, conf);
        if (r >= 0)
                r = shared_threads(shared);
        if (r < 0)
                return r;
        shared_listeners(shared, conf);
        return 0;
}

static int shared_open(struct env_shared *shared, struct env_listener *listener) {
        const struct conf_listener *conf = listener->conf;
        struct listener_options options = {
                .backlog = conf->backlog, .mode = conf->mode, .owner = conf->owner, .group = conf->group,
                .v6only = conf->v6only, .sockopts = &conf->sockopts,
                .defer_accept_s = conf->defer_accept == CONF_OFF ? 0 : (int)((conf->defer_accept + 999) / 1000),
        };
        struct log_context context = { .frontend = listener->frontend_conf->name };
        char why[LISTENER_WHY];
        int fd, r;

        r = listener_open(&fd, &listener->record->path, &conf->addr, &options, why);
        if (r < 0) {
                log_error(shared->log, &context, "%s", why);
                return r;
        }
        listener->record->addr = conf->addr;
        listener->record->fd = fd;
        return 0;
}

int shared_listen(struct env_shared *shared) {
        int r = 0;

        for (uint32_t i = 0; i < shared->n_listeners; i++) {
                int opened = shared_open(shared, &shared->listeners[i]);

                if (opened < 0)
                        r = opened;
        }
        for (uint32_t i = 0; r >= 0 && i < shared->n_listeners; i++)
                for (uint32_t t = 0; r >= 0 && t < shared->n_threads; t++)
                        r = poller_add_listener(shared->threads[t].record->poller, shared->listeners[i].record->fd,
                                                session_key(i, 0, SESSION_KEY_LISTENER));
        return r;
}

void shared_unlisten(struct env_shared *shared) {
        for (uint32_t i = 0; shared->listeners && i < shared->n_listeners; i++) {
                struct env_listener_record *record = shared->listeners[i].record;

                if (!record || record->fd < 0)
                        continue;
                listener_unlink(&record->addr, &record->path);
                close(record->fd);
                record->fd = -1;
        }
}

void shared_deinit(struct env_shared *shared) {
        shared_unlisten(shared);
        for (uint32_t i = 0; shared->threads && i < shared->n_threads; i++)
                if (shared->threads[i].record)
                        loop_record_deinit(shared->threads[i].record);
        for (size_t i = 0; shared->backends && i < shared->conf->n_backends; i++)
                backend_deinit(&shared->backends[i]);
        pipe_store_deinit(&shared->pipes);
        arena_list_deinit(&shared->tries_list);
        arena_list_deinit(&shared->session_list);
        if (shared->links)
                munmap(shared->links, shared_nodes(shared) * sizeof(*shared->links) + 1);
        if (shared->timers)
                munmap(shared->timers, shared_nodes(shared) * sizeof(*shared->timers) + 1);
        free(shared->backends);
        free(shared->frontends);
        free(shared->listeners);
        free(shared->threads);
        if (shared->arena)
                arena_deinit(shared->arena);
        memset(shared, 0, sizeof(*shared));
}
