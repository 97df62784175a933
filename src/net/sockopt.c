/* SPDX-License-Identifier: ISC */
#include "net/sockopt.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/sys.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define SOCKOPT_BIT(id) (UINT32_C(1) << (id))

#define SOCKOPT_1G (INT64_C(1) << 30)
#define SOCKOPT_1T (INT64_C(1) << 40)

_Static_assert(SOCKOPT_N <= 32, "an option is a bit of sockopt_set.set");

static const struct sockopt_spec sockopt_specs[SOCKOPT_N] = {
        [SOCKOPT_RCVBUF] =             { "rcvbuf", SOCKOPT_SIZE, 1024, SOCKOPT_1G, 1 },
        [SOCKOPT_SNDBUF] =             { "sndbuf", SOCKOPT_SIZE, 1024, SOCKOPT_1G, 1 },
        [SOCKOPT_NODELAY] =            { "nodelay", SOCKOPT_BOOL, 0, 1, 0 },
        [SOCKOPT_KEEPALIVE] =          { "keepalive", SOCKOPT_BOOL, 0, 1, 0 },
        [SOCKOPT_KEEPALIVE_IDLE] =     { "keepalive-idle", SOCKOPT_DURATION, 1000, 32767000, 0 },
        [SOCKOPT_KEEPALIVE_INTERVAL] = { "keepalive-interval", SOCKOPT_DURATION, 1000, 32767000, 0 },
        [SOCKOPT_KEEPALIVE_COUNT] =    { "keepalive-count", SOCKOPT_NUMBER, 1, 127, 0 },
        [SOCKOPT_USER_TIMEOUT] =       { "user-timeout", SOCKOPT_DURATION, 0, INT_MAX, 0 },
        [SOCKOPT_CONGESTION] =         { "congestion", SOCKOPT_STRING, 1, SOCKOPT_STRLEN - 1, 0 },
        [SOCKOPT_MAXSEG] =             { "maxseg", SOCKOPT_SIZE, 88, 32767, 0 },
        [SOCKOPT_NOTSENT_LOWAT] =      { "notsent-lowat", SOCKOPT_SIZE, 1, SOCKOPT_1G, 0 },
        [SOCKOPT_TOS] =                { "tos", SOCKOPT_NUMBER, 0, 255, 0 },
        [SOCKOPT_MARK] =               { "mark", SOCKOPT_NUMBER, 0, UINT32_MAX, 0 },
        [SOCKOPT_PRIORITY] =           { "priority", SOCKOPT_NUMBER, 0, INT_MAX, 0 },
        [SOCKOPT_BUSY_POLL] =          { "busy-poll", SOCKOPT_NUMBER, 0, 1000000, 0 },
        [SOCKOPT_PACING_RATE] =        { "pacing-rate", SOCKOPT_RATE, 0, SOCKOPT_1T, 0 },
        [SOCKOPT_WINDOW_CLAMP] =       { "window-clamp", SOCKOPT_SIZE, 1024, SOCKOPT_1G, 0 },
        [SOCKOPT_QUICKACK] =           { "quickack", SOCKOPT_BOOL, 0, 1, 0 },
        [SOCKOPT_FASTOPEN] =           { "fastopen", SOCKOPT_BOOL, 0, 1, 0 },
        [SOCKOPT_MPTCP] =              { "mptcp", SOCKOPT_BOOL, 0, 1, 0 },
        [SOCKOPT_DEVICE] =             { "device", SOCKOPT_STRING, 1, SOCKOPT_STRLEN - 1, 0 },
        [SOCKOPT_TRANSPARENT] =        { "transparent", SOCKOPT_BOOL, 0, 1, 0 },
        [SOCKOPT_FREEBIND] =           { "freebind", SOCKOPT_BOOL, 0, 1, 0 },
};

