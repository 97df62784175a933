/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_CONFINE_H
#define SPLICED_KEEPER_CONFINE_H

#include "base/log.h"
#include "conf/conf.h"
#include "engine/arena.h"
#include "keeper/privilege.h"
#include "worker/sandbox.h"

/*
 * What the config's `user`, `group` and `sandbox` come down to for the processes of this program.
 * For a process with one thread.
 */

/* Looks up user and group; prints what is wrong.  Before anything else: it may block.  Returns 0 or -errno. */
int confine_lookup(struct privilege *privilege, const struct conf *conf);

/*
 * Makes the log files that are not there yet and gives them to the user to come, who has to open them again by
 * name.  One that cannot be made is left to whoever opens it.
 */
void confine_make_logs(const struct privilege *privilege, const struct conf *conf);

/*
 * Gives up privileges, and then makes sure that the log files can be opened again.  Returns 0, or -errno with the
 * reason in the log and, where that goes elsewhere, on stderr.
 */
int confine_drop(const struct privilege *privilege, const struct conf *conf, struct log *log);

/*
 * Closes the sandbox around this process, as far as the config wants one, with what the config and the listeners in
 * the arena need; one line in the log says what is in force.  `calls` were made before, or are empty.
 * `alone`: this process also removes the pid file.  Returns 0, or -errno with the reason in the log.
 */
int confine_enter(const struct conf *conf, const struct arena *arena, const struct sandbox_calls *calls, int alone,
                  struct log *log);

/* Whether two configs name the same user and group: only a restart can change them. */
int confine_same_identity(const struct conf *a, const struct conf *b);

#endif
