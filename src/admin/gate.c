/* SPDX-License-Identifier: ISC */
#include "admin/gate.h"

#define GATE_ALL (GATE_PLACES + GATE_AIR)

void gate_init(struct gate *gate) {
        for (int i = 0; i < GATE_ALL; i++)
                gate_give(&gate->places[i]);
}

void gate_give(struct gate_place *place) {
        *place = (struct gate_place){ .fd = -1 };
}

unsigned gate_taken(const struct gate *gate) {
        unsigned n = 0;

        for (int i = 0; i < GATE_ALL; i++)
                n += gate->places[i].fd >= 0;
        return n;
}

static int gate_sits(const struct gate_place *place) {
        return place->fd >= 0 && !place->lost;
}

int gate_stays(const struct gate_place *place) {
        return place->waits || place->lent;
}

static unsigned gate_of_uid(const struct gate *gate, uid_t uid) {
        unsigned n = 0;

        for (int i = 0; i < GATE_ALL; i++)
                n += gate_sits(&gate->places[i]) && gate->places[i].uid == uid;
        return n;
}

struct gate_place *gate_victim(struct gate *gate) {
        struct gate_place *victim = NULL;
        unsigned sitting = 0, most = 0;

        for (int i = 0; i < GATE_ALL; i++)
                sitting += (unsigned)gate_sits(&gate->places[i]);
        if (sitting < GATE_PLACES)
                return NULL;
        for (int i = 0; i < GATE_ALL; i++) {
                struct gate_place *place = &gate->places[i];
                unsigned n;

                if (!gate_sits(place) || gate_stays(place))
                        continue;
                n = gate_of_uid(gate, place->uid);
                if (n > most || (n == most && place->since_ms < victim->since_ms)) {
                        most = n;
                        victim = place;
                }
        }
        return victim;
}

struct gate_place *gate_take(struct gate *gate, int fd, uid_t uid, pid_t pid, int64_t now_ms) {
        for (int i = 0; i < GATE_ALL; i++)
                if (gate->places[i].fd < 0) {
                        gate->places[i] = (struct gate_place){ .fd = fd, .uid = uid, .pid = pid, .since_ms = now_ms };
                        return &gate->places[i];
                }
        return NULL;
}

struct gate_place *gate_overdue(struct gate *gate, int64_t now_ms) {
        for (int i = 0; i < GATE_ALL; i++)
                if (gate_sits(&gate->places[i]) && !gate_stays(&gate->places[i]) &&
                    now_ms - gate->places[i].since_ms >= GATE_PATIENCE_MS)
                        return &gate->places[i];
        return NULL;
}

int gate_may_wait(const struct gate *gate) {
        unsigned n = 0;

        for (int i = 0; i < GATE_ALL; i++)
                n += gate->places[i].waits;
        return n < GATE_WAITING;
}

struct gate_place *gate_large_victim(struct gate *gate) {
        struct gate_place *oldest = NULL;
        unsigned n = 0;

        for (int i = 0; i < GATE_ALL; i++) {
                struct gate_place *place = &gate->places[i];

                if (!gate_sits(place) || !place->large)
                        continue;
                n++;
                if (!oldest || place->since_ms < oldest->since_ms)
                        oldest = place;
        }
        return n < GATE_LARGE ? NULL : oldest;
}
