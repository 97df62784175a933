/* SPDX-License-Identifier: ISC */
#include "balance/latency.h"

#include <math.h>

#define LATENCY_LEAST_PART 0.0625       /* of the average: what one connect weighs */
#define LATENCY_FAILED_FACTOR 8
#define LATENCY_FAILED_US 8000          /* at least */

double latency_next(double average, int64_t us, int64_t since_ms) {
        double sample = us < LATENCY_MOST_US ? (double)us : LATENCY_MOST_US, part;

        if (average <= 0)
                return sample;
        part = since_ms > 0 ? 1 - exp2(-(double)since_ms / LATENCY_HALF_MS) : 0;
        return average + (sample - average) * (part > LATENCY_LEAST_PART ? part : LATENCY_LEAST_PART);
}

double latency_failed(double average) {
        average *= LATENCY_FAILED_FACTOR;
        if (average < LATENCY_FAILED_US)
                return LATENCY_FAILED_US;
        return average < LATENCY_MOST_US ? average : LATENCY_MOST_US;
}

double latency_cost(double average, int64_t at_ms, uint32_t sessions, unsigned weight) {
        return log2(average * sessions / weight) + (double)at_ms / LATENCY_HALF_MS;
}
