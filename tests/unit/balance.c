/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "balance/latency.h"
#include "balance/source.h"
#include "balance_fixture.h"
#include "base/hash.h"

/* Each algorithm by itself: who gets how much, and who is passed over.  tests/unit/backend.c has what is common. */

#define PICKS 80000

static const uint16_t weights_125[] = { 1, 2, 5 };

/* What becomes of a session: it stays, as if all were there at once; or it is over before the next comes. */
enum hold { HELD, BRIEF };

struct crowd {
        struct fixture *f;
        enum hold hold;
        uint64_t first_client;
        unsigned counts[3];
};

static void *crowd_main(void *arg) {
        struct crowd *crowd = arg;

        for (uint64_t i = 0; i < PICKS / 2; i++) {
                int slot = fixture_pick(crowd->f, hash_mix(crowd->first_client + i));

                if (slot < 0)
                        break;
                crowd->counts[slot]++;
                if (crowd->hold == BRIEF)
                        backend_release(&crowd->f->backend, (unsigned)slot);
        }
        return NULL;
}

/* Within so many of 10,000 of what each is due. */
static void check_distribution(enum conf_balance balance, enum hold hold, int threads, unsigned within) {
        struct fixture *f = fixture_open(balance, weights_125, 3);
        struct crowd crowds[2] = { { .f = f, .hold = hold }, { .f = f, .hold = hold, .first_client = PICKS / 2 } };
        pthread_t ids[2];

        for (int i = 0; i < 3 && balance == CONF_FIRST; i++)
                f->servers[i].max_connections = weights_125[i] * (PICKS / 8);
        fixture_start(f);
        for (unsigned i = 0; i < 3; i++)
                backend_note_connect(&f->backend, i, 250, f->now_ms);
        for (int i = 0; i < 2 && threads == 2; i++)
                assert_int_equal(pthread_create(&ids[i], NULL, crowd_main, &crowds[i]), 0);
        for (int i = 0; i < 2; i++) {
                if (threads == 2)
                        pthread_join(ids[i], NULL);
                else
                        crowd_main(&crowds[i]);
        }
        for (int i = 0; i < 3; i++) {
                unsigned due = weights_125[i] * (PICKS / 8), got = crowds[0].counts[i] + crowds[1].counts[i];
                unsigned off = got > due ? got - due : due - got;

                if (off * 10000 > within * due)
                        fail_msg("%s, %s, %d threads: server %d got %u, is due %u", fixture_balances[balance],
                                 hold == HELD ? "held" : "brief", threads, i, got, due);
                assert_int_equal(f->records[i].sessions_total, got);
                assert_int_equal(f->records[i].sessions, hold == HELD ? got : 0);
        }
        fixture_close(f);
}

