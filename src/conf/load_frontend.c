/* SPDX-License-Identifier: ISC */
#include "conf/load.h"

#include <errno.h>
#include <stdio.h>

#include "conf/check.h"
#include "conf/value.h"

static int load_listener(struct load *load, struct conf_frontend *frontend, const struct load_section *section,
                         const struct sockopt_set *inherited) {
        struct conf_listener *listener = region_grow(load->keep, frontend->listeners, frontend->n_listeners,
                                                     sizeof(*listener));
        struct place *places = region_grow(&load->scratch, load->listeners, load->n_listeners, sizeof(*places)), place;
        char why[VALUE_WHY];

        if (!listener || !places)
                return -ENOMEM;
        frontend->listeners = listener;
        listener += frontend->n_listeners++;
        load->listeners = places;
        places[load->n_listeners++] = section->place;

        listener->text = region_strdup(load->keep, section->title);
        listener->where = load_where(load, section->place);
        listener->sockopts = *inherited;
        load_defaults(load, schema_listener, listener);
        if (value_parse_listen(&listener->addr, section->title, why) < 0)
                mistakes_add(&load->mistakes, section->place, "listen: '%s' %s",
                             mistakes_word(&load->mistakes, section->title), why);
        load_keys(load, section, schema_listener, listener, &listener->addr);
        if (load_text(section, "proxy-from", &place) && !load_dropped(section, "accept-proxy"))
                check_proxy_from(listener, place, &load->mistakes);
        load_socket(load, section, &listener->sockopts, &listener->addr);
        return load->keep->failed ? -ENOMEM : 0;
}

/* The names of all backends as "a, b, c", as many as fit. */
static const char *load_backend_names(const struct load *load, char *buf, size_t size) {
        size_t at = 0;

        snprintf(buf, size, "the name of a backend, and there is none");
        for (size_t i = 0; i < load->conf->n_backends; i++) {
                int n = snprintf(buf + at, size - at, "%s%s", i ? ", " : "", load->conf->backends[i].name);

                if (n < 0 || (size_t)n >= size - at)
                        break;
                at += (size_t)n;
        }
        return buf;
}

/* Finds the backend that a section names, if it names one. */
static void load_backend_ref(struct load *load, const struct load_section *section, unsigned *backend) {
        struct place place;
        const char *name = load_text(section, "backend", &place);
        char list[400];

        *backend = CONF_NO_BACKEND;
        if (!name || lookup_find(&load->backends, name, backend) || load_dropped_anywhere(load, "backend"))
                return;
        mistakes_add(&load->mistakes, place, "backend: '%s' is not defined; allowed: %s",
                     mistakes_word(&load->mistakes, name),
                     mistakes_word(&load->mistakes, load_backend_names(load, list, sizeof(list))));
}

static const char *const load_conditions[] = { "sni", "alpn", "from", "uid", "gid" };
#define LOAD_CONDITIONS (sizeof(load_conditions) / sizeof(load_conditions[0]))

/* Reports a condition that no client of this frontend can meet. */
static void load_check_condition(struct load *load, const struct load_section *section, const char *key, int met,
                                 const char *allowed) {
        struct place place;

        if (!met && load_text(section, key, &place))
                mistakes_add(&load->mistakes, place, "'%s' has no effect in this frontend; allowed with %s", key,
                             allowed);
}

static void load_check_route(struct load *load, const struct conf_frontend *frontend,
                             const struct load_section *section) {
        int ids = 0, addresses = 0, conditions = 0;

        for (size_t i = 0; i < frontend->n_listeners; i++) {
                const struct conf_listener *listener = &frontend->listeners[i];
                int known = listener->addr.kind != ADDR_NONE && listener->addr.kind != ADDR_FD;

                ids |= !known || listener->addr.kind == ADDR_UNIX;
                addresses |= !known || listener->addr.kind != ADDR_UNIX || listener->accept_proxy;
        }
        if (frontend->n_listeners > 0) {
                static const char unix_listener[] = "a listener on unix:/path, unix:@name or fd:NAME";

                load_check_condition(load, section, "uid", ids, unix_listener);
                load_check_condition(load, section, "gid", ids, unix_listener);
                load_check_condition(load, section, "from", addresses, "a listener on a TCP address or fd:NAME, or one "
                                     "with accept-proxy");
        }
        for (size_t i = 0; i < LOAD_CONDITIONS; i++)
                conditions |= load_count(section, load_conditions[i]) > 0 || load_dropped(section, load_conditions[i]);
        if (!conditions)
                mistakes_add(&load->mistakes, section->place, "route '%s' has no condition; allowed: one at least of "
                             "sni, alpn, from, uid and gid", mistakes_word(&load->mistakes, section->title));
}

