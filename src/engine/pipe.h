/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ENGINE_PIPE_H
#define SPLICED_ENGINE_PIPE_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/arena.h"

/*
 * Pipes, which hold bytes on their way while no process does.  Each has a
 * record in the arena that names its owner, written before the first byte
 * enters and cleared before the descriptors are closed, so that a successor
 * finds every byte and closes what nobody owns.
 *
 * A thread keeps a few empty ones to lend out.  One that is not empty when
 * its session ends is destroyed, never lent again.
 */

enum pipe_class { PIPE_SMALL, PIPE_BIG, PIPE_CLASSES };

#define PIPE_FREE 0u                    /* the record is in nobody's use */
#define PIPE_SPARE 1u                   /* empty, in a thread's pool */
#define PIPE_OWNER(owner) ((owner) + 2u)

/* Record of slab ARENA_PIPES. */
struct pipe_record {
        uint32_t owner;                 /* PIPE_FREE, PIPE_SPARE or PIPE_OWNER(what the caller named) */
        int32_t ends[2];                /* read, write */
        uint32_t size;                  /* bytes, as the kernel gave them */
        uint32_t big;                   /* counted in the budget of big ones */
};

/* What all pools share: the records and the budgets. */
struct pipe_store {
        struct pipe_record *records;    /* in the arena */
        struct arena_list list;
        uint32_t big_size;              /* bytes asked for a big pipe */
        _Atomic uint32_t big_max;       /* how many may be big at once; lowered where the kernel refuses more */
        _Atomic uint32_t big;
        _Atomic uint64_t refused;       /* how often no pipe could be had */
};

/*
 * Prepares the store over the arena's pipe slab.  big_budget is the number of
 * bytes that all big pipes together may take.  Returns 0 or -errno.
 */
int pipe_store_init(struct pipe_store *store, const struct arena *arena, uint64_t big_budget);
void pipe_store_deinit(struct pipe_store *store);

/* A thread's empty pipes. */
#define PIPE_POOL_MAX 16
#define PIPE_POOL_TRIM_MS 1000          /* how often pipe_pool_trim() is to be called while it asks for it */
struct pipe_pool {
        struct pipe_store *store;
        uint32_t n[PIPE_CLASSES];
        uint32_t low[PIPE_CLASSES];     /* the fewest since the last trim: so many were not needed */
        uint32_t spare[PIPE_CLASSES][PIPE_POOL_MAX];
};

/* An empty pool. */
void pipe_pool_init(struct pipe_pool *pool, struct pipe_store *store);

/* Destroys the spares. */
void pipe_pool_deinit(struct pipe_pool *pool);

/*
 * Sees to it that pipe_pool_take() of that class will succeed, and returns
 * how many bytes the pipe that it would give can take; 0 where no pipe can
 * be had: descriptors or memory are short, or the budget is used up.  A pipe
 * of another class, or one that the kernel made smaller, is as good.
 */
uint32_t pipe_pool_ready(struct pipe_pool *pool, enum pipe_class class);

/* Takes the pipe that pipe_pool_ready() promised, owned by `owner` from now on.  Returns its index. */
uint32_t pipe_pool_take(struct pipe_pool *pool, enum pipe_class class, uint32_t owner);

/* Gives an empty one back.  Where the pool is full it is destroyed. */
void pipe_pool_give(struct pipe_pool *pool, uint32_t index);

/*
 * Destroys the spares that nobody needed since the last call, but for one
 * small one, so that descriptors come back after a rush.  Returns 1 where it is to be called again.
 */
int pipe_pool_trim(struct pipe_pool *pool);

/* Whether there is anything for pipe_pool_trim() to look after. */
int pipe_pool_untrimmed(const struct pipe_pool *pool);

/* Destroys one, whatever it holds. */
void pipe_pool_drop(struct pipe_pool *pool, uint32_t index);

#endif
