/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "health/health.h"
#include "script/rig.h"
#include "script/script.h"

/* What the health thread does, without the thread: round by round, on a virtual clock.  Servers are AF_UNIX sockets. */

#define MANY 300
#define CROWD (HEALTH_FLIGHT + 60)

struct bench {
        struct rig rig;
        struct health *health;
        struct backend *backend;
        struct server_record *records;
        struct addr front;
        unsigned n;
        int listen[8];                  /* of the first servers; -1: it is down */
        int client;
        unsigned accepted[8];           /* connections that were closed again */
        int keep;                       /* leaves connections in the backlog */
};

static void bench_load(struct bench *bench, unsigned servers, const char *keys) {
        size_t size = 2000 + servers * 80u, len;
        char *text = malloc(size);

        memset(bench, 0, sizeof(*bench));
        bench->client = -1;
        bench->n = servers;
        for (int i = 0; i < 8; i++)
                bench->listen[i] = -1;
        len = (size_t)snprintf(text, size, "frontend \"f\" { listen \"unix:@f\" { } backend = \"b\" }\n"
                                           "backend \"b\" { %s\n", keys);
        for (unsigned i = 0; i < servers; i++)
                len += (size_t)snprintf(text + len, size - len, "server \"s%u\" { address = \"unix:@s%u\" }\n", i, i);
        snprintf(text + len, size - len, "}\n");
        rig_load(&bench->rig, text);
        free(text);
        rig_name(&bench->rig.conf->frontends[0].listeners[0].addr);
        bench->front = bench->rig.conf->frontends[0].listeners[0].addr;
        bench->rig.conf->frontends[0].access_log = 1;
        for (unsigned i = 0; i < servers; i++)
                rig_name(&bench->rig.conf->backends[0].servers[i].addr);
}

static void bench_health(struct bench *bench) {
        assert_int_equal(health_new(&bench->health, &bench->rig.shared), 0);
        assert_non_null(bench->health);
}

static void bench_start(struct bench *bench) {
        rig_start(&bench->rig, 4, 8);
        bench->backend = &bench->rig.shared.backends[0];
        bench->records = arena_slab(&bench->rig.arena, ARENA_SERVERS);
        bench_health(bench);
}

static void bench_stop(struct bench *bench) {
        health_free(bench->health);
        assert_null(bench->rig.shared.health);
        for (int i = 0; i < 8; i++)
                if (bench->listen[i] >= 0)
                        close(bench->listen[i]);
        if (bench->client >= 0)
                close(bench->client);
        assert_null(rig_stop(&bench->rig));
}

static void bench_listen(struct bench *bench, unsigned i, int backlog) {
        const struct addr *addr = &bench->rig.conf->backends[0].servers[i].addr;

        bench->listen[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(bench->listen[i] >= 0);
        assert_int_equal(bind(bench->listen[i], &addr->sa, addr->len), 0);
        assert_int_equal(listen(bench->listen[i], backlog), 0);
}

static void bench_up(struct bench *bench, unsigned i) {
        bench_listen(bench, i, 64);
}

static void bench_down(struct bench *bench, unsigned i) {
        close(bench->listen[i]);
        bench->listen[i] = -1;
}

static void bench_accept(struct bench *bench) {
        for (int i = 0; i < 8 && !bench->keep; i++)
                for (int fd; bench->listen[i] >= 0 && (fd = accept(bench->listen[i], NULL, NULL)) >= 0;
                     bench->accepted[i]++)
                        close(fd);
}

/* Lets so many milliseconds pass. */
static void bench_pass(struct bench *bench, int64_t ms) {
        for (int64_t end = script.now_ms + ms;; script.now_ms++) {
                /* What is due takes several rounds: to find it due, to be its turn, to go on. */
                for (unsigned i = 0; i < 4 + bench->n / 16; i++)
                        assert_int_equal(health_round(bench->health, 0), 0);
                bench_accept(bench);
                if (script.now_ms >= end)
                        return;
        }
}

/* How long until a server is in that state; fails where it takes more than `most`. */
static int64_t bench_until(struct bench *bench, unsigned i, enum server_check check, int64_t most) {
        int64_t begin = script.now_ms;

        while (bench->records[i].check != check) {
                if (script.now_ms - begin > most)
                        fail_msg("server %u is not %d after %ld ms", i, check, (long)most);
                bench_pass(bench, 1);
        }
        return script.now_ms - begin;
}

static void bench_admin(struct server_record *record, void *arg) {
        record->admin = *(const uint8_t *)arg;
}

static void bench_set_admin(struct bench *bench, unsigned i, uint8_t admin) {
        backend_change(bench->backend, i, bench_admin, &admin, script.now_ms);
        env_wake_health(&bench->rig.shared);
}

static int bench_pick(struct bench *bench) {
        struct backend_request request = { .now_ms = script.now_ms };
        struct addr addr;
        int slot = backend_pick(bench->backend, &request, &addr);

        if (slot >= 0)
                backend_release(bench->backend, (unsigned)slot);
        return slot;
}

/* Nothing to look after: there is no thread. */
static void test_nothing(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "");
        rig_start(&bench.rig, 4, 8);
        assert_int_equal(health_new(&bench.health, &bench.rig.shared), 0);
        assert_null(bench.health);
        assert_int_equal(health_descriptors(bench.rig.conf), 0);
        assert_int_equal(health_beat(NULL), INT64_MAX);
        health_leave(NULL);
        health_stop(NULL, 0);
        env_wake_health(&bench.rig.shared);
        bench_stop(&bench);
}

