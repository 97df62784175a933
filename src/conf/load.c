/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"

#include <confuse.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/check.h"
#include "conf/mistakes.h"
#include "conf/region.h"
#include "conf/schema.h"
#include "conf/source.h"
#include "conf/value.h"

/* A config and the memory of all that it points to. */
struct load_owner {
        struct conf conf;               /* first: conf_free() gets its address */
        struct region region;
};

struct load {
        struct region scratch;          /* what only the load needs */
        struct mistakes mistakes;
        struct sources sources;
        struct region *keep;            /* what the config keeps */
        struct conf *conf;
        struct schema_timeouts timeouts;
        struct sockopt_set socket;
        struct place *listeners;        /* where each listener is written */
        size_t n_listeners;
        const char *file, *file_kept;   /* the last file name that was copied */
};

/* One section, as libconfuse has it. */
struct load_section {
        const struct source *source;
        cfg_t *cfg;
        struct place place;
        const char *title;
};

static struct conf_where load_where(struct load *load, struct place place) {
        if (load->file != place.name) {
                load->file = place.name;
                load->file_kept = region_strdup(load->keep, place.name);
        }
        return (struct conf_where) { .file = load->file_kept, .line = place.line };
}

/* The text of a key in a section and where it stands; NULL where it is not given. */
static const char *load_text(const struct load_section *section, const char *key, struct place *place) {
        if (cfg_size(section->cfg, key) == 0)
                return NULL;
        return source_value(section->source, cfg_getnstr(section->cfg, key, 0), place);
}

static unsigned load_count(const struct load_section *section, const char *key) {
        return cfg_size(section->cfg, key);
}

static struct load_section load_sub(const struct load_section *section, const char *key, unsigned i) {
        struct load_section sub = { .source = section->source, .cfg = cfg_getnsec(section->cfg, key, i) };

        if (cfg_title(sub.cfg))
                sub.title = source_value(sub.source, cfg_title(sub.cfg), &sub.place);
        return sub;
}

/* Whether a statement was left out of the section that is, or may have been, this key. */
static int load_dropped(const struct load_section *section, const char *key) {
        for (unsigned i = 0; i < load_count(section, OUTLINE_DROPPED); i++) {
                const char *dropped = cfg_getnstr(section->cfg, OUTLINE_DROPPED, i);

                if (strcmp(dropped, key) == 0 || strcmp(dropped, "*") == 0)
                        return 1;
        }
        return 0;
}

/* The same for the top level of all files. */
static int load_dropped_anywhere(const struct load *load, const char *key) {
        if (load->sources.incomplete)
                return 1;
        for (const struct source *source = load->sources.first; source; source = source->next) {
                const struct load_section top = { .source = source, .cfg = source->cfg };

                if (!source->cfg || load_dropped(&top, key))
                        return 1;
        }
        return 0;
}

static int load_has_value(const struct schema_row *row) {
        return row->type != SCHEMA_SECTION && row->type != SCHEMA_INCLUDE && row->type != SCHEMA_BACKEND;
}

static void load_defaults(struct load *load, const struct schema_row *rows, void *target) {
        char why[VALUE_WHY];

        for (; rows->key; rows++)
                if (rows->def && value_parse(rows, rows->def, target, load->keep, why) < 0)
                        load->keep->failed = 1;
}

/* Reports a key that has no effect on this address; returns whether it has one. */
static int load_in_scope(struct load *load, const struct schema_row *row, const struct addr *addr, struct place place) {
        static const char *const allowed[] = {
                [SCHEMA_UNIX_PATH] = "addresses like unix:/path",
                [SCHEMA_TCP] = "TCP addresses",
                [SCHEMA_IPV6] = "IPv6 addresses",
                [SCHEMA_OPENED] = "addresses other than fd:NAME",
        };
        enum schema_scope scope = row->scope;

        if (!addr)
                return 1;
        /* Of an inherited socket the family is seen when it is there. */
        if (row->type == SCHEMA_SOCKOPT && !sockopt_spec(row->id)->both_domains && addr->kind != ADDR_FD)
                scope = SCHEMA_TCP;
        if (schema_applies(scope, addr))
                return 1;
        mistakes_add(&load->mistakes, place, "'%s' has no effect on this address; allowed on %s", row->key,
                     allowed[scope]);
        return 0;
}

