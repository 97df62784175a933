/* SPDX-License-Identifier: ISC */
#include "keeper/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* In place of notify.c where libsystemd was not configured in. */

int notify_check(char *why) {
        static const char *const offers[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS" };

        why[0] = '\0';
        for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
                if (getenv(offers[i])) {
                        snprintf(why, NOTIFY_WHY, "%s is set, but this spliced was built without libsystemd: "
                                 "no readiness, watchdog or sockets from the service manager; "
                                 "use Type=exec in the unit", offers[i]);
                        return NOTIFY_UNSUPPORTED;
                }
        return 0;
}

int notify_built_in(void) {
        return 0;
}

int notify_ready(void) {
        return 0;
}

int notify_reloading(void) {
        return 0;
}

int notify_stopping(void) {
        return 0;
}

int notify_status(const char *fmt, ...) {
        (void)fmt;
        return 0;
}

int notify_extend_timeout(int64_t ms) {
        (void)ms;
        return 0;
}

int notify_mainpid(pid_t pid) {
        (void)pid;
        return 0;
}

int64_t notify_watchdog_ms(void) {
        return 0;
}

int notify_watchdog(void) {
        return 0;
}

int notify_sockets_take(struct notify_sockets *sockets) {
        *sockets = (struct notify_sockets){ 0 };
        return 0;
}

void notify_sockets_free(struct notify_sockets *sockets) {
        *sockets = (struct notify_sockets){ 0 };
}

int notify_listen_fd(const struct notify_sockets *sockets, const char *name, char *why) {
        (void)sockets;
        snprintf(why, NOTIFY_WHY, "cannot use the socket %.40s from the service manager: "
                 "this spliced was built without libsystemd", name);
        return -ENOTSUP;
}
