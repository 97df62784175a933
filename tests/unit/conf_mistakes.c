/* SPDX-License-Identifier: ISC */
#include "conf_test.h"

/* Every mistake with its exact message. */

#define TOP_KEYS "user, group, sandbox, threads, max-connections, pid-file, drain, include, log, access-log, " \
        "admin, resolver, timeouts, socket, frontend, backend"
#define FRONTEND_KEYS "listen, backend, route, allow, deny, max-connections, rate, max-per-source, rate-per-source, " \
        "upload-rate, download-rate, half-close, access-log, timeouts, socket"
#define LISTENER_KEYS "backlog, mode, owner, group, accept-proxy, proxy-from, v6only, defer-accept, socket"
#define BACKEND_KEYS "balance, server, check, outlier, retries, queue, when-down, resolve, timeouts, socket"
#define SERVER_KEYS "address, weight, max-connections, backup, disabled, source, send-proxy, slow-start, check, " \
        "check-address, socket"
#define CLIENT_TIMEOUTS "preface, client, client-fin, session"
#define SERVER_TIMEOUTS "connect, queue, server, server-fin, check"
#define NETWORKS "10.0.0.0/8, 2001:db8::/32 or an address without a prefix"
#define RULES "10.0.0.0/8, 2001:db8::/32, unix, uid:1000, user:NAME, gid:33 or group:NAME"
#define BYTE_RATE "1 to 1024G bytes a second, as in 512K/s or 10M/s, or off"
#define SERVER_ADDRESS "10.0.0.1:80, [2001:db8::1]:80, host.name:80, unix:/path, unix:@name or " \
        "srv:_service._protocol.domain"
#define HOST_NAME "is not a host name; allowed: www.example.org, or *.example.org for all below it"
#define DURATION(min, max) min " to " max ", as in 100ms, 5s, 2m, 1h or 1d"
#define TIMEOUT DURATION("1ms", "365d") ", or off"
#define BOOLEAN "on, yes, true, off, no, false"
#define NAME_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PATH_54 "/123456789/123456789/123456789/123456789/123456789/123"
#define PATH_108 PATH_54 PATH_54

/* One value that each key refuses, and what it says.  A key that ends a path stands for every section that has it. */
struct value_row { const char *key, *value, *message; };

