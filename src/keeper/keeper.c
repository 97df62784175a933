/* SPDX-License-Identifier: ISC */
#include "keeper/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "keeper/background.h"
#include "keeper/pidfile.h"
#include "worker/worker.h"

struct keeper {
        struct conf *conf;
        struct log *log;
        int report;             /* of background_enter(), -1: none */
        int has_pid_file;
};

/* The worker accepts: whoever waits for that may know. */
static int keeper_ready(void *arg) {
        struct keeper *keeper = arg;
        const char *path = keeper->conf->pid_file;
        int r;

        if (path) {
                r = pidfile_write(path);
                if (r < 0) {
                        log_error(keeper->log, LOG_NO_CONTEXT, "cannot write the pid file %s: %s", path, strerror(-r));
                        return r;
                }
                keeper->has_pid_file = 1;
        }
        background_report(&keeper->report, KEEPER_OK);
        return 0;
}

static enum log_level keeper_level(const struct conf *conf, unsigned verbose) {
        unsigned level = (unsigned)conf->log_level + verbose;

        return level > LOG_LEVEL_DEBUG ? LOG_LEVEL_DEBUG : (enum log_level)level;
}

enum keeper_status keeper_run(struct conf *conf, const struct keeper_options *options) {
        struct keeper keeper = { .conf = conf, .report = -1 };
        struct worker_hooks hooks = { .ready = keeper_ready, .arg = &keeper };
        enum keeper_status status = KEEPER_FAILURE;
        const char *failed = NULL;
        int r, stuck = 0;

        if (options->background) {
                r = background_enter(&keeper.report, KEEPER_FAILURE);
                if (r < 0) {
                        fprintf(stderr, "spliced: cannot go into the background: %s\n", strerror(-r));
                        goto out;
                }
        }
        r = log_new(&keeper.log, &conf->log, keeper_level(conf, options->verbose), &conf->access_log, &failed);
        if (r < 0) {
                fprintf(stderr, "spliced: cannot open the log%s%s: %s\n", failed ? " " : "", failed ? failed : "",
                        strerror(-r));
                goto out;
        }
        r = worker_run(conf, keeper.log, &hooks, &stuck);
        if (keeper.has_pid_file)
                pidfile_remove(conf->pid_file);
        /* Where the log goes elsewhere, whoever started us by hand still learns that it failed. */
        if (r < 0 && conf->log.to != LOG_TO_STDERR)
                fprintf(stderr, "spliced: failed: %s; the log tells more\n", strerror(-r));
        if (r >= 0)
                status = KEEPER_OK;
out:
        background_report(&keeper.report, status);
        if (stuck)
                return status;
        log_free(keeper.log);
        conf_free(conf);
        return status;
}
