/* SPDX-License-Identifier: ISC */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "conf/bytes.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#define BYTES_ESCAPES "allowed: \\r, \\n, \\t, \\0, \\xNN and \\\\"

static int bytes_hex(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char)(c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The escape behind a backslash: how many bytes of text it takes; 0 where it is none. */
static size_t bytes_escape(const char *text, char *byte) {
        static const char letters[] = "rnt0\\", bytes[] = "\r\n\t\0\\";
        const char *letter = *text ? strchr(letters, *text) : NULL;

        if (letter) {
                *byte = bytes[letter - letters];
                return 1;
        }
        if (*text != 'x' || bytes_hex(text[1]) < 0 || bytes_hex(text[2]) < 0)
                return 0;
        *byte = (char)(bytes_hex(text[1]) << 4 | bytes_hex(text[2]));
        return 3;
}

static int bytes_check_size(size_t len, char *why) {
        if (len == 0 || len > BYTES_MAX)
                return value_refuse(why, "is %s; allowed: 1 to %d bytes", len ? "too long" : "empty", BYTES_MAX);
        return 0;
}

/* Reads a string with its escapes.  Returns as bytes_parse_send(). */
static int bytes_parse(const char **bytes, size_t *len, const char *text, struct region *region, char *why) {
        char *to = region_strdup(region, text);

        if (!to)
                return -ENOMEM;
        *bytes = to;
        while (*text) {
                size_t n;

                if (*text != '\\') {
                        *to++ = *text++;
                        continue;
                }
                n = bytes_escape(text + 1, to);
                if (n == 0)
                        return value_refuse(why, "holds a backslash that is no escape; " BYTES_ESCAPES);
                text += 1 + n;
                to++;
        }
        *len = (size_t)(to - *bytes);
        *to = '\0';
        return bytes_check_size(*len, why);
}

int bytes_parse_send(struct conf_check *check, const char *text, struct region *region, char why[static VALUE_WHY]) {
        return bytes_parse(&check->send, &check->send_len, text, region, why);
}

static int bytes_check_regex(const char *pattern, size_t len, char *why) {
        PCRE2_UCHAR message[128];
        PCRE2_SIZE at;
        int error;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, len, 0, &error, &at, NULL);

        if (code) {
                pcre2_code_free(code);
                return 0;
        }
        if (error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAP_FAILED)
                return -ENOMEM;
        pcre2_get_error_message(error, message, sizeof(message));
        return value_refuse(why, "is no regular expression (%s, at byte %zu); allowed: one of PCRE2 between slashes",
                            (const char *)message, at);
}

int bytes_parse_expect(struct conf_check *check, const char *text, struct region *region, char why[static VALUE_WHY]) {
        size_t len = strlen(text);
        int r;

        if (len < 2 || text[0] != '/' || text[len - 1] != '/')
                return bytes_parse(&check->expect, &check->expect_len, text, region, why);
        r = bytes_check_size(len - 2, why);
        if (r == 0)
                r = bytes_check_regex(text + 1, len - 2, why);
        if (r < 0)
                return r;
        check->expect = region_strndup(region, text + 1, len - 2);
        check->expect_len = len - 2;
        check->regex = 1;
        return check->expect ? 0 : -ENOMEM;
}

/* Appends one byte such that the language reads it as it is. */
static size_t bytes_put(char *buf, unsigned char c) {
        switch (c) {
        case '\r':
                return (size_t)sprintf(buf, "\\r");
        case '\n':
                return (size_t)sprintf(buf, "\\n");
        case '\t':
                return (size_t)sprintf(buf, "\\t");
        case '"':
        case '\\':
        case '$':
                return (size_t)sprintf(buf, "\\%c", c);
        default:
                return (size_t)sprintf(buf, c < 0x20 || c >= 0x7f ? "\\x%02x" : "%c", c);
        }
}

static void bytes_format(const char *bytes, size_t len, int regex, char *buf) {
        size_t at = (size_t)sprintf(buf, regex ? "\"/" : "\"");

        /* A string between slashes, which is no regular expression. */
        if (!regex && len > 1 && bytes[0] == '/' && bytes[len - 1] == '/') {
                at += (size_t)sprintf(buf + at, "\\\\x2f");
                bytes++;
                len--;
        }
        for (size_t i = 0; i < len; i++) {
                if (bytes[i] == '\\' && !regex)
                        at += bytes_put(buf + at, '\\');
                at += bytes_put(buf + at, (unsigned char)bytes[i]);
        }
        sprintf(buf + at, regex ? "/\"" : "\"");
}

int bytes_format_send(const struct conf_check *check, char *buf) {
        if (!check->send)
                return 0;
        bytes_format(check->send, check->send_len, 0, buf);
        return 1;
}

int bytes_format_expect(const struct conf_check *check, char *buf) {
        if (!check->expect)
                return 0;
        bytes_format(check->expect, check->expect_len, check->regex, buf);
        return 1;
}
