/* SPDX-License-Identifier: ISC */
#include "admin/view.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "session/access.h"
#include "session/life.h"

#define VIEW_NAME 256                           /* bytes of a name as a JSON string at most */
#define VIEW_LINE (3 * VIEW_NAME + 2 * ADDR_STRLEN)     /* and of one session */

/* A list of sessions on its way: what the survey saw, made into text as the client takes it. */
struct view_stream {
        const struct env_shared *shared;
        int64_t now_ms;
        struct survey_row *rows;
        size_t n, next;
        int state;                      /* 0: the beginning is to be written, 1: sessions, 2: the end has been */
        char line[VIEW_LINE];
        size_t at, len;                 /* of what is written of the line */
};

static const char *view_state(enum life_state state) {
        switch (state) {
        case LIFE_ACCEPTED:
        case LIFE_PREFACE:
                return "preface";
        case LIFE_PICKING:
        case LIFE_QUEUED:
                return "queued";
        case LIFE_CONNECTING:
                return "connecting";
        case LIFE_RELAYING:
                return "relaying";
        default:
                return "closing";
        }
}

static const char *view_client(const struct survey_row *row, char *buf, size_t size) {
        union access_client client = { .sa.sa_family = row->client_family };

        switch (row->client_family) {
        case AF_INET:
                client.in.sin_port = row->client_port;
                memcpy(&client.in.sin_addr, &row->client, sizeof(client.in.sin_addr));
                return addr_format(&client.sa, sizeof(client.in), buf, size);
        case AF_INET6:
                client.in6.sin6_port = row->client_port;
                client.in6.sin6_addr = row->client;
                return addr_format(&client.sa, sizeof(client.in6), buf, size);
        default:
                return "unix";
        }
}

/*
 * A name as a JSON string, or null: a name is printable UTF-8 (value_check_name()), and of that only these two have to
 * be escaped.  buf has VIEW_NAME bytes.
 */
static const char *view_name(const char *name, char buf[static VIEW_NAME]) {
        size_t at = 0;

        if (!name)
                return "null";
        buf[at++] = '"';
        for (; *name && at + 4 < VIEW_NAME; name++) {
                if (*name == '"' || *name == '\\')
                        buf[at++] = '\\';
                buf[at++] = *name;
        }
        buf[at++] = '"';
        buf[at] = '\0';
        return buf;
}

/* Written by hand, since there may be a hundred thousand of them.  Returns the length. */
static size_t view_session(struct view_stream *stream, const struct survey_row *row, char *buf, size_t size) {
        static const char *const fins[] = { "null", "\"client\"", "\"server\"" };
        const struct env_shared *shared = stream->shared;
        const char *backend = row->backend == SESSION_NO_BACKEND ? NULL : shared->backends[row->backend].conf->name;
        const char *server = row->server == SESSION_NO_SERVER ? NULL : shared->servers[row->server].conf->name;
        char names[3][VIEW_NAME], client[ADDR_STRLEN];

        return (size_t)snprintf(buf, size,
                                "{\"id\":\"%" PRIu64 "\",\"state\":\"%s\",\"frontend\":%s,\"backend\":%s,\"server\":%s,"
                                "\"client\":\"%s\",\"age_ms\":%" PRId64 ",\"idle_ms\":%" PRId64 ",\"bytes_up\":%" PRIu64
                                ",\"bytes_down\":%" PRIu64 ",\"thread\":%u,\"half_closed\":%s}",
                                row->id, view_state(row->state),
                                view_name(shared->frontends[row->frontend].conf->name, names[0]),
                                view_name(backend, names[1]), view_name(server, names[2]),
                                view_client(row, client, sizeof(client)), stream->now_ms - row->accepted_ms,
                                stream->now_ms - row->active_ms, row->bytes[0], row->bytes[1], (unsigned)row->thread,
                                fins[row->fin]);
}

/* The next piece of text into the line.  Returns 0 where there is none. */
static int view_stream_next(struct view_stream *stream) {
        stream->at = stream->len = 0;
        switch (stream->state) {
        case 0:
                stream->len = (size_t)snprintf(stream->line, sizeof(stream->line), "{\"sessions\":[");
                stream->state = 1;
                return 1;
        case 1:
                if (stream->next < stream->n) {
                        stream->line[0] = stream->next ? ',' : ' ';
                        stream->len = 1 + view_session(stream, &stream->rows[stream->next++], stream->line + 1,
                                                       sizeof(stream->line) - 1);
                        return 1;
                }
                stream->len = (size_t)snprintf(stream->line, sizeof(stream->line), "]}");
                stream->state = 2;
                return 1;
        default:
                return 0;
        }
}

static size_t view_stream_read(void *arg, char *buf, size_t size) {
        struct view_stream *stream = arg;
        size_t done = 0;

        while (done < size) {
                size_t n = stream->len - stream->at;

                if (n == 0 && !view_stream_next(stream))
                        break;
                n = stream->len - stream->at;
                if (n > size - done)
                        n = size - done;
                memcpy(buf + done, stream->line + stream->at, n);
                stream->at += n;
                done += n;
        }
        return done;
}

static void view_stream_free(void *arg) {
        struct view_stream *stream = arg;

        free(stream->rows);
        free(stream);
}

static int view_order(const void *a, const void *b) {
        const struct survey_row *left = a, *right = b;

        return (left->id > right->id) - (left->id < right->id);
}

/* Copies what is meant of what the threads wrote. */
static int view_collect(struct view_stream *stream, const struct filter *filter) {
        const struct env_shared *shared = stream->shared;
        size_t all = 0;

        for (uint32_t t = 0; t < shared->n_threads; t++)
                all += shared->threads[t].n_rows;
        stream->rows = malloc((all + 1) * sizeof(*stream->rows));
        if (!stream->rows)
                return 0;
        for (uint32_t t = 0; t < shared->n_threads; t++)
                for (uint32_t i = 0; i < shared->threads[t].n_rows; i++)
                        if (filter_fits(filter, &shared->threads[t].rows[i]))
                                stream->rows[stream->n++] = shared->threads[t].rows[i];
        qsort(stream->rows, stream->n, sizeof(*stream->rows), view_order);
        return 1;
}

int view_sessions(struct http_request *request) {
        struct http_stream http = { .read = view_stream_read, .free = view_stream_free };
        struct view_stream *stream;
        struct filter filter;
        int r;

        if (!filter_query(&filter, request, &r))
                return r;
        if (api_survey(request->api, 1) < 0)
                return http_reply_error(request, 409, "not now", "an event loop does not answer");
        stream = calloc(1, sizeof(*stream));
        if (!stream)
                return 0;
        stream->shared = request->api->view.shared;
        stream->now_ms = clock_now_ms();
        if (!view_collect(stream, &filter)) {
                view_stream_free(stream);
                return 0;
        }
        http.arg = stream;
        return http_reply_stream(request, "application/json", &http);
}
