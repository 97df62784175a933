/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_FIRST_H
#define SPLICED_BALANCE_FIRST_H

#include "balance/backend.h"

/*
 * The first server of the file that is open: each is filled to its max-connections before the next gets one.
 * Weights do not matter.  One that starts slowly is passed over as often as its weight is short of its full one, where
 * another is open.
 */
extern const struct balance_algorithm first_algorithm;

#endif