/* Puts the keys of a section into target.  addr: the address that they concern, NULL where there is none. */
static void load_keys(struct load *load, const struct load_section *section, const struct schema_row *rows,
                      void *target, const struct addr *addr) {
        for (; rows->key; rows++) {
                char why[VALUE_WHY];
                struct place place;
                const char *text;

                if (!load_has_value(rows))
                        continue;
                text = load_text(section, rows->key, &place);
                if (!text || !load_in_scope(load, rows, addr, place))
                        continue;
                if (value_parse(rows, text, target, load->keep, why) == -EINVAL)
                        mistakes_add(&load->mistakes, place, "%s: '%s' %s", rows->key,
                                     mistakes_word(&load->mistakes, text), why);
        }
}

/* The same for an untitled section inside of this one, where there is such. */
static void load_inner(struct load *load, const struct load_section *section, const char *key,
                       const struct schema_row *rows, void *target, const struct addr *addr) {
        if (load_count(section, key) > 0) {
                const struct load_section inner = load_sub(section, key, 0);

                load_keys(load, &inner, rows, target, addr);
        }
}

/* Puts a section's own socket { } over what it inherits. */
static void load_socket(struct load *load, const struct load_section *section, struct sockopt_set *set,
                        const struct addr *addr) {
        struct sockopt_set own = { 0 };

        load_inner(load, section, "socket", schema_socket, &own, addr);
        sockopt_overlay(set, &own);
        /* What is inherited and means nothing here is left out in silence. */
        for (unsigned id = 0; addr && addr->kind == ADDR_UNIX && id < SOCKOPT_N; id++)
                if (!sockopt_spec(id)->both_domains)
                        set->set &= ~(UINT32_C(1) << id);
}

static void load_missing(struct load *load, const struct load_section *section, const char *what, const char *key,
                         const char *allowed) {
        if (!load_dropped(section, key))
                mistakes_add(&load->mistakes, section->place, "%s '%s' has no %s; allowed: %s", what,
                             mistakes_word(&load->mistakes, section->title), key, allowed);
}

static void load_name(struct load *load, const struct load_section *section, const char *what) {
        char why[VALUE_WHY];

        if (value_check_name(section->title, why) < 0)
                mistakes_add(&load->mistakes, section->place, "%s: '%s' %s", what,
                             mistakes_word(&load->mistakes, section->title), why);
}

static void load_twice(struct load *load, const struct load_section *section, const char *what,
                       const struct conf_where *first) {
        mistakes_add(&load->mistakes, section->place, "%s '%s' is defined twice; allowed: once, and it is at %s:%u",
                     what, mistakes_word(&load->mistakes, section->title),
                     mistakes_word(&load->mistakes, first->file), first->line);
}

