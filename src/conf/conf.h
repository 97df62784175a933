/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_CONF_H
#define SPLICED_CONF_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/log.h"
#include "net/addr.h"
#include "net/sockopt.h"

/*
 * The effective configuration: defaults filled in, overrides resolved, every
 * check passed.  Immutable after conf_load(); a process uses one for its whole
 * life, so nobody locks or counts references.  All memory belongs to the
 * struct conf and goes with conf_free().
 */

#define CONF_OFF (-1)                   /* a duration that is off: no limit */
#define CONF_RETRIES_MAX 50             /* a session record has room for so many tries */
#define CONF_THREADS_MAX 256
#define CONF_NAME_MAX 64                /* bytes of the name of a frontend, backend or server */

struct conf_client_timeouts { int64_t client, client_fin, session; };            /* ms or CONF_OFF */
struct conf_server_timeouts { int64_t connect, server, server_fin; };            /* ms or CONF_OFF */

/* Where a thing was written, for messages: "FILE:LINE". */
struct conf_where {
        const char *file;
        unsigned line;
};

struct conf_listener {
        const char *text;               /* the address as written */
        struct addr addr;
        int backlog;                    /* 0: somaxconn */
        mode_t mode;
        const char *owner, *group;      /* NULL: unset */
        int v6only;
        int64_t defer_accept;           /* ms or CONF_OFF */
        struct sockopt_set sockopts;    /* effective */
        struct conf_where where;
};

struct conf_frontend {
        const char *name;
        struct conf_listener *listeners;
        size_t n_listeners;
        unsigned backend;               /* index into conf.backends */
        uint32_t max_connections;       /* 0: off */
        int half_close;
        int access_log;
        struct conf_client_timeouts timeouts;
        struct conf_where where;
};

struct conf_server {
        const char *name;
        const char *text;               /* the address as written */
        struct addr addr;               /* ADDR_HOST: to be resolved */
        struct addr source;             /* ADDR_NONE: unset; port 0 allowed (an address without a port) */
        uint16_t weight;                /* 0 to 256 */
        int backup;
        int disabled;
        struct sockopt_set sockopts;    /* effective */
        struct conf_where where;
};

enum conf_balance { CONF_ROUNDROBIN };

struct conf_backend {
        const char *name;
        enum conf_balance balance;
        struct conf_server *servers;
        size_t n_servers;
        unsigned retries;
        struct conf_server_timeouts timeouts;
        struct conf_where where;
};

struct conf {
        const char *user, *group;       /* to become after listening; NULL: unset */
        int sandbox;
        unsigned threads;               /* 0: auto */
        uint32_t max_connections;       /* 0: auto */
        const char *pid_file;           /* NULL: unset */
        int64_t drain;                  /* ms or CONF_OFF */
        enum log_level log_level;
        struct log_target log;
        struct log_target access_log;
        struct conf_frontend *frontends;
        size_t n_frontends;
        struct conf_backend *backends;
        size_t n_backends;
        struct conf_where max_connections_where;        /* file NULL: not given */
};

/*
 * Reads and checks the file at path and what it includes; touches nothing
 * else: no bind, no DNS, no user look-ups.  Every mistake is one line on
 * `errors`: "FILE:LINE: what is wrong, ...".
 * One thread at a time: libconfuse's lexer has one state for the process.
 * Returns 0 with *out owned by the caller; CONF_INVALID where the file has
 * mistakes or cannot be read (all of them were written); -ENOMEM.
 */
#define CONF_INVALID 1
int conf_load(struct conf **out, const char *path, FILE *errors);

/*
 * The same for a text of len bytes that is in memory.  `name` stands for its
 * path in messages, and what it includes is relative to that.
 */
int conf_load_text(struct conf **out, const char *name, const char *text, size_t len, FILE *errors);

/*
 * Writes the effective config (-T): complete, each key with its value, such
 * that conf_load() of it gives the same struct and conf_print() the same text.
 * Returns 0, or -errno where writing failed.
 */
int conf_print(const struct conf *conf, FILE *out);

/* Frees.  NULL is fine.  Returns NULL. */
struct conf *conf_free(struct conf *conf);

/*
 * Calls fn for every key that the language knows, as "section.key"
 * ("frontend.listen.mode", "threads"): the documentation test compares this
 * with the man page.
 */
void conf_each_key(void (*fn)(const char *key, void *arg), void *arg);

#endif
