/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/prefix.h"

static uint64_t state = 88172645463325252;

static uint64_t random_number(void) {
        state ^= state << 13;
        state ^= state >> 7;
        return state ^= state << 17;
}

/* The model: look at every network. */
static int model_holds(const struct prefix_network *network, const uint64_t half[2]) {
        for (unsigned bit = 0; bit < network->bits; bit++)
                if ((network->half[bit / 64] ^ half[bit / 64]) >> (63 - bit % 64) & 1)
                        return 0;
        return 1;
}

static unsigned model_find(const struct prefix_network *networks, size_t n, const uint64_t half[2]) {
        int best = -1;
        unsigned value = PREFIX_NONE;

        for (size_t i = 0; i < n; i++) {
                if ((int)networks[i].bits < best || !model_holds(&networks[i], half))
                        continue;
                if ((int)networks[i].bits > best || networks[i].value > value)
                        value = networks[i].value;
                best = networks[i].bits;
        }
        return value;
}

/* The first (last = 0) or last address of a network. */
static void edge(const struct prefix_network *network, int last, uint64_t half[2]) {
        for (unsigned i = 0; i < 2; i++) {
                unsigned bits = network->bits > 64 * i ? network->bits - 64 * i : 0;
                uint64_t mask = bits == 0 ? UINT64_MAX : bits >= 64 ? 0 : UINT64_MAX >> bits;

                half[i] = (network->half[i] & ~mask) | (last ? mask : 0);
        }
}

/* The address before (step = -1) or after. */
static void move(uint64_t half[2], int step) {
        half[1] += (uint64_t)(int64_t)step;
        if (step > 0 ? half[1] == 0 : half[1] == UINT64_MAX)
                half[0] += (uint64_t)(int64_t)step;
}

struct sample {
        struct prefix_network *networks, *copy;
        struct prefix_table table;
        size_t n;
};

static struct sample build(const struct prefix_network *networks, size_t n) {
        struct sample sample = { .n = n, .networks = calloc(n + 1, sizeof(*networks)),
                                 .copy = calloc(n + 1, sizeof(*networks)) };

        if (n) {
                memcpy(sample.networks, networks, n * sizeof(*networks));
                memcpy(sample.copy, networks, n * sizeof(*networks));
        }
        assert_int_equal(prefix_init(&sample.table, sample.copy, n), 0);
        return sample;
}

static void drop(struct sample *sample) {
        prefix_deinit(&sample->table);
        prefix_deinit(&sample->table);
        free(sample->networks);
        free(sample->copy);
}

static void check_one(const struct sample *sample, const uint64_t half[2]) {
        unsigned wanted = model_find(sample->networks, sample->n, half), got = prefix_find(&sample->table, half);

        if (wanted == got)
                return;
        fail_msg("%016llx%016llx is %u, not %u", (unsigned long long)half[0], (unsigned long long)half[1], got, wanted);
}

/* Every edge of every network, what is next to it, and any others. */
static void check(const struct sample *sample, size_t edges, size_t others) {
        uint64_t half[2];

        for (size_t i = 0; i < edges; i++) {
                const struct prefix_network *network = &sample->networks[edges == sample->n ? i :
                                                                         random_number() % sample->n];

                for (int last = 0; last < 2; last++)
                        for (int step = -1; step <= 1; step++) {
                                edge(network, last, half);
                                if (step)
                                        move(half, step);
                                check_one(sample, half);
                        }
        }
        for (size_t i = 0; i < others; i++) {
                half[0] = random_number();
                half[1] = random_number();
                check_one(sample, half);
        }
}

static struct prefix_network parse(const char *text, unsigned bits, unsigned value) {
        struct prefix_network network = { .bits = (uint8_t)bits, .value = (uint8_t)value };
        uint8_t address[16];

        if (inet_pton(AF_INET, text, address) == 1)
                prefix_half4(address, network.half);
        else {
                assert_int_equal(inet_pton(AF_INET6, text, address), 1);
                prefix_half6(address, network.half);
        }
        return network;
}

static void test_cases(void **unused) {
        const struct prefix_network v4[] = {
                parse("10.0.0.0", 8, PREFIX_LESS), parse("10.1.0.0", 16, PREFIX_MORE),
                parse("10.1.2.0", 24, PREFIX_LESS), parse("10.1.2.3", 32, PREFIX_MORE),
                parse("192.168.0.0", 16, PREFIX_LESS), parse("192.168.0.0", 16, PREFIX_MORE),
                parse("0.0.0.0", 32, PREFIX_LESS), parse("255.255.255.255", 32, PREFIX_LESS),
        };
        static const struct { const char *text; unsigned value; } cases[] = {
                { "10.0.0.0", PREFIX_LESS }, { "10.255.255.255", PREFIX_LESS }, { "9.255.255.255", PREFIX_NONE },
                { "11.0.0.0", PREFIX_NONE }, { "10.1.0.0", PREFIX_MORE }, { "10.1.255.255", PREFIX_MORE },
                { "10.1.2.0", PREFIX_LESS }, { "10.1.2.2", PREFIX_LESS }, { "10.1.2.3", PREFIX_MORE },
                { "10.1.2.4", PREFIX_LESS }, { "10.1.3.0", PREFIX_MORE }, { "192.168.7.7", PREFIX_MORE },
                { "0.0.0.0", PREFIX_LESS }, { "0.0.0.1", PREFIX_NONE }, { "255.255.255.255", PREFIX_LESS },
                { "255.255.255.254", PREFIX_NONE },
        };
        struct sample sample = build(v4, sizeof(v4) / sizeof(v4[0]));

        (void)unused;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                assert_int_equal(prefix_find(&sample.table, parse(cases[i].text, 32, 0).half), cases[i].value);
        drop(&sample);
}

