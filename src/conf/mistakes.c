/* SPDX-License-Identifier: ISC */
#include "conf/mistakes.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define WORD_MAX 200                    /* bytes of a word that a message shows */
#define TEXT_MAX 2048

void mistakes_add(struct mistakes *mistakes, struct place place, const char *fmt, ...) {
        char text[TEXT_MAX];
        struct mistake *list;
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);

        list = region_grow(mistakes->region, mistakes->list, mistakes->n, sizeof(*list));
        if (!list)
                return;
        mistakes->list = list;
        list[mistakes->n++] = (struct mistake) {
                .file = place.file,
                .name = place.name,
                .line = place.line,
                .text = region_strdup(mistakes->region, text),
        };
}

/* By address last: mistakes of one line stay in the order in which they were found. */
static int compare(const void *left, const void *right) {
        const struct mistake *a = *(const struct mistake *const *)left, *b = *(const struct mistake *const *)right;

        if (a->file != b->file)
                return a->file < b->file ? -1 : 1;
        if (a->line != b->line)
                return a->line < b->line ? -1 : 1;
        return a < b ? -1 : a > b;
}

void mistakes_write(struct mistakes *mistakes, FILE *out) {
        struct mistake **sorted = region_alloc(mistakes->region, mistakes->n * sizeof(*sorted));

        if (!sorted)
                return;
        for (size_t i = 0; i < mistakes->n; i++)
                sorted[i] = &mistakes->list[i];
        qsort(sorted, mistakes->n, sizeof(*sorted), compare);
        for (size_t i = 0; i < mistakes->n; i++) {
                const struct mistake *m = sorted[i];
                const char *name = mistakes_word(mistakes, m->name);

                if (m->line)
                        fprintf(out, "%s:%u: %s\n", name, m->line, m->text ? m->text : "");
                else
                        fprintf(out, "%s: %s\n", name, m->text ? m->text : "");
        }
}

const char *mistakes_nword(struct mistakes *mistakes, const char *text, size_t len) {
        char buf[WORD_MAX + 1], *copy = region_strndup(mistakes->region, text, len);
        struct text word = text_init(buf, sizeof(buf));

        if (!copy)
                return "";
        text_message(&word, copy, WORD_MAX);
        copy = region_strndup(mistakes->region, buf, word.len);
        return copy ? copy : "";
}

const char *mistakes_word(struct mistakes *mistakes, const char *text) {
        return mistakes_nword(mistakes, text, strlen(text));
}
