/* SPDX-License-Identifier: ISC */
#include "balance/roundrobin.h"

#include <errno.h>
#include <stdlib.h>

/* backend->state: one credit a server. */

static int roundrobin_init(struct backend *backend) {
        backend->state = calloc(backend->conf->n_servers + 1, sizeof(int32_t));
        return backend->state ? 0 : -ENOMEM;
}

static void roundrobin_deinit(struct backend *backend) {
        free(backend->state);
        backend->state = NULL;
}

static unsigned roundrobin_pick(struct backend *backend) {
        int32_t *credit = backend->state;
        int32_t total = 0;
        int best = -1;

        for (size_t i = 0; i < backend->conf->n_servers; i++) {
                if (!backend->eligible[i])
                        continue;
                credit[i] += backend->conf->servers[i].weight;
                total += backend->conf->servers[i].weight;
                if (best < 0 || credit[i] > credit[best])
                        best = (int)i;
        }
        credit[best] -= total;
        return (unsigned)best;
}

const struct balance_algorithm roundrobin_algorithm = {
        .name = "roundrobin",
        .init = roundrobin_init,
        .deinit = roundrobin_deinit,
        .pick = roundrobin_pick,
};
