/* SPDX-License-Identifier: ISC */
#include "worker/slots.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "balance/outlier.h"
#include "base/hash.h"
#include "net/sockopt.h"
#include "net/sys.h"
#include "session/admit.h"
#include "session/counters.h"

/* Takes the first free slot, growing the slab's used part where there is none.  Every record begins with `used`. */
static uint32_t slots_free(const struct arena *arena, enum arena_slab slab) {
        struct arena_extent *extent = &arena->head->extents[slab];
        char *records = arena_slab(arena, slab);

        for (uint32_t i = 0; i < extent->used; i++)
                if (!*(const uint32_t *)(records + (size_t)i * extent->size))
                        return i;
        return extent->used < extent->count ? extent->used++ : ARENA_NONE;
}

/* The listeners of a config, one after the other: those of the frontends, then the admin's. */
struct slots_wanted {
        const struct conf_listener *conf;
        const char *frontend;                   /* NULL: the admin's */
        enum env_listener_use use;
        size_t next_frontend, next_listener;    /* where to go on */
};

static int slots_next_admin(const struct conf *conf, struct slots_wanted *at) {
        int first = at->use == ENV_LISTENER_TRAFFIC;

        at->frontend = NULL;
        if (first && conf->admin.socket.text) {
                at->conf = &conf->admin.socket;
                at->use = ENV_LISTENER_ADMIN;
                return 1;
        }
        if (at->use != ENV_LISTENER_HTTP && conf->admin.http.text) {
                at->conf = &conf->admin.http;
                at->use = ENV_LISTENER_HTTP;
                return 1;
        }
        return 0;
}

/* *at is zeroed before the first.  Returns 0 where there are no more. */
static int slots_next(const struct conf *conf, struct slots_wanted *at) {
        while (at->use == ENV_LISTENER_TRAFFIC && at->next_frontend < conf->n_frontends) {
                const struct conf_frontend *frontend = &conf->frontends[at->next_frontend];

                if (at->next_listener < frontend->n_listeners) {
                        at->conf = &frontend->listeners[at->next_listener++];
                        at->frontend = frontend->name;
                        return 1;
                }
                at->next_frontend++;
                at->next_listener = 0;
        }
        return slots_next_admin(conf, at);
}

uint32_t slots_listener(const struct arena *arena, const struct addr *addr, enum env_listener_use use, uint32_t *at) {
        const struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);
        uint32_t used = arena->head->extents[ARENA_LISTENERS].used;

        for (uint32_t i = 0; i < used; i++) {
                uint32_t slot = (*at + i) % used;

                if (records[slot].used && records[slot].fd >= 0 && records[slot].use == use &&
                    addr_equal(&records[slot].addr, addr)) {
                        *at = slot + 1;
                        return slot;
                }
        }
        return ARENA_NONE;
}

/* Returns its slot, or -errno. */
static int slots_listener_open(const struct arena *arena, const struct slots_wanted *wanted,
                               const struct slots_inherited *inherited, struct log *log, enum log_level level,
                               FILE *errors) {
        struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS), *record;
        const struct conf_listener *conf = wanted->conf;
        struct listener_options options = {
                .backlog = conf->backlog, .mode = conf->mode, .owner = conf->owner, .group = conf->group,
                .v6only = conf->v6only, .sockopts = &conf->sockopts,
                .defer_accept_s = conf->defer_accept == CONF_OFF ? 0 : (int)((conf->defer_accept + 999) / 1000),
        };
        struct log_context context = { .frontend = wanted->frontend };
        uint32_t slot = slots_free(arena, ARENA_LISTENERS);
        struct listener_path path = { 0 };
        char why[LISTENER_WHY] = "there are no sockets from a service manager here";
        int fd, r;

        /* The admin's is for the user that we become; who is not root is that one, or will fail to become it. */
        if (wanted->use == ENV_LISTENER_ADMIN && geteuid() != 0)
                options.owner = NULL;
        if (slot == ARENA_NONE) {
                log_error(log, &context, "too many listeners: at most %d are possible", ENV_LISTENERS);
                if (errors)
                        fprintf(errors, "too many listeners: at most %d are possible\n", ENV_LISTENERS);
                return -ENOSPC;
        }
        if (conf->addr.kind == ADDR_FD) {
                r = inherited ? inherited->find(inherited->arg, conf->addr.name, why) : -ENOENT;
                if (r >= 0)
                        r = listener_take(&fd, r, conf->addr.name, &options, why);
        } else
                r = listener_open(&fd, &path, &conf->addr, &options, why);
        if (r < 0) {
                log_write(log, level, &context, "%s", why);
                if (errors)
                        fprintf(errors, "%s\n", why);
                return r;
        }
        record = &records[slot];
        *record = (struct env_listener_record){ .fd = fd, .use = wanted->use, .pending = 1, .addr = conf->addr,
                                                .path = path };
        snprintf(record->text, sizeof(record->text), "%s", conf->text);
        atomic_signal_fence(memory_order_seq_cst);
        record->used = 1;
        return (int)slot;
}

