/* SPDX-License-Identifier: ISC */
#include "health/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/poller.h"
#include "net/proxy_header.h"
#include "net/sockopt.h"
#include "net/sys.h"
#include "session/access.h"
#include "session/close.h"
#include "session/connect.h"

#define PROBE_BACKLOG_MS 5      /* before the first repeat at a full backlog; doubles ... */
#define PROBE_LOOK_MS 10        /* between two looks at an answer that comes in drops; doubles ... */
#define PROBE_REST_MAX_MS 160   /* ... up to this */
#define PROBE_READ 4096         /* bytes at once */
#define PROBE_QUOTE 48          /* bytes of an answer in a detail, as they come */

/* Fails, as `what` and the errno say. */
static enum probe_result probe_error(const char *what, int error, char *detail) {
        snprintf(detail, PROBE_DETAIL_SIZE, "%s: %s", what, strerror(error));
        return close_end_of_error(error, ACCESS_INTERNAL) == ACCESS_NO_DESCRIPTORS ? PROBE_NO_RESULT : PROBE_FAILED;
}

/* Fails, as `what` says, with the first bytes of the answer. */
static enum probe_result probe_unexpected(const struct probe *probe, const char *what, char *detail) {
        struct text text = text_init(detail, PROBE_DETAIL_SIZE);
        char quote[PROBE_QUOTE * 4 + 1];
        struct text escaped = text_init(quote, sizeof(quote));
        size_t at = 0;

        text_add(&text, what);
        if (!probe->len) {
                text_add(&text, ", without an answer");
                return PROBE_FAILED;
        }
        /* A NUL would end a string: each piece between two of them is one. */
        while (at < probe->len && at < PROBE_QUOTE) {
                char piece[PROBE_QUOTE + 1] = "";
                size_t n = probe->len - at < PROBE_QUOTE - at ? probe->len - at : PROBE_QUOTE - at;

                memcpy(piece, probe->answer + at, n);
                n = strlen(piece);
                text_message(&escaped, piece, sizeof(quote));
                at += n;
                if (at < probe->len && at < PROBE_QUOTE) {
                        text_add(&escaped, "\\x00");
                        at++;
                }
        }
        text_add(&text, "; unexpected answer: \"");
        text_message(&text, quote, PROBE_DETAIL_SIZE - text.len - 5);
        text_add(&text, at < probe->len ? "\"..." : "\"");
        return PROBE_FAILED;
}

/* Has a pause, longer than the last one. */
static void probe_rest(struct probe *probe, int64_t first_ms, int64_t now_ms) {
        probe->rest_ms = probe->rest_ms ? probe->rest_ms * 2 : first_ms;
        if (probe->rest_ms > PROBE_REST_MAX_MS)
                probe->rest_ms = PROBE_REST_MAX_MS;
        probe->rest_until_ms = now_ms + probe->rest_ms;
        probe->next_ms = probe->rest_until_ms < probe->until_ms ? probe->rest_until_ms : probe->until_ms;
}

static void probe_go_on(struct probe *probe) {
        probe->rest_until_ms = 0;
        probe->next_ms = probe->until_ms;
}

static int probe_has_header(const struct probe *probe) {
        return probe->target.server->send_proxy != CONF_SEND_PROXY_OFF;
}

static int probe_expects(const struct probe *probe) {
        return probe->target.backend->check.type == CONF_CHECK_EXPECT;
}

/* Whether the server's program is to see nothing of it. */
static int probe_is_silent(const struct probe *probe) {
        return !probe_expects(probe) && !probe_has_header(probe);
}

