/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_SHARED_H
#define SPLICED_WORKER_SHARED_H

#include "session/env.h"
#include "worker/limits.h"

/* Makes what all threads share: the arena and everything that hangs on it. */

/*
 * Fills *shared for a config: arena, slabs, backends, loops; and *arena, which is
 * the caller's to keep.  Listeners are not open yet.  conf and log are borrowed.
 * Returns 0 or -errno; shared_deinit() is fine in either case.
 */
int shared_init(struct env_shared *shared, struct arena *arena, const struct conf *conf, struct log *log,
                unsigned threads, const struct limits *limits);

/*
 * Opens every listening socket of the config and registers it with every
 * thread.  Each that fails is logged, with the reason and what to do.  Returns 0 or -errno of a failure.
 */
int shared_listen(struct env_shared *shared);

/* Closes the listening sockets and removes the AF_UNIX paths that are ours.  Idempotent. */
void shared_unlisten(struct env_shared *shared);

/* Frees and closes everything but what is borrowed.  Fine on a zeroed one. */
void shared_deinit(struct env_shared *shared);

#endif
