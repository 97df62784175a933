/* SPDX-License-Identifier: ISC */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_read(clockid_t id) {
        struct timespec ts;

        clock_gettime(id, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_now_ms(void) {
        return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_now_us(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_ms(void) {
        return clock_read(CLOCK_REALTIME);
}

void clock_rfc3339(int64_t wall_ms, char *buf) {
        time_t seconds = wall_ms / 1000;
        struct tm tm;
        char stamp[CLOCK_RFC3339_SIZE];

        gmtime_r(&seconds, &tm);
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(buf, CLOCK_RFC3339_SIZE, "%.19s.%03uZ", stamp, (unsigned)(wall_ms % 1000));
}
