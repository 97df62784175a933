/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/sockopt.h"

#define BIT(id) (UINT32_C(1) << (id))

/*
 * What each option is set to here, what the kernel makes of it, and whether
 * an accepted TCP socket inherits it: pinned for the kernel that runs the
 * tests, as the ACCEPTED stage relies on it.
 */
enum inherits { YES, NO, LISTENER_ONLY };
static const struct row { int64_t value, back; enum inherits inherits; int root; } rows[SOCKOPT_N] = {
        [SOCKOPT_RCVBUF] =             { 100000, 200000, YES, 0 },
        [SOCKOPT_SNDBUF] =             { 100000, 200000, YES, 0 },
        [SOCKOPT_NODELAY] =            { 1, 1, YES, 0 },
        [SOCKOPT_KEEPALIVE] =          { 1, 1, YES, 0 },
        [SOCKOPT_KEEPALIVE_IDLE] =     { 77000, 77000, YES, 0 },
        [SOCKOPT_KEEPALIVE_INTERVAL] = { 12500, 13000, YES, 0 },
        [SOCKOPT_KEEPALIVE_COUNT] =    { 3, 3, YES, 0 },
        [SOCKOPT_USER_TIMEOUT] =       { 12345, 12345, YES, 0 },
        [SOCKOPT_CONGESTION] =         { 0, 0, YES, 0 },
        [SOCKOPT_MAXSEG] =             { 1000, 1000, YES, 0 },
        [SOCKOPT_NOTSENT_LOWAT] =      { 16384, 16384, YES, 0 },
        [SOCKOPT_TOS] =                { 0x20, 0x20, YES, 0 },
        [SOCKOPT_MARK] =               { UINT32_MAX, UINT32_MAX, YES, 1 },
        [SOCKOPT_PRIORITY] =           { 5, 5, NO, 0 },
        [SOCKOPT_BUSY_POLL] =          { 50, 50, YES, 1 },
        [SOCKOPT_PACING_RATE] =        { INT64_C(6) << 30, INT64_C(6) << 30, YES, 0 },
        [SOCKOPT_WINDOW_CLAMP] =       { 20000, 20000, YES, 0 },
        [SOCKOPT_QUICKACK] =           { 0, 0, NO, 0 },
        [SOCKOPT_FASTOPEN] =           { 1, 1, LISTENER_ONLY, 0 },
        [SOCKOPT_MPTCP] =              { 1, 0, LISTENER_ONLY, 0 },
        [SOCKOPT_DEVICE] =             { 0, 0, YES, 1 },
        [SOCKOPT_TRANSPARENT] =        { 1, 1, YES, 1 },
        [SOCKOPT_FREEBIND] =           { 1, 1, YES, 0 },
};

/* A set of that one option with its value from rows. */
static struct sockopt_set one(enum sockopt_id id) {
        struct sockopt_set set;

        memset(&set, 0, sizeof(set));
        set.set = BIT(id);
        set.value[id] = rows[id].value;
        strcpy(set.congestion, "reno");
        strcpy(set.device, "lo");
        return set;
}

/* Options that need a privilege are left out where it is missing, be it for root in a container. */
static int testable(enum sockopt_id id) {
        struct sockopt_set set = one(id);
        enum sockopt_id failed;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int r = sockopt_apply(fd, AF_INET, &set, SOCKOPT_LISTENER, &failed);

        close(fd);
        return id != SOCKOPT_MPTCP && !(rows[id].root && r == -EPERM);
}

static void apply(int fd, int family, const struct sockopt_set *set, enum sockopt_stage stage) {
        enum sockopt_id failed = SOCKOPT_N;
        int r = sockopt_apply(fd, family, set, stage, &failed);

        if (r != 0) {
                fail_msg("%s: %s", sockopt_spec(failed)->name, strerror(-r));
        }
}

