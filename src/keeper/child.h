/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_CHILD_H
#define SPLICED_KEEPER_CHILD_H

#include "base/log.h"
#include "conf/conf.h"
#include "engine/arena.h"
#include "worker/sandbox_calls.h"
#include "worker/slots.h"

/* What the keeper's children do. */

struct child_job {
        struct arena *arena;
        struct conf *conf;              /* the config in force, where the keeper has it in memory; or NULL */
        const struct sandbox_calls *calls;
        const struct slots_inherited *inherited;
        unsigned verbose;
};

/*
 * The worker process: closes what nobody owns, loads the config that the arena's control record names unless it is at
 * hand, opens its own log, closes the sandbox around itself and serves.  Does not return.
 */
void child_worker(const struct child_job *job) __attribute__((noreturn));

/* Loads the text that a config memfd holds.  Returns as conf_load_text(), or -errno. */
int child_load(struct conf **out, int memfd, const char *name, FILE *errors);

/* The effective config as a new memfd, the caller's.  Returns it or -errno. */
int child_config(const struct conf *conf);

/* The log level of a config, `verbose` steps further. */
enum log_level child_log_level(const struct conf *conf, unsigned verbose);

#endif
