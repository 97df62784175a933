/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_COUNTERS_H
#define SPLICED_SESSION_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/arena.h"

/*
 * What is counted of sessions, in the arena, so that it outlives workers: slabs ARENA_COUNTERS_FRONTEND and
 * ARENA_COUNTERS_BACKEND.  Each slot has one record in each stripe; a thread counts in its own stripe, so that no two
 * threads write to one cache line (but where there are more threads than stripes), and who reads adds the stripes up.
 * Everything only ever grows, but for a slot that gets a new owner: counters_clear().
 *
 * What is counted of a server is in its record (balance/server.h).
 *
 * Bytes cost a message nothing.  A session's are counted as it ends, and while it lives when somebody asks
 * (session/survey.h): session.counted remembers what was.
 */

#define COUNTERS_STRIPES 16

/* Upper bounds in ms, of all but the last bucket. */
#define COUNTERS_BOUNDS 13
extern const int64_t counters_wait_bounds[COUNTERS_BOUNDS];     /* of connect and queue */
extern const int64_t counters_session_bounds[COUNTERS_BOUNDS];

struct counters_histogram {
        _Atomic uint64_t sum_ms;
        _Atomic uint64_t buckets[COUNTERS_BOUNDS + 1];          /* each by itself, not cumulative */
};

/* By enum access_end; with air for ends to come. */
#define COUNTERS_ENDS 32

struct counters_frontend {
        _Atomic uint64_t sessions;                              /* accepted */
        _Atomic uint64_t bytes[2];                              /* up, down */
        _Atomic uint64_t ends[COUNTERS_ENDS];
        struct counters_histogram session;                      /* how long sessions lived */
} __attribute__((aligned(64)));

struct counters_backend {
        struct counters_histogram connect;                      /* connects that succeeded */
        struct counters_histogram queue;                        /* what sessions waited for a server, or 0 */
} __attribute__((aligned(64)));

/* The record of frontend slot ENV_FRONTENDS counts the bytes of all, those of frontends that are gone too. */

struct env;
struct session;

/* So many threads are going to count: before anything else here, and before they do. */
void counters_use(const struct arena *arena, unsigned threads);

/* A session was accepted; its frontend is known. */
void counters_accepted(struct env *env, const struct session *session);

/* It has a connection to its server. */
void counters_connected(struct env *env, const struct session *session);

/* Counts the bytes that are not yet.  In the session's thread. */
void counters_bytes(struct env *env, struct session *session);

/* It ends: everything that is left to count. */
void counters_ended(struct env *env, struct session *session);

/* A slot has a new owner. */
void counters_clear_frontend(const struct arena *arena, uint32_t slot);
void counters_clear_backend(const struct arena *arena, uint32_t slot);

/* Sums over the stripes, by any thread.  The sum's members are plain. */
struct counters_histogram_sum { uint64_t sum_ms, count, buckets[COUNTERS_BOUNDS + 1]; };
struct counters_frontend_sum {
        uint64_t sessions, bytes[2], ends[COUNTERS_ENDS];
        struct counters_histogram_sum session;
};
struct counters_backend_sum { struct counters_histogram_sum connect, queue; };
void counters_sum_frontend(const struct arena *arena, uint32_t slot, struct counters_frontend_sum *sum);
void counters_sum_backend(const struct arena *arena, uint32_t slot, struct counters_backend_sum *sum);

#endif
