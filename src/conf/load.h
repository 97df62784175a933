/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_LOAD_H
#define SPLICED_CONF_LOAD_H

#include "conf/conf.h"
#include "conf/mistakes.h"
#include "conf/lookup.h"
#include "conf/region.h"
#include "conf/schema.h"
#include "conf/source.h"

/*
 * What the parts of a load share: load.c has the top level and what all
 * sections need, load_frontend.c and load_backend.c those two kinds of section.
 * One thread at a time, as libconfuse is.
 */

struct load {
        struct region scratch;          /* what only the load needs */
        struct mistakes mistakes;
        struct sources sources;
        struct region *keep;            /* what the config keeps */
        struct conf *conf;
        struct lookup frontends, backends;
        struct schema_timeouts timeouts;
        struct sockopt_set socket;
        struct place *listeners;        /* where each listener is written */
        size_t n_listeners;
        struct place admin[2];          /* where the admin socket and its http are; line 0: nowhere */
        const char *file, *file_kept;   /* the last file name that was copied */
};

/* One section, as libconfuse has it. */
struct load_section {
        const struct source *source;
        struct cfg_t *cfg;
        struct place place;
        const char *title;
};

/* A place as the config keeps it. */
struct conf_where load_where(struct load *load, struct place place);

/* The text of a key in a section and where it stands; NULL where it is not given. */
const char *load_text(const struct load_section *section, const char *key, struct place *place);

/* How many values a key has, or how many sections there are of that name. */
unsigned load_count(const struct load_section *section, const char *key);

/* The i-th section of that name in a section. */
struct load_section load_sub(const struct load_section *section, const char *key, unsigned i);

/*
 * Whether a statement was left out of the section that is, or may have been,
 * this key; once its keys are loaded, also whether the key's value was refused.
 */
int load_dropped(const struct load_section *section, const char *key);

/* The same for the top level of all files. */
int load_dropped_anywhere(const struct load *load, const char *key);

/* Puts the defaults of a table into target. */
void load_defaults(struct load *load, const struct schema_row *rows, void *target);

/* Puts the keys of a section into target.  addr: the address that they concern, NULL where there is none. */
void load_keys(struct load *load, const struct load_section *section, const struct schema_row *rows, void *target,
               const struct addr *addr);

/* The same for an untitled section inside of this one, where there is such. */
void load_inner(struct load *load, const struct load_section *section, const char *key,
                const struct schema_row *rows, void *target, const struct addr *addr);

/* Puts a section's own socket { } over what it inherits. */
void load_socket(struct load *load, const struct load_section *section, struct sockopt_set *set,
                 const struct addr *addr);

/* Reports a key that a section should have, unless it seems to be one that was left out. */
void load_missing(struct load *load, const struct load_section *section, const char *what, const char *key,
                  const char *allowed);

/*
 * Takes a section's title as its name: checks it and adds it to the names of
 * its kind with that number.  *first is the number of the one that has it:
 * another than its own where the name is taken, which load_twice() reports.
 * Returns the name, which the config keeps; NULL where memory ran out.
 */
const char *load_name(struct load *load, const struct load_section *section, const char *what, struct lookup *names,
                      uint32_t number, uint32_t *first);

/* Reports a section whose name another one at `first` has. */
void load_twice(struct load *load, const struct load_section *section, const char *what,
                const struct conf_where *first);

/* Reads a frontend { } or a backend { } and adds it to the config.  Return 0 or -ENOMEM. */
int load_frontend(struct load *load, const struct load_section *section);
int load_backend(struct load *load, const struct load_section *section);

#endif
