/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ENGINE_POLLER_H
#define SPLICED_ENGINE_POLLER_H

#include <stdint.h>

/*
 * epoll behind a seam of its own, beside net/sys.h: the only file that knows
 * <sys/epoll.h>.  Everything is edge-triggered and registered once; what fills up is watched from then on.
 */

/* What an event says; the kernel's bits, pinned in poller.c. */
#define POLLER_IN 0x001u
#define POLLER_PRI 0x002u       /* TCP urgent data, or out-of-band data on AF_UNIX */
#define POLLER_OUT 0x004u
#define POLLER_ERR 0x008u
#define POLLER_HUP 0x010u
#define POLLER_RDHUP 0x2000u

/* As the kernel writes it: an array of these may live in the arena. */
struct poller_event {
        uint32_t events;
        uint64_t key;
} __attribute__((packed));

/* A new epoll descriptor, the caller's, or -errno. */
int poller_new(void);

/*
 * Registers a connected or connecting socket for IN, OUT, PRI and RDHUP,
 * edge-triggered: what holds already is reported as a first event.  May be
 * called by any thread for any poller (that is how a session changes thread).
 * Returns 0 or -errno (ENOMEM, ENOSPC).
 */
int poller_add(int poller, int fd, uint64_t key);

/*
 * The same without OUT, for a connected socket: AF_UNIX reports OUT whenever the peer has read something, also
 * where nobody waits for room.  Whoever comes to wait for it calls poller_watch() first.
 */
int poller_add_quiet(int poller, int fd, uint64_t key);

/*
 * OUT too from now on, for a socket that is registered: an event comes at once where it can be written to.
 * poller_unwatch() goes back to what poller_add_quiet() asks for.  Both return 0 or -errno (ENOENT).
 */
int poller_watch(int poller, int fd, uint64_t key);
int poller_unwatch(int poller, int fd, uint64_t key);

/* Registers a listening socket for IN such that one waiting thread is woken for a connection (EPOLLEXCLUSIVE). */
int poller_add_listener(int poller, int fd, uint64_t key);

/* Takes a descriptor out again.  Only for those which others hold open too: close() does it by itself otherwise. */
int poller_remove(int poller, int fd);

/* Waits for at most timeout_ms (-1: for ever).  Returns how many events were written, 0 on EINTR too, or -errno. */
int poller_wait(int poller, struct poller_event *events, int max, int timeout_ms);

#endif
