/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "balance/maglev.h"
#include "balance/source.h"
#include "balance_fixture.h"
#include "base/hash.h"

/* Where `source` sends clients, and who moves when servers come and go. */

#define CLIENTS 20000

static uint64_t client(unsigned number) {
        struct in6_addr address = { 0 };
        uint32_t v4 = htonl(0x0a000000u + number);

        memcpy(&address, &v4, sizeof(v4));
        return source_hash_address(AF_INET, &address);
}

/* Where each of so many clients goes; nobody stays. */
static uint16_t *map_clients(struct fixture *f) {
        uint16_t *map = calloc(CLIENTS, sizeof(*map));

        assert_non_null(map);
        for (unsigned i = 0; i < CLIENTS; i++) {
                int slot = fixture_pick(f, client(i));

                assert_true(slot >= 0);
                backend_release(&f->backend, (unsigned)slot);
                map[i] = (uint16_t)slot;
        }
        return map;
}

/* The reference's test vectors: key 00 to 0f, messages of so many bytes 00, 01 and on. */
static void test_siphash(void **unused) {
        static const struct { size_t len; uint64_t hash; } cases[] = {
                { 0, UINT64_C(0x726fdb47dd0e0e31) }, { 1, UINT64_C(0x74f839c593dc67fd) },
                { 7, UINT64_C(0xab0200f58b01d137) }, { 8, UINT64_C(0x93f5f5799a932462) },
                { 15, UINT64_C(0xa129ca6149be45e5) },
        };
        static const uint64_t key[2] = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
        unsigned char message[16];

        (void)unused;
        for (unsigned i = 0; i < sizeof(message); i++)
                message[i] = (unsigned char)i;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                assert_true(hash_sip(key, message, cases[i].len) == cases[i].hash);
}

static void test_client_hash(void **unused) {
        struct in6_addr a = { 0 }, b = { 0 };

        (void)unused;
        assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &a), 1);
        b = a;
        b.s6_addr[15] = 2;
        assert_true(source_hash_address(AF_INET6, &a) != source_hash_address(AF_INET6, &b));
        /* Of an IPv4 address the rest of the bytes says nothing. */
        b = a;
        b.s6_addr[7] = 1;
        assert_true(source_hash_address(AF_INET, &a) == source_hash_address(AF_INET, &b));
        assert_true(source_hash_uid(0) != source_hash_uid(1));
}

/* Where clients went in former versions.  Fails where an update would move them all. */
static void test_stays_over_versions(void **unused) {
        static const uint16_t known[] = { 4, 9, 5, 0, 5, 3, 4, 4, 8, 3, 7, 3 };
        struct fixture *f = fixture_open(CONF_SOURCE, NULL, 10);

        (void)unused;
        fixture_start(f);
        for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                assert_int_equal(fixture_pick(f, client(i)), known[i]);
        fixture_close(f);
}

static void test_stays_over_processes(void **unused) {
        static const uint16_t weights[] = { 1, 2, 5, 1, 3 };
        struct fixture *f = fixture_open(CONF_SOURCE, weights, 5);
        uint16_t *before, *after;

        (void)unused;
        fixture_start(f);
        before = map_clients(f);
        backend_deinit(&f->backend);
        fixture_init(f);
        after = map_clients(f);
        assert_memory_equal(before, after, CLIENTS * sizeof(*before));
        free(before);
        free(after);
        fixture_close(f);
}

/* The same servers in another order of the file: clients go by name. */
static void test_order_of_the_file(void **unused) {
        static const uint16_t weights[] = { 3, 1, 3, 2, 1, 1 };
        struct fixture *f = fixture_open(CONF_SOURCE, weights, 6), *turned = fixture_open(CONF_SOURCE, NULL, 6);
        uint16_t *straight, *reversed;

        (void)unused;
        for (int i = 0; i < 6; i++)
                turned->servers[i] = f->servers[5 - i];
        fixture_start(f);
        fixture_start(turned);
        straight = map_clients(f);
        reversed = map_clients(turned);
        for (int i = 0; i < CLIENTS; i++)
                assert_int_equal(straight[i], 5 - reversed[i]);
        free(straight);
        free(reversed);
        fixture_close(f);
        fixture_close(turned);
}

/* One is down, or full: its own clients move, to several others, and come back. */
static void test_down_and_back(void **unused) {
        struct fixture *f = fixture_open(CONF_SOURCE, NULL, 10);
        unsigned moved[10] = { 0 };
        uint16_t *before, *without, *again;

        (void)unused;
        f->servers[4].max_connections = 1;
        fixture_start(f);
        before = map_clients(f);
        for (int full = 0; full < 2; full++) {
                if (full) {
                        f->records[4].sessions = 1;
                        backend_recount(&f->backend, f->now_ms);
                } else
                        fixture_admin(f, 4, SERVER_MAINT);
                without = map_clients(f);
                for (int i = 0; i < CLIENTS; i++) {
                        assert_int_not_equal(without[i], 4);
                        if (before[i] == 4)
                                moved[without[i]]++;
                        else
                                assert_int_equal(without[i], before[i]);
                }
                for (int i = 0; i < 10; i++)
                        assert_in_range(moved[i], i == 4 ? 0 : (unsigned)(1 + full) * CLIENTS / 90 * 8 / 10,
                                        i == 4 ? 0 : (unsigned)(1 + full) * CLIENTS / 90 * 12 / 10);
                if (full) {
                        f->records[4].sessions = 0;
                        backend_recount(&f->backend, f->now_ms);
                } else
                        fixture_admin(f, 4, SERVER_READY);
                again = map_clients(f);
                assert_memory_equal(before, again, CLIENTS * sizeof(*before));
                free(without);
                free(again);
        }
        free(before);
        fixture_close(f);
}

