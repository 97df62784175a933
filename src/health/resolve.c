/* SPDX-License-Identifier: ISC */
#include "health/resolve.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "health/instances.h"
#include "health/names.h"

#define RESOLVE_PARALLEL 64             /* look-ups at once */
#define RESOLVE_PAUSE_MS 100            /* after an error of the loop itself */
#define RESOLVE_BEAT_MS 1000            /* between two signs of life, at most */
#define RESOLVE_SHOWN 8                 /* addresses that a line lists */
#define RESOLVE_REMIND_MS 600000        /* a failure that goes on is logged again */
#define RESOLVE_SRV "srv:"
#define RESOLVE_SYSTEM_SERVERS 3        /* that resolv.conf has at most, as a rule */
#define RESOLVE_DESCRIPTORS 3           /* of our own; each name server takes two more: UDP and TCP */

/* How many lines may be logged: a few at once, and one more each period. */
struct resolve_lines {
        int64_t next_ms;
        unsigned left;
};
#define RESOLVE_NAME_LINES 6            /* of one name */
#define RESOLVE_NAME_PERIOD_MS 10000
#define RESOLVE_ALL_LINES 50            /* of all names */
#define RESOLVE_ALL_PERIOD_MS 500

/* One name, which is one server of the config. */
struct resolve_name {
        struct resolve *resolve;
        struct instances instances;     /* its addresses in the backend */
        const struct conf_server *server;
        char *host;                     /* owned; or the SRV name */
        uint16_t port;
        unsigned failures;              /* as of names.h */
        int64_t due_ms;                 /* the next look-up; INT64_MAX: one is under way */
        int first;                      /* nobody has looked it up yet */
        int failing;                    /* the log knows that there is a problem */
        int64_t failing_ms;             /* when it was told */
        struct resolve_lines lines;
};

struct resolve {
        struct env_shared *shared;
        struct log *log;
        struct dns *dns;
        struct resolve_name *names;     /* owned */
        size_t n;
        struct names_set set;           /* of the name that has an answer */
        size_t turn;                    /* whose turn it is to be looked up */
        int wake;                       /* an eventfd, owned: it is time to stop, or to look */
        _Atomic int stop;
        _Atomic int64_t beat_ms;
        struct resolve_lines lines;
        unsigned unsaid;                /* lines that were too many */
        struct log_limit error_limit;
        pthread_t thread;
        pthread_mutex_t lock;           /* of the rest */
        pthread_cond_t changed;
        size_t first;                   /* names that nobody has looked up yet */
};

static int resolve_lines_ask(struct resolve_lines *lines, int64_t now, unsigned most, int64_t period_ms) {
        if (lines->next_ms == 0)
                *lines = (struct resolve_lines){ .next_ms = now + period_ms, .left = most };
        while (lines->left < most && lines->next_ms <= now) {
                lines->left++;
                lines->next_ms += period_ms;
        }
        if (lines->left == most)
                lines->next_ms = now + period_ms;
        if (!lines->left)
                return 0;
        lines->left--;
        return 1;
}

/* Logs a line about a name, unless there were too many. */
static void resolve_log(struct resolve_name *name, enum log_level level, int64_t now, const struct text *line) {
        struct resolve *resolve = name->resolve;
        struct log_context context = { .backend = name->instances.backend->conf->name, .server = name->server->name,
                                       .address = name->server->text };

        if (!resolve_lines_ask(&name->lines, now, RESOLVE_NAME_LINES, RESOLVE_NAME_PERIOD_MS) ||
            !resolve_lines_ask(&resolve->lines, now, RESOLVE_ALL_LINES, RESOLVE_ALL_PERIOD_MS)) {
                resolve->unsaid++;
                return;
        }
        log_write(resolve->log, level, &context, "%.*s", (int)line->len, line->buf);
}

static void resolve_log_unsaid(struct resolve *resolve, int64_t now) {
        if (!resolve->unsaid ||
            !resolve_lines_ask(&resolve->lines, now, RESOLVE_ALL_LINES, RESOLVE_ALL_PERIOD_MS))
                return;
        log_warning(resolve->log, LOG_NO_CONTEXT, "%u lines about names of servers were too many and are left out",
                    resolve->unsaid);
        resolve->unsaid = 0;
}

