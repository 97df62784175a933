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

/* Rules about users let nobody in who cannot be asked, or of whom not all can be asked. */
static void unknown_peers_are_denied(void **state) {
        static const struct { uint64_t nth; int error; const char *end, *name; } cases[] = {
                { 0, 0, NULL, NULL },
                { 1, EINVAL, "denied", "EINVAL" }, { 1, ENOBUFS, "no-descriptors", "ENOBUFS" },
                { 2, EINVAL, "denied", "EINVAL" }, { 2, ENOMEM, "no-descriptors", "ENOMEM" },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct conf_rule gid = { .kind = CONF_RULE_GID, .id = UINT32_MAX };
                struct bench bench;

                bench_load(&bench);
                bench.rig.conf->frontends[0].deny = (struct conf_rules){ &gid, 1, 1 };
                bench_start(&bench);
                if (cases[i].nth)
                        script_rule(SCRIPT_GETSOCKOPT, SCRIPT_FAIL, cases[i].error, cases[i].nth);
                bench_connect(&bench, 0);
                assert_int_equal(bench_sessions(&bench), cases[i].nth ? 0 : 1);
                if (cases[i].nth) {
                        assert_true(rig_logged(&bench.rig, cases[i].end));
                        assert_true(rig_logged(&bench.rig, cases[i].name));
                        assert_int_equal(atomic_load(&bench.rig.shared.frontends[0].record->denied),
                                         strcmp(cases[i].end, "denied") == 0);
                        assert_null(rig_look_empty(&bench.rig));
                }
                bench_stop(&bench);
        }
}

/* One source has its limits, and they come back. */
static void sources_are_limited(void **state) {
        struct bench bench;

        bench_load(&bench);
        bench.rig.conf->frontends[0].max_per_source = 2;
        bench_start(&bench);
        for (int i = 0; i < CLOCK_CLIENTS; i++)
                bench_connect(&bench, i);
        assert_int_equal(bench_sessions(&bench), 2);
        assert_true(rig_logged(&bench.rig, "limited"));
        assert_int_equal(atomic_load(&bench.rig.shared.frontends[0].record->limited), 1);
        close(bench.client[0]);
        close(bench.server[0]);
        close(bench.client[2]);
        bench_settle(&bench);
        assert_int_equal(bench_sessions(&bench), 1);
        bench_connect(&bench, 0);
        assert_int_equal(bench_sessions(&bench), 2);
        bench.client[2] = -1;
        bench_stop(&bench);
}

