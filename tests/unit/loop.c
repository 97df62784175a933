/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/loop.h"
#include "net/sys.h"

#define NODES 16
#define LOG_MAX 256
#define PATIENCE_MS 10000       /* for what is on its way: the bound of a test that fails */

/* What the handlers were told, and what they are to do. */
struct bench {
        struct loop_record record;
        struct loop loop;
        struct loop_links links[NODES];
        struct wheel_node timers[NODES];
        struct { char kind; uint64_t key; uint32_t events; } log[LOG_MAX];
        unsigned undone[LOG_MAX];       /* events that the arena shows as not done at that moment */
        unsigned n;
        void (*on_ready)(struct bench *bench, uint32_t node);
        void (*on_expire)(struct bench *bench, uint32_t node);
        unsigned stop_after;            /* calls of handlers, 0: never */
};

static unsigned batch_undone(const struct bench *bench) {
        unsigned n = 0;

        for (int i = 0; i < LOOP_BATCH; i++)
                n += bench->record.batch[i].events != 0;
        return n;
}

static void bench_note(struct bench *bench, char kind, uint64_t key, uint32_t events) {
        assert_true(bench->n < LOG_MAX);
        bench->log[bench->n].kind = kind;
        bench->log[bench->n].key = key;
        bench->undone[bench->n] = batch_undone(bench);
        bench->log[bench->n++].events = events;
        if (bench->stop_after && bench->n >= bench->stop_after)
                loop_stop(&bench->loop);
}

static void bench_event(void *owner, uint64_t key, uint32_t events) {
        bench_note(owner, 'e', key, events);
}

static void bench_ready(void *owner, uint32_t node) {
        struct bench *bench = owner;

        bench_note(bench, 'r', node, 0);
        if (bench->on_ready)
                bench->on_ready(bench, node);
}

static void bench_expire(void *owner, uint32_t node) {
        struct bench *bench = owner;

        bench_note(bench, 't', node, 0);
        if (bench->on_expire)
                bench->on_expire(bench, node);
}

static void bench_wake(void *owner) {
        bench_note(owner, 'w', 0, 0);
}

static const struct loop_handlers bench_handlers = {
        .event = bench_event, .ready = bench_ready, .expire = bench_expire, .wake = bench_wake,
};

static int setup(void **state) {
        struct bench *bench = calloc(1, sizeof(*bench));

        if (loop_record_init(&bench->record) < 0)
                return -1;
        loop_init(&bench->loop, &bench->record, &bench_handlers, bench, bench->links, bench->timers);
        *state = bench;
        return 0;
}

static int teardown(void **state) {
        struct bench *bench = *state;

        loop_record_deinit(&bench->record);
        loop_record_deinit(&bench->record);
        free(bench);
        return 0;
}

/* One round; what the handlers were told in it, as "r3 r1 t2 w e7". */
static const char *round_of(struct bench *bench, int wait_ms) {
        static char text[1024];
        size_t len = 0;

        text[0] = '\0';
        bench->n = 0;
        assert_int_equal(loop_round(&bench->loop, wait_ms), 0);
        for (unsigned i = 0; i < bench->n; i++)
                len += (size_t)snprintf(text + len, sizeof(text) - len, bench->log[i].kind == 'w' ? "%s%c" : "%s%c%u",
                                        i ? " " : "", bench->log[i].kind, (unsigned)bench->log[i].key);
        return text;
}

/* The events that came for a key in the last round. */
static uint32_t events_of(const struct bench *bench, uint64_t key) {
        uint32_t events = 0;

        for (unsigned i = 0; i < bench->n; i++)
                if (bench->log[i].kind == 'e' && bench->log[i].key == key)
                        events |= bench->log[i].events;
        return events;
}

/* ------------------------------------------------------------- the ready list */

static void test_ready_in_order(void **state) {
        struct bench *bench = *state;

        loop_ready(&bench->loop, 3);
        loop_ready(&bench->loop, 0);
        loop_ready(&bench->loop, 7);
        loop_ready(&bench->loop, 0);
        assert_string_equal(round_of(bench, -1), "r3 r0 r7");
        assert_string_equal(round_of(bench, 0), "");
}

