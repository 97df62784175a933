/* SPDX-License-Identifier: ISC */
#include "balance/leastconn.h"

#include "balance/ranked.h"

static int leastconn_before(const struct backend_member *a, const struct backend_member *b) {
        uint64_t of_a = (uint64_t)a->sessions * b->weight, of_b = (uint64_t)b->sessions * a->weight;

        return of_a != of_b ? of_a < of_b : ranked_by_turn(a, b);
}

static int leastconn_reserve(struct balance_group *group, size_t members) {
        return ranked_reserve(group, members, leastconn_before);
}

const struct balance_algorithm leastconn_algorithm = {
        .name = "leastconn",
        .reserve = leastconn_reserve,
        .deinit = ranked_deinit,
        .rebuild = ranked_rebuild,
        .enter = ranked_enter,
        .leave = ranked_leave,
        .changed = ranked_changed,
        .pick = ranked_pick,
};
