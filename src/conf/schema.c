/* SPDX-License-Identifier: ISC */
#include "conf/schema.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DAY INT64_C(86400000)
#define YEAR (365 * DAY)
#define SESSIONS_MAX 10000000
#define BYTE_RATE_MAX (INT64_C(1) << 40)
#define ID_MAX (UINT32_MAX - 1)         /* the last one means "no one" to the kernel */

#define MEMBER(type, member) .offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)
#define TIMEOUT(type, member) SCHEMA_DURATION, MEMBER(type, member), .min = 1, .max = YEAR, .zero = "off"

static const char *const schema_targets[] = { "off", "stderr", "syslog", "journal", NULL };
static const char *const schema_formats[] = { "text", "json", NULL };
static const char *const schema_levels[] = { "error", "warning", "info", "debug", NULL };
/* In the order of the enums of conf.h. */
static const char *const schema_balances[] = {
        "roundrobin", "leastconn", "random", "source", "first", "least-time", NULL
};
static const char *const schema_check_types[] = { "tcp", "expect", NULL };
static const char *const schema_on_down[] = { "keep", "close", NULL };
static const char *const schema_when_down[] = { "refuse", "wait", NULL };
static const char *const schema_send_proxy[] = { "off", "v1", "v2", NULL };

const struct schema_row schema_log[] = {
        { "to", SCHEMA_TARGET, MEMBER(conf, log), .min = LOG_TO_STDERR, .max = LOG_TO_JOURNAL, .words = schema_targets,
          .def = "stderr" },
        { "format", SCHEMA_WORD, MEMBER(conf, log.format), .words = schema_formats, .def = "text" },
        { "level", SCHEMA_WORD, MEMBER(conf, log_level), .words = schema_levels, .def = "info" },
        { 0 }
};

const struct schema_row schema_access_log[] = {
        { "to", SCHEMA_TARGET, MEMBER(conf, access_log), .min = LOG_TO_OFF, .max = LOG_TO_JOURNAL,
          .words = schema_targets, .def = "off" },
        { "format", SCHEMA_WORD, MEMBER(conf, access_log.format), .words = schema_formats, .def = "text" },
        { 0 }
};

/* mode and group are the socket's. */
const struct schema_row schema_admin[] = {
        { "socket", SCHEMA_SOCKET, MEMBER(conf, admin.socket), .zero = "off", .def = "/run/spliced/admin.sock" },
        { "mode", SCHEMA_MODE, MEMBER(conf, admin.socket.mode), .max = 0777, .def = "0600" },
        { "group", SCHEMA_STRING, SCHEMA_UNSET, MEMBER(conf, admin.socket.group), .min = 1, .max = 255 },
        { "http", SCHEMA_LISTEN, MEMBER(conf, admin.http), .zero = "off", .def = "off" },
        { 0 }
};

const struct schema_row schema_timeouts[] = {
        { "preface", TIMEOUT(schema_timeouts, client.preface), .def = "5s" },
        { "client", TIMEOUT(schema_timeouts, client.client), .def = "1h" },
        { "client-fin", TIMEOUT(schema_timeouts, client.client_fin), .def = "30s" },
        { "session", TIMEOUT(schema_timeouts, client.session), .def = "off" },
        { "connect", TIMEOUT(schema_timeouts, server.connect), .def = "5s" },
        { "queue", TIMEOUT(schema_timeouts, server.queue), .def = "30s" },
        { "server", TIMEOUT(schema_timeouts, server.server), .def = "1h" },
        { "server-fin", TIMEOUT(schema_timeouts, server.server_fin), .def = "30s" },
        { "check", TIMEOUT(schema_timeouts, server.check), .def = "2s" },
        { 0 }
};

const struct schema_row schema_client_timeouts[] = {
        { "preface", TIMEOUT(conf_client_timeouts, preface) },
        { "client", TIMEOUT(conf_client_timeouts, client) },
        { "client-fin", TIMEOUT(conf_client_timeouts, client_fin) },
        { "session", TIMEOUT(conf_client_timeouts, session) },
        { 0 }
};

