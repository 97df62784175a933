/* SPDX-License-Identifier: ISC */
#include "balance/roundrobin.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/heap.h"

#define ROUNDROBIN_WEIGHTS (256 * BACKEND_PARTS + 1)
#define ROUNDROBIN_LAG_BITS 20
#define ROUNDROBIN_GAIN_BITS 14

/* Members of one weight. */
struct roundrobin_class {
        struct heap heap;
        int64_t base;                   /* see roundrobin_credited() */
        uint32_t members;               /* of this weight, open or not: as many as the heap has room for */
};

/* What a pick looks at of a class: it goes through a row of these, and nothing else. */
struct roundrobin_first {
        int64_t credit;                 /* of the first in the heap, without `gained`; ROUNDROBIN_NOBODY: it is empty */
        int32_t number;                 /* of that member */
        uint32_t weight;                /* of all members */
};

#define ROUNDROBIN_NOBODY (INT64_MIN / 2)       /* and whatever is gained: never as much as anybody has */
#define ROUNDROBIN_MOST (INT64_C(1) << 44)      /* so much may be gained: times a weight it fits into 63 bits */

/*
 * Credit counts in shares of `total`.  Where that has become far smaller, an old credit would make one server the
 * first for many picks in a row: then all are brought down with it, see roundrobin_rescale().  A member that is not
 * in a heap keeps its credit in parts of a pick.
 */
struct roundrobin {
        struct roundrobin_class *classes;
        struct roundrobin_first *firsts;        /* by class */
        size_t n;
        uint16_t *items;                        /* of all heaps */
        uint16_t by_weight[ROUNDROBIN_WEIGHTS]; /* class + 1 */
        int64_t gained;                         /* what weight 1 was credited with, in 2^-ROUNDROBIN_GAIN_BITS */
        int64_t total;                          /* weight of those in heaps */
        int64_t scale;                          /* the total when credits were last brought in line with it */
};

static int roundrobin_before(const struct backend_member *a, const struct backend_member *b) {
        return a->credit != b->credit ? a->credit > b->credit : a < b;
}

static struct roundrobin_class *roundrobin_class(struct roundrobin *robin, const struct backend_member *member) {
        return &robin->classes[robin->by_weight[member->weight] - 1];
}

static int64_t roundrobin_gain(int64_t gained, int64_t weight) {
        return (int64_t)((uint64_t)(gained * weight) >> ROUNDROBIN_GAIN_BITS);
}

static uint32_t roundrobin_weight(const struct roundrobin *robin, const struct roundrobin_class *class) {
        return robin->firsts[class - robin->classes].weight;
}

/* What all in a class have been credited with: the credit of each is that and its own. */
static int64_t roundrobin_credited(const struct roundrobin *robin, const struct roundrobin_class *class) {
        return class->base + roundrobin_gain(robin->gained, roundrobin_weight(robin, class));
}

/* Somebody is the first of a class now, or nobody. */
static void roundrobin_set_first(const struct balance_group *group, const struct roundrobin_class *class, int number) {
        struct roundrobin *robin = group->state;
        struct roundrobin_first *first = &robin->firsts[class - robin->classes];

        first->number = number;
        first->credit = number < 0 ? ROUNDROBIN_NOBODY
                                   : group->backend->members[number].credit + class->base;
}

static void roundrobin_set_top(const struct balance_group *group, const struct roundrobin_class *class) {
        roundrobin_set_first(group, class, class->heap.n ? class->heap.items[0] : -1);
}

static int64_t roundrobin_to_lag(const struct roundrobin *robin, int64_t credit) {
        return robin->scale ? credit * (INT64_C(1) << ROUNDROBIN_LAG_BITS) / robin->scale : 0;
}

static int64_t roundrobin_to_credit(const struct roundrobin *robin, int64_t lag) {
        return lag * robin->scale / (INT64_C(1) << ROUNDROBIN_LAG_BITS);
}

/* Empties the classes' heaps; each member keeps its credit in parts of a pick. */
static void roundrobin_take_out(const struct balance_group *group) {
        struct roundrobin *robin = group->state;
        struct backend_member *members = group->backend->members;

        for (size_t c = 0; c < robin->n; c++) {
                struct roundrobin_class *class = &robin->classes[c];

                for (size_t i = 0; i < class->heap.n; i++) {
                        struct backend_member *member = &members[class->heap.items[i]];

                        member->credit = roundrobin_to_lag(robin, member->credit + roundrobin_credited(robin, class));
                }
                class->heap.n = 0;
                class->base = -roundrobin_gain(robin->gained, robin->firsts[c].weight);
                robin->firsts[c].credit = ROUNDROBIN_NOBODY;
        }
        robin->total = 0;
}

