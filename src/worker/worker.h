/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_WORKER_H
#define SPLICED_WORKER_WORKER_H

#include <stdatomic.h>

#include "base/log.h"
#include "conf/conf.h"
#include "engine/arena.h"

/*
 * The worker: serves a config with its threads until it is told to stop or to
 * leave.  It adopts what it finds in the arena.
 *
 * With a keeper it takes its orders from the arena's control record.  Alone it takes
 * signals in the calling thread: SIGTERM drains, a second one or SIGINT
 * stops at once, SIGUSR1 opens log files again; SIGHUP and SIGUSR2 are refused with a
 * line in the log, since one process has nobody to hand its sessions to.
 */

struct slots_inherited;

/* What the admin thread may know of its worker. */
struct worker_view {
        struct env_shared *shared;
        struct control_record *control;
        const _Atomic int *phase;               /* enum thread_phase */
        struct log *log;
        uint64_t log_dropped;                   /* by workers before this one */
        int alone;
};

/* Who serves the admin's listeners: src/admin, which stands above this folder. */
struct worker_admin {
        /* Starts it, once the worker is ready.  Returns 0 with *admin set, or -errno. */
        int (*start)(void **admin, const struct worker_view *view);
        /* The phase has changed, or the keeper has news.  Does not block. */
        void (*news)(void *admin);
        /* When it was last at work, on CLOCK_MONOTONIC in ms. */
        int64_t (*beat)(void *admin);
        /*
         * Ends it: what is answered goes out, and nothing is changed any more.  leaving: it is waited for a moment,
         * the process ends anyway, and nothing is freed.
         */
        void (*stop)(void *admin, int leaving);
};

struct worker_job {
        const struct conf *conf;
        struct log *log;
        struct arena *arena;            /* its listeners are open: slots_listen() */
        const struct slots_inherited *inherited;        /* for listeners that a former config had; may be NULL */
        const struct worker_admin *admin;       /* NULL: nobody */
        int alone;                      /* there is no keeper */
        /* Called once, when everything runs.  Returns 0, or -errno to give up. */
        int (*ready)(void *arg);
        /* Alone, and not NULL: called about once a second by the main thread, and whether it drains. */
        void (*beat)(void *arg, int draining);
        void *arg;
};

/*
 * Runs to the end.  Returns 0 after a stop or a leave that was asked for, or -errno
 * where the start or an event loop failed; the reason is in the log then.
 * Listeners and whatever else the arena owns stay open.
 */
int worker_run(const struct worker_job *job);

/*
 * Works out how many threads and sessions a config gets under the descriptor limit in
 * force, which is raised as far as it goes.  `listeners` are counted in.  Returns 0,
 * or -EMFILE with the reason in the log.
 */
struct limits;
int worker_limits(const struct conf *conf, struct log *log, unsigned *threads, struct limits *limits);

#endif
