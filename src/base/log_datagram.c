/* SPDX-License-Identifier: ISC */
#include "base/log_datagram.h"

#include <ctype.h>
#include <endian.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"

static int log_datagram_priority(enum log_level level) {
        static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

        return priorities[level];
}

size_t log_datagram_syslog(char *buf, size_t size, enum log_level level, int64_t wall_ms, const char *text,
                           size_t len) {
        char time[CLOCK_RFC3339_SIZE], host[256] = "-";
        int n;

        clock_rfc3339(wall_ms, time);
        if (gethostname(host, sizeof(host)) < 0 || !*host)
                strcpy(host, "-");
        host[sizeof(host) - 1] = '\0';
        n = snprintf(buf, size, "<%d>1 %s %s spliced %d - - ", LOG_DAEMON | log_datagram_priority(level), time, host,
                     (int)getpid());
        if (n < 0 || (size_t)n + len > size)
                return 0;
        memcpy(buf + n, text, len);
        return (size_t)n + len;
}

/* What is in the datagram so far.  A field is there whole or not at all. */
struct log_datagram {
        char *buf;
        size_t size;
        size_t len;
};

/* A value with a newline goes with its length in front, any other after a '='. */
static int log_datagram_field(struct log_datagram *datagram, const char *key, const char *value, size_t len) {
        int binary = memchr(value, '\n', len) != NULL;
        size_t key_len = strlen(key), need = key_len + 1 + len + 1 + (binary ? sizeof(uint64_t) : 0);
        char *at = datagram->buf + datagram->len;

        if (need > datagram->size - datagram->len)
                return 0;
        memcpy(at, key, key_len);
        at += key_len;
        *at++ = binary ? '\n' : '=';
        if (binary) {
                uint64_t count = htole64(len);

                memcpy(at, &count, sizeof(count));
                at += sizeof(count);
        }
        memcpy(at, value, len);
        at[len] = '\n';
        datagram->len += need;
        return 1;
}

/* "bytes_up" becomes SPLICED_BYTES_UP; the journal takes capital letters, digits and underscores. */
static void log_datagram_key(char *key, size_t size, const char *name) {
        size_t n = (size_t)snprintf(key, size, "SPLICED_%s", name);

        for (size_t i = 0; i < n && i < size; i++)
                key[i] = (char)(isalnum((unsigned char)key[i]) ? toupper((unsigned char)key[i]) : '_');
        key[n < size ? n : size - 1] = '\0';
}

static void log_datagram_member(struct log_datagram *datagram, const char *name, const json_t *value) {
        char key[64], *text;

        log_datagram_key(key, sizeof(key), name);
        if (json_is_string(value)) {
                log_datagram_field(datagram, key, json_string_value(value), json_string_length(value));
                return;
        }
        if (json_is_null(value))
                return;
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (text)
                log_datagram_field(datagram, key, text, strlen(text));
        free(text);
}

size_t log_datagram_journal(char *buf, size_t size, enum log_level level, const char *text, size_t len,
                            const char *fields, size_t fields_len) {
        struct log_datagram datagram = { .buf = buf, .size = size };
        char priority = (char)('0' + log_datagram_priority(level));
        json_t *json, *value;
        const char *name;

        if (!log_datagram_field(&datagram, "MESSAGE", text, len) ||
            !log_datagram_field(&datagram, "PRIORITY", &priority, 1) ||
            !log_datagram_field(&datagram, "SYSLOG_IDENTIFIER", "spliced", strlen("spliced")))
                return 0;
        json = fields ? json_loadb(fields, fields_len, 0, NULL) : NULL;
        json_object_foreach(json, name, value)
                if (strcmp(name, "time") != 0 && strcmp(name, "level") != 0 && strcmp(name, "message") != 0)
                        log_datagram_member(&datagram, name, value);
        json_decref(json);
        return datagram.len;
}
