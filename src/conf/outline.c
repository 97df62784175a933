/* SPDX-License-Identifier: ISC */
#include "conf/outline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_SIZE 640                   /* all keys of the longest section */

struct outline {
        const struct tokens *tokens;
        size_t at;
        struct place place;             /* its line is that of the statement */
        struct mistakes *mistakes;
        FILE *out;
        unsigned mute;                  /* > 0: inside of something that is left out, but looked at for mistakes */
        int unclosed;
};

/* A section while it is walked through. */
struct outline_section {
        const struct schema_row *rows;
        const struct schema_row *row;   /* of the section itself; NULL: the top level */
        const struct token *title;
        struct outline_seen *seen;
};

static void outline_walk(struct outline *o, const struct outline_section *section);

static const struct token *outline_peek(const struct outline *o, size_t ahead) {
        size_t last = o->tokens->n - 1;

        return &o->tokens->list[o->at + ahead < last ? o->at + ahead : last];
}

static int outline_is_word(const struct token *token) {
        return token->type == TOKEN_WORD || token->type == TOKEN_NUL || token->type == TOKEN_BAD;
}

/* Whether a word cannot be used for a key; if it was not reported yet it is now. */
static int outline_is_bad(struct outline *o, const struct token *token, const struct schema_row *row) {
        if (token->type != TOKEN_NUL)
                return token->type == TOKEN_BAD;
        if (row && (row->type == SCHEMA_SEND || row->type == SCHEMA_EXPECT))
                return 0;
        token_refuse_nul(token, o->place, o->mistakes);
        return 1;
}

static const char *outline_show(const struct outline *o, const struct token *token) {
        return token_name(token, o->mistakes);
}

/* Where a key stands: "in frontend "web"", "in timeouts" or "at the top level". */
static const char *outline_where(const struct outline *o, const struct outline_section *section) {
        char buf[256];
        const char *copy;

        if (!section->row)
                return "at the top level";
        snprintf(buf, sizeof(buf), "in %s%s%s", section->row->key, section->title ? " " : "",
                 section->title ? outline_show(o, section->title) : "");
        copy = region_strdup(o->mistakes->region, buf);
        return copy ? copy : section->row->key;
}

/* What a key looks like where it is right. */
static const char *outline_form(const struct schema_row *row, char *buf, size_t size) {
        if (row->type == SCHEMA_INCLUDE)
                snprintf(buf, size, "%s(\"PATH\")", row->key);
        else if (row->flags & SCHEMA_LIST)
                snprintf(buf, size, "%s = { VALUE, ... }", row->key);
        else if (row->type != SCHEMA_SECTION)
                snprintf(buf, size, "%s = VALUE", row->key);
        else if (row->flags & SCHEMA_TITLED)
                snprintf(buf, size, "%s \"%s\" { ... }", row->key, row->title);
        else
                snprintf(buf, size, "%s { ... }", row->key);
        return buf;
}

static void outline_drop(struct outline *o, const char *key) {
        if (!o->mute)
                fprintf(o->out, "\"" OUTLINE_DROPPED "\" += \"%s\"\n", key);
}

static void outline_put(struct outline *o, const char *text) {
        if (!o->mute)
                fputs(text, o->out);
}

/*
 * Writes what is between the quotes of a string and the closing one.  A NUL,
 * which libconfuse's strings cannot hold, stays an escape: its backslash is doubled.
 */
static void outline_put_nul(struct outline *o, const struct token *token) {
        const char *from = token->text + 1, *end = token->text + token->len;
        size_t len;

        for (const char *p = token_nul(token, NULL, &len); p; p = token_nul(token, from, &len)) {
                fprintf(o->out, "%.*s\\\\x00", (int)(p - from), from);
                from = p + len;
        }
        fprintf(o->out, "%.*s", (int)(end - from), from);
}

