/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "balance_fixture.h"

/* The queue of a backend: by hand, at random against a model, and by many threads at once. */

/* Servers with such limits, and a queue. */
static struct fixture *open_queue(const uint32_t *limits, size_t n, uint32_t queue) {
        struct fixture *f = fixture_open(CONF_ROUNDROBIN, NULL, n);

        for (size_t i = 0; i < n; i++)
                f->servers[i].max_connections = limits[i];
        f->conf.queue = queue;
        return f;
}

static int ask(struct fixture *f, uint32_t session, const uint16_t *tried, unsigned n) {
        struct backend_request request = { .session = session, .now_ms = f->now_ms, .tried = tried, .n_tried = n };
        struct addr addr;

        return backend_pick(&f->backend, &request, &addr);
}

static int granted(struct fixture *f, uint32_t session) {
        struct addr addr = { .kind = ADDR_NONE };
        int slot = backend_granted(&f->backend, session, &addr);

        if (slot >= 0)
                assert_true(addr_equal(&addr, &f->servers[slot].addr));
        return slot;
}

static void test_first_come(void **unused) {
        static const uint32_t limits[] = { 1, 1 };
        struct fixture *f = open_queue(limits, 2, 10);

        (void)unused;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), 0);
        assert_int_equal(ask(f, 1, NULL, 0), 1);
        for (uint32_t i = 2; i < 6; i++)
                assert_int_equal(ask(f, i, NULL, 0), BACKEND_WAIT);
        assert_int_equal(backend_queued(&f->backend), 4);
        assert_int_equal(granted(f, 2), -1);
        assert_int_equal(backend_release(&f->backend, 1), 2);
        /* The place is taken, though nobody is there yet. */
        assert_int_equal(f->records[1].sessions, 1);
        assert_int_equal(ask(f, 6, NULL, 0), BACKEND_WAIT);
        assert_int_equal(granted(f, 2), 1);
        assert_int_equal(granted(f, 2), -1);
        assert_int_equal(backend_release(&f->backend, 0), 3);
        assert_int_equal(backend_release(&f->backend, 1), 4);
        /* A session asks again instead: it is given what it was granted. */
        assert_int_equal(ask(f, 4, NULL, 0), 1);
        assert_int_equal(granted(f, 4), -1);
        assert_int_equal(granted(f, 3), 0);
        assert_int_equal(backend_queued(&f->backend), 2);
        fixture_close(f);
}

static void test_leave(void **unused) {
        static const uint32_t limits[] = { 1 };
        struct fixture *f = open_queue(limits, 1, 10);

        (void)unused;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), 0);
        for (uint32_t i = 1; i < 7; i++)
                assert_int_equal(ask(f, i, NULL, 0), BACKEND_WAIT);
        /* The first, one in the middle, the last; and one that was not there. */
        assert_int_equal(backend_leave(&f->backend, 1), BACKEND_NOBODY);
        assert_int_equal(backend_leave(&f->backend, 3), BACKEND_NOBODY);
        assert_int_equal(backend_leave(&f->backend, 6), BACKEND_NOBODY);
        assert_int_equal(backend_leave(&f->backend, 9), BACKEND_NOBODY);
        assert_int_equal(backend_queued(&f->backend), 3);
        assert_int_equal(backend_release(&f->backend, 0), 2);
        /* It leaves before it has taken up its place: that is the next one's. */
        assert_int_equal(backend_leave(&f->backend, 2), 4);
        assert_int_equal(granted(f, 2), -1);
        assert_int_equal(granted(f, 4), 0);
        assert_int_equal(backend_release(&f->backend, 0), 5);
        assert_int_equal(backend_leave(&f->backend, 5), BACKEND_NOBODY);
        assert_int_equal(f->records[0].sessions, 0);
        assert_int_equal(ask(f, 1, NULL, 0), 0);
        fixture_close(f);
}

static void take_address(struct server_record *record, void *arg) {
        (void)arg;
        record->former = record->addr;
        record->addr = (struct addr){ .kind = ADDR_NONE };
}

/* The name of a server loses an address that somebody was just given: that one has it still, as who has a session. */
static void test_address_goes(void **unused) {
        static const uint32_t limits[] = { 1 };
        struct fixture *f = open_queue(limits, 1, 10);

        (void)unused;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), 0);
        assert_int_equal(ask(f, 1, NULL, 0), BACKEND_WAIT);
        assert_int_equal(backend_release(&f->backend, 0), 1);
        backend_change(&f->backend, 0, take_address, NULL, f->now_ms);
        assert_int_equal(granted(f, 1), 0);
        assert_int_equal(ask(f, 2, NULL, 0), BACKEND_NO_SERVER);
        assert_int_equal(backend_release(&f->backend, 0), BACKEND_NOBODY);
        fixture_close(f);
}

