/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\x0a\0\0\1\x0a\0\0\2\x04\xd2\x01\xbb"
#define ZEROS10 "\0\0\0\0\0\0\0\0\0\0"
#define V6_ONE ZEROS10 "\0\0\0\0\0\1"
#define V6_DB8 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define MAPPED(end) ZEROS10 "\xff\xff" end
#define B(text) (text), sizeof(text) - 1

/* As a user writes it; "-" for none. */
static const char *shown(const struct addr *addr, char *buf) {
        return addr->kind == ADDR_NONE ? "-" : addr_format(&addr->sa, addr->len, buf, ADDR_STRLEN);
}

/* Whole headers, which are also tried with something behind them, and each part of them. */
static void check_good(const char *bytes, size_t len, const char *client, const char *destination) {
        char buf[PROXY_HEADER_V2_MAX + 16], text[ADDR_STRLEN];
        struct proxy_header header;
        const char *why = NULL;

        memcpy(buf, bytes, len);
        memset(buf + len, 'x', 16);
        for (size_t n = 0; n < len; n++) {
                int r = proxy_header_parse(&header, buf, n, &why);

                if (r != PROXY_HEADER_MORE)
                        fail_msg("%zu of %zu bytes of '%.*s': %d, %s", n, len, (int)len, bytes, r, r < 0 ? why : "");
        }
        for (size_t more = 0; more <= 16; more += 16) {
                int r = proxy_header_parse(&header, buf, len + more, &why);

                if (r < 0)
                        fail_msg("'%.*s': %s", (int)len, bytes, why);
                assert_int_equal(r, len);
                assert_string_equal(shown(&header.client, text), client);
                assert_string_equal(shown(&header.destination, text), destination);
        }
}

static void test_v1(void **state) {
        static const struct { const char *line, *client, *destination; } rows[] = {
                { "TCP4 10.0.0.1 10.0.0.2 1234 443", "10.0.0.1:1234", "10.0.0.2:443" },
                { "TCP4 255.255.255.255 255.255.255.255 65535 65535", "255.255.255.255:65535",
                  "255.255.255.255:65535" },
                { "TCP4 0.0.0.0 0.0.0.0 0 0", "0.0.0.0:0", "0.0.0.0:0" },
                { "TCP6 2001:db8::1 ::1 1 2", "[2001:db8::1]:1", "[::1]:2" },
                { "TCP6 2001:DB8:0:0:0:0:0:1 2001:db8::a 1 2", "[2001:db8::1]:1", "[2001:db8::a]:2" },
                { "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
                  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
                { "TCP6 ::ffff:10.0.0.1 ::ffff:a00:2 1 2", "10.0.0.1:1", "10.0.0.2:2" },
                { "UNKNOWN", "-", "-" },
                { "UNKNOWN ", "-", "-" },
                { "UNKNOWN what so ever", "-", "-" },
                { "UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
                  "-", "-" },
        };
        char line[128];

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                int n = snprintf(line, sizeof(line), "PROXY %s\r\n", rows[i].line);

                assert_in_range(n, 1, PROXY_HEADER_V1_MAX);
                check_good(line, (size_t)n, rows[i].client, rows[i].destination);
        }
}

static void test_v2(void **state) {
        static const struct { const char *bytes; size_t len; const char *client, *destination; } rows[] = {
                { B("\x21\x11\0\x0c" V4), "10.0.0.1:1234", "10.0.0.2:443" },
                { B("\x21\x11\0\x0f" V4 "\x04\0\0"), "10.0.0.1:1234", "10.0.0.2:443" },
                { B("\x21\x11\0\x17" V4 "\x05\0\x02id\xe0\0\x03uid"), "10.0.0.1:1234", "10.0.0.2:443" },
                { B("\x21\x21\0\x24" V6_DB8 V6_ONE "\0\1\0\2"),
                  "[2001:db8::1]:1", "[::1]:2" },
                { B("\x21\x21\0\x24" MAPPED("\x0a\0\0\1") MAPPED("\x0a\0\0\2") "\0\1\0\2"),
                  "10.0.0.1:1", "10.0.0.2:2" },
                /* LOCAL: whatever the rest says. */
                { B("\x20\0\0\0"), "-", "-" },
                { B("\x20\x11\0\x0c" V4), "-", "-" },
                { B("\x20\x11\0\1x"), "-", "-" },
                { B("\x20\xff\0\0"), "-", "-" },
                { B("\x20\x12\0\0"), "-", "-" },
                /* UNSPEC */
                { B("\x21\0\0\0"), "-", "-" },
                { B("\x21\0\0\x05xxxxx"), "-", "-" },
                { B("\x21\x01\0\0"), "-", "-" },
                { B("\x21\x10\0\x0c" V4), "-", "-" },
        };
        char bytes[128] = SIGNATURE;

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                memcpy(bytes + 12, rows[i].bytes, rows[i].len);
                check_good(bytes, 12 + rows[i].len, rows[i].client, rows[i].destination);
        }
}

