/* SPDX-License-Identifier: ISC */
#include "admin/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/api.h"
#include "base/clock.h"
#include "base/text.h"
#include "worker/slots.h"

#define HTTP_MEMORY 16384       /* of a connection: for the header of its request, and what is sent at once */
#define HTTP_BLOCK 16384        /* bytes of a stream that are asked for at once */
#define HTTP_ACCEPTS 64         /* connections in a row */
#define HTTP_TICK_MS 1000       /* how often those who are overdue are looked for */
#define HTTP_REST_MS 100        /* before the next try where descriptors are short */
#define HTTP_WAIT_MS 30000      /* for the keeper's answer */
#define HTTP_DETAIL_MAX 16384
#define HTTP_HEADERS 4

enum { HTTP_ADMIN, HTTP_READ_ONLY, HTTP_GATES };

struct http {
        struct api *api;
        struct MHD_Daemon *daemon;              /* NULL: nobody came yet */
        int listeners[HTTP_GATES];              /* the arena's; -1: none */
        struct gate gates[HTTP_GATES];
        struct gate_place *adding;              /* of the connection that the library is being given */
        struct http_request *waiting;
        int64_t rest_ms;                        /* nobody is accepted before that */
        int busy;                               /* answers that are not sent yet */
        _Atomic int64_t beat_ms;
};

/* What a request keeps besides. */
struct http_entry {
        struct http_request request;            /* first */
        struct { const char *name, *value; } headers[HTTP_HEADERS];
        unsigned n_headers;
        int begun;                              /* it was given to the api */
        int has_upgrades;                       /* its version of HTTP has */
        struct http_upgrade upgrade;            /* where that was the answer */
};

static int http_gate_of(const struct http *http, const struct gate_place *place) {
        return place >= http->gates[HTTP_READ_ONLY].places ? HTTP_READ_ONLY : HTTP_ADMIN;
}

static void http_lose(struct gate_place *place) {
        /* The library sees an end, closes the socket and says so. */
        shutdown(place->fd, SHUT_RDWR);
        place->lost = 1;
}

void http_header(struct http_request *request, const char *name, const char *value) {
        struct http_entry *entry = (struct http_entry *)request;

        if (entry->n_headers < HTTP_HEADERS) {
                entry->headers[entry->n_headers].name = name;
                entry->headers[entry->n_headers++].value = value;
        }
}

/* Takes the response over. */
static int http_queue(struct http_request *request, unsigned status, const char *type, struct MHD_Response *response) {
        struct http_entry *entry = (struct http_entry *)request;
        int r;

        if (!response)
                return 0;
        MHD_add_response_header(response, "Content-Type", type);
        MHD_add_response_header(response, "Cache-Control", "no-store");
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        for (unsigned i = 0; i < entry->n_headers; i++)
                MHD_add_response_header(response, entry->headers[i].name, entry->headers[i].value);
        r = MHD_queue_response(request->connection, status, response) == MHD_YES;
        MHD_destroy_response(response);
        return r;
}

int http_reply_text(struct http_request *request, unsigned status, const char *type, char *text, size_t len) {
        if (!text)
                return 0;
        return http_queue(request, status, type, MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE));
}

int http_reply_json(struct http_request *request, unsigned status, json_t *json) {
        char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

        json_decref(json);
        return http_reply_text(request, status, "application/json", text, text ? strlen(text) : 0);
}

int http_reply_error(struct http_request *request, unsigned status, const char *error, const char *fmt, ...) {
        char detail[HTTP_DETAIL_MAX];
        json_t *json = json_object();
        va_list args;
        int r;

        va_start(args, fmt);
        vsnprintf(detail, sizeof(detail), fmt, args);
        va_end(args);
        r = json_object_set_new(json, "error", text_json(error, 256));
        r |= json_object_set_new(json, "detail", text_json(detail, sizeof(detail)));
        if (r) {
                json_decref(json);
                return 0;
        }
        return http_reply_json(request, status, json);
}

static ssize_t http_stream_read(void *cls, uint64_t pos, char *buf, size_t max) {
        struct http_stream *stream = cls;
        size_t n = stream->read(stream->arg, buf, max);

        (void)pos;
        return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void http_stream_free(void *cls) {
        struct http_stream *stream = cls;

        stream->free(stream->arg);
        free(stream);
}

int http_reply_stream(struct http_request *request, const char *type, const struct http_stream *stream) {
        struct gate_place *victim = gate_large_victim(&request->http->gates[http_gate_of(request->http,
                                                                                         request->place)]);
        struct http_stream *copy = malloc(sizeof(*copy));
        struct MHD_Response *response;

        if (victim && victim != request->place)
                http_lose(victim);
        if (!copy) {
                stream->free(stream->arg);
                return 0;
        }
        *copy = *stream;
        request->place->large = 1;
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_BLOCK, http_stream_read, copy,
                                                     http_stream_free);
        if (!response)
                http_stream_free(copy);
        return http_queue(request, 200, type, response);
}

