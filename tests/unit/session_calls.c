/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sockopt.h"
#include "script/rig.h"
#include "script/script.h"

/*
 * What a session costs in system calls, through the real kernel: that every saving is made, and that what was put
 * off is done when it matters.
 */

struct bench {
        struct rig rig;
        int is_unix;
        int listen, client, server;
        struct addr front;
};

/* Rounds until the loop has nothing to do; on loopback what is sent has arrived. */
static void bench_settle(struct bench *bench) {
        struct pollfd poller = { .fd = bench->rig.shared.threads[0].record->poller, .events = POLLIN };

        do {
                assert_int_equal(rig_round(&bench->rig), 0);
                assert_null(rig_look(&bench->rig));
        } while (bench->rig.env->loop.first || poll(&poller, 1, 20) > 0);
}

static void bench_start(struct bench *bench, int is_unix, const char *server_options) {
        struct addr *front, *back;
        char config[512];

        *bench = (struct bench){ .is_unix = is_unix };
        snprintf(config, sizeof(config), "frontend \"f\" { listen \"127.0.0.1:1\" { } backend = \"b\" }\n"
                                         "backend \"b\" { server \"s\" { address = \"127.0.0.1:1\" %s } }\n",
                 server_options);
        rig_load(&bench->rig, config);
        front = &bench->rig.conf->frontends[0].listeners[0].addr;
        back = &bench->rig.conf->backends[0].servers[0].addr;
        if (is_unix) {
                rig_name(front);
                rig_name(back);
        } else
                front->in.sin_port = back->in.sin_port = 0;
        bench->listen = socket(back->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(bench->listen >= 0);
        assert_int_equal(bind(bench->listen, &back->sa, back->len), 0);
        assert_int_equal(getsockname(bench->listen, &back->sa, &back->len), 0);
        assert_int_equal(listen(bench->listen, 8), 0);
        rig_start(&bench->rig, 4, 8);
        bench->front = *front;
        if (!is_unix)
                assert_int_equal(getsockname(bench->rig.shared.listeners[0].record->fd, &bench->front.sa,
                                             &bench->front.len), 0);
        /* The first session makes the pipe that stays. */
        pipe_pool_ready(&bench->rig.env->pipes, PIPE_SMALL);
        script_count_anew();

        bench->client = socket(front->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(bench->client >= 0);
        assert_int_equal(connect(bench->client, &bench->front.sa, bench->front.len), 0);
        bench_settle(bench);
        bench->server = accept4(bench->listen, NULL, NULL, SOCK_CLOEXEC);
        assert_true(bench->server >= 0);
}

static void bench_stop(struct bench *bench) {
        close(bench->client);
        close(bench->server);
        close(bench->listen);
        assert_null(rig_stop(&bench->rig));
}

/* n bytes from here to there. */
static void bench_pass(struct bench *bench, int from, int to, size_t n) {
        static char bytes[65536];

        assert_int_equal(send(from, bytes, n, MSG_NOSIGNAL), n);
        bench_settle(bench);
        assert_int_equal(recv(to, bytes, n, MSG_WAITALL), n);
        bench_settle(bench);
}

static int bench_nodelay(const struct bench *bench) {
        int fd = bench->rig.shared.sessions[0].fd[SESSION_SERVER], value = -1;
        socklen_t len = sizeof(value);

        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        return value;
}

struct budget {
        enum script_call call;
        uint64_t tcp, is_unix;
};

/* Connect, 64 bytes there and back, the client's FIN, the server's. */
static const struct budget short_session[] = {
        { SCRIPT_ACCEPT, 2, 2 } /* the second finds nobody; shared by all that wait at once */,
        { SCRIPT_POLLER_ADD, 2, 2 }, { SCRIPT_SOCKET, 1, 1 }, { SCRIPT_CONNECT, 1, 1 }, { SCRIPT_SEND, 2, 2 },
        { SCRIPT_SHUTDOWN, 1, 1 }, { SCRIPT_CLOSE, 2, 2 },
};

static void a_short_session(void **state) {
        int is_unix = *(int *)*state;
        uint64_t total = 0, expected = 0, reads;
        struct bench bench;

        bench_start(&bench, is_unix, "");
        bench_pass(&bench, bench.client, bench.server, 64);
        bench_pass(&bench, bench.server, bench.client, 64);
        assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
        bench_settle(&bench);
        assert_int_equal(shutdown(bench.server, SHUT_WR), 0);
        bench_settle(&bench);
        assert_int_equal(atomic_load(&bench.rig.shared.sessions_now), 0);

        for (size_t i = 0; i < sizeof(short_session) / sizeof(short_session[0]); i++) {
                const struct budget *budget = &short_session[i];
                uint64_t n = is_unix ? budget->is_unix : budget->tcp;

                if (script.calls[budget->call] != n)
                        fail_msg("%lu times %s, not %lu", (unsigned long)script.calls[budget->call],
                                 script_call_name(budget->call), (unsigned long)n);
                expected += n;
        }
        /* Two messages and two ends; one look in vain where the session begins before its client has said anything. */
        reads = script.calls[is_unix ? SCRIPT_RECVMSG : SCRIPT_RECV];
        assert_in_range(reads, 4, 5);
        for (int call = 0; call < SCRIPT_CALLS; call++)
                total += call == SCRIPT_POLLER_WAIT || call == SCRIPT_CLOCK ? 0 : script.calls[call];
        assert_int_equal(total, expected + reads);
        bench_stop(&bench);
}

/* One segment goes out without it, and with the second it is there. */
static void nodelay_comes_second(void **state) {
        struct bench bench;

        bench_start(&bench, 0, "");
        bench_pass(&bench, bench.client, bench.server, SOCKOPT_SEGMENT);
        bench_pass(&bench, bench.server, bench.client, 64);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 0);
        assert_int_equal(bench_nodelay(&bench), 0);
        for (int i = 0; i < 3; i++) {
                bench_pass(&bench, bench.client, bench.server, 1);
                assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 1);
                assert_int_equal(bench_nodelay(&bench), 1);
        }
        bench_stop(&bench);
}

