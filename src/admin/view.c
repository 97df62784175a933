/* SPDX-License-Identifier: ISC */
#include "admin/view.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "config.h"
#include "net/sockopt.h"
#include "session/access.h"
#include "worker/slots.h"

#define VIEW_TEXT_MAX 1024

/* A string, whatever it holds; null for NULL. */
static json_t *view_text(const char *text) {
        return text_json(text, VIEW_TEXT_MAX);
}

json_t *view_time(int64_t wall_ms) {
        char time[CLOCK_RFC3339_SIZE];

        if (!wall_ms)
                return json_null();
        clock_rfc3339(wall_ms, time);
        return json_string(time);
}

/* Whether every part of an object could be made; the object, or NULL. */
static json_t *view_whole(json_t *json, int failed) {
        if (!failed)
                return json;
        json_decref(json);
        return NULL;
}

static int view_set(json_t *json, const char *key, json_t *value) {
        return json_object_set_new_nocheck(json, key, value) < 0;
}

static int view_number(json_t *json, const char *key, uint64_t value) {
        return view_set(json, key, json_integer((json_int_t)value));
}

static json_t *view_last_reload(struct api *api) {
        struct control_outcome *outcome = malloc(sizeof(*outcome));
        json_t *json = json_object();
        int failed = !outcome;

        if (outcome)
                control_outcome(api->view.control, CONTROL_RELOAD, outcome);
        failed |= outcome && view_set(json, "time", view_time(outcome->wall_ms));
        failed |= outcome && view_set(json, "ok", outcome->wall_ms ? json_boolean(outcome->ok) : json_null());
        failed |= outcome && view_set(json, "detail", outcome->text[0] ? text_json(outcome->text, CONTROL_TEXT)
                                                                       : json_null());
        free(outcome);
        return view_whole(json, failed);
}

json_t *view_status(struct api *api) {
        const struct env_shared *shared = api->view.shared;
        struct control_record *control = api->view.control;
        struct counters_frontend_sum all;
        json_t *json = json_object();
        int failed;

        counters_sum_frontend(shared->arena, ENV_FRONTENDS, &all);
        failed = view_set(json, "version", json_string(PACKAGE_VERSION));
        failed |= view_number(json, "pid", (uint64_t)(api->view.alone ? getpid() : getppid()));
        failed |= view_number(json, "worker_pid", (uint64_t)getpid());
        failed |= view_number(json, "worker_generation", control->generation);
        failed |= view_number(json, "uptime_s", (uint64_t)(clock_now_ms() - control->started_ms) / 1000);
        failed |= view_number(json, "threads", shared->n_threads);
        failed |= view_set(json, "state", json_string(api_is_draining(api) ? "draining" : "serving"));
        failed |= view_number(json, "sessions", atomic_load(&shared->sessions_now));
        failed |= view_number(json, "sessions_max", shared->max_sessions);
        failed |= view_number(json, "sessions_total",
                              __atomic_load_n(&shared->arena->head->next_session, __ATOMIC_RELAXED) - 1);
        failed |= view_number(json, "bytes_up", all.bytes[0]);
        failed |= view_number(json, "bytes_down", all.bytes[1]);
        failed |= view_number(json, "adopted_total", control->adopted);
        failed |= view_number(json, "reset_at_adoption_total", control->reset);
        failed |= view_number(json, "log_dropped_total", api->view.log_dropped + log_dropped(api->view.log));
        failed |= view_set(json, "last_reload", view_last_reload(api));
        return view_whole(json, failed);
}

/* One option, as the kernel has it: numbers as they are, durations as the config writes them. */
static json_t *view_option(const struct sockopt_set *set, enum sockopt_id id) {
        char text[64];

        switch (sockopt_spec(id)->type) {
        case SOCKOPT_BOOL:
                return json_boolean(set->value[id]);
        case SOCKOPT_NUMBER:
        case SOCKOPT_SIZE:
        case SOCKOPT_RATE:
                return json_integer(set->value[id]);
        default:
                return view_text(sockopt_format(set, id, text, sizeof(text)));
        }
}

static json_t *view_options(int fd) {
        int family = listener_family(fd), failed = 0;
        json_t *json = json_object();

        for (unsigned id = 0; family >= 0 && id < SOCKOPT_N; id++) {
                struct sockopt_set set = { 0 };

                if (family == AF_UNIX && !sockopt_spec(id)->both_domains)
                        continue;
                if (sockopt_read(fd, family, id, &set) == 0)
                        failed |= view_set(json, sockopt_spec(id)->name, view_option(&set, id));
        }
        return view_whole(json, failed);
}