/* "10.0.0.1:80, 10.0.0.2:80 and 3 more" */
static void resolve_list(const struct names_set *set, struct text *text) {
        char addr[ADDR_STRLEN];

        for (size_t i = 0; i < set->n && i < RESOLVE_SHOWN; i++) {
                const struct names_address *address = &set->list[i];

                text_printf(text, "%s%s", i ? ", " : "",
                            addr_format(&address->addr.sa, address->addr.len, addr, sizeof(addr)));
                if (address->weight != NAMES_WEIGHT_CONFIGURED)
                        text_printf(text, " (%sweight %d)", address->backup ? "backup, " : "", address->weight);
        }
        if (set->n > RESOLVE_SHOWN)
                text_printf(text, " and %zu more", set->n - RESOLVE_SHOWN);
}

/* What to say of an answer that leaves something open.  Once, and now and then while that goes on. */
static void resolve_tell_problem(struct resolve_name *name, const struct dns_answer *answer,
                                 const struct names_result *result, int64_t now) {
        int64_t hold = name->resolve->shared->conf->resolver.hold;
        char line[512];
        struct text text = text_init(line, sizeof(line));

        if (name->failing && !result->removed && now - name->failing_ms < RESOLVE_REMIND_MS)
                return;
        name->failing = 1;
        name->failing_ms = now;
        text_printf(&text, "cannot resolve %sthe server's name: %s; ", answer->n ? "all of " : "",
                    answer->why ? answer->why : "a part of its addresses is gone");
        if (!name->resolve->set.n)
                text_add(&text, "it is down until the name resolves, ");
        else if (result->failed && answer->n)
                text_add(&text, "what else it had stays in use, ");
        else if (result->failed)
                text_add(&text, "the last good answer stays in use, ");
        else if (hold < 0)
                text_add(&text, "the addresses that it had stay in use, ");
        else
                text_printf(&text, "unless that lasts for %" PRId64 ".%03" PRId64 " s, its addresses stay in use, ",
                            hold / 1000, hold % 1000);
        text_printf(&text, "next try in %" PRId64 ".%03" PRId64 " s", result->next_ms / 1000, result->next_ms % 1000);
        resolve_log(name, LOG_LEVEL_WARNING, now, &text);
}

static void resolve_tell(struct resolve_name *name, const struct dns_answer *answer,
                         const struct names_result *result, size_t left_out, int64_t now) {
        int bad = result->failed || result->held || !name->resolve->set.n;
        char line[1024];
        struct text text = text_init(line, sizeof(line));

        if ((result->changed && name->resolve->set.n) || (name->failing && !bad)) {
                text_printf(&text, "the server's name resolves to ");
                resolve_list(&name->resolve->set, &text);
                if (!name->first && result->changed)
                        text_printf(&text, "; %u new, %u gone", result->added, result->removed);
                if (left_out)
                        text_printf(&text, "; %zu more are left out, they are too many or cannot be reached from here",
                                    left_out);
                resolve_log(name, LOG_LEVEL_INFO, now, &text);
        }
        if (bad)
                resolve_tell_problem(name, answer, result, now);
        else
                name->failing = 0;
}

/* Somebody has looked the name up, now. */
static void resolve_first(struct resolve_name *name, int64_t now) {
        struct resolve *resolve = name->resolve;

        name->first = 0;
        instances_asked(&name->instances, now);
        pthread_mutex_lock(&resolve->lock);
        if (--resolve->first == 0)
                pthread_cond_broadcast(&resolve->changed);
        pthread_mutex_unlock(&resolve->lock);
}

static void resolve_done(void *arg, const struct dns_answer *answer) {
        struct resolve_name *name = arg;
        struct names_set *set = &name->resolve->set;
        const struct names_rules rules = { .resolve = name->instances.backend->conf->resolve,
                                           .hold = name->resolve->shared->conf->resolver.hold };
        int64_t now = clock_now_ms();
        struct names_result result;
        size_t left_out;

        instances_get(&name->instances, set);
        set->failures = name->failures;
        names_apply(set, answer, &rules, now, &result);
        name->failures = set->failures;
        name->due_ms = now + result.next_ms;
        left_out = answer->left_out + instances_put(&name->instances, set, now);
        if (!name->instances.overridden)
                resolve_tell(name, answer, &result, left_out, now);
        if (name->first)
                resolve_first(name, now);
}

static void resolve_ask(struct resolve_name *name) {
        struct dns *dns = name->resolve->dns;
        int r;

        name->due_ms = INT64_MAX;
        if (name->server->addr.kind == ADDR_SRV)
                r = dns_srv(dns, name->host, resolve_done, name);
        else
                r = dns_host(dns, name->host, name->port, resolve_done, name);
        if (r < 0)
                name->due_ms = clock_now_ms() + NAMES_RETRY_MS;
}

