/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_ADOPT_H
#define SPLICED_WORKER_ADOPT_H

#include "session/env.h"

/*
 * Adoption: a new worker takes over what the last one left in the arena.
 * Everything here runs before the threads do.
 */

struct adopt_report {
        uint32_t adopted;       /* sessions that go on */
        uint32_t reset;         /* that were caught in a critical window, or whose record made no sense */
};

/*
 * Closes every descriptor that neither the arena nor the keeper owns: what
 * the last worker had for itself, and connections that it accepted but never recorded.
 * To be called while the keeper waits and before anything is opened.
 */
void adopt_close_unowned(const struct arena *arena);

/* Lists the open descriptors, above the standard streams, that the arena does not own.  Returns 0 or -errno. */
int adopt_list_unowned(const struct arena *arena, int32_t *list, size_t size);

/* Keeps what the arena and the keeper own across execve (keep = 1), or not, as usual.  Returns 0 or -errno. */
int adopt_keep_on_exec(const struct arena *arena, int keep);

/* Starts clean: resets every session and frees every pipe of the arena. */
void adopt_nothing(const struct arena *arena);

/*
 * Takes the sessions over: validates each record, resets those that cannot go
 * on, counts, rebuilds free lists and timers, and puts on the ready list what may have work.
 * envs are one for each thread of shared; with inherited = 0 every
 * socket is registered anew, and sessions are spread over the threads.
 */
void adopt_sessions(struct env_shared *shared, struct env **envs, int inherited, struct adopt_report *report);

#endif
