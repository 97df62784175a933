/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "script/rig.h"
#include "script/script.h"

/* An onlooker beside a session between real sockets, and what it gets to see. */

#define TAP_BULK (200 * 1024)

struct bench {
        struct rig rig;
        int listen, client, server;
        struct session *session;
};

static void bench_settle(struct bench *bench) {
        for (int i = 0; i < 8; i++) {
                assert_int_equal(rig_round(&bench->rig), 0);
                assert_null(rig_look(&bench->rig));
        }
}

/* A session that relays, in a thread that may have so many pipes. */
static void bench_start_with(struct bench *bench, uint32_t pipes) {
        struct addr front, back;
        struct conf *conf;

        memset(bench, 0, sizeof(*bench));
        rig_load(&bench->rig, "frontend \"f\" { listen \"unix:@f\" { } backend = \"b\" }\n"
                              "backend \"b\" { server \"s\" { address = \"unix:@s\" } }\n");
        conf = bench->rig.conf;
        rig_name(&conf->frontends[0].listeners[0].addr);
        rig_name(&conf->backends[0].servers[0].addr);
        front = conf->frontends[0].listeners[0].addr;
        back = conf->backends[0].servers[0].addr;
        bench->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(bench->listen, &back.sa, back.len), 0);
        assert_int_equal(listen(bench->listen, 4), 0);
        rig_start(&bench->rig, 4, pipes);
        bench->client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(bench->client, &front.sa, front.len), 0);
        bench_settle(bench);
        bench->server = accept4(bench->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(bench->server >= 0);
        bench->session = &bench->rig.shared.sessions[0];
        assert_int_equal(bench->session->state, LIFE_RELAYING);
}

static void bench_start(struct bench *bench) {
        bench_start_with(bench, 8);
}

/* Every descriptor has to come back. */
static void bench_stop(struct bench *bench) {
        for (int i = 0; i < TAP_MAX; i++)
                assert_int_equal(bench->rig.shared.taps[i].word, TAP_FREE);
        assert_int_equal(bench->rig.env->taps, 0);
        close(bench->client);
        close(bench->server);
        close(bench->listen);
        assert_null(rig_stop(&bench->rig));
}

static int bench_open(struct bench *bench, uint32_t index, uint64_t id) {
        struct survey_row row = { .index = index, .id = id };

        return tap_open(&bench->rig.shared, &row);
}

static int bench_tap(struct bench *bench) {
        int number = bench_open(bench, 0, bench->session->id);

        assert_true(number >= 0);
        bench_settle(bench);
        return number;
}

static void bench_leave(struct bench *bench, int number) {
        tap_close(&bench->rig.shared, number);
        bench_settle(bench);
}

/* Bytes that say where in the stream they are, so that a gap in the wrong place is seen. */
static void bench_fill(char *buf, size_t size, size_t at) {
        for (size_t i = 0; i < size; i++)
                buf[i] = (char)((at + i) ^ (at + i) >> 8 ^ (at + i) >> 16);
}

static size_t bench_send(int from, size_t size, size_t at) {
        char *buf = malloc(size);
        ssize_t n;

        bench_fill(buf, size, at);
        n = send(from, buf, size, MSG_NOSIGNAL);
        free(buf);
        return n > 0 ? (size_t)n : 0;
}

/* Sends from one end and expects the same at the other. */
static void bench_pass(struct bench *bench, int from, int to, size_t size, size_t at) {
        char *want = malloc(size), *got = malloc(size);
        size_t sent = 0, done = 0;

        bench_fill(want, size, at);
        for (int rounds = 0; done < size && rounds < 1000; rounds++) {
                ssize_t n;

                if (sent < size)
                        sent += bench_send(from, size - sent, at + sent);
                bench_settle(bench);
                n = recv(to, got + done, size - done, 0);
                done += n > 0 ? (size_t)n : 0;
        }
        assert_int_equal(done, size);
        assert_memory_equal(want, got, size);
        free(want);
        free(got);
}

