/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_RELOAD_H
#define SPLICED_KEEPER_RELOAD_H

#include "keeper/keeper.h"

/*
 * Reload: a helper process reads and checks the config, binds its new listeners and
 * writes the effective config to a memfd.  Only then does the worker leave, and the next one
 * comes up with the new config.
 */

/* Starts the helper.  A second reload meanwhile is remembered and done once after. */
void reload_begin(struct keeper *keeper);

/* The helper has ended.  Goes on, or undoes what it did. */
void reload_checked(struct keeper *keeper, int status);

/* The worker has left: puts the new config in force for the next. */
void reload_switch(struct keeper *keeper);

/* The worker with the new config is ready; or it died before, and the former config comes back. */
void reload_done(struct keeper *keeper);
void reload_failed(struct keeper *keeper);

/* The helper is gone: undoes what it has opened. */
void reload_undo(struct keeper *keeper);

#endif
