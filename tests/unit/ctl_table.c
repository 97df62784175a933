/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ctl/table.h"

static const struct table_column columns[] = {
        { "NAME", TABLE_LEFT, 6, 0 }, { "N", TABLE_RIGHT, 0, 0 }, { "WHERE", TABLE_LEFT, 5, 0 },
};

/* What is printed; to be freed. */
static char *printed(const struct table *table, size_t width, int colored) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        table_print(table, out, width, colored);
        fclose(out);
        return text;
}

static void check(const struct table *table, size_t width, int colored, const char *wanted) {
        char *text = printed(table, width, colored);

        assert_string_equal(text, wanted);
        free(text);
}

static void fill(struct table *table) {
        table_init(table, columns, 3);
        table_add(table, TABLE_PLAIN, "short");
        table_printf(table, TABLE_PLAIN, "%d", 7);
        table_add(table, TABLE_GOOD, "10.0.0.1:80");
        table_add(table, TABLE_PLAIN, "a-name-that-is-long");
        table_add(table, TABLE_PLAIN, "12345");
        table_add(table, TABLE_PLAIN, NULL);
}

static void test_wide(void **unused) {
        struct table table;

        (void)unused;
        fill(&table);
        check(&table, 80, 0, "NAME                     N  WHERE\n"
                             "short                    7  10.0.0.1:80\n"
                             "a-name-that-is-long  12345  -\n");
        table_free(&table);
        table_free(&table);
}

/* The widest of those that may be cut gives way, and no further than it may. */
static void test_narrow(void **unused) {
        struct table table;

        (void)unused;
        fill(&table);
        check(&table, 30, 0, "NAME            N  WHERE\n"
                             "short           7  10.0.0.1:80\n"
                             "a-name-th…  12345  -\n");
        check(&table, 5, 0, "NAME        N  WHERE\n"
                            "short       7  10.0…\n"
                            "a-nam…  12345  -\n");
        table_free(&table);
}

/* A column that is to give way late does so, and one that loses its middle keeps both ends. */
static void test_address(void **unused) {
        static const struct table_column some[] = {
                { "NAME", TABLE_LEFT, 6, 0 }, { "WHERE", TABLE_LEFT, 5, TABLE_LATE | TABLE_MIDDLE },
        };
        struct table table;

        (void)unused;
        table_init(&table, some, 2);
        table_add(&table, TABLE_PLAIN, "a-long-name");
        table_add(&table, TABLE_PLAIN, "unix:/run/äpp/front.sock");
        check(&table, 32, 0, "NAME    WHERE\na-lon…  unix:/run/äpp/front.sock\n");
        check(&table, 24, 0, "NAME    WHERE\na-lon…  unix:…front.sock\n");
        check(&table, 10, 0, "NAME    WHERE\na-lon…  u…ock\n");
        table_free(&table);
}

/* What a pipe is told of its width. */
static void test_width(void **unused) {
        FILE *out = tmpfile();

        (void)unused;
        assert_non_null(out);
        unsetenv("COLUMNS");
        assert_int_equal(table_width(out), 80);
        setenv("COLUMNS", "1000", 1);
        assert_int_equal(table_width(out), 1000);
        setenv("COLUMNS", "5", 1);
        assert_int_equal(table_width(out), 80);
        setenv("COLUMNS", "x", 1);
        assert_int_equal(table_width(out), 80);
        unsetenv("COLUMNS");
        fclose(out);
}

static void test_color(void **unused) {
        struct table table;

        (void)unused;
        table_init(&table, columns, 1);
        table_add(&table, TABLE_BAD, "down");
        table_add(&table, TABLE_PLAIN, "up");
        check(&table, 80, 1, "\033[1mNAME\033[0m\n\033[31mdown\033[0m\nup\n");
        table_free(&table);
}

/* What comes from elsewhere gives a terminal no orders, and characters of several bytes count once. */
static void test_harmless(void **unused) {
        struct table table;

        (void)unused;
        table_init(&table, columns, 2);
        table_add(&table, TABLE_PLAIN, "\033[2J\n\x7f");
        table_add(&table, TABLE_PLAIN, "1");
        table_add(&table, TABLE_PLAIN, "äöü");
        table_add(&table, TABLE_PLAIN, "2");
        check(&table, 80, 0, "NAME    N\n?[2J??  1\näöü     2\n");
        table_free(&table);
}

static void test_numbers(void **unused) {
        static const struct { uint64_t n; const char *text; } sizes[] = {
                { 0, "0" }, { 1023, "1023" }, { 1024, "1.0K" }, { 1536, "1.5K" }, { 102400, "100K" },
                { 1023 * 1024, "1.0M" }, { 5 * UINT64_C(1024) * 1024 * 1024, "5.0G" }, { UINT64_MAX, "16.0E" },
        };
        static const struct { int64_t ms; const char *text; } durations[] = {
                { -1, "-" }, { 0, "0ms" }, { 999, "999ms" }, { 1000, "1s" }, { 61000, "1m01s" },
                { 3600000, "1h00m" }, { 90061000, "1d01h" },
        };
        char text[TABLE_NUMBER];

        (void)unused;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
                assert_string_equal(table_size(sizes[i].n, text), sizes[i].text);
        for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
                assert_string_equal(table_duration(durations[i].ms, text), durations[i].text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wide), cmocka_unit_test(test_narrow), cmocka_unit_test(test_address),
                cmocka_unit_test(test_width), cmocka_unit_test(test_color), cmocka_unit_test(test_harmless),
                cmocka_unit_test(test_numbers),
        };

        return cmocka_run_group_tests_name("ctl_table", tests, NULL, NULL);
}