/* Writes a word with its index in front, in quotes of the kind that it has. */
static void outline_put_word(struct outline *o, const struct token *token) {
        size_t index = (size_t)(token - o->tokens->list);
        int len = (int)token->len;

        if (o->mute)
                return;
        if (token->type == TOKEN_NUL) {
                fprintf(o->out, "\"%zu:", index);
                outline_put_nul(o, token);
        } else if (token->text[0] == '"' || token->text[0] == '\'')
                fprintf(o->out, "%c%zu:%.*s", token->text[0], index, len - 1, token->text + 1);
        else if (token->text[0] == '$' && token->len > 1 && token->text[1] == '{')
                fprintf(o->out, "\"%zu:%.*s\"", index, len, token->text);
        else
                fprintf(o->out, "%zu:%.*s", index, len, token->text);
}

/* Begins a list.  Its first value has an index and no more: that of a token which says where the list is. */
static void outline_put_list(struct outline *o, const struct token *token) {
        if (!o->mute)
                fprintf(o->out, "{\"%zu:\", ", (size_t)(token - o->tokens->list));
}

/* Skips from an opening brace or parenthesis to behind the one that closes it, or to the end. */
static void outline_skip_block(struct outline *o) {
        const struct token *open = outline_peek(o, 0);
        size_t depth = 0;

        do {
                const struct token *token = outline_peek(o, 0);

                if (token->type == TOKEN_END) {
                        mistakes_add(o->mistakes, (struct place) { o->place.file, o->place.name, open->line },
                                     "'%s' is never closed; allowed: pairs of them", outline_show(o, open));
                        o->unclosed = 1;
                        return;
                }
                depth += token->type == TOKEN_OPEN || token->type == TOKEN_PAREN_OPEN;
                depth -= token->type == TOKEN_CLOSE || token->type == TOKEN_PAREN_CLOSE;
                o->at++;
        } while (depth > 0);
}

/* Skips what follows a key that is left out, as far as it belongs to it.  rows: the keys that may come next. */
static void outline_skip(struct outline *o, const struct schema_row *rows) {
        const struct token *token = outline_peek(o, 0);

        if (token->type == TOKEN_EQUALS || token->type == TOKEN_APPEND) {
                o->at++;
                token = outline_peek(o, 0);
                if (outline_is_word(token))
                        o->at++;
        } else if (outline_is_word(token)) {
                enum token_type next = outline_peek(o, 1)->type;

                /* A word before one of these is a key of its own; so is one that is known. */
                if (next == TOKEN_EQUALS || next == TOKEN_APPEND || next == TOKEN_PAREN_OPEN ||
                    schema_find(rows, token->text, token->len))
                        return;
                o->at++;
        } else {
                if (token->type == TOKEN_OPEN || token->type == TOKEN_PAREN_OPEN)
                        outline_skip_block(o);
                return;
        }
        token = outline_peek(o, 0);
        if (token->type == TOKEN_OPEN)
                outline_skip_block(o);
}

static void outline_unknown(struct outline *o, const struct outline_section *section, const struct token *key) {
        const struct schema_row *near = schema_nearest(section->rows, key->text, key->len);
        const struct schema_row *top = section->row ? schema_find(schema_top, key->text, key->len) : NULL;
        char list[LIST_SIZE], hint[128] = "";

        if (top && top->type == SCHEMA_SECTION && top->flags & SCHEMA_TITLED)
                snprintf(hint, sizeof(hint), " (it belongs to the top level: is a } missing above?)");
        else if (near)
                snprintf(hint, sizeof(hint), " (did you mean '%s'?)", near->key);
        mistakes_add(o->mistakes, o->place, "unknown key '%s' %s%s; allowed: %s", outline_show(o, key),
                     outline_where(o, section), hint, schema_list(section->rows, list, sizeof(list)));
        /* Without a key that it resembles it is nothing that could be missed. */
        if (near)
                outline_drop(o, near->key);
        outline_skip(o, section->rows);
}

/* Whether a key is there for the first time; if not it is reported. */
static int outline_first(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        struct place *first = &section->seen->first[row - section->rows];

        if (first->line == 0) {
                *first = o->place;
                return 1;
        }
        mistakes_add(o->mistakes, o->place, "'%s' is given twice %s; allowed: once, and it is at %s:%u", row->key,
                     outline_where(o, section), mistakes_word(o->mistakes, first->name), first->line);
        return 0;
}

