/* SPDX-License-Identifier: ISC */
#include "net/prefix.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_KEYS 7
#define PREFIX_WAYS (PREFIX_KEYS + 1)
#define PREFIX_CODE 3u          /* bits of a code */
#define PREFIX_FURTHER 3u       /* the code of a range that another node tells about */
#define PREFIX_INNER UINT32_C(0x80000000)       /* in codes: that node is about the same half of the address */
#define PREFIX_HALVES 2

/*
 * Way i is the range up to and with key[i], the last one has no end.  Each has a code of two bits: a
 * value, or PREFIX_FURTHER.  The nodes that those lead to stand one after the other from `first` on.
 */
struct prefix_node {
        uint64_t key[PREFIX_KEYS];      /* ascending; UINT64_MAX where there are fewer ways */
        uint32_t codes;
        uint32_t first;
};

_Static_assert(sizeof(struct prefix_node) == 64, "a node is one cache line");

/* A range of one half; the one before says where it begins. */
struct prefix_range {
        uint64_t last;
        uint32_t from, to;      /* PREFIX_FURTHER: the networks in it that are longer than this half */
        uint8_t code;
        uint8_t under;          /* and the value that they lie in */
};

/* A table in the making. */
struct prefix_build {
        const struct prefix_network *networks;  /* sorted */
        struct prefix_node *nodes;
        size_t n_nodes, max_nodes;
        struct prefix_range *ranges;            /* a stack: those of the first half, then those of one second half */
        size_t n_ranges, max_ranges;
};

/* Networks that hold each other, from the outside in. */
struct prefix_nest {
        struct { uint64_t last; uint8_t value; } open[1 + 65];  /* one of each length, in what is around them all */
        size_t n;
        uint64_t next;          /* the first address that has no range yet */
        int done;               /* there is none */
};

static void prefix_clear(struct prefix_network *network) {
        if (network->bits < 64) {
                network->half[0] &= network->bits ? ~(UINT64_MAX >> network->bits) : 0;
                network->half[1] = 0;
        } else if (network->bits < 128)
                network->half[1] &= network->bits > 64 ? ~(UINT64_MAX >> (network->bits - 64)) : 0;
}

/* What networks are sorted by, a byte at a time, the least first: value, bits, the second half, the first. */
static unsigned prefix_digit(const struct prefix_network *network, unsigned digit) {
        if (digit < 2)
                return digit ? network->bits : network->value;
        digit -= 2;
        return digit < 8 ? network->half[1] >> 8 * digit & 0xff : network->half[0] >> 8 * (digit - 8) & 0xff;
}

/* By radix, which takes a tenth of qsort()'s time: bytes that all have in common cost next to nothing. */
static int prefix_sort(struct prefix_network *networks, size_t n) {
        struct prefix_network *from = networks, *to = calloc(n, sizeof(*to)), *other = to;

        if (!to)
                return -ENOMEM;
        for (unsigned digit = 0; digit < 2 + PREFIX_HALVES * 8; digit++) {
                size_t at[257] = { 0 };

                for (size_t i = 0; i < n; i++)
                        at[1 + prefix_digit(&from[i], digit)]++;
                if (at[1 + prefix_digit(&from[0], digit)] == n)
                        continue;
                for (int i = 0; i < 256; i++)
                        at[i + 1] += at[i];
                for (size_t i = 0; i < n; i++)
                        to[at[prefix_digit(&from[i], digit)]++] = from[i];
                to = from;
                from = from == networks ? other : networks;
        }
        if (from != networks)
                memcpy(networks, from, n * sizeof(*networks));
        free(other);
        return 0;
}

/* Of the same network only the greater value counts.  Returns how many are left. */
static size_t prefix_unique(struct prefix_network *networks, size_t n) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
                if (i + 1 < n && networks[i].bits == networks[i + 1].bits &&
                    memcmp(networks[i].half, networks[i + 1].half, sizeof(networks[i].half)) == 0)
                        continue;
                networks[kept++] = networks[i];
        }
        return kept;
}

/* Makes room for `more` elements.  Returns the array, perhaps moved, or NULL with the old one as it was. */
static void *prefix_room(void *array, size_t n, size_t *max, size_t more, size_t size) {
        size_t bigger = *max ? *max : 64;

        if (n + more <= *max)
                return array;
        while (bigger < n + more)
                bigger *= 2;
        array = reallocarray(array, bigger, size);
        if (array)
                *max = bigger;
        return array;
}

