/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CONF_SCHEMA_H
#define SPLICED_CONF_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

/*
 * The language as tables: a section is an array of rows, a row is a key with
 * its type, limits, default and the member that holds its value.  What
 * libconfuse is given, what a value may be, the error messages, the output of
 * -T and conf_each_key() all come from here: a new key is a new row.
 *
 * The tables are constant; any thread may read them.
 */

enum schema_type {
        SCHEMA_NUMBER,                  /* min to max; `zero` is a word for 0 */
        SCHEMA_DURATION,                /* min to max in ms; `zero` ("off") is a word for CONF_OFF, as is 0 */
        SCHEMA_BOOL,                    /* an int */
        SCHEMA_MODE,                    /* octal, a mode_t */
        SCHEMA_WORD,                    /* one of `words`; the value is its index */
        SCHEMA_STRING,                  /* min to max bytes */
        SCHEMA_PATH,                    /* an absolute path */
        SCHEMA_TARGET,                  /* a struct log_target: words[min..max], or file:PATH */
        SCHEMA_RATE,                    /* min to max connections a second, "100/s"; `zero` is a word for 0 */
        SCHEMA_BYTE_RATE,               /* min to max bytes a second, "10M/s"; `zero` is a word for 0 */
        SCHEMA_ADDRESS,                 /* a server's struct addr; its text is kept beside it */
        SCHEMA_CHECK_ADDRESS,           /* the same, for its check */
        SCHEMA_SOURCE,                  /* a struct addr, the port may be left out */
        SCHEMA_SOCKET,                  /* a path to listen on, a struct conf_listener; `zero` is a word for none */
        SCHEMA_LISTEN,                  /* the address of one, likewise */
        SCHEMA_BACKEND,                 /* the name of a backend; the value is its index */
        SCHEMA_SEND,                    /* bytes to send, of a struct conf_check */
        SCHEMA_EXPECT,                  /* bytes to expect, or a regular expression between slashes, of the same */
        SCHEMA_RULES,                   /* a list: a struct conf_rules; `zero` is a word for a list not given */
        SCHEMA_NETWORKS,                /* a list: the same, networks alone */
        SCHEMA_SNI,                     /* a list: a struct conf_words of host names, "*." in front allowed */
        SCHEMA_ALPN,                    /* a list: a struct conf_words of min to max bytes each */
        SCHEMA_IDS,                     /* a list: a struct conf_ids, min to max */
        SCHEMA_NAMESERVERS,             /* a list: the servers of a struct conf_resolver */
        SCHEMA_SOCKOPT,                 /* an option of net/sockopt.h: `id`; min and max stand in its table */
        SCHEMA_SECTION,                 /* `sub`, in braces */
        SCHEMA_INCLUDE,                 /* include("PATH") */
};

enum schema_flags {
        SCHEMA_TITLED = 1 << 0,         /* a section with a name, which may come many times */
        SCHEMA_UNSET = 1 << 1,          /* without a default: a key that is not given has no value to print */
        SCHEMA_LIST = 1 << 2,           /* { a, b }, or one value without braces; empty only where `zero` is given */
};

/* Which kinds of address a key has an effect on.  A key that stands where it has none is a mistake. */
enum schema_scope {
        SCHEMA_ANYWHERE,
        SCHEMA_UNIX_PATH,               /* a socket in the file system */
        SCHEMA_TCP,
        SCHEMA_IPV6,
        SCHEMA_OPENED,                  /* a listening socket that we open ourselves */
};

struct schema_row {
        const char *key;                /* NULL ends a table */
        enum schema_type type;
        unsigned flags;
        enum schema_scope scope;
        size_t offset, size;            /* of the member */
        int64_t min, max;
        const char *zero;
        const char *const *words;
        const char *def;                /* the default, as a user would write it; NULL: inherited or unset */
        const struct schema_row *sub;
        enum sockopt_id id;
        const char *title;              /* what stands for a name in messages: NAME, ADDRESS */
};

/* A table has at most so many rows. */
#define SCHEMA_ROWS_MAX 32

/* Both kinds of timeouts, as the top level has them. */
struct schema_timeouts {
        struct conf_client_timeouts client;
        struct conf_server_timeouts server;
};

extern const struct schema_row schema_top[];
extern const struct schema_row schema_log[];
extern const struct schema_row schema_access_log[];
extern const struct schema_row schema_admin[];
extern const struct schema_row schema_timeouts[];               /* struct schema_timeouts */
extern const struct schema_row schema_client_timeouts[];
extern const struct schema_row schema_server_timeouts[];
extern const struct schema_row schema_socket[];                 /* struct sockopt_set */
extern const struct schema_row schema_frontend[];
extern const struct schema_row schema_listener[];
extern const struct schema_row schema_backend[];
extern const struct schema_row schema_server[];

extern const struct schema_row schema_route[];
extern const struct schema_row schema_check[];
extern const struct schema_row schema_outlier[];
extern const struct schema_row schema_resolver[];

/* The row of a key of len bytes, or NULL. */
const struct schema_row *schema_find(const struct schema_row *rows, const char *key, size_t len);

/* The row whose key looks most like the given one, or NULL where none is close enough to be meant. */
const struct schema_row *schema_nearest(const struct schema_row *rows, const char *key, size_t len);

/* Writes all keys of a table as "a, b, c".  Returns buf. */
char *schema_list(const struct schema_row *rows, char *buf, size_t size);

/* Whether a key with that scope has an effect on an address.  Where the address is not known (ADDR_NONE): yes. */
int schema_applies(enum schema_scope scope, const struct addr *addr);

#endif