/* The header is a segment already. */
static void nodelay_comes_after_a_header(void **state) {
        struct bench bench;
        char header[28];

        bench_start(&bench, 0, "send-proxy = v2");
        assert_int_equal(recv(bench.server, header, sizeof(header), MSG_WAITALL), sizeof(header));
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 0);
        bench_pass(&bench, bench.client, bench.server, 1);
        assert_int_equal(bench_nodelay(&bench), 1);
        bench_stop(&bench);
}

/* Of more than one segment the last could be held back. */
static void nodelay_comes_before_two_segments(void **state) {
        struct bench bench;

        bench_start(&bench, 0, "");
        bench_pass(&bench, bench.client, bench.server, SOCKOPT_SEGMENT + 1);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 1);
        assert_int_equal(bench_nodelay(&bench), 1);
        bench_stop(&bench);
}

/* Bulk goes by splice, which is no send. */
static void nodelay_comes_before_bulk(void **state) {
        struct bench bench;

        bench_start(&bench, 0, "");
        /* What the server sends needs nothing of the kind. */
        bench_pass(&bench, bench.server, bench.client, 65536);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 0);
        bench_pass(&bench, bench.client, bench.server, 65536);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 1);
        assert_int_equal(bench_nodelay(&bench), 1);
        bench_stop(&bench);
}

static void nodelay_off_stays_off(void **state) {
        struct bench bench;

        bench_start(&bench, 0, "socket { nodelay = off }");
        bench_pass(&bench, bench.client, bench.server, 1);
        bench_pass(&bench, bench.client, bench.server, 1);
        assert_int_equal(bench_nodelay(&bench), 0);
        bench_stop(&bench);
}

