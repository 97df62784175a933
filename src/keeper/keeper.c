/* SPDX-License-Identifier: ISC */
#include "keeper/keeper.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "config.h"
#include "engine/loop.h"
#include "keeper/background.h"
#include "keeper/child.h"
#include "keeper/confine.h"
#include "keeper/identify.h"
#include "keeper/pidfile.h"
#include "keeper/process.h"
#include "keeper/reload.h"
#include "keeper/upgrade.h"
#include "worker/adopt.h"
#include "worker/limits.h"
#include "worker/shared.h"
#include "worker/slots.h"
#include "worker/worker.h"

#define KEEPER_LOOK_MS 1000     /* how often the worker's beats are looked at */
#define KEEPER_LOST_MS 4000     /* a look that comes so late says nothing of the worker */
#define KEEPER_STUCK_MS 10000   /* a worker that stands still for so long is aborted */
#define KEEPER_ABORT_MS 1000    /* and killed so much later, should it not even abort */
#define KEEPER_START_MS 30000   /* for a worker to become ready */
#define KEEPER_FAILURES 3       /* workers in a row that die before they are ready: the next starts clean */
#define KEEPER_PAUSE_MS 100     /* before the next one then; doubles ... */
#define KEEPER_PAUSE_MAX_MS 5000 /* ... up to this */

void keeper_own(struct keeper *keeper, int fd) {
        for (int i = 0; i < CONTROL_DESCRIPTORS; i++)
                if (keeper->control->keeper[i] < 0) {
                        keeper->control->keeper[i] = fd;
                        return;
                }
}

void keeper_disown(struct keeper *keeper, int fd) {
        if (fd < 0)
                return;
        for (int i = 0; i < CONTROL_DESCRIPTORS; i++)
                if (keeper->control->keeper[i] == fd)
                        keeper->control->keeper[i] = -1;
}

/* Notes all that is open now and is not the arena's.  To be called once everything is set up. */
static int keeper_own_all(struct keeper *keeper) {
        for (int i = 0; i < CONTROL_DESCRIPTORS; i++)
                keeper->control->keeper[i] = -1;
        return adopt_list_unowned(&keeper->arena, keeper->control->keeper, CONTROL_DESCRIPTORS);
}

void keeper_command(struct keeper *keeper, enum control_command command) {
        __atomic_store_n(&keeper->control->command, command, __ATOMIC_RELEASE);
        control_signal(keeper->control->to_worker);
}

static void keeper_start_worker(struct keeper *keeper) {
        struct control_record *control = keeper->control;
        struct child_job job = { .arena = &keeper->arena, .calls = &keeper->calls, .verbose = keeper->options->verbose,
                                 .inherited = &keeper->service.inherited };
        int64_t now = clock_now_ms();
        pid_t pid;

        if (!keeper->conf_stale && keeper->change != KEEPER_TRY_CONFIG)
                job.conf = keeper->conf;
        keeper->start_ms = 0;
        keeper->aborted_ms = 0;
        keeper->begun_ms = now;
        control->state = CONTROL_STARTING;
        control->generation++;
        control->command = keeper->stopping ? CONTROL_DRAIN : CONTROL_SERVE;
        control->beat_ms = now;
        control->clean = keeper->failures >= KEEPER_FAILURES;
        if (control->clean)
                log_error(keeper->log, LOG_NO_CONTEXT,
                          "workers died %u times before they were ready: the next starts clean, all sessions are reset",
                          keeper->failures);
        pid = process_clone();
        if (pid == 0)
                child_worker(&job);
        if (pid < 0 && !keeper->was_ready) {
                log_error(keeper->log, LOG_NO_CONTEXT, "cannot start a worker: %s", strerror(-pid));
                keeper->status = KEEPER_FAILURE;
                keeper->done = 1;
                return;
        }
        if (pid < 0) {
                log_error(keeper->log, LOG_NO_CONTEXT, "cannot start a worker: %s; next try in %d ms", strerror(-pid),
                          KEEPER_PAUSE_MAX_MS);
                keeper->start_ms = now + KEEPER_PAUSE_MAX_MS;
                return;
        }
        keeper->worker = pid;
}

