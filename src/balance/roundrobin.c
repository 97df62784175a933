/* SPDX-License-Identifier: ISC */
#include "balance/roundrobin.h"

#include <errno.h>
#include <stdlib.h>

/* group->state: one credit a member of the backend. */

static int roundrobin_init(struct balance_group *group) {
        group->state = calloc(group->backend->n_members + 1, sizeof(int32_t));
        return group->state ? 0 : -ENOMEM;
}

static void roundrobin_deinit(struct balance_group *group) {
        free(group->state);
        group->state = NULL;
}

static int roundrobin_rebuild(struct balance_group *group) {
        return 0;
}

static int roundrobin_pick(struct balance_group *group, const struct backend_request *request) {
        const struct backend *backend = group->backend;
        int32_t *credit = group->state;
        int32_t total = 0;
        int best = -1;

        for (size_t i = 0; i < group->n; i++) {
                unsigned member = group->members[i];

                if (!backend_fits(backend, member, request))
                        continue;
                credit[member] += backend->members[member].weight;
                total += backend->members[member].weight;
                if (best < 0 || credit[member] > credit[best])
                        best = (int)member;
        }
        if (best >= 0)
                credit[best] -= total;
        return best;
}

const struct balance_algorithm roundrobin_algorithm = {
        .name = "roundrobin",
        .init = roundrobin_init,
        .deinit = roundrobin_deinit,
        .rebuild = roundrobin_rebuild,
        .pick = roundrobin_pick,
};
