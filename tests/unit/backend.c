/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"

#define SERVERS_MAX 300
#define FIRST_SLOT 0

struct fixture {
        struct arena arena;
        struct conf_server servers[SERVERS_MAX];
        char names[SERVERS_MAX][24];
        struct conf_backend conf;
        struct backend_waiter waiters[4];
        struct backend backend;
};

/* A backend whose servers have these weights, each with an address of its own. */
static struct fixture *open_backend(const uint16_t *weights, size_t n) {
        const uint32_t sizes[ARENA_SLABS] = { [ARENA_SERVERS] = sizeof(struct server_record) };
        const uint32_t counts[ARENA_SLABS] = { [ARENA_SERVERS] = SERVERS_MAX + 5 };
        struct fixture *f = calloc(1, sizeof(*f));

        for (size_t i = 0; i < n; i++) {
                char text[32];
                const char *why;

                snprintf(f->names[i], sizeof(f->names[i]), "s%zu", i);
                snprintf(text, sizeof(text), "10.0.%zu.%zu:80", i / 250, i % 250 + 1);
                f->servers[i].name = f->names[i];
                f->servers[i].weight = weights[i];
                assert_int_equal(addr_parse(&f->servers[i].addr, text, &why), 0);
        }
        f->conf = (struct conf_backend){ .name = "app", .balance = CONF_ROUNDROBIN, .servers = f->servers,
                                         .n_servers = n };
        assert_int_equal(arena_init(&f->arena, sizes, counts), 0);
        return f;
}

/* After the test has changed the config as it wants it: slots in the servers' order. */
static void start(struct fixture *f) {
        struct server_record *records = arena_slab(&f->arena, ARENA_SERVERS);
        uint16_t slots[SERVERS_MAX];

        for (size_t i = 0; i < f->conf.n_servers; i++) {
                slots[i] = (uint16_t)(FIRST_SLOT + i);
                if (f->servers[i].addr.kind != ADDR_HOST)
                        records[FIRST_SLOT + i].addr = f->servers[i].addr;
                records[FIRST_SLOT + i].weight = f->servers[i].weight;
                records[FIRST_SLOT + i].backup = (uint8_t)f->servers[i].backup;
                records[FIRST_SLOT + i].admin = f->servers[i].disabled ? SERVER_MAINT : SERVER_READY;
        }
        assert_int_equal(backend_init(&f->backend, &f->conf, &f->arena, slots, f->waiters), 0);
}

static void close_backend(struct fixture *f) {
        backend_deinit(&f->backend);
        backend_deinit(&f->backend);
        arena_deinit(&f->arena);
        free(f);
}

static int pick_untried(struct fixture *f, const uint16_t *tried, unsigned n, struct addr *addr) {
        struct backend_request request = { .tried = tried, .n_tried = n };

        return backend_pick(&f->backend, &request, addr);
}

static int pick(struct fixture *f) {
        struct addr addr;
        int server = pick_untried(f, NULL, 0, &addr);

        if (server >= 0)
                assert_true(addr_equal(&addr, &f->servers[server].addr));
        return server;
}

/* Picks n times, as letters. */
static const char *picks(struct fixture *f, int n) {
        static char text[512];

        for (int i = 0; i < n; i++) {
                int server = pick(f);

                text[i] = (char)(server < 0 ? '-' : 'a' + server);
        }
        text[n] = '\0';
        return text;
}

static void test_records(void **unused) {
        static const uint16_t weights[] = { 1, 1, 1 };
        struct fixture *f = open_backend(weights, 3);
        struct server_record *slab = arena_slab(&f->arena, ARENA_SERVERS);

        (void)unused;
        f->servers[2].addr = (struct addr){ .kind = ADDR_HOST };
        start(f);
        assert_ptr_equal(f->backend.records, slab);
        for (int i = 0; i < 3; i++)
                assert_int_equal(f->backend.members[i].slot, FIRST_SLOT + i);
        assert_true(addr_equal(&slab[FIRST_SLOT].addr, &f->servers[0].addr));
        assert_int_equal(slab[FIRST_SLOT + 2].addr.kind, ADDR_NONE);
        close_backend(f);
}

