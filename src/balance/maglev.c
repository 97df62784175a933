/* SPDX-License-Identifier: ISC */
#include "balance/maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define MAGLEV_FREE UINT16_MAX
#define MAGLEV_SIZE 65537
#define MAGLEV_MANY 1000        /* servers; for more, a larger table */
#define MAGLEV_LARGE 524287

/* Where a server looks for its next place: its own order of all places. */
struct maglev_walk {
        uint32_t at, step;
        uint32_t alike;         /* of the first of a weight: so many servers have it */
        uint32_t share;         /* likewise: grown by the weight each round; a turn costs the highest weight */
};

size_t maglev_size(size_t servers) {
        return servers <= MAGLEV_MANY ? MAGLEV_SIZE : MAGLEV_LARGE;
}

/* By weight: those of one weight have their turns in the same rounds. */
static int maglev_compare(const void *a, const void *b) {
        const struct maglev_server *left = a, *right = b;

        if (left->weight != right->weight)
                return left->weight > right->weight ? -1 : 1;
        return left->id != right->id ? left->id < right->id ? -1 : 1 : 0;
}

/* Takes the next free place in the server's order. */
static void maglev_turn(uint16_t *table, size_t size, const struct maglev_server *server, struct maglev_walk *walk) {
        while (table[walk->at] != MAGLEV_FREE) {
                walk->at += walk->step;
                if (walk->at >= size)
                        walk->at -= (uint32_t)size;
        }
        table[walk->at] = server->number;
}

static void maglev_walks(struct maglev_walk *walks, size_t size, const struct maglev_server *servers, size_t n) {
        size_t first = 0;

        for (size_t i = 0; i < n; i++) {
                walks[i] = (struct maglev_walk){
                        .at = (uint32_t)(servers[i].id % size),
                        .step = (uint32_t)(hash_mix(servers[i].id) % (size - 1)) + 1,
                };
                if (servers[i].weight != servers[first].weight)
                        first = i;
                walks[first].alike++;
        }
}

int maglev_fill(uint16_t *table, size_t size, struct maglev_server *servers, size_t n) {
        struct maglev_walk *walks = calloc(n, sizeof(*walks));
        size_t filled = 0;

        if (!walks)
                return -ENOMEM;
        qsort(servers, n, sizeof(*servers), maglev_compare);
        maglev_walks(walks, size, servers, n);
        memset(table, 0xff, size * sizeof(*table));
        while (filled < size)
                for (size_t first = 0; first < n; first += walks[first].alike) {
                        walks[first].share += servers[first].weight;
                        if (walks[first].share < servers[0].weight)
                                continue;
                        walks[first].share -= servers[0].weight;
                        for (size_t i = first; i < first + walks[first].alike && filled < size; i++, filled++)
                                maglev_turn(table, size, &servers[i], &walks[i]);
                }
        free(walks);
        return 0;
}
