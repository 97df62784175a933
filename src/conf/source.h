/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_SOURCE_H
#define SPLICED_CONF_SOURCE_H

#include <stddef.h>
#include <sys/types.h>

#include "conf/mistakes.h"
#include "conf/outline.h"
#include "conf/token.h"

/*
 * The files of a config: the one that was named and all that it includes,
 * each read, checked for its form and parsed by libconfuse on its own.
 * libconfuse's lexer has one state for the whole process, so one thread at a time may be here.
 */

struct cfg_t;
struct cfg_opt_t;

struct source {
        struct source *next;            /* the order in which files were opened */
        const struct source *parent;    /* the file that includes this one; NULL for the first */
        const char *name;               /* as given, or as the include resolved */
        unsigned number;                /* counts from 0 */
        unsigned depth;                 /* includes above this one */
        dev_t dev;
        ino_t ino;
        struct tokens tokens;
        struct cfg_t *cfg;              /* NULL where it could not be parsed */
};

struct sources {
        struct region *region;
        struct mistakes *mistakes;
        struct source *first, *last;
        struct outline_seen seen;
        struct cfg_opt_t *options;
        int incomplete;                 /* a file could not be had: what is missing may be in there */
};

/* An empty list that takes its memory from the region and adds to the mistakes.  Returns 0 or -ENOMEM. */
int source_init(struct sources *sources, struct region *region, struct mistakes *mistakes);

/*
 * Reads the file at path and all that it includes.  What is wrong with them
 * (a file that cannot be read, too) is added to the mistakes.  Returns 0 or -ENOMEM.
 */
int source_read(struct sources *sources, const char *path);

/* The same for a text of len bytes that is not in a file; name stands for its path. */
int source_read_text(struct sources *sources, const char *name, const char *text, size_t len);

/*
 * Splits a value as libconfuse gives it, "17:64K", into the text and where it
 * was written.
 */
const char *source_value(const struct source *source, const char *coded, struct place *place);

/* Frees what is not the region's.  Idempotent. */
void source_free(struct sources *sources);

#endif
