/* SPDX-License-Identifier: ISC */
#include "admin/change.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/api.h"
#include "admin/filter.h"
#include "admin/view.h"
#include "base/clock.h"
#include "session/access.h"

#define CHANGE_WHY 256
#define CHANGE_WEIGHT_MAX 256

/* What a body asks for. */
struct change {
        int state;                      /* -1: not given */
        int weight;
        const char *address;            /* NULL: not given; the body's */
        struct addr addr;
        char why[CHANGE_WHY];           /* what is wrong; "": nothing */
};

static void change_wrong(struct change *change, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void change_wrong(struct change *change, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(change->why, sizeof(change->why), fmt, args);
        va_end(args);
}

/* "uid 0 (PID 12)", for the log. */
static const char *change_who(const struct http_request *request, char *buf, size_t size) {
        snprintf(buf, size, "uid %" PRIu32 " (PID %d)", (uint32_t)request->place->uid, (int)request->place->pid);
        return buf;
}

/* The body as an object, the caller's; or NULL where it is none, and the request was answered into *r. */
static json_t *change_body(struct http_request *request, int *r) {
        json_error_t error;
        json_t *body = json_loadb(request->body ? request->body : "", request->n_body, JSON_REJECT_DUPLICATES, &error);

        if (!body)
                *r = http_reply_error(request, 400, "bad request", "the body is no JSON: %s", error.text);
        else if (!json_is_object(body))
                *r = http_reply_error(request, 400, "bad request", "the body is no JSON object");
        else if (json_object_size(body) == 0)
                *r = http_reply_error(request, 400, "bad request", "the body says nothing to change");
        else
                return body;
        json_decref(body);
        return NULL;
}

static void change_state(struct change *change, const json_t *value, const char *const *words, const char *allowed) {
        for (int i = 0; json_is_string(value) && words[i]; i++)
                if (strcmp(json_string_value(value), words[i]) == 0)
                        change->state = i;
        if (change->state < 0)
                change_wrong(change, "state: is none; allowed: %s", allowed);
}

static void change_weight(struct change *change, const json_t *value) {
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > CHANGE_WEIGHT_MAX)
                change_wrong(change, "weight: is none; allowed: a whole number from 0 to %d", CHANGE_WEIGHT_MAX);
        else
                change->weight = (int)json_integer_value(value);
}

static void change_address(struct change *change, const json_t *value, const struct conf_server *server) {
        const struct addr *source = &server->source;
        const char *why = NULL;

        change->address = json_string_value(value);
        if (!change->address) {
                change_wrong(change, "address: is no string");
                return;
        }
        if (addr_parse(&change->addr, change->address, &why) < 0) {
                change_wrong(change, "address: is refused: %s", why ? why : "not an address");
                return;
        }
        /* As in the file: a name is followed again. */
        if (strcmp(change->address, server->text) == 0)
                return;
        if (change->addr.kind != ADDR_IP && change->addr.kind != ADDR_UNIX)
                change_wrong(change, "address: is not one to connect to; allowed: 10.0.0.1:80, [2001:db8::1]:80, "
                             "unix:/path, unix:@name, or what the file says");
        else if (source->kind != ADDR_NONE && change->addr.kind == ADDR_IP &&
                 addr_family(&change->addr) != addr_family(source))
                change_wrong(change, "address: cannot be reached from the server's source address, which is of the "
                             "other IP version");
}

static void change_read_server(struct change *change, json_t *body, const struct conf_server *server) {
        static const char *const states[] = { "ready", "drain", "maint", NULL };
        const char *key;
        json_t *value;

        *change = (struct change){ .state = -1, .weight = -1 };
        json_object_foreach(body, key, value) {
                if (strcmp(key, "state") == 0)
                        change_state(change, value, states, "\"ready\", \"drain\", \"maint\"");
                else if (strcmp(key, "weight") == 0)
                        change_weight(change, value);
                else if (strcmp(key, "address") == 0)
                        change_address(change, value, server);
                else
                        change_wrong(change, "%.64s: unknown field; allowed: state, weight, address", key);
                if (change->why[0])
                        return;
        }
}

/*
 * One address for the name: that of its first instance.  The others are retired, as if the name had them no more.  Back
 * at the file's name, there is this one until the name has been asked for again.
 */