static void again(struct bench *bench, uint32_t node) {
        loop_ready(&bench->loop, node);
}

static void test_ready_again_waits_for_the_next_round(void **state) {
        struct bench *bench = *state;

        bench->on_ready = again;
        loop_ready(&bench->loop, 1);
        loop_ready(&bench->loop, 2);
        for (int i = 0; i < 3; i++)
                assert_string_equal(round_of(bench, -1), "r1 r2");
}

static void pass_on(struct bench *bench, uint32_t node) {
        loop_ready(&bench->loop, node + 1);
        loop_ready(&bench->loop, node);
}

static void test_others_made_ready_wait_too(void **state) {
        struct bench *bench = *state;

        bench->on_ready = pass_on;
        loop_ready(&bench->loop, 4);
        assert_string_equal(round_of(bench, -1), "r4");
        assert_string_equal(round_of(bench, -1), "r5 r4");
        /* 5 made 6 and itself ready, 4 found 5 in the list and added itself. */
        assert_string_equal(round_of(bench, -1), "r6 r5 r4");
}

static void test_unready(void **state) {
        struct bench *bench = *state;

        for (uint32_t i = 0; i < 5; i++)
                loop_ready(&bench->loop, i);
        loop_unready(&bench->loop, 0);
        loop_unready(&bench->loop, 2);
        loop_unready(&bench->loop, 4);
        loop_unready(&bench->loop, 4);
        loop_unready(&bench->loop, 9);
        assert_string_equal(round_of(bench, -1), "r1 r3");
        loop_ready(&bench->loop, 6);
        loop_unready(&bench->loop, 6);
        assert_string_equal(round_of(bench, 0), "");
}

/* Node 0's handler takes out others; what it takes out is its step. */
static void take_out(struct bench *bench, uint32_t node) {
        if (node != 0)
                return;
        for (uint32_t i = 10; i < NODES; i++)
                if (bench->timers[i].when == 1)
                        loop_unready(&bench->loop, i - 10);
                else if (bench->timers[i].when == 2) {
                        loop_unready(&bench->loop, i - 10);
                        loop_ready(&bench->loop, i - 10);
                }
}

/* plan[i]: what happens to node i while node 0 is handled; '-' nothing, 'x' out, 'm' out and in again. */
static const char *round_with(struct bench *bench, const char *plan) {
        for (uint32_t i = 0; i < 4; i++) {
                /* Not armed: `when` of an unused node carries the plan. */
                bench->timers[10 + i].when = plan[i] == 'x' ? 1 : plan[i] == 'm' ? 2 : 0;
                loop_ready(&bench->loop, i);
        }
        bench->on_ready = take_out;
        return round_of(bench, -1);
}

static void test_removal_during_a_round(void **state) {
        static const struct { const char *plan, *first, *second; } cases[] = {
                { "----", "r0 r1 r2 r3", "" },
                { "x---", "r0 r1 r2 r3", "" },
                { "-x--", "r0 r2 r3", "" },
                { "--x-", "r0 r1 r3", "" },
                { "---x", "r0 r1 r2", "" },
                { "-xxx", "r0", "" },
                { "-x-x", "r0 r2", "" },
                { "--xx", "r0 r1", "" },
                { "---m", "r0 r1 r2", "r3" },
                { "-m--", "r0 r2 r3", "r1" },
                { "-mmm", "r0", "r1 r2 r3" },
                { "--mx", "r0 r1", "r2" },
                { "--xm", "r0 r1", "r3" },
        };
        struct bench *bench = *state;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                assert_string_equal(round_with(bench, cases[i].plan), cases[i].first);
                bench->on_ready = NULL;
                assert_string_equal(round_of(bench, 0), cases[i].second);
                assert_string_equal(round_of(bench, 0), "");
                assert_int_equal(bench->loop.first | bench->loop.last, 0);
        }
}

