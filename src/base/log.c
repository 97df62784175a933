/* SPDX-License-Identifier: ISC */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log_line.h"
#include "base/log_sink.h"
#include "base/ring.h"

#define LOG_RING_MESSAGES (256 * 1024)
#define LOG_RING_RECORDS (1024 * 1024)
#define LOG_GATHER_MS 5                 /* how long records are gathered before they are written together */
#define LOG_RETRY_MAX_MS 50             /* a blocked target is tried again after 1, 2, 4 ... ms */
#define LOG_REPORT_MS 1000              /* between two reports of dropped lines while there is no pause in the flow */
#define LOG_PATIENCE_MS 1000            /* for a target that blocks before log_start() */
#define LOG_GRACE_MS 100                /* for the thread to end, beyond the caller's own timeout */
#define LOG_BUSY_MS 1000                /* and beyond that for as long as it gets on */

/*
 *   DIRECT ── log_start() ──► RUNNING ── log_stop() ──► DIRECT
 *                                └─ a write hangs ──► DEAD: lines are dropped and counted
 */
enum log_state { LOG_DIRECT, LOG_RUNNING, LOG_DEAD };

/* What the writing thread waits for: tells who has to wake it. */
enum log_wait { LOG_WAIT_NOT, LOG_WAIT_ANY, LOG_WAIT_GATHER, LOG_WAIT_RETRY };

/* One ring and its target.  The ring belongs to the mutex; the sink to the thread, or to the direct mutex. */
struct log_lane {
        struct ring ring;
        struct log_sink sink;
        int taken;                      /* the ring's oldest entry was formatted and is to be popped */
};

/* An access record in its ring; the data follow. */
struct log_record_head {
        log_format_fn *format;
        size_t len;
};

enum log_lane_id { LOG_LANE_MAIN, LOG_LANE_ACCESS, LOG_LANES };

struct log {
        pthread_mutex_t mutex;          /* state, wait, stop, reopen, the rings; held for a copy */
        pthread_cond_t wake;            /* for the thread */
        pthread_cond_t ended;           /* for log_stop(): done was set */
        pthread_mutex_t direct;         /* the sinks, while no thread runs */
        pthread_t thread;
        enum log_state state;
        enum log_wait wait;
        int stop, reopen, done;
        unsigned rounds;                /* of the thread: it gets on */
        int64_t stop_ms;                /* when to give up, with stop */
        int orphan;                     /* log_free() left this to a thread that hangs */
        enum log_level level;
        int patience_ms;
        struct log_lane lanes[LOG_LANES];
        uint64_t dropped;               /* atomic */
        uint64_t reported;              /* of dropped: how many the target was told of */
        int64_t report_ms;              /* when it may be told again */
};

static void log_drop(struct log *log, uint64_t n) {
        __atomic_fetch_add(&log->dropped, n, __ATOMIC_RELAXED);
}

int log_descriptor(const struct log *log) {
        const struct log_sink *sink = &log->lanes[LOG_LANE_MAIN].sink;

        return sink->target.to == LOG_TO_STDERR ? -1 : sink->fd;
}

void log_hurry(struct log *log) {
        if (log->patience_ms > LOG_HURRY_MS)
                log->patience_ms = LOG_HURRY_MS;
}

uint64_t log_dropped(const struct log *log) {
        return __atomic_load_n(&log->dropped, __ATOMIC_RELAXED);
}

static void log_timed_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ms) {
        struct timespec ts = { .tv_sec = until_ms / 1000, .tv_nsec = (until_ms % 1000) * 1000000 };

        pthread_cond_timedwait(cond, mutex, &ts);
}

/* ---- from entry to line ---- */

/* Puts one line into a sink that has room; one that cannot be made is dropped.  max: bytes of a line. */
static void log_put(struct log *log, struct log_sink *sink, enum log_level level, log_format_fn *format,
                    const void *data, size_t max) {
        size_t len = format(log_sink_place(sink), max + 1, data, sink->target.format == LOG_JSON), fields = 0;

        if (len && log_sink_fields(sink))
                fields = format(log_sink_fields(sink), max + 1, data, 1);
        if (!len || log_sink_add(sink, level, len < max ? len : max, fields <= max ? fields : 0) < 0)
                log_drop(log, 1);
}

