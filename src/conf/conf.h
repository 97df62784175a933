/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_CONF_H
#define SPLICED_CONF_CONF_H

#include <netinet/in.h>
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

#define CONF_NO_BACKEND UINT32_MAX      /* of a frontend: none by default */

/* ms or CONF_OFF */
struct conf_client_timeouts { int64_t preface, client, client_fin, session; };
struct conf_server_timeouts { int64_t connect, queue, server, server_fin, check; };

/* Where a thing was written, for messages: "FILE:LINE". */
struct conf_where {
        const char *file;
        unsigned line;
};

/* One entry of allow, deny, proxy-from or a route's from: who a client is. */
enum conf_rule_kind {
        CONF_RULE_NETWORK,              /* family, network, prefix */
        CONF_RULE_UNIX,                 /* every AF_UNIX client */
        CONF_RULE_UID,                  /* id */
        CONF_RULE_GID,                  /* id; supplementary groups count */
        CONF_RULE_USER,                 /* name; a CONF_RULE_UID once it was looked up */
        CONF_RULE_GROUP,                /* name; a CONF_RULE_GID once it was looked up */
};

struct conf_rule {
        enum conf_rule_kind kind;
        int family;                     /* AF_INET or AF_INET6 */
        unsigned prefix;                /* bits */
        struct in6_addr network;        /* an IPv4 one in its first four bytes; bits after the prefix are 0 */
        uint32_t id;
        const char *name;
};

struct conf_rules {
        struct conf_rule *list;
        size_t n;
        int given;                      /* the key was written, perhaps with an empty list */
};

struct conf_words {
        const char **list;
        size_t n;
};

struct conf_ids {
        uint32_t *list;
        size_t n;
};

struct conf_listener {
        const char *text;               /* the address as written */
        struct addr addr;
        int accept_proxy;
        struct conf_rules proxy_from;   /* not given: all */
        int backlog;                    /* 0: somaxconn */
        mode_t mode;
        const char *owner, *group;      /* NULL: unset */
        int v6only;
        int64_t defer_accept;           /* ms or CONF_OFF */
        struct sockopt_set sockopts;    /* effective */
        struct conf_where where;
};

/* Every condition that is given must match; a list matches where one of it does. */
struct conf_route {
        const char *name;
        struct conf_words sni;          /* lower case; "*.example.org" stands for one or more labels */
        struct conf_words alpn;
        struct conf_rules from;
        struct conf_ids uid, gid;
        unsigned backend;               /* index into conf.backends */
        struct conf_where where;
};

struct conf_frontend {
        const char *name;
        struct conf_route *routes;      /* in the order written */
        size_t n_routes;
        struct conf_rules allow, deny;
        uint32_t rate;                  /* connections a second; 0: off */
        uint32_t max_per_source;        /* 0: off */
        uint32_t rate_per_source;       /* connections a second; 0: off */
        uint64_t upload_rate, download_rate;    /* bytes a second for each session; 0: off */
        struct conf_listener *listeners;
        size_t n_listeners;
        unsigned backend;               /* index into conf.backends, or CONF_NO_BACKEND */
        uint32_t max_connections;       /* 0: off */
        int half_close;
        int access_log;
        struct conf_client_timeouts timeouts;
        struct conf_where where;
};

enum conf_send_proxy { CONF_SEND_PROXY_OFF, CONF_SEND_PROXY_V1, CONF_SEND_PROXY_V2 };

struct conf_server {
        const char *name;
        const char *text;               /* the address as written */
        struct addr addr;               /* ADDR_HOST and ADDR_SRV: to be resolved */
        struct addr source;             /* ADDR_NONE: unset; port 0 allowed (an address without a port) */
        uint16_t weight;                /* 0 to 256 */
        uint32_t max_connections;       /* 0: off */
        int backup;
        int disabled;
        enum conf_send_proxy send_proxy;
        int64_t slow_start;             /* ms or CONF_OFF */
        int check;                      /* off: not checked, whatever the backend says */
        const char *check_text;         /* check-address as written; NULL: the server's own */
        struct addr check_addr;
        struct sockopt_set sockopts;    /* effective */
        struct conf_where where;
};

enum conf_balance {
        CONF_ROUNDROBIN, CONF_LEASTCONN, CONF_RANDOM, CONF_SOURCE, CONF_FIRST, CONF_LEAST_TIME,
        CONF_BALANCES
};

enum conf_check_type { CONF_CHECK_TCP, CONF_CHECK_EXPECT };
enum conf_on_down { CONF_ON_DOWN_KEEP, CONF_ON_DOWN_CLOSE };
enum conf_when_down { CONF_WHEN_DOWN_REFUSE, CONF_WHEN_DOWN_WAIT };

/* check { }.  Not given: servers are not checked. */
struct conf_check {
        int given;
        enum conf_check_type type;
        const char *send;               /* NULL: nothing */
        size_t send_len;
        const char *expect;             /* NULL: nothing; a string, or a regular expression without its slashes */
        size_t expect_len;
        int regex;
        int64_t interval, fast_interval;        /* ms */
        unsigned rise, fall;
        enum conf_on_down on_down;
};

/* outlier { }.  Not given: nobody is ejected. */
struct conf_outlier {
        int given;
        unsigned failures;
        int64_t eject, eject_max;       /* ms */
        unsigned max_ejected;           /* percent */
};

struct conf_backend {
        const char *name;
        enum conf_balance balance;
        struct conf_server *servers;
        size_t n_servers;
        unsigned retries;
        uint32_t queue;                 /* sessions that may wait while every server is at its limit */
        enum conf_when_down when_down;
        int64_t resolve;                /* ms; CONF_OFF: by the records' TTL */
        struct conf_check check;
        struct conf_outlier outlier;
        struct conf_server_timeouts timeouts;
        struct conf_where where;
};

/* admin { } */
struct conf_admin {
        struct conf_listener socket;    /* text NULL: off */
        struct conf_listener http;      /* the same */
        int given;                      /* the socket's path was written, so that it has to be there */
};

/* resolver { } */
struct conf_resolver {
        struct addr *servers;           /* none: the system's */
        size_t n_servers;
        int64_t timeout, hold;          /* ms */
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
        struct conf_admin admin;
        struct conf_resolver resolver;
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
