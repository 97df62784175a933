/* SPDX-License-Identifier: ISC */
#include "balance/least_time.h"

#include <math.h>

#include "balance/latency.h"
#include "balance/ranked.h"

static int least_time_before(const struct backend_member *a, const struct backend_member *b) {
        if (a->cost < b->cost || a->cost > b->cost)
                return a->cost < b->cost;
        return ranked_by_turn(a, b);
}

static void least_time_cost(const struct backend *backend, unsigned number) {
        struct backend_member *member = &backend->members[number];

        if (member->connect_us > 0)
                member->cost = latency_cost(member->connect_us, member->record->connect_at_ms, member->sessions + 1,
                                            member->weight);
        else if (!member->sessions)
                member->cost = -INFINITY;
        else
                member->cost = latency_cost(LATENCY_MOST_US, backend->now_ms, member->sessions + 1, member->weight);
}

static int least_time_reserve(struct balance_group *group, size_t members) {
        return ranked_reserve(group, members, least_time_before);
}

static void least_time_rebuild(struct balance_group *group) {
        struct backend *backend = group->backend;

        for (unsigned i = 0; i < backend->n_members; i++)
                if (backend->members[i].open && backend->members[i].group == group->number)
                        least_time_cost(backend, i);
        ranked_rebuild(group);
}

static void least_time_enter(struct balance_group *group, unsigned member) {
        least_time_cost(group->backend, member);
        ranked_enter(group, member);
}

static void least_time_changed(struct balance_group *group, unsigned member) {
        least_time_cost(group->backend, member);
        ranked_changed(group, member);
}

const struct balance_algorithm least_time_algorithm = {
        .name = "least-time",
        .reserve = least_time_reserve,
        .deinit = ranked_deinit,
        .rebuild = least_time_rebuild,
        .enter = least_time_enter,
        .leave = ranked_leave,
        .changed = least_time_changed,
        .pick = ranked_pick,
};
