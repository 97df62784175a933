/* SPDX-License-Identifier: ISC */
#include "ctl/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const show_things[] = { "frontends", "listeners", "backends", "servers", "sessions", "config", NULL };

const char *show_text(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "-";
}

int64_t show_number(const json_t *object, const char *key) {
        return (int64_t)json_number_value(json_object_get(object, key));
}

enum table_color show_state_color(const char *state) {
        static const struct { const char *state; enum table_color color; } colors[] = {
                { "up", TABLE_GOOD }, { "ready", TABLE_GOOD }, { "serving", TABLE_GOOD }, { "down", TABLE_BAD },
                { "ejected", TABLE_BAD }, { "drain", TABLE_WARN }, { "maint", TABLE_WARN }, { "paused", TABLE_WARN },
                { "draining", TABLE_WARN },
        };

        for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++)
                if (strcmp(colors[i].state, state) == 0)
                        return colors[i].color;
        return TABLE_PLAIN;
}

int show_usable(const json_t *server) {
        const char *state = show_text(server, "state");

        return strcmp(state, "up") == 0 || strcmp(state, "unchecked") == 0;
}

static void show_count(struct table *table, const json_t *object, const char *key) {
        table_printf(table, TABLE_PLAIN, "%" PRId64, show_number(object, key));
}

static void show_size(struct table *table, const json_t *object, const char *key) {
        char text[TABLE_NUMBER];

        table_add(table, TABLE_PLAIN, table_size((uint64_t)show_number(object, key), text));
}

static void show_duration(struct table *table, const json_t *object, const char *key) {
        char text[TABLE_NUMBER];

        table_add(table, TABLE_PLAIN,
                  json_is_number(json_object_get(object, key)) ? table_duration(show_number(object, key), text) : NULL);
}

static void show_state(struct table *table, const json_t *object) {
        const char *state = show_text(object, "state");

        table_add(table, show_state_color(state), state);
}

int show_body(struct call *call, const char *path) {
        struct call_answer answer;
        int r = call_request(call, "GET", path, NULL, &answer);

        if (r == 0 && answer.status == 200)
                call_print(&answer);
        else
                r = call_complain(call, r, &answer);
        call_answer_free(&answer);
        return r;
}

static void show_status_reload(const json_t *reload) {
        if (!json_is_string(json_object_get(reload, "time")))
                return;
        printf("%-22s %s, %s", "last reload", show_text(reload, "time"),
               json_is_true(json_object_get(reload, "ok")) ? "ok" : "failed");
        if (json_is_string(json_object_get(reload, "detail")) && *show_text(reload, "detail"))
                printf(": %s", show_text(reload, "detail"));
        putchar('\n');
}

int show_status(struct call *call, const struct show_options *options) {
        char up[TABLE_NUMBER], down[TABLE_NUMBER], uptime[TABLE_NUMBER];
        const char *state, *green = "", *plain = "";
        struct call_answer answer;
        const json_t *status;
        int r;

        if (options->json)
                return show_body(call, "/v1/status");
        r = call_get(call, "/v1/status", &answer);
        if (r != 0)
                return r;
        status = answer.json;
        state = show_text(status, "state");
        if (options->colored) {
                green = show_state_color(state) == TABLE_GOOD ? "\033[32m" : "\033[33m";
                plain = "\033[0m";
        }
        printf("%-22s %s%s%s\n", "state", green, state, plain);
        printf("%-22s %s\n", "version", show_text(status, "version"));
        printf("%-22s %s\n", "uptime", table_duration(show_number(status, "uptime_s") * 1000, uptime));
        printf("%-22s %" PRId64 ", worker %" PRId64 " (generation %" PRId64 ", %" PRId64 " threads)\n", "process",
               show_number(status, "pid"), show_number(status, "worker_pid"), show_number(status, "worker_generation"),
               show_number(status, "threads"));
        printf("%-22s %" PRId64 " of %" PRId64 ", %" PRId64 " in all\n", "sessions", show_number(status, "sessions"),
               show_number(status, "sessions_max"), show_number(status, "sessions_total"));
        printf("%-22s %s up, %s down\n", "bytes", table_size((uint64_t)show_number(status, "bytes_up"), up),
               table_size((uint64_t)show_number(status, "bytes_down"), down));
        printf("%-22s %" PRId64 ", %" PRId64 " reset\n", "adopted", show_number(status, "adopted_total"),
               show_number(status, "reset_at_adoption_total"));
        printf("%-22s %" PRId64 "\n", "log lines dropped", show_number(status, "log_dropped_total"));
        show_status_reload(json_object_get(status, "last_reload"));
        call_answer_free(&answer);
        return 0;
}