/* How the connection is to begin and to end. */
static int probe_set_manner(const struct probe *probe) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };
        int off = 0, r = 0;

        /* A header alone has to arrive: only that check ends with a FIN. */
        if (probe_expects(probe) || !probe_has_header(probe))
                r = sys_setsockopt(probe->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        if (r == 0 && probe_is_silent(probe))
                r = sys_setsockopt(probe->fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
        return r;
}

/* The server's own options but for those that make a connection something else. */
static enum probe_result probe_set_options(const struct probe *probe, int family, char *detail) {
        static const enum sockopt_id others[] = { SOCKOPT_FASTOPEN, SOCKOPT_QUICKACK, SOCKOPT_MPTCP };
        struct sockopt_set set = probe->target.server->sockopts;
        enum sockopt_id failed;
        char what[64];
        int r;

        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
                set.set &= ~(UINT32_C(1) << others[i]);
        if (!sockopt_any(family, &set, SOCKOPT_CONNECT))
                return PROBE_OK;
        r = sockopt_apply(probe->fd, family, &set, SOCKOPT_CONNECT, &failed);
        if (r == 0)
                return PROBE_OK;
        snprintf(what, sizeof(what), "socket option %s", sockopt_spec(failed)->name);
        return probe_error(what, -r, detail);
}

static size_t probe_header(const struct probe *probe, void *buf) {
        struct proxy_header header = { .client = { .kind = ADDR_NONE } };

        switch (probe->target.server->send_proxy) {
        case CONF_SEND_PROXY_V1:
                return proxy_header_format(&header, 1, buf);
        case CONF_SEND_PROXY_V2:
                return proxy_header_format(&header, 2, buf);
        default:
                return 0;
        }
}

/* Looks at what has come.  PROBE_PENDING: it is not there yet. */
static enum probe_result probe_look(struct probe *probe, int64_t now_ms, char *detail) {
        enum expect_found found = expect_look(probe->target.expect, probe->answer, probe->seen, probe->len);

        probe->seen = probe->len;
        switch (found) {
        case EXPECT_FOUND:
                snprintf(detail, PROBE_DETAIL_SIZE, "expected answer");
                return PROBE_OK;
        case EXPECT_COSTLY:
                return probe_unexpected(probe, "the regular expression takes too many steps", detail);
        default:
                break;
        }
        if (probe->len == EXPECT_ANSWER_MAX)
                return probe_unexpected(probe, "nothing expected in the first 16 KiB", detail);
        /* A match may cost a lot, and a server that sends byte by byte must not make it cost that for each. */
        if (probe->target.backend->check.regex)
                probe_rest(probe, PROBE_LOOK_MS, now_ms);
        return PROBE_PENDING;
}

/* Reads until there is no more now.  1 at the end of the stream, 0, or -errno. */
static int probe_receive(struct probe *probe) {
        if (!probe->answer) {
                probe->answer = malloc(EXPECT_ANSWER_MAX);
                if (!probe->answer)
                        return -ENOMEM;
        }
        while (probe->len < EXPECT_ANSWER_MAX) {
                size_t room = EXPECT_ANSWER_MAX - probe->len;
                ssize_t n = sys_recv(probe->fd, probe->answer + probe->len, room < PROBE_READ ? room : PROBE_READ, 0);

                if (n == -EAGAIN)
                        return 0;
                if (n <= 0)
                        return n < 0 ? (int)n : 1;
                probe->len += (size_t)n;
        }
        return 0;
}

static enum probe_result probe_read(struct probe *probe, int64_t now_ms, char *detail) {
        int end = probe_receive(probe);

        /* In a pause it is looked at later, all at once; but after the end there is nothing to wait for. */
        if (probe->len > probe->seen && (end || now_ms >= probe->rest_until_ms)) {
                enum probe_result result = probe_look(probe, now_ms, detail);

                if (result != PROBE_PENDING)
                        return result;
        }
        if (end < 0 && !probe->len)
                return probe_error("receive", -end, detail);
        if (end)
                return probe_unexpected(probe, end < 0 ? strerror(-end) : "the server ended the connection", detail);
        return PROBE_PENDING;
}

/* Sends the header and what the check says, as much as goes now. */
static enum probe_result probe_send(struct probe *probe, int64_t now_ms, char *detail) {
        const struct conf_check *check = &probe->target.backend->check;
        char header[PROXY_HEADER_SIZE];
        size_t head = probe_header(probe, header), total = head + (probe_expects(probe) ? check->send_len : 0);

        while (probe->sent < total) {
                int first = probe->sent < head;
                const char *from = first ? header + probe->sent : check->send + (probe->sent - head);
                ssize_t n = sys_send(probe->fd, from, (first ? head : total) - probe->sent, 0);

                if (n == -EAGAIN)
                        return PROBE_PENDING;
                if (n < 0) {
                        /* A server that speaks first may have said all, and be gone. */
                        if (probe_expects(probe) && probe_read(probe, now_ms, detail) == PROBE_OK)
                                return PROBE_OK;
                        return probe_error("send", (int)-n, detail);
                }
                probe->sent += (size_t)n;
        }
        if (!probe_expects(probe) || !check->expect) {
                snprintf(detail, PROBE_DETAIL_SIZE, "connected");
                return PROBE_OK;
        }
        probe->state = PROBE_ANSWER;
        return probe_read(probe, now_ms, detail);
}

static enum probe_result probe_connected(struct probe *probe, int64_t now_ms, char *detail) {
        probe->state = PROBE_SENDING;
        probe->rest_ms = 0;
        probe_go_on(probe);
        return probe_send(probe, now_ms, detail);
}

/* Connects, also once more: connect(2) asked again says how the first attempt stands. */
static enum probe_result probe_connect(struct probe *probe, int64_t now_ms, char *detail) {
        int again = probe->state == PROBE_CONNECTING, r = sys_connect(probe->fd, &probe->addr.sa, probe->addr.len);

        if (r == -EAGAIN && probe->addr.kind == ADDR_UNIX) {
                /* unix(7): no event will say when there is room. */
                probe->state = PROBE_BACKLOG;
                probe_rest(probe, PROBE_BACKLOG_MS, now_ms);
                return PROBE_PENDING;
        }
        if (r < 0 && r != -EINPROGRESS && !(again && (r == -EISCONN || r == -EALREADY)))
                return probe_error("connect", -r, detail);
        if (!again) {
                int added = poller_add(probe->poller, probe->fd, probe->key);

                if (added < 0)
                        return probe_error("epoll_ctl", -added, detail);
        }
        probe->state = PROBE_CONNECTING;
        probe_go_on(probe);
        if (r == -EINPROGRESS || r == -EALREADY)
                return PROBE_PENDING;
        return probe_connected(probe, now_ms, detail);
}

enum probe_result probe_start(struct probe *probe, const struct probe_target *target, const struct addr *addr,
                              int poller, uint64_t key, int64_t now_ms, char *detail) {
        int64_t timeout = target->backend->timeouts.check;
        int family = addr_family(addr), r = 0;
        enum probe_result result;

        *probe = (struct probe){ .target = *target, .addr = *addr, .poller = poller, .key = key, .fd = -1,
                                 .until_ms = timeout == CONF_OFF ? INT64_MAX : now_ms + timeout };
        probe->next_ms = probe->until_ms;
        probe->fd = sys_socket(family, SOCK_STREAM, 0);
        if (probe->fd < 0)
                return probe_error("socket", -probe->fd, detail);
        if (family != AF_UNIX)
                r = probe_set_manner(probe);
        if (r < 0)
                return probe_error("setsockopt", -r, detail);
        result = probe_set_options(probe, family, detail);
        if (result != PROBE_OK)
                return result;
        if (target->server->source.kind != ADDR_NONE && family != AF_UNIX)
                r = connect_bind(probe->fd, &target->server->source);
        if (r < 0)
                return probe_error("bind", -r, detail);
        return probe_connect(probe, now_ms, detail);
}

/* HUP while connecting is no answer; only the socket's error is. */
static enum probe_result probe_ask(struct probe *probe, uint32_t events, int64_t now_ms, char *detail) {
        int error = 0, r;
        socklen_t len = sizeof(error);
        char byte;

        if (!(events & (POLLER_ERR | POLLER_HUP)))
                return events & POLLER_OUT ? probe_connected(probe, now_ms, detail) : PROBE_PENDING;
        r = sys_getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        /* Who said something before it reset the connection was there: its bytes count. */
        if (r >= 0 && error && probe_expects(probe) && sys_recv(probe->fd, &byte, 1, MSG_PEEK) > 0)
                return probe_connected(probe, now_ms, detail);
        if (r < 0 || error)
                return probe_error(r < 0 ? "getsockopt" : "connect", r < 0 ? -r : error, detail);
        return probe_connect(probe, now_ms, detail);
}

enum probe_result probe_event(struct probe *probe, uint32_t events, int64_t now_ms, char *detail) {
        switch (probe->state) {
        case PROBE_CONNECTING:
                return probe_ask(probe, events, now_ms, detail);
        case PROBE_SENDING:
                if (events & (POLLER_OUT | POLLER_ERR | POLLER_HUP))
                        return probe_send(probe, now_ms, detail);
                return PROBE_PENDING;
        case PROBE_ANSWER:
                if (events & (POLLER_IN | POLLER_RDHUP | POLLER_ERR | POLLER_HUP))
                        return probe_read(probe, now_ms, detail);
                return PROBE_PENDING;
        default:
                return PROBE_PENDING;
        }
}

static enum probe_result probe_late(struct probe *probe, int64_t now_ms, char *detail) {
        char what[64];

        switch (probe->state) {
        case PROBE_CONNECTING:
                snprintf(detail, PROBE_DETAIL_SIZE, "time-out: no connection within %" PRId64 " ms",
                         probe->target.backend->timeouts.check);
                return PROBE_FAILED;
        case PROBE_BACKLOG:
                snprintf(detail, PROBE_DETAIL_SIZE, "time-out: its backlog was full for %" PRId64 " ms",
                         probe->target.backend->timeouts.check);
                return PROBE_FAILED;
        default:
                break;
        }
        /* What came in its last moment has come. */
        if (probe->len > probe->seen) {
                enum probe_result result = probe_look(probe, now_ms, detail);

                if (result != PROBE_PENDING)
                        return result;
        }
        snprintf(what, sizeof(what), "time-out after %" PRId64 " ms", probe->target.backend->timeouts.check);
        return probe_unexpected(probe, what, detail);
}

enum probe_result probe_due(struct probe *probe, int64_t now_ms, char *detail) {
        if (now_ms >= probe->until_ms)
                return probe_late(probe, now_ms, detail);
        if (!probe->rest_until_ms || now_ms < probe->rest_until_ms)
                return PROBE_PENDING;
        probe_go_on(probe);
        if (probe->state == PROBE_BACKLOG)
                return probe_connect(probe, now_ms, detail);
        if (probe->state == PROBE_ANSWER && probe->len > probe->seen)
                return probe_look(probe, now_ms, detail);
        return PROBE_PENDING;
}

void probe_end(struct probe *probe) {
        int fd = probe->fd;

        free(probe->answer);
        *probe = PROBE_NULL;
        if (fd >= 0)
                sys_close(fd);
}
