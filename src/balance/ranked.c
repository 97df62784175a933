/* SPDX-License-Identifier: ISC */
#include "balance/ranked.h"

#include <errno.h>
#include <stdlib.h>

#define RANKED_TURN (UINT64_C(1) << 32) /* of weight 1 */

int ranked_by_turn(const struct backend_member *a, const struct backend_member *b) {
        return a->turn != b->turn ? (int64_t)(a->turn - b->turn) < 0 : a < b;
}

int ranked_reserve(struct balance_group *group, size_t members,
                   int (*before)(const struct backend_member *a, const struct backend_member *b)) {
        struct ranked *ranked = group->state;
        uint16_t *items;

        if (!ranked) {
                ranked = group->state = calloc(1, sizeof(*ranked));
                if (!ranked)
                        return -ENOMEM;
                ranked->heap = (struct heap){ .backend = group->backend, .before = before };
        }
        items = reallocarray(ranked->heap.items, members, sizeof(*items));
        if (!items)
                return -ENOMEM;
        ranked->heap.items = items;
        return 0;
}

void ranked_deinit(struct balance_group *group) {
        struct ranked *ranked = group->state;

        if (ranked)
                free(ranked->heap.items);
        free(ranked);
        group->state = NULL;
}

void ranked_rebuild(struct balance_group *group) {
        struct ranked *ranked = group->state;

        heap_refill(&ranked->heap, group);
}

void ranked_enter(struct balance_group *group, unsigned member) {
        struct ranked *ranked = group->state;

        heap_push(&ranked->heap, member);
}

void ranked_leave(struct balance_group *group, unsigned member) {
        struct ranked *ranked = group->state;

        heap_remove(&ranked->heap, member);
}

void ranked_changed(struct balance_group *group, unsigned member) {
        struct ranked *ranked = group->state;

        heap_fix(&ranked->heap, member);
}

int ranked_pick(struct balance_group *group, const struct backend_request *request) {
        struct ranked *ranked = group->state;
        struct backend_member *member;
        int best = heap_best(&ranked->heap);

        if (best < 0)
                return best;
        member = &group->backend->members[best];
        if ((int64_t)(ranked->clock - member->turn) > 0)
                member->turn = ranked->clock;
        ranked->clock = member->turn;
        member->turn += RANKED_TURN / member->weight;
        return best;
}
