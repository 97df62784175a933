/* SPDX-License-Identifier: ISC */
#include "balance/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/first.h"
#include "balance/latency.h"
#include "balance/least_time.h"
#include "balance/leastconn.h"
#include "balance/random.h"
#include "balance/roundrobin.h"
#include "balance/source.h"

static const struct balance_algorithm *const backend_algorithms[CONF_BALANCES] = {
        [CONF_ROUNDROBIN] = &roundrobin_algorithm,
        [CONF_LEASTCONN] = &leastconn_algorithm,
        [CONF_RANDOM] = &random_algorithm,
        [CONF_SOURCE] = &source_algorithm,
        [CONF_FIRST] = &first_algorithm,
        [CONF_LEAST_TIME] = &least_time_algorithm,
};

#define BACKEND_STEP_MS 50      /* between two steps of a slow start, at least: each has the group rebuilt */

/* The number of the member in that slot, or -1. */
static int backend_number(const struct backend *backend, unsigned slot) {
        unsigned number = backend->records[slot].member;

        return number < backend->n_members && backend->members[number].slot == slot ? (int)number : -1;
}

int backend_checked(const struct backend *backend, unsigned slot) {
        unsigned server = backend->records[slot].server;

        return backend->conf->check.given && server < backend->conf->n_servers && backend->conf->servers[server].check;
}

static void backend_stale(struct backend *backend, unsigned group, enum balance_stale stale) {
        if (backend->groups[group].stale < stale)
                backend->groups[group].stale = (uint8_t)stale;
}

static void backend_uncount(struct backend *backend, const struct backend_member *member) {
        struct balance_group *group = &backend->groups[member->group];

        group->usable -= member->usable;
        group->full -= member->usable && member->full;
}

/* Counts a member as what it is now, and has it enter or leave. */
static void backend_count(struct backend *backend, unsigned number) {
        struct backend_member *member = &backend->members[number];
        struct balance_group *group = &backend->groups[member->group];
        uint8_t open = member->usable && !member->full;
        void (*fn)(struct balance_group *group, unsigned member) = open ? backend->algorithm->enter
                                                                        : backend->algorithm->leave;

        group->usable += member->usable;
        group->full += member->usable && member->full;
        if (open == member->open)
                return;
        member->open = open;
        if (!group->stale && fn)
                fn(group, number);
}

static void backend_changed(struct backend *backend, unsigned number) {
        struct balance_group *group = &backend->groups[backend->members[number].group];

        if (backend->members[number].open && !group->stale && backend->algorithm->changed)
                backend->algorithm->changed(group, number);
}

/* A record's sessions have become more or fewer.  Returns 1 where that has opened it. */
static int backend_sync(struct backend *backend, unsigned number) {
        struct backend_member *member = &backend->members[number];
        uint32_t limit = backend->conf->servers[member->server].max_connections;
        uint8_t full;

        member->sessions = atomic_load_explicit(&member->record->sessions, memory_order_relaxed);
        full = limit && member->sessions >= limit;
        if (full == member->full) {
                backend_changed(backend, number);
                return 0;
        }
        backend_uncount(backend, member);
        member->full = full;
        backend_count(backend, number);
        return member->open;
}

/* Only who has the lock writes. */
static void backend_earlier(_Atomic int64_t *ms, int64_t when_ms) {
        if (when_ms < atomic_load_explicit(ms, memory_order_relaxed))
                atomic_store_explicit(ms, when_ms, memory_order_relaxed);
}

/* How much of its weight counts.  The end of an ejection is up_ms too, and nobody is there to note it. */
static unsigned backend_ramp(struct backend *backend, const struct backend_member *member) {
        const struct server_record *record = member->record;
        int64_t duration = backend->conf->servers[member->server].slow_start, since = record->up_ms, age, step, next;

        if (record->ejected_until_ms > since)
                since = record->ejected_until_ms;
        age = backend->now_ms > since ? backend->now_ms - since : 0;
        if (!member->usable || !since || duration <= 0 || age >= duration)
                return BACKEND_PARTS;
        step = 1 + age * BACKEND_PARTS / duration;
        next = since + (step * duration + BACKEND_PARTS - 1) / BACKEND_PARTS;
        if (next < backend->now_ms + BACKEND_STEP_MS)
                next = backend->now_ms + BACKEND_STEP_MS;
        backend_earlier(&backend->due_ms, next);
        return (unsigned)step;
}

