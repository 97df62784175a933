/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_LOOKUP_H
#define SPLICED_CONF_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "conf/region.h"

/*
 * An index of names: which number has that name?  A hash table in a region's
 * memory, so that thousands of sections cost no more than their number.
 * Starts zeroed; one thread at a time.
 */
struct lookup_slot {
        const char *name;               /* borrowed; NULL: free */
        uint32_t number;
};

struct lookup {
        struct lookup_slot *slots;
        size_t size, n;                 /* size: 0 or a power of 2 */
};

/* Whether the name is there; if so, *number is its number. */
int lookup_find(const struct lookup *names, const char *name, uint32_t *number);

/*
 * Adds a name, which must live as long as the index.  Returns 0; -EEXIST where
 * it is there already, and stays as it was; -ENOMEM.
 */
int lookup_add(struct lookup *names, struct region *region, const char *name, uint32_t number);

#endif
