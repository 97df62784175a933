/* SPDX-License-Identifier: ISC */
#include "engine/wheel.h"

#include <limits.h>

#define WHEEL_BITS 6

void wheel_init(struct wheel *wheel, struct wheel_node *nodes, int64_t now_ms) {
        *wheel = (struct wheel){ .nodes = nodes, .now = now_ms };
        for (int ring = 0; ring < WHEEL_RINGS; ring++)
                for (int slot = 0; slot < WHEEL_SLOTS; slot++)
                        wheel->slots[ring][slot] = WHEEL_NONE;
}

static void wheel_insert(struct wheel *wheel, uint32_t index) {
        struct wheel_node *node = &wheel->nodes[index];
        int64_t when = node->when < wheel->now ? wheel->now : node->when;
        uint64_t distance = (uint64_t)when ^ (uint64_t)wheel->now;
        unsigned ring = distance ? (63 - (unsigned)__builtin_clzll(distance)) / WHEEL_BITS : 0;
        int64_t start;
        unsigned slot;
        uint32_t *head;

        /* The last ring goes round: what is beyond its reach waits in its farthest slot, and is put in anew there. */
        if (ring >= WHEEL_RINGS) {
                uint64_t turn, ahead;

                ring = WHEEL_RINGS - 1;
                turn = (uint64_t)wheel->now >> (WHEEL_BITS * ring);
                ahead = ((uint64_t)when >> (WHEEL_BITS * ring)) - turn;
                turn += ahead < WHEEL_SLOTS ? ahead : WHEEL_SLOTS - 1;
                slot = turn % WHEEL_SLOTS;
                start = (int64_t)(turn << (WHEEL_BITS * ring));
        } else {
                slot = (unsigned)((uint64_t)when >> (WHEEL_BITS * ring)) % WHEEL_SLOTS;
                start = (int64_t)((uint64_t)when >> (WHEEL_BITS * ring) << (WHEEL_BITS * ring));
        }
        if (start < wheel->next)
                wheel->next = start;

        head = &wheel->slots[ring][slot];
        node->slot = ring * WHEEL_SLOTS + slot + 1;
        node->prev = WHEEL_NONE;
        node->next = *head;
        if (*head != WHEEL_NONE)
                wheel->nodes[*head].prev = index;
        *head = index;
        wheel->occupied[ring] |= UINT64_C(1) << slot;
}

void wheel_cancel(struct wheel *wheel, uint32_t index) {
        struct wheel_node *node = &wheel->nodes[index];
        unsigned ring, slot;

        if (!node->slot)
                return;
        ring = (node->slot - 1) / WHEEL_SLOTS;
        slot = (node->slot - 1) % WHEEL_SLOTS;
        if (node->prev != WHEEL_NONE)
                wheel->nodes[node->prev].next = node->next;
        else
                wheel->slots[ring][slot] = node->next;
        if (node->next != WHEEL_NONE)
                wheel->nodes[node->next].prev = node->prev;
        if (wheel->slots[ring][slot] == WHEEL_NONE) {
                wheel->occupied[ring] &= ~(UINT64_C(1) << slot);
                wheel->next = 0;
        }
        node->slot = 0;
}

void wheel_arm(struct wheel *wheel, uint32_t index, int64_t when_ms) {
        wheel_cancel(wheel, index);
        wheel->nodes[index].when = when_ms;
        wheel_insert(wheel, index);
}

int64_t wheel_when(const struct wheel *wheel, uint32_t index) {
        return wheel->nodes[index].slot ? wheel->nodes[index].when : INT64_MAX;
}

static int64_t wheel_search(const struct wheel *wheel) {
        int64_t next = INT64_MAX;

        for (int ring = 0; ring < WHEEL_RINGS; ring++) {
                unsigned shift = WHEEL_BITS * (unsigned)ring;
                uint64_t turn = (uint64_t)wheel->now >> shift;
                unsigned at = turn % WHEEL_SLOTS;
                uint64_t ahead;
                int64_t start;

                if (!wheel->occupied[ring])
                        continue;
                /* Rotated such that bit 0 is the slot that `now` is in. */
                ahead = wheel->occupied[ring] >> at | (at ? wheel->occupied[ring] << (WHEEL_SLOTS - at) : 0);
                start = (int64_t)((turn + (unsigned)__builtin_ctzll(ahead)) << shift);
                if (start < wheel->now)
                        start = wheel->now;
                if (start < next)
                        next = start;
        }
        return next;
}

/* The time at which the nearest occupied slot starts, or INT64_MAX.  Most rounds change nothing about it. */
static int64_t wheel_next(struct wheel *wheel) {
        if (!wheel->next)
                wheel->next = wheel_search(wheel);
        return wheel->next;
}

/* Moves what waits in the coarse slots that begin at wheel->now to finer rings. */
static void wheel_cascade(struct wheel *wheel) {
        wheel->next = 0;
        for (int ring = WHEEL_RINGS - 1; ring > 0; ring--) {
                unsigned slot = (unsigned)((uint64_t)wheel->now >> (WHEEL_BITS * ring)) % WHEEL_SLOTS;
                uint32_t index = wheel->slots[ring][slot];

                wheel->slots[ring][slot] = WHEEL_NONE;
                wheel->occupied[ring] &= ~(UINT64_C(1) << slot);
                while (index != WHEEL_NONE) {
                        uint32_t next = wheel->nodes[index].next;

                        wheel->nodes[index].slot = 0;
                        wheel_insert(wheel, index);
                        index = next;
                }
        }
}

uint32_t wheel_expire(struct wheel *wheel, int64_t now_ms) {
        for (;;) {
                uint32_t index = wheel->slots[0][(uint64_t)wheel->now % WHEEL_SLOTS];
                int64_t next;

                if (index != WHEEL_NONE && wheel->nodes[index].when <= now_ms) {
                        wheel_cancel(wheel, index);
                        return index;
                }
                next = wheel_next(wheel);
                if (next > now_ms) {
                        /* No slot begins before now_ms, so every timer stays in the right one. */
                        if (now_ms > wheel->now)
                                wheel->now = now_ms;
                        return WHEEL_NONE;
                }
                wheel->now = next;
                wheel_cascade(wheel);
        }
}

int wheel_timeout(struct wheel *wheel, int64_t now_ms) {
        int64_t next = wheel_next(wheel);

        if (next == INT64_MAX)
                return -1;
        if (next <= now_ms)
                return 0;
        return next - now_ms > INT_MAX ? INT_MAX : (int)(next - now_ms);
}
