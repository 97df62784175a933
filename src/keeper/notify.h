/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_NOTIFY_H
#define SPLICED_KEEPER_NOTIFY_H

#include <stdint.h>
#include <sys/types.h>

/*
 * The service manager: telling it what goes on (sd_notify(3)), feeding its watchdog, and taking the sockets that
 * it has opened for us.
 *
 * notify.c does so by libsystemd; notify_none.c stands in for it where that was not
 * configured in, and then tells only what is missing.
 *
 * What is told goes to $NOTIFY_SOCKET, which stays set, so that it is there after an upgrade too.  Where
 * it is not set nothing is sent, and that is no error.  The senders return 0 or -errno, which nobody need do
 * anything about.  Each opens and closes a socket of its own; where the manager does not empty its queue, it waits.
 * For the process whose PID the manager knows, with one thread.
 */

/* Longest text that is written to why. */
#define NOTIFY_WHY 256

/*
 * Whether what the manager offers can be made use of.  Returns 0, or NOTIFY_UNSUPPORTED where it
 * offers something (NOTIFY_SOCKET, WATCHDOG_USEC or LISTEN_FDS is set) and this program was built
 * without libsystemd; why (NOTIFY_WHY bytes) then says so.
 */
#define NOTIFY_UNSUPPORTED 1
int notify_check(char *why);

/* Whether this program was built with libsystemd, for -V. */
int notify_built_in(void);

/* Serving: at start, after a reload and after an upgrade. */
int notify_ready(void);

/* A reload or an upgrade begins, now by CLOCK_MONOTONIC; notify_ready() ends it. */
int notify_reloading(void);

/* The end begins. */
int notify_stopping(void);

/* What `systemctl status` shows: one line; a newline or other control character in it becomes a blank. */
int notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The start, stop or reload that is under way may take so much more from now on. */
int notify_extend_timeout(int64_t ms);

/* Names another process as the main one. */
int notify_mainpid(pid_t pid);

/*
 * The time in ms after which the manager's watchdog bites, or 0 where it keeps none over
 * this process.  Ask again after an upgrade; ping at half of it.
 */
int64_t notify_watchdog_ms(void);

/* Feeds the watchdog. */
int notify_watchdog(void);

/* Sockets that the manager has passed: descriptors NOTIFY_FIRST_FD and up, with a name each. */
#define NOTIFY_FIRST_FD 3
struct notify_sockets {
        char **names;           /* n of them; owned */
        int n;
};

/*
 * Takes what $LISTEN_FDS, $LISTEN_FDNAMES and $LISTEN_PID say, once at start
 * and before a fork (they are meant for one PID; for another there are none), makes the
 * descriptors close-on-exec and removes the variables.  The descriptors are the caller's.
 * Returns 0, also where there are none, or -errno.
 */
int notify_sockets_take(struct notify_sockets *sockets);

/* Frees the names; the descriptors stay open. */
void notify_sockets_free(struct notify_sockets *sockets);

/*
 * Finds the socket of `fd:NAME` by its name (FileDescriptorName= of a socket unit) or else by its descriptor's
 * number, and makes it non-blocking.  The same one may be asked for again.
 * Returns the descriptor; or with `why` (NOTIFY_WHY bytes) filled with one sentence: -ENOENT where none
 * has that name, -ENOTUNIQ where several have, -EINVAL where it is no listening stream socket, -ENOTSUP without
 * libsystemd, or another -errno.
 */
int notify_listen_fd(const struct notify_sockets *sockets, const char *name, char *why);

#endif
