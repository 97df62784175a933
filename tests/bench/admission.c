/* SPDX-License-Identifier: ISC */
/*
 * admission: what it costs to find out whether a client may come in.
 *
 *   admission [-n NETWORKS] [-l LOOKUPS]
 *
 * Builds rules of NETWORKS networks (100,000) of one family, spread as a list of real networks is and crowded into one
 * place, looks LOOKUPS addresses (2,000,000) up in them, each depending on the one before, and prints a line for each:
 * the CPU time to build, the size, the time of a look-up with the caches warm, and with them full of other things, as
 * between two connections.  Then what a source costs that is counted and let go of again.
 *
 * Exit status: 0, 1 where memory ran out, 64 for usage.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "balance/acl.h"
#include "balance/quota.h"

#define EX_USAGE 64
#define OTHER_BYTES (64u * 1024u * 1024u)       /* of other things in the caches */
#define COLD_LOOKUPS 200

static uint64_t random_number(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        return *state ^= *state << 17;
}

static double clock_ns(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double now_ns(void) {
        return clock_ns(CLOCK_MONOTONIC);
}

static void fill(struct in6_addr *address, int family, int crowded, uint64_t *state) {
        uint64_t words[2] = { random_number(state), random_number(state) };

        memcpy(address, words, sizeof(words));
        if (crowded) {
                address->s6_addr[0] = 10;
                address->s6_addr[1] = family == AF_INET ? address->s6_addr[1] % 2 : 1;
        } else if (family == AF_INET6) {
                address->s6_addr[0] = 0x20;
                address->s6_addr[1] &= 0x0f;
        }
}

/*
 * Prefixes of 16 to 32 bits, or 32 to 64 and a few single addresses; all the longest where they are crowded.
 * *cpu_ns: the CPU time that building took.
 */
static int make(struct acl *acl, int family, int crowded, size_t n, uint64_t *state, double *cpu_ns) {
        struct conf_rules deny = { .list = calloc(n, sizeof(*deny.list)), .n = n, .given = 1 }, allow = { 0 };
        int r;

        if (!deny.list)
                return -1;
        for (size_t i = 0; i < n; i++) {
                struct conf_rule *rule = &deny.list[i];
                unsigned most = family == AF_INET ? 32 : 128;

                rule->kind = CONF_RULE_NETWORK;
                rule->family = family;
                fill(&rule->network, family, crowded, state);
                rule->prefix = most;
                if (!crowded && random_number(state) % 4)
                        rule->prefix = family == AF_INET ? 32 - (unsigned)(random_number(state) % 17)
                                                         : 64 - (unsigned)(random_number(state) % 33);
        }
        *cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        r = acl_init(acl, &allow, &deny);
        *cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - *cpu_ns;
        free(deny.list);
        return r;
}

static unsigned ask(const struct acl *acl, int family, const struct in6_addr *address) {
        struct acl_client client = { .family = family, .address = address };

        return (unsigned)acl_allows(acl, &client);
}

/* Each address depends on the last answer, so that no two look-ups overlap. */
static double warm(const struct acl *acl, int family, int crowded, size_t n, uint64_t *state) {
        struct in6_addr *addresses = calloc(1024, sizeof(*addresses));
        double before;
        size_t at = 0;

        if (!addresses)
                return 0;
        for (int i = 0; i < 1024; i++)
                fill(&addresses[i], family, crowded, state);
        for (size_t i = 0; i < 2000; i++)
                at = (at + 1 + ask(acl, family, &addresses[at])) % 1024;
        before = now_ns();
        for (size_t i = 0; i < n; i++) {
                at = (at + 1 + ask(acl, family, &addresses[at])) % 1024;
                addresses[at].s6_addr[3] ^= (uint8_t)i;
        }
        before = (now_ns() - before) / (double)n;
        free(addresses);
        return before;
}

static int compare(const void *a, const void *b) {
        const double *left = a, *right = b;

        return *left < *right ? -1 : *left > *right;
}

/* The median.  The clock's own pages and ours are warm again, what the look-up needs is not. */
static double cold(const struct acl *acl, int family, int crowded, uint64_t *state) {
        volatile char *other = malloc(OTHER_BYTES);
        struct acl one = { .otherwise = ACL_ALLOW };
        double spent[COLD_LOOKUPS];
        struct in6_addr address;

        if (!other)
                return 0;
        for (int i = 0; i < COLD_LOOKUPS; i++) {
                double before;

                for (size_t k = 0; k < OTHER_BYTES; k += 64)
                        other[k]++;
                fill(&address, family, crowded, state);
                ask(&one, family, &address);
                now_ns();
                before = now_ns();
                spent[i] = ask(acl, family, &address) < 2 ? now_ns() - before : 0;
        }
        free((void *)other);
        qsort(spent, COLD_LOOKUPS, sizeof(*spent), compare);
        return spent[COLD_LOOKUPS / 2];
}

static int measure(int family, int crowded, size_t n, size_t lookups) {
        uint64_t state = 88172645463325252;
        struct acl acl;
        double built;

        if (make(&acl, family, crowded, n, &state, &built) < 0)
                return 1;
        printf("%s, %-8s %zu networks: built in %.1f ms, %.1f MB, a look-up %.0f ns, with cold caches %.0f ns\n",
               family == AF_INET ? "IPv4" : "IPv6", crowded ? "crowded:" : "spread:", n, built / 1e6,
               (double)(acl.v4.n + acl.v6.n) * 64 / 1e6, warm(&acl, family, crowded, lookups, &state),
               cold(&acl, family, crowded, &state));
        acl_deinit(&acl);
        return 0;
}

static int measure_sources(size_t n) {
        const uint64_t seed[2] = { 1, 2 };
        struct quota_limits limits = quota_limits(10, 1000);
        uint64_t state = 88172645463325252;
        struct in6_addr address = { 0 };
        struct quota quota;
        double begin;
        uint32_t place;

        if (quota_init(&quota, 100000, seed) < 0)
                return 1;
        begin = now_ns();
        for (size_t i = 0; i < n; i++) {
                uint32_t number = (uint32_t)(random_number(&state) % 100000);
                struct quota_source source;

                memcpy(&address, &number, sizeof(number));
                source = quota_source(0, AF_INET, &address, 0);
                if (quota_enter(&quota, &source, &limits, (int64_t)i * 1000, &place) == 0)
                        quota_leave(&quota, place, (int64_t)i * 1000);
        }
        printf("100000 sources: in and out %.0f ns\n", (now_ns() - begin) / (double)n);
        quota_deinit(&quota);
        return 0;
}

int main(int argc, char **argv) {
        long n = 100000, lookups = 2000000;
        int option, r = 0;

        while ((option = getopt(argc, argv, "n:l:")) != -1) {
                if (option == 'n')
                        n = atol(optarg);
                else if (option == 'l')
                        lookups = atol(optarg);
                else
                        return EX_USAGE;
        }
        if (n < 1 || lookups < 1 || optind < argc)
                return EX_USAGE;
        for (int kind = 0; kind < 4 && r == 0; kind++)
                r = measure(kind < 2 ? AF_INET : AF_INET6, kind % 2, (size_t)n, (size_t)lookups);
        return r == 0 ? measure_sources((size_t)lookups) : r;
}