static void test_limits(void **unused) {
        static const uint32_t limits[] = { 1 };
        static const uint16_t tried[] = { 0 };
        struct fixture *f = open_queue(limits, 1, 2);

        (void)unused;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), 0);
        assert_int_equal(ask(f, 1, NULL, 0), BACKEND_WAIT);
        assert_int_equal(ask(f, 2, NULL, 0), BACKEND_WAIT);
        assert_int_equal(ask(f, 3, NULL, 0), BACKEND_QUEUE_FULL);
        /* Who waits already keeps its place; who has tried the only one is to rest. */
        assert_int_equal(ask(f, 1, NULL, 0), BACKEND_WAIT);
        assert_int_equal(ask(f, 4, tried, 1), BACKEND_ALL_TRIED);
        assert_int_equal(backend_release(&f->backend, 0), 1);
        fixture_close(f);

        f = open_queue(limits, 1, 0);
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), 0);
        assert_int_equal(ask(f, 1, NULL, 0), BACKEND_QUEUE_FULL);
        assert_int_equal(backend_release(&f->backend, 0), BACKEND_NOBODY);
        assert_int_equal(ask(f, 1, NULL, 0), 0);
        fixture_close(f);
}

/* Who cannot use a place is passed over, and keeps its own. */
static void test_tried(void **unused) {
        static const uint32_t limits[] = { 1, 1 };
        static const uint16_t zero[] = { 0 }, both[] = { 0, 1 };
        struct fixture *f = open_queue(limits, 2, 10);

        (void)unused;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), 0);
        assert_int_equal(ask(f, 1, NULL, 0), 1);
        assert_int_equal(ask(f, 2, zero, 1), BACKEND_WAIT);
        assert_int_equal(ask(f, 3, zero, 1), BACKEND_WAIT);
        assert_int_equal(ask(f, 4, NULL, 0), BACKEND_WAIT);
        assert_int_equal(ask(f, 5, both, 2), BACKEND_ALL_TRIED);
        assert_int_equal(backend_release(&f->backend, 0), 4);
        assert_int_equal(granted(f, 4), 0);
        assert_int_equal(backend_release(&f->backend, 0), BACKEND_NOBODY);
        /* Nobody who waits can use it: who comes anew may. */
        assert_int_equal(ask(f, 6, NULL, 0), 0);
        assert_int_equal(backend_release(&f->backend, 1), 2);
        assert_int_equal(backend_queued(&f->backend), 1);
        /* What it waits for is gone: it is to try again what it has tried. */
        fixture_admin(f, 1, SERVER_MAINT);
        assert_int_equal(ask(f, 3, zero, 1), BACKEND_ALL_TRIED);
        assert_int_equal(backend_queued(&f->backend), 0);
        assert_int_equal(granted(f, 2), 1);
        fixture_close(f);
}

static void test_when_down(void **unused) {
        static const uint32_t limits[] = { 1, 0 };
        static const uint16_t both[] = { 0, 1 };
        struct fixture *f = open_queue(limits, 2, 0);

        (void)unused;
        f->servers[0].disabled = f->servers[1].disabled = 1;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), BACKEND_NO_SERVER);
        assert_int_equal(ask(f, 0, both, 2), BACKEND_NO_SERVER);
        f->conf.when_down = CONF_WHEN_DOWN_WAIT;
        /* However many, and whatever they have tried: the first that comes back will do. */
        assert_int_equal(ask(f, 0, both, 2), BACKEND_WAIT);
        for (uint32_t i = 1; i < 5; i++)
                assert_int_equal(ask(f, i, NULL, 0), BACKEND_WAIT);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), BACKEND_NOBODY);
        fixture_admin(f, 0, SERVER_READY);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), 0);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), BACKEND_NOBODY);
        assert_int_equal(granted(f, 0), 0);
        /* They have waited so far: a queue that is full is for those that come now. */
        assert_int_equal(ask(f, 1, NULL, 0), BACKEND_WAIT);
        assert_int_equal(ask(f, 9, NULL, 0), BACKEND_QUEUE_FULL);
        fixture_admin(f, 1, SERVER_READY);
        for (uint32_t i = 1; i < 5; i++)
                assert_int_equal(backend_grant(&f->backend, f->now_ms), i);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), BACKEND_NOBODY);
        fixture_close(f);
}

