/* SPDX-License-Identifier: ISC */
#include "ctl/tap.h"

#include <ctype.h>
#include <curl/curl.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/pcapng.h"
#include "ctl/show.h"

#define TAP_BUFFER (1 << 20)    /* the largest frame, and the API's answer */
#define TAP_ROW 16              /* bytes a line */

struct tap {
        CURL *curl;             /* the call's; connected by it */
        int fd;                 /* curl's */
        int as_pcapng;
        int ended;              /* the session has, and the API said so */
        struct pcapng pcapng;
        uint64_t at[PCAPNG_SIDES];      /* bytes of each side so far */
        unsigned char *buf;     /* owned */
        size_t len;
};

/* Reads what has come.  Returns 1; 0 at the end; -errno. */
static int tap_read(struct tap *tap) {
        struct pollfd ready = { .fd = tap->fd, .events = POLLIN };

        for (;;) {
                size_t n = 0;
                CURLcode code = curl_easy_recv(tap->curl, tap->buf + tap->len, TAP_BUFFER - tap->len, &n);

                if (code == CURLE_AGAIN) {
                        if (poll(&ready, 1, -1) < 0 && errno != EINTR)
                                return -errno;
                        continue;
                }
                if (code != CURLE_OK)
                        return -ECONNRESET;
                tap->len += n;
                return n > 0;
        }
}

static void tap_print_row(char mark, uint64_t at, const unsigned char *bytes, size_t n) {
        printf("%c %08" PRIx64 " ", mark, at);
        for (size_t i = 0; i < TAP_ROW; i++)
                i < n ? printf("%s%02x", i == TAP_ROW / 2 ? "  " : " ", bytes[i])
                      : printf("%s", i == TAP_ROW / 2 ? "    " : "   ");
        fputs("  ", stdout);
        for (size_t i = 0; i < n; i++)
                putchar(bytes[i] >= ' ' && bytes[i] < 127 ? bytes[i] : '.');
        putchar('\n');
}

static int tap_print(struct tap *tap, enum pcapng_side from, int64_t wall_us, const unsigned char *bytes, size_t n) {
        time_t seconds = (time_t)(wall_us / 1000000);
        struct tm tm;

        gmtime_r(&seconds, &tm);
        printf("%c %02d:%02d:%02d.%06d  %s, %zu bytes\n", from == PCAPNG_CLIENT ? '>' : '<', tm.tm_hour, tm.tm_min,
               tm.tm_sec, (int)(wall_us % 1000000), from == PCAPNG_CLIENT ? "client to server" : "server to client", n);
        for (size_t i = 0; i < n; i += TAP_ROW)
                tap_print_row(from == PCAPNG_CLIENT ? '>' : '<', tap->at[from] + i, bytes + i,
                              n - i < TAP_ROW ? n - i : TAP_ROW);
        return fflush(stdout) == 0 && !ferror(stdout) ? 0 : -EIO;
}

/* One frame.  Returns its length, 0 where it is not complete, -errno. */
static ssize_t tap_frame(struct tap *tap, const unsigned char *at, size_t len) {
        enum pcapng_side from = len > 1 && at[1] == 's' ? PCAPNG_SERVER : PCAPNG_CLIENT;
        uint32_t n;
        uint64_t wall_us;
        int r = 0;

        if (len < TAP_HEAD)
                return 0;
        memcpy(&n, at + 4, sizeof(n));
        memcpy(&wall_us, at + 8, sizeof(wall_us));
        n = be32toh(n);
        wall_us = be64toh(wall_us);
        if (at[0] == 'e') {
                tap->ended = 1;
                return TAP_HEAD;
        }
        if (at[0] == 'l') {
                fprintf(stderr, "splicectl: %" PRIu32 " bytes from the %s were not copied: the output is too slow\n", n,
                        from == PCAPNG_CLIENT ? "client" : "server");
                pcapng_lost(&tap->pcapng, from, n);
                tap->at[from] += n;
                return TAP_HEAD;
        }
        if (at[0] != 'b' || n > TAP_BUFFER - TAP_HEAD)
                return -EPROTO;
        if (len < TAP_HEAD + (size_t)n)
                return 0;
        if (tap->as_pcapng)
                r = pcapng_bytes(&tap->pcapng, from, (int64_t)wall_us, at + TAP_HEAD, n);
        else
                r = tap_print(tap, from, (int64_t)wall_us, at + TAP_HEAD, n);
        tap->at[from] += n;
        return r < 0 ? r : TAP_HEAD + (ssize_t)n;
}

/* Frames until the end.  Returns 0 or -errno. */
static int tap_follow(struct tap *tap) {
        for (;;) {
                size_t at = 0;
                ssize_t n;
                int r;

                while ((n = tap_frame(tap, tap->buf + at, tap->len - at)) > 0)
                        at += (size_t)n;
                if (n < 0)
                        return (int)n;
                memmove(tap->buf, tap->buf + at, tap->len - at);
                tap->len -= at;
                r = tap_read(tap);
                if (r <= 0)
                        return r;
        }
}

/* Says why the API refused; its answer's head is there, `body` is where the rest begins. */
static void tap_refused(struct tap *tap, size_t body) {
        const char *length = strcasestr((char *)tap->buf, "\r\nContent-Length:");
        size_t want = body + (length ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0);
        json_t *json;

        while (tap->len < want && want < TAP_BUFFER && tap_read(tap) > 0)
                ;
        json = json_loadb((char *)tap->buf + body, tap->len - body, JSON_DISABLE_EOF_CHECK, NULL);
        fprintf(stderr, "splicectl: refused: %s\n", show_text(json, "detail"));
        json_decref(json);
}