static void test_deinit_of_nothing(void **unused) {
        struct backend backend = { 0 };

        (void)unused;
        backend_deinit(&backend);
        backend_deinit(&backend);
}

static void check_shares(struct fixture *f, unsigned rounds) {
        unsigned total = 0;

        for (size_t i = 0; i < f->conf.n_servers; i++) {
                assert_int_equal(f->backend.records[i].sessions_total, (uint64_t)f->servers[i].weight * rounds);
                assert_int_equal(f->backend.records[i].sessions, f->backend.records[i].sessions_total);
                total += f->backend.records[i].sessions;
        }
        assert_true(total > 0);
}

static void test_exact_shares(void **unused) {
        static const uint16_t weights[] = { 1, 2, 5 };
        struct fixture *f = open_backend(weights, 3);

        (void)unused;
        start(f);
        for (int i = 0; i < 80; i++)
                assert_true(pick(f) >= 0);
        check_shares(f, 10);
        for (int i = 80; i < 80000; i++)
                assert_true(pick(f) >= 0);
        check_shares(f, 10000);
        close_backend(f);
}

/* Exact in every cycle for other weights too, the extreme ones among them. */
static void test_exact_shares_of_many(void **unused) {
        static const uint16_t sets[][5] = {
                { 1, 1, 1, 1, 1 }, { 256, 1, 0, 0, 0 }, { 256, 256, 256, 256, 256 }, { 7, 3, 11, 2, 1 },
                { 100, 99, 98, 1, 50 },
        };

        (void)unused;
        for (size_t set = 0; set < sizeof(sets) / sizeof(sets[0]); set++) {
                struct fixture *f = open_backend(sets[set], 5);
                unsigned total = 0;

                start(f);
                for (int i = 0; i < 5; i++)
                        total += sets[set][i];
                for (unsigned cycle = 1; cycle <= 3; cycle++) {
                        for (unsigned i = 0; i < total; i++)
                                assert_true(pick(f) >= 0);
                        check_shares(f, cycle);
                }
                close_backend(f);
        }
}

struct crowd {
        struct fixture *f;
        pthread_barrier_t *together;
        int picks;
        int refused;
};

static void *crowd_main(void *arg) {
        struct crowd *crowd = arg;
        struct addr addr;

        pthread_barrier_wait(crowd->together);
        for (int i = 0; i < crowd->picks; i++)
                crowd->refused += pick_untried(crowd->f, NULL, 0, &addr) < 0;
        return NULL;
}

static void test_exact_shares_over_threads(void **unused) {
        static const uint16_t weights[] = { 1, 2, 5 };
        static const int all[] = { 80, 80000, 800000 };

        (void)unused;
        for (int round = 0; round < 3; round++) {
                struct fixture *f = open_backend(weights, 3);
                pthread_barrier_t together;
                struct crowd crowd[2] = { { f, &together, all[round] / 2, 0 }, { f, &together, all[round] / 2, 0 } };
                pthread_t threads[2];

                pthread_barrier_init(&together, NULL, 2);
                start(f);
                for (int i = 0; i < 2; i++)
                        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
                for (int i = 0; i < 2; i++) {
                        pthread_join(threads[i], NULL);
                        assert_int_equal(crowd[i].refused, 0);
                }
                pthread_barrier_destroy(&together);
                check_shares(f, (unsigned)all[round] / 8);
                close_backend(f);
        }
}

static void test_known_sequences(void **unused) {
        static const struct { uint16_t weights[4]; size_t n; const char *sequence; } cases[] = {
                { { 5, 1, 1 }, 3, "aabacaa" "aabacaa" },
                { { 1, 1, 1 }, 3, "abcabc" },
                { { 1 }, 1, "aaa" },
                { { 2, 1 }, 2, "abaaba" },
                { { 4, 2, 1 }, 3, "abacaba" "abacaba" },
                { { 3, 3 }, 2, "ababab" },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct fixture *f = open_backend(cases[i].weights, cases[i].n);

                start(f);
                assert_string_equal(picks(f, (int)strlen(cases[i].sequence)), cases[i].sequence);
                close_backend(f);
        }
}