static enum server_state backend_state(const struct backend *backend, const struct backend_member *member) {
        return server_state(member->record, backend_checked(backend, member->slot), backend->now_ms);
}

/* Finds out what a member is now. */
static void backend_update(struct backend *backend, unsigned number) {
        struct backend_member *member = &backend->members[number];
        const struct server_record *record = member->record;
        enum server_state state = backend_state(backend, member);
        uint16_t weight;

        if (member->group != record->backup || member->base != record->weight) {
                backend_stale(backend, member->group, BALANCE_ANEW);
                backend_stale(backend, record->backup, BALANCE_ANEW);
        }
        backend_uncount(backend, member);
        member->group = record->backup;
        member->base = record->weight;
        member->usable = server_state_usable(state) && record->weight;
        if (state == SERVER_STATE_EJECTED) {
                backend_earlier(&backend->due_ms, record->ejected_until_ms);
                backend_earlier(&backend->opens_ms, record->ejected_until_ms);
        }
        member->ramp = (uint8_t)backend_ramp(backend, member);
        weight = (uint16_t)(member->base * member->ramp);
        if (weight != member->weight)
                backend_stale(backend, member->group, BALANCE_STALE);
        member->weight = weight;
        backend_count(backend, number);
}

/* Takes note of the time, and does what is due by then. */
static void backend_advance(struct backend *backend, int64_t now_ms) {
        if (now_ms > backend->now_ms)
                backend->now_ms = now_ms;
        if (backend->now_ms < backend_due_ms(backend))
                return;
        atomic_store_explicit(&backend->due_ms, INT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&backend->opens_ms, INT64_MAX, memory_order_relaxed);
        for (unsigned i = 0; i < backend->n_members; i++)
                backend_update(backend, i);
}

int64_t backend_due_ms(const struct backend *backend) {
        return atomic_load_explicit(&backend->due_ms, memory_order_relaxed);
}

int64_t backend_opens_ms(const struct backend *backend) {
        return atomic_load_explicit(&backend->opens_ms, memory_order_relaxed);
}

/* Makes room for so many members. */
static int backend_reserve(struct backend *backend, size_t room) {
        struct backend_member *members;
        int r = 0;

        if (room <= backend->room)
                return 0;
        members = reallocarray(backend->members, room, sizeof(*members));
        if (!members)
                return -ENOMEM;
        backend->members = members;
        for (unsigned g = 0; g < BACKEND_GROUPS && r == 0; g++) {
                backend_stale(backend, g, BALANCE_STALE);
                r = backend->algorithm->reserve(&backend->groups[g], room);
        }
        if (r == 0)
                backend->room = room;
        return r;
}

static void backend_append(struct backend *backend, unsigned slot, unsigned server) {
        struct server_record *record = &backend->records[slot];
        unsigned number = (unsigned)backend->n_members++;

        record->server = (uint16_t)server;
        record->member = (uint16_t)number;
        backend->members[number] = (struct backend_member){
                .record = record, .slot = (uint16_t)slot, .server = (uint16_t)server, .group = record->backup,
                .asked = backend->request - 1, .connect_us = record->connect_us,
        };
        backend_stale(backend, record->backup, BALANCE_ANEW);
        backend_update(backend, number);
        backend_sync(backend, number);
}

int backend_init(struct backend *backend, const struct conf_backend *conf, const struct arena *arena,
                 const uint16_t *slots, struct backend_waiter *waiters) {
        int r;

        *backend = (struct backend){ .conf = conf, .algorithm = backend_algorithms[conf->balance],
                                     .records = arena_slab(arena, ARENA_SERVERS), .lock = PTHREAD_MUTEX_INITIALIZER,
                                     .waiters = waiters, .due_ms = INT64_MAX, .opens_ms = INT64_MAX };
        for (unsigned g = 0; g < BACKEND_GROUPS; g++)
                backend->groups[g] = (struct balance_group){ .backend = backend, .number = (uint8_t)g,
                                                             .stale = BALANCE_ANEW };
        r = backend_reserve(backend, conf->n_servers + 1);
        for (unsigned i = 0; i < conf->n_servers && r == 0; i++)
                backend_append(backend, slots[i], i);
        return r;
}