static const struct value_row value_rows[] = {
        { "user", "", "is empty; allowed: 1 to 255 bytes" },
        { "group", "", "is empty; allowed: 1 to 255 bytes" },
        { "sandbox", "seccomp", "is neither on nor off; allowed: " BOOLEAN },
        { "threads", "0", "is out of range; allowed: 1 to 256, or auto" },
        { "threads", "257", "is out of range; allowed: 1 to 256, or auto" },
        { "threads", "two", "is not a number; allowed: 1 to 256, or auto" },
        { "threads", "-1", "is not a number; allowed: 1 to 256, or auto" },
        { "threads", "2;", "is not a number; allowed: 1 to 256, or auto" },
        { "threads", "99999999999999999999999999", "is out of range; allowed: 1 to 256, or auto" },
        { "max-connections", "10000001", "is out of range; allowed: 1 to 10000000, or auto" },
        { "pid-file", "run/x", "is no absolute path of a file; allowed: a path that starts with / and ends in a "
          "file's name" },
        { "pid-file", "/run/", "is no absolute path of a file; allowed: a path that starts with / and ends in a "
          "file's name" },
        { "drain", "5", "has no unit; allowed: " TIMEOUT },
        { "drain", "5 s", "is not a duration; allowed: " TIMEOUT },
        { "drain", "1w", "is not a duration; allowed: " TIMEOUT },
        { "drain", "-1s", "is not a duration; allowed: " TIMEOUT },
        { "drain", "0s", "is out of range; allowed: " TIMEOUT },
        { "drain", "366d", "is out of range; allowed: " TIMEOUT },
        { "drain", "9223372036854775807d", "is out of range; allowed: " TIMEOUT },
        { "drain", "99999999999999999999ms", "is out of range; allowed: " TIMEOUT },
        { "drain", "", "is not a duration; allowed: " TIMEOUT },
        { "log.to", "journald", "is not a target; allowed: stderr, syslog, journal or file:/PATH" },
        { "log.to", "off", "is not a target; allowed: stderr, syslog, journal or file:/PATH" },
        { "log.to", "file:x", "is no absolute path of a file; allowed: a path that starts with / and ends in a file's "
          "name" },
        { "log.format", "xml", "is not known; allowed: text or json" },
        { "log.level", "loud", "is not known; allowed: error, warning, info or debug" },
        { "access-log.to", "stdout", "is not a target; allowed: off, stderr, syslog, journal or file:/PATH" },
        { "access-log.format", "JSON", "is not known; allowed: text or json" },

        { "timeouts.client", "1", "has no unit; allowed: " TIMEOUT },
        { "timeouts.client-fin", "x", "is not a duration; allowed: " TIMEOUT },
        { "timeouts.session", "1y", "is not a duration; allowed: " TIMEOUT },
        { "timeouts.preface", "5", "has no unit; allowed: " TIMEOUT },
        { "timeouts.queue", "x", "is not a duration; allowed: " TIMEOUT },
        { "timeouts.check", "366d", "is out of range; allowed: " TIMEOUT },
        { "timeouts.connect", "5000", "has no unit; allowed: " TIMEOUT },
        { "timeouts.server", "0ms", "is out of range; allowed: " TIMEOUT },
        { "timeouts.server-fin", "1.5s", "is not a duration; allowed: " TIMEOUT },

        { "socket.rcvbuf", "64X", "is not a size; allowed: 1K to 1G bytes, as in 4096, 64K, 8M or 1G" },
        { "socket.rcvbuf", "1", "is out of range; allowed: 1K to 1G bytes, as in 4096, 64K, 8M or 1G" },
        { "socket.sndbuf", "2G", "is out of range; allowed: 1K to 1G bytes, as in 4096, 64K, 8M or 1G" },
        { "socket.nodelay", "1", "is neither on nor off; allowed: " BOOLEAN },
        { "socket.keepalive", "o", "is neither on nor off; allowed: " BOOLEAN },
        { "socket.keepalive-idle", "off", "is not a duration; allowed: " DURATION("1s", "32767s") },
        { "socket.keepalive-interval", "999ms", "is out of range; allowed: " DURATION("1s", "32767s") },
        { "socket.keepalive-count", "128", "is out of range; allowed: 1 to 127" },
        { "socket.user-timeout", "30d", "is out of range; allowed: " DURATION("1ms", "2147483647ms") ", or off" },
        { "socket.congestion", "a-name-that-is-long", "is not a name; allowed: 1 to 15 bytes without spaces and "
          "slashes" },
        { "socket.maxseg", "1G", "is out of range; allowed: 88 to 32767 bytes, as in 4096, 64K, 8M or 1G" },
        { "socket.notsent-lowat", "0", "is out of range; allowed: 1 to 1G bytes, as in 4096, 64K, 8M or 1G" },
        { "socket.tos", "256", "is out of range; allowed: 0 to 255" },
        { "socket.mark", "0x100000000", "is out of range; allowed: 0 to 4294967295" },
        { "socket.priority", "high", "is not a number; allowed: 0 to 2147483647" },
        { "socket.busy-poll", "50us", "is not a number; allowed: 0 to 1000000" },
        { "socket.pacing-rate", "10M/h", "is not a rate; allowed: 0 to 1024G bytes a second, as in 512K/s or 10M/s, "
          "or off" },
        { "socket.window-clamp", "K", "is not a size; allowed: 1K to 1G bytes, as in 4096, 64K, 8M or 1G" },
        { "socket.quickack", "maybe", "is neither on nor off; allowed: " BOOLEAN },
        { "socket.fastopen", "5", "is neither on nor off; allowed: " BOOLEAN },
        { "socket.mptcp", "", "is neither on nor off; allowed: " BOOLEAN },
        { "socket.device", "", "is not a name; allowed: 1 to 15 bytes without spaces and slashes" },
        { "socket.transparent", "0", "is neither on nor off; allowed: " BOOLEAN },
        { "socket.freebind", "ja", "is neither on nor off; allowed: " BOOLEAN },

        { "frontend.backend", "nope", "is not defined; allowed: b" },
        { "frontend.max-connections", "0", "is out of range; allowed: 1 to 10000000, or off" },
        { "frontend.half-close", "2", "is neither on nor off; allowed: " BOOLEAN },
        { "frontend.access-log", "stderr", "is neither on nor off; allowed: " BOOLEAN },
        { "frontend.listen.backlog", "0", "is out of range; allowed: 1 to 2147483647, or somaxconn" },
        { "frontend.listen.v6only", "3", "is neither on nor off; allowed: " BOOLEAN },
        { "frontend.listen.defer-accept", "500ms", "is out of range; allowed: " DURATION("1s", "1d") ", or off" },
        { "unix.mode", "888", "is not a file mode; allowed: octal digits in quotes, \"0000\" to \"0777\"" },
        { "unix.mode", "1777", "is not a file mode; allowed: octal digits in quotes, \"0000\" to \"0777\"" },
        { "unix.mode", "6", "is not a file mode; allowed: octal digits in quotes, \"0000\" to \"0777\"" },
        { "unix.mode", "u=rw", "is not a file mode; allowed: octal digits in quotes, \"0000\" to \"0777\"" },
        { "unix.owner", "", "is empty; allowed: 1 to 255 bytes" },
        { "unix.group", "", "is empty; allowed: 1 to 255 bytes" },

        { "backend.balance", "rr", "is not known; allowed: roundrobin, leastconn, random, source, first or "
          "least-time" },
        { "backend.retries", "51", "is out of range; allowed: 0 to 50" },
        { "backend.server.address", "10.0.0.1", "is refused: an address needs a port, as in 10.0.0.1:80, [::1]:80, "
          "host.name:80 or :80; or unix:/path or unix:@name" },
        { "backend.server.address", ":80", "names no host to connect to; allowed: " SERVER_ADDRESS },
        { "backend.server.address", "srv:ldap.tcp.y", "is refused: not the name of SRV records: "
          "_service._protocol.domain, as in srv:_ldap._tcp.example.org, without a port" },
        { "backend.server.address", "tcp:h:1", "starts with 'tcp:', which is not known; allowed: " SERVER_ADDRESS },
        { "backend.server.address", "unix:" PATH_108, "is refused: a UNIX path is at most 107 bytes long" },
        { "backend.server.weight", "257", "is out of range; allowed: 0 to 256" },
        { "backend.server.backup", "x", "is neither on nor off; allowed: " BOOLEAN },
        { "backend.server.disabled", "x", "is neither on nor off; allowed: " BOOLEAN },
        { "backend.server.source", "host", "is not a local address; allowed: an IP address with or without a port, as "
          "in 10.0.0.1, 2001:db8::1 or 10.0.0.1:4000" },
        { "backend.server.max-connections", "0", "is out of range; allowed: 1 to 10000000, or off" },
        { "backend.server.send-proxy", "on", "is not known; allowed: off, v1 or v2" },
        { "backend.server.send-proxy", "v2-creds", "is not known; allowed: off, v1 or v2" },
        { "backend.server.slow-start", "30", "has no unit; allowed: " DURATION("1ms", "1d") ", or off" },
        { "backend.server.check", "tcp", "is neither on nor off; allowed: " BOOLEAN },
        { "backend.server.check-address", "h:1", "is no fixed address to connect to; allowed: 10.0.0.1:80, "
          "[2001:db8::1]:80, unix:/path or unix:@name" },
        { "backend.server.check-address", "80", "is refused: an address needs a port, as in 10.0.0.1:80, [::1]:80, "
          "host.name:80 or :80; or unix:/path or unix:@name" },
        { "backend.queue", "off", "is not a number; allowed: 0 to 10000000" },
        { "backend.when-down", "queue", "is not known; allowed: refuse or wait" },
        { "backend.resolve", "off", "is not a duration; allowed: " DURATION("10ms", "1d") },
        { "backend.check.type", "http", "is not known; allowed: tcp or expect" },
        { "backend.check.send", "", "is empty; allowed: 1 to 4096 bytes" },
        { "backend.check.expect", "", "is empty; allowed: 1 to 4096 bytes" },
        { "backend.check.expect", "//", "is empty; allowed: 1 to 4096 bytes" },
        { "backend.check.expect", "/+PONG/", "is no regular expression (quantifier does not follow a repeatable item, "
          "at byte 0); allowed: one of PCRE2 between slashes" },
        { "backend.check.expect", "/a(b/", "is no regular expression (missing closing parenthesis, at byte 3); "
          "allowed: one of PCRE2 between slashes" },
        { "backend.check.interval", "2", "has no unit; allowed: " DURATION("10ms", "1d") },
        { "backend.check.fast-interval", "off", "is not a duration; allowed: " DURATION("10ms", "1d") },
        { "backend.check.rise", "0", "is out of range; allowed: 1 to 1000" },
        { "backend.check.fall", "x", "is not a number; allowed: 1 to 1000" },
        { "backend.check.on-down", "reset", "is not known; allowed: keep or close" },
        { "backend.outlier.failures", "0", "is out of range; allowed: 1 to 1000" },
        { "backend.outlier.eject", "0", "has no unit; allowed: " DURATION("1ms", "1d") },
        { "backend.outlier.eject-max", "2d", "is out of range; allowed: " DURATION("1ms", "1d") },
        { "backend.outlier.max-ejected", "101", "is out of range; allowed: 1 to 100" },
        { "backend.outlier.max-ejected", "50%", "is not a number; allowed: 1 to 100" },

        { "admin.socket", "admin.sock", "is no absolute path of a file; allowed: a path that starts with / and ends "
          "in a file's name" },
        { "admin.socket", PATH_108, "is refused: a UNIX path is at most 107 bytes long" },
        { "admin.mode", "9", "is not a file mode; allowed: octal digits in quotes, \"0000\" to \"0777\"" },
        { "admin.group", "", "is empty; allowed: 1 to 255 bytes" },
        { "admin.http", "localhost:80", "is a host name, and a listener needs an address; allowed: 10.0.0.1:80, "
          "[2001:db8::1]:80, :80, unix:/path, unix:@name or fd:NAME" },
        { "admin.http", "on", "is refused: an address needs a port, as in 10.0.0.1:80, [::1]:80, host.name:80 or :80; "
          "or unix:/path or unix:@name" },
        { "resolver.servers", "ns.example.org", "is not the address of a name server; allowed: an IP address with or "
          "without a port, as in 10.0.0.53 or [2001:db8::53]:5353" },
        { "resolver.servers", "10.0.0.53:0", "is not the address of a name server; allowed: an IP address with or "
          "without a port, as in 10.0.0.53 or [2001:db8::53]:5353" },
        { "resolver.timeout", "2", "has no unit; allowed: " DURATION("10ms", "1m") },
        { "resolver.hold", "off", "is not a duration; allowed: " DURATION("1ms", "1d") },

        { "frontend.allow", "10.0.0.1/8", "has bits set after its prefix; allowed: 10.0.0.0/8, or 10.0.0.1" },
        { "frontend.allow", "2001:db8::1/32", "has bits set after its prefix; allowed: 2001:db8::/32, or "
          "2001:db8::1" },
        { "frontend.allow", "::ffff:10.0.0.1/104", "has bits set after its prefix; allowed: ::ffff:10.0.0.0/104, or "
          "::ffff:10.0.0.1" },
        { "frontend.allow", "none", "is not known; allowed: " RULES },
        { "frontend.allow", "", "is not known; allowed: " RULES },
        { "frontend.allow", "10.0.0/8", "is not known; allowed: " RULES },
        { "frontend.allow", "10.0.0.0/33", "has no prefix from 0 to 32 behind its slash; allowed: " RULES },
        { "frontend.allow", "10.0.0.0/", "has no prefix from 0 to 32 behind its slash; allowed: " RULES },
        { "frontend.allow", "::/129", "has no prefix from 0 to 128 behind its slash; allowed: " RULES },
        { "frontend.allow", "[::1]", "is not known; allowed: " RULES },
        { "frontend.deny", "all", "is not known; allowed: " RULES },
        { "frontend.deny", "uid:", "has no number from 0 to 4294967294 behind its colon; allowed: " RULES },
        { "frontend.deny", "uid:4294967295", "has no number from 0 to 4294967294 behind its colon; allowed: " RULES },
        { "frontend.deny", "uid:bob", "has no number from 0 to 4294967294 behind its colon; allowed: " RULES },
        { "frontend.deny", "gid:-1", "has no number from 0 to 4294967294 behind its colon; allowed: " RULES },
        { "frontend.deny", "user:", "has no name of 1 to 255 bytes behind its colon; allowed: " RULES },
        { "frontend.deny", "group:", "has no name of 1 to 255 bytes behind its colon; allowed: " RULES },
        { "frontend.listen.proxy-from", "localhost", "is not known; allowed: " RULES },
        { "frontend.listen.accept-proxy", "v2", "is neither on nor off; allowed: " BOOLEAN },
        { "frontend.rate", "100", "has no unit; allowed: 1/s to 10000000/s, or off" },
        { "frontend.rate", "0/s", "is out of range; allowed: 1/s to 10000000/s, or off" },
        { "frontend.rate", "1K/s", "is not a rate; allowed: 1/s to 10000000/s, or off" },
        { "frontend.rate-per-source", "/s", "is not a rate; allowed: 1/s to 10000000/s, or off" },
        { "frontend.max-per-source", "-1", "is not a number; allowed: 1 to 10000000, or off" },
        { "frontend.upload-rate", "0", "is out of range; allowed: " BYTE_RATE },
        { "frontend.upload-rate", "fast", "is not a rate; allowed: " BYTE_RATE },
        { "frontend.download-rate", "10M/m", "is not a rate; allowed: " BYTE_RATE },

        { "frontend.route.sni", "*", HOST_NAME },
        { "frontend.route.sni", "a.*.org", HOST_NAME },
        { "frontend.route.sni", "*.*.org", HOST_NAME },
        { "frontend.route.sni", "*.", HOST_NAME },
        { "frontend.route.sni", "example.org.", HOST_NAME },
        { "frontend.route.sni", "a..org", HOST_NAME },
        { "frontend.route.sni", "-a.org", HOST_NAME },
        { "frontend.route.sni", "10.0.0.1", HOST_NAME },
        { "frontend.route.sni", NAME_64 ".org", HOST_NAME },
        { "frontend.route.alpn", "", "is empty; allowed: 1 to 255 bytes, as in h2" },
        { "frontend.route.from", "unix", "is not known; allowed: " NETWORKS },
        { "frontend.route.from", "10.0.0.0/99", "has no prefix from 0 to 32 behind its slash; allowed: " NETWORKS },
        { "frontend.route.from", "all", "is not known; allowed: " NETWORKS },
        { "frontend.route.uid", "bob", "is not a number; allowed: 0 to 4294967294" },
        { "frontend.route.gid", "4294967295", "is out of range; allowed: 0 to 4294967294" },
        { "frontend.route.backend", "nope", "is not defined; allowed: b" },
};

