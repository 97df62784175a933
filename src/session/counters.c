/* SPDX-License-Identifier: ISC */
#include "session/counters.h"

#include <string.h>

#include "session/access.h"
#include "session/env.h"

_Static_assert(ACCESS_END_N <= COUNTERS_ENDS, "every end has its counter");

const int64_t counters_wait_bounds[COUNTERS_BOUNDS] = {
        1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000,
};
const int64_t counters_session_bounds[COUNTERS_BOUNDS] = {
        10, 100, 500, 1000, 5000, 10000, 30000, 60000, 300000, 900000, 3600000, 14400000, 86400000,
};

static void counters_add(_Atomic uint64_t *counter, uint64_t n) {
        atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t counters_get(const _Atomic uint64_t *counter) {
        return atomic_load_explicit(counter, memory_order_relaxed);
}

static struct counters_frontend *counters_frontend(const struct arena *arena, unsigned stripe, uint32_t slot) {
        return (struct counters_frontend *)arena_slab(arena, ARENA_COUNTERS_FRONTEND) +
               stripe % COUNTERS_STRIPES * (ENV_FRONTENDS + 1) + slot;
}

static struct counters_backend *counters_backend(const struct arena *arena, unsigned stripe, uint32_t slot) {
        return (struct counters_backend *)arena_slab(arena, ARENA_COUNTERS_BACKEND) +
               stripe % COUNTERS_STRIPES * ENV_BACKENDS + slot;
}

static void counters_observe(struct counters_histogram *histogram, const int64_t *bounds, int64_t ms) {
        int i = 0;

        ms = ms < 0 ? 0 : ms;
        while (i < COUNTERS_BOUNDS && ms > bounds[i])
                i++;
        counters_add(&histogram->sum_ms, (uint64_t)ms);
        counters_add(&histogram->buckets[i], 1);
}

void counters_accepted(struct env *env, const struct session *session) {
        counters_add(&counters_frontend(env->shared->arena, env->thread, session->frontend)->sessions, 1);
}

void counters_connected(struct env *env, const struct session *session) {
        struct counters_backend *backend = counters_backend(env->shared->arena, env->thread, session->backend);

        counters_observe(&backend->connect, counters_wait_bounds, session->connect_ms);
        counters_observe(&backend->queue, counters_wait_bounds, session->queue_ms);
}

void counters_bytes(struct env *env, struct session *session) {
        const struct arena *arena = env->shared->arena;
        struct counters_frontend *frontend = counters_frontend(arena, env->thread, session->frontend);
        struct counters_frontend *all = counters_frontend(arena, env->thread, ENV_FRONTENDS);
        struct server_record *server = NULL;
        uint64_t more[2];

        for (int side = 0; side < 2; side++) {
                uint64_t bytes = session->direction[side].bytes;

                more[side] = bytes > session->counted[side] ? bytes - session->counted[side] : 0;
                /* Noted first: whoever dies here counts a little less, and never the same bytes twice. */
                session->counted[side] = bytes;
        }
        if (!more[0] && !more[1])
                return;
        atomic_signal_fence(memory_order_seq_cst);
        for (int side = 0; side < 2; side++) {
                counters_add(&frontend->bytes[side], more[side]);
                counters_add(&all->bytes[side], more[side]);
        }
        if (session->server != SESSION_NO_SERVER)
                server = env_server(env, session)->record;
        if (server) {
                counters_add(&server->bytes_up, more[0]);
                counters_add(&server->bytes_down, more[1]);
        }
}

void counters_ended(struct env *env, struct session *session) {
        struct counters_frontend *frontend = counters_frontend(env->shared->arena, env->thread, session->frontend);
        unsigned end = session->end < ACCESS_END_N ? session->end : ACCESS_INTERNAL;

        counters_bytes(env, session);
        counters_add(&frontend->ends[end], 1);
        counters_observe(&frontend->session, counters_session_bounds, env->loop.now_ms - session->accepted_ms);
        /* One that never got a server has waited all the same. */
        if (session->connect_ms < 0 && session->backend != SESSION_NO_BACKEND)
                counters_observe(&counters_backend(env->shared->arena, env->thread, session->backend)->queue,
                                 counters_wait_bounds, session->queue_ms);
}

/* A stripe that no thread ever counted in is not looked at: it would cost memory. */
static unsigned counters_stripes(const struct arena *arena) {
        return arena->head->extents[ARENA_COUNTERS_FRONTEND].used;
}

void counters_use(const struct arena *arena, unsigned threads) {
        uint32_t *used = &arena->head->extents[ARENA_COUNTERS_FRONTEND].used;

        if (threads > *used)
                *used = threads < COUNTERS_STRIPES ? threads : COUNTERS_STRIPES;
}

void counters_clear_frontend(const struct arena *arena, uint32_t slot) {
        for (unsigned i = 0; i < counters_stripes(arena); i++)
                memset(counters_frontend(arena, i, slot), 0, sizeof(struct counters_frontend));
}

void counters_clear_backend(const struct arena *arena, uint32_t slot) {
        for (unsigned i = 0; i < counters_stripes(arena); i++)
                memset(counters_backend(arena, i, slot), 0, sizeof(struct counters_backend));
}

static void counters_sum_histogram(const struct counters_histogram *histogram, struct counters_histogram_sum *sum) {
        sum->sum_ms += counters_get(&histogram->sum_ms);
        for (int i = 0; i <= COUNTERS_BOUNDS; i++) {
                uint64_t n = counters_get(&histogram->buckets[i]);

                sum->buckets[i] += n;
                sum->count += n;
        }
}

void counters_sum_frontend(const struct arena *arena, uint32_t slot, struct counters_frontend_sum *sum) {
        memset(sum, 0, sizeof(*sum));
        for (unsigned i = 0; i < counters_stripes(arena); i++) {
                const struct counters_frontend *part = counters_frontend(arena, i, slot);

                sum->sessions += counters_get(&part->sessions);
                for (int side = 0; side < 2; side++)
                        sum->bytes[side] += counters_get(&part->bytes[side]);
                for (int end = 0; end < COUNTERS_ENDS; end++)
                        sum->ends[end] += counters_get(&part->ends[end]);
                counters_sum_histogram(&part->session, &sum->session);
        }
}

void counters_sum_backend(const struct arena *arena, uint32_t slot, struct counters_backend_sum *sum) {
        memset(sum, 0, sizeof(*sum));
        for (unsigned i = 0; i < counters_stripes(arena); i++) {
                counters_sum_histogram(&counters_backend(arena, i, slot)->connect, &sum->connect);
                counters_sum_histogram(&counters_backend(arena, i, slot)->queue, &sum->queue);
        }
}
