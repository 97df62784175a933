/* SPDX-License-Identifier: ISC */
/* The access log's line: every field in both formats, and strings that try to break it. */
#include "session/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char line[ACCESS_LINE_MAX + 1];

/* CONFIG.md's list, in its order. */
static const char *const fields[] = {
        "time", "session", "frontend", "listener", "client", "uid", "gid", "pid", "backend", "server", "address", "sni",
        "bytes_up", "bytes_down", "queue_ms", "connect_ms", "duration_ms", "retries", "tried", "end", "error",
        "client_rtt_us", "client_retrans", "server_rtt_us", "server_retrans",
};
#define N_FIELDS (sizeof(fields) / sizeof(*fields))

static void set_in(struct sockaddr_in *in, const char *ip, uint16_t port) {
        *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
        assert_int_equal(inet_pton(AF_INET, ip, &in->sin_addr), 1);
}

/* A record with everything set. */
static struct access_record full(void) {
        struct access_record record = {
                .wall_ms = 1767323045678, .session = UINT64_MAX, .frontend = "web", .listener = ":8080",
                .backend = "app", .server = "b", .sni = "example.org", .bytes_up = 1ull << 40, .bytes_down = 7,
                .queue_ms = 0, .connect_ms = 3, .duration_ms = 12345, .client_rtt_us = 100, .client_retrans = 0,
                .server_rtt_us = 250, .server_retrans = 2,
                .uid = UINT32_MAX - 1, .gid = 33, .pid = 4711, .has_creds = 1, .end = ACCESS_SERVER_RESET, .n_tried = 2,
                .error = ECONNRESET, .retries = 1, .tried = { "a", "b" },
        };

        set_in(&record.client.in, "192.0.2.7", 50000);
        record.address.kind = ADDR_IP;
        record.address.len = sizeof(record.address.in);
        set_in(&record.address.in, "10.0.0.2", 80);
        return record;
}

static json_t *as_json(const struct access_record *record) {
        size_t len = access_format(line, sizeof(line), record, 1);
        json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

        assert_in_range(len, 1, ACCESS_LINE_MAX);
        assert_non_null(json);
        for (size_t i = 0; i < len; i++)
                assert_in_range(line[i], 0x20, 0x7e);
        return json;
}

static const char *as_text(const struct access_record *record) {
        size_t len = access_format(line, sizeof(line), record, 0);

        assert_int_equal(len, strlen(line));
        return line;
}

static void test_json_has_every_field_in_order(void **state) {
        struct access_record records[] = { full(), access_record_none() };

        for (size_t i = 0; i < 2; i++) {
                json_t *json = as_json(&records[i]), *value;
                const char *key;
                size_t n = 0;

                json_object_foreach(json, key, value) {
                        assert_true(n < N_FIELDS);
                        assert_string_equal(key, fields[n++]);
                }
                assert_int_equal(n, N_FIELDS);
                json_decref(json);
        }
}

static void test_json_values(void **state) {
        struct access_record record = full();
        json_t *json = as_json(&record);

        json_decref(json);
        line[access_format(line, sizeof(line), &record, 1)] = '\0';
        assert_string_equal(line,
                "{\"time\":\"2026-01-02T03:04:05.678Z\",\"session\":\"18446744073709551615\",\"frontend\":\"web\","
                "\"listener\":\":8080\",\"client\":\"192.0.2.7:50000\",\"uid\":4294967294,\"gid\":33,\"pid\":4711,"
                "\"backend\":\"app\",\"server\":\"b\",\"address\":\"10.0.0.2:80\",\"sni\":\"example.org\","
                "\"bytes_up\":1099511627776,\"bytes_down\":7,\"queue_ms\":0,\"connect_ms\":3,\"duration_ms\":12345,"
                "\"retries\":1,\"tried\":[\"a\",\"b\"],\"end\":\"server-reset\",\"error\":\"ECONNRESET\","
                "\"client_rtt_us\":100,\"client_retrans\":0,\"server_rtt_us\":250,\"server_retrans\":2}");
}

