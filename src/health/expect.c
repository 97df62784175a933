/* SPDX-License-Identifier: ISC */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "health/expect.h"

#include <errno.h>
#include <pcre2.h>
#include <string.h>

#define EXPECT_STEPS 500000     /* of one match: some milliseconds */
#define EXPECT_HEAP_KIB 4096

static int expect_init_regex(struct expect *expect) {
        pcre2_match_context *context;
        PCRE2_SIZE at;
        int error;

        expect->code = pcre2_compile((PCRE2_SPTR)expect->conf->expect, expect->conf->expect_len, 0, &error, &at, NULL);
        if (!expect->code)
                return error == PCRE2_ERROR_HEAP_FAILED ? -ENOMEM : -EINVAL;
        expect->data = pcre2_match_data_create(1, NULL);
        expect->context = context = pcre2_match_context_create(NULL);
        if (!expect->data || !context)
                return -ENOMEM;
        pcre2_set_match_limit(context, EXPECT_STEPS);
        pcre2_set_heap_limit(context, EXPECT_HEAP_KIB);
        return 0;
}

int expect_init(struct expect *expect, const struct conf_check *conf) {
        *expect = (struct expect){ .conf = conf };
        return conf->regex ? expect_init_regex(expect) : 0;
}

void expect_deinit(struct expect *expect) {
        pcre2_match_context_free(expect->context);
        pcre2_match_data_free(expect->data);
        pcre2_code_free(expect->code);
        *expect = EXPECT_NULL;
}

enum expect_found expect_look(struct expect *expect, const char *answer, size_t seen, size_t len) {
        const struct conf_check *conf = expect->conf;
        size_t from = seen < conf->expect_len ? 0 : seen - conf->expect_len + 1;
        int r;

        if (!conf->regex)
                return memmem(answer + from, len - from, conf->expect, conf->expect_len) ? EXPECT_FOUND : EXPECT_MORE;
        r = pcre2_match(expect->code, (PCRE2_SPTR)answer, len, 0, 0, expect->data, expect->context);
        if (r >= 0)
                return EXPECT_FOUND;
        return r == PCRE2_ERROR_NOMATCH ? EXPECT_MORE : EXPECT_COSTLY;
}
