/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BASE_LOG_DATAGRAM_H
#define SPLICED_BASE_LOG_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

/*
 * Lines as the datagrams that a logging daemon takes.  Own code instead of syslog(3) and sd_journal_send():
 * those keep a socket of which nobody else knows the number, in a process that shares its table of descriptors,
 * and wait where the daemon does.  Pure.  Internal to the log.
 */

/* Where the daemons listen. */
#define LOG_DATAGRAM_SYSLOG "/dev/log"
#define LOG_DATAGRAM_JOURNAL "/run/systemd/journal/socket"

/*
 * RFC 5424: "<30>1 2026-01-02T03:04:05.678Z host spliced 123 - - text".  Facility daemon.  Returns the length; 0 where
 * it does not fit.
 */
size_t log_datagram_syslog(char *buf, size_t size, enum log_level level, int64_t wall_ms, const char *text, size_t len);

/*
 * The journal's native protocol (systemd's JOURNAL_NATIVE_PROTOCOL): MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, and for each
 * member of the JSON object `fields` that has a value a field SPLICED_NAME; time, level and message are left out, since
 * they are there already.  Fields that do not fit, and fields = NULL, are left out too.
 * Returns the length; 0 where not even the message fits.
 */
size_t log_datagram_journal(char *buf, size_t size, enum log_level level, const char *text, size_t len,
                            const char *fields, size_t fields_len);

#endif
