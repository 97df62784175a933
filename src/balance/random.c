/* SPDX-License-Identifier: ISC */
#include "balance/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#include "base/hash.h"

/* sums[i], from 1 on: the weights of the members from i - (the lowest bit of i) to i - 1, where they are open. */
struct random {
        uint32_t *sums;
        size_t room;
        size_t half;                    /* the highest power of two that is not over room */
        uint32_t total;
        uint64_t seed;
};

/* Two proxies that start together draw otherwise, and so do two processes of one. */
static uint64_t random_seed(const struct balance_group *group) {
        const void *bytes = (const void *)getauxval(AT_RANDOM);
        uint64_t seed = 0;
        struct timespec now;

        if (bytes)
                memcpy(&seed, bytes, sizeof(seed));
        clock_gettime(CLOCK_MONOTONIC, &now);
        return hash_mix(seed ^ (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32 ^ (uintptr_t)group);
}

/* Below n, which is not 0; what a product loses in evenness is n in 2^32. */
static uint32_t random_below(struct random *random, uint32_t n) {
        random->seed += UINT64_C(0x9e3779b97f4a7c15);
        return (uint32_t)((hash_mix(random->seed) >> 32) * n >> 32);
}

static void random_add(struct random *random, unsigned member, uint32_t weight) {
        for (size_t i = member + 1u; i <= random->room; i += i & -i)
                random->sums[i] += weight;
        random->total += weight;
}

static void random_subtract(struct random *random, unsigned member, uint32_t weight) {
        random_add(random, member, -weight);
}

/* The member at a place on the line on which each is as long as its weight; *start is where that begins. */
static unsigned random_find(const struct random *random, uint32_t place, uint32_t *start) {
        size_t at = 0;

        *start = 0;
        for (size_t step = random->half; step; step /= 2)
                if (at + step <= random->room && *start + random->sums[at + step] <= place) {
                        at += step;
                        *start += random->sums[at];
                }
        return (unsigned)at;
}

static int random_reserve(struct balance_group *group, size_t members) {
        struct random *random = group->state;
        uint32_t *sums;

        if (!random) {
                random = group->state = calloc(1, sizeof(*random));
                if (!random)
                        return -ENOMEM;
                random->seed = random_seed(group);
        }
        sums = reallocarray(random->sums, members + 1, sizeof(*sums));
        if (!sums)
                return -ENOMEM;
        random->sums = sums;
        random->room = members;
        for (random->half = 1; random->half * 2 <= members; random->half *= 2)
                ;
        return 0;
}

static void random_deinit(struct balance_group *group) {
        struct random *random = group->state;

        if (random)
                free(random->sums);
        free(random);
        group->state = NULL;
}

static void random_enter(struct balance_group *group, unsigned member) {
        random_add(group->state, member, group->backend->members[member].weight);
}

static void random_leave(struct balance_group *group, unsigned member) {
        random_subtract(group->state, member, group->backend->members[member].weight);
}

static void random_rebuild(struct balance_group *group) {
        struct random *random = group->state;
        const struct backend *backend = group->backend;

        memset(random->sums, 0, (random->room + 1) * sizeof(*random->sums));
        random->total = 0;
        for (unsigned i = 0; i < backend->n_members; i++)
                if (backend->members[i].open && backend->members[i].group == group->number)
                        random_enter(group, i);
}

/* Takes out of the draw what was tried, or puts it back. */
static void random_tried(struct balance_group *group,
                         void (*fn)(struct random *random, unsigned member, uint32_t weight)) {
        const struct backend *backend = group->backend;

        for (unsigned i = 0; i < backend->n_tried; i++)
                if (backend->members[backend->tried[i]].group == group->number)
                        fn(group->state, backend->tried[i], backend->members[backend->tried[i]].weight);
}

static int random_pick(struct balance_group *group, const struct backend_request *request) {
        struct random *random = group->state;
        const struct backend_member *members = group->backend->members;
        uint32_t start, other, place;
        unsigned first, second;

        random_tried(group, random_subtract);
        second = first = random_find(random, random_below(random, random->total), &start);
        other = random->total - members[first].weight;
        if (other) {
                place = random_below(random, other);
                /* As if the first were not on the line. */
                second = random_find(random, place < start ? place : place + members[first].weight, &start);
        }
        random_tried(group, random_add);
        return (uint64_t)members[second].sessions * members[first].weight <
                               (uint64_t)members[first].sessions * members[second].weight
                       ? (int)second
                       : (int)first;
}

const struct balance_algorithm random_algorithm = {
        .name = "random",
        .reserve = random_reserve,
        .deinit = random_deinit,
        .rebuild = random_rebuild,
        .enter = random_enter,
        .leave = random_leave,
        .pick = random_pick,
};