static int prefix_add_range(struct prefix_build *build, size_t floor, const struct prefix_range *range) {
        struct prefix_range *ranges;

        /* What has the same value as its neighbour is one range with it. */
        if (build->n_ranges > floor && range->code != PREFIX_FURTHER &&
            build->ranges[build->n_ranges - 1].code == range->code) {
                build->ranges[build->n_ranges - 1].last = range->last;
                return 0;
        }
        ranges = prefix_room(build->ranges, build->n_ranges, &build->max_ranges, 1, sizeof(*ranges));
        if (!ranges)
                return -ENOMEM;
        build->ranges = ranges;
        ranges[build->n_ranges++] = *range;
        return 0;
}

/* Closes what ends before `to`, and gives every address up to and with it that has no range one. */
static int prefix_sweep(struct prefix_build *build, size_t floor, struct prefix_nest *nest, uint64_t to) {
        int r = 0;

        while (r == 0 && !nest->done && nest->next <= to) {
                struct prefix_range range = { .last = to };

                while (nest->open[nest->n - 1].last < nest->next)
                        nest->n--;
                range.code = nest->open[nest->n - 1].value;
                if (nest->open[nest->n - 1].last < to)
                        range.last = nest->open[nest->n - 1].last;
                r = prefix_add_range(build, floor, &range);
                nest->done = range.last == UINT64_MAX;
                nest->next = range.last + 1;
        }
        return r;
}

/* The networks from `at` on that are longer than this half and begin with the same: a range of one address. */
static int prefix_further(struct prefix_build *build, size_t floor, struct prefix_nest *nest, uint32_t *at,
                          uint32_t to) {
        uint64_t address = build->networks[*at].half[0];
        struct prefix_range range = { .last = address, .from = *at, .code = PREFIX_FURTHER };

        while (*at < to && build->networks[*at].half[0] == address)
                ++*at;
        range.to = *at;
        while (nest->open[nest->n - 1].last < address)
                nest->n--;
        range.under = nest->open[nest->n - 1].value;
        nest->done = address == UINT64_MAX;
        nest->next = address + 1;
        return prefix_add_range(build, floor, &range);
}

/* Pushes the ranges into which the networks from `from` to `to` cut one half; what none of them holds is `under`. */
static int prefix_cut(struct prefix_build *build, uint32_t from, uint32_t to, int half, uint8_t under) {
        size_t floor = build->n_ranges;
        struct prefix_nest nest = { .open = { { UINT64_MAX, under } }, .n = 1 };
        int r = 0;

        for (uint32_t i = from; i < to && r == 0;) {
                const struct prefix_network *network = &build->networks[i];
                unsigned bits = network->bits - (half ? 64u : 0u);
                uint64_t start = network->half[half];

                if (start)
                        r = prefix_sweep(build, floor, &nest, start - 1);
                if (r == 0 && bits > 64)
                        r = prefix_further(build, floor, &nest, &i, to);
                else {
                        while (nest.open[nest.n - 1].last < start)
                                nest.n--;
                        nest.open[nest.n].last = bits >= 64 ? start : start | UINT64_MAX >> bits;
                        nest.open[nest.n++].value = network->value;
                        i++;
                }
        }
        return r == 0 ? prefix_sweep(build, floor, &nest, UINT64_MAX) : r;
}

static int prefix_add_nodes(struct prefix_build *build, size_t n, uint32_t *first) {
        struct prefix_node *nodes = prefix_room(build->nodes, build->n_nodes, &build->max_nodes, n, sizeof(*nodes));

        if (!nodes)
                return -ENOMEM;
        build->nodes = nodes;
        *first = (uint32_t)build->n_nodes;
        build->n_nodes += n;
        return 0;
}

static int prefix_fill(struct prefix_build *build, uint32_t node, size_t from, size_t to);