/* Who has tried a server that then goes down, as the last, waits for that one too. */
static void test_down_while_waiting(void **unused) {
        static const uint32_t limits[] = { 0, 1 };
        static const uint16_t zero[] = { 0 };
        struct fixture *f = open_queue(limits, 2, 5);

        (void)unused;
        f->conf.when_down = CONF_WHEN_DOWN_WAIT;
        fixture_start(f);
        assert_int_equal(ask(f, 0, zero, 1), 1);
        assert_int_equal(ask(f, 1, zero, 1), BACKEND_WAIT);
        fixture_admin(f, 0, SERVER_MAINT);
        fixture_admin(f, 1, SERVER_MAINT);
        assert_int_equal(ask(f, 1, zero, 1), BACKEND_WAIT);
        fixture_admin(f, 0, SERVER_READY);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), 1);
        assert_int_equal(granted(f, 1), 0);
        fixture_close(f);
}

static void test_backups(void **unused) {
        static const uint32_t limits[] = { 1, 1 };

        (void)unused;
        for (uint32_t queue = 0; queue < 2; queue++) {
                struct fixture *f = open_queue(limits, 2, queue);

                f->servers[1].backup = 1;
                fixture_start(f);
                assert_int_equal(ask(f, 0, NULL, 0), 0);
                assert_int_equal(ask(f, 1, NULL, 0), queue ? BACKEND_WAIT : 1);
                assert_int_equal(ask(f, 2, NULL, 0), BACKEND_QUEUE_FULL);
                /* The only one that is no backup goes: who waits for it need not any more. */
                fixture_admin(f, 0, SERVER_DRAIN);
                assert_int_equal(backend_grant(&f->backend, f->now_ms), queue ? 1 : BACKEND_NOBODY);
                assert_int_equal(f->records[1].sessions, 1);
                fixture_close(f);
        }
}

/* What the clock opens. */
static void test_ejection_ends(void **unused) {
        static const uint32_t limits[] = { 1 };
        struct fixture *f = open_queue(limits, 1, 5);

        (void)unused;
        f->conf.when_down = CONF_WHEN_DOWN_WAIT;
        fixture_start(f);
        fixture_change(f, 0, (struct fixture_setting){ .admin = -1, .weight = -1,
                                                       .ejected_until_ms = f->now_ms + 500 });
        assert_int_equal(ask(f, 0, NULL, 0), BACKEND_WAIT);
        assert_int_equal(ask(f, 1, NULL, 0), BACKEND_WAIT);
        assert_int_equal(backend_opens_ms(&f->backend), f->now_ms + 500);
        assert_int_equal(backend_grant(&f->backend, f->now_ms + 499), BACKEND_NOBODY);
        assert_int_equal(backend_grant(&f->backend, f->now_ms + 500), 0);
        assert_int_equal(backend_grant(&f->backend, f->now_ms + 500), BACKEND_NOBODY);
        fixture_close(f);
}

/* Another process: places are what the records say, and those that waited join in their order. */
static void test_rejoin(void **unused) {
        static const uint32_t limits[] = { 2, 2 };
        struct fixture *f = open_queue(limits, 2, 1);
        struct backend_request request = { 0 };

        (void)unused;
        fixture_start(f);
        f->records[0].sessions = 7;
        backend_deinit(&f->backend);
        fixture_init(f);
        f->records[0].sessions = 2;
        f->records[1].sessions = 1;
        for (request.session = 10; request.session < 14; request.session++)
                backend_rejoin(&f->backend, &request);
        backend_recount(&f->backend, f->now_ms);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), 10);
        assert_int_equal(backend_grant(&f->backend, f->now_ms), BACKEND_NOBODY);
        assert_int_equal(granted(f, 10), 1);
        assert_int_equal(backend_release(&f->backend, 0), 11);
        fixture_close(f);
}