/* How the kernel calls an option; for IPv6 sockets the second pair, where there is one. */
static const struct sockopt_kernel { int level, name, level6, name6; } sockopt_kernels[SOCKOPT_N] = {
        [SOCKOPT_RCVBUF] =             { SOL_SOCKET, SO_RCVBUF, 0, 0 },
        [SOCKOPT_SNDBUF] =             { SOL_SOCKET, SO_SNDBUF, 0, 0 },
        [SOCKOPT_NODELAY] =            { IPPROTO_TCP, TCP_NODELAY, 0, 0 },
        [SOCKOPT_KEEPALIVE] =          { SOL_SOCKET, SO_KEEPALIVE, 0, 0 },
        [SOCKOPT_KEEPALIVE_IDLE] =     { IPPROTO_TCP, TCP_KEEPIDLE, 0, 0 },
        [SOCKOPT_KEEPALIVE_INTERVAL] = { IPPROTO_TCP, TCP_KEEPINTVL, 0, 0 },
        [SOCKOPT_KEEPALIVE_COUNT] =    { IPPROTO_TCP, TCP_KEEPCNT, 0, 0 },
        [SOCKOPT_USER_TIMEOUT] =       { IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 0 },
        [SOCKOPT_CONGESTION] =         { IPPROTO_TCP, TCP_CONGESTION, 0, 0 },
        [SOCKOPT_MAXSEG] =             { IPPROTO_TCP, TCP_MAXSEG, 0, 0 },
        [SOCKOPT_NOTSENT_LOWAT] =      { IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, 0 },
        [SOCKOPT_TOS] =                { IPPROTO_IP, IP_TOS, IPPROTO_IPV6, IPV6_TCLASS },
        [SOCKOPT_MARK] =               { SOL_SOCKET, SO_MARK, 0, 0 },
        [SOCKOPT_PRIORITY] =           { SOL_SOCKET, SO_PRIORITY, 0, 0 },
        [SOCKOPT_BUSY_POLL] =          { SOL_SOCKET, SO_BUSY_POLL, 0, 0 },
        [SOCKOPT_PACING_RATE] =        { SOL_SOCKET, SO_MAX_PACING_RATE, 0, 0 },
        [SOCKOPT_WINDOW_CLAMP] =       { IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, 0 },
        [SOCKOPT_QUICKACK] =           { IPPROTO_TCP, TCP_QUICKACK, 0, 0 },
        [SOCKOPT_FASTOPEN] =           { IPPROTO_TCP, TCP_FASTOPEN, 0, 0 },
        [SOCKOPT_MPTCP] =              { SOL_SOCKET, SO_PROTOCOL, 0, 0 },
        [SOCKOPT_DEVICE] =             { SOL_SOCKET, SO_BINDTODEVICE, 0, 0 },
        [SOCKOPT_TRANSPARENT] =        { IPPROTO_IP, IP_TRANSPARENT, IPPROTO_IPV6, IPV6_TRANSPARENT },
        [SOCKOPT_FREEBIND] =           { IPPROTO_IP, IP_FREEBIND, IPPROTO_IPV6, IPV6_FREEBIND },
};

#define SOCKOPT_BUFFERS (SOCKOPT_BIT(SOCKOPT_RCVBUF) | SOCKOPT_BIT(SOCKOPT_SNDBUF))
#define SOCKOPT_PROBES (SOCKOPT_BIT(SOCKOPT_KEEPALIVE_IDLE) | SOCKOPT_BIT(SOCKOPT_KEEPALIVE_INTERVAL) | \
                        SOCKOPT_BIT(SOCKOPT_KEEPALIVE_COUNT))
#define SOCKOPT_IDLING (SOCKOPT_BIT(SOCKOPT_KEEPALIVE) | SOCKOPT_PROBES | SOCKOPT_BIT(SOCKOPT_USER_TIMEOUT))
/* All that setsockopt() sets: MPTCP is a matter of socket(). */
#define SOCKOPT_ALL ((SOCKOPT_BIT(SOCKOPT_N) - 1) & ~SOCKOPT_BIT(SOCKOPT_MPTCP))

