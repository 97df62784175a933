/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_HTTP_H
#define SPLICED_ADMIN_HTTP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/gate.h"
#include "session/env.h"
#include "worker/control.h"
#include "worker/worker.h"

/*
 * HTTP, by libmicrohttpd, which nobody else sees.  Everything runs in the admin thread.  We accept ourselves, which
 * bounds who may come in; the library is started with the first connection, so that nobody pays for it before.
 *
 * A connection has GATE_PATIENCE_MS for each request, its answer included, and HTTP_BODY_MAX bytes of body.
 */

#define HTTP_BODY_MAX 4096

struct api;
struct http;
struct MHD_Connection;

/* One request.  It lives until its answer is sent. */
struct http_request {
        struct http *http;
        struct api *api;
        struct MHD_Connection *connection;
        struct gate_place *place;
        enum env_listener_use use;              /* by which listener it came */
        const char *method, *path;              /* the path without the query, decoded */
        char *body;                             /* owned; n_body bytes and a NUL; NULL: none */
        size_t n_body;
        int too_long;
        int waits;                              /* for the keeper: */
        enum control_kind kind;
        uint32_t number;
        int64_t until_ms;
        struct http_request *next;              /* of those that wait */
};

/* A long answer, made piece by piece. */
struct http_stream {
        /* Writes up to size bytes to buf and returns how many; 0: it is complete. */
        size_t (*read)(void *arg, char *buf, size_t size);
        void (*free)(void *arg);
        void *arg;
};

/* A connection that speaks HTTP no more. */
struct http_upgraded {
        int fd;                                 /* non-blocking; to be closed by http_upgraded_close() alone */
        void *handle;                           /* the library's */
};

/* An answer that makes it one. */
struct http_upgrade {
        const char *protocol;                   /* its name in the headers */
        /* The answer is sent: the connection is the callee's until http_upgraded_close(), as long as it likes. */
        void (*begin)(void *arg, const struct http_upgraded *upgraded);
        /* The request is over: after http_upgraded_close(), or because its client went before the answer was sent. */
        void (*free)(void *arg);
        void *arg;
};

/* Makes one over the listeners of a worker.  Returns 0 or -errno. */
int http_new(struct http **out, struct api *api, const struct worker_view *view);

/* Ends all connections and frees.  NULL is fine. */
void http_free(struct http *http);

/*
 * Waits for requests, or for `wake` to be readable, or at most max_ms (-1: however long), and gets on with them.
 * Returns whether there is something left to send or to answer.
 */
int http_run(struct http *http, int wake, int max_ms);

/* When it last came back from waiting, or was given a request, on CLOCK_MONOTONIC in ms.  Any thread. */
int64_t http_beat(const struct http *http);

/* The keeper may have answered: so are those who wait for that. */
void http_news(struct http *http);

/*
 * Answers.  Each is to be given once to each request; they return what the api_ function is to return.
 * json and text (malloc()ed) are taken over.  An upgrade is for who asks for it: http_asks_upgrade().
 */
int http_reply_json(struct http_request *request, unsigned status, json_t *json);
int http_reply_text(struct http_request *request, unsigned status, const char *type, char *text, size_t len);
int http_reply_stream(struct http_request *request, const char *type, const struct http_stream *stream);
int http_reply_upgrade(struct http_request *request, const struct http_upgrade *upgrade);

/* A mistake: {"error": "…", "detail": "…"}. */
int http_reply_error(struct http_request *request, unsigned status, const char *error, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* Adds a header to the next answer to this request. */
void http_header(struct http_request *request, const char *name, const char *value);

/* Whether the client may be answered by http_reply_upgrade(): it asks for that protocol. */
int http_asks_upgrade(struct http_request *request, const char *protocol);

/* Gives a connection back, which closes it soon.  Once, and before http_free(). */
void http_upgraded_close(const struct http_upgraded *upgraded);

/* Calls fn for each parameter of the query, decoded, until it returns 0. */
void http_each_query(struct http_request *request, int (*fn)(void *arg, const char *key, const char *value), void *arg);

/* Has it wait for the keeper's answer to that request: api_answered() gives its answer. */
int http_wait(struct http_request *request, enum control_kind kind, uint32_t number);

#endif