/* What a client has tried moves it on in its order, where a server that is down would too. */
static void test_tried_is_as_down(void **unused) {
        struct fixture *f = fixture_open(CONF_SOURCE, NULL, 5);

        (void)unused;
        fixture_start(f);
        for (unsigned i = 0; i < 500; i++) {
                uint16_t first = (uint16_t)fixture_pick(f, client(i));
                int second = fixture_pick_untried(f, client(i), &first, 1);

                fixture_admin(f, first, SERVER_DRAIN);
                assert_int_equal(fixture_pick(f, client(i)), second);
                fixture_admin(f, first, SERVER_READY);
        }
        fixture_close(f);
}

/* Hardly anybody is left: each of them has its share by weight, and the same clients always. */
static void test_nearly_all_down(void **unused) {
        struct fixture *f = fixture_open(CONF_SOURCE, NULL, FIXTURE_SERVERS);
        unsigned counts[3] = { 0 };
        uint16_t *map, *again;

        (void)unused;
        for (int i = 0; i < FIXTURE_SERVERS; i++)
                f->servers[i].disabled = i >= 3;
        f->servers[2].weight = 2;
        fixture_start(f);
        map = map_clients(f);
        again = map_clients(f);
        assert_memory_equal(map, again, CLIENTS * sizeof(*map));
        for (int i = 0; i < CLIENTS; i++)
                counts[map[i]]++;
        assert_in_range(counts[0], CLIENTS / 4 * 9 / 10, CLIENTS / 4 * 11 / 10);
        assert_in_range(counts[2], CLIENTS / 2 * 9 / 10, CLIENTS / 2 * 11 / 10);
        free(map);
        free(again);
        fixture_close(f);
}

/* Clients pass over a server that starts slowly, fewer and fewer: each comes back once. */
static void test_slow_start_moves_once(void **unused) {
        struct fixture *f = fixture_open(CONF_SOURCE, NULL, 4);
        uint16_t *full, *before = NULL, *map;

        (void)unused;
        f->servers[0].slow_start = 6400;
        fixture_start(f);
        full = map_clients(f);
        fixture_admin(f, 0, SERVER_MAINT);
        f->now_ms += 1000;
        fixture_admin(f, 0, SERVER_READY);
        for (int step = 0; step < 8; step++, f->now_ms += 800) {
                map = map_clients(f);
                for (int i = 0; i < CLIENTS; i++) {
                        if (full[i])
                                assert_int_equal(map[i], full[i]);
                        else if (before && !before[i])
                                assert_int_equal(map[i], 0);
                }
                free(before);
                before = map;
        }
        map = map_clients(f);
        assert_memory_equal(map, full, CLIENTS * sizeof(*map));
        free(before);
        free(map);
        free(full);
        fixture_close(f);
}

static size_t fill(uint16_t *table, size_t size, const uint16_t *weights, int n, int without) {
        static const uint64_t key[2] = { 3, 4 };
        struct maglev_server *servers = calloc((size_t)n, sizeof(*servers));
        size_t used = 0;

        assert_non_null(servers);
        for (int i = 0; i < n; i++)
                if (i != without)
                        servers[used++] = (struct maglev_server){ .id = hash_sip(key, &i, sizeof(i)),
                                                                  .number = (uint16_t)i,
                                                                  .weight = weights ? weights[i] : 1 };
        assert_int_equal(maglev_fill(table, size, servers, used), 0);
        free(servers);
        return used;
}

/* Every place is somebody's, each has its share, and when one leaves hardly anybody else's place changes hands. */
static void check_table(const uint16_t *weights, int n, unsigned moved_permille) {
        size_t size = maglev_size((size_t)n), *places = calloc((size_t)n, sizeof(*places)), total = 0, moved = 0;
        uint16_t *before = calloc(size, sizeof(*before)), *after = calloc(size, sizeof(*after));

        assert_true(places && before && after);
        fill(before, size, weights, n, -1);
        fill(after, size, weights, n, n / 2);
        for (size_t i = 0; i < size; i++) {
                assert_true(before[i] < n && after[i] < n && after[i] != n / 2);
                places[before[i]]++;
                moved += before[i] != after[i] && before[i] != n / 2;
        }
        for (int i = 0; i < n; i++)
                total += weights ? weights[i] : 1;
        for (int i = 0; i < n; i++) {
                size_t due = size * (weights ? weights[i] : 1) / total;

                /* The last round is cut off. */
                assert_in_range(places[i], due - due / 200 - (due > 0), due + due / 200 + 2);
        }
        if (moved * 1000 > size * moved_permille)
                fail_msg("%zu of %zu places changed hands besides those of the one of %d that left", moved, size, n);
        free(places);
        free(before);
        free(after);
}

static void test_table(void **unused) {
        static const uint16_t mixed[] = { 1, 2, 5, 256, 100 };
        uint16_t heavy[300];

        (void)unused;
        check_table(NULL, 2, 1);
        check_table(NULL, 3, 10);
        check_table(NULL, 100, 15);
        check_table(NULL, 1000, 15);
        check_table(mixed, 5, 1000);
        for (int i = 0; i < 300; i++)
                heavy[i] = i == 7 ? 256 : 1;
        check_table(heavy, 300, 1000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_siphash),
                cmocka_unit_test(test_client_hash),
                cmocka_unit_test(test_stays_over_versions),
                cmocka_unit_test(test_stays_over_processes),
                cmocka_unit_test(test_order_of_the_file),
                cmocka_unit_test(test_down_and_back),
                cmocka_unit_test(test_tried_is_as_down),
                cmocka_unit_test(test_nearly_all_down),
                cmocka_unit_test(test_slow_start_moves_once),
                cmocka_unit_test(test_table),
        };

        return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