static size_t log_format_stamped(char *buf, size_t size, const void *data, int json) {
        struct log_line_style style = { .format = json ? LOG_JSON : LOG_TEXT, .stamp = 1 };

        return log_line_format(data, &style, buf, size);
}

static size_t log_format_plain(char *buf, size_t size, const void *data, int json) {
        struct log_line_style style = { .format = json ? LOG_JSON : LOG_TEXT };

        return log_line_format(data, &style, buf, size);
}

static void log_put_line(struct log *log, struct log_sink *sink, const struct log_line *line) {
        int stamps = !sink->journal && sink->kind != LOG_SINK_DATAGRAM;

        log_put(log, sink, line->level, stamps ? log_format_stamped : log_format_plain, line, LOG_LINE_MAX);
}

static void log_put_record(struct log *log, struct log_sink *sink, const struct log_record_head *head,
                           const void *data) {
        log_put(log, sink, LOG_LEVEL_INFO, head->format, data, LOG_SINK_LINE_MAX);
}

static void log_put_entry(struct log *log, enum log_lane_id id, const void *entry) {
        struct log_sink *sink = &log->lanes[id].sink;

        if (id == LOG_LANE_MAIN)
                log_put_line(log, sink, entry);
        else
                log_put_record(log, sink, entry, (const struct log_record_head *)entry + 1);
}

/* A line of the log's own, to the main target. */
static void __attribute__((format(printf, 3, 4)))
log_put_own(struct log *log, enum log_level level, const char *fmt, ...) {
        struct log_sink *sink = &log->lanes[LOG_LANE_MAIN].sink;
        struct log_line line;
        va_list args;

        if (sink->target.to == LOG_TO_OFF || !log_sink_has_room(sink))
                return;
        va_start(args, fmt);
        log_line_catch(&line, level, NULL, fmt, args);
        va_end(args);
        log_put_line(log, sink, &line);
}

static int log_flush(struct log *log, struct log_lane *lane) {
        uint64_t lost = 0;
        int r = log_sink_flush(&lane->sink, &lost);

        if (lost)
                log_drop(log, lost);
        return r;
}

/*
 * Tells the main target what was lost since it was last told; once it took that, it counts as told.
 * Returns 0 or LOG_SINK_BLOCKED.
 */
static int log_report(struct log *log) {
        struct log_lane *lane = &log->lanes[LOG_LANE_MAIN];
        uint64_t n = log_dropped(log) - log->reported, lost = 0;
        int r;

        if (n == 0 || lane->sink.target.to == LOG_TO_OFF || !log_sink_idle(&lane->sink))
                return 0;
        log_put_own(log, LOG_LEVEL_WARNING, n == 1 ? "%llu line was dropped" : "%llu lines were dropped",
                    (unsigned long long)n);
        r = log_sink_flush(&lane->sink, &lost);
        if (lost == 0)
                log->reported += n;
        log->report_ms = clock_now_ms() + LOG_REPORT_MS;
        return r;
}

static void log_reopen_sinks(struct log *log) {
        for (int i = 0; i < LOG_LANES; i++) {
                struct log_sink *sink = &log->lanes[i].sink;
                int r = log_sink_reopen(sink);

                if (r)
                        log_put_own(log, LOG_LEVEL_ERROR, "cannot open log file %s again: %s; the old one stays in use",
                                    sink->target.path, strerrordesc_np(-r));
        }
}

/* ---- the writing thread ---- */

/* The ring's oldest entry that is not formatted yet, or NULL. */
static const void *log_next(struct log *log, struct log_lane *lane) {
        const void *entry;
        size_t len;

        pthread_mutex_lock(&log->mutex);
        if (lane->taken)
                ring_pop(&lane->ring);
        entry = ring_peek(&lane->ring, &len);
        lane->taken = entry != NULL;
        pthread_mutex_unlock(&log->mutex);
        return entry;
}

/* Formats until the buffer or the ring is done, and writes.  Returns 0 or LOG_SINK_BLOCKED. */
static int log_serve(struct log *log, enum log_lane_id id) {
        struct log_lane *lane = &log->lanes[id];
        const void *entry;

        if (lane->sink.target.to == LOG_TO_OFF)
                return 0;
        while (log_sink_has_room(&lane->sink) && (entry = log_next(log, lane)))
                log_put_entry(log, id, entry);
        if (lane->taken) {
                pthread_mutex_lock(&log->mutex);
                ring_pop(&lane->ring);
                lane->taken = 0;
                pthread_mutex_unlock(&log->mutex);
        }
        return log_flush(log, lane);
}

