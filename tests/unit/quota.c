/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "balance/quota.h"

#define SECOND INT64_C(1000000000)
#define START (INT64_C(1000) * SECOND)

static const uint64_t seed[2] = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };

static struct quota_source v4(uint32_t number) {
        struct in6_addr address = { 0 };

        memcpy(&address, &number, sizeof(number));
        return quota_source(1, AF_INET, &address, 0);
}

static int enter(struct quota *quota, uint32_t number, uint32_t sessions, uint32_t rate, int64_t now, uint32_t *place) {
        struct quota_source source = v4(number);
        struct quota_limits limits = quota_limits(sessions, rate);

        return quota_enter(quota, &source, &limits, now, place);
}

static void test_sources(void **unused) {
        struct in6_addr a = { .s6_addr = { 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 } }, b = a, c = a;
        struct quota_source source, other;

        (void)unused;
        b.s6_addr[8] = 0xff;
        b.s6_addr[15] = 0xff;
        c.s6_addr[7] = 0xff;
        source = quota_source(3, AF_INET6, &a, 0);
        other = quota_source(3, AF_INET6, &b, 7);
        assert_memory_equal(&source, &other, sizeof(source));
        other = quota_source(3, AF_INET6, &c, 0);
        assert_memory_not_equal(&source, &other, sizeof(source));
        other = quota_source(4, AF_INET6, &a, 0);
        assert_memory_not_equal(&source, &other, sizeof(source));
        source = quota_source(3, AF_INET, &a, 0);
        other = quota_source(3, AF_INET, &c, 0);
        assert_memory_equal(&source, &other, sizeof(source));
        /* A number is not the same as an address and as a uid. */
        memset(&a, 0, sizeof(a));
        a.s6_addr[0] = 5;
        source = quota_source(3, AF_INET, &a, 0);
        other = quota_source(3, AF_UNIX, &a, 5);
        assert_memory_not_equal(&source, &other, sizeof(source));
        source = quota_source(3, AF_UNIX, &b, 5);
        assert_memory_equal(&source, &other, sizeof(source));
}

static void test_sessions_at_once(void **unused) {
        uint32_t places[4], place;
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, 100, seed), 0);
        for (int i = 0; i < 3; i++)
                assert_int_equal(enter(&quota, 1, 3, 0, START, &places[i]), 0);
        assert_int_equal(enter(&quota, 1, 3, 0, START, &place), QUOTA_OVER_SESSIONS);
        assert_int_equal(enter(&quota, 2, 3, 0, START, &places[3]), 0);
        quota_leave(&quota, places[1], START);
        assert_int_equal(enter(&quota, 1, 3, 0, START, &places[1]), 0);
        assert_int_equal(enter(&quota, 1, 3, 0, START, &place), QUOTA_OVER_SESSIONS);
        for (int i = 0; i < 4; i++)
                quota_leave(&quota, places[i], START);
        for (uint32_t i = 1; i <= 2; i++) {
                struct quota_source source = v4(i);
                int known;

                assert_int_equal(quota_sessions(&quota, &source, &known), 0);
                assert_false(known);
        }
        quota_deinit(&quota);
        quota_deinit(&quota);
}

static void test_rate(void **unused) {
        uint32_t place;
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, 100, seed), 0);
        /* The burst is one second's worth; sessions that end give no token back. */
        for (int i = 0; i < 5; i++) {
                assert_int_equal(enter(&quota, 1, 0, 5, START, &place), 0);
                quota_leave(&quota, place, START);
        }
        assert_int_equal(enter(&quota, 1, 0, 5, START, &place), QUOTA_OVER_RATE);
        assert_int_equal(enter(&quota, 1, 0, 5, START + SECOND / 5 - 1000, &place), QUOTA_OVER_RATE);
        assert_int_equal(enter(&quota, 1, 0, 5, START + SECOND / 5, &place), 0);
        assert_int_equal(enter(&quota, 1, 0, 5, START + SECOND / 5, &place), QUOTA_OVER_RATE);
        quota_leave(&quota, place, START + SECOND / 5);
        /* Two seconds later it is as if it had never been. */
        for (int i = 0; i < 5; i++) {
                assert_int_equal(enter(&quota, 1, 0, 5, START + 3 * SECOND, &place), 0);
                quota_leave(&quota, place, START + 3 * SECOND);
        }
        assert_int_equal(enter(&quota, 1, 0, 5, START + 3 * SECOND, &place), QUOTA_OVER_RATE);
        quota_deinit(&quota);
}