static void change_record_address(struct server_record *record, const struct change *change) {
        int named = change->addr.kind != ADDR_IP && change->addr.kind != ADDR_UNIX;

        record->address_set = strcmp(change->address, record->text) != 0;
        if (named)
                return;
        if (record->instance) {
                if (record->addr.kind != ADDR_NONE)
                        record->former = record->addr;
                record->addr = (struct addr){ .kind = ADDR_NONE };
                return;
        }
        record->addr = change->addr;
}

/* Under the backend's lock. */
static void change_record(struct server_record *record, void *arg) {
        const struct change *change = arg;

        if (change->state >= 0)
                record->admin = (uint8_t)change->state;
        if (change->weight >= 0)
                record->weight = (uint16_t)change->weight;
        if (change->address)
                change_record_address(record, change);
}

_Static_assert(SERVER_READY == 0 && SERVER_DRAIN == 1 && SERVER_MAINT == 2, "in the order of the words");

static void change_log_server(struct http_request *request, const struct change *change, const struct backend *backend,
                              const struct conf_server *server) {
        static const char *const states[] = { "ready", "drain", "maint" };
        struct log_context context = { .backend = backend->conf->name, .server = server->name };
        struct log *log = request->api->view.log;
        char who[64];

        change_who(request, who, sizeof(who));
        if (change->state >= 0)
                log_info(log, &context, "admin: %s sets the server's state to %s", who, states[change->state]);
        if (change->weight >= 0)
                log_info(log, &context, "admin: %s sets the server's weight to %d", who, change->weight);
        if (change->address)
                log_info(log, &context, "admin: %s sets the server's address to %s", who, change->address);
}

static struct backend *change_find_backend(struct http_request *request, const char *name) {
        const struct env_shared *shared = request->api->view.shared;

        for (size_t i = 0; i < shared->conf->n_backends; i++)
                if (strcmp(shared->conf->backends[i].name, name) == 0)
                        return &shared->backends[shared->backend_slots[i]];
        return NULL;
}

/* Changes every instance; *first is the first of them that is in use, or that stands for a name without address. */
static void change_apply(struct backend *backend, const struct conf_server *server, struct change *change,
                         struct backend_look *first) {
        int64_t now = clock_now_ms();
        struct backend_look look;
        int found = 0;

        for (size_t i = 0; backend_look(backend, i, now, &look); i++) {
                if (&backend->conf->servers[look.server] != server)
                        continue;
                backend_change(backend, look.slot, change_record, change, now);
                backend_look(backend, i, now, &look);
                if (!found || (first->retired && !look.retired))
                        *first = look;
                found = 1;
        }
}

static int change_server_to(struct http_request *request, struct backend *backend, const struct conf_server *server,
                            json_t *body) {
        struct backend_look look = { 0 };
        struct change change;

        change_read_server(&change, body, server);
        if (change.why[0])
                return http_reply_error(request, 400, "bad request", "%s", change.why);
        change_apply(backend, server, &change, &look);
        change_log_server(request, &change, backend, server);
        env_wake_health(request->api->view.shared);
        if (change.address)
                env_wake_names(request->api->view.shared);
        env_grant(request->api->view.shared, backend, clock_now_ms());
        return http_reply_json(request, 200, view_server(request->api, backend, &look));
}

int change_server(struct http_request *request, const char *backend_name, const char *server_name) {
        struct backend *backend = change_find_backend(request, backend_name);
        const struct conf_server *server = NULL;
        json_t *body;
        int r;

        for (size_t i = 0; backend && i < backend->conf->n_servers && !server; i++)
                if (strcmp(backend->conf->servers[i].name, server_name) == 0)
                        server = &backend->conf->servers[i];
        if (!server)
                return http_reply_error(request, 404, "not found", "there is no server %s/%s", backend_name,
                                        server_name);
        body = change_body(request, &r);
        if (!body)
                return r;
        r = change_server_to(request, backend, server, body);
        json_decref(body);
        return r;
}

