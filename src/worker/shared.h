/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_SHARED_H
#define SPLICED_WORKER_SHARED_H

#include "session/env.h"
#include "worker/limits.h"

/* The arena that all workers share one after the other, and what all threads of one worker share. */

/*
 * Makes an empty arena with room for so many sessions and pipes; everything else has
 * fixed room.  *arena is the caller's.  Returns 0 or -errno.
 */
int shared_arena(struct arena *arena, const struct limits *limits);

/*
 * Fills *shared for a config over an arena: tables, slots, backends, free lists.  Loops are
 * inherited where the arena has them for the same number of threads (*inherited is set), else made anew.
 * Listeners must be open (slots_listen()).  All is borrowed.  Returns 0 or
 * -errno; shared_deinit() is fine in either case.
 */
int shared_init(struct env_shared *shared, struct arena *arena, const struct conf *conf, struct log *log,
                unsigned threads, uint32_t max_sessions, int *inherited);

/*
 * Registers the listening sockets of the config with every thread; one that is registered already stays so.
 * The sessions are in already; from here on a successor takes the pollers as they are.
 * Returns 0 or -errno.
 */
int shared_register(struct env_shared *shared);

/* Closes all listening sockets of frontends and removes the AF_UNIX paths that are ours.  Idempotent. */
void shared_unlisten(struct env_shared *shared);

/* Frees process memory; the arena and its descriptors stay.  Fine on a zeroed one. */
void shared_deinit(struct env_shared *shared);

/* Closes the descriptors of all loops: for the very end. */
void shared_close_loops(const struct arena *arena);

#endif
