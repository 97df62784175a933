/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "health/probe.h"
#include "net/sys.h"
#include "script/real.h"
#include "script/rig.h"
#include "script/script.h"

/* One check on the real kernel, call by call, under a virtual clock. */

#define TIMEOUT_MS 2000
#define KEY 77

/* What the server does with a connection. */
struct manner {
        const char *name;
        int is_unix, is_v6;
        enum conf_send_proxy header;
        const char *send;               /* NULL: type tcp */
        const char *expect;
        int regex;
        int source;
        const char *answer;             /* what it says, once it has got all; or at once */
        size_t answer_len;
        size_t piece;                   /* bytes that it says at a time, with step_ms between; 0: all at once */
        int64_t step_ms;
        int first;                      /* it speaks before it has got anything */
        int ends;                       /* and ends the connection after that: 1 by a FIN, 2 by a reset */
        int mute;                       /* never accepts */
};

struct fixture {
        const struct manner *manner;
        struct conf_server server;
        struct conf_backend backend;
        struct expect expect;
        struct probe probe;
        struct addr addr;
        int listener, peer, poller;
        int filler[8];
        char got[8192];                 /* by the server */
        size_t got_len, wanted_len;
        size_t said;
        int64_t say_ms;                 /* when it says the next piece */
        int descriptors;
        char detail[PROBE_DETAIL_SIZE];
        int64_t ended_ms;
};