/* A refusal by one limit takes nothing from the other. */
static void test_both_limits(void **unused) {
        uint32_t place, other;
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, 100, seed), 0);
        assert_int_equal(enter(&quota, 1, 1, 2, START, &place), 0);
        for (int i = 0; i < 10; i++)
                assert_int_equal(enter(&quota, 1, 1, 2, START, &other), QUOTA_OVER_SESSIONS);
        quota_leave(&quota, place, START);
        assert_int_equal(enter(&quota, 1, 1, 2, START, &place), 0);
        quota_leave(&quota, place, START);
        for (int i = 0; i < 10; i++)
                assert_int_equal(enter(&quota, 1, 1, 2, START, &other), QUOTA_OVER_RATE);
        assert_int_equal(enter(&quota, 1, 1, 2, START + SECOND / 2, &place), 0);
        quota_leave(&quota, place, START);
        quota_deinit(&quota);
}

/* Every source there may be at once has a session; half a million others come and go, a hundred thousand a second. */
static void test_many_sources_are_bounded(void **unused) {
        enum { LIVE = 20000, OTHERS = 500000 };
        uint32_t *places = calloc(LIVE, sizeof(*places)), place;
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, LIVE + 1, seed), 0);
        for (uint32_t i = 0; i < LIVE; i++)
                assert_int_equal(enter(&quota, i, 1, 1, START, &places[i]), 0);
        for (uint32_t i = 0; i < OTHERS; i++) {
                int64_t now = START + (int64_t)i * 10000;

                assert_int_equal(enter(&quota, LIVE + i, 1, 1, now, &place), 0);
                quota_leave(&quota, place, now);
                /* The ones of before are remembered for as long as there is room. */
                if (i % 1000 == 999)
                        assert_int_equal(enter(&quota, LIVE + i - 100, 1, 1, now, &place), QUOTA_OVER_RATE);
        }
        assert_true(quota.used <= LIVE + 2 + QUOTA_IDLE);
        /* None that has a session was forgotten. */
        for (uint32_t i = 0; i < LIVE; i++) {
                assert_int_equal(enter(&quota, i, 1, 1, START + 100 * SECOND, &place), QUOTA_OVER_SESSIONS);
                quota_leave(&quota, places[i], START + 100 * SECOND);
        }
        quota_deinit(&quota);
        free(places);
}

/* Once their buckets are full, entries go by themselves as others come, and one source more than promised is told. */
static void test_room_comes_back(void **unused) {
        uint32_t places[10], place, used;
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, 10, seed), 0);
        for (uint32_t i = 0; i < 10000; i++) {
                assert_int_equal(enter(&quota, i, 0, 1, START, &place), 0);
                quota_leave(&quota, place, START);
        }
        used = quota.used;
        assert_true(used > 10000);
        for (uint32_t i = 0; i < 100000; i++) {
                int64_t now = START + 2 * SECOND + (int64_t)i * 1000000;

                assert_int_equal(enter(&quota, 100000 + i, 0, 1, now, &place), 0);
                quota_leave(&quota, place, now);
        }
        assert_int_equal(quota.used, used);
        for (uint32_t i = 0; i < 10; i++)
                assert_int_equal(enter(&quota, i, 0, 0, START, &places[i]), 0);
        for (uint32_t i = 0; i < 10; i++)
                quota_leave(&quota, places[i], START + 1000 * SECOND);
        quota_deinit(&quota);

        assert_int_equal(quota_init(&quota, 0, seed), 0);
        for (uint32_t i = 0; i < QUOTA_IDLE; i++)
                assert_int_equal(enter(&quota, i, 0, 1, START, &place), 0);
        assert_int_equal(enter(&quota, QUOTA_IDLE, 0, 1, START, &place), -ENOSPC);
        quota_deinit(&quota);
}

