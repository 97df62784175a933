/* SPDX-License-Identifier: ISC */
#include "conf/load.h"

#include <errno.h>

#include "conf/check.h"

static int load_server(struct load *load, struct conf_backend *backend, struct lookup *names,
                       const struct load_section *section, const struct sockopt_set *inherited) {
        struct conf_server *server = region_grow(load->keep, backend->servers, backend->n_servers, sizeof(*server));
        uint32_t number = (uint32_t)backend->n_servers, first;
        struct place place;
        const char *text;

        if (!server)
                return -ENOMEM;
        backend->servers = server;
        server += number;
        server->name = load_name(load, section, "server", names, number, &first);
        if (!server->name)
                return -ENOMEM;
        if (first != number)
                load_twice(load, section, "server", &backend->servers[first].where);
        backend->n_servers++;
        server->where = load_where(load, section->place);

        server->sockopts = *inherited;
        load_defaults(load, schema_server, server);
        text = load_text(section, "address", &place);
        if (!text)
                load_missing(load, section, "server", "address", "address = \"ADDRESS\"");
        server->text = region_strdup(load->keep, text ? text : "");
        text = load_text(section, "check-address", &place);
        if (text)
                server->check_text = region_strdup(load->keep, text);
        load_keys(load, section, schema_server, server, &server->addr);
        if (load_text(section, "source", &place))
                check_source(server, place, &load->mistakes);
        load_socket(load, section, &server->sockopts, &server->addr);
        return load->keep->failed ? -ENOMEM : 0;
}

/* check { } and outlier { } */
static void load_health(struct load *load, struct conf_backend *backend, const struct load_section *section) {
        struct conf_check *check = &backend->check;

        check->given = load_count(section, "check") > 0;
        check->fast_interval = CONF_OFF;
        load_defaults(load, schema_check, check);
        load_inner(load, section, "check", schema_check, check, NULL);
        if (check->fast_interval == CONF_OFF)
                check->fast_interval = check->interval;

        backend->outlier.given = load_count(section, "outlier") > 0;
        load_defaults(load, schema_outlier, &backend->outlier);
        load_inner(load, section, "outlier", schema_outlier, &backend->outlier, NULL);
}

/* Reports a key of check { } that has no effect, where it is given. */
static void load_check_useless(struct load *load, const struct load_section *section, const char *key,
                               const char *allowed) {
        struct place place;

        if (load_text(section, key, &place))
                mistakes_add(&load->mistakes, place, "'%s' has no effect here; allowed: %s", key, allowed);
}

static void load_check_check(struct load *load, const struct conf_check *check, const struct load_section *section) {
        const struct load_section inner = load_sub(section, "check", 0);
        struct place place;

        if (check->type == CONF_CHECK_TCP && !load_dropped(&inner, "type")) {
                load_check_useless(load, &inner, "send", "together with type = expect");
                load_check_useless(load, &inner, "expect", "together with type = expect");
        }
        if (check->type == CONF_CHECK_EXPECT && load_count(&inner, "expect") == 0 && !load_dropped(&inner, "expect") &&
            load_text(&inner, "type", &place))
                mistakes_add(&load->mistakes, place, "type: 'expect' needs something to expect; allowed: tcp, or "
                             "expect = \"STRING\" beside it");
}

/* Reports what contradicts itself in an outlier { }. */
static void load_check_outlier(struct load *load, const struct conf_outlier *outlier,
                               const struct load_section *section) {
        const struct load_section inner = load_sub(section, "outlier", 0);
        struct place place;
        const char *text;

        if (outlier->eject <= outlier->eject_max || load_dropped(&inner, "eject") || load_dropped(&inner, "eject-max"))
                return;
        text = load_text(&inner, "eject-max", &place);
        if (text)
                mistakes_add(&load->mistakes, place, "eject-max: '%s' is less than eject; allowed: eject at least",
                             mistakes_word(&load->mistakes, text));
        else if ((text = load_text(&inner, "eject", &place)))
                mistakes_add(&load->mistakes, place, "eject: '%s' is more than eject-max, which is 5m where it is not "
                             "given; allowed: eject-max at most", mistakes_word(&load->mistakes, text));
}

