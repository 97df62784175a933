/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_RULE_H
#define SPLICED_CONF_RULE_H

#include <stddef.h>

#include "conf/conf.h"
#include "conf/region.h"
#include "conf/value.h"

/*
 * One entry of allow, deny, proxy-from or a route's from, as text:
 * 10.0.0.0/8, 2001:db8::/32, an address without a prefix, unix, uid:1000,
 * user:bob, gid:33, group:adm.  Pure; names of users and groups are not looked up.
 */

/* Bytes that rule_format() may write, the NUL included: "group:" and a name. */
#define RULE_STRLEN 272

/*
 * Reads one; with `networks` nothing but a network is allowed.  An IPv4
 * network that is written as a v4-mapped IPv6 one becomes plain IPv4.
 * Returns 0; -EINVAL with why filled; -ENOMEM.
 */
int rule_parse(struct conf_rule *rule, const char *text, int networks, struct region *region,
               char why[static VALUE_WHY]);

/* Writes one such that rule_parse() gives the same: a network always with its prefix.  Returns buf. */
char *rule_format(const struct conf_rule *rule, char buf[static RULE_STRLEN]);

#endif