/* Sends the request and reads the head of the answer.  Returns 0; 1 where it was refused, which is said; -errno. */
static int tap_ask(struct tap *tap, struct call *call, const char *id) {
        char *escaped = call_escape(call, id), *request = NULL;
        unsigned char *end = NULL;
        size_t n = 0;
        int length, r = 1;

        length = escaped ? asprintf(&request, "GET /v1/sessions/%s/tap HTTP/1.1\r\nHost: localhost\r\n"
                                    "Connection: Upgrade\r\nUpgrade: spliced-tap\r\n\r\n", escaped) : -1;
        free(escaped);
        if (length < 0)
                return -ENOMEM;
        if (curl_easy_send(tap->curl, request, (size_t)length, &n) != CURLE_OK || n != (size_t)length)
                r = -ECONNRESET;
        free(request);
        while (r > 0 && !(end = memmem(tap->buf, tap->len, "\r\n\r\n", 4)))
                r = tap->len < TAP_BUFFER - 1 ? tap_read(tap) : -EPROTO;
        if (r <= 0)
                return r < 0 ? r : -ECONNRESET;
        if (tap->len > 12 && memcmp(tap->buf, "HTTP/1.1 101", 12) == 0) {
                tap->len -= (size_t)(end + 4 - tap->buf);
                memmove(tap->buf, end + 4, tap->len);
                return 0;
        }
        *end = '\0';
        tap_refused(tap, (size_t)(end + 4 - tap->buf));
        return 1;
}

/* The address of a server, or "unknown". */
static void tap_server(struct call *call, const char *backend, const char *name, char *buf, size_t size) {
        const json_t *one, *server;
        struct call_answer answer;
        size_t i, k;

        snprintf(buf, size, "unknown");
        if (call_get(call, "/v1/backends", &answer) != 0)
                return;
        json_array_foreach(json_object_get(answer.json, "backends"), i, one) {
                if (strcmp(show_text(one, "name"), backend) != 0)
                        continue;
                json_array_foreach(json_object_get(one, "servers"), k, server)
                        if (strcmp(show_text(server, "name"), name) == 0)
                                snprintf(buf, size, "%s", show_text(server, "address"));
        }
        call_answer_free(&answer);
}

/* Who the two are, for the head of the file.  Returns the exit status. */
static int tap_begin(struct tap *tap, struct call *call, const char *id) {
        char server[256] = "unknown", client[128] = "unknown", comment[1024];
        struct call_answer answer;
        const json_t *session;
        size_t i;
        int r = call_get(call, "/v1/sessions", &answer);

        if (r != 0)
                return r;
        r = 1;
        json_array_foreach(json_object_get(answer.json, "sessions"), i, session) {
                if (strcmp(show_text(session, "id"), id) != 0)
                        continue;
                snprintf(client, sizeof(client), "%s", show_text(session, "client"));
                tap_server(call, show_text(session, "backend"), show_text(session, "server"), server,
                           sizeof(server));
                snprintf(comment, sizeof(comment), "spliced, session %s: client %s, frontend %s, server %s/%s at %s",
                         id, client, show_text(session, "frontend"), show_text(session, "backend"),
                         show_text(session, "server"), server);
                r = 0;
        }
        call_answer_free(&answer);
        if (r)
                fprintf(stderr, "splicectl: there is no session %s\n", id);
        else if (tap->as_pcapng && (r = pcapng_begin(&tap->pcapng, stdout, client, server, comment)) < 0) {
                fprintf(stderr, "splicectl: cannot write: %s\n", strerror(-r));
                r = 1;
        }
        return r;
}

/* A connection of its own, which curl makes and leaves to us. */
static int tap_connect(struct tap *tap, struct call *call) {
        curl_socket_t fd;

        curl_easy_reset(tap->curl);
        curl_easy_setopt(tap->curl, CURLOPT_URL, "http://localhost/");
        curl_easy_setopt(tap->curl, CURLOPT_UNIX_SOCKET_PATH, call->socket);
        curl_easy_setopt(tap->curl, CURLOPT_PROXY, "");
        curl_easy_setopt(tap->curl, CURLOPT_CONNECT_ONLY, 1L);
        if (curl_easy_perform(tap->curl) != CURLE_OK ||
            curl_easy_getinfo(tap->curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
                return -ECONNREFUSED;
        tap->fd = fd;
        return 0;
}

int tap_run(struct call *call, const char *id, int pcapng) {
        struct tap tap = { .curl = call->curl, .as_pcapng = pcapng, .buf = malloc(TAP_BUFFER) };
        int r;

        if (pcapng && isatty(STDOUT_FILENO)) {
                fprintf(stderr, "splicectl: a capture file is not for a terminal: redirect it, as in "
                                "'splicectl tap --pcapng %s >file'\n", id);
                free(tap.buf);
                return 1;
        }
        r = tap.buf ? tap_begin(&tap, call, id) : 1;
        if (r == 0) {
                r = tap_connect(&tap, call);
                if (r == 0)
                        r = tap_ask(&tap, call, id);
                if (r == 0)
                        r = tap_follow(&tap);
                if (r < 0)
                        fprintf(stderr, "splicectl: %s\n", strerror(-r));
                else if (r == 0 && !tap.ended) {
                        fprintf(stderr, "splicectl: another worker has taken over; the session goes on, ask again\n");
                        r = 1;
                }
                r = r ? 1 : 0;
        }
        free(tap.buf);
        return r;
}