/* The listening socket may be closed by a drain meanwhile: only under the lock is its descriptor what it was. */
static json_t *view_listener(struct api *api, size_t number, const struct conf_listener *listener, int with_frontend) {
        struct env_shared *shared = api->view.shared;
        const struct env_frontend *frontend = &shared->frontends[api->frontends[number]];
        const struct env_listener_record *records = arena_slab(shared->arena, ARENA_LISTENERS);
        json_t *json = json_object(), *options = NULL;
        const char *state = "closed";
        uint32_t slot;
        int failed = 0;

        pthread_mutex_lock(&shared->listen_lock);
        slot = slots_listener(shared->arena, &listener->addr, ENV_LISTENER_TRAFFIC, &api->listener_at);
        if (slot != ARENA_NONE) {
                state = atomic_load(&frontend->record->paused) ? "paused" : "listening";
                options = view_options(records[slot].fd);
        }
        pthread_mutex_unlock(&shared->listen_lock);
        if (with_frontend)
                failed |= view_set(json, "frontend", view_text(frontend->conf->name));
        failed |= view_set(json, "address", view_text(listener->text));
        failed |= view_set(json, "state", json_string(state));
        failed |= view_set(json, "socket", options ? options : json_object());
        return view_whole(json, failed);
}

json_t *view_frontend(struct api *api, size_t number) {
        struct env_shared *shared = api->view.shared;
        const struct env_frontend *frontend = &shared->frontends[api->frontends[number]];
        json_t *json = json_object(), *listeners = json_array();
        struct counters_frontend_sum sum;
        int failed;

        counters_sum_frontend(shared->arena, api->frontends[number], &sum);
        failed = view_set(json, "name", view_text(frontend->conf->name));
        failed |= view_set(json, "state", json_string(atomic_load(&frontend->record->paused) ? "paused" : "ready"));
        failed |= view_number(json, "sessions", atomic_load(&frontend->sessions));
        failed |= view_number(json, "sessions_total", sum.sessions);
        failed |= view_number(json, "denied_total", sum.ends[ACCESS_DENIED]);
        failed |= view_number(json, "limited_total", sum.ends[ACCESS_LIMITED]);
        failed |= view_number(json, "bytes_up", sum.bytes[0]);
        failed |= view_number(json, "bytes_down", sum.bytes[1]);
        for (size_t i = 0; i < frontend->conf->n_listeners; i++)
                failed |= json_array_append_new(listeners,
                                                view_listener(api, number, &frontend->conf->listeners[i], 0));
        failed |= view_set(json, "listeners", listeners);
        return view_whole(json, failed);
}

json_t *view_frontends(struct api *api) {
        json_t *json = json_object(), *list = json_array();
        int failed = 0;

        for (size_t i = 0; i < api->view.shared->conf->n_frontends; i++)
                failed |= json_array_append_new(list, view_frontend(api, i));
        failed |= view_set(json, "frontends", list);
        return view_whole(json, failed);
}

json_t *view_listeners(struct api *api) {
        const struct conf *conf = api->view.shared->conf;
        json_t *json = json_object(), *list = json_array();
        int failed = 0;

        for (size_t f = 0; f < conf->n_frontends; f++)
                for (size_t i = 0; i < conf->frontends[f].n_listeners; i++)
                        failed |= json_array_append_new(list,
                                                        view_listener(api, f, &conf->frontends[f].listeners[i], 1));
        failed |= view_set(json, "listeners", list);
        return view_whole(json, failed);
}

static json_t *view_check(const struct backend_look *look) {
        json_t *json = json_object(), *last = json_null();
        int failed;

        if (look->check_last == SERVER_RESULT_OK)
                last = json_string("ok");
        else if (look->check_last == SERVER_RESULT_FAILED)
                last = json_string("failed");
        failed = view_set(json, "last", last);
        failed |= view_set(json, "detail", look->check_detail[0] ? view_text(look->check_detail) : json_null());
        failed |= view_set(json, "since", view_time(look->check_wall_ms));
        return view_whole(json, failed);
}