/* A server that went from the config while it had sessions, and one with more sessions than it may have now. */
static void test_release_of_others(void **unused) {
        static const uint32_t limits[] = { 2 };
        struct fixture *f = open_queue(limits, 1, 5);

        (void)unused;
        f->records[5].sessions = 2;
        f->records[5].member = 0;
        f->records[0].sessions = 4;
        fixture_start(f);
        assert_int_equal(ask(f, 0, NULL, 0), BACKEND_WAIT);
        assert_int_equal(backend_release(&f->backend, 5), BACKEND_NOBODY);
        assert_int_equal(f->records[5].sessions, 1);
        assert_int_equal(backend_release(&f->backend, 0), BACKEND_NOBODY);
        assert_int_equal(backend_release(&f->backend, 0), BACKEND_NOBODY);
        assert_int_equal(backend_release(&f->backend, 0), 0);
        fixture_close(f);
}

/* Against a model */

#define MODEL_SERVERS 6
#define MODEL_SESSIONS 40

enum model_state { IDLE, HOLDS, WAITS, GRANTED };

struct model {
        struct fixture *f;
        struct model_session {
                enum model_state state;
                int slot;
                uint16_t tried[4];
                unsigned n_tried;
        } sessions[MODEL_SESSIONS];
        uint32_t queue[MODEL_SESSIONS];         /* those that wait, in order */
        uint32_t n_queue;
};

static int model_usable(const struct model *model, unsigned slot) {
        return model->f->records[slot].admin == SERVER_READY && model->f->records[slot].weight;
}

static uint32_t model_sessions(const struct model *model, unsigned slot) {
        uint32_t n = 0;

        for (int i = 0; i < MODEL_SESSIONS; i++)
                n += (model->sessions[i].state == HOLDS || model->sessions[i].state == GRANTED) &&
                     model->sessions[i].slot == (int)slot;
        return n;
}

static int model_full(const struct model *model, unsigned slot) {
        uint32_t limit = model->f->servers[slot].max_connections;

        return limit && model_sessions(model, slot) >= limit;
}

static int model_tried(const struct model_session *session, unsigned slot) {
        for (unsigned i = 0; i < session->n_tried; i++)
                if (session->tried[i] == slot)
                        return 1;
        return 0;
}

/* How many servers, backups or not, are usable, not tried, and full or not. */
static unsigned model_count(const struct model *model, const struct model_session *session, int backup, int full) {
        unsigned n = 0;

        for (unsigned i = 0; i < MODEL_SERVERS; i++)
                n += model_usable(model, i) && model->f->servers[i].backup == backup && !model_tried(session, i) &&
                     model_full(model, i) == full;
        return n;
}

static int model_may_use_backups(const struct model *model, const struct model_session *session) {
        return !model_count(model, session, 0, 0) && !(model->f->conf.queue && model_count(model, session, 0, 1));
}

static int model_can_have_any(const struct model *model, const struct model_session *session) {
        return model_count(model, session, 0, 0) ||
               (model_may_use_backups(model, session) && model_count(model, session, 1, 0));
}

static int model_can_have(const struct model *model, const struct model_session *session, unsigned slot) {
        return model_usable(model, slot) && !model_full(model, slot) && !model_tried(session, slot) &&
               (!model->f->servers[slot].backup || model_may_use_backups(model, session));
}

static int model_none_usable(const struct model *model) {
        for (unsigned i = 0; i < MODEL_SERVERS; i++)
                if (model_usable(model, i))
                        return 0;
        return 1;
}

/* What an asking session that cannot have any is told. */
static int model_outcome(const struct model *model, const struct model_session *session) {
        if (model_none_usable(model))
                return model->f->conf.when_down == CONF_WHEN_DOWN_WAIT ? BACKEND_WAIT : BACKEND_NO_SERVER;
        if (!model_count(model, session, 0, 1) && !model_count(model, session, 1, 1))
                return BACKEND_ALL_TRIED;
        if (session->state == WAITS || model->n_queue < model->f->conf.queue)
                return BACKEND_WAIT;
        return session->n_tried ? BACKEND_ALL_TRIED : BACKEND_QUEUE_FULL;
}

static void model_unqueue(struct model *model, uint32_t session) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < model->n_queue; i++)
                if (model->queue[i] != session)
                        model->queue[n++] = model->queue[i];
        model->n_queue = n;
}

/* A call has said that this session was given a place: it is the first that can have one. */
static void model_given(struct model *model, uint32_t session) {
        uint32_t first = BACKEND_NOBODY;
        int slot;

        for (uint32_t i = 0; i < model->n_queue && first == BACKEND_NOBODY; i++)
                if (model_can_have_any(model, &model->sessions[model->queue[i]]))
                        first = model->queue[i];
        assert_int_equal(session, first);
        if (session == BACKEND_NOBODY)
                return;
        slot = model->f->waiters[session].slot;
        assert_in_range(slot, 0, MODEL_SERVERS - 1);
        assert_true(model_can_have(model, &model->sessions[session], (unsigned)slot));
        model->sessions[session].state = GRANTED;
        model->sessions[session].slot = slot;
        model_unqueue(model, session);
}

