/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_BALANCE_FIXTURE_H
#define TESTS_UNIT_BALANCE_FIXTURE_H

/* A backend over an arena of its own, for tests of src/balance.  Include after cmocka.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"

#define FIXTURE_SERVERS 1000
#define FIXTURE_SESSIONS 4096

static const char *const fixture_balances[CONF_BALANCES] = {
        [CONF_ROUNDROBIN] = "roundrobin", [CONF_LEASTCONN] = "leastconn", [CONF_RANDOM] = "random",
        [CONF_SOURCE] = "source", [CONF_FIRST] = "first", [CONF_LEAST_TIME] = "least-time",
};

struct fixture {
        struct arena arena;
        struct server_record *records;
        struct conf_server servers[FIXTURE_SERVERS];
        char names[FIXTURE_SERVERS][24];
        struct conf_backend conf;
        struct backend_waiter *waiters;
        struct backend backend;
        int64_t now_ms;
};

/* Servers s0, s1 ...: each has its own number as its slot, an address of its own, and one of the weights (NULL: 1). */
static inline struct fixture *fixture_open(enum conf_balance balance, const uint16_t *weights, size_t n) {
        const uint32_t sizes[ARENA_SLABS] = { [ARENA_SERVERS] = sizeof(struct server_record) };
        const uint32_t counts[ARENA_SLABS] = { [ARENA_SERVERS] = 4 * FIXTURE_SERVERS };
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        f->waiters = calloc(FIXTURE_SESSIONS, sizeof(*f->waiters));
        assert_non_null(f->waiters);
        for (size_t i = 0; i < n; i++) {
                char text[32];
                const char *why;

                snprintf(f->names[i], sizeof(f->names[i]), "s%zu", i);
                snprintf(text, sizeof(text), "10.0.%zu.%zu:80", i / 250, i % 250 + 1);
                f->servers[i] = (struct conf_server){ .name = f->names[i], .weight = weights ? weights[i] : 1,
                                                      .slow_start = CONF_OFF, .check = 1 };
                assert_int_equal(addr_parse(&f->servers[i].addr, text, &why), 0);
        }
        f->conf = (struct conf_backend){ .name = "app", .balance = balance, .servers = f->servers, .n_servers = n };
        assert_int_equal(arena_init(&f->arena, sizes, counts), 0);
        f->records = arena_slab(&f->arena, ARENA_SERVERS);
        f->now_ms = 1000000;
        return f;
}

/* A process begins with what is in the records. */
static inline void fixture_init(struct fixture *f) {
        uint16_t slots[FIXTURE_SERVERS];

        for (size_t i = 0; i < f->conf.n_servers; i++)
                slots[i] = (uint16_t)i;
        memset(f->waiters, 0, FIXTURE_SESSIONS * sizeof(*f->waiters));
        assert_int_equal(backend_init(&f->backend, &f->conf, &f->arena, slots, f->waiters), 0);
}

/* The first process, once the test has changed the config as it wants it. */
static inline void fixture_start(struct fixture *f) {
        for (size_t i = 0; i < f->conf.n_servers; i++) {
                f->records[i].addr = f->servers[i].addr;
                f->records[i].weight = f->servers[i].weight;
                f->records[i].backup = (uint8_t)f->servers[i].backup;
                f->records[i].admin = f->servers[i].disabled ? SERVER_MAINT : SERVER_READY;
        }
        fixture_init(f);
}

static inline void fixture_close(struct fixture *f) {
        backend_deinit(&f->backend);
        arena_deinit(&f->arena);
        free(f->waiters);
        free(f);
}

/* Picks for a client; the slot, or an outcome. */
static inline int fixture_pick(struct fixture *f, uint64_t hash) {
        struct backend_request request = { .hash = hash, .now_ms = f->now_ms };
        struct addr addr;

        return backend_pick(&f->backend, &request, &addr);
}

/* Picks for a client that has tried these. */
static inline int fixture_pick_untried(struct fixture *f, uint64_t hash, const uint16_t *tried, unsigned n) {
        struct backend_request request = { .hash = hash, .now_ms = f->now_ms, .tried = tried, .n_tried = n };
        struct addr addr;

        return backend_pick(&f->backend, &request, &addr);
}

/* What fixture_change() sets. */
struct fixture_setting {
        int admin, weight;              /* -1: stays */
        int64_t ejected_until_ms;       /* 0: stays */
        const struct addr *addr;        /* NULL: stays */
};

static inline void fixture_set(struct server_record *record, void *arg) {
        const struct fixture_setting *setting = arg;

        if (setting->admin >= 0)
                record->admin = (uint8_t)setting->admin;
        if (setting->weight >= 0)
                record->weight = (uint16_t)setting->weight;
        if (setting->ejected_until_ms)
                record->ejected_until_ms = setting->ejected_until_ms;
        if (setting->addr)
                record->addr = *setting->addr;
}

static inline void fixture_change(struct fixture *f, unsigned slot, struct fixture_setting setting) {
        backend_change(&f->backend, slot, fixture_set, &setting, f->now_ms);
}

static inline void fixture_admin(struct fixture *f, unsigned slot, enum server_admin admin) {
        fixture_change(f, slot, (struct fixture_setting){ .admin = (int)admin, .weight = -1 });
}

#endif
