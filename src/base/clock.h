/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_CLOCK_H
#define SPLICED_BASE_CLOCK_H

#include <stdint.h>

/*
 * Two clocks and what each is for.  Deadlines, ages and durations use the
 * monotonic clock, so a wall clock that jumps disturbs nothing; only stamps
 * that a person reads use the wall clock.
 */

/* Milliseconds on CLOCK_MONOTONIC.  Never fails. */
int64_t clock_now_ms(void);

/* The same clock in microseconds.  Never fails. */
int64_t clock_now_us(void);

/* Milliseconds since the epoch on CLOCK_REALTIME, for log stamps.  Never fails. */
int64_t clock_wall_ms(void);

/* Bytes that clock_rfc3339() writes, its final NUL included. */
#define CLOCK_RFC3339_SIZE 25

/*
 * Writes wall_ms as RFC 3339 in UTC with milliseconds
 * ("2026-01-02T03:04:05.678Z") to buf, CLOCK_RFC3339_SIZE bytes.
 */
void clock_rfc3339(int64_t wall_ms, char *buf);

#endif
