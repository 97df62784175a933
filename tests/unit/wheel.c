/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/wheel.h"

/*
 * The wheel against a model that is one array of times, on a virtual clock.  A step is
 * a jump of that clock: in each, exactly those come out that the model says are due.
 */

#define DAY INT64_C(86400000)
#define YEAR (365 * DAY)

struct bench {
        struct wheel wheel;
        struct wheel_node *nodes;
        int64_t *when;                  /* the model; INT64_MAX: not armed */
        uint32_t n;
        int64_t now;
        uint64_t seed;
};

/* xorshift64: the same sequence on every run. */
static uint64_t bench_random(struct bench *bench) {
        bench->seed ^= bench->seed << 13;
        bench->seed ^= bench->seed >> 7;
        bench->seed ^= bench->seed << 17;
        return bench->seed;
}

static struct bench *bench_new(uint32_t n, int64_t now, uint64_t seed) {
        struct bench *bench = calloc(1, sizeof(*bench));

        bench->nodes = calloc(n, sizeof(*bench->nodes));
        bench->when = calloc(n, sizeof(*bench->when));
        bench->n = n;
        bench->now = now;
        bench->seed = seed;
        for (uint32_t i = 0; i < n; i++)
                bench->when[i] = INT64_MAX;
        wheel_init(&bench->wheel, bench->nodes, now);
        return bench;
}

static void bench_free(struct bench *bench) {
        free(bench->nodes);
        free(bench->when);
        free(bench);
}

static void bench_arm(struct bench *bench, uint32_t node, int64_t when) {
        wheel_arm(&bench->wheel, node, when);
        bench->when[node] = when;
        assert_int_equal(wheel_when(&bench->wheel, node), when);
}

static void bench_cancel(struct bench *bench, uint32_t node) {
        wheel_cancel(&bench->wheel, node);
        bench->when[node] = INT64_MAX;
        assert_int_equal(wheel_when(&bench->wheel, node), INT64_MAX);
}

static int64_t bench_earliest(const struct bench *bench) {
        int64_t earliest = INT64_MAX;

        for (uint32_t i = 0; i < bench->n; i++)
                if (bench->when[i] < earliest)
                        earliest = bench->when[i];
        return earliest;
}

/* Jumps to `now`: what comes out is due, and what stays is not. */
static unsigned bench_jump(struct bench *bench, int64_t now) {
        unsigned out = 0;
        uint32_t node;

        bench->now = now;
        while ((node = wheel_expire(&bench->wheel, now)) != WHEEL_NONE) {
                assert_true(node < bench->n);
                if (bench->when[node] > now)
                        fail_msg("node %u came %lld ms early", node, (long long)(bench->when[node] - now));
                assert_int_equal(wheel_when(&bench->wheel, node), INT64_MAX);
                bench->when[node] = INT64_MAX;
                out++;
        }
        for (uint32_t i = 0; i < bench->n; i++)
                if (bench->when[i] <= now)
                        fail_msg("node %u is %lld ms late at %lld", i, (long long)(now - bench->when[i]),
                                 (long long)now);
        return out;
}

/* A wait as long as wheel_timeout() says never sleeps past a timer. */
static void bench_check_timeout(struct bench *bench) {
        int64_t earliest = bench_earliest(bench);
        int timeout = wheel_timeout(&bench->wheel, bench->now);

        if (earliest == INT64_MAX) {
                assert_int_equal(timeout, -1);
                return;
        }
        assert_true(timeout >= 0);
        if (bench->now + timeout > earliest && timeout)
                fail_msg("timeout %d sleeps %lld ms too long", timeout, (long long)(bench->now + timeout - earliest));
}

/* A time from now: of every size alike, from the past to beyond the last ring. */
static int64_t bench_some_when(struct bench *bench) {
        uint64_t bits = bench_random(bench) % 40;
        int64_t distance = (int64_t)(bench_random(bench) & ((UINT64_C(1) << bits) - 1));

        return bench_random(bench) % 16 ? bench->now + distance : bench->now - distance;
}

static void bench_churn(struct bench *bench, unsigned steps, unsigned operations) {
        for (unsigned step = 0; step < steps; step++) {
                for (unsigned i = 0; i < operations; i++) {
                        uint32_t node = (uint32_t)(bench_random(bench) % bench->n);

                        if (bench_random(bench) % 4)
                                bench_arm(bench, node, bench_some_when(bench));
                        else
                                bench_cancel(bench, node);
                }
                bench_check_timeout(bench);
                uint64_t bits = bench_random(bench) % 34;
                bench_jump(bench, bench->now + (int64_t)(bench_random(bench) & ((UINT64_C(1) << bits) - 1)));
                bench_check_timeout(bench);
        }
}

