/* SPDX-License-Identifier: ISC */
#include "admin/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/api.h"
#include "base/clock.h"
#include "config.h"
#include "session/access.h"

#define METRICS_FIRST 65536
#define METRICS_LABELS (2 * METRICS_LABEL + 64)

/* A server, all its addresses together. */
struct metrics_server {
        const char *backend, *name;
        int up;
        uint64_t weight, sessions, sessions_total, connect_failed, retried, bytes[2];
};

struct metrics_frontend {
        const char *name;
        int up;
        uint64_t sessions;
        struct counters_frontend_sum sum;
};

struct metrics_backend {
        const char *name;
        uint64_t queued;
        struct counters_backend_sum sum;
};

/* What was gathered before anything is written: a family's lines stand together. */
struct metrics {
        struct metrics_text *text;
        struct metrics_frontend *frontends;
        size_t n_frontends;
        struct metrics_backend *backends;
        size_t n_backends;
        struct metrics_server *servers;
        size_t n_servers;
};

static int metrics_grow(struct metrics_text *text, size_t more) {
        size_t size = text->size ? text->size : METRICS_FIRST;
        char *buf;

        if (text->len + more < text->size)
                return 1;
        while (size <= text->len + more)
                size *= 2;
        buf = realloc(text->buf, size);
        if (!buf) {
                text->failed = 1;
                return 0;
        }
        text->buf = buf;
        text->size = size;
        return 1;
}

void metrics_printf(struct metrics_text *text, const char *fmt, ...) {
        va_list args;
        int n;

        for (size_t more = 256; !text->failed && metrics_grow(text, more); more = (size_t)n + 1) {
                va_start(args, fmt);
                n = vsnprintf(text->buf + text->len, text->size - text->len, fmt, args);
                va_end(args);
                if (n < 0) {
                        text->failed = 1;
                        return;
                }
                if ((size_t)n < text->size - text->len) {
                        text->len += (size_t)n;
                        return;
                }
        }
}

