/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bucket.h"

#define SECOND INT64_C(1000000000)
#define START (INT64_C(123456789) * SECOND) /* years after boot */

static uint64_t state = 88172645463325252;

static uint64_t random_number(void) {
        state ^= state << 13;
        state ^= state >> 7;
        return state ^= state << 17;
}

/* A fresh bucket is full, holds its burst and no more, and fills up by the rate. */
static void test_burst_and_refill(void **unused) {
        static const struct { uint64_t rate, burst; } cases[] = {
                { 1, 1 }, { 3, 3 }, { 100, 100 }, { 7, 1 }, { 1000, 65536 }, { 10 << 20, 2621440 }, { 1, 65536 },
                { UINT64_C(10) << 30, UINT64_C(10) << 28 }, { 999999937, 999999937 },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct bucket_limit limit = bucket_limit(cases[i].rate, cases[i].burst);
                int64_t paid = 0;

                assert_int_equal(bucket_level(&limit, paid, START), cases[i].burst);
                assert_int_equal(bucket_when(&limit, paid, 1, START), START);
                paid = bucket_take(&limit, paid, cases[i].burst, START);
                assert_int_equal(bucket_level(&limit, paid, START), 0);
                /* The time it names is the first at which a token is there. */
                int64_t when = bucket_when(&limit, paid, 1, START);

                assert_true(bucket_level(&limit, paid, when) >= 1);
                assert_true(when > START && when - START <= SECOND / (int64_t)cases[i].rate + 1);
                if (cases[i].rate < 1000000)
                        assert_int_equal(bucket_level(&limit, paid, when - 2), 0);
                assert_true(bucket_level(&limit, paid, START + limit.depth_ns) >= cases[i].burst);
                assert_int_equal(bucket_level(&limit, paid, START + 1000 * limit.depth_ns),
                                 bucket_level(&limit, 0, START));
                /* More than it holds is never there: it says when it is full. */
                assert_true(bucket_when(&limit, paid, 10 * cases[i].burst, START) <= START + limit.depth_ns);
        }
}

/* Soon after the boot a burst may be more than could have come in since. */
static void test_early(void **unused) {
        struct bucket_limit limit = bucket_limit(1, 65536);
        int64_t paid = 0, now = 5;

        (void)unused;
        assert_int_equal(bucket_level(&limit, paid, now), 65536);
        paid = bucket_take(&limit, paid, 65535, now);
        assert_int_equal(bucket_level(&limit, paid, now), 1);
        paid = bucket_take(&limit, paid, 1, now);
        assert_int_equal(bucket_level(&limit, paid, now), 0);
        assert_int_equal(bucket_when(&limit, paid, 1, now), now + SECOND);
        assert_int_equal(bucket_level(&limit, paid, now + SECOND), 1);
        /* Paid for up to the boot itself is not the same as never. */
        limit = bucket_limit(1, 5);
        paid = bucket_take(&limit, 0, 5, 0);
        assert_int_equal(bucket_level(&limit, paid, 0), 0);
}

static void test_limits_of_numbers(void **unused) {
        static const uint64_t extremes[] = { 1, 2, 1000, UINT32_MAX, UINT64_C(1) << 40, UINT64_C(1) << 62, UINT64_MAX };

        (void)unused;
        assert_int_equal(bucket_limit(0, 0).rate, 0);
        for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++)
                for (size_t j = 0; j < sizeof(extremes) / sizeof(extremes[0]); j++) {
                        struct bucket_limit limit = bucket_limit(extremes[i], extremes[j]);
                        uint64_t level = bucket_level(&limit, 0, INT64_MAX / 2);
                        int64_t paid;

                        assert_true(limit.depth_ns >= 1);
                        assert_true(level >= 1);
                        paid = bucket_take(&limit, 0, level < UINT64_C(1) << 33 ? level : UINT64_C(1) << 33,
                                           INT64_MAX / 2);
                        assert_true(paid >= INT64_MAX / 2 - limit.depth_ns && paid <= INT64_MAX / 2);
                        assert_true(bucket_when(&limit, paid, UINT64_MAX, INT64_MAX / 2) <=
                                    INT64_MAX / 2 + limit.depth_ns);
                        /* A record that was damaged. */
                        assert_int_equal(bucket_level(&limit, INT64_MAX, START), 0);
                        assert_true(bucket_when(&limit, INT64_MAX, 1, START) <= START + limit.depth_ns);
                        assert_true(bucket_level(&limit, INT64_MIN / 2, START) >= 1);
                }
}

