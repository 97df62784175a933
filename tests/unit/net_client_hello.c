/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/client_hello.h"

#define B(text) (text), sizeof(text) - 1
#define SNI(name_and_length) "\0\0" name_and_length
#define EXAMPLE "\0\0\0\x10\0\x0e\0\0\x0b" "example.org"
#define H2 "\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1"

/* Bytes under construction. */
struct bytes {
        uint8_t at[80000];
        size_t len;
};

static void add(struct bytes *bytes, const void *data, size_t len) {
        assert_true(bytes->len + len <= sizeof(bytes->at));
        memcpy(bytes->at + bytes->len, data, len);
        bytes->len += len;
}

static void add_number(struct bytes *bytes, size_t number, int size) {
        for (int i = size - 1; i >= 0; i--)
                add(bytes, &(uint8_t){ (uint8_t)(number >> 8 * i) }, 1);
}

/* A message with those extensions; without a list of them where extensions is NULL. */
static void make_message(struct bytes *message, const char *extensions, size_t len) {
        struct bytes *body = calloc(1, sizeof(*body));

        assert_non_null(body);
        add(body, B("\x03\x03"));
        add(body, B("0123456789abcdef0123456789ABCDEF"));
        add(body, B("\x04" "sess" "\0\x04\x13\x01\xc0\x2f" "\x01\0"));
        if (extensions) {
                add_number(body, len, 2);
                add(body, extensions, len);
        }
        message->len = 0;
        add_number(message, 1, 1);
        add_number(message, body->len, 3);
        add(message, body->at, body->len);
        free(body);
}

/* The message in records of so many bytes. */
static void make_records(struct bytes *records, const struct bytes *message, size_t size) {
        records->len = 0;
        for (size_t at = 0; at < message->len; at += size) {
                size_t n = message->len - at < size ? message->len - at : size;

                add(records, B("\x16\x03\x01"));
                add_number(records, n, 2);
                add(records, message->at + at, n);
        }
}

/* The outcome for the first bytes, in memory of just that size. */
static enum client_hello_outcome parse(struct client_hello *hello, const void *bytes, size_t len, uint8_t **copy) {
        enum client_hello_outcome outcome;
        uint8_t *buf = malloc(len ? len : 1);

        assert_non_null(buf);
        memcpy(buf, bytes, len);
        outcome = client_hello_parse(hello, buf, len);
        if (copy)
                *copy = buf;
        else
                free(buf);
        return outcome;
}

static void test_good(void **state) {
        static const struct { const char *extensions; size_t len; const char *sni, *alpn; size_t alpn_len; } rows[] = {
                { NULL, 0, "", B("") },
                { B(""), "", B("") },
                { B(EXAMPLE), "example.org", B("") },
                { B(H2), "", B("\x02h2\x08http/1.1") },
                { B("\x2b\x2b\0\0" EXAMPLE "\0\x0a\0\x04\0\2\0\x17" H2 "\xff\x01\0\1\0"), "example.org",
                  B("\x02h2\x08http/1.1") },
                { B(SNI("\0\x10\0\x0e\0\0\x0b" "EXAMPLE.Org")), "example.org", B("") },
                { B(SNI("\0\x11\0\x0f\0\0\x0c" "example.org.")), "example.org", B("") },
                { B(SNI("\0\x06\0\x04\0\0\x01" "x")), "x", B("") },
                { B(SNI("\0\x0e\0\x0c\0\0\x09" "xn--bcher")), "xn--bcher", B("") },
                /* Names of a type that there may be some day. */
                { B(SNI("\0\x0b\0\x09\x07\0\x01?\0\0\x02" "ab")), "ab", B("") },
                { B(SNI("\0\x06\0\x04\x07\0\x01?")), "", B("") },
        };
        struct bytes *message = malloc(sizeof(*message)), *records = malloc(sizeof(*records));

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                make_message(message, rows[i].extensions, rows[i].len);
                for (size_t size = 1; size <= 1024; size += size < 10 ? 1 : 507) {
                        struct client_hello hello;
                        uint8_t *copy;

                        make_records(records, message, size);
                        for (size_t n = 0; n < records->len; n++)
                                if (parse(&hello, records->at, n, NULL) != CLIENT_HELLO_MORE)
                                        fail_msg("row %zu, %zu bytes of %zu in records of %zu", i, n, records->len,
                                                 size);
                        /* What comes behind is not looked at: another message in the same record, anything. */
                        add(records, B("\0\xff\x16"));
                        assert_int_equal(parse(&hello, records->at, records->len, &copy), CLIENT_HELLO_COMPLETE);
                        assert_string_equal(hello.sni, rows[i].sni);
                        assert_int_equal(hello.alpn_len, rows[i].alpn_len);
                        if (hello.alpn_len)
                                assert_memory_equal(hello.alpn, rows[i].alpn, hello.alpn_len);
                        free(copy);
                }
        }
        free(message);
        free(records);
}

