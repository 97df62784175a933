/* SPDX-License-Identifier: ISC */
#include "admin/onlook.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "admin/api.h"
#include "admin/filter.h"
#include "session/tap.h"

#define ONLOOK_PIECE (64 * 1024)        /* bytes of a frame at most */
#define ONLOOK_LOOK_MS 1000             /* a loss does not make a tap readable */
#define ONLOOK_STACK (256 * 1024)

struct onlook {
        struct onlook *next;
        struct api *api;
        int tap;
        struct http_upgraded upgraded;  /* the connection, once it is ours */
        pthread_t thread;
        int started, joined, closed;
        _Atomic int ended;              /* by the thread, which does nothing after that */
        char piece[ONLOOK_HEAD + ONLOOK_PIECE];
};

/* Sends all of it, however long that takes.  Returns 0 where the onlooker is gone. */
static int onlook_send(const struct onlook *onlook, const char *bytes, size_t n) {
        struct pollfd ready = { .fd = onlook->upgraded.fd, .events = POLLOUT };

        while (n) {
                ssize_t sent = send(ready.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (sent > 0) {
                        bytes += sent;
                        n -= (size_t)sent;
                } else if (sent < 0 && errno != EAGAIN && errno != EINTR)
                        return 0;
                else if (poll(&ready, 1, -1) < 0 && errno != EINTR)
                        return 0;
        }
        return 1;
}

static void onlook_head(char head[ONLOOK_HEAD], char kind, unsigned side, uint32_t n) {
        struct timespec now;
        uint64_t us;

        clock_gettime(CLOCK_REALTIME, &now);
        us = htobe64((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
        n = htobe32(n);
        memset(head, 0, ONLOOK_HEAD);
        head[0] = kind;
        head[1] = side == SESSION_CLIENT ? 'c' : 's';
        memcpy(head + 4, &n, sizeof(n));
        memcpy(head + 8, &us, sizeof(us));
}

static int onlook_lost(const struct onlook *onlook, unsigned side, uint64_t lost) {
        char head[ONLOOK_HEAD];
        int r = 1;

        while (lost && r) {
                uint32_t n = lost > UINT32_MAX ? UINT32_MAX : (uint32_t)lost;

                onlook_head(head, 'l', side, n);
                r = onlook_send(onlook, head, sizeof(head));
                lost -= n;
        }
        return r;
}

/* What came of looking at one side. */
enum onlook_pass { ONLOOK_NOTHING, ONLOOK_PASSED, ONLOOK_ENDED, ONLOOK_GONE };

static enum onlook_pass onlook_pass(struct onlook *onlook, unsigned side) {
        uint64_t lost;
        ssize_t n = tap_read(onlook->api->view.shared, onlook->tap, side, onlook->piece + ONLOOK_HEAD, ONLOOK_PIECE,
                             &lost);

        if (!onlook_lost(onlook, side, lost) || (n < 0 && n != -EAGAIN))
                return ONLOOK_GONE;
        if (n < 0)
                return lost ? ONLOOK_PASSED : ONLOOK_NOTHING;
        if (n == 0)
                return ONLOOK_ENDED;
        onlook_head(onlook->piece, 'b', side, (uint32_t)n);
        return onlook_send(onlook, onlook->piece, ONLOOK_HEAD + (size_t)n) ? ONLOOK_PASSED : ONLOOK_GONE;
}

/* Waits for one of the sides, or for the onlooker to go.  Returns whether it is still there. */
static int onlook_wait(const struct onlook *onlook, const int over[SESSION_SIDES], int max_ms) {
        const struct env_shared *shared = onlook->api->view.shared;
        struct pollfd fds[] = {
                { .fd = onlook->upgraded.fd, .events = POLLIN | POLLRDHUP },
                { .fd = over[0] ? -1 : tap_read_end(shared, onlook->tap, 0), .events = POLLIN },
                { .fd = over[1] ? -1 : tap_read_end(shared, onlook->tap, 1), .events = POLLIN },
        };

        if (poll(fds, 3, max_ms) < 0)
                return errno == EINTR;
        /* It has nothing to say. */
        return !fds[0].revents;
}

static void *onlook_main(void *arg) {
        struct onlook *onlook = arg;
        int over[SESSION_SIDES] = { 0 }, more = 0, there = 1;
        char head[ONLOOK_HEAD];

        while (there && !(over[SESSION_CLIENT] && over[SESSION_SERVER])) {
                there = onlook_wait(onlook, over, more ? 0 : ONLOOK_LOOK_MS);
                more = 0;
                for (unsigned side = 0; side < SESSION_SIDES && there; side++) {
                        enum onlook_pass pass = over[side] ? ONLOOK_NOTHING : onlook_pass(onlook, side);

                        more |= pass == ONLOOK_PASSED;
                        over[side] |= pass == ONLOOK_ENDED;
                        there = pass != ONLOOK_GONE;
                }
        }
        if (there) {
                onlook_head(head, 'e', SESSION_CLIENT, 0);
                onlook_send(onlook, head, sizeof(head));
        }
        tap_close(onlook->api->view.shared, onlook->tap);
        /* The library closes it, in the admin thread. */
        shutdown(onlook->upgraded.fd, SHUT_RDWR);
        atomic_store(&onlook->ended, 1);
        return NULL;
}

/* The connection is ours. */
static void onlook_begin(void *arg, const struct http_upgraded *upgraded) {
        struct onlook *onlook = arg;
        sigset_t all, before;
        pthread_attr_t attr;

        onlook->upgraded = *upgraded;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, ONLOOK_STACK);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        onlook->started = pthread_create(&onlook->thread, &attr, onlook_main, onlook) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        if (!onlook->started) {
                shutdown(upgraded->fd, SHUT_RDWR);
                atomic_store(&onlook->ended, 1);
        }
}

static void onlook_join(struct onlook *onlook) {
        if (onlook->started && !onlook->joined)
                pthread_join(onlook->thread, NULL);
        onlook->joined = 1;
}

/* Its request is over: its connection never became ours, or we have given it back. */
static void onlook_free(void *arg) {
        struct onlook *onlook = arg, **at = &onlook->api->onlookers;

        onlook_join(onlook);
        if (!onlook->started)
                tap_close(onlook->api->view.shared, onlook->tap);
        while (*at != onlook)
                at = &(*at)->next;
        *at = onlook->next;
        free(onlook);
}

static const struct survey_row *onlook_find(const struct env_shared *shared, const struct filter *filter) {
        for (uint32_t t = 0; t < shared->n_threads; t++)
                for (uint32_t i = 0; i < shared->threads[t].n_rows; i++)
                        if (filter_fits(filter, &shared->threads[t].rows[i]))
                                return &shared->threads[t].rows[i];
        return NULL;
}

static int onlook_start(struct http_request *request, const struct survey_row *row) {
        struct api *api = request->api;
        struct onlook *onlook = calloc(1, sizeof(*onlook));

        if (!onlook)
                return 0;
        onlook->tap = tap_open(api->view.shared, row);
        if (onlook->tap < 0) {
                int error = -onlook->tap;

                free(onlook);
                if (error == EBUSY)
                        return http_reply_error(request, 409, "not now", "%d look on already, as many as may", TAP_MAX);
                return http_reply_error(request, 409, "not now", "cannot look on: %s", strerror(error));
        }
        onlook->api = api;
        onlook->next = api->onlookers;
        api->onlookers = onlook;
        log_info(api->view.log, LOG_NO_CONTEXT, "admin: uid %" PRIu32 " (PID %d) looks on at session %" PRIu64,
                 (uint32_t)request->place->uid, (int)request->place->pid, row->id);
        return http_reply_upgrade(request, &(struct http_upgrade){ .protocol = "spliced-tap", .begin = onlook_begin,
                                                                   .free = onlook_free, .arg = onlook });
}

int onlook_serve(struct http_request *request, const char *id) {
        struct api *api = request->api;
        const struct survey_row *row;
        struct filter filter;

        onlook_tick(api);
        if (request->place->uid != 0 && request->place->uid != geteuid())
                return http_reply_error(request, 403, "forbidden", "only root and the daemon's user may look on");
        if (!http_asks_upgrade(request, "spliced-tap"))
                return http_reply_error(request, 400, "bad request",
                                        "a tap is asked for by GET with 'Connection: Upgrade' and "
                                        "'Upgrade: spliced-tap'");
        if (!filter_id(&filter, api->view.shared, id))
                return http_reply_error(request, 404, "not found", "there is no session %s", id);
        if (api_survey(api, 1) < 0)
                return http_reply_error(request, 409, "not now", "an event loop does not answer");
        row = onlook_find(api->view.shared, &filter);
        if (!row)
                return http_reply_error(request, 404, "not found", "there is no session %s", id);
        return onlook_start(request, row);
}

/* Gives the connection back, which frees it later. */
static void onlook_close(struct onlook *onlook) {
        if (!onlook->closed)
                http_upgraded_close(&onlook->upgraded);
        onlook->closed = 1;
}

void onlook_tick(struct api *api) {
        for (struct onlook *onlook = api->onlookers; onlook; onlook = onlook->next)
                if (atomic_load(&onlook->ended))
                        onlook_close(onlook);
}

void onlook_stop(struct api *api) {
        for (struct onlook *onlook = api->onlookers; onlook; onlook = onlook->next)
                if (onlook->started)
                        shutdown(onlook->upgraded.fd, SHUT_RDWR);
        for (struct onlook *onlook = api->onlookers; onlook; onlook = onlook->next)
                onlook_join(onlook);
        onlook_tick(api);
}
