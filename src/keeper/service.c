/* SPDX-License-Identifier: ISC */
#include "keeper/service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "keeper/keeper.h"

#define SERVICE_EXTEND_MS 15000         /* that a drain asks for ... */
#define SERVICE_EXTEND_EVERY_MS 5000    /* ... so often */
#define SERVICE_STATUS_EVERY_MS 10000   /* a status that differs in its numbers only */

enum service_kind { SERVICE_STARTING = 1, SERVICE_SERVING, SERVICE_CHANGING, SERVICE_RECOVERING, SERVICE_DRAINING };

static int service_find(const void *arg, const char *name, char *why) {
        return notify_listen_fd(arg, name, why);
}

int service_init(struct service *service) {
        int r = notify_sockets_take(&service->sockets);

        if (r < 0)
                fprintf(stderr, "spliced: cannot take the sockets of the service manager: %s\n", strerror(-r));
        service->inherited = (struct slots_inherited){ .find = service_find, .arg = &service->sockets };
        return r;
}

void service_deinit(struct service *service) {
        notify_sockets_free(&service->sockets);
}

void service_check(struct log *log) {
        char why[NOTIFY_WHY];

        if (notify_check(why) == NOTIFY_UNSUPPORTED)
                log_warning(log, LOG_NO_CONTEXT, "%s", why);
}

void service_begin(struct service *service, int resumed) {
        service->watchdog_ms = notify_watchdog_ms();
        service->well_ms = clock_now_ms();
        service->ready = service->reloading = resumed;
}

int64_t service_wait(const struct service *service, int64_t wait) {
        return service->watchdog_ms && service->watchdog_ms / 2 < wait ? service->watchdog_ms / 2 : wait;
}

/*
 * Each message opens a descriptor for a moment, in a table that the worker shares: while a new one closes what nobody
 * owns, it could be closed from under us, and we then close what has got its number since.
 */
static int service_may_send(const struct keeper *keeper) {
        return !keeper->worker ||
               __atomic_load_n(&keeper->control->swept, __ATOMIC_ACQUIRE) == keeper->control->generation;
}

static enum service_kind service_kind(const struct keeper *keeper) {
        if (keeper->stopping)
                return SERVICE_DRAINING;
        if (!keeper->was_ready)
                return SERVICE_STARTING;
        if (keeper->change != KEEPER_NO_CHANGE)
                return SERVICE_CHANGING;
        return keeper->control->state == CONTROL_READY ? SERVICE_SERVING : SERVICE_RECOVERING;
}

static void service_status(struct keeper *keeper, int64_t now) {
        const struct control_record *control = keeper->control;
        struct service *service = &keeper->service;
        enum service_kind kind = service_kind(keeper);
        char text[SERVICE_STATUS] = "";

        switch (kind) {
        case SERVICE_STARTING:
                snprintf(text, sizeof(text), "starting");
                break;
        case SERVICE_SERVING:
                snprintf(text, sizeof(text), "serving: %" PRIu32 " sessions%s%.250s", control->sessions,
                         control->reload_why[0] ? "; the last reload was refused: " : "", control->reload_why);
                break;
        case SERVICE_CHANGING:
                snprintf(text, sizeof(text), "changing to a new %s: %" PRIu32 " sessions go on",
                         keeper->change == KEEPER_CHECK_BINARY || keeper->change == KEEPER_LEAVE_BINARY ? "binary" :
                         "configuration", control->sessions);
                break;
        case SERVICE_RECOVERING:
                snprintf(text, sizeof(text), "a worker has ended, the next is being started");
                break;
        case SERVICE_DRAINING:
                snprintf(text, sizeof(text), "draining: %" PRIu32 " sessions", control->sessions);
                break;
        }
        if (strcmp(text, service->status) == 0 ||
            (kind == (enum service_kind)service->kind && now - service->status_ms < SERVICE_STATUS_EVERY_MS))
                return;
        service->kind = (int)kind;
        service->status_ms = now;
        memcpy(service->status, text, sizeof(text));
        notify_status("%s", text);
}

static void service_draining(struct service *service, int64_t now) {
        if (!service->stopping)
                notify_stopping();
        else if (now - service->extended_ms < SERVICE_EXTEND_EVERY_MS)
                return;
        service->stopping = 1;
        service->extended_ms = now;
        notify_extend_timeout(SERVICE_EXTEND_MS);
}

static void service_watchdog(struct service *service, int64_t now) {
        /* A millisecond early is better than one late. */
        if (!service->watchdog_ms || now - service->pinged_ms < service->watchdog_ms / 2 - 1 ||
            now - service->well_ms >= SERVICE_UNWELL_MS)
                return;
        service->pinged_ms = now;
        notify_watchdog();
}

void service_tick(struct keeper *keeper) {
        struct service *service = &keeper->service;
        int up = keeper->control->state == CONTROL_READY;
        int64_t now = clock_now_ms();

        if (up || keeper->stopping)
                service->well_ms = now;
        if (!service_may_send(keeper))
                return;
        service_watchdog(service, now);
        if (keeper->was_ready && !service->ready) {
                service->ready = 1;
                if (keeper->options->background)
                        notify_mainpid(getpid());
                notify_ready();
        }
        /* One that was refused at once has begun and ended since the last look. */
        if (service->ready && !service->reloading && !keeper->stopping &&
            (keeper->change != KEEPER_NO_CHANGE || keeper->changes != service->changes)) {
                service->reloading = 1;
                notify_reloading();
        }
        service->changes = keeper->changes;
        if (service->reloading && up && keeper->change == KEEPER_NO_CHANGE) {
                service->reloading = 0;
                notify_ready();
        }
        if (keeper->stopping)
                service_draining(service, now);
        service_status(keeper, now);
}

void service_pass(const struct service *service, int pass) {
        char pid[24], n[16], names[4096] = "";
        size_t len = 0;

        if (service->sockets.n == 0)
                return;
        for (int i = 0; i < service->sockets.n; i++) {
                fcntl(NOTIFY_FIRST_FD + i, F_SETFD, pass ? 0 : FD_CLOEXEC);
                if (len < sizeof(names))
                        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ":" : "",
                                                service->sockets.names[i]);
        }
        if (!pass) {
                unsetenv("LISTEN_PID");
                unsetenv("LISTEN_FDS");
                unsetenv("LISTEN_FDNAMES");
                return;
        }
        snprintf(pid, sizeof(pid), "%ld", (long)getpid());
        snprintf(n, sizeof(n), "%d", service->sockets.n);
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", n, 1);
        setenv("LISTEN_FDNAMES", names, 1);
}

void service_alone_ready(struct keeper *keeper) {
        service_begin(&keeper->service, 1);
        if (keeper->options->background)
                notify_mainpid(getpid());
        notify_ready();
        notify_status("serving, in one process");
}

void service_alone_beat(struct keeper *keeper, int alive, int draining) {
        int64_t now = clock_now_ms();

        if (keeper->service.watchdog_ms && alive)
                notify_watchdog();
        if (draining)
                service_draining(&keeper->service, now);
}
