/* SPDX-License-Identifier: ISC */
#include "conf/load.h"

#include <confuse.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/check.h"
#include "conf/list.h"
#include "conf/value.h"

/* A config and the memory of all that it points to. */
struct load_owner {
        struct conf conf;               /* first: conf_free() gets its address */
        struct region region;
};

struct conf_where load_where(struct load *load, struct place place) {
        if (load->file != place.name) {
                load->file = place.name;
                load->file_kept = region_strdup(load->keep, place.name);
        }
        return (struct conf_where) { .file = load->file_kept, .line = place.line };
}

const char *load_text(const struct load_section *section, const char *key, struct place *place) {
        if (cfg_size(section->cfg, key) == 0)
                return NULL;
        return source_value(section->source, cfg_getnstr(section->cfg, key, 0), place);
}

unsigned load_count(const struct load_section *section, const char *key) {
        return cfg_size(section->cfg, key);
}

struct load_section load_sub(const struct load_section *section, const char *key, unsigned i) {
        struct load_section sub = { .source = section->source, .cfg = cfg_getnsec(section->cfg, key, i) };

        if (cfg_title(sub.cfg))
                sub.title = source_value(sub.source, cfg_title(sub.cfg), &sub.place);
        return sub;
}

int load_dropped(const struct load_section *section, const char *key) {
        for (unsigned i = 0; i < load_count(section, OUTLINE_DROPPED); i++) {
                const char *dropped = cfg_getnstr(section->cfg, OUTLINE_DROPPED, i);

                if (strcmp(dropped, key) == 0 || strcmp(dropped, "*") == 0)
                        return 1;
        }
        return 0;
}