/* Whether a list, as headers have them, has that word. */
static int http_lists(const char *list, const char *word) {
        size_t len = strlen(word);

        for (; list; list = strchr(list, ',')) {
                list += strspn(list, ", \t");
                if (strncasecmp(list, word, len) == 0 && (list[len] == '\0' || strchr(", \t", list[len])))
                        return 1;
        }
        return 0;
}

int http_asks_upgrade(struct http_request *request, const char *protocol) {
        return strcmp(request->method, "GET") == 0 && ((struct http_entry *)request)->has_upgrades &&
               http_lists(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Connection"), "upgrade") &&
               http_lists(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Upgrade"), protocol);
}

static void http_upgraded(void *cls, struct MHD_Connection *connection, void *state, const char *extra, size_t n_extra,
                          MHD_socket fd, struct MHD_UpgradeResponseHandle *handle) {
        struct http_entry *entry = cls;

        (void)connection;
        (void)state;
        (void)extra;
        (void)n_extra;
        entry->request.place->lent = 1;
        entry->upgrade.begin(entry->upgrade.arg, &(struct http_upgraded){ .fd = fd, .handle = handle });
}

int http_reply_upgrade(struct http_request *request, const struct http_upgrade *upgrade) {
        struct http_entry *entry = (struct http_entry *)request;
        struct MHD_Response *response = MHD_create_response_for_upgrade(http_upgraded, entry);
        int r;

        entry->upgrade = *upgrade;
        if (!response)
                return 0;
        MHD_add_response_header(response, "Upgrade", upgrade->protocol);
        r = MHD_queue_response(request->connection, 101, response) == MHD_YES;
        MHD_destroy_response(response);
        return r;
}

void http_upgraded_close(const struct http_upgraded *upgraded) {
        MHD_upgrade_action(upgraded->handle, MHD_UPGRADE_ACTION_CLOSE);
}

struct http_query {
        int (*fn)(void *arg, const char *key, const char *value);
        void *arg;
};

static enum MHD_Result http_query_one(void *cls, enum MHD_ValueKind kind, const char *key, const char *value) {
        struct http_query *query = cls;

        (void)kind;
        return query->fn(query->arg, key, value ? value : "") ? MHD_YES : MHD_NO;
}

void http_each_query(struct http_request *request, int (*fn)(void *arg, const char *key, const char *value),
                     void *arg) {
        struct http_query query = { fn, arg };

        MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, http_query_one, &query);
}

int http_wait(struct http_request *request, enum control_kind kind, uint32_t number) {
        request->waits = 1;
        request->place->waits = 1;
        request->kind = kind;
        request->number = number;
        request->until_ms = clock_now_ms() + HTTP_WAIT_MS;
        request->next = request->http->waiting;
        request->http->waiting = request;
        MHD_suspend_connection(request->connection);
        return 1;
}

static void http_forget_waiting(struct http_request *request) {
        struct http_request **at = &request->http->waiting;

        while (*at && *at != request)
                at = &(*at)->next;
        if (*at)
                *at = request->next;
        request->waits = request->place->waits = 0;
}

static int http_is_answered(const struct http_request *request) {
        uint32_t generation;

        return control_answered(request->api->view.control, request->kind, request->number, &generation) ||
               clock_now_ms() >= request->until_ms;
}

void http_news(struct http *http) {
        for (struct http_request *request = http->waiting; request; request = request->next)
                if (http_is_answered(request) && request->waits == 1) {
                        request->waits = 2;
                        MHD_resume_connection(request->connection);
                }
}

static struct http_entry *http_request_new(struct http *http, struct MHD_Connection *connection, const char *path,
                                           const char *method, const char *version) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct http_entry *entry = calloc(1, sizeof(*entry));

        if (!entry)
                return NULL;
        entry->request = (struct http_request){
                .http = http, .api = http->api, .connection = connection, .place = info->socket_context,
                .method = method, .path = path,
        };
        entry->has_upgrades = strcmp(version, "HTTP/1.1") == 0;
        entry->request.use = http_gate_of(http, entry->request.place) == HTTP_READ_ONLY ? ENV_LISTENER_HTTP
                                                                                       : ENV_LISTENER_ADMIN;
        http->busy++;
        return entry;
}