static int change_frontend_to(struct http_request *request, size_t number, json_t *body) {
        static const char *const states[] = { "ready", "paused", NULL };
        struct env_shared *shared = request->api->view.shared;
        const struct env_frontend *frontend = &shared->frontends[request->api->frontends[number]];
        struct log_context context = { .frontend = frontend->conf->name };
        struct change change = { .state = -1 };
        const char *key;
        json_t *value;
        char who[64];

        json_object_foreach(body, key, value) {
                if (strcmp(key, "state") == 0)
                        change_state(&change, value, states, "\"ready\", \"paused\"");
                else
                        change_wrong(&change, "%.64s: unknown field; allowed: state", key);
                if (change.why[0])
                        return http_reply_error(request, 400, "bad request", "%s", change.why);
        }
        log_info(request->api->view.log, &context, "admin: %s sets the frontend's state to %s",
                 change_who(request, who, sizeof(who)), states[change.state]);
        atomic_store(&frontend->record->paused, (uint32_t)change.state);
        if (change.state == 0)
                env_resume(shared);
        return http_reply_json(request, 200, view_frontend(request->api, number));
}

int change_frontend(struct http_request *request, const char *name) {
        const struct conf *conf = request->api->view.shared->conf;
        size_t number = 0;
        json_t *body;
        int r;

        while (number < conf->n_frontends && strcmp(conf->frontends[number].name, name) != 0)
                number++;
        if (number == conf->n_frontends)
                return http_reply_error(request, 404, "not found", "there is no frontend %s", name);
        body = change_body(request, &r);
        if (!body)
                return r;
        r = change_frontend_to(request, number, body);
        json_decref(body);
        return r;
}

/* Ends what is meant.  Returns how many. */
static unsigned change_kill_all(struct env_shared *shared, const struct filter *filter) {
        unsigned killed = 0;

        for (uint32_t t = 0; t < shared->n_threads; t++)
                for (uint32_t i = 0; i < shared->threads[t].n_rows; i++)
                        if (filter_fits(filter, &shared->threads[t].rows[i])) {
                                env_post_kill_seen(shared, &shared->threads[t].rows[i], ACCESS_KILLED);
                                killed++;
                        }
        return killed;
}

int change_kill(struct http_request *request, const char *id) {
        struct api *api = request->api;
        struct filter filter;
        unsigned killed;
        char who[64];
        int r;

        if (id && !filter_id(&filter, api->view.shared, id))
                return http_reply_error(request, 404, "not found", "there is no session %s", id);
        if (!id && !filter_query(&filter, request, &r))
                return r;
        if (!filter.given)
                return http_reply_error(request, 400, "bad query",
                                        "which sessions? allowed: frontend=, server=, source=");
        if (api_survey(api, 1) < 0)
                return http_reply_error(request, 409, "not now", "an event loop does not answer");
        killed = change_kill_all(api->view.shared, &filter);
        if (id && !killed)
                return http_reply_error(request, 404, "not found", "there is no session %s", id);
        log_info(api->view.log, LOG_NO_CONTEXT, "admin: %s ends %u sessions", change_who(request, who, sizeof(who)),
                 killed);
        return http_reply_json(request, 200, json_pack("{si}", "killed", (int)killed));
}

static const char *change_word(enum control_kind kind) {
        return kind == CONTROL_RELOAD ? "reload" : "upgrade";
}

int change_ask(struct http_request *request, enum control_kind kind) {
        const struct api *api = request->api;
        char error[32], who[64];

        snprintf(error, sizeof(error), "%s refused", change_word(kind));
        if (api->view.alone)
                return http_reply_error(request, 409, error, "a single process cannot %s; restart it instead",
                                        change_word(kind));
        if (api_is_draining(api))
                return http_reply_error(request, 409, error, "it is stopping");
        log_info(api->view.log, LOG_NO_CONTEXT, "admin: %s asks for a%s %s", change_who(request, who, sizeof(who)),
                 kind == CONTROL_UPGRADE ? "n" : "", change_word(kind));
        return http_wait(request, kind, control_ask(api->view.control, kind));
}

int change_answered(struct http_request *request) {
        struct control_record *control = request->api->view.control;
        struct control_outcome *outcome;
        uint32_t generation;
        char error[32];
        int r;

        snprintf(error, sizeof(error), "%s refused", change_word(request->kind));
        if (!control_answered(control, request->kind, request->number, &generation))
                return http_reply_error(request, 409, error, "the keeper does not answer");
        if (generation)
                return http_reply_json(request, 202, json_pack("{sI}", "generation", (json_int_t)generation));
        outcome = malloc(sizeof(*outcome));
        if (!outcome)
                return 0;
        control_outcome(control, request->kind, outcome);
        r = http_reply_error(request, 409, error, "%s", outcome->text);
        free(outcome);
        return r;
}
