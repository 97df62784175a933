/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/outlier.h"

#define START 1000000
#define CONF ((struct conf_outlier){ .given = 1, .failures = 3, .eject = 10000, .eject_max = 60000, .max_ejected = 50 })

/* Fails until it is due; how many it took. */
static unsigned fail_until_due(const struct conf_outlier *conf, struct server_record *record, int64_t now) {
        unsigned n = 1;

        while (outlier_failed(conf, record, now) == OUTLIER_COUNTED && n < 100)
                n++;
        return n;
}

/* 's' a success, 'f' a failure; the failures that are due, by their place. */
static void test_in_a_row(void **unused) {
        static const struct { const char *what; int due; } rows[] = {
                { "f", 0 }, { "ff", 0 }, { "fff", 3 }, { "ffsff", 0 }, { "ffsfff", 6 }, { "sssfff", 6 },
                { "fsfsfsfsf", 0 }, { "sfff", 4 },
        };
        const struct conf_outlier conf = CONF;

        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct server_record record = { 0 };
                int due = 0;

                for (int n = 0; rows[i].what[n]; n++) {
                        if (rows[i].what[n] == 's')
                                outlier_succeeded(&record);
                        else if (outlier_failed(&conf, &record, START + n) == OUTLIER_DUE)
                                due = n + 1;
                }
                assert_int_equal(due, rows[i].due);
        }
}

/* Whatever the limit said, it counts from zero. */
static void test_counts_anew(void **unused) {
        const struct conf_outlier conf = CONF;
        struct server_record record = { 0 };

        (void)unused;
        assert_int_equal(fail_until_due(&conf, &record, START), 3);
        assert_int_equal(fail_until_due(&conf, &record, START), 3);
}

static void test_doubles(void **unused) {
        static const int64_t times[] = { 10000, 20000, 40000, 60000, 60000, 60000 };
        const struct conf_outlier conf = CONF;
        struct server_record record = { .addr = { .kind = ADDR_IP } };
        int64_t now = START;

        (void)unused;
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
                assert_int_equal(fail_until_due(&conf, &record, now), 3);
                assert_int_equal(outlier_eject(&conf, &record, now), times[i]);
                assert_int_equal(server_state(&record, 0, now + times[i] - 1), SERVER_STATE_EJECTED);
                now += times[i];
                assert_int_equal(server_state(&record, 0, now), SERVER_STATE_UNCHECKED);
                /* As soon as it is back it fails once more; or just before the time that would make it good. */
                now += i % 2 ? 0 : conf.eject_max - 1;
        }
}

/* In use for as long as eject-max without a failure: `eject` counts anew.  The ejection itself is no such time. */
static void test_anew(void **unused) {
        const struct conf_outlier conf = CONF;
        struct server_record record = { 0 };
        int64_t now = START;

        (void)unused;
        for (int i = 0; i < 5; i++) {
                fail_until_due(&conf, &record, now);
                now += outlier_eject(&conf, &record, now);
        }
        now += conf.eject_max;
        fail_until_due(&conf, &record, now);
        assert_int_equal(outlier_eject(&conf, &record, now), conf.eject);

        /* A single failure within that time, though it ejected nobody, keeps it going. */
        now += conf.eject;
        assert_int_equal(outlier_failed(&conf, &record, now + conf.eject_max / 2), OUTLIER_COUNTED);
        outlier_succeeded(&record);
        now += conf.eject_max;
        fail_until_due(&conf, &record, now);
        assert_int_equal(outlier_eject(&conf, &record, now), 2 * conf.eject);
}

/* Sessions that it had when it was ejected fail, too: they say nothing new. */
static void test_while_ejected(void **unused) {
        const struct conf_outlier conf = CONF;
        struct server_record record = { 0 };

        (void)unused;
        fail_until_due(&conf, &record, START);
        outlier_eject(&conf, &record, START);
        for (int i = 0; i < 50; i++)
                assert_int_equal(outlier_failed(&conf, &record, START + 1 + i), OUTLIER_COUNTED);
        assert_int_equal(record.failures, 0);
        assert_int_equal(record.ejected_until_ms, START + conf.eject);
        assert_int_equal(fail_until_due(&conf, &record, START + conf.eject), 3);
}

static void test_limit(void **unused) {
        static const struct { size_t in, ejected; unsigned percent; int allowed; } rows[] = {
                { 0, 0, 100, 0 }, { 1, 0, 50, 0 }, { 1, 0, 99, 0 }, { 1, 0, 100, 1 }, { 1, 1, 100, 0 },
                { 2, 0, 50, 1 }, { 2, 1, 50, 0 }, { 2, 0, 49, 0 }, { 3, 0, 50, 1 }, { 3, 1, 50, 0 },
                { 4, 1, 50, 1 }, { 4, 2, 50, 0 }, { 10, 0, 10, 1 }, { 10, 1, 10, 0 }, { 9, 0, 10, 0 },
                { 1000, 9, 1, 1 }, { 1000, 10, 1, 0 }, { 3, 2, 100, 1 }, { 3, 3, 100, 0 },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                const struct conf_outlier conf = { .max_ejected = rows[i].percent };
                const struct outlier_count count = { .in = rows[i].in, .ejected = rows[i].ejected };

                assert_int_equal(outlier_allows(&conf, &count), rows[i].allowed);
        }
}

/* Who counts: those that would be in use. */
static void test_count(void **unused) {
        static const enum server_state states[] = {
                SERVER_STATE_UP, SERVER_STATE_UNCHECKED, SERVER_STATE_EJECTED, SERVER_STATE_DOWN, SERVER_STATE_DRAIN,
                SERVER_STATE_MAINT,
        };
        struct outlier_count count = { 0 };

        (void)unused;
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
                outlier_add(&count, states[i], 1);
                outlier_add(&count, states[i], 0);
        }
        assert_int_equal(count.in, 3);
        assert_int_equal(count.ejected, 1);
}

static void test_forget(void **unused) {
        const struct conf_outlier conf = CONF;
        struct server_record record = { .addr = { .kind = ADDR_IP }, .check = SERVER_CHECK_DOWN, .check_streak = 1 };

        (void)unused;
        fail_until_due(&conf, &record, START);
        outlier_eject(&conf, &record, START);
        outlier_forget(&record);
        assert_int_equal(server_state(&record, 0, START), SERVER_STATE_UNCHECKED);
        assert_int_equal(server_state(&record, 1, START), SERVER_STATE_DOWN);
        server_forget_health(&record);
        assert_int_equal(server_state(&record, 1, START), SERVER_STATE_UNCHECKED);
        assert_int_equal(outlier_eject(&conf, &record, START), conf.eject);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_in_a_row),
                cmocka_unit_test(test_counts_anew),
                cmocka_unit_test(test_doubles),
                cmocka_unit_test(test_anew),
                cmocka_unit_test(test_while_ejected),
                cmocka_unit_test(test_limit),
                cmocka_unit_test(test_count),
                cmocka_unit_test(test_forget),
        };

        return cmocka_run_group_tests_name("outlier", tests, NULL, NULL);
}
