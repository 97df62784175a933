/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_ROUNDROBIN_H
#define SPLICED_BALANCE_ROUNDROBIN_H

#include "balance/backend.h"

/*
 * Smooth weighted round robin: each pick credits every server with its weight, and debits the one with
 * the most credit with the sum of all weights.  After as many picks as that sum, each has had just its share.
 *
 * Members of one weight are a class: they are credited alike, so what they are credited with stands once in the class,
 * and a heap has their order.  A pick looks at one member for each weight that is in use.
 */
extern const struct balance_algorithm roundrobin_algorithm;

#endif