static void test_distribution(void **unused) {
        /*
         * One thread alone where load decides and sessions are brief: a second one that stands still with a session
         * makes its server the worse one, and rightly so.
         */
        static const struct { enum conf_balance balance; enum hold hold; int threads; unsigned within; } cases[] = {
                { CONF_ROUNDROBIN, HELD, 2, 0 }, { CONF_ROUNDROBIN, BRIEF, 2, 0 },
                { CONF_LEASTCONN, HELD, 2, 2 }, { CONF_LEASTCONN, BRIEF, 1, 2 },
                { CONF_RANDOM, HELD, 2, 100 }, { CONF_RANDOM, BRIEF, 1, 500 /* five times what chance makes of it */ },
                { CONF_SOURCE, HELD, 2, 100 }, { CONF_SOURCE, BRIEF, 2, 100 },
                { CONF_FIRST, HELD, 2, 0 },
                { CONF_LEAST_TIME, HELD, 2, 2 },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                for (int threads = 1; threads <= cases[i].threads; threads++)
                        check_distribution(cases[i].balance, cases[i].hold, threads, cases[i].within);
}

/* Whether a server may be picked, said in another way. */
static int may_be_picked(const struct fixture *f, unsigned slot, const uint16_t *tried, unsigned n) {
        const struct server_record *record = &f->records[slot];
        uint32_t limit = f->servers[slot].max_connections;

        for (unsigned k = 0; k < n; k++)
                if (tried[k] == slot)
                        return 0;
        return record->admin == SERVER_READY && record->weight && (!limit || record->sessions < limit);
}

/* Whoever is picked is open and was not tried; and nobody is picked only where there is none such. */
static void check_skips(enum conf_balance balance, unsigned seed) {
        /* Each change of a weight has `source` make a table. */
        int steps = balance == CONF_SOURCE ? 400 : 4000;
        uint16_t weights[40];
        struct fixture *f;

        srand(seed);
        for (int i = 0; i < 40; i++)
                weights[i] = (uint16_t)(rand() % 4);
        f = fixture_open(balance, weights, 40);
        for (int i = 0; i < 40; i++)
                f->servers[i].max_connections = (uint32_t)(rand() % 4);
        fixture_start(f);
        for (int step = 0; step < steps; step++) {
                uint16_t tried[8];
                unsigned n = (unsigned)rand() % 9, some = (unsigned)rand() % 40, fits = 0;
                int slot, may[40];

                for (unsigned i = 0; i < n; i++)
                        tried[i] = (uint16_t)(rand() % 40);
                if (rand() % 4 == 0)
                        fixture_admin(f, some, rand() % 2 ? SERVER_READY : SERVER_DRAIN);
                else if (rand() % 16 == 0)
                        fixture_change(f, some, (struct fixture_setting){ .admin = -1, .weight = rand() % 4 });
                else if (rand() % 2 && f->records[some].sessions)
                        backend_release(&f->backend, some);
                for (unsigned i = 0; i < 40; i++)
                        fits |= (unsigned)(may[i] = may_be_picked(f, i, tried, n));
                slot = fixture_pick_untried(f, hash_mix((uint64_t)step), tried, n);
                assert_int_equal(slot >= 0, fits);
                if (slot >= 0)
                        assert_true(may[slot]);
        }
        fixture_close(f);
}

static void test_skips(void **unused) {
        (void)unused;
        for (int balance = 0; balance < CONF_BALANCES; balance++)
                for (unsigned seed = 1; seed <= 5; seed++)
                        check_skips(balance, seed);
}

/* The plain form: everybody is credited, the richest is debited. */
static int plain_roundrobin(int64_t *credits, const uint16_t *weights, size_t n) {
        int64_t total = 0;
        int best = -1;

        for (size_t i = 0; i < n; i++) {
                if (!weights[i])
                        continue;
                credits[i] += weights[i];
                total += weights[i];
                if (best < 0 || credits[i] > credits[best])
                        best = (int)i;
        }
        credits[best] -= total;
        return best;
}

static void test_roundrobin_is_plain(void **unused) {
        static const size_t sizes[] = { 1, 2, 3, 7, 100, 1000 };

        (void)unused;
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
                for (int most = 1; most <= 256; most = most * 3 + 1) {
                        int64_t credits[FIXTURE_SERVERS] = { 0 };
                        uint16_t weights[FIXTURE_SERVERS];
                        struct fixture *f;

                        for (size_t i = 0; i < sizes[s]; i++)
                                weights[i] = (uint16_t)(1 + hash_mix(i + s) % (uint64_t)most);
                        f = fixture_open(CONF_ROUNDROBIN, weights, sizes[s]);
                        fixture_start(f);
                        for (int i = 0; i < 5000; i++)
                                assert_int_equal(fixture_pick(f, 0), plain_roundrobin(credits, weights, sizes[s]));
                        fixture_close(f);
                }
}

/* Where the heaviest goes, the others do not get many in a row for what they were owed beside it. */
static void test_roundrobin_without_the_heaviest(void **unused) {
        static const uint16_t weights[] = { 256, 1, 1, 1 };

        (void)unused;
        for (int before = 0; before < 259; before += 13) {
                struct fixture *f = fixture_open(CONF_ROUNDROBIN, weights, 4);
                int last = -1, row = 0, counts[4] = { 0 };
                static const uint16_t heaviest[] = { 0 };

                fixture_start(f);
                for (int i = 0; i < before; i++)
                        fixture_pick(f, 0);
                /* Passed over, as after a failed connect. */
                for (int i = 0; i < 30; i++)
                        counts[fixture_pick_untried(f, 0, heaviest, 1)]++;
                for (int i = 1; i < 4; i++)
                        assert_in_range(counts[i], 9, 11);
                fixture_admin(f, 0, SERVER_MAINT);
                for (int i = 0; i < 60; i++) {
                        int slot = fixture_pick(f, 0);

                        row = slot == last ? row + 1 : 1;
                        last = slot;
                        assert_in_range(slot, 1, 3);
                        assert_in_range(row, 1, 3);
                }
                fixture_close(f);
        }
}

/* Credit that has grown large is settled in between, which changes nothing. */
static void test_roundrobin_for_long(void **unused) {
        uint16_t weights[64], tried[63];
        unsigned counts[64] = { 0 };
        struct fixture *f;

        (void)unused;
#ifdef __SANITIZE_THREAD__
        skip(); /* one thread, half a minute */
#endif
        for (uint16_t i = 0; i < 64; i++)
                weights[i] = i < 63 ? 256 : 1;
        for (uint16_t i = 0; i < 63; i++)
                tried[i] = i;
        f = fixture_open(CONF_ROUNDROBIN, weights, 64);
        fixture_start(f);
        /* Each such pick credits the last with as much as 16,129 others do. */
        for (int i = 0; i < 70000; i++)
                assert_int_equal(fixture_pick_untried(f, 0, tried, 63), 63);
        for (int i = 0; i < 63 * 256 + 1; i++)
                counts[fixture_pick(f, 0)]++;
        for (int i = 0; i < 64; i++)
                assert_in_range(counts[i], weights[i] - 1, weights[i] + 1);
        fixture_close(f);
}

static void test_roundrobin_new_weights_begin_a_cycle(void **unused) {
        static const uint16_t weights[] = { 3, 3, 1 };
        struct fixture *f = fixture_open(CONF_ROUNDROBIN, weights, 3);
        unsigned counts[3] = { 0 };

        (void)unused;
        fixture_start(f);
        for (int i = 0; i < 5; i++)
                fixture_pick(f, 0);
        fixture_change(f, 2, (struct fixture_setting){ .admin = -1, .weight = 2 });
        for (int i = 0; i < 8; i++)
                counts[fixture_pick(f, 0)]++;
        for (int i = 0; i < 3; i++)
                assert_int_equal(counts[i], f->records[i].weight);
        fixture_close(f);
}

/* Against a search through all: nobody has fewer sessions by weight than the one that is picked. */
static void test_leastconn_is_least(void **unused) {
        uint16_t weights[50];
        struct fixture *f;

        (void)unused;
        srand(3);
        for (int i = 0; i < 50; i++)
                weights[i] = (uint16_t)(1 + rand() % 9);
        f = fixture_open(CONF_LEASTCONN, weights, 50);
        fixture_start(f);
        for (int step = 0; step < 20000; step++) {
                unsigned some = (unsigned)rand() % 50;
                uint32_t before[50];
                int slot;

                if (rand() % 5 < 2 && f->records[some].sessions)
                        backend_release(&f->backend, some);
                for (int i = 0; i < 50; i++)
                        before[i] = f->records[i].sessions;
                slot = fixture_pick(f, 0);
                for (int i = 0; i < 50; i++)
                        assert_true(before[slot] * weights[i] <= before[i] * weights[slot]);
        }
        fixture_close(f);
}

static void test_first_fills(void **unused) {
        struct fixture *f = fixture_open(CONF_FIRST, NULL, 3);

        (void)unused;
        f->servers[0].max_connections = f->servers[1].max_connections = 2;
        fixture_start(f);
        for (int i = 0; i < 6; i++)
                assert_int_equal(fixture_pick(f, 0), i / 2);
        backend_release(&f->backend, 1);
        assert_int_equal(fixture_pick(f, 0), 1);
        backend_release(&f->backend, 1);
        backend_release(&f->backend, 0);
        assert_int_equal(fixture_pick(f, 0), 0);
        assert_int_equal(fixture_pick(f, 0), 1);
        assert_int_equal(fixture_pick(f, 0), 2);
        fixture_close(f);
}

/* Of two that are drawn the better one: with sessions that stay, nobody is far from the others. */
static void test_random_is_even(void **unused) {
        struct fixture *f = fixture_open(CONF_RANDOM, NULL, 100);

        (void)unused;
        fixture_start(f);
        for (int i = 0; i < 100000; i++)
                fixture_pick(f, 0);
        for (int i = 0; i < 100; i++)
                assert_in_range(f->records[i].sessions, 980, 1020);
        fixture_close(f);
}

static void test_random_draws_two(void **unused) {
        struct fixture *f = fixture_open(CONF_RANDOM, NULL, 2);

        (void)unused;
        fixture_start(f);
        fixture_pick(f, 0);
        for (int i = 0; i < 1000; i++) {
                int slot = fixture_pick(f, 0);

                assert_int_equal(f->records[slot].sessions, 1);
                backend_release(&f->backend, (unsigned)slot);
        }
        fixture_close(f);
}

static void test_least_time_prefers_the_near(void **unused) {
        struct fixture *f = fixture_open(CONF_LEAST_TIME, NULL, 3);
        unsigned counts[3] = { 0 };

        (void)unused;
        fixture_start(f);
        for (unsigned i = 0; i < 3; i++)
                backend_note_connect(&f->backend, i, i == 2 ? 100 : 1000, f->now_ms);
        for (int i = 0; i < 1200; i++)
                counts[fixture_pick(f, 0)]++;
        assert_in_range(counts[2], 990, 1010);
        assert_in_range(counts[0], 95, 105);
        for (unsigned i = 0; i < 3; i++)
                while (f->records[i].sessions)
                        backend_release(&f->backend, i);
        /* It becomes slow. */
        for (int i = 0; i < 100; i++)
                backend_note_connect(&f->backend, 2, 50000, f->now_ms);
        for (int i = 0; i < 20; i++)
                assert_int_not_equal(fixture_pick(f, 0), 2);
        assert_in_range(f->records[2].connect_us, 45000, 50000);
        fixture_close(f);
}

/* One that was slow, or failed, is tried again, while the others go on being fast. */
static void test_least_time_forgets(void **unused) {
        (void)unused;
        for (int failed = 0; failed < 2; failed++) {
                struct fixture *f = fixture_open(CONF_LEAST_TIME, NULL, 2);
                int64_t start, tried_ms = 0;

                fixture_start(f);
                backend_note_connect(&f->backend, 0, 200, f->now_ms);
                backend_note_connect(&f->backend, 1, failed ? 200 : 2000, f->now_ms);
                if (failed)
                        backend_note_failure(&f->backend, 1, f->now_ms);
                start = f->now_ms;
                while (!tried_ms && f->now_ms < start + 120000) {
                        int slot = fixture_pick(f, 0);

                        if (slot == 1)
                                tried_ms = f->now_ms;
                        backend_note_connect(&f->backend, (unsigned)slot, 200, f->now_ms);
                        backend_release(&f->backend, (unsigned)slot);
                        f->now_ms += 10;
                }
                assert_in_range(tried_ms - start, 5000, 60000);
                fixture_close(f);
        }
}

static void test_least_time_asks_the_unknown_once(void **unused) {
        struct fixture *f = fixture_open(CONF_LEAST_TIME, NULL, 3);

        (void)unused;
        fixture_start(f);
        backend_note_connect(&f->backend, 0, 200, f->now_ms);
        backend_note_connect(&f->backend, 1, 200, f->now_ms);
        assert_int_equal(fixture_pick(f, 0), 2);
        for (int i = 0; i < 50; i++)
                assert_int_not_equal(fixture_pick(f, 0), 2);
        backend_note_connect(&f->backend, 2, 200, f->now_ms);
        for (int i = 0; i < 20; i++)
                assert_int_equal(fixture_pick(f, 0), 2);
        fixture_close(f);
}

static void test_latency(void **unused) {
        double average = 0;

        (void)unused;
        average = latency_next(average, 400, 0);
        assert_true(average > 399.9 && average < 400.1);
        /* Much later, it is what the new one says; at once, a part of it. */
        assert_true(latency_next(average, 800, 100000) > 799);
        assert_true(latency_next(average, 800, 0) > 424 && latency_next(average, 800, 0) < 426);
        assert_true(latency_next(average, 800, LATENCY_HALF_MS) > 599 &&
                    latency_next(average, 800, LATENCY_HALF_MS) < 601);
        assert_true(latency_next(average, INT64_MAX, 100000) <= LATENCY_MOST_US);
        for (int i = 0; i < 50; i++)
                average = latency_failed(average);
        assert_true(average >= LATENCY_MOST_US && average <= LATENCY_MOST_US);
        /* Twice the sessions, half the weight and one half-life later are worth the same. */
        assert_true(latency_cost(100, 0, 2, 1) > latency_cost(100, 0, 1, 1));
        assert_true(latency_cost(100, 0, 2, 1) - latency_cost(100, LATENCY_HALF_MS, 1, 1) < 1e-9);
        assert_true(latency_cost(100, 0, 2, 1) - latency_cost(100, 0, 4, 2) < 1e-9);
}

/* What a slow start leaves of a server's share, a part of it later; of 2 servers alike. */
static void check_slow_start(enum conf_balance balance, int permille, unsigned low, unsigned high) {
        struct fixture *f = fixture_open(balance, NULL, 2);
        unsigned count = 0;

        f->servers[0].slow_start = 10000;
        fixture_start(f);
        fixture_admin(f, 0, SERVER_MAINT);
        f->now_ms += 5000;
        fixture_admin(f, 0, SERVER_READY);
        assert_int_equal(f->records[0].up_ms, f->now_ms);
        f->now_ms += 10 * permille;
        /* Another process goes on with it. */
        if (permille % 2) {
                backend_deinit(&f->backend);
                fixture_init(f);
        }
        for (unsigned i = 0; i < 2; i++)
                backend_note_connect(&f->backend, i, 250, f->now_ms);
        for (uint64_t i = 0; i < 10000; i++)
                count += fixture_pick(f, hash_mix(i)) == 0;
        if (count < low || count > high)
                fail_msg("%s: %u of 10000 at %d of 1000 of the slow start, wanted %u to %u", fixture_balances[balance],
                         count, permille, low, high);
        fixture_close(f);
}

static void test_slow_start(void **unused) {
        (void)unused;
        for (int balance = 0; balance < CONF_BALANCES; balance++) {
                if (balance == CONF_FIRST || balance == CONF_SOURCE)
                        continue;
                /* 1/64 and 1, of 2; 17/64 and 1; 33/64 and 1; 1 and 1. */
                check_slow_start(balance, 0, 50, 280);
                check_slow_start(balance, 250, 1900, 2300);
                check_slow_start(balance, 501, 3200, 3600);
                check_slow_start(balance, 999, 4800, 5150);
                check_slow_start(balance, 1001, 4850, 5150);
        }
        /* 1/64, 17/64 and 33/64 of its own clients. */
        check_slow_start(CONF_SOURCE, 0, 50, 110);
        check_slow_start(CONF_SOURCE, 251, 1230, 1430);
        check_slow_start(CONF_SOURCE, 500, 2450, 2700);
        check_slow_start(CONF_SOURCE, 1001, 4850, 5150);
        /* Who is the first of all gets all when it is back in full, and before that what its weight says. */
        check_slow_start(CONF_FIRST, 0, 150, 160);
        check_slow_start(CONF_FIRST, 251, 2600, 2700);
        check_slow_start(CONF_FIRST, 1001, 10000, 10000);
}

/* Alone, it gets all: there is nobody else. */
static void test_slow_start_alone(void **unused) {
        (void)unused;
        for (int balance = 0; balance < CONF_BALANCES; balance++) {
                struct fixture *f = fixture_open(balance, NULL, 2);

                f->servers[0].slow_start = 10000;
                f->servers[1].disabled = 1;
                fixture_start(f);
                fixture_admin(f, 0, SERVER_DRAIN);
                assert_int_equal(fixture_pick(f, 1), BACKEND_NO_SERVER);
                fixture_admin(f, 0, SERVER_READY);
                for (uint64_t i = 0; i < 200; i++)
                        assert_int_equal(fixture_pick(f, hash_mix(i)), 0);
                fixture_close(f);
        }
}

/* Each way back starts it; the first start of all does not. */
static void test_slow_start_causes(void **unused) {
        struct fixture *f = fixture_open(CONF_ROUNDROBIN, NULL, 2);
        struct addr other;
        const char *why;

        (void)unused;
        f->servers[0].slow_start = 6400;
        fixture_start(f);
        assert_int_equal(f->records[0].up_ms, 0);
        fixture_pick(f, 0);
        assert_int_equal(f->backend.members[0].ramp, BACKEND_PARTS);
        assert_int_equal(addr_parse(&other, "10.9.9.9:80", &why), 0);
        fixture_change(f, 0, (struct fixture_setting){ .admin = -1, .weight = -1, .addr = &other });
        assert_int_equal(f->records[0].up_ms, f->now_ms);
        fixture_pick(f, 0);
        assert_int_equal(f->backend.members[0].ramp, 1);
        f->now_ms += 6400;
        fixture_pick(f, 0);
        assert_int_equal(f->backend.members[0].ramp, BACKEND_PARTS);
        /* An ejection that the clock ends. */
        fixture_change(f, 0, (struct fixture_setting){ .admin = -1, .weight = -1,
                                                       .ejected_until_ms = f->now_ms + 1000 });
        for (int i = 0; i < 10; i++)
                assert_int_equal(fixture_pick(f, 0), 1);
        assert_int_equal(backend_opens_ms(&f->backend), f->now_ms + 1000);
        f->now_ms += 1000;
        fixture_pick(f, 0);
        assert_int_equal(f->backend.members[0].ramp, 1);
        assert_int_equal(backend_opens_ms(&f->backend), INT64_MAX);
        f->now_ms += 3200;
        fixture_pick(f, 0);
        assert_int_equal(f->backend.members[0].ramp, BACKEND_PARTS / 2 + 1);
        fixture_close(f);
}

/* Servers that come at run time, more than there was room for. */
static void test_added(void **unused) {
        (void)unused;
        for (int balance = 0; balance < CONF_BALANCES; balance++) {
                struct fixture *f = fixture_open(balance, NULL, 3);

                fixture_start(f);
                for (int i = 0; i < 5; i++)
                        fixture_pick(f, hash_mix((uint64_t)i));
                for (unsigned slot = 3; slot < 200; slot++) {
                        f->records[slot] = (struct server_record){ .used = 1, .weight = 1, .addr = f->servers[1].addr,
                                                                   .instance = (uint16_t)(slot - 2) };
                        assert_int_equal(backend_add(&f->backend, slot, 1, f->now_ms), 0);
                        if (balance != CONF_SOURCE || slot % 50 == 0)
                                assert_true(fixture_pick(f, hash_mix(slot)) >= 0);
                }
                for (unsigned slot = 0; slot < 199; slot++)
                        fixture_admin(f, slot, SERVER_MAINT);
                assert_int_equal(fixture_pick(f, 5), 199);
                backend_release(&f->backend, 199);
                assert_int_equal(f->records[199].sessions_total, f->records[199].sessions + 1);
                fixture_close(f);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_distribution),
                cmocka_unit_test(test_skips),
                cmocka_unit_test(test_roundrobin_is_plain),
                cmocka_unit_test(test_roundrobin_without_the_heaviest),
                cmocka_unit_test(test_roundrobin_for_long),
                cmocka_unit_test(test_roundrobin_new_weights_begin_a_cycle),
                cmocka_unit_test(test_leastconn_is_least),
                cmocka_unit_test(test_first_fills),
                cmocka_unit_test(test_random_is_even),
                cmocka_unit_test(test_random_draws_two),
                cmocka_unit_test(test_least_time_prefers_the_near),
                cmocka_unit_test(test_least_time_forgets),
                cmocka_unit_test(test_least_time_asks_the_unknown_once),
                cmocka_unit_test(test_latency),
                cmocka_unit_test(test_slow_start),
                cmocka_unit_test(test_slow_start_alone),
                cmocka_unit_test(test_slow_start_causes),
                cmocka_unit_test(test_added),
        };

        return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
