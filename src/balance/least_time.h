/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_LEAST_TIME_H
#define SPLICED_BALANCE_LEAST_TIME_H

#include "balance/backend.h"

/*
 * The server with the lowest connect time (latency.h) times sessions, the new one included, by weight.  One of which
 * nothing is known gets a session at once, and no more until that has told, as long as others are known.
 */
extern const struct balance_algorithm least_time_algorithm;

#endif
