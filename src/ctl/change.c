/* SPDX-License-Identifier: ISC */
#include "ctl/change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/show.h"

#define CHANGE_POLL_US 50000
#define CHANGE_WAIT_MS 30000    /* for a worker of the new generation */
#define CHANGE_TOLD_MS 1000

static int64_t change_now_ms(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sends a change; done is what the API says then. */
static int change_send(struct call *call, const char *method, const char *path, const json_t *body, long done,
                       struct call_answer *answer) {
        int r = call_request(call, method, path, body, answer);

        if (r == 0 && (answer->status == done || answer->status == 200 || answer->status == 204)) {
                if (call->json)
                        call_print(answer);
                return 0;
        }
        r = call_complain(call, r, answer);
        call_answer_free(answer);
        return r;
}

/* The path of BACKEND/NAME.  Owned by the caller; NULL with the reason said. */
static char *change_server_path(struct call *call, const char *server) {
        const char *slash = strchr(server, '/');
        char *backend, *name = NULL, *path = NULL;

        if (!slash || slash == server || !slash[1] || strchr(slash + 1, '/')) {
                fprintf(stderr, "splicectl: '%s' names no server; allowed: BACKEND/NAME, see 'show servers'\n", server);
                return NULL;
        }
        backend = strndup(server, (size_t)(slash - server));
        if (backend) {
                char *escaped = call_escape(call, backend);

                name = call_escape(call, slash + 1);
                if (!escaped || !name || asprintf(&path, "/v1/backends/%s/servers/%s", escaped, name) < 0)
                        path = NULL;
                free(escaped);
        }
        if (!path)
                fprintf(stderr, "splicectl: %s\n", strerror(ENOMEM));
        free(backend);
        free(name);
        return path;
}

static int change_patch(struct call *call, const char *path, const char *field, json_t *value) {
        struct call_answer answer;
        json_t *body = json_pack("{s:o}", field, value);
        int r;

        if (!body) {
                fprintf(stderr, "splicectl: %s\n", strerror(ENOMEM));
                return 1;
        }
        r = change_send(call, "PATCH", path, body, 200, &answer);
        if (r == 0)
                call_answer_free(&answer);
        json_decref(body);
        return r;
}

int change_server(struct call *call, const char *server, const char *field, json_t *value) {
        char *path = change_server_path(call, server);
        int r;

        if (!path) {
                json_decref(value);
                return 1;
        }
        r = change_patch(call, path, field, value);
        free(path);
        return r;
}

int change_frontend(struct call *call, const char *name, const char *state) {
        char *escaped = call_escape(call, name), *path = NULL;
        int r = 1;

        if (escaped && asprintf(&path, "/v1/frontends/%s", escaped) >= 0)
                r = change_patch(call, path, "state", json_string(state));
        free(escaped);
        free(path);
        return r;
}

int change_kill(struct call *call, const char *id) {
        char *escaped = call_escape(call, id), *path = NULL;
        struct call_answer answer;
        int r = 1;

        if (escaped && asprintf(&path, "/v1/sessions/%s", escaped) >= 0)
                r = change_send(call, "DELETE", path, NULL, 200, &answer);
        if (path && r == 0)
                call_answer_free(&answer);
        free(escaped);
        free(path);
        return r;
}

int change_kill_all(struct call *call, const char *by, const char *value) {
        char *escaped = call_escape(call, value), *path = NULL;
        struct call_answer answer;
        int r = 1;

        if (escaped && asprintf(&path, "/v1/sessions?%s=%s", by, escaped) >= 0)
                r = change_send(call, "DELETE", path, NULL, 200, &answer);
        if (path && r == 0) {
                if (!call->json)
                        printf("%" PRId64 " sessions killed\n", show_number(answer.json, "killed"));
                call_answer_free(&answer);
        }
        free(escaped);
        free(path);
        return r;
}

/* A reload or upgrade that was asked for. */
struct change_wait {
        const char *what;
        int quiet;              /* the end is not told: the API's answer stands on standard output alone */
        char before[40];        /* when the last one before it was */
        int64_t generation;
        int64_t until_ms;       /* when to give up */
        int64_t told_ms;        /* when to do without word of how it went, once the generation is there */
};

/*
 * Whether the daemon has come to that generation: 1, 0, or -1 where it was tried and failed, which is said.  The worker
 * answers a moment before its keeper notes how it went.
 */
static int change_arrived(struct change_wait *wait, const json_t *status) {
        const json_t *reload = json_object_get(status, "last_reload");
        int told = strcmp(show_text(reload, "time"), wait->before) != 0;

        if (show_number(status, "worker_generation") < wait->generation)
                return 0;
        if (told && !json_is_true(json_object_get(reload, "ok"))) {
                fprintf(stderr, "splicectl: %s failed: %s\n", wait->what, show_text(reload, "detail"));
                return -1;
        }
        if (!wait->told_ms)
                wait->told_ms = change_now_ms() + CHANGE_TOLD_MS;
        if (!told && change_now_ms() < wait->told_ms)
                return 0;
        if (!wait->quiet)
                printf("%s done: worker %" PRId64 " (generation %" PRId64 ") serves\n", wait->what,
                       show_number(status, "worker_pid"), show_number(status, "worker_generation"));
        return 1;
}

/* Asks for it.  Returns the exit status; 0: it has begun. */
static int change_begin(struct call *call, struct change_wait *wait) {
        struct call_answer answer;
        char path[32];
        int r = call_get(call, "/v1/status", &answer);

        if (r != 0)
                return r;
        snprintf(wait->before, sizeof(wait->before), "%s",
                 show_text(json_object_get(answer.json, "last_reload"), "time"));
        call_answer_free(&answer);
        snprintf(path, sizeof(path), "/v1/%s", wait->what);
        r = change_send(call, "POST", path, NULL, 202, &answer);
        if (r != 0)
                return r;
        wait->generation = show_number(answer.json, "generation");
        call_answer_free(&answer);
        return 0;
}

int change_generation(struct call *call, const char *what) {
        struct change_wait wait = {
                .what = what, .quiet = call->json, .until_ms = change_now_ms() + CHANGE_WAIT_MS,
        };
        struct call_answer answer;
        int r = change_begin(call, &wait), arrived = 0;

        while (r == 0 && !arrived && change_now_ms() < wait.until_ms) {
                r = call_get(call, "/v1/status", &answer);
                if (r != 0)
                        break;
                arrived = change_arrived(&wait, answer.json);
                call_answer_free(&answer);
                if (!arrived)
                        usleep(CHANGE_POLL_US);
        }
        if (r == 0 && !arrived)
                fprintf(stderr, "splicectl: %s: no worker of generation %" PRId64 " after %d s; the log says why\n",
                        what, wait.generation, CHANGE_WAIT_MS / 1000);
        return r ? r : arrived != 1;
}

/* Says what it is that is not ready. */
static void change_not_ready(const json_t *ready) {
        const json_t *waiting = json_object_get(ready, "waiting");

        if (json_array_size(waiting))
                fprintf(stderr, "splicectl: not ready: %zu servers have not had their first check, %s among them\n",
                        json_array_size(waiting), json_string_value(json_array_get(waiting, 0)));
        else
                fprintf(stderr, "splicectl: not ready: the daemon does not serve\n");
}

int change_wait_ready(struct call *call, long timeout_ms) {
        int64_t until = change_now_ms() + timeout_ms;
        struct call_answer answer;
        int r;

        for (;;) {
                /* Where there is no daemon, one is waited for too. */
                r = call_request(call, "GET", "/v1/ready", NULL, &answer);
                if (r == 0 && answer.status == 200 && json_is_true(json_object_get(answer.json, "ready")))
                        break;
                if (change_now_ms() >= until) {
                        if (r == 0 && answer.status == 200)
                                change_not_ready(answer.json);
                        else
                                r = call_complain(call, r, &answer);
                        r = r ? r : 1;
                        break;
                }
                call_answer_free(&answer);
                usleep(CHANGE_POLL_US);
        }
        if (call->json && answer.status == 200)
                call_print(&answer);
        call_answer_free(&answer);
        return r;
}