/* What the onlooker has seen of a side so far. */
struct seen {
        size_t at, bytes, lost;
        int ended;
};

/* Reads all that there is, and looks whether each byte is the one that belongs there. */
static void bench_read(struct bench *bench, int number, unsigned side, struct seen *seen) {
        char *got = malloc(TAP_BULK), *want = malloc(TAP_BULK);
        uint64_t lost;
        ssize_t n;

        do {
                n = tap_read(&bench->rig.shared, number, side, got, TAP_BULK, &lost);
                assert_true(n >= 0 || n == -EAGAIN);
                if (n > 0) {
                        assert_int_equal(lost, 0);
                        bench_fill(want, (size_t)n, seen->at);
                        assert_memory_equal(got, want, (size_t)n);
                        seen->bytes += (size_t)n;
                        seen->at += (size_t)n;
                }
                seen->lost += lost;
                seen->at += lost;
                seen->ended = n == 0;
        } while (n > 0 || (n < 0 && lost));
        free(got);
        free(want);
}

static void test_copies(void **unused) {
        struct seen up = { .at = 100 }, down = { .at = 0 };
        struct bench bench;
        int number;

        (void)unused;
        bench_start(&bench);
        bench_pass(&bench, bench.client, bench.server, 100, 0);
        number = bench_tap(&bench);
        bench_pass(&bench, bench.client, bench.server, 1000, 100);
        bench_pass(&bench, bench.server, bench.client, 2000, 0);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        bench_read(&bench, number, SESSION_SERVER, &down);
        assert_int_equal(up.bytes, 1000);
        assert_int_equal(down.bytes, 2000);
        assert_int_equal(script.calls[SCRIPT_TEE], 0);
        /* Bulk, through a pipe. */
        bench_pass(&bench, bench.client, bench.server, TAP_BULK, 1100);
        bench_pass(&bench, bench.server, bench.client, TAP_BULK, 2000);
        assert_true(script.calls[SCRIPT_TEE] > 0);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        bench_read(&bench, number, SESSION_SERVER, &down);
        assert_int_equal(up.bytes, 1000 + TAP_BULK);
        assert_int_equal(down.bytes, 2000 + TAP_BULK);
        assert_int_equal(up.lost + down.lost, 0);
        bench_leave(&bench, number);
        bench_pass(&bench, bench.client, bench.server, 1000, 0);
        bench_stop(&bench);
}

/* Without a pipe, bytes are looked at before they are consumed: just those that were passed on are copied. */
static void test_without_pipes(void **unused) {
        struct seen up = { 0 };
        struct bench bench;
        int number;

        (void)unused;
        bench_start_with(&bench, 0);
        number = bench_tap(&bench);
        script_count_anew();
        script_rule(SCRIPT_SEND, SCRIPT_SHORT, 300, 2);
        bench_pass(&bench, bench.client, bench.server, 1000, 0);
        bench_pass(&bench, bench.client, bench.server, 1000, 1000);
        bench_pass(&bench, bench.client, bench.server, TAP_BULK, 2000);
        assert_int_equal(script.rules[0].hits, 1);
        assert_int_equal(script.calls[SCRIPT_SPLICE_IN], 0);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        assert_int_equal(up.bytes, 2000 + TAP_BULK);
        bench_leave(&bench, number);
        bench_stop(&bench);
}

