/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_THREAD_H
#define SPLICED_WORKER_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "session/env.h"

/*
 * The event-loop threads.  The main thread steers them by a phase: it sets the phase
 * and wakes them all.
 */

enum thread_phase {
        THREAD_SERVE,
        THREAD_DRAIN,           /* listeners close, sessions go on */
        THREAD_LEAVE,           /* the threads end between two events; a successor goes on */
        THREAD_STOP,            /* the sessions that are left are reset, and the threads end */
};

/* A loop that is well begins a round at least this often. */
#define THREAD_BEAT_MS 2000

struct thread_pool {
        struct env_shared *shared;              /* borrowed */
        struct env **envs;                      /* owned, one a thread */
        pthread_t *ids;
        unsigned n;                             /* threads that run */
        _Atomic int phase;                      /* enum thread_phase */
        _Atomic unsigned accepting;             /* threads that have not let go of the listeners */
        _Atomic int failed;                     /* a loop could not go on: its -errno */
        pthread_barrier_t barrier;
        int notify;                             /* an eventfd, owned: the pool has news for the main thread */
};

/* Makes an env for each of shared->n_threads.  Returns 0 or -errno; thread_pool_stop() is fine in either case. */
int thread_pool_prepare(struct thread_pool *pool, struct env_shared *shared);

/* Starts the threads, with all signals blocked.  Returns 0 or -errno. */
int thread_pool_start(struct thread_pool *pool);

/* Tells all threads to enter a phase.  Phases only advance. */
void thread_pool_enter(struct thread_pool *pool, enum thread_phase phase);

/*
 * The descriptor that is readable when there may be news: every thread has let go of
 * the listeners, the last session has ended while draining, or a thread failed.
 * thread_pool_news() resets it.
 */
void thread_pool_news(struct thread_pool *pool);

/* Enters the phase, which is THREAD_LEAVE or THREAD_STOP, waits for all threads and frees. */
void thread_pool_stop(struct thread_pool *pool, enum thread_phase phase);

#endif