int backend_add(struct backend *backend, unsigned slot, unsigned server, int64_t now_ms) {
        int r = 0;

        pthread_mutex_lock(&backend->lock);
        backend_advance(backend, now_ms);
        if (backend->n_members == backend->room)
                r = backend_reserve(backend, backend->room * 2);
        if (r == 0)
                backend_append(backend, slot, server);
        pthread_mutex_unlock(&backend->lock);
        return r;
}

void backend_deinit(struct backend *backend) {
        for (int g = 0; g < BACKEND_GROUPS; g++)
                if (backend->algorithm)
                        backend->algorithm->deinit(&backend->groups[g]);
        free(backend->members);
        *backend = (struct backend){ 0 };
}

/* Marks the members that a request has tried, and sums them up. */
static void backend_mark(struct backend *backend, const uint16_t *tried, unsigned n) {
        backend->request++;
        backend->n_tried = 0;
        for (int g = 0; g < BACKEND_GROUPS; g++)
                backend->groups[g].tried_usable = backend->groups[g].tried_full = backend->groups[g].tried_weight = 0;
        for (unsigned i = 0; i < n && i < BACKEND_TRIED; i++) {
                int number = backend_number(backend, tried[i]);
                struct backend_member *member = number < 0 ? NULL : &backend->members[number];
                struct balance_group *group;

                if (!member || member->asked == backend->request)
                        continue;
                member->asked = backend->request;
                group = &backend->groups[member->group];
                group->tried_usable += member->usable;
                group->tried_full += member->usable && member->full;
                if (!member->open)
                        continue;
                group->tried_weight += member->weight;
                backend->tried[backend->n_tried++] = (uint16_t)number;
        }
}

/* Members of a group that are full and that the request marked last could wait for. */
static uint32_t backend_waitable(const struct balance_group *group) {
        return group->full - group->tried_full;
}

static int backend_pick_of(struct balance_group *group, const struct backend_request *request) {
        if (backend_exhausted(group))
                return -1;
        if (group->stale) {
                group->backend->algorithm->rebuild(group);
                group->stale = BALANCE_FRESH;
        }
        return group->backend->algorithm->pick(group, request);
}

/* Picks and takes the place.  The member, or -1. */
static int backend_take(struct backend *backend, const struct backend_request *request) {
        struct balance_group *groups = backend->groups;
        struct server_record *record;
        int number;

        backend_mark(backend, request->tried, request->n_tried);
        number = backend_pick_of(&groups[BACKEND_REGULAR], request);
        /* Who can wait for a server that is no backup does. */
        if (number < 0 && !(backend->conf->queue && backend_waitable(&groups[BACKEND_REGULAR])))
                number = backend_pick_of(&groups[BACKEND_BACKUP], request);
        if (number < 0)
                return -1;
        record = backend->members[number].record;
        atomic_fetch_add_explicit(&record->sessions, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&record->sessions_total, 1, memory_order_relaxed);
        backend_sync(backend, (unsigned)number);
        return number;
}

static void backend_enqueue(struct backend *backend, const struct backend_request *request) {
        struct backend_waiter *waiter = &backend->waiters[request->session];

        *waiter = (struct backend_waiter){ .prev = backend->last, .slot = -1, .waits = 1, .tried = request->tried,
                                           .n_tried = request->n_tried, .hash = request->hash };
        if (backend->last)
                backend->waiters[backend->last - 1].next = request->session + 1;
        else
                backend->first = request->session + 1;
        backend->last = request->session + 1;
        backend->queued++;
}