/* What is parked for a slow server when somebody begins to look on is seen too, and only once. */
static void test_parked(void **unused) {
        struct seen up = { 0 };
        struct bench bench;
        size_t sent = 0, n;
        int number, queued;

        (void)unused;
        bench_start(&bench);
        for (int i = 0; i < 20; i++) {
                sent += bench_send(bench.client, 4096, sent);
                bench_settle(&bench);
        }
        while ((n = bench_send(bench.client, 4096, sent)) > 0) {
                sent += n;
                bench_settle(&bench);
        }
        assert_true(bench.session->direction[SESSION_CLIENT].piped > 0);
        up.at = bench.session->direction[SESSION_CLIENT].bytes;
        number = bench_tap(&bench);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        assert_int_equal(up.bytes, bench.session->direction[SESSION_CLIENT].piped);
        for (;;) {
                char buf[65536];

                assert_int_equal(ioctl(bench.server, FIONREAD, &queued), 0);
                if (!queued)
                        break;
                assert_true(recv(bench.server, buf, sizeof(buf), 0) > 0);
                bench_settle(&bench);
        }
        bench_read(&bench, number, SESSION_CLIENT, &up);
        assert_int_equal(up.at, sent);
        assert_int_equal(up.lost, 0);
        bench_leave(&bench, number);
        bench_stop(&bench);
}

/* One that does not read loses copies, counted, and knows where; the session loses nothing. */
static void test_slow_onlooker(void **unused) {
        struct seen up = { 0 };
        struct bench bench;
        uint64_t copied;
        size_t at = 0;
        int number;

        (void)unused;
        bench_start(&bench);
        number = bench_tap(&bench);
        for (; at < 30 * TAP_BULK; at += TAP_BULK)
                bench_pass(&bench, bench.client, bench.server, TAP_BULK, at);
        /* No calls are made for a pipe that is full. */
        copied = script.calls[SCRIPT_TEE];
        bench_pass(&bench, bench.client, bench.server, TAP_BULK, at);
        at += TAP_BULK;
        assert_int_equal(script.calls[SCRIPT_TEE], copied);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        assert_true(up.lost > 0 && up.bytes > 0);
        assert_int_equal(up.at, at);
        /* And from then on it sees all again. */
        up.lost = 0;
        bench_pass(&bench, bench.client, bench.server, TAP_BULK, at);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        assert_int_equal(up.at, at + TAP_BULK);
        assert_int_equal(up.lost, 0);
        bench_leave(&bench, number);
        bench_stop(&bench);
}

static void test_session_ends(void **unused) {
        struct seen up = { 0 }, down = { 0 };
        struct bench bench;
        int number;

        (void)unused;
        bench_start(&bench);
        number = bench_tap(&bench);
        bench_pass(&bench, bench.client, bench.server, 10, 0);
        shutdown(bench.client, SHUT_WR);
        shutdown(bench.server, SHUT_WR);
        bench_settle(&bench);
        assert_int_equal(bench.session->state, LIFE_CLOSED);
        bench_read(&bench, number, SESSION_CLIENT, &up);
        bench_read(&bench, number, SESSION_SERVER, &down);
        assert_int_equal(up.bytes, 10);
        assert_true(up.ended && down.ended);
        assert_int_equal(TAP_STATE(bench.rig.shared.taps[number].word), TAP_OVER);
        tap_close(&bench.rig.shared, number);
        bench_stop(&bench);
}

/* The onlooker went first, and the session ends before its thread has noticed. */
static void test_both_end(void **unused) {
        struct bench bench;
        int number;

        (void)unused;
        bench_start(&bench);
        number = bench_tap(&bench);
        tap_close(&bench.rig.shared, number);
        session_kill_all(bench.rig.env, 0);
        assert_int_equal(bench.session->state, LIFE_CLOSED);
        assert_int_equal(TAP_STATE(bench.rig.shared.taps[number].word), TAP_FREE);
        bench_settle(&bench);
        bench_stop(&bench);
}

/* Another session has the record by now, or none, or the onlooker went before it was seen: all is given back. */
static void test_nobody_there(void **unused) {
        struct bench bench;
        struct seen seen = { 0 };
        int number;

        (void)unused;
        bench_start(&bench);
        number = bench_open(&bench, 0, bench.session->id + 1);
        bench_settle(&bench);
        bench_read(&bench, number, SESSION_CLIENT, &seen);
        assert_true(seen.ended);
        tap_close(&bench.rig.shared, number);
        number = bench_open(&bench, 3, bench.session->id);
        bench_settle(&bench);
        bench_read(&bench, number, SESSION_SERVER, &seen);
        assert_true(seen.ended);
        tap_close(&bench.rig.shared, number);
        number = bench_open(&bench, 0, bench.session->id);
        bench_leave(&bench, number);
        bench_stop(&bench);
}