/* The first check comes at once and decides; who is not checked stays unknown and is used. */
static void test_first(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 3, "check { interval = 1s }");
        bench.rig.conf->backends[0].servers[2].check = 0;
        bench_up(&bench, 1);
        bench_start(&bench);
        assert_int_equal(health_descriptors(bench.rig.conf), 2 + 2);
        assert_true(bench_pick(&bench) >= 0);
        bench_pass(&bench, 5);
        assert_int_equal(health_beat(bench.health), script.now_ms);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        assert_int_equal(bench.records[0].check_last, SERVER_RESULT_FAILED);
        assert_string_equal(bench.records[0].check_detail, "connect: Connection refused");
        assert_true(bench.records[0].check_wall_ms > 0);
        assert_int_equal(bench.records[1].check, SERVER_CHECK_UP);
        assert_int_equal(bench.records[1].check_last, SERVER_RESULT_OK);
        assert_int_equal(bench.records[2].check, SERVER_CHECK_NONE);
        assert_true(rig_logged(&bench.rig, "health check: unchecked -> down: connect: Connection refused; "
                                           "2 of 3 servers left (server=b/s0 address="));
        assert_true(rig_logged(&bench.rig, "health check: unchecked -> up: connected; 2 of 3 servers left"));
        for (int i = 0; i < 10; i++)
                assert_true(bench_pick(&bench) > 0);
        bench_stop(&bench);
}

/* rise and fall, and the pace of checks. */
static void test_rise_and_fall(void **unused) {
        struct bench bench;
        int64_t took;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 1s fast-interval = 100ms rise = 3 fall = 4 }");
        bench_up(&bench, 0);
        bench_start(&bench);
        bench_pass(&bench, 20000);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        assert_in_range(bench.accepted[0], 19, 22);

        bench_down(&bench, 0);
        took = bench_until(&bench, 0, SERVER_CHECK_DOWN, 3000);
        assert_in_range(took, 3 * 95, 1050 + 3 * 105 + 1);
        assert_true(rig_logged(&bench.rig, "health check: up -> down: connect: Connection refused (4 in a row); "
                                           "0 of 1 servers left"));
        assert_int_equal(bench_pick(&bench), BACKEND_NO_SERVER);

        bench_up(&bench, 0);
        took = bench_until(&bench, 0, SERVER_CHECK_UP, 3000);
        assert_in_range(took, 2 * 95, 1050 + 2 * 105 + 1);
        assert_true(rig_logged(&bench.rig, "health check: down -> up: connected (3 in a row); 1 of 1 servers left"));
        assert_in_range(bench.records[0].up_ms, script.now_ms - 1, script.now_ms);
        assert_int_equal(bench_pick(&bench), 0);
        bench_stop(&bench);
}

/* One that flaps faster than rise and fall allow changes nothing. */
static void test_flapping(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 100ms rise = 3 fall = 3 }");
        bench_up(&bench, 0);
        bench_start(&bench);
        bench_pass(&bench, 10);
        for (int i = 0; i < 50; i++) {
                bench_down(&bench, 0);
                bench_pass(&bench, 190);
                bench_up(&bench, 0);
                bench_pass(&bench, 190);
                assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        }
        assert_false(rig_logged(&bench.rig, "-> down"));
        bench_stop(&bench);
}