static int load_listener(struct load *load, struct conf_frontend *frontend, const struct load_section *section,
                         const struct sockopt_set *inherited) {
        struct conf_listener *listener = region_grow(load->keep, frontend->listeners, frontend->n_listeners,
                                                     sizeof(*listener));
        struct place *places = region_grow(&load->scratch, load->listeners, load->n_listeners, sizeof(*places));
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

static void load_backend_ref(struct load *load, struct conf_frontend *frontend, const struct load_section *section) {
        struct place place;
        const char *name = load_text(section, "backend", &place);
        char list[400];

        if (!name) {
                load_missing(load, section, "frontend", "backend", "backend = \"NAME\"");
                return;
        }
        for (size_t i = 0; i < load->conf->n_backends; i++) {
                if (strcmp(load->conf->backends[i].name, name) == 0) {
                        frontend->backend = (unsigned)i;
                        return;
                }
        }
        if (load_dropped_anywhere(load, "backend"))
                return;
        mistakes_add(&load->mistakes, place, "backend: '%s' is not defined; allowed: %s",
                     mistakes_word(&load->mistakes, name),
                     mistakes_word(&load->mistakes, load_backend_names(load, list, sizeof(list))));
}

static int load_frontend(struct load *load, const struct load_section *section) {
        struct conf *conf = load->conf;
        struct conf_frontend *frontend = region_grow(load->keep, conf->frontends, conf->n_frontends, sizeof(*frontend));
        struct sockopt_set socket = load->socket;
        struct place place;
        int r = 0;

        if (!frontend)
                return -ENOMEM;
        conf->frontends = frontend;
        for (size_t i = 0; i < conf->n_frontends; i++)
                if (strcmp(frontend[i].name, section->title) == 0) {
                        load_twice(load, section, "frontend", &frontend[i].where);
                        break;
                }
        frontend += conf->n_frontends;
        frontend->name = region_strdup(load->keep, section->title);
        if (!frontend->name)
                return -ENOMEM;
        conf->n_frontends++;
        frontend->where = load_where(load, section->place);
        load_name(load, section, "frontend");

        load_defaults(load, schema_frontend, frontend);
        frontend->timeouts = load->timeouts.client;
        frontend->access_log = conf->access_log.to != LOG_TO_OFF;
        load_keys(load, section, schema_frontend, frontend, NULL);
        if (load_text(section, "access-log", &place))
                check_access_log(conf, frontend, place, &load->mistakes);
        load_inner(load, section, "timeouts", schema_client_timeouts, &frontend->timeouts, NULL);
        load_socket(load, section, &socket, NULL);
        load_backend_ref(load, frontend, section);

        for (unsigned i = 0; r == 0 && i < load_count(section, "listen"); i++) {
                const struct load_section listen = load_sub(section, "listen", i);

                r = load_listener(load, frontend, &listen, &socket);
        }
        if (frontend->n_listeners == 0)
                load_missing(load, section, "frontend", "listen", "one at least, as in listen \":8080\" { }");
        return r;
}

static int load_server(struct load *load, struct conf_backend *backend, const struct load_section *section,
                       const struct sockopt_set *inherited) {
        struct conf_server *server = region_grow(load->keep, backend->servers, backend->n_servers, sizeof(*server));
        struct place place;
        const char *text;

        if (!server)
                return -ENOMEM;
        backend->servers = server;
        for (size_t i = 0; i < backend->n_servers; i++)
                if (strcmp(server[i].name, section->title) == 0) {
                        load_twice(load, section, "server", &server[i].where);
                        break;
                }
        server += backend->n_servers;
        server->name = region_strdup(load->keep, section->title);
        if (!server->name)
                return -ENOMEM;
        backend->n_servers++;
        server->where = load_where(load, section->place);
        load_name(load, section, "server");

        server->sockopts = *inherited;
        load_defaults(load, schema_server, server);
        text = load_text(section, "address", &place);
        if (!text)
                load_missing(load, section, "server", "address", "address = \"ADDRESS\"");
        server->text = region_strdup(load->keep, text ? text : "");
        load_keys(load, section, schema_server, server, &server->addr);
        if (load_text(section, "source", &place))
                check_source(server, place, &load->mistakes);
        load_socket(load, section, &server->sockopts, &server->addr);
        return load->keep->failed ? -ENOMEM : 0;
}

static int load_backend(struct load *load, const struct load_section *section) {
        struct conf *conf = load->conf;
        struct conf_backend *backend = region_grow(load->keep, conf->backends, conf->n_backends, sizeof(*backend));
        struct sockopt_set socket = load->socket;
        int r = 0;

        if (!backend)
                return -ENOMEM;
        conf->backends = backend;
        for (size_t i = 0; i < conf->n_backends; i++)
                if (strcmp(backend[i].name, section->title) == 0) {
                        load_twice(load, section, "backend", &backend[i].where);
                        break;
                }
        backend += conf->n_backends;
        backend->name = region_strdup(load->keep, section->title);
        if (!backend->name)
                return -ENOMEM;
        conf->n_backends++;
        backend->where = load_where(load, section->place);
        load_name(load, section, "backend");

        load_defaults(load, schema_backend, backend);
        backend->timeouts = load->timeouts.server;
        load_keys(load, section, schema_backend, backend, NULL);
        load_inner(load, section, "timeouts", schema_server_timeouts, &backend->timeouts, NULL);
        load_socket(load, section, &socket, NULL);

        for (unsigned i = 0; r == 0 && i < load_count(section, "server"); i++) {
                const struct load_section server = load_sub(section, "server", i);

                r = load_server(load, backend, &server, &socket);
        }
        if (backend->n_servers == 0)
                load_missing(load, section, "backend", "server",
                             "one at least, as in server \"a\" { address = \"ADDRESS\" }");
        return r;
}

static void load_top(struct load *load, const struct load_section *top) {
        struct place place;

        load_keys(load, top, schema_top, load->conf, NULL);
        load_inner(load, top, "log", schema_log, load->conf, NULL);
        load_inner(load, top, "access-log", schema_access_log, load->conf, NULL);
        load_inner(load, top, "timeouts", schema_timeouts, &load->timeouts, NULL);
        load_socket(load, top, &load->socket, NULL);
        if (load_text(top, "max-connections", &place))
                load->conf->max_connections_where = load_where(load, place);
}

/* Calls fn for each section of that name in all files. */
static int load_each(struct load *load, const char *key, int (*fn)(struct load *, const struct load_section *)) {
        int r = 0;

        for (const struct source *source = load->sources.first; source; source = source->next) {
                const struct load_section top = { .source = source, .cfg = source->cfg };

                for (unsigned i = 0; r == 0 && source->cfg && i < load_count(&top, key); i++) {
                        const struct load_section section = load_sub(&top, key, i);

                        r = fn(load, &section);
                }
        }
        return r;
}

/* What others inherit or refer to comes first, wherever it is written. */
static int load_conf(struct load *load) {
        const struct source *first = load->sources.first;
        int r;

        load_defaults(load, schema_top, load->conf);
        load_defaults(load, schema_log, load->conf);
        load_defaults(load, schema_access_log, load->conf);
        load_defaults(load, schema_timeouts, &load->timeouts);
        load->timeouts.client.preface = 5000;
        load->timeouts.server.queue = 30000;
        load->timeouts.server.check = 2000;
        sockopt_defaults(&load->socket);
        for (const struct source *source = first; source; source = source->next) {
                const struct load_section top = { .source = source, .cfg = source->cfg };

                if (source->cfg)
                        load_top(load, &top);
        }
        r = load_each(load, "backend", load_backend);
        if (r == 0)
                r = load_each(load, "frontend", load_frontend);
        if (r < 0)
                return r;
        check_listeners(load->conf, load->listeners, &load->mistakes);
        if (load->conf->n_frontends == 0 && !load_dropped_anywhere(load, "frontend"))
                mistakes_add(&load->mistakes, (struct place) { 0, first->name, 1 },
                             "there is no frontend; allowed: one at least, as in frontend \"web\" { ... }");
        return load->scratch.failed || load->keep->failed ? -ENOMEM : 0;
}

/* path is read where text is NULL. */
static int load_any(struct conf **out, const char *path, const char *text, size_t len, FILE *errors) {
        struct load_owner *owner = calloc(1, sizeof(*owner));
        struct load load = { 0 };
        int r;

        *out = NULL;
        if (!owner)
                return -ENOMEM;
        load.mistakes.region = &load.scratch;
        load.keep = &owner->region;
        load.conf = &owner->conf;
        r = source_init(&load.sources, &load.scratch, &load.mistakes);
        if (r == 0)
                r = text ? source_read_text(&load.sources, path, text, len) : source_read(&load.sources, path);
        if (r == 0)
                r = load_conf(&load);
        if (r == 0 && load.mistakes.n > 0) {
                mistakes_write(&load.mistakes, errors);
                r = load.scratch.failed ? -ENOMEM : CONF_INVALID;
        }
        if (r == 0)
                *out = &owner->conf;
        else
                conf_free(&owner->conf);
        source_free(&load.sources);
        region_free(&load.scratch);
        return r;
}

int conf_load(struct conf **out, const char *path, FILE *errors) {
        return load_any(out, path, NULL, 0, errors);
}

int conf_load_text(struct conf **out, const char *name, const char *text, size_t len, FILE *errors) {
        return load_any(out, name, text, len, errors);
}

struct conf *conf_free(struct conf *conf) {
        struct load_owner *owner = (struct load_owner *)conf;

        if (owner) {
                region_free(&owner->region);
                free(owner);
        }
        return NULL;
}
