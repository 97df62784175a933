/* SPDX-License-Identifier: ISC */
#include "worker/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "health/resolve.h"
#include "worker/limits.h"
#include "worker/shared.h"
#include "worker/thread.h"

#define WORKER_RESOLVE_MS 2000  /* that the start waits for host names */
#define WORKER_LOG_STOP_MS 1000 /* for a log target that is slow */

struct worker {
        const struct conf *conf;
        struct log *log;
        struct arena arena;
        struct env_shared shared;
        struct thread_pool pool;
        struct resolve *resolve;
        int signals;                    /* a signalfd */
        int64_t drain_until;            /* ms; INT64_MAX: no deadline */
        enum thread_phase phase;
};

/* Blocks what the worker takes from a descriptor, and ignores SIGPIPE: who writes looks at the error. */
static int worker_signals(void) {
        static const int taken[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
        sigset_t set;
        int fd;

        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&set);
        for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
                sigaddset(&set, taken[i]);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Works out threads and sessions.  Automatic threads are fewer where descriptors are too few for all. */
static int worker_limits(const struct worker *worker, unsigned *wanted, struct limits *limits) {
        const struct conf *conf = worker->conf;
        uint64_t descriptors = limits_raise();
        size_t listeners = 0;
        unsigned threads = conf->threads ? conf->threads : limits_cpus(), most = threads;

        for (size_t i = 0; i < conf->n_frontends; i++)
                listeners += conf->frontends[i].n_listeners;
        if (threads > CONF_THREADS_MAX)
                threads = CONF_THREADS_MAX;
        for (unsigned least = conf->threads ? threads : 1; threads >= least; threads--)
                if (limits_fit(limits, descriptors, conf->max_connections, threads, listeners) == 0) {
                        *wanted = threads;
                        return 0;
                }
        threads = conf->threads ? most : 1;
        if (conf->max_connections)
                log_error(worker->log, LOG_NO_CONTEXT,
                          "max-connections = %" PRIu32 " needs a descriptor limit of %" PRIu64 ", but it is %" PRIu64
                          "; raise it (LimitNOFILE= in the unit, ulimit -n in a shell) or lower max-connections",
                          conf->max_connections, limits->descriptors, descriptors);
        else
                log_error(worker->log, LOG_NO_CONTEXT,
                          "the descriptor limit of %" PRIu64 " is too low: %zu listeners on %u threads need %" PRIu64
                          " at least; raise it (LimitNOFILE= in the unit, ulimit -n in a shell)",
                          descriptors, listeners, threads, limits->descriptors);
        return -EMFILE;
}

static int worker_start(struct worker *worker, const struct worker_hooks *hooks) {
        struct limits limits;
        unsigned threads;
        int r;

        r = worker_limits(worker, &threads, &limits);
        if (r < 0)
                return r;
        limits_grow_table(limits.descriptors);
        r = shared_init(&worker->shared, &worker->arena, worker->conf, worker->log, threads, &limits);
        if (r < 0) {
                log_error(worker->log, LOG_NO_CONTEXT,
                          "cannot start: %s (memory for %" PRIu32 " sessions on %u threads)",
                          strerror(-r), limits.sessions, threads);
                return r;
        }
        r = worker_signals();
        if (r < 0) {
                log_error(worker->log, LOG_NO_CONTEXT, "cannot take signals: %s", strerror(-r));
                return r;
        }
        worker->signals = r;
        r = shared_listen(&worker->shared);
        if (r >= 0)
                r = log_start(worker->log);
        if (r >= 0)
                r = resolve_start(&worker->resolve, worker->shared.backends, worker->conf->n_backends, worker->log,
                                  WORKER_RESOLVE_MS);
        if (r >= 0)
                r = thread_pool_start(&worker->pool, &worker->shared);
        if (r >= 0 && hooks->ready)
                r = hooks->ready(hooks->arg);
        if (r < 0) {
                log_error(worker->log, LOG_NO_CONTEXT, "cannot start: %s", strerror(-r));
                return r;
        }
        log_info(worker->log, LOG_NO_CONTEXT, "ready: %zu frontends, %" PRIu32 " listeners, %u threads, up to %" PRIu32
                 " sessions", worker->conf->n_frontends, worker->shared.n_listeners, threads, limits.sessions);
        return 0;
}

static void worker_drain(struct worker *worker) {
        uint32_t sessions = atomic_load(&worker->shared.sessions_now);
        int64_t drain = worker->conf->drain;

        worker->phase = THREAD_DRAIN;
        worker->drain_until = drain == CONF_OFF ? INT64_MAX : clock_now_ms() + drain;
        if (drain == CONF_OFF)
                log_info(worker->log, LOG_NO_CONTEXT,
                         "draining: no new clients; waiting for %" PRIu32 " sessions", sessions);
        else
                log_info(worker->log, LOG_NO_CONTEXT,
                         "draining: no new clients; waiting for %" PRIu32 " sessions, "
                         "at most %" PRId64 ".%03" PRId64 " s",
                         sessions, drain / 1000, drain % 1000);
        thread_pool_enter(&worker->pool, THREAD_DRAIN);
}

static void worker_signal(struct worker *worker, int signal) {
        switch (signal) {
        case SIGTERM:
                if (worker->phase == THREAD_SERVE)
                        worker_drain(worker);
                else
                        worker->phase = THREAD_STOP;
                break;
        case SIGINT:
                worker->phase = THREAD_STOP;
                break;
        case SIGUSR1:
                log_reopen(worker->log);
                break;
        case SIGHUP:
                log_warning(worker->log, LOG_NO_CONTEXT, "SIGHUP: a single process cannot reload; restart it instead");
                break;
        default:
                log_warning(worker->log, LOG_NO_CONTEXT,
                            "SIGUSR2: a single process cannot upgrade; restart it instead");
                break;
        }
}

/* The pool has news: closes listeners that no thread uses any more, and sees whether a drain is over. */
static int worker_news(struct worker *worker) {
        int r = atomic_load(&worker->pool.failed);

        thread_pool_news(&worker->pool);
        if (r < 0) {
                log_error(worker->log, LOG_NO_CONTEXT, "an event loop failed: %s", strerror(-r));
                return r;
        }
        if (worker->phase == THREAD_DRAIN && !atomic_load(&worker->pool.accepting)) {
                shared_unlisten(&worker->shared);
                if (!atomic_load(&worker->shared.sessions_now))
                        worker->phase = THREAD_STOP;
        }
        return 0;
}

static int worker_timeout(const struct worker *worker) {
        int64_t left;

        if (worker->phase != THREAD_DRAIN || worker->drain_until == INT64_MAX)
                return -1;
        left = worker->drain_until - clock_now_ms();
        return left <= 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static int worker_serve(struct worker *worker) {
        struct pollfd fds[] = {
                { .fd = worker->signals, .events = POLLIN },
                { .fd = worker->pool.notify, .events = POLLIN },
        };
        struct signalfd_siginfo info;
        int r = 0;

        while (worker->phase != THREAD_STOP && r >= 0) {
                if (poll(fds, 2, worker_timeout(worker)) < 0 && errno != EINTR)
                        return -errno;
                while (read(worker->signals, &info, sizeof(info)) == sizeof(info))
                        worker_signal(worker, (int)info.ssi_signo);
                if (fds[1].revents)
                        r = worker_news(worker);
                if (worker_timeout(worker) == 0)
                        worker->phase = THREAD_STOP;
        }
        return r;
}

/* Returns 1 where the resolver is stuck. */
static int worker_finish(struct worker *worker) {
        uint32_t left = worker->shared.arena ? atomic_load(&worker->shared.sessions_now) : 0;
        int stuck;

        thread_pool_stop(&worker->pool);
        stuck = resolve_stop(worker->resolve);
        if (worker->shared.arena && worker->arena.head)
                log_info(worker->log, LOG_NO_CONTEXT,
                         "stopped: %" PRIu64 " sessions served, %" PRIu32 " reset at the end",
                         worker->arena.head->next_session - 1, left);
        shared_unlisten(&worker->shared);
        log_stop(worker->log, WORKER_LOG_STOP_MS);
        if (worker->signals >= 0)
                close(worker->signals);
        if (!stuck)
                shared_deinit(&worker->shared);
        return stuck;
}

int worker_run(const struct conf *conf, struct log *log, const struct worker_hooks *hooks, int *stuck) {
        struct worker worker = { .conf = conf, .log = log, .arena = ARENA_NULL, .signals = -1,
                                 .pool = { .notify = -1 }, .drain_until = INT64_MAX };
        int r;

        r = worker_start(&worker, hooks);
        if (r >= 0)
                r = worker_serve(&worker);
        *stuck = worker_finish(&worker);
        return r;
}
