/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_VALUE_H
#define SPLICED_CONF_VALUE_H

#include <stddef.h>

#include "conf/region.h"
#include "conf/schema.h"

/* Bytes of a message about a value, the NUL included; the same for a value written by value_format(). */
#define VALUE_WHY 512
#define VALUE_STRLEN (4 * 4096 + 16)

/* Writes what is wrong to why, as printf does, cut to VALUE_WHY.  Returns -EINVAL. */
int value_refuse(char why[static VALUE_WHY], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Whether text is fit for a value: whatever holds a control character would
 * break a line in a log or an answer, and is never meant.  Returns 0, or -EINVAL with why filled.
 */
int value_check_bytes(const char *text, char why[static VALUE_WHY]);

/* Reads a number, decimal or hexadecimal, to the end of text; too large a one is INT64_MAX.  Returns 0 or -EINVAL. */
int value_number(const char *text, int64_t *value);

/*
 * Reads an IP address without a port: "10.0.0.1", "2001:db8::1", the latter
 * also in brackets.  Returns 0 with port 0, or -EINVAL.
 */
int value_parse_bare_ip(struct addr *addr, const char *text);

/*
 * Reads `text` as the row's type and stores it in the member of `target` that
 * the row names (for SCHEMA_SOCKOPT target is a struct sockopt_set, for
 * SCHEMA_SEND and SCHEMA_EXPECT a struct conf_check).  Strings are copied to
 * the region.  SCHEMA_SECTION, SCHEMA_INCLUDE, SCHEMA_BACKEND and lists
 * (list.h) have no single value and are refused.
 * Returns 0; -EINVAL with `why` saying what is wrong with the word and what
 * is allowed, such as "is out of range; allowed: 1 to 256, or auto"; -ENOMEM.
 */
int value_parse(const struct schema_row *row, const char *text, void *target, struct region *region,
                char why[static VALUE_WHY]);

/*
 * Writes the value as a config has it, quoted where it must be.  buf has
 * VALUE_STRLEN bytes.  Returns 0 where the member is unset: then there is nothing to write.
 */
int value_format(const struct schema_row *row, const void *target, char *buf);

/* Writes text between quotes, such that libconfuse reads the same text.  Returns buf. */
char *value_quote(const char *text, char *buf, size_t size);

/*
 * Checks the name of a frontend, backend or server: it stands in logs,
 * metrics and paths of the API.  Returns 0, or -EINVAL with why filled.
 */
int value_check_name(const char *text, char why[static VALUE_WHY]);

/* Reads a listener's address.  Returns 0, or -EINVAL with why filled. */
int value_parse_listen(struct addr *addr, const char *text, char why[static VALUE_WHY]);

#endif
