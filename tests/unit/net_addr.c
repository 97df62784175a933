/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"

#define L63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"

/* Texts and how they are written back; NULL: as they are. */
static void test_parse_and_format(void **state) {
        static const struct { const char *text; enum addr_kind kind; int family; const char *back; } rows[] = {
                { "10.0.0.1:80", ADDR_IP, AF_INET, NULL },
                { "0.0.0.0:1", ADDR_IP, AF_INET, NULL },
                { "255.255.255.255:65535", ADDR_IP, AF_INET, NULL },
                { "127.0.0.1:00080", ADDR_IP, AF_INET, "127.0.0.1:80" },
                { "[::1]:80", ADDR_IP, AF_INET6, NULL },
                { "[::]:80", ADDR_IP, AF_INET6, NULL },
                { "[2001:DB8:0::1]:443", ADDR_IP, AF_INET6, "[2001:db8::1]:443" },
                { "[::ffff:10.0.0.1]:80", ADDR_IP, AF_INET, "10.0.0.1:80" },
                { "[::ffff:a00:1]:80", ADDR_IP, AF_INET, "10.0.0.1:80" },
                { "[fe80::1%1]:80", ADDR_IP, AF_INET6, NULL },
                { "[fe80::1%4294967295]:80", ADDR_IP, AF_INET6, NULL },
                { ":80", ADDR_ANY, AF_INET6, "[::]:80" },
                { "unix:/run/a.sock", ADDR_UNIX, AF_UNIX, NULL },
                { "unix:/a", ADDR_UNIX, AF_UNIX, NULL },
                { "unix:/with:colon@and [brackets]", ADDR_UNIX, AF_UNIX, NULL },
                { "unix:/b\\s\n\x7f\xc3\xbc", ADDR_UNIX, AF_UNIX, "unix:/b\\x5cs\\x0a\\x7f\\xc3\\xbc" },
                { "unix:@name", ADDR_UNIX, AF_UNIX, NULL },
                { "unix:@/a/path", ADDR_UNIX, AF_UNIX, NULL },
                { "unix:@@", ADDR_UNIX, AF_UNIX, NULL },
        };
        char buf[ADDR_STRLEN];

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
                const char *why = NULL;
                struct addr addr;

                if (addr_parse(&addr, rows[i].text, &why) != 0) {
                        fail_msg("%s: %s", rows[i].text, why);
                }
                assert_int_equal(addr.kind, rows[i].kind);
                assert_int_equal(addr_family(&addr), rows[i].family);
                assert_string_equal(addr_format(&addr.sa, addr.len, buf, sizeof(buf)),
                                    rows[i].back ? rows[i].back : rows[i].text);
                assert_true(addr_equal(&addr, &addr));
        }
}