static int has(int fd, int family, enum sockopt_id id, const struct sockopt_set *want) {
        struct sockopt_set got;
        int r;

        memset(&got, 0, sizeof(got));
        r = sockopt_read(fd, family, id, &got);
        if (r != 0) {
                fail_msg("%s: %s", sockopt_spec(id)->name, strerror(-r));
        }
        assert_int_equal(got.set, BIT(id));
        if (id == SOCKOPT_CONGESTION) {
                return strcmp(got.congestion, want->congestion) == 0;
        }
        if (id == SOCKOPT_DEVICE) {
                return strcmp(got.device, want->device) == 0;
        }
        /* A connection's segment is what was asked for, less the options in each header. */
        if (id == SOCKOPT_MAXSEG) {
                return got.value[id] <= rows[id].back && got.value[id] >= rows[id].back - 40;
        }
        return got.value[id] == rows[id].back;
}

static int listening(int family, const struct sockopt_set *set) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        int fd = socket(family, SOCK_STREAM, 0);
        int r;

        assert_true(fd >= 0);
        apply(fd, family, set, SOCKOPT_LISTENER);
        if (family == AF_INET) {
                r = bind(fd, (void *)&in, sizeof(in));
        } else if (family == AF_INET6) {
                r = bind(fd, (void *)&in6, sizeof(in6));
        } else {
                r = bind(fd, (void *)&un, sizeof(sa_family_t));        /* the kernel picks a name */
        }
        assert_int_equal(r, 0);
        assert_int_equal(listen(fd, 16), 0);
        return fd;
}

/* Connects to a listener, over IPv4 where it is a dual-stack one and v4 is asked, and accepts. */
static int accepted(int listener, int v4, int *client) {
        struct sockaddr_storage ss;
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(ss);
        int fd;

        assert_int_equal(getsockname(listener, (void *)&ss, &len), 0);
        if (ss.ss_family == AF_INET6 && v4) {
                in.sin_port = ((struct sockaddr_in6 *)&ss)->sin6_port;
                memcpy(&ss, &in, sizeof(in));
                len = sizeof(in);
        } else if (ss.ss_family == AF_INET6) {
                ((struct sockaddr_in6 *)&ss)->sin6_addr = in6addr_loopback;
        }
        *client = socket(ss.ss_family, SOCK_STREAM, 0);
        assert_true(*client >= 0);
        assert_int_equal(connect(*client, (void *)&ss, len), 0);
        fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
        return fd;
}

static void test_specs(void **state) {
        (void)state;
        for (unsigned id = 0; id < SOCKOPT_N; ++id) {
                const struct sockopt_spec *spec = sockopt_spec((enum sockopt_id)id);

                assert_non_null(spec->name);
                assert_true(spec->min <= spec->max);
                assert_int_equal(spec->both_domains, id == SOCKOPT_RCVBUF || id == SOCKOPT_SNDBUF);
                for (unsigned other = 0; other < id; ++other) {
                        assert_string_not_equal(spec->name, sockopt_spec((enum sockopt_id)other)->name);
                }
        }
}

/* The kernel takes both ends of every range that we let a config give. */
static void test_ranges_fit_the_kernel(void **state) {
        (void)state;
        for (unsigned i = 0; i < SOCKOPT_N; ++i) {
                enum sockopt_id id = (enum sockopt_id)i;
                struct sockopt_set set = one(id);

                if (!testable(id) || sockopt_spec(id)->type == SOCKOPT_STRING ||
                    (id == SOCKOPT_PRIORITY && geteuid() != 0)) {
                        continue;
                }
                for (int end = 0; end < 2; ++end) {
                        int fd = socket(AF_INET, SOCK_STREAM, 0);

                        set.value[id] = end ? sockopt_spec(id)->max : sockopt_spec(id)->min;
                        apply(fd, AF_INET, &set, SOCKOPT_LISTENER);
                        close(fd);
                }
        }
}

