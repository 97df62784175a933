/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health/names.h"

/*
 * A story for each rule, told in lines: the clock, an answer, and what is to be in use after it.
 * Addresses are digits, the last byte of 10.0.0.x; letters are IPv6 ones.
 */

#define HOLD 30000
#define S 1000

struct step {
        int64_t at;             /* ms */
        const char *answer;     /* addresses */
        enum dns_state v4, v6;
        int64_t ttl;            /* ms */
        const char *now;        /* what is in use after it, in this order */
        int64_t next;           /* ms until the next look-up */
        unsigned held;
};

static struct addr address(char c) {
        struct addr addr = { .kind = ADDR_IP };

        if (c >= 'a') {
                addr.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(80) };
                addr.in6.sin6_addr.s6_addr[0] = 0xfd;
                addr.in6.sin6_addr.s6_addr[15] = (uint8_t)c;
                addr.len = sizeof(addr.in6);
        } else {
                addr.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(80) };
                addr.in.sin_addr.s_addr = htonl(0x0a000000 + (uint32_t)(c - '0'));
                addr.len = sizeof(addr.in);
        }
        return addr;
}

static void make(struct dns_answer *answer, const struct step *step) {
        *answer = (struct dns_answer){ .v4 = step->v4, .v6 = step->v6, .ttl_ms = step->ttl };
        for (const char *c = step->answer; *c; c++)
                answer->list[answer->n++].addr = address(*c);
}

static char letter(const struct addr *addr) {
        return addr_family(addr) == AF_INET6 ? (char)addr->in6.sin6_addr.s6_addr[15]
                                             : (char)('0' + (ntohl(addr->in.sin_addr.s_addr) & 0xff));
}

static void tell(const struct step *steps, size_t n, const struct names_rules *rules) {
        static struct dns_answer answer;
        struct names_set set = { 0 };

        for (size_t i = 0; i < n; i++) {
                struct names_result result;
                char before[DNS_ADDRESSES + 1] = "", now[DNS_ADDRESSES + 1] = "";
                unsigned added = 0, removed = 0;

                for (size_t k = 0; k < set.n; k++)
                        before[k] = letter(&set.list[k].addr);
                make(&answer, &steps[i]);
                names_apply(&set, &answer, rules, steps[i].at, &result);
                for (size_t k = 0; k < set.n; k++)
                        now[k] = letter(&set.list[k].addr);
                for (const char *c = now; *c; c++)
                        added += !strchr(before, *c);
                for (const char *c = before; *c; c++)
                        removed += !strchr(now, *c);
                if (strcmp(now, steps[i].now) != 0 || result.next_ms != steps[i].next || result.held != steps[i].held)
                        print_message("at step %zu, %lld ms: [%s], next %lld, held %u\n", i + 1,
                                      (long long)steps[i].at, now, (long long)result.next_ms, result.held);
                assert_string_equal(now, steps[i].now);
                assert_int_equal(result.next_ms, steps[i].next);
                assert_int_equal(result.held, steps[i].held);
                assert_int_equal(result.added, added);
                assert_int_equal(result.removed, removed);
                assert_int_equal(result.changed, added || removed);
                assert_int_equal(result.failed, steps[i].v4 == DNS_FAILED || steps[i].v6 == DNS_FAILED);
        }
}

#define TELL(steps, rules) tell((steps), sizeof(steps) / sizeof((steps)[0]), (rules))

static const struct names_rules by_ttl = { .resolve = CONF_OFF, .hold = HOLD };