/* Reports a statement that does not look as its key wants it, and leaves it out. */
static void outline_refuse(struct outline *o, const struct outline_section *section, const struct schema_row *row,
                           const char *what) {
        const struct token *next = outline_peek(o, 0);
        char form[128];

        mistakes_add(o->mistakes, o->place, "'%s' %s, not '%s'; allowed: %s", row->key, what, outline_show(o, next),
                     outline_form(row, form, sizeof(form)));
        outline_drop(o, row->key);
        outline_skip(o, section->rows);
}

/* Whether a statement of the section, or of the top level, begins here: then the list before it was never closed. */
static int outline_is_statement(const struct outline *o, const struct outline_section *section) {
        const struct token *token = outline_peek(o, 0);
        enum token_type next = outline_peek(o, 1)->type;
        int block = next == TOKEN_OPEN ||
                    (outline_is_word(outline_peek(o, 1)) && outline_peek(o, 2)->type == TOKEN_OPEN);

        if (!outline_is_word(token))
                return 0;
        if (schema_find(section->rows, token->text, token->len))
                return block || next == TOKEN_EQUALS || next == TOKEN_APPEND;
        return block && schema_find(schema_top, token->text, token->len);
}

/* key = a, b: more values behind that of a list, which has no braces. */
static void outline_more(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        char form[128];

        mistakes_add(o->mistakes, o->place, "'%s' has more than one value and no braces; allowed: %s", row->key,
                     outline_form(row, form, sizeof(form)));
        outline_drop(o, row->key);
        while (outline_peek(o, 0)->type == TOKEN_COMMA) {
                o->at++;
                if (outline_is_word(outline_peek(o, 0)) && !outline_is_statement(o, section))
                        o->at++;
        }
}

static void outline_scalar(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        const struct token *token = outline_peek(o, 0), *next;
        char form[128];

        if (token->type != TOKEN_EQUALS) {
                outline_refuse(o, section, row, "needs a = behind it");
                return;
        }
        token = outline_peek(o, 1);
        next = outline_peek(o, 2);
        /* "threads =" and on the next line "drain = 5s": the value is missing, not `drain`. */
        if (!outline_is_word(token) ||
            (next->type == TOKEN_EQUALS && schema_find(section->rows, token->text, token->len))) {
                o->at++;
                mistakes_add(o->mistakes, o->place, "'%s' needs one value behind its =, not '%s'; allowed: %s",
                             row->key, outline_show(o, token), outline_form(row, form, sizeof(form)));
                outline_drop(o, row->key);
                if (token->type == TOKEN_OPEN)
                        outline_skip_block(o);
                return;
        }
        o->at += 2;
        if (outline_is_bad(o, token, row)) {
                outline_drop(o, row->key);
        } else if (outline_first(o, section, row)) {
                outline_put(o, row->key);
                outline_put(o, " = ");
                if (row->flags & SCHEMA_LIST)
                        outline_put_list(o, token);
                outline_put_word(o, token);
                outline_put(o, row->flags & SCHEMA_LIST ? "}\n" : "\n");
        }
        if (row->flags & SCHEMA_LIST && outline_peek(o, 0)->type == TOKEN_COMMA)
                outline_more(o, section, row);
}

/* Whether what follows a key is = and a brace. */
static int outline_is_list(const struct outline *o) {
        return outline_peek(o, 0)->type == TOKEN_EQUALS && outline_peek(o, 1)->type == TOKEN_OPEN;
}

/* Skips what is no value of a list, up to its end or to where it seems to have been meant to end. */
static void outline_skip_elements(struct outline *o, const struct outline_section *section) {
        enum token_type type = outline_peek(o, 0)->type;

        while (type != TOKEN_END && type != TOKEN_CLOSE && type != TOKEN_COMMA && !outline_is_statement(o, section)) {
                if (type == TOKEN_OPEN || type == TOKEN_PAREN_OPEN)
                        outline_skip_block(o);
                else
                        o->at++;
                type = outline_peek(o, 0)->type;
        }
}