/* What is over the rate waits in the backlog, costs nothing there, and is served as soon as there is a token. */
static void rate_holds(void **state) {
        struct bench bench;
        uint64_t before;

        bench_load(&bench);
        bench.rig.conf->frontends[0].rate = 2;
        bench_start(&bench);
        for (int i = 0; i < CLOCK_CLIENTS; i++)
                bench_connect(&bench, i);
        assert_int_equal(bench_sessions(&bench), 2);
        assert_int_equal(bench.server[2], -1);
        before = script.work;
        for (int ms = 10; ms < 500; ms += 70)
                bench_at(&bench, ms);
        bench_at(&bench, 499);
        assert_int_equal(bench_sessions(&bench), 2);
        assert_int_equal(script.work, before);
        bench_at(&bench, 500);
        assert_int_equal(bench_sessions(&bench), 3);
        bench.server[2] = accept4(bench.listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(bench.server[2] >= 0);
        bench_pass(&bench, bench.client[2], bench.server[2]);
        assert_true(rig_logged(&bench.rig, "over the rate of 2 a second"));
        bench_stop(&bench);
}

/* A client that leaves while it waits, and accept() that finds nobody or fails, cost no token. */
static void rate_is_not_wasted(void **state) {
        struct bench bench;
        int first;

        bench_load(&bench);
        bench.rig.conf->frontends[0].rate = 1;
        bench_start(&bench);
        script_rule(SCRIPT_ACCEPT, SCRIPT_FAIL, EMFILE, 1);
        first = bench_socket(&bench.front);
        bench_settle(&bench);
        assert_int_equal(bench_sessions(&bench), 0);
        bench_at(&bench, 100);
        assert_int_equal(bench_sessions(&bench), 1);
        bench.client[0] = bench_socket(&bench.front);
        bench_at(&bench, 1099);
        assert_int_equal(bench_sessions(&bench), 1);
        bench_at(&bench, 1100);
        assert_int_equal(bench_sessions(&bench), 2);
        close(first);
        bench_stop(&bench);
}

/* Sends so many bytes, as they fit, and counts what comes out at the other end by that time. */
static size_t bench_stream(struct bench *bench, size_t *left, int64_t until_ms) {
        static char buf[65536];
        int64_t now = script.now_ms - RIG_START_MS;
        size_t got = 0;
        ssize_t n;

        for (; now <= until_ms; now++) {
                bench_at(bench, now);
                do {
                        n = *left ? send(bench->client[0], buf, *left < sizeof(buf) ? *left : sizeof(buf), MSG_NOSIGNAL)
                                  : 0;
                        *left -= n > 0 ? (size_t)n : 0;
                        bench_settle(bench);
                        for (ssize_t m; (m = recv(bench->server[0], buf, sizeof(buf), 0)) > 0;)
                                got += (size_t)m;
                        bench_settle(bench);
                } while (n > 0);
        }
        return got;
}

/* Another limit, as a reload brings: then every session has a turn. */
static void bench_limit(struct bench *bench, uint64_t rate) {
        bench->rig.shared.frontends[0].bytes[SESSION_CLIENT] = bucket_limit(rate, 65536);
        loop_ready(&bench->rig.env->loop, 0);
}

/* The burst at once, then the rate to the byte; a limit that is lifted or lowered counts from then on. */
static void bytes_are_limited(void **state) {
        struct bench bench;
        size_t left = 10000000, got, before;
        uint64_t calls;

        bench_load(&bench);
        bench.rig.conf->frontends[0].upload_rate = 1000000;
        bench_start(&bench);
        bench_connect(&bench, 0);
        got = bench_stream(&bench, &left, 0);
        assert_int_equal(got, 250000);
        got += bench_stream(&bench, &left, 1000);
        assert_int_equal(got, 250000 + 1000000);
        /* A step of tokens is less than a buffer here, and a few calls move it. */
        calls = script.work;
        got += bench_stream(&bench, &left, 2000);
        assert_int_equal(got, 250000 + 2000000);
        assert_true(script.work - calls < 50 * 16);

        bench_limit(&bench, 100000);
        before = got;
        got += bench_stream(&bench, &left, 3000);
        assert_in_range(got - before, 98000, 102000);
        bench_limit(&bench, 0);
        got += bench_stream(&bench, &left, 3030);
        assert_int_equal(left, 0);
        assert_int_equal(got, 10000000);
        bench_stop(&bench);
}

/* With a lot to move at each step, it moves by splice. */
static void limited_bulk_is_spliced(void **state) {
        struct bench bench;
        size_t left = 20000000, got;
        uint64_t copied, spliced;

        bench_load(&bench);
        bench.rig.conf->frontends[0].upload_rate = 20000000;
        bench_start(&bench);
        bench_connect(&bench, 0);
        got = bench_stream(&bench, &left, 100);
        copied = script.calls[SCRIPT_RECVMSG];
        spliced = script.calls[SCRIPT_SPLICE_IN];
        got += bench_stream(&bench, &left, 500);
        assert_int_equal(got, 5000000 + 10000000);
        assert_true(script.calls[SCRIPT_SPLICE_IN] - spliced >= 20);
        assert_true(script.calls[SCRIPT_RECVMSG] - copied <= 4);
        bench_stop(&bench);
}

/* Neither side is idle while we are the ones who wait.  When there turns out to be nothing, it was. */
static void limited_is_not_idle(void **state) {
        struct bench bench;
        size_t left = 65536 + 5, got;

        bench_load(&bench);
        bench.rig.conf->frontends[0].upload_rate = 1;
        bench.rig.conf->frontends[0].timeouts.client = bench.rig.conf->frontends[0].timeouts.client_fin = 300;
        bench.rig.conf->backends[0].timeouts.server = bench.rig.conf->backends[0].timeouts.server_fin = 300;
        bench_start(&bench);
        bench_connect(&bench, 0);
        got = bench_stream(&bench, &left, 2999);
        assert_int_equal(got, 65536 + 2);
        got = bench_stream(&bench, &left, 5000);
        assert_int_equal(got, 3);
        bench_ends_at(&bench, 6000, "timeout");
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

/* Who waits longer than a number of 32 bits tells, 24 days, is said to have waited for as long as it can tell. */
static void queue_for_months(void **state) {
        const int64_t day_ms = INT64_C(86400000);
        struct bench bench;

        (void)state;
        bench_load(&bench);
        bench.rig.conf->backends[0].when_down = CONF_WHEN_DOWN_WAIT;
        bench.rig.conf->backends[0].timeouts.queue = CONF_OFF;
        bench.rig.conf->backends[0].servers[0].disabled = 1;
        bench_start(&bench);
        bench.client[0] = bench_socket(&bench.front);
        bench_settle(&bench);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_QUEUED);
        for (int64_t days = 10; days <= 60; days += 10)
                bench_at(&bench, days * day_ms);
        assert_int_equal(bench_sessions(&bench), 1);
        close(bench.client[0]);
        bench.client[0] = -1;
        bench_settle(&bench);
        assert_int_equal(bench_sessions(&bench), 0);
        assert_true(rig_logged(&bench.rig, "queue_ms=2147483647"));
        bench_stop(&bench);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(client_timeout), cmocka_unit_test(server_timeout),
                cmocka_unit_test(client_fin_timeout), cmocka_unit_test(server_fin_timeout),
                cmocka_unit_test(session_timeout), cmocka_unit_test(connect_timeout), cmocka_unit_test(backlog_frees),
                cmocka_unit_test(queue_for_months),
                cmocka_unit_test(no_timeout_is_for_ever), cmocka_unit_test(silent_and_deaf),
                cmocka_unit_test(accept_pauses), cmocka_unit_test(accept_goes_on), cmocka_unit_test(limit_holds),
                cmocka_unit_test(unknown_peers_are_denied), cmocka_unit_test(sources_are_limited),
                cmocka_unit_test(rate_holds), cmocka_unit_test(rate_is_not_wasted), cmocka_unit_test(bytes_are_limited),
                cmocka_unit_test(limited_bulk_is_spliced), cmocka_unit_test(limited_is_not_idle),
                cmocka_unit_test(waiting_fails),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
