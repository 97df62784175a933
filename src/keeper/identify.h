/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_IDENTIFY_H
#define SPLICED_KEEPER_IDENTIFY_H

#include <stdio.h>

#include "conf/conf.h"

/*
 * Rules of a config may name users and groups.  They are looked up once, by
 * whoever has read the file and before anything is bound: the keeper at its start, the helper at a
 * reload.  Everybody else gets the effective config, which has numbers.
 */

/* A name is not known: each such is one line on `errors`. */
#define IDENTIFY_UNKNOWN 1

/*
 * Puts the ids of users and groups in the place of their names.
 * Returns 0, or IDENTIFY_UNKNOWN where a name is unknown or its database cannot be asked.
 */
int identify_rules(struct conf *conf, FILE *errors);

#endif