static void test_refused(void **state) {
        /* A text, and a word that the message must have. */
        static const struct { const char *text, *word; } rows[] = {
                { "", "port" }, { "localhost", "port" }, { "10.0.0.1", "port" }, { "[::1]", "port" }, { "80", "port" },
                { "[::1]80", "port" }, { "10.0.0.1:", "port" }, { "10.0.0.1:0", "1 to 65535" },
                { "10.0.0.1:65536", "1 to 65535" }, { "10.0.0.1:000080", "1 to 65535" }, { ":0", "1 to 65535" },
                { ":", "1 to 65535" }, { "10.0.0.1:+80", "1 to 65535" }, { "10.0.0.1: 80", "1 to 65535" },
                { "10.0.0.1:80 ", "1 to 65535" }, { "10.0.0.1:http", "1 to 65535" }, { "[::1]:-1", "1 to 65535" },
                { "10.0.0.256:80", "IPv4" }, { "1.2.3:80", "IPv4" }, { "1.2.3.4.5:80", "IPv4" }, { "80:80", "IPv4" },
                { ".:80", "IPv4" }, { "0000000000000000000000000001.2.3.4:80", "IPv4" },
                { "::1:80", "brackets" }, { "2001:db8::1", "brackets" }, { "::", "brackets" },
                { "fe80::1%lo", "brackets" },
                { "1:2:3:4:5:6:7:8", "brackets" }, { "tcp:10.0.0.1:80", "not an address" },
                { "host:80:90", "not an address" },
                { "[::1:80", "]" }, { "[]:80", "IPv6" }, { "[::g]:80", "IPv6" }, { "[10.0.0.1]:80", "IPv6" },
                { "[name]:80", "IPv6" },
                { "[1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24]:80", "IPv6" },
                { "[fe80::1%]:80", "interface" }, { "[fe80::1%no-such-if0]:80", "interface" },
                { "[fe80::1%4294967296]:80", "interface" }, { "[fe80::1%0]:80", "interface" },
                { "*:80", ":80" }, { "-a:80", "host name" }, { "a-:80", "host name" }, { "a-.b:80", "host name" },
                { "a.-b:80", "host name" }, { "a..b:80", "host name" }, { ".a:80", "host name" },
                { "a b:80", "host name" },
                { "a.b..:80", "host name" }, { "host.1:80", "host name" }, { "h\xc3\xb6st:80", "host name" },
                { "a/b:80", "host name" }, { L63 "x:80", "host name" },
                { "unix:", "absolute" }, { "unix:a.sock", "absolute" }, { "unix:./a.sock", "absolute" },
                { "unix:80", "absolute" }, { "unix:/", "file's name" }, { "unix:/run/", "file's name" },
                { "unix:@", "name" },
                { "fd:", "name" }, { "fd:a b", "printable" }, { "fd:a:b", "printable" }, { "fd:" L63 L63, "107" },
                { "srv:", "SRV" }, { "srv:ldap._tcp.example.org", "SRV" }, { "srv:_ldap.tcp.example.org", "SRV" },
                { "srv:_ldap._tcp", "SRV" }, { "srv:_ldap._tcp.", "SRV" }, { "srv:_._tcp.example.org", "SRV" },
                { "srv:_ldap._.example.org", "SRV" }, { "srv:_ldap._tcp..org", "SRV" },
                { "srv:_ldap._tcp.example.org:389", "SRV" }, { "srv:_ldap._tcp.10.0.0.1", "SRV" },
                { "srv:_" L63 "._tcp.example.org", "SRV" }, { "srv:_a b._tcp.example.org", "SRV" },
                { "srv:_a._tcp." L63 "." L63 "." L63 "." L63, "SRV" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
                struct addr addr, zero;
                const char *why = NULL;

                memset(&zero, 0, sizeof(zero));
                memset(&addr, 0xff, sizeof(addr));
                if (addr_parse(&addr, rows[i].text, &why) != -EINVAL) {
                        fail_msg("%s was taken", rows[i].text);
                }
                if (!strstr(why, rows[i].word)) {
                        fail_msg("%s: %s", rows[i].text, why);
                }
                assert_memory_equal(&addr, &zero, sizeof(addr));
        }
}

/* A socket that is open already: its name, and no socket address. */
static void test_fd(void **state) {
        struct addr a, b, other, host;
        const char *why = NULL;

        (void)state;
        assert_int_equal(addr_parse(&a, "fd:web", &why), 0);
        assert_int_equal(addr_parse(&b, "fd:web", &why), 0);
        assert_int_equal(addr_parse(&other, "fd:" L63, &why), 0);
        assert_int_equal(addr_parse(&host, "web:80", &why), 0);
        assert_int_equal(a.kind, ADDR_FD);
        assert_string_equal(a.name, "web");
        assert_int_equal(a.len, 0);
        assert_int_equal(addr_family(&a), AF_UNSPEC);
        assert_true(addr_equal(&a, &b));
        assert_false(addr_equal(&a, &other));
        assert_false(addr_equal(&a, &host));
        assert_false(addr_equal(&host, &a));
}

/* 107 bytes are the most for a path and for a name; the length says exactly how many. */
static void test_unix_lengths(void **state) {
        char text[256] = "unix:/";
        char buf[ADDR_STRLEN];
        const char *why = NULL;
        struct addr addr;

        (void)state;
        memset(text + 6, 'p', 106);
        assert_int_equal(addr_parse(&addr, text, &why), 0);
        assert_int_equal(addr.len, offsetof(struct sockaddr_un, sun_path) + 108);
        assert_int_equal(strlen(addr.un.sun_path), 107);
        assert_string_equal(addr_format(&addr.sa, addr.len, buf, sizeof(buf)), text);
        text[6 + 106] = 'p';
        assert_int_equal(addr_parse(&addr, text, &why), -EINVAL);
        assert_non_null(strstr(why, "107"));

        memset(text, 0, sizeof(text));
        strcpy(text, "unix:@");
        memset(text + 6, 'n', 107);
        assert_int_equal(addr_parse(&addr, text, &why), 0);
        assert_int_equal(addr.len, sizeof(struct sockaddr_un));
        assert_string_equal(addr_format(&addr.sa, addr.len, buf, sizeof(buf)), text);
        text[6 + 107] = 'n';
        assert_int_equal(addr_parse(&addr, text, &why), -EINVAL);
        assert_non_null(strstr(why, "107"));

        assert_int_equal(addr_parse(&addr, "unix:@n", &why), 0);
        assert_int_equal(addr.len, offsetof(struct sockaddr_un, sun_path) + 2);
}

static void test_hosts(void **state) {
        static const struct { const char *text, *host; unsigned port; } rows[] = {
                { "host.name:80", "host.name", 80 }, { "localhost:1", "localhost", 1 },
                { "a_b.example:65535", "a_b.example", 65535 },
                { "_x._y:80", "_x._y", 80 }, { "1host:80", "1host", 80 }, { "1.2.example.:80", "1.2.example.", 80 },
                { "x--y:80", "x--y", 80 }, { L63 ".org:80", L63 ".org", 80 },
        };
        char longest[] = L63 "." L63 "." L63 "." L63 ":80";
        char host[512];
        const char *why = NULL;
        struct addr addr;
        uint16_t port;

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
                if (addr_parse(&addr, rows[i].text, &why) != 0) {
                        fail_msg("%s: %s", rows[i].text, why);
                }
                assert_int_equal(addr.kind, ADDR_HOST);
                assert_int_equal(addr.len, 0);
                assert_int_equal(addr_family(&addr), AF_UNSPEC);
                assert_false(addr_equal(&addr, &addr));
                assert_int_equal(addr_split_host(rows[i].text, host, strlen(rows[i].text) + 1, &port), 0);
                assert_string_equal(host, rows[i].host);
                assert_int_equal(port, rows[i].port);
        }
        assert_int_equal(strlen(longest), 255 + 3);
        assert_int_equal(addr_parse(&addr, longest, &why), -EINVAL);
        assert_int_equal(addr_parse(&addr, longest + 2, &why), 0);
        assert_int_equal(addr_split_host("host.name:80", host, 9, &port), -EINVAL);
        assert_int_equal(addr_split_host("host.name:80", host, 10, &port), 0);
        assert_int_equal(addr_split_host("10.0.0.1:80", host, sizeof(host), &port), -EINVAL);
        assert_int_equal(addr_split_host("host.name", host, sizeof(host), &port), -EINVAL);
        assert_int_equal(addr_split_host("host.name:0", host, sizeof(host), &port), -EINVAL);
        assert_int_equal(addr_split_host(":80", host, sizeof(host), &port), -EINVAL);
        assert_int_equal(addr_split_host("a:80:1", host, sizeof(host), &port), -EINVAL);
}

