/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "health/resolve.h"

#define PATIENCE_MS 60000       /* a system's resolver may take long to give up */

struct fixture {
        struct arena arena;
        struct conf_server servers[3];
        struct conf_backend conf;
        struct backend backend;
        struct resolve *resolve;
};

/* A backend whose servers have these addresses. */
static struct fixture *open_backend(const char *const *texts, size_t n) {
        const uint32_t sizes[ARENA_SLABS] = { [ARENA_SERVERS] = sizeof(struct server_record) };
        const uint32_t counts[ARENA_SLABS] = { [ARENA_SERVERS] = 3 };
        const uint16_t slots[] = { 0, 1, 2 };
        struct fixture *f = calloc(1, sizeof(*f));

        for (size_t i = 0; i < n; i++) {
                const char *why;

                f->servers[i] = (struct conf_server){ .name = "s", .text = texts[i], .weight = 1 };
                assert_int_equal(addr_parse(&f->servers[i].addr, texts[i], &why), 0);
        }
        f->conf = (struct conf_backend){ .name = "app", .servers = f->servers, .n_servers = n };
        assert_int_equal(arena_init(&f->arena, sizes, counts), 0);
        for (size_t i = 0; i < n; i++) {
                struct server_record *record = (struct server_record *)arena_slab(&f->arena, ARENA_SERVERS) + i;

                record->weight = 1;
                if (f->servers[i].addr.kind != ADDR_HOST)
                        record->addr = f->servers[i].addr;
        }
        assert_int_equal(backend_init(&f->backend, &f->conf, &f->arena, slots, NULL), 0);
        return f;
}

/* Stops within its bound each time; a resolver that hangs is asked again until it has let go. */
static void close_backend(struct fixture *f) {
        int64_t until = clock_now_ms() + PATIENCE_MS;
        int r;

        do {
                int64_t begin = clock_now_ms();

                r = resolve_stop(f->resolve);
                assert_true(clock_now_ms() - begin < 5000);
        } while (r == RESOLVE_STUCK && clock_now_ms() < until);
        assert_int_equal(r, 0);
        backend_deinit(&f->backend);
        arena_deinit(&f->arena);
        free(f);
}

/* A system without /etc/hosts, and so without localhost, says nothing about ours. */
static void skip_without_localhost(void) {
        struct addrinfo *list;

        if (getaddrinfo("localhost", NULL, NULL, &list) != 0)
                skip();
        freeaddrinfo(list);
}

static int picked(struct fixture *f, struct addr *addr) {
        struct backend_request request = { 0 };

        return backend_pick(&f->backend, &request, addr);
}

static void test_nothing_to_do(void **unused) {
        static const char *const texts[] = { "127.0.0.1:80", "unix:/run/x" };
        struct fixture *f = open_backend(texts, 2);

        (void)unused;
        assert_int_equal(resolve_start(&f->resolve, &f->backend, 1, NULL, 1000), 0);
        assert_null(f->resolve);
        assert_int_equal(resolve_start(&f->resolve, NULL, 0, NULL, 1000), 0);
        assert_null(f->resolve);
        assert_int_equal(resolve_stop(NULL), 0);
        close_backend(f);
}

static void test_localhost(void **unused) {
        static const char *const texts[] = { "localhost:8125" };
        struct fixture *f;
        char text[ADDR_STRLEN];
        struct addr addr;

        (void)unused;
        skip_without_localhost();
        f = open_backend(texts, 1);
        assert_int_equal(picked(f, &addr), BACKEND_NO_SERVER);
        assert_int_equal(resolve_start(&f->resolve, &f->backend, 1, NULL, PATIENCE_MS), 0);
        assert_non_null(f->resolve);
        /* start waits for the first round, so the address is there. */
        assert_int_equal(picked(f, &addr), 0);
        addr_format(&addr.sa, addr.len, text, sizeof(text));
        assert_true(!strcmp(text, "127.0.0.1:8125") || !strcmp(text, "[::1]:8125"));
        assert_int_equal(addr.kind, ADDR_IP);
        close_backend(f);
}

/* A name that does not resolve holds up nobody: neither the start, nor the stop, nor the other servers. */
static void test_unresolvable(void **unused) {
        static const char *const texts[] = { "localhost:1", "name.invalid:80", "127.0.0.1:2" };
        struct fixture *f = open_backend(texts, 3);
        int64_t begin = clock_now_ms();
        struct addr addr;

        (void)unused;
        assert_int_equal(resolve_start(&f->resolve, &f->backend, 1, NULL, 300), 0);
        assert_true(clock_now_ms() - begin < 5000);
        assert_non_null(f->resolve);
        for (int i = 0; i < 20; i++) {
                int server = picked(f, &addr);

                assert_true(server == 0 || server == 2);
        }
        backend_address(&f->backend, 1, &addr);
        assert_int_equal(addr.kind, ADDR_NONE);
        close_backend(f);
}

/* Not a moment to spare: the look-up goes on behind. */
static void test_no_wait(void **unused) {
        static const char *const texts[] = { "localhost:1" };
        struct fixture *f;
        int64_t until = clock_now_ms() + PATIENCE_MS;
        struct addr addr;

        (void)unused;
        skip_without_localhost();
        f = open_backend(texts, 1);
        assert_int_equal(resolve_start(&f->resolve, &f->backend, 1, NULL, 0), 0);
        while (picked(f, &addr) != 0 && clock_now_ms() < until)
                ;
        assert_int_equal(picked(f, &addr), 0);
        close_backend(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_to_do),
                cmocka_unit_test(test_localhost),
                cmocka_unit_test(test_unresolvable),
                cmocka_unit_test(test_no_wait),
        };

        return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