/* The elements of a list up to its closing brace, which is passed.  Returns whether all was well. */
static int outline_elements(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        int good = 1, value = 0;

        for (;;) {
                const struct token *token = outline_peek(o, 0);
                struct place place = { o->place.file, o->place.name, token->line };
                int word = outline_is_word(token), comma = token->type == TOKEN_COMMA;
                int close = token->type == TOKEN_CLOSE;

                if (token->type == TOKEN_END || outline_is_statement(o, section)) {
                        mistakes_add(o->mistakes, o->place, "the { of '%s' is never closed; allowed: pairs of braces",
                                     row->key);
                        return 0;
                }
                if (!close && !(value ? comma : word)) {
                        mistakes_add(o->mistakes, place, "unexpected '%s' in the list of '%s'; allowed: values with "
                                     "commas between them", outline_show(o, token), row->key);
                        good = 0;
                }
                if (close) {
                        o->at++;
                        return good;
                }
                if (!word && !comma) {
                        outline_skip_elements(o, section);
                        value = 1;
                        continue;
                }
                if (word && outline_is_bad(o, token, row)) {
                        good = 0;
                } else if (word) {
                        outline_put_word(o, token);
                        outline_put(o, ", ");
                }
                value = word;
                o->at++;
        }
}

/* key = { a, b } */
static void outline_list(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        int first = outline_first(o, section, row), good;

        o->mute += !first;
        o->at++;
        outline_put(o, row->key);
        outline_put(o, " = ");
        outline_put_list(o, outline_peek(o, 0));
        o->at++;
        good = outline_elements(o, section, row);
        outline_put(o, "}\n");
        o->mute -= !first;
        if (!good)
                outline_drop(o, row->key);
}

static void outline_include(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        const struct token *path = outline_peek(o, 1);

        if (outline_peek(o, 0)->type != TOKEN_PAREN_OPEN || !outline_is_word(path) ||
            outline_peek(o, 2)->type != TOKEN_PAREN_CLOSE) {
                char form[128];

                mistakes_add(o->mistakes, o->place, "'%s' needs one path between parentheses; allowed: %s", row->key,
                             outline_form(row, form, sizeof(form)));
                outline_drop(o, "*");
                outline_skip(o, section->rows);
                return;
        }
        o->at += 3;
        if (outline_is_bad(o, path, row)) {
                outline_drop(o, "*");
                return;
        }
        outline_put(o, row->key);
        outline_put(o, " += ");
        outline_put_word(o, path);
        outline_put(o, "\n");
}

static void outline_enter(struct outline *o, const struct schema_row *row, const struct token *title, int mute) {
        struct outline_seen seen = { 0 };
        struct outline_section section = { .rows = row->sub, .row = row, .title = title, .seen = &seen };
        struct place place = o->place;

        if (mute)
                outline_drop(o, row->key);
        o->mute += (unsigned)mute;
        outline_put(o, row->key);
        outline_put(o, " ");
        if (title && row->flags & SCHEMA_TITLED)
                outline_put_word(o, title);
        outline_put(o, " {\n");
        outline_walk(o, &section);
        if (outline_peek(o, 0)->type == TOKEN_END) {
                mistakes_add(o->mistakes, place, "the { %s is never closed; allowed: pairs of braces",
                             outline_where(o, &section));
                o->unclosed = 1;
        } else {
                o->at++;
        }
        outline_put(o, "}\n");
        o->mute -= (unsigned)mute;
}

/* listen ":80", and no braces. */
static void outline_no_braces(struct outline *o, const struct outline_section *section, const struct schema_row *row,
                              const struct token *title) {
        char form[128];

        mistakes_add(o->mistakes, o->place, "'%s %s' needs braces behind it; allowed: %s", row->key,
                     outline_show(o, title), outline_form(row, form, sizeof(form)));
        outline_drop(o, row->key);
        outline_skip(o, section->rows);
}