static int load_route(struct load *load, struct conf_frontend *frontend, struct lookup *names,
                      const struct load_section *section) {
        struct conf_route *route = region_grow(load->keep, frontend->routes, frontend->n_routes, sizeof(*route));
        uint32_t number = (uint32_t)frontend->n_routes, first;
        struct place place;

        if (!route)
                return -ENOMEM;
        frontend->routes = route;
        route += number;
        route->name = load_name(load, section, "route", names, number, &first);
        if (!route->name)
                return -ENOMEM;
        if (first != number)
                load_twice(load, section, "route", &frontend->routes[first].where);
        frontend->n_routes++;
        route->where = load_where(load, section->place);

        load_keys(load, section, schema_route, route, NULL);
        load_backend_ref(load, section, &route->backend);
        if (!load_text(section, "backend", &place))
                load_missing(load, section, "route", "backend", "backend = \"NAME\"");
        load_check_route(load, frontend, section);
        return 0;
}

static int load_routes(struct load *load, struct conf_frontend *frontend, const struct load_section *section) {
        struct lookup names = { 0 };
        int r = 0;

        for (unsigned i = 0; r == 0 && i < load_count(section, "route"); i++) {
                const struct load_section route = load_sub(section, "route", i);

                r = load_route(load, frontend, &names, &route);
        }
        return r;
}

int load_frontend(struct load *load, const struct load_section *section) {
        struct conf *conf = load->conf;
        struct conf_frontend *frontend = region_grow(load->keep, conf->frontends, conf->n_frontends, sizeof(*frontend));
        uint32_t number = (uint32_t)conf->n_frontends, first;
        struct sockopt_set socket = load->socket;
        struct place place;
        int r = 0;

        if (!frontend)
                return -ENOMEM;
        conf->frontends = frontend;
        frontend += number;
        frontend->name = load_name(load, section, "frontend", &load->frontends, number, &first);
        if (!frontend->name)
                return -ENOMEM;
        if (first != number)
                load_twice(load, section, "frontend", &conf->frontends[first].where);
        conf->n_frontends++;
        frontend->where = load_where(load, section->place);

        load_defaults(load, schema_frontend, frontend);
        frontend->timeouts = load->timeouts.client;
        frontend->access_log = conf->access_log.to != LOG_TO_OFF;
        load_keys(load, section, schema_frontend, frontend, NULL);
        if (load_text(section, "access-log", &place))
                check_access_log(conf, frontend, place, &load->mistakes);
        load_inner(load, section, "timeouts", schema_client_timeouts, &frontend->timeouts, NULL);
        load_socket(load, section, &socket, NULL);
        load_backend_ref(load, section, &frontend->backend);
        if (!load_text(section, "backend", &place) && load_count(section, "route") == 0 &&
            !load_dropped(section, "route"))
                load_missing(load, section, "frontend", "backend",
                             "backend = \"NAME\", or one route at least, as in route \"NAME\" { ... }");

        for (unsigned i = 0; r == 0 && i < load_count(section, "listen"); i++) {
                const struct load_section listen = load_sub(section, "listen", i);

                r = load_listener(load, frontend, &listen, &socket);
        }
        if (r == 0)
                r = load_routes(load, frontend, section);
        if (frontend->n_listeners == 0)
                load_missing(load, section, "frontend", "listen", "one at least, as in listen \":8080\" { }");
        return r;
}
