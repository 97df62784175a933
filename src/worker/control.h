/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_CONTROL_H
#define SPLICED_WORKER_CONTROL_H

#include <stdint.h>

#include "engine/arena.h"

/*
 * What keeper and worker tell each other: one record in the arena, and an
 * eventfd each way that says "look at it".  Single words, written whole.
 */

/* What the keeper wants; it only ever goes up for one worker. */
enum control_command {
        CONTROL_SERVE,
        CONTROL_LEAVE,          /* stop at a clean point and exit: a successor adopts everything */
        CONTROL_DRAIN,          /* close the listeners, let sessions end, until told to stop */
        CONTROL_STOP,           /* reset what is left and exit */
};

/* How far the worker is. */
enum control_state { CONTROL_STARTING, CONTROL_READY, CONTROL_DRAINED };

#define CONTROL_DESCRIPTORS 64

/* The only record of slab ARENA_CONTROL. */
struct control_record {
        uint32_t command;               /* enum control_command */
        uint32_t state;                 /* enum control_state */
        uint32_t generation;            /* of the worker: one more for each */
        uint32_t suspect;               /* the last worker died by a fault: whom it was serving is counted */
        uint32_t reopen;                /* counts requests to open log files again */
        uint32_t verbose;               /* -v given so many times */
        uint32_t clean;                 /* workers died before they were ready, again and again: adopt nothing */
        int32_t to_worker, to_keeper;   /* eventfds */
        int32_t config;                 /* memfd with the effective config in force */
        int32_t next_config;            /* the one that a reload tries, or -1 */
        int32_t keeper[CONTROL_DESCRIPTORS];    /* descriptors that are the keeper's; -1: none */
        int64_t beat_ms;                /* the worker's main thread */
        uint64_t adopted, reset;        /* sessions, over all adoptions */
        uint32_t last_adopted, last_reset;
        int64_t drain_until_ms;         /* when a drain that has begun ends; 0: none has, INT64_MAX: it waits for all */
        int32_t log_to, log_format, log_level;  /* of the config that a reload tries: the keeper's own log follows it */
        char log_path[1024];            /* "" where log_to names no file */
        char binary[1024];              /* absolute path of what an upgrade executes */
        int64_t started_ms;             /* CLOCK_MONOTONIC, of the first keeper */
        uint32_t swept;                 /* generation of the last worker that has closed what nobody owns */
        uint32_t sessions;              /* now, as the worker's main thread last saw it */
        char reload_why[256];           /* why the last reload was refused or failed; "": it was not */
};

/* The control record of an arena. */
static inline struct control_record *control_of(const struct arena *arena) {
        return arena_slab(arena, ARENA_CONTROL);
}

/* Writes to one of the eventfds.  Never blocks. */
void control_signal(int eventfd);

/* Resets one. */
void control_clear(int eventfd);

#endif
