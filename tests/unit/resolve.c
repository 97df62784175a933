/* SPDX-License-Identifier: ISC */
#include "names_fixture.h"

#include <netdb.h>

#include "base/clock.h"
#include "dns_liar.h"
#include "health/resolve.h"

#define PATIENCE_MS 20000

static struct dns_liar *liar;

/* A backend with these servers, name and address each, that asks the liar. */
static struct fixture *open_servers(const char *resolver, ...) {
        char text[4096];
        size_t n = (size_t)snprintf(text, sizeof(text),
                                    "resolver { servers = { \"127.0.0.1:%u\" } %s }\n"
                                    "frontend \"f\" { listen \"unix:@spliced-resolve\" { } backend = \"b\" }\n"
                                    "backend \"b\" { resolve = 20ms\n", dns_liar_port(liar), resolver);
        const char *name;
        va_list list;

        va_start(list, resolver);
        while ((name = va_arg(list, const char *)))
                n += (size_t)snprintf(text + n, sizeof(text) - n, "server \"%s\" { address = \"%s\" }\n", name,
                                      va_arg(list, const char *));
        va_end(list);
        snprintf(text + n, sizeof(text) - n, "}\n");
        return fixture_open(text);
}

/* Waits until the log has that. */
static void await_log(struct fixture *f, const char *what) {
        int64_t until = clock_now_ms() + PATIENCE_MS;

        while (!strstr(fixture_log(f), what)) {
                if (clock_now_ms() > until)
                        fail_msg("not in the log: %s\n%s", what, f->log_text);
                usleep(1000);
        }
}

static void stop(struct fixture *f, struct resolve *resolve) {
        int64_t begin = clock_now_ms();

        resolve_stop(resolve, 0);
        assert_true(clock_now_ms() - begin < 5000);
        fixture_close(f);
}

static void test_nothing_to_do(void **unused) {
        struct fixture *f = fixture_open("frontend \"f\" { listen \"unix:@spliced-resolve\" { } backend = \"b\" }\n"
                                         "backend \"b\" { server \"a\" { address = \"unix:/run/x\" } }\n");
        struct resolve *resolve;

        (void)unused;
        assert_int_equal(resolve_start(&resolve, &f->shared, 1000), 0);
        assert_null(resolve);
        stop(f, resolve);
}

/* The start waits for the first round, so the address is there. */
static void test_localhost(void **unused) {
        struct fixture *f = open_servers("", "a", "localhost:8125", NULL);
        struct resolve *resolve;
        struct addr addr;

        (void)unused;
        assert_int_equal(fixture_pick(f, &addr), BACKEND_NO_SERVER);
        assert_int_equal(resolve_start(&resolve, &f->shared, PATIENCE_MS), 0);
        assert_non_null(resolve);
        assert_true(fixture_pick(f, &addr) >= 0);
        assert_int_equal(addr.kind, ADDR_IP);
        assert_true(ntohs(addr.in.sin_port) == 8125);
        await_log(f, "the server's name resolves to ");
        stop(f, resolve);
}

/* What gets no answer holds up nobody: neither the start, nor the stop, nor other servers. */
static void test_mute(void **unused) {
        struct fixture *f = open_servers("timeout = 50s", "mute", "mute.test:80", "srv", "srv:_mute._tcp.test", "a",
                                         "honest.test:80", "b", "127.0.0.1:2", NULL);
        int64_t begin = clock_now_ms();
        struct resolve *resolve;
        int seen[3] = { 0 };
        struct addr addr;

        (void)unused;
        assert_int_equal(resolve_start(&resolve, &f->shared, 300), 0);
        assert_true(clock_now_ms() - begin < 5000);
        await_log(f, "the server's name resolves to 127.0.0.1:80");
        for (int i = 0; i < 20; i++) {
                assert_true(fixture_pick(f, &addr) >= 0);
                assert_true(ntohs(addr.in.sin_port) == 80 || ntohs(addr.in.sin_port) == 2);
                seen[ntohs(addr.in.sin_port) == 80]++;
        }
        assert_int_equal(seen[0], 10);
        stop(f, resolve);
}

/* A successor has the addresses before anybody was asked, and waits for no name that was looked up once. */
static void test_successor(void **unused) {
        struct fixture *f = open_servers("", "a", "honest.test:80", "b", "refused.test:80", NULL);
        struct resolve *resolve;
        struct addr addr;

        (void)unused;
        assert_int_equal(resolve_start(&resolve, &f->shared, PATIENCE_MS), 0);
        assert_true(fixture_pick(f, &addr) >= 0);
        await_log(f, "it is down until the name resolves");
        resolve_stop(resolve, 0);
        fixture_succeed(f, NULL);
        assert_true(fixture_pick(f, &addr) >= 0);
        dns_liar_stop(liar);
        assert_int_equal(resolve_start(&resolve, &f->shared, 60000), 0);
        await_log(f, "the last good answer stays in use");
        assert_true(fixture_pick(f, &addr) >= 0);
        liar = dns_liar_start();
        stop(f, resolve);
}

/* A thousand names that all fail, again and again: a handful of lines. */
static void test_lines(void **unused) {
        char *text = malloc(1 << 20);
        size_t n = (size_t)sprintf(text, "resolver { servers = { \"127.0.0.1:%u\" } }\n"
                                   "frontend \"f\" { listen \"unix:@spliced-resolve\" { } backend = \"b\" }\n"
                                   "backend \"b\" { resolve = 50ms\n", dns_liar_port(liar));
        struct resolve *resolve;
        unsigned lines = 0;
        struct fixture *f;

        (void)unused;
        for (int i = 0; i < 1000; i++)
                n += (size_t)sprintf(text + n, "server \"s%d\" { address = \"%s.n%d.test:80\" }\n", i,
                                     i % 2 ? "refused" : "garbage", i);
        sprintf(text + n, "}\n");
        f = fixture_open(text);
        free(text);
        assert_int_equal(resolve_start(&resolve, &f->shared, PATIENCE_MS), 0);
        await_log(f, "lines about names of servers were too many");
        resolve_stop(resolve, 0);
        for (const char *c = fixture_log(f); *c; c++)
                lines += *c == '\n';
        assert_in_range(lines, 50, 300);
        fixture_close(f);
}

static int set_up(void **unused) {
        (void)unused;
        liar = dns_liar_start();
        return 0;
}

static int tear_down(void **unused) {
        (void)unused;
        dns_liar_stop(liar);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_to_do), cmocka_unit_test(test_localhost), cmocka_unit_test(test_mute),
                cmocka_unit_test(test_successor),     cmocka_unit_test(test_lines),
        };

        return cmocka_run_group_tests_name("resolve", tests, set_up, tear_down);
}
