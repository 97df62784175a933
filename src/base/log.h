/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_LOG_H
#define SPLICED_BASE_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The log.  A call formats its line into a bounded ring and returns; a thread
 * of the log's own writes the ring to the target.  So a target that blocks or
 * is full never blocks traffic: what does not fit is dropped and counted, and
 * the count is logged once there is room again.
 *
 * Messages and access records have a ring each, so that a flood of sessions
 * cannot push out an error.  A message wakes the thread at once; records are
 * gathered for a few milliseconds.
 *
 * One struct log is made at start and handed to whoever logs.  Every function
 * may be called from any thread between log_start() and log_stop(), but none
 * from a signal handler.  Before log_start() (one thread) lines go straight to the target, which
 * is waited for, a second at most; after log_stop() likewise, without waiting.
 *
 * The process ignores SIGPIPE.  log_write(), log_record() and their questions take a NULL log, and write nothing.
 *
 * A process may be cloned while it has no log thread; either copy may then
 * log_start() its own.  They may share the descriptor table: log_reopen()
 * keeps each descriptor's number, so it serves both.  Only the last of them calls log_free().
 */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_format { LOG_TEXT, LOG_JSON };

enum log_to { LOG_TO_OFF, LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_JOURNAL, LOG_TO_FILE };

/*
 * Where lines go.  path is borrowed for the log's life: of the file, or of the daemon's socket where that is another
 * than the usual one.
 * LOG_TO_STDERR: where stderr is the journal's ($JOURNAL_STREAM), a line starts with its level as "<6>"
 * instead of a stamp.
 * LOG_TO_SYSLOG: datagrams by RFC 5424 to /dev/log, facility daemon.
 * LOG_TO_JOURNAL: the journal's own protocol, with a field SPLICED_NAME for each key that a JSON line would have.
 */
struct log_target {
        enum log_to to;
        enum log_format format;
        const char *path;
};

/* What a line is about.  Any member may be NULL (or 0 for session); strings are borrowed for the call. */
struct log_context {
        const char *frontend;
        const char *backend;
        const char *server;
        const char *address;
        uint64_t session;
};

#define LOG_NO_CONTEXT ((const struct log_context *)NULL)

struct log;

/*
 * Opens both targets: `main_target` for messages, `access` for access-log
 * lines (to = LOG_TO_OFF: none).  A file is created with mode 0640 and
 * appended to.  *out is owned by the caller until log_free().
 * Returns 0; -errno where a file cannot be opened (nothing was printed:
 * *failed is set to the path) or memory ran out.
 */
int log_new(struct log **out, const struct log_target *main_target, enum log_level level,
            const struct log_target *access, const char **failed);

/*
 * Starts the writing thread (all signals blocked in it).
 * Returns 0 or -errno (-EALREADY: it runs, or hung and was given up).
 */
int log_start(struct log *log);

/*
 * Writes out what is waiting, for at most timeout_ms, and ends the thread;
 * what could not be written counts as dropped.  A target that takes what it is given gets all, for a second more at
 * most.  Comes back soon after timeout_ms (0.1 s) even where a write hangs: the thread is left in it then, and later
 * lines are dropped.  Idempotent.
 */
void log_stop(struct log *log, int timeout_ms);

/* Closes targets and frees.  NULL is fine; stops the thread first where it runs.  Returns NULL. */
struct log *log_free(struct log *log);

/*
 * Asks the writing thread to open file targets again by their path (after a
 * rotation).  One that cannot be opened stays in use as it is, and the main target is told.
 */
void log_reopen(struct log *log);

/* True where a line of that level would be written: for skipping costly arguments. */
int log_wants(const struct log *log, enum log_level level);

/*
 * Logs one line.  fmt gives the message without a newline; control
 * characters, quotes in values and invalid UTF-8 that came in with arguments
 * are escaped, so that nobody outside can inject a line.
 * Text: "LEVEL: message (frontend=web server=app/a session=…)", with a stamp
 * in front where the target does not add its own.  JSON: time, level, message
 * and each context member that is set.
 * A message over 2 KiB and a context string over 448 bytes (as written) are
 * cut and end in "...".
 */
void log_write(struct log *log, enum log_level level, const struct log_context *context, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

#define log_error(log, context, ...) log_write((log), LOG_LEVEL_ERROR, (context), __VA_ARGS__)
#define log_warning(log, context, ...) log_write((log), LOG_LEVEL_WARNING, (context), __VA_ARGS__)
#define log_info(log, context, ...) log_write((log), LOG_LEVEL_INFO, (context), __VA_ARGS__)
#define log_debug(log, context, ...) log_write((log), LOG_LEVEL_DEBUG, (context), __VA_ARGS__)

/*
 * Writes a log record of fixed size to the access target: `data` (len bytes, at most
 * LOG_RECORD_MAX) is copied into the ring, and the log's thread calls
 * format(buf, size, data, json) later, which returns the line's length
 * without newline (as snprintf does; a longer line is cut; 0: there is none, which counts as dropped).
 * So an event loop pays for a copy, not for formatting.  format sees to it
 * that the line is one line; size is LOG_RECORD_LINE_MAX + 1.
 * Pointers inside data must stay valid until log_stop().  A longer record is dropped.
 */
#define LOG_RECORD_MAX 1024
#define LOG_RECORD_LINE_MAX 24575
typedef size_t log_format_fn(char *buf, size_t size, const void *data, int json);
void log_record(struct log *log, log_format_fn *format, const void *data, size_t len);

/*
 * How long a log without a thread may wait, all in all, for a target that blocks; a second unless said.
 * Where sessions wait for whoever logs, that is far too long.
 */
#define LOG_HURRY_MS 5
void log_hurry(struct log *log);

/* The descriptor of the main target's file or socket, or -1: for a process that keeps account of its descriptors. */
int log_descriptor(const struct log *log);

/* Whether an access target is there. */
int log_has_access(const struct log *log);

/* Lines and records dropped so far: the ring was full, or the target failed (ENOSPC, say). */
uint64_t log_dropped(const struct log *log);

/*
 * A rate limit for lines that an outsider can cause: returns how many times it
 * was asked since it last said yes (at least 1), or 0 for "say nothing now".
 * It says yes at most once per period_ms.  *limit starts zeroed; one thread uses it.
 */
struct log_limit { int64_t next_ms; uint32_t held; };
uint32_t log_limit_ask(struct log_limit *limit, int64_t now_ms, int64_t period_ms);

#endif