/* Whoever takes what is there, at whatever times and in whatever parts, gets the rate, without drift. */
static void test_rate_in_the_long_run(void **unused) {
        static const uint64_t rates[] = { 3, 50, 1000, 99991, 1 << 20, 12345678, UINT64_C(1) << 31 };

        (void)unused;
        for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
                uint64_t burst = rates[i] / 4 > 65536 ? rates[i] / 4 : 65536, taken = 0, wanted;
                struct bucket_limit limit = bucket_limit(rates[i], burst);
                int64_t paid = 0, now = START;
                int64_t end = START + 100 * SECOND;

                while (now < end) {
                        uint64_t level = bucket_level(&limit, paid, now), n = level;

                        if (level > 1 && level < burst / 2 && random_number() % 2)
                                n = 1 + random_number() % level;
                        if (n) {
                                paid = bucket_take(&limit, paid, n, now);
                                taken += n;
                        }
                        /* Mostly by a few ms, but also late by so much that the bucket is nearly full. */
                        now += (int64_t)(random_number() % (random_number() % 16 ? 5000000 : 100000000));
                }
                taken += bucket_level(&limit, paid, now);
                wanted = burst + (uint64_t)((double)(now - START) * (double)rates[i] / SECOND);
                assert_true(taken <= wanted + wanted / 1000 + 1);
                assert_true(taken + 2 + wanted / 1000 >= wanted);
        }
}

struct crowd {
        struct bucket_limit limit;
        _Atomic int64_t paid;
        _Atomic int64_t now;
        _Atomic int taken, waste;
};

static void *crowd_main(void *arg) {
        struct crowd *crowd = arg;

        for (int i = 0; i < 40000; i++) {
                int64_t now = atomic_fetch_add(&crowd->now, 1000);

                if (!bucket_take_shared(&crowd->limit, &crowd->paid, now))
                        continue;
                /* Some come to nothing. */
                if (i % 3 == 0) {
                        bucket_give_shared(&crowd->limit, &crowd->paid);
                        atomic_fetch_add(&crowd->waste, 1);
                } else
                        atomic_fetch_add(&crowd->taken, 1);
        }
        return NULL;
}

/* Threads that ask at the same time get what one would get, and not one more. */
static void test_shared_by_threads(void **unused) {
        struct crowd crowd = { .limit = bucket_limit(100000, 500), .now = START };
        pthread_t threads[4];
        uint64_t most;

        (void)unused;
        for (int i = 0; i < 4; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd), 0);
        for (int i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        /* 160,000 times a microsecond. */
        most = 500 + 16000;
        assert_true((uint64_t)atomic_load(&crowd.taken) <= most);
        assert_true((uint64_t)atomic_load(&crowd.taken) >= most - most / 10);
        assert_true(atomic_load(&crowd.waste) > 0);
}

/* A token that was given back is there again, also in a bucket that was full. */
static void test_give_back(void **unused) {
        struct bucket_limit limit = bucket_limit(10, 10);
        _Atomic int64_t paid = 0;

        (void)unused;
        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 5; i++) {
                        assert_int_equal(bucket_take_shared(&limit, &paid, START), 1);
                        bucket_give_shared(&limit, &paid);
                }
                assert_int_equal(bucket_level(&limit, paid, START), 10 - 2 * round);
                assert_int_equal(bucket_take_shared(&limit, &paid, START), 1);
                assert_int_equal(bucket_take_shared(&limit, &paid, START), 1);
        }
        for (int i = 0; i < 4; i++)
                assert_int_equal(bucket_take_shared(&limit, &paid, START), 1);
        assert_int_equal(bucket_take_shared(&limit, &paid, START), 0);
        assert_int_equal(bucket_take_shared(&limit, &paid, START + SECOND / 10 + 1), 1);
        assert_int_equal(bucket_take_shared(&limit, &paid, START + SECOND / 10 + 1), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_burst_and_refill),
                cmocka_unit_test(test_early),
                cmocka_unit_test(test_limits_of_numbers),
                cmocka_unit_test(test_rate_in_the_long_run),
                cmocka_unit_test(test_shared_by_threads),
                cmocka_unit_test(test_give_back),
        };

        return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
