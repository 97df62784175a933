/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_CONF_TEST_H
#define TESTS_UNIT_CONF_TEST_H

/* What the tests of the config share.  Each test program includes it once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

/* The end of a config that makes a test's lines complete; its mistakes would stand on lines of their own. */
#define CONF_REST \
        "\nfrontend \"f\" { listen \":80\" { } backend = \"b\" }\n" \
        "backend \"b\" { server \"s\" { address = \"10.0.0.1:80\" } }\n"

/* Loads a text under the name "t".  *errors is what was written, owned by the caller. */
static inline int conf_test_load(struct conf **conf, const char *text, char **errors) {
        size_t size;
        FILE *stream = open_memstream(errors, &size);
        int r;

        assert_non_null(stream);
        r = conf_load_text(conf, "t", text, strlen(text), stream);
        assert_int_equal(fclose(stream), 0);
        return r;
}

/* Loads a text that must have no mistake. */
static inline struct conf *conf_test_good(const char *text) {
        struct conf *conf;
        char *errors;
        int r = conf_test_load(&conf, text, &errors);

        if (r != 0)
                fail_msg("refused:\n%s\n%s", text, errors);
        assert_string_equal(errors, "");
        free(errors);
        assert_non_null(conf);
        return conf;
}

/* What -T writes of it; owned by the caller. */
static inline char *conf_test_print(const struct conf *conf) {
        char *text;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        assert_non_null(stream);
        assert_int_equal(conf_print(conf, stream), 0);
        assert_int_equal(fclose(stream), 0);
        return text;
}

/* What a text says that is wrong. */
struct conf_test_row { const char *text, *errors; };

static inline void conf_test_rows(const struct conf_test_row *rows, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct conf *conf;
                char *errors;
                int r = conf_test_load(&conf, rows[i].text, &errors);

                if (r != CONF_INVALID)
                        fail_msg("not refused (%d): %s", r, rows[i].text);
                assert_string_equal(errors, rows[i].errors);
                assert_null(conf);
                free(errors);
        }
}

#define CONF_TEST_ROWS(rows) conf_test_rows((rows), sizeof(rows) / sizeof((rows)[0]))

#endif
