/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_REGION_H
#define SPLICED_CONF_REGION_H

#include <stddef.h>

/*
 * Memory that is given out piece by piece and freed in one go.  A load uses
 * two: one for what only the load needs, one that the finished config keeps.
 *
 * Once an allocation has failed the region says so for good (`failed`), so a
 * caller may look at the end instead of after every piece.  Starts zeroed.
 * One thread at a time.
 */
struct region_block;
struct region {
        struct region_block *blocks;
        int failed;
};

/* Zeroed memory, aligned for anything; NULL where there is none left. */
void *region_alloc(struct region *region, size_t size);

/*
 * Makes room for one more element in an array of `n` elements of `size` bytes
 * that starts at `array` (NULL for n = 0): returns the array, moved where it
 * had to grow, or NULL.  The new element is zeroed.
 */
void *region_grow(struct region *region, void *array, size_t n, size_t size);

/* A copy of len bytes of text with a NUL after them; NULL where memory is out. */
char *region_strndup(struct region *region, const char *text, size_t len);
char *region_strdup(struct region *region, const char *text);

/* Frees all that was given out.  Idempotent. */
void region_free(struct region *region);

#endif
