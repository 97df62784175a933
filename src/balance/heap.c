/* SPDX-License-Identifier: ISC */
#include "balance/heap.h"

static int heap_before(const struct heap *heap, unsigned a, unsigned b) {
        return heap->before(&heap->backend->members[a], &heap->backend->members[b]);
}

static void heap_put(struct heap *heap, size_t at, unsigned member) {
        heap->items[at] = (uint16_t)member;
        heap->backend->members[member].at = (uint16_t)at;
}

static void heap_up(struct heap *heap, size_t at) {
        unsigned member = heap->items[at];

        while (at && heap_before(heap, member, heap->items[(at - 1) / 2])) {
                heap_put(heap, at, heap->items[(at - 1) / 2]);
                at = (at - 1) / 2;
        }
        heap_put(heap, at, member);
}

static void heap_down(struct heap *heap, size_t at) {
        unsigned member = heap->items[at];

        for (size_t child; (child = 2 * at + 1) < heap->n; at = child) {
                if (child + 1 < heap->n && heap_before(heap, heap->items[child + 1], heap->items[child]))
                        child++;
                if (!heap_before(heap, heap->items[child], member))
                        break;
                heap_put(heap, at, heap->items[child]);
        }
        heap_put(heap, at, member);
}

void heap_push(struct heap *heap, unsigned member) {
        heap->items[heap->n] = (uint16_t)member;
        heap_up(heap, heap->n++);
}

void heap_fix(struct heap *heap, unsigned member) {
        size_t at = heap->backend->members[member].at;

        heap_up(heap, at);
        heap_down(heap, heap->backend->members[member].at);
}

void heap_remove(struct heap *heap, unsigned member) {
        size_t at = heap->backend->members[member].at;
        unsigned last = heap->items[--heap->n];

        if (last == member)
                return;
        heap_put(heap, at, last);
        heap_fix(heap, last);
}

void heap_refill(struct heap *heap, const struct balance_group *group) {
        heap->n = 0;
        for (unsigned i = 0; i < heap->backend->n_members; i++)
                if (heap->backend->members[i].open && heap->backend->members[i].group == group->number)
                        heap_push(heap, i);
}

/* The best at or below a place, or `best` where that is better.  What is below one that fits is no better than it. */
static int heap_look(const struct heap *heap, size_t at, int best) {
        unsigned member;

        if (at >= heap->n)
                return best;
        member = heap->items[at];
        if (!backend_tried(heap->backend, member))
                return best < 0 || heap_before(heap, member, (unsigned)best) ? (int)member : best;
        return heap_look(heap, 2 * at + 2, heap_look(heap, 2 * at + 1, best));
}

int heap_best(const struct heap *heap) {
        return heap_look(heap, 0, -1);
}