static size_t log_entries(const struct log *log) {
        return log->lanes[LOG_LANE_MAIN].ring.entries + log->lanes[LOG_LANE_ACCESS].ring.entries;
}

static int log_may_gather(const struct log *log) {
        const struct ring *records = &log->lanes[LOG_LANE_ACCESS].ring;

        return log->lanes[LOG_LANE_MAIN].ring.entries == 0 && records->used < records->size / 2;
}

/*
 * Waits, with the mutex held, until there is something to do.  blocked: for how
 * long to leave the targets alone, 0 where none is blocked.
 * Returns 0 where the thread is to end.
 */
static int log_wait(struct log *log, int blocked_ms) {
        int64_t until;

        if (blocked_ms) {
                until = clock_now_ms() + blocked_ms;
                if (log->stop && until > log->stop_ms)
                        until = log->stop_ms;
                log->wait = LOG_WAIT_RETRY;
                log_timed_wait(&log->wake, &log->mutex, until);
        } else if (!log->stop) {
                log->wait = LOG_WAIT_ANY;
                while (log_entries(log) == 0 && !log->stop && !log->reopen)
                        pthread_cond_wait(&log->wake, &log->mutex);
                log->wait = LOG_WAIT_GATHER;
                until = clock_now_ms() + LOG_GATHER_MS;
                while (log_may_gather(log) && !log->stop && !log->reopen && clock_now_ms() < until)
                        log_timed_wait(&log->wake, &log->mutex, until);
        }
        log->wait = LOG_WAIT_NOT;
        if (!log->stop)
                return 1;
        if (!blocked_ms)
                return log_entries(log) && clock_now_ms() < log->stop_ms + LOG_BUSY_MS;
        return clock_now_ms() < log->stop_ms;
}

/* Gives up what could not be written until the deadline.  The mutex is held. */
static void log_discard(struct log *log) {
        for (int i = 0; i < LOG_LANES; i++) {
                log_drop(log, log->lanes[i].ring.entries + log_sink_discard(&log->lanes[i].sink));
                ring_clear(&log->lanes[i].ring);
        }
}

/* One round over both lanes.  Returns 0, or LOG_SINK_BLOCKED where a target is to be tried again later. */
static int log_round(struct log *log) {
        int blocked, pause, dead;

        blocked = log_serve(log, LOG_LANE_MAIN);
        blocked |= log_serve(log, LOG_LANE_ACCESS);
        if (blocked || log_dropped(log) == log->reported)
                return blocked;
        pthread_mutex_lock(&log->mutex);
        pause = log_entries(log) == 0;
        dead = log->state == LOG_DEAD;
        pthread_mutex_unlock(&log->mutex);
        return !dead && (pause || clock_now_ms() >= log->report_ms) ? log_report(log) : 0;
}

static int log_longer(int retry_ms) {
        if (retry_ms == 0)
                return 1;
        return retry_ms * 2 < LOG_RETRY_MAX_MS ? retry_ms * 2 : LOG_RETRY_MAX_MS;
}

/* Runs with the mutex held, but for the rounds. */
static void log_loop(struct log *log) {
        int retry_ms = 0, reopen;

        do {
                reopen = log->reopen;
                log->reopen = 0;
                log->rounds++;
                pthread_mutex_unlock(&log->mutex);
                if (reopen)
                        log_reopen_sinks(log);
                retry_ms = log_round(log) ? log_longer(retry_ms) : 0;
                pthread_mutex_lock(&log->mutex);
        } while (log_wait(log, retry_ms));
}

static void log_destroy(struct log *log) {
        for (int i = 0; i < LOG_LANES; i++) {
                log_sink_close(&log->lanes[i].sink);
                ring_deinit(&log->lanes[i].ring);
        }
        pthread_cond_destroy(&log->ended);
        pthread_cond_destroy(&log->wake);
        pthread_mutex_destroy(&log->direct);
        pthread_mutex_destroy(&log->mutex);
        free(log);
}

