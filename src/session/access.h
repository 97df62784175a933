/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_ACCESS_H
#define SPLICED_SESSION_ACCESS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/addr.h"

/*
 * The access log: one line for a session that ended.  The event loop fills a
 * record (plain data) and hands a copy to the log, whose thread formats it.
 */

/* Who ended the session first, and how; access_end_name() is what CONFIG.md calls it. */
enum access_end {
        ACCESS_CLIENT_FIN, ACCESS_SERVER_FIN, ACCESS_CLIENT_RESET, ACCESS_SERVER_RESET, ACCESS_CLIENT_TIMEOUT,
        ACCESS_SERVER_TIMEOUT, ACCESS_CLIENT_FIN_TIMEOUT, ACCESS_SERVER_FIN_TIMEOUT, ACCESS_SESSION_TIMEOUT,
        ACCESS_CONNECT_FAILED, ACCESS_NO_SERVER, ACCESS_QUEUE_TIMEOUT, ACCESS_QUEUE_FULL, ACCESS_DENIED, ACCESS_LIMITED,
        ACCESS_BAD_PREFACE, ACCESS_PREFACE_TIMEOUT, ACCESS_NO_ROUTE, ACCESS_FD_LIMIT, ACCESS_SERVER_DOWN, ACCESS_KILLED,
        ACCESS_SHUTDOWN, ACCESS_NO_DESCRIPTORS, ACCESS_RECOVERED_BUSY, ACCESS_INTERNAL,
        ACCESS_END_N
};

/* "client-fin" and so on; a static string, "internal" for what is none of them. */
const char *access_end_name(enum access_end end);

/* Tries of one session: the first and 50 retries. */
#define ACCESS_TRIED_MAX 51

#define ACCESS_SNI_LEN 255

/* The client, as far as the log tells: its family, and for IP its address and port. */
union access_client {
        struct sockaddr sa;             /* AF_UNSPEC: not known (null), AF_UNIX: "unix" */
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
};

/*
 * What a line is made from.  Strings are not copied (but sni, which is the client's): they live until log_stop(), as
 * names in the config do.  A zeroed record is valid; -1 and NULL are null in the log.
 */
struct access_record {
        int64_t wall_ms;                /* clock_wall_ms() at the end */
        uint64_t session;
        const char *frontend;
        const char *listener;           /* as written */
        const char *backend;
        const char *server;             /* the last tried */
        const char *sni;                /* ACCESS_SNI_LEN bytes at most */
        union access_client client;
        struct addr address;            /* the server's; len 0: null */
        uint64_t bytes_up, bytes_down;
        int64_t queue_ms, connect_ms, duration_ms;
        int64_t client_rtt_us, client_retrans, server_rtt_us, server_retrans;
        uint32_t uid, gid;
        int32_t pid;
        uint8_t has_creds;              /* uid, gid and pid are known */
        uint8_t end;                    /* enum access_end */
        uint8_t n_tried;
        uint16_t sni_at;                /* set by access_write(): where the copy of sni lies in this record's bytes */
        int32_t error;                  /* errno; 0: null */
        uint32_t retries;
        const char *tried[ACCESS_TRIED_MAX];    /* n_tried of them, in order; none: null.  Only these are copied */
};

/* A record in which all that can be null is null. */
struct access_record access_record_none(void);

/* Hands the record to the access log.  Copies only what is used; never blocks. */
void access_write(struct log *log, const struct access_record *record);

/*
 * The log_format_fn of these records.  JSON: one object with every field, in
 * CONFIG.md's order.  Text: the same as key=value pairs, "-" for null.
 * Whatever the strings hold, it is one line and, with ACCESS_LINE_MAX bytes of room, whole: long
 * strings are cut and end in "...".  Returns the line's length; 0 where memory ran out or a JSON line does not fit.
 */
#define ACCESS_LINE_MAX 24000
size_t access_format(char *buf, size_t size, const void *record, int json);

#endif