static int roundrobin_reserve(struct balance_group *group, size_t members) {
        struct roundrobin *robin = group->state;
        struct roundrobin_class *classes;
        struct roundrobin_first *firsts;
        uint16_t *items;

        if (!robin) {
                robin = group->state = calloc(1, sizeof(*robin));
                if (!robin)
                        return -ENOMEM;
        }
        roundrobin_take_out(group);
        classes = reallocarray(robin->classes, members, sizeof(*classes));
        if (!classes)
                return -ENOMEM;
        robin->classes = classes;
        firsts = reallocarray(robin->firsts, members, sizeof(*firsts));
        if (!firsts)
                return -ENOMEM;
        robin->firsts = firsts;
        items = reallocarray(robin->items, members, sizeof(*items));
        if (!items)
                return -ENOMEM;
        robin->items = items;
        return 0;
}

static void roundrobin_deinit(struct balance_group *group) {
        struct roundrobin *robin = group->state;

        if (robin) {
                free(robin->classes);
                free(robin->firsts);
                free(robin->items);
        }
        free(robin);
        group->state = NULL;
}

static void roundrobin_put_in(struct balance_group *group, unsigned number) {
        struct roundrobin *robin = group->state;
        struct backend_member *member = &group->backend->members[number];
        struct roundrobin_class *class = roundrobin_class(robin, member);

        member->credit = roundrobin_to_credit(robin, member->credit) - roundrobin_credited(robin, class);
        heap_push(&class->heap, number);
        roundrobin_set_top(group, class);
}

/* Fills the heaps, which are empty, with those that are open. */
static void roundrobin_fill(struct balance_group *group) {
        struct roundrobin *robin = group->state;
        const struct backend *backend = group->backend;

        for (unsigned i = 0; i < backend->n_members; i++)
                if (backend->members[i].open && backend->members[i].group == group->number)
                        robin->total += backend->members[i].weight;
        robin->scale = robin->total;
        for (unsigned i = 0; i < backend->n_members; i++)
                if (backend->members[i].open && backend->members[i].group == group->number)
                        roundrobin_put_in(group, i);
}

/* Finds the classes, each with room for its members. */
static void roundrobin_classify(struct balance_group *group) {
        struct roundrobin *robin = group->state;
        const struct backend *backend = group->backend;
        uint16_t *items = robin->items;

        for (size_t i = 0; i < robin->n; i++)
                robin->by_weight[robin->firsts[i].weight] = 0;
        robin->n = 0;
        for (size_t i = 0; i < backend->n_members; i++) {
                const struct backend_member *member = &backend->members[i];

                if (member->group != group->number || !member->weight)
                        continue;
                if (!robin->by_weight[member->weight]) {
                        robin->classes[robin->n] = (struct roundrobin_class){
                                .base = -roundrobin_gain(robin->gained, member->weight) };
                        robin->firsts[robin->n++] = (struct roundrobin_first){
                                .credit = ROUNDROBIN_NOBODY, .number = -1, .weight = member->weight };
                        robin->by_weight[member->weight] = (uint16_t)robin->n;
                }
                roundrobin_class(robin, member)->members++;
        }
        for (size_t i = 0; i < robin->n; i++) {
                robin->classes[i].heap = (struct heap){ .backend = backend, .before = roundrobin_before,
                                                        .items = items };
                items += robin->classes[i].members;
        }
}

static void roundrobin_rebuild(struct balance_group *group) {
        struct backend *backend = group->backend;

        roundrobin_take_out(group);
        for (size_t i = 0; i < backend->n_members && group->stale == BALANCE_ANEW; i++)
                if (backend->members[i].group == group->number)
                        backend->members[i].credit = 0;
        roundrobin_classify(group);
        roundrobin_fill(group);
}

static void roundrobin_rescale(struct balance_group *group) {
        const struct roundrobin *robin = group->state;

        if (robin->total > 2 * robin->scale || 2 * robin->total < robin->scale) {
                roundrobin_take_out(group);
                roundrobin_fill(group);
        }
}

static void roundrobin_enter(struct balance_group *group, unsigned number) {
        struct roundrobin *robin = group->state;

        robin->total += group->backend->members[number].weight;
        if (!robin->scale)
                robin->scale = robin->total;
        roundrobin_put_in(group, number);
        roundrobin_rescale(group);
}