static void test_random(void **unused) {
        (void)unused;
        for (uint64_t seed = 1; seed <= 20; seed++) {
                struct bench *bench = bench_new(2000, (int64_t)seed * 123456789, seed * UINT64_C(0x9e3779b97f4a7c15));

                bench_churn(bench, 100, 100);
                bench_free(bench);
        }
}

/* Where a turn of any ring begins, the last one's too, which a machine that is up for 796 days passes. */
static void test_random_at_turns(void **unused) {
        (void)unused;
        for (unsigned ring = 1; ring <= WHEEL_RINGS + 1; ring++)
                for (int64_t before = 0; before < 3; before++) {
                        int64_t turn = INT64_C(1) << (6 * ring);
                        struct bench *bench = bench_new(500, turn - before, 77 * ring + (uint64_t)before);

                        bench_churn(bench, 50, 50);
                        bench_free(bench);
                }
}

static void test_over_the_last_turn(void **unused) {
        static const int64_t ahead[] = {
                1, 2, 63, 64, 1000, 5000, 3600000, DAY, 30 * DAY, YEAR, 2 * YEAR, 5 * YEAR, 50 * YEAR,
        };
        const int64_t turn = INT64_C(1) << (6 * WHEEL_RINGS);

        (void)unused;
        for (size_t i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
                struct bench *bench = bench_new(1, turn - 1, 1);

                bench_arm(bench, 0, turn - 1 + ahead[i]);
                assert_int_equal(bench_jump(bench, turn - 2 + ahead[i]), 0);
                assert_int_equal(bench_jump(bench, turn - 1 + ahead[i]), 1);
                bench_free(bench);
        }
}

/* Millisecond by millisecond, each comes out in its own. */
static void test_every_millisecond(void **unused) {
        struct bench *bench = bench_new(10000, 4000, 5);

        (void)unused;
        for (uint32_t i = 0; i < bench->n; i++)
                bench_arm(bench, i, 4000 + i);
        for (uint32_t i = 0; i < bench->n; i++) {
                assert_int_equal(wheel_timeout(&bench->wheel, bench->now), i ? 1 : 0);
                bench->now = 4000 + i;
                assert_int_equal(wheel_expire(&bench->wheel, bench->now), i);
                assert_int_equal(wheel_expire(&bench->wheel, bench->now), WHEEL_NONE);
        }
        bench_free(bench);
}

/* Sleeping as told, one wakes a few times at most before the timer, and then on time. */
static void test_wakes_a_few_times(void **unused) {
        static const int64_t ahead[] = { 0, 1, 63, 64, 65, 4095, 4096, 4097, 262143, 3600000, DAY, 40 * DAY, YEAR,
                                         2 * YEAR, 3 * YEAR };

        (void)unused;
        for (size_t i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++)
                for (int64_t start = 12345; start < 13345; start += 111) {
                        struct bench *bench = bench_new(1, start, 1);
                        unsigned wakes = 0;

                        bench_arm(bench, 0, start + ahead[i]);
                        while (bench->when[0] != INT64_MAX) {
                                int timeout = wheel_timeout(&bench->wheel, bench->now);

                                assert_true(timeout >= 0);
                                /* epoll_wait cannot sleep longer than 24 days. */
                                if (timeout < INT_MAX)
                                        wakes++;
                                bench_jump(bench, bench->now + timeout);
                        }
                        assert_int_equal(bench->now, start + ahead[i]);
                        assert_true(wakes <= WHEEL_RINGS + 2);
                        bench_free(bench);
                }
}

static void test_jump_over_everything(void **unused) {
        struct bench *bench = bench_new(5000, 1000000, 9);

        (void)unused;
        for (uint32_t i = 0; i < bench->n; i++)
                bench_arm(bench, i, bench_some_when(bench));
        assert_int_equal(bench_jump(bench, 1000000 + 100 * YEAR), bench->n);
        assert_int_equal(wheel_timeout(&bench->wheel, bench->now), -1);
        /* And it works on from there. */
        bench_arm(bench, 3, bench->now + 10);
        assert_int_equal(wheel_timeout(&bench->wheel, bench->now), 10);
        assert_int_equal(bench_jump(bench, bench->now + 9), 0);
        assert_int_equal(bench_jump(bench, bench->now + 1), 1);
        bench_free(bench);
}

/* Long sleeps of a wheel that holds nothing, and then a short timer. */
static void test_after_a_long_rest(void **unused) {
        struct bench *bench = bench_new(2, 77, 9);

        (void)unused;
        for (int i = 0; i < 50; i++) {
                bench_jump(bench, bench->now + 17 * DAY + i);
                bench_arm(bench, 0, bench->now + 5);
                /* Perhaps sooner, to move it to a finer ring; but not at once for ever. */
                assert_in_range(wheel_timeout(&bench->wheel, bench->now), 1, 5);
                assert_int_equal(bench_jump(bench, bench->now + 4), 0);
                assert_int_equal(bench_jump(bench, bench->now + 1), 1);
        }
        bench_free(bench);
}

