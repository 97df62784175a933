/* SPDX-License-Identifier: ISC */
#include "health/instances.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One slot, as this thread left it: nobody else changes addresses, but for those set at run time. */
struct instance {
        uint16_t slot;
        int backup;
        int weight;
        struct addr addr;               /* ADDR_NONE: it is free, but perhaps for old sessions */
        struct addr former;             /* which these have */
        int64_t missing_since;          /* as of names.h */
};

/* What instances_change() does under the lock. */
struct instances_change {
        const struct conf_server *conf;
        const struct instance *instance;
};

static struct server_record *instances_record(const struct instances *instances, uint16_t slot) {
        return instances->shared->servers[slot].record;
}

int instances_add(struct instances *instances, uint16_t slot) {
        const struct server_record *record = instances_record(instances, slot);
        struct instance *instance;

        if (instances->n == instances->room) {
                size_t room = instances->room ? 2 * instances->room : 4;
                struct instance *list = realloc(instances->list, room * sizeof(*list));

                if (!list)
                        return -ENOMEM;
                instances->list = list;
                instances->room = room;
        }
        instance = &instances->list[instances->n++];
        *instance = (struct instance){ .slot = slot, .addr = record->addr, .former = record->former,
                                       .weight = record->srv_weight ? record->srv_weight : NAMES_WEIGHT_CONFIGURED,
                                       .backup = record->srv_backup };
        return 0;
}

int instances_init(struct instances *instances, struct env_shared *shared, struct backend *backend, unsigned server,
                   uint16_t slot) {
        *instances = (struct instances){ .shared = shared, .backend = backend, .server = server,
                                         .conf = &backend->conf->servers[server] };
        instances->overridden = instances_record(instances, slot)->address_set;
        return instances_add(instances, slot);
}

void instances_deinit(struct instances *instances) {
        free(instances->list);
        *instances = (struct instances){ 0 };
}

void instances_get(const struct instances *instances, struct names_set *set) {
        set->n = 0;
        for (size_t i = (size_t)instances->overridden; i < instances->n && set->n < DNS_ADDRESSES; i++) {
                const struct instance *instance = &instances->list[i];

                if (instance->addr.kind != ADDR_NONE)
                        set->list[set->n++] = (struct names_address){
                                .addr = instance->addr, .weight = instance->weight, .backup = instance->backup,
                                .missing_since = instance->missing_since,
                        };
        }
}

int instances_were_asked(const struct instances *instances) {
        return instances_record(instances, instances->list[0].slot)->asked;
}

static void instances_change_fn(struct server_record *record, void *arg) {
        const struct instances_change *change = arg;
        const struct instance *instance = change->instance;

        /* Somebody sets an address at this very moment: instances_look() will see it. */
        if (record->address_set && !record->instance)
                return;
        record->addr = instance->addr;
        record->former = instance->former;
        record->srv_weight = instance->weight == NAMES_WEIGHT_CONFIGURED ? 0 : (uint16_t)instance->weight;
        record->srv_backup = (uint8_t)instance->backup;
        server_file(record, change->conf);
}

static void instances_change(struct instances *instances, const struct instance *instance, int64_t now) {
        struct instances_change change = { .conf = instances->conf, .instance = instance };

        backend_change(instances->backend, instance->slot, instances_change_fn, &change, now);
        env_wake_health(instances->shared);
}

/* A new instance begins as its name is: with the state that was set at run time. */
static void instances_copy_fn(struct server_record *record, void *arg) {
        struct server_record *copy = arg;

        copy->backend = record->backend;
        copy->first = record->first;
        copy->admin = record->admin;
        copy->file_disabled = record->file_disabled;
        copy->file_weight = record->file_weight;
        copy->weight = record->weight;
        copy->backup = record->backup;
        memcpy(copy->name, record->name, sizeof(copy->name));
        memcpy(copy->text, record->text, sizeof(copy->text));
}

static void instances_asked_fn(struct server_record *record, void *arg) {
        record->asked = 1;
        record->up_ms = 0;
}

void instances_asked(const struct instances *instances, int64_t now) {
        for (size_t i = 0; i < instances->n; i++)
                backend_change(instances->backend, instances->list[i].slot, instances_asked_fn, NULL, now);
}

/* A slot that nobody uses, or ARENA_NONE.  Only this thread takes any while the worker runs. */
static uint32_t instances_slot(const struct instances *instances) {
        struct arena_extent *extent = &instances->shared->arena->head->extents[ARENA_SERVERS];
        const struct server_record *records = instances->backend->records;
        uint32_t slot = 0;

        while (slot < extent->used && records[slot].used)
                slot++;
        return slot < extent->count ? slot : ARENA_NONE;
}

