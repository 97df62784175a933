/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_RANDOM_H
#define SPLICED_BALANCE_RANDOM_H

#include "balance/backend.h"

/*
 * Two different servers are drawn by weight; the one with fewer sessions by weight is picked, the first where both are
 * alike.  Sums of weights in a tree (Fenwick) make a draw as cheap as a search by halves.
 */
extern const struct balance_algorithm random_algorithm;

#endif
