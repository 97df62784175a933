/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_ROUNDROBIN_H
#define SPLICED_BALANCE_ROUNDROBIN_H

#include "balance/backend.h"

/*
 * Smooth weighted round robin, the way nginx made known: at each choice every
 * eligible server gains its weight, the richest is chosen and pays what all
 * gained.  Over a cycle each gets exactly its share, spread out evenly.
 */
extern const struct balance_algorithm roundrobin_algorithm;

#endif
