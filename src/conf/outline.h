/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_OUTLINE_H
#define SPLICED_CONF_OUTLINE_H

#include "conf/mistakes.h"
#include "conf/schema.h"
#include "conf/token.h"

/*
 * Goes over a file's tokens by the schema, and writes the text that libconfuse
 * then parses.  libconfuse stops at the first mistake and lets a later section
 * of one name replace an earlier; here every statement that it would stumble
 * over (unknown, incomplete, given twice) is reported and left out.
 *
 * In the text that comes out each value and each section's title starts with
 * the index of its token and a colon, "17:64K", so that whoever reads
 * it from libconfuse knows its line; no two titles are the same.
 * `include("PATH")` has become `include += "17:PATH"`.  A section that lost a
 * statement says so in the list OUTLINE_DROPPED: the key that it was, or
 * seems to have been meant, or "*" where that is unknown; so nobody reports it as missing.
 */

/* No user can write this key: it has parentheses. */
#define OUTLINE_DROPPED "dropped()"

/* Where each key of the top level was first given; all files of a load share one, zeroed at the start. */
struct outline_seen {
        struct place first[SCHEMA_ROWS_MAX];
};

/*
 * Writes the text for libconfuse to *text, owned by the caller (free()).
 * Mistakes are added.  Returns 0 or -ENOMEM.
 */
int outline_write(char **text, const struct tokens *tokens, struct outline_seen *top, struct place place,
                  struct mistakes *mistakes);

#endif