/*
 * Configs for keys whose paths begin so: the first that fits is taken.  @ is
 * the key with its value; everything else is as it must be.
 */
#define REST_F " frontend \"g\" { listen \":81\" { } backend = \"b\" }"
#define REST_B " backend \"b\" { server \"s\" { address = \"h:1\" } }"
#define ROUTE(keys) "frontend \"f\" { listen \"fd:a\" { } route \"r\" { " keys " } }" REST_B
#define LISTENER(address, keys) "frontend \"f\" { backend = \"b\" listen \"" address "\" { " keys " } }" REST_B
#define FRONTEND(keys) "frontend \"f\" { listen \":80\" { } " keys " }" REST_B
#define SERVER(keys) "backend \"b\" { check { } server \"s\" { " keys " } }" REST_F
#define BACKEND(keys) "backend \"b\" { server \"s\" { address = \"h:1\" } " keys " }" REST_F

static const struct { const char *path, *text; } value_texts[] = {
        { "frontend.route.backend", ROUTE("sni = \"a.b\" @") },
        { "frontend.route.", ROUTE("backend = \"b\" @") },
        { "frontend.listen.proxy-from", LISTENER("[::]:80", "accept-proxy = on @") },
        { "frontend.listen.socket.", LISTENER("[::]:80", "socket { @ }") },
        { "frontend.listen.", LISTENER("[::]:80", "@") },
        { "unix.", LISTENER("unix:/a", "@") },
        { "frontend.backend", FRONTEND("@") },
        { "frontend.timeouts.", FRONTEND("backend = \"b\" timeouts { @ }") },
        { "frontend.socket.", FRONTEND("backend = \"b\" socket { @ }") },
        { "frontend.", FRONTEND("backend = \"b\" @") },
        { "backend.server.address", SERVER("@") },
        { "backend.server.socket.", SERVER("address = \"h:1\" socket { @ }") },
        { "backend.server.", SERVER("address = \"h:1\" @") },
        { "backend.check.send", BACKEND("check { type = expect expect = \"x\" @ }") },
        { "backend.check.expect", BACKEND("check { type = expect @ }") },
        { "backend.check.", BACKEND("check { @ }") },
        { "backend.outlier.", BACKEND("outlier { @ }") },
        { "backend.timeouts.", BACKEND("timeouts { @ }") },
        { "backend.socket.", BACKEND("socket { @ }") },
        { "backend.", BACKEND("@") },
        { "log.", "log { @ }" REST_F REST_B },
        { "access-log.", "access-log { @ }" REST_F REST_B },
        { "admin.", "admin { @ }" REST_F REST_B },
        { "resolver.", "resolver { @ }" REST_F REST_B },
        { "timeouts.", "timeouts { @ }" REST_F REST_B },
        { "socket.", "socket { @ }" REST_F REST_B },
        { "", "@" REST_F REST_B },
};

