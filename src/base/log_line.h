/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_LOG_LINE_H
#define SPLICED_BASE_LOG_LINE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

/*
 * A message on its way through the log: caught in the caller's thread as plain data (a stamp,
 * a level and copies of the strings), written as text or JSON later by whoever
 * writes the target.  Internal to the log.
 */

/* Bytes of a finished line, at most, without a newline: with prefix and newline one atomic write to a pipe. */
#define LOG_LINE_MAX 4064

/* Budgets in finished bytes: four context strings, a message, and what stands around them are a line at most. */
#define LOG_LINE_MESSAGE_MAX 2048
#define LOG_LINE_CONTEXT_MAX 448

enum log_line_part {
        LOG_LINE_MESSAGE, LOG_LINE_FRONTEND, LOG_LINE_BACKEND, LOG_LINE_SERVER, LOG_LINE_ADDRESS,
        LOG_LINE_PARTS
};

/* Strings lie in text one after the other, each with its NUL; at[] is where, LOG_LINE_NONE for one that is not set. */
#define LOG_LINE_NONE UINT16_MAX
struct log_line {
        int64_t wall_ms;
        uint64_t session;
        uint16_t at[LOG_LINE_PARTS];
        uint16_t len;                   /* of text */
        uint8_t level;
        char text[LOG_LINE_MESSAGE_MAX + 8 + (LOG_LINE_PARTS - 1) * (LOG_LINE_CONTEXT_MAX + 8)];
};

/* Catches a message.  context may be NULL; nothing is borrowed afterwards. */
void log_line_catch(struct log_line *line, enum log_level level, const struct log_context *context, const char *fmt,
                    va_list args) __attribute__((format(printf, 4, 0)));

/* Bytes of the struct that count: so many are to be copied. */
size_t log_line_size(const struct log_line *line);

/* How a line starts and looks. */
struct log_line_style {
        enum log_format format;
        int stamp;                      /* text only; JSON always has its time */
};

/*
 * Writes the line to buf (size bytes, LOG_LINE_MAX + 1 suffices), without a newline.
 * Returns its length, 0 for want of memory.
 */
size_t log_line_format(const struct log_line *line, const struct log_line_style *style, char *buf, size_t size);

#endif
