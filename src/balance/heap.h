/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_HEAP_H
#define SPLICED_BALANCE_HEAP_H

#include "balance/backend.h"

/* Members of a backend, the best first: a binary heap.  A member is in one heap at most; member.at says where. */

struct heap {
        const struct backend *backend;
        /* Whether a comes before b.  Both are elements of backend->members; an order in which no two are alike. */
        int (*before)(const struct backend_member *a, const struct backend_member *b);
        uint16_t *items;                /* the owner's; room for all that may come in */
        size_t n;
};

/* Puts a member in that is in no heap. */
void heap_push(struct heap *heap, unsigned member);

/* Takes a member out that is in this heap. */
void heap_remove(struct heap *heap, unsigned member);

/* The member's place in the order may be another now. */
void heap_fix(struct heap *heap, unsigned member);

/* Empties it, and puts all open members of the group in. */
void heap_refill(struct heap *heap, const struct balance_group *group);

/* The first that the present request has not tried; -1: there is none.  Looks at two more for each that was tried. */
int heap_best(const struct heap *heap);

#endif
