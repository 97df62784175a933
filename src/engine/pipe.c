/* SPDX-License-Identifier: ISC */
#include "engine/pipe.h"

#include <errno.h>

#include "net/sys.h"

#define PIPE_BIG_SIZE (512u * 1024u)

int pipe_store_init(struct pipe_store *store, const struct arena *arena, uint64_t big_budget) {
        *store = (struct pipe_store){ .records = arena_slab(arena, ARENA_PIPES), .big_size = PIPE_BIG_SIZE };
        store->big_max = (uint32_t)(big_budget / store->big_size);
        return arena_list_init(&store->list, arena, ARENA_PIPES);
}

void pipe_store_deinit(struct pipe_store *store) {
        arena_list_deinit(&store->list);
}

void pipe_pool_init(struct pipe_pool *pool, struct pipe_store *store) {
        *pool = (struct pipe_pool){ .store = store };
}

void pipe_pool_deinit(struct pipe_pool *pool) {
        for (int class = 0; class < PIPE_CLASSES; class ++)
                while (pool->n[class])
                        pipe_pool_drop(pool, pool->spare[class][--pool->n[class]]);
}

/* Grows a new pipe where the budget allows; one that stays small is not an error. */
static void pipe_grow(struct pipe_store *store, struct pipe_record *record) {
        int size;

        if (atomic_fetch_add(&store->big, 1) < store->big_max) {
                size = sys_pipe_resize(record->ends[1], (int)store->big_size);
                if (size > 0) {
                        record->size = (uint32_t)size;
                        record->big = 1;
                        return;
                }
                /* The user's share is used up: no use in asking again for more than there are. */
                if (size == -EPERM)
                        atomic_store(&store->big_max, atomic_load(&store->big) - 1);
        }
        atomic_fetch_sub(&store->big, 1);
}

/* Returns the index of a new, empty pipe, or ARENA_NONE. */
static uint32_t pipe_new(struct pipe_store *store, enum pipe_class class) {
        uint32_t index = arena_list_take(&store->list);
        struct pipe_record *record;
        int ends[2], size;

        if (index == ARENA_NONE)
                return ARENA_NONE;
        if (sys_pipe(ends) < 0)
                goto give;
        /* Beyond the user's soft limit the kernel makes pipes smaller and says nothing: only reading back tells. */
        size = sys_pipe_size(ends[1]);
        if (size <= 0)
                goto close;

        record = &store->records[index];
        *record = (struct pipe_record){ .ends = { ends[0], ends[1] }, .size = (uint32_t)size };
        if (class == PIPE_BIG)
                pipe_grow(store, record);
        atomic_signal_fence(memory_order_seq_cst);
        record->owner = PIPE_SPARE;
        return index;

close:
        sys_close(ends[0]);
        sys_close(ends[1]);
give:
        arena_list_give(&store->list, index);
        return ARENA_NONE;
}

uint32_t pipe_pool_ready(struct pipe_pool *pool, enum pipe_class class) {
        struct pipe_store *store = pool->store;
        uint32_t index;

        if (pool->n[class])
                return store->records[pool->spare[class][pool->n[class] - 1]].size;
        /* No more big ones to be had: the next best, before the kernel is asked. */
        if (class == PIPE_BIG && atomic_load_explicit(&store->big, memory_order_relaxed) >= store->big_max)
                return pipe_pool_ready(pool, PIPE_SMALL);
        index = pipe_new(store, class);
        if (index == ARENA_NONE) {
                class = class == PIPE_BIG ? PIPE_SMALL : PIPE_BIG;
                if (pool->n[class])
                        return store->records[pool->spare[class][pool->n[class] - 1]].size;
                atomic_fetch_add_explicit(&store->refused, 1, memory_order_relaxed);
                return 0;
        }
        pool->spare[class][pool->n[class]++] = index;
        return store->records[index].size;
}

uint32_t pipe_pool_take(struct pipe_pool *pool, enum pipe_class class, uint32_t owner) {
        uint32_t index;

        if (!pool->n[class])
                class = class == PIPE_BIG ? PIPE_SMALL : PIPE_BIG;
        index = pool->spare[class][--pool->n[class]];
        if (pool->n[class] < pool->low[class])
                pool->low[class] = pool->n[class];
        pool->store->records[index].owner = PIPE_OWNER(owner);
        atomic_signal_fence(memory_order_seq_cst);
        return index;
}

void pipe_pool_give(struct pipe_pool *pool, uint32_t index) {
        struct pipe_record *record = &pool->store->records[index];
        enum pipe_class class = record->big ? PIPE_BIG : PIPE_SMALL;

        if (pool->n[class] == PIPE_POOL_MAX) {
                pipe_pool_drop(pool, index);
                return;
        }
        record->owner = PIPE_SPARE;
        pool->spare[class][pool->n[class]++] = index;
}

int pipe_pool_untrimmed(const struct pipe_pool *pool) {
        return pool->n[PIPE_BIG] > 0 || pool->n[PIPE_SMALL] > 1;
}

int pipe_pool_trim(struct pipe_pool *pool) {
        for (int class = 0; class < PIPE_CLASSES; class++) {
                uint32_t floor = class == PIPE_SMALL ? 1 : 0;

                for (uint32_t i = 0; i < pool->low[class] && pool->n[class] > floor; i++)
                        pipe_pool_drop(pool, pool->spare[class][--pool->n[class]]);
                pool->low[class] = pool->n[class];
        }
        return pipe_pool_untrimmed(pool);
}

void pipe_pool_drop(struct pipe_pool *pool, uint32_t index) {
        struct pipe_store *store = pool->store;
        struct pipe_record *record = &store->records[index];
        struct pipe_record was = *record;

        /* Ownerless first: a successor then closes what we did not get to close. */
        record->owner = PIPE_FREE;
        atomic_signal_fence(memory_order_seq_cst);
        sys_close(was.ends[0]);
        sys_close(was.ends[1]);
        if (was.big)
                atomic_fetch_sub(&store->big, 1);
        arena_list_give(&store->list, index);
}
