/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ENGINE_ARENA_H
#define SPLICED_ENGINE_ARENA_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The arena: a memfd mapped MAP_SHARED that holds all that must outlive a
 * process, as slabs of fixed-size records of plain data (indices, descriptors, counters;
 * never a pointer).  A page that no record used costs no memory.
 *
 * What can be derived from the records (free lists, queues, timers, locks) is
 * kept outside, in the memory of the process that serves.
 */

#define ARENA_MAGIC UINT64_C(0x31444543494c5053) /* "SPLICED1", little endian */

/* Raised whenever a record's layout changes.  Tests build binaries with others. */
#ifndef ARENA_LAYOUT
#define ARENA_LAYOUT 2
#endif
/* The oldest layout that this binary can go on with; raised where a change leaves an older record without sense. */
#ifndef ARENA_LAYOUT_OLDEST
#define ARENA_LAYOUT_OLDEST 2
#endif

#define ARENA_NONE UINT32_MAX   /* no record */

enum arena_slab {
        ARENA_CONTROL, ARENA_THREADS, ARENA_LISTENERS, ARENA_FRONTENDS, ARENA_BACKENDS, ARENA_SERVERS, ARENA_PIPES,
        ARENA_SESSIONS, ARENA_RARE, ARENA_COUNTERS_FRONTEND, ARENA_COUNTERS_BACKEND,
        ARENA_SLABS
};

struct arena_extent {
        uint64_t offset;        /* from the arena's start */
        uint32_t size;          /* of a record, in bytes */
        uint32_t count;         /* of records */
        uint32_t used;          /* records from here on were never given out */
        uint32_t unused;
};

/* The first bytes of the arena. */
struct arena_head {
        uint64_t magic;
        uint32_t layout;
        uint32_t slabs;
        uint64_t size;
        uint64_t next_session;          /* the id that the next session gets; atomic */
        struct arena_extent extents[ARENA_SLABS];
};

/* A process's view of it. */
struct arena {
        int fd;                         /* the memfd, owned */
        struct arena_head *head;        /* the mapping, owned */
};

#define ARENA_NULL ((struct arena){ .fd = -1 })

/*
 * Makes an arena with `counts[i]` records of `sizes[i]` bytes in slab i, all
 * bytes zero.  Returns 0, or -errno (ENOMEM, EMFILE, EOVERFLOW).
 */
int arena_init(struct arena *arena, const uint32_t sizes[ARENA_SLABS], const uint32_t counts[ARENA_SLABS]);

/*
 * Maps an arena that another process made, by its memfd, which the arena owns from
 * then on.  Returns 0; -EPROTONOSUPPORT where this binary cannot go on with its layout; -EINVAL where it is no arena;
 * -errno.  The arena keeps its layout until a worker has adopted it.
 */
int arena_attach(struct arena *arena, int fd);

/* Unmaps and closes.  Idempotent. */
void arena_deinit(struct arena *arena);

/* The first record of a slab. */
void *arena_slab(const struct arena *arena, enum arena_slab slab);
uint32_t arena_count(const struct arena *arena, enum arena_slab slab);

/*
 * The free list of one slab: derived state, in process memory.  Records are
 * given out lowest-first as long as none came back, and last-in first-out
 * after, so that memory stays compact.  Safe for all threads.
 */
struct arena_list {
        pthread_mutex_t lock;
        uint32_t *next;         /* owned mapping of `count` links, touched only as records come back */
        uint32_t *used;         /* in the arena: the bound that a successor walks to */
        uint32_t free;          /* the first free one that came back, or ARENA_NONE */
        uint32_t count;
};

/*
 * Prepares the list of a slab.  All records that were ever given out count as
 * taken: whoever adopts an arena gives the free ones back.  Returns 0 or -errno.
 */
int arena_list_init(struct arena_list *list, const struct arena *arena, enum arena_slab slab);

/* Frees what the list itself holds. */
void arena_list_deinit(struct arena_list *list);

/* An index, or ARENA_NONE where all are taken. */
uint32_t arena_list_take(struct arena_list *list);

/* Gives an index back that arena_list_take() gave. */
void arena_list_give(struct arena_list *list, uint32_t index);

/* One more than the highest index ever given out: the bound for a walk over the slab. */
uint32_t arena_list_bound(struct arena_list *list);

#endif
