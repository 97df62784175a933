/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "health/expect.h"

static struct conf_check wanted(const char *expect, size_t len, int regex) {
        return (struct conf_check){ .type = CONF_CHECK_EXPECT, .expect = expect, .expect_len = len, .regex = regex };
}

struct row {
        const char *expect;
        size_t expect_len;
        int regex;
        const char *answer;
        size_t answer_len;
        size_t found_at;                /* bytes of the answer after which it is found; 0: never */
};

#define S(text) text, sizeof(text) - 1

static const struct row rows[] = {
        { S("OK"), 0, S("OK"), 2 },
        { S("OK"), 0, S("xxOKxx"), 4 },
        { S("OK"), 0, S("O-K"), 0 },
        { S("aab"), 0, S("aaaab"), 5 },
        { S("a\0b"), 0, S("x\0a\0b"), 5 },
        { S("+PONG\r\n"), 0, S("+PONG\r\n"), 7 },
        { S("\xff\xfe"), 0, S("\xff\xff\xfe"), 3 },
        { S("^\\+PONG"), 1, S("+PONG\r\n"), 5 },
        { S("^\\+PONG"), 1, S("-ERR +PONG"), 0 },
        { S("^\\d{3} .*\\r\\n"), 1, S("220 mx ready\r\n"), 14 },
        { S("(?i)ready"), 1, S("I am READY"), 10 },
        { S("(one|two) (three)"), 1, S("one two three"), 13 },
        { S("a\\x00b"), 1, S("a\0b"), 3 },
        { S("[\\x80-\\xff]"), 1, S("ab\xc3"), 3 },
        { S("."), 1, S("\xff"), 1 },
        { S("^$"), 1, S("x"), 0 },
};

/* Byte by byte: found as soon as it is there, and not before. */
static void test_byte_by_byte(void **unused) {
        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                const struct row *row = &rows[i];
                struct conf_check conf = wanted(row->expect, row->expect_len, row->regex);
                size_t found = 0;
                struct expect expect;

                assert_int_equal(expect_init(&expect, &conf), 0);
                for (size_t len = 1; len <= row->answer_len && !found; len++)
                        if (expect_look(&expect, row->answer, len - 1, len) == EXPECT_FOUND)
                                found = len;
                assert_int_equal(found, row->found_at);
                expect_deinit(&expect);
        }
}

/* In pieces of every size. */
static void test_pieces(void **unused) {
        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                for (size_t size = 1; size <= 16; size++) {
                        const struct row *row = &rows[i];
                        struct conf_check conf = wanted(row->expect, row->expect_len, row->regex);
                        size_t seen = 0;
                        int found = 0;
                        struct expect expect;

                        assert_int_equal(expect_init(&expect, &conf), 0);
                        while (seen < row->answer_len && !found) {
                                size_t len = seen + size < row->answer_len ? seen + size : row->answer_len;

                                found = expect_look(&expect, row->answer, seen, len) == EXPECT_FOUND;
                                seen = len;
                        }
                        assert_int_equal(found, row->found_at != 0);
                        expect_deinit(&expect);
                }
}

/* A regular expression that would go on for ever comes to an end, and says so. */
static void test_costly(void **unused) {
        static const char *const patterns[] = { "^(a+)+$", "(a|aa)+$", "^(.*a){12}$", "^(a*)*[cd]" };
        char answer[EXPECT_ANSWER_MAX];

        (void)unused;
        memset(answer, 'a', sizeof(answer));
        answer[sizeof(answer) - 1] = '!';
        for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
                struct conf_check conf = wanted(patterns[i], strlen(patterns[i]), 1);
                int64_t begin = clock_now_ms();
                struct expect expect;

                assert_int_equal(expect_init(&expect, &conf), 0);
                assert_int_equal(expect_look(&expect, answer, 0, sizeof(answer)), EXPECT_COSTLY);
                assert_true(clock_now_ms() - begin < 20000);
                /* And it can be used again. */
                assert_int_equal(expect_look(&expect, "b", 0, 1), EXPECT_MORE);
                expect_deinit(&expect);
        }
}

static void test_bad(void **unused) {
        struct conf_check conf = wanted("(", 1, 1);
        struct expect expect;

        (void)unused;
        assert_int_equal(expect_init(&expect, &conf), -EINVAL);
        expect_deinit(&expect);
        expect_deinit(&expect);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_byte_by_byte),
                cmocka_unit_test(test_pieces),
                cmocka_unit_test(test_costly),
                cmocka_unit_test(test_bad),
        };

        return cmocka_run_group_tests_name("expect", tests, NULL, NULL);
}
