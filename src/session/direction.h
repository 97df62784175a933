/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_DIRECTION_H
#define SPLICED_SESSION_DIRECTION_H

#include <stddef.h>
#include <stdint.h>

/*
 * One direction of a relayed session, from the side it reads ("in") to the
 * side it writes ("out").  A pure machine: it makes no system call.  It says what to do
 * next, the caller does it and says what came of it.
 *
 *          in gave EOF         pipe empty          FIN passed on
 *   OPEN ───────────────► EOF ────────────► DRAINED ────────────► SHUT
 *     │                    │                   │
 *     └────────────────────┴───────────────────┴───► FAILED
 *          out is gone, or in was reset and all it sent is delivered
 *
 * Where bytes are limited, an open direction may be held: it reads nothing until it is released.
 *
 * Invariants (direction_sane()): bytes are in the pipe only in OPEN and EOF;
 * a FIN is passed on only after the last byte; only OPEN is held.
 */

enum direction_state { DIRECTION_OPEN, DIRECTION_EOF, DIRECTION_DRAINED, DIRECTION_SHUT, DIRECTION_FAILED };

/* What to do next. */
enum direction_op {
        DIRECTION_WAIT,         /* nothing, until an event says that a side is ready, or it is released */
        DIRECTION_COPY,         /* recv from in, send to out */
        DIRECTION_SPLICE,       /* splice from in to the pipe */
        DIRECTION_FLUSH,        /* splice from the pipe to out */
        DIRECTION_FIN,          /* pass the FIN on */
        DIRECTION_END,          /* nothing, ever again */
};

#define DIRECTION_NO_PIPE UINT32_MAX

/* Bytes that one recv may take, and so what counts as bulk: a read that fills it. */
#define DIRECTION_SCRATCH (32u * 1024u)

/* Part of the session record: plain data. */
struct direction {
        uint64_t bytes;         /* taken by out */
        int64_t in_ms;          /* last byte or FIN received */
        int64_t out_ms;         /* last byte taken by out */
        uint32_t pipe;          /* the pipe it holds, or DIRECTION_NO_PIPE */
        uint32_t piped;         /* bytes in it */
        uint8_t state;          /* enum direction_state */
        uint8_t bulk;           /* 0: copies.  Else it moves by splice: 1, and the short reads in a row */
        uint8_t held;           /* reads nothing */
        uint8_t in_ready;       /* in may have something: no EAGAIN since the last event */
        uint8_t out_ready;      /* out may take something */
        uint8_t marked;         /* in has had urgent data: a short read, or EAGAIN from splice, may be at a mark */
        uint8_t in_ended;       /* in has signalled its end: a short read does not mean that no EOF waits */
        uint8_t lost;           /* in was reset: end as FAILED, not with a FIN */
};

/* An open direction without a pipe, both sides perhaps ready. */
void direction_init(struct direction *direction, int64_t now_ms);

/* What to do next.  Here, as every event asks it several times. */
static inline enum direction_op direction_next(const struct direction *direction) {
        switch (direction->state) {
        case DIRECTION_OPEN:
        case DIRECTION_EOF:
                if (direction->piped)
                        return direction->out_ready ? DIRECTION_FLUSH : DIRECTION_WAIT;
                if (!direction->in_ready || !direction->out_ready || direction->held)
                        return DIRECTION_WAIT;
                return direction->bulk ? DIRECTION_SPLICE : DIRECTION_COPY;
        case DIRECTION_DRAINED:
                return DIRECTION_FIN;
        default:
                return DIRECTION_END;
        }
}

/* recv took n bytes of the `asked` for (n > 0), `sent` of them were taken by out, the rest is in the pipe. */
void direction_copied(struct direction *direction, size_t asked, size_t n, size_t sent, int64_t now_ms);

/* splice put n > 0 bytes into the pipe. */
void direction_filled(struct direction *direction, size_t n, int64_t now_ms);

/* out took n > 0 bytes from the pipe. */
void direction_flushed(struct direction *direction, size_t n, int64_t now_ms);

/* recv said EAGAIN; or splice did with an empty pipe, which is believed only where no mark can hide bytes. */
void direction_in_empty(struct direction *direction);
void direction_splice_empty(struct direction *direction);

/* splice returned 0, which may be a mark: recv decides. */
void direction_splice_end(struct direction *direction);

/* send, or splice from the pipe, said EAGAIN. */
void direction_out_full(struct direction *direction);

/* recv returned 0, or an error where the side is lost anyway. */
void direction_eof(struct direction *direction, int64_t now_ms);

/* The pipe holds n bytes, as the kernel says: whoever noted another number was interrupted. */
void direction_recount(struct direction *direction, size_t n);

/* There is nothing to read for now, by our own decision; and there is again.  Both are fine in every state. */
void direction_hold(struct direction *direction);
void direction_release(struct direction *direction);

/* The FIN has been passed on. */
void direction_shut(struct direction *direction);

/* out is gone.  What the pipe holds is lost with it: the caller destroys the pipe. */
void direction_fail(struct direction *direction);

/* in was reset: what it sent before is still delivered, and then the direction fails.  Wakes the reader. */
void direction_lose(struct direction *direction);

/* SHUT or FAILED. */
static inline int direction_ended(const struct direction *direction) {
        return direction->state == DIRECTION_SHUT || direction->state == DIRECTION_FAILED;
}

/* Whether the invariants hold. */
int direction_sane(const struct direction *direction);

#endif