static void backend_dequeue(struct backend *backend, uint32_t session) {
        struct backend_waiter *waiter = &backend->waiters[session];

        if (waiter->prev)
                backend->waiters[waiter->prev - 1].next = waiter->next;
        else
                backend->first = waiter->next;
        if (waiter->next)
                backend->waiters[waiter->next - 1].prev = waiter->prev;
        else
                backend->last = waiter->prev;
        waiter->next = waiter->prev = 0;
        backend->queued--;
}

/* What is left to a session that backend_take() had nobody for. */
static int backend_none(const struct backend *backend, unsigned n_tried, int waits) {
        const struct balance_group *groups = backend->groups;

        if (!groups[BACKEND_REGULAR].usable && !groups[BACKEND_BACKUP].usable)
                return backend->conf->when_down == CONF_WHEN_DOWN_WAIT ? BACKEND_WAIT : BACKEND_NO_SERVER;
        if (!backend_waitable(&groups[BACKEND_REGULAR]) && !backend_waitable(&groups[BACKEND_BACKUP]))
                return BACKEND_ALL_TRIED;
        if (waits || backend->queued < backend->conf->queue)
                return BACKEND_WAIT;
        return n_tried ? BACKEND_ALL_TRIED : BACKEND_QUEUE_FULL;
}

/* Where a server is to be found; where it has no address any more, the last one. */
static const struct addr *backend_where(const struct server_record *record) {
        return record->addr.kind == ADDR_NONE ? &record->former : &record->addr;
}

/* Takes up the place that a waiting session was given; meanwhile that address may have gone.  Its slot, or -1. */
static int backend_take_up(struct backend *backend, uint32_t session, struct addr *addr) {
        struct backend_waiter *waiter = &backend->waiters[session];

        if (!waiter->waits || waiter->slot < 0)
                return -1;
        waiter->waits = 0;
        *addr = *backend_where(&backend->records[waiter->slot]);
        return waiter->slot;
}

static int backend_pick_locked(struct backend *backend, struct backend_request request, struct addr *addr) {
        struct backend_waiter *waiter = &backend->waiters[request.session];
        int waits = (int)waiter->waits, number, r = backend_take_up(backend, request.session, addr);

        if (r >= 0)
                return r;
        if (waits) {
                request.tried = waiter->tried;
                request.n_tried = waiter->n_tried;
        }
        number = backend_take(backend, &request);
        r = number < 0 ? backend_none(backend, request.n_tried, waits) : backend->members[number].slot;
        /* Where nobody is left, whoever comes back first will do. */
        if (!backend->groups[BACKEND_REGULAR].usable && !backend->groups[BACKEND_BACKUP].usable)
                waiter->n_tried = request.n_tried = 0;
        if (r == BACKEND_WAIT && !waits)
                backend_enqueue(backend, &request);
        if (r != BACKEND_WAIT && waits) {
                backend_dequeue(backend, request.session);
                waiter->waits = 0;
        }
        if (number >= 0)
                *addr = backend->members[number].record->addr;
        return r;
}

int backend_pick(struct backend *backend, const struct backend_request *request, struct addr *addr) {
        int r;

        pthread_mutex_lock(&backend->lock);
        backend_advance(backend, request->now_ms);
        r = backend_pick_locked(backend, *request, addr);
        pthread_mutex_unlock(&backend->lock);
        return r;
}

/* Gives a place that is free to the first that can use it. */
static uint32_t backend_serve(struct backend *backend) {
        const struct balance_group *groups = backend->groups;
        uint32_t at = backend->first;

        for (int i = 0; at && i < BACKEND_LOOK_AHEAD; i++) {
                struct backend_waiter *waiter = &backend->waiters[at - 1];
                struct backend_request request = { .session = at - 1, .hash = waiter->hash, .tried = waiter->tried,
                                                   .n_tried = waiter->n_tried };
                int number;

                if (groups[BACKEND_REGULAR].usable == groups[BACKEND_REGULAR].full &&
                    groups[BACKEND_BACKUP].usable == groups[BACKEND_BACKUP].full)
                        return BACKEND_NOBODY;
                number = backend_take(backend, &request);
                if (number >= 0) {
                        backend_dequeue(backend, at - 1);
                        waiter->slot = backend->members[number].slot;
                        return at - 1;
                }
                at = waiter->next;
        }
        return BACKEND_NOBODY;
}

