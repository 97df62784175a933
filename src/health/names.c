/* SPDX-License-Identifier: ISC */
#include "health/names.h"

#include <string.h>
#include <sys/socket.h>

#define NAMES_FAILURES 100      /* that are counted */

/* The lower of two times, either of which may be negative: none. */
static int64_t names_sooner(int64_t a, int64_t b) {
        if (a < 0 || b < 0)
                return a < 0 ? b : a;
        return a < b ? a : b;
}

/*
 * Brings SRV weights, each shared by all addresses of its target, to what a server can have.  Small ones
 * stay as they are; a weight of 0, "hardly ever", becomes the least there is.
 */
static int names_weight(const struct dns_answer *answer, const struct dns_address *address) {
        uint64_t unit = 1, most = 0, mine;

        if (!address->share)
                return NAMES_WEIGHT_CONFIGURED;
        /* In parts of the least common multiple every share is whole; it is bounded, as precision beyond is lost. */
        for (size_t i = 0; i < answer->n; i++) {
                uint64_t a = unit, b = answer->list[i].share;

                while (b) {
                        uint64_t rest = a % b;

                        a = b;
                        b = rest;
                }
                if (unit / a * answer->list[i].share > UINT32_MAX)
                        break;
                unit = unit / a * answer->list[i].share;
        }
        for (size_t i = 0; i < answer->n; i++) {
                uint64_t weight = answer->list[i].weight * unit / answer->list[i].share;

                most = weight > most ? weight : most;
        }
        mine = address->weight * unit / address->share;
        if (most > NAMES_WEIGHT_MAX)
                mine = (mine * NAMES_WEIGHT_MAX + most / 2) / most;
        return mine ? (int)mine : 1;
}

static uint16_t names_best_priority(const struct dns_answer *answer) {
        uint16_t best = UINT16_MAX;

        for (size_t i = 0; i < answer->n; i++)
                if (answer->list[i].priority < best)
                        best = answer->list[i].priority;
        return best;
}

static struct names_address *names_find(struct names_set *set, const struct addr *addr) {
        for (size_t i = 0; i < set->n; i++)
                if (addr_equal(&set->list[i].addr, addr))
                        return &set->list[i];
        return NULL;
}

static int names_in(const struct dns_answer *answer, const struct addr *addr) {
        for (size_t i = 0; i < answer->n; i++)
                if (addr_equal(&answer->list[i].addr, addr))
                        return 1;
        return 0;
}

/* Whether an address that the answer lacks is to leave; stamps it where that is a matter of time. */
static int names_leaves(struct names_address *address, const struct dns_answer *answer,
                        const struct names_rules *rules, int64_t now) {
        switch (addr_family(&address->addr) == AF_INET6 ? answer->v6 : answer->v4) {
        case DNS_GOOD:
                return 1;
        case DNS_EMPTY:
                if (!address->missing_since)
                        address->missing_since = now;
                return rules->hold >= 0 && now - address->missing_since >= rules->hold;
        default:
                return 0;
        }
}

/* Takes out what leaves, and the longest missing where new ones need the room. */
static void names_remove(struct names_set *set, const struct dns_answer *answer, const struct names_rules *rules,
                         int64_t now, struct names_result *result) {
        size_t kept = 0, room = DNS_ADDRESSES - answer->n;

        for (size_t i = 0; i < set->n; i++) {
                int there = names_in(answer, &set->list[i].addr);

                if (there)
                        set->list[i].missing_since = 0;
                else if (names_leaves(&set->list[i], answer, rules, now) || room == 0) {
                        result->removed++;
                        continue;
                } else
                        room--;
                set->list[kept++] = set->list[i];
        }
        set->n = kept;
}

static void names_add(struct names_set *set, const struct dns_answer *answer, struct names_result *result) {
        uint16_t best = names_best_priority(answer);

        for (size_t i = 0; i < answer->n; i++) {
                struct names_address *address = names_find(set, &answer->list[i].addr);
                int weight = names_weight(answer, &answer->list[i]);
                int backup = answer->list[i].priority != best;

                if (!address) {
                        address = &set->list[set->n++];
                        *address = (struct names_address){ .addr = answer->list[i].addr, .weight = weight,
                                                           .backup = backup };
                        result->added++;
                } else if (address->weight != weight || address->backup != backup) {
                        address->weight = weight;
                        address->backup = backup;
                        result->changed = 1;
                }
        }
}

/* When a good answer is to be renewed. */
static int64_t names_renew(const struct dns_answer *answer, const struct names_rules *rules) {
        if (rules->resolve >= 0)
                return rules->resolve;
        if (answer->ttl_ms < 0)
                return NAMES_FILE_MS;
        if (answer->ttl_ms < NAMES_LEAST_MS)
                return NAMES_LEAST_MS;
        return answer->ttl_ms > NAMES_MOST_MS ? NAMES_MOST_MS : answer->ttl_ms;
}

/* When one that left something open is to be followed by another. */
static int64_t names_retry(const struct names_set *set, const struct names_rules *rules) {
        int64_t retry = NAMES_RETRY_MS;

        for (unsigned i = 1; i < set->failures && retry < NAMES_RETRY_MOST_MS; i++)
                retry *= 2;
        return names_sooner(retry > NAMES_RETRY_MOST_MS ? NAMES_RETRY_MOST_MS : retry, rules->resolve);
}

void names_apply(struct names_set *set, const struct dns_answer *answer, const struct names_rules *rules, int64_t now,
                 struct names_result *result) {
        int64_t due = -1;

        *result = (struct names_result){ .failed = answer->v4 == DNS_FAILED || answer->v6 == DNS_FAILED };
        names_remove(set, answer, rules, now, result);
        names_add(set, answer, result);
        result->changed = result->changed || result->added || result->removed;
        for (size_t i = 0; i < set->n; i++) {
                int64_t believed = set->list[i].missing_since + rules->hold - now;

                result->held += set->list[i].missing_since != 0;
                /* At the very moment when it may be believed, somebody has to look. */
                if (set->list[i].missing_since && rules->hold >= 0 && believed > 0)
                        due = names_sooner(due, believed);
        }
        if (!result->failed && !result->held && answer->n)
                set->failures = 0;
        else if (set->failures < NAMES_FAILURES)
                set->failures++;
        result->next_ms = answer->n ? names_renew(answer, rules) : -1;
        if (set->failures)
                result->next_ms = names_sooner(result->next_ms, names_retry(set, rules));
        result->next_ms = names_sooner(result->next_ms, due);
}