/* Several may look on at one session, and each sees all; there are so many in all. */
static void test_many(void **unused) {
        struct bench bench;
        int numbers[TAP_MAX];

        (void)unused;
        bench_start(&bench);
        for (int i = 0; i < TAP_MAX; i++)
                numbers[i] = bench_tap(&bench);
        assert_int_equal(bench_open(&bench, 0, bench.session->id), -EBUSY);
        bench_pass(&bench, bench.client, bench.server, 10, 0);
        for (int i = 0; i < TAP_MAX; i++) {
                struct seen up = { 0 };

                bench_read(&bench, numbers[i], SESSION_CLIENT, &up);
                assert_int_equal(up.bytes, 10);
                bench_leave(&bench, numbers[i]);
        }
        bench_stop(&bench);
}

/* Whatever fails, or is cut short, costs copies alone, and the onlooker is told how many. */
static void test_faults(void **unused) {
        static const struct { enum script_call call; enum script_what what; int value; } faults[] = {
                { SCRIPT_TEE, SCRIPT_FAIL, EAGAIN }, { SCRIPT_TEE, SCRIPT_FAIL, ENOMEM },
                { SCRIPT_TEE, SCRIPT_ZERO, 0 },
                { SCRIPT_TEE, SCRIPT_SHORT, 1000 }, { SCRIPT_WRITE, SCRIPT_FAIL, EAGAIN },
                { SCRIPT_WRITE, SCRIPT_FAIL, EPIPE }, { SCRIPT_WRITE, SCRIPT_SHORT, 7 },
                { SCRIPT_PIPE_RESIZE, SCRIPT_FAIL, EPERM }, { SCRIPT_READ, SCRIPT_FAIL, EAGAIN },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
                struct seen up = { 0 };
                struct bench bench;
                size_t at = 0;
                int number;

                bench_start(&bench);
                script_count_anew();
                script_rule(faults[i].call, faults[i].what, faults[i].value, 1);
                number = bench_tap(&bench);
                for (; at < 4 * TAP_BULK; at += TAP_BULK) {
                        bench_pass(&bench, bench.client, bench.server, TAP_BULK, at);
                        bench_read(&bench, number, SESSION_CLIENT, &up);
                }
                bench_read(&bench, number, SESSION_CLIENT, &up);
                assert_int_equal(script.rules[0].hits, 1);
                assert_int_equal(up.at, at);
                if (faults[i].call == SCRIPT_TEE || faults[i].call == SCRIPT_WRITE)
                        assert_true(up.lost > 0 && up.bytes > 0);
                assert_int_equal(bench.session->state, LIFE_RELAYING);
                bench_leave(&bench, number);
                bench_stop(&bench);
        }
}

static void test_no_pipes(void **unused) {
        struct bench bench;

        (void)unused;
        for (uint64_t nth = 1; nth <= 2; nth++) {
                bench_start(&bench);
                script_count_anew();
                script_rule(SCRIPT_PIPE, SCRIPT_FAIL, EMFILE, nth);
                assert_int_equal(bench_open(&bench, 0, bench.session->id), -EMFILE);
                bench_pass(&bench, bench.client, bench.server, 10, 0);
                bench_stop(&bench);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_copies), cmocka_unit_test(test_without_pipes), cmocka_unit_test(test_parked),
                cmocka_unit_test(test_slow_onlooker),
                cmocka_unit_test(test_session_ends), cmocka_unit_test(test_both_end),
                cmocka_unit_test(test_nobody_there), cmocka_unit_test(test_many),
                cmocka_unit_test(test_faults), cmocka_unit_test(test_no_pipes),
        };

        return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
