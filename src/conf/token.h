/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_TOKEN_H
#define SPLICED_CONF_TOKEN_H

#include <stddef.h>

#include "conf/mistakes.h"

/*
 * Cuts a file's text into the tokens that libconfuse's lexer will see, each
 * with its line.  libconfuse 3.3 loses lines, has no end for an unterminated
 * string and drops bytes that it does not know in silence; so what its lexer
 * would stumble over is found and reported here, and never reaches it.
 *
 * Comments and white space are gone.  A token that holds a mistake is kept as
 * TOKEN_BAD, so that its statement can be left out without a second message.
 */

enum token_type {
        TOKEN_WORD,                     /* bare, quoted, or a ${VARIABLE} by itself */
        TOKEN_NUL,                      /* a string with an escape for NUL, which only some keys can take */
        TOKEN_BAD,                      /* a word with a mistake, which has been reported */
        TOKEN_OPEN,                     /* { */
        TOKEN_CLOSE,                    /* } */
        TOKEN_PAREN_OPEN,
        TOKEN_PAREN_CLOSE,
        TOKEN_EQUALS,
        TOKEN_APPEND,                   /* += */
        TOKEN_COMMA,
        TOKEN_END,                      /* one at the end; its line is the file's last */
};

struct token {
        enum token_type type;
        unsigned line;
        const char *text;               /* in the file's text, quotes included */
        size_t len;
};

struct tokens {
        struct token *list;
        size_t n;                       /* TOKEN_END included */
};

/*
 * Scans len bytes of text, which must stay for as long as the tokens are used.
 * Mistakes are added, at `place` with their line.  Returns 0 or -ENOMEM.
 */
int token_scan(struct tokens *tokens, const char *text, size_t len, struct place place, struct mistakes *mistakes);

/*
 * Finds the next escape for NUL in a TOKEN_NUL, from p on, which is NULL for
 * the first.  Returns where it is, with its length; NULL where there is no more.
 */
const char *token_nul(const struct token *token, const char *p, size_t *len);

/* Adds a mistake for each escape for NUL in a TOKEN_NUL, where a key cannot take it.  place: of its file. */
void token_refuse_nul(const struct token *token, struct place place, struct mistakes *mistakes);

/* What to call a token in a message: its text, or "the end of the file". */
const char *token_name(const struct token *token, struct mistakes *mistakes);

#endif