const struct schema_row schema_server_timeouts[] = {
        { "connect", TIMEOUT(conf_server_timeouts, connect) },
        { "queue", TIMEOUT(conf_server_timeouts, queue) },
        { "server", TIMEOUT(conf_server_timeouts, server) },
        { "server-fin", TIMEOUT(conf_server_timeouts, server_fin) },
        { "check", TIMEOUT(conf_server_timeouts, check) },
        { 0 }
};

/* Types, limits and defaults stand in net/sockopt.c; a test compares the names. */
#define OPTION(name, option) { name, SCHEMA_SOCKOPT, .id = option }
const struct schema_row schema_socket[] = {
        OPTION("rcvbuf", SOCKOPT_RCVBUF),
        OPTION("sndbuf", SOCKOPT_SNDBUF),
        OPTION("nodelay", SOCKOPT_NODELAY),
        OPTION("keepalive", SOCKOPT_KEEPALIVE),
        OPTION("keepalive-idle", SOCKOPT_KEEPALIVE_IDLE),
        OPTION("keepalive-interval", SOCKOPT_KEEPALIVE_INTERVAL),
        OPTION("keepalive-count", SOCKOPT_KEEPALIVE_COUNT),
        OPTION("user-timeout", SOCKOPT_USER_TIMEOUT),
        OPTION("congestion", SOCKOPT_CONGESTION),
        OPTION("maxseg", SOCKOPT_MAXSEG),
        OPTION("notsent-lowat", SOCKOPT_NOTSENT_LOWAT),
        OPTION("tos", SOCKOPT_TOS),
        OPTION("mark", SOCKOPT_MARK),
        OPTION("priority", SOCKOPT_PRIORITY),
        OPTION("busy-poll", SOCKOPT_BUSY_POLL),
        OPTION("pacing-rate", SOCKOPT_PACING_RATE),
        OPTION("window-clamp", SOCKOPT_WINDOW_CLAMP),
        OPTION("quickack", SOCKOPT_QUICKACK),
        OPTION("fastopen", SOCKOPT_FASTOPEN),
        OPTION("mptcp", SOCKOPT_MPTCP),
        OPTION("device", SOCKOPT_DEVICE),
        OPTION("transparent", SOCKOPT_TRANSPARENT),
        OPTION("freebind", SOCKOPT_FREEBIND),
        { 0 }
};

const struct schema_row schema_listener[] = {
        { "backlog", SCHEMA_NUMBER, .scope = SCHEMA_OPENED, MEMBER(conf_listener, backlog), .min = 1, .max = INT_MAX,
          .zero = "somaxconn", .def = "somaxconn" },
        { "mode", SCHEMA_MODE, .scope = SCHEMA_UNIX_PATH, MEMBER(conf_listener, mode), .max = 0777, .def = "0660" },
        { "owner", SCHEMA_STRING, SCHEMA_UNSET, SCHEMA_UNIX_PATH, MEMBER(conf_listener, owner), .min = 1, .max = 255 },
        { "group", SCHEMA_STRING, SCHEMA_UNSET, SCHEMA_UNIX_PATH, MEMBER(conf_listener, group), .min = 1, .max = 255 },
        { "accept-proxy", SCHEMA_BOOL, MEMBER(conf_listener, accept_proxy), .def = "off" },
        { "proxy-from", SCHEMA_RULES, SCHEMA_LIST, MEMBER(conf_listener, proxy_from), .zero = "all" },
        { "v6only", SCHEMA_BOOL, .scope = SCHEMA_IPV6, MEMBER(conf_listener, v6only), .def = "off" },
        { "defer-accept", SCHEMA_DURATION, .scope = SCHEMA_TCP, MEMBER(conf_listener, defer_accept), .min = 1000,
          .max = DAY, .zero = "off", .def = "off" },
        { "socket", SCHEMA_SECTION, .sub = schema_socket },
        { 0 }
};

const struct schema_row schema_route[] = {
        { "sni", SCHEMA_SNI, SCHEMA_LIST, MEMBER(conf_route, sni) },
        { "alpn", SCHEMA_ALPN, SCHEMA_LIST, MEMBER(conf_route, alpn), .min = 1, .max = 255 },
        { "from", SCHEMA_NETWORKS, SCHEMA_LIST, MEMBER(conf_route, from) },
        { "uid", SCHEMA_IDS, SCHEMA_LIST, MEMBER(conf_route, uid), .max = ID_MAX },
        { "gid", SCHEMA_IDS, SCHEMA_LIST, MEMBER(conf_route, gid), .max = ID_MAX },
        { "backend", SCHEMA_BACKEND, MEMBER(conf_route, backend) },
        { 0 }
};

