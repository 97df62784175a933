/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_UPGRADE_H
#define SPLICED_KEEPER_UPGRADE_H

#include "keeper/keeper.h"

/*
 * Upgrade: the binary at the path that this one was started from is asked
 * first whether it can take over (the arena's layout, the config); then the worker leaves, and the
 * keeper executes it in place: same process, same descriptors, same arena.
 */

/* Options between two binaries, for main(): not for users. */
#define UPGRADE_CHECK_OPTION "check-upgrade"    /* ARENA,CONFIG: descriptors; exit status 0: can take over */
#define UPGRADE_RESUME_OPTION "resume"          /* ARENA */

/* Starts the helper that asks.  During a change it is remembered, and done after. */
void upgrade_begin(struct keeper *keeper);

/* The helper has ended. */
void upgrade_checked(struct keeper *keeper, int status);

/* The worker has left: executes the new binary.  Returns only where that failed, which is in the log then. */
void upgrade_execute(struct keeper *keeper);

/* In the new binary: whether it can go on with that arena and config.  Returns the exit status; prints why not. */
int upgrade_can(const char *descriptors);

#endif
