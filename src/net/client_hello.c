/* SPDX-License-Identifier: ISC */
#include "net/client_hello.h"

#include <string.h>

#define CLIENT_HELLO_RECORD 5           /* bytes before the content of a record */
#define CLIENT_HELLO_MESSAGE 4          /* bytes before the body of a message */
#define CLIENT_HELLO_RANDOM 32
#define CLIENT_HELLO_SESSION_MAX 32

/* What TLS (RFC 8446, RFC 6066, RFC 7301) calls these by number. */
enum {
        CLIENT_HELLO_HANDSHAKE = 22, CLIENT_HELLO_CLIENT_HELLO = 1, CLIENT_HELLO_HOST_NAME = 0,
        CLIENT_HELLO_SERVER_NAME = 0, CLIENT_HELLO_ALPN = 16,
};

/* A part that has not been read yet. */
struct client_hello_part {
        const uint8_t *at;
        size_t left;
};

/* A number of 1 to 3 bytes.  Returns 0 where there are not so many. */
static int client_hello_number(struct client_hello_part *part, size_t bytes, size_t *number) {
        if (part->left < bytes)
                return 0;
        *number = 0;
        for (size_t i = 0; i < bytes; i++)
                *number = *number << 8 | part->at[i];
        part->at += bytes;
        part->left -= bytes;
        return 1;
}

/* A part whose length stands before it, in so many bytes.  Returns 0 where it is not all there. */
static int client_hello_vector(struct client_hello_part *part, size_t bytes, struct client_hello_part *vector) {
        size_t n;

        if (!client_hello_number(part, bytes, &n) || n > part->left)
                return 0;
        *vector = (struct client_hello_part){ part->at, n };
        part->at += n;
        part->left -= n;
        return 1;
}

static int client_hello_skip(struct client_hello_part *part, size_t n) {
        if (n > part->left)
                return 0;
        part->at += n;
        part->left -= n;
        return 1;
}

/* A name is of printable ASCII without spaces; one dot at its end means nothing. */
static int client_hello_name(struct client_hello *hello, struct client_hello_part name) {
        if (name.left && name.at[name.left - 1] == '.')
                name.left--;
        if (name.left == 0 || name.left >= sizeof(hello->sni))
                return 0;
        for (size_t i = 0; i < name.left; i++) {
                uint8_t c = name.at[i];

                if (c <= ' ' || c > '~')
                        return 0;
                hello->sni[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
        hello->sni[name.left] = '\0';
        return 1;
}

static int client_hello_names(struct client_hello *hello, struct client_hello_part body) {
        struct client_hello_part list, name;
        size_t type;

        if (!client_hello_vector(&body, 2, &list) || body.left || !list.left)
                return 0;
        while (list.left) {
                if (!client_hello_number(&list, 1, &type) || !client_hello_vector(&list, 2, &name))
                        return 0;
                if (type == CLIENT_HELLO_HOST_NAME && (hello->sni[0] || !client_hello_name(hello, name)))
                        return 0;
        }
        return 1;
}

static int client_hello_protocols(struct client_hello *hello, struct client_hello_part body) {
        struct client_hello_part list, protocol;

        if (!client_hello_vector(&body, 2, &list) || body.left || !list.left)
                return 0;
        hello->alpn = list.at;
        hello->alpn_len = list.left;
        while (list.left)
                if (!client_hello_vector(&list, 1, &protocol) || !protocol.left)
                        return 0;
        return 1;
}

static int client_hello_extensions(struct client_hello *hello, struct client_hello_part body) {
        struct client_hello_part list, extension;
        int named = 0;
        size_t type;

        if (!client_hello_vector(&body, 2, &list) || body.left)
                return 0;
        while (list.left) {
                if (!client_hello_number(&list, 2, &type) || !client_hello_vector(&list, 2, &extension))
                        return 0;
                if (type == CLIENT_HELLO_SERVER_NAME && (named++ || !client_hello_names(hello, extension)))
                        return 0;
                if (type == CLIENT_HELLO_ALPN && (hello->alpn || !client_hello_protocols(hello, extension)))
                        return 0;
        }
        return 1;
}

/* The body of a whole message. */
static int client_hello_body(struct client_hello *hello, struct client_hello_part body) {
        struct client_hello_part session, ciphers, methods;
        size_t version;

        if (!client_hello_number(&body, 2, &version) || version >> 8 != 3 ||
            !client_hello_skip(&body, CLIENT_HELLO_RANDOM))
                return 0;
        if (!client_hello_vector(&body, 1, &session) || session.left > CLIENT_HELLO_SESSION_MAX)
                return 0;
        if (!client_hello_vector(&body, 2, &ciphers) || ciphers.left < 2 || ciphers.left % 2)
                return 0;
        if (!client_hello_vector(&body, 1, &methods) || !methods.left)
                return 0;
        /* Before TLS 1.2 it was fine to have no extensions at all. */
        return !body.left || client_hello_extensions(hello, body);
}

/*
 * Puts the content of the records together at the beginning of buf, in *message, as far as it is there and no further
 * than the end of the message.
 */
static enum client_hello_outcome client_hello_join(uint8_t *buf, size_t len, struct client_hello_part *message) {
        size_t at = 0, have = 0, want = CLIENT_HELLO_MESSAGE, n;

        for (;;) {
                const uint8_t *record = buf + at;
                size_t left = len - at;

                /* The first record has to look like TLS at all; those after it have begun something. */
                if ((left > 0 && record[0] != CLIENT_HELLO_HANDSHAKE) || (left > 1 && record[1] != 3))
                        return at ? CLIENT_HELLO_BAD : CLIENT_HELLO_OTHER;
                if (left < CLIENT_HELLO_RECORD)
                        return CLIENT_HELLO_MORE;
                n = (size_t)record[3] << 8 | record[4];
                if (n == 0)
                        return CLIENT_HELLO_BAD;
                if (n > CLIENT_HELLO_MAX)
                        return at ? CLIENT_HELLO_BAD : CLIENT_HELLO_LARGE;
                at += CLIENT_HELLO_RECORD;
                if (n > len - at)
                        n = len - at;
                /* What is joined lies before what is read: it always has a record's head less. */
                memmove(buf + have, buf + at, n);
                at += n;
                have += n;
                if (have > 0 && buf[0] != CLIENT_HELLO_CLIENT_HELLO)
                        return CLIENT_HELLO_OTHER;
                if (have >= CLIENT_HELLO_MESSAGE)
                        want = CLIENT_HELLO_MESSAGE + ((size_t)buf[1] << 16 | (size_t)buf[2] << 8 | buf[3]);
                if (want > CLIENT_HELLO_MAX)
                        return CLIENT_HELLO_LARGE;
                *message = (struct client_hello_part){ buf, want };
                if (have >= want)
                        return CLIENT_HELLO_COMPLETE;
        }
}

enum client_hello_outcome client_hello_parse(struct client_hello *hello, uint8_t *buf, size_t len) {
        static const struct client_hello none;
        enum client_hello_outcome outcome;
        struct client_hello_part message = { 0 };

        *hello = none;
        outcome = client_hello_join(buf, len, &message);
        if (outcome != CLIENT_HELLO_COMPLETE)
                return outcome;
        client_hello_skip(&message, CLIENT_HELLO_MESSAGE);
        if (client_hello_body(hello, message))
                return CLIENT_HELLO_COMPLETE;
        *hello = none;
        return CLIENT_HELLO_BAD;
}