static void listen_on(struct fixture *f, int backlog) {
        int is_unix = f->manner->is_unix, is_v6 = f->manner->is_v6;

        f->listener = socket(is_unix ? AF_UNIX : is_v6 ? AF_INET6 : AF_INET,
                             SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(f->listener >= 0);
        if (is_unix)
                rig_name(&f->addr);
        else if (is_v6) {
                f->addr = (struct addr){ .kind = ADDR_IP, .len = sizeof(f->addr.in6) };
                f->addr.in6.sin6_family = AF_INET6;
                f->addr.in6.sin6_addr = in6addr_loopback;
        } else {
                f->addr = (struct addr){ .kind = ADDR_IP, .len = sizeof(f->addr.in) };
                f->addr.in.sin_family = AF_INET;
                f->addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
        assert_int_equal(bind(f->listener, &f->addr.sa, f->addr.len), 0);
        assert_int_equal(getsockname(f->listener, &f->addr.sa, &f->addr.len), 0);
        if (backlog >= 0)
                assert_int_equal(listen(f->listener, backlog), 0);
        script_spare(f->listener);
}

static struct fixture *setup(const struct manner *manner, int backlog) {
        struct fixture *f = calloc(1, sizeof(*f));

        f->descriptors = rig_descriptors();
        script_reset(RIG_START_MS);
        f->manner = manner;
        f->peer = -1;
        f->probe = PROBE_NULL;
        for (size_t i = 0; i < 8; i++)
                f->filler[i] = -1;
        f->server.send_proxy = manner->header;
        sockopt_defaults(&f->server.sockopts);
        f->server.sockopts.set |= 1u << SOCKOPT_RCVBUF | 1u << SOCKOPT_SNDBUF;
        f->server.sockopts.value[SOCKOPT_RCVBUF] = f->server.sockopts.value[SOCKOPT_SNDBUF] = 65536;
        if (manner->source) {
                f->server.source = (struct addr){ .kind = ADDR_IP, .len = sizeof(struct sockaddr_in) };
                f->server.source.in.sin_family = AF_INET;
                f->server.source.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
        f->backend.timeouts.check = TIMEOUT_MS;
        if (manner->send) {
                f->backend.check = (struct conf_check){
                        .type = CONF_CHECK_EXPECT, .send = manner->send, .send_len = strlen(manner->send),
                        .expect = manner->expect, .expect_len = strlen(manner->expect), .regex = manner->regex,
                };
                assert_int_equal(expect_init(&f->expect, &f->backend.check), 0);
                f->wanted_len = strlen(manner->send);
        }
        f->wanted_len += manner->header == CONF_SEND_PROXY_V1 ? strlen("PROXY UNKNOWN\r\n") :
                         manner->header == CONF_SEND_PROXY_V2 ? 16 : 0;
        listen_on(f, backlog);
        f->poller = real_poller_new();
        assert_true(f->poller >= 0);
        return f;
}

/* Nothing may be left open. */
static void teardown(struct fixture *f) {
        probe_end(&f->probe);
        probe_end(&f->probe);
        close(f->listener);
        close(f->poller);
        if (f->peer >= 0)
                close(f->peer);
        for (size_t i = 0; i < 8; i++)
                if (f->filler[i] >= 0)
                        close(f->filler[i]);
        expect_deinit(&f->expect);
        assert_int_equal(rig_descriptors(), f->descriptors);
        free(f);
}

/* The server's part.  Returns whether it did anything. */
static int serve(struct fixture *f) {
        const struct manner *manner = f->manner;
        size_t n = manner->answer_len - f->said;
        ssize_t got;

        if (f->peer < 0 && !manner->mute) {
                f->peer = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (f->peer < 0)
                        return 0;
                script_spare(f->peer);
                f->say_ms = script.now_ms;
                return 1;
        }
        if (f->peer < 0)
                return 0;
        got = recv(f->peer, f->got + f->got_len, sizeof(f->got) - f->got_len, 0);
        if (got > 0) {
                f->got_len += (size_t)got;
                return 1;
        }
        if (!n || script.now_ms < f->say_ms || (!manner->first && f->got_len < f->wanted_len))
                return 0;
        n = manner->piece && manner->piece < n ? manner->piece : n;
        assert_int_equal(send(f->peer, manner->answer + f->said, n, MSG_NOSIGNAL), n);
        f->said += n;
        f->say_ms = script.now_ms + manner->step_ms;
        if (f->said == manner->answer_len && manner->ends) {
                struct linger linger = { .l_onoff = 1 };

                if (manner->ends == 2)
                        setsockopt(f->peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
                close(f->peer);
                f->peer = -2;
        }
        return 1;
}

/* Whether the server will go on by itself, and when. */
static int64_t serves_at(const struct fixture *f) {
        int waits = f->peer < 0 || f->said == f->manner->answer_len ||
                    (!f->manner->first && f->got_len < f->wanted_len);

        return waits ? INT64_MAX : f->say_ms;
}

/* Nothing happens any more now: on to what the clock brings. */
static enum probe_result pass_time(struct fixture *f) {
        int64_t next = f->probe.next_ms < serves_at(f) ? f->probe.next_ms : serves_at(f);

        assert_true(f->probe.next_ms <= f->probe.until_ms);
        assert_true(next != INT64_MAX);
        if (next > script.now_ms)
                script.now_ms = next;
        return script.now_ms < f->probe.next_ms ? PROBE_PENDING : probe_due(&f->probe, script.now_ms, f->detail);
}

/* Runs the check to its end. */
static enum probe_result run(struct fixture *f) {
        struct probe_target target = { .backend = &f->backend, .server = &f->server, .expect = &f->expect };
        enum probe_result result = probe_start(&f->probe, &target, &f->addr, f->poller, KEY, script.now_ms, f->detail);

        for (int round = 0, idle = 0; result == PROBE_PENDING; round++) {
                struct poller_event events[4];
                int did = serve(f), n = poller_wait(f->poller, events, 4, 0);

                assert_true(round < 1000000);
                for (int i = 0; i < n && result == PROBE_PENDING; i++) {
                        assert_int_equal(events[i].key, KEY);
                        result = probe_event(&f->probe, events[i].events, script.now_ms, f->detail);
                }
                idle = did || n ? 0 : idle + 1;
                /* The kernel may be a moment late. */
                if (idle > 3)
                        usleep(100);
                if (idle > 8 && result == PROBE_PENDING) {
                        result = pass_time(f);
                        idle = 0;
                }
        }
        f->ended_ms = script.now_ms - RIG_START_MS;
        return result;
}

#define SAYS(text) .answer = text, .answer_len = sizeof(text) - 1
#define BIG_SIZE 20000
static char big[BIG_SIZE];

static const struct manner tcp = { .name = "tcp" };
static const struct manner unix_tcp = { .name = "tcp, AF_UNIX", .is_unix = 1 };
static const struct manner v6 = { .name = "tcp, IPv6", .is_v6 = 1 };
static const struct manner bound = { .name = "tcp from an address", .source = 1 };
static const struct manner header_1 = { .name = "tcp with header v1", .header = CONF_SEND_PROXY_V1 };
static const struct manner header_2 = { .name = "tcp with header v2", .header = CONF_SEND_PROXY_V2 };
static const struct manner ping = { .name = "ping", .send = "PING\r\n", .expect = "+PONG", SAYS("+PONG\r\n") };
static const struct manner unix_ping = { .name = "ping, AF_UNIX with header v2", .is_unix = 1,
                                         .header = CONF_SEND_PROXY_V2, .send = "PING\r\n", .expect = "+PONG",
                                         SAYS("+PONG\r\n") };
static const struct manner header_ping = { .name = "ping with header v1", .header = CONF_SEND_PROXY_V1, .source = 1,
                                           .send = "PING\r\n", .expect = "^\\+PO.G\\r", .regex = 1,
                                           SAYS("+PONG\r\n") };
static const struct manner drops = { .name = "byte by byte", .send = "hello", .expect = "ready", .piece = 1,
                                     .step_ms = 30, SAYS("220 mx.example.org ready") };
static const struct manner regex_drops = { .name = "byte by byte, regex", .send = "", .first = 1, .regex = 1,
                                           .expect = "^\\d{3} .* r..dy$", .piece = 1, .step_ms = 30,
                                           SAYS("220 mx.example.org ready") };
static const struct manner banner = { .name = "a banner and the end", .send = "QUIT", .expect = "ready", .first = 1,
                                      .ends = 1, SAYS("220 ready") };
static const struct manner long_answer = { .name = "in the last of 16 KiB", .send = "x", .expect = "THE END",
                                           .answer = big, .answer_len = EXPECT_ANSWER_MAX, .piece = 999,
                                           .step_ms = 1 };

static const struct manner *const good[] = {
        &tcp, &unix_tcp, &v6, &bound, &header_1, &header_2, &ping, &unix_ping, &header_ping, &drops, &regex_drops,
        &banner, &long_answer,
};

/* A machine without IPv6 says nothing of it. */
static int skipped(const struct manner *manner) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
        int fd = manner->is_v6 ? socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1, r;

        if (!manner->is_v6)
                return 0;
        r = fd < 0 || bind(fd, (struct sockaddr *)&in6, sizeof(in6)) < 0;
        if (fd >= 0)
                close(fd);
        return r;
}

static void test_good(void **unused) {
        (void)unused;
        memset(big, 'x', sizeof(big));
        memcpy(big + EXPECT_ANSWER_MAX - 7, "THE END", 7);
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                struct fixture *f;
                enum probe_result result;

                if (skipped(good[i]))
                        continue;
                f = setup(good[i], 8);
                result = run(f);
                if (result != PROBE_OK)
                        fail_msg("%s: %s", good[i]->name, f->detail);
                assert_string_equal(f->detail, good[i]->send ? "expected answer" : "connected");
                teardown(f);
        }
}

/* A header comes first, and says that it speaks for nobody. */
static void test_headers(void **unused) {
        static const struct { const struct manner *manner; const char *bytes; size_t len; } rows[] = {
                { &header_1, "PROXY UNKNOWN\r\n", 15 },
                { &header_2, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16 },
                { &header_ping, "PROXY UNKNOWN\r\nPING\r\n", 21 },
                { &unix_ping, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0PING\r\n", 22 },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct fixture *f = setup(rows[i].manner, 8);

                assert_int_equal(run(f), PROBE_OK);
                probe_end(&f->probe);
                for (int n = 0; n < 2000 && f->got_len < rows[i].len; n++) {
                        serve(f);
                        usleep(100);
                }
                assert_int_equal(f->got_len, rows[i].len);
                assert_memory_equal(f->got, rows[i].bytes, rows[i].len);
                teardown(f);
        }
}

/* Where a check only connects, the server's program sees nobody; and none of our sockets stays in TIME-WAIT. */
static void test_silent(void **unused) {
        static const struct manner mute = { .name = "mute", .mute = 1 };
        struct fixture *f = setup(&mute, 8);

        (void)unused;
        assert_int_equal(run(f), PROBE_OK);
        probe_end(&f->probe);
        usleep(20000);
        assert_int_equal(accept4(f->listener, NULL, NULL, SOCK_NONBLOCK), -1);
        assert_int_equal(errno, EAGAIN);
        teardown(f);
}

/* An answer that was had ends with a reset: the server keeps no TIME-WAIT, and we none. */
static void test_reset_at_the_end(void **unused) {
        struct fixture *f = setup(&ping, 8);
        char byte;
        ssize_t n;

        (void)unused;
        assert_int_equal(run(f), PROBE_OK);
        probe_end(&f->probe);
        for (int i = 0; i < 2000; i++) {
                n = recv(f->peer, &byte, 1, 0);
                if (n >= 0 || errno != EAGAIN)
                        break;
                usleep(100);
        }
        assert_int_equal(n, -1);
        assert_int_equal(errno, ECONNRESET);
        teardown(f);
}

struct bad {
        struct manner manner;
        const char *detail;
        int64_t ended_ms;               /* -1: whenever */
};

static const struct bad bads[] = {
        { { .name = "silent", .send = "x", .expect = "y" },
          "time-out after 2000 ms, without an answer", TIMEOUT_MS },
        { { .name = "something else", .send = "x", .expect = "y", SAYS("no\r\n\t\x1b[31m\0\xff") },
          "time-out after 2000 ms; unexpected answer: \"no\\r\\n\\t\\x1b[31m\\x00\\xff\"", TIMEOUT_MS },
        { { .name = "chatter", .send = "x", .expect = "y", .piece = 1, .step_ms = 90,
            SAYS("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") },
          "time-out after 2000 ms; unexpected answer: \"aaaaaaaaaaaaaaaaaaaaaaa\"", TIMEOUT_MS },
        { { .name = "too late", .send = "x", .expect = "ready", .piece = 1, .step_ms = 500, SAYS("ready") },
          "time-out after 2000 ms; unexpected answer: \"read\"", TIMEOUT_MS },
        { { .name = "the end", .send = "x", .expect = "y", .ends = 1, SAYS("500 no") },
          "the server ended the connection; unexpected answer: \"500 no\"", -1 },
        { { .name = "the end, regex", .send = "x", .expect = "^2", .regex = 1, .ends = 1, .piece = 1, .step_ms = 1,
            SAYS("500 no") },
          "the server ended the connection; unexpected answer: \"500 no\"", -1 },
        { { .name = "a reset", .send = "x", .expect = "y", .ends = 2, .piece = 1, .step_ms = 100, SAYS("no") },
          NULL, -1 },
        { { .name = "an AF_UNIX end", .is_unix = 1, .send = "x", .expect = "y", .ends = 1, SAYS("no") },
          "the server ended the connection; unexpected answer: \"no\"", -1 },
        { { .name = "a flood", .send = "x", .expect = "y", .answer = big, .answer_len = BIG_SIZE },
          "nothing expected in the first 16 KiB; unexpected answer: "
          "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...", -1 },
        { { .name = "costly", .send = "x", .expect = "^(x+x+)+[yz]", .regex = 1, .answer = big, .answer_len = 5000 },
          NULL, -1 },
};

static void test_bad(void **unused) {
        (void)unused;
        memset(big, 'x', sizeof(big));
        for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
                struct fixture *f = setup(&bads[i].manner, 8);
                enum probe_result result = run(f);

                if (result != PROBE_FAILED || (bads[i].detail && strcmp(f->detail, bads[i].detail) != 0) ||
                    (bads[i].ended_ms >= 0 && f->ended_ms != bads[i].ended_ms))
                        fail_msg("%s: result %d after %ld ms: %s", bads[i].manner.name, result, (long)f->ended_ms,
                                 f->detail);
                if (!bads[i].detail)
                        assert_non_null(strstr(f->detail, bads[i].manner.regex ? "too many steps" : "reset by peer"));
                teardown(f);
        }
}

static void test_refused(void **unused) {
        static const struct manner *const manners[] = { &tcp, &unix_tcp, &ping, &unix_ping };

        (void)unused;
        for (size_t i = 0; i < sizeof(manners) / sizeof(manners[0]); i++) {
                struct fixture *f = setup(manners[i], -1);

                assert_int_equal(run(f), PROBE_FAILED);
                assert_string_equal(f->detail, "connect: Connection refused");
                teardown(f);
        }
}

static void fill_backlog(struct fixture *f) {
        for (int i = 0; i < 2; i++) {
                f->filler[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                if (connect(f->filler[i], &f->addr.sa, f->addr.len) < 0)
                        assert_int_equal(errno, EAGAIN);
        }
}

/* A full AF_UNIX backlog is waited for, as long as the deadline allows. */
static void test_backlog(void **unused) {
        static const struct manner mute = { .name = "full", .is_unix = 1, .mute = 1 };
        struct fixture *f = setup(&mute, 0);
        struct probe_target target = { .backend = &f->backend, .server = &f->server, .expect = &f->expect };

        (void)unused;
        fill_backlog(f);
        assert_int_equal(run(f), PROBE_FAILED);
        assert_string_equal(f->detail, "time-out: its backlog was full for 2000 ms");
        assert_int_equal(f->ended_ms, TIMEOUT_MS);
        assert_true(script.calls[SCRIPT_CONNECT] < 30);
        probe_end(&f->probe);

        assert_int_equal(probe_start(&f->probe, &target, &f->addr, f->poller, KEY, script.now_ms, f->detail),
                         PROBE_PENDING);
        f->peer = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(f->peer >= 0);
        script.now_ms = f->probe.next_ms - 1;
        assert_int_equal(probe_due(&f->probe, script.now_ms, f->detail), PROBE_PENDING);
        script.now_ms++;
        assert_int_equal(probe_due(&f->probe, script.now_ms, f->detail), PROBE_OK);
        teardown(f);
}

/* Without a deadline nothing but the server ends it. */
static void test_no_deadline(void **unused) {
        static const struct manner slow = { .name = "slow", .send = "x", .expect = "y", .piece = 1, .step_ms = 3600000,
                                            SAYS("aaay") };
        struct fixture *f = setup(&slow, 8);

        (void)unused;
        f->backend.timeouts.check = CONF_OFF;
        assert_int_equal(run(f), PROBE_OK);
        assert_int_equal(f->ended_ms, 3 * 3600000);
        teardown(f);
}

/* A regular expression is tried a bounded number of times, in however many pieces the answer comes. */
static void test_trickle_is_bounded(void **unused) {
        static const struct manner trickle = { .name = "trickle", .send = "", .first = 1, .expect = "^y", .regex = 1,
                                               .answer = big, .answer_len = 1900, .piece = 1, .step_ms = 1 };
        struct fixture *f = setup(&trickle, 8);
        int looks = 0;
        size_t seen = 0;
        struct probe_target target = { .backend = &f->backend, .server = &f->server, .expect = &f->expect };

        (void)unused;
        memset(big, 'x', sizeof(big));
        probe_start(&f->probe, &target, &f->addr, f->poller, KEY, script.now_ms, f->detail);
        for (int i = 0; i < 1900; i++) {
                struct poller_event events[4];
                int n;

                while (serve(f))
                        ;
                n = poller_wait(f->poller, events, 4, 0);
                for (int e = 0; e < n; e++)
                        assert_int_equal(probe_event(&f->probe, events[e].events, script.now_ms, f->detail),
                                         PROBE_PENDING);
                script.now_ms++;
                if (script.now_ms >= f->probe.next_ms)
                        assert_int_equal(probe_due(&f->probe, script.now_ms, f->detail), PROBE_PENDING);
                looks += f->probe.seen != seen;
                seen = f->probe.seen;
        }
        assert_true(looks > 2 && looks < 20);
        teardown(f);
}

/*
 * Every system call of a check failing, at each place.  A failure is the check's result, with its errno; what is short
 * here says nothing of the server; and nothing is left open.
 */
static void test_faults(void **unused) {
        static const struct { enum script_call call; enum script_what what; int value; int soft; } faults[] = {
                { SCRIPT_SOCKET, SCRIPT_FAIL, EMFILE, 0 }, { SCRIPT_SOCKET, SCRIPT_FAIL, EAFNOSUPPORT, 0 },
                { SCRIPT_SETSOCKOPT, SCRIPT_FAIL, EPERM, 0 }, { SCRIPT_LINGER, SCRIPT_FAIL, EINVAL, 0 },
                { SCRIPT_BIND, SCRIPT_FAIL, EADDRNOTAVAIL, 0 }, { SCRIPT_CONNECT, SCRIPT_FAIL, ENETUNREACH, 0 },
                { SCRIPT_CONNECT, SCRIPT_FAIL, ENOBUFS, 0 }, { SCRIPT_POLLER_ADD, SCRIPT_FAIL, ENOSPC, 0 },
                { SCRIPT_POLLER_ADD, SCRIPT_FAIL, EPERM, 0 }, { SCRIPT_SEND, SCRIPT_FAIL, EPIPE, 0 },
                { SCRIPT_SEND, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_SEND, SCRIPT_SHORT, 1, 1 },
                { SCRIPT_RECV, SCRIPT_FAIL, ECONNRESET, 0 }, { SCRIPT_RECV, SCRIPT_FAIL, ENOMEM, 0 },
                { SCRIPT_RECV, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_RECV, SCRIPT_SHORT, 1, 1 },
                { SCRIPT_RECV, SCRIPT_ZERO, 0, 0 }, { SCRIPT_CLOSE, SCRIPT_FAIL, EIO, 1 },
                { SCRIPT_GETSOCKOPT, SCRIPT_FAIL, EIO, 0 },
        };
        unsigned runs = 0;

        (void)unused;
        for (size_t m = 0; m < sizeof(good) / sizeof(good[0]) - 1; m++) {
                uint64_t counted[SCRIPT_CALLS];
                struct fixture *f;

                if (skipped(good[m]))
                        continue;
                f = setup(good[m], 8);
                assert_int_equal(run(f), PROBE_OK);
                probe_end(&f->probe);
                memcpy(counted, script.calls, sizeof(counted));
                teardown(f);
                for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
                        for (uint64_t nth = 1; nth <= counted[faults[i].call] && nth < 12; nth++, runs++) {
                                enum probe_result result, hard;
                                int local = faults[i].value == EMFILE || faults[i].value == ENOBUFS ||
                                            faults[i].value == ENOSPC || faults[i].value == ENOMEM;

                                f = setup(good[m], 8);
                                script_rule(faults[i].call, faults[i].what, faults[i].value, nth);
                                result = run(f);
                                hard = local ? PROBE_NO_RESULT : PROBE_FAILED;
                                /* With part of the answer there, it is the answer that was not right. */
                                if (local && f->probe.len)
                                        hard = PROBE_FAILED;
                                /* What ends after it was all said was said: that byte may have been the last. */
                                if (script.rules[0].hits && result != (faults[i].soft ? PROBE_OK : hard) &&
                                    !(f->probe.len && result == PROBE_OK))
                                        fail_msg("%s, %s number %lu, %d: result %d: %s", good[m]->name,
                                                 script_call_name(faults[i].call), (unsigned long)nth, faults[i].value,
                                                 result, f->detail);
                                if (result != PROBE_OK && faults[i].what == SCRIPT_FAIL)
                                        assert_non_null(strstr(f->detail, strerror(faults[i].value)));
                                teardown(f);
                        }
        }
        print_message("# %u runs\n", runs);
        assert_true(runs > 200);
}

/* The socket's own word on a connect that hung up. */
static void test_hang_up(void **unused) {
        static const struct manner mute = { .name = "mute", .mute = 1 };
        struct fixture *f = setup(&mute, 8);
        struct probe_target target = { .backend = &f->backend, .server = &f->server, .expect = &f->expect };

        (void)unused;
        script_rule(SCRIPT_CONNECT, SCRIPT_FAIL, EINPROGRESS, 1);
        assert_int_equal(probe_start(&f->probe, &target, &f->addr, f->poller, KEY, script.now_ms, f->detail),
                         PROBE_PENDING);
        assert_int_equal(probe_event(&f->probe, POLLER_HUP, script.now_ms, f->detail), PROBE_PENDING);
        probe_end(&f->probe);

        script.n_rules = 0;
        script_count_anew();
        script_rule(SCRIPT_CONNECT, SCRIPT_FAIL, EINPROGRESS, 1);
        script_rule(SCRIPT_GETSOCKOPT, SCRIPT_FAIL, EIO, 1);
        probe_start(&f->probe, &target, &f->addr, f->poller, KEY, script.now_ms, f->detail);
        assert_int_equal(probe_event(&f->probe, POLLER_HUP | POLLER_ERR, script.now_ms, f->detail), PROBE_FAILED);
        assert_string_equal(f->detail, "getsockopt: Input/output error");
        teardown(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_headers),
                cmocka_unit_test(test_silent),
                cmocka_unit_test(test_reset_at_the_end),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_backlog),
                cmocka_unit_test(test_no_deadline),
                cmocka_unit_test(test_trickle_is_bounded),
                cmocka_unit_test(test_faults),
                cmocka_unit_test(test_hang_up),
        };

        return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