/* Where bytes are copied to starts with a page: see env.h. */
static void bytes_have_pages(void **state) {
        struct bench bench;

        bench_start(&bench, 1, "");
        assert_int_equal((uintptr_t)bench.rig.env->scratch % 4096, 0);
        bench_stop(&bench);
}

/* A peer that reads wakes nobody; only one that had let a socket fill up. */
static void room_is_no_news(void **state) {
        struct pollfd poller;
        struct bench bench;
        char bytes[4096];
        ssize_t n;

        bench_start(&bench, 1, "");
        poller = (struct pollfd){ .fd = bench.rig.shared.threads[0].record->poller, .events = POLLIN };
        assert_int_equal(send(bench.client, bytes, sizeof(bytes), 0), sizeof(bytes));
        bench_settle(&bench);
        assert_int_equal(recv(bench.server, bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
        assert_int_equal(poll(&poller, 1, 0), 0);
        assert_int_equal(script.calls[SCRIPT_POLLER_WATCH], 0);

        do {
                n = send(bench.client, bytes, sizeof(bytes), MSG_DONTWAIT);
                bench_settle(&bench);
        } while (n > 0);
        assert_int_equal(script.calls[SCRIPT_POLLER_WATCH], 1);
        assert_int_equal(bench.rig.shared.sessions[0].sockets & 3u, SESSION_WATCHED(SESSION_SERVER));
        /* Messages need no larger buffer. */
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 0);
        while (recv(bench.server, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                bench_settle(&bench);
        assert_int_equal(bench.rig.shared.sessions[0].direction[SESSION_CLIENT].piped, 0);

        /* And no more once it has taken what waited. */
        assert_int_equal(script.calls[SCRIPT_POLLER_UNWATCH], script.calls[SCRIPT_POLLER_WATCH]);
        assert_int_equal(bench.rig.shared.sessions[0].sockets & 3u, 0);
        assert_int_equal(send(bench.client, bytes, sizeof(bytes), 0), sizeof(bytes));
        bench_settle(&bench);
        assert_int_equal(recv(bench.server, bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
        assert_int_equal(poll(&poller, 1, 0), 0);
        bench_stop(&bench);
}

/* Where the kernel does not let go of a watch, it is not taken for gone. */
static void a_watch_may_stay(void **state) {
        struct bench bench;
        char bytes[4096];

        bench_start(&bench, 1, "");
        script_rule(SCRIPT_POLLER_UNWATCH, SCRIPT_FAIL, ENOMEM, 0);
        for (int i = 0; i < 2; i++) {
                while (send(bench.client, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                        bench_settle(&bench);
                while (recv(bench.server, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                        bench_settle(&bench);
                assert_int_equal(bench.rig.shared.sessions[0].sockets & 3u, SESSION_WATCHED(SESSION_SERVER));
        }
        assert_int_equal(script.calls[SCRIPT_POLLER_WATCH], 1);
        bench_stop(&bench);
}

/* Fills all there is from here to there, and empties it. */
static void bench_flood(struct bench *bench, int from, int to) {
        static char bytes[65536];
        size_t sent = 0, received = 0;
        ssize_t n;

        while ((n = send(from, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
                sent += (size_t)n;
                bench_settle(bench);
        }
        while ((n = recv(to, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
                received += (size_t)n;
                bench_settle(bench);
        }
        assert_int_equal(sent, received);
}

static int bench_sndbuf(const struct bench *bench, unsigned side) {
        int value = -1;
        socklen_t len = sizeof(value);

        assert_int_equal(getsockopt(bench->rig.shared.sessions[0].fd[side], SOL_SOCKET, SO_SNDBUF, &value, &len), 0);
        return value;
}

/* What SO_SNDBUF says once n bytes have been asked for. */
static int granted(int n) {
        FILE *file = fopen("/proc/sys/net/core/wmem_max", "r");
        int most = 0;

        if (!file || fscanf(file, "%d", &most) != 1)
                skip();
        fclose(file);
        return 2 * (n < most ? n : most);
}

/* The send buffer of an AF_UNIX socket grows when a stream fills it up, that of TCP grows by itself. */
static void streams_get_room(void **state) {
        struct bench bench;
        int before;

        bench_start(&bench, 1, "");
        before = bench_sndbuf(&bench, SESSION_SERVER);
        bench_flood(&bench, bench.client, bench.server);
        assert_int_equal(bench_sndbuf(&bench, SESSION_SERVER), granted(512 * 1024));
        assert_int_equal(bench_sndbuf(&bench, SESSION_CLIENT), before);
        bench_flood(&bench, bench.server, bench.client);
        assert_int_equal(bench_sndbuf(&bench, SESSION_CLIENT), granted(512 * 1024));
        bench_flood(&bench, bench.server, bench.client);
        bench_flood(&bench, bench.client, bench.server);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 2);
        bench_stop(&bench);

        bench_start(&bench, 0, "");
        bench_flood(&bench, bench.client, bench.server);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 1);
        assert_int_equal(bench_nodelay(&bench), 1);
        bench_stop(&bench);
}

/* A buffer that the config gives stays as it is, and so does one that is larger already. */
static void room_that_is_given_stays(void **state) {
        struct bench bench;
        int pair[2], value = 0;
        socklen_t len = sizeof(value);

        bench_start(&bench, 1, "socket { sndbuf = 64K }");
        bench_flood(&bench, bench.client, bench.server);
        assert_int_equal(bench_sndbuf(&bench, SESSION_SERVER), 2 * 64 * 1024);
        bench_stop(&bench);

        /* A reload has removed the server, and what its buffer was to be is not known any more. */
        bench_start(&bench, 1, "");
        value = bench_sndbuf(&bench, SESSION_SERVER);
        bench.rig.shared.servers[0].ghost = &bench;
        bench_flood(&bench, bench.client, bench.server);
        bench.rig.shared.servers[0].ghost = NULL;
        assert_int_equal(bench_sndbuf(&bench, SESSION_SERVER), value);
        bench_stop(&bench);

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        assert_int_equal(sockopt_grow_sndbuf(pair[0], 32 * 1024), 0);
        assert_int_equal(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, &len), 0);
        assert_true(value > 2 * 32 * 1024);
        close(pair[0]);
        assert_int_equal(sockopt_grow_sndbuf(pair[0], 512 * 1024), -EBADF);
        close(pair[1]);
}

/* One that the kernel does not let grow costs nothing but time. */
static void no_room_is_no_harm(void **state) {
        struct bench bench;
        int before;

        bench_start(&bench, 1, "");
        before = bench_sndbuf(&bench, SESSION_SERVER);
        script_rule(SCRIPT_SETSOCKOPT, SCRIPT_FAIL, ENOMEM, 0);
        bench_flood(&bench, bench.client, bench.server);
        bench_flood(&bench, bench.client, bench.server);
        assert_int_equal(bench_sndbuf(&bench, SESSION_SERVER), before);
        assert_int_equal(script.calls[SCRIPT_SETSOCKOPT], 1);
        bench_stop(&bench);
}

int main(void) {
        static int tcp = 0, is_unix = 1;
        const struct CMUnitTest tests[] = {
                { "a short session, TCP to TCP", a_short_session, NULL, NULL, &tcp },
                { "a short session, UNIX to UNIX", a_short_session, NULL, NULL, &is_unix },
                cmocka_unit_test(nodelay_comes_second),
                cmocka_unit_test(nodelay_comes_after_a_header),
                cmocka_unit_test(nodelay_comes_before_two_segments),
                cmocka_unit_test(nodelay_comes_before_bulk),
                cmocka_unit_test(nodelay_off_stays_off),
                cmocka_unit_test(bytes_have_pages),
                cmocka_unit_test(room_is_no_news),
                cmocka_unit_test(a_watch_may_stay),
                cmocka_unit_test(streams_get_room),
                cmocka_unit_test(room_that_is_given_stays),
                cmocka_unit_test(no_room_is_no_harm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