const struct schema_row schema_frontend[] = {
        { "listen", SCHEMA_SECTION, SCHEMA_TITLED, .sub = schema_listener, .title = "ADDRESS" },
        { "backend", SCHEMA_BACKEND, MEMBER(conf_frontend, backend) },
        { "route", SCHEMA_SECTION, SCHEMA_TITLED, .sub = schema_route, .title = "NAME" },
        { "allow", SCHEMA_RULES, SCHEMA_LIST, MEMBER(conf_frontend, allow), .zero = "all" },
        { "deny", SCHEMA_RULES, SCHEMA_LIST, MEMBER(conf_frontend, deny), .zero = "none" },
        { "max-connections", SCHEMA_NUMBER, MEMBER(conf_frontend, max_connections), .min = 1, .max = SESSIONS_MAX,
          .zero = "off", .def = "off" },
        { "rate", SCHEMA_RATE, MEMBER(conf_frontend, rate), .min = 1, .max = SESSIONS_MAX, .zero = "off",
          .def = "off" },
        { "max-per-source", SCHEMA_NUMBER, MEMBER(conf_frontend, max_per_source), .min = 1, .max = SESSIONS_MAX,
          .zero = "off", .def = "off" },
        { "rate-per-source", SCHEMA_RATE, MEMBER(conf_frontend, rate_per_source), .min = 1, .max = SESSIONS_MAX,
          .zero = "off", .def = "off" },
        { "upload-rate", SCHEMA_BYTE_RATE, MEMBER(conf_frontend, upload_rate), .min = 1, .max = BYTE_RATE_MAX,
          .zero = "off", .def = "off" },
        { "download-rate", SCHEMA_BYTE_RATE, MEMBER(conf_frontend, download_rate), .min = 1, .max = BYTE_RATE_MAX,
          .zero = "off", .def = "off" },
        { "half-close", SCHEMA_BOOL, MEMBER(conf_frontend, half_close), .def = "on" },
        { "access-log", SCHEMA_BOOL, MEMBER(conf_frontend, access_log) },
        { "timeouts", SCHEMA_SECTION, .sub = schema_client_timeouts },
        { "socket", SCHEMA_SECTION, .sub = schema_socket },
        { 0 }
};

/* The address comes first: the keys below it are judged by it. */
const struct schema_row schema_server[] = {
        { "address", SCHEMA_ADDRESS, MEMBER(conf_server, addr) },
        { "weight", SCHEMA_NUMBER, MEMBER(conf_server, weight), .max = 256, .def = "1" },
        { "max-connections", SCHEMA_NUMBER, MEMBER(conf_server, max_connections), .min = 1, .max = SESSIONS_MAX,
          .zero = "off", .def = "off" },
        { "backup", SCHEMA_BOOL, MEMBER(conf_server, backup), .def = "off" },
        { "disabled", SCHEMA_BOOL, MEMBER(conf_server, disabled), .def = "off" },
        { "source", SCHEMA_SOURCE, SCHEMA_UNSET, SCHEMA_TCP, MEMBER(conf_server, source) },
        { "send-proxy", SCHEMA_WORD, MEMBER(conf_server, send_proxy), .words = schema_send_proxy, .def = "off" },
        { "slow-start", SCHEMA_DURATION, MEMBER(conf_server, slow_start), .min = 1, .max = DAY, .zero = "off",
          .def = "off" },
        { "check", SCHEMA_BOOL, MEMBER(conf_server, check), .def = "on" },
        { "check-address", SCHEMA_CHECK_ADDRESS, MEMBER(conf_server, check_addr) },
        { "socket", SCHEMA_SECTION, .sub = schema_socket },
        { 0 }
};

