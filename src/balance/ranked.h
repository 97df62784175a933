/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_RANKED_H
#define SPLICED_BALANCE_RANKED_H

#include "balance/heap.h"

/*
 * What algorithms have in common that pick the best by an order of their own: all but the order.
 *
 * Members that are alike (all idle, say) take turns, by weight too: a member's `turn` is a virtual time that goes
 * on by 1/weight when it is picked, and never lies behind that of the last pick.
 */

struct ranked {
        struct heap heap;
        uint64_t clock;                 /* the turn of the last pick */
};

/* Which of two whose turns differ comes first; of those with one turn, the one that was named first. */
int ranked_by_turn(const struct backend_member *a, const struct backend_member *b);

/* As in struct balance_algorithm, with the order. */
int ranked_reserve(struct balance_group *group, size_t members,
                   int (*before)(const struct backend_member *a, const struct backend_member *b));
/* As in struct balance_algorithm, like all that follow. */
void ranked_deinit(struct balance_group *group);
/* Needs whatever the order is made of to be right. */
void ranked_rebuild(struct balance_group *group);
/* Likewise. */
void ranked_enter(struct balance_group *group, unsigned member);
/* A member leaves, whatever its place in the order. */
void ranked_leave(struct balance_group *group, unsigned member);
/* A member's place in the order may be another. */
void ranked_changed(struct balance_group *group, unsigned member);
/* The first in the order that was not tried. */
int ranked_pick(struct balance_group *group, const struct backend_request *request);

#endif
