/* SPDX-License-Identifier: ISC */
#include "ctl/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TABLE_GAP 2

struct table_cell {
        char *text;
        enum table_color color;
};

void table_init(struct table *table, const struct table_column *columns, size_t n) {
        *table = (struct table){ .columns = columns, .n_columns = n };
}

void table_free(struct table *table) {
        for (size_t i = 0; i < table->n_cells; i++)
                free(table->cells[i].text);
        free(table->cells);
        *table = (struct table){ 0 };
}

void table_add(struct table *table, enum table_color color, const char *text) {
        size_t n = table->n_cells;
        char *copy;

        /* Room for twice as many whenever their number is a power of two. */
        if (!table->failed && (n & (n - 1)) == 0) {
                struct table_cell *cells = realloc(table->cells, (n ? n * 2 : 1) * sizeof(*cells));

                if (cells)
                        table->cells = cells;
                else
                        table->failed = 1;
        }
        if (table->failed)
                return;
        copy = strdup(text ? text : "-");
        if (!copy) {
                table->failed = 1;
                return;
        }
        for (char *c = copy; *c; c++)
                if ((unsigned char)*c < ' ' || *c == 127)
                        *c = '?';
        table->cells[table->n_cells++] = (struct table_cell){ copy, color };
}

void table_printf(struct table *table, enum table_color color, const char *fmt, ...) {
        char text[512];
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        table_add(table, color, text);
}

/* Characters of UTF-8. */
static size_t table_length(const char *text) {
        size_t n = 0;

        for (; *text; text++)
                n += (*text & 0xc0) != 0x80;
        return n;
}

/* The widest column that may still be cut, of those that do so late or of the others; else the number of columns. */
static size_t table_widest(const struct table *table, const size_t widths[TABLE_COLUMNS], unsigned late) {
        size_t widest = table->n_columns;

        for (size_t c = 0; c < table->n_columns; c++)
                if (table->columns[c].least && widths[c] > table->columns[c].least &&
                    (table->columns[c].flags & TABLE_LATE) == late &&
                    (widest == table->n_columns || widths[c] > widths[widest]))
                        widest = c;
        return widest;
}

static void table_widths(const struct table *table, size_t width, size_t widths[TABLE_COLUMNS]) {
        size_t total = (table->n_columns - 1) * TABLE_GAP;

        for (size_t c = 0; c < table->n_columns; c++) {
                widths[c] = table_length(table->columns[c].title);
                for (size_t i = c; i < table->n_cells; i += table->n_columns) {
                        size_t length = table_length(table->cells[i].text);

                        widths[c] = length > widths[c] ? length : widths[c];
                }
                total += widths[c];
        }
        for (unsigned late = 0; late <= TABLE_LATE; late += TABLE_LATE)
                while (total > width) {
                        size_t widest = table_widest(table, widths, late);

                        if (widest == table->n_columns)
                                break;
                        widths[widest]--;
                        total--;
                }
}

/* Where the character with that number begins, or the text's end. */
static const char *table_at(const char *text, size_t number) {
        for (size_t n = 0; *text; text++) {
                n += (*text & 0xc0) != 0x80;
                if (n > number)
                        break;
        }
        return text;
}

/* Prints one cell; a text that is too long loses its end or its middle to an ellipsis. */
static void table_cell(FILE *out, const char *text, size_t width, const struct table_column *column, int last) {
        size_t length = table_length(text), kept = length > width ? width - 1 : length;
        size_t tail = kept < length && column->flags & TABLE_MIDDLE ? kept - kept / 3 : 0;

        if (column->align == TABLE_RIGHT)
                for (size_t i = length; i < width; i++)
                        fputc(' ', out);
        fwrite(text, 1, (size_t)(table_at(text, kept - tail) - text), out);
        if (kept < length)
                fprintf(out, "…%s", table_at(text, length - tail));
        if (column->align == TABLE_LEFT && !last)
                for (size_t i = length; i < width; i++)
                        fputc(' ', out);
}

void table_print(const struct table *table, FILE *out, size_t width, int colored) {
        static const char *const colors[] = {
                [TABLE_PLAIN] = "", [TABLE_GOOD] = "\033[32m", [TABLE_BAD] = "\033[31m", [TABLE_WARN] = "\033[33m",
                [TABLE_DIM] = "\033[2m",
        };
        size_t widths[TABLE_COLUMNS];

        if (table->failed) {
                fputs("splicectl: not enough memory\n", stderr);
                return;
        }
        table_widths(table, width, widths);
        for (size_t c = 0; c < table->n_columns; c++) {
                int last = c + 1 == table->n_columns;

                fputs(colored ? "\033[1m" : "", out);
                table_cell(out, table->columns[c].title, widths[c], &table->columns[c], last);
                fputs(colored ? "\033[0m" : "", out);
                fputs(last ? "\n" : "  ", out);
        }
        for (size_t i = 0; i < table->n_cells; i++) {
                const struct table_cell *cell = &table->cells[i];
                size_t c = i % table->n_columns;
                int last = c + 1 == table->n_columns, paint = colored && cell->color != TABLE_PLAIN;

                fputs(paint ? colors[cell->color] : "", out);
                table_cell(out, cell->text, widths[c], &table->columns[c], last);
                fputs(paint ? "\033[0m" : "", out);
                fputs(last ? "\n" : "  ", out);
        }
}

size_t table_width(FILE *out) {
        const char *columns = getenv("COLUMNS");
        struct winsize size = { 0 };
        long said = columns ? strtol(columns, NULL, 10) : 0;

        if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
                return size.ws_col;
        return said >= 20 ? (size_t)said : 80;
}

int table_colored(FILE *out) {
        const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(fileno(out)) && !(none && *none) && !(term && strcmp(term, "dumb") == 0);
}

char *table_size(uint64_t n, char *buf) {
        static const char units[] = "KMGTPE";
        double value = (double)n;
        int unit = -1;

        if (n < 1024) {
                snprintf(buf, TABLE_NUMBER, "%" PRIu64, n);
                return buf;
        }
        for (; value >= 1024 && unit < 5; unit++)
                value /= 1024;
        if (value >= 999.5 && unit < 5) {
                value /= 1024;
                unit++;
        }
        snprintf(buf, TABLE_NUMBER, value < 99.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
        return buf;
}

char *table_duration(int64_t ms, char *buf) {
        int64_t s = ms / 1000;

        if (ms < 0)
                snprintf(buf, TABLE_NUMBER, "-");
        else if (ms < 1000)
                snprintf(buf, TABLE_NUMBER, "%" PRId64 "ms", ms);
        else if (s < 60)
                snprintf(buf, TABLE_NUMBER, "%" PRId64 "s", s);
        else if (s < 3600)
                snprintf(buf, TABLE_NUMBER, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
        else if (s < 86400)
                snprintf(buf, TABLE_NUMBER, "%" PRId64 "h%02" PRId64 "m", s / 3600, s % 3600 / 60);
        else
                snprintf(buf, TABLE_NUMBER, "%" PRId64 "d%02" PRId64 "h", s / 86400, s % 86400 / 3600);
        return buf;
}
