/* SPDX-License-Identifier: ISC */
#include "worker/control.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define CONTROL_OUTCOME_TRIES 100

void control_signal(int eventfd) {
        uint64_t one = 1;
        ssize_t n = write(eventfd, &one, sizeof(one));

        (void)n; /* EAGAIN: a signal is pending already */
}

void control_clear(int eventfd) {
        uint64_t count;
        ssize_t n = read(eventfd, &count, sizeof(count));

        (void)n;
}

uint32_t control_ask(struct control_record *control, enum control_kind kind) {
        uint32_t number = __atomic_add_fetch(&control->requests[kind].asked, 1, __ATOMIC_ACQ_REL);

        control_signal(control->to_keeper);
        return number;
}

int control_answered(const struct control_record *control, enum control_kind kind, uint32_t number,
                     uint32_t *generation) {
        const struct control_request *request = &control->requests[kind];

        if ((int32_t)(__atomic_load_n(&request->answered, __ATOMIC_ACQUIRE) - number) < 0)
                return 0;
        *generation = __atomic_load_n(&request->generation, __ATOMIC_ACQUIRE);
        return 1;
}

void control_answer(struct control_record *control, enum control_kind kind, uint32_t generation) {
        struct control_request *request = &control->requests[kind];

        __atomic_store_n(&request->generation, generation, __ATOMIC_RELEASE);
        __atomic_store_n(&request->answered, request->taken, __ATOMIC_RELEASE);
        control_signal(control->to_worker);
}

void control_note(struct control_record *control, enum control_kind kind, int ok, const char *text) {
        struct control_outcome *outcome = &control->outcomes[kind];

        /* A keeper that became another binary in between left it odd. */
        __atomic_store_n(&outcome->version, outcome->version | 1, __ATOMIC_SEQ_CST);
        outcome->ok = ok;
        outcome->wall_ms = clock_wall_ms();
        snprintf(outcome->text, sizeof(outcome->text), "%s", text);
        __atomic_store_n(&outcome->version, outcome->version + 1, __ATOMIC_SEQ_CST);
}

void control_outcome(struct control_record *control, enum control_kind kind, struct control_outcome *outcome) {
        struct control_outcome *shared = &control->outcomes[kind];

        for (int i = 0; i < CONTROL_OUTCOME_TRIES; i++) {
                uint32_t version = __atomic_load_n(&shared->version, __ATOMIC_SEQ_CST);

                memcpy(outcome, shared, sizeof(*outcome));
                /* A load alone might come before the copy. */
                if (!(version & 1) && __atomic_fetch_add(&shared->version, 0, __ATOMIC_SEQ_CST) == version)
                        break;
                usleep(100);
        }
        outcome->text[sizeof(outcome->text) - 1] = '\0';
}
