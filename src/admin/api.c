/* SPDX-License-Identifier: ISC */
#include "admin/api.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "admin/change.h"
#include "admin/metrics.h"
#include "admin/onlook.h"
#include "admin/page.h"
#include "admin/view.h"
#include "base/clock.h"
#include "worker/thread.h"

#define API_SURVEY_MS 1000      /* that a survey is waited for */
#define API_ARGUMENTS 2

/* Also by admin.http, which is for reading what names no client and no path. */
#define API_PUBLIC 1u

typedef int api_route_fn(struct http_request *request, char *const arguments[API_ARGUMENTS]);

/* A `*` stands for one part of the path, which the function gets. */
struct api_route {
        const char *method, *path;
        unsigned flags;
        api_route_fn *serve;
};

static int api_bytes(struct http_request *request) {
        return api_survey(request->api, 0);
}

static int api_healthz(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        const struct api *api = request->api;
        const char *text = !api_is_ready(api) ? "starting\n" : api_is_draining(api) ? "draining\n" : "ok\n";

        (void)arguments;
        return http_reply_text(request, text[0] == 'o' ? 200 : 503, "text/plain; charset=utf-8", strdup(text),
                               strlen(text));
}

static int api_metrics(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        struct metrics_text text = { 0 };

        (void)arguments;
        api_bytes(request);
        metrics_all(request->api, &text);
        if (!text.failed)
                return http_reply_text(request, 200, METRICS_TYPE, text.buf, text.len);
        free(text.buf);
        return 0;
}

static int api_page(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        api_bytes(request);
        return page_serve(request);
}

static int api_status(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        api_bytes(request);
        return http_reply_json(request, 200, view_status(request->api));
}

static int api_frontends(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        api_bytes(request);
        return http_reply_json(request, 200, view_frontends(request->api));
}

static int api_listeners(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return http_reply_json(request, 200, view_listeners(request->api));
}

static int api_backends(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        api_bytes(request);
        return http_reply_json(request, 200, view_backends(request->api));
}

static int api_ready(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return http_reply_json(request, 200, view_ready(request->api));
}

static int api_config(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return http_reply_json(request, 200, view_config(request->api));
}

static int api_sessions(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return view_sessions(request);
}

static int api_tap(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        return onlook_serve(request, arguments[0]);
}

static int api_kill_one(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        return change_kill(request, arguments[0]);
}

static int api_kill(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return change_kill(request, NULL);
}

static int api_patch_server(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        return change_server(request, arguments[0], arguments[1]);
}

static int api_patch_frontend(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        return change_frontend(request, arguments[0]);
}

static int api_reload(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return change_ask(request, CONTROL_RELOAD);
}

static int api_upgrade(struct http_request *request, char *const arguments[API_ARGUMENTS]) {
        (void)arguments;
        return change_ask(request, CONTROL_UPGRADE);
}

static const struct api_route api_routes[] = {
        { "GET", "/", API_PUBLIC, api_page },
        { "GET", "/healthz", API_PUBLIC, api_healthz },
        { "GET", "/metrics", API_PUBLIC, api_metrics },
        { "GET", "/v1/status", API_PUBLIC, api_status },
        { "GET", "/v1/frontends", API_PUBLIC, api_frontends },
        { "GET", "/v1/backends", API_PUBLIC, api_backends },
        { "GET", "/v1/listeners", 0, api_listeners },
        { "GET", "/v1/sessions", 0, api_sessions },
        { "GET", "/v1/sessions/*/tap", 0, api_tap },
        { "GET", "/v1/config", 0, api_config },
        { "GET", "/v1/ready", 0, api_ready },
        { "PATCH", "/v1/frontends/*", 0, api_patch_frontend },
        { "PATCH", "/v1/backends/*/servers/*", 0, api_patch_server },
        { "DELETE", "/v1/sessions/*", 0, api_kill_one },
        { "DELETE", "/v1/sessions", 0, api_kill },
        { "POST", "/v1/reload", 0, api_reload },
        { "POST", "/v1/upgrade", 0, api_upgrade },
};
#define API_ROUTES (sizeof(api_routes) / sizeof(api_routes[0]))

