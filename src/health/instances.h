/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_INSTANCES_H
#define SPLICED_HEALTH_INSTANCES_H

#include "health/names.h"
#include "session/env.h"

/*
 * The addresses of one named server as its backend has them: each is an instance, with a slot of its own.  A slot whose
 * address has gone keeps its sessions; it is given to another address once it has none.  One thread uses it.
 */

#define INSTANCES_MAX 256               /* slots for one name, those included that only old sessions have */

struct instance;

struct instances {
        struct env_shared *shared;
        struct backend *backend;
        const struct conf_server *conf;
        unsigned server;                /* its index in the backend's config */
        struct instance *list;          /* owned; the first is instance 0 */
        size_t n, room;
        int overridden;                 /* instance 0 has an address that was set at run time */
};

/* Instance 0 has that slot.  All is borrowed.  Returns 0 or -ENOMEM; instances_deinit() is fine in either case. */
int instances_init(struct instances *instances, struct env_shared *shared, struct backend *backend, unsigned server,
                   uint16_t slot);
void instances_deinit(struct instances *instances);

/* A former process has made that slot a further instance, and the backend has it.  Returns 0 or -ENOMEM. */
int instances_add(struct instances *instances, uint16_t slot);

/* Fills the set with the addresses that are in use; its count of failures stays. */
void instances_get(const struct instances *instances, struct names_set *set);

/*
 * Looks whether somebody has set an address at run time, or taken that back.  Returns 1 where that is so:
 * then the name is to be looked up.
 */
int instances_look(struct instances *instances);

/*
 * Makes the addresses of the set those in use, each with its weight.  New ones come before old ones go, sessions
 * that wait for a server get what became free, and a running session is left alone.  An address that was set at
 * run time is the only one, whatever the set has.
 * Returns how many found no slot.
 */
size_t instances_put(struct instances *instances, const struct names_set *set, int64_t now);

/*
 * Whether the name was ever looked up, as its text is now; and notes that it was: what the first look-up found
 * counts as having been there ever since, and need not start slowly.
 */
int instances_were_asked(const struct instances *instances);
void instances_asked(const struct instances *instances, int64_t now);

#endif
