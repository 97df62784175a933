/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_BUCKET_H
#define SPLICED_BASE_BUCKET_H

#include <stdint.h>

/*
 * A token bucket whose whole state is one number, as in the generic cell rate
 * algorithm: `paid`, the time (ns on CLOCK_MONOTONIC) up to which everything that
 * went through is paid for.  The tokens there are what came in since then, up to the burst.  Zero is a full
 * bucket, however soon after the boot; a time before that is negative.
 *
 * What is left of a second is never forgotten, so the rate holds in the long run however late or seldom the bucket
 * is asked.  A token costs whole nanoseconds: beyond 10^7 tokens a second, taken one by one, the rate is exact to a
 * few percent only.
 *
 * Pure.  The state is plain data: it may live in a record, and be shared (bucket_take_shared()).
 */

#define BUCKET_NS_PER_MS INT64_C(1000000)

struct bucket_limit {
        uint64_t rate;          /* tokens a second; 0: no limit, and nothing below may be called */
        int64_t depth_ns;       /* the burst, as the time in which it fills up */
};

/* The limit of `rate` tokens a second with a burst of `burst`, of one token at least.  Cut to what numbers hold. */
struct bucket_limit bucket_limit(uint64_t rate, uint64_t burst);

/* Tokens that are there at now_ns.  A `paid` of the future, as a damaged record has, counts as now: none. */
uint64_t bucket_level(const struct bucket_limit *limit, int64_t paid, int64_t now_ns);

/* The state once n tokens are taken; to be called for no more than bucket_level() says. */
int64_t bucket_take(const struct bucket_limit *limit, int64_t paid, uint64_t n, int64_t now_ns);

/* When n tokens will be there, or as many as the bucket holds: a time, now_ns at the earliest. */
int64_t bucket_when(const struct bucket_limit *limit, int64_t paid, uint64_t n, int64_t now_ns);

/*
 * Takes one token of a bucket that threads share: exact, whatever they do at the same time.
 * Returns 1, or 0 where there is none.  bucket_give_shared() gives one back that came to nothing.
 */
int bucket_take_shared(const struct bucket_limit *limit, _Atomic int64_t *paid, int64_t now_ns);
void bucket_give_shared(const struct bucket_limit *limit, _Atomic int64_t *paid);

#endif
