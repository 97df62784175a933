/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_SURVEY_H
#define SPLICED_SESSION_SURVEY_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>

/*
 * A survey: each thread looks at its own sessions, a batch in each round of its loop, counts the bytes that are not
 * counted yet (counters.h) and, where that is wanted, writes a row for each.  So whoever is no event loop
 * gets to know of sessions without reading a record that another thread is writing to, and nobody waits for them.
 *
 *   any thread, one at a time           each event loop
 *   survey_begin() ──── wakes ────►     survey_wake(), survey_turn() …
 *   waits for survey.done   ◄──────     the last one to finish
 *   survey_ended(), reads the rows
 */

#define SURVEY_BATCH 512        /* sessions that a thread looks at in one round: some 50 µs */

/* What a survey tells of a session.  Slots are env.h's, and live as long as the worker. */
struct survey_row {
        uint64_t id;
        int64_t accepted_ms, active_ms; /* CLOCK_MONOTONIC; when something last moved */
        uint64_t bytes[2];              /* up, down */
        struct in6_addr client;         /* an IPv4 address in its first four bytes */
        uint32_t index;                 /* of its record */
        uint16_t client_family, client_port;    /* the port in network order */
        uint16_t thread, frontend;
        uint16_t backend, server;       /* or SESSION_NO_BACKEND, SESSION_NO_SERVER */
        uint8_t state;                  /* enum life_state */
        uint8_t fin;                    /* who has sent a FIN first: SURVEY_FIN_… */
};

enum survey_fin { SURVEY_FIN_NONE, SURVEY_FIN_CLIENT, SURVEY_FIN_SERVER };

/* Part of env_shared. */
struct survey {
        _Atomic uint32_t number;        /* of the present one, or the last */
        _Atomic uint32_t left;          /* threads that have not finished it */
        _Atomic uint32_t rows;          /* rows are wanted */
        int done;                       /* an eventfd, owned: the last thread writes to it */
};

struct env;
struct env_shared;
struct session;

/*
 * Asks all threads for one.  Returns 0, or -EBUSY while one is under way, which only a thread that stands still
 * causes.
 */
int survey_begin(struct env_shared *shared, int rows);

/* Whether all threads have finished: then shared->threads[].rows are the caller's to read until the next begins. */
int survey_ended(const struct env_shared *shared);

/* In a loop's thread: on its wake-up, and when the survey's node has its turn. */
void survey_wake(struct env *env);
void survey_turn(struct env *env);

#endif
