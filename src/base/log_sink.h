/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_LOG_SINK_H
#define SPLICED_BASE_LOG_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

/*
 * Where finished lines go: stderr, syslog or a file, behind a buffer of whole
 * lines.  Nothing here waits: a target that cannot take more is reported as
 * blocked, and the rest stays in the buffer.  The flags of a descriptor that
 * others share (stderr) are never changed; it is asked with poll() first, and
 * written to in pieces that a ready pipe takes whole.
 *
 * One thread at a time uses a sink.  Internal to the log.
 */

/* Room for lines between two flushes, and the longest line. */
#define LOG_SINK_BUFFER 65536
#define LOG_SINK_DATAGRAMS 131072       /* the same for datagrams, ... */
#define LOG_SINK_DATAGRAM_MAX 61440     /* ... and the longest of these */
#define LOG_SINK_LINE_MAX LOG_RECORD_LINE_MAX

enum log_sink_kind { LOG_SINK_FILE, LOG_SINK_STREAM, LOG_SINK_SOCKET, LOG_SINK_DATAGRAM };

struct log_sink {
        struct log_target target;
        enum log_sink_kind kind;        /* of the descriptor: how it is written to */
        int fd;                         /* owned but for stderr; -1 for off */
        int journal;                    /* stderr leads to the journal: lines start with their level, as "<6>" */
        int midline;                    /* the target holds the beginning of a line whose end was lost */
        char *buf;                      /* the bytes from off to len wait; datagrams have their length in front */
        char *scratch;                  /* for datagrams: a line, and behind it the same as JSON */
        size_t len, off;
};

/* Opens a target; a FIFO must have its reader.  Returns 0, or -errno and then nothing is to be closed. */
int log_sink_open(struct log_sink *sink, const struct log_target *target);

/* Closes and frees.  A zeroed or closed sink is fine. */
void log_sink_close(struct log_sink *sink);

/*
 * Opens a file anew by its path.  The descriptor keeps its number, which may
 * be shared with other processes.  Anything but a file: nothing to do.
 * Returns 0 or -errno, and then the old one stays in use.
 */
int log_sink_reopen(struct log_sink *sink);

/* Whether the buffer has room for one more line of any length. */
int log_sink_has_room(const struct log_sink *sink);

/* Whether nothing waits in the buffer. */
int log_sink_idle(const struct log_sink *sink);

/* Where a line of LOG_SINK_LINE_MAX bytes at most may be written before log_sink_add().  Needs log_sink_has_room(). */
char *log_sink_place(struct log_sink *sink);

/* Where the same line is wanted as JSON, of the same length at most; NULL where it is not wanted. */
char *log_sink_fields(struct log_sink *sink);

/*
 * Takes the len bytes at log_sink_place() as a line, and fields_len at log_sink_fields().
 * Returns 0, or -EMSGSIZE where the target cannot take it.
 */
int log_sink_add(struct log_sink *sink, enum log_level level, size_t len, size_t fields_len);

/*
 * Writes what waits, as far as the target takes it at once.  A failed write
 * loses the lines that wait; their number is added to *lost.
 * Returns 0 where nothing waits any more, LOG_SINK_BLOCKED where the target is to be tried again later.
 */
#define LOG_SINK_BLOCKED 1
int log_sink_flush(struct log_sink *sink, uint64_t *lost);

/* Gives up what waits.  Returns how many lines that were. */
uint64_t log_sink_discard(struct log_sink *sink);

#endif