/* While something is ready the loop does not sleep, yet still asks for events. */
static void test_ready_does_not_starve_events(void **state) {
        struct bench *bench = *state;

        bench->on_ready = again;
        loop_ready(&bench->loop, 1);
        assert_string_equal(round_of(bench, -1), "r1");
        loop_wake(&bench->record);
        assert_string_equal(round_of(bench, -1), "w r1");
        wheel_arm(&bench->loop.wheel, 2, bench->loop.now_ms);
        assert_string_equal(round_of(bench, -1), "r1 t2");
}

/* ------------------------------------------------------------ wake and timers */

static void test_wakes_are_gathered(void **state) {
        struct bench *bench = *state;

        for (int i = 0; i < 100; i++)
                loop_wake(&bench->record);
        assert_string_equal(round_of(bench, PATIENCE_MS), "w");
        assert_string_equal(round_of(bench, 0), "");
        loop_wake(&bench->record);
        assert_string_equal(round_of(bench, PATIENCE_MS), "w");
}

static void *waker(void *arg) {
        const struct loop_record *record = arg;

        loop_wake(record);
        return NULL;
}

static void test_wake_from_another_thread(void **state) {
        struct bench *bench = *state;
        pthread_t thread;

        /* Registered first: the descriptor is writable, which says nothing. */
        assert_string_equal(round_of(bench, 0), "");
        bench->stop_after = 1;
        bench->n = 0;
        assert_int_equal(pthread_create(&thread, NULL, waker, &bench->record), 0);
        assert_int_equal(loop_run(&bench->loop), 0);
        assert_int_equal(bench->log[0].kind, 'w');
        pthread_join(thread, NULL);
}

static void test_timer(void **state) {
        struct bench *bench = *state;
        int64_t when = sys_clock_ms() + 30;

        bench->stop_after = 2;
        wheel_arm(&bench->loop.wheel, 1, when);
        wheel_arm(&bench->loop.wheel, 2, when - 20);
        assert_int_equal(loop_run(&bench->loop), 0);
        assert_int_equal(bench->n, 2);
        assert_int_equal(bench->log[0].key, 2);
        assert_int_equal(bench->log[1].key, 1);
        assert_true(sys_clock_ms() >= when);
        /* Both are out, and nothing is left to wait for. */
        assert_int_equal(wheel_timeout(&bench->loop.wheel, bench->loop.now_ms), -1);
}

static void rearm(struct bench *bench, uint32_t node) {
        wheel_arm(&bench->loop.wheel, node, bench->loop.now_ms + 1);
}

/* A timer that is armed for later by its own handler does not keep its round alive. */
static void test_timer_rearms_itself(void **state) {
        struct bench *bench = *state;

        bench->on_expire = rearm;
        wheel_arm(&bench->loop.wheel, 5, bench->loop.now_ms);
        for (int i = 0; i < 5; i++) {
                const char *text = "";
                int64_t until = sys_clock_ms() + PATIENCE_MS;

                /* A round that only moves timers may lie between. */
                while (!*text && sys_clock_ms() < until)
                        text = round_of(bench, -1);
                assert_string_equal(text, "t5");
        }
}

static void test_stop_ends_after_the_round(void **state) {
        struct bench *bench = *state;

        bench->stop_after = 1;
        bench->n = 0;
        loop_ready(&bench->loop, 1);
        loop_ready(&bench->loop, 2);
        wheel_arm(&bench->loop.wheel, 3, bench->loop.now_ms);
        assert_int_equal(loop_run(&bench->loop), 0);
        assert_int_equal(bench->n, 3);
}

static void test_wait_failure_is_fatal(void **state) {
        struct bench *bench = *state;
        int poller = bench->record.poller;

        bench->record.poller = bench->record.wake;
        assert_int_equal(loop_run(&bench->loop), -EINVAL);
        bench->record.poller = poller;
}

/* The arena sees what was handed out and not done, and when the round began: a successor would begin there. */
static void test_record_of_the_batch(void **state) {
        struct bench *bench = *state;
        int pair[2], other[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        assert_int_equal(poller_add(bench->record.poller, pair[0], 42), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other), 0);
        assert_int_equal(poller_add(bench->record.poller, other[0], 43), 0);
        assert_string_equal(round_of(bench, PATIENCE_MS), "e42 e43");
        assert_int_equal(bench->undone[0], bench->undone[1] + 1);
        assert_int_equal(bench->undone[1], 1);
        assert_int_equal(batch_undone(bench), 0);
        assert_int_equal(bench->record.beat_ms, bench->loop.now_ms);
        close(pair[0]);
        close(pair[1]);
        close(other[0]);
        close(other[1]);
}