/* One that accepts and says nothing: each check lasts as long as its deadline, and no longer. */
static void test_silent_server(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 2, "check { type = \"expect\" send = \"x\" expect = \"y\" interval = 1s fall = 3 } "
                              "timeouts { check = 500ms }");
        bench.keep = 1;
        bench_up(&bench, 0);
        bench_start(&bench);
        bench_pass(&bench, 499);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_NONE);
        bench_pass(&bench, 1);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        assert_string_equal(bench.records[0].check_detail, "time-out after 500 ms, without an answer");
        bench_pass(&bench, 20000);
        assert_in_range(script.calls[SCRIPT_SEND], 20, 22);
        bench_stop(&bench);
}

/* How many checks begin at once, at most, while ms pass. */
static uint64_t bench_burst(struct bench *bench, int64_t ms) {
        uint64_t most = 0;

        while (ms-- > 0) {
                uint64_t before = script.calls[SCRIPT_SOCKET];

                bench_pass(bench, 1);
                if (script.calls[SCRIPT_SOCKET] - before > most)
                        most = script.calls[SCRIPT_SOCKET] - before;
        }
        return most;
}

/* Many servers are not checked in the same moment: not at the first start, not later, and not after a new start. */
static void test_spread(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, MANY, "check { interval = 2s }");
        bench_start(&bench);
        assert_in_range(bench_burst(&bench, 2000), 1, 4);
        assert_in_range(script.calls[SCRIPT_SOCKET], MANY, MANY * 2);
        for (unsigned i = 0; i < MANY; i++)
                assert_int_equal(bench.records[i].check, SERVER_CHECK_DOWN);
        assert_in_range(bench_burst(&bench, 6000), 1, 12);

        health_free(bench.health);
        bench_health(&bench);
        script_count_anew();
        assert_in_range(bench_burst(&bench, 2100), 1, 12);
        assert_in_range(script.calls[SCRIPT_SOCKET], MANY, MANY * 2 + 30);
        bench_stop(&bench);
}

/* No more than so many at once, and each has its turn. */
static void test_flight(void **unused) {
        struct rlimit limit;
        struct bench bench;
        unsigned down = 0;

        (void)unused;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max < 2000)
                skip();
        limit.rlim_cur = 2000;
        setrlimit(RLIMIT_NOFILE, &limit);
        bench_load(&bench, CROWD, "check { interval = 1s } timeouts { check = 3s }");
        bench.keep = 1;
        bench_listen(&bench, 0, 0);
        /* All have one address, whose backlog is full: they hang. */
        for (unsigned i = 1; i < CROWD; i++)
                bench.rig.conf->backends[0].servers[i].addr = bench.rig.conf->backends[0].servers[0].addr;
        bench_start(&bench);
        assert_int_equal(health_descriptors(bench.rig.conf), HEALTH_FLIGHT + 2);
        for (int i = 0; i < 30; i++) {
                bench_pass(&bench, 100);
                assert_true(script.calls[SCRIPT_SOCKET] - script.calls[SCRIPT_CLOSE] <= HEALTH_FLIGHT);
        }
        bench_pass(&bench, 5000);
        for (unsigned i = 0; i < CROWD; i++)
                down += bench.records[i].check == SERVER_CHECK_DOWN;
        /* One found room in the backlog. */
        assert_in_range(down, CROWD - 2, CROWD);
        bench_stop(&bench);
}

static void test_maintenance(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 100ms }");
        bench.rig.conf->backends[0].servers[1].disabled = 1;
        bench_up(&bench, 0);
        bench_up(&bench, 1);
        bench_start(&bench);
        bench_pass(&bench, 1000);
        assert_int_equal(bench.accepted[1], 0);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);

        /* Drained: still checked. */
        bench_set_admin(&bench, 0, SERVER_DRAIN);
        bench.accepted[0] = 0;
        bench_pass(&bench, 1000);
        assert_in_range(bench.accepted[0], 9, 12);
        bench_down(&bench, 0);
        bench_until(&bench, 0, SERVER_CHECK_DOWN, 500);

        /* In maintenance: not checked, and nothing is known when it comes back. */
        bench_set_admin(&bench, 0, SERVER_MAINT);
        bench_pass(&bench, 1);
        bench_up(&bench, 0);
        bench.accepted[0] = 0;
        bench_pass(&bench, 3000);
        assert_int_equal(bench.accepted[0], 0);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_NONE);
        bench_set_admin(&bench, 0, SERVER_READY);
        bench_pass(&bench, 1);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        bench_stop(&bench);
}

