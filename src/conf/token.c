/* SPDX-License-Identifier: ISC */
#include "conf/token.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct token_scanner {
        const char *at, *end;
        struct place place;             /* its line is the current one */
        struct mistakes *mistakes;
        struct tokens *tokens;
};

static int token_add(struct token_scanner *scanner, enum token_type type, const char *text, size_t len) {
        struct tokens *tokens = scanner->tokens;
        struct token *list = region_grow(scanner->mistakes->region, tokens->list, tokens->n, sizeof(*list));

        if (!list)
                return -ENOMEM;
        tokens->list = list;
        list[tokens->n++] = (struct token) { .type = type, .line = scanner->place.line, .text = text, .len = len };
        return 0;
}

/* The bytes that libconfuse's lexer takes for a part of a bare word. */
static int token_is_bare(char c) {
        return c != '\0' && !strchr(" #\"'\t\n\r={}()+,*", c);
}

/*
 * A ${...} that starts at p: the byte behind it, or NULL with a mistake added.
 * A variable that is not set would silently become nothing, so it needs a default.
 */
static const char *token_variable(struct token_scanner *scanner, const char *p) {
        const char *close = p, *name;
        struct mistakes *mistakes = scanner->mistakes;
        char *dash;

        while (close < scanner->end && *close != '}' && *close != '\n' && *close != '\0')
                close++;
        if (close == scanner->end || *close != '}') {
                mistakes_add(mistakes, scanner->place,
                             "'%s' has no closing brace; allowed: ${NAME} or ${NAME:-default}",
                             mistakes_nword(mistakes, p, (size_t)(close - p)));
                return NULL;
        }
        name = region_strndup(mistakes->region, p + 2, (size_t)(close - p - 2));
        if (!name)
                return NULL;
        /* As libconfuse does it: the first colon counts, and only with a dash behind it. */
        dash = strchr(name, ':');
        if (!(dash && dash[1] == '-') && !getenv(name)) {
                mistakes_add(mistakes, scanner->place,
                             "the environment has no '%s'; allowed: a variable that is set, or ${NAME:-default}",
                             mistakes_word(mistakes, name));
                return NULL;
        }
        return close + 1;
}

static void token_refuse_byte(struct mistakes *mistakes, struct place place, const char *escape, size_t len) {
        mistakes_add(mistakes, place, "'%s' is not a byte that a string can hold; allowed: \\001 to \\377, or \\x01 to "
                     "\\xff", mistakes_nword(mistakes, escape, len));
}

/*
 * An escape of a "string"; p is at the backslash.  Returns the byte behind it,
 * with *nul set where it stands for NUL; or NULL with a mistake added.
 */
static const char *token_escape(struct token_scanner *scanner, const char *p, int *nul) {
        int hex = p[1] == 'x', base = hex ? 16 : 8, value = 0, digits = 0;
        const char *q = p + 1 + hex;

        /* libconfuse takes two hexadecimal digits at most, but refuses a fourth octal one. */
        for (; q < scanner->end && (hex ? digits < 2 && isxdigit((unsigned char)*q) : isdigit((unsigned char)*q));
             q++) {
                int digit = *q <= '9' ? *q - '0' : (*q | 0x20) - 'a' + 10;

                digits++;
                value = value > 255 || digit >= base || digits > 3 ? 256 : value * base + digit;
        }
        if (digits == 0)
                return hex ? q : q + 1;
        if (value > 255) {
                token_refuse_byte(scanner->mistakes, scanner->place, p, (size_t)(q - p));
                return NULL;
        }
        *nul |= value == 0;
        return q;
}

/* A string; at is at its opening quote. */
static int token_quoted(struct token_scanner *scanner) {
        const char *start = scanner->at, *p = start + 1;
        char quote = *start;
        int bad = 0, nul = 0;

        while (p < scanner->end && *p != quote && *p != '\n') {
                const char *next = p + 1;

                if (*p == '\0')
                        break;
                if (*p == '\\' && next < scanner->end && *next != '\n' && *next != '\0')
                        next = quote == '"' ? token_escape(scanner, p, &nul) : next + 1;
                else if (quote == '"' && *p == '$' && next < scanner->end && *next == '{')
                        next = token_variable(scanner, p);
                bad |= !next;
                p = next ? next : p + 2;
        }
        if (p >= scanner->end || *p != quote) {
                scanner->at = p < scanner->end ? p : scanner->end;
                mistakes_add(scanner->mistakes, scanner->place,
                             "the string %s has no closing %c on its line; allowed: pairs of quotes",
                             mistakes_nword(scanner->mistakes, start, (size_t)(scanner->at - start)), quote);
                return token_add(scanner, TOKEN_BAD, start, (size_t)(scanner->at - start));
        }
        scanner->at = p + 1;
        return token_add(scanner, bad ? TOKEN_BAD : nul ? TOKEN_NUL : TOKEN_WORD, start, (size_t)(scanner->at - start));
}

static int token_word(struct token_scanner *scanner) {
        const char *start = scanner->at, *p = start;

        while (p < scanner->end && token_is_bare(*p))
                p++;
        if (p < scanner->end && *p == '*') {
                while (p < scanner->end && (token_is_bare(*p) || *p == '*'))
                        p++;
                mistakes_add(scanner->mistakes, scanner->place, "'%s' holds a * outside of quotes; allowed: \"%s\"",
                             mistakes_nword(scanner->mistakes, start, (size_t)(p - start)),
                             mistakes_nword(scanner->mistakes, start, (size_t)(p - start)));
                scanner->at = p;
                return token_add(scanner, TOKEN_BAD, start, (size_t)(p - start));
        }
        scanner->at = p;
        return token_add(scanner, TOKEN_WORD, start, (size_t)(p - start));
}

