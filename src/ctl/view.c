/* SPDX-License-Identifier: ISC */
#include "ctl/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/show.h"

/* A column of text: at most `width` characters, and as many columns. */
static void view_column(char *out, size_t size, const char *text, size_t width) {
        size_t at = 0, n = 0;

        for (; *text && at + 1 < size; text++) {
                int starts = (*text & 0xc0) != 0x80;

                if (starts && n++ == width)
                        break;
                out[at++] = (unsigned char)*text < ' ' || *text == 127 ? '?' : *text;
        }
        for (; n < width && at + 1 < size; n++)
                out[at++] = ' ';
        out[at] = '\0';
}

static struct view_line *view_add(struct view *view, enum view_kind kind, enum table_color color, const char *name) {
        size_t n = view->n;

        if ((n & (n - 1)) == 0) {
                struct view_line *lines = realloc(view->lines, (n ? n * 2 : 1) * sizeof(*lines));

                if (!lines)
                        return NULL;
                view->lines = lines;
        }
        view->lines[n] = (struct view_line){ .kind = kind, .color = color };
        snprintf(view->lines[n].name, VIEW_NAME, "%s", name);
        view->n++;
        return &view->lines[n];
}

static int view_title(struct view *view, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int view_title(struct view *view, const char *fmt, ...) {
        struct view_line *line = view_add(view, VIEW_TITLE, TABLE_DIM, "");
        va_list args;

        if (!line)
                return -ENOMEM;
        va_start(args, fmt);
        vsnprintf(line->text, sizeof(line->text), fmt, args);
        va_end(args);
        return 0;
}

static int view_frontends(struct view *view, const struct sample *former, const struct sample *now, double seconds) {
        const json_t *frontend;
        size_t i;

        if (view_title(view, "%-30s  %-8s %5s %9s %9s %9s", "FRONTEND", "STATE", "NOW", "NEW/s", "UP/s", "DOWN/s") < 0)
                return -ENOMEM;
        json_array_foreach(now->frontends, i, frontend) {
                const char *name = show_text(frontend, "name"), *state = show_text(frontend, "state");
                const json_t *before = former ? sample_find(former->frontends, "name", name) : NULL;
                struct view_line *line = view_add(view, VIEW_FRONTEND, show_state_color(state), name);
                char column[128], up[TABLE_NUMBER], down[TABLE_NUMBER];

                if (!line)
                        return -ENOMEM;
                view_column(column, sizeof(column), name, 30);
                snprintf(line->text, sizeof(line->text), "%s  %-8.8s %5" PRId64 " %9.1f %9s %9s", column, state,
                         show_number(frontend, "sessions"), sample_rate(before, frontend, "sessions_total", seconds),
                         table_size((uint64_t)sample_rate(before, frontend, "bytes_up", seconds), up),
                         table_size((uint64_t)sample_rate(before, frontend, "bytes_down", seconds), down));
        }
        return 0;
}

/* A server as it was before.  Several addresses of one name stand in the same order, mostly. */
static const json_t *view_before(const json_t *servers, size_t number, const json_t *server) {
        const json_t *same = json_array_get(servers, number);

        if (same && strcmp(show_text(same, "address"), show_text(server, "address")) != 0)
                same = sample_find(servers, "address", show_text(server, "address"));
        return same;
}

static int view_backend(struct view *view, const json_t *backend, const json_t *before, double seconds) {
        const json_t *servers = json_object_get(backend, "servers"), *server;
        struct view_line *line = view_add(view, VIEW_BACKEND, TABLE_PLAIN, show_text(backend, "name"));
        int64_t sessions = 0, usable = 0;
        double new = 0, bytes_up = 0, bytes_down = 0;
        char column[128], of[TABLE_NUMBER], up[TABLE_NUMBER], down[TABLE_NUMBER];
        size_t i;

        if (!line)
                return -ENOMEM;
        json_array_foreach(servers, i, server) {
                const json_t *same = view_before(json_object_get(before, "servers"), i, server);

                sessions += show_number(server, "sessions");
                usable += show_usable(server);
                new += sample_rate(same, server, "sessions_total", seconds);
                bytes_up += sample_rate(same, server, "bytes_up", seconds);
                bytes_down += sample_rate(same, server, "bytes_down", seconds);
        }
        line->color = usable ? TABLE_PLAIN : TABLE_BAD;
        view_column(column, sizeof(column), show_text(backend, "name"), 18);
        snprintf(of, sizeof(of), "%" PRId64 "/%zu", usable, json_array_size(servers));
        snprintf(line->text, sizeof(line->text), "%s  %-10.10s %7s %5" PRId64 " %6" PRId64 " %7.1f %8s %8s", column,
                 show_text(backend, "balance"), of, sessions, show_number(backend, "queued"), new,
                 table_size((uint64_t)bytes_up, up), table_size((uint64_t)bytes_down, down));
        return 0;
}

static int view_backends(struct view *view, const struct sample *former, const struct sample *now, double seconds) {
        const json_t *backend;
        size_t i;
        int r = view_title(view, "%-18s  %-10s %7s %5s %6s %7s %8s %8s", "BACKEND", "BALANCE", "USABLE", "NOW",
                           "QUEUED", "NEW/s", "UP/s", "DOWN/s");

        json_array_foreach(now->backends, i, backend)
                if (r == 0)
                        r = view_backend(view, backend,
                                         former ? sample_find(former->backends, "name", show_text(backend, "name"))
                                                : NULL, seconds);
        return r;
}

static int view_server(struct view *view, const json_t *backend, const json_t *server, const json_t *before,
                       double seconds) {
        const char *state = show_text(server, "state");
        char name[VIEW_NAME], column[128], up[TABLE_NUMBER], down[TABLE_NUMBER];
        struct view_line *line;

        snprintf(name, sizeof(name), "%s/%s", show_text(backend, "name"), show_text(server, "name"));
        line = view_add(view, VIEW_SERVER, show_state_color(state), name);
        if (!line)
                return -ENOMEM;
        view_column(column, sizeof(column), name, 26);
        snprintf(line->text, sizeof(line->text), "%s  %-9.9s %3" PRId64 " %5" PRId64 " %9.1f %9s %9s", column, state,
                 show_number(server, "weight"), show_number(server, "sessions"),
                 sample_rate(before, server, "sessions_total", seconds),
                 table_size((uint64_t)sample_rate(before, server, "bytes_up", seconds), up),
                 table_size((uint64_t)sample_rate(before, server, "bytes_down", seconds), down));
        return 0;
}

static int view_servers(struct view *view, const struct sample *former, const struct sample *now, double seconds) {
        const json_t *backend, *server;
        size_t i, k;
        int r = view_title(view, "%-26s  %-9s %3s %5s %9s %9s %9s", "SERVER", "STATE", "WT", "NOW", "NEW/s", "UP/s",
                           "DOWN/s");

        json_array_foreach(now->backends, i, backend) {
                const json_t *before = former ? sample_find(former->backends, "name", show_text(backend, "name"))
                                              : NULL;
                const json_t *servers = json_object_get(before, "servers");

                json_array_foreach(json_object_get(backend, "servers"), k, server) {
                        if (r == 0)
                                r = view_server(view, backend, server, view_before(servers, k, server), seconds);
                }
        }
        return r;
}

static int view_sessions(struct view *view, const struct sample *now, enum sample_order order) {
        const json_t *list[VIEW_SESSIONS];
        size_t n = sample_sessions(now, order, list, VIEW_SESSIONS);
        int r = view_title(view, "%-11s %-10s %-22s %-12s %6s %7s %6s", "SESSION", "STATE", "CLIENT", "SERVER",
                           order == SAMPLE_BY_AGE ? "*AGE" : "AGE", order == SAMPLE_BY_BYTES ? "*UP" : "UP",
                           order == SAMPLE_BY_BYTES ? "*DOWN" : "DOWN");

        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                const char *id = show_text(list[i], "id");
                struct view_line *line = view_add(view, VIEW_SESSION, TABLE_PLAIN, id);
                char client[128], server[128], up[TABLE_NUMBER], down[TABLE_NUMBER], age[TABLE_NUMBER];

                if (!line)
                        return -ENOMEM;
                view_column(client, sizeof(client), show_text(list[i], "client"), 22);
                view_column(server, sizeof(server), show_text(list[i], "server"), 12);
                snprintf(line->text, sizeof(line->text), "%-11.11s %-10.10s %s %s %6s %7s %6s", id,
                         show_text(list[i], "state"), client, server,
                         table_duration(show_number(list[i], "age_ms"), age),
                         table_size((uint64_t)show_number(list[i], "bytes_up"), up),
                         table_size((uint64_t)show_number(list[i], "bytes_down"), down));
        }
        return 0;
}

