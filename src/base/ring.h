/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_RING_H
#define SPLICED_BASE_RING_H

#include <stddef.h>

/*
 * A bounded first-in first-out queue of entries of any length, in one block of
 * memory.  Every entry is contiguous and aligned to RING_ALIGN, so a reader
 * can use it where it lies.
 *
 * Locking is the caller's.  ring_push(), ring_peek() and ring_pop() need the
 * caller's lock; what ring_peek() returned may be read without it until the
 * (only) reader calls ring_pop(), because a writer never touches a used byte.
 *
 * An empty ring starts over at its beginning: a ring that is kept short by its
 * reader touches only its first pages.
 *
 * Invariant: the bytes from tail to head, in ring order, are the entries;
 * used counts them, with each header and what was skipped at the end.
 */

#define RING_ALIGN 8

struct ring {
        char *data;
        size_t size;
        size_t head;            /* where the next entry goes */
        size_t tail;            /* the oldest entry */
        size_t used;
        size_t entries;
};

/* Makes an empty ring of size bytes (a multiple of RING_ALIGN).  Returns 0 or -ENOMEM. */
int ring_init(struct ring *ring, size_t size);

/* Frees the memory.  A zeroed or deinitialised ring is fine. */
void ring_deinit(struct ring *ring);

/*
 * Copies an entry of two parts into the ring; either may be empty.
 * Returns 0, or -ENOBUFS where it does not fit now.
 */
int ring_push(struct ring *ring, const void *first, size_t first_len, const void *second, size_t second_len);

/* The oldest entry, its length in *len; NULL where the ring is empty.  Owned by the ring, valid until ring_pop(). */
const void *ring_peek(const struct ring *ring, size_t *len);

/* Removes the oldest entry.  Nothing happens to an empty ring. */
void ring_pop(struct ring *ring);

/* Removes all entries. */
void ring_clear(struct ring *ring);

#endif