static void model_ask(struct model *model, uint32_t number) {
        struct model_session *session = &model->sessions[number];
        int want, got;

        if (session->state == IDLE)
                for (session->n_tried = (unsigned)rand() % 4, got = 0; got < (int)session->n_tried; got++)
                        session->tried[got] = (uint16_t)(rand() % MODEL_SERVERS);
        want = model_outcome(model, session);
        got = ask(model->f, number, session->tried, session->n_tried);
        if (model_can_have_any(model, session)) {
                /* Who waits has been asked before, and could not. */
                assert_int_equal(session->state, IDLE);
                assert_in_range(got, 0, MODEL_SERVERS - 1);
                assert_true(model_can_have(model, session, (unsigned)got));
                session->state = HOLDS;
                session->slot = got;
                return;
        }
        assert_int_equal(got, want);
        if (want == BACKEND_WAIT && session->state == IDLE)
                model->queue[model->n_queue++] = number;
        if (want == BACKEND_WAIT && model_none_usable(model))
                session->n_tried = 0;
        if (want != BACKEND_WAIT && session->state == WAITS)
                model_unqueue(model, number);
        session->state = want == BACKEND_WAIT ? WAITS : IDLE;
}

static void model_end(struct model *model, uint32_t number) {
        struct model_session *session = &model->sessions[number];
        enum model_state was = session->state;
        unsigned slot = (unsigned)session->slot;
        int opens = was != WAITS && model_usable(model, slot) && model_full(model, slot);
        uint32_t next;

        session->state = IDLE;
        if (was == WAITS)
                model_unqueue(model, number);
        next = was == HOLDS ? backend_release(&model->f->backend, slot) : backend_leave(&model->f->backend, number);
        if (opens && !model_full(model, slot))
                model_given(model, next);
        else
                assert_int_equal(next, BACKEND_NOBODY);
}

static void model_change(struct model *model) {
        unsigned slot = (unsigned)rand() % MODEL_SERVERS;
        uint32_t session;

        if (rand() % 2)
                fixture_admin(model->f, slot, rand() % 3 ? SERVER_READY : SERVER_MAINT);
        else
                fixture_change(model->f, slot, (struct fixture_setting){ .admin = -1, .weight = rand() % 3 });
        do {
                session = backend_grant(&model->f->backend, model->f->now_ms);
                model_given(model, session);
        } while (session != BACKEND_NOBODY);
}

static void model_check(struct model *model) {
        for (unsigned i = 0; i < MODEL_SERVERS; i++)
                assert_int_equal(model->f->records[i].sessions, model_sessions(model, i));
        assert_int_equal(backend_queued(&model->f->backend), model->n_queue);
        for (uint32_t i = 0; i < model->n_queue; i++)
                assert_false(model_can_have_any(model, &model->sessions[model->queue[i]]));
}

static void model_run(unsigned seed) {
        static const uint32_t queues[] = { 0, 3, 1000 };
        struct model model = { 0 };

        srand(seed);
        model.f = fixture_open((enum conf_balance)(seed % CONF_BALANCES), NULL, MODEL_SERVERS);
        model.f->conf.queue = queues[rand() % 3];
        model.f->conf.when_down = rand() % 2 ? CONF_WHEN_DOWN_WAIT : CONF_WHEN_DOWN_REFUSE;
        for (int i = 0; i < MODEL_SERVERS; i++) {
                model.f->servers[i].max_connections = (uint32_t)(rand() % 5 ? 1 + rand() % 3 : 0);
                model.f->servers[i].backup = rand() % 3 == 0;
        }
        fixture_start(model.f);
        for (int step = 0; step < 3000; step++) {
                uint32_t number = (uint32_t)rand() % MODEL_SESSIONS;
                struct model_session *session = &model.sessions[number];

                if (rand() % 10 == 0)
                        model_change(&model);
                else if (session->state == IDLE || (session->state == WAITS && rand() % 2))
                        model_ask(&model, number);
                else if (session->state == GRANTED && rand() % 3) {
                        assert_int_equal(granted(model.f, number), session->slot);
                        session->state = HOLDS;
                } else
                        model_end(&model, number);
                model_check(&model);
        }
        fixture_close(model.f);
}