/* More events than a batch has room for: each comes, in a later round. */
static void test_more_than_a_batch(void **state) {
        struct bench *bench = *state;
        int pairs[LOOP_BATCH + 10][2];
        unsigned char seen[LOOP_BATCH + 10] = { 0 };
        unsigned n = 0;

        for (int i = 0; i < LOOP_BATCH + 10; i++) {
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[i]), 0);
                assert_int_equal(poller_add(bench->record.poller, pairs[i][0], (uint64_t)i), 0);
        }
        for (int round = 0; round < 3; round++) {
                round_of(bench, 0);
                assert_true(bench->n <= LOOP_BATCH);
                for (unsigned i = 0; i < bench->n; i++)
                        n += !seen[bench->log[i].key]++;
        }
        assert_int_equal(n, LOOP_BATCH + 10);
        for (int i = 0; i < LOOP_BATCH + 10; i++) {
                close(pairs[i][0]);
                close(pairs[i][1]);
        }
}

/* ----------------------------------------- what the kernel does, and we rely on */

static int listen_tcp(struct sockaddr_in *sin) {
        socklen_t len = sizeof(*sin);
        int fd = sys_socket(AF_INET, SOCK_STREAM, 0);

        *sin = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        assert_true(fd >= 0);
        assert_int_equal(sys_bind(fd, (struct sockaddr *)sin, sizeof(*sin)), 0);
        assert_int_equal(listen(fd, 64), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)sin, &len), 0);
        return fd;
}

static int connect_tcp(const struct sockaddr_in *sin) {
        int fd = sys_socket(AF_INET, SOCK_STREAM, 0);
        int r = sys_connect(fd, (const struct sockaddr *)sin, sizeof(*sin));

        assert_true(r == 0 || r == -EINPROGRESS);
        return fd;
}

/* Rounds until every bit of `events` has come for the key. */
static void await_events(struct bench *bench, uint64_t key, uint32_t events) {
        int64_t until = sys_clock_ms() + PATIENCE_MS;
        uint32_t seen = 0;

        while ((seen & events) != events && sys_clock_ms() < until) {
                round_of(bench, 100);
                seen |= events_of(bench, key);
        }
        assert_int_equal(seen & events, events);
}

/* A listener rings once for each arrival; what waits already is not told again, until a new one comes. */
static void test_kernel_listener_edges(void **state) {
        struct bench *bench = *state;
        struct sockaddr_in sin;
        int listener = listen_tcp(&sin), clients[3];

        assert_int_equal(poller_add_listener(bench->record.poller, listener, 7), 0);
        assert_string_equal(round_of(bench, 0), "");
        clients[0] = connect_tcp(&sin);
        await_events(bench, 7, POLLER_IN);
        /* Not accepted: no new edge. */
        assert_string_equal(round_of(bench, 0), "");
        clients[1] = connect_tcp(&sin);
        await_events(bench, 7, POLLER_IN);
        /* One that waits when the listener is registered is reported at once: how a successor finds it. */
        assert_int_equal(poller_remove(bench->record.poller, listener), 0);
        clients[2] = connect_tcp(&sin);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(poller_add_listener(bench->record.poller, listener, 8), 0);
        await_events(bench, 8, POLLER_IN);
        for (int i = 0; i < 3; i++)
                close(clients[i]);
        close(listener);
}

struct sleeper {
        int poller;
        int told;               /* the write end of a pipe: who woke */
        char name;
        _Atomic pid_t tid;      /* set just before it waits */
        uint64_t key;           /* of the event that woke it */
        ssize_t r;
};

static void *sleeper_main(void *arg) {
        struct sleeper *sleeper = arg;
        struct poller_event event = { .key = 99 };

        sleeper->tid = gettid();
        poller_wait(sleeper->poller, &event, 1, PATIENCE_MS);
        sleeper->key = event.key;
        sleeper->r = write(sleeper->told, &sleeper->name, 1);
        return NULL;
}

