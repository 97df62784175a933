/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_SCRIPT_RIG_H
#define TESTS_UNIT_SCRIPT_RIG_H

#include <stdint.h>

#include "session/env.h"

/* One event-loop thread without the thread: the test drives it, round by round, under a virtual clock. */

#define RIG_START_MS 1000000    /* where the virtual clock begins */

struct rig {
        struct conf *conf;
        struct log *log;
        int log_fd;             /* a memory file: messages and access lines */
        char log_path[64];
        struct arena arena;
        struct env_shared shared;
        struct env *env;
        int descriptors;        /* open ones before the rig was made */
        char why[160];          /* what rig_look() found */
        unsigned deaths;        /* in rig_round(), as script.die_nth says */
        uint32_t reset;         /* sessions that were reset in the adoptions after these */
        void (*between)(void *arg);     /* between a death and what follows, if not NULL */
        void *between_arg;
};

/* Reads the config and opens the log.  What the config says may be changed after that: addresses, say. */
void rig_load(struct rig *rig, const char *config);

/* An abstract AF_UNIX name that nobody else has. */
void rig_name(struct addr *addr);

/* Makes the arena and the loop, for so many sessions and pipes, and listens. */
void rig_start(struct rig *rig, uint32_t sessions, uint32_t pipes);

/*
 * One round, which does not wait.  Returns what loop_round() does.  Where the process dies in it (script.die_nth), what
 * it had in its memory is gone, and another adopts: all in the round.
 */
int rig_round(struct rig *rig);

/* Moves the clock to the nearest timer, by at most max_ms.  Returns 0 where there is none. */
int rig_next_timer(struct rig *rig, int64_t max_ms);

/* Whether a session record is in a state that holds between two rounds.  NULL, or what is wrong. */
const char *rig_look(struct rig *rig);

/* Whether everything was given back that sessions had taken.  For when no session is left.  NULL, or what is wrong. */
const char *rig_look_empty(struct rig *rig);

/* The log: messages and access lines.  To be freed. */
char *rig_log(struct rig *rig);

/* Whether the text is in the log. */
int rig_logged(struct rig *rig, const char *text);

/* Resets what is left, frees and closes all.  NULL; or what did not come back: records, pipes, descriptors. */
const char *rig_stop(struct rig *rig);

/* Open descriptors of this process. */
int rig_descriptors(void);

#endif
