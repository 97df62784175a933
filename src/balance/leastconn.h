/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_LEASTCONN_H
#define SPLICED_BALANCE_LEASTCONN_H

#include "balance/backend.h"

/* The server with the fewest sessions by weight; those that are alike take turns (ranked.h). */
extern const struct balance_algorithm leastconn_algorithm;

#endif