int load_dropped_anywhere(const struct load *load, const char *key) {
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

void load_defaults(struct load *load, const struct schema_row *rows, void *target) {
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

/*
 * What became of a value: one that its key cannot have (-EINVAL) is reported,
 * and the key then counts as left out, for checks of what goes together.
 */
static void load_outcome(struct load *load, const struct load_section *section, const char *key, const char *text,
                         struct place place, const char *why, int r) {
        if (r == -ENOMEM)
                load->keep->failed = 1;
        if (r != -EINVAL)
                return;
        mistakes_add(&load->mistakes, place, "%s: '%s' %s", key, mistakes_word(&load->mistakes, text), why);
        cfg_addlist(section->cfg, OUTLINE_DROPPED, 1, key);
}

/* Puts a list into target. */
static void load_list(struct load *load, const struct load_section *section, const struct schema_row *row,
                      void *target) {
        cfg_opt_t *option = cfg_getopt(section->cfg, row->key);
        unsigned n = cfg_opt_size(option);
        char why[VALUE_WHY];
        struct place place;

        /* The first value says where the list is. */
        source_value(section->source, cfg_opt_getnstr(option, 0), &place);
        if (n == 1 && !row->zero && !load_dropped(section, row->key))
                mistakes_add(&load->mistakes, place, "%s: '{ }' is empty; allowed: one value at least, as in { %s }",
                             row->key, list_example(row));
        for (unsigned i = 1; i < n; i++) {
                const char *text = source_value(section->source, cfg_opt_getnstr(option, i), &place);

                if (row->zero && strcmp(text, row->zero) == 0) {
                        if (n == 2)
                                return;
                        mistakes_add(&load->mistakes, place, "%s: '%s' stands beside other values; allowed: %s alone",
                                     row->key, text, text);
                } else {
                        load_outcome(load, section, row->key, text, place, why,
                                     list_parse(row, text, target, load->keep, why));
                }
        }
        list_given(row, target);
}

void load_keys(struct load *load, const struct load_section *section, const struct schema_row *rows,
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
                if (rows->flags & SCHEMA_LIST) {
                        load_list(load, section, rows, target);
                        continue;
                }
                load_outcome(load, section, rows->key, text, place, why,
                             value_parse(rows, text, target, load->keep, why));
        }
}

void load_inner(struct load *load, const struct load_section *section, const char *key,
                const struct schema_row *rows, void *target, const struct addr *addr) {
        if (load_count(section, key) > 0) {
                const struct load_section inner = load_sub(section, key, 0);

                load_keys(load, &inner, rows, target, addr);
        }
}

void load_socket(struct load *load, const struct load_section *section, struct sockopt_set *set,
                 const struct addr *addr) {
        struct sockopt_set own = { 0 };

        load_inner(load, section, "socket", schema_socket, &own, addr);
        sockopt_overlay(set, &own);
        /* What is inherited and means nothing here is left out in silence. */
        for (unsigned id = 0; addr && addr->kind == ADDR_UNIX && id < SOCKOPT_N; id++)
                if (!sockopt_spec(id)->both_domains)
                        set->set &= ~(UINT32_C(1) << id);
}

void load_missing(struct load *load, const struct load_section *section, const char *what, const char *key,
                  const char *allowed) {
        if (!load_dropped(section, key))
                mistakes_add(&load->mistakes, section->place, "%s '%s' has no %s; allowed: %s", what,
                             mistakes_word(&load->mistakes, section->title), key, allowed);
}

const char *load_name(struct load *load, const struct load_section *section, const char *what, struct lookup *names,
                      uint32_t number, uint32_t *first) {
        const char *name = region_strdup(load->keep, section->title);
        char why[VALUE_WHY];
        int r = name ? lookup_add(names, &load->scratch, name, number) : -ENOMEM;

        if (value_check_name(section->title, why) < 0)
                mistakes_add(&load->mistakes, section->place, "%s: '%s' %s", what,
                             mistakes_word(&load->mistakes, section->title), why);
        *first = number;
        if (r == -EEXIST)
                lookup_find(names, name, first);
        return r == -ENOMEM ? NULL : name;
}

void load_twice(struct load *load, const struct load_section *section, const char *what,
                const struct conf_where *first) {
        mistakes_add(&load->mistakes, section->place, "%s '%s' is defined twice; allowed: once, and it is at %s:%u",
                     what, mistakes_word(&load->mistakes, section->title),
                     mistakes_word(&load->mistakes, first->file), first->line);
}

/* What its keys add up to. */
static void load_admin(struct load *load, const struct load_section *top) {
        static const char *const of_socket[] = { "mode", "group" };
        struct conf_admin *admin = &load->conf->admin;
        struct load_section section;
        struct place place;

        if (load_count(top, "admin") == 0)
                return;
        section = load_sub(top, "admin", 0);
        load_keys(load, &section, schema_admin, load->conf, NULL);
        for (size_t i = 0; !admin->socket.text && i < sizeof(of_socket) / sizeof(of_socket[0]); i++)
                if (load_text(&section, of_socket[i], &place))
                        mistakes_add(&load->mistakes, place, "'%s' has no effect, since socket is off; allowed: with a "
                                     "socket", of_socket[i]);
        admin->given = load_text(&section, "socket", &load->admin[0]) && admin->socket.text;
        load_text(&section, "http", &load->admin[1]);
}

static void load_top(struct load *load, const struct load_section *top) {
        struct place place;

        load_keys(load, top, schema_top, load->conf, NULL);
        load_inner(load, top, "log", schema_log, load->conf, NULL);
        load_inner(load, top, "access-log", schema_access_log, load->conf, NULL);
        load_admin(load, top);
        load_inner(load, top, "resolver", schema_resolver, &load->conf->resolver, NULL);
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
        load_defaults(load, schema_admin, load->conf);
        load_defaults(load, schema_resolver, &load->conf->resolver);
        load_defaults(load, schema_timeouts, &load->timeouts);
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
        check_admin(load->conf, load->admin, load->listeners, &load->mistakes);
        /* So that whoever serves may also remove it, and a process of the same user may talk to it. */
        load->conf->admin.socket.owner = load->conf->user;
        load->conf->admin.http.mode = 0660;
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
