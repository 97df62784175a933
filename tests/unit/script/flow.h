/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_SCRIPT_FLOW_H
#define TESTS_UNIT_SCRIPT_FLOW_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

/* A peer: one end of a connection that sends a known stream and checks the one that it gets.  Never blocks. */

#define FLOW_MAX (1024u * 1024u)        /* bytes of a stream */

enum flow_end {
        FLOW_FIN,               /* once all is sent */
        FLOW_FIN_AFTER_EOF,     /* once all is sent and the other has sent its FIN */
        FLOW_RESET,             /* once all is sent and `enough` bytes have come: closes with a reset */
};

struct flow {
        int fd;                 /* owned; -1: none */
        int is_unix;
        unsigned stream, other; /* which streams it sends and expects: 0 to 3 */
        const uint8_t *head, *other_head;       /* what comes before its stream, and before the other's */
        size_t head_len, head_sent, other_len, other_got;
        size_t total, sent, got;
        size_t window;          /* sends no further than so many bytes beyond what it got; 0: no such limit */
        size_t hold;            /* sends no further than this while it is held */
        size_t enough;
        size_t chunk;           /* sends so much in one step at most; 0: no such limit */
        enum flow_end end;
        int wait_eof;           /* sends nothing before the other's FIN */
        int held, deaf;         /* deaf: does not read */
        int ended;              /* its FIN, or reset, is out */
        int eof, error;         /* what it saw of the other's end: a FIN, or an errno */
        int broken;             /* the errno of a send that failed */
        int wrong;              /* a byte was not the right one */
};

#define FLOW_NULL ((struct flow){ .fd = -1 })

/* Does what can be done now.  Returns whether anything was done. */
int flow_step(struct flow *flow);

/* It has sent its end and seen the other's, or an error. */
int flow_done(const struct flow *flow);

/* What it waits for. */
struct pollfd flow_poll(const struct flow *flow);

/* Closes, without a reset where the kernel lets it.  Idempotent. */
void flow_close(struct flow *flow);

#endif
