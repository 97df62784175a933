/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "script/rig.h"
#include "script/script.h"

/* Timeouts, pauses and limits of sessions between real sockets (AF_UNIX, where nothing is late), on a virtual clock. */

#define CLOCK_MS 1000           /* the timeout under test */
#define CLOCK_CLIENTS 3

struct bench {
        struct rig rig;
        int listen;
        struct addr front, back;
        int client[CLOCK_CLIENTS], server[CLOCK_CLIENTS];
};

static void bench_load(struct bench *bench) {
        struct conf *conf;

        memset(bench, 0, sizeof(*bench));
        rig_load(&bench->rig, "frontend \"f\" { listen \"unix:@f\" { } backend = \"b\" "
                              "timeouts { client = off client-fin = off session = off } }\n"
                              "backend \"b\" { retries = 0 timeouts { server = off server-fin = off } "
                              "server \"s\" { address = \"unix:@s\" } }\n");
        conf = bench->rig.conf;
        conf->frontends[0].access_log = 1;
        rig_name(&conf->frontends[0].listeners[0].addr);
        rig_name(&conf->backends[0].servers[0].addr);
        bench->front = conf->frontends[0].listeners[0].addr;
        bench->back = conf->backends[0].servers[0].addr;
        bench->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(bench->listen >= 0);
        assert_int_equal(bind(bench->listen, &bench->back.sa, bench->back.len), 0);
        assert_int_equal(listen(bench->listen, 0), 0);
        for (int i = 0; i < CLOCK_CLIENTS; i++)
                bench->client[i] = bench->server[i] = -1;
}

static void bench_start(struct bench *bench) {
        rig_start(&bench->rig, 4, 8);
}

static void bench_stop(struct bench *bench) {
        for (int i = 0; i < CLOCK_CLIENTS; i++) {
                if (bench->client[i] >= 0)
                        close(bench->client[i]);
                if (bench->server[i] >= 0)
                        close(bench->server[i]);
        }
        close(bench->listen);
        assert_null(rig_stop(&bench->rig));
}

/* Rounds until the loop has nothing to do at this time. */
static void bench_settle(struct bench *bench) {
        for (int i = 0; i < 8; i++) {
                assert_int_equal(rig_round(&bench->rig), 0);
                assert_null(rig_look(&bench->rig));
        }
}

static void bench_at(struct bench *bench, int64_t ms) {
        script.now_ms = RIG_START_MS + ms;
        bench_settle(bench);
}

static unsigned bench_sessions(const struct bench *bench) {
        return atomic_load(&bench->rig.shared.sessions_now);
}

static int bench_socket(const struct addr *addr) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, &addr->sa, addr->len), 0);
        return fd;
}