/* A v2 header of family AF_UNIX in buf, with so many bytes of TLVs.  Returns its length. */
static size_t unix_header(char *buf, const char *client, size_t client_len, const char *tlvs, size_t tlvs_len) {
        memset(buf, 0, 232);
        memcpy(buf, B(SIGNATURE "\x21\x31"));
        buf[14] = (char)((216 + tlvs_len) >> 8);
        buf[15] = (char)(216 + tlvs_len);
        memcpy(buf + 16, client, client_len);
        memcpy(buf + 16 + 108, B("/run/d.sock"));
        memcpy(buf + 232, tlvs, tlvs_len);
        return 232 + tlvs_len;
}

static void test_v2_unix(void **state) {
        char buf[PROXY_HEADER_V2_MAX], path[109] = "/";
        struct proxy_header header;
        const char *why;
        size_t len;

        (void)state;
        check_good(buf, unix_header(buf, B("/run/c.sock"), "", 0), "unix:/run/c.sock", "unix:/run/d.sock");
        check_good(buf, unix_header(buf, B("\0name"), "", 0), "unix:@name", "unix:/run/d.sock");
        check_good(buf, unix_header(buf, "", 0, "", 0), "unix", "unix:/run/d.sock");
        /* As long as there is room, which leaves none for a NUL. */
        memset(path + 1, 'p', 107);
        len = unix_header(buf, path, 108, "", 0);
        assert_int_equal(proxy_header_parse(&header, buf, len, &why), len);
        assert_memory_equal(header.client.un.sun_path, path, 108);
        assert_int_equal(header.client.len, sizeof(header.client.un));

        len = unix_header(buf, "", 0, B("\x04\0\1x\xe0\0\x0c\0\0\x03\xe8\0\0\0\x21\0\1\x86\xa0"));
        check_good(buf, len, "unix", "unix:/run/d.sock");
        assert_int_equal(proxy_header_parse(&header, buf, len, &why), len);
        assert_int_equal(header.has_ids, 1);
        assert_int_equal(header.uid, 1000);
        assert_int_equal(header.gid, 33);
        assert_int_equal(header.pid, 100000);
        /* Somebody else's TLV of that number. */
        len = unix_header(buf, "", 0, B("\xe0\0\x04\0\0\x03\xe8"));
        assert_int_equal(proxy_header_parse(&header, buf, len, &why), len);
        assert_int_equal(header.has_ids, 0);
}

/* The longest that is taken, and one byte more. */
static void test_v2_longest(void **state) {
        char buf[PROXY_HEADER_V2_MAX + 16] = SIGNATURE "\x21\x11\x0f\xf0" V4;
        struct proxy_header header;
        const char *why = NULL;

        (void)state;
        /* 4096 - 28 bytes of noughts are 1356 TLVs. */
        check_good(buf, PROXY_HEADER_V2_MAX, "10.0.0.1:1234", "10.0.0.2:443");
        buf[15]++;
        assert_int_equal(proxy_header_parse(&header, buf, sizeof(buf), &why), -EBADMSG);
        assert_non_null(strstr(why, "4096"));
        assert_int_equal(proxy_header_parse(&header, buf, 16, &why), -EBADMSG);
}