/* A worker that is starting has opened its own already, perhaps, and closes what it does not know: it is waited for. */
static void keeper_reopen(struct keeper *keeper) {
        keeper->reopen_again = keeper->control->state != CONTROL_READY;
        if (keeper->reopen_again)
                return;
        log_reopen(keeper->log);
        keeper->control->reopen++;
        control_signal(keeper->control->to_worker);
}

/* The worker is up: whoever waits for that may know. */
static void keeper_worker_ready(struct keeper *keeper) {
        int report = keeper->report;

        keeper->failures = 0;
        /* From now on sessions wait for us between two workers. */
        log_hurry(keeper->log);
        if (!keeper->was_ready) {
                keeper->was_ready = 1;
                if (report >= 0)
                        keeper_disown(keeper, report);
                background_report(&keeper->report, KEEPER_OK);
        } else if (keeper->change != KEEPER_TRY_CONFIG)
                log_warning(keeper->log, LOG_NO_CONTEXT,
                            "worker %" PRIu32 " (PID %d) is ready after %" PRId64 " ms: %" PRIu32
                            " sessions adopted, %" PRIu32 " reset", keeper->control->generation, (int)keeper->worker,
                            clock_now_ms() - keeper->begun_ms, keeper->control->last_adopted,
                            keeper->control->last_reset);
        if (keeper->change == KEEPER_TRY_CONFIG)
                reload_done(keeper);
        if (keeper->reopen_again)
                keeper_reopen(keeper);
}

static void keeper_finish(struct keeper *keeper, enum keeper_status status) {
        keeper->status = status;
        keeper->done = 1;
}

/*
 * The helper that reads a config opens and closes descriptors, which the next worker takes for nobody's; and then its
 * numbers are somebody else's.  Returns 1 where there was one: it has to be asked again.
 */
static int keeper_cancel_check(struct keeper *keeper) {
        if (!keeper->helper || keeper->change != KEEPER_CHECK_CONFIG)
                return 0;
        kill(keeper->helper, SIGKILL);
        waitpid(keeper->helper, NULL, 0);
        keeper->helper = 0;
        reload_undo(keeper);
        return 1;
}

/* The worker died, and nobody had asked it to. */
static void keeper_worker_crashed(struct keeper *keeper, int status) {
        int ready = keeper->control->state == CONTROL_READY;
        int64_t pause = 0;
        char ending[64];

        log_error(keeper->log, LOG_NO_CONTEXT, "worker %" PRIu32 " (PID %d) died: %s%s", keeper->control->generation,
                  (int)keeper->worker, process_ending(status, ending, sizeof(ending)),
                  ready ? "" : ", before it was ready");
        keeper->worker = 0;
        keeper->reload_again |= keeper_cancel_check(keeper);
        keeper->control->suspect = (uint32_t)process_faulted(status);
        if (keeper->change == KEEPER_TRY_CONFIG)
                reload_failed(keeper);
        else if (!ready)
                keeper->failures++;
        if (!keeper->was_ready && (WIFEXITED(status) || keeper->failures >= KEEPER_FAILURES)) {
                keeper_finish(keeper, KEEPER_FAILURE);
                return;
        }
        if (keeper->failures >= KEEPER_FAILURES) {
                pause = KEEPER_PAUSE_MS;
                for (unsigned i = KEEPER_FAILURES; i < keeper->failures && pause < KEEPER_PAUSE_MAX_MS; i++)
                        pause *= 2;
                pause = pause > KEEPER_PAUSE_MAX_MS ? KEEPER_PAUSE_MAX_MS : pause;
        }
        if (pause)
                keeper->start_ms = clock_now_ms() + pause;
        else
                keeper_start_worker(keeper);
}