static void slots_listener_close(struct env_listener_record *record) {
        int fd = record->fd;

        listener_unlink(&record->addr, &record->path);
        /* The slot stays for the sessions that came in by it; slots_sweep() frees it. */
        record->fd = -1;
        atomic_signal_fence(memory_order_seq_cst);
        close(fd);
}

/* The listeners of a config, by the slots that have them open; NULL where a slot has none of its. */
struct slots_listeners {
        const struct conf_listener *conf[ENV_LISTENERS];
};

static void slots_listeners_of(struct slots_listeners *listeners, const struct arena *arena, const struct conf *conf) {
        struct slots_wanted wanted = { 0 };
        uint32_t at = 0, slot;

        *listeners = (struct slots_listeners){ 0 };
        while (conf && slots_next(conf, &wanted)) {
                slot = slots_listener(arena, &wanted.conf->addr, wanted.use, &at);
                if (slot != ARENA_NONE)
                        listeners->conf[slot] = wanted.conf;
        }
}

void slots_unlisten_new(const struct arena *arena, const struct conf *kept) {
        struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);
        struct slots_listeners listeners;

        slots_listeners_of(&listeners, arena, kept);
        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++) {
                if (!records[i].used || records[i].fd < 0)
                        continue;
                records[i].leaving = records[i].pending = 0;
                if (!listeners.conf[i])
                        slots_listener_close(&records[i]);
        }
}

void slots_unlisten_traffic(const struct arena *arena) {
        struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);

        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++)
                if (records[i].used && records[i].fd >= 0 && records[i].use == ENV_LISTENER_TRAFFIC)
                        slots_listener_close(&records[i]);
}

void slots_unlisten_pending(const struct arena *arena) {
        struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);

        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++) {
                if (!records[i].used || records[i].fd < 0)
                        continue;
                records[i].leaving = 0;
                if (records[i].pending)
                        slots_listener_close(&records[i]);
        }
}

void slots_unlisten_leaving(const struct arena *arena) {
        struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);

        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++)
                if (records[i].used && records[i].fd >= 0 && records[i].leaving)
                        slots_listener_close(&records[i]);
}

/* The default admin socket is a help, and no reason not to serve. */
static int slots_optional(const struct conf *conf, const struct slots_wanted *wanted) {
        return wanted->use == ENV_LISTENER_ADMIN && !conf->admin.given;
}

int slots_listen(const struct arena *arena, const struct conf *conf, const struct slots_inherited *inherited,
                 struct log *log, FILE *errors) {
        struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);
        struct slots_wanted wanted = { 0 };
        uint8_t opened[ENV_LISTENERS] = { 0 };
        struct slots_listeners listeners;
        uint32_t at = 0;
        int r = 0;

        while (slots_next(conf, &wanted)) {
                int one;

                if (slots_optional(conf, &wanted) ||
                    slots_listener(arena, &wanted.conf->addr, wanted.use, &at) != ARENA_NONE)
                        continue;
                one = slots_listener_open(arena, &wanted, inherited, log, LOG_LEVEL_ERROR, errors);
                if (one < 0)
                        r = one;
                else
                        opened[one] = 1;
        }
        slots_listeners_of(&listeners, arena, conf);
        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++) {
                if (!records[i].used || records[i].fd < 0)
                        continue;
                if (r < 0 && opened[i])
                        slots_listener_close(&records[i]);
                else if (r >= 0)
                        records[i].leaving = !listeners.conf[i];
        }
        return r;
}

