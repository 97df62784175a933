/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_PEER_H
#define SPLICED_SESSION_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "session/env.h"

/*
 * Who holds the other end of a client's AF_UNIX socket, as the kernel noted it
 * when that end was connected.  Never who a PROXY header names: header.h.
 */

/* Its user, its group and its process.  Returns 0 or -errno. */
int peer_ids(const struct session *session, struct ucred *ids);

/*
 * Its supplementary groups: in the thread's scratch buffer, or where they are too many in *memory, which the caller
 * frees and which is NULL else.  Returns 0 or -errno.
 */
int peer_groups(struct env *env, const struct session *session, const uint32_t **groups, size_t *n, uint32_t **memory);

#endif
