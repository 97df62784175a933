/* SPDX-License-Identifier: ISC */
#include "admin/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/api.h"
#include "session/env.h"

static void filter_init(struct filter *filter, const struct env_shared *shared) {
        *filter = (struct filter){ .frontend = ARENA_NONE, .backend = ARENA_NONE, .shared = shared };
}

int filter_id(struct filter *filter, const struct env_shared *shared, const char *text) {
        char *end;

        filter_init(filter, shared);
        filter->given = 1;
        errno = 0;
        filter->id = strtoull(text, &end, 10);
        return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && filter->id > 0;
}

int filter_network(struct filter *filter, const char *text) {
        const char *slash = strchr(text, '/');
        char address[INET6_ADDRSTRLEN], *end;
        size_t len = slash ? (size_t)(slash - text) : strlen(text);
        unsigned long prefix;

        filter->has_source = 1;
        filter->prefix = 0;
        filter->family = AF_UNIX;
        if (strcmp(text, "unix") == 0)
                return 0;
        if (len >= sizeof(address))
                return -EINVAL;
        memcpy(address, text, len);
        address[len] = '\0';
        memset(&filter->network, 0, sizeof(filter->network));
        if (inet_pton(AF_INET, address, &filter->network) == 1)
                filter->family = AF_INET;
        else if (inet_pton(AF_INET6, address, &filter->network) == 1)
                filter->family = AF_INET6;
        else
                return -EINVAL;
        prefix = filter->family == AF_INET ? 32 : 128;
        if (slash) {
                unsigned long most = prefix;

                prefix = strtoul(slash + 1, &end, 10);
                if (slash[1] < '0' || slash[1] > '9' || *end || prefix > most)
                        return -EINVAL;
        }
        filter->prefix = (uint8_t)prefix;
        return 0;
}

static void filter_wrong(struct filter *filter, unsigned status, const char *why, const char *value,
                         const char *allowed) {
        filter->status = status;
        filter->why = why;
        snprintf(filter->detail, sizeof(filter->detail), "%s: %.100s; %s", why, value, allowed);
}

static void filter_frontend(struct filter *filter, const char *name) {
        const struct env_shared *shared = filter->shared;

        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_FRONTENDS].used; i++)
                if (shared->frontends[i].conf && strcmp(shared->frontends[i].conf->name, name) == 0)
                        filter->frontend = i;
        if (filter->frontend == ARENA_NONE)
                filter_wrong(filter, 404, "frontend", name, "there is none of that name");
}

/* Configured, or gone from the config with sessions left. */
static const char *filter_server_name(const struct env_shared *shared, const struct backend *backend, uint32_t slot,
                                      const char *name) {
        for (size_t i = 0; i < backend->conf->n_servers; i++)
                if (strcmp(backend->conf->servers[i].name, name) == 0)
                        return backend->conf->servers[i].name;
        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_SERVERS].used; i++)
                if (shared->servers[i].ghost && shared->servers[i].record->backend == slot &&
                    strcmp(shared->servers[i].conf->name, name) == 0)
                        return shared->servers[i].conf->name;
        return NULL;
}

static void filter_server(struct filter *filter, const char *name) {
        const struct env_shared *shared = filter->shared;
        const char *slash = strchr(name, '/');

        for (uint32_t i = 0; slash && i < shared->arena->head->extents[ARENA_BACKENDS].used; i++) {
                const struct backend *backend = &shared->backends[i];

                if (!backend->conf || strlen(backend->conf->name) != (size_t)(slash - name) ||
                    strncmp(backend->conf->name, name, (size_t)(slash - name)) != 0)
                        continue;
                filter->backend = i;
                filter->server = filter_server_name(shared, backend, i, slash + 1);
        }
        if (!filter->server)
                filter_wrong(filter, 404, "server", name, "there is no such BACKEND/SERVER");
}

static int filter_parameter(void *arg, const char *key, const char *value) {
        struct filter *filter = arg;

        filter->given = 1;
        if (strcmp(key, "frontend") == 0)
                filter_frontend(filter, value);
        else if (strcmp(key, "server") == 0)
                filter_server(filter, value);
        else if (strcmp(key, "source") != 0)
                filter_wrong(filter, 400, "unknown parameter", key, "allowed: frontend, server, source");
        else if (filter_network(filter, value) < 0)
                filter_wrong(filter, 400, "source", value, "allowed: 10.0.0.0/8, 2001:db8::/32, one address, or unix");
        return !filter->why;
}

int filter_query(struct filter *filter, struct http_request *request, int *r) {
        filter_init(filter, request->api->view.shared);
        http_each_query(request, filter_parameter, filter);
        if (!filter->why)
                return 1;
        *r = http_reply_error(request, filter->status, filter->status == 404 ? "not found" : "bad query", "%s",
                              filter->detail);
        return 0;
}

static int filter_in_network(const struct filter *filter, const struct survey_row *row) {
        unsigned whole = filter->prefix / 8, rest = filter->prefix % 8;

        if (row->client_family != filter->family)
                return 0;
        if (memcmp(&row->client, &filter->network, whole) != 0)
                return 0;
        return !rest || !((row->client.s6_addr[whole] ^ filter->network.s6_addr[whole]) >> (8 - rest));
}

int filter_fits(const struct filter *filter, const struct survey_row *row) {
        if (filter->id && row->id != filter->id)
                return 0;
        if (filter->frontend != ARENA_NONE && row->frontend != filter->frontend)
                return 0;
        if (filter->server && (row->backend != filter->backend || row->server == SESSION_NO_SERVER ||
                               strcmp(filter->shared->servers[row->server].conf->name, filter->server) != 0))
                return 0;
        return !filter->has_source || filter_in_network(filter, row);
}