/* What is refused, and how many bytes it takes to see that. */
static void test_bad(void **state) {
        static const struct { const char *bytes; size_t len, seen; const char *why; } rows[] = {
                { B("GET / HTTP/1.0\r\n\r\n"), 1, "begin" },
                { B("\x16\x03\x01"), 1, "begin" },
                { B("proxy TCP4"), 1, "begin" },
                { B("PROXX"), 5, "begin" },
                { B("PROXYTCP4"), 6, "begin" },
                { B(" PROXY"), 1, "begin" },
                { B("\r\n\r\nGET"), 5, "begin" },
                { B("\r\nQUIT"), 3, "begin" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n"), 33, "odd byte" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rx"), 34, "CR LF" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\0\r\n"), 33, "odd byte" },
                { B("PROXY UNKNOWN a\nb\r\n"), 16, "odd byte" },
                { B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                    "65535 655350\r\n"), 106, "107" },
                { B("PROXY \r\n"), 8, "protocol" },
                { B("PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n"), 34, "protocol" },
                { B("PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n"), 34, "protocol" },
                { B("PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n"), 34, "protocol" },
                { B("PROXY UNKNOWNS\r\n"), 16, "protocol" },
                { B("PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), 35, "protocol" },
                { B("PROXY TCP4\r\n"), 12, "protocol" },
                { B("PROXY TCP4 \r\n"), 13, "lacks" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n"), 32, "lacks" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 \r\n"), 33, "lacks" },
                { B("PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n"), 35, "lacks" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n"), 35, "port" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n"), 36, "port" },
                { B("PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n"), 36, "not an address" },
                { B("PROXY TCP4 10.0.0.01 10.0.0.2 1 2\r\n"), 35, "not an address" },
                { B("PROXY TCP4 10.0.0 10.0.0.2 1 2\r\n"), 32, "not an address" },
                { B("PROXY TCP4 ::1 ::1 1 2\r\n"), 24, "not an address" },
                { B("PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n"), 34, "not an address" },
                { B("PROXY TCP6 ::1 ::g 1 2\r\n"), 24, "not an address" },
                { B("PROXY TCP6 fe80::1%lo ::1 1 2\r\n"), 31, "not an address" },
                { B("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::1 1 2\r\n"),
                  80, "lacks" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n"), 38, "65535" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 99999999999999999999\r\n"), 53, "65535" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 -1 2\r\n"), 35, "65535" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n"), 35, "65535" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 1 00\r\n"), 35, "65535" },
                { B("PROXY TCP4 10.0.0.1 10.0.0.2 0x1 2\r\n"), 36, "65535" },
                { B(SIGNATURE "\x11\x11\0\x0c" V4), 13, "version" },
                { B(SIGNATURE "\x31\x11\0\x0c" V4), 13, "version" },
                { B(SIGNATURE "\x22\x11\0\x0c" V4), 13, "command" },
                { B(SIGNATURE "\x2f\x11\0\x0c" V4), 13, "command" },
                { B(SIGNATURE "\x21\x12\0\x0c" V4), 14, "stream" },
                { B(SIGNATURE "\x21\x22\0\x24"), 14, "stream" },
                { B(SIGNATURE "\x21\x32\0\xd8"), 14, "stream" },
                { B(SIGNATURE "\x21\x02\0\0"), 14, "stream" },
                { B(SIGNATURE "\x21\x13\0\x0c" V4), 14, "none that there is" },
                { B(SIGNATURE "\x21\x41\0\x0c" V4), 14, "none that there is" },
                { B(SIGNATURE "\x21\xff\0\x0c" V4), 14, "none that there is" },
                { B(SIGNATURE "\x21\x11\xff\xff" V4), 16, "4096" },
                { B(SIGNATURE "\x20\0\xff\xff" V4), 16, "4096" },
                { B(SIGNATURE "\x21\x11\0\0"), 16, "too short" },
                { B(SIGNATURE "\x21\x11\0\x0b" V4), 27, "too short" },
                { B(SIGNATURE "\x21\x21\0\x0c" V4), 28, "too short" },
                { B(SIGNATURE "\x21\x31\0\x0c" V4), 28, "too short" },
                { B(SIGNATURE "\x21\x11\0\x0d" V4 "x"), 29, "TLV" },
                { B(SIGNATURE "\x21\x11\0\x0f" V4 "\x04\0\1"), 31, "TLV" },
                { B(SIGNATURE "\x21\x11\0\x0f" V4 "\x04\xff\xff"), 31, "TLV" },
                { B(SIGNATURE "\x21\x11\0\x10" V4 "\x04\0\0x"), 32, "TLV" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct proxy_header header;
                const char *why = NULL;
                size_t n = 0;
                int r;

                do
                        r = proxy_header_parse(&header, rows[i].bytes, n, &why);
                while (r == PROXY_HEADER_MORE && n++ < rows[i].len);
                if (r != -EBADMSG || n != rows[i].seen || !strstr(why, rows[i].why))
                        fail_msg("row %zu '%s': %d after %zu bytes, %s", i, rows[i].bytes, r, n, why ? why : "");
        }
}

static struct addr named(const char *text) {
        struct addr addr = { .kind = ADDR_NONE };
        const char *why;

