/* SPDX-License-Identifier: ISC */
#include "base/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Stands before each entry.  skip: no entry; the next one is at the ring's beginning. */
struct ring_header {
        unsigned len;
        unsigned skip;
};

_Static_assert(sizeof(struct ring_header) == RING_ALIGN, "a header keeps what follows aligned");

static size_t ring_round(size_t len) {
        return (len + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
}

static struct ring_header *ring_at(const struct ring *ring, size_t offset) {
        return (struct ring_header *)(void *)(ring->data + offset);
}

int ring_init(struct ring *ring, size_t size) {
        *ring = (struct ring){ .data = malloc(size), .size = size };
        return ring->data ? 0 : -ENOMEM;
}

void ring_deinit(struct ring *ring) {
        free(ring->data);
        *ring = (struct ring){ .data = NULL };
}

/* Makes head a place with `need` contiguous free bytes.  Returns 0 or -ENOBUFS. */
static int ring_make_room(struct ring *ring, size_t need) {
        size_t end = ring->size - ring->head;

        if (ring->size - ring->used < need)
                return -ENOBUFS;
        if (ring->head < ring->tail || end >= need)
                return 0;
        if (ring->tail < need)
                return -ENOBUFS;
        if (end > 0)
                *ring_at(ring, ring->head) = (struct ring_header){ .skip = 1 };
        ring->used += end;
        ring->head = 0;
        return 0;
}

int ring_push(struct ring *ring, const void *first, size_t first_len, const void *second, size_t second_len) {
        size_t len = first_len + second_len;
        size_t need = sizeof(struct ring_header) + ring_round(len);
        char *at;

        if (ring_make_room(ring, need))
                return -ENOBUFS;
        *ring_at(ring, ring->head) = (struct ring_header){ .len = (unsigned)len };
        at = ring->data + ring->head + sizeof(struct ring_header);
        if (first_len)
                memcpy(at, first, first_len);
        if (second_len)
                memcpy(at + first_len, second, second_len);
        ring->head += need;
        ring->used += need;
        ring->entries++;
        return 0;
}

/* Where the oldest entry's header is: past a skip mark, or past an end without room for one. */
static size_t ring_oldest(const struct ring *ring) {
        if (ring->tail == ring->size || ring_at(ring, ring->tail)->skip)
                return 0;
        return ring->tail;
}

const void *ring_peek(const struct ring *ring, size_t *len) {
        size_t at;

        if (ring->entries == 0)
                return NULL;
        at = ring_oldest(ring);
        *len = ring_at(ring, at)->len;
        return ring->data + at + sizeof(struct ring_header);
}

void ring_pop(struct ring *ring) {
        size_t at, len;

        if (ring->entries <= 1) {
                ring_clear(ring);
                return;
        }
        at = ring_oldest(ring);
        if (at != ring->tail)
                ring->used -= ring->size - ring->tail;
        len = sizeof(struct ring_header) + ring_round(ring_at(ring, at)->len);
        ring->tail = at + len;
        ring->used -= len;
        ring->entries--;
}

void ring_clear(struct ring *ring) {
        ring->head = ring->tail = ring->used = ring->entries = 0;
}
