/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_SLOTS_H
#define SPLICED_WORKER_SLOTS_H

#include <stdio.h>

#include "session/env.h"

/*
 * Gives everything that a config names its slot in the arena: the one that had
 * the same name (a listener: the same address) before, or a free one.  A slot
 * that is in the config no longer stays for as long as a session names it.
 */

/*
 * Finds a listening socket that was inherited, by the name in its address.  Returns its descriptor, which stays
 * open and is nobody's here; or -errno with `why` (LISTENER_WHY bytes) filled with one sentence.
 */
struct slots_inherited {
        int (*find)(const void *arg, const char *name, char *why);
        const void *arg;
};

/*
 * Sees to it that every listener of the config is open and has a slot; those
 * that are open already are kept, the rest are opened now.  Those of the arena that the config
 * does without are marked as leaving.  Each that fails is logged with the reason and what to do, and then those
 * opened here are closed again: all or none.  Serves at start and at a reload, before anything stops.
 * `inherited` is asked for those that are open already elsewhere; NULL: there are none.
 * The reasons also go to errors, where that is not NULL, one line each.
 * Returns 0 or -errno of a failure; -ENOSPC: more listeners than there are slots.
 */
int slots_listen(const struct arena *arena, const struct conf *conf, const struct slots_inherited *inherited,
                 struct log *log, FILE *errors);

/*
 * Opens the admin socket where its path is the default and was not written, and logs a warning where that fails: the
 * daemon then does without.  After slots_listen(), which leaves it out; not in workers.
 */
void slots_listen_default(const struct arena *arena, const struct conf *conf, struct log *log);

/*
 * The slot of the listener that is open with that address for that use, or ARENA_NONE.  The search begins at *at, any
 * number, which is set to what comes after: who asks for those of a config in their order mostly finds each at once.
 */
uint32_t slots_listener(const struct arena *arena, const struct addr *addr, enum env_listener_use use, uint32_t *at);

/*
 * Gives listeners that stay what `next` says otherwise than `now`: backlog, mode, defer-accept and socket options
 * are set on the socket that is open; what cannot change so, and what fails, is logged.
 */
void slots_update(const struct arena *arena, const struct conf *now, const struct conf *next, struct log *log);

/* Closes the listeners that are marked as leaving. */
void slots_unlisten_leaving(const struct arena *arena);

/* Closes the listeners that a config does not have (NULL: all), and takes every mark off the others. */
void slots_unlisten_new(const struct arena *arena, const struct conf *kept);

/* Closes the listeners of frontends: for a drain, in which the admin is still talked to. */
void slots_unlisten_traffic(const struct arena *arena);

/* Undoes slots_listen() for a reload that is refused: closes what it opened, takes the marks off the rest. */
void slots_unlisten_pending(const struct arena *arena);

/*
 * Fills the tables of *shared (frontends, backends, servers, listeners) for
 * shared->conf over shared->arena.  Every listener that the config names
 * must have its slot.  Returns 0 or -errno; -ENOSPC: more names than slots.
 */
int slots_assign(struct env_shared *shared);

/* Frees what slots_assign() made. */
void slots_release(struct env_shared *shared);

/*
 * Frees slots that no config and no session has: by the counts of sessions in
 * `references` (by slot, for the listeners, frontends, backends and servers that sessions name).
 */
struct slots_references {
        uint32_t listeners[ENV_LISTENERS];
        uint32_t frontends[ENV_FRONTENDS];
        uint32_t backends[ENV_BACKENDS];
        uint32_t servers[ENV_SERVERS];
};
void slots_sweep(struct env_shared *shared, const struct slots_references *references);

#endif