/* A check that is under way when it does not count any more counts no more. */
static void test_stale(void **unused) {
        struct addr other;
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 1s } timeouts { check = 500ms }");
        bench.keep = 1;
        bench_listen(&bench, 0, 0);
        for (int i = 0; i < 2; i++) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

                connect(fd, &bench.rig.conf->backends[0].servers[0].addr.sa,
                        bench.rig.conf->backends[0].servers[0].addr.len);
                if (i)
                        close(fd);
                else
                        bench.client = fd;
        }
        bench_start(&bench);
        bench_pass(&bench, 300);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_NONE);
        /* The address changes, and nobody says so: the result is of the old one. */
        rig_name(&other);
        backend_set_address(bench.backend, 0, &other);
        bench_pass(&bench, 210);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        assert_string_equal(bench.records[0].check_detail, "connect: Connection refused");
        assert_false(rig_logged(&bench.rig, "backlog"));

        /* Nobody says so, and it is found out soon. */
        backend_set_address(bench.backend, 0, &bench.rig.conf->backends[0].servers[0].addr);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_NONE);
        bench_pass(&bench, 1600);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        assert_string_equal(bench.records[0].check_detail, "time-out: its backlog was full for 500 ms");
        bench_stop(&bench);
}

/* Checks of another address. */
static void test_check_address(void **unused) {
        struct bench bench;
        struct conf_server *server;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 100ms }");
        server = &bench.rig.conf->backends[0].servers[0];
        server->check_text = "elsewhere";
        server->check_addr = bench.rig.conf->backends[0].servers[1].addr;
        bench_up(&bench, 1);
        bench_start(&bench);
        bench_pass(&bench, 10);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        assert_true(rig_logged(&bench.rig, "health check at elsewhere: unchecked -> up: connected"));
        bench_stop(&bench);
}

/* What is known outlives the process, streak and all; and a config without checks does not keep it. */
static void test_survives(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 100ms rise = 5 fall = 5 }");
        bench_up(&bench, 1);
        bench_start(&bench);
        bench_pass(&bench, 10);
        bench_up(&bench, 0);
        bench_down(&bench, 1);
        bench_pass(&bench, 250);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        assert_int_equal(bench.records[1].check, SERVER_CHECK_UP);
        assert_in_range(bench.records[0].check_streak, 2, 3);
        for (int i = 0; i < 3; i++) {
                health_free(bench.health);
                bench_health(&bench);
                assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
                assert_int_equal(bench.records[1].check, SERVER_CHECK_UP);
                assert_int_equal(bench_pick(&bench), 1);
        }
        bench_pass(&bench, 450);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        assert_int_equal(bench.records[1].check, SERVER_CHECK_DOWN);
        bench_stop(&bench);
}

/* Members come and go at run time, as names resolve. */
static void test_members(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 100ms }");
        bench_up(&bench, 0);
        bench_up(&bench, 1);
        bench_start(&bench);
        bench_pass(&bench, 200);
        assert_true(bench.accepted[1] > 0);
        bench.backend->n_members--;
        env_wake_health(&bench.rig.shared);
        bench_pass(&bench, 1);
        bench.accepted[1] = 0;
        bench_pass(&bench, 3000);
        assert_int_equal(bench.accepted[1], 0);
        bench.backend->n_members++;
        env_wake_health(&bench.rig.shared);
        bench_pass(&bench, 200);
        assert_true(bench.accepted[1] > 0);
        bench_stop(&bench);
}

/* Without an address there is nothing to check; with one there is, at once. */
static void test_no_address(void **unused) {
        struct addr none = { .kind = ADDR_NONE };
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 100ms }");
        bench_up(&bench, 0);
        bench_start(&bench);
        backend_set_address(bench.backend, 0, &none);
        bench_pass(&bench, 1000);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_NONE);
        assert_int_equal(bench.accepted[0], 0);
        backend_set_address(bench.backend, 0, &bench.rig.conf->backends[0].servers[0].addr);
        env_wake_health(&bench.rig.shared);
        bench_pass(&bench, 1);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        bench_stop(&bench);
}

static void bench_retire(struct server_record *record, void *arg) {
        record->former = record->addr;
        record->addr = (struct addr){ .kind = ADDR_NONE };
        (void)arg;
}

/* An address that goes and comes back, as names do, is as it was; another one is not. */
static void test_address_returns(void **unused) {
        struct addr own, other;
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 1h }");
        bench_start(&bench);
        bench_pass(&bench, 5);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        own = bench.records[0].addr;
        backend_change(bench.backend, 0, bench_retire, NULL, script.now_ms);
        backend_set_address(bench.backend, 0, &own);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_DOWN);
        backend_change(bench.backend, 0, bench_retire, NULL, script.now_ms);
        rig_name(&other);
        backend_set_address(bench.backend, 0, &other);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_NONE);
        bench_stop(&bench);
}

