/* SPDX-License-Identifier: ISC */
#include "flow.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOW_PERIOD 65521
#define FLOW_CHUNK 65536

/* The byte at `at` of each stream; the tables repeat, with a length that no buffer has. */
static const uint8_t *flow_bytes(unsigned stream, size_t at) {
        static uint8_t table[4][FLOW_PERIOD + FLOW_CHUNK];
        static int filled;

        if (!filled) {
                uint32_t seed = 7;

                for (unsigned s = 0; s < 4; s++)
                        for (size_t i = 0; i < sizeof(table[s]); i++)
                                table[s][i] = i < FLOW_PERIOD ? (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24)
                                                              : table[s][i - FLOW_PERIOD];
                filled = 1;
        }
        return table[stream] + at % FLOW_PERIOD;
}

static size_t flow_may_send(const struct flow *flow) {
        size_t upto = flow->total;

        if (flow->fd < 0 || flow->ended || flow->error || (flow->wait_eof && !flow->eof))
                return 0;
        if (flow->head_sent < flow->head_len)
                return flow->head_len - flow->head_sent;
        if (flow->window && flow->got + flow->window - 1 < upto)
                upto = flow->got + flow->window - 1;
        if (flow->held && flow->hold < upto)
                upto = flow->hold;
        return upto > flow->sent ? upto - flow->sent : 0;
}

static int flow_send(struct flow *flow) {
        size_t n = flow_may_send(flow), head = flow->head_len - flow->head_sent;
        ssize_t sent;

        if (!n)
                return 0;
        if (flow->chunk && n > flow->chunk)
                n = flow->chunk;
        sent = send(flow->fd, head ? flow->head + flow->head_sent : flow_bytes(flow->stream, flow->sent),
                    n < FLOW_CHUNK ? n : FLOW_CHUNK, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
                *(head ? &flow->head_sent : &flow->sent) += (size_t)sent;
                return 1;
        }
        if (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)
                return 0;
        /* What the other sent before it closed is still there to be read; this was the reset's one report. */
        flow->ended = 1;
        if (!flow->is_unix)
                flow->broken = errno;
        return 1;
}

static int flow_recv(struct flow *flow) {
        size_t head = flow->other_len - flow->other_got;
        uint8_t buf[FLOW_CHUNK];
        int on = 1;
        ssize_t n;

        if (flow->fd < 0 || flow->deaf || flow->eof || flow->error)
                return 0;
        n = recv(flow->fd, buf, head && head < sizeof(buf) ? head : sizeof(buf), MSG_DONTWAIT);
        if (n > 0) {
                const uint8_t *want = head ? flow->other_head + flow->other_got : flow_bytes(flow->other, flow->got);

                if (memcmp(buf, want, (size_t)n) != 0)
                        flow->wrong = 1;
                *(head ? &flow->other_got : &flow->got) += (size_t)n;
                /* Acknowledged at once: the tests' clock does not wait. */
                if (!flow->is_unix)
                        setsockopt(flow->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
                return 1;
        }
        if (n == 0 && flow->broken)
                flow->error = flow->broken;
        else if (n == 0)
                flow->eof = 1;
        else if (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)
                return 0;
        else
                flow->error = errno;
        return 1;
}

static int flow_finish(struct flow *flow) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        if (flow->fd < 0 || flow->ended || flow->head_sent < flow->head_len || flow->sent < flow->total ||
            (flow->wait_eof && !flow->eof))
                return 0;
        switch (flow->end) {
        case FLOW_FIN_AFTER_EOF:
                if (!flow->eof)
                        return 0;
                /* fall through */
        case FLOW_FIN:
                if (shutdown(flow->fd, SHUT_WR) < 0 && errno == ENOTCONN && !flow->error && !flow->eof)
                        return 0;
                break;
        case FLOW_RESET:
                if (flow->got < flow->enough && !flow->eof && !flow->error)
                        return 0;
                setsockopt(flow->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
                close(flow->fd);
                flow->fd = -1;
                break;
        }
        flow->ended = 1;
        return 1;
}

int flow_step(struct flow *flow) {
        int did = flow_send(flow);

        did |= flow_recv(flow);
        did |= flow_finish(flow);
        return did;
}

int flow_done(const struct flow *flow) {
        return flow->fd < 0 || flow->error || (flow->ended && flow->eof);
}

struct pollfd flow_poll(const struct flow *flow) {
        struct pollfd p = { .fd = flow->fd };

        if (!flow->deaf && !flow->eof && !flow->error)
                p.events |= POLLIN;
        if (flow_may_send(flow))
                p.events |= POLLOUT;
        /* Otherwise a hang-up would be reported for ever. */
        if (!p.events)
                p.fd = -1;
        return p;
}

void flow_close(struct flow *flow) {
        if (flow->fd >= 0)
                close(flow->fd);
        flow->fd = -1;
}
