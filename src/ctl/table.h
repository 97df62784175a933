/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_TABLE_H
#define SPLICED_CTL_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Tables of text: columns as wide as they need to be, and where that is more than the output has, those that may be cut
 * give way, the widest first, and those marked TABLE_LATE only after the others.  Widths count characters, not bytes.
 */

#define TABLE_COLUMNS 12

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table_column {
        const char *title;
        enum table_align align;
        size_t least;           /* may be cut to so many characters; 0: never */
        unsigned flags;
};

/* Flags of a column: gives way only after the others; loses its middle and not its end, as befits an address. */
#define TABLE_LATE 1u
#define TABLE_MIDDLE 2u

enum table_color { TABLE_PLAIN, TABLE_GOOD, TABLE_BAD, TABLE_WARN, TABLE_DIM };

struct table {
        const struct table_column *columns;     /* borrowed */
        size_t n_columns;
        struct table_cell *cells;               /* owned, a row after the other */
        size_t n_cells;
        int failed;                             /* memory ran out: nothing is printed */
};

/* An empty table with these columns, TABLE_COLUMNS at most. */
void table_init(struct table *table, const struct table_column *columns, size_t n);
void table_free(struct table *table);

/* Adds the next cell of the present row; control characters become '?'.  NULL is "-". */
void table_add(struct table *table, enum table_color color, const char *text);
void table_printf(struct table *table, enum table_color color, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* Prints titles and rows, `width` characters wide at most where that can be.  colored: with escapes for a terminal. */
void table_print(const struct table *table, FILE *out, size_t width, int colored);

/*
 * How wide the output is: a terminal's width, else what $COLUMNS says, else 80.  And whether to colour: a terminal, and
 * NO_COLOR is not set.
 */
size_t table_width(FILE *out);
int table_colored(FILE *out);

/* Numbers for people: 0, 999, 1.5K, 20.3M; and 250ms, 12s, 3m05s, 4h12m, 3d04h.  Return buf (TABLE_NUMBER bytes). */
#define TABLE_NUMBER 24
char *table_size(uint64_t n, char *buf);
char *table_duration(int64_t ms, char *buf);

#endif