static void set_and_read(int family) {
        for (unsigned i = 0; i < SOCKOPT_N; ++i) {
                enum sockopt_id id = (enum sockopt_id)i;
                struct sockopt_set set = one(id);
                int fd;

                if (!testable(id)) {
                        continue;
                }
                /* CONNECT, SECOND and LATER part the options of a server socket between them. */
                for (int stage = SOCKOPT_LISTENER; stage <= SOCKOPT_LATER; ++stage) {
                        if (stage == SOCKOPT_ACCEPTED || !sockopt_any(family, &set, (enum sockopt_stage)stage)) {
                                continue;
                        }
                        fd = socket(family, SOCK_STREAM, 0);
                        assert_true(fd >= 0);
                        /* So the reading below is of what we set.  (Some systems have reno from the start.) */
                        if (id != SOCKOPT_CONGESTION) {
                                assert_false(has(fd, family, id, &set));
                        }
                        apply(fd, family, &set, (enum sockopt_stage)stage);
                        if (!has(fd, family, id, &set)) {
                                fail_msg("%s is not what was set (stage %d)", sockopt_spec(id)->name, stage);
                        }
                        close(fd);
                }
                assert_int_equal(sockopt_any(family, &set, SOCKOPT_CONNECT) +
                                 sockopt_any(family, &set, SOCKOPT_SECOND) +
                                 sockopt_any(family, &set, SOCKOPT_LATER), 1);
        }
}

static void test_set_and_read_v4(void **state) {
        (void)state;
        set_and_read(AF_INET);
}

static void test_set_and_read_v6(void **state) {
        (void)state;
        set_and_read(AF_INET6);
}

static void test_set_and_read_unix(void **state) {
        struct sockopt_set all, got;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        (void)state;
        memset(&all, 0, sizeof(all));
        for (unsigned i = 0; i < SOCKOPT_N; ++i) {
                struct sockopt_set set = one((enum sockopt_id)i);

                sockopt_overlay(&all, &set);
        }
        /* Options of TCP are skipped, not tried: as many would fail. */
        for (int stage = SOCKOPT_LISTENER; stage <= SOCKOPT_LATER; ++stage) {
                apply(fd, AF_UNIX, &all, (enum sockopt_stage)stage);
                assert_int_equal(sockopt_any(AF_UNIX, &all, (enum sockopt_stage)stage), stage < SOCKOPT_SECOND);
        }
        for (unsigned i = 0; i < SOCKOPT_N; ++i) {
                enum sockopt_id id = (enum sockopt_id)i;

                if (sockopt_spec(id)->both_domains) {
                        assert_true(has(fd, AF_UNIX, id, &all));
                } else {
                        assert_int_equal(sockopt_read(fd, AF_UNIX, id, &got), -EOPNOTSUPP);
                }
        }
        close(fd);
}

/* Each option on a listener: does the accepted socket have it, and if not, does the ACCEPTED stage give it? */
static void inheritance(int family, int v4) {
        for (unsigned i = 0; i < SOCKOPT_N; ++i) {
                enum sockopt_id id = (enum sockopt_id)i;
                struct sockopt_set set = one(id);
                int listener, client, fd, inherited;

                if (!testable(id) || (family == AF_UNIX && !sockopt_spec(id)->both_domains)) {
                        continue;
                }
                listener = listening(family, &set);
                /* quickack is a connection's alone. */
                assert_int_equal(has(listener, family, id, &set), id != SOCKOPT_QUICKACK);
                fd = accepted(listener, v4, &client);
                inherited = has(fd, family, id, &set);
                if (family == AF_UNIX) {
                        assert_false(inherited);
                } else if (inherited != (rows[id].inherits == YES)) {
                        fail_msg("%s: %sinherited", sockopt_spec(id)->name, inherited ? "" : "not ");
                }
                /* So the stage makes a call where it must, and only there. */
                assert_int_equal(sockopt_any(family, &set, SOCKOPT_ACCEPTED),
                                 family == AF_UNIX || rows[id].inherits == NO);
                apply(fd, family, &set, SOCKOPT_ACCEPTED);
                if (rows[id].inherits != LISTENER_ONLY) {
                        assert_true(has(fd, family, id, &set));
                }
                close(fd);
                close(client);
                close(listener);
        }
}

