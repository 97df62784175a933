/* SPDX-License-Identifier: ISC */
#include "worker/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "session/counters.h"
#include "worker/control.h"
#include "worker/slots.h"

/* Memory that is touched only as it comes to be used. */
static void *shared_map(size_t count, size_t size) {
        void *map = mmap(NULL, count * size + 1, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return map == MAP_FAILED ? NULL : map;
}

static void shared_unmap(void *map, size_t count, size_t size) {
        if (map)
                munmap(map, count * size + 1);
}

static size_t shared_nodes(const struct env_shared *shared) {
        return shared->n_sessions + (size_t)shared->n_threads * ENV_NODES;
}

int shared_arena(struct arena *arena, const struct limits *limits) {
        static const uint32_t sizes[ARENA_SLABS] = {
                [ARENA_CONTROL] = sizeof(struct control_record),
                [ARENA_THREADS] = sizeof(struct loop_record),
                [ARENA_LISTENERS] = sizeof(struct env_listener_record),
                [ARENA_FRONTENDS] = sizeof(struct env_frontend_record),
                [ARENA_BACKENDS] = sizeof(struct env_backend_record),
                [ARENA_SERVERS] = sizeof(struct server_record),
                [ARENA_PIPES] = sizeof(struct pipe_record),
                [ARENA_SESSIONS] = sizeof(struct session),
                [ARENA_RARE] = sizeof(struct session_rare),
                [ARENA_COUNTERS_FRONTEND] = sizeof(struct counters_frontend),
                [ARENA_COUNTERS_BACKEND] = sizeof(struct counters_backend),
        };
        const uint32_t counts[ARENA_SLABS] = {
                [ARENA_CONTROL] = 1,
                [ARENA_THREADS] = CONF_THREADS_MAX,
                [ARENA_LISTENERS] = ENV_LISTENERS,
                [ARENA_FRONTENDS] = ENV_FRONTENDS,
                [ARENA_BACKENDS] = ENV_BACKENDS,
                [ARENA_SERVERS] = ENV_SERVERS,
                [ARENA_PIPES] = limits->pipes,
                [ARENA_SESSIONS] = limits->sessions,
                [ARENA_RARE] = limits->sessions,
                [ARENA_COUNTERS_FRONTEND] = COUNTERS_STRIPES * (ENV_FRONTENDS + 1),
                [ARENA_COUNTERS_BACKEND] = COUNTERS_STRIPES * ENV_BACKENDS,
        };

        return arena_init(arena, sizes, counts);
}

static int shared_allocate(struct env_shared *shared) {
        size_t threads_size = shared->n_threads * sizeof(*shared->threads);

        shared->backends = shared_map(ENV_BACKENDS, sizeof(*shared->backends));
        shared->servers = shared_map(ENV_SERVERS, sizeof(*shared->servers));
        shared->frontends = shared_map(ENV_FRONTENDS, sizeof(*shared->frontends));
        shared->listeners = shared_map(ENV_LISTENERS, sizeof(*shared->listeners));
        shared->links = shared_map(shared_nodes(shared), sizeof(*shared->links));
        shared->timers = shared_map(shared_nodes(shared), sizeof(*shared->timers));
        shared->mail = shared_map(shared->n_sessions, sizeof(*shared->mail));
        shared->waiters = shared_map(shared->n_sessions, sizeof(*shared->waiters));
        shared->unsure = shared_map(shared->n_sessions, sizeof(*shared->unsure));
        shared->sources = shared_map(shared->n_sessions, sizeof(*shared->sources));
        shared->threads = aligned_alloc(64, threads_size);
        if (!shared->backends || !shared->servers || !shared->frontends || !shared->listeners || !shared->links ||
            !shared->timers || !shared->mail || !shared->waiters || !shared->unsure || !shared->sources ||
            !shared->threads)
                return -ENOMEM;
        memset(shared->threads, 0, threads_size);
        for (uint32_t i = 0; i < shared->n_threads; i++) {
                shared->threads[i].rows = shared_map(shared->n_sessions, sizeof(*shared->threads[i].rows));
                shared->threads[i].own = shared_map(shared->n_sessions / 64 + 1, sizeof(*shared->threads[i].own));
                if (!shared->threads[i].rows || !shared->threads[i].own)
                        return -ENOMEM;
        }
        return 0;
}

void shared_close_loops(const struct arena *arena) {
        struct loop_record *records = arena_slab(arena, ARENA_THREADS);
        uint32_t n = arena->head->extents[ARENA_THREADS].used;

        arena->head->extents[ARENA_THREADS].used = 0;
        for (uint32_t i = 0; i < n; i++)
                loop_record_deinit(&records[i]);
}

static int shared_loops(struct env_shared *shared, int *inherited) {
        struct loop_record *records = arena_slab(shared->arena, ARENA_THREADS);
        uint32_t *used = &shared->arena->head->extents[ARENA_THREADS].used;
        int r;

        *inherited = *used == shared->n_threads;
        /* Who made them may not have come to register all; and a damaged record is no poller of ours. */
        for (uint32_t i = 0; i < *used && *inherited; i++)
                *inherited = records[i].settled &&
                             poller_add(records[i].poller, records[i].wake, LOOP_WAKE_KEY) == -EEXIST;
        if (!*inherited)
                shared_close_loops(shared->arena);
        for (uint32_t i = 0; i < shared->n_threads; i++) {
                if (!*inherited) {
                        r = loop_record_init(&records[i]);
                        if (r < 0)
                                return r;
                        *used = i + 1;
                }
                shared->threads[i].record = &records[i];
        }
        return 0;
}

/* What a client could guess, it could choose its addresses by. */
static int shared_quota(struct env_shared *shared) {
        uint64_t seed[2];

        if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
                return -errno;
        return quota_init(&shared->quota, shared->n_sessions, seed);
}

int shared_init(struct env_shared *shared, struct arena *arena, const struct conf *conf, struct log *log,
                unsigned threads, uint32_t max_sessions, int *inherited) {
        int r;

        memset(shared, 0, sizeof(*shared));
        pthread_mutex_init(&shared->listen_lock, NULL);
        shared->survey.done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        counters_use(arena, threads);
        shared->conf = conf;
        shared->log = log;
        shared->arena = arena;
        shared->n_threads = threads;
        shared->n_sessions = arena_count(arena, ARENA_SESSIONS);
        shared->max_sessions = max_sessions;
        shared->sessions = arena_slab(arena, ARENA_SESSIONS);
        shared->rares = arena_slab(arena, ARENA_RARE);

        r = shared->survey.done < 0 ? -errno : shared_allocate(shared);
        if (r >= 0)
                r = arena_list_init(&shared->session_list, arena, ARENA_SESSIONS);
        if (r >= 0)
                r = arena_list_init(&shared->rare_list, arena, ARENA_RARE);
        if (r >= 0)
                r = pipe_store_init(&shared->pipes, arena, limits_pipe_budget());
        if (r >= 0)
                r = shared_quota(shared);
        if (r >= 0)
                r = slots_assign(shared);
        if (r >= 0)
                r = shared_loops(shared, inherited);
        return r;
}

int shared_register(struct env_shared *shared) {
        for (uint32_t i = 0; i < shared->n_listeners; i++) {
                if (!shared->listeners[i].conf)
                        continue;
                for (uint32_t t = 0; t < shared->n_threads; t++) {
                        int r = poller_add_listener(shared->threads[t].record->poller,
                                                    shared->listeners[i].record->fd,
                                                    session_key(i, 0, SESSION_KEY_LISTENER));

                        if (r < 0 && r != -EEXIST)
                                return r;
                }
        }
        atomic_signal_fence(memory_order_seq_cst);
        for (uint32_t t = 0; t < shared->n_threads; t++)
                shared->threads[t].record->settled = 1;
        return 0;
}

void shared_unlisten(struct env_shared *shared) {
        if (!shared->arena || !shared->arena->head)
                return;
        pthread_mutex_lock(&shared->listen_lock);
        slots_unlisten_traffic(shared->arena);
        pthread_mutex_unlock(&shared->listen_lock);
}

void shared_deinit(struct env_shared *shared) {
        if (!shared->arena)
                return;
        slots_release(shared);
        if (shared->survey.done >= 0)
                close(shared->survey.done);
        pipe_store_deinit(&shared->pipes);
        arena_list_deinit(&shared->rare_list);
        arena_list_deinit(&shared->session_list);
        shared_unmap(shared->links, shared_nodes(shared), sizeof(*shared->links));
        shared_unmap(shared->timers, shared_nodes(shared), sizeof(*shared->timers));
        shared_unmap(shared->mail, shared->n_sessions, sizeof(*shared->mail));
        shared_unmap(shared->waiters, shared->n_sessions, sizeof(*shared->waiters));
        shared_unmap(shared->unsure, shared->n_sessions, sizeof(*shared->unsure));
        shared_unmap(shared->sources, shared->n_sessions, sizeof(*shared->sources));
        quota_deinit(&shared->quota);
        shared_unmap(shared->backends, ENV_BACKENDS, sizeof(*shared->backends));
        shared_unmap(shared->servers, ENV_SERVERS, sizeof(*shared->servers));
        shared_unmap(shared->frontends, ENV_FRONTENDS, sizeof(*shared->frontends));
        shared_unmap(shared->listeners, ENV_LISTENERS, sizeof(*shared->listeners));
        for (uint32_t i = 0; shared->threads && i < shared->n_threads; i++) {
                shared_unmap(shared->threads[i].rows, shared->n_sessions, sizeof(*shared->threads[i].rows));
                shared_unmap(shared->threads[i].own, shared->n_sessions / 64 + 1, sizeof(*shared->threads[i].own));
        }
        free(shared->threads);
        memset(shared, 0, sizeof(*shared));
}
