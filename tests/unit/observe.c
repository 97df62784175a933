/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "script/rig.h"
#include "script/script.h"
#include "session/session.h"

/* Ejection by live traffic: sessions through the data path, on a virtual clock.  The first server is the bad one. */

struct bench {
        struct rig rig;
        struct backend *backend;
        struct server_record *records;
        struct addr front;
        int listen[3];
};

static int bench_listen(struct addr *addr, int backlog) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        addr->in.sin_port = 0;
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, &addr->sa, addr->len), 0);
        assert_int_equal(getsockname(fd, &addr->sa, &addr->len), 0);
        if (backlog)
                assert_int_equal(listen(fd, backlog), 0);
        return fd;
}

/* bad: the first server refuses. */
static void bench_start(struct bench *bench, const char *keys, unsigned servers, int bad) {
        char text[600];
        int n = snprintf(text, sizeof(text), "frontend \"f\" { listen \"127.0.0.1:1\" { } backend = \"b\" }\n"
                                             "backend \"b\" { retries = 0 %s\n", keys);

        memset(bench, 0, sizeof(*bench));
        for (unsigned i = 0; i < 3; i++) {
                bench->listen[i] = -1;
                if (i < servers)
                        n += snprintf(text + n, sizeof(text) - (size_t)n,
                                      "server \"s%u\" { address = \"127.0.0.1:1\" }\n", i);
        }
        snprintf(text + n, sizeof(text) - (size_t)n, "}\n");
        rig_load(&bench->rig, text);
        for (unsigned i = 0; i < servers; i++)
                bench->listen[i] = bench_listen(&bench->rig.conf->backends[0].servers[i].addr, !(bad && i == 0));
        bench->rig.conf->frontends[0].listeners[0].addr.in.sin_port = 0;
        rig_start(&bench->rig, 4, 8);
        bench->front = bench->rig.conf->frontends[0].listeners[0].addr;
        assert_int_equal(getsockname(bench->rig.shared.listeners[0].record->fd, &bench->front.sa, &bench->front.len),
                         0);
        bench->backend = &bench->rig.shared.backends[0];
        bench->records = arena_slab(&bench->rig.arena, ARENA_SERVERS);
}

static void bench_stop(struct bench *bench) {
        for (int i = 0; i < 3; i++)
                if (bench->listen[i] >= 0)
                        close(bench->listen[i]);
        assert_null(rig_stop(&bench->rig));
}

static void bench_rounds(struct bench *bench) {
        for (int i = 0; i < 6; i++) {
                assert_int_equal(rig_round(&bench->rig), 0);
                usleep(100);
        }
        assert_null(rig_look(&bench->rig));
}

enum manner { RESETS, SAYS_AND_RESETS, ENDS, SAYS, CLIENT_RESETS, CLIENT_FLOODS /* and resets */ };

static void bench_close(int fd, int reset) {
        struct linger linger = { .l_onoff = 1 };

        if (reset)
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(fd);
}

/* One session: which server had it, and that one does so with it.  A server that refuses has nothing to say. */
static unsigned bench_session(struct bench *bench, enum manner manner) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), server = -1;
        static char flood[65536];
        uint64_t before[3];
        unsigned which;

        for (int i = 0; i < 3; i++)
                before[i] = bench->records[i].sessions_total;
        assert_true(connect(client, &bench->front.sa, bench->front.len) == 0 || errno == EINPROGRESS);
        for (int i = 0; i < 200 && bench->records[0].sessions_total == before[0] &&
                        bench->records[1].sessions_total == before[1] && bench->records[2].sessions_total == before[2];
             i++)
                bench_rounds(bench);
        for (which = 0; which < 2 && bench->records[which].sessions_total == before[which]; which++)
                ;
        for (int i = 0; i < 5 && server < 0; i++) {
                bench_rounds(bench);
                server = accept4(bench->listen[which], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        }
        if (server >= 0 && (manner == SAYS || manner == SAYS_AND_RESETS))
                assert_int_equal(send(server, "x", 1, MSG_NOSIGNAL), 1);
        if (manner == SAYS)
                bench_rounds(bench);
        while (manner == CLIENT_FLOODS && send(client, flood, sizeof(flood), MSG_NOSIGNAL) > 0)
                bench_rounds(bench);
        if (manner == CLIENT_RESETS || manner == CLIENT_FLOODS) {
                bench_close(client, 1);
                client = -1;
                bench_rounds(bench);
        }
        if (server >= 0)
                bench_close(server, manner != ENDS && manner != SAYS);
        bench_rounds(bench);
        if (client >= 0)
                close(client);
        for (int i = 0; i < 100 && bench->rig.shared.sessions_now; i++) {
                bench_rounds(bench);
                rig_next_timer(&bench->rig, 1);
        }
        assert_int_equal(bench->rig.shared.sessions_now, 0);
        return which;
}

static enum server_state bench_state(const struct bench *bench, unsigned i) {
        return server_state(&bench->records[i], 0, script.now_ms);
}

/* Sessions until the first server has had so many. */
static void bench_until(struct bench *bench, enum manner manner, uint64_t sessions) {
        for (int i = 0; i < 50 && bench->records[0].sessions_total < sessions; i++)
                bench_session(bench, manner);
        assert_int_equal(bench->records[0].sessions_total, sessions);
}

