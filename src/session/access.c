/* SPDX-License-Identifier: ISC */
#include "session/access.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

_Static_assert(sizeof(struct access_record) + ACCESS_SNI_LEN + 1 <= LOG_RECORD_MAX, "a record fits into the log");
_Static_assert(ACCESS_LINE_MAX <= LOG_RECORD_LINE_MAX, "a line fits into the log");

/* Budgets in finished bytes: 51 names tried and everything else make less than ACCESS_LINE_MAX. */
#define ACCESS_NAME_MAX 256
#define ACCESS_ADDRESS_MAX 1024
#define ACCESS_SNI_MAX 1536

const char *access_end_name(enum access_end end) {
        static const char *const names[ACCESS_END_N] = {
                [ACCESS_CLIENT_FIN] = "client-fin",
                [ACCESS_SERVER_FIN] = "server-fin",
                [ACCESS_CLIENT_RESET] = "client-reset",
                [ACCESS_SERVER_RESET] = "server-reset",
                [ACCESS_CLIENT_TIMEOUT] = "client-timeout",
                [ACCESS_SERVER_TIMEOUT] = "server-timeout",
                [ACCESS_CLIENT_FIN_TIMEOUT] = "client-fin-timeout",
                [ACCESS_SERVER_FIN_TIMEOUT] = "server-fin-timeout",
                [ACCESS_SESSION_TIMEOUT] = "session-timeout",
                [ACCESS_CONNECT_FAILED] = "connect-failed",
                [ACCESS_NO_SERVER] = "no-server",
                [ACCESS_QUEUE_TIMEOUT] = "queue-timeout",
                [ACCESS_QUEUE_FULL] = "queue-full",
                [ACCESS_DENIED] = "denied",
                [ACCESS_LIMITED] = "limited",
                [ACCESS_BAD_PREFACE] = "bad-preface",
                [ACCESS_PREFACE_TIMEOUT] = "preface-timeout",
                [ACCESS_NO_ROUTE] = "no-route",
                [ACCESS_FD_LIMIT] = "fd-limit",
                [ACCESS_SERVER_DOWN] = "server-down",
                [ACCESS_KILLED] = "killed",
                [ACCESS_SHUTDOWN] = "shutdown",
                [ACCESS_NO_DESCRIPTORS] = "no-descriptors",
                [ACCESS_RECOVERED_BUSY] = "recovered-busy",
                [ACCESS_INTERNAL] = "internal",
        };

        return names[(unsigned)end < ACCESS_END_N ? end : ACCESS_INTERNAL];
}

struct access_record access_record_none(void) {
        return (struct access_record){
                .queue_ms = -1, .connect_ms = -1, .client_rtt_us = -1, .client_retrans = -1, .server_rtt_us = -1,
                .server_retrans = -1,
        };
}

static unsigned access_n_tried(const struct access_record *record) {
        return record->n_tried < ACCESS_TRIED_MAX ? record->n_tried : ACCESS_TRIED_MAX;
}

void access_write(struct log *log, const struct access_record *record) {
        size_t len = offsetof(struct access_record, tried) + access_n_tried(record) * sizeof(record->tried[0]), more;
        union { struct access_record record; char bytes[LOG_RECORD_MAX]; } copy;

        if (!record->sni) {
                log_record(log, access_format, record, len);
                return;
        }
        memcpy(&copy, record, len);
        copy.record.sni_at = (uint16_t)len;
        more = strnlen(record->sni, ACCESS_SNI_LEN);
        memcpy(copy.bytes + len, record->sni, more);
        copy.bytes[len + more] = '\0';
        log_record(log, access_format, &copy, len + more + 1);
}

/*
 * Where a line goes: either a JSON object or a text.  So the list of fields is
 * written once and both formats agree.
 */
struct access_line {
        json_t *json;                   /* NULL for text */
        int failed;                     /* memory ran out */
        struct text text;
};

static void access_key(struct access_line *line, const char *key) {
        if (line->text.len)
                text_add(&line->text, " ");
        text_add(&line->text, key);
        text_add(&line->text, "=");
}

static void access_string(struct access_line *line, const char *key, const char *value, size_t max) {
        if (line->json) {
                line->failed |= json_object_set_new_nocheck(line->json, key, text_json(value, max));
                return;
        }
        access_key(line, key);
        text_value(&line->text, value, max);
}

/* null where value is negative. */
static void access_number(struct access_line *line, const char *key, int64_t value) {
        if (line->json) {
                json_t *json = value < 0 ? json_null() : json_integer(value);

                line->failed |= json_object_set_new_nocheck(line->json, key, json);
                return;
        }
        access_key(line, key);
        if (value < 0)
                text_add(&line->text, "-");
        else
                text_printf(&line->text, "%" PRId64, value);
}