static void test_json_nulls(void **state) {
        static const char *const nulls[] = { "frontend", "listener", "client", "uid", "gid", "pid", "backend", "server",
                "address", "sni", "queue_ms", "connect_ms", "tried", "error", "client_rtt_us", "client_retrans",
                "server_rtt_us", "server_retrans" };
        struct access_record record = access_record_none();
        json_t *json = as_json(&record);

        for (size_t i = 0; i < sizeof(nulls) / sizeof(*nulls); i++)
                assert_true(json_is_null(json_object_get(json, nulls[i])));
        assert_int_equal(json_integer_value(json_object_get(json, "bytes_up")), 0);
        assert_true(json_is_integer(json_object_get(json, "retries")));
        json_decref(json);
}

static void test_text(void **state) {
        struct access_record record = full(), none = access_record_none();

        assert_string_equal(as_text(&record),
                "time=2026-01-02T03:04:05.678Z session=18446744073709551615 frontend=web listener=:8080 "
                "client=192.0.2.7:50000 uid=4294967294 gid=33 pid=4711 backend=app server=b address=10.0.0.2:80 "
                "sni=example.org bytes_up=1099511627776 bytes_down=7 queue_ms=0 connect_ms=3 duration_ms=12345 "
                "retries=1 tried=a,b end=server-reset error=ECONNRESET client_rtt_us=100 client_retrans=0 "
                "server_rtt_us=250 server_retrans=2");
        assert_string_equal(as_text(&none),
                "time=1970-01-01T00:00:00.000Z session=0 frontend=- listener=- client=- uid=- gid=- pid=- backend=- "
                "server=- address=- sni=- bytes_up=0 bytes_down=0 queue_ms=- connect_ms=- duration_ms=0 retries=0 "
                "tried=- end=client-fin error=- client_rtt_us=- client_retrans=- server_rtt_us=- server_retrans=-");
}

static void check_client(const struct access_record *record, const char *client, const char *address) {
        json_t *json = as_json(record);

        assert_string_equal(json_string_value(json_object_get(json, "client")), client);
        assert_string_equal(json_string_value(json_object_get(json, "address")), address);
        json_decref(json);
}

static void test_families(void **state) {
        struct access_record record = full();

        record.client.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(9) };
        inet_pton(AF_INET6, "2001:db8::1", &record.client.in6.sin6_addr);
        record.address.kind = ADDR_UNIX;
        record.address.un = (struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "/run/b.sock" };
        record.address.len = offsetof(struct sockaddr_un, sun_path) + sizeof("/run/b.sock");
        check_client(&record, "[2001:db8::1]:9", "unix:/run/b.sock");
        inet_pton(AF_INET6, "::ffff:192.0.2.7", &record.client.in6.sin6_addr);
        memcpy(record.address.un.sun_path, "\0name\n", 6);
        record.address.len = offsetof(struct sockaddr_un, sun_path) + 6;
        check_client(&record, "192.0.2.7:9", "unix:@name\\x0a");
        record.client.sa.sa_family = AF_UNIX;
        check_client(&record, "unix", "unix:@name\\x0a");
}

static void test_ends(void **state) {
        static const char names[] = "client-fin server-fin client-reset server-reset client-timeout server-timeout "
                "client-fin-timeout server-fin-timeout session-timeout connect-failed no-server queue-timeout "
                "queue-full denied limited bad-preface preface-timeout no-route fd-limit server-down killed shutdown "
                "no-descriptors recovered-busy internal ";
        char all[sizeof(names) + 32] = "";

        for (int end = 0; end < ACCESS_END_N; end++) {
                assert_true(strlen(all) + strlen(access_end_name(end)) + 1 < sizeof(all));
                strcat(strcat(all, access_end_name(end)), " ");
        }
        assert_string_equal(all, names);
        assert_string_equal(access_end_name(ACCESS_END_N), "internal");
        assert_string_equal(access_end_name((enum access_end)200), "internal");
}