/*
 * At every moment each server is less than one session away from its share.  And nobody is chosen twice in a row but
 * for one with half of the weight, or where one cycle meets the next (`twice`).
 */
static void test_smooth(void **unused) {
        static const struct { uint16_t weights[4]; int twice; } sets[] = {
                { { 1, 1, 1, 1 }, 0 }, { { 2, 2, 1, 1 }, 0 }, { { 9, 8, 7, 6 }, 1 }, { { 3, 1, 1, 1 }, 1 },
                { { 5, 2, 2, 1 }, 1 }, { { 256, 1, 1, 30 }, 1 },
        };

        (void)unused;
        for (size_t set = 0; set < sizeof(sets) / sizeof(sets[0]); set++) {
                struct fixture *f = open_backend(sets[set].weights, 4);
                int last = -1, total = 0, counts[4] = { 0 };

                start(f);
                for (int i = 0; i < 4; i++)
                        total += sets[set].weights[i];
                for (int n = 1; n <= 2000; n++) {
                        int server = pick(f);

                        assert_in_range(server, 0, 3);
                        if (!sets[set].twice)
                                assert_int_not_equal(server, last);
                        last = server;
                        counts[server]++;
                        for (int i = 0; i < 4; i++)
                                assert_true(abs(counts[i] * total - n * sets[set].weights[i]) < total);
                }
                close_backend(f);
        }
}

static void test_tried(void **unused) {
        static const uint16_t weights[] = { 1, 2, 5 };
        struct fixture *f = open_backend(weights, 3);
        struct addr addr;

        (void)unused;
        start(f);
        for (int i = 0; i < 100; i++) {
                uint16_t tried[3] = { 2 };
                int second = pick_untried(f, tried, 1, &addr);

                assert_in_range(second, 0, 1);
                tried[1] = (uint16_t)second;
                assert_int_equal(pick_untried(f, tried, 2, &addr), 1 - second);
                assert_true(addr_equal(&addr, &f->servers[1 - second].addr));
                tried[2] = (uint16_t)(1 - second);
                assert_int_equal(pick_untried(f, tried, 3, &addr), BACKEND_ALL_TRIED);
        }
        /* What was refused counts for nobody. */
        assert_int_equal(f->backend.records[2].sessions_total, 0);
        assert_int_equal(f->backend.records[0].sessions_total + f->backend.records[1].sessions_total, 200);
        close_backend(f);
}

/* After retries that passed a server over, the shares of later sessions are as ever. */
static void test_shares_after_retries(void **unused) {
        static const uint16_t weights[] = { 1, 2, 5 };
        struct fixture *f = open_backend(weights, 3);
        unsigned counts[3] = { 0 };

        (void)unused;
        start(f);
        for (int i = 0; i < 1000; i++) {
                uint16_t tried[] = { (uint16_t)(i % 3) };
                struct addr addr;

                assert_true(pick_untried(f, tried, 1, &addr) >= 0);
        }
        for (int i = 0; i < 8000; i++)
                counts[pick(f)]++;
        for (int i = 0; i < 3; i++)
                assert_in_range(counts[i], weights[i] * 1000 - 10, weights[i] * 1000 + 10);
        close_backend(f);
}

static void test_unusable(void **unused) {
        static const uint16_t weights[] = { 1, 1, 0, 1 };
        struct fixture *f = open_backend(weights, 4);
        struct addr addr = f->servers[3].addr;
        static const uint16_t tried[] = { 0 };

        (void)unused;
        f->servers[1].disabled = 1;
        f->servers[3].addr = (struct addr){ .kind = ADDR_HOST };
        start(f);
        assert_string_equal(picks(f, 5), "aaaaa");
        assert_int_equal(pick_untried(f, tried, 1, &addr), BACKEND_ALL_TRIED);

        /* The name has been resolved. */
        const char *why;
        assert_int_equal(addr_parse(&f->servers[3].addr, "10.1.1.1:99", &why), 0);
        backend_set_address(&f->backend, 3, &f->servers[3].addr);
        backend_address(&f->backend, 3, &addr);
        assert_true(addr_equal(&addr, &f->servers[3].addr));
        const char *text = picks(f, 4);
        assert_true(!strcmp(text, "adad") || !strcmp(text, "dada"));
        close_backend(f);
}

