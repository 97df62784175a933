/* SPDX-License-Identifier: ISC */
#include "admin/admin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "admin/api.h"
#include "admin/http.h"
#include "admin/onlook.h"
#include "base/clock.h"

#define ADMIN_NICE 10
#define ADMIN_BEAT_MS 1000      /* between two signs of life, at most */
#define ADMIN_LAST_MS 50        /* for answers that are under way when it ends */
#define ADMIN_LEAVE_MS 200      /* that a worker which leaves waits for that */

struct admin {
        struct api *api;
        struct http *http;
        pthread_t thread;
        int wake;                       /* an eventfd */
        _Atomic int stop;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        int ended;                      /* under the lock */
};

static void admin_last(struct admin *admin) {
        int64_t until = clock_now_ms() + ADMIN_LAST_MS;

        onlook_stop(admin->api);
        http_news(admin->http);
        while (http_run(admin->http, -1, 1) && clock_now_ms() < until)
                ;
}

static void *admin_main(void *arg) {
        struct admin *admin = arg;

        pthread_setname_np(pthread_self(), "spliced-admin");
        /* Whoever asks much has to wait: the event loops come first.  Where that is not to be had, it was a wish. */
        setpriority(PRIO_PROCESS, 0, ADMIN_NICE);
        while (!atomic_load(&admin->stop)) {
                http_run(admin->http, admin->wake, ADMIN_BEAT_MS);
                control_clear(admin->wake);
                http_news(admin->http);
                onlook_tick(admin->api);
        }
        admin_last(admin);
        pthread_mutex_lock(&admin->lock);
        admin->ended = 1;
        pthread_cond_broadcast(&admin->changed);
        pthread_mutex_unlock(&admin->lock);
        return NULL;
}

static void admin_free(struct admin *admin) {
        http_free(admin->http);
        api_free(admin->api);
        pthread_cond_destroy(&admin->changed);
        pthread_mutex_destroy(&admin->lock);
        if (admin->wake >= 0)
                close(admin->wake);
        free(admin);
}

static int admin_thread(struct admin *admin) {
        sigset_t all, before;
        int r;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&admin->thread, NULL, admin_main, admin);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static int admin_start(void **out, const struct worker_view *view) {
        struct admin *admin = calloc(1, sizeof(*admin));
        pthread_condattr_t attr;
        int r;

        *out = NULL;
        if (!admin)
                return -ENOMEM;
        pthread_mutex_init(&admin->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&admin->changed, &attr);
        pthread_condattr_destroy(&attr);
        admin->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        r = admin->wake < 0 ? -errno : api_new(&admin->api, view);
        if (r >= 0)
                r = http_new(&admin->http, admin->api, view);
        if (r >= 0)
                r = admin_thread(admin);
        if (r < 0)
                admin_free(admin);
        else
                *out = admin;
        return r;
}

static void admin_news(void *arg) {
        struct admin *admin = arg;

        control_signal(admin->wake);
}

static int64_t admin_beat(void *arg) {
        const struct admin *admin = arg;

        return http_beat(admin->http);
}

/* Returns whether it has ended. */
static int admin_wait(struct admin *admin) {
        struct timespec until;
        int ended;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += ADMIN_LEAVE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&admin->lock);
        while (!admin->ended && pthread_cond_timedwait(&admin->changed, &admin->lock, &until) == 0)
                ;
        ended = admin->ended;
        pthread_mutex_unlock(&admin->lock);
        return ended;
}

static void admin_stop(void *arg, int leaving) {
        struct admin *admin = arg;

        atomic_store(&admin->stop, 1);
        control_signal(admin->wake);
        /* One that does not come to its end in time ends with the process. */
        if (leaving && !admin_wait(admin))
                return;
        pthread_join(admin->thread, NULL);
        if (leaving)
                return;
        admin_free(admin);
}

const struct worker_admin admin_worker = {
        .start = admin_start, .news = admin_news, .beat = admin_beat, .stop = admin_stop,
};