/* Another message in the record of the first: it is not looked at, and nothing of the first reaches into it. */
static void test_message_behind(void **state) {
        struct bytes *message = malloc(sizeof(*message)), *records = malloc(sizeof(*records));
        struct client_hello hello;

        (void)state;
        make_message(message, B(EXAMPLE));
        add(message, B("\xff\xff\xff\xff"));
        make_records(records, message, 1024);
        assert_int_equal(parse(&hello, records->at, records->len, NULL), CLIENT_HELLO_COMPLETE);
        assert_string_equal(hello.sni, "example.org");
        records->at[57]++; /* the length of the extensions */
        assert_int_equal(parse(&hello, records->at, records->len, NULL), CLIENT_HELLO_BAD);
        free(message);
        free(records);
}

static void test_bad_extensions(void **state) {
        static const struct { const char *what, *extensions; size_t len; } rows[] = {
                { "half an extension's head", B("\0\x2b\0") },
                { "an extension longer than all", B("\0\x2b\0\1") },
                { "an empty list of names", B(SNI("\0\x02\0\0")) },
                { "no list of names", B(SNI("\0\0")) },
                { "a list of names that ends before its extension", B(SNI("\0\x07\0\x04\0\0\x01" "xy")) },
                { "a list of names longer than its extension", B(SNI("\0\x06\0\x05\0\0\x01" "x")) },
                { "a name longer than its list", B(SNI("\0\x06\0\x04\0\0\x02" "x")) },
                { "half a name's head", B(SNI("\0\x08\0\x06\0\0\x01" "x\0\0")) },
                { "an empty name", B(SNI("\0\x05\0\x03\0\0\0")) },
                { "a name of a dot", B(SNI("\0\x06\0\x04\0\0\x01" ".")) },
                { "two names", B(SNI("\0\x0a\0\x08\0\0\x01" "x\0\0\x01" "y")) },
                { "a NUL in a name", B(SNI("\0\x08\0\x06\0\0\x03" "a\0b")) },
                { "a NUL at the end of a name", B(SNI("\0\x07\0\x05\0\0\x02" "a\0")) },
                { "a space in a name", B(SNI("\0\x08\0\x06\0\0\x03" "a b")) },
                { "a line's end in a name", B(SNI("\0\x08\0\x06\0\0\x03" "a\nb")) },
                { "a name in UTF-8", B(SNI("\0\x08\0\x06\0\0\x03" "a\xc3\xbc")) },
                { "the names twice", B(EXAMPLE EXAMPLE) },
                { "no list of protocols", B("\0\x10\0\0") },
                { "an empty list of protocols", B("\0\x10\0\x02\0\0") },
                { "an empty protocol", B("\0\x10\0\x03\0\1\0") },
                { "a protocol longer than its list", B("\0\x10\0\x04\0\2\2h") },
                { "a list of protocols that ends before its extension", B("\0\x10\0\x05\0\2\1hx") },
                { "the protocols twice", B(H2 H2) },
        };
        struct bytes *message = malloc(sizeof(*message)), *records = malloc(sizeof(*records));
        struct client_hello hello;

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                make_message(message, rows[i].extensions, rows[i].len);
                make_records(records, message, 1024);
                if (parse(&hello, records->at, records->len, NULL) != CLIENT_HELLO_BAD)
                        fail_msg("%s", rows[i].what);
                assert_string_equal(hello.sni, "");
                assert_int_equal(hello.alpn_len, 0);
        }
        free(message);
        free(records);
}

/* Heads of messages, each broken in one place, at an offset of the record. */
static void test_bad_head(void **state) {
        static const struct { const char *what; size_t at; uint8_t value; } rows[] = {
                { "a version that is none", 9, 2 },
                { "a longer session id than there may be", 43, 33 },
                { "a session id longer than all", 43, 255 },
                { "an odd number of cipher bytes", 49, 3 },
                { "no ciphers", 49, 0 },
                { "ciphers longer than all", 48, 1 },
                { "no compression methods", 54, 0 },
                { "extensions shorter than the rest", 57, 0x13 },
                { "extensions longer than the rest", 57, 0x15 },
        };
        struct bytes *message = malloc(sizeof(*message)), *records = malloc(sizeof(*records));
        struct client_hello hello;

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                make_message(message, B(EXAMPLE));
                make_records(records, message, 1024);
                assert_int_equal(parse(&hello, records->at, records->len, NULL), CLIENT_HELLO_COMPLETE);
                records->at[rows[i].at] = rows[i].value;
                if (parse(&hello, records->at, records->len, NULL) != CLIENT_HELLO_BAD)
                        fail_msg("%s", rows[i].what);
        }
        free(message);
        free(records);
}