static void keeper_worker_ended(struct keeper *keeper, int status) {
        int asked = WIFEXITED(status) && WEXITSTATUS(status) == 0;

        int leaving = keeper->change == KEEPER_LEAVE_CONFIG || keeper->change == KEEPER_LEAVE_BINARY;

        if (keeper->stopping > 1 || (keeper->stopping && asked && !leaving)) {
                /* What is left sees a reset when this process ends. */
                adopt_nothing(&keeper->arena);
                keeper->worker = 0;
                keeper_finish(keeper, KEEPER_OK);
                return;
        }
        if (!asked && !leaving) {
                keeper_worker_crashed(keeper, status);
                return;
        }
        /* It left for a change; or died on the way, which its successor makes good alike. */
        keeper->control->suspect = 0;
        keeper->worker = 0;
        if (keeper->change == KEEPER_LEAVE_CONFIG)
                reload_switch(keeper);
        else if (keeper->change == KEEPER_LEAVE_BINARY && keeper->stopping)
                keeper->change = KEEPER_NO_CHANGE;
        else if (keeper->change == KEEPER_LEAVE_BINARY)
                upgrade_execute(keeper);
        keeper_start_worker(keeper);
}

static int keeper_wait_status(const siginfo_t *info) {
        if (info->si_code == CLD_EXITED)
                return (info->si_status & 0xff) << 8;
        return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

/*
 * The kernel drops what /proc knew of a process when it is reaped, which takes milliseconds where somebody has
 * listed its thousands of descriptors: the successor is started first.
 */
static void keeper_reap(struct keeper *keeper) {
        siginfo_t info = { 0 };

        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
                int status = keeper_wait_status(&info);

                if (info.si_pid == keeper->worker)
                        keeper_worker_ended(keeper, status);
                waitpid(info.si_pid, NULL, 0);
                if (info.si_pid == keeper->helper) {
                        keeper->helper = 0;
                        if (keeper->change == KEEPER_CHECK_CONFIG)
                                reload_checked(keeper, status);
                        else if (keeper->change == KEEPER_CHECK_BINARY)
                                upgrade_checked(keeper, status);
                }
                info.si_pid = 0;
        }
}

static void keeper_stop(struct keeper *keeper, int at_once) {
        keeper->stopping = at_once || keeper->stopping ? 2 : 1;
        keeper_cancel_check(keeper);
        if (!keeper->worker) {
                /* In the pause after crashes: the one that is to come drains. */
                if (keeper->stopping == 1 && keeper->was_ready && keeper->start_ms)
                        return;
                adopt_nothing(&keeper->arena);
                keeper_finish(keeper, KEEPER_OK);
                return;
        }
        /* A worker that leaves already is followed by one that drains. */
        if (keeper->change == KEEPER_LEAVE_CONFIG || keeper->change == KEEPER_LEAVE_BINARY) {
                if (keeper->stopping == 1)
                        return;
        }
        keeper_command(keeper, keeper->stopping == 2 ? CONTROL_STOP : CONTROL_DRAIN);
        if (keeper->stopping == 2)
                keeper->change_until_ms = clock_now_ms() + KEEPER_STUCK_MS;
}

static void keeper_signal(struct keeper *keeper, int signal) {
        switch (signal) {
        case SIGCHLD:
                keeper_reap(keeper);
                break;
        case SIGTERM:
                keeper_stop(keeper, 0);
                break;
        case SIGINT:
                keeper_stop(keeper, 1);
                break;
        case SIGHUP:
                if (!keeper->stopping)
                        reload_begin(keeper);
                break;
        case SIGUSR2:
                if (!keeper->stopping)
                        upgrade_begin(keeper);
                break;
        case SIGUSR1:
                keeper_reopen(keeper);
                break;
        default:
                break;
        }
}

