/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_MAGLEV_H
#define SPLICED_BALANCE_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

/*
 * The table of Maglev hashing (Eisenbud et al., NSDI 2016): each place belongs to a server, each server has its share
 * of the places, and where a server comes or goes few others change hands.  Which places are whose depends on
 * what the servers are called and on their weights, and on nothing else.
 */

struct maglev_server {
        uint64_t id;                    /* a hash of its name */
        uint16_t number;                /* what the table says */
        uint16_t weight;                /* at least 1 */
};

/*
 * The size for so many servers, a prime.  Another size is another table, where all clients change hands: so there are
 * but two.
 */
size_t maglev_size(size_t servers);

/* Fills `size` (a prime) places.  Sorts `servers`; there is one at least.  Returns 0 or -ENOMEM. */
int maglev_fill(uint16_t *table, size_t size, struct maglev_server *servers, size_t n);

#endif