/* Another slot for the name, without an address yet.  Returns 0 or -errno. */
static int instances_new(struct instances *instances, int64_t now) {
        struct arena_extent *extent = &instances->shared->arena->head->extents[ARENA_SERVERS];
        uint32_t slot = instances->n < INSTANCES_MAX ? instances_slot(instances) : ARENA_NONE;
        struct server_record *record;
        int r;

        if (slot == ARENA_NONE)
                return -ENOSPC;
        record = &instances->backend->records[slot];
        memset(record, 0, sizeof(*record));
        backend_change(instances->backend, instances->list[0].slot, instances_copy_fn, record, now);
        record->instance = (uint16_t)instances->n;
        if (slot >= extent->used)
                __atomic_store_n(&extent->used, slot + 1, __ATOMIC_RELEASE);
        /* From here on a successor finds it. */
        __atomic_store_n(&record->used, 1, __ATOMIC_RELEASE);
        instances->shared->servers[slot] = (struct env_server){ .conf = instances->conf, .record = record };
        r = instances_add(instances, (uint16_t)slot);
        if (r == 0)
                r = backend_add(instances->backend, slot, instances->server, now);
        return r;
}

static struct instance *instances_find(struct instances *instances, const struct addr *addr) {
        for (size_t i = (size_t)instances->overridden; i < instances->n; i++)
                if (instances->list[i].addr.kind != ADDR_NONE && addr_equal(&instances->list[i].addr, addr))
                        return &instances->list[i];
        return NULL;
}

static uint32_t instances_sessions(const struct instances *instances, const struct instance *instance) {
        return atomic_load(&instances_record(instances, instance->slot)->sessions);
}

/* A place for a new address: best the one where it was before, then one that nobody has, or a new one. */
static struct instance *instances_room(struct instances *instances, const struct addr *addr, int64_t now) {
        struct instance *free_one = NULL, *least = NULL;

        for (size_t i = (size_t)instances->overridden; i < instances->n; i++) {
                struct instance *instance = &instances->list[i];

                if (instance->addr.kind != ADDR_NONE)
                        continue;
                if (instance->former.kind != ADDR_NONE && addr_equal(&instance->former, addr))
                        return instance;
                if (!free_one && !instances_sessions(instances, instance))
                        free_one = instance;
                if (!least || instances_sessions(instances, instance) < instances_sessions(instances, least))
                        least = instance;
        }
        if (free_one)
                return free_one;
        if (instances_new(instances, now) == 0)
                return &instances->list[instances->n - 1];
        /* Its old sessions will count for the new address: better than to do without that. */
        return least;
}

/* Takes the address of an instance out of use; sessions that have it go on. */
static void instances_retire(struct instances *instances, struct instance *instance, int64_t now) {
        if (instance->addr.kind == ADDR_NONE)
                return;
        instance->former = instance->addr;
        instance->addr = (struct addr){ .kind = ADDR_NONE };
        instances_change(instances, instance, now);
}

/* What instances_look() does under the lock. */
struct instances_look {
        struct instances *instances;
        int changed;
};

static void instances_look_fn(struct backend *backend, void *arg) {
        struct instances_look *look = arg;
        struct instances *instances = look->instances;
        int overridden = backend->records[instances->list[0].slot].address_set;

        look->changed = instances->overridden != overridden;
        instances->overridden = overridden;
        for (size_t i = 0; i < instances->n; i++) {
                struct instance *instance = &instances->list[i];
                const struct server_record *record = &backend->records[instance->slot];

                if (record->addr.kind == ADDR_NONE ? instance->addr.kind == ADDR_NONE
                                                   : addr_equal(&record->addr, &instance->addr))
                        continue;
                look->changed = 1;
                instance->addr = record->addr;
                instance->former = record->former;
                instance->missing_since = 0;
        }
}

int instances_look(struct instances *instances) {
        struct instances_look look = { .instances = instances };

        backend_locked(instances->backend, instances_look_fn, &look);
        return look.changed;
}

static int instances_in(const struct names_set *set, const struct addr *addr) {
        for (size_t i = 0; i < set->n; i++)
                if (addr_equal(&set->list[i].addr, addr))
                        return 1;
        return 0;
}

/* Sees to it that the set's addresses are in use.  Returns how many found no slot. */
static size_t instances_use(struct instances *instances, const struct names_set *set, int64_t now) {
        size_t left_out = 0;

        for (size_t i = 0; i < set->n; i++) {
                const struct names_address *address = &set->list[i];
                struct instance *instance = instances_find(instances, &address->addr);

                if (instance)
                        instance->missing_since = address->missing_since;
                if (instance && instance->weight == address->weight && instance->backup == address->backup)
                        continue;
                if (!instance)
                        instance = instances_room(instances, &address->addr, now);
                if (!instance) {
                        left_out++;
                        continue;
                }
                instance->addr = address->addr;
                instance->missing_since = address->missing_since;
                instance->weight = address->weight;
                instance->backup = address->backup;
                instances_change(instances, instance, now);
        }
        return left_out;
}

size_t instances_put(struct instances *instances, const struct names_set *set, int64_t now) {
        size_t left_out = 0;

        instances_look(instances);
        if (!instances->overridden)
                left_out = instances_use(instances, set, now);
        for (size_t i = (size_t)instances->overridden; i < instances->n; i++)
                if (instances->overridden || !instances_in(set, &instances->list[i].addr))
                        instances_retire(instances, &instances->list[i], now);
        /* With slots so short, what has just become free is of use. */
        if (left_out)
                left_out = instances_use(instances, set, now);
        env_grant(instances->shared, instances->backend, now);
        return left_out;
}
