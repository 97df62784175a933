/* SPDX-License-Identifier: ISC */
#include "conf/region.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define REGION_BLOCK 16384

struct region_block {
        struct region_block *next;
        size_t used, size;
        alignas(max_align_t) char data[];
};

void *region_alloc(struct region *region, size_t size) {
        struct region_block *block = region->blocks;
        const size_t align = alignof(max_align_t);
        char *p;

        if (size > (size_t)1 << 40) {
                region->failed = 1;
                return NULL;
        }
        size = (size + align - 1) / align * align;
        if (!block || block->size - block->used < size) {
                size_t room = size > REGION_BLOCK ? size : REGION_BLOCK;

                block = calloc(1, sizeof(*block) + room);
                if (!block) {
                        region->failed = 1;
                        return NULL;
                }
                block->size = room;
                block->next = region->blocks;
                region->blocks = block;
        }
        p = block->data + block->used;
        block->used += size;
        return p;
}

void *region_grow(struct region *region, void *array, size_t n, size_t size) {
        char *grown;

        /* Arrays grow at powers of two, so that the pieces left behind add up to no more than the last one. */
        if (n & (n - 1))
                return array;
        grown = region_alloc(region, (n ? 2 * n : 1) * size);
        if (grown && n)
                memcpy(grown, array, n * size);
        return grown;
}

char *region_strndup(struct region *region, const char *text, size_t len) {
        char *copy = region_alloc(region, len + 1);

        if (copy)
                memcpy(copy, text, len);
        return copy;
}

char *region_strdup(struct region *region, const char *text) {
        return region_strndup(region, text, strlen(text));
}

void region_free(struct region *region) {
        while (region->blocks) {
                struct region_block *next = region->blocks->next;

                free(region->blocks);
                region->blocks = next;
        }
}
