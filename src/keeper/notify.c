/* SPDX-License-Identifier: ISC */
#include "keeper/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define NOTIFY_STATUS 512

static int notify_send(const char *state) {
        int r = sd_notify(0, state);

        return r < 0 ? r : 0;
}

int notify_check(char *why) {
        why[0] = '\0';
        return 0;
}

int notify_built_in(void) {
        return 1;
}

int notify_ready(void) {
        return notify_send("READY=1");
}

int notify_reloading(void) {
        char state[80];
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                 (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
        return notify_send(state);
}

int notify_stopping(void) {
        return notify_send("STOPPING=1");
}

int notify_status(const char *fmt, ...) {
        char state[NOTIFY_STATUS] = "STATUS=";
        char *text = state + strlen(state);
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(state) - strlen(state), fmt, args);
        va_end(args);
        /* Each line is an assignment of its own, and nobody else is to make one. */
        for (; *text; text++)
                if ((unsigned char)*text < ' ' || *text == 127)
                        *text = ' ';
        return notify_send(state);
}

int notify_extend_timeout(int64_t ms) {
        char state[80];

        snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%" PRId64, ms * 1000);
        return notify_send(state);
}

int notify_mainpid(pid_t pid) {
        char state[40];

        snprintf(state, sizeof(state), "MAINPID=%ld", (long)pid);
        return notify_send(state);
}

int64_t notify_watchdog_ms(void) {
        uint64_t usec = 0;

        if (sd_watchdog_enabled(0, &usec) <= 0)
                return 0;
        if (usec < 1000)
                return 1;
        return usec / 1000 > INT32_MAX ? INT32_MAX : (int64_t)(usec / 1000);
}

int notify_watchdog(void) {
        return notify_send("WATCHDOG=1");
}

int notify_sockets_take(struct notify_sockets *sockets) {
        int n;

        *sockets = (struct notify_sockets){ 0 };
        n = sd_listen_fds_with_names(1, &sockets->names);
        if (n < 0)
                return n;
        sockets->n = n;
        return 0;
}

void notify_sockets_free(struct notify_sockets *sockets) {
        for (int i = 0; i < sockets->n; i++)
                free(sockets->names[i]);
        free(sockets->names);
        *sockets = (struct notify_sockets){ 0 };
}

static int notify_fail(char *why, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Writes a sentence to why and returns r, so that failing is one statement. */
static int notify_fail(char *why, int r, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(why, NOTIFY_WHY, fmt, args);
        va_end(args);
        return r;
}

/* The descriptor by its number, -1 where it is none that was passed. */
static int notify_by_number(const struct notify_sockets *sockets, const char *text) {
        char *end;
        long n;

        if (text[0] < '0' || text[0] > '9')
                return -1;
        errno = 0;
        n = strtol(text, &end, 10);
        if (*end || errno || n < NOTIFY_FIRST_FD || n - NOTIFY_FIRST_FD >= sockets->n)
                return -1;
        return (int)n;
}

/* The names and numbers that there are, for messages. */
static void notify_list(const struct notify_sockets *sockets, char *buf, size_t size) {
        size_t len = 0;

        buf[0] = '\0';
        for (int i = 0; i < sockets->n && len < size; i++)
                len += (size_t)snprintf(buf + len, size - len, "%s%s (%d)", i ? ", " : "", sockets->names[i],
                                        NOTIFY_FIRST_FD + i);
}

int notify_listen_fd(const struct notify_sockets *sockets, const char *name, char *why) {
        char list[NOTIFY_WHY / 2];
        int fd = -1, flags, r;

        notify_list(sockets, list, sizeof(list));
        for (int i = 0; i < sockets->n; i++) {
                if (strcmp(sockets->names[i], name) != 0)
                        continue;
                if (fd >= 0)
                        return notify_fail(why, -ENOTUNIQ,
                                           "several sockets from the service manager are called %.40s; "
                                           "use their numbers: %s", name, list);
                fd = NOTIFY_FIRST_FD + i;
        }
        if (fd < 0)
                fd = notify_by_number(sockets, name);
        if (fd < 0)
                return notify_fail(why, -ENOENT, "the service manager has passed no socket %.40s; %s%s", name,
                                   sockets->n ? "there are: " : "it has passed none at all", list);
        r = sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1);
        if (r < 0)
                return notify_fail(why, r, "cannot look at the socket %.40s from the service manager: %s", name,
                                   strerror(-r));
        if (r == 0)
                return notify_fail(why, -EINVAL, "%.40s from the service manager is no listening stream socket "
                                   "(ListenStream= with Accept=no)", name);
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return notify_fail(why, -errno, "cannot use the socket %.40s from the service manager: %s", name,
                                   strerror(errno));
        return fd;
}