static int http_too_long(struct http_request *request) {
        return http_reply_error(request, 400, "the body is too long", "a request has %d bytes of body at most",
                                HTTP_BODY_MAX);
}

static int http_body(struct http_request *request, const char *data, size_t n) {
        char *body;

        if (request->too_long || request->n_body + n > HTTP_BODY_MAX) {
                request->too_long = 1;
                return 1;
        }
        body = realloc(request->body, request->n_body + n + 1);
        if (!body)
                return 0;
        memcpy(body + request->n_body, data, n);
        request->body = body;
        request->n_body += n;
        body[request->n_body] = '\0';
        return 1;
}

/* Who asks first whether to send a body need not send what is refused anyway.  Others would not read the answer. */
static int http_says_too_long(struct MHD_Connection *connection) {
        const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

        return length && MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Expect") &&
               strtoull(length, NULL, 10) > HTTP_BODY_MAX;
}

static void http_alive(struct http *http) {
        atomic_store_explicit(&http->beat_ms, clock_now_ms(), memory_order_relaxed);
}

int64_t http_beat(const struct http *http) {
        return atomic_load_explicit(&http->beat_ms, memory_order_relaxed);
}

/* The library's way to tell: first without a body, then with each part of it, last with none; and after a wait. */
static enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
                                   const char *version, const char *data, size_t *size, void **state) {
        struct http_entry *entry = *state;
        struct http_request *request = entry ? &entry->request : NULL;
        int r;

        /* One round may have many of them, and each may wait a second for the loops. */
        http_alive(cls);
        if (!entry) {
                entry = *state = http_request_new(cls, connection, path, method, version);
                if (!entry)
                        return MHD_NO;
                r = http_says_too_long(connection) ? http_too_long(&entry->request) : 1;
        } else if (*size) {
                r = http_body(request, data, *size);
                *size = 0;
        } else if (request->waits) {
                http_forget_waiting(request);
                r = api_answered(request);
        } else if (entry->begun)
                r = 1;
        else {
                entry->begun = 1;
                r = request->too_long ? http_too_long(request) : api_serve(request);
        }
        return r ? MHD_YES : MHD_NO;
}

static void http_completed(void *cls, struct MHD_Connection *connection, void **state,
                           enum MHD_RequestTerminationCode code) {
        struct http *http = cls;
        struct http_entry *entry = *state;

        (void)connection;
        (void)code;
        if (!entry)
                return;
        *state = NULL;
        if (entry->request.waits)
                http_forget_waiting(&entry->request);
        entry->request.place->since_ms = clock_now_ms();
        entry->request.place->large = 0;
        http->busy--;
        if (entry->upgrade.free)
                entry->upgrade.free(entry->upgrade.arg);
        free(entry->request.body);
        free(entry);
}

static void http_notify(void *cls, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code) {
        struct http *http = cls;

        (void)connection;
        if (code == MHD_CONNECTION_NOTIFY_STARTED)
                *context = http->adding;
        else if (*context) {
                gate_give(*context);
                *context = NULL;
        }
}

static int http_daemon(struct http *http) {
        const unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;

        http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, http_handle, http, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                        (size_t)HTTP_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
                                        HTTP_GATES * (unsigned)(GATE_PLACES + GATE_AIR), MHD_OPTION_NOTIFY_COMPLETED,
                                        http_completed, http, MHD_OPTION_NOTIFY_CONNECTION, http_notify, http,
                                        MHD_OPTION_END);
        return http->daemon ? 0 : -ENOMEM;
}

/* Lets the library see who was shut down, until each is gone. */
static void http_settle(struct http *http) {
        for (int i = 0; i < 3; i++)
                MHD_run(http->daemon);
}

static void http_admit(struct http *http, int number, int fd, const struct sockaddr_storage *sa, socklen_t len) {
        struct gate *gate = &http->gates[number];
        struct ucred creds = { .uid = (uid_t)-1 };
        socklen_t creds_len = sizeof(creds);
        struct gate_place *victim, *place;

        if (sa->ss_family == AF_UNIX)
                getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &creds_len);
        victim = gate_victim(gate);
        if (victim) {
                http_lose(victim);
                http_settle(http);
        }
        place = gate_take(gate, fd, creds.uid, creds.pid, clock_now_ms());
        http->adding = place;
        if (!place)
                close(fd);
        /* It closes the socket where it fails, and has not told us of it. */
        else if (MHD_add_connection(http->daemon, fd, (const struct sockaddr *)sa, len) != MHD_YES)
                gate_give(place);
        http->adding = NULL;
}