void slots_listen_default(const struct arena *arena, const struct conf *conf, struct log *log) {
        struct slots_wanted wanted = { 0 };
        uint32_t at = 0;

        while (slots_next(conf, &wanted))
                if (slots_optional(conf, &wanted) &&
                    slots_listener(arena, &wanted.conf->addr, wanted.use, &at) == ARENA_NONE &&
                    slots_listener_open(arena, &wanted, NULL, log, LOG_LEVEL_WARNING, NULL) < 0)
                        log_warning(log, LOG_NO_CONTEXT, "there is no admin socket: %s cannot be had; admin { socket = "
                                    "\"PATH\" } names another, socket = off goes without", wanted.conf->text);
}

static int slots_same(const char *a, const char *b) {
        return strcmp(a ? a : "", b ? b : "") == 0;
}

static void slots_update_told(struct log *log, const struct conf_listener *listener, const char *what, int r) {
        struct log_context context = { .address = listener->text };

        if (r < 0)
                log_warning(log, &context, "reload: cannot change %s of the open listener: %s", what, strerror(-r));
        else
                log_info(log, &context, "reload: %s of the open listener changed", what);
}

static void slots_update_one(int fd, const struct conf_listener *now, const struct conf_listener *next,
                             struct log *log) {
        struct log_context context = { .address = next->text };
        int seconds = next->defer_accept == CONF_OFF ? 0 : (int)((next->defer_accept + 999) / 1000);
        enum sockopt_id failed = SOCKOPT_N;
        int r;

        if (now->backlog != next->backlog)
                slots_update_told(log, next, "backlog",
                                  listen(fd, next->backlog ? next->backlog : INT_MAX) < 0 ? -errno : 0);
        if (now->mode != next->mode && next->addr.kind == ADDR_UNIX && next->addr.un.sun_path[0])
                slots_update_told(log, next, "mode", chmod(next->addr.un.sun_path, next->mode) < 0 ? -errno : 0);
        if (now->defer_accept != next->defer_accept)
                slots_update_told(log, next, "defer-accept",
                                  sys_setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)));
        if (memcmp(&now->sockopts, &next->sockopts, sizeof(now->sockopts)) != 0) {
                r = sockopt_apply(fd, listener_family(fd), &next->sockopts, SOCKOPT_LISTENER, &failed);
                slots_update_told(log, next, r < 0 ? sockopt_spec(failed)->name : "socket options", r);
        }
        if (now->v6only != next->v6only || !slots_same(now->owner, next->owner) || !slots_same(now->group, next->group))
                log_warning(log, &context,
                            "reload: v6only, owner and group of an open listener change with a restart only");
}

void slots_update(const struct arena *arena, const struct conf *now, const struct conf *next, struct log *log) {
        const struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);
        struct slots_listeners before, after;

        slots_listeners_of(&before, arena, now);
        slots_listeners_of(&after, arena, next);
        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++)
                if (before.conf[i] && after.conf[i] && !records[i].pending)
                        slots_update_one(records[i].fd, before.conf[i], after.conf[i], log);
}

/*
 * Finds the used slot with that name, or takes a free one and zeroes it and its counters.  In a config that is taken up
 * again the number of a thing mostly is that of its slot: `start`, where the search begins.
 */
#define SLOTS_NAMED(arena, slab, type, name_, start, clear)                                                            \
        ({                                                                                                             \
                type *records_ = arena_slab((arena), (slab));                                                          \
                uint32_t used_ = (arena)->head->extents[slab].used, slot_ = ARENA_NONE;                                \
                for (uint32_t i_ = 0; i_ < used_ && slot_ == ARENA_NONE; i_++) {                                       \
                        uint32_t at_ = (uint32_t)((start) + i_) % used_;                                               \
                        if (records_[at_].used && strcmp(records_[at_].name, (name_)) == 0)                            \
                                slot_ = at_;                                                                           \
                }                                                                                                      \
                if (slot_ == ARENA_NONE) {                                                                             \
                        slot_ = slots_free((arena), (slab));                                                           \
                        if (slot_ != ARENA_NONE) {                                                                     \
                                memset(&records_[slot_], 0, sizeof(records_[slot_]));                                  \
                                snprintf(records_[slot_].name, sizeof(records_[slot_].name), "%s", (name_));           \
                                clear((arena), slot_);                                                                 \
                                records_[slot_].used = 1;                                                              \
                        }                                                                                              \
                }                                                                                                      \
                slot_;                                                                                                 \
        })