/* The oldest sign of life among the worker's threads. */
static int64_t keeper_oldest_beat(const struct keeper *keeper) {
        const struct loop_record *loops = arena_slab(&keeper->arena, ARENA_THREADS);
        int64_t oldest = keeper->control->beat_ms;

        for (uint32_t i = 0; i < keeper->arena.head->extents[ARENA_THREADS].used; i++) {
                int64_t beat = __atomic_load_n(&loops[i].beat_ms, __ATOMIC_RELAXED);

                if (beat < oldest)
                        oldest = beat;
        }
        if (oldest < keeper->awake_ms)
                oldest = keeper->awake_ms;
        return oldest < keeper->begun_ms ? keeper->begun_ms : oldest;
}

/* Deadlines: a worker that stands still, one that does not come up, a helper that hangs. */
static void keeper_watch(struct keeper *keeper) {
        int64_t now = clock_now_ms();
        int ready = keeper->control->state == CONTROL_READY;

        /* Who did not get to run itself (frozen, stopped, starved) cannot hold it against the worker. */
        if (now - keeper->looked_ms > KEEPER_LOST_MS)
                keeper->awake_ms = now;
        keeper->looked_ms = now;
        if (keeper->start_ms && now >= keeper->start_ms)
                keeper_start_worker(keeper);
        if (keeper->helper && now >= keeper->change_until_ms)
                kill(keeper->helper, SIGKILL);
        if (!keeper->worker)
                return;
        if (keeper->aborted_ms && now - keeper->aborted_ms >= KEEPER_ABORT_MS)
                kill(keeper->worker, SIGKILL);
        else if (!keeper->aborted_ms && now - (ready ? keeper_oldest_beat(keeper) : keeper->begun_ms) >=
                                                (ready ? KEEPER_STUCK_MS : KEEPER_START_MS)) {
                log_error(keeper->log, LOG_NO_CONTEXT, "worker %" PRIu32 " (PID %d) %s: it is aborted",
                          keeper->control->generation, (int)keeper->worker,
                          ready ? "has stood still for 10 s" : "does not become ready");
                keeper->aborted_ms = now;
                kill(keeper->worker, SIGABRT);
        }
        if ((keeper->change == KEEPER_LEAVE_CONFIG || keeper->change == KEEPER_LEAVE_BINARY || keeper->stopping == 2) &&
            now >= keeper->change_until_ms)
                kill(keeper->worker, SIGKILL);
}

/* What was asked for during a change is done once after it, however often it was asked for. */
static void keeper_next_change(struct keeper *keeper) {
        if (keeper->change != KEEPER_NO_CHANGE || !keeper->was_ready || keeper->stopping ||
            keeper->control->state != CONTROL_READY)
                return;
        if (keeper->upgrade_again) {
                keeper->upgrade_again = 0;
                upgrade_begin(keeper);
        } else if (keeper->reload_again) {
                keeper->reload_again = 0;
                reload_begin(keeper);
        }
}

/* What somebody has asked the worker for. */
static void keeper_requests(struct keeper *keeper) {
        static void (*const begin[CONTROL_KINDS])(struct keeper *) = {
                [CONTROL_RELOAD] = reload_begin, [CONTROL_UPGRADE] = upgrade_begin,
        };

        for (int kind = 0; kind < CONTROL_KINDS; kind++) {
                uint32_t asked = __atomic_load_n(&keeper->control->requests[kind].asked, __ATOMIC_ACQUIRE);

                if (asked == keeper->asked[kind])
                        continue;
                keeper->asked[kind] = asked;
                /* While it drains, the worker says no by itself. */
                if (!keeper->stopping)
                        begin[kind](keeper);
        }
}

static int keeper_signals(struct keeper *keeper) {
        static const int taken[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
        sigset_t set;

        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&set);
        for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
                sigaddset(&set, taken[i]);
        sigprocmask(SIG_SETMASK, &set, NULL);
        keeper->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        return keeper->signals < 0 ? -errno : 0;
}