/* Adopted sessions count, and are released like others. */
static void test_adopted(void **unused) {
        struct quota_source source = v4(9);
        uint32_t places[5], place;
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, 100, seed), 0);
        for (int i = 0; i < 5; i++)
                assert_int_equal(quota_adopt(&quota, &source, &places[i]), 0);
        assert_int_equal(quota_sessions(&quota, &source, NULL), 5);
        assert_int_equal(enter(&quota, 9, 5, 0, START, &place), QUOTA_OVER_SESSIONS);
        quota_leave(&quota, places[0], START);
        assert_int_equal(enter(&quota, 9, 5, 0, START, &place), 0);
        quota_deinit(&quota);
}

struct crowd {
        struct quota *quota;
        pthread_barrier_t *together;
        _Atomic int *now;               /* sessions, by source */
        unsigned number;
        int entered, refused, wrong;
};

#define CROWD_SOURCES 12000
#define CROWD_HELD 64
#define CROWD_LIMIT 2

static void *crowd_main(void *arg) {
        struct crowd *crowd = arg;
        uint64_t random = 88172645463325252u + crowd->number;
        struct { uint32_t place, source; } held[CROWD_HELD] = { 0 };

        pthread_barrier_wait(crowd->together);
        for (unsigned i = 0; i < 60000; i++) {
                uint32_t place, source, slot = i % CROWD_HELD;
                int64_t now = START + (int64_t)i * 20000;

                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if (held[slot].place) {
                        atomic_fetch_sub(&crowd->now[held[slot].source], 1);
                        quota_leave(crowd->quota, held[slot].place, now);
                        held[slot].place = 0;
                }
                /* Half of them from a few sources, so that limits are met. */
                source = (uint32_t)(random >> 33) % (random % 2 ? 20 : CROWD_SOURCES);
                if (enter(crowd->quota, source, CROWD_LIMIT, 1000, now, &place) == 0) {
                        crowd->wrong += atomic_fetch_add(&crowd->now[source], 1) >= CROWD_LIMIT;
                        held[slot].place = place;
                        held[slot].source = source;
                        crowd->entered++;
                } else
                        crowd->refused++;
        }
        for (int i = 0; i < CROWD_HELD; i++)
                if (held[i].place) {
                        atomic_fetch_sub(&crowd->now[held[i].source], 1);
                        quota_leave(crowd->quota, held[i].place, START + 1000 * SECOND);
                }
        return NULL;
}

static void test_threads(void **unused) {
        enum { THREADS = 4 };
        _Atomic int *now = calloc(CROWD_SOURCES, sizeof(*now));
        struct crowd crowds[THREADS];
        pthread_barrier_t together;
        pthread_t threads[THREADS];
        struct quota quota;

        (void)unused;
        assert_int_equal(quota_init(&quota, THREADS * CROWD_HELD, seed), 0);
        pthread_barrier_init(&together, NULL, THREADS);
        for (unsigned i = 0; i < THREADS; i++) {
                crowds[i] = (struct crowd){ &quota, &together, now, i, 0, 0, 0 };
                assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowds[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(crowds[i].wrong, 0);
                assert_true(crowds[i].entered > 20000 && crowds[i].refused > 100);
        }
        for (uint32_t i = 0; i < CROWD_SOURCES; i++) {
                struct quota_source source = v4(i);

                assert_int_equal(quota_sessions(&quota, &source, NULL), 0);
        }
        pthread_barrier_destroy(&together);
        quota_deinit(&quota);
        free(now);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sources),
                cmocka_unit_test(test_sessions_at_once),
                cmocka_unit_test(test_rate),
                cmocka_unit_test(test_both_limits),
                cmocka_unit_test(test_many_sources_are_bounded),
                cmocka_unit_test(test_room_comes_back),
                cmocka_unit_test(test_adopted),
                cmocka_unit_test(test_threads),
        };

        return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
