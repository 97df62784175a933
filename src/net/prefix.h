/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_PREFIX_H
#define SPLICED_NET_PREFIX_H

#include <stddef.h>
#include <stdint.h>

/*
 * A table of networks of one family: the value of the longest prefix that holds an address.
 *
 * Networks are ranges of addresses that nest, so they cut the line of all
 * addresses into ranges with one value each.  The table is a tree over the ends of these, with nodes of one
 * cache line and eight ways: 100,000 networks make 200,000 ranges at most, and so six levels, of which the upper
 * four stay in the nearest cache.  However networks are spread, it is no deeper.  IPv6 is looked up in
 * two halves: a range of the first half that has longer prefixes in it leads to a tree of its own.
 *
 * Pure; immutable once built, so threads share it.
 */

/* What a range of addresses has.  Two of the values that a network can have; PREFIX_NONE: no network holds it. */
enum { PREFIX_NONE, PREFIX_LESS, PREFIX_MORE };

struct prefix_network {
        uint64_t half[2];       /* the address, host order; an IPv4 one in the upper 32 bits of the first */
        uint8_t bits;           /* of the prefix: 0 to 32, or 0 to 128 */
        uint8_t value;          /* PREFIX_LESS or PREFIX_MORE, which wins where the same network has both */
};

struct prefix_node;

struct prefix_table {
        struct prefix_node *nodes;      /* owned; NULL: no network */
        uint32_t n;                     /* nodes, of 64 bytes */
};

/*
 * Builds the table of n networks, which it sorts and clears of bits after the
 * prefix.  Takes 25 to 50 ms for 100,000.
 * Returns 0 or -ENOMEM.  prefix_deinit() is fine on a zeroed or failed one.
 */
int prefix_init(struct prefix_table *table, struct prefix_network *networks, size_t n);
void prefix_deinit(struct prefix_table *table);

/* The value of the longest prefix that holds the address, or PREFIX_NONE. */
unsigned prefix_find(const struct prefix_table *table, const uint64_t half[2]);

/* The halves of an IPv4 address (network order, as in_addr), or of an IPv6 one. */
void prefix_half4(const void *address, uint64_t half[2]);
void prefix_half6(const void *address, uint64_t half[2]);

#endif