static void keeper_loop(struct keeper *keeper) {
        struct pollfd fds[] = {
                { .fd = keeper->signals, .events = POLLIN },
                { .fd = keeper->control->to_keeper, .events = POLLIN },
        };
        struct signalfd_siginfo info;
        int greeted = 0;

        keeper_start_worker(keeper);
        /* After an upgrade, the worker before is still to be reaped. */
        keeper_reap(keeper);
        while (!keeper->done) {
                int64_t wait = service_wait(&keeper->service, KEEPER_LOOK_MS);

                if (keeper->start_ms && keeper->start_ms - clock_now_ms() < wait)
                        wait = keeper->start_ms > clock_now_ms() ? keeper->start_ms - clock_now_ms() : 0;
                poll(fds, 2, (int)wait);
                /* Its last word before its end: a worker may be ready and die at once. */
                if (fds[1].revents)
                        control_clear(keeper->control->to_keeper);
                if (keeper->control->state == CONTROL_READY && greeted != (int)keeper->control->generation) {
                        greeted = (int)keeper->control->generation;
                        keeper_worker_ready(keeper);
                }
                while (!keeper->done && read(keeper->signals, &info, sizeof(info)) == sizeof(info))
                        keeper_signal(keeper, (int)info.ssi_signo);
                keeper_watch(keeper);
                keeper_requests(keeper);
                keeper_next_change(keeper);
                service_tick(keeper);
        }
        if (keeper->helper) {
                kill(keeper->helper, SIGKILL);
                waitpid(keeper->helper, NULL, 0);
        }
        slots_unlisten_new(&keeper->arena, NULL);
}

static int keeper_arena(struct keeper *keeper, const struct conf *conf) {
        struct conf widest = *conf;
        struct limits limits, room;
        unsigned threads;
        ssize_t n;
        int r;

        r = worker_limits(conf, keeper->log, &threads, &limits);
        if (r < 0)
                return r;
        /* Room for what a later config may ask for: as much as the descriptors allow. */
        widest.max_connections = 0;
        if (worker_limits(&widest, keeper->log, &threads, &room) == 0 && room.sessions > limits.sessions)
                limits = room;
        limits_grow_table(limits.descriptors);
        r = shared_arena(&keeper->arena, &limits);
        if (r < 0)
                return r;
        keeper->control = control_of(&keeper->arena);
        *keeper->control = (struct control_record){ .to_worker = -1, .to_keeper = -1, .config = -1, .next_config = -1 };
        keeper->control->started_ms = clock_now_ms();
        n = readlink("/proc/self/exe", keeper->control->binary, sizeof(keeper->control->binary) - 1);
        keeper->control->binary[n > 0 ? n : 0] = '\0';
        keeper->control->to_worker = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        keeper->control->to_keeper = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (keeper->control->to_worker < 0 || keeper->control->to_keeper < 0)
                return -errno;
        r = child_config(conf);
        keeper->control->config = r;
        return r < 0 ? r : 0;
}

static int keeper_log(struct keeper *keeper, const struct conf *conf, int with_access) {
        static const struct log_target none = { .to = LOG_TO_OFF };
        const char *failed = NULL;
        int r;

        r = log_new(&keeper->log, &conf->log, child_log_level(conf, keeper->options->verbose),
                    with_access ? &conf->access_log : &none, &failed);
        if (r < 0)
                fprintf(stderr, "spliced: cannot open the log%s%s: %s\n", failed ? " " : "", failed ? failed : "",
                        strerror(-r));
        return r;
}

void keeper_follow_log(struct keeper *keeper) {
        static const struct log_target none = { .to = LOG_TO_OFF };
        const struct control_record *control = keeper->control;
        struct log_target target = {
                .to = (enum log_to)control->log_to, .format = (enum log_format)control->log_format,
        };
        unsigned level = (unsigned)control->log_level + keeper->options->verbose;
        char *path = strdup(control->log_path);
        const char *failed = NULL;
        struct log *log;
        int r = -ENOMEM;

        target.path = path;
        if (path)
                r = log_new(&log, &target, level > LOG_LEVEL_DEBUG ? LOG_LEVEL_DEBUG : (enum log_level)level, &none,
                            &failed);
        if (r < 0) {
                log_warning(keeper->log, LOG_NO_CONTEXT, "the keeper goes on logging here: cannot open the log %s: %s",
                            control->log_path, strerror(-r));
                free(path);
                return;
        }
        keeper_disown(keeper, log_descriptor(keeper->log));
        log_free(keeper->log);
        free(keeper->log_path);
        keeper->log = log;
        log_hurry(log);
        keeper->log_path = path;
        if (log_descriptor(log) >= 0)
                keeper_own(keeper, log_descriptor(log));
}

