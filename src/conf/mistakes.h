/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_MISTAKES_H
#define SPLICED_CONF_MISTAKES_H

#include <stddef.h>
#include <stdio.h>

#include "conf/region.h"

/*
 * The mistakes found in a config.  They are found in several passes but read
 * best from top to bottom, so they are kept and written in the order of the
 * files and lines.
 */
struct mistake {
        unsigned file;                  /* the order in which files were opened */
        const char *name;               /* of the file; borrowed from the region */
        unsigned line;                  /* 0: the file as a whole */
        const char *text;
};

struct mistakes {
        struct region *region;
        struct mistake *list;
        size_t n;
};

/* A place to name in a message.  Lines count from 1; 0 is the file as a whole. */
struct place {
        unsigned file;
        const char *name;
        unsigned line;
};

/* Adds one.  The text is one line without its newline. */
void mistakes_add(struct mistakes *mistakes, struct place place, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* Writes all, sorted, one line each: "FILE:LINE: text". */
void mistakes_write(struct mistakes *mistakes, FILE *out);

/*
 * Text that came from the file, fit for a message: control characters and
 * invalid UTF-8 as \xNN, long words cut.  The string lives as long as the region.
 */
const char *mistakes_word(struct mistakes *mistakes, const char *text);
const char *mistakes_nword(struct mistakes *mistakes, const char *text, size_t len);

#endif