static void test_model(void **unused) {
        (void)unused;
        for (unsigned seed = 1; seed <= 60; seed++)
                model_run(seed);
}

/* Threads */

#define CROWD_SERVERS 10
#define CROWD_LIMIT 10
#define CROWD_SESSIONS 1000
#define CROWD_ROUNDS 20

struct crowd {
        struct fixture *f;
        _Atomic int now[CROWD_SERVERS];         /* that hold a place */
        _Atomic int too_many, served;
        _Atomic int mail[CROWD_SESSIONS];       /* a session was given a place */
};

struct crowd_thread {
        struct crowd *crowd;
        uint32_t first;                         /* of the sessions that are this thread's */
};

static void crowd_tell(struct crowd *crowd, uint32_t session) {
        if (session != BACKEND_NOBODY)
                atomic_store(&crowd->mail[session], 1);
}

static void crowd_enter(struct crowd *crowd, int slot) {
        if (atomic_fetch_add(&crowd->now[slot], 1) >= CROWD_LIMIT)
                atomic_store(&crowd->too_many, 1);
}

static void crowd_exit(struct crowd *crowd, int slot) {
        atomic_fetch_sub(&crowd->now[slot], 1);
        atomic_fetch_add(&crowd->served, 1);
        crowd_tell(crowd, backend_release(&crowd->f->backend, (unsigned)slot));
}

/* All its sessions ask at once; then each goes on as it is given a place, and comes again. */
static void *crowd_main(void *arg) {
        struct crowd_thread *thread = arg;
        struct crowd *crowd = thread->crowd;
        int slots[CROWD_SESSIONS / 2], left[CROWD_SESSIONS / 2], active = CROWD_SESSIONS / 2;

        for (int i = 0; i < CROWD_SESSIONS / 2; i++) {
                slots[i] = -1;
                left[i] = CROWD_ROUNDS;
                atomic_store(&crowd->mail[thread->first + (uint32_t)i], 2);
        }
        while (active)
                for (int i = 0; i < CROWD_SESSIONS / 2; i++) {
                        uint32_t session = thread->first + (uint32_t)i;
                        int mail;

                        if (slots[i] >= 0) {
                                crowd_exit(crowd, slots[i]);
                                slots[i] = -1;
                                active -= --left[i] == 0;
                                if (left[i])
                                        atomic_store(&crowd->mail[session], 2);
                                continue;
                        }
                        mail = atomic_exchange(&crowd->mail[session], 0);
                        if (mail == 2)
                                slots[i] = ask(crowd->f, session, NULL, 0);
                        else if (mail == 1)
                                slots[i] = granted(crowd->f, session);
                        if (slots[i] >= 0)
                                crowd_enter(crowd, slots[i]);
                }
        return NULL;
}

static void test_threads(void **unused) {
        struct crowd *crowd = calloc(1, sizeof(*crowd));
        struct crowd_thread threads[2] = { { crowd, 0 }, { crowd, CROWD_SESSIONS / 2 } };
        uint32_t limits[CROWD_SERVERS];
        pthread_t ids[2];

        (void)unused;
        assert_non_null(crowd);
        for (int i = 0; i < CROWD_SERVERS; i++)
                limits[i] = CROWD_LIMIT;
        crowd->f = open_queue(limits, CROWD_SERVERS, CROWD_SESSIONS);
        fixture_start(crowd->f);
        for (int i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&ids[i], NULL, crowd_main, &threads[i]), 0);
        for (int i = 0; i < 2; i++)
                pthread_join(ids[i], NULL);
        assert_false(crowd->too_many);
        assert_int_equal(crowd->served, CROWD_SESSIONS * CROWD_ROUNDS);
        for (int i = 0; i < CROWD_SERVERS; i++)
                assert_int_equal(crowd->f->records[i].sessions, 0);
        assert_int_equal(backend_queued(&crowd->f->backend), 0);
        fixture_close(crowd->f);
        free(crowd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_first_come),
                cmocka_unit_test(test_leave),
                cmocka_unit_test(test_address_goes),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_tried),
                cmocka_unit_test(test_when_down),
                cmocka_unit_test(test_down_while_waiting),
                cmocka_unit_test(test_backups),
                cmocka_unit_test(test_ejection_ends),
                cmocka_unit_test(test_rejoin),
                cmocka_unit_test(test_release_of_others),
                cmocka_unit_test(test_model),
                cmocka_unit_test(test_threads),
        };

        return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
