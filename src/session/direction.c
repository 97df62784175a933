/* SPDX-License-Identifier: ISC */
#include "session/direction.h"

/* So many reads in a row of less than DIRECTION_SCRATCH end bulk mode. */
#define DIRECTION_STREAK 2

void direction_init(struct direction *direction, int64_t now_ms) {
        *direction = (struct direction){ .in_ms = now_ms, .out_ms = now_ms, .pipe = DIRECTION_NO_PIPE };
}

/* After EOF and the last byte: pass on the FIN, or fail where it was no FIN that ended the stream. */
static void direction_drain(struct direction *direction) {
        if (direction->state == DIRECTION_EOF && !direction->piped)
                direction->state = direction->lost ? DIRECTION_FAILED : DIRECTION_DRAINED;
}

void direction_copied(struct direction *direction, size_t asked, size_t n, size_t sent, int64_t now_ms) {
        direction->in_ms = now_ms;
        direction->bytes += sent;
        direction->piped = (uint32_t)(n - sent);
        if (sent)
                direction->out_ms = now_ms;
        if (sent < n)
                direction->out_ready = 0;
        if (n >= DIRECTION_SCRATCH)
                direction->bulk = 1;
        /* A stream socket that gave less than asked is empty (epoll(7)), but for what a mark or an end hides. */
        if (n < asked && !direction->marked && !direction->in_ended)
                direction->in_ready = 0;
}

void direction_filled(struct direction *direction, size_t n, int64_t now_ms) {
        direction->in_ms = now_ms;
        direction->piped += (uint32_t)n;
        if (n >= DIRECTION_SCRATCH)
                direction->bulk = 1;
        else if (direction->bulk++ >= DIRECTION_STREAK)
                direction->bulk = 0;
}

void direction_flushed(struct direction *direction, size_t n, int64_t now_ms) {
        direction->out_ms = now_ms;
        direction->bytes += n;
        direction->piped -= (uint32_t)n;
        direction_drain(direction);
}

void direction_in_empty(struct direction *direction) {
        direction->in_ready = 0;
}

void direction_splice_empty(struct direction *direction) {
        if (direction->marked || direction->in_ended)
                direction->bulk = 0;
        else
                direction->in_ready = 0;
}

void direction_splice_end(struct direction *direction) {
        direction->bulk = 0;
}

void direction_out_full(struct direction *direction) {
        direction->out_ready = 0;
}

void direction_eof(struct direction *direction, int64_t now_ms) {
        direction->in_ms = now_ms;
        direction->in_ready = direction->held = 0;
        if (direction->state == DIRECTION_OPEN)
                direction->state = DIRECTION_EOF;
        direction_drain(direction);
}

void direction_recount(struct direction *direction, size_t n) {
        if (n < direction->piped)
                direction->bytes += direction->piped - n;
        direction->piped = (uint32_t)n;
        direction_drain(direction);
}

void direction_hold(struct direction *direction) {
        if (direction->state == DIRECTION_OPEN)
                direction->held = 1;
}

void direction_release(struct direction *direction) {
        direction->held = 0;
}

void direction_shut(struct direction *direction) {
        direction->state = DIRECTION_SHUT;
}

void direction_fail(struct direction *direction) {
        direction->piped = 0;
        direction->held = 0;
        direction->state = DIRECTION_FAILED;
}

void direction_lose(struct direction *direction) {
        direction->lost = 1;
        direction->in_ended = 1;
        if (direction->state == DIRECTION_OPEN)
                direction->in_ready = 1;
        else if (direction->state == DIRECTION_DRAINED)
                direction->state = DIRECTION_FAILED;
}

int direction_sane(const struct direction *direction) {
        if (direction->state > DIRECTION_FAILED)
                return 0;
        if (direction->piped && (direction->pipe == DIRECTION_NO_PIPE || direction->state > DIRECTION_EOF))
                return 0;
        if (direction->held > 1 || (direction->held && direction->state != DIRECTION_OPEN))
                return 0;
        return direction->state != DIRECTION_EOF || direction->piped;
}
