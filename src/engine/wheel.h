/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ENGINE_WHEEL_H
#define SPLICED_ENGINE_WHEEL_H

#include <stdint.h>

/*
 * Timers of one thread, as a wheel of wheels: six rings of 64 slots, a slot of
 * ring k being 64^k ms wide.  Arming and cancelling cost O(1); a timer moves to a
 * finer ring at most five times.
 *
 * A timer is a node in an array that the owner gives, named by its index, so
 * that a session needs no pointer.  Several wheels may share one array as
 * long as a node is in one wheel at a time.  Not thread-safe: a wheel and its
 * nodes belong to one thread.
 */

#define WHEEL_NONE UINT32_MAX
#define WHEEL_RINGS 6
#define WHEEL_SLOTS 64

struct wheel_node {
        int64_t when;           /* ms; meaningful while armed */
        uint32_t next, prev;    /* prev of the first names its slot, see wheel.c */
        uint32_t slot;          /* ring * 64 + slot, plus 1; 0: not armed */
};

struct wheel {
        struct wheel_node *nodes;       /* borrowed */
        int64_t now;                    /* all that was due before this has been given out */
        int64_t next;                   /* where the nearest occupied slot starts, or INT64_MAX; 0: to be looked for */
        uint64_t occupied[WHEEL_RINGS];
        uint32_t slots[WHEEL_RINGS][WHEEL_SLOTS];       /* first node, or WHEEL_NONE */
};

/* Starts empty at time now_ms.  Nodes must be zeroed. */
void wheel_init(struct wheel *wheel, struct wheel_node *nodes, int64_t now_ms);

/* Arms node for when_ms (a time that is past is due at the next wheel_expire()), replacing what it was armed for. */
void wheel_arm(struct wheel *wheel, uint32_t node, int64_t when_ms);

/* Disarms.  Fine where it is not armed. */
void wheel_cancel(struct wheel *wheel, uint32_t node);

/* When node is armed for, or INT64_MAX. */
int64_t wheel_when(const struct wheel *wheel, uint32_t node);

/*
 * Takes out one node that is due at now_ms and returns it, or WHEEL_NONE when
 * there is none left.  Call it until then; timers may be armed in between
 * (those for now_ms or before are given out too).
 */
uint32_t wheel_expire(struct wheel *wheel, int64_t now_ms);

/* Milliseconds until wheel_expire() has something to do (perhaps only to move timers): 0 at once, -1 never. */
int wheel_timeout(struct wheel *wheel, int64_t now_ms);

#endif