static void outline_block(struct outline *o, const struct outline_section *section, const struct schema_row *row) {
        const struct token *token = outline_peek(o, 0);
        const struct token *title = outline_is_word(token) && outline_peek(o, 1)->type == TOKEN_OPEN ? token : NULL;
        char form[128];
        int mute = 0;

        if (!title && token->type != TOKEN_OPEN) {
                if (!(row->flags & SCHEMA_TITLED))
                        outline_refuse(o, section, row, "is a section, and needs braces behind it");
                else if (!outline_is_word(token))
                        outline_refuse(o, section, row, "is a section, and needs a name behind it");
                else
                        outline_no_braces(o, section, row, token);
                return;
        }
        o->at += title ? 2 : 1;
        if (!title && row->flags & SCHEMA_TITLED) {
                mistakes_add(o->mistakes, o->place, "'%s' needs a name before its braces; allowed: %s", row->key,
                             outline_form(row, form, sizeof(form)));
                mute = 1;
        } else if (title && !(row->flags & SCHEMA_TITLED)) {
                mistakes_add(o->mistakes, o->place, "'%s' takes no name, not '%s'; allowed: %s", row->key,
                             outline_show(o, title), outline_form(row, form, sizeof(form)));
        }
        if (title && outline_is_bad(o, title, row))
                mute = 1;
        if (!(row->flags & SCHEMA_TITLED) && !outline_first(o, section, row))
                mute = 1;
        outline_enter(o, row, title, mute);
}

/* Something that cannot start a statement; what follows it on its line is most likely more of the same. */
static void outline_stray(struct outline *o, const struct token *token) {
        mistakes_add(o->mistakes, o->place, "unexpected '%s'; allowed here: a key", outline_show(o, token));
        while (token->type != TOKEN_END && !outline_is_word(token) && token->line == o->place.line &&
               token->type != TOKEN_CLOSE) {
                o->at++;
                token = outline_peek(o, 0);
        }
        outline_drop(o, "*");
}

/* Goes through the statements of a section up to its closing brace, or the end of the file. */
static void outline_walk(struct outline *o, const struct outline_section *section) {
        for (;;) {
                const struct token *key = outline_peek(o, 0);
                const struct schema_row *row;

                o->place.line = key->line;
                if (key->type == TOKEN_END || (key->type == TOKEN_CLOSE && section->row))
                        return;
                if (key->type == TOKEN_CLOSE) {
                        mistakes_add(o->mistakes, o->place,
                                     "unexpected '}', since no section is open; allowed here: a key");
                        o->at++;
                        continue;
                }
                if (!outline_is_word(key)) {
                        outline_stray(o, key);
                        continue;
                }
                o->at++;
                row = schema_find(section->rows, key->text, key->len);
                if (outline_is_bad(o, key, NULL)) {
                        outline_drop(o, "*");
                        outline_skip(o, section->rows);
                } else if (!row) {
                        outline_unknown(o, section, key);
                } else if (row->type == SCHEMA_INCLUDE) {
                        outline_include(o, section, row);
                } else if (row->type == SCHEMA_SECTION) {
                        outline_block(o, section, row);
                } else if (row->flags & SCHEMA_LIST && outline_is_list(o)) {
                        outline_list(o, section, row);
                } else {
                        outline_scalar(o, section, row);
                }
        }
}

int outline_write(char **text, const struct tokens *tokens, struct outline_seen *top, struct place place,
                  struct mistakes *mistakes) {
        struct outline_section section = { .rows = schema_top, .seen = top };
        struct outline o = { .tokens = tokens, .place = place, .mistakes = mistakes };
        size_t size;
        int failed;

        *text = NULL;
        o.out = open_memstream(text, &size);
        if (!o.out)
                return -ENOMEM;
        outline_walk(&o, &section);
        if (o.unclosed)
                outline_drop(&o, "*");
        failed = ferror(o.out);
        if (fclose(o.out) != 0 || failed) {
                free(*text);
                *text = NULL;
                return -ENOMEM;
        }
        return 0;
}
