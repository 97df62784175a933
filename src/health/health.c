/* SPDX-License-Identifier: ISC */
#include "health/health.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "health/member.h"
#include "net/sys.h"
#include "session/access.h"

#define HEALTH_LOOK_MS 1000     /* between looks at who is there, where nobody asks for one */
#define HEALTH_REST_MS 100      /* after a round that failed */
#define HEALTH_STAGGER_MS 1     /* between the first checks of two servers */
#define HEALTH_JITTER 20        /* one part in so many of an interval, more or less */
#define HEALTH_LOG_MS 5000      /* between lines about descriptors and memory */
#define HEALTH_DESCRIPTORS 2    /* epoll and wake-up */
#define HEALTH_ADDRESSES 16     /* that one name may have, as descriptors are counted */

/* Each slot has two nodes in the loop: for its checks, and for the end of its ejection. */
#define HEALTH_CHECK(slot) ((uint32_t)(slot))
#define HEALTH_EJECTED(slot) (ENV_SERVERS + (uint32_t)(slot))
#define HEALTH_NODES (2u * ENV_SERVERS)

struct health {
        struct env_shared *shared;
        pthread_t thread;
        struct loop_record record;
        struct loop loop;
        struct loop_links *links;       /* owned */
        struct wheel_node *timers;      /* owned */
        struct member *members;         /* owned, by slot */
        struct expect *expects;         /* owned, by place in conf->backends */
        uint32_t n_slots;               /* slots from here on were never seen */
        uint32_t first, last;           /* the list of members that wait, as slot + 1 */
        uint32_t running;               /* checks under way */
        uint32_t look;                  /* number of the present look, or the last */
        uint32_t fresh;                 /* first checks that it has planned */
        int64_t look_ms;                /* of the next */
        uint64_t random;
        struct log_limit short_limit;   /* lines about descriptors and memory */
        struct log_limit round_limit;   /* lines about rounds that failed */
        _Atomic int64_t beat_ms;
        _Atomic int leave;
};

/* xorshift: spreads checks over time. */
static int64_t health_random(struct health *health, int64_t below) {
        health->random ^= health->random << 13;
        health->random ^= health->random >> 7;
        health->random ^= health->random << 17;
        return below > 0 ? (int64_t)(health->random % (uint64_t)below) : 0;
}

static void health_plan(struct health *health, struct member *member, int64_t in_ms) {
        member->planned = 1;
        wheel_arm(&health->loop.wheel, HEALTH_CHECK(member->slot), health->loop.now_ms + in_ms);
}

/* The next check after the one that is over. */
static void health_plan_next(struct health *health, struct member *member, int changing) {
        const struct conf_check *check = &member->backend->conf->check;
        int64_t interval = changing ? check->fast_interval : check->interval, spread = interval / HEALTH_JITTER;
        int64_t when_ms = member->begin_ms + interval - spread + health_random(health, 2 * spread + 1);

        health_plan(health, member, when_ms > health->loop.now_ms ? when_ms - health->loop.now_ms : 1);
}

/* One that is new: at once where nothing is known of it, though not all in the same moment. */
static void health_plan_first(struct health *health, struct member *member, const struct server_record *record) {
        int64_t interval = member->backend->conf->check.interval;

        if (record->check == SERVER_CHECK_NONE)
                health_plan(health, member, health->fresh++ * HEALTH_STAGGER_MS % interval);
        else
                health_plan(health, member, health_random(health, interval));
}

/* A check is over, or is not to be: lets go of what it holds. */
static void health_end(struct health *health, struct member *member) {
        probe_end(&member->probe);
        health->running -= member->running;
        member->running = 0;
}

static void health_unplan(struct health *health, struct member *member) {
        member->planned = member->waits = 0;
        wheel_cancel(&health->loop.wheel, HEALTH_CHECK(member->slot));
        loop_unready(&health->loop, HEALTH_CHECK(member->slot));
        health_end(health, member);
}

static void health_wait(struct health *health, struct member *member) {
        member->waits = 1;
        if (member->listed)
                return;
        member->listed = 1;
        member->next = 0;
        if (health->last)
                health->members[health->last - 1].next = member->slot + 1u;
        else
                health->first = member->slot + 1u;
        health->last = member->slot + 1u;
}

/* The first that waits, or NULL. */
static struct member *health_next(struct health *health) {
        while (health->first) {
                struct member *member = &health->members[health->first - 1];

                health->first = member->next;
                if (!health->first)
                        health->last = 0;
                member->listed = 0;
                if (member->waits) {
                        member->waits = 0;
                        return member;
                }
        }
        return NULL;
}