static void access_tried(struct access_line *line, const struct access_record *record) {
        unsigned n = access_n_tried(record);
        json_t *list;

        if (n == 0) {
                access_string(line, "tried", NULL, 0);
                return;
        }
        if (line->json) {
                list = json_array();
                for (unsigned i = 0; i < n; i++)
                        line->failed |= json_array_append_new(list, text_json(record->tried[i], ACCESS_NAME_MAX));
                line->failed |= json_object_set_new_nocheck(line->json, "tried", list);
                return;
        }
        access_key(line, "tried");
        for (unsigned i = 0; i < n; i++) {
                if (i)
                        text_add(&line->text, ",");
                text_value(&line->text, record->tried[i], ACCESS_NAME_MAX);
        }
}

/* The client as CONFIG.md has it; buf has ADDR_STRLEN bytes. */
static const char *access_client(const union access_client *client, char *buf) {
        switch (client->sa.sa_family) {
        case AF_UNIX:
                return "unix";
        case AF_INET:
                return addr_format(&client->sa, sizeof(client->in), buf, ADDR_STRLEN);
        case AF_INET6:
                return addr_format(&client->sa, sizeof(client->in6), buf, ADDR_STRLEN);
        default:
                return NULL;
        }
}

static const char *access_address(const struct addr *addr, char *buf) {
        return addr->len ? addr_format(&addr->sa, addr->len, buf, ADDR_STRLEN) : NULL;
}

/* An errno's name; buf takes the number of one that has none. */
static const char *access_error(int error, char *buf, size_t size) {
        const char *name;

        if (error == 0)
                return NULL;
        name = strerrorname_np(error);
        if (!name)
                snprintf(buf, size, "%d", error);
        return name ? name : buf;
}

static void access_who(struct access_line *line, const struct access_record *record) {
        char time[CLOCK_RFC3339_SIZE], session[24], address[ADDR_STRLEN];
        int creds = record->has_creds;

        clock_rfc3339(record->wall_ms, time);
        snprintf(session, sizeof(session), "%" PRIu64, record->session);
        access_string(line, "time", time, sizeof(time));
        access_string(line, "session", session, sizeof(session));
        access_string(line, "frontend", record->frontend, ACCESS_NAME_MAX);
        access_string(line, "listener", record->listener, ACCESS_ADDRESS_MAX);
        access_string(line, "client", access_client(&record->client, address), ACCESS_ADDRESS_MAX);
        access_number(line, "uid", creds ? (int64_t)record->uid : -1);
        access_number(line, "gid", creds ? (int64_t)record->gid : -1);
        access_number(line, "pid", creds ? record->pid : -1);
        access_string(line, "backend", record->backend, ACCESS_NAME_MAX);
        access_string(line, "server", record->server, ACCESS_NAME_MAX);
        access_string(line, "address", access_address(&record->address, address), ACCESS_ADDRESS_MAX);
        access_string(line, "sni", record->sni_at ? (const char *)record + record->sni_at : record->sni,
                      ACCESS_SNI_MAX);
}

static void access_what(struct access_line *line, const struct access_record *record) {
        char error[16];

        access_number(line, "bytes_up", (int64_t)record->bytes_up);
        access_number(line, "bytes_down", (int64_t)record->bytes_down);
        access_number(line, "queue_ms", record->queue_ms);
        access_number(line, "connect_ms", record->connect_ms);
        access_number(line, "duration_ms", record->duration_ms);
        access_number(line, "retries", record->retries);
        access_tried(line, record);
        access_string(line, "end", access_end_name(record->end), ACCESS_NAME_MAX);
        access_string(line, "error", access_error(record->error, error, sizeof(error)), ACCESS_NAME_MAX);
        access_number(line, "client_rtt_us", record->client_rtt_us);
        access_number(line, "client_retrans", record->client_retrans);
        access_number(line, "server_rtt_us", record->server_rtt_us);
        access_number(line, "server_retrans", record->server_retrans);
}

size_t access_format(char *buf, size_t size, const void *data, int json) {
        struct access_line line = { .text = text_init(buf, size) };
        size_t len = 0;

        if (json && !(line.json = json_object()))
                return 0;
        access_who(&line, data);
        access_what(&line, data);
        if (!json)
                return line.text.len;
        if (!line.failed)
                len = json_dumpb(line.json, buf, size, TEXT_JSON_FLAGS);
        json_decref(line.json);
        return len < size ? len : 0;
}