/* What a stage applies, for TCP and for AF_UNIX.  listen() undoes quickack, so a listener is not given it. */
static const uint32_t sockopt_masks[][2] = {
        [SOCKOPT_LISTENER] = { SOCKOPT_ALL & ~SOCKOPT_BIT(SOCKOPT_QUICKACK), SOCKOPT_BUFFERS },
        [SOCKOPT_ACCEPTED] = { SOCKOPT_BIT(SOCKOPT_PRIORITY) | SOCKOPT_BIT(SOCKOPT_QUICKACK), SOCKOPT_BUFFERS },
        [SOCKOPT_CONNECT] =  { SOCKOPT_ALL & ~SOCKOPT_IDLING & ~SOCKOPT_BIT(SOCKOPT_NODELAY), SOCKOPT_BUFFERS },
        [SOCKOPT_SECOND] =   { SOCKOPT_BIT(SOCKOPT_NODELAY), 0 },
        [SOCKOPT_LATER] =    { SOCKOPT_IDLING, 0 },
};

const struct sockopt_spec *sockopt_spec(enum sockopt_id id) {
        return &sockopt_specs[id];
}

static void sockopt_put(struct sockopt_set *set, enum sockopt_id id, int64_t value) {
        set->set |= SOCKOPT_BIT(id);
        set->value[id] = value;
}

void sockopt_defaults(struct sockopt_set *set) {
        memset(set, 0, sizeof(*set));
        sockopt_put(set, SOCKOPT_NODELAY, 1);
        sockopt_put(set, SOCKOPT_KEEPALIVE, 1);
        sockopt_put(set, SOCKOPT_KEEPALIVE_IDLE, 60000);
        sockopt_put(set, SOCKOPT_KEEPALIVE_INTERVAL, 10000);
        sockopt_put(set, SOCKOPT_KEEPALIVE_COUNT, 6);
}

void sockopt_overlay(struct sockopt_set *set, const struct sockopt_set *over) {
        for (unsigned id = 0; id < SOCKOPT_N; ++id) {
                if (over->set & SOCKOPT_BIT(id)) {
                        sockopt_put(set, (enum sockopt_id)id, over->value[id]);
                }
        }
        if (over->set & SOCKOPT_BIT(SOCKOPT_CONGESTION)) {
                memcpy(set->congestion, over->congestion, sizeof(set->congestion));
        }
        if (over->set & SOCKOPT_BIT(SOCKOPT_DEVICE)) {
                memcpy(set->device, over->device, sizeof(set->device));
        }
}

int sockopt_given(const struct sockopt_set *set, enum sockopt_id id) {
        return (set->set & SOCKOPT_BIT(id)) != 0;
}

/* The options that a stage applies, as bits. */
static uint32_t sockopt_wanted(int family, const struct sockopt_set *set, enum sockopt_stage stage) {
        uint32_t wanted = set->set & sockopt_masks[stage][family == AF_UNIX];

        /* Without keepalive its times mean nothing, so they cost nothing. */
        if ((wanted & SOCKOPT_BIT(SOCKOPT_KEEPALIVE)) && !set->value[SOCKOPT_KEEPALIVE]) {
                wanted &= ~SOCKOPT_PROBES;
        }
        return wanted;
}

int sockopt_any(int family, const struct sockopt_set *set, enum sockopt_stage stage) {
        return sockopt_wanted(family, set, stage) != 0;
}

static int sockopt_set_string(int fd, enum sockopt_id id, const char *value) {
        return sys_setsockopt(fd, sockopt_kernels[id].level, sockopt_kernels[id].name, value,
                              (socklen_t)strnlen(value, SOCKOPT_STRLEN - 1));
}

static int sockopt_set_u32(int fd, int level, int name, int64_t value) {
        uint32_t v = (uint32_t)value;

        return sys_setsockopt(fd, level, name, &v, sizeof(v));
}

static int sockopt_set_pacing(int fd, int64_t value) {
        uint64_t v = value > 0 ? (uint64_t)value : UINT64_MAX;

        return sys_setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &v, sizeof(v));
}

