/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_KEEPER_H
#define SPLICED_KEEPER_KEEPER_H

#include "conf/conf.h"

/* The life of the daemon around its worker: background, log, pid file. */

struct keeper_options {
        int background;         /* detach from the terminal once everything is ready */
        unsigned verbose;       /* log levels more than the config says */
};

/* Exit statuses of spliced(8). */
enum keeper_status { KEEPER_OK = 0, KEEPER_USAGE = 1, KEEPER_FAILURE = 2 };

/*
 * Serves conf in this process until it is told to stop.  With background it
 * returns in the first process once the daemon is ready or has failed.
 * Returns the exit status.  Frees conf.
 */
enum keeper_status keeper_run(struct conf *conf, const struct keeper_options *options);

#endif