static int slots_server_named(const struct conf_server *conf) {
        return conf->addr.kind == ADDR_HOST || conf->addr.kind == ADDR_SRV;
}

/* Which slots are which servers', by backend and name: found at once, however many there are. */
struct slots_index {
        uint32_t *table;                /* slot + 1; 0: free; owned */
        size_t size;                    /* a power of two, more than there may be servers */
        uint32_t free;                  /* slots before this one are not free */
};

static size_t slots_index_start(const struct slots_index *index, uint32_t backend, const char *name) {
        const uint64_t key[2] = { backend, 0 };

        return hash_sip(key, name, strlen(name)) & (index->size - 1);
}

static uint32_t slots_index_find(const struct slots_index *index, const struct server_record *records,
                                 uint32_t backend, const char *name) {
        for (size_t i = slots_index_start(index, backend, name); index->table[i]; i = (i + 1) & (index->size - 1)) {
                const struct server_record *record = &records[index->table[i] - 1];

                if (record->backend == backend && record->instance == 0 && strcmp(record->name, name) == 0)
                        return index->table[i] - 1;
        }
        return ARENA_NONE;
}

static void slots_index_add(struct slots_index *index, const struct server_record *record, uint32_t slot) {
        size_t i = slots_index_start(index, record->backend, record->name);

        while (index->table[i])
                i = (i + 1) & (index->size - 1);
        index->table[i] = slot + 1;
}

static int slots_index_init(struct slots_index *index, const struct arena *arena) {
        const struct server_record *records = arena_slab(arena, ARENA_SERVERS);

        *index = (struct slots_index){ .size = 2 * ENV_SERVERS };
        index->table = calloc(index->size, sizeof(*index->table));
        if (!index->table)
                return -ENOMEM;
        for (uint32_t i = 0; i < arena->head->extents[ARENA_SERVERS].used; i++)
                if (records[i].used)
                        slots_index_add(index, &records[i], i);
        return 0;
}

/*
 * What was set at run time, or resolved, stays for as long as the file's own value is the same.  A server that was
 * there before and is another now, or is enabled again, starts slowly where it is to.
 */
static void slots_server_file(struct server_record *record, const struct conf_server *conf) {
        int is_new = !record->text[0];

        if (!is_new && (strcmp(record->text, conf->text) != 0 || (record->file_disabled && !conf->disabled)))
                record->up_ms = sys_clock_ms();
        if (strcmp(record->text, conf->text) != 0) {
                record->addr = record->former = (struct addr){ .kind = ADDR_NONE };
                if (!slots_server_named(conf))
                        record->addr = conf->addr;
                record->address_set = record->asked = record->srv_backup = 0;
                record->srv_weight = 0;
                server_forget_health(record);
        }
        snprintf(record->text, sizeof(record->text), "%s", conf->text);
        server_file(record, conf);
}

/* The slot of a server: the one that it had, or a fresh one. */
static uint32_t slots_server(const struct arena *arena, struct slots_index *index, uint32_t backend,
                             const struct conf_server *conf) {
        struct arena_extent *extent = &arena->head->extents[ARENA_SERVERS];
        struct server_record *records = arena_slab(arena, ARENA_SERVERS);
        uint32_t slot = slots_index_find(index, records, backend, conf->name);

        if (slot == ARENA_NONE) {
                while (index->free < extent->used && records[index->free].used)
                        index->free++;
                if (index->free == extent->count)
                        return ARENA_NONE;
                slot = index->free;
                extent->used = slot < extent->used ? extent->used : slot + 1;
                memset(&records[slot], 0, sizeof(records[slot]));
                records[slot].backend = backend;
                records[slot].first = (uint16_t)slot;
                snprintf(records[slot].name, sizeof(records[slot].name), "%s", conf->name);
                records[slot].used = 1;
                slots_index_add(index, &records[slot], slot);
        }
        slots_server_file(&records[slot], conf);
        return slot;
}