static void bench_connect(struct bench *bench) {
        bench->client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(bench->client, &bench->front.sa, bench->front.len), 0);
        for (int i = 0; i < 8; i++)
                assert_int_equal(rig_round(&bench->rig), 0);
}

/* A client that waits for a server gets one as soon as it is up. */
static void test_grants(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 100ms } when-down = \"wait\" timeouts { queue = 1h }");
        bench_start(&bench);
        bench_pass(&bench, 10);
        bench_connect(&bench);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_QUEUED);
        bench.keep = 1;
        bench_up(&bench, 0);
        bench_until(&bench, 0, SERVER_CHECK_UP, 1000);
        for (int i = 0; i < 8; i++)
                assert_int_equal(rig_round(&bench.rig), 0);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_RELAYING);
        bench_stop(&bench);
}

/* on-down: what runs on a server that is down is ended, or goes on; what runs on another goes on. */
static void test_on_down(void **state) {
        int closes = *(int *)*state, kept[2], other;
        struct bench bench;

        bench_load(&bench, 2, closes ? "check { interval = 100ms on-down = \"close\" }" : "check { interval = 100ms }");
        bench.keep = 1;
        bench_up(&bench, 0);
        bench_up(&bench, 1);
        bench_start(&bench);
        for (int i = 0; i < 2; i++) {
                other = bench.client;
                bench_connect(&bench);
                assert_int_equal(bench.rig.shared.sessions[i].state, LIFE_RELAYING);
                assert_int_equal(bench.rig.shared.sessions[i].server, i);
                kept[i] = accept4(bench.listen[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                assert_true(kept[i] >= 0);
        }
        bench_pass(&bench, 10);
        bench_down(&bench, 0);
        bench_until(&bench, 0, SERVER_CHECK_DOWN, 1000);
        for (int i = 0; i < 8; i++)
                assert_int_equal(rig_round(&bench.rig), 0);
        assert_int_equal(bench.rig.shared.sessions[0].state, closes ? LIFE_CLOSED : LIFE_RELAYING);
        assert_int_equal(bench.rig.shared.sessions[1].state, LIFE_RELAYING);
        assert_int_equal(rig_logged(&bench.rig, "end=server-down"), closes);
        assert_int_equal(rig_logged(&bench.rig, "1 of 2 servers left; 1 sessions on it are ended"), closes);
        close(kept[0]);
        close(kept[1]);
        close(other);
        bench_stop(&bench);
}

/* A worker that ended before it could end the sessions: its successor does. */
static void test_on_down_later(void **unused) {
        struct bench bench;
        int kept;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 100ms on-down = \"close\" }");
        bench.keep = 1;
        bench_up(&bench, 0);
        bench_start(&bench);
        bench_connect(&bench);
        kept = accept4(bench.listen[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(kept >= 0);
        health_free(bench.health);
        bench.records[0].check = SERVER_CHECK_DOWN;
        bench_health(&bench);
        for (int i = 0; i < 8; i++)
                assert_int_equal(rig_round(&bench.rig), 0);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_CLOSED);
        close(kept);
        bench_stop(&bench);
}

/* A session that was only connecting as its server went down, and has come through after all: it does not stay. */
static void test_on_down_connecting(void **unused) {
        struct bench bench;
        int kept;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 1h on-down = \"close\" }");
        bench.keep = 1;
        bench_up(&bench, 0);
        bench_start(&bench);
        bench_pass(&bench, 10);
        bench_connect(&bench);
        kept = accept4(bench.listen[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(kept >= 0);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_RELAYING);
        bench.records[0].check = SERVER_CHECK_DOWN;
        bench_pass(&bench, 1010);
        for (int i = 0; i < 8; i++)
                assert_int_equal(rig_round(&bench.rig), 0);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_CLOSED);
        assert_int_equal(rig_logged(&bench.rig, "end=server-down"), 1);
        close(kept);
        bench_stop(&bench);
}

static void bench_eject(struct server_record *record, void *arg) {
        record->ejected_until_ms = script.now_ms + *(int *)arg;
}

static void bench_forget_log(struct bench *bench) {
        assert_int_equal(ftruncate(bench->rig.log_fd, 0), 0);
}

/* The end of an ejection is noticed and makes room, also where it was made longer meanwhile. */
static void test_ejection_ends(void **unused) {
        int ms = 1000;
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "outlier { } when-down = \"wait\" timeouts { queue = 1h }");
        bench.keep = 1;
        bench_up(&bench, 0);
        bench_start(&bench);
        assert_int_equal(health_descriptors(bench.rig.conf), 2);
        bench_pass(&bench, 10);
        backend_change(bench.backend, 0, bench_eject, &ms, script.now_ms);
        env_wake_health(&bench.rig.shared);
        bench_pass(&bench, 500);
        bench_connect(&bench);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_QUEUED);
        backend_change(bench.backend, 0, bench_eject, &ms, script.now_ms);
        bench_pass(&bench, 999);
        assert_false(rig_logged(&bench.rig, "ejection is over"));
        bench_pass(&bench, 1);
        assert_true(rig_logged(&bench.rig, "live traffic: the server's ejection is over; 1 of 1 servers left"));
        for (int i = 0; i < 8; i++)
                assert_int_equal(rig_round(&bench.rig), 0);
        assert_int_equal(bench.rig.shared.sessions[0].state, LIFE_RELAYING);

        /* One that a process before this one made. */
        bench_forget_log(&bench);
        backend_change(bench.backend, 0, bench_eject, &ms, script.now_ms);
        health_free(bench.health);
        bench_health(&bench);
        bench_pass(&bench, 999);
        assert_false(rig_logged(&bench.rig, "ejection is over"));
        bench_pass(&bench, 1);
        assert_true(rig_logged(&bench.rig, "ejection is over"));
        bench_stop(&bench);
}