/* The trees of the second half below a leaf. */
static int prefix_fill_further(struct prefix_build *build, uint32_t first, size_t from, size_t to) {
        int r = 0;

        for (size_t i = from; i < to && r == 0; i++) {
                struct prefix_range range = build->ranges[i];
                size_t floor = build->n_ranges;

                if (range.code != PREFIX_FURTHER)
                        continue;
                r = prefix_cut(build, range.from, range.to, 1, range.under);
                if (r == 0)
                        r = prefix_fill(build, first++, floor, build->n_ranges);
                build->n_ranges = floor;
        }
        return r;
}

/* Makes the node one over these ranges, and all nodes below it. */
static int prefix_fill(struct prefix_build *build, uint32_t node, size_t from, size_t to) {
        struct prefix_node filled = { .codes = 0 };
        size_t each = 1, ways, further = 0;
        int r;

        while (each * PREFIX_WAYS < to - from)
                each *= PREFIX_WAYS;
        ways = (to - from + each - 1) / each;
        for (size_t i = 0; i < PREFIX_KEYS; i++)
                filled.key[i] = i + 1 < ways ? build->ranges[from + (i + 1) * each - 1].last : UINT64_MAX;
        for (size_t i = 0; i < ways; i++) {
                uint32_t code = each > 1 ? PREFIX_FURTHER : build->ranges[from + i].code;

                filled.codes |= code << 2 * i;
                further += code == PREFIX_FURTHER;
        }
        if (each > 1)
                filled.codes |= PREFIX_INNER;
        r = prefix_add_nodes(build, further, &filled.first);
        if (r < 0)
                return r;
        build->nodes[node] = filled;
        if (each == 1)
                return prefix_fill_further(build, filled.first, from, to);
        for (size_t i = 0; i < ways && r == 0; i++) {
                size_t end = from + (i + 1) * each;

                r = prefix_fill(build, filled.first + (uint32_t)i, from + i * each, end < to ? end : to);
        }
        return r;
}

int prefix_init(struct prefix_table *table, struct prefix_network *networks, size_t n) {
        struct prefix_build build = { .networks = networks };
        uint32_t root;
        int r;

        *table = (struct prefix_table){ 0 };
        if (!n)
                return 0;
        for (size_t i = 0; i < n; i++)
                prefix_clear(&networks[i]);
        r = prefix_sort(networks, n);
        if (r < 0)
                return r;
        n = prefix_unique(networks, n);

        r = prefix_add_nodes(&build, 1, &root);
        if (r == 0)
                r = prefix_cut(&build, 0, (uint32_t)n, 0, PREFIX_NONE);
        if (r == 0)
                r = prefix_fill(&build, root, 0, build.n_ranges);
        if (r == 0)
                table->nodes = aligned_alloc(sizeof(struct prefix_node), build.n_nodes * sizeof(struct prefix_node));
        if (r == 0 && !table->nodes)
                r = -ENOMEM;
        if (r == 0) {
                memcpy(table->nodes, build.nodes, build.n_nodes * sizeof(struct prefix_node));
                table->n = (uint32_t)build.n_nodes;
        }
        free(build.nodes);
        free(build.ranges);
        return r;
}

void prefix_deinit(struct prefix_table *table) {
        free(table->nodes);
        *table = (struct prefix_table){ 0 };
}

unsigned prefix_find(const struct prefix_table *table, const uint64_t half[2]) {
        const struct prefix_node *node = table->nodes;
        uint64_t address = half[0];

        if (!node)
                return PREFIX_NONE;
        for (;;) {
                uint32_t codes = node->codes, further, code;
                unsigned way = 0;

                for (int i = 0; i < PREFIX_KEYS; i++)
                        way += node->key[i] < address;
                code = codes >> 2 * way & PREFIX_CODE;
                if (code != PREFIX_FURTHER)
                        return code;
                /* How many ways before this one lead further too. */
                further = codes & codes >> 1 & 0x5555u & ((1u << 2 * way) - 1);
                if (!(codes & PREFIX_INNER))
                        address = half[1];
                node = table->nodes + node->first + (unsigned)__builtin_popcount(further);
        }
}

void prefix_half4(const void *address, uint64_t half[2]) {
        uint32_t word;

        memcpy(&word, address, sizeof(word));
        half[0] = (uint64_t)be32toh(word) << 32;
        half[1] = 0;
}

void prefix_half6(const void *address, uint64_t half[2]) {
        memcpy(half, address, 2 * sizeof(*half));
        half[0] = be64toh(half[0]);
        half[1] = be64toh(half[1]);
}