static void view_head(struct view *view, const struct sample *former, const struct sample *now, double seconds) {
        const json_t *status = now->status, *before = former ? former->status : NULL;
        char up[TABLE_NUMBER], down[TABLE_NUMBER], uptime[TABLE_NUMBER];

        snprintf(view->head[0], VIEW_TEXT, "spliced %.20s  %.10s  up %s  worker %" PRId64 "  threads %" PRId64,
                 show_text(status, "version"), show_text(status, "state"),
                 table_duration(show_number(status, "uptime_s") * 1000, uptime),
                 show_number(status, "worker_generation"), show_number(status, "threads"));
        snprintf(view->head[1], VIEW_TEXT, "sessions %" PRId64 " of %" PRId64 "  new %.1f/s  up %s/s  down %s/s",
                 show_number(status, "sessions"), show_number(status, "sessions_max"),
                 sample_rate(before, status, "sessions_total", seconds),
                 table_size((uint64_t)sample_rate(before, status, "bytes_up", seconds), up),
                 table_size((uint64_t)sample_rate(before, status, "bytes_down", seconds), down));
}

int view_make(struct view *view, const struct sample *former, const struct sample *now, enum sample_order order) {
        double seconds = former ? now->at_s - former->at_s : 0;
        int r;

        *view = (struct view){ 0 };
        view_head(view, former, now, seconds);
        r = view_frontends(view, former, now, seconds);
        if (r == 0)
                r = view_backends(view, former, now, seconds);
        if (r == 0)
                r = view_servers(view, former, now, seconds);
        if (r == 0)
                r = view_sessions(view, now, order);
        if (r < 0)
                view_free(view);
        return r;
}

void view_free(struct view *view) {
        free(view->lines);
        *view = (struct view){ 0 };
}
