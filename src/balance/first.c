/* SPDX-License-Identifier: ISC */
#include "balance/first.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/bits.h"

struct first {
        uint16_t *row;                  /* the group's members, in the order of the file */
        size_t *starts;                 /* by server: where its addresses begin in the row */
        uint64_t *open;                 /* places in the row */
        size_t room;                    /* of `open`, in bits */
};

static int first_reserve(struct balance_group *group, size_t members) {
        struct first *first = group->state;
        size_t words = BITS_WORDS(members), n_servers = group->backend->conf->n_servers;
        uint64_t *open;
        uint16_t *row;

        if (!first) {
                first = group->state = calloc(1, sizeof(*first));
                if (!first)
                        return -ENOMEM;
                first->starts = calloc(n_servers + 1, sizeof(*first->starts));
        }
        row = reallocarray(first->row, members, sizeof(*row));
        if (row)
                first->row = row;
        open = reallocarray(first->open, words, sizeof(*open));
        if (open)
                first->open = open;
        if (!first->starts || !row || !open)
                return -ENOMEM;
        first->room = words * 64;
        return 0;
}

static void first_deinit(struct balance_group *group) {
        struct first *first = group->state;

        if (first) {
                free(first->row);
                free(first->starts);
                free(first->open);
        }
        free(first);
        group->state = NULL;
}

static void first_enter(struct balance_group *group, unsigned member) {
        struct first *first = group->state;

        bits_set(first->open, group->backend->members[member].at);
}

static void first_leave(struct balance_group *group, unsigned member) {
        struct first *first = group->state;

        bits_clear(first->open, group->backend->members[member].at);
}

/* Sorts by server, those of one server as they came. */
static void first_rebuild(struct balance_group *group) {
        struct first *first = group->state;
        struct backend *backend = group->backend;

        memset(first->open, 0, first->room / 8);
        memset(first->starts, 0, (backend->conf->n_servers + 1) * sizeof(*first->starts));
        for (size_t i = 0; i < backend->n_members; i++)
                if (backend->members[i].group == group->number)
                        first->starts[backend->members[i].server + 1u]++;
        for (size_t i = 0; i < backend->conf->n_servers; i++)
                first->starts[i + 1] += first->starts[i];
        for (unsigned i = 0; i < backend->n_members; i++) {
                struct backend_member *member = &backend->members[i];

                if (member->group != group->number)
                        continue;
                member->at = (uint16_t)first->starts[member->server]++;
                first->row[member->at] = (uint16_t)i;
                if (member->open)
                        first_enter(group, i);
        }
}

static int first_pick(struct balance_group *group, const struct backend_request *request) {
        struct first *first = group->state;
        int passed = -1;

        for (size_t at = bits_next(first->open, 0, first->room); at < first->room;
             at = bits_next(first->open, at + 1, first->room)) {
                unsigned number = first->row[at];
                struct backend_member *member = &group->backend->members[number];

                if (backend_tried(group->backend, number))
                        continue;
                member->turn += member->ramp;
                if (member->turn >= BACKEND_PARTS) {
                        member->turn %= BACKEND_PARTS;
                        return (int)number;
                }
                passed = passed < 0 ? (int)number : passed;
        }
        return passed;
}

const struct balance_algorithm first_algorithm = {
        .name = "first",
        .reserve = first_reserve,
        .deinit = first_deinit,
        .rebuild = first_rebuild,
        .enter = first_enter,
        .leave = first_leave,
        .pick = first_pick,
};
