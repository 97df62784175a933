/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_LIST_H
#define SPLICED_CONF_LIST_H

#include <stddef.h>

#include "conf/region.h"
#include "conf/schema.h"
#include "conf/value.h"

/*
 * Values of keys that are lists (SCHEMA_LIST): the member of `target` that the
 * row names is an array and, behind it, its number of elements.
 */

/*
 * Reads `text` as one more element.  Returns 0; -EINVAL with `why` saying what
 * is wrong with the word and what is allowed; -ENOMEM.
 */
int list_parse(const struct schema_row *row, const char *text, void *target, struct region *region,
               char why[static VALUE_WHY]);

/* Says that the list was written, if only as { }.  Lists that cannot be empty need it not. */
void list_given(const struct schema_row *row, void *target);

/* How many elements there are to write, or -1 where the list was not given. */
ptrdiff_t list_length(const struct schema_row *row, const void *target);

/* Writes element i, quoted as a config has it.  buf has VALUE_STRLEN bytes.  Returns buf. */
char *list_format(const struct schema_row *row, const void *target, size_t i, char *buf);

/* What an element looks like, for messages: "10.0.0.0/8". */
const char *list_example(const struct schema_row *row);

#endif
