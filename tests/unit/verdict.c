/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "health/verdict.h"

#define NONE SERVER_CHECK_NONE
#define UP SERVER_CHECK_UP
#define DOWN SERVER_CHECK_DOWN

/* Every state, streak and result with rise = 2 and fall = 3. */
static void test_table(void **unused) {
        static const struct { struct verdict before; int ok; struct verdict after; } rows[] = {
                { { NONE, 0 }, 1, { UP, 0 } },     { { NONE, 0 }, 0, { DOWN, 0 } },
                { { UP, 0 }, 1, { UP, 0 } },       { { UP, 0 }, 0, { UP, 1 } },
                { { UP, 1 }, 1, { UP, 0 } },       { { UP, 1 }, 0, { UP, 2 } },
                { { UP, 2 }, 1, { UP, 0 } },       { { UP, 2 }, 0, { DOWN, 0 } },
                { { DOWN, 0 }, 0, { DOWN, 0 } },   { { DOWN, 0 }, 1, { DOWN, 1 } },
                { { DOWN, 1 }, 0, { DOWN, 0 } },   { { DOWN, 1 }, 1, { UP, 0 } },
                /* A reload has made rise or fall smaller than what was counted. */
                { { UP, 7 }, 0, { DOWN, 0 } },     { { DOWN, 7 }, 1, { UP, 0 } },
        };
        const struct conf_check conf = { .rise = 2, .fall = 3 };

        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct verdict after = verdict_step(&conf, rows[i].before, rows[i].ok);

                assert_int_equal(after.check, rows[i].after.check);
                assert_int_equal(after.streak, rows[i].after.streak);
        }
}

/* What it means, without a state: the last change was the last `rise` or `fall` in a row, and the first result. */
static enum server_check meaning(unsigned results, unsigned n, unsigned rise, unsigned fall) {
        enum server_check check = NONE;
        unsigned row = 0;

        for (unsigned i = 0; i < n; i++) {
                int ok = results >> i & 1;

                row = i && ok == (int)(results >> (i - 1) & 1) ? row + 1 : 1;
                if (check == NONE || (ok && check == DOWN && row >= rise) || (!ok && check == UP && row >= fall))
                        check = ok ? UP : DOWN;
        }
        return check;
}

static void test_all_sequences(void **unused) {
        (void)unused;
        for (unsigned rise = 1; rise <= 4; rise++)
                for (unsigned fall = 1; fall <= 4; fall++)
                        for (unsigned results = 0; results < 1u << 12; results++) {
                                const struct conf_check conf = { .rise = rise, .fall = fall };
                                struct verdict verdict = { NONE, 0 };

                                for (unsigned n = 0; n < 12; n++) {
                                        verdict = verdict_step(&conf, verdict, results >> n & 1);
                                        assert_int_equal(verdict.check, meaning(results, n + 1, rise, fall));
                                        assert_true(verdict.streak < (verdict.check == UP ? fall : rise));
                                }
                        }
}

static void test_names(void **unused) {
        (void)unused;
        assert_string_equal(verdict_name(NONE), "unchecked");
        assert_string_equal(verdict_name(UP), "up");
        assert_string_equal(verdict_name(DOWN), "down");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_all_sequences),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