/* A config where the key of that path has that value, alone on line 2. */
static void value_text(char *text, size_t size, const char *path, const char *value) {
        const char *key = strrchr(path, '.') ? strrchr(path, '.') + 1 : path, *at;
        size_t i = 0;

        while (strncmp(path, value_texts[i].path, strlen(value_texts[i].path)) != 0)
                i++;
        at = strchr(value_texts[i].text, '@');
        snprintf(text, size, "%.*s\n%s = \"%s\"\n%s", (int)(at - value_texts[i].text), value_texts[i].text, key, value,
                 at + 1);
}

/* Whether a row's key means that path: the path itself, its end, or the UNIX form of a listener's. */
static int value_means(const char *key, const char *path) {
        size_t n = strlen(key), len = strlen(path);

        if (strncmp(key, "unix.", 5) == 0)
                return strncmp(path, "frontend.listen.", 16) == 0 && strcmp(path + 16, key + 5) == 0;
        if (strcmp(key, path) == 0)
                return 1;
        if (strncmp(key, "socket.", 7) != 0 && strncmp(key, "timeouts.", 9) != 0)
                return 0;
        return len > n && path[len - n - 1] == '.' && strcmp(path + len - n, key) == 0;
}

struct counts { unsigned keys, rows; };

/* Calls the rows of one key. */
static void check_key(const char *path, void *arg) {
        const char *key = strrchr(path, '.') ? strrchr(path, '.') + 1 : path;
        static const char *const sections[] = {
                "include", "log", "access-log", "admin", "resolver", "timeouts", "socket", "frontend", "backend",
                "frontend.listen", "frontend.route", "frontend.timeouts", "backend.server", "backend.check",
                "backend.outlier", "backend.timeouts",
        };
        struct counts *counts = arg;
        unsigned found = 0;
        size_t len = strlen(path);

        for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
                if (strcmp(path, sections[i]) == 0)
                        return;
        if (len > 7 && strcmp(path + len - 7, ".socket") == 0 && strcmp(path, "admin.socket") != 0)
                return;
        for (size_t i = 0; i < sizeof(value_rows) / sizeof(value_rows[0]); i++) {
                const struct value_row *row = &value_rows[i];
                char text[1024], expected[1024], *errors;
                struct conf *conf;

                if (!value_means(row->key, path))
                        continue;
                found++;
                value_text(text, sizeof(text), strncmp(row->key, "unix.", 5) == 0 ? row->key : path, row->value);
                snprintf(expected, sizeof(expected), "t:2: %s: '%s' %s\n", key, row->value, row->message);
                assert_int_equal(conf_test_load(&conf, text, &errors), CONF_INVALID);
                assert_string_equal(errors, expected);
                assert_null(conf);
                free(errors);
        }
        if (found == 0)
                fail_msg("no test of the error message of %s", path);
        counts->keys++;
        counts->rows += found;
}

