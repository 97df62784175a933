/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_LATENCY_H
#define SPLICED_BALANCE_LATENCY_H

#include <stdint.h>

/*
 * How long connects to a server take, as a moving average in µs.  What is older weighs half for each
 * LATENCY_HALF_MS; but each connect weighs 1/16 at least, so that many at once count too.  For a comparison, an
 * average decays in the same way from its last connect on: a server that was slow once is tried again some time.
 */

#define LATENCY_HALF_MS 5000
#define LATENCY_MOST_US 60000000        /* more is no more */

/* The average after a connect that took so many µs, since_ms after the one before.  average 0: nothing was known. */
double latency_next(double average, int64_t us, int64_t since_ms);

/* The average after a connect that failed: it counts as much slower, again and again. */
double latency_failed(double average);

/*
 * The cost of one more session at a server, to be compared with that of others: the logarithm of sessions (that one
 * included) times average by weight, with the average decayed since at_ms.  Costs stay comparable as time passes.
 */
double latency_cost(double average, int64_t at_ms, uint32_t sessions, unsigned weight);

#endif