static uint32_t backend_release_locked(struct backend *backend, unsigned slot) {
        int number = backend_number(backend, slot);

        atomic_fetch_sub_explicit(&backend->records[slot].sessions, 1, memory_order_relaxed);
        return number >= 0 && backend_sync(backend, (unsigned)number) ? backend_serve(backend) : BACKEND_NOBODY;
}

uint32_t backend_release(struct backend *backend, unsigned slot) {
        uint32_t next;

        pthread_mutex_lock(&backend->lock);
        next = backend_release_locked(backend, slot);
        pthread_mutex_unlock(&backend->lock);
        return next;
}

int backend_granted(struct backend *backend, uint32_t session, struct addr *addr) {
        int slot;

        pthread_mutex_lock(&backend->lock);
        slot = backend_take_up(backend, session, addr);
        pthread_mutex_unlock(&backend->lock);
        return slot;
}

uint32_t backend_leave(struct backend *backend, uint32_t session) {
        struct backend_waiter *waiter = &backend->waiters[session];
        uint32_t next = BACKEND_NOBODY;

        pthread_mutex_lock(&backend->lock);
        if (waiter->waits && waiter->slot >= 0)
                next = backend_release_locked(backend, (unsigned)waiter->slot);
        else if (waiter->waits)
                backend_dequeue(backend, session);
        waiter->waits = 0;
        pthread_mutex_unlock(&backend->lock);
        return next;
}

void backend_rejoin(struct backend *backend, const struct backend_request *request) {
        pthread_mutex_lock(&backend->lock);
        backend_enqueue(backend, request);
        pthread_mutex_unlock(&backend->lock);
}

uint32_t backend_grant(struct backend *backend, int64_t now_ms) {
        uint32_t next;

        pthread_mutex_lock(&backend->lock);
        backend_advance(backend, now_ms);
        next = backend_serve(backend);
        pthread_mutex_unlock(&backend->lock);
        return next;
}

void backend_recount(struct backend *backend, int64_t now_ms) {
        pthread_mutex_lock(&backend->lock);
        backend_advance(backend, now_ms);
        for (unsigned i = 0; i < backend->n_members; i++)
                backend_sync(backend, i);
        pthread_mutex_unlock(&backend->lock);
}

/* What is known of the health of an address says nothing of another.  One that goes may come back as it was. */
static void backend_moved(struct server_record *record, const struct addr *before, const struct addr *former) {
        const struct addr *known = before->kind == ADDR_NONE ? former : before;

        if (record->addr.kind != ADDR_NONE && !addr_equal(&record->addr, known))
                server_forget_health(record);
}

void backend_change(struct backend *backend, unsigned slot, void (*fn)(struct server_record *record, void *arg),
                    void *arg, int64_t now_ms) {
        struct server_record *record = &backend->records[slot];
        struct addr before, former;
        int number, was_usable, moved;

        pthread_mutex_lock(&backend->lock);
        backend_advance(backend, now_ms);
        number = backend_number(backend, slot);
        before = record->addr;
        former = record->former;
        was_usable = number >= 0 && server_state_usable(backend_state(backend, &backend->members[number]));
        fn(record, arg);
        backend_moved(record, &before, &former);
        if (number >= 0) {
                moved = !addr_equal(&before, &record->addr);
                if ((!was_usable || moved) && server_state_usable(backend_state(backend, &backend->members[number])))
                        record->up_ms = backend->now_ms;
                if (moved)
                        backend_stale(backend, record->backup, BALANCE_STALE);
                backend_update(backend, (unsigned)number);
        }
        pthread_mutex_unlock(&backend->lock);
}

void backend_locked(struct backend *backend, void (*fn)(struct backend *backend, void *arg), void *arg) {
        pthread_mutex_lock(&backend->lock);
        fn(backend, arg);
        pthread_mutex_unlock(&backend->lock);
}

static void backend_put_address(struct server_record *record, void *arg) {
        record->addr = *(const struct addr *)arg;
}