static void *log_thread(void *arg) {
        struct log *log = arg;
        int orphan;

        pthread_setname_np(pthread_self(), "spliced-log");
        pthread_mutex_lock(&log->mutex);
        log_loop(log);
        log_discard(log);
        if (log->state == LOG_RUNNING)
                log->state = LOG_DIRECT;
        orphan = log->orphan;
        log->done = 1;
        pthread_cond_signal(&log->ended);
        pthread_mutex_unlock(&log->mutex);
        if (orphan)
                log_destroy(log);
        return NULL;
}

/* ---- without a thread ---- */

/* Waits for the target while there is patience; what it does not take then is lost.  The direct mutex is held. */
static void log_flush_direct(struct log *log, struct log_lane *lane) {
        const struct timespec pause = { .tv_nsec = 5000000 };
        int64_t until = clock_now_ms() + log->patience_ms;

        while (log_flush(log, lane)) {
                if (clock_now_ms() >= until) {
                        log->patience_ms = 0;
                        log_drop(log, log_sink_discard(&lane->sink));
                        return;
                }
                nanosleep(&pause, NULL);
        }
        if (log_report(log))
                log_drop(log, log_sink_discard(&log->lanes[LOG_LANE_MAIN].sink));
}

/* ---- the callers' side ---- */

/* Wakes the thread where the new entry is worth it.  The mutex is held. */
static void log_wake(struct log *log) {
        if (log->wait != LOG_WAIT_ANY && (log->wait != LOG_WAIT_GATHER || log_may_gather(log)))
                return;
        log->wait = LOG_WAIT_NOT;
        pthread_cond_signal(&log->wake);
}

/* Puts an entry into the lane's ring.  Returns 0; -ENOBUFS: it was dropped; 1: it is to be written at once. */
static int log_enqueue(struct log *log, enum log_lane_id id, const void *head, size_t head_len, const void *data,
                       size_t len) {
        int r;

        pthread_mutex_lock(&log->mutex);
        if (log->state == LOG_RUNNING)
                r = ring_push(&log->lanes[id].ring, head, head_len, data, len);
        else
                r = log->state == LOG_DIRECT ? 1 : -ENOBUFS;
        if (r == 0)
                log_wake(log);
        pthread_mutex_unlock(&log->mutex);
        if (r < 0)
                log_drop(log, 1);
        return r;
}

int log_wants(const struct log *log, enum log_level level) {
        return log && level <= log->level && log->lanes[LOG_LANE_MAIN].sink.target.to != LOG_TO_OFF;
}

void log_write(struct log *log, enum log_level level, const struct log_context *context, const char *fmt, ...) {
        struct log_line line;
        va_list args;

        if (!log_wants(log, level))
                return;
        va_start(args, fmt);
        log_line_catch(&line, level, context, fmt, args);
        va_end(args);
        if (log_enqueue(log, LOG_LANE_MAIN, &line, log_line_size(&line), NULL, 0) != 1)
                return;
        pthread_mutex_lock(&log->direct);
        log_put_line(log, &log->lanes[LOG_LANE_MAIN].sink, &line);
        log_flush_direct(log, &log->lanes[LOG_LANE_MAIN]);
        pthread_mutex_unlock(&log->direct);
}

int log_has_access(const struct log *log) {
        return log && log->lanes[LOG_LANE_ACCESS].sink.target.to != LOG_TO_OFF;
}

void log_record(struct log *log, log_format_fn *format, const void *data, size_t len) {
        struct log_record_head head = { .format = format, .len = len };

        if (!log_has_access(log))
                return;
        if (len > LOG_RECORD_MAX) {
                log_drop(log, 1);
                return;
        }
        if (log_enqueue(log, LOG_LANE_ACCESS, &head, sizeof(head), data, len) != 1)
                return;
        pthread_mutex_lock(&log->direct);
        log_put_record(log, &log->lanes[LOG_LANE_ACCESS].sink, &head, data);
        log_flush_direct(log, &log->lanes[LOG_LANE_ACCESS]);
        pthread_mutex_unlock(&log->direct);
}

void log_reopen(struct log *log) {
        int direct;

        pthread_mutex_lock(&log->mutex);
        direct = log->state == LOG_DIRECT;
        if (log->state == LOG_RUNNING) {
                log->reopen = 1;
                pthread_cond_signal(&log->wake);
        }
        pthread_mutex_unlock(&log->mutex);
        if (!direct)
                return;
        pthread_mutex_lock(&log->direct);
        log_reopen_sinks(log);
        log_flush_direct(log, &log->lanes[LOG_LANE_MAIN]);
        pthread_mutex_unlock(&log->direct);
}

