/* SPDX-License-Identifier: ISC */
#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_datagram.h"

#define LOG_SINK_ROOM (512 * 1024)      /* bytes of a socket's send buffer */

/* Bytes before a line: "<6>", or the newline that ends a broken one. */
#define LOG_SINK_PREFIX 3

static int log_sink_priority(enum log_level level) {
        static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

        return priorities[level];
}

/* systemd names the journal's socket as "device:inode", so that a stderr that was redirected is not taken for it. */
static int log_sink_is_journal(const struct stat *st) {
        const char *stream = getenv("JOURNAL_STREAM");
        uintmax_t device, inode;

        return stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 && device == st->st_dev &&
               inode == st->st_ino;
}

static void log_sink_look(struct log_sink *sink) {
        struct stat st;

        sink->kind = LOG_SINK_STREAM;
        sink->journal = 0;
        if (fstat(sink->fd, &st) != 0)
                return;
        if (S_ISREG(st.st_mode))
                sink->kind = LOG_SINK_FILE;
        else if (S_ISSOCK(st.st_mode))
                sink->kind = LOG_SINK_SOCKET;
        if (sink->target.to == LOG_TO_STDERR)
                sink->journal = log_sink_is_journal(&st);
}

/* The description is ours alone, so it may be non-blocking: that matters where the path is a FIFO or a terminal. */
static int log_sink_open_path(const char *path) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

        return fd < 0 ? -errno : fd;
}

/* Who may have been started anew, or later than we: a socket can be connected as often as it takes. */
static int log_sink_connect(struct log_sink *sink) {
        const char *usual = sink->target.to == LOG_TO_JOURNAL ? LOG_DATAGRAM_JOURNAL : LOG_DATAGRAM_SYSLOG;
        struct sockaddr_un daemon = { .sun_family = AF_UNIX };

        snprintf(daemon.sun_path, sizeof(daemon.sun_path), "%s", sink->target.path ? sink->target.path : usual);
        return connect(sink->fd, (const struct sockaddr *)&daemon, sizeof(daemon)) < 0 ? -errno : 0;
}

static int log_sink_open_socket(struct log_sink *sink) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), room = LOG_SINK_ROOM;

        if (fd < 0)
                return -errno;
        /* A datagram has to fit whole; where this fails, only the longest are lost. */
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        sink->fd = fd;
        sink->kind = LOG_SINK_DATAGRAM;
        log_sink_connect(sink);
        return 0;
}

static int log_sink_is_daemon(const struct log_target *target) {
        return target->to == LOG_TO_SYSLOG || target->to == LOG_TO_JOURNAL;
}