static int keeper_pid_file(struct keeper *keeper) {
        int r;

        if (!keeper->pid_file)
                return 0;
        r = pidfile_write(keeper->pid_file);
        if (r < 0)
                log_error(keeper->log, LOG_NO_CONTEXT, "cannot write the pid file %s: %s", keeper->pid_file,
                          strerror(-r));
        keeper->has_pid_file = r >= 0;
        return r;
}

static int keeper_alone_ready(void *arg) {
        struct keeper *keeper = arg;

        keeper->begun_ms = clock_now_ms();
        service_alone_ready(keeper);
        background_report(&keeper->report, KEEPER_OK);
        return 0;
}

static void keeper_alone_beat(void *arg, int draining) {
        struct keeper *keeper = arg;

        /* Nobody but the service manager replaces this process when its threads stand still. */
        service_alone_beat(keeper, clock_now_ms() - keeper_oldest_beat(keeper) < KEEPER_STUCK_MS, draining);
}

/* One process: no keeper, no helper, nobody to hand sessions to.  Returns -errno or 0. */
static int keeper_alone(struct keeper *keeper, const struct conf *conf) {
        struct worker_job job = {
                .conf = conf, .log = keeper->log, .arena = &keeper->arena, .alone = 1, .ready = keeper_alone_ready,
                .beat = keeper_alone_beat, .arg = keeper, .admin = &admin_worker,
                .inherited = &keeper->service.inherited,
        };
        int r = confine_enter(conf, &keeper->arena, &keeper->calls, 1, keeper->log);

        if (r >= 0)
                r = worker_run(&job);
        slots_unlisten_new(&keeper->arena, NULL);
        return r;
}

static void keeper_deinit(struct keeper *keeper) {
        if (keeper->has_pid_file)
                pidfile_remove(keeper->pid_file);
        background_report(&keeper->report, keeper->status);
        log_free(keeper->log);
        sandbox_calls_deinit(&keeper->calls);
        service_deinit(&keeper->service);
        free(keeper->log_path);
        free(keeper->pid_file);
}

static void keeper_init(struct keeper *keeper, const struct keeper_options *options) {
        *keeper = (struct keeper){ .options = options, .arena = ARENA_NULL, .report = -1, .signals = -1, .binary = -1,
                                   .former = -1, .status = KEEPER_FAILURE };
}

/* Everything before the first worker. */
static int keeper_prepare(struct keeper *keeper, const struct conf *conf) {
        struct privilege privilege;
        int r;

        r = service_init(&keeper->service);
        if (r >= 0)
                r = confine_lookup(&privilege, conf);
        if (r >= 0 && identify_rules(keeper->conf, stderr) != 0)
                r = -EINVAL;
        if (r < 0)
                return r;
        if (conf->pid_file) {
                keeper->pid_file = strdup(conf->pid_file);
                if (!keeper->pid_file)
                        return -ENOMEM;
        }
        if (keeper->options->background)
                r = background_enter(&keeper->report, KEEPER_FAILURE);
        if (r < 0)
                fprintf(stderr, "spliced: cannot go into the background: %s\n", strerror(-r));
        if (r < 0)
                return r;
        confine_make_logs(&privilege, conf);
        r = keeper_log(keeper, conf, keeper->options->alone);
        if (r < 0)
                return r;
        service_check(keeper->log);
        r = keeper_arena(keeper, conf);
        /* One process alone makes them itself where it wants them: debuggers may not know the call that tries them. */
        if (r >= 0 && !keeper->options->alone)
                r = sandbox_calls_init(&keeper->calls);
        if (r >= 0)
                r = slots_listen(&keeper->arena, conf, &keeper->service.inherited, keeper->log, NULL);
        if (r >= 0)
                slots_listen_default(&keeper->arena, conf, keeper->log);
        if (r < 0) {
                log_error(keeper->log, LOG_NO_CONTEXT, "cannot start: %s", strerror(-r));
                return r;
        }
        /* What needs the rights that we came with is done once the addresses are open. */
        r = keeper_pid_file(keeper);
        if (r >= 0)
                r = confine_drop(&privilege, conf, keeper->log);
        if (r < 0)
                slots_unlisten_new(&keeper->arena, NULL);
        return r;
}

