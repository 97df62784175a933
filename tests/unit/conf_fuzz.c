/* SPDX-License-Identifier: ISC */
#include "conf_test.h"

#include <ctype.h>

/*
 * Damaged configs: a fixed series of random changes to a good one.  Whatever
 * comes out, loading must neither crash nor leave a mistake unsaid,
 * and what loads must come back through -T as it was.  The sanitizers watch.
 */

#define ROUNDS 4000

static const char good[] =
        "# comment\nthreads = 2 drain = 5s // x\n/* more\n */ log { to = \"file:/var/log/x\" level = debug }\n"
        "access-log { to = syslog format = json }\ntimeouts { client = 10m connect = 2s preface = 1s queue = 3s }\n"
        "socket { rcvbuf = 64K user-timeout = 30s } resolver { servers = { \"10.0.0.53\", \"[::1]:53\" } hold = 1m }\n"
        "frontend \"web\" {\n  listen \":8080\" { v6only = on accept-proxy = on proxy-from = { 10.0.0.0/8, \"::/0\" "
        "} }\n"
        "  listen \"unix:/run/${NOPE:-spliced}/web.sock\" { mode = \"0600\" group = 'www-data' socket { sndbuf = 1M } "
        "}\n"
        "  listen \"127.0.0.1:81\" { defer-accept = 2s backlog = 64 socket { nodelay = off pacing-rate = \"10M/s\" } "
        "}\n"
        "  backend = app\n  timeouts { session = 1d }\n  rate = 100/s rate-per-source = \"5/s\" upload-rate = 1M/s\n"
        "  allow = { unix, \"uid:1000\", user:bob, 192.168.0.0/16,\n"
        "\"2001:db8::/32\", } deny = none max-per-source = 9\n"
        "  route \"a\" { sni = { \"*.example.org\", a.b } alpn = h2 backend = other }\n"
        "  route \"b\" { uid = { 0, 0x10 } gid = 5 from = { \"10.0.0.0/8\" } backend = \"app\" }\n}\n"
        "backend \"app\" {\n  server \"a\" { address = \"10.0.0.11:80\" weight = 2 source = \"10.0.0.1\" check = off "
        "slow-start = 5s }\n"
        "  server \"b\" { address = \"unix:/run/app/b.sock\" backup = yes send-proxy = v2 }\n"
        "  server \"\\x63\" { address = \"db.example.org:80\" disabled = true check-address = \"127.0.0.1:1\" }\n"
        "  check { type = expect send = \"PI\\0NG\\r\\n\" expect = '/^\\+PONG/' interval = 1s }\n"
        "  outlier { failures = 2 } queue = 9 when-down = wait resolve = 5s balance = source\n  retries = 0\n}\n"
        "backend other { server x { address = \"srv:_a._tcp.example.org\" max-connections = 5 }\n"
        "  check { type = expect expect = \"a\\\\x00\\\\\\\\\" } queue = 5 }\n";

/* Bits of language, to break it where it is thinnest. */
static const char *const bits[] = {
        "{", "}", "=", "\"", "'", "(", ")", "+=", ",", "*", "/*", "*/", "//", "#", "\\", "\\x", "\\0", "\\777", "${",
        "}",
        "${A:-b}", "\n", "\xff", "\xc3", "timeouts", "frontend \"x\"", "include(\"*\")", "include", "listen",
        "server", "0", "off", "{ }", "{ a, b }", "all", "none", ",,", "/8", "/", "/(", "100/s", "route \"r\"", "sni",
        "allow", "check {", "expect = ", "\\\\", "uid:", "*.", "srv:", "backend = app",
        "999999999999999999999999", "\x1b", "unix:", "unix:@", "\\x00", "\"dropped()\"", "|", ":", "[", "%1", "-",
};

/* A generator of its own, so that a failure comes back on every system. */
static unsigned next(uint64_t *seed, unsigned below) {
        *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (unsigned)((*seed >> 33) % below);
}

static size_t damage(uint64_t *seed, char *text, size_t len) {
        size_t at = len ? next(seed, (unsigned)len) : 0, n;
        const char *bit;

        switch (next(seed, 8)) {
        case 0:
                if (len)
                        text[at] = (char)next(seed, 256);
                return len;
        case 1:
        case 2:
                n = next(seed, 20);
                if (n > len - at)
                        n = len - at;
                memmove(text + at, text + at + n, len - at - n);
                return len - n;
        case 3:
                return at;
        default:
                bit = bits[next(seed, sizeof(bits) / sizeof(bits[0]))];
                n = strlen(bit);
                memmove(text + at + n, text + at, len - at);
                memcpy(text + at, bit, n);
                return len + n;
        }
}

static void check_round_trip(struct conf *conf) {
        char *first = conf_test_print(conf), *second;

        conf_free(conf);
        conf = conf_test_good(first);
        second = conf_test_print(conf);
        assert_string_equal(first, second);
        conf_free(conf);
        free(first);
        free(second);
}

/* Every line is "NAME:LINE: text" or "NAME: text", and printable. */
static void check_errors(const char *errors, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (iscntrl((unsigned char)errors[i]) && errors[i] != '\n')
                        fail_msg("a control character in: %s", errors);
        if (size == 0 || errors[size - 1] != '\n')
                fail_msg("no whole line: '%s'", errors);
        for (const char *line = errors; *line; line = strchr(line, '\n') + 1)
                if (strncmp(line, "none/t:", 7) != 0)
                        fail_msg("no place: %s", line);
        if (strstr(errors, "libconfuse"))
                fail_msg("libconfuse was given something that it refuses: %s", errors);
}

static void test_damaged(void **state) {
        uint64_t seed = 42;
        unsigned loaded = 0;

        (void)state;
        for (unsigned round = 0; round < ROUNDS; round++) {
                char *text = malloc(sizeof(good) + 1024), *errors;
                size_t len = sizeof(good) - 1, size;
                FILE *stream = open_memstream(&errors, &size);
                struct conf *conf;
                int r;

                assert_non_null(text);
                assert_non_null(stream);
                memcpy(text, good, len);
                for (unsigned i = next(&seed, 4) + 1; i > 0; i--)
                        len = damage(&seed, text, len);
                text = realloc(text, len + 1);
                r = conf_load_text(&conf, "none/t", text, len, stream);
                fclose(stream);
                if (r == 0) {
                        assert_string_equal(errors, "");
                        check_round_trip(conf);
                        loaded++;
                } else {
                        assert_int_equal(r, CONF_INVALID);
                        assert_null(conf);
                        check_errors(errors, size);
                }
                free(errors);
                free(text);
        }
        /* Neither all nor none: the changes hit, and do not only destroy. */
        assert_in_range(loaded, ROUNDS / 100, ROUNDS / 2);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_damaged) };

        return cmocka_run_group_tests_name("conf_fuzz", tests, NULL, NULL);
}
