/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_LISTENER_H
#define SPLICED_NET_LISTENER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/addr.h"
#include "net/sockopt.h"

/*
 * Opens listening sockets.  For AF_UNIX paths: owner, group and mode are right
 * before the path is visible (bound under a temporary name beside it, made to
 * listen, then renamed), a stale path is replaced in one step, a live one is
 * left alone.  So getsockname(), also that of an accepted socket, gives the
 * temporary name: whoever needs the path takes it from the config.  Such
 * paths need /proc.
 *
 * Set-up code: it may look up users and read directories; not for the data path.
 */

struct listener_options {
        int backlog;                    /* as for listen(2); 0: net.core.somaxconn */
        mode_t mode;                    /* AF_UNIX paths only, as the next two; always set, whatever the umask */
        const char *owner;              /* a user name or number, NULL: unchanged */
        const char *group;
        int v6only;
        int defer_accept_s;             /* TCP_DEFER_ACCEPT in seconds, 0: off */
        const struct sockopt_set *sockopts;     /* NULL: none */
};

/* What became of an AF_UNIX path that we bound: lets listener_unlink() remove only what is ours. */
struct listener_path {
        dev_t dev;
        ino_t ino;
};

/* Longest text that listener_open() writes to why. */
#define LISTENER_WHY 512

/*
 * Opens a non-blocking, close-on-exec listening socket on addr (never
 * ADDR_HOST).  ADDR_ANY gives one dual-stack socket, or IPv4 alone where the
 * kernel has no IPv6.  On success *fd is the caller's, and *path is filled
 * for an AF_UNIX path (dev 0 otherwise).
 * Returns 0, or -errno with *fd = -1 and `why` (LISTENER_WHY bytes) filled with
 * one sentence for a sysadmin: what failed, on what, and what to do.
 * -EADDRINUSE: a live server has it.  -EEXIST: the path is no socket.
 * -EINVAL: no such user or group.
 */
int listener_open(int *fd, struct listener_path *path, const struct addr *addr, const struct listener_options *options,
                  char *why);

/*
 * The same for a listening socket that another process has opened, `passed`, which stays the caller's: *fd is a
 * copy, with the options' socket options set, and nothing else of them.  `name` is for `why`.
 * Returns 0, or -errno with *fd = -1 and `why` filled.
 */
int listener_take(int *fd, int passed, const char *name, const struct listener_options *options, char *why);

/* The family of a socket (AF_INET, AF_INET6, AF_UNIX), or -errno. */
int listener_family(int fd);

/*
 * Removes an AF_UNIX path where it is still the inode that listener_open()
 * made.  Anything else is left alone.  To be called before the socket is
 * closed: until then no other file can have its inode number.
 */
void listener_unlink(const struct addr *addr, const struct listener_path *path);

#endif