uint32_t log_limit_ask(struct log_limit *limit, int64_t now_ms, int64_t period_ms) {
        uint32_t n;

        limit->held++;
        if (now_ms < limit->next_ms)
                return 0;
        n = limit->held;
        limit->held = 0;
        limit->next_ms = now_ms + period_ms;
        return n;
}

/* ---- start and end ---- */

static int log_open_lane(struct log_lane *lane, const struct log_target *target, size_t ring_size,
                         const char **failed) {
        int r = log_sink_open(&lane->sink, target);

        if (r) {
                if (target->to == LOG_TO_FILE && r != -ENOMEM)
                        *failed = target->path;
                return r;
        }
        return target->to == LOG_TO_OFF ? 0 : ring_init(&lane->ring, ring_size);
}

int log_new(struct log **out, const struct log_target *main_target, enum log_level level,
            const struct log_target *access, const char **failed) {
        struct log *log = calloc(1, sizeof(*log));
        pthread_condattr_t attr;
        int r;

        *failed = NULL;
        if (!log)
                return -ENOMEM;
        pthread_mutex_init(&log->mutex, NULL);
        pthread_mutex_init(&log->direct, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&log->wake, &attr);
        pthread_cond_init(&log->ended, &attr);
        pthread_condattr_destroy(&attr);
        log->level = level;
        log->patience_ms = LOG_PATIENCE_MS;
        log->lanes[LOG_LANE_MAIN].sink.fd = log->lanes[LOG_LANE_ACCESS].sink.fd = -1;
        r = log_open_lane(&log->lanes[LOG_LANE_MAIN], main_target, LOG_RING_MESSAGES, failed);
        if (r == 0)
                r = log_open_lane(&log->lanes[LOG_LANE_ACCESS], access, LOG_RING_RECORDS, failed);
        if (r)
                log = log_free(log);
        *out = log;
        return r;
}

int log_start(struct log *log) {
        sigset_t all, before;
        int r;

        if (log->state != LOG_DIRECT)
                return -EALREADY;
        log->stop = log->done = 0;
        log->state = LOG_RUNNING;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&log->thread, NULL, log_thread, log);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r)
                log->state = LOG_DIRECT;
        return -r;
}

/* Waits until the thread has ended; until the time, and beyond it for as long as it gets on.  The mutex is held. */
static void log_await_end(struct log *log, int64_t until_ms) {
        int64_t last_ms = until_ms + LOG_BUSY_MS;
        unsigned rounds;

        do {
                rounds = log->rounds;
                while (!log->done && clock_now_ms() < until_ms)
                        log_timed_wait(&log->ended, &log->mutex, until_ms);
                until_ms += LOG_GRACE_MS;
        } while (!log->done && rounds != log->rounds && until_ms < last_ms);
}

void log_stop(struct log *log, int timeout_ms) {
        int64_t now = clock_now_ms();
        int done;

        pthread_mutex_lock(&log->mutex);
        if (log->state != LOG_RUNNING || log->stop) {
                pthread_mutex_unlock(&log->mutex);
                return;
        }
        log->stop = 1;
        log->stop_ms = now + timeout_ms;
        log->patience_ms = 0;
        pthread_cond_signal(&log->wake);
        log_await_end(log, log->stop_ms + LOG_GRACE_MS);
        done = log->done;
        if (!done) {
                /* It hangs in a write, without a lock.  It is left there: to cancel it would tear libc's own state. */
                log->state = LOG_DEAD;
                for (int i = 0; i < LOG_LANES; i++) {
                        log_drop(log, log->lanes[i].ring.entries);
                        ring_clear(&log->lanes[i].ring);
                }
        }
        pthread_mutex_unlock(&log->mutex);
        if (done)
                pthread_join(log->thread, NULL);
        else
                pthread_detach(log->thread);
}

struct log *log_free(struct log *log) {
        int orphan;

        if (!log)
                return NULL;
        log_stop(log, LOG_PATIENCE_MS);
        pthread_mutex_lock(&log->mutex);
        orphan = log->orphan = log->state == LOG_DEAD && !log->done;
        pthread_mutex_unlock(&log->mutex);
        if (!orphan)
                log_destroy(log);
        return NULL;
}
