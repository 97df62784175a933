/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_EXPECT_H
#define SPLICED_HEALTH_EXPECT_H

#include <stddef.h>

#include "conf/conf.h"

/*
 * Whether an answer is the one that is expected: a string in it, or a regular expression that matches, in what has come
 * so far.  No I/O.  PCRE2 compiles nothing to machine code, which the sandbox would not let it run, and a match may
 * take only so many steps and so much memory.
 */

#define EXPECT_ANSWER_MAX 16384         /* bytes of an answer that are looked at */

struct expect {
        const struct conf_check *conf;  /* borrowed */
        void *code, *data, *context;    /* PCRE2's; NULL for a string */
};

#define EXPECT_NULL ((struct expect){ 0 })

/* Returns 0; -EINVAL where it is no regular expression, -ENOMEM.  expect_deinit() is fine in either case. */
int expect_init(struct expect *expect, const struct conf_check *conf);
void expect_deinit(struct expect *expect);

enum expect_found { EXPECT_MORE, EXPECT_FOUND, EXPECT_COSTLY /* given up: too many steps */ };

/*
 * Looks at an answer of len bytes, of which the last look saw the first `seen`.  EXPECT_MORE says that what is expected
 * is not there yet.  One thread at a time.
 */
enum expect_found expect_look(struct expect *expect, const char *answer, size_t seen, size_t len);

#endif
