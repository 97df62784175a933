/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_KEEPER_H
#define SPLICED_KEEPER_KEEPER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "conf/conf.h"
#include "engine/arena.h"
#include "keeper/service.h"
#include "worker/control.h"
#include "worker/sandbox_calls.h"

/*
 * The keeper: the main process, with one thread.  It holds the arena and, as
 * it shares the worker's table of descriptors, every socket; it never touches traffic.  It starts workers one after the
 * other, never two at once, watches them, has configs checked by a helper, and executes a new binary in place.
 *
 *                worker ready           SIGHUP: helper says yes
 *   STARTING ────────────────► SERVING ────────────────► LEAVING
 *      ▲  ▲                      │                          │ worker left: the new config,
 *      │  └─── worker died ──────┘                          │ or for SIGUSR2 the new binary by execve
 *      └────────────────────────────────────────────────────┘
 */

struct keeper_options {
        const char *path;       /* of the config, as given */
        char *const *argv;      /* of main(): an upgrade passes them on */
        int background;         /* detach from the terminal once everything is ready */
        int alone;              /* --no-keeper */
        unsigned verbose;       /* log levels more than the config says */
};

/* Exit statuses of spliced(8). */
enum keeper_status { KEEPER_OK = 0, KEEPER_USAGE = 1, KEEPER_FAILURE = 2 };

/* What the keeper is about, besides keeping a worker alive. */
enum keeper_change {
        KEEPER_NO_CHANGE,
        KEEPER_CHECK_CONFIG,    /* a helper reads and checks a config, and binds its new listeners */
        KEEPER_CHECK_BINARY,    /* a helper is the new binary, asked whether it can take over */
        KEEPER_LEAVE_CONFIG,    /* the worker leaves, for the new config */
        KEEPER_LEAVE_BINARY,    /* the worker leaves, for the new binary */
        KEEPER_TRY_CONFIG,      /* a worker starts with the new config; the former is kept until it is ready */
};

struct keeper {
        const struct keeper_options *options;
        struct arena arena;
        struct control_record *control; /* in the arena */
        struct service service;         /* the service manager */
        struct sandbox_calls calls;     /* for all workers: making them takes some ms */
        struct log *log;
        struct conf *conf;              /* what this binary began with; it is in force until a reload */
        int conf_stale;                 /* it is not any more */
        char *log_path;                 /* of the file that log writes to where a reload named it; owned */
        char *pid_file;                 /* NULL: none; owned */
        int has_pid_file;
        int report;                     /* of background_enter(), -1: none */
        int signals;                    /* a signalfd */
        int binary;                     /* the binary that was asked, kept open to be executed; -1: none */
        int former;                     /* memfd of the former config during KEEPER_TRY_CONFIG; -1: none */
        pid_t worker, helper;           /* 0: none */
        enum keeper_change change;
        int64_t change_until_ms;        /* when the present step of a change counts as failed */
        int64_t start_ms;               /* when the next worker is to be started; 0: none is waiting */
        int64_t begun_ms;               /* when the present worker was started */
        int64_t aborted_ms;             /* when it was told to abort because it stood still; 0: it was not */
        int64_t looked_ms;              /* when it was looked at last */
        int64_t awake_ms;               /* when this process came to run again after it did not for a while */
        unsigned failures;              /* workers in a row that died before they were ready */
        int was_ready;                  /* a worker has been ready, so that the start succeeded */
        unsigned changes;               /* reloads and upgrades that were begun */
        int reload_again, upgrade_again; /* asked for during a change, or while no worker was ready */
        uint32_t asked[CONTROL_KINDS];  /* requests of the worker's that were seen */
        int reopen_again;               /* opening the logs again was asked for while no worker was ready */
        int stopping;                   /* 1: draining, 2: at once */
        int done;                       /* leave the loop */
        enum keeper_status status;
};

/* Serves conf until told to stop.  Returns the exit status; in background in the daemon alone.  Takes conf over. */
enum keeper_status keeper_run(struct conf *conf, const struct keeper_options *options);

/* Goes on in a new binary with the arena of the old one (upgrade.h).  Returns the exit status. */
enum keeper_status keeper_resume(int arena_fd, const struct keeper_options *options);

/* For reload.c and upgrade.c: notes a descriptor as the keeper's, so that no worker closes it, or no longer. */
void keeper_own(struct keeper *keeper, int fd);
void keeper_disown(struct keeper *keeper, int fd);

/*
 * Makes the keeper's log anew, as a reload has left it in the control record.
 * Where that fails the log stays as it was, and says so.
 */
void keeper_follow_log(struct keeper *keeper);

/* Tells the worker a command of control.h. */
void keeper_command(struct keeper *keeper, enum control_command command);

#endif