static struct log_context health_context(const struct member *member, char *text) {
        addr_format(&member->addr.sa, member->addr.len, text, ADDR_STRLEN);
        return (struct log_context){ .backend = member->backend->conf->name, .server = member->conf->name,
                                     .address = text };
}

static void health_tell(struct health *health, const struct member *member, const struct member_change *change,
                        uint32_t ended) {
        enum log_level level = change->to.check != SERVER_CHECK_DOWN ? LOG_LEVEL_INFO :
                                                        change->left ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR;
        char text[ADDR_STRLEN], sessions[64] = "", times[32] = "";
        struct log_context context = health_context(member, text);

        if (ended)
                snprintf(sessions, sizeof(sessions), "; %" PRIu32 " sessions on it are ended", ended);
        if (change->from.check != SERVER_CHECK_NONE)
                snprintf(times, sizeof(times), " (%u in a row)", change->from.streak + 1);
        log_write(health->shared->log, level, &context, "health check%s%s: %s -> %s: %s%s; %zu of %zu servers left%s",
                  member->conf->check_text ? " at " : "", member->conf->check_text ? member->conf->check_text : "",
                  verdict_name(change->from.check), verdict_name(change->to.check), change->detail, times,
                  change->left, change->total, sessions);
}

/* A check has come to its end. */
static void health_finish(struct health *health, struct member *member, enum probe_result result, const char *detail) {
        struct member_change change = { .ok = result == PROBE_OK, .detail = detail, .now_ms = health->loop.now_ms };
        uint32_t ended = 0, times;

        health_end(health, member);
        if (result == PROBE_NO_RESULT) {
                times = log_limit_ask(&health->short_limit, health->loop.now_ms, HEALTH_LOG_MS);
                if (times)
                        log_warning(health->shared->log, LOG_NO_CONTEXT,
                                    "health checks cannot be made: %s; servers stay as they are (%" PRIu32 " times)",
                                    detail, times);
                health_plan_next(health, member, 0);
                return;
        }
        member_result(member, &change);
        if (change.stale) {
                health_unplan(health, member);
                health->look_ms = 0;
                return;
        }
        health_plan_next(health, member, change.to.streak > 0);
        if (change.to.check == change.from.check)
                return;
        if (change.to.check == SERVER_CHECK_DOWN && member->backend->conf->check.on_down == CONF_ON_DOWN_CLOSE)
                ended = env_kill_server(health->shared, member->slot, ACCESS_SERVER_DOWN);
        health_tell(health, member, &change, ended);
        env_grant(health->shared, member->backend, health->loop.now_ms);
}

/* After each step of a check. */
static void health_went(struct health *health, struct member *member, enum probe_result result, const char *detail) {
        if (result != PROBE_PENDING)
                health_finish(health, member, result, detail);
        else if (member->probe.next_ms == INT64_MAX)
                wheel_cancel(&health->loop.wheel, HEALTH_CHECK(member->slot));
        else
                wheel_arm(&health->loop.wheel, HEALTH_CHECK(member->slot), member->probe.next_ms);
}

static uint64_t health_key(const struct member *member) {
        return (uint64_t)member->generation << 16 | member->slot;
}

static void health_begin(struct health *health, struct member *member) {
        size_t place = (size_t)(member->backend->conf - health->shared->conf->backends);
        struct probe_target target = { .backend = member->backend->conf, .server = member->conf,
                                       .expect = &health->expects[place] };
        char detail[PROBE_DETAIL_SIZE] = "";
        const struct addr *addr = &member->addr;

        member_address(member, &member->addr);
        member->begin_ms = health->loop.now_ms;
        if (member->addr.kind == ADDR_NONE) {
                health_unplan(health, member);
                return;
        }
        if (member->conf->check_text)
                addr = &member->conf->check_addr;
        member->generation++;
        member->running = 1;
        health->running++;
        health_went(health, member,
                    probe_start(&member->probe, &target, addr, health->record.poller, health_key(member),
                                health->loop.now_ms, detail), detail);
}

static void health_on_event(void *owner, uint64_t key, uint32_t events) {
        struct health *health = owner;
        struct member *member = &health->members[key & UINT16_MAX];
        char detail[PROBE_DETAIL_SIZE] = "";

        /* Of a check that is over. */
        if (!member->running || health_key(member) != key)
                return;
        health_went(health, member, probe_event(&member->probe, events, health->loop.now_ms, detail), detail);
}

static void health_on_ready(void *owner, uint32_t node) {
        struct health *health = owner;

        if (health->running < HEALTH_FLIGHT && !health->first)
                health_begin(health, &health->members[node]);
        else
                health_wait(health, &health->members[node]);
}