/* SRV records: the name stays in the text. */
static void test_srv(void **state) {
        static const char *const names[] = {
                "_ldap._tcp.example.org", "_a._b.c", "_xmpp-client._tcp.example.org.", "_a-b_c._udp._x.example",
        };
        struct addr addr;
        char text[64], name[64];
        const char *why = NULL;

        (void)state;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
                snprintf(text, sizeof(text), "srv:%s", names[i]);
                if (addr_parse(&addr, text, &why) != 0) {
                        fail_msg("%s: %s", text, why);
                }
                assert_int_equal(addr.kind, ADDR_SRV);
                assert_int_equal(addr.len, 0);
                assert_int_equal(addr_family(&addr), AF_UNSPEC);
                assert_false(addr_equal(&addr, &addr));
                assert_int_equal(addr_srv_name(text, name, strlen(text)), 0);
                assert_string_equal(name, names[i]);
                assert_int_equal(addr_srv_name(text, name, strlen(names[i]) + 1), 0);
                assert_int_equal(addr_srv_name(text, name, strlen(names[i])), -EINVAL);
        }
        assert_int_equal(addr_srv_name("host.name:80", name, sizeof(name)), -EINVAL);
        assert_int_equal(addr_srv_name("srv:host.name", name, sizeof(name)), -EINVAL);
}