/* Reports a queue that nobody could ever wait in. */
static void load_check_queue(struct load *load, const struct conf_backend *backend,
                             const struct load_section *section) {
        int limited = load_dropped(section, "server") || load_dropped(section, "when-down");
        struct place place;

        for (unsigned i = 0; i < backend->n_servers; i++) {
                const struct load_section server = load_sub(section, "server", i);

                limited |= backend->servers[i].max_connections > 0 || load_dropped(&server, "max-connections");
        }
        if (backend->queue > 0 && !limited && backend->when_down == CONF_WHEN_DOWN_REFUSE &&
            load_text(section, "queue", &place))
                mistakes_add(&load->mistakes, place, "'queue' has no effect here; allowed: in a backend with a server "
                             "that has max-connections, or with when-down = wait");
}

static void load_check_servers(struct load *load, const struct conf_backend *backend,
                               const struct load_section *section) {
        int checks = backend->check.given || load_dropped(section, "check");

        for (unsigned i = 0; i < load_count(section, "server"); i++) {
                const struct load_section server = load_sub(section, "server", i);

                if (!checks) {
                        load_check_useless(load, &server, "check", "in a backend that has check { }");
                        load_check_useless(load, &server, "check-address", "in a backend that has check { }");
                } else if (!backend->servers[i].check) {
                        load_check_useless(load, &server, "check-address", "without check = off");
                }
        }
}

static void load_check_backend(struct load *load, const struct conf_backend *backend,
                               const struct load_section *section) {
        int names = backend->n_servers == 0;
        struct place place;

        if (backend->check.given)
                load_check_check(load, &backend->check, section);
        if (backend->outlier.given)
                load_check_outlier(load, &backend->outlier, section);
        load_check_servers(load, backend, section);
        load_check_queue(load, backend, section);
        for (size_t i = 0; i < backend->n_servers; i++) {
                enum addr_kind kind = backend->servers[i].addr.kind;

                names |= kind == ADDR_HOST || kind == ADDR_SRV || kind == ADDR_NONE;
        }
        if (!names && load_text(section, "resolve", &place))
                mistakes_add(&load->mistakes, place, "'resolve' has no effect here; allowed: in a backend with a "
                             "server at host.name:80 or srv:_service._protocol.domain");
}

int load_backend(struct load *load, const struct load_section *section) {
        struct conf *conf = load->conf;
        struct conf_backend *backend = region_grow(load->keep, conf->backends, conf->n_backends, sizeof(*backend));
        uint32_t number = (uint32_t)conf->n_backends, first;
        struct sockopt_set socket = load->socket;
        struct lookup names = { 0 };
        int r = 0;

        if (!backend)
                return -ENOMEM;
        conf->backends = backend;
        backend += number;
        backend->name = load_name(load, section, "backend", &load->backends, number, &first);
        if (!backend->name)
                return -ENOMEM;
        if (first != number)
                load_twice(load, section, "backend", &conf->backends[first].where);
        conf->n_backends++;
        backend->where = load_where(load, section->place);

        load_defaults(load, schema_backend, backend);
        backend->resolve = CONF_OFF;
        backend->timeouts = load->timeouts.server;
        load_keys(load, section, schema_backend, backend, NULL);
        load_health(load, backend, section);
        load_inner(load, section, "timeouts", schema_server_timeouts, &backend->timeouts, NULL);
        load_socket(load, section, &socket, NULL);

        for (unsigned i = 0; r == 0 && i < load_count(section, "server"); i++) {
                const struct load_section server = load_sub(section, "server", i);

                r = load_server(load, backend, &names, &server, &socket);
        }
        if (backend->n_servers == 0)
                load_missing(load, section, "backend", "server",
                             "one at least, as in server \"a\" { address = \"ADDRESS\" }");
        if (r == 0)
                load_check_backend(load, backend, section);
        return r;
}
