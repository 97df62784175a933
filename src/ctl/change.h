/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_CHANGE_H
#define SPLICED_CTL_CHANGE_H

#include "ctl/call.h"

/*
 * What changes something in the daemon.  Each returns the exit status, with the reason on standard error.
 */

/* server, weight and address BACKEND/NAME VALUE: sets one field to a JSON value, which is taken. */
int change_server(struct call *call, const char *server, const char *field, json_t *value);

/* frontend NAME STATE. */
int change_frontend(struct call *call, const char *name, const char *state);

/* kill ID: one session. */
int change_kill(struct call *call, const char *id);

/* kill --server B/N | --frontend F | --source NET: `by` is "server", "frontend" or "source".  Prints how many. */
int change_kill_all(struct call *call, const char *by, const char *value);

/*
 * reload and upgrade: asks, and waits until the worker of the new generation serves.
 */
int change_generation(struct call *call, const char *what);

/* wait-ready: until the daemon serves and every checked server has had its first check, for timeout_ms at most. */
int change_wait_ready(struct call *call, long timeout_ms);

#endif