/* Descriptors that are short are no server's fault. */
static void test_short(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 2, "check { interval = 100ms fall = 1 rise = 1 }");
        bench_up(&bench, 0);
        bench_start(&bench);
        bench_pass(&bench, 50);
        script_rule(SCRIPT_SOCKET, SCRIPT_FAIL, EMFILE, 0);
        bench_pass(&bench, 2000);
        assert_in_range(script.rules[0].hits, 36, 46);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        assert_int_equal(bench.records[1].check, SERVER_CHECK_DOWN);
        assert_true(rig_logged(&bench.rig, "health checks cannot be made: socket: Too many open files; servers stay "
                                           "as they are"));
        script.n_rules = 0;
        bench_down(&bench, 0);
        bench_until(&bench, 0, SERVER_CHECK_DOWN, 110);
        bench_stop(&bench);
}

static void test_own_calls_fail(void **unused) {
        struct bench bench;

        (void)unused;
        bench_load(&bench, 1, "check { interval = 100ms }");
        bench_up(&bench, 0);
        rig_start(&bench.rig, 4, 8);
        bench.backend = &bench.rig.shared.backends[0];
        bench.records = arena_slab(&bench.rig.arena, ARENA_SERVERS);
        script_rule(SCRIPT_POLLER_NEW, SCRIPT_FAIL, EMFILE, 0);
        assert_int_equal(health_new(&bench.health, &bench.rig.shared), -EMFILE);
        assert_null(bench.health);
        script.n_rules = 0;
        bench_health(&bench);
        script_rule(SCRIPT_POLLER_WAIT, SCRIPT_FAIL, EBADF, 1);
        script_count_anew();
        assert_int_equal(health_round(bench.health, 0), -EBADF);
        bench_pass(&bench, 10);
        assert_int_equal(bench.records[0].check, SERVER_CHECK_UP);
        bench_stop(&bench);
}

int main(void) {
        static int keep = 0, closes = 1;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_first),
                cmocka_unit_test(test_rise_and_fall),
                cmocka_unit_test(test_flapping),
                cmocka_unit_test(test_silent_server),
                cmocka_unit_test(test_spread),
                cmocka_unit_test(test_flight),
                cmocka_unit_test(test_maintenance),
                cmocka_unit_test(test_stale),
                cmocka_unit_test(test_check_address),
                cmocka_unit_test(test_survives),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_no_address),
                cmocka_unit_test(test_address_returns),
                cmocka_unit_test(test_grants),
                { "test_on_down: keep", test_on_down, NULL, NULL, &keep },
                { "test_on_down: close", test_on_down, NULL, NULL, &closes },
                cmocka_unit_test(test_on_down_later),
                cmocka_unit_test(test_on_down_connecting),
                cmocka_unit_test(test_ejection_ends),
                cmocka_unit_test(test_short),
                cmocka_unit_test(test_own_calls_fail),
        };

        return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