/* What is told by the first bytes, and by how many. */
static void test_first_bytes(void **state) {
        static const struct { const char *bytes; size_t len, seen; enum client_hello_outcome outcome; } rows[] = {
                { B("GET / HTTP/1.0\r\n\r\n"), 1, CLIENT_HELLO_OTHER },
                { B("\x80\x2e\x01\x03\x01"), 1, CLIENT_HELLO_OTHER },           /* SSLv2 */
                { B("\x15\x03\x01\0\x02\x01\0"), 1, CLIENT_HELLO_OTHER },       /* an alert */
                { B("\x16\x02\0\0\x10"), 2, CLIENT_HELLO_OTHER },
                { B("\x16\x03\x01\0\x04\x02\0\0\x26"), 6, CLIENT_HELLO_OTHER }, /* a ServerHello */
                { B("\x16\x03\x01\0\0"), 5, CLIENT_HELLO_BAD },
                { B("\x16\x03\x01\x40\x01"), 5, CLIENT_HELLO_LARGE },
                { B("\x16\x03\x01\x40\0\x01\0\x40\0"), 9, CLIENT_HELLO_LARGE },
                { B("\x16\x03\x01\x40\0\x01\x01\0\0"), 9, CLIENT_HELLO_LARGE },
                { B("\x16\x03\x01\0\x01\x01\x17\x03\x03\0\x01"), 7, CLIENT_HELLO_BAD },
                { B("\x16\x03\x01\0\x01\x01\x16\x02"), 8, CLIENT_HELLO_BAD },
                { B("\x16\x03\x01\0\x01\x01\x16\x03\x01\0\0"), 11, CLIENT_HELLO_BAD },
                { B("\x16\x03\x01\0\x01\x01\x16\x03\x01\x40\x01"), 11, CLIENT_HELLO_BAD },
                { B("\x16\x03\x01\0\x01\x01\x16\x03\x01\0\x03\0\0\0"), 14, CLIENT_HELLO_BAD },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                enum client_hello_outcome outcome;
                struct client_hello hello;
                size_t n = 0;

                do
                        outcome = parse(&hello, rows[i].bytes, n, NULL);
                while (outcome == CLIENT_HELLO_MORE && n++ < rows[i].len);
                if (outcome != rows[i].outcome || n != rows[i].seen)
                        fail_msg("row %zu: %d after %zu bytes", i, (int)outcome, n);
        }
}

/* The largest message that is looked at, and one byte more; the longest name, and one byte more. */
static void test_limits(void **state) {
        struct bytes *message = malloc(sizeof(*message)), *records = malloc(sizeof(*records));
        struct client_hello hello;
        char *extensions = calloc(1, 20000), name[272] = SNI("\1\4\1\2\0\0\xff");

        (void)state;
        make_message(message, B(EXAMPLE));
        for (int over = 0; over <= 1; over++) {
                size_t pad = CLIENT_HELLO_MAX - message->len - 4 + (size_t)over;

                memcpy(extensions, B(EXAMPLE "\0\x15"));
                extensions[sizeof(EXAMPLE) + 1] = (char)(pad >> 8);
                extensions[sizeof(EXAMPLE) + 2] = (char)pad;
                make_message(message, extensions, sizeof(EXAMPLE) - 1 + 4 + pad);
                assert_int_equal(message->len, CLIENT_HELLO_MAX + over);
                make_records(records, message, 16000);
                assert_int_equal(parse(&hello, records->at, records->len, NULL),
                                 over ? CLIENT_HELLO_LARGE : CLIENT_HELLO_COMPLETE);
                assert_string_equal(hello.sni, over ? "" : "example.org");
                make_message(message, B(EXAMPLE));
        }

        memset(name + 9, 'n', 256);
        make_message(message, name, 9 + 255);
        make_records(records, message, 16000);
        assert_int_equal(parse(&hello, records->at, records->len, NULL), CLIENT_HELLO_COMPLETE);
        assert_int_equal(strlen(hello.sni), 255);
        memcpy(name, B(SNI("\1\5\1\3\0\1\0")));
        make_message(message, name, 9 + 256);
        make_records(records, message, 16000);
        assert_int_equal(parse(&hello, records->at, records->len, NULL), CLIENT_HELLO_BAD);
        /* Of which the last is the dot that does not count. */
        name[9 + 255] = '.';
        make_message(message, name, 9 + 256);
        make_records(records, message, 16000);
        assert_int_equal(parse(&hello, records->at, records->len, NULL), CLIENT_HELLO_COMPLETE);
        free(extensions);
        free(message);
        free(records);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good), cmocka_unit_test(test_message_behind),
                cmocka_unit_test(test_bad_extensions), cmocka_unit_test(test_bad_head),
                cmocka_unit_test(test_first_bytes), cmocka_unit_test(test_limits),
        };

        return cmocka_run_group_tests_name("net_client_hello", tests, NULL, NULL);
}
