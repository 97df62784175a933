/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_WORKER_H
#define SPLICED_WORKER_WORKER_H

#include "base/log.h"
#include "conf/conf.h"

/*
 * The worker: serves a config with its threads until it is told to stop.
 *
 * Signals, handled in the calling thread: SIGTERM drains, a second one or
 * SIGINT stops at once, SIGUSR1 opens log files again.  SIGHUP and SIGUSR2 are
 * refused with a line in the log: one process has nobody to hand its sessions to.
 */

struct worker_hooks {
        /* Called once, when every listener accepts.  Returns 0, or -errno to give up. */
        int (*ready)(void *arg);
        void *arg;
};

/*
 * Runs to the end.  Returns 0 after a stop that was asked for, or -errno
 * where the start or an event loop failed; the reason is in the log then.
 * *stuck is set where a thread of the system's resolver does not return: conf and log must not be freed then.
 */
int worker_run(const struct conf *conf, struct log *log, const struct worker_hooks *hooks, int *stuck);

#endif