json_t *view_server(struct api *api, struct backend *backend, const struct backend_look *look) {
        const struct conf_server *server = &backend->conf->servers[look->server];
        char text[ADDR_STRLEN];
        json_t *json = json_object();
        int failed;

        (void)api;
        failed = view_set(json, "name", view_text(server->name));
        failed |= view_set(json, "address", view_text(look->addr.kind == ADDR_NONE ? server->text :
                                                      addr_format(&look->addr.sa, look->addr.len, text,
                                                                  sizeof(text))));
        /* No address of the name any more, but that of sessions that run. */
        failed |= view_set(json, "state", json_string(server_state_name(look->retired ? SERVER_STATE_DRAIN :
                                                                        look->state)));
        failed |= view_number(json, "weight", look->weight);
        failed |= view_number(json, "sessions", look->sessions);
        failed |= view_number(json, "sessions_total", look->sessions_total);
        failed |= view_number(json, "connect_failed_total", look->connect_failed);
        failed |= view_number(json, "retried_total", look->retried);
        failed |= view_set(json, "check", view_check(look));
        failed |= view_set(json, "connect_ms", look->connect_us ? json_real(look->connect_us / 1000.0) : json_null());
        failed |= view_number(json, "bytes_up", look->bytes_up);
        failed |= view_number(json, "bytes_down", look->bytes_down);
        return view_whole(json, failed);
}

static json_t *view_backend(struct api *api, struct backend *backend) {
        static const char *const balances[CONF_BALANCES] = {
                [CONF_ROUNDROBIN] = "roundrobin", [CONF_LEASTCONN] = "leastconn", [CONF_RANDOM] = "random",
                [CONF_SOURCE] = "source", [CONF_FIRST] = "first", [CONF_LEAST_TIME] = "least-time",
        };
        json_t *json = json_object(), *servers = json_array();
        int64_t now = clock_now_ms();
        struct backend_look look;
        int failed;

        failed = view_set(json, "name", view_text(backend->conf->name));
        failed |= view_set(json, "balance", json_string(balances[backend->conf->balance]));
        failed |= view_number(json, "queued", backend_queued(backend));
        for (size_t i = 0; backend_look(backend, i, now, &look); i++)
                if (!look.retired || look.sessions)
                        failed |= json_array_append_new(servers, view_server(api, backend, &look));
        failed |= view_set(json, "servers", servers);
        return view_whole(json, failed);
}

json_t *view_backends(struct api *api) {
        const struct env_shared *shared = api->view.shared;
        json_t *json = json_object(), *list = json_array();
        int failed = 0;

        for (size_t i = 0; i < shared->conf->n_backends; i++)
                failed |= json_array_append_new(list, view_backend(api, &shared->backends[shared->backend_slots[i]]));
        failed |= view_set(json, "backends", list);
        return view_whole(json, failed);
}

json_t *view_ready(struct api *api) {
        const struct env_shared *shared = api->view.shared;
        json_t *json = json_object(), *waiting = json_array();
        int64_t now = clock_now_ms();
        struct backend_look look;
        int failed = 0, serving = api_is_ready(api) && !api_is_draining(api);

        for (size_t b = 0; b < shared->conf->n_backends; b++) {
                struct backend *backend = &shared->backends[shared->backend_slots[b]];

                for (size_t i = 0; backend_look(backend, i, now, &look); i++) {
                        char name[2 * CONF_NAME_MAX + 2];

                        /* In maintenance, and without an address, it is not checked, and so not waited for. */
                        if (!look.checked || look.retired || look.check_last != SERVER_RESULT_NONE ||
                            look.admin == SERVER_MAINT || look.addr.kind == ADDR_NONE)
                                continue;
                        snprintf(name, sizeof(name), "%s/%s", backend->conf->name,
                                 backend->conf->servers[look.server].name);
                        failed |= json_array_append_new(waiting, view_text(name));
                }
        }
        failed |= view_set(json, "ready", json_boolean(serving && json_array_size(waiting) == 0));
        failed |= view_set(json, "waiting", waiting);
        return view_whole(json, failed);
}

json_t *view_config(struct api *api) {
        json_t *json = json_object();
        char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        int failed = !stream;

        if (stream) {
                failed |= conf_print(api->view.shared->conf, stream) < 0;
                failed |= fclose(stream) != 0;
        }
        failed |= !failed && view_set(json, "config", json_stringn_nocheck(text, size));
        free(text);
        return view_whole(json, failed);
}
