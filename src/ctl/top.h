/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_TOP_H
#define SPLICED_CTL_TOP_H

#include "ctl/call.h"
#include "ctl/show.h"

/*
 * `top`: frontends, backends, servers and sessions, live, on a terminal (ncurses); where standard output is none, one
 * snapshot with the rates of a second.
 * Keys: arrows choose a line; d drain, r ready, m maint, p pause, k kill, each after a question; s sorts sessions
 * by bytes or age; q ends.
 */

/* Runs until the user ends it.  Returns the exit status. */
int top_run(struct call *call);

#endif