static void health_returned(struct health *health, struct member *member) {
        char text[ADDR_STRLEN];
        struct log_context context = health_context(member, text);
        size_t left, total;

        member->ejected_until_ms = member_return(member, health->loop.now_ms, &left, &total);
        if (member->ejected_until_ms) {
                wheel_arm(&health->loop.wheel, HEALTH_EJECTED(member->slot), member->ejected_until_ms);
                return;
        }
        log_info(health->shared->log, &context, "live traffic: the server's ejection is over; %zu of %zu servers left",
                 left, total);
        env_grant(health->shared, member->backend, health->loop.now_ms);
}

static void health_on_expire(void *owner, uint32_t node) {
        struct health *health = owner;
        struct member *member = &health->members[node % ENV_SERVERS];
        char detail[PROBE_DETAIL_SIZE] = "";

        if (node >= ENV_SERVERS)
                health_returned(health, member);
        else if (member->running)
                health_went(health, member, probe_due(&member->probe, health->loop.now_ms, detail), detail);
        else
                loop_ready(&health->loop, node);
}

static void health_on_wake(void *owner) {
        struct health *health = owner;

        health->look_ms = 0;
}

static const struct loop_handlers health_handlers = {
        .event = health_on_event, .ready = health_on_ready, .expire = health_on_expire, .wake = health_on_wake,
};

/* Whether the place of a member has been another's, or has another address now. */
static int health_moved(const struct member *member, const struct addr *addr) {
        return member->addr.kind != addr->kind || (addr->kind != ADDR_NONE && !addr_equal(&member->addr, addr));
}

/* Looks at one member, under the lock of its backend. */
static void health_see(struct health *health, struct backend *backend, const struct backend_member *place) {
        struct member *member = &health->members[place->slot];
        struct server_record *record = place->record;
        int wanted = backend_checked(backend, place->slot), fresh = !member->known;

        if (fresh) {
                member->slot = place->slot;
                member->known = 1;
                member->probe = PROBE_NULL;
                if (place->slot >= health->n_slots)
                        health->n_slots = place->slot + 1u;
        }
        if (!fresh && health_moved(member, &record->addr))
                health_unplan(health, member);
        member->look = health->look;
        member->backend = backend;
        member->conf = &backend->conf->servers[place->server];
        member->addr = record->addr;
        /* What comes back from maintenance is as good as new; nothing depends on this meanwhile. */
        if (record->admin == SERVER_MAINT)
                server_forget_health(record);
        if (!wanted || record->admin == SERVER_MAINT || record->addr.kind == ADDR_NONE)
                health_unplan(health, member);
        else if (!member->planned)
                health_plan_first(health, member, record);
        /* Those that a former process did not get to, and those that were only connecting when it went down. */
        member->close = wanted && record->check == SERVER_CHECK_DOWN &&
                        backend->conf->check.on_down == CONF_ON_DOWN_CLOSE;
        if (record->ejected_until_ms > health->loop.now_ms && !member->ejected_until_ms) {
                member->ejected_until_ms = record->ejected_until_ms;
                wheel_arm(&health->loop.wheel, HEALTH_EJECTED(member->slot), member->ejected_until_ms);
        }
}

static void health_look_at(struct backend *backend, void *arg) {
        for (size_t i = 0; i < backend->n_members; i++)
                health_see(arg, backend, &backend->members[i]);
}

static int health_wants(const struct conf_backend *conf) {
        return conf->check.given || conf->outlier.given;
}

/* Finds out who is there.  Members may come and go, and have other addresses and states, at any time. */
static void health_look(struct health *health) {
        const struct conf *conf = health->shared->conf;

        health->look++;
        health->fresh = 0;
        health->look_ms = health->loop.now_ms + HEALTH_LOOK_MS;
        for (size_t i = 0; i < conf->n_backends; i++)
                if (health_wants(&conf->backends[i]))
                        backend_locked(&health->shared->backends[health->shared->backend_slots[i]], health_look_at,
                                       health);
        for (uint32_t slot = 0; slot < health->n_slots; slot++) {
                struct member *member = &health->members[slot];

                if (member->close)
                        env_kill_server(health->shared, slot, ACCESS_SERVER_DOWN);
                member->close = 0;
                if (!member->known || member->look == health->look)
                        continue;
                health_unplan(health, member);
                wheel_cancel(&health->loop.wheel, HEALTH_EJECTED(slot));
                member->ejected_until_ms = 0;
                member->known = 0;
        }
}

int health_round(struct health *health, int max_wait_ms) {
        struct member *member;
        int r;

        for (int i = 0; i < LOOP_BATCH && health->running < HEALTH_FLIGHT && (member = health_next(health)); i++)
                health_begin(health, member);
        if (health->first && health->running < HEALTH_FLIGHT)
                max_wait_ms = 0;
        r = loop_round(&health->loop, max_wait_ms);
        if (r >= 0 && health->loop.now_ms >= health->look_ms)
                health_look(health);
        atomic_store_explicit(&health->beat_ms, health->loop.now_ms, memory_order_relaxed);
        return r;
}