static void show_frontend(struct table *table, const json_t *frontend) {
        table_add(table, TABLE_PLAIN, show_text(frontend, "name"));
        show_state(table, frontend);
        show_count(table, frontend, "sessions");
        show_count(table, frontend, "sessions_total");
        show_count(table, frontend, "denied_total");
        show_count(table, frontend, "limited_total");
        show_size(table, frontend, "bytes_up");
        show_size(table, frontend, "bytes_down");
}

static void show_backend(struct table *table, const json_t *backend) {
        const json_t *servers = json_object_get(backend, "servers"), *server;
        int64_t sessions = 0, usable = 0;
        size_t i;

        json_array_foreach(servers, i, server) {
                sessions += show_number(server, "sessions");
                usable += show_usable(server);
        }
        table_add(table, TABLE_PLAIN, show_text(backend, "name"));
        table_add(table, TABLE_PLAIN, show_text(backend, "balance"));
        table_printf(table, usable ? TABLE_PLAIN : TABLE_BAD, "%" PRId64 "/%zu", usable, json_array_size(servers));
        table_printf(table, TABLE_PLAIN, "%" PRId64, sessions);
        show_count(table, backend, "queued");
}

static void show_server(struct table *table, const json_t *backend, const json_t *server) {
        const json_t *check = json_object_get(server, "check"), *connect = json_object_get(server, "connect_ms");
        const char *last = show_text(check, "last"), *detail = show_text(check, "detail");

        table_printf(table, TABLE_PLAIN, "%s/%s", show_text(backend, "name"), show_text(server, "name"));
        table_add(table, TABLE_PLAIN, show_text(server, "address"));
        show_state(table, server);
        show_count(table, server, "weight");
        show_count(table, server, "sessions");
        show_count(table, server, "sessions_total");
        show_count(table, server, "connect_failed_total");
        if (json_is_number(connect))
                table_printf(table, TABLE_PLAIN, "%.1f", json_number_value(connect));
        else
                table_add(table, TABLE_PLAIN, NULL);
        if (strcmp(last, "failed") == 0)
                table_add(table, TABLE_BAD, detail);
        else
                table_add(table, TABLE_PLAIN, last);
}

static void show_session(struct table *table, const json_t *session) {
        table_add(table, TABLE_PLAIN, show_text(session, "id"));
        table_add(table, TABLE_PLAIN, show_text(session, "state"));
        table_add(table, TABLE_PLAIN, show_text(session, "frontend"));
        if (json_is_string(json_object_get(session, "server")))
                table_printf(table, TABLE_PLAIN, "%s/%s", show_text(session, "backend"), show_text(session, "server"));
        else
                table_add(table, TABLE_PLAIN, show_text(session, "backend"));
        table_add(table, TABLE_PLAIN, show_text(session, "client"));
        show_duration(table, session, "age_ms");
        show_duration(table, session, "idle_ms");
        show_size(table, session, "bytes_up");
        show_size(table, session, "bytes_down");
}

static void show_servers(struct table *table, const json_t *backend) {
        const json_t *server;
        size_t i;

        json_array_foreach(json_object_get(backend, "servers"), i, server)
                show_server(table, backend, server);
}

static const struct table_column show_frontend_columns[] = {
        { "FRONTEND", TABLE_LEFT, 10, 0 }, { "STATE", TABLE_LEFT, 0, 0 }, { "NOW", TABLE_RIGHT, 0, 0 },
        { "TOTAL", TABLE_RIGHT, 0, 0 }, { "DENIED", TABLE_RIGHT, 0, 0 }, { "LIMITED", TABLE_RIGHT, 0, 0 },
        { "UP", TABLE_RIGHT, 0, 0 }, { "DOWN", TABLE_RIGHT, 0, 0 },
};

static const struct table_column show_backend_columns[] = {
        { "BACKEND", TABLE_LEFT, 10, 0 }, { "BALANCE", TABLE_LEFT, 0, 0 }, { "USABLE", TABLE_RIGHT, 0, 0 },
        { "SESSIONS", TABLE_RIGHT, 0, 0 }, { "QUEUED", TABLE_RIGHT, 0, 0 },
};

static const struct table_column show_server_columns[] = {
        { "SERVER", TABLE_LEFT, 10, TABLE_LATE }, { "ADDRESS", TABLE_LEFT, 12, TABLE_MIDDLE },
        { "STATE", TABLE_LEFT, 0, 0 }, { "WT", TABLE_RIGHT, 0, 0 }, { "NOW", TABLE_RIGHT, 0, 0 },
        { "TOTAL", TABLE_RIGHT, 0, 0 }, { "FAILED", TABLE_RIGHT, 0, 0 }, { "MS", TABLE_RIGHT, 0, 0 },
        { "CHECK", TABLE_LEFT, 6, 0 },
};