const struct schema_row schema_check[] = {
        { "type", SCHEMA_WORD, MEMBER(conf_check, type), .words = schema_check_types, .def = "tcp" },
        { "send", .type = SCHEMA_SEND },
        { "expect", .type = SCHEMA_EXPECT },
        { "interval", SCHEMA_DURATION, MEMBER(conf_check, interval), .min = 10, .max = DAY, .def = "2s" },
        { "fast-interval", SCHEMA_DURATION, MEMBER(conf_check, fast_interval), .min = 10, .max = DAY },
        { "rise", SCHEMA_NUMBER, MEMBER(conf_check, rise), .min = 1, .max = 1000, .def = "2" },
        { "fall", SCHEMA_NUMBER, MEMBER(conf_check, fall), .min = 1, .max = 1000, .def = "3" },
        { "on-down", SCHEMA_WORD, MEMBER(conf_check, on_down), .words = schema_on_down, .def = "keep" },
        { 0 }
};

const struct schema_row schema_outlier[] = {
        { "failures", SCHEMA_NUMBER, MEMBER(conf_outlier, failures), .min = 1, .max = 1000, .def = "5" },
        { "eject", SCHEMA_DURATION, MEMBER(conf_outlier, eject), .min = 1, .max = DAY, .def = "10s" },
        { "eject-max", SCHEMA_DURATION, MEMBER(conf_outlier, eject_max), .min = 1, .max = DAY, .def = "5m" },
        { "max-ejected", SCHEMA_NUMBER, MEMBER(conf_outlier, max_ejected), .min = 1, .max = 100, .def = "50" },
        { 0 }
};

const struct schema_row schema_backend[] = {
        { "balance", SCHEMA_WORD, MEMBER(conf_backend, balance), .words = schema_balances, .def = "roundrobin" },
        { "server", SCHEMA_SECTION, SCHEMA_TITLED, .sub = schema_server, .title = "NAME" },
        { "check", SCHEMA_SECTION, .sub = schema_check },
        { "outlier", SCHEMA_SECTION, .sub = schema_outlier },
        { "retries", SCHEMA_NUMBER, MEMBER(conf_backend, retries), .max = CONF_RETRIES_MAX, .def = "2" },
        { "queue", SCHEMA_NUMBER, MEMBER(conf_backend, queue), .max = SESSIONS_MAX, .def = "0" },
        { "when-down", SCHEMA_WORD, MEMBER(conf_backend, when_down), .words = schema_when_down, .def = "refuse" },
        { "resolve", SCHEMA_DURATION, SCHEMA_UNSET, MEMBER(conf_backend, resolve), .min = 10, .max = DAY },
        { "timeouts", SCHEMA_SECTION, .sub = schema_server_timeouts },
        { "socket", SCHEMA_SECTION, .sub = schema_socket },
        { 0 }
};

const struct schema_row schema_resolver[] = {
        { "servers", SCHEMA_NAMESERVERS, SCHEMA_LIST, MEMBER(conf_resolver, servers) },
        { "timeout", SCHEMA_DURATION, MEMBER(conf_resolver, timeout), .min = 10, .max = 60000, .def = "2s" },
        { "hold", SCHEMA_DURATION, MEMBER(conf_resolver, hold), .min = 1, .max = DAY, .def = "30s" },
        { 0 }
};

const struct schema_row schema_top[] = {
        { "user", SCHEMA_STRING, SCHEMA_UNSET, MEMBER(conf, user), .min = 1, .max = 255 },
        { "group", SCHEMA_STRING, SCHEMA_UNSET, MEMBER(conf, group), .min = 1, .max = 255 },
        { "sandbox", SCHEMA_BOOL, MEMBER(conf, sandbox), .def = "on" },
        { "threads", SCHEMA_NUMBER, MEMBER(conf, threads), .min = 1, .max = CONF_THREADS_MAX, .zero = "auto",
          .def = "auto" },
        { "max-connections", SCHEMA_NUMBER, MEMBER(conf, max_connections), .min = 1, .max = SESSIONS_MAX,
          .zero = "auto", .def = "auto" },
        { "pid-file", SCHEMA_PATH, SCHEMA_UNSET, MEMBER(conf, pid_file), .max = 4095 },
        { "drain", SCHEMA_DURATION, MEMBER(conf, drain), .min = 1, .max = YEAR, .zero = "off", .def = "30s" },
        { "include", .type = SCHEMA_INCLUDE },
        { "log", SCHEMA_SECTION, .sub = schema_log },
        { "access-log", SCHEMA_SECTION, .sub = schema_access_log },
        { "admin", SCHEMA_SECTION, .sub = schema_admin },
        { "resolver", SCHEMA_SECTION, .sub = schema_resolver },
        { "timeouts", SCHEMA_SECTION, .sub = schema_timeouts },
        { "socket", SCHEMA_SECTION, .sub = schema_socket },
        { "frontend", SCHEMA_SECTION, SCHEMA_TITLED, .sub = schema_frontend, .title = "NAME" },
        { "backend", SCHEMA_SECTION, SCHEMA_TITLED, .sub = schema_backend, .title = "NAME" },
        { 0 }
};

