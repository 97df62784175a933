/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/filter.h"
#include "admin/metrics.h"
#include "admin/page.h"
#include "session/env.h"

/* What of the admin is pure: text for Prometheus, text for HTML, networks. */

static void test_labels(void **state) {
        static const struct { const char *value, *label; } rows[] = {
                { "", "" }, { "web", "web" }, { "a \"b\"", "a \\\"b\\\"" }, { "a\\", "a\\\\" }, { "a\nb", "a\\nb" },
                { "h\303\244", "h\303\244" }, { "{a=b,}", "{a=b,}" },
        };
        char buf[METRICS_LABEL], longest[CONF_NAME_MAX + 1];

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                assert_string_equal(metrics_label(rows[i].value, buf), rows[i].label);
        /* The longest name, all of which is escaped, is whole. */
        memset(longest, '"', CONF_NAME_MAX);
        longest[CONF_NAME_MAX] = '\0';
        assert_int_equal(strlen(metrics_label(longest, buf)), 2 * CONF_NAME_MAX);
}

#define HEAD "# HELP a_total Some.\n# TYPE a_total counter\na_total 7\n"

static void test_text(void **state) {
        struct metrics_text text = { 0 };

        (void)state;
        metrics_family(&text, "a_total", "counter", "Some.");
        metrics_printf(&text, "a_total %d\n", 7);
        assert_false(text.failed);
        assert_string_equal(text.buf, HEAD);
        assert_int_equal(text.len, strlen(text.buf));
        /* It grows, also by more at once than it has. */
        for (int i = 0; i < 20000; i++)
                metrics_printf(&text, "line %05d\n", i);
        metrics_printf(&text, "%0300000d", 0);
        assert_false(text.failed);
        assert_int_equal(text.len, strlen(HEAD) + 20000 * 11 + 300000);
        assert_int_equal(text.len, strlen(text.buf));
        free(text.buf);
}

static void test_histogram(void **state) {
        struct counters_histogram_sum sum = { .sum_ms = 61234, .count = 6, .buckets = { 3, 0, 2 } };
        struct metrics_text text = { 0 };
        const char *at;

        (void)state;
        sum.buckets[COUNTERS_BOUNDS] = 1;
        metrics_histogram(&text, "x_seconds", "backend=\"b\"", counters_wait_bounds, &sum);
        assert_non_null(at = strstr(text.buf, "x_seconds_bucket{backend=\"b\",le=\"0.001\"} 3\n"));
        assert_ptr_equal(at, text.buf);
        assert_non_null(at = strstr(at, "x_seconds_bucket{backend=\"b\",le=\"0.005\"} 3\n"));
        assert_non_null(at = strstr(at, "x_seconds_bucket{backend=\"b\",le=\"0.01\"} 5\n"));
        assert_non_null(at = strstr(at, "x_seconds_bucket{backend=\"b\",le=\"1\"} 5\n"));
        assert_non_null(at = strstr(at, "x_seconds_bucket{backend=\"b\",le=\"30\"} 5\n"));
        assert_non_null(strstr(at, "x_seconds_bucket{backend=\"b\",le=\"+Inf\"} 6\n"
                               "x_seconds_sum{backend=\"b\"} 61.234\nx_seconds_count{backend=\"b\"} 6\n"));
        free(text.buf);
}

static void test_escape(void **state) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);

        (void)state;
        assert_non_null(out);
        page_escape(out, "<script>alert(\"1\")</script> & 'x' \303\244");
        assert_int_equal(fclose(out), 0);
        assert_string_equal(text, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39; \303\244");
        free(text);
}

static void test_bytes(void **state) {
        static const struct { uint64_t n; const char *text; } rows[] = {
                { 0, "0 B" }, { 999, "999 B" }, { 1000, "1.0 kB" }, { 1234, "1.2 kB" }, { 99949, "99.9 kB" },
                { 99950, "100 kB" }, { 999499, "999 kB" }, { 999500, "1.0 MB" }, { 5000000000, "5.0 GB" },
                { UINT64_MAX, "18.4 EB" },
        };
        char buf[PAGE_BYTES];

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                assert_string_equal(page_bytes(rows[i].n, buf), rows[i].text);
}

static void check_network(const char *network, const char *address, int fits) {
        struct filter filter = { .frontend = ARENA_NONE, .backend = ARENA_NONE };
        struct survey_row row = { .client_family = AF_UNIX };

        assert_int_equal(filter_network(&filter, network), 0);
        if (inet_pton(AF_INET, address, &row.client) == 1)
                row.client_family = AF_INET;
        else if (inet_pton(AF_INET6, address, &row.client) == 1)
                row.client_family = AF_INET6;
        if (filter_fits(&filter, &row) != fits)
                fail_msg("%s and %s", network, address);
}

static void test_network(void **state) {
        static const char *const bad[] = {
                "", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "x", "10.0.0", "10.0.0.0/8/8",
                "1111:2222:3333:4444:5555:6666:7777:8888:9999", "Unix",
        };
        struct filter filter;

        (void)state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                assert_int_equal(filter_network(&filter, bad[i]), -EINVAL);
        check_network("10.0.0.0/8", "10.255.1.2", 1);
        check_network("10.0.0.0/8", "11.0.0.0", 0);
        check_network("10.1.2.3", "10.1.2.3", 1);
        check_network("10.1.2.3", "10.1.2.2", 0);
        check_network("10.1.2.128/25", "10.1.2.129", 1);
        check_network("10.1.2.128/25", "10.1.2.127", 0);
        check_network("0.0.0.0/0", "1.2.3.4", 1);
        check_network("0.0.0.0/0", "::1", 0);
        check_network("2001:db8::/33", "2001:db8:7fff::1", 1);
        check_network("2001:db8::/33", "2001:db8:8000::1", 0);
        check_network("::1", "::1", 1);
        check_network("unix", "", 1);
        check_network("unix", "10.0.0.1", 0);
        check_network("::/0", "", 0);
}

static void test_id(void **state) {
        struct filter filter;

        (void)state;
        assert_true(filter_id(&filter, NULL, "17"));
        assert_true(filter_fits(&filter, &(struct survey_row){ .id = 17 }));
        assert_false(filter_fits(&filter, &(struct survey_row){ .id = 18 }));
        assert_false(filter_id(&filter, NULL, ""));
        assert_false(filter_id(&filter, NULL, "0"));
        assert_false(filter_id(&filter, NULL, " 1"));
        assert_false(filter_id(&filter, NULL, "+1"));
        assert_false(filter_id(&filter, NULL, "1 "));
        assert_false(filter_id(&filter, NULL, "99999999999999999999"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_labels), cmocka_unit_test(test_text), cmocka_unit_test(test_histogram),
                cmocka_unit_test(test_escape), cmocka_unit_test(test_bytes), cmocka_unit_test(test_network),
                cmocka_unit_test(test_id),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