/* Comes back once the thread sleeps in the kernel. */
static void await_sleep(const struct sleeper *sleeper) {
        int64_t until = sys_clock_ms() + PATIENCE_MS;
        char path[64], state = 0;

        while (state != 'S' && sys_clock_ms() < until) {
                FILE *file;

                snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)sleeper->tid);
                file = sleeper->tid ? fopen(path, "re") : NULL;
                if (file) {
                        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
                                state = 0;
                        fclose(file);
                }
        }
        assert_int_equal(state, 'S');
}

/* EPOLLEXCLUSIVE: of two threads that sleep at one listener a client wakes one; the other wakes for something else. */
static void test_kernel_exclusive(void **state) {
        struct sleeper sleepers[2];
        struct sockaddr_in sin;
        int listener = listen_tcp(&sin), told[2], others[2], client;
        pthread_t threads[2];
        char first, second;

        (void)state;
        assert_int_equal(pipe(told), 0);
        for (int i = 0; i < 2; i++) {
                sleepers[i] = (struct sleeper){ .poller = poller_new(), .told = told[1], .name = (char)i };
                assert_int_equal(poller_add_listener(sleepers[i].poller, listener, 1), 0);
        }
        for (int i = 0; i < 2; i++) {
                assert_int_equal(pthread_create(&threads[i], NULL, sleeper_main, &sleepers[i]), 0);
                await_sleep(&sleepers[i]);
        }
        client = connect_tcp(&sin);
        assert_int_equal(read(told[0], &first, 1), 1);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, others), 0);
        assert_int_equal(poller_add(sleepers[!first].poller, others[0], 2), 0);
        assert_int_equal(read(told[0], &second, 1), 1);
        for (int i = 0; i < 2; i++) {
                pthread_join(threads[i], NULL);
                close(sleepers[i].poller);
        }
        assert_int_equal(second, !first);
        assert_int_equal(sleepers[(int)first].key, 1);
        assert_int_equal(sleepers[(int)second].key, 2);
        close(client);
        close(listener);
        for (int i = 0; i < 2; i++) {
                close(told[i]);
                close(others[i]);
        }
}

/* Edges come again for new bytes though the old ones were left; without news there are none. */
static void test_kernel_edges_again(void **state) {
        struct bench *bench = *state;
        struct sockaddr_in sin;
        int listener = listen_tcp(&sin), client = connect_tcp(&sin), fd;

        do
                fd = accept(listener, NULL, NULL);
        while (fd < 0 && errno == EAGAIN);
        assert_true(fd >= 0);
        assert_int_equal(poller_add(bench->record.poller, fd, 5), 0);
        await_events(bench, 5, POLLER_OUT);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(send(client, "a", 1, 0), 1);
        await_events(bench, 5, POLLER_IN);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(send(client, "b", 1, 0), 1);
        await_events(bench, 5, POLLER_IN);
        /* One urgent byte says so, and stays said in later events until it is passed. */
        assert_int_equal(send(client, "!", 1, MSG_OOB), 1);
        await_events(bench, 5, POLLER_PRI);
        assert_int_equal(shutdown(client, SHUT_WR), 0);
        await_events(bench, 5, POLLER_IN | POLLER_RDHUP);
        assert_int_equal(events_of(bench, 5) & POLLER_HUP, 0);
        close(fd);
        close(client);
        close(listener);
}

/* A reset is IN, ERR and HUP, and the error waits in SO_ERROR. */
static void test_kernel_reset(void **state) {
        struct bench *bench = *state;
        struct linger now = { .l_onoff = 1 };
        struct sockaddr_in sin;
        int listener = listen_tcp(&sin), client = connect_tcp(&sin), fd, error = 0;
        socklen_t len = sizeof(error);

        do
                fd = accept(listener, NULL, NULL);
        while (fd < 0 && errno == EAGAIN);
        assert_int_equal(poller_add(bench->record.poller, fd, 5), 0);
        assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        close(client);
        await_events(bench, 5, POLLER_IN | POLLER_ERR | POLLER_HUP | POLLER_RDHUP);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
        assert_int_equal(error, ECONNRESET);
        close(fd);
        close(listener);
}

