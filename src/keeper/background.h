/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_BACKGROUND_H
#define SPLICED_KEEPER_BACKGROUND_H

/*
 * Going into the background without lying about it: the process that was
 * started waits until the daemon is ready or has failed, and exits with its status.
 */

/*
 * Splits off the daemon.  Returns in the daemon with *report set, a
 * descriptor for background_report(); the first process does not return but exits
 * with what is reported, or with `failure` where the daemon ends without a
 * word.  Returns 0 or -errno.
 */
int background_enter(int *report, int failure);

/* Reports a status, closes *report and, where the status is 0, leaves the terminal's streams.  -1: nothing to do. */
void background_report(int *report, int status);

#endif
