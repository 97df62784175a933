/* SPDX-License-Identifier: ISC */
#include "conf/lookup.h"

#include <errno.h>
#include <string.h>

#define LOOKUP_FIRST 16

/* FNV-1a */
static uint64_t lookup_hash(const char *name) {
        uint64_t hash = UINT64_C(14695981039346656037);

        for (; *name; name++)
                hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
        return hash ^ hash >> 32;
}

/* The slot of a name, or the free one where it belongs.  There is always a free one. */
static struct lookup_slot *lookup_slot(const struct lookup *names, const char *name) {
        size_t i = lookup_hash(name) & (names->size - 1);

        while (names->slots[i].name && strcmp(names->slots[i].name, name) != 0)
                i = (i + 1) & (names->size - 1);
        return &names->slots[i];
}

int lookup_find(const struct lookup *names, const char *name, uint32_t *number) {
        const struct lookup_slot *slot = names->size ? lookup_slot(names, name) : NULL;

        if (!slot || !slot->name)
                return 0;
        *number = slot->number;
        return 1;
}

static int lookup_grow(struct lookup *names, struct region *region) {
        struct lookup grown = { .size = names->size ? 2 * names->size : LOOKUP_FIRST, .n = names->n };

        grown.slots = region_alloc(region, grown.size * sizeof(*grown.slots));
        if (!grown.slots)
                return -ENOMEM;
        for (size_t i = 0; i < names->size; i++)
                if (names->slots[i].name)
                        *lookup_slot(&grown, names->slots[i].name) = names->slots[i];
        *names = grown;
        return 0;
}

int lookup_add(struct lookup *names, struct region *region, const char *name, uint32_t number) {
        struct lookup_slot *slot;

        if (names->n >= names->size / 2 && lookup_grow(names, region) < 0)
                return -ENOMEM;
        slot = lookup_slot(names, name);
        if (slot->name)
                return -EEXIST;
        *slot = (struct lookup_slot) { .name = name, .number = number };
        names->n++;
        return 0;
}