static void test_inherited_v4(void **state) {
        (void)state;
        inheritance(AF_INET, 1);
}

static void test_inherited_v6(void **state) {
        (void)state;
        inheritance(AF_INET6, 0);
}

static void test_inherited_unix(void **state) {
        (void)state;
        inheritance(AF_UNIX, 0);
}

/* A v4 client of a dual-stack socket gets what a v6 client gets, tos among it. */
static void test_inherited_dual_stack(void **state) {
        struct sockopt_set set = one(SOCKOPT_TOS);
        int listener, client, fd, tos = 0;
        socklen_t len = sizeof(tos);

        (void)state;
        inheritance(AF_INET6, 1);
        listener = listening(AF_INET6, &set);
        fd = accepted(listener, 1, &client);
        assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &len), 0);
        assert_int_equal(tos, 0x20);
        close(fd);
        close(client);
        close(listener);
}

static void test_mptcp(void **state) {
        struct sockopt_set set = one(SOCKOPT_MPTCP);
        struct sockopt_set got;
        int fd;

        (void)state;
        assert_int_equal(sockopt_protocol(AF_UNIX, &set), 0);
        assert_int_equal(sockopt_protocol(AF_INET6, &set), sockopt_protocol(AF_INET, &set));
        assert_true(sockopt_protocol(AF_INET, &set) > 0);
        for (int stage = SOCKOPT_LISTENER; stage <= SOCKOPT_LATER; ++stage) {
                assert_false(sockopt_any(AF_INET, &set, (enum sockopt_stage)stage));
        }
        set.value[SOCKOPT_MPTCP] = 0;
        assert_int_equal(sockopt_protocol(AF_INET, &set), 0);
        set.value[SOCKOPT_MPTCP] = 1;
        fd = socket(AF_INET, SOCK_STREAM, sockopt_protocol(AF_INET, &set));
        if (fd < 0) {
                skip();
        }
        assert_int_equal(sockopt_read(fd, AF_INET, SOCKOPT_MPTCP, &got), 0);
        assert_int_equal(got.value[SOCKOPT_MPTCP], 1);
        close(fd);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(sockopt_read(fd, AF_INET, SOCKOPT_MPTCP, &got), 0);
        assert_int_equal(got.value[SOCKOPT_MPTCP], 0);
        close(fd);
}

/* priority stands although tos, set beside it, changes the priority as well. */
static void test_priority_beside_tos(void **state) {
        struct sockopt_set set = one(SOCKOPT_PRIORITY);
        struct sockopt_set tos = one(SOCKOPT_TOS);
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        (void)state;
        tos.value[SOCKOPT_TOS] = 0x10;
        sockopt_overlay(&set, &tos);
        apply(fd, AF_INET, &set, SOCKOPT_CONNECT);
        assert_true(has(fd, AF_INET, SOCKOPT_PRIORITY, &set));
        close(fd);
}

static void test_off(void **state) {
        struct sockopt_set set, got;
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        (void)state;
        /* Values that mean no limit, over ones that were set. */
        memset(&set, 0, sizeof(set));
        set.set = BIT(SOCKOPT_USER_TIMEOUT) | BIT(SOCKOPT_PACING_RATE);
        set.value[SOCKOPT_USER_TIMEOUT] = 1000;
        set.value[SOCKOPT_PACING_RATE] = 1000000;
        apply(fd, AF_INET, &set, SOCKOPT_LISTENER);
        set.value[SOCKOPT_USER_TIMEOUT] = set.value[SOCKOPT_PACING_RATE] = 0;
        apply(fd, AF_INET, &set, SOCKOPT_LISTENER);
        assert_int_equal(sockopt_read(fd, AF_INET, SOCKOPT_USER_TIMEOUT, &got), 0);
        assert_int_equal(sockopt_read(fd, AF_INET, SOCKOPT_PACING_RATE, &got), 0);
        assert_int_equal(got.value[SOCKOPT_USER_TIMEOUT], 0);
        assert_int_equal(got.value[SOCKOPT_PACING_RATE], 0);

        /* Without keepalive its times are not set. */
        sockopt_defaults(&set);
        set.value[SOCKOPT_KEEPALIVE] = 0;
        apply(fd, AF_INET, &set, SOCKOPT_LATER);
        assert_int_equal(sockopt_read(fd, AF_INET, SOCKOPT_KEEPALIVE_COUNT, &got), 0);
        assert_int_not_equal(got.value[SOCKOPT_KEEPALIVE_COUNT], 6);
        close(fd);
}