enum keeper_status keeper_run(struct conf *conf, const struct keeper_options *options) {
        struct keeper keeper;
        int r;

        keeper_init(&keeper, options);
        keeper.conf = conf;
        r = keeper_prepare(&keeper, conf);
        if (r >= 0 && options->alone) {
                r = keeper_alone(&keeper, conf);
                keeper.status = r < 0 ? KEEPER_FAILURE : KEEPER_OK;
        } else if (r >= 0) {
                r = keeper_signals(&keeper);
                if (r >= 0)
                        r = keeper_own_all(&keeper);
                if (r >= 0) {
                        service_begin(&keeper.service, 0);
                        keeper_loop(&keeper);
                }
        }
        if (r < 0 && conf->log.to != LOG_TO_STDERR)
                fprintf(stderr, "spliced: failed: %s; the log tells more\n", strerror(-r));
        if (options->alone && keeper.arena.head)
                shared_close_loops(&keeper.arena);
        keeper_deinit(&keeper);
        arena_deinit(&keeper.arena);
        conf_free(conf);
        return keeper.status;
}

enum keeper_status keeper_resume(int arena_fd, const struct keeper_options *options) {
        struct conf *conf = NULL;
        struct keeper keeper;
        int r;

        keeper_init(&keeper, options);
        r = arena_attach(&keeper.arena, arena_fd);
        if (r < 0) {
                fprintf(stderr, "spliced: cannot go on with the sessions of the binary before: %s\n", strerror(-r));
                return KEEPER_FAILURE;
        }
        keeper.control = control_of(&keeper.arena);
        for (int kind = 0; kind < CONTROL_KINDS; kind++)
                keeper.asked[kind] = keeper.control->requests[kind].taken;
        adopt_keep_on_exec(&keeper.arena, 0);
        r = child_load(&conf, keeper.control->config, "the effective config", stderr);
        keeper.conf = conf;
        if (r == 0)
                r = keeper_log(&keeper, conf, 0);
        if (r == 0 && conf->pid_file) {
                keeper.pid_file = strdup(conf->pid_file);
                keeper.has_pid_file = keeper.pid_file != NULL;
        }
        if (r == 0)
                r = service_init(&keeper.service);
        if (r == 0)
                r = sandbox_calls_init(&keeper.calls);
        if (r == 0)
                r = keeper_signals(&keeper);
        if (r == 0)
                r = keeper_own_all(&keeper);
        if (r == 0) {
                keeper.was_ready = 1;
                service_begin(&keeper.service, 1);
                limits_raise();
                limits_grow_table(2 * (uint64_t)arena_count(&keeper.arena, ARENA_SESSIONS) +
                                  2 * (uint64_t)arena_count(&keeper.arena, ARENA_PIPES));
                control_note(keeper.control, CONTROL_UPGRADE, 1, "");
                log_info(keeper.log, LOG_NO_CONTEXT, "upgraded: this is spliced " PACKAGE_VERSION);
                keeper_loop(&keeper);
        } else
                fprintf(stderr, "spliced: cannot go on after the upgrade: %s\n", strerror(r < 0 ? -r : EINVAL));
        keeper_deinit(&keeper);
        conf_free(conf);
        return keeper.status;
}
