/* SPDX-License-Identifier: ISC */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MARK "..."
#define TEXT_MARK_LEN 3

enum text_style { TEXT_STYLE_MESSAGE, TEXT_STYLE_QUOTED, TEXT_STYLE_JSON };

/* One character as it will be written.  cost: bytes in the finished line; taken: bytes of the source. */
struct text_piece {
        char bytes[16];
        size_t len;
        size_t cost;
        size_t taken;
};

struct text text_init(char *buf, size_t size) {
        buf[0] = '\0';
        return (struct text){ .buf = buf, .size = size };
}

static void text_append(struct text *text, const char *bytes, size_t len) {
        if (text->cut || len >= text->size - text->len) {
                text->cut = 1;
                return;
        }
        memcpy(text->buf + text->len, bytes, len);
        text->len += len;
        text->buf[text->len] = '\0';
}

void text_add(struct text *text, const char *s) {
        text_append(text, s, strlen(s));
}

void text_printf(struct text *text, const char *fmt, ...) {
        size_t room = text->size - text->len;
        va_list args;
        int n;

        if (text->cut)
                return;
        va_start(args, fmt);
        n = vsnprintf(text->buf + text->len, room, fmt, args);
        va_end(args);
        if (n < 0 || (size_t)n >= room) {
                text->buf[text->len] = '\0';
                text->cut = 1;
                return;
        }
        text->len += (size_t)n;
}

/* How many bytes a UTF-8 character has by its first; 0 where none starts so. */
static size_t text_length(unsigned char first) {
        if (first < 0x80)
                return 1;
        if ((first & 0xe0) == 0xc0)
                return 2;
        if ((first & 0xf0) == 0xe0)
                return 3;
        return (first & 0xf8) == 0xf0 ? 4 : 0;
}

/* The length of the UTF-8 character at s and its code point; 0 where these bytes are none. */
static size_t text_decode(const unsigned char *s, uint32_t *code) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t len = text_length(s[0]), i;

        if (len <= 1) {
                *code = s[0];
                return len;
        }
        *code = s[0] & (0xffu >> (len + 1));
        for (i = 1; i < len; i++) {
                if ((s[i] & 0xc0) != 0x80)      /* a NUL ends the loop, too */
                        return 0;
                *code = *code << 6 | (s[i] & 0x3f);
        }
        if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
                return 0;
        return len;
}

/* Whether a terminal, a pager or a reader may take it for something else than a character on this line. */
static int text_dangerous(uint32_t code) {
        return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f || code == 0x061c ||
               (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

static void text_hex(struct text_piece *piece, const unsigned char *s, size_t n) {
        piece->len = 0;
        for (size_t i = 0; i < n; i++)
                piece->len += (size_t)snprintf(piece->bytes + piece->len, 5, "\\x%02x", s[i]);
        piece->taken = n;
}

static void text_escape_pair(struct text_piece *piece, char second) {
        piece->bytes[0] = '\\';
        piece->bytes[1] = second;
        piece->len = 2;
}

static void text_piece_plain(struct text_piece *piece, const unsigned char *s, enum text_style style) {
        uint32_t code;
        size_t len = text_decode(s, &code);

        piece->taken = len ? len : 1;
        if (len == 0 || (text_dangerous(code) && code != '\n' && code != '\r' && code != '\t'))
                text_hex(piece, s, piece->taken);
        else if (text_dangerous(code))
                text_escape_pair(piece, code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
        else if (style == TEXT_STYLE_QUOTED && (code == '"' || code == '\\'))
                text_escape_pair(piece, (char)code);
        else
                memcpy(piece->bytes, s, piece->len = len);
        piece->cost = piece->len;
}

/* For JSON the bytes stay what they are and only their cost after JSON's own escaping is counted. */
static void text_piece_json(struct text_piece *piece, const unsigned char *s) {
        uint32_t code;
        size_t len = text_decode(s, &code);

        if (len == 0 || code == 0x7f) {         /* JSON has no escape of its own for DEL */
                text_hex(piece, s, 1);
                piece->cost = piece->len + 1;
                return;
        }
        memcpy(piece->bytes, s, len);
        piece->len = piece->taken = len;
        if (code == '"' || code == '\\')
                piece->cost = 2;
        else if (code < 0x20 || len > 1)
                piece->cost = len == 4 ? 12 : 6;
        else
                piece->cost = 1;
}

static void text_escape(struct text *text, const char *s, size_t max, enum text_style style) {
        const unsigned char *at = (const unsigned char *)s;
        size_t cost = 0, safe = text->len;
        struct text_piece piece;

        for (; *at && !text->cut; at += piece.taken) {
                if (style == TEXT_STYLE_JSON)
                        text_piece_json(&piece, at);
                else
                        text_piece_plain(&piece, at, style);
                if (cost + piece.cost > max) {
                        text->len = safe;
                        text_append(text, TEXT_MARK, TEXT_MARK_LEN);
                        return;
                }
                text_append(text, piece.bytes, piece.len);
                cost += piece.cost;
                if (cost + TEXT_MARK_LEN <= max)
                        safe = text->len;
        }
}

void text_message(struct text *text, const char *s, size_t max) {
        text_escape(text, s, max, TEXT_STYLE_MESSAGE);
}

void text_value(struct text *text, const char *s, size_t max) {
        int quoted;

        if (!s) {
                text_append(text, "-", 1);
                return;
        }
        quoted = !*s || strcmp(s, "-") == 0 || strpbrk(s, " \"\\=,()") != NULL;
        if (quoted)
                text_append(text, "\"", 1);
        text_escape(text, s, max, quoted ? TEXT_STYLE_QUOTED : TEXT_STYLE_MESSAGE);
        if (quoted)
                text_append(text, "\"", 1);
}

json_t *text_json(const char *s, size_t max) {
        struct text text;
        json_t *json;
        size_t size;
        char *buf;

        if (!s)
                return json_null();
        size = strnlen(s, max + 1) * 4 + TEXT_MARK_LEN + 1;     /* \xNN for each byte */
        buf = malloc(size);
        if (!buf)
                return NULL;
        text = text_init(buf, size);
        text_escape(&text, s, max, TEXT_STYLE_JSON);
        json = json_stringn(buf, text.len);
        free(buf);
        return json;
}