/* Skips a comment that starts here.  Returns whether there was one, or -ENOMEM. */
static int token_comment(struct token_scanner *scanner) {
        const char *start = scanner->at, *p = start;
        int slash = *p == '/' && p + 1 < scanner->end, r = 1;

        if (*p == '#' || (slash && p[1] == '/')) {
                p = memchr(p, '\n', (size_t)(scanner->end - p));
                scanner->at = p ? p : scanner->end;
                return 1;
        }
        if (!slash || p[1] != '*')
                return 0;
        for (p += 2; p + 1 < scanner->end && (p[0] != '*' || p[1] != '/'); p++)
                ;
        if (p + 1 >= scanner->end) {
                mistakes_add(scanner->mistakes, scanner->place, "the comment /* has no end; allowed: /* ... */ "
                             "(a value that holds /* needs quotes)");
                /* Whatever seems to be missing may be in there. */
                if (token_add(scanner, TOKEN_BAD, start, 2) < 0)
                        r = -ENOMEM;
        }
        p = p + 1 < scanner->end ? p + 2 : scanner->end;
        for (; scanner->at < p; scanner->at++)
                scanner->place.line += *scanner->at == '\n';
        return r;
}

/* One byte that is no word: punctuation, or nothing that belongs in a config. */
static int token_byte(struct token_scanner *scanner) {
        static const char marks[] = "{}()=,";
        static const enum token_type types[] = { TOKEN_OPEN, TOKEN_CLOSE, TOKEN_PAREN_OPEN, TOKEN_PAREN_CLOSE,
                                                 TOKEN_EQUALS, TOKEN_COMMA };
        const char *p = scanner->at++, *mark = *p ? strchr(marks, *p) : NULL;

        if (mark)
                return token_add(scanner, types[mark - marks], p, 1);
        if (*p == '+' && scanner->at < scanner->end && *scanner->at == '=') {
                scanner->at++;
                return token_add(scanner, TOKEN_APPEND, p, 2);
        }
        mistakes_add(scanner->mistakes, scanner->place,
                     "unexpected '%s'; allowed outside of quotes: letters, digits and - _ . : @ %% [ ] /",
                     *p ? mistakes_nword(scanner->mistakes, p, 1) : "\\x00");
        return 0;
}

static int token_next(struct token_scanner *scanner) {
        char c = *scanner->at;
        const char *p;
        int r;

        if (c == '\n')
                scanner->place.line++;
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
                scanner->at++;
                return 0;
        }
        r = token_comment(scanner);
        if (r != 0)
                return r < 0 ? r : 0;
        if (c == '"' || c == '\'')
                return token_quoted(scanner);
        if (c == '$' && scanner->at + 1 < scanner->end && scanner->at[1] == '{') {
                const char *start = scanner->at;

                p = token_variable(scanner, start);
                scanner->at = p ? p : start + strcspn(start, "} \t\r\n");
                if (!p && scanner->at < scanner->end && *scanner->at == '}')
                        scanner->at++;
                return token_add(scanner, p ? TOKEN_WORD : TOKEN_BAD, start, (size_t)(scanner->at - start));
        }
        return token_is_bare(c) ? token_word(scanner) : token_byte(scanner);
}

int token_scan(struct tokens *tokens, const char *text, size_t len, struct place place, struct mistakes *mistakes) {
        struct token_scanner scanner = {
                .at = text, .end = text + len, .place = place, .mistakes = mistakes, .tokens = tokens,
        };
        int r = 0;

        *tokens = (struct tokens) { 0 };
        scanner.place.line = 1;
        if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
                scanner.at += 3;
        while (r == 0 && scanner.at < scanner.end)
                r = token_next(&scanner);
        if (r < 0)
                return r;
        /* The last line is the one that has text on it. */
        if (len > 0 && text[len - 1] == '\n' && scanner.place.line > 1)
                scanner.place.line--;
        return token_add(&scanner, TOKEN_END, "", 0);
}

/* How long an escape for NUL is that starts at p, before end; 0 where there is none. */
static size_t token_nul_length(const char *p, const char *end) {
        const char *q = p + 1;
        int hex = q < end && *q == 'x', digits = 0;

        if (*p != '\\')
                return 0;
        for (q += hex; q < end && *q == '0' && digits < (hex ? 2 : 3); q++)
                digits++;
        /* A digit that follows belongs to the escape, if it has not all that it may. */
        if (digits == 0 || (digits < (hex ? 2 : 3) && q < end && (hex ? isxdigit((unsigned char)*q)
                                                                       : isdigit((unsigned char)*q))))
                return 0;
        return (size_t)(q - p);
}

const char *token_nul(const struct token *token, const char *p, size_t *len) {
        const char *end = token->text + token->len;

        for (p = p ? p : token->text; p < end; p += *p == '\\' ? 2 : 1) {
                *len = token_nul_length(p, end);
                if (*len > 0)
                        return p;
        }
        return NULL;
}

void token_refuse_nul(const struct token *token, struct place place, struct mistakes *mistakes) {
        size_t len;

        place.line = token->line;
        for (const char *p = token_nul(token, NULL, &len); p; p = token_nul(token, p + len, &len))
                token_refuse_byte(mistakes, place, p, len);
}

const char *token_name(const struct token *token, struct mistakes *mistakes) {
        if (token->type == TOKEN_END)
                return "the end of the file";
        return mistakes_nword(mistakes, token->text, token->len);
}
