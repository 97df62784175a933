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
#define CONTROL_TEXT 8192

/* What the worker may ask the keeper for, where somebody asks it to (src/admin). */
enum control_kind { CONTROL_RELOAD, CONTROL_UPGRADE, CONTROL_KINDS };

/*
 * Requests are numbered.  One that comes while a change is under way is taken up after it; all that have come by then
 * are answered at once.
 */
struct control_request {
        uint32_t asked;                 /* the worker's: the last one */
        uint32_t taken;                 /* the keeper's: those up to here are under way */
        uint32_t answered;              /* the keeper's: those up to here are answered, and that is how: */
        uint32_t generation;            /* the worker that will have changed; 0: refused, see the outcome's text */
};

/* How the last change ended.  control_note() writes it, one process at a time; workers read it by control_outcome(). */
struct control_outcome {
        uint32_t version;               /* odd while it is written */
        int32_t ok;
        int64_t wall_ms;                /* 0: there was none */
        char text[CONTROL_TEXT];        /* what is wrong, one line for each; "": nothing */
};

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
        uint32_t trying;                /* the worker that starts has a new config: once ready, the reload is done */
        char reload_text[CONTROL_TEXT]; /* the same, all there is to say, while it is gathered */
        struct control_request requests[CONTROL_KINDS];
        struct control_outcome outcomes[CONTROL_KINDS];
        uint64_t log_dropped;           /* by workers, of their logs: as of about a second ago */
};

/* The control record of an arena. */
static inline struct control_record *control_of(const struct arena *arena) {
        return arena_slab(arena, ARENA_CONTROL);
}

/* Writes to one of the eventfds.  Never blocks. */
void control_signal(int eventfd);

/* Resets one. */
void control_clear(int eventfd);

/* In the worker: asks the keeper for a change.  Returns the request's number. */
uint32_t control_ask(struct control_record *control, enum control_kind kind);

/* In the worker: whether that request is answered; then *generation is set. */
int control_answered(const struct control_record *control, enum control_kind kind, uint32_t number,
                     uint32_t *generation);

/* In the keeper: answers all requests that were taken up.  generation as above. */
void control_answer(struct control_record *control, enum control_kind kind, uint32_t generation);

/* In the keeper, or in the worker that a reload's success is up to: notes how a change ended. */
void control_note(struct control_record *control, enum control_kind kind, int ok, const char *text);

/* Copies how the last change of that kind ended, whoever writes meanwhile. */
void control_outcome(struct control_record *control, enum control_kind kind, struct control_outcome *outcome);

#endif