/* What a config before this one had looked after, and this one does not, is not kept for a later one. */
static void slots_server_health(struct server_record *record, const struct conf_backend *backend,
                                const struct conf_server *server) {
        if (!backend->check.given || !server->check)
                server_forget_checks(record);
        if (!backend->outlier.given)
                outlier_forget(record);
}

static int slots_backend(struct env_shared *shared, struct slots_index *index, const struct conf_backend *conf,
                         uint16_t *slot_out) {
        uint32_t slot = SLOTS_NAMED(shared->arena, ARENA_BACKENDS, struct env_backend_record, conf->name,
                                    conf - shared->conf->backends,
                                    counters_clear_backend);
        struct env_backend_record *records = arena_slab(shared->arena, ARENA_BACKENDS);
        struct server_record *known = arena_slab(shared->arena, ARENA_SERVERS);
        uint16_t *servers;
        int r = 0;

        if (slot == ARENA_NONE)
                return -ENOSPC;
        servers = calloc(conf->n_servers + 1, sizeof(*servers));
        if (!servers)
                return -ENOMEM;
        *slot_out = (uint16_t)slot;
        records[slot].retries = conf->retries;
        records[slot].timeouts = conf->timeouts;
        for (size_t i = 0; i < conf->n_servers && r >= 0; i++) {
                uint32_t server = slots_server(shared->arena, index, slot, &conf->servers[i]);

                if (server == ARENA_NONE) {
                        r = -ENOSPC;
                        break;
                }
                slots_server_health(&known[server], conf, &conf->servers[i]);
                servers[i] = (uint16_t)server;
                shared->servers[server].conf = &conf->servers[i];
        }
        if (r >= 0)
                r = backend_init(&shared->backends[slot], conf, shared->arena, servers, shared->waiters);
        free(servers);
        return r;
}

static int slots_take_listener(struct env_shared *shared, const struct conf_listener *conf, uint32_t frontend,
                               uint32_t *at) {
        static const struct conf_rules nobody;
        uint32_t number = slots_listener(shared->arena, &conf->addr, ENV_LISTENER_TRAFFIC, at);
        struct env_listener *listener;
        int family = addr_family(&conf->addr);

        /* A drain has closed it. */
        if (number == ARENA_NONE)
                return 0;
        listener = &shared->listeners[number];
        if (conf->addr.kind == ADDR_FD)
                family = listener_family(listener->record->fd);
        listener->conf = conf;
        listener->frontend = frontend;
        listener->family = family;
        listener->accepted_options = sockopt_any(family, &conf->sockopts, SOCKOPT_ACCEPTED);
        listener->record->frontend = frontend;
        return conf->proxy_from.given ? acl_init(&listener->proxy_from, &conf->proxy_from, &nobody) : 0;
}

