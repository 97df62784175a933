/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_IDENTITY_H
#define SPLICED_NET_IDENTITY_H

#include <stdint.h>

/* Users and groups by name, in whatever databases the system has (nsswitch.conf).  May wait for a network. */

enum identity_kind { IDENTITY_USER, IDENTITY_GROUP };

/* There is none of that name. */
#define IDENTITY_UNKNOWN 1

/* Looks a name up.  Returns 0 with *id set; IDENTITY_UNKNOWN; -errno where it could not be asked. */
int identity_find(const char *name, enum identity_kind kind, uint32_t *id);

#endif