/* Descriptors are short: somebody who has one gives it up for the next. */
static void http_short(struct http *http) {
        for (int i = 0; i < HTTP_GATES; i++) {
                struct gate_place *oldest = NULL;

                for (int p = 0; p < GATE_PLACES + GATE_AIR; p++) {
                        struct gate_place *place = &http->gates[i].places[p];

                        if (place->fd >= 0 && !place->lost && !gate_stays(place) &&
                            (!oldest || place->since_ms < oldest->since_ms))
                                oldest = place;
                }
                if (oldest)
                        http_lose(oldest);
        }
        http->rest_ms = clock_now_ms() + HTTP_REST_MS;
}

static void http_accept(struct http *http, int number) {
        for (int i = 0; i < HTTP_ACCEPTS; i++) {
                struct sockaddr_storage sa = { 0 };
                socklen_t len = sizeof(sa);
                int fd = accept4(http->listeners[number], (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
                        http_short(http);
                if (fd < 0)
                        return;
                if (!http->daemon && http_daemon(http) < 0) {
                        close(fd);
                        return;
                }
                http_admit(http, number, fd, &sa, len);
        }
}

/* Those that had their time; and those that wait for the keeper in vain. */
static void http_tick(struct http *http) {
        int64_t now = clock_now_ms();

        for (int i = 0; i < HTTP_GATES; i++)
                for (struct gate_place *place; (place = gate_overdue(&http->gates[i], now));)
                        http_lose(place);
        http_news(http);
}

static int http_timeout(const struct http *http, int max_ms) {
        int taken = http->daemon && (gate_taken(&http->gates[HTTP_ADMIN]) || gate_taken(&http->gates[HTTP_READ_ONLY]));
        int64_t wait = max_ms < 0 ? INT64_MAX : max_ms, rest = http->rest_ms - clock_now_ms();
        MHD_UNSIGNED_LONG_LONG library;

        if (taken && wait > HTTP_TICK_MS)
                wait = HTTP_TICK_MS;
        if (rest > 0 && wait > rest)
                wait = rest;
        if (http->daemon && MHD_get_timeout(http->daemon, &library) == MHD_YES && (int64_t)library < wait)
                wait = (int64_t)library;
        return wait == INT64_MAX ? -1 : (int)wait;
}

int http_run(struct http *http, int wake, int max_ms) {
        int resting = clock_now_ms() < http->rest_ms;
        struct pollfd fds[2 + HTTP_GATES] = {
                { .fd = wake, .events = POLLIN },
                { .fd = -1, .events = POLLIN },
        };
        int r;

        if (http->daemon)
                fds[1].fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
        for (int i = 0; i < HTTP_GATES; i++)
                fds[2 + i] = (struct pollfd){ .fd = resting ? -1 : http->listeners[i], .events = POLLIN };
        r = poll(fds, 2 + HTTP_GATES, http_timeout(http, max_ms));
        http_alive(http);
        if (r < 0)
                return http->busy > 0;
        for (int i = 0; i < HTTP_GATES; i++)
                if (fds[2 + i].revents)
                        http_accept(http, i);
        http_tick(http);
        if (http->daemon)
                MHD_run(http->daemon);
        return http->busy > 0;
}

static int http_listener(const struct worker_view *view, const struct conf_listener *listener,
                         enum env_listener_use use) {
        const struct env_listener_record *records = arena_slab(view->shared->arena, ARENA_LISTENERS);
        uint32_t at = 0, slot = ARENA_NONE;

        if (listener->text)
                slot = slots_listener(view->shared->arena, &listener->addr, use, &at);
        return slot == ARENA_NONE ? -1 : records[slot].fd;
}

int http_new(struct http **out, struct api *api, const struct worker_view *view) {
        const struct conf_admin *admin = &view->shared->conf->admin;
        struct http *http = calloc(1, sizeof(*http));

        *out = http;
        if (!http)
                return -ENOMEM;
        http->api = api;
        http_alive(http);
        http->listeners[HTTP_ADMIN] = http_listener(view, &admin->socket, ENV_LISTENER_ADMIN);
        http->listeners[HTTP_READ_ONLY] = http_listener(view, &admin->http, ENV_LISTENER_HTTP);
        for (int i = 0; i < HTTP_GATES; i++)
                gate_init(&http->gates[i]);
        return 0;
}

void http_free(struct http *http) {
        if (!http)
                return;
        /* The library wants none suspended at its end. */
        for (struct http_request *request = http->waiting; request; request = request->next)
                MHD_resume_connection(request->connection);
        if (http->daemon) {
                MHD_run(http->daemon);
                MHD_stop_daemon(http->daemon);
        }
        free(http);
}
