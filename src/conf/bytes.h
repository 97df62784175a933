/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_BYTES_H
#define SPLICED_CONF_BYTES_H

#include <stddef.h>

#include "conf/conf.h"
#include "conf/region.h"
#include "conf/value.h"

/*
 * What a check sends and expects: strings of any bytes.  Backslashes that the
 * language itself has left in a value are read here: \r, \n, \t, \0, \xNN and
 * \\; in a regular expression, by PCRE2.
 */

#define BYTES_MAX 4096                  /* of send and of expect */

/*
 * Reads what to send.  Returns 0 with check->send set, its memory the
 * region's; -EINVAL with why filled; -ENOMEM.
 */
int bytes_parse_send(struct conf_check *check, const char *text, struct region *region, char why[static VALUE_WHY]);

/*
 * Reads what to expect: a string, or a regular expression between slashes,
 * which PCRE2 must take.  Returns as bytes_parse_send().
 */
int bytes_parse_expect(struct conf_check *check, const char *text, struct region *region, char why[static VALUE_WHY]);

/* Write them quoted, as a config has them.  buf has VALUE_STRLEN bytes.  Return 0 where there is nothing to write. */
int bytes_format_send(const struct conf_check *check, char *buf);
int bytes_format_expect(const struct conf_check *check, char *buf);

#endif