/* Starts what is due.  Returns how long nothing else will be (ms). */
static int64_t resolve_round(struct resolve *resolve) {
        int64_t now = clock_now_ms(), next = INT64_MAX;

        resolve_log_unsaid(resolve, now);
        if (dns_outdated(resolve->dns))
                return INT64_MAX;
        for (size_t i = 0; i < resolve->n && dns_pending(resolve->dns) < RESOLVE_PARALLEL; i++) {
                struct resolve_name *name = &resolve->names[resolve->turn];

                resolve->turn = (resolve->turn + 1) % resolve->n;
                if (name->due_ms <= now)
                        resolve_ask(name);
                if (name->due_ms < next)
                        next = name->due_ms;
        }
        /* With all places taken, the end of a look-up is what to wait for. */
        if (dns_pending(resolve->dns) >= RESOLVE_PARALLEL)
                return INT64_MAX;
        return next > now ? next - now : 0;
}

/* Somebody has set an address, or taken it back. */
static void resolve_look(struct resolve *resolve) {
        struct names_set *set = &resolve->set;
        int64_t now = clock_now_ms();
        uint64_t times;

        while (read(resolve->wake, &times, sizeof(times)) < 0 && errno == EINTR)
                ;
        for (size_t i = 0; i < resolve->n; i++) {
                struct resolve_name *name = &resolve->names[i];

                if (!instances_look(&name->instances))
                        continue;
                instances_get(&name->instances, set);
                instances_put(&name->instances, set, now);
                if (name->due_ms != INT64_MAX)
                        name->due_ms = now;
        }
}

static void *resolve_main(void *arg) {
        struct resolve *resolve = arg;
        int r;

        pthread_setname_np(pthread_self(), "spliced-names");
        while (!atomic_load(&resolve->stop)) {
                int64_t wait = resolve_round(resolve);

                atomic_store_explicit(&resolve->beat_ms, clock_now_ms(), memory_order_relaxed);
                r = dns_wait(resolve->dns, resolve->wake, wait < RESOLVE_BEAT_MS ? wait : RESOLVE_BEAT_MS);
                if (r < 0) {
                        struct pollfd wake = { .fd = resolve->wake, .events = POLLIN };

                        if (log_limit_ask(&resolve->error_limit, clock_now_ms(), RESOLVE_REMIND_MS))
                                log_error(resolve->log, LOG_NO_CONTEXT, "cannot wait for name servers: %s",
                                          strerror(-r));
                        r = poll(&wake, 1, RESOLVE_PAUSE_MS);
                }
                if (r > 0)
                        resolve_look(resolve);
        }
        return NULL;
}

static int resolve_named(const struct conf_server *server) {
        return server->addr.kind == ADDR_HOST || server->addr.kind == ADDR_SRV;
}

/* What the records have is what a former process found. */
static void resolve_seed(struct resolve_name *name) {
        name->first = !instances_were_asked(&name->instances);
        name->resolve->first += (size_t)name->first;
}

static int resolve_add(struct resolve *resolve, struct backend *backend, unsigned server, uint16_t slot) {
        struct resolve_name *name = &resolve->names[resolve->n++];
        const struct conf_server *conf = &backend->conf->servers[server];
        size_t size = strlen(conf->text) + 1;

        *name = (struct resolve_name){ .resolve = resolve, .server = conf };
        name->host = malloc(size);
        if (!name->host)
                return -ENOMEM;
        if (conf->addr.kind == ADDR_SRV)
                snprintf(name->host, size, "%s", conf->text + strlen(RESOLVE_SRV));
        else if (addr_split_host(conf->text, name->host, size, &name->port) < 0)
                return -EINVAL;
        return instances_init(&name->instances, resolve->shared, backend, server, slot);
}

