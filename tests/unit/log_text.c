/* SPDX-License-Identifier: ISC */
/* What strings from outside become in a line, and the ring that lines wait in: pure code, no threads. */
#include "base/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/log_line.h"
#include "base/ring.h"

#define SIZE 65536

static char buf[SIZE];

static const char *message(const char *s, size_t max) {
        struct text text = text_init(buf, sizeof(buf));

        text_message(&text, s, max);
        assert_int_equal(text.len, strlen(buf));
        return buf;
}

static const char *value(const char *s) {
        struct text text = text_init(buf, sizeof(buf));

        text_value(&text, s, 1000);
        return buf;
}

static void test_message_escapes(void **state) {
        assert_string_equal(message("plain \"text\", back\\slash", 100), "plain \"text\", back\\slash");
        assert_string_equal(message("a\nb\rc\td", 100), "a\\nb\\rc\\td");
        assert_string_equal(message("\x1b[31mred\x07\x7f", 100), "\\x1b[31mred\\x07\\x7f");
        assert_string_equal(message("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 100),
                            "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void test_message_refuses_what_is_no_utf8(void **state) {
        assert_string_equal(message("\xff", 100), "\\xff");
        assert_string_equal(message("a\xc3", 100), "a\\xc3");
        assert_string_equal(message("\xc3\n", 100), "\\xc3\\n");
        assert_string_equal(message("\xc0\x8a", 100), "\\xc0\\x8a");                    /* overlong newline */
        assert_string_equal(message("\xe0\x80\x8a", 100), "\\xe0\\x80\\x8a");
        assert_string_equal(message("\xed\xa0\x80", 100), "\\xed\\xa0\\x80");           /* surrogate */
        assert_string_equal(message("\xf4\x90\x80\x80", 100), "\\xf4\\x90\\x80\\x80");  /* beyond U+10FFFF */
        assert_string_equal(message("\xf8\x88\x80\x80\x80", 100), "\\xf8\\x88\\x80\\x80\\x80");
}

static void test_message_hides_unicode_controls(void **state) {
        assert_string_equal(message("\xc2\x9b" "31m", 100), "\\xc2\\x9b31m");           /* CSI in eight bits */
        assert_string_equal(message("a\xe2\x80\xa8" "b", 100), "a\\xe2\\x80\\xa8b");    /* line separator */
        assert_string_equal(message("\xe2\x80\xae" "evil", 100), "\\xe2\\x80\\xaeevil"); /* right to left */
}

static void test_cut_at_a_character(void **state) {
        assert_string_equal(message("0123456789", 10), "0123456789");
        assert_string_equal(message("0123456789a", 10), "0123456...");
        assert_string_equal(message("012345\xe2\x82\xac\xe2\x82\xac", 10), "012345...");
        assert_string_equal(message("\n\n\n\n\n\n", 10), "\\n\\n\\n...");
        assert_string_equal(message("\x01\x01\x01", 10), "\\x01...");
}

static void test_small_buffer_is_never_left(void **state) {
        struct text text;

        for (size_t size = 1; size < 40; size++) {
                memset(buf, 'Z', 64);
                text = text_init(buf, size);
                text_add(&text, "key=");
                text_value(&text, "a \"b\"\n\xff", 100);
                text_printf(&text, " %d", 12345);
                assert_true(text.len < size);
                assert_int_equal(buf[text.len], '\0');
                assert_int_equal(buf[size], 'Z');
                assert_int_equal(text.cut, size <= strlen("key=\"a \\\"b\\\"\\n\\xff\" 12345"));
        }
}

static void test_value_quotes(void **state) {
        assert_string_equal(value("web"), "web");
        assert_string_equal(value("[::1]:80"), "[::1]:80");
        assert_string_equal(value("unix:/run/a.sock"), "unix:/run/a.sock");
        assert_string_equal(value(NULL), "-");
        assert_string_equal(value("-"), "\"-\"");
        assert_string_equal(value(""), "\"\"");
        assert_string_equal(value("a b"), "\"a b\"");
        assert_string_equal(value("a\" end=\"client-fin"), "\"a\\\" end=\\\"client-fin\"");
        assert_string_equal(value("a\\x0a"), "\"a\\\\x0a\"");
        assert_string_equal(value("a,b"), "\"a,b\"");
        assert_string_equal(value("a\nb"), "a\\nb");
}

/* What json_dumps() makes of s cut to max must be within max, valid, and give `expected` back. */
static void check_json(const char *s, size_t max, const char *expected) {
        json_t *json = text_json(s, max), *back;
        char *dump = json_dumps(json, TEXT_JSON_FLAGS | JSON_ENCODE_ANY);

        assert_non_null(dump);
        assert_true(strlen(dump) <= max + 2);
        for (const char *c = dump; *c; c++)
                assert_in_range(*c, 0x20, 0x7e);
        back = json_loads(dump, JSON_DECODE_ANY, NULL);
        assert_string_equal(json_string_value(back), expected);
        json_decref(back);
        json_decref(json);
        free(dump);
}

static void test_json(void **state) {
        json_t *null = text_json(NULL, 10);

        assert_true(json_is_null(null));
        json_decref(null);
        check_json("plain", 100, "plain");
        check_json("a\nb\"c\\d\x1b", 100, "a\nb\"c\\d\x1b");
        check_json("gr\xc3\xbc\xf0\x9f\x98\x80", 100, "gr\xc3\xbc\xf0\x9f\x98\x80");
        check_json("a\xff\xc0\x8a\x7f", 100, "a\\xff\\xc0\\x8a\\x7f");
        check_json("\xed\xa0\x80", 100, "\\xed\\xa0\\x80");
        check_json("0123456789a", 10, "0123456...");
        check_json("\x01\x01\x01", 17, "\x01\x01...");
        check_json("\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 20, "\xf0\x9f\x98\x80...");
}

static void test_json_of_any_bytes(void **state) {
        unsigned seed = 7;
        char s[64];

        for (int i = 0; i < 20000; i++) {
                size_t n = (size_t)rand_r(&seed) % sizeof(s);
                json_t *json;
                char *dump;

                for (size_t k = 0; k < n; k++)
                        s[k] = (char)(rand_r(&seed) % 255 + 1);
                s[n ? n - 1 : 0] = '\0';
                json = text_json(s, 100);
                dump = json_dumps(json, TEXT_JSON_FLAGS | JSON_ENCODE_ANY);
                assert_non_null(dump);
                assert_true(strlen(dump) <= 102);
                json_decref(json);
                free(dump);
        }
}

static void catch_line(struct log_line *line, const struct log_context *context, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        log_line_catch(line, LOG_LEVEL_WARNING, context, fmt, args);
        va_end(args);
        line->wall_ms = 1767323045678;
}

static void test_line_contexts(void **state) {
        const struct log_line_style style = { .format = LOG_TEXT, .stamp = 0 };
        const struct log_context server = { .server = "a" }, both = { .backend = "app", .server = "a b", .session = 7 };
        const struct log_context all = { .frontend = "web", .backend = "app", .address = "[::1]:80" };
        struct log_line line;

        catch_line(&line, NULL, "hello %s", "x");
        log_line_format(&line, &style, buf, sizeof(buf));
        assert_string_equal(buf, "warning: hello x");
        catch_line(&line, &server, "hello");
        log_line_format(&line, &style, buf, sizeof(buf));
        assert_string_equal(buf, "warning: hello (server=a)");
        catch_line(&line, &both, "hello");
        log_line_format(&line, &style, buf, sizeof(buf));
        assert_string_equal(buf, "warning: hello (server=app/\"a b\" session=7)");
        catch_line(&line, &all, "hello");
        log_line_format(&line, &(struct log_line_style){ .stamp = 1 }, buf, sizeof(buf));
        assert_string_equal(buf, "2026-01-02T03:04:05.678Z warning: hello (frontend=web backend=app address=[::1]:80)");
}

/* The worst that callers can pass, in both formats: a line stays whole, below its maximum, and marked as cut. */
static void test_line_longest(void **state) {
        static const char *const fillers[] = { "x", "\x01", "\"", "\xff", "\xc3\xbc", "\xf0\x9f\x98\x80" };
        struct log_line line;
        json_t *json;
        size_t len;

        for (size_t i = 0; i < sizeof(fillers) / sizeof(*fillers); i++) {
                char *s = calloc(1, 20000);
                struct log_context context = { s, s, s, s, UINT64_MAX };

                for (size_t k = 0; k + strlen(fillers[i]) < 20000; k += strlen(fillers[i]))
                        memcpy(s + k, fillers[i], strlen(fillers[i]));
                catch_line(&line, &context, "%s", s);
                assert_true(log_line_size(&line) <= sizeof(line));
                len = log_line_format(&line, &(struct log_line_style){ .stamp = 1 }, buf, LOG_LINE_MAX + 1);
                assert_in_range(len, 1, LOG_LINE_MAX);
                buf[len] = '\0';
                assert_non_null(strstr(buf, "..."));
                assert_true(strstr(buf, "... address=") || strstr(buf, "...\" address="));
                assert_non_null(strstr(buf, "session=18446744073709551615)"));
                len = log_line_format(&line, &(struct log_line_style){ .format = LOG_JSON }, buf, LOG_LINE_MAX + 1);
                assert_in_range(len, 1, LOG_LINE_MAX);
                json = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
                assert_int_equal(json_object_size(json), 8);
                json_decref(json);
                free(s);
        }
}

/* Entries of many lengths through a small ring, against what went in; the ring wraps thousands of times. */
static void test_ring_keeps_order(void **state) {
        unsigned in = 0, out = 0, seed = 3, refused = 0;
        struct ring ring;
        char bytes[200];

        assert_int_equal(ring_init(&ring, 1024), 0);
        for (int i = 0; i < 200000; i++) {
                if (rand_r(&seed) % 100 < (i / 1000 % 2 ? 60 : 40)) {
                        size_t len = (size_t)rand_r(&seed) % sizeof(bytes);

                        memset(bytes, (int)(in & 0xff), sizeof(bytes));
                        if (ring_push(&ring, &in, sizeof(in), bytes, len) == 0)
                                in++;
                        else
                                refused++;
                } else {
                        size_t len;
                        const char *entry = ring_peek(&ring, &len);

                        assert_int_equal(entry == NULL, in == out);
                        if (entry) {
                                assert_memory_equal(entry, &out, sizeof(out));
                                for (size_t k = sizeof(out); k < len; k++)
                                        assert_int_equal((unsigned char)entry[k], out & 0xff);
                                assert_int_equal((uintptr_t)entry % RING_ALIGN, 0);
                                out++;
                        }
                        ring_pop(&ring);
                }
                assert_int_equal(ring.entries, in - out);
                assert_true(ring.used <= ring.size);
        }
        assert_true(in > 10000 && refused > 1000);
        ring_deinit(&ring);
        ring_deinit(&ring);
}

static void test_ring_full_to_the_byte(void **state) {
        struct ring ring;
        char bytes[64] = { 0 };
        size_t len;

        assert_int_equal(ring_init(&ring, 128), 0);
        assert_int_equal(ring_push(&ring, bytes, 56, NULL, 0), 0);
        assert_int_equal(ring_push(&ring, bytes, 57, NULL, 0), -ENOBUFS);
        assert_int_equal(ring_push(&ring, bytes, 56, NULL, 0), 0);
        assert_int_equal(ring.used, ring.size);
        assert_int_equal(ring_push(&ring, NULL, 0, NULL, 0), -ENOBUFS);
        ring_pop(&ring);
        assert_int_equal(ring_push(&ring, bytes, 40, "0123456789abcdef", 16), 0);
        ring_pop(&ring);
        assert_memory_equal((const char *)ring_peek(&ring, &len) + 40, "0123456789abcdef", 16);
        assert_int_equal(len, 56);
        ring_pop(&ring);
        assert_null(ring_peek(&ring, &len));
        ring_pop(&ring);
        ring_deinit(&ring);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_message_escapes),
                cmocka_unit_test(test_message_refuses_what_is_no_utf8),
                cmocka_unit_test(test_message_hides_unicode_controls),
                cmocka_unit_test(test_cut_at_a_character),
                cmocka_unit_test(test_small_buffer_is_never_left),
                cmocka_unit_test(test_value_quotes),
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_json_of_any_bytes),
                cmocka_unit_test(test_line_contexts),
                cmocka_unit_test(test_line_longest),
                cmocka_unit_test(test_ring_keeps_order),
                cmocka_unit_test(test_ring_full_to_the_byte),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