static void test_follow(void **unused) {
        static const struct step steps[] = {
                { 1, "12", DNS_GOOD, DNS_EMPTY, 5 * S, "12", 5 * S, 0 },
                { 5 * S, "21", DNS_GOOD, DNS_EMPTY, 60 * S, "12", 60 * S, 0 },
                { 9 * S, "23", DNS_GOOD, DNS_EMPTY, 5 * S, "23", 5 * S, 0 },
                { 10 * S, "23a", DNS_GOOD, DNS_GOOD, 0, "23a", NAMES_LEAST_MS, 0 },
                { 11 * S, "9", DNS_GOOD, DNS_GOOD, 999999 * S, "9", NAMES_MOST_MS, 0 },
                { 12 * S, "8", DNS_GOOD, DNS_EMPTY, -1, "8", NAMES_FILE_MS, 0 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
}

static void test_resolve(void **unused) {
        static const struct names_rules rules = { .resolve = 700, .hold = HOLD };
        static const struct step steps[] = {
                { 1, "1", DNS_GOOD, DNS_EMPTY, 60 * S, "1", 700, 0 },
                { 701, "1", DNS_GOOD, DNS_EMPTY, -1, "1", 700, 0 },
                { 1401, "", DNS_FAILED, DNS_FAILED, 0, "1", 700, 0 },
                { 2101, "", DNS_FAILED, DNS_FAILED, 0, "1", 700, 0 },
                { 2801, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 700, 1 },
        };
        static const struct names_rules slow = { .resolve = 600 * S, .hold = HOLD };
        static const struct step slow_steps[] = {
                { 1, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 600 * S, 0 },
                { 600 * S, "", DNS_FAILED, DNS_FAILED, 0, "1", 1 * S, 0 },
                { 601 * S, "", DNS_FAILED, DNS_FAILED, 0, "1", 2 * S, 0 },
                { 603 * S, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 600 * S, 0 },
        };

        (void)unused;
        TELL(steps, &rules);
        TELL(slow_steps, &slow);
}

/* The last good answer stays, however long, and is asked for less and less often. */
static void test_failing(void **unused) {
        static const struct step steps[] = {
                { 1, "1a", DNS_GOOD, DNS_GOOD, 5 * S, "1a", 5 * S, 0 },
                { 5 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 1 * S, 0 },
                { 6 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 2 * S, 0 },
                { 8 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 4 * S, 0 },
                { 12 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 8 * S, 0 },
                { 20 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 16 * S, 0 },
                { 36 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 30 * S, 0 },
                { 66 * S, "", DNS_FAILED, DNS_FAILED, 0, "1a", 30 * S, 0 },
                { 9999 * S, "2a", DNS_GOOD, DNS_GOOD, 5 * S, "a2", 5 * S, 0 },
                { 10005 * S, "", DNS_FAILED, DNS_FAILED, 0, "a2", 1 * S, 0 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
}

/* One family fails: its addresses stay, the other's are followed. */
static void test_half(void **unused) {
        static const struct step steps[] = {
                { 1, "1a", DNS_GOOD, DNS_GOOD, 60 * S, "1a", 60 * S, 0 },
                { 2, "2", DNS_GOOD, DNS_FAILED, 60 * S, "a2", 1 * S, 0 },
                { 3, "b", DNS_FAILED, DNS_GOOD, 60 * S, "2b", 2 * S, 0 },
                { 4, "3b", DNS_GOOD, DNS_GOOD, 60 * S, "b3", 60 * S, 0 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
}

/* Nothing and no such name are believed when they have lasted, and looked at again at that moment. */
static void test_hold(void **unused) {
        static const struct step steps[] = {
                { 1 * S, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 6 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1 * S, 1 },
                { 7 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 2 * S, 1 },
                /* Back: the time begins anew. */
                { 9 * S, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 14 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1 * S, 1 },
                { 36 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 2 * S, 1 },
                { 41 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 3 * S, 1 },
                { 44 * S - 1, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1, 1 },
                { 44 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "", 16 * S, 0 },
                { 60 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "", 30 * S, 0 },
                { 61 * S, "2", DNS_GOOD, DNS_EMPTY, 7 * S, "2", 7 * S, 0 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
}

/* Failures in between neither prove nor disprove it; with nothing known no address leaves. */
static void test_hold_and_failures(void **unused) {
        static const struct step steps[] = {
                { 1 * S, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 10 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1 * S, 1 },
                { 20 * S, "", DNS_FAILED, DNS_FAILED, 0, "1", 2 * S, 1 },
                { 50 * S, "", DNS_FAILED, DNS_FAILED, 0, "1", 4 * S, 1 },
                { 54 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "", 8 * S, 0 },
        };
        static const struct step back[] = {
                { 1 * S, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 10 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1 * S, 1 },
                { 50 * S, "", DNS_FAILED, DNS_FAILED, 0, "1", 2 * S, 1 },
                { 51 * S, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 56 * S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1 * S, 1 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
        TELL(back, &by_ttl);
}

/* A family that becomes empty is held, while the other one goes on. */
static void test_hold_family(void **unused) {
        static const struct step steps[] = {
                { 1 * S, "1a", DNS_GOOD, DNS_GOOD, 60 * S, "1a", 60 * S, 0 },
                { 61 * S, "2", DNS_GOOD, DNS_EMPTY, 60 * S, "a2", 1 * S, 1 },
                { 80 * S, "2", DNS_GOOD, DNS_EMPTY, 60 * S, "a2", 2 * S, 1 },
                { 90 * S, "2", DNS_GOOD, DNS_EMPTY, 60 * S, "a2", 1 * S, 1 },
                { 91 * S, "2", DNS_GOOD, DNS_EMPTY, 60 * S, "2", 60 * S, 0 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
}

static void test_hold_extremes(void **unused) {
        static const struct names_rules never = { .resolve = CONF_OFF, .hold = CONF_OFF };
        static const struct names_rules at_once = { .resolve = CONF_OFF, .hold = 0 };
        static const struct step kept[] = {
                { 1, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 2, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 1 * S, 1 },
                { 9999999 * (int64_t)S, "", DNS_EMPTY, DNS_EMPTY, 0, "1", 2 * S, 1 },
        };
        static const struct step gone[] = {
                { 1, "1", DNS_GOOD, DNS_EMPTY, 5 * S, "1", 5 * S, 0 },
                { 2, "", DNS_EMPTY, DNS_EMPTY, 0, "", 1 * S, 0 },
        };

        (void)unused;
        TELL(kept, &never);
        TELL(gone, &at_once);
}

/* A name that has never had an address. */
static void test_never(void **unused) {
        static const struct step steps[] = {
                { 1, "", DNS_FAILED, DNS_FAILED, 0, "", 1 * S, 0 },
                { 2, "", DNS_EMPTY, DNS_EMPTY, 0, "", 2 * S, 0 },
                { 3, "", DNS_EMPTY, DNS_FAILED, 0, "", 4 * S, 0 },
                { 4, "1", DNS_GOOD, DNS_FAILED, 60 * S, "1", 8 * S, 0 },
                { 5, "1", DNS_GOOD, DNS_EMPTY, 60 * S, "1", 60 * S, 0 },
        };

        (void)unused;
        TELL(steps, &by_ttl);
}

/* No more than there is room for, and what is in the answer goes before what is merely kept. */
static void test_room(void **unused) {
        static struct dns_answer answer;
        struct names_set set = { 0 };
        struct names_result result;

        (void)unused;
        for (int round = 0; round < 3; round++) {
                answer = (struct dns_answer){ .v4 = DNS_GOOD, .v6 = round == 1 ? DNS_EMPTY : DNS_FAILED, .n = 40 };
                for (size_t i = 0; i < answer.n; i++) {
                        answer.list[i].addr = address(round == 0 ? 'a' : '1');
                        if (round == 0)
                                answer.list[i].addr.in6.sin6_addr.s6_addr[5] = (uint8_t)i;
                        else
                                answer.list[i].addr.in.sin_addr.s_addr = htonl(0x0b000000 + (uint32_t)i);
                }
                names_apply(&set, &answer, &by_ttl, 1 + round, &result);
                assert_int_equal(set.n, round == 0 ? 40 : 64);
                assert_int_equal(result.added, round < 2 ? 40 : 0);
                assert_int_equal(result.removed, round == 1 ? 16 : 0);
                for (size_t i = 0; i < answer.n; i++) {
                        size_t there = 0;

                        for (size_t k = 0; k < set.n; k++)
                                there += (size_t)addr_equal(&set.list[k].addr, &answer.list[i].addr);
                        assert_int_equal(there, 1);
                }
        }
}

/* SRV: what became of weights and priorities; the n-th address is 10.0.0.n. */
static void check_weights(const struct dns_address *list, size_t n, const int *weights, const int *backups) {
        static struct dns_answer answer;
        struct names_set set = { 0 };
        struct names_result result;

        answer = (struct dns_answer){ .n = n, .ttl_ms = S };
        for (size_t i = 0; i < n; i++) {
                answer.list[i] = list[i];
                answer.list[i].addr = address((char)('1' + i));
        }
        names_apply(&set, &answer, &by_ttl, 1, &result);
        assert_int_equal(set.n, n);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(set.list[i].weight, weights[i]);
                assert_int_equal(set.list[i].backup, backups[i]);
        }
        names_apply(&set, &answer, &by_ttl, 2, &result);
        assert_int_equal(result.changed, 0);
        /* Another weight or priority is a change without a new address. */
        answer.list[0].priority = 60000;
        names_apply(&set, &answer, &by_ttl, 3, &result);
        assert_int_equal(result.added + result.removed, 0);
        assert_int_equal(result.changed, n > 1);
        assert_int_equal(set.list[0].backup, n > 1);
}

#define WEIGHTS(list, weights, backups) check_weights((list), sizeof(list) / sizeof((list)[0]), (weights), (backups))

static void test_srv(void **unused) {
        static const struct dns_address small[] = {
                { .weight = 1, .share = 1 }, { .weight = 2, .share = 1 }, { .weight = 5, .share = 1 } };
        static const struct dns_address large[] = {
                { .weight = 65535, .share = 1 }, { .weight = 32768, .share = 1 }, { .weight = 1, .share = 1 } };
        static const struct dns_address none[] = { { .weight = 0, .share = 1 }, { .weight = 0, .share = 1 } };
        static const struct dns_address hardly[] = { { .weight = 0, .share = 1 }, { .weight = 10, .share = 1 } };
        /* A target of two addresses gets no more than one of one. */
        static const struct dns_address shared[] = {
                { .weight = 3, .share = 2 }, { .weight = 3, .share = 2 }, { .weight = 3, .share = 1 } };
        static const struct dns_address many[] = {
                { .weight = 60000, .share = 61 }, { .weight = 60000, .share = 59 }, { .weight = 60000, .share = 1 } };
        static const struct dns_address levels[] = {
                { .priority = 10, .weight = 1, .share = 1 }, { .priority = 20, .weight = 1, .share = 1 },
                { .priority = 30, .weight = 1, .share = 1 }, { .priority = 10, .weight = 1, .share = 1 } };

        (void)unused;
        WEIGHTS(small, ((int[]){ 1, 2, 5 }), ((int[]){ 0, 0, 0 }));
        WEIGHTS(large, ((int[]){ 256, 128, 1 }), ((int[]){ 0, 0, 0 }));
        WEIGHTS(none, ((int[]){ 1, 1 }), ((int[]){ 0, 0 }));
        WEIGHTS(hardly, ((int[]){ 1, 10 }), ((int[]){ 0, 0 }));
        WEIGHTS(shared, ((int[]){ 3, 3, 6 }), ((int[]){ 0, 0, 0 }));
        WEIGHTS(many, ((int[]){ 4, 4, 256 }), ((int[]){ 0, 0, 0 }));
        WEIGHTS(levels, ((int[]){ 1, 1, 1, 1 }), ((int[]){ 0, 1, 1, 0 }));
}

static void test_configured(void **unused) {
        static const struct dns_address plain[] = { { .weight = 0 }, { .weight = 0 } };

        (void)unused;
        WEIGHTS(plain, ((int[]){ NAMES_WEIGHT_CONFIGURED, NAMES_WEIGHT_CONFIGURED }), ((int[]){ 0, 0 }));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_follow),          cmocka_unit_test(test_resolve),
                cmocka_unit_test(test_failing),         cmocka_unit_test(test_half),
                cmocka_unit_test(test_hold),            cmocka_unit_test(test_hold_and_failures),
                cmocka_unit_test(test_hold_family),     cmocka_unit_test(test_hold_extremes),
                cmocka_unit_test(test_never),           cmocka_unit_test(test_room),
                cmocka_unit_test(test_srv),             cmocka_unit_test(test_configured),
        };

        return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
