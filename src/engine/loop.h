/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ENGINE_LOOP_H
#define SPLICED_ENGINE_LOOP_H

#include <stdint.h>

#include "engine/poller.h"
#include "engine/wheel.h"

/*
 * The event loop of one thread.  A round:
 *   1. wait for events (not at all while something is ready, else until the next timer), written to the arena;
 *   2. handle each event of the batch;
 *   3. handle each node of the ready list as it was when the round began to
 *      handle it: what becomes ready meanwhile waits for the next round, so a
 *      round is bounded and nobody starves;
 *   4. handle the timers that are due.
 * Each of these handles LOOP_BATCH nodes at most, the others in the next rounds: thousands that are ready or due at
 * once, as after a new start, do not keep the events of the rest waiting.
 *
 * The loop knows nodes, by index: a node may be ready and may have a timer.
 * What a node is (a session, a listener) is the caller's business.
 */

#define LOOP_BATCH 64
#define LOOP_NONE UINT32_MAX

/* What the loop keeps in the arena: slab ARENA_THREADS.  Plain data. */
struct loop_record {
        int32_t poller;                 /* the epoll descriptor */
        int32_t wake;                   /* an eventfd that is registered in it */
        uint32_t current;               /* the node that is being handled, or LOOP_NONE */
        uint32_t settled;               /* the poller has everything: a successor may take it as it is */
        int64_t beat_ms;                /* when the last round began; atomic */
        /*
         * Written by the kernel.  An event's flags are cleared once it has been handled: what is not zero may
         * have been handed out and not done, whether or not the wait ever returned.
         */
        struct poller_event batch[LOOP_BATCH];
} __attribute__((aligned(64)));

/* Links of a node, derived state: an array of these in process memory, zeroed. */
struct loop_links {
        uint32_t next, prev;            /* in the ready list, as index + 1; 0: none */
        uint32_t ready;                 /* is in it */
};

struct loop;

struct loop_handlers {
        /* An event with the key that was registered. */
        void (*event)(void *owner, uint64_t key, uint32_t events);
        /* A node that loop_ready() named. */
        void (*ready)(void *owner, uint32_t node);
        /* A timer that is due; it is no longer armed. */
        void (*expire)(void *owner, uint32_t node);
        /* loop_wake() was called, perhaps several times. */
        void (*wake)(void *owner);
};

struct loop {
        struct loop_record *record;             /* in the arena */
        const struct loop_handlers *handlers;   /* borrowed */
        void *owner;
        struct loop_links *links;               /* borrowed, may be shared by loops whose nodes differ */
        struct wheel wheel;
        uint32_t first, last;                   /* the ready list, as index + 1 */
        uint32_t round_last;                    /* where the current round over it ends */
        int64_t now_ms;                         /* taken once a round */
        int alarm;                              /* owned: a timerfd that ends a wait; -1: waits have a timeout */
        int64_t alarm_ms;                       /* when it goes off, on CLOCK_MONOTONIC; INT64_MAX: it does not */
        int stopped;
};

/* The key of the wake descriptor: never used for anything else. */
#define LOOP_WAKE_KEY UINT64_MAX
#define LOOP_ALARM_KEY (UINT64_MAX - 1) /* nor is that of the alarm */

/* Makes the poller and the wake descriptor in *record.  Returns 0 or -errno. */
int loop_record_init(struct loop_record *record);
void loop_record_deinit(struct loop_record *record);

/* Prepares a loop over an initialised record, without an alarm.  Never fails. */
void loop_init(struct loop *loop, struct loop_record *record, const struct loop_handlers *handlers, void *owner,
               struct loop_links *links, struct wheel_node *timers);

/*
 * Has a timerfd end waits from now on.  With a timeout epoll_wait() sets up a timer of its own each time that it has
 * to wait and takes it down again, though most waits end by an event: that costs about 1 µs a wait.  The alarm
 * is set anew only for what is due before it goes off.  To be called before the first round.
 * Returns 0 or -errno (EMFILE, ENFILE, ENOMEM, ENOSPC); without it the loop goes on to wait with a timeout.
 */
int loop_alarm(struct loop *loop);

/* Closes the alarm, if there is one. */
void loop_deinit(struct loop *loop);

/* Runs rounds until loop_stop().  Returns 0, or -errno where waiting failed. */
int loop_run(struct loop *loop);

/*
 * Handles what a former process was told and may not have done: every event in the record's batch that is not
 * cleared.  One that was done, or that is out of date, does no harm.  To be called before the first round.
 */
void loop_replay(struct loop *loop);

/* One round; waits for at most max_wait_ms (-1: until something happens).  For tests and loop_run().  0 or -errno. */
int loop_round(struct loop *loop, int max_wait_ms);

/* Makes loop_run() return after this round.  Called in the loop's thread. */
void loop_stop(struct loop *loop);

/* Makes handlers->wake run in the loop's thread.  May be called in any thread and in a signal handler. */
void loop_wake(const struct loop_record *record);

/* Puts a node at the end of the ready list (fine where it is in it), or takes it out. */
void loop_ready(struct loop *loop, uint32_t node);
void loop_unready(struct loop *loop, uint32_t node);

#endif