static void test_failure_names_the_option(void **state) {
        struct sockopt_set set;
        enum sockopt_id failed = SOCKOPT_N;
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        (void)state;
        sockopt_defaults(&set);
        set.set |= BIT(SOCKOPT_CONGESTION);
        strcpy(set.congestion, "no-such-cc");
        assert_int_equal(sockopt_apply(fd, AF_INET, &set, SOCKOPT_LISTENER, &failed), -ENOENT);
        assert_int_equal(failed, SOCKOPT_CONGESTION);
        assert_int_equal(sockopt_apply(fd, AF_UNIX, &set, SOCKOPT_LISTENER, &failed), 0);

        set = one(SOCKOPT_DEVICE);
        strcpy(set.device, "no-such-if0");
        assert_true(sockopt_apply(fd, AF_INET, &set, SOCKOPT_CONNECT, &failed) < 0);
        assert_int_equal(failed, SOCKOPT_DEVICE);
        close(fd);

        set = one(SOCKOPT_NODELAY);
        assert_int_equal(sockopt_apply(-1, AF_INET, &set, SOCKOPT_SECOND, &failed), -EBADF);
        assert_int_equal(failed, SOCKOPT_NODELAY);
        assert_int_equal(sockopt_read(-1, AF_INET, SOCKOPT_NODELAY, &set), -EBADF);
}

/* The first segment of a connection goes out at once, nodelay or not: SECOND relies on it. */
static void test_first_segment(void **state) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(in);
        char segment[SOCKOPT_SEGMENT] = "";
        int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, unsent;

        (void)state;
        assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
        assert_int_equal(listen(listener, 2), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
        /* Corked, it stays: so the question is the right one. */
        for (int cork = 0; cork < 2; ++cork) {
                int fd = socket(AF_INET, SOCK_STREAM, 0);

                assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
                if (cork) {
                        assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)), 0);
                }
                assert_int_equal(send(fd, segment, sizeof(segment), 0), sizeof(segment));
                assert_int_equal(ioctl(fd, SIOCOUTQNSD, &unsent), 0);
                assert_int_equal(unsent, cork ? sizeof(segment) : 0);
                close(fd);
        }
        close(listener);
}