static void test_errors(void **state) {
        struct access_record record = full();

        record.error = ETIMEDOUT;
        assert_non_null(strstr(as_text(&record), " error=ETIMEDOUT "));
        record.error = 9999;
        assert_non_null(strstr(as_text(&record), " error=9999 "));
}

static void test_injection(void **state) {
        static const char evil[] = "x\" end=\"client-fin\n{\"forged\":1}\x1b[2J\xff\xc2\x9b\\";
        struct access_record record = full();
        json_t *json;

        record.frontend = record.backend = record.server = record.sni = record.listener = evil;
        record.tried[0] = "a,b c";
        as_text(&record);
        for (const char *c = line; *c; c++)
                assert_in_range(*c, 0x20, 0x7e);
        assert_non_null(strstr(line,
                " sni=\"x\\\" end=\\\"client-fin\\n{\\\"forged\\\":1}\\x1b[2J\\xff\\xc2\\x9b\\\\\" "));
        assert_non_null(strstr(line, " tried=\"a,b c\",b "));
        json = as_json(&record);
        assert_int_equal(json_object_size(json), N_FIELDS);
        assert_string_equal(json_string_value(json_object_get(json, "sni")),
                            "x\" end=\"client-fin\n{\"forged\":1}\x1b[2J\\xff\xc2\x9b\\");
        json_decref(json);
}

/* The longest line there can be is still whole. */
static void test_longest(void **state) {
        static const char *const fillers[] = { "x", "\x01", "\"", "\xff", "\xc3\xbc" };
        struct access_record record = full();
        char *s = calloc(1, 8001);
        json_t *json;

        for (size_t i = 0; i < sizeof(fillers) / sizeof(*fillers); i++) {
                for (size_t k = 0; k < 8000; k += strlen(fillers[i]))
                        memcpy(s + k, fillers[i], strlen(fillers[i]));
                record.frontend = record.listener = record.backend = record.server = record.sni = s;
                record.n_tried = 255;
                for (size_t k = 0; k < ACCESS_TRIED_MAX; k++)
                        record.tried[k] = s;
                record.queue_ms = record.connect_ms = record.duration_ms = record.client_rtt_us = INT64_MAX;
                json = as_json(&record);
                assert_int_equal(json_array_size(json_object_get(json, "tried")), ACCESS_TRIED_MAX);
                json_decref(json);
                assert_non_null(strstr(as_text(&record), " server_retrans=2"));
        }
        free(s);
}

static void test_too_small_a_buffer(void **state) {
        struct access_record record = full();
        char small[100];

        assert_int_equal(access_format(small, sizeof(small), &record, 1), 0);
        assert_in_range(access_format(small, sizeof(small), &record, 0), 1, sizeof(small) - 1);
}

/* Through the log: only what is used of a record is copied, and it arrives. */
static void test_write(void **state) {
        char path[] = "/tmp/spliced-access-XXXXXX";
        struct log_target off = { .to = LOG_TO_OFF }, access = { .to = LOG_TO_FILE, .format = LOG_JSON, .path = path };
        struct access_record record = full();
        const char *failed;
        struct log *log;
        FILE *file;
        json_t *json;

        close(mkstemp(path));
        assert_int_equal(log_new(&log, &off, LOG_LEVEL_INFO, &access, &failed), 0);
        log_start(log);
        access_write(log, &record);
        record.n_tried = 0;
        record.session = 5;
        access_write(log, &record);
        log_stop(log, 10000);
        log_free(log);
        file = fopen(path, "re");
        json = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_string_equal(json_string_value(json_array_get(json_object_get(json, "tried"), 1)), "b");
        json_decref(json);
        json = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_true(json_is_null(json_object_get(json, "tried")));
        assert_string_equal(json_string_value(json_object_get(json, "session")), "5");
        json_decref(json);
        fclose(file);
        unlink(path);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_json_has_every_field_in_order),
                cmocka_unit_test(test_json_values),
                cmocka_unit_test(test_json_nulls),
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_families),
                cmocka_unit_test(test_ends),
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_injection),
                cmocka_unit_test(test_longest),
                cmocka_unit_test(test_too_small_a_buffer),
                cmocka_unit_test(test_write),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
