/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_PRIVILEGE_H
#define SPLICED_KEEPER_PRIVILEGE_H

#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"

/*
 * Giving up privileges for good: `user` and `group` of the configuration.
 *
 * They are looked up once, at start, into a struct privilege, which is plain
 * data.  After listening the keeper becomes them with privilege_drop(), and
 * its workers are born that way.  What is left are the capabilities that
 * the configuration needs.  They are ambient too, so that they survive the execve of an upgrade.
 *
 * Where neither user nor group is set, a process without uid 0 still reduces its
 * capabilities to those (a unit's AmbientCapabilities=, say), and a process with uid 0 is left as it is:
 * reaching the sockets and logs of other users is what people run it as root for.
 *
 * For a process with one thread: capabilities belong to threads.
 */

/* What a configuration needs beyond a plain user's rights, as bits. */
enum privilege_need {
        PRIVILEGE_BIND = 1,     /* CAP_NET_BIND_SERVICE: ports below 1024, now or after a reload */
        PRIVILEGE_RAW = 2,      /* CAP_NET_RAW, or CAP_NET_ADMIN where only that one is there */
        PRIVILEGE_ADMIN = 4,    /* CAP_NET_ADMIN */
};

/* So many supplementary groups a user may have. */
#define PRIVILEGE_GROUPS 256

/* Longest text that is written to why. */
#define PRIVILEGE_WHY 256

/* Who to be. */
struct privilege {
        uid_t uid;              /* (uid_t)-1: stays */
        gid_t gid;              /* (gid_t)-1: stays, and so do the supplementary groups */
        gid_t groups[PRIVILEGE_GROUPS];
        int n_groups;
};

/*
 * Looks up a user and a group, names or numbers, either of them NULL where unset.  A user
 * alone brings its own group; the supplementary groups are those that the user is a member of (with
 * a group alone: none).  A number needs no entry in the user database, but then a group.
 * May block, as name services do: only at start.
 * Returns 0; -EINVAL where there is no such user or group, -E2BIG where the user has more than PRIVILEGE_GROUPS
 * groups, -ENOMEM, or what the database failed with; `why` (PRIVILEGE_WHY bytes) then says so in one sentence.
 */
int privilege_lookup(struct privilege *privilege, const char *user, const char *group, char *why);

/*
 * What a configuration needs, as bits of enum privilege_need.  PRIVILEGE_BIND is always among
 * them, for the privileged port of a later reload.  PRIVILEGE_RAW: mark, transparent, device, a priority
 * above 6.  PRIVILEGE_ADMIN: busy-poll, and a congestion control that the kernel does not allow to everybody
 * (net.ipv4.tcp_allowed_congestion_control, read for that).
 */
unsigned privilege_needed(const struct conf *conf);

/*
 * Becomes the user and group, with the capabilities for `needs` at most, no_new_privs and an
 * empty bounding set besides them: there is no way back.  Cores stay
 * possible (PR_SET_DUMPABLE).  May be called again with the same identity and fewer needs (in a worker, say).
 *
 * Clears PR_SET_PDEATHSIG, as the kernel does with each change of identity: set it afterwards, and
 * look at getppid() once more.
 *
 * Returns 0; PRIVILEGE_LACKS where it worked, but a capability that is needed was not there to be kept, with
 * `why` (PRIVILEGE_WHY bytes) naming it (CAP_NET_BIND_SERVICE does not count: most configurations have no use for
 * it); -EPERM where this process may not become that user or group, or another -errno: then `why` says what failed,
 * and the process may be half-way and must end.
 */
#define PRIVILEGE_LACKS 1
int privilege_drop(const struct privilege *privilege, unsigned needs, char *why);

/* Whether this process has what is needed now: 0, or PRIVILEGE_LACKS with `why` (PRIVILEGE_WHY bytes) naming it. */
int privilege_check(unsigned needs, char *why);

#endif