/* Takes up the further addresses of names that are in the config as they were. */
static int slots_instances(struct env_shared *shared) {
        struct server_record *records = arena_slab(shared->arena, ARENA_SERVERS);
        uint32_t used = shared->arena->head->extents[ARENA_SERVERS].used;

        for (uint32_t i = 0; i < used; i++) {
                uint32_t first = records[i].first;
                const struct conf_server *conf;
                struct backend *backend;
                int r;

                if (!records[i].used || !records[i].instance || records[i].addr.kind == ADDR_NONE || first >= used)
                        continue;
                conf = shared->servers[first].conf;
                if (!conf || !slots_server_named(conf) || records[first].backend != records[i].backend ||
                    strcmp(records[first].name, records[i].name) != 0 ||
                    strcmp(records[first].text, records[i].text) != 0)
                        continue;
                backend = &shared->backends[records[first].backend];
                server_file(&records[i], conf);
                slots_server_health(&records[i], backend->conf, conf);
                shared->servers[i].conf = conf;
                r = backend_add(backend, i, (unsigned)(conf - backend->conf->servers), 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* at: where the search for its listeners begins, see slots_listener(). */
static int slots_frontend(struct env_shared *shared, const struct conf_frontend *conf, const uint16_t *backends,
                          uint32_t *at) {
        uint32_t slot = SLOTS_NAMED(shared->arena, ARENA_FRONTENDS, struct env_frontend_record, conf->name,
                                    conf - shared->conf->frontends,
                                    counters_clear_frontend);
        struct env_frontend_record *records = arena_slab(shared->arena, ARENA_FRONTENDS);
        int r = 0;

        if (slot == ARENA_NONE)
                return -ENOSPC;
        records[slot].half_close = (uint8_t)conf->half_close;
        records[slot].access_log = (uint8_t)conf->access_log;
        records[slot].timeouts = conf->timeouts;
        records[slot].upload_rate = conf->upload_rate;
        records[slot].download_rate = conf->download_rate;
        /* A time to come, which nobody noted, would keep every client waiting. */
        if (records[slot].paid_ns > sys_clock_ms() * BUCKET_NS_PER_MS)
                records[slot].paid_ns = 0;
        shared->frontends[slot].conf = conf;
        shared->frontends[slot].record = &records[slot];
        shared->frontends[slot].backend = conf->backend == CONF_NO_BACKEND ? ARENA_NONE : backends[conf->backend];
        for (size_t l = 0; l < conf->n_listeners && r == 0; l++)
                r = slots_take_listener(shared, &conf->listeners[l], slot, at);
        return r < 0 ? r : admit_init(&shared->frontends[slot]);
}

/* What a slot that no config names needs for its sessions to go on and be logged, made from its record. */
static int slots_ghosts(struct env_shared *shared) {
        struct env_frontend_record *frontends = arena_slab(shared->arena, ARENA_FRONTENDS);
        const struct env_backend_record *backends = arena_slab(shared->arena, ARENA_BACKENDS);
        int r;

        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_FRONTENDS].used; i++) {
                struct conf_frontend *ghost;

                if (!frontends[i].used || shared->frontends[i].conf)
                        continue;
                ghost = calloc(1, sizeof(*ghost));
                if (!ghost)
                        return -ENOMEM;
                *ghost = (struct conf_frontend){ .name = frontends[i].name, .half_close = frontends[i].half_close,
                                                 .access_log = frontends[i].access_log,
                                                 .timeouts = frontends[i].timeouts,
                                                 .upload_rate = frontends[i].upload_rate,
                                                 .download_rate = frontends[i].download_rate };
                shared->frontends[i].conf = ghost;
                shared->frontends[i].ghost = ghost;
                shared->frontends[i].backend = ARENA_NONE;
                shared->frontends[i].record = &frontends[i];
                r = admit_init(&shared->frontends[i]);
                if (r < 0)
                        return r;
        }
        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_BACKENDS].used; i++) {
                struct conf_backend *ghost;

                if (!backends[i].used || shared->backends[i].conf)
                        continue;
                ghost = calloc(1, sizeof(*ghost));
                if (!ghost)
                        return -ENOMEM;
                *ghost = (struct conf_backend){ .name = backends[i].name, .retries = backends[i].retries,
                                                .timeouts = backends[i].timeouts };
                r = backend_init(&shared->backends[i], ghost, shared->arena, NULL, shared->waiters);
                shared->backends[i].ghost = ghost;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What was counted for an address that its name has no more goes on counting for the name. */
static void slots_fold(struct server_record *records, struct server_record *record) {
        struct server_record *first = &records[record->first];

        if (!record->instance || !first->used || first->instance || first->backend != record->backend ||
            strcmp(first->name, record->name) != 0)
                return;
        first->sessions_total += record->sessions_total;
        first->connect_failed += record->connect_failed;
        first->retried += record->retried;
        first->bytes_up += record->bytes_up;
        first->bytes_down += record->bytes_down;
        record->sessions_total = record->connect_failed = record->retried = record->bytes_up = record->bytes_down = 0;
}

static int slots_ghost_servers(struct env_shared *shared) {
        struct server_record *records = arena_slab(shared->arena, ARENA_SERVERS);

        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_SERVERS].used; i++) {
                struct conf_server *ghost;

                shared->servers[i].record = &records[i];
                if (!records[i].used || shared->servers[i].conf)
                        continue;
                records[i].server = SERVER_NO_CONF;
                if (records[i].first < shared->arena->head->extents[ARENA_SERVERS].used)
                        slots_fold(records, &records[i]);
                ghost = calloc(1, sizeof(*ghost));
                if (!ghost)
                        return -ENOMEM;
                *ghost = (struct conf_server){ .name = records[i].name, .text = records[i].text };
                sockopt_defaults(&ghost->sockopts);
                shared->servers[i].conf = ghost;
                shared->servers[i].ghost = ghost;
        }
        return 0;
}