static int health_prepare(struct health *health) {
        const struct conf *conf = health->shared->conf;
        int r;

        health->links = calloc(HEALTH_NODES, sizeof(*health->links));
        health->timers = calloc(HEALTH_NODES, sizeof(*health->timers));
        health->members = calloc(ENV_SERVERS, sizeof(*health->members));
        health->expects = calloc(conf->n_backends + 1, sizeof(*health->expects));
        if (!health->links || !health->timers || !health->members || !health->expects)
                return -ENOMEM;
        for (size_t i = 0; i < conf->n_backends; i++) {
                if (!conf->backends[i].check.given || conf->backends[i].check.type != CONF_CHECK_EXPECT)
                        continue;
                r = expect_init(&health->expects[i], &conf->backends[i].check);
                if (r < 0)
                        return r;
        }
        return loop_record_init(&health->record);
}

int health_new(struct health **out, struct env_shared *shared) {
        struct health *health;
        size_t wanted = 0;
        int r;

        *out = NULL;
        for (size_t i = 0; i < shared->conf->n_backends; i++)
                wanted += (size_t)health_wants(&shared->conf->backends[i]);
        if (!wanted)
                return 0;
        health = calloc(1, sizeof(*health));
        if (!health)
                return -ENOMEM;
        health->shared = shared;
        health->record = (struct loop_record){ .poller = -1, .wake = -1 };
        health->random = (uint64_t)clock_wall_ms() << 20 | 1;
        r = health_prepare(health);
        if (r < 0) {
                health_free(health);
                return r;
        }
        loop_init(&health->loop, &health->record, &health_handlers, health, health->links, health->timers);
        health->beat_ms = health->loop.now_ms;
        shared->health = &health->record;
        health_look(health);
        *out = health;
        return 0;
}

void health_free(struct health *health) {
        if (!health)
                return;
        for (uint32_t slot = 0; slot < health->n_slots; slot++)
                if (health->members[slot].known)
                        probe_end(&health->members[slot].probe);
        for (size_t i = 0; health->expects && i < health->shared->conf->n_backends; i++)
                expect_deinit(&health->expects[i]);
        if (health->shared->health == &health->record)
                health->shared->health = NULL;
        loop_record_deinit(&health->record);
        free(health->links);
        free(health->timers);
        free(health->members);
        free(health->expects);
        free(health);
}

static void *health_main(void *arg) {
        struct health *health = arg;

        pthread_setname_np(pthread_self(), "spliced-checks");
        while (!atomic_load(&health->leave)) {
                int r = health_round(health, HEALTH_LOOK_MS);
                uint32_t times = r < 0 ? log_limit_ask(&health->round_limit, clock_now_ms(), HEALTH_LOG_MS) : 0;

                if (times)
                        log_error(health->shared->log, LOG_NO_CONTEXT, "health checks: cannot wait for events: %s",
                                  strerror(-r));
                if (r < 0)
                        poll(NULL, 0, HEALTH_REST_MS);
        }
        return NULL;
}

int health_start(struct health **out, struct env_shared *shared) {
        sigset_t all, before;
        int r = health_new(out, shared);

        if (r < 0 || !*out)
                return r;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&(*out)->thread, NULL, health_main, *out);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r) {
                health_free(*out);
                *out = NULL;
        }
        return -r;
}

int64_t health_beat(const struct health *health) {
        return health ? atomic_load_explicit(&health->beat_ms, memory_order_relaxed) : INT64_MAX;
}

void health_leave(struct health *health) {
        if (!health)
                return;
        atomic_store(&health->leave, 1);
        loop_wake(&health->record);
}

void health_stop(struct health *health, int leaving) {
        if (!health)
                return;
        health_leave(health);
        pthread_join(health->thread, NULL);
        if (!leaving)
                health_free(health);
}

size_t health_descriptors(const struct conf *conf) {
        size_t checks = 0, own = 0;

        for (size_t i = 0; i < conf->n_backends; i++) {
                const struct conf_backend *backend = &conf->backends[i];

                if (health_wants(backend))
                        own = HEALTH_DESCRIPTORS;
                for (size_t s = 0; backend->check.given && s < backend->n_servers; s++) {
                        int named = backend->servers[s].addr.kind == ADDR_HOST ||
                                    backend->servers[s].addr.kind == ADDR_SRV;

                        if (backend->servers[s].check)
                                checks += named ? HEALTH_ADDRESSES : 1;
                }
        }
        return own + (checks < HEALTH_FLIGHT ? checks : HEALTH_FLIGHT);
}