static void bench_connect(struct bench *bench, int i) {
        bench->client[i] = bench_socket(&bench->front);
        bench_settle(bench);
        bench->server[i] = accept4(bench->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* One byte from here to there through the session. */
static void bench_pass(struct bench *bench, int from, int to) {
        char byte = 'x';

        assert_int_equal(send(from, &byte, 1, MSG_NOSIGNAL), 1);
        bench_settle(bench);
        assert_int_equal(recv(to, &byte, 1, 0), 1);
}

/* Alive up to one millisecond before, gone at the time. */
static void bench_ends_at(struct bench *bench, int64_t ms, const char *end) {
        bench_at(bench, ms - 1);
        assert_int_equal(bench_sessions(bench), 1);
        bench_at(bench, ms);
        assert_int_equal(bench_sessions(bench), 0);
        assert_null(rig_look_empty(&bench->rig));
        if (!rig_logged(&bench->rig, end))
                fail_msg("the access log does not say %s", end);
}

static void client_timeout(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench.rig.conf->frontends[0].timeouts.client = CLOCK_MS;
        bench_start(&bench);
        bench_connect(&bench, 0);
        bench_at(&bench, 600);
        bench_pass(&bench, bench.client[0], bench.server[0]);
        /* A byte that the client takes counts as well. */
        bench_at(&bench, 1200);
        bench_pass(&bench, bench.server[0], bench.client[0]);
        bench_ends_at(&bench, 1200 + CLOCK_MS, "client-timeout");
        bench_stop(&bench);
}

static void server_timeout(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench.rig.conf->backends[0].timeouts.server = CLOCK_MS;
        bench_start(&bench);
        bench_connect(&bench, 0);
        bench_at(&bench, 600);
        bench_pass(&bench, bench.server[0], bench.client[0]);
        bench_at(&bench, 1200);
        bench_pass(&bench, bench.client[0], bench.server[0]);
        bench_ends_at(&bench, 1200 + CLOCK_MS, "server-timeout");
        bench_stop(&bench);
}

static void client_fin_timeout(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench.rig.conf->frontends[0].timeouts.client_fin = CLOCK_MS;
        bench_start(&bench);
        bench_connect(&bench, 0);
        bench_at(&bench, 5000);
        assert_int_equal(shutdown(bench.client[0], SHUT_WR), 0);
        bench_settle(&bench);
        /* What moves in the other direction puts it off. */
        bench_at(&bench, 5900);
        bench_pass(&bench, bench.server[0], bench.client[0]);
        bench_ends_at(&bench, 5900 + CLOCK_MS, "client-fin-timeout");
        bench_stop(&bench);
}

static void server_fin_timeout(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench.rig.conf->backends[0].timeouts.server_fin = CLOCK_MS;
        bench_start(&bench);
        bench_connect(&bench, 0);
        bench_at(&bench, 5000);
        assert_int_equal(shutdown(bench.server[0], SHUT_WR), 0);
        bench_settle(&bench);
        bench_at(&bench, 5900);
        bench_pass(&bench, bench.client[0], bench.server[0]);
        bench_ends_at(&bench, 5900 + CLOCK_MS, "server-fin-timeout");
        bench_stop(&bench);
}

static void session_timeout(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench.rig.conf->frontends[0].timeouts.session = CLOCK_MS;
        bench_start(&bench);
        bench_connect(&bench, 0);
        for (int64_t ms = 100; ms < CLOCK_MS; ms += 100) {
                bench_at(&bench, ms);
                bench_pass(&bench, bench.client[0], bench.server[0]);
        }
        bench_ends_at(&bench, CLOCK_MS, "session-timeout");
        bench_stop(&bench);
}

/* A backlog of 0 holds one connection that nobody accepts; then the kernel says EAGAIN, and no event follows. */
static void connect_timeout(void **state) {
        struct bench bench;
        int filler;
        uint64_t before;

        bench_load(&bench);
        bench.rig.conf->backends[0].timeouts.connect = CLOCK_MS;
        bench_start(&bench);
        filler = bench_socket(&bench.back);
        bench.client[0] = bench_socket(&bench.front);
        bench_settle(&bench);
        assert_int_equal(bench_sessions(&bench), 1);
        before = script.calls[SCRIPT_CONNECT];
        bench_settle(&bench);
        assert_int_equal(script.calls[SCRIPT_CONNECT], before);
        for (int64_t ms = 1; ms < CLOCK_MS; ms++)
                bench_at(&bench, ms);
        /* Repeated, and less and less often. */
        assert_in_range(script.calls[SCRIPT_CONNECT] - before, 8, 20);
        bench_ends_at(&bench, CLOCK_MS, "connect-failed");
        close(filler);
        bench_stop(&bench);
}

static void backlog_frees(void **state) {
        struct bench bench;
        int filler, accepted;

        bench_load(&bench);
        bench_start(&bench);
        filler = bench_socket(&bench.back);
        bench.client[0] = bench_socket(&bench.front);
        for (int64_t ms = 1; ms < 300; ms++)
                bench_at(&bench, ms);
        accepted = accept4(bench.listen, NULL, NULL, SOCK_CLOEXEC);
        assert_true(accepted >= 0);
        for (int64_t ms = 300; ms <= 400; ms++)
                bench_at(&bench, ms);
        bench.server[0] = accept4(bench.listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(bench.server[0] >= 0);
        bench_pass(&bench, bench.client[0], bench.server[0]);
        close(accepted);
        close(filler);
        bench_stop(&bench);
}

static void no_timeout_is_for_ever(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench_start(&bench);
        bench_connect(&bench, 0);
        bench_at(&bench, INT64_C(400) * 24 * 3600 * 1000);
        bench_pass(&bench, bench.client[0], bench.server[0]);
        assert_int_equal(bench_sessions(&bench), 1);
        bench_stop(&bench);
}

/* A one-way stream lives, however silent the other side; a reader that takes nothing does not. */
static void silent_and_deaf(void **state) {
        struct bench bench;
        char much[4096] = "";
        int64_t ms = 0;

        bench_load(&bench);
        bench.rig.conf->frontends[0].timeouts.client = CLOCK_MS;
        bench.rig.conf->backends[0].timeouts.server = 100 * CLOCK_MS;
        bench_start(&bench);
        bench_connect(&bench, 0);
        for (int i = 0; i < 20; i++) {
                bench_at(&bench, ms += CLOCK_MS * 9 / 10);
                bench_pass(&bench, bench.server[0], bench.client[0]);
        }
        while (send(bench.server[0], much, sizeof(much), MSG_NOSIGNAL) > 0)
                bench_settle(&bench);
        bench_ends_at(&bench, ms + CLOCK_MS, "client-timeout");
        bench_stop(&bench);
}

/* Out of descriptors: the listener rests and comes back by its timer, others go on, and the log stays readable. */
static void accept_pauses(void **state) {
        struct bench bench;
        uint64_t before;
        int64_t ms;

        bench_load(&bench);
        bench_start(&bench);
        bench_connect(&bench, 0);
        script_count_anew();
        script_rule(SCRIPT_ACCEPT, SCRIPT_FAIL, EMFILE, 0);
        bench.client[1] = bench_socket(&bench.front);
        bench_settle(&bench);
        assert_int_equal(script.calls[SCRIPT_ACCEPT], 1);
        bench_at(&bench, 99);
        assert_int_equal(script.calls[SCRIPT_ACCEPT], 1);
        bench_pass(&bench, bench.client[0], bench.server[0]);
        for (ms = 100; ms <= 2000; ms += 100)
                bench_at(&bench, ms);
        assert_in_range(script.calls[SCRIPT_ACCEPT], 2, 21);
        assert_true(rig_logged(&bench.rig, "cannot accept"));
        before = (uint64_t)lseek(bench.rig.log_fd, 0, SEEK_END);
        assert_in_range(before, 1, 400);
        assert_int_equal(bench_sessions(&bench), 1);

        script.n_rules = 0;
        for (; ms <= 2300; ms += 100)
                bench_at(&bench, ms);
        assert_int_equal(bench_sessions(&bench), 2);
        bench.server[1] = accept4(bench.listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        bench_pass(&bench, bench.client[1], bench.server[1]);
        bench_stop(&bench);
}

static void accept_goes_on(void **state) {
        static const int errors[] = { ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH, EPERM };
        struct bench bench;

        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
                bench_load(&bench);
                bench_start(&bench);
                script_rule(SCRIPT_ACCEPT, SCRIPT_FAIL, errors[i], 1);
                bench_connect(&bench, 0);
                assert_true(bench.server[0] >= 0);
                bench_pass(&bench, bench.client[0], bench.server[0]);
                bench_stop(&bench);
        }
}

/* What is over the limit waits in the backlog, costs nothing there, and is served when there is room. */
static void limit_holds(void **state) {
        struct bench bench;
        uint64_t before;

        bench_load(&bench);
        bench.rig.conf->frontends[0].max_connections = 1;
        bench_start(&bench);
        bench_connect(&bench, 0);
        bench_connect(&bench, 1);
        assert_int_equal(bench_sessions(&bench), 1);
        assert_int_equal(bench.server[1], -1);
        before = script.work;
        bench_settle(&bench);
        bench_settle(&bench);
        assert_int_equal(script.work, before);

        close(bench.client[0]);
        close(bench.server[0]);
        bench.client[0] = bench.server[0] = -1;
        bench_settle(&bench);
        assert_int_equal(bench_sessions(&bench), 1);
        bench.server[1] = accept4(bench.listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(bench.server[1] >= 0);
        bench_pass(&bench, bench.client[1], bench.server[1]);
        bench_stop(&bench);
}

/* A loop that cannot wait says so, and what it held can still be given back. */
static void waiting_fails(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench_start(&bench);
        bench_connect(&bench, 0);
        script_rule(SCRIPT_POLLER_WAIT, SCRIPT_FAIL, ENOMEM, 0);
        assert_int_equal(rig_round(&bench.rig), -ENOMEM);
        assert_int_equal(bench_sessions(&bench), 1);
        bench_stop(&bench);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(client_timeout), cmocka_unit_test(server_timeout),
                cmocka_unit_test(client_fin_timeout), cmocka_unit_test(server_fin_timeout),
                cmocka_unit_test(session_timeout), cmocka_unit_test(connect_timeout), cmocka_unit_test(backlog_frees),
                cmocka_unit_test(no_timeout_is_for_ever), cmocka_unit_test(silent_and_deaf),
                cmocka_unit_test(accept_pauses), cmocka_unit_test(accept_goes_on), cmocka_unit_test(limit_holds),
                cmocka_unit_test(waiting_fails),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