int slots_assign(struct env_shared *shared) {
        struct env_listener_record *listeners = arena_slab(shared->arena, ARENA_LISTENERS);
        const struct conf *conf = shared->conf;
        uint16_t *backends = shared->backend_slots = calloc(conf->n_backends + 1, sizeof(*backends));
        struct slots_index index = { 0 };
        uint32_t at = 0;
        int r = backends ? slots_index_init(&index, shared->arena) : -ENOMEM;

        shared->n_listeners = shared->arena->head->extents[ARENA_LISTENERS].used;
        for (uint32_t i = 0; i < shared->n_listeners; i++)
                shared->listeners[i].record = &listeners[i];
        for (size_t i = 0; i < conf->n_backends && r >= 0; i++)
                r = slots_backend(shared, &index, &conf->backends[i], &backends[i]);
        free(index.table);
        if (r >= 0)
                r = slots_instances(shared);
        for (size_t i = 0; i < conf->n_frontends && r >= 0; i++)
                r = slots_frontend(shared, &conf->frontends[i], backends, &at);
        if (r >= 0)
                r = slots_ghosts(shared);
        if (r >= 0)
                r = slots_ghost_servers(shared);
        return r;
}

void slots_release(struct env_shared *shared) {
        free(shared->backend_slots);
        for (uint32_t i = 0; shared->backends && i < shared->arena->head->extents[ARENA_BACKENDS].used; i++) {
                struct conf_backend *ghost = shared->backends[i].ghost;

                if (shared->backends[i].conf)
                        backend_deinit(&shared->backends[i]);
                free(ghost);
        }
        for (uint32_t i = 0; shared->frontends && i < shared->arena->head->extents[ARENA_FRONTENDS].used; i++) {
                admit_deinit(&shared->frontends[i]);
                free(shared->frontends[i].ghost);
        }
        for (uint32_t i = 0; shared->listeners && i < shared->n_listeners; i++)
                acl_deinit(&shared->listeners[i].proxy_from);
        for (uint32_t i = 0; shared->servers && i < shared->arena->head->extents[ARENA_SERVERS].used; i++)
                free(shared->servers[i].ghost);
}

void slots_sweep(struct env_shared *shared, const struct slots_references *references) {
        struct env_listener_record *listeners = arena_slab(shared->arena, ARENA_LISTENERS);
        struct env_frontend_record *frontends = arena_slab(shared->arena, ARENA_FRONTENDS);
        struct env_backend_record *backends = arena_slab(shared->arena, ARENA_BACKENDS);
        struct server_record *servers = arena_slab(shared->arena, ARENA_SERVERS);
        const struct arena_extent *extents = shared->arena->head->extents;

        for (uint32_t i = 0; i < extents[ARENA_LISTENERS].used; i++)
                if (listeners[i].used && !shared->listeners[i].conf && listeners[i].fd < 0 && !references->listeners[i])
                        listeners[i].used = 0;
        for (uint32_t i = 0; i < extents[ARENA_FRONTENDS].used; i++)
                if (frontends[i].used && shared->frontends[i].ghost && !references->frontends[i])
                        frontends[i].used = 0;
        for (uint32_t i = 0; i < extents[ARENA_SERVERS].used; i++)
                if (servers[i].used && shared->servers[i].ghost && !references->servers[i])
                        servers[i].used = 0;
        for (uint32_t i = 0; i < extents[ARENA_BACKENDS].used; i++)
                if (backends[i].used && shared->backends[i].ghost && !references->backends[i])
                        backends[i].used = 0;
}