static void test_none_usable(void **unused) {
        static const uint16_t weights[] = { 0, 1, 0 };
        struct fixture *f = open_backend(weights, 3);
        static const uint16_t tried[] = { 0, 1, 2 };
        struct addr addr;

        (void)unused;
        f->servers[1].disabled = 1;
        start(f);
        assert_int_equal(pick_untried(f, NULL, 0, &addr), BACKEND_NO_SERVER);
        assert_int_equal(pick_untried(f, tried, 3, &addr), BACKEND_NO_SERVER);
        close_backend(f);
}

static void test_backups(void **unused) {
        static const uint16_t weights[] = { 1, 1, 1, 2, 1 };
        struct fixture *f = open_backend(weights, 5);
        struct addr addr;
        uint16_t tried[5] = { 0, 1 };

        (void)unused;
        f->servers[2].backup = f->servers[3].backup = f->servers[4].backup = 1;
        f->servers[4].disabled = 1;
        start(f);
        assert_string_equal(picks(f, 6), "ababab");
        /* All others tried: a backup, each, by weight; then nobody. */
        for (int i = 0; i < 30; i++)
                assert_in_range(pick_untried(f, tried, 2, &addr), 2, 3);
        assert_int_equal(f->backend.records[2].sessions_total, 10);
        assert_int_equal(f->backend.records[3].sessions_total, 20);
        tried[2] = 3;
        assert_int_equal(pick_untried(f, tried, 3, &addr), 2);
        tried[3] = 2;
        assert_int_equal(pick_untried(f, tried, 4, &addr), BACKEND_ALL_TRIED);
        /* A backup that was tried does not stand in the way of the others. */
        tried[0] = 2;
        assert_in_range(pick_untried(f, tried, 1, &addr), 0, 1);
        close_backend(f);
}

static void test_backups_alone(void **unused) {
        static const uint16_t weights[] = { 1, 1, 1 };
        struct fixture *f = open_backend(weights, 3);

        (void)unused;
        f->servers[0].disabled = 1;
        f->servers[1].backup = f->servers[2].backup = 1;
        start(f);
        assert_string_equal(picks(f, 4), "bcbc");
        close_backend(f);
}

static void test_counts(void **unused) {
        static const uint16_t weights[] = { 1, 1 };
        struct fixture *f = open_backend(weights, 2);

        (void)unused;
        start(f);
        for (int i = 0; i < 10; i++)
                pick(f);
        for (int i = 0; i < 4; i++)
                backend_release(&f->backend, 0);
        assert_int_equal(f->backend.records[0].sessions, 1);
        assert_int_equal(f->backend.records[1].sessions, 5);
        assert_int_equal(f->backend.records[0].sessions_total, 5);
        assert_int_equal(f->backend.records[1].sessions_total, 5);
        close_backend(f);
}

static void test_many_servers(void **unused) {
        uint16_t weights[SERVERS_MAX];
        struct fixture *f;

        (void)unused;
        for (int i = 0; i < SERVERS_MAX; i++)
                weights[i] = 256;
        f = open_backend(weights, SERVERS_MAX);
        start(f);
        for (int i = 0; i < 4 * SERVERS_MAX; i++)
                assert_int_equal(pick(f), i % SERVERS_MAX);
        close_backend(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_records),
                cmocka_unit_test(test_deinit_of_nothing),
                cmocka_unit_test(test_exact_shares),
                cmocka_unit_test(test_exact_shares_of_many),
                cmocka_unit_test(test_exact_shares_over_threads),
                cmocka_unit_test(test_known_sequences),
                cmocka_unit_test(test_smooth),
                cmocka_unit_test(test_tried),
                cmocka_unit_test(test_shares_after_retries),
                cmocka_unit_test(test_unusable),
                cmocka_unit_test(test_none_usable),
                cmocka_unit_test(test_backups),
                cmocka_unit_test(test_backups_alone),
                cmocka_unit_test(test_counts),
                cmocka_unit_test(test_many_servers),
        };

        return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
