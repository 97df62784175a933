/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ctl/view.h"

static json_t *parsed(const char *text) {
        json_t *json = json_loads(text, 0, NULL);

        assert_non_null(json);
        return json;
}

/* A sample at that time, in which everything has moved n times so much. */
static struct sample sample_at(double at_s, int n) {
        struct sample sample = { .at_s = at_s };

        sample.status = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "version", "1.0", "state",
                                  "serving", "uptime_s", 65, "worker_generation", 3, "threads", 2, "sessions", 5,
                                  "sessions_max", 100, "sessions_total", 10 * n, "bytes_up", 1024 * n, "bytes_down",
                                  2048 * n);
        sample.frontends = json_pack("[{s:s, s:s, s:i, s:i, s:i, s:i}]", "name", "web", "state", "ready", "sessions", 5,
                                     "sessions_total", 10 * n, "bytes_up", 1024 * n, "bytes_down", 2048 * n);
        sample.backends = json_pack("[{s:s, s:s, s:i, s:[{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i}]}]", "name", "app",
                                    "balance", "leastconn", "queued", 7, "servers",
                                    "name", "a", "address", "10.0.0.1:80", "state", "down", "weight", 2, "sessions", 4,
                                    "sessions_total", 10 * n, "bytes_up", 1024 * n, "bytes_down", 2048 * n);
        sample.sessions = parsed("[{\"id\": \"1\", \"state\": \"relaying\", \"client\": \"unix\", \"server\": \"a\","
                                 "  \"age_ms\": 5000, \"bytes_up\": 10, \"bytes_down\": 20},"
                                 " {\"id\": \"2\", \"state\": \"queued\", \"client\": \"x\\u001by\", \"server\": null,"
                                 "  \"age_ms\": 9000, \"bytes_up\": 1, \"bytes_down\": 2}]");
        assert_true(sample.status && sample.frontends && sample.backends);
        return sample;
}

static void test_rates(void **unused) {
        json_t *former = parsed("{\"n\": 10}"), *now = parsed("{\"n\": 30}");

        (void)unused;
        assert_true(sample_rate(former, now, "n", 2) == 10);
        assert_true(sample_rate(now, former, "n", 2) == 0);
        assert_true(sample_rate(NULL, now, "n", 2) == 0);
        assert_true(sample_rate(former, now, "n", 0) == 0);
        json_decref(former);
        json_decref(now);
}

static void test_order(void **unused) {
        struct sample sample = { .sessions = json_array() };
        const json_t *list[10];

        (void)unused;
        for (int i = 0; i < 100; i++)
                json_array_append_new(sample.sessions, json_pack("{s:i, s:i, s:i}", "age_ms", i, "bytes_up",
                                                                 i * 37 % 100, "bytes_down", 0));
        assert_int_equal(sample_sessions(&sample, SAMPLE_BY_AGE, list, 10), 10);
        for (int i = 0; i < 10; i++)
                assert_int_equal(json_integer_value(json_object_get(list[i], "age_ms")), 99 - i);
        assert_int_equal(sample_sessions(&sample, SAMPLE_BY_BYTES, list, 10), 10);
        for (int i = 0; i < 10; i++)
                assert_int_equal(json_integer_value(json_object_get(list[i], "bytes_up")), 99 - i);
        assert_int_equal(sample_sessions(&sample, SAMPLE_BY_BYTES, list, 0), 0);
        sample_free(&sample);
        sample_free(&sample);
}

static const struct view_line *line_of(const struct view *view, enum view_kind kind, const char *name) {
        for (size_t i = 0; i < view->n; i++)
                if (view->lines[i].kind == kind && strcmp(view->lines[i].name, name) == 0)
                        return &view->lines[i];
        fail_msg("no line for %s", name);
        return NULL;
}

static void test_lines(void **unused) {
        struct sample former = sample_at(10, 1), now = sample_at(12, 3);
        const struct view_line *line;
        struct view view;

        (void)unused;
        assert_int_equal(view_make(&view, &former, &now, SAMPLE_BY_AGE), 0);
        assert_string_equal(view.head[0], "spliced 1.0  serving  up 1m05s  worker 3  threads 2");
        assert_string_equal(view.head[1], "sessions 5 of 100  new 10.0/s  up 1.0K/s  down 2.0K/s");
        line = line_of(&view, VIEW_FRONTEND, "web");
        assert_int_equal(line->color, TABLE_GOOD);
        assert_non_null(strstr(line->text, "ready        5      10.0      1.0K      2.0K"));
        line = line_of(&view, VIEW_BACKEND, "app");
        assert_int_equal(line->color, TABLE_BAD);
        assert_non_null(strstr(line->text, "leastconn      0/1     4      7    10.0     1.0K     2.0K"));
        line = line_of(&view, VIEW_SERVER, "app/a");
        assert_int_equal(line->color, TABLE_BAD);
        assert_non_null(strstr(line->text, "down        2     4      10.0      1.0K      2.0K"));
        line = line_of(&view, VIEW_SESSION, "2");
        assert_non_null(strstr(line->text, "x?y"));
        /* By age: the older one first. */
        assert_true(line < line_of(&view, VIEW_SESSION, "1"));
        for (size_t i = 0; i < view.n; i++)
                assert_true(strlen(view.lines[i].text) <= 80);
        view_free(&view);
        /* Nothing is known of rates at first. */
        assert_int_equal(view_make(&view, NULL, &now, SAMPLE_BY_BYTES), 0);
        assert_non_null(strstr(view.head[1], "new 0.0/s"));
        assert_true(line_of(&view, VIEW_SESSION, "1") < line_of(&view, VIEW_SESSION, "2"));
        view_free(&view);
        view_free(&view);
        sample_free(&former);
        sample_free(&now);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rates), cmocka_unit_test(test_order), cmocka_unit_test(test_lines),
        };

        return cmocka_run_group_tests_name("ctl_view", tests, NULL, NULL);
}