/* Whether a path fits a pattern.  The arguments are cut out of it. */
static int api_fits(const char *pattern, char *path, char *arguments[API_ARGUMENTS]) {
        int n = 0;

        while (*pattern) {
                size_t part;

                if (*pattern != '*') {
                        if (*pattern++ != *path++)
                                return 0;
                        continue;
                }
                part = strcspn(path, "/");
                if (part == 0 || n == API_ARGUMENTS)
                        return 0;
                arguments[n++] = path;
                path += part;
                pattern++;
                /* What follows in the pattern is a slash or the end. */
                if (*path != *pattern)
                        return 0;
                if (*path) {
                        *path++ = '\0';
                        pattern++;
                }
        }
        return *path == '\0';
}

/* HEAD is served as GET: the library leaves the body out. */
static int api_method_fits(const struct http_request *request, const struct api_route *route) {
        const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;

        return strcmp(method, route->method) == 0;
}

static int api_refuse(struct http_request *request, const struct api_route *route) {
        int reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;

        if (request->use == ENV_LISTENER_HTTP && !reads) {
                http_header(request, "Allow", "GET, HEAD");
                return http_reply_error(request, 405, "method not allowed",
                                        "here one may only read: GET and HEAD; changes go through the admin socket");
        }
        if (!route)
                return http_reply_error(request, 404, "not found", "there is nothing at %s", request->path);
        if (request->use == ENV_LISTENER_HTTP && !(route->flags & API_PUBLIC))
                return http_reply_error(request, 403, "forbidden",
                                        "%s names clients or paths: it is there on the admin socket alone",
                                        request->path);
        http_header(request, "Allow", route->method);
        return http_reply_error(request, 405, "method not allowed", "%s takes %s", request->path, route->method);
}

int api_serve(struct http_request *request) {
        const struct api_route *other = NULL, *route = NULL;
        char *arguments[API_ARGUMENTS] = { NULL };
        char *path = NULL;
        int r;

        for (size_t i = 0; i < API_ROUTES && !route; i++) {
                free(path);
                path = strdup(request->path);
                if (!path)
                        return 0;
                if (!api_fits(api_routes[i].path, path, arguments))
                        continue;
                if (api_method_fits(request, &api_routes[i]))
                        route = &api_routes[i];
                else
                        other = &api_routes[i];
        }
        if (!route || (request->use == ENV_LISTENER_HTTP && !(route->flags & API_PUBLIC)))
                r = api_refuse(request, route ? route : other);
        else
                r = route->serve(request, arguments);
        free(path);
        return r;
}

int api_answered(struct http_request *request) {
        return change_answered(request);
}

/* Waits for the eventfd. */
static int api_survey_wait(struct api *api) {
        int64_t until = clock_now_ms() + API_SURVEY_MS;
        struct pollfd fd = { .fd = api->view.shared->survey.done, .events = POLLIN };

        while (!survey_ended(api->view.shared)) {
                int64_t left = until - clock_now_ms();

                if (left <= 0)
                        return -ETIMEDOUT;
                if (poll(&fd, 1, (int)left) > 0)
                        control_clear(fd.fd);
        }
        return 0;
}

int api_survey(struct api *api, int rows) {
        /* One that was not waited for to its end. */
        if (api_survey_wait(api) < 0 || survey_begin(api->view.shared, rows) < 0)
                return -ETIMEDOUT;
        return api_survey_wait(api);
}

int api_is_ready(const struct api *api) {
        return api->view.alone || __atomic_load_n(&api->view.control->state, __ATOMIC_ACQUIRE) != CONTROL_STARTING;
}

int api_is_draining(const struct api *api) {
        return atomic_load(api->view.phase) >= THREAD_DRAIN && atomic_load(api->view.phase) != THREAD_LEAVE;
}

int api_new(struct api **out, const struct worker_view *view) {
        const struct env_shared *shared = view->shared;
        struct api *api = calloc(1, sizeof(*api));

        *out = api;
        if (!api)
                return -ENOMEM;
        api->view = *view;
        api->frontends = calloc(shared->conf->n_frontends + 1, sizeof(*api->frontends));
        if (!api->frontends)
                return -ENOMEM;
        for (uint32_t slot = 0; slot < shared->arena->head->extents[ARENA_FRONTENDS].used; slot++)
                if (shared->frontends[slot].conf && !shared->frontends[slot].ghost)
                        api->frontends[shared->frontends[slot].conf - shared->conf->frontends] = slot;
        return 0;
}

void api_free(struct api *api) {
        if (!api)
                return;
        free(api->frontends);
        free(api);
}