struct mover {
        int poller;
        int fd;
        int r;
};

static void *mover_main(void *arg) {
        struct mover *mover = arg;

        mover->r = poller_add(mover->poller, mover->fd, 77);
        return NULL;
}

/* Another thread registers a socket: the sleeper is told at once.  That is how a session changes thread. */
static void test_kernel_add_wakes_the_other_thread(void **state) {
        struct bench *bench = *state;
        struct mover mover = { .poller = bench->record.poller };
        pthread_t thread;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        assert_int_equal(send(pair[1], "waiting", 7, 0), 7);
        mover.fd = pair[0];
        bench->stop_after = 1;
        bench->n = 0;
        assert_int_equal(pthread_create(&thread, NULL, mover_main, &mover), 0);
        assert_int_equal(loop_run(&bench->loop), 0);
        pthread_join(thread, NULL);
        assert_int_equal(mover.r, 0);
        assert_int_equal(events_of(bench, 77) & (POLLER_IN | POLLER_OUT), POLLER_IN | POLLER_OUT);
        close(pair[0]);
        close(pair[1]);
}

/* A closed descriptor leaves the epoll by itself, and what was pending for it with it. */
static void test_kernel_close_unregisters(void **state) {
        struct bench *bench = *state;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        assert_int_equal(poller_add(bench->record.poller, pair[0], 5), 0);
        assert_int_equal(poller_add(bench->record.poller, pair[0], 6), -EEXIST);
        assert_int_equal(send(pair[1], "x", 1, 0), 1);
        close(pair[0]);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(poller_remove(bench->record.poller, pair[1]), -ENOENT);
        assert_int_equal(poller_add(bench->record.poller, pair[0], 5), -EBADF);
        close(pair[1]);
}

/*
 * AF_UNIX tells whoever asks for OUT of each byte that the peer has read, full or not; one that was added quietly
 * hears of that only from poller_watch() on, which itself tells what holds already, to poller_unwatch().
 */
static void test_kernel_quiet(void **state) {
        struct bench *bench = *state;
        int pair[2], fd;
        char byte;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        fd = pair[0];
        assert_int_equal(poller_add_quiet(bench->record.poller, fd, 5), 0);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_int_equal(recv(pair[1], &byte, 1, 0), 1);
        assert_string_equal(round_of(bench, 0), "");

        assert_int_equal(poller_watch(bench->record.poller, fd, 6), 0);
        assert_string_equal(round_of(bench, 0), "e6");
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(recv(pair[1], &byte, 1, 0), 1);
        assert_string_equal(round_of(bench, 0), "e6");
        assert_int_equal(send(pair[1], "y", 1, 0), 1);
        assert_string_equal(round_of(bench, 0), "e6");

        assert_int_equal(poller_unwatch(bench->record.poller, fd, 7), 0);
        assert_string_equal(round_of(bench, 0), "e7");
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_int_equal(recv(pair[1], &byte, 1, 0), 1);
        assert_string_equal(round_of(bench, 0), "");
        assert_int_equal(send(pair[1], "y", 1, 0), 1);
        assert_string_equal(round_of(bench, 0), "e7");

        close(fd);
        assert_int_equal(poller_watch(bench->record.poller, pair[1], 6), -ENOENT);
        assert_int_equal(poller_unwatch(bench->record.poller, pair[1], 6), -ENOENT);
        close(pair[1]);
}

static int64_t passed_ms(int64_t since_ms) {
        return sys_clock_ms() - since_ms;
}

/* Rounds until one says something. */
static const char *rounds_of(struct bench *bench) {
        int64_t began = sys_clock_ms();
        const char *text;

        do
                text = round_of(bench, PATIENCE_MS);
        while (!*text && passed_ms(began) < PATIENCE_MS);
        return text;
}