const struct schema_row *schema_find(const struct schema_row *rows, const char *key, size_t len) {
        for (; rows->key; rows++)
                if (strlen(rows->key) == len && memcmp(rows->key, key, len) == 0)
                        return rows;
        return NULL;
}

/* Letters to change, add, drop or swap with a neighbour to make b of a; both are short. */
static size_t schema_distance(const char *a, size_t m, const char *b, size_t n) {
        size_t rows[3][64];

        for (size_t j = 0; j <= n; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= m; i++) {
                size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

                row[0] = i;
                for (size_t j = 1; j <= n; j++) {
                        row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
                        if (above[j] + 1 < row[j])
                                row[j] = above[j] + 1;
                        if (row[j - 1] + 1 < row[j])
                                row[j] = row[j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            before[j - 2] + 1 < row[j])
                                row[j] = before[j - 2] + 1;
                }
        }
        return rows[m % 3][n];
}

const struct schema_row *schema_nearest(const struct schema_row *rows, const char *key, size_t len) {
        const struct schema_row *nearest = NULL;
        size_t best = SIZE_MAX;

        if (len == 0 || len > 60)
                return NULL;
        for (; rows->key; rows++) {
                size_t n = strlen(rows->key), distance = schema_distance(key, len, rows->key, n);
                size_t limit = (n > len ? n : len) / 3;

                /* "keepalive_count" and "maxconnections" are a style, "timeout" a slip; "abc" for "log" is neither. */
                if (distance <= (limit ? limit : 1) && distance < n && distance < best) {
                        best = distance;
                        nearest = rows;
                }
        }
        return nearest;
}

char *schema_list(const struct schema_row *rows, char *buf, size_t size) {
        size_t at = 0;

        buf[0] = '\0';
        for (size_t i = 0; rows[i].key; i++) {
                int n = snprintf(buf + at, size - at, "%s%s", i ? ", " : "", rows[i].key);

                if (n < 0 || (size_t)n >= size - at)
                        break;
                at += (size_t)n;
        }
        return buf;
}

int schema_applies(enum schema_scope scope, const struct addr *addr) {
        if (addr->kind == ADDR_NONE)
                return 1;
        switch (scope) {
        case SCHEMA_ANYWHERE:
                return 1;
        case SCHEMA_UNIX_PATH:
                return addr->kind == ADDR_UNIX && addr->un.sun_path[0] != '\0';
        case SCHEMA_TCP:
                return addr->kind != ADDR_UNIX && addr->kind != ADDR_FD;
        case SCHEMA_IPV6:
                return addr->kind == ADDR_HOST || addr_family(addr) == AF_INET6;
        case SCHEMA_OPENED:
                return addr->kind != ADDR_FD;
        }
        return 1;
}

static void schema_walk(const struct schema_row *rows, const char *prefix, void (*fn)(const char *, void *),
                        void *arg) {
        char key[256];

        for (; rows->key; rows++) {
                snprintf(key, sizeof(key), "%s%s", prefix, rows->key);
                fn(key, arg);
                if (rows->sub) {
                        size_t len = strlen(key);

                        snprintf(key + len, sizeof(key) - len, ".");
                        schema_walk(rows->sub, key, fn, arg);
                }
        }
}

void conf_each_key(void (*fn)(const char *key, void *arg), void *arg) {
        schema_walk(schema_top, "", fn, arg);
}