static void test_values(void **state) {
        struct counts counts = { 0 };

        (void)state;
        conf_each_key(check_key, &counts);
        assert_true(counts.keys > 150);
        assert_true(counts.rows > counts.keys);
}

static void test_unknown(void **state) {
        static const struct conf_test_row rows[] = {
                { "thread = 2" CONF_REST,
                  "t:1: unknown key 'thread' at the top level (did you mean 'threads'?); allowed: " TOP_KEYS "\n" },
                { "# c\n\n/* c\n */ users = \"bob\" sandbox = on\nadmins { socket = \"/x\" } resolvers { servers = "
                  "{\"a\", \"b\"} }"
                  CONF_REST,
                  "t:4: unknown key 'users' at the top level (did you mean 'user'?); allowed: " TOP_KEYS "\n"
                  "t:5: unknown key 'admins' at the top level (did you mean 'admin'?); allowed: " TOP_KEYS "\n"
                  "t:5: unknown key 'resolvers' at the top level (did you mean 'resolver'?); allowed: " TOP_KEYS
                  "\n" },
                { "frontend \"f\" { listen \":80\" { send-proxy = on\nfrom = { \"a\" } }\n mirror \"r\" { sni "
                  "= { \"x\" } }\n"
                  "pass-fds += \"1/s\" denied = { a, b } backend = \"b\" }\n"
                  "backend \"b\" { health { interval = 2s } server \"s\" { address = \"h:1\"\naccept-proxy = v1 } }",
                  "t:1: unknown key 'send-proxy' in listen \":80\"; allowed: " LISTENER_KEYS "\n"
                  "t:2: unknown key 'from' in listen \":80\"; allowed: " LISTENER_KEYS "\n"
                  "t:3: unknown key 'mirror' in frontend \"f\"; allowed: " FRONTEND_KEYS "\n"
                  "t:4: unknown key 'pass-fds' in frontend \"f\"; allowed: " FRONTEND_KEYS "\n"
                  "t:4: unknown key 'denied' in frontend \"f\"; allowed: " FRONTEND_KEYS "\n"
                  "t:5: unknown key 'health' in backend \"b\"; allowed: " BACKEND_KEYS "\n"
                  "t:6: unknown key 'accept-proxy' in server \"s\"; allowed: " SERVER_KEYS "\n" },
                { "timeouts { prefix = 5s que = 1s }" CONF_REST,
                  "t:1: unknown key 'prefix' in timeouts; allowed: preface, client, "
                  "client-fin, session, " SERVER_TIMEOUTS "\n"
                  "t:1: unknown key 'que' in timeouts; allowed: preface, client, client-fin, "
                  "session, " SERVER_TIMEOUTS "\n" },
                { "frontend \"f\" { timeouts { connect = 1s } listen \":80\" { } backend = \"b\" }\n"
                  "backend \"b\" { timeouts { client = 1s } server \"s\" { address = \"h:1\" } }",
                  "t:1: unknown key 'connect' in timeouts; allowed: " CLIENT_TIMEOUTS "\n"
                  "t:2: unknown key 'client' in timeouts; allowed: " SERVER_TIMEOUTS "\n" },
                /* What a key seems to have been meant to be is not missed as well. */
                { "frontend \"f\" { listn \":80\" { } bakend = \"b\" }\nbackend \"b\" { srever \"s\" { adress = "
                  "\"h:1\" } }",
                  "t:1: unknown key 'listn' in frontend \"f\" (did you mean 'listen'?); allowed: " FRONTEND_KEYS "\n"
                  "t:1: unknown key 'bakend' in frontend \"f\" (did you mean 'backend'?); allowed: " FRONTEND_KEYS "\n"
                  "t:2: unknown key 'srever' in backend \"b\" (did you mean 'server'?); allowed: " BACKEND_KEYS
                  "\n" },
                { "\x1b[31m = 1" CONF_REST,
                  "t:1: unknown key '\\x1b[31m' at the top level; allowed: " TOP_KEYS "\n" },
                { "\"threads\" = 1" CONF_REST,
                  "t:1: unknown key '\"threads\"' at the top level (did you mean 'threads'?); allowed: " TOP_KEYS
                  "\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_twice(void **state) {
        static const struct conf_test_row rows[] = {
                { "threads = 1\nthreads = 2\nlog { level = info\nlevel = debug }\nlog { }" CONF_REST,
                  "t:2: 'threads' is given twice at the top level; allowed: once, and it is at t:1\n"
                  "t:4: 'level' is given twice in log; allowed: once, and it is at t:3\n"
                  "t:5: 'log' is given twice at the top level; allowed: once, and it is at t:3\n" },
                { CONF_REST CONF_REST,
                  "t:5: frontend 'f' is defined twice; allowed: once, and it is at t:2\n"
                  "t:5: listen: ':80' is the same address as ':80' at t:2; allowed: one listener for an address\n"
                  "t:6: backend 'b' is defined twice; allowed: once, and it is at t:3\n" },
                { "frontend \"f\" { listen \"unix:@a\" { } listen \"[::ffff:10.0.0.1]:80\" { }\nlisten 'unix:@a' { } "
                  "backend = \"b\"\n"
                  "backend = \"b\" listen \"10.0.0.1:80\" { } }\n"
                  "backend \"b\" { server \"s\" { address = \"h:1\" }\nserver \"s\" { address = \"h:2\" address = "
                  "\"h:3\" } }",
                  "t:2: listen: 'unix:@a' is the same address as 'unix:@a' at t:1; allowed: one listener for an "
                  "address\n"
                  "t:3: 'backend' is given twice in frontend \"f\"; allowed: once, and it is at t:2\n"
                  "t:3: listen: '10.0.0.1:80' is the same address as '[::ffff:10.0.0.1]:80' at t:1; allowed: one "
                  "listener for an address\n"
                  "t:5: 'address' is given twice in server \"s\"; allowed: once, and it is at t:5\n"
                  "t:5: server 's' is defined twice; allowed: once, and it is at t:4\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_no_effect(void **state) {
        static const struct conf_test_row rows[] = {
                { "frontend \"f\" { backend = \"b\"\n"
                  "listen \":80\" { mode = \"0660\" owner = \"a\"\ngroup = \"a\" }\n"
                  "listen \"10.0.0.1:81\" { v6only = off }\n"
                  "listen \"unix:@a\" { mode = \"0660\" }\n"
                  "listen \"unix:/a\" { v6only = on\ndefer-accept = 1s socket { rcvbuf = 1M\nnodelay = on } }\n"
                  "}\n"
                  "backend \"b\" {\n"
                  "server \"u\" { address = \"unix:/a\" source = \"10.0.0.1\"\nsocket { sndbuf = 1M mptcp = on } }\n"
                  "server \"4\" { address = \"10.0.0.1:80\" source = \"::1\" }\n"
                  "server \"6\" { address = \"[::1]:80\" source = \"10.0.0.1:80\" }\n"
                  "server \"h\" { address = \"h:80\" source = \"10.0.0.1:80\" } }",
                  "t:2: 'mode' has no effect on this address; allowed on addresses like unix:/path\n"
                  "t:2: 'owner' has no effect on this address; allowed on addresses like unix:/path\n"
                  "t:3: 'group' has no effect on this address; allowed on addresses like unix:/path\n"
                  "t:4: 'v6only' has no effect on this address; allowed on IPv6 addresses\n"
                  "t:5: 'mode' has no effect on this address; allowed on addresses like unix:/path\n"
                  "t:6: 'v6only' has no effect on this address; allowed on IPv6 addresses\n"
                  "t:7: 'defer-accept' has no effect on this address; allowed on TCP addresses\n"
                  "t:8: 'nodelay' has no effect on this address; allowed on TCP addresses\n"
                  "t:11: 'source' has no effect on this address; allowed on TCP addresses\n"
                  "t:12: 'mptcp' has no effect on this address; allowed on TCP addresses\n"
                  "t:13: source: an IPv6 address cannot reach '10.0.0.1:80'; allowed: an IPv4 address\n"
                  "t:14: source: an IPv4 address cannot reach '[::1]:80'; allowed: an IPv6 address\n" },
                { "frontend \"f\" { backend = \"b\"\n"
                  "listen \"fd:a\" { backlog = 5\nmode = \"0660\"\nv6only = on\ndefer-accept = 1s\n"
                  "socket { nodelay = off } }\n"
                  "listen \"fd:a\" { } }\n"
                  "backend \"b\" { server \"s\" { address = \"fd:a\" source = \"fd:b\" } }",
                  "t:2: 'backlog' has no effect on this address; allowed on addresses other than fd:NAME\n"
                  "t:3: 'mode' has no effect on this address; allowed on addresses like unix:/path\n"
                  "t:4: 'v6only' has no effect on this address; allowed on IPv6 addresses\n"
                  "t:5: 'defer-accept' has no effect on this address; allowed on TCP addresses\n"
                  "t:7: listen: 'fd:a' is the same address as 'fd:a' at t:2; allowed: one listener for an address\n"
                  "t:8: address: 'fd:a' is a listening socket, and a server needs an address; allowed: "
                  SERVER_ADDRESS "\n"
                  "t:8: source: 'fd:b' is not a local address; allowed: an IP address with or without a port, as in "
                  "10.0.0.1, 2001:db8::1 or 10.0.0.1:4000\n" },
                { "frontend \"f\" { listen \":80\" { } backend = \"b\"\naccess-log = on }\n"
                  "backend \"b\" { server \"s\" { address = \"h:1\" } }",
                  "t:2: access-log: 'on' has no effect, since the top level has no access log; allowed: off, or "
                  "access-log { to = ... } at the top level\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_missing(void **state) {
        static const struct conf_test_row rows[] = {
                { "\nfrontend \"f\" { }\nbackend \"b\" { }\nbackend \"c\" {\nserver \"s\" {\n} }",
                  "t:2: frontend 'f' has no backend; allowed: backend = \"NAME\", or one route at least, as in route "
                  "\"NAME\" { ... }\n"
                  "t:2: frontend 'f' has no listen; allowed: one at least, as in listen \":8080\" { }\n"
                  "t:3: backend 'b' has no server; allowed: one at least, as in server \"a\" { address = \"ADDRESS\" "
                  "}\n"
                  "t:5: server 's' has no address; allowed: address = \"ADDRESS\"\n" },
                { "threads = 2", "t:1: there is no frontend; allowed: one at least, as in frontend \"web\" { ... }\n" },
                { "frontend \"f\" { listen \":80\" { }\nbackend = \"b\" }",
                  "t:2: backend: 'b' is not defined; allowed: the name of a backend, and there is none\n" },
                { "frontend \"f\" { listen \":80\" { }\nbackend = \"bx\" }\nbackend \"a\" { server \"s\" { address = "
                  "\"h:1\" } }\n"
                  "backend \"b\" { server \"s\" { address = \"h:1\" } }",
                  "t:2: backend: 'bx' is not defined; allowed: a, b\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_names_and_addresses(void **state) {
        static const struct conf_test_row rows[] = {
                { "frontend \"\" { listen \"web:80\" { }\nlisten \"fd:\" { }\nlisten \"unix:a\" { }\nlisten \":0\" { "
                  "}\n"
                  "listen \"unix:" PATH_108 "\" { }\nlisten \"10.0.0.1:80\\n\" { } backend = \"b/c\" }\n"
                  "backend \"b/c\" { server \"" NAME_64 "\" { address = \"h:1\" }\n"
                  "server \"" NAME_64 "x\" { address = \"h:1\" }\nserver \"a\\tb\" { address = \"h:1\\n\" } server "
                  "\"\\xff\" { address = \"h:1\" } }",
                  "t:1: frontend: '' is empty; allowed: a name of 1 to 64 bytes\n"
                  "t:1: listen: 'web:80' is a host name, and a listener needs an address; allowed: 10.0.0.1:80, "
                  "[2001:db8::1]:80, :80, unix:/path, unix:@name or fd:NAME\n"
                  "t:2: listen: 'fd:' is refused: fd: needs the name or number of an inherited socket behind it\n"
                  "t:3: listen: 'unix:a' is refused: a UNIX address is unix:/path, an absolute path, or unix:@name, an "
                  "abstract name\n"
                  "t:4: listen: ':0' is refused: the port must be a number from 1 to 65535\n"
                  "t:5: listen: 'unix:" PATH_108 "' is refused: a UNIX path is at most 107 bytes long\n"
                  "t:6: listen: '10.0.0.1:80\\n' holds a control character; allowed: printable characters\n"
                  "t:7: backend: 'b/c' is no name; allowed: printable characters but /\n"
                  "t:8: server: '" NAME_64 "x' is too long; allowed: a name of 1 to 64 bytes\n"
                  "t:9: server: 'a\\tb' is no name; allowed: printable characters but /\n"
                  "t:9: address: 'h:1\\n' holds a control character; allowed: printable characters\n"
                  "t:9: server: '\\xff' is no name; allowed: printable characters but /\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

/* The form of statements, and what goes on after each mistake. */
static void test_form(void **state) {
        static const struct conf_test_row rows[] = {
                { "threads 2\ndrain\npid-file = \nthreads = {1, 2}\ndrain += 5s\nlog = stderr\ntimeouts \"x\" { "
                  "client = 1x }\nsocket" CONF_REST,
                  "t:1: 'threads' needs a = behind it, not '2'; allowed: threads = VALUE\n"
                  "t:2: 'drain' needs a = behind it, not 'pid-file'; allowed: drain = VALUE\n"
                  "t:3: 'pid-file' needs one value behind its =, not 'threads'; allowed: pid-file = VALUE\n"
                  "t:4: 'threads' needs one value behind its =, not '{'; allowed: threads = VALUE\n"
                  "t:5: 'drain' needs a = behind it, not '+='; allowed: drain = VALUE\n"
                  "t:6: 'log' is a section, and needs braces behind it, not '='; allowed: log { ... }\n"
                  "t:7: 'timeouts' takes no name, not '\"x\"'; allowed: timeouts { ... }\n"
                  "t:7: client: '1x' is not a duration; allowed: " TIMEOUT "\n"
                  "t:8: 'socket' is a section, and needs braces behind it, not 'frontend'; allowed: socket { ... }\n" },
                { "frontend { listen \":80\" { x = 1 } }\nfrontend = 1\nfrontend \"x\" listen\ninclude "
                  "\"x\"\ninclude(\"a\", \"b\")" CONF_REST,
                  "t:1: 'frontend' needs a name before its braces; allowed: frontend \"NAME\" { ... }\n"
                  "t:1: unknown key 'x' in listen \":80\"; allowed: " LISTENER_KEYS "\n"
                  "t:2: 'frontend' is a section, and needs a name behind it, not '='; allowed: frontend \"NAME\" { "
                  "... }\n"
                  "t:3: 'frontend \"x\"' needs braces behind it; allowed: frontend \"NAME\" { ... }\n"
                  "t:3: unknown key 'listen' at the top level; allowed: " TOP_KEYS "\n"
                  "t:4: 'include' needs one path between parentheses; allowed: include(\"PATH\")\n"
                  "t:5: 'include' needs one path between parentheses; allowed: include(\"PATH\")\n" },
                { "}\n= , (\n@ threads = 2x" CONF_REST,
                  "t:1: unexpected '}', since no section is open; allowed here: a key\n"
                  "t:2: unexpected '='; allowed here: a key\n"
                  "t:3: unknown key '@' at the top level; allowed: " TOP_KEYS "\n"
                  "t:3: threads: '2x' is not a number; allowed: 1 to 256, or auto\n" },
                { "frontend \"f\" { listen \":80\" { } backend = \"b\"\nbackend \"b\" { server \"s\" { address = "
                  "\"h:1\" } }",
                  "t:1: the { in frontend \"f\" is never closed; allowed: pairs of braces\n"
                  "t:2: 'backend' needs a = behind it, not '\"b\"'; allowed: backend = VALUE\n" },
                { "frontend \"f\" { listen \":80\" { } backend = \"b\"\nfrontend \"g\" { }\n",
                  "t:1: the { in frontend \"f\" is never closed; allowed: pairs of braces\n"
                  "t:2: unknown key 'frontend' in frontend \"f\" (it belongs to the top level: is a } missing "
                  "above?); allowed: "
                  FRONTEND_KEYS "\n" },
                { "adm {", "t:1: unknown key 'adm' at the top level; allowed: " TOP_KEYS
                  "\nt:1: '{' is never closed; allowed: pairs of them\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

/* What libconfuse's lexer would pass over or choke on. */
static void test_words(void **state) {
        static const struct conf_test_row rows[] = {
                { "pid-file = \"/x\ndrain = 5s # \"\nthreads = 'y\nmax-connections = 0" CONF_REST,
                  "t:1: the string \"/x has no closing \" on its line; allowed: pairs of quotes\n"
                  "t:3: the string 'y has no closing ' on its line; allowed: pairs of quotes\n"
                  "t:4: max-connections: '0' is out of range; allowed: 1 to 10000000, or auto\n" },
                { "pid-file = /a*b threads = x" CONF_REST,
                  "t:1: '/a*b' holds a * outside of quotes; allowed: \"/a*b\"\n"
                  "t:1: threads: 'x' is not a number; allowed: 1 to 256, or auto\n" },
                { "pid-file = \"/a\\400\"\ndrain = \"\\x00\"\nthreads = \"\\1234\"\nmax-connections = \"\\9\""
                  CONF_REST,
                  "t:1: '\\400' is not a byte that a string can hold; allowed: \\001 to \\377, or \\x01 to \\xff\n"
                  "t:2: '\\x00' is not a byte that a string can hold; allowed: \\001 to \\377, or \\x01 to \\xff\n"
                  "t:3: '\\1234' is not a byte that a string can hold; allowed: \\001 to \\377, or \\x01 to \\xff\n"
                  "t:4: '\\9' is not a byte that a string can hold; allowed: \\001 to \\377, or \\x01 to \\xff\n" },
                { "pid-file = \"${CONF_TEST_UNSET}\"\ndrain = ${CONF_TEST_UNSET}\nthreads = "
                  "\"${CONF\"\nmax-connections = ${X\nlog { }" CONF_REST,
                  "t:1: the environment has no 'CONF_TEST_UNSET'; allowed: a variable that is set, or "
                  "${NAME:-default}\n"
                  "t:2: the environment has no 'CONF_TEST_UNSET'; allowed: a variable that is set, or "
                  "${NAME:-default}\n"
                  "t:3: '${CONF\"' has no closing brace; allowed: ${NAME} or ${NAME:-default}\n"
                  "t:4: '${X' has no closing brace; allowed: ${NAME} or ${NAME:-default}\n" },
                { "threads = x /* open" CONF_REST,
                  "t:1: the comment /* has no end; allowed: /* ... */ (a value that holds /* needs quotes)\n"
                  "t:1: threads: 'x' is not a number; allowed: 1 to 256, or auto\n" },
                { "+ threads = 0" CONF_REST,
                  "t:1: unexpected '+'; allowed outside of quotes: letters, digits and - _ . : @ % [ ] /\n"
                  "t:1: threads: '0' is out of range; allowed: 1 to 256, or auto\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

/* Bytes that are no text, and words without end, come out as one short line. */
static void test_bytes(void **state) {
        static const char start[] = "threads = 2\0" "2\xff\x01 = 1\n";
        char text[4096], *errors;
        size_t len = sizeof(start) - 1, size;
        FILE *stream = open_memstream(&errors, &size);
        struct conf *conf;

        (void)state;
        memcpy(text, start, len);
        memset(text + len, 'x', 2000);
        len += 2000;
        memcpy(text + len, CONF_REST, sizeof(CONF_REST) - 1);
        len += sizeof(CONF_REST) - 1;
        assert_int_equal(conf_load_text(&conf, "t\x1b", text, len, stream), CONF_INVALID);
        fclose(stream);
        assert_non_null(strstr(errors, "t\\x1b:1: unexpected '\\x00'; allowed outside of quotes"));
        assert_non_null(strstr(errors, "t\\x1b:1: unknown key '2\\xff\\x01' at the top level"));
        assert_non_null(strstr(errors, "t\\x1b:2: unknown key 'xxxxxxxx"));
        assert_non_null(strstr(errors, "...' at the top level; allowed: "));
        assert_true(size < 2000);
        free(errors);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_unknown),
                cmocka_unit_test(test_twice),
                cmocka_unit_test(test_no_effect),
                cmocka_unit_test(test_missing),
                cmocka_unit_test(test_names_and_addresses),
                cmocka_unit_test(test_form),
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_bytes),
        };

        return cmocka_run_group_tests_name("conf_mistakes", tests, NULL, NULL);
}