/* Gathers the names.  Returns 0 or -errno. */
static int resolve_gather(struct resolve *resolve) {
        const struct env_shared *shared = resolve->shared;
        const struct conf *conf = shared->conf;
        struct server_record *records = arena_slab(shared->arena, ARENA_SERVERS);
        uint32_t used = shared->arena->head->extents[ARENA_SERVERS].used;
        struct resolve_name **names = calloc(UINT16_MAX + 1, sizeof(*names));   /* by the slot of instance 0 */
        size_t n = 0;
        int r = names ? 0 : -ENOMEM;

        for (size_t b = 0; b < conf->n_backends; b++)
                for (size_t i = 0; i < conf->backends[b].n_servers; i++)
                        n += (size_t)resolve_named(&conf->backends[b].servers[i]);
        resolve->names = calloc(n ? n : 1, sizeof(*resolve->names));
        if (!resolve->names)
                r = -ENOMEM;
        /* By slots, which say what a server of the config has. */
        for (uint32_t i = 0; i < used && r == 0; i++) {
                const struct conf_server *server = shared->servers[i].conf;
                struct backend *backend = &shared->backends[records[i].backend];

                if (!server || shared->servers[i].ghost || records[i].instance || !resolve_named(server))
                        continue;
                names[i] = &resolve->names[resolve->n];
                r = resolve_add(resolve, backend, (unsigned)(server - backend->conf->servers), (uint16_t)i);
        }
        for (uint32_t i = 0; i < used && r == 0; i++)
                if (records[i].instance && names[records[i].first] && shared->servers[i].conf &&
                    !shared->servers[i].ghost)
                        r = instances_add(&names[records[i].first]->instances, (uint16_t)i);
        free(names);
        for (size_t i = 0; i < resolve->n && r == 0; i++)
                resolve_seed(&resolve->names[i]);
        return r;
}

static void resolve_free(struct resolve *resolve) {
        dns_free(resolve->dns);
        for (size_t i = 0; i < resolve->n; i++) {
                instances_deinit(&resolve->names[i].instances);
                free(resolve->names[i].host);
        }
        free(resolve->names);
        if (resolve->wake >= 0)
                close(resolve->wake);
        pthread_cond_destroy(&resolve->changed);
        pthread_mutex_destroy(&resolve->lock);
        free(resolve);
}

static struct timespec resolve_after(int64_t ms) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        ts.tv_sec += ms / 1000;
        ts.tv_nsec += ms % 1000 * 1000000;
        if (ts.tv_nsec >= 1000000000) {
                ts.tv_sec++;
                ts.tv_nsec -= 1000000000;
        }
        return ts;
}

static int resolve_run(struct resolve *resolve, int wait_ms) {
        struct timespec until = resolve_after(wait_ms);
        sigset_t all, before;
        int r;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&resolve->thread, NULL, resolve_main, resolve);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r)
                return -r;
        pthread_mutex_lock(&resolve->lock);
        while (resolve->first && !r && wait_ms > 0)
                r = pthread_cond_timedwait(&resolve->changed, &resolve->lock, &until);
        pthread_mutex_unlock(&resolve->lock);
        return 0;
}

int resolve_start(struct resolve **out, struct env_shared *shared, int wait_ms) {
        struct resolve *resolve = calloc(1, sizeof(*resolve));
        pthread_condattr_t attr;
        int r;

        *out = NULL;
        if (!resolve)
                return -ENOMEM;
        resolve->shared = shared;
        resolve->log = shared->log;
        pthread_mutex_init(&resolve->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&resolve->changed, &attr);
        pthread_condattr_destroy(&attr);
        resolve->wake = -1;
        resolve->beat_ms = clock_now_ms();
        r = resolve_gather(resolve);
        if (r < 0 || !resolve->n) {
                resolve_free(resolve);
                return r;
        }
        resolve->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = resolve->wake < 0 ? -errno : dns_new(&resolve->dns, &shared->conf->resolver);
        if (r == 0)
                r = resolve_run(resolve, wait_ms);
        if (r < 0) {
                resolve_free(resolve);
                return r;
        }
        shared->names = &resolve->wake;
        *out = resolve;
        return 0;
}

int64_t resolve_beat(const struct resolve *resolve) {
        return resolve ? atomic_load_explicit(&resolve->beat_ms, memory_order_relaxed) : INT64_MAX;
}

void resolve_stop(struct resolve *resolve, int leaving) {
        if (!resolve)
                return;
        atomic_store(&resolve->stop, 1);
        env_wake_names(resolve->shared);
        pthread_join(resolve->thread, NULL);
        if (leaving)
                return;
        resolve->shared->names = NULL;
        resolve_free(resolve);
}

size_t resolve_descriptors(const struct conf *conf) {
        size_t servers = conf->resolver.n_servers ? conf->resolver.n_servers : RESOLVE_SYSTEM_SERVERS;

        for (size_t b = 0; b < conf->n_backends; b++)
                for (size_t i = 0; i < conf->backends[b].n_servers; i++)
                        if (resolve_named(&conf->backends[b].servers[i]))
                                return RESOLVE_DESCRIPTORS + 2 * servers;
        return 0;
}