static void test_defaults_and_overlay(void **state) {
        struct sockopt_set set, over;

        (void)state;
        sockopt_defaults(&set);
        assert_int_equal(set.set, BIT(SOCKOPT_NODELAY) | BIT(SOCKOPT_KEEPALIVE) | BIT(SOCKOPT_KEEPALIVE_IDLE) |
                         BIT(SOCKOPT_KEEPALIVE_INTERVAL) | BIT(SOCKOPT_KEEPALIVE_COUNT));
        /* With the defaults, neither accepting nor connecting costs a call. */
        assert_false(sockopt_any(AF_INET, &set, SOCKOPT_ACCEPTED));
        assert_false(sockopt_any(AF_INET, &set, SOCKOPT_CONNECT));
        assert_true(sockopt_any(AF_INET, &set, SOCKOPT_SECOND));
        assert_true(sockopt_any(AF_INET, &set, SOCKOPT_LATER));
        assert_false(sockopt_any(AF_UNIX, &set, SOCKOPT_CONNECT));
        assert_false(sockopt_any(AF_UNIX, &set, SOCKOPT_LISTENER));

        memset(&over, 0, sizeof(over));
        over.set = BIT(SOCKOPT_NODELAY) | BIT(SOCKOPT_DEVICE) | BIT(SOCKOPT_CONGESTION);
        strcpy(over.device, "eth7");
        strcpy(over.congestion, "cubic");
        over.value[SOCKOPT_KEEPALIVE_COUNT] = 99;       /* not set, so it does not count */
        sockopt_overlay(&set, &over);
        assert_int_equal(set.value[SOCKOPT_NODELAY], 0);
        assert_int_equal(set.value[SOCKOPT_KEEPALIVE_COUNT], 6);
        assert_string_equal(set.device, "eth7");
        assert_string_equal(set.congestion, "cubic");
        memset(&over, 0, sizeof(over));
        sockopt_overlay(&set, &over);
        assert_string_equal(set.device, "eth7");
        assert_true(set.set & BIT(SOCKOPT_DEVICE));
}

static void test_format(void **state) {
        static const struct { enum sockopt_id id; int64_t value; const char *text; } texts[] = {
                { SOCKOPT_NODELAY, 1, "on" }, { SOCKOPT_NODELAY, 0, "off" },
                { SOCKOPT_KEEPALIVE_IDLE, 60000, "60s" }, { SOCKOPT_KEEPALIVE_IDLE, 1500, "1500ms" },
                { SOCKOPT_KEEPALIVE_IDLE, 120000, "2m" }, { SOCKOPT_KEEPALIVE_IDLE, 3600000, "1h" },
                { SOCKOPT_KEEPALIVE_IDLE, 61000, "61s" }, { SOCKOPT_USER_TIMEOUT, 86400000, "1d" },
                { SOCKOPT_USER_TIMEOUT, 0, "off" }, { SOCKOPT_KEEPALIVE_COUNT, 6, "6" },
                { SOCKOPT_RCVBUF, 65536, "64K" }, { SOCKOPT_RCVBUF, 1000, "1000" }, { SOCKOPT_RCVBUF, 1 << 20, "1M" },
                { SOCKOPT_RCVBUF, 1 << 30, "1G" }, { SOCKOPT_PACING_RATE, 10 << 20, "10M/s" },
                { SOCKOPT_PACING_RATE, INT64_C(1) << 40, "1024G/s" }, { SOCKOPT_PACING_RATE, 999, "999/s" },
                { SOCKOPT_PACING_RATE, 0, "off" }, { SOCKOPT_MARK, UINT32_MAX, "4294967295" },
                { SOCKOPT_CONGESTION, 0, "reno" }, { SOCKOPT_DEVICE, 0, "lo" },
        };
        char buf[32];

        (void)state;
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); ++i) {
                struct sockopt_set set = one(texts[i].id);

                set.value[texts[i].id] = texts[i].value;
                assert_string_equal(sockopt_format(&set, texts[i].id, buf, sizeof(buf)), texts[i].text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_specs),
                cmocka_unit_test(test_ranges_fit_the_kernel),
                cmocka_unit_test(test_set_and_read_v4),
                cmocka_unit_test(test_set_and_read_v6),
                cmocka_unit_test(test_set_and_read_unix),
                cmocka_unit_test(test_inherited_v4),
                cmocka_unit_test(test_inherited_v6),
                cmocka_unit_test(test_inherited_dual_stack),
                cmocka_unit_test(test_inherited_unix),
                cmocka_unit_test(test_mptcp),
                cmocka_unit_test(test_priority_beside_tos),
                cmocka_unit_test(test_off),
                cmocka_unit_test(test_failure_names_the_option),
                cmocka_unit_test(test_first_segment),
                cmocka_unit_test(test_defaults_and_overlay),
                cmocka_unit_test(test_format),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
