/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_SOCKOPT_H
#define SPLICED_NET_SOCKOPT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The socket options of CONFIG.md's `socket { }` as one table.  A set holds
 * what a section gives; sets are overlaid (top level, then frontend and
 * listener, or backend and server), and the result is applied to a socket.
 */

enum sockopt_id {
        SOCKOPT_RCVBUF, SOCKOPT_SNDBUF, SOCKOPT_NODELAY, SOCKOPT_KEEPALIVE, SOCKOPT_KEEPALIVE_IDLE,
        SOCKOPT_KEEPALIVE_INTERVAL, SOCKOPT_KEEPALIVE_COUNT, SOCKOPT_USER_TIMEOUT, SOCKOPT_CONGESTION, SOCKOPT_MAXSEG,
        SOCKOPT_NOTSENT_LOWAT, SOCKOPT_TOS, SOCKOPT_MARK, SOCKOPT_PRIORITY, SOCKOPT_BUSY_POLL, SOCKOPT_PACING_RATE,
        SOCKOPT_WINDOW_CLAMP, SOCKOPT_QUICKACK, SOCKOPT_FASTOPEN, SOCKOPT_MPTCP, SOCKOPT_DEVICE, SOCKOPT_TRANSPARENT,
        SOCKOPT_FREEBIND,
        SOCKOPT_N
};

/*
 * How a value is written in the config; values are kept as SI base: bytes, ms
 * (durations), 0/1 (booleans), bytes/s.  busy-poll is a number of microseconds.  A
 * duration or rate whose min is 0 may be `off`, which is kept as 0
 * (user-timeout, pacing-rate).  Keepalive's times are rounded up to whole seconds.
 */
enum sockopt_type { SOCKOPT_BOOL, SOCKOPT_NUMBER, SOCKOPT_SIZE, SOCKOPT_DURATION, SOCKOPT_RATE, SOCKOPT_STRING };

struct sockopt_spec {
        const char *name;               /* the config's key */
        enum sockopt_type type;
        int64_t min, max;               /* inclusive, in the kept unit; for strings of the length */
        uint8_t both_domains;           /* also for AF_UNIX */
};

#define SOCKOPT_STRLEN 16               /* TCP_CA_NAME_MAX and IFNAMSIZ, the NUL included */

/* One value for each option that is set (bit id of `set`).  Plain data. */
struct sockopt_set {
        uint32_t set;
        int64_t value[SOCKOPT_N];
        char congestion[SOCKOPT_STRLEN];
        char device[SOCKOPT_STRLEN];
};

/* The row of an option; its index is the id. */
const struct sockopt_spec *sockopt_spec(enum sockopt_id id);

/* The defaults of CONFIG.md: nodelay and keepalive on, 60 s, 10 s, 6 probes. */
void sockopt_defaults(struct sockopt_set *set);

/* Puts every option that `over` sets on top of `set`. */
void sockopt_overlay(struct sockopt_set *set, const struct sockopt_set *over);

/*
 * When an option is applied.
 *   LISTENER  before bind on a listening socket; accepted sockets inherit all
 *             of it (a test pins that for this kernel, option by option)
 *   ACCEPTED  what an accepted socket does not inherit; mostly empty, so
 *             that accept costs no system call: priority and quickack for
 *             TCP, rcvbuf and sndbuf for AF_UNIX
 *   CONNECT   on a server socket, before connect
 *   SECOND    on a server socket, before it is written to for the second time, or with more than one segment:
 *             nodelay, since the first segment of a connection goes out at once whatever it is (a test pins that)
 *   LATER     on a server socket that has lived for a while: what only matters
 *             to a connection that idles (keepalive, user-timeout), so that short sessions need not pay
 */
enum sockopt_stage { SOCKOPT_LISTENER, SOCKOPT_ACCEPTED, SOCKOPT_CONNECT, SOCKOPT_SECOND, SOCKOPT_LATER };

/* So many bytes are one segment on any path. */
#define SOCKOPT_SEGMENT 512

/*
 * Applies to fd what the stage asks.  Options that AF_UNIX does not have are
 * skipped for it.  family is that of the socket, so AF_INET6 for what a
 * dual-stack listener accepted.  Any thread.  Returns 0, or -errno of the first failure, with *failed
 * naming the option (its value is in the set: sockopt_format()).  Does not own fd.
 */
int sockopt_apply(int fd, int family, const struct sockopt_set *set, enum sockopt_stage stage, enum sockopt_id *failed);

/* Whether sockopt_apply() would make any system call: lets the data path skip the call. */
int sockopt_any(int family, const struct sockopt_set *set, enum sockopt_stage stage);

/* Whether the set gives that option a value, be it a default. */
int sockopt_given(const struct sockopt_set *set, enum sockopt_id id);

/*
 * Has a socket's send buffer hold `size` bytes, as SO_SNDBUF counts them, where it is smaller: the kernel allows no
 * more than net.core.wmem_max (socket(7)).  Returns 0 or -errno (EBADF, ENOTSOCK).
 */
int sockopt_grow_sndbuf(int fd, int size);

/* The protocol for socket(2): IPPROTO_MPTCP where asked for and family is TCP, else 0. */
int sockopt_protocol(int family, const struct sockopt_set *set);

/* Writes an option's value as the config writes it ("60s", "64K", "on", "cubic", "10M/s").  Returns buf. */
char *sockopt_format(const struct sockopt_set *set, enum sockopt_id id, char *buf, size_t size);

/*
 * Reads back from the kernel what an option is on fd, in the kept unit; strings go to the set's members.
 * That is what the kernel made of it: rcvbuf and sndbuf are twice what was asked, or cut to its limits; maxseg of
 * a connection is the one in force; quickack is a connection's alone, and a listener reads as on whatever is
 * asked.  Marks the option as set.
 * Returns 0 or -errno (-EOPNOTSUPP where the family lacks the option).
 */
int sockopt_read(int fd, int family, enum sockopt_id id, struct sockopt_set *set);

#endif
