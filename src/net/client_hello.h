/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_CLIENT_HELLO_H
#define SPLICED_NET_CLIENT_HELLO_H

#include <stddef.h>
#include <stdint.h>

/*
 * The first message of a TLS client: the server's name that it asks for and
 * the protocols that it offers.  Pure: no system call, no memory.
 */

#define CLIENT_HELLO_MAX 16384          /* bytes of a message that is looked at */
#define CLIENT_HELLO_NAME_SIZE 256      /* bytes of a name, the NUL included */

enum client_hello_outcome {
        CLIENT_HELLO_MORE,              /* not complete yet */
        CLIENT_HELLO_COMPLETE,          /* here it is */
        CLIENT_HELLO_OTHER,             /* no TLS client begins like this */
        CLIENT_HELLO_LARGE,             /* more than CLIENT_HELLO_MAX bytes */
        CLIENT_HELLO_BAD,               /* begins as a ClientHello, and breaks its rules */
};

struct client_hello {
        char sni[CLIENT_HELLO_NAME_SIZE];       /* lower case, without a dot at its end; "": none was given */
        const uint8_t *alpn;            /* a list of protocols, each with its length in a byte before it; in buf */
        size_t alpn_len;                /* of the list in bytes; 0: none were offered */
};

/*
 * Reads a ClientHello from the first bytes of a connection, as many as there
 * are so far.  It may come in several records: those are put together in
 * place, so the bytes of buf change and hello->alpn points into them.  What is wrong is said as soon
 * as it can be told.  *hello is filled where the outcome is COMPLETE, and empty else.
 */
enum client_hello_outcome client_hello_parse(struct client_hello *hello, uint8_t *buf, size_t len);

#endif