void metrics_family(struct metrics_text *text, const char *name, const char *type, const char *help) {
        metrics_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

char *metrics_label(const char *value, char buf[static METRICS_LABEL]) {
        size_t at = 0;

        for (; *value && at + 3 < METRICS_LABEL; value++) {
                if (*value == '\\' || *value == '"' || *value == '\n')
                        buf[at++] = '\\';
                buf[at++] = *value == '\n' ? 'n' : *value;
        }
        buf[at] = '\0';
        return buf;
}

static void metrics_seconds(int64_t ms, char *buf, size_t size) {
        size_t len = (size_t)snprintf(buf, size, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);

        while (buf[len - 1] == '0')
                buf[--len] = '\0';
        if (buf[len - 1] == '.')
                buf[--len] = '\0';
}

void metrics_histogram(struct metrics_text *text, const char *name, const char *labels, const int64_t *bounds,
                       const struct counters_histogram_sum *sum) {
        uint64_t count = 0;
        char seconds[32];

        for (int i = 0; i < COUNTERS_BOUNDS; i++) {
                count += sum->buckets[i];
                metrics_seconds(bounds[i], seconds, sizeof(seconds));
                metrics_printf(text, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels, seconds, count);
        }
        metrics_printf(text, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, sum->count);
        metrics_seconds((int64_t)sum->sum_ms, seconds, sizeof(seconds));
        metrics_printf(text, "%s_sum{%s} %s\n%s_count{%s} %" PRIu64 "\n", name, labels, seconds, name, labels,
                       sum->count);
}

static void metrics_one(struct metrics_text *text, const char *name, const char *type, const char *help,
                        uint64_t value) {
        metrics_family(text, name, type, help);
        metrics_printf(text, "%s %" PRIu64 "\n", name, value);
}

static void metrics_process(struct api *api, struct metrics_text *text) {
        const struct env_shared *shared = api->view.shared;
        struct control_record *control = api->view.control;
        struct control_outcome *outcome = calloc(1, sizeof(*outcome));
        int64_t up_ms = clock_now_ms() - control->started_ms;

        if (!outcome) {
                text->failed = 1;
                return;
        }
        control_outcome(control, CONTROL_RELOAD, outcome);
        metrics_family(text, "spliced_build_info", "gauge", "Always 1; the version is a label.");
        metrics_printf(text, "spliced_build_info{version=\"" PACKAGE_VERSION "\"} 1\n");
        metrics_family(text, "spliced_uptime_seconds", "gauge", "Since the daemon was started.");
        metrics_printf(text, "spliced_uptime_seconds %" PRId64 ".%03" PRId64 "\n", up_ms / 1000, up_ms % 1000);
        metrics_one(text, "spliced_worker_generation", "gauge", "The worker that serves: one more for each.",
                    control->generation);
        metrics_one(text, "spliced_sessions", "gauge", "Sessions now.", atomic_load(&shared->sessions_now));
        metrics_one(text, "spliced_sessions_max", "gauge", "Sessions that there may be at once.", shared->max_sessions);
        metrics_one(text, "spliced_sessions_total", "counter", "Connections accepted.",
                    __atomic_load_n(&shared->arena->head->next_session, __ATOMIC_RELAXED) - 1);
        metrics_one(text, "spliced_adopted_total", "counter", "Sessions that went on in another worker.",
                    control->adopted);
        metrics_one(text, "spliced_reset_at_adoption_total", "counter", "Sessions that could not.", control->reset);
        metrics_one(text, "spliced_log_dropped_total", "counter",
                    "Log lines that were dropped, since their target was slow or full.",
                    api->view.log_dropped + log_dropped(api->view.log));
        metrics_one(text, "spliced_reload_success", "gauge",
                    "Whether the last reload succeeded; 1 before there was one.",
                    (uint64_t)(!outcome->wall_ms || outcome->ok));
        metrics_one(text, "spliced_reload_timestamp_seconds", "gauge", "When that was, or the start.",
                    (uint64_t)(outcome->wall_ms ? outcome->wall_ms : clock_wall_ms() - up_ms) / 1000);
        free(outcome);
}

/* One family of a value for each frontend, or each server: where it is in the struct. */
struct metrics_row {
        const char *name, *type, *help;
        uint64_t (*value)(const void *of);
};

static uint64_t metrics_frontend_up(const void *of) { return (uint64_t)((const struct metrics_frontend *)of)->up; }
static uint64_t metrics_frontend_sessions(const void *of) { return ((const struct metrics_frontend *)of)->sessions; }
static uint64_t metrics_frontend_total(const void *of) { return ((const struct metrics_frontend *)of)->sum.sessions; }

static uint64_t metrics_frontend_denied(const void *of) {
        return ((const struct metrics_frontend *)of)->sum.ends[ACCESS_DENIED];
}

static uint64_t metrics_frontend_limited(const void *of) {
        return ((const struct metrics_frontend *)of)->sum.ends[ACCESS_LIMITED];
}

static const struct metrics_row metrics_of_frontends[] = {
        { "spliced_frontend_up", "gauge", "Whether it takes clients: not paused, and not draining.",
          metrics_frontend_up },
        { "spliced_frontend_sessions", "gauge", "Sessions now.", metrics_frontend_sessions },
        { "spliced_frontend_sessions_total", "counter", "Connections accepted.", metrics_frontend_total },
        { "spliced_frontend_denied_total", "counter", "Sessions that its rules turned away.", metrics_frontend_denied },
        { "spliced_frontend_limited_total", "counter", "Sessions over a limit of their source.",
          metrics_frontend_limited },
};

static uint64_t metrics_server_up(const void *of) { return (uint64_t)((const struct metrics_server *)of)->up; }
static uint64_t metrics_server_weight(const void *of) { return ((const struct metrics_server *)of)->weight; }
static uint64_t metrics_server_sessions(const void *of) { return ((const struct metrics_server *)of)->sessions; }
static uint64_t metrics_server_total(const void *of) { return ((const struct metrics_server *)of)->sessions_total; }
static uint64_t metrics_server_failed(const void *of) { return ((const struct metrics_server *)of)->connect_failed; }
static uint64_t metrics_server_retried(const void *of) { return ((const struct metrics_server *)of)->retried; }

static const struct metrics_row metrics_of_servers[] = {
        { "spliced_server_up", "gauge", "Whether nothing speaks against its health: not down, ejected or in maint.",
          metrics_server_up },
        { "spliced_server_weight", "gauge", "Its weight in force.", metrics_server_weight },
        { "spliced_server_sessions", "gauge", "Sessions now.", metrics_server_sessions },
        { "spliced_server_sessions_total", "counter", "Sessions that were given to it, failed connects included.",
          metrics_server_total },
        { "spliced_server_connect_failed_total", "counter", "Connects that failed.", metrics_server_failed },
        { "spliced_server_retried_total", "counter", "Of these, the ones after which there was another try.",
          metrics_server_retried },
};

static void metrics_write_frontends(const struct metrics *metrics) {
        struct metrics_text *text = metrics->text;
        char name[METRICS_LABEL];

        for (size_t i = 0; i < sizeof(metrics_of_frontends) / sizeof(metrics_of_frontends[0]); i++) {
                const struct metrics_row *row = &metrics_of_frontends[i];

                metrics_family(text, row->name, row->type, row->help);
                for (size_t f = 0; f < metrics->n_frontends; f++)
                        metrics_printf(text, "%s{frontend=\"%s\"} %" PRIu64 "\n", row->name,
                                       metrics_label(metrics->frontends[f].name, name),
                                       row->value(&metrics->frontends[f]));
        }
        metrics_family(text, "spliced_frontend_bytes_total", "counter",
                       "Bytes that were passed on: up to servers, down to clients.");
        for (size_t f = 0; f < metrics->n_frontends; f++)
                for (int side = 0; side < 2; side++)
                        metrics_printf(text, "spliced_frontend_bytes_total{frontend=\"%s\",direction=\"%s\"} %" PRIu64
                                       "\n", metrics_label(metrics->frontends[f].name, name), side ? "down" : "up",
                                       metrics->frontends[f].sum.bytes[side]);
        metrics_family(text, "spliced_session_ends_total", "counter",
                       "Sessions that ended, by the access log's `end`.");
        for (size_t f = 0; f < metrics->n_frontends; f++)
                for (int end = 0; end < ACCESS_END_N; end++)
                        metrics_printf(text, "spliced_session_ends_total{frontend=\"%s\",end=\"%s\"} %" PRIu64 "\n",
                                       metrics_label(metrics->frontends[f].name, name),
                                       access_end_name((enum access_end)end), metrics->frontends[f].sum.ends[end]);
        metrics_family(text, "spliced_session_seconds", "histogram", "How long sessions lived.");
        for (size_t f = 0; f < metrics->n_frontends; f++) {
                char labels[METRICS_LABELS];

                snprintf(labels, sizeof(labels), "frontend=\"%s\"", metrics_label(metrics->frontends[f].name, name));
                metrics_histogram(text, "spliced_session_seconds", labels, counters_session_bounds,
                                  &metrics->frontends[f].sum.session);
        }
}

static void metrics_write_backends(const struct metrics *metrics) {
        struct metrics_text *text = metrics->text;
        char name[METRICS_LABEL];

        metrics_family(text, "spliced_backend_queued", "gauge", "Sessions that wait for a place at a server.");
        for (size_t b = 0; b < metrics->n_backends; b++)
                metrics_printf(text, "spliced_backend_queued{backend=\"%s\"} %" PRIu64 "\n",
                               metrics_label(metrics->backends[b].name, name), metrics->backends[b].queued);
        for (int queue = 0; queue < 2; queue++) {
                const char *family = queue ? "spliced_queue_seconds" : "spliced_connect_seconds";

                metrics_family(text, family, "histogram", queue ? "How long sessions waited for a server, 0 included." :
                               "How long connects to servers took.");
                for (size_t b = 0; b < metrics->n_backends; b++) {
                        const struct counters_backend_sum *sum = &metrics->backends[b].sum;
                        char labels[METRICS_LABELS];

                        snprintf(labels, sizeof(labels), "backend=\"%s\"",
                                 metrics_label(metrics->backends[b].name, name));
                        metrics_histogram(text, family, labels, counters_wait_bounds,
                                          queue ? &sum->queue : &sum->connect);
                }
        }
}

static char *metrics_server_labels(const struct metrics_server *server, char labels[static METRICS_LABELS]) {
        char backend[METRICS_LABEL], name[METRICS_LABEL];

        snprintf(labels, METRICS_LABELS, "backend=\"%s\",server=\"%s\"", metrics_label(server->backend, backend),
                 metrics_label(server->name, name));
        return labels;
}

static void metrics_write_servers(const struct metrics *metrics) {
        struct metrics_text *text = metrics->text;
        char labels[METRICS_LABELS];

        for (size_t i = 0; i < sizeof(metrics_of_servers) / sizeof(metrics_of_servers[0]); i++) {
                const struct metrics_row *row = &metrics_of_servers[i];

                metrics_family(text, row->name, row->type, row->help);
                for (size_t s = 0; s < metrics->n_servers; s++)
                        metrics_printf(text, "%s{%s} %" PRIu64 "\n", row->name,
                                       metrics_server_labels(&metrics->servers[s], labels),
                                       row->value(&metrics->servers[s]));
        }
        metrics_family(text, "spliced_server_bytes_total", "counter", "Bytes that were passed on: up to it, down to "
                       "clients.");
        for (size_t s = 0; s < metrics->n_servers; s++)
                for (int side = 0; side < 2; side++)
                        metrics_printf(text, "spliced_server_bytes_total{%s,direction=\"%s\"} %" PRIu64 "\n",
                                       metrics_server_labels(&metrics->servers[s], labels), side ? "down" : "up",
                                       metrics->servers[s].bytes[side]);
}

static void metrics_gather_frontend(struct api *api, size_t number, struct metrics_frontend *to) {
        const struct env_frontend *frontend = &api->view.shared->frontends[api->frontends[number]];

        to->name = frontend->conf->name;
        to->up = !atomic_load(&frontend->record->paused) && !api_is_draining(api);
        to->sessions = atomic_load(&frontend->sessions);
        counters_sum_frontend(api->view.shared->arena, api->frontends[number], &to->sum);
}

static void metrics_gather_server(struct metrics_server *to, const struct backend_look *look) {
        to->up |= !look->retired && (look->state == SERVER_STATE_UP || look->state == SERVER_STATE_UNCHECKED ||
                                     look->state == SERVER_STATE_DRAIN);
        to->weight += look->retired ? 0 : look->weight;
        to->sessions += look->sessions;
        to->sessions_total += look->sessions_total;
        to->connect_failed += look->connect_failed;
        to->retried += look->retried;
        to->bytes[0] += look->bytes_up;
        to->bytes[1] += look->bytes_down;
}

static void metrics_gather_backend(struct api *api, size_t number, struct metrics_backend *to,
                                   struct metrics_server *servers) {
        struct env_shared *shared = api->view.shared;
        uint16_t slot = shared->backend_slots[number];
        struct backend *backend = &shared->backends[slot];
        int64_t now = clock_now_ms();
        struct backend_look look;

        to->name = backend->conf->name;
        to->queued = backend_queued(backend);
        counters_sum_backend(shared->arena, slot, &to->sum);
        for (size_t i = 0; i < backend->conf->n_servers; i++) {
                servers[i].backend = backend->conf->name;
                servers[i].name = backend->conf->servers[i].name;
        }
        for (size_t i = 0; backend_look(backend, i, now, &look); i++)
                metrics_gather_server(&servers[look.server], &look);
}

void metrics_all(struct api *api, struct metrics_text *text) {
        const struct conf *conf = api->view.shared->conf;
        struct metrics metrics = { .text = text, .n_frontends = conf->n_frontends, .n_backends = conf->n_backends };
        size_t servers = 0;

        for (size_t i = 0; i < conf->n_backends; i++)
                metrics.n_servers += conf->backends[i].n_servers;
        metrics.frontends = calloc(metrics.n_frontends + 1, sizeof(*metrics.frontends));
        metrics.backends = calloc(metrics.n_backends + 1, sizeof(*metrics.backends));
        metrics.servers = calloc(metrics.n_servers + 1, sizeof(*metrics.servers));
        text->failed |= !metrics.frontends || !metrics.backends || !metrics.servers;
        for (size_t i = 0; !text->failed && i < conf->n_frontends; i++)
                metrics_gather_frontend(api, i, &metrics.frontends[i]);
        for (size_t i = 0; !text->failed && i < conf->n_backends; i++) {
                metrics_gather_backend(api, i, &metrics.backends[i], &metrics.servers[servers]);
                servers += conf->backends[i].n_servers;
        }
        if (!text->failed) {
                metrics_process(api, text);
                metrics_write_frontends(&metrics);
                metrics_write_backends(&metrics);
                metrics_write_servers(&metrics);
        }
        free(metrics.frontends);
        free(metrics.backends);
        free(metrics.servers);
}