/* The alarm ends a wait when the next timer is due, and when the caller's time is up. */
static void test_alarm(void **state) {
        struct bench *bench = *state;
        int64_t began = bench->loop.now_ms;

        assert_int_equal(loop_alarm(&bench->loop), 0);
        wheel_arm(&bench->loop.wheel, 1, began + 30);
        assert_string_equal(rounds_of(bench), "t1");
        assert_true(passed_ms(began) >= 30);

        began = bench->loop.now_ms;
        wheel_arm(&bench->loop.wheel, 1, began + 2 * PATIENCE_MS);
        assert_string_equal(round_of(bench, 20), "");
        assert_true(passed_ms(began) >= 20 && passed_ms(began) < PATIENCE_MS);

        /* What comes before all that it is set for, sets it anew; what comes later does not. */
        began = bench->loop.now_ms;
        wheel_arm(&bench->loop.wheel, 2, began + 40);
        loop_wake(&bench->record);
        assert_string_equal(rounds_of(bench), "w");
        assert_in_range(bench->loop.alarm_ms, began, began + 40);
        wheel_arm(&bench->loop.wheel, 3, began + 10);
        assert_string_equal(rounds_of(bench), "t3");
        assert_string_equal(rounds_of(bench), "t2");
        assert_true(passed_ms(began) >= 40);

        /* Events do not wait for it. */
        loop_wake(&bench->record);
        assert_string_equal(round_of(bench, PATIENCE_MS), "w");
        loop_deinit(&bench->loop);
}

/* One that goes off without having been set, as that of a process before us, costs a round and no timer. */
static void test_alarm_of_another(void **state) {
        struct loop_links links[1] = { { 0 } };
        struct wheel_node timers[1] = { { 0 } };
        struct bench *bench = *state;
        int64_t began = bench->loop.now_ms;
        struct loop other;

        loop_init(&other, &bench->record, &bench_handlers, bench, links, timers);
        assert_int_equal(loop_alarm(&bench->loop), 0);
        assert_int_equal(loop_alarm(&other), 0);
        wheel_arm(&bench->loop.wheel, 1, began + 60);
        wheel_arm(&other.wheel, 0, began + 20);
        loop_wake(&bench->record);
        assert_int_equal(loop_round(&other, -1), 0);
        assert_true(other.alarm_ms <= began + 20);
        assert_string_equal(rounds_of(bench), "t1");
        assert_true(passed_ms(began) >= 60);
        loop_deinit(&other);
        loop_deinit(&other);
        loop_deinit(&bench->loop);
}

/* Where there is none, or it cannot be set, a wait ends all the same. */
static void test_no_alarm(void **state) {
        static struct loop_record none = { .poller = -1, .wake = -1 };
        struct bench *bench = *state;
        int64_t began = bench->loop.now_ms;
        struct loop broken = bench->loop;

        broken.record = &none;
        assert_int_equal(loop_alarm(&broken), -EBADF);
        assert_int_equal(broken.alarm, -1);

        bench->loop.alarm = bench->record.wake;
        wheel_arm(&bench->loop.wheel, 1, began + 20);
        assert_string_equal(rounds_of(bench), "t1");
        assert_true(passed_ms(began) >= 20);
        bench->loop.alarm = -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_ready_in_order),
                TEST(test_ready_again_waits_for_the_next_round),
                TEST(test_others_made_ready_wait_too),
                TEST(test_unready),
                TEST(test_removal_during_a_round),
                TEST(test_ready_does_not_starve_events),
                TEST(test_wakes_are_gathered),
                TEST(test_wake_from_another_thread),
                TEST(test_timer),
                TEST(test_timer_rearms_itself),
                TEST(test_stop_ends_after_the_round),
                TEST(test_wait_failure_is_fatal),
                TEST(test_record_of_the_batch),
                TEST(test_more_than_a_batch),
                TEST(test_kernel_listener_edges),
                TEST(test_kernel_exclusive),
                TEST(test_kernel_edges_again),
                TEST(test_kernel_reset),
                TEST(test_kernel_add_wakes_the_other_thread),
                TEST(test_kernel_close_unregisters),
                TEST(test_kernel_quiet),
                TEST(test_alarm),
                TEST(test_alarm_of_another),
                TEST(test_no_alarm),
        };

        return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
