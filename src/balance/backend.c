/* SPDX-License-Identifier: ISC */
#include "balance/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/roundrobin.h"

static const struct balance_algorithm *const backend_algorithms[CONF_BALANCES] = {
        [CONF_ROUNDROBIN] = &roundrobin_algorithm,
};

#define BACKEND_LOOK_AHEAD 16           /* how many in the queue are asked whether they can use a place */

static struct backend_member *backend_member(const struct backend *backend, unsigned slot) {
        unsigned at = slot - backend->first_slot;

        return at < backend->n_slots && backend->by_slot[at] ? &backend->members[backend->by_slot[at] - 1] : NULL;
}

int backend_checked(const struct backend *backend, unsigned slot) {
        const struct backend_member *member = backend_member(backend, slot);

        return member && backend->conf->check.given && backend->conf->servers[member->server].check;
}

static uint32_t backend_limit(const struct backend *backend, const struct backend_member *member) {
        return backend->conf->servers[member->server].max_connections;
}

static int backend_full(const struct backend *backend, const struct backend_member *member) {
        uint32_t limit = backend_limit(backend, member);

        return limit && atomic_load_explicit(&member->record->sessions, memory_order_relaxed) >= limit;
}

static int backend_tried(uint16_t slot, const struct backend_request *request) {
        for (unsigned k = 0; k < request->n_tried; k++)
                if (request->tried[k] == slot)
                        return 1;
        return 0;
}

int backend_fits(const struct backend *backend, unsigned number, const struct backend_request *request) {
        const struct backend_member *member = &backend->members[number];

        return member->usable && member->weight && !backend_full(backend, member) &&
               !backend_tried(member->slot, request);
}

static struct balance_group *backend_group(struct backend *backend, const struct backend_member *member) {
        return &backend->groups[member->record->backup ? BACKEND_BACKUP : BACKEND_REGULAR];
}

/* Finds out who gets sessions now, and tells the algorithm. */
static void backend_refresh(struct backend *backend, int64_t now_ms) {
        for (int g = 0; g < BACKEND_GROUPS; g++)
                backend->groups[g].n = 0;
        backend->refresh_ms = INT64_MAX;
        for (size_t i = 0; i < backend->n_members; i++) {
                struct backend_member *member = &backend->members[i];
                struct balance_group *group = backend_group(backend, member);
                enum server_state state = server_state(member->record, backend_checked(backend, member->slot), now_ms);

                member->usable = (uint8_t)server_state_usable(state);
                member->weight = member->record->weight;
                if (state == SERVER_STATE_EJECTED && member->record->ejected_until_ms < backend->refresh_ms)
                        backend->refresh_ms = member->record->ejected_until_ms;
                if (member->usable && member->weight)
                        group->members[group->n++] = (uint16_t)i;
        }
        for (int g = 0; g < BACKEND_GROUPS; g++)
                backend->algorithm->rebuild(&backend->groups[g]);
}

static int backend_add_member(struct backend *backend, struct server_record *record, uint16_t server) {
        uint16_t slot = (uint16_t)(record - backend->records);
        struct backend_member *member = &backend->members[backend->n_members++];

        *member = (struct backend_member){ .record = record, .slot = slot, .server = server };
        backend->by_slot[slot - backend->first_slot] = (uint16_t)backend->n_members;
        return 0;
}

/* The slots between the lowest and the highest. */
static int backend_span(struct backend *backend, const uint16_t *slots) {
        uint16_t low = UINT16_MAX, high = 0;

        for (size_t i = 0; i < backend->conf->n_servers; i++) {
                low = slots[i] < low ? slots[i] : low;
                high = slots[i] > high ? slots[i] : high;
        }
        backend->first_slot = low;
        backend->n_slots = backend->conf->n_servers ? (uint16_t)(high - low + 1) : 0;
        backend->by_slot = calloc(backend->n_slots + 1u, sizeof(*backend->by_slot));
        backend->members = calloc(backend->conf->n_servers + 1, sizeof(*backend->members));
        return backend->by_slot && backend->members ? 0 : -ENOMEM;
}

int backend_init(struct backend *backend, const struct conf_backend *conf, const struct arena *arena,
                 const uint16_t *slots, struct backend_waiter *waiters) {
        int r;

        *backend = (struct backend){ .conf = conf, .algorithm = backend_algorithms[conf->balance],
                                     .records = arena_slab(arena, ARENA_SERVERS), .lock = PTHREAD_MUTEX_INITIALIZER,
                                     .waiters = waiters };
        r = backend_span(backend, slots);
        for (size_t i = 0; i < conf->n_servers && r == 0; i++)
                r = backend_add_member(backend, &backend->records[slots[i]], (uint16_t)i);
        for (int g = 0; g < BACKEND_GROUPS && r == 0; g++) {
                struct balance_group *group = &backend->groups[g];

                group->backend = backend;
                group->members = calloc(backend->n_members + 1, sizeof(*group->members));
                r = group->members ? backend->algorithm->init(group) : -ENOMEM;
        }
        if (r == 0)
                backend_refresh(backend, 0);
        return r;
}