        if (strcmp(text, "-") != 0 && strcmp(text, "unix") != 0)
                assert_int_equal(addr_parse(&addr, text, &why), 0);
        if (strcmp(text, "unix") == 0)
                addr = (struct addr){ .kind = ADDR_UNIX, .len = sizeof(sa_family_t), .un = { .sun_family = AF_UNIX } };
        return addr;
}

static void test_format_v1(void **state) {
        static const struct { const char *client, *destination, *line; } rows[] = {
                { "10.0.0.1:1234", "10.0.0.2:443", "TCP4 10.0.0.1 10.0.0.2 1234 443" },
                { "[2001:db8::1]:1", "[::1]:65535", "TCP6 2001:db8::1 ::1 1 65535" },
                { "[::ffff:10.0.0.1]:1", "10.0.0.2:2", "TCP4 10.0.0.1 10.0.0.2 1 2" },
                { "10.0.0.1:1", "[2001:db8::1]:2", "TCP6 0:0:0:0:0:ffff:a00:1 2001:db8::1 1 2" },
                { "[::1:2]:1", "[2001:db8::1]:2", "TCP6 0:0:0:0:0:0:1:2 2001:db8::1 1 2" },
                { "unix", "unix:/run/d.sock", "UNKNOWN" },
                { "unix:@name", "10.0.0.1:1", "UNKNOWN" },
                { "-", "-", "UNKNOWN" },
                { "10.0.0.1:1", "-", "UNKNOWN" },
                { "10.0.0.1:1", "unix", "UNKNOWN" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct proxy_header header = { .client = named(rows[i].client),
                                               .destination = named(rows[i].destination) };
                char buf[PROXY_HEADER_SIZE], want[128];
                size_t n = proxy_header_format(&header, 1, buf);

                assert_int_equal(n, snprintf(want, sizeof(want), "PROXY %s\r\n", rows[i].line));
                assert_memory_equal(buf, want, n);
        }
}

static void test_format_v2(void **state) {
        static const struct {
                const char *client, *destination;
                size_t len;
                const char *begin;
                size_t begin_len;
        } rows[] = {
                { "10.0.0.1:1234", "10.0.0.2:443", 28, B("\x21\x11\0\x0c" V4) },
                { "[::ffff:10.0.0.1]:1234", "10.0.0.2:443", 28, B("\x21\x11\0\x0c" V4) },
                { "[2001:db8::1]:1", "[::1]:2", 52,
                  B("\x21\x21\0\x24" V6_DB8 V6_ONE "\0\1\0\2") },
                { "10.0.0.1:1", "[::1]:2", 52,
                  B("\x21\x21\0\x24" MAPPED("\x0a\0\0\1") V6_ONE "\0\1\0\2") },
                { "unix:/c", "unix:/run/d.sock", 232, B("\x21\x31\0\xd8/c\0\0\0\0\0\0\0\0\0\0") },
                { "unix:@name", "unix:/run/d.sock", 232, B("\x21\x31\0\xd8\0name\0\0\0\0\0") },
                { "unix", "unix:/run/d.sock", 232, B("\x21\x31\0\xd8\0\0\0\0\0\0\0\0\0\0\0\0") },
                { "unix", "-", 232, B("\x21\x31\0\xd8\0\0\0\0\0\0\0\0\0\0\0\0") },
                { "-", "-", 16, B("\x20\0\0\0") },
                { "10.0.0.1:1", "unix", 16, B("\x20\0\0\0") },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct proxy_header back, header = { .client = named(rows[i].client),
                                                     .destination = named(rows[i].destination) };
                char buf[PROXY_HEADER_SIZE], text[ADDR_STRLEN];
                size_t len = proxy_header_format(&header, 2, buf);
                const char *why;

                assert_int_equal(len, rows[i].len);
                assert_memory_equal(buf, SIGNATURE, 12);
                assert_memory_equal(buf + 12, rows[i].begin, rows[i].begin_len);
                assert_int_equal(proxy_header_parse(&back, buf, len, &why), len);
                if (len == 232) {
                        assert_memory_equal(buf + 16 + 108, header.destination.un.sun_path, 108);
                        assert_string_equal(shown(&back.client, text), rows[i].client);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_v1), cmocka_unit_test(test_v2), cmocka_unit_test(test_v2_unix),
                cmocka_unit_test(test_v2_longest), cmocka_unit_test(test_bad), cmocka_unit_test(test_format_v1),
                cmocka_unit_test(test_format_v2),
        };

        return cmocka_run_group_tests_name("net_proxy_header", tests, NULL, NULL);
}
