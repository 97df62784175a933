/* SPDX-License-Identifier: ISC */
#include "base/bucket.h"

#include <stdatomic.h>

#define BUCKET_NS UINT64_C(1000000000)
/* So many tokens times BUCKET_NS fit into 64 bits, and so does a rate beside that. */
#define BUCKET_MAX (UINT64_C(1) << 33)
#define BUCKET_RATE_MAX (UINT64_C(1) << 62)
/* The longest time to fill up: 36 years, so that it may be added to any time. */
#define BUCKET_DEPTH_MAX (INT64_C(1) << 60)

/* What n tokens cost, in time. */
static int64_t bucket_cost(const struct bucket_limit *limit, uint64_t n) {
        return (int64_t)(n * BUCKET_NS / limit->rate);
}

struct bucket_limit bucket_limit(uint64_t rate, uint64_t burst) {
        struct bucket_limit limit = { .rate = rate < BUCKET_RATE_MAX ? rate : BUCKET_RATE_MAX };

        if (!limit.rate)
                return limit;
        if (burst < 1)
                burst = 1;
        if (burst > BUCKET_MAX)
                burst = BUCKET_MAX;
        /* Rounded up: a full bucket is to have all of them. */
        limit.depth_ns = (int64_t)((burst * BUCKET_NS + limit.rate - 1) / limit.rate);
        if (limit.depth_ns > BUCKET_DEPTH_MAX)
                limit.depth_ns = BUCKET_DEPTH_MAX;
        return limit;
}

/* Since when tokens came in that have not been taken. */
static int64_t bucket_since(const struct bucket_limit *limit, int64_t paid, int64_t now_ns) {
        if (paid > now_ns)
                return now_ns;
        return !paid || now_ns - paid > limit->depth_ns ? now_ns - limit->depth_ns : paid;
}

uint64_t bucket_level(const struct bucket_limit *limit, int64_t paid, int64_t now_ns) {
        uint64_t age = (uint64_t)(now_ns - bucket_since(limit, paid, now_ns));

        return age * limit->rate / BUCKET_NS;
}

int64_t bucket_take(const struct bucket_limit *limit, int64_t paid, uint64_t n, int64_t now_ns) {
        int64_t after = bucket_since(limit, paid, now_ns) + bucket_cost(limit, n);

        /* Zero would be a full one. */
        return after ? after : 1;
}

int64_t bucket_when(const struct bucket_limit *limit, int64_t paid, uint64_t n, int64_t now_ns) {
        int64_t since = bucket_since(limit, paid, now_ns), wait;

        if (n > BUCKET_MAX)
                n = BUCKET_MAX;
        /* Rounded up: by then they are there. */
        wait = (int64_t)((n * BUCKET_NS + limit->rate - 1) / limit->rate);
        if (wait > limit->depth_ns)
                wait = limit->depth_ns;
        return since + wait > now_ns ? since + wait : now_ns;
}

int bucket_take_shared(const struct bucket_limit *limit, _Atomic int64_t *paid, int64_t now_ns) {
        int64_t before = atomic_load(paid);

        do
                if (!bucket_level(limit, before, now_ns))
                        return 0;
        while (!atomic_compare_exchange_weak(paid, &before, bucket_take(limit, before, 1, now_ns)));
        return 1;
}

void bucket_give_shared(const struct bucket_limit *limit, _Atomic int64_t *paid) {
        atomic_fetch_sub(paid, bucket_cost(limit, 1));
}
