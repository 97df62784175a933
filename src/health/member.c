/* SPDX-License-Identifier: ISC */
#include "health/member.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* What goes through a lock. */
struct member_step {
        struct member *member;
        struct member_change *change;
        int64_t now_ms, again_ms;
        size_t left, total;
};

struct member_look {
        const struct member *member;
        struct addr *addr;
};

static void member_copy(struct backend *backend, void *arg) {
        struct member_look *look = arg;

        *look->addr = backend->records[look->member->slot].addr;
}

void member_address(const struct member *member, struct addr *addr) {
        struct member_look look = { member, addr };

        backend_locked(member->backend, member_copy, &look);
}

/* Works out what the result changes.  Returns 0 where it is stale. */
static int member_judge(const struct server_record *record, struct member_step *step) {
        struct member_change *change = step->change;

        change->from = (struct verdict){ record->check, record->check_streak };
        change->to = change->from;
        change->stale = record->admin == SERVER_MAINT || !addr_equal(&record->addr, &step->member->addr);
        if (!change->stale)
                change->to = verdict_step(&step->member->backend->conf->check, change->from, change->ok);
        return !change->stale;
}

static void member_note(struct server_record *record, const struct member_change *change) {
        record->check_streak = (uint16_t)change->to.streak;
        record->check_last = change->ok ? SERVER_RESULT_OK : SERVER_RESULT_FAILED;
        if (strcmp(record->check_detail, change->detail) != 0)
                snprintf(record->check_detail, sizeof(record->check_detail), "%s", change->detail);
}

/* Most results change nothing that a choice depends on. */
static void member_try(struct backend *backend, void *arg) {
        struct member_step *step = arg;
        struct server_record *record = &backend->records[step->member->slot];

        if (member_judge(record, step) && step->change->to.check == step->change->from.check)
                member_note(record, step->change);
}

static void member_turn(struct server_record *record, void *arg) {
        struct member_step *step = arg;

        if (!member_judge(record, step))
                return;
        member_note(record, step->change);
        if (step->change->to.check == step->change->from.check)
                return;
        record->check = (uint8_t)step->change->to.check;
        record->check_wall_ms = clock_wall_ms();
}

static void member_count(struct backend *backend, void *arg) {
        struct member_step *step = arg;

        step->left = 0;
        step->total = 0;
        for (size_t i = 0; i < backend->n_members; i++) {
                const struct backend_member *place = &backend->members[i];
                enum server_state state = server_state(place->record, backend_checked(backend, place->slot),
                                                       step->now_ms);

                /* Places for further addresses of a name may be empty. */
                step->total += place->record->addr.kind != ADDR_NONE || place->record->instance == 0;
                step->left += server_state_usable(state) && place->record->weight;
        }
}

void member_result(struct member *member, struct member_change *change) {
        struct member_step step = { .member = member, .change = change, .now_ms = change->now_ms };

        backend_locked(member->backend, member_try, &step);
        if (change->stale || change->to.check == change->from.check)
                return;
        backend_change(member->backend, member->slot, member_turn, &step, change->now_ms);
        backend_locked(member->backend, member_count, &step);
        change->left = step.left;
        change->total = step.total;
}

static void member_come_back(struct server_record *record, void *arg) {
        struct member_step *step = arg;

        if (record->ejected_until_ms > step->now_ms)
                step->again_ms = record->ejected_until_ms;
}

int64_t member_return(struct member *member, int64_t now_ms, size_t *left, size_t *total) {
        struct member_step step = { .member = member, .now_ms = now_ms };

        backend_change(member->backend, member->slot, member_come_back, &step, now_ms);
        backend_locked(member->backend, member_count, &step);
        *left = step.left;
        *total = step.total;
        return step.again_ms;
}