void backend_set_address(struct backend *backend, unsigned slot, const struct addr *addr) {
        struct addr copy = *addr;

        backend_change(backend, slot, backend_put_address, &copy, 0);
}

/* The time that connects to a member take is another now. */
static void backend_note(struct backend *backend, unsigned slot, int64_t us, int64_t now_ms) {
        struct server_record *record = &backend->records[slot];
        struct backend_member *member;
        int number;

        pthread_mutex_lock(&backend->lock);
        number = backend_number(backend, slot);
        if (number >= 0) {
                member = &backend->members[number];
                member->connect_us = us < 0 ? latency_failed(member->connect_us)
                                            : latency_next(member->connect_us, us, now_ms - record->connect_at_ms);
                record->connect_at_ms = now_ms;
                atomic_store_explicit(&record->connect_us, (uint32_t)(member->connect_us + 0.5), memory_order_relaxed);
                backend_changed(backend, (unsigned)number);
        }
        pthread_mutex_unlock(&backend->lock);
}

void backend_note_connect(struct backend *backend, unsigned slot, int64_t us, int64_t now_ms) {
        backend_note(backend, slot, us > 1 ? us : 1, now_ms);
}

void backend_note_failure(struct backend *backend, unsigned slot, int64_t now_ms) {
        if (backend->conf->balance == CONF_LEAST_TIME)
                backend_note(backend, slot, -1, now_ms);
}

void backend_address(struct backend *backend, unsigned slot, struct addr *addr) {
        pthread_mutex_lock(&backend->lock);
        *addr = *backend_where(&backend->records[slot]);
        pthread_mutex_unlock(&backend->lock);
}

uint32_t backend_queued(struct backend *backend) {
        uint32_t queued;

        pthread_mutex_lock(&backend->lock);
        queued = backend->queued;
        pthread_mutex_unlock(&backend->lock);
        return queued;
}

/* A place of a name that has others, but no address of its own any more. */
static int backend_retired(const struct backend *backend, const struct backend_member *member) {
        if (member->record->addr.kind != ADDR_NONE)
                return 0;
        if (member->record->instance)
                return 1;
        for (size_t i = backend->conf->n_servers; i < backend->n_members; i++)
                if (backend->members[i].server == member->server &&
                    backend->members[i].record->addr.kind != ADDR_NONE)
                        return 1;
        return 0;
}

int backend_look(struct backend *backend, size_t at, int64_t now_ms, struct backend_look *look) {
        const struct backend_member *member;
        const struct server_record *record;

        pthread_mutex_lock(&backend->lock);
        if (at >= backend->n_members) {
                pthread_mutex_unlock(&backend->lock);
                return 0;
        }
        member = &backend->members[at];
        record = member->record;
        *look = (struct backend_look){
                .slot = member->slot, .server = member->server, .weight = record->weight, .instance = record->instance,
                .admin = record->admin, .backup = record->backup, .check_last = record->check_last,
                .checked = (uint8_t)backend_checked(backend, member->slot),
                .state = server_state(record, backend_checked(backend, member->slot), now_ms),
                .sessions = atomic_load_explicit(&record->sessions, memory_order_relaxed),
                .connect_us = atomic_load_explicit(&record->connect_us, memory_order_relaxed),
                .sessions_total = atomic_load_explicit(&record->sessions_total, memory_order_relaxed),
                .connect_failed = atomic_load_explicit(&record->connect_failed, memory_order_relaxed),
                .retried = atomic_load_explicit(&record->retried, memory_order_relaxed),
                .bytes_up = atomic_load_explicit(&record->bytes_up, memory_order_relaxed),
                .bytes_down = atomic_load_explicit(&record->bytes_down, memory_order_relaxed),
                .check_wall_ms = record->check_wall_ms, .addr = record->addr,
        };
        if (backend_retired(backend, member)) {
                look->retired = 1;
                look->addr = record->former;
        }
        memcpy(look->check_detail, record->check_detail, sizeof(look->check_detail));
        look->check_detail[sizeof(look->check_detail) - 1] = '\0';
        pthread_mutex_unlock(&backend->lock);
        return 1;
}