/* A listener takes a queue's length: the kernel cuts it to net.core.somaxconn, and the backlog bounds it as well. */
static int sockopt_set_fastopen(int fd, int64_t on, enum sockopt_stage stage) {
        if (stage == SOCKOPT_LISTENER) {
                return sockopt_set_u32(fd, IPPROTO_TCP, TCP_FASTOPEN, on ? INT_MAX : 0);
        }
        return sockopt_set_u32(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, on);
}

static int sockopt_set_one(int fd, int family, const struct sockopt_set *set, enum sockopt_stage stage,
                           enum sockopt_id id) {
        const struct sockopt_kernel *kernel = &sockopt_kernels[id];
        int64_t value = set->value[id];
        int r;

        switch (id) {
        case SOCKOPT_CONGESTION:
                return sockopt_set_string(fd, id, set->congestion);
        case SOCKOPT_DEVICE:
                return sockopt_set_string(fd, id, set->device);
        case SOCKOPT_PACING_RATE:
                return sockopt_set_pacing(fd, value);
        case SOCKOPT_FASTOPEN:
                return sockopt_set_fastopen(fd, value, stage);
        case SOCKOPT_KEEPALIVE_IDLE:
        case SOCKOPT_KEEPALIVE_INTERVAL:
                return sockopt_set_u32(fd, kernel->level, kernel->name, (value + 999) / 1000);
        default:
                break;
        }
        if (family != AF_INET6 || kernel->name6 == 0) {
                return sockopt_set_u32(fd, kernel->level, kernel->name, value);
        }
        /* A v4 client of a dual-stack listener gets the v4 value. */
        if (id == SOCKOPT_TOS && stage == SOCKOPT_LISTENER) {
                r = sockopt_set_u32(fd, kernel->level, kernel->name, value);
                if (r < 0) {
                        return r;
                }
        }
        return sockopt_set_u32(fd, kernel->level6, kernel->name6, value);
}

int sockopt_apply(int fd, int family, const struct sockopt_set *set, enum sockopt_stage stage,
                  enum sockopt_id *failed) {
        uint32_t wanted = sockopt_wanted(family, set, stage);

        /* In the order of the ids: a tos also changes the priority, so priority comes after it. */
        while (wanted) {
                enum sockopt_id id = (enum sockopt_id)__builtin_ctz(wanted);
                int r = sockopt_set_one(fd, family, set, stage, id);

                if (r < 0) {
                        *failed = id;
                        return r;
                }
                wanted &= wanted - 1;
        }
        return 0;
}

int sockopt_protocol(int family, const struct sockopt_set *set) {
        int mptcp = (set->set & SOCKOPT_BIT(SOCKOPT_MPTCP)) && set->value[SOCKOPT_MPTCP];

        return mptcp && (family == AF_INET || family == AF_INET6) ? IPPROTO_MPTCP : 0;
}

/* The largest unit that leaves nothing over. */
static void sockopt_format_size(int64_t value, const char *suffix, char *buf, size_t size) {
        static const char *const units[] = { "", "K", "M", "G" };
        size_t unit = 0;

        while (unit < 3 && value > 0 && value % 1024 == 0) {
                value /= 1024;
                ++unit;
        }
        snprintf(buf, size, "%lld%s%s", (long long)value, units[unit], suffix);
}