/* Whether the file's last line has no end: whoever wrote it was killed in the middle. */
static int log_sink_is_torn(const struct log_sink *sink) {
        struct stat st;
        char last = '\n';
        int fd;

        if (sink->target.to != LOG_TO_FILE || sink->kind != LOG_SINK_FILE || fstat(sink->fd, &st) < 0 || !st.st_size)
                return 0;
        fd = open(sink->target.path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return 0;
        if (pread(fd, &last, 1, st.st_size - 1) != 1)
                last = '\n';
        close(fd);
        return last != '\n';
}

int log_sink_open(struct log_sink *sink, const struct log_target *target) {
        int r;

        *sink = (struct log_sink){ .target = *target, .fd = -1 };
        if (target->to == LOG_TO_OFF)
                return 0;
        sink->buf = malloc(log_sink_is_daemon(target) ? LOG_SINK_DATAGRAMS : LOG_SINK_BUFFER);
        if (log_sink_is_daemon(target))
                sink->scratch = malloc(2 * (LOG_SINK_LINE_MAX + 1));
        if (!sink->buf || (log_sink_is_daemon(target) && !sink->scratch)) {
                log_sink_close(sink);
                return -ENOMEM;
        }
        if (log_sink_is_daemon(target))
                r = log_sink_open_socket(sink);
        else
                r = sink->fd = target->to == LOG_TO_FILE ? log_sink_open_path(target->path) : STDERR_FILENO;
        if (r < 0) {
                sink->fd = -1;
                log_sink_close(sink);
                return r;
        }
        if (sink->kind != LOG_SINK_DATAGRAM)
                log_sink_look(sink);
        sink->midline = log_sink_is_torn(sink);
        return 0;
}

void log_sink_close(struct log_sink *sink) {
        if (sink->target.to != LOG_TO_STDERR && sink->buf && sink->fd >= 0)
                close(sink->fd);
        free(sink->buf);
        free(sink->scratch);
        *sink = (struct log_sink){ .fd = -1 };
}

int log_sink_reopen(struct log_sink *sink) {
        int fd, r = 0;

        if (sink->target.to != LOG_TO_FILE)
                return 0;
        fd = log_sink_open_path(sink->target.path);
        if (fd < 0)
                return fd;
        if (dup3(fd, sink->fd, O_CLOEXEC) < 0)
                r = -errno;
        else
                sink->midline = 0;
        close(fd);
        log_sink_look(sink);
        return r;
}

int log_sink_has_room(const struct log_sink *sink) {
        if (sink->kind == LOG_SINK_DATAGRAM)
                return LOG_SINK_DATAGRAMS - sink->len >= sizeof(uint32_t) + LOG_SINK_DATAGRAM_MAX;
        return LOG_SINK_BUFFER - sink->len >= LOG_SINK_PREFIX + LOG_SINK_LINE_MAX + 1;
}

int log_sink_idle(const struct log_sink *sink) {
        return sink->off == sink->len;
}

char *log_sink_place(struct log_sink *sink) {
        if (sink->kind == LOG_SINK_DATAGRAM)
                return sink->scratch;
        return sink->buf + sink->len + (sink->journal ? LOG_SINK_PREFIX : 0);
}

char *log_sink_fields(struct log_sink *sink) {
        return sink->target.to == LOG_TO_JOURNAL ? sink->scratch + LOG_SINK_LINE_MAX + 1 : NULL;
}

static int log_sink_add_datagram(struct log_sink *sink, enum log_level level, size_t len, size_t fields_len) {
        char *at = sink->buf + sink->len + sizeof(uint32_t);
        uint32_t n;

        if (sink->target.to == LOG_TO_JOURNAL)
                n = (uint32_t)log_datagram_journal(at, LOG_SINK_DATAGRAM_MAX, level, sink->scratch, len,
                                                   fields_len ? log_sink_fields(sink) : NULL, fields_len);
        else
                n = (uint32_t)log_datagram_syslog(at, LOG_SINK_DATAGRAM_MAX, level, clock_wall_ms(), sink->scratch,
                                                  len);
        if (!n)
                return -EMSGSIZE;
        memcpy(sink->buf + sink->len, &n, sizeof(n));
        sink->len += sizeof(n) + n;
        return 0;
}

int log_sink_add(struct log_sink *sink, enum log_level level, size_t len, size_t fields_len) {
        char *line = log_sink_place(sink);

        if (sink->kind == LOG_SINK_DATAGRAM)
                return log_sink_add_datagram(sink, level, len, fields_len);
        if (sink->journal) {
                char prefix[LOG_SINK_PREFIX] = { '<', (char)('0' + log_sink_priority(level)), '>' };

                memcpy(sink->buf + sink->len, prefix, sizeof(prefix));
        }
        line[len] = '\n';
        sink->len = (size_t)(line - sink->buf) + len + 1;
        return 0;
}

/* How much to write in one call: whole lines where they fit into what a ready pipe takes, else a part of one. */
static size_t log_sink_piece(const struct log_sink *sink) {
        size_t len = sink->len - sink->off;
        const char *end;

        if (sink->kind == LOG_SINK_FILE || len <= PIPE_BUF)
                return len;
        end = memrchr(sink->buf + sink->off, '\n', PIPE_BUF);
        return end ? (size_t)(end - (sink->buf + sink->off)) + 1 : PIPE_BUF;
}

/* One write that does not wait.  Returns bytes written or -errno; -EAGAIN: blocked. */
static ssize_t log_sink_try(struct log_sink *sink, const char *bytes, size_t len) {
        struct pollfd ready = { .fd = sink->fd, .events = POLLOUT };
        ssize_t n;

        if (sink->kind == LOG_SINK_SOCKET) {
                n = send(sink->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == ENOTSOCK) {       /* stderr was replaced */
                        log_sink_look(sink);
                        return -EAGAIN;
                }
                return n < 0 ? -errno : n;
        }
        if (sink->kind == LOG_SINK_STREAM && poll(&ready, 1, 0) <= 0)
                return -EAGAIN;
        /* May wait after all: where another writer fills a shared pipe just now, and on a disk that hangs. */
        n = write(sink->fd, bytes, len);
        return n < 0 ? -errno : n;
}

/* The datagram that waits first: its bytes, and *n of them. */
static const char *log_sink_first(const struct log_sink *sink, size_t off, uint32_t *n) {
        memcpy(n, sink->buf + off, sizeof(*n));
        return sink->buf + off + sizeof(*n);
}

uint64_t log_sink_discard(struct log_sink *sink) {
        uint64_t lines = 0;
        uint32_t n;

        if (sink->kind == LOG_SINK_DATAGRAM) {
                for (size_t off = sink->off; off < sink->len; off += sizeof(n) + n, lines++)
                        log_sink_first(sink, off, &n);
        } else {
                if (sink->off > 0 && sink->off < sink->len && sink->buf[sink->off - 1] != '\n')
                        sink->midline = 1;
                for (size_t i = sink->off; i < sink->len; i++)
                        lines += sink->buf[i] == '\n';
        }
        sink->off = sink->len = 0;
        return lines;
}

/* Sends what waits, each datagram by itself: one that cannot be delivered is lost alone. */
static int log_sink_flush_datagrams(struct log_sink *sink, uint64_t *lost) {
        int fresh = 0;

        while (sink->off < sink->len) {
                uint32_t n;
                const char *datagram = log_sink_first(sink, sink->off, &n);

                if (send(sink->fd, datagram, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
                        if (errno == EAGAIN)
                                return LOG_SINK_BLOCKED;
                        if (errno == EINTR)
                                continue;
                        /* The daemon is another one now, or has only come. */
                        if (errno != EMSGSIZE && !fresh && log_sink_connect(sink) == 0) {
                                fresh = 1;
                                continue;
                        }
                        ++*lost;
                }
                sink->off += sizeof(n) + n;
        }
        sink->off = sink->len = 0;
        return 0;
}

/* Ends a line whose rest was lost, so that the next one is not glued to it. */
static ssize_t log_sink_end_line(struct log_sink *sink) {
        ssize_t n = log_sink_try(sink, "\n", 1);

        if (n > 0)
                sink->midline = 0;
        return n;
}

int log_sink_flush(struct log_sink *sink, uint64_t *lost) {
        ssize_t n;

        if (sink->kind == LOG_SINK_DATAGRAM)
                return log_sink_flush_datagrams(sink, lost);
        while (sink->off < sink->len) {
                if (sink->midline)
                        n = log_sink_end_line(sink);
                else if ((n = log_sink_try(sink, sink->buf + sink->off, log_sink_piece(sink))) > 0)
                        sink->off += (size_t)n;
                if (n == 0 || n == -EAGAIN)
                        return LOG_SINK_BLOCKED;
                if (n < 0 && n != -EINTR) {
                        *lost += log_sink_discard(sink);
                        return 0;
                }
        }
        sink->off = sink->len = 0;
        return 0;
}
