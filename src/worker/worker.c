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
#include "health/health.h"
#include "health/resolve.h"
#include "session/counters.h"
#include "worker/adopt.h"
#include "worker/control.h"
#include "worker/limits.h"
#include "worker/shared.h"
#include "worker/slots.h"
#include "worker/thread.h"

#define WORKER_RESOLVE_MS 2000  /* that the start waits for names of servers */
#define WORKER_RESOLVE_NEW_MS 200       /* that a successor, with sessions to serve, waits for names that are new */
#define WORKER_BEAT_MS 1000
#define WORKER_LATE_MS 5000     /* a thread that stands still for so long is named in the log */
#define WORKER_LOG_LEAVE_MS 50
#define WORKER_LOG_STOP_MS 1000 /* for a log target that is slow */

struct worker {
        const struct worker_job *job;
        struct log *log;
        struct control_record *control;
        struct env_shared shared;
        struct thread_pool pool;
        struct resolve *resolve;
        struct health *health;
        void *admin;
        uint64_t log_dropped;           /* by workers before this one */
        struct log_limit late_limits[3]; /* lines about threads that stand still */
        int signals;                    /* a signalfd, alone; else the eventfd of the keeper, not ours */
        int64_t drain_until;            /* ms; INT64_MAX: no deadline */
        uint32_t reopened;              /* requests to open the log again that were carried out */
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

int worker_limits(const struct conf *conf, struct log *log, unsigned *threads, struct limits *limits) {
        unsigned most = conf->threads ? conf->threads : limits_cpus();
        uint64_t descriptors = limits_raise();
        size_t listeners = 0, others = health_descriptors(conf) + resolve_descriptors(conf);

        for (size_t i = 0; i < conf->n_frontends; i++)
                listeners += conf->frontends[i].n_listeners;
        listeners += (size_t)(conf->admin.socket.text != NULL) + (conf->admin.http.text != NULL);
        others += listeners;
        if (most > CONF_THREADS_MAX)
                most = CONF_THREADS_MAX;
        /* Automatic threads are fewer where descriptors are too few for all. */
        for (*threads = most; *threads >= (conf->threads ? most : 1); (*threads)--)
                if (limits_fit(limits, descriptors, conf->max_connections, *threads, others) == 0)
                        return 0;
        ++*threads;
        if (conf->max_connections)
                log_error(log, LOG_NO_CONTEXT,
                          "max-connections = %" PRIu32 " needs a descriptor limit of %" PRIu64 ", but it is %" PRIu64
                          "; raise it (LimitNOFILE= in the unit, ulimit -n in a shell) or lower max-connections",
                          conf->max_connections, limits->descriptors, descriptors);
        else
                log_error(log, LOG_NO_CONTEXT,
                          "the descriptor limit of %" PRIu64 " is too low: %zu listeners on %u threads need %" PRIu64
                          " at least; raise it (LimitNOFILE= in the unit, ulimit -n in a shell)",
                          descriptors, listeners, *threads, limits->descriptors);
        return -EMFILE;
}

/* Makes what the threads share and takes over what the arena holds. */
static int worker_adopt(struct worker *worker, unsigned threads, uint32_t sessions) {
        const struct worker_job *job = worker->job;
        struct control_record *control = worker->control;
        struct adopt_report report;
        int inherited, r;

        if (sessions > arena_count(job->arena, ARENA_SESSIONS))
                sessions = arena_count(job->arena, ARENA_SESSIONS);
        /* Those that only a config before this one had may be gone already; a drain has closed them for good. */
        r = 0;
        if (job->alone || control->command != CONTROL_DRAIN)
                r = slots_listen(job->arena, job->conf, job->inherited, job->log, NULL);
        if (r < 0)
                return r;
        slots_unlisten_new(job->arena, job->conf);
        r = shared_init(&worker->shared, job->arena, job->conf, job->log, threads, sessions, &inherited);
        if (r >= 0)
                r = thread_pool_prepare(&worker->pool, &worker->shared);
        if (r < 0)
                return r;
        adopt_sessions(&worker->shared, worker->pool.envs, inherited, &report);
        control->last_adopted = report.adopted;
        control->last_reset = report.reset;
        control->adopted += report.adopted;
        control->reset += report.reset;
        return shared_register(&worker->shared);
}

static int worker_admin(struct worker *worker) {
        const struct worker_view view = { .shared = &worker->shared, .control = worker->control,
                                          .phase = &worker->pool.phase, .log = worker->log,
                                          .log_dropped = worker->log_dropped, .alone = worker->job->alone };

        return worker->job->admin ? worker->job->admin->start(&worker->admin, &view) : 0;
}

static int worker_start(struct worker *worker) {
        const struct worker_job *job = worker->job;
        int r, first = job->alone || worker->control->generation <= 1;
        struct limits limits;
        unsigned threads;

        r = worker_limits(job->conf, job->log, &threads, &limits);
        if (r < 0)
                return r;
        signal(SIGPIPE, SIG_IGN);
        worker->signals = job->alone ? worker_signals() : worker->control->to_worker;
        r = worker->signals < 0 ? worker->signals : log_start(job->log);
        if (r >= 0)
                r = worker_adopt(worker, threads, limits.sessions);
        if (r >= 0)
                r = resolve_start(&worker->resolve, &worker->shared,
                                  first ? WORKER_RESOLVE_MS : WORKER_RESOLVE_NEW_MS);
        if (r >= 0)
                r = health_start(&worker->health, &worker->shared);
        if (r >= 0)
                r = thread_pool_start(&worker->pool);
        if (r >= 0 && job->ready)
                r = job->ready(job->arg);
        if (r >= 0)
                r = worker_admin(worker);
        if (r < 0) {
                log_error(job->log, LOG_NO_CONTEXT, "cannot start: %s", strerror(-r));
                return r;
        }
        log_info(job->log, LOG_NO_CONTEXT,
                 "ready: %zu frontends, %u threads, up to %" PRIu32 " sessions", job->conf->n_frontends, threads,
                 worker->shared.max_sessions);
        return 0;
}

static void worker_drain(struct worker *worker) {
        uint32_t sessions = atomic_load(&worker->shared.sessions_now);
        int64_t drain = worker->job->conf->drain;

        worker->phase = THREAD_DRAIN;
        /* A drain goes on where a worker before this one began it. */
        if (!worker->control->drain_until_ms)
                worker->control->drain_until_ms = drain == CONF_OFF ? INT64_MAX : clock_now_ms() + drain;
        worker->drain_until = worker->control->drain_until_ms;
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

/* What the keeper wants now. */
static void worker_command(struct worker *worker) {
        struct control_record *control = worker->control;
        uint32_t command = __atomic_load_n(&control->command, __ATOMIC_ACQUIRE);
        uint32_t reopen = __atomic_load_n(&control->reopen, __ATOMIC_ACQUIRE);

        control_clear(control->to_worker);
        if (reopen != worker->reopened) {
                worker->reopened = reopen;
                log_reopen(worker->log);
        }
        if (command == CONTROL_DRAIN && worker->phase == THREAD_SERVE)
                worker_drain(worker);
        else if (command == CONTROL_LEAVE && worker->phase == THREAD_SERVE)
                worker->phase = THREAD_LEAVE;
        else if (command == CONTROL_STOP)
                worker->phase = THREAD_STOP;
}

static void worker_orders(struct worker *worker) {
        struct signalfd_siginfo info;

        if (worker->admin)
                worker->job->admin->news(worker->admin);

        if (!worker->job->alone) {
                worker_command(worker);
                return;
        }
        while (read(worker->signals, &info, sizeof(info)) == sizeof(info))
                worker_signal(worker, (int)info.ssi_signo);
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

/* Until the drain's deadline; and the keeper wants to see the main thread alive now and then. */
static int worker_timeout(const struct worker *worker) {
        int64_t left = worker->job->alone && !worker->job->beat ? -1 : WORKER_BEAT_MS;

        if (worker->phase == THREAD_DRAIN && worker->drain_until != INT64_MAX) {
                int64_t drain = worker->drain_until - clock_now_ms();

                drain = drain < 0 ? 0 : drain;
                left = left < 0 || drain < left ? drain : left;
        }
        return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* A sign of life, which the keeper waits for: of this thread, and of those that are no event loops. */
static void worker_beat(struct worker *worker) {
        int64_t now = clock_now_ms(), oldest = now;
        const struct { const char *what; int64_t beat_ms; } others[] = {
                { "checks servers", health_beat(worker->health) },
                { "follows names", resolve_beat(worker->resolve) },
                { "answers the admin", worker->admin ? worker->job->admin->beat(worker->admin) : INT64_MAX },
        };

        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                if (others[i].beat_ms < oldest)
                        oldest = others[i].beat_ms;
                if (now - others[i].beat_ms >= WORKER_LATE_MS &&
                    log_limit_ask(&worker->late_limits[i], now, WORKER_LATE_MS))
                        log_warning(worker->log, LOG_NO_CONTEXT, "the thread that %s has stood still for %" PRId64
                                    ".%03" PRId64 " s", others[i].what, (now - others[i].beat_ms) / 1000,
                                    (now - others[i].beat_ms) % 1000);
        }
        worker->control->beat_ms = oldest;
}

static int worker_serve(struct worker *worker) {
        struct pollfd fds[] = {
                { .fd = worker->signals, .events = POLLIN },
                { .fd = worker->pool.notify, .events = POLLIN },
        };
        int r = 0;

        /* An order may have come while we were starting. */
        if (!worker->job->alone)
                worker_command(worker);
        while (worker->phase < THREAD_LEAVE && r >= 0) {
                if (poll(fds, 2, worker_timeout(worker)) < 0 && errno != EINTR)
                        return -errno;
                worker_beat(worker);
                worker->control->sessions = atomic_load(&worker->shared.sessions_now);
                worker->control->log_dropped = worker->log_dropped + log_dropped(worker->log);
                if (fds[0].revents)
                        worker_orders(worker);
                if (fds[1].revents)
                        r = worker_news(worker);
                if (worker->job->alone && worker->job->beat)
                        worker->job->beat(worker->job->arg, worker->phase == THREAD_DRAIN);
                if (worker->phase == THREAD_DRAIN && clock_now_ms() >= worker->drain_until)
                        worker->phase = THREAD_STOP;
        }
        return r;
}

/* What there was in all: the last line of the log. */
static void worker_sum_up(struct worker *worker, uint32_t left) {
        struct counters_frontend_sum all;

        counters_sum_frontend(worker->job->arena, ENV_FRONTENDS, &all);
        log_info(worker->log, LOG_NO_CONTEXT,
                 "stopped: %" PRIu64 " sessions served, %" PRIu32 " reset at the end; %" PRIu64 " bytes up, %" PRIu64
                 " down", worker->job->arena->head->next_session - 1, left, all.bytes[0], all.bytes[1]);
}

static void worker_finish(struct worker *worker) {
        uint32_t left = atomic_load(&worker->shared.sessions_now);

        /* While sessions are still served: nobody waits for this. */
        if (worker->admin)
                worker->job->admin->stop(worker->admin, worker->phase == THREAD_LEAVE);
        health_leave(worker->health);
        resolve_stop(worker->resolve, worker->phase == THREAD_LEAVE);
        thread_pool_stop(&worker->pool, worker->phase == THREAD_LEAVE ? THREAD_LEAVE : THREAD_STOP);
        health_stop(worker->health, worker->phase == THREAD_LEAVE);
        if (worker->phase == THREAD_LEAVE) {
                /* Sessions wait for the successor: nothing here may take long, and the process ends anyway. */
                slots_unlisten_leaving(worker->job->arena);
                log_stop(worker->log, WORKER_LOG_LEAVE_MS);
                return;
        }
        if (worker->shared.arena)
                worker_sum_up(worker, left);
        log_stop(worker->log, WORKER_LOG_STOP_MS);
        if (worker->job->alone && worker->signals >= 0)
                close(worker->signals);
        shared_deinit(&worker->shared);
}

int worker_run(const struct worker_job *job) {
        struct worker worker = {
                .job = job,
                .log = job->log,
                .control = control_of(job->arena),
                .signals = -1,
                .pool = { .notify = -1 },
                .drain_until = INT64_MAX,
        };
        int r;

        worker.reopened = worker.control->reopen;
        worker.log_dropped = worker.control->log_dropped;
        worker.control->beat_ms = clock_now_ms();
        r = worker_start(&worker);
        if (r >= 0)
                r = worker_serve(&worker);
        /* Whatever went wrong here, a successor may do better with the sessions. */
        if (r < 0 && !job->alone)
                worker.phase = THREAD_LEAVE;
        worker_finish(&worker);
        return r;
}
