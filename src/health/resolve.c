/* SPDX-License-Identifier: ISC */
#include "health/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RESOLVE_RETRY_S 5
#define RESOLVE_STOP_MS 200
#define RESOLVE_HOST_SIZE 512

struct resolve {
        struct backend *backends;
        size_t n;
        struct log *log;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        int first_round_done;
        int stop;
        int ended;
};

static struct timespec resolve_after(int64_t ms) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        ts.tv_sec += ms / 1000;
        ts.tv_nsec += ms % 1000 * 1000000;
        if (ts.tv_nsec >= 1000000000) {
                ts.tv_sec++;
                ts.tv_nsec -= 1000000000;
        }
        return ts;
}

/* Returns 1 where the server has an address now. */
static int resolve_server(struct resolve *resolve, struct backend *backend, size_t i, int first) {
        const struct conf_server *server = &backend->conf->servers[i];
        struct log_context context = {
                .backend = backend->conf->name, .server = server->name, .address = server->text,
        };
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found = NULL;
        struct addr addr = { .kind = ADDR_IP };
        char host[RESOLVE_HOST_SIZE], service[8], text[ADDR_STRLEN];
        uint16_t port;
        int r;

        if (strlen(server->text) >= sizeof(host) || addr_split_host(server->text, host, sizeof(host), &port) < 0)
                return 0;
        snprintf(service, sizeof(service), "%u", (unsigned)port);
        r = getaddrinfo(host, service, &hints, &found);
        if (r) {
                if (first)
                        log_warning(resolve->log, &context,
                                    "cannot resolve the server's name: %s; "
                                    "it is down until the name resolves, next try in %d s",
                                    r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r), RESOLVE_RETRY_S);
                return 0;
        }
        memcpy(&addr.sa, found->ai_addr, found->ai_addrlen);
        addr.len = found->ai_addrlen;
        freeaddrinfo(found);
        addr_unmap(&addr);
        backend_set_address(backend, backend->members[i].slot, &addr);
        log_info(resolve->log, &context, "the server's name resolves to %s",
                 addr_format(&addr.sa, addr.len, text, sizeof(text)));
        return 1;
}

/* One round over all names without an address.  Returns how many are still without. */
static size_t resolve_round(struct resolve *resolve, int first) {
        size_t missing = 0;

        for (size_t b = 0; b < resolve->n; b++)
                for (size_t i = 0; resolve->backends[b].conf && i < resolve->backends[b].conf->n_servers; i++) {
                        struct addr addr;

                        if (resolve->backends[b].conf->servers[i].addr.kind != ADDR_HOST)
                                continue;
                        backend_address(&resolve->backends[b], resolve->backends[b].members[i].slot, &addr);
                        if (addr.kind == ADDR_NONE)
                                missing += !resolve_server(resolve, &resolve->backends[b], i, first);
                }
        return missing;
}

static void *resolve_main(void *arg) {
        struct resolve *resolve = arg;
        size_t missing = resolve_round(resolve, 1);

        pthread_mutex_lock(&resolve->lock);
        resolve->first_round_done = 1;
        pthread_cond_broadcast(&resolve->changed);
        while (missing && !resolve->stop) {
                struct timespec until = resolve_after(RESOLVE_RETRY_S * 1000);

                if (pthread_cond_timedwait(&resolve->changed, &resolve->lock, &until) != ETIMEDOUT)
                        continue;
                pthread_mutex_unlock(&resolve->lock);
                missing = resolve_round(resolve, 0);
                pthread_mutex_lock(&resolve->lock);
        }
        resolve->ended = 1;
        pthread_cond_broadcast(&resolve->changed);
        pthread_mutex_unlock(&resolve->lock);
        return NULL;
}

static int resolve_needed(const struct backend *backends, size_t n) {
        for (size_t b = 0; b < n; b++)
                for (size_t i = 0; backends[b].conf && i < backends[b].conf->n_servers; i++)
                        if (backends[b].conf->servers[i].addr.kind == ADDR_HOST)
                                return 1;
        return 0;
}

int resolve_start(struct resolve **out, struct backend *backends, size_t n, struct log *log, int wait_ms) {
        struct timespec until = resolve_after(wait_ms);
        struct resolve *resolve;
        pthread_condattr_t attr;
        sigset_t all, before;
        int r;

        *out = NULL;
        if (!resolve_needed(backends, n))
                return 0;
        resolve = calloc(1, sizeof(*resolve));
        if (!resolve)
                return -ENOMEM;
        *resolve = (struct resolve){ .backends = backends, .n = n, .log = log, .lock = PTHREAD_MUTEX_INITIALIZER };
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&resolve->changed, &attr);
        pthread_condattr_destroy(&attr);

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&resolve->thread, NULL, resolve_main, resolve);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r) {
                pthread_cond_destroy(&resolve->changed);
                free(resolve);
                return -r;
        }
        pthread_mutex_lock(&resolve->lock);
        while (!resolve->first_round_done && !r)
                r = pthread_cond_timedwait(&resolve->changed, &resolve->lock, &until);
        pthread_mutex_unlock(&resolve->lock);
        *out = resolve;
        return 0;
}

int resolve_stop(struct resolve *resolve) {
        struct timespec until = resolve_after(RESOLVE_STOP_MS);
        int ended, r = 0;

        if (!resolve)
                return 0;
        pthread_mutex_lock(&resolve->lock);
        resolve->stop = 1;
        pthread_cond_broadcast(&resolve->changed);
        /* getaddrinfo() cannot be interrupted. */
        while (!resolve->ended && !r)
                r = pthread_cond_timedwait(&resolve->changed, &resolve->lock, &until);
        ended = resolve->ended;
        pthread_mutex_unlock(&resolve->lock);
        if (!ended)
                return RESOLVE_STUCK;
        pthread_join(resolve->thread, NULL);
        pthread_cond_destroy(&resolve->changed);
        free(resolve);
        return 0;
}