static void test_sources(void **state) {
        static const struct { const char *text, *back; } good[] = {
                { "10.0.0.1", "10.0.0.1:0" }, { "10.0.0.1:0", "10.0.0.1:0" }, { "10.0.0.1:5000", "10.0.0.1:5000" },
                { "::1", "[::1]:0" }, { "[::1]", "[::1]:0" }, { "[::1]:5000", "[::1]:5000" },
                { "::ffff:10.0.0.1", "10.0.0.1:0" }, { "fe80::1%1", "[fe80::1%1]:0" },
        };
        static const char *const bad[] = {
                "", ":", ":80", "localhost", "10.0.0", "10.0.0.1:", "10.0.0.1:65536", "[::1", "[::1]5", "[::1]:", "[]",
                "::g", "unix:/a", "unix:@a", "10.0.0.1:x",
        };
        char buf[ADDR_STRLEN];
        struct addr addr;

        (void)state;
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); ++i) {
                const char *why = NULL;

                if (addr_parse_source(&addr, good[i].text, &why) != 0) {
                        fail_msg("%s: %s", good[i].text, why);
                }
                assert_int_equal(addr.kind, ADDR_IP);
                assert_string_equal(addr_format(&addr.sa, addr.len, buf, sizeof(buf)), good[i].back);
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
                const char *why = NULL;

                if (addr_parse_source(&addr, bad[i], &why) != -EINVAL || !why) {
                        fail_msg("%s was taken", bad[i]);
                }
                assert_int_equal(addr.kind, ADDR_NONE);
        }
}

static void test_scope_by_name(void **state) {
        const char *why = NULL;
        struct addr addr;

        (void)state;
        assert_int_equal(addr_parse(&addr, "[fe80::1%lo]:80", &why), 0);
        assert_int_equal(addr.in6.sin6_scope_id, if_nametoindex("lo"));
}

static void test_unmap_and_equal(void **state) {
        const char *why;
        struct addr a, b, none;

        (void)state;
        memset(&none, 0, sizeof(none));
        assert_int_equal(addr_parse(&b, "10.0.0.1:80", &why), 0);
        memset(&a, 0, sizeof(a));
        a.kind = ADDR_IP;
        a.len = sizeof(a.in6);
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(80);
        inet_pton(AF_INET6, "::ffff:10.0.0.1", &a.in6.sin6_addr);
        assert_true(addr_equal(&a, &b));
        addr_unmap(&a);
        assert_int_equal(a.len, sizeof(a.in));
        assert_memory_equal(&a.in, &b.in, sizeof(a.in));

        static const char *const different[] = {
                "10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80", "[fe80::1%1]:80", "[fe80::1%2]:80", ":80",
                "unix:/a", "unix:/b", "unix:/ab", "unix:@a", "unix:@ab", "unix:@/a",
        };
        for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); ++i) {
                for (size_t j = 0; j < sizeof(different) / sizeof(different[0]); ++j) {
                        assert_int_equal(addr_parse(&a, different[i], &why), 0);
                        assert_int_equal(addr_parse(&b, different[j], &why), 0);
                        assert_int_equal(addr_equal(&a, &b), i == j);
                }
                assert_false(addr_equal(&a, &none));
        }
        assert_false(addr_equal(&none, &none));

        /* The kernel may count a path's final NUL or not. */
        assert_int_equal(addr_parse(&a, "unix:/a", &why), 0);
        b = a;
        b.len--;
        assert_true(addr_equal(&a, &b));
}

/* What a kernel or a stranger may hand over. */
static void test_format_odd(void **state) {
        char buf[ADDR_STRLEN];
        char small[16];
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct sockaddr sa = { .sa_family = AF_NETLINK };

        (void)state;
        assert_string_equal(addr_format((void *)&un, sizeof(sa_family_t), buf, sizeof(buf)), "unix");
        memcpy(un.sun_path, "\0a\0b\n", 5);
        assert_string_equal(addr_format((void *)&un, sizeof(sa_family_t) + 5, buf, sizeof(buf)), "unix:@a\\x00b\\x0a");
        memset(un.sun_path, '\xff', sizeof(un.sun_path));
        addr_format((void *)&un, sizeof(un) + 1, buf, sizeof(buf));
        assert_int_equal(strlen(buf), 5 + 4 * sizeof(un.sun_path));
        assert_true(strlen(buf) < ADDR_STRLEN);
        /* An escape is whole or not there. */
        assert_string_equal(addr_format((void *)&un, sizeof(un), small, sizeof(small)), "unix:\\xff\\xff");
        assert_string_equal(addr_format(&sa, sizeof(sa), buf, sizeof(buf)), "unknown");
        assert_string_equal(addr_format(&sa, 0, buf, sizeof(buf)), "unknown");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse_and_format),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_fd),
                cmocka_unit_test(test_unix_lengths),
                cmocka_unit_test(test_hosts),
                cmocka_unit_test(test_srv),
                cmocka_unit_test(test_sources),
                cmocka_unit_test(test_scope_by_name),
                cmocka_unit_test(test_unmap_and_equal),
                cmocka_unit_test(test_format_odd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
