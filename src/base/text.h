/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_TEXT_H
#define SPLICED_BASE_TEXT_H

#include <jansson.h>
#include <stddef.h>

/*
 * Builds a line in a buffer, and makes strings from outside harmless in it:
 * what comes out is valid UTF-8 on one line that no terminal takes for an
 * order.  Control characters, invalid UTF-8, Unicode's line separators and
 * marks that turn the writing direction become \n, \r, \t or \xNN (one for
 * each byte).
 *
 * A string that is longer than its `max` is cut at a character and ends in
 * "...".  Pure: no state but the struct, any thread.
 */

/* What was built so far: len bytes, always with room for a NUL after them.  cut: something did not fit. */
struct text {
        char *buf;
        size_t size;
        size_t len;
        int cut;
};

/* An empty text in buf, which is borrowed; size is 1 at least. */
struct text text_init(char *buf, size_t size);

/* Appends a string as it is.  What does not fit whole sets cut, and so does everything after it. */
void text_add(struct text *text, const char *s);

/* Appends as printf does; the arguments are trusted. */
void text_printf(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends a message: escaped, spaces and quotes as they are, at most max bytes. */
void text_message(struct text *text, const char *s, size_t max);

/*
 * Appends the value of a key=value pair, at most max bytes of it: escaped, and between double
 * quotes ("\"" and "\\" inside) where it is empty, is "-" or holds any of: space " \ = , ( ).
 * NULL gives "-".
 */
void text_value(struct text *text, const char *s, size_t max);

/*
 * A JSON string of s, invalid UTF-8 written as \xNN; null for NULL.  max is
 * counted as json_dumps() with TEXT_JSON_FLAGS will write it.  Owned by the
 * caller (json_decref()); NULL where memory ran out.
 */
json_t *text_json(const char *s, size_t max);

/* One line, ASCII only: JSON's own escapes then cover whatever a terminal could mistake for an order. */
#define TEXT_JSON_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)

#endif