static void roundrobin_leave(struct balance_group *group, unsigned number) {
        struct roundrobin *robin = group->state;
        struct backend_member *member = &group->backend->members[number];
        struct roundrobin_class *class = roundrobin_class(robin, member);

        heap_remove(&class->heap, number);
        roundrobin_set_top(group, class);
        member->credit = roundrobin_to_lag(robin, member->credit + roundrobin_credited(robin, class));
        robin->total -= member->weight;
        roundrobin_rescale(group);
}

/* Calls fn for each member of the group that the request has tried and that is open. */
static void roundrobin_each_tried(struct balance_group *group, int64_t gain,
                                  void (*fn)(struct balance_group *group, unsigned number, int64_t gain)) {
        const struct backend *backend = group->backend;

        for (unsigned i = 0; group->tried_weight && i < backend->n_tried; i++)
                if (backend->members[backend->tried[i]].group == group->number)
                        fn(group, backend->tried[i], gain);
}

/* Takes away from a member what its class is about to be credited with. */
static void roundrobin_pass_over(struct balance_group *group, unsigned number, int64_t gain) {
        struct roundrobin *robin = group->state;
        struct backend_member *member = &group->backend->members[number];

        member->credit -= roundrobin_gain(robin->gained + gain, member->weight) -
                          roundrobin_gain(robin->gained, member->weight);
        heap_fix(&roundrobin_class(robin, member)->heap, number);
}

/* The first of the member's class is to be one that was not tried. */
static void roundrobin_hide(struct balance_group *group, unsigned number, int64_t gain) {
        struct roundrobin_class *class = roundrobin_class(group->state, &group->backend->members[number]);

        roundrobin_set_first(group, class, heap_best(&class->heap));
}

static void roundrobin_show(struct balance_group *group, unsigned number, int64_t gain) {
        roundrobin_set_top(group, roundrobin_class(group->state, &group->backend->members[number]));
}

/*
 * Credits everybody but those that the request has tried: what they would have had is for the others.  In each class
 * the first of those that were not tried stands in the row then.
 */
static void roundrobin_credit_others(struct balance_group *group) {
        struct roundrobin *robin = group->state;
        int64_t gain = robin->total * (INT64_C(1) << ROUNDROBIN_GAIN_BITS) / (robin->total - group->tried_weight);

        roundrobin_each_tried(group, gain, roundrobin_pass_over);
        roundrobin_each_tried(group, gain, roundrobin_hide);
        robin->gained += gain;
}

/* What was gained becomes the classes' base, and counts from zero. */
static void roundrobin_settle(struct roundrobin *robin) {
        for (size_t i = 0; i < robin->n; i++) {
                int64_t gain = roundrobin_gain(robin->gained, robin->firsts[i].weight);

                robin->classes[i].base += gain;
                robin->firsts[i].credit += gain;
        }
        robin->gained = 0;
}

static int roundrobin_pick(struct balance_group *group, const struct backend_request *request) {
        struct roundrobin *robin = group->state;
        struct roundrobin_class *class;
        int64_t most = ROUNDROBIN_NOBODY / 2;
        int32_t number = -1;
        size_t from = 0;

        if (robin->gained > ROUNDROBIN_MOST)
                roundrobin_settle(robin);
        if (group->tried_weight)
                roundrobin_credit_others(group);
        else
                robin->gained += INT64_C(1) << ROUNDROBIN_GAIN_BITS;
        for (size_t i = 0; i < robin->n; i++) {
                const struct roundrobin_first *first = &robin->firsts[i];
                int64_t credit = first->credit + roundrobin_gain(robin->gained, first->weight);

                if (credit < most || (credit == most && first->number > number))
                        continue;
                most = credit;
                number = first->number;
                from = i;
        }
        if (number < 0)
                return -1;
        class = &robin->classes[from];
        group->backend->members[number].credit -= robin->total;
        heap_fix(&class->heap, (unsigned)number);
        roundrobin_set_top(group, class);
        roundrobin_each_tried(group, 0, roundrobin_show);
        return number;
}

const struct balance_algorithm roundrobin_algorithm = {
        .name = "roundrobin",
        .reserve = roundrobin_reserve,
        .deinit = roundrobin_deinit,
        .rebuild = roundrobin_rebuild,
        .enter = roundrobin_enter,
        .leave = roundrobin_leave,
        .pick = roundrobin_pick,
};