static void test_empty_and_whole(void **unused) {
        const struct prefix_network all = parse("::", 0, PREFIX_MORE), one = parse("2001:db8::1", 128, PREFIX_LESS);
        const struct prefix_network end = parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, PREFIX_LESS);
        const struct prefix_network both[] = { all, one, end };
        struct sample sample = build(NULL, 0);

        (void)unused;
        check(&sample, 0, 100);
        assert_null(sample.table.nodes);
        drop(&sample);
        sample = build(&all, 1);
        check(&sample, 1, 100);
        drop(&sample);
        sample = build(&one, 1);
        check(&sample, 1, 100);
        drop(&sample);
        sample = build(both, 3);
        check(&sample, 3, 100);
        drop(&sample);
}

/* The same network thousands of times is one, and more lengths than fit anywhere nest. */
static void test_deep_and_double(void **unused) {
        struct prefix_network *networks = calloc(129 * 40, sizeof(*networks));
        size_t n = 0;

        (void)unused;
        for (unsigned copy = 0; copy < 40; copy++)
                for (unsigned bits = 0; bits <= 128; bits++)
                        networks[n++] = parse("2001:db8:aaaa:5555:aaaa:5555:aaaa:5555", bits,
                                              (bits + (copy == 20)) % 2 ? PREFIX_LESS : PREFIX_MORE);
        struct sample sample = build(networks, n);

        check(&sample, 129, 1000);
        drop(&sample);
        /* Without the copy that makes all of them MORE, they take turns. */
        sample = build(networks, 129);
        check(&sample, 129, 1000);
        drop(&sample);
        free(networks);
}

/* Networks as lists have them: some spread over all addresses, many in a few places, some inside others. */
static struct prefix_network random_network(unsigned most, const struct prefix_network *others, size_t n) {
        struct prefix_network network = { .half = { random_number(), random_number() },
                                          .value = random_number() % 3 ? PREFIX_MORE : PREFIX_LESS };

        network.bits = (uint8_t)(random_number() % 4 ? most - random_number() % (most / 4)
                                                     : random_number() % (most + 1));
        if (n && random_number() % 3) {
                const struct prefix_network *near = &others[random_number() % n];
                unsigned same = (unsigned)(random_number() % (most + 1));

                for (unsigned bit = 0; bit < same; bit++) {
                        uint64_t mask = UINT64_C(1) << (63 - bit % 64);

                        network.half[bit / 64] = (network.half[bit / 64] & ~mask) | (near->half[bit / 64] & mask);
                }
        }
        if (most == 32) {
                network.half[0] &= ~UINT64_C(0xffffffff);
                network.half[1] = 0;
        }
        return network;
}

static struct sample random_sample(unsigned most, size_t n) {
        struct prefix_network *networks = calloc(n + 1, sizeof(*networks));
        struct sample sample;

        for (size_t i = 0; i < n; i++)
                networks[i] = random_network(most, networks, i);
        sample = build(networks, n);
        free(networks);
        return sample;
}

static void test_random_against_the_model(void **unused) {
        static const size_t sizes[] = { 1, 2, 3, 7, 8, 9, 20, 63, 64, 65, 200, 600 };

        (void)unused;
        for (unsigned most = 32; most <= 128; most += 96)
                for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
                        for (int round = 0; round < (sizes[i] < 100 ? 60 : 4); round++) {
                                struct sample sample = random_sample(most, sizes[i]);

                                check(&sample, sizes[i], 100);
                                drop(&sample);
                        }
}

static void test_a_hundred_thousand(void **unused) {
        (void)unused;
        for (unsigned most = 32; most <= 128; most += 96) {
                struct sample sample = random_sample(most, 100000);

                check(&sample, 60, 100);
                /* An IPv6 one that is longer than a half has a node of its own at the worst. */
                assert_true(sample.table.n <= (most == 32 ? 35000u : 150000u));
                drop(&sample);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_empty_and_whole),
                cmocka_unit_test(test_deep_and_double),
                cmocka_unit_test(test_random_against_the_model),
                cmocka_unit_test(test_a_hundred_thousand),
        };

        return cmocka_run_group_tests_name("prefix", tests, NULL, NULL);
}