static const struct table_column show_session_columns[] = {
        { "ID", TABLE_LEFT, 0, 0 }, { "STATE", TABLE_LEFT, 0, 0 }, { "FRONT", TABLE_LEFT, 5, 0 },
        { "SERVER", TABLE_LEFT, 8, TABLE_MIDDLE }, { "CLIENT", TABLE_LEFT, 12, TABLE_LATE | TABLE_MIDDLE },
        { "AGE", TABLE_RIGHT, 0, 0 }, { "IDLE", TABLE_RIGHT, 0, 0 }, { "UP", TABLE_RIGHT, 0, 0 },
        { "DOWN", TABLE_RIGHT, 0, 0 },
};

static const struct show_kind {
        const char *what, *list;
        const struct table_column *columns;
        size_t n_columns;
        void (*row)(struct table *table, const json_t *object);
} show_kinds[] = {
        { "frontends", "frontends", show_frontend_columns, 8, show_frontend },
        { "backends", "backends", show_backend_columns, 5, show_backend },
        { "servers", "backends", show_server_columns, 9, show_servers },
        { "sessions", "sessions", show_session_columns, 9, show_session },
};

static int show_config(struct call *call) {
        struct call_answer answer;
        int r = call_get(call, "/v1/config", &answer);

        if (r != 0)
                return r;
        fputs(show_text(answer.json, "config"), stdout);
        call_answer_free(&answer);
        return 0;
}

/* One line for each address, and below it what the kernel made of its options. */
static int show_listeners(struct call *call, const struct show_options *options) {
        struct call_answer answer;
        const json_t *listener, *value;
        const char *key;
        size_t i;
        int r = call_get(call, "/v1/listeners", &answer);

        if (r != 0)
                return r;
        json_array_foreach(json_object_get(answer.json, "listeners"), i, listener) {
                size_t column = 4;

                printf("%s  %s  (frontend %s)\n", show_text(listener, "address"), show_text(listener, "state"),
                       show_text(listener, "frontend"));
                json_object_foreach((json_t *)json_object_get(listener, "socket"), key, value) {
                        char *text = json_dumps(value, JSON_ENCODE_ANY);
                        size_t length = strlen(key) + (text ? strlen(text) : 1) + 5;

                        if (column > 4 && column + length > options->width) {
                                putchar('\n');
                                column = 4;
                        }
                        printf("%s%s = %s", column == 4 ? "    " : ",  ", key, text ? text : "?");
                        column += length;
                        free(text);
                }
                if (column > 4)
                        putchar('\n');
        }
        call_answer_free(&answer);
        return 0;
}

static int show_table(struct call *call, const char *path, const struct show_kind *kind,
                      const struct show_options *options) {
        struct call_answer answer;
        struct table table;
        const json_t *object;
        size_t i;
        int r = call_get(call, path, &answer);

        if (r != 0)
                return r;
        table_init(&table, kind->columns, kind->n_columns);
        json_array_foreach(json_object_get(answer.json, kind->list), i, object)
                kind->row(&table, object);
        table_print(&table, stdout, options->width, options->colored);
        table_free(&table);
        call_answer_free(&answer);
        return 0;
}

/* Where a list is.  Owned by the caller; NULL where memory ran out, which is said. */
static char *show_path(struct call *call, const char *what, const struct show_options *options) {
        char *value = options->by ? call_escape(call, options->value) : NULL, *path = NULL;

        if ((options->by && !value) ||
            asprintf(&path, "/v1/%s%s%s%s%s", strcmp(what, "servers") == 0 ? "backends" : what,
                     options->by ? "?" : "", options->by ? options->by : "", options->by ? "=" : "",
                     options->by ? value : "") < 0) {
                fprintf(stderr, "splicectl: %s\n", strerror(ENOMEM));
                path = NULL;
        }
        free(value);
        return path;
}

int show_list(struct call *call, const char *what, const struct show_options *options) {
        char *path;
        int r = 1;

        if (strcmp(what, "config") == 0 && !options->json)
                return show_config(call);
        if (strcmp(what, "listeners") == 0 && !options->json)
                return show_listeners(call, options);
        path = show_path(call, what, options);
        if (path && options->json)
                r = show_body(call, path);
        for (size_t i = 0; path && !options->json && i < sizeof(show_kinds) / sizeof(show_kinds[0]); i++)
                if (strcmp(show_kinds[i].what, what) == 0)
                        r = show_table(call, path, &show_kinds[i], options);
        free(path);
        return r;
}