static void sockopt_format_duration(int64_t ms, char *buf, size_t size) {
        static const struct { int64_t ms; const char *unit; } units[] = {
                { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" },
        };
        size_t i = 0;

        /* One minute is 60s, as people write it. */
        while (ms % units[i].ms != 0 || (ms == 60000 && units[i].ms == 60000)) {
                ++i;
        }
        snprintf(buf, size, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
}

char *sockopt_format(const struct sockopt_set *set, enum sockopt_id id, char *buf, size_t size) {
        const struct sockopt_spec *spec = &sockopt_specs[id];
        int64_t value = set->value[id];

        switch (spec->type) {
        case SOCKOPT_BOOL:
                snprintf(buf, size, "%s", value ? "on" : "off");
                break;
        case SOCKOPT_NUMBER:
                snprintf(buf, size, "%lld", (long long)value);
                break;
        case SOCKOPT_SIZE:
                sockopt_format_size(value, "", buf, size);
                break;
        case SOCKOPT_DURATION:
        case SOCKOPT_RATE:
                if (value == 0) {
                        snprintf(buf, size, "off");
                } else if (spec->type == SOCKOPT_RATE) {
                        sockopt_format_size(value, "/s", buf, size);
                } else {
                        sockopt_format_duration(value, buf, size);
                }
                break;
        case SOCKOPT_STRING:
                snprintf(buf, size, "%s", id == SOCKOPT_CONGESTION ? set->congestion : set->device);
                break;
        }
        return buf;
}

static int sockopt_get(int fd, int level, int name, void *value, socklen_t len) {
        return getsockopt(fd, level, name, value, &len) < 0 ? -errno : 0;
}

static int sockopt_read_string(int fd, enum sockopt_id id, struct sockopt_set *set) {
        char buf[SOCKOPT_STRLEN] = "";
        int r = sockopt_get(fd, sockopt_kernels[id].level, sockopt_kernels[id].name, buf, sizeof(buf));

        if (r < 0) {
                return r;
        }
        buf[sizeof(buf) - 1] = '\0';
        memcpy(id == SOCKOPT_CONGESTION ? set->congestion : set->device, buf, sizeof(buf));
        sockopt_put(set, id, 0);
        return 0;
}

static int sockopt_read_pacing(int fd, struct sockopt_set *set) {
        uint64_t v = 0;
        int r = sockopt_get(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &v, sizeof(v));

        if (r < 0) {
                return r;
        }
        sockopt_put(set, SOCKOPT_PACING_RATE, v > INT64_MAX ? 0 : (int64_t)v);
        return 0;
}

static int sockopt_read_fastopen(int fd, struct sockopt_set *set) {
        uint32_t queue = 0, connect = 0;
        int r = sockopt_get(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue));

        if (r == 0) {
                r = sockopt_get(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &connect, sizeof(connect));
        }
        if (r < 0) {
                return r;
        }
        sockopt_put(set, SOCKOPT_FASTOPEN, queue > 0 || connect > 0);
        return 0;
}

int sockopt_read(int fd, int family, enum sockopt_id id, struct sockopt_set *set) {
        const struct sockopt_kernel *kernel = &sockopt_kernels[id];
        int v6 = family == AF_INET6 && kernel->name6 != 0;
        uint32_t v = 0;
        int r;

        if (family == AF_UNIX && !sockopt_specs[id].both_domains) {
                return -EOPNOTSUPP;
        }
        switch (id) {
        case SOCKOPT_CONGESTION:
        case SOCKOPT_DEVICE:
                return sockopt_read_string(fd, id, set);
        case SOCKOPT_PACING_RATE:
                return sockopt_read_pacing(fd, set);
        case SOCKOPT_FASTOPEN:
                return sockopt_read_fastopen(fd, set);
        default:
                break;
        }
        r = sockopt_get(fd, v6 ? kernel->level6 : kernel->level, v6 ? kernel->name6 : kernel->name, &v, sizeof(v));
        if (r < 0) {
                return r;
        }
        if (id == SOCKOPT_KEEPALIVE_IDLE || id == SOCKOPT_KEEPALIVE_INTERVAL) {
                sockopt_put(set, id, (int64_t)v * 1000);
        } else if (id == SOCKOPT_MPTCP) {
                sockopt_put(set, id, v == IPPROTO_MPTCP);
        } else if (sockopt_specs[id].type == SOCKOPT_BOOL) {
                sockopt_put(set, id, v != 0);
        } else {
                sockopt_put(set, id, (int64_t)v);
        }
        return 0;
}

int sockopt_grow_sndbuf(int fd, int size) {
        int now = 0;
        socklen_t len = sizeof(now);
        int r = sys_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &len);

        /* The kernel doubles what is asked for, and says so (socket(7)). */
        if (r < 0 || now / 2 >= size) {
                return r;
        }
        return sockopt_set_u32(fd, SOL_SOCKET, SO_SNDBUF, size);
}