static void test_edges(void **unused) {
        struct bench *bench = bench_new(4, 5000, 1);

        (void)unused;
        assert_int_equal(wheel_timeout(&bench->wheel, 5000), -1);
        assert_int_equal(wheel_expire(&bench->wheel, 5000), WHEEL_NONE);
        wheel_cancel(&bench->wheel, 2);
        wheel_cancel(&bench->wheel, 2);
        /* The past, and the present, are due at once. */
        bench_arm(bench, 0, INT64_MIN);
        assert_int_equal(wheel_timeout(&bench->wheel, 5000), 0);
        assert_int_equal(bench_jump(bench, 5000), 1);
        bench_arm(bench, 0, 5000);
        bench_arm(bench, 1, 4000);
        assert_int_equal(bench_jump(bench, 5000), 2);
        /* The end of time never comes, and disturbs nobody. */
        wheel_arm(&bench->wheel, 3, INT64_MAX - 1);
        bench_arm(bench, 0, 5100);
        assert_int_equal(bench_jump(bench, 5100), 1);
        assert_int_equal(wheel_expire(&bench->wheel, 5100 + 90 * YEAR), WHEEL_NONE);
        wheel_cancel(&bench->wheel, 3);
        assert_int_equal(wheel_timeout(&bench->wheel, 5100 + 90 * YEAR), -1);
        bench_free(bench);
}

/* What is armed for the present while timers are given out comes out in the same turn. */
static void test_armed_while_given_out(void **unused) {
        struct bench *bench = bench_new(3, 100, 1);

        (void)unused;
        bench_arm(bench, 0, 105);
        bench_arm(bench, 1, 107);
        assert_int_equal(wheel_expire(&bench->wheel, 110), 0);
        wheel_arm(&bench->wheel, 2, 110);
        wheel_arm(&bench->wheel, 0, 111);
        assert_int_equal(wheel_expire(&bench->wheel, 110), 1);
        assert_int_equal(wheel_expire(&bench->wheel, 110), 2);
        assert_int_equal(wheel_expire(&bench->wheel, 110), WHEEL_NONE);
        assert_int_equal(wheel_expire(&bench->wheel, 111), 0);
        bench_free(bench);
}

/* Two wheels over one array: each knows its own. */
static void test_shared_nodes(void **unused) {
        struct wheel_node nodes[4] = { 0 };
        struct wheel a, b;

        (void)unused;
        wheel_init(&a, nodes, 0);
        wheel_init(&b, nodes, 0);
        wheel_arm(&a, 0, 50);
        wheel_arm(&b, 1, 50);
        wheel_arm(&a, 2, 50);
        wheel_arm(&b, 3, 50);
        wheel_cancel(&a, 2);
        wheel_arm(&b, 2, 60);
        assert_int_equal(wheel_expire(&a, 100), 0);
        assert_int_equal(wheel_expire(&a, 100), WHEEL_NONE);
        assert_int_equal(wheel_expire(&b, 55) ^ wheel_expire(&b, 55), 1 ^ 3);
        assert_int_equal(wheel_expire(&b, 55), WHEEL_NONE);
        assert_int_equal(wheel_expire(&b, 60), 2);
}

/* A million operations over a wheel that is full: with a cost by the number armed this would not end in time. */
static void test_many(void **unused) {
        struct bench *bench = bench_new(100000, 1000, 3);
        uint64_t out = 0;

        (void)unused;
        for (uint32_t i = 0; i < bench->n; i++)
                wheel_arm(&bench->wheel, i, bench->now + 3600000 + i);
        for (int i = 0; i < 1000000; i++) {
                uint32_t node = (uint32_t)(bench_random(bench) % bench->n);

                wheel_arm(&bench->wheel, node, bench->now + (int64_t)(bench_random(bench) % 3600000));
                if (i % 100 == 0) {
                        bench->now += 10;
                        while (wheel_expire(&bench->wheel, bench->now) != WHEEL_NONE)
                                out++;
                        assert_true(wheel_timeout(&bench->wheel, bench->now) >= 0);
                }
        }
        assert_true(out > 0);
        bench_free(bench);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_edges),
                cmocka_unit_test(test_armed_while_given_out),
                cmocka_unit_test(test_shared_nodes),
                cmocka_unit_test(test_every_millisecond),
                cmocka_unit_test(test_wakes_a_few_times),
                cmocka_unit_test(test_jump_over_everything),
                cmocka_unit_test(test_after_a_long_rest),
                cmocka_unit_test(test_over_the_last_turn),
                cmocka_unit_test(test_random),
                cmocka_unit_test(test_random_at_turns),
                cmocka_unit_test(test_many),
        };

        return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