/* Failed connects in a row eject, and after the time it is back; ejected anew it stays away for longer. */
static void test_refuses(void **unused) {
        struct bench bench;

        (void)unused;
        bench_start(&bench, "outlier { failures = 3 eject = 10s }", 2, 1);
        bench_until(&bench, SAYS, 2);
        assert_int_equal(bench_state(&bench, 0), SERVER_STATE_UNCHECKED);
        bench_until(&bench, SAYS, 3);
        assert_int_equal(bench_state(&bench, 0), SERVER_STATE_EJECTED);
        assert_true(rig_logged(&bench.rig, "live traffic: the server is ejected for 10.000 s: 3 failures in a row, the "
                                           "last one: Connection refused; 1 of 2 servers left (server=b/s0 "
                                           "address=127.0.0.1:"));
        for (int i = 0; i < 6; i++)
                assert_int_equal(bench_session(&bench, SAYS), 1);
        script.now_ms = bench.records[0].ejected_until_ms;
        assert_int_equal(bench_state(&bench, 0), SERVER_STATE_UNCHECKED);
        bench_until(&bench, SAYS, 6);
        assert_int_equal(bench_state(&bench, 0), SERVER_STATE_EJECTED);
        assert_true(rig_logged(&bench.rig, "the server is ejected for 20.000 s"));
        bench_stop(&bench);
}

/* A reset before the first byte is a failure; after it, or with a FIN, it is none. */
static void test_manners(void **unused) {
        static const struct { enum manner manner; int ejects; } rows[] = {
                { RESETS, 1 }, { SAYS_AND_RESETS, 0 }, { ENDS, 0 }, { SAYS, 0 }, { CLIENT_RESETS, 0 },
                { CLIENT_FLOODS, 0 },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct bench bench;

                bench_start(&bench, "outlier { failures = 2 }", 2, 0);
                for (int n = 0; n < 4; n++)
                        bench_session(&bench, rows[i].manner);
                if ((bench_state(&bench, 0) == SERVER_STATE_EJECTED) != rows[i].ejects)
                        fail_msg("manner %d: %s", rows[i].manner, server_state_name(bench_state(&bench, 0)));
                assert_int_equal(bench.records[1].failures + bench.records[0].failures > 0, 0);
                if (rows[i].ejects)
                        assert_true(rig_logged(&bench.rig, "the last one: Connection reset by peer"));
                /* 50 % of two are one: the other is as bad, and stays. */
                assert_int_equal(bench_state(&bench, 1), SERVER_STATE_UNCHECKED);
                bench_stop(&bench);
        }
}

/* A success between failures: they are not in a row. */
static void test_success(void **unused) {
        static const enum manner good[] = { SAYS, SAYS_AND_RESETS, ENDS };
        struct bench bench;

        (void)unused;
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                bench_start(&bench, "outlier { failures = 2 max-ejected = 100 }", 1, 0);
                for (int n = 0; n < 4; n++) {
                        bench_session(&bench, RESETS);
                        assert_int_equal(bench.records[0].failures, 1);
                        bench_session(&bench, good[i]);
                        assert_int_equal(bench.records[0].failures, 0);
                }
                bench_session(&bench, RESETS);
                bench_session(&bench, RESETS);
                assert_int_equal(bench_state(&bench, 0), SERVER_STATE_EJECTED);
                bench_stop(&bench);
        }
}

/* A client that goes first says nothing of the server, good or bad. */
static void test_client_first(void **unused) {
        struct bench bench;

        (void)unused;
        bench_start(&bench, "outlier { failures = 2 }", 1, 0);
        bench_session(&bench, RESETS);
        bench_session(&bench, CLIENT_RESETS);
        assert_int_equal(bench.records[0].failures, 1);
        bench_stop(&bench);
}

/* The limit: nobody is ejected that may not be, and nothing is said. */
static void test_limit(void **unused) {
        struct bench bench;

        (void)unused;
        bench_start(&bench, "outlier { failures = 2 }", 1, 1);
        for (int n = 0; n < 10; n++)
                bench_session(&bench, SAYS);
        assert_int_equal(bench_state(&bench, 0), SERVER_STATE_UNCHECKED);
        assert_false(rig_logged(&bench.rig, "ejected"));
        bench_stop(&bench);

        /* One of three may be; that one is down already by what checks found, so it does not count. */
        bench_start(&bench, "outlier { failures = 2 max-ejected = 50 } check { }", 3, 1);
        bench.records[1].check = SERVER_CHECK_DOWN;
        bench.records[2].admin = SERVER_DRAIN;
        for (int n = 0; n < 10; n++)
                bench_session(&bench, SAYS);
        assert_int_equal(bench_state(&bench, 0), SERVER_STATE_UNCHECKED);
        bench_stop(&bench);
}

/* Without outlier { } nothing is counted; and what is short here is not the server's fault. */
static void test_not_counted(void **unused) {
        struct bench bench;

        (void)unused;
        bench_start(&bench, "", 1, 1);
        bench_session(&bench, SAYS);
        assert_int_equal(bench.records[0].failures, 0);
        bench_stop(&bench);

        bench_start(&bench, "outlier { failures = 2 max-ejected = 100 }", 1, 0);
        script_rule(SCRIPT_CONNECT, SCRIPT_FAIL, EADDRNOTAVAIL, 0);
        for (int n = 0; n < 4; n++)
                bench_session(&bench, SAYS);
        assert_int_equal(bench.records[0].failures, 0);
        script.rules[0].value = ENETUNREACH;
        bench_session(&bench, SAYS);
        assert_int_equal(bench.records[0].failures, 1);
        bench_stop(&bench);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_manners),
                cmocka_unit_test(test_success),
                cmocka_unit_test(test_client_first),
                cmocka_unit_test(test_limit),
                cmocka_unit_test(test_not_counted),
        };

        return cmocka_run_group_tests_name("observe", tests, NULL, NULL);
}