void backend_deinit(struct backend *backend) {
        for (int g = 0; g < BACKEND_GROUPS; g++) {
                if (backend->algorithm)
                        backend->algorithm->deinit(&backend->groups[g]);
                free(backend->groups[g].members);
        }
        free(backend->by_slot);
        free(backend->members);
        *backend = (struct backend){ 0 };
}

static void backend_count(struct backend *backend, unsigned number) {
        const struct backend_member *member = &backend->members[number];

        if (backend->algorithm->changed)
                backend->algorithm->changed(backend_group(backend, member), number);
}

/* Picks and takes the place.  The member, or -1. */
static int backend_take(struct backend *backend, const struct backend_request *request) {
        int number = backend->algorithm->pick(&backend->groups[BACKEND_REGULAR], request);
        struct server_record *record;

        if (number < 0)
                number = backend->algorithm->pick(&backend->groups[BACKEND_BACKUP], request);
        if (number < 0)
                return -1;
        record = backend->members[number].record;
        atomic_fetch_add_explicit(&record->sessions, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&record->sessions_total, 1, memory_order_relaxed);
        backend_count(backend, (unsigned)number);
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

/* Why nobody could be chosen; joins the queue where that helps. */
static int backend_none(struct backend *backend, const struct backend_request *request) {
        size_t usable = 0, full = 0;

        for (size_t i = 0; i < backend->n_members; i++) {
                const struct backend_member *member = &backend->members[i];

                if (!member->usable || !member->weight)
                        continue;
                usable++;
                full += (size_t)(backend_full(backend, member) && !backend_tried(member->slot, request));
        }
        if (usable && !full)
                return BACKEND_ALL_TRIED;
        if (!usable && backend->conf->when_down != CONF_WHEN_DOWN_WAIT)
                return BACKEND_NO_SERVER;
        if (usable && backend->queued >= backend->conf->queue)
                return BACKEND_QUEUE_FULL;
        backend_enqueue(backend, request);
        return BACKEND_WAIT;
}

int backend_pick(struct backend *backend, const struct backend_request *request, struct addr *addr) {
        int number, r;

        pthread_mutex_lock(&backend->lock);
        if (request->now_ms >= backend->refresh_ms)
                backend_refresh(backend, request->now_ms);
        number = backend_take(backend, request);
        if (number >= 0) {
                r = backend->members[number].slot;
                *addr = backend->members[number].record->addr;
        } else
                r = backend_none(backend, request);
        pthread_mutex_unlock(&backend->lock);
        return r;
}

/* Gives a place that is free to the first that can use it. */
static uint32_t backend_serve(struct backend *backend, int64_t now_ms) {
        uint32_t at = backend->first;

        for (int i = 0; at && i < BACKEND_LOOK_AHEAD; i++) {
                struct backend_waiter *waiter = &backend->waiters[at - 1];
                struct backend_request request = { .session = at - 1, .hash = waiter->hash, .tried = waiter->tried,
                                                   .n_tried = waiter->n_tried, .now_ms = now_ms };
                int number = backend_take(backend, &request);

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
        const struct backend_member *member = backend_member(backend, slot);

        atomic_fetch_sub_explicit(&backend->records[slot].sessions, 1, memory_order_relaxed);
        if (!member)
                return BACKEND_NOBODY;
        backend_count(backend, (unsigned)(member - backend->members));
        return backend->queued ? backend_serve(backend, 0) : BACKEND_NOBODY;
}

uint32_t backend_release(struct backend *backend, unsigned slot) {
        uint32_t next;

        pthread_mutex_lock(&backend->lock);
        next = backend_release_locked(backend, slot);
        pthread_mutex_unlock(&backend->lock);
        return next;
}

int backend_granted(struct backend *backend, uint32_t session, struct addr *addr) {
        struct backend_waiter *waiter = &backend->waiters[session];
        int slot = -1;

        pthread_mutex_lock(&backend->lock);
        if (waiter->waits && waiter->slot >= 0) {
                slot = waiter->slot;
                waiter->waits = 0;
                *addr = backend->records[slot].addr;
        }
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

uint32_t backend_grant(struct backend *backend, int64_t now_ms) {
        uint32_t next;

        pthread_mutex_lock(&backend->lock);
        next = backend_serve(backend, now_ms);
        pthread_mutex_unlock(&backend->lock);
        return next;
}

void backend_change(struct backend *backend, unsigned slot, void (*fn)(struct server_record *record, void *arg),
                    void *arg, int64_t now_ms) {
        pthread_mutex_lock(&backend->lock);
        fn(&backend->records[slot], arg);
        backend_refresh(backend, now_ms);
        pthread_mutex_unlock(&backend->lock);
}

static void backend_put_address(struct server_record *record, void *arg) {
        record->addr = *(const struct addr *)arg;
}

void backend_set_address(struct backend *backend, unsigned slot, const struct addr *addr) {
        struct addr copy = *addr;

        backend_change(backend, slot, backend_put_address, &copy, 0);
}

void backend_address(struct backend *backend, unsigned slot, struct addr *addr) {
        pthread_mutex_lock(&backend->lock);
        *addr = backend->records[slot].addr;
        pthread_mutex_unlock(&backend->lock);
}

uint32_t backend_queued(struct backend *backend) {
        uint32_t queued;

        pthread_mutex_lock(&backend->lock);
        queued = backend->queued;
        pthread_mutex_unlock(&backend->lock);
        return queued;
}
