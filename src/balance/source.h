/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_SOURCE_H
#define SPLICED_BALANCE_SOURCE_H

#include <netinet/in.h>

#include "balance/backend.h"

/*
 * A client goes to the server that its hash names.  Each client has an order of the servers, by weight: the places of a
 * Maglev table (maglev.h) that its hash, and what follows from that, names one after the other; and then, should
 * nearly all servers be closed, the open ones by a hash of client and server (rendezvous).  It gets the first that is
 * open, so a server that is down or full moves its own clients and no others, and gets them back.
 *
 * The table holds every server that has a weight, whatever its state, and is made at the first pick that needs it.
 * A server that starts slowly is passed over by a part of its clients, fewer and fewer, always the same ones.
 */
extern const struct balance_algorithm source_algorithm;

/* The hash of a client by its address, an IPv4 one in the first four bytes.  The port does not count. */
uint64_t source_hash_address(int family, const struct in6_addr *address);

/* The hash of an AF_UNIX client. */
uint64_t source_hash_uid(uint32_t uid);

#endif
