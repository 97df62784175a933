/* SPDX-License-Identifier: ISC */
#include "base/log_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

static const char *log_line_level(unsigned level) {
        static const char *const names[] = { "error", "warning", "info", "debug" };

        return level < sizeof(names) / sizeof(*names) ? names[level] : names[0];
}

/* Keeps a string; one byte more than will be written of a long one, so that formatting sees the cut. */
static void log_line_keep(struct log_line *line, enum log_line_part part, const char *s) {
        size_t len;

        line->at[part] = LOG_LINE_NONE;
        if (!s)
                return;
        len = strnlen(s, LOG_LINE_CONTEXT_MAX + 1);
        line->at[part] = line->len;
        memcpy(line->text + line->len, s, len);
        line->text[line->len + len] = '\0';
        line->len = (uint16_t)(line->len + len + 1);
}

void log_line_catch(struct log_line *line, enum log_level level, const struct log_context *context, const char *fmt,
                    va_list args) {
        static const struct log_context none;
        int n;

        if (!context)
                context = &none;
        line->wall_ms = clock_wall_ms();
        line->session = context->session;
        line->level = (uint8_t)level;
        n = vsnprintf(line->text, LOG_LINE_MESSAGE_MAX + 2, fmt, args);
        if (n < 0)
                line->text[n = 0] = '\0';
        line->at[LOG_LINE_MESSAGE] = 0;
        line->len = (uint16_t)(n > LOG_LINE_MESSAGE_MAX + 1 ? LOG_LINE_MESSAGE_MAX + 2 : n + 1);
        log_line_keep(line, LOG_LINE_FRONTEND, context->frontend);
        log_line_keep(line, LOG_LINE_BACKEND, context->backend);
        log_line_keep(line, LOG_LINE_SERVER, context->server);
        log_line_keep(line, LOG_LINE_ADDRESS, context->address);
}

size_t log_line_size(const struct log_line *line) {
        return offsetof(struct log_line, text) + line->len;
}

static const char *log_line_part(const struct log_line *line, enum log_line_part part) {
        return line->at[part] == LOG_LINE_NONE ? NULL : line->text + line->at[part];
}

static void log_line_pair(struct text *text, int *n, const char *key, const char *value) {
        text_add(text, (*n)++ ? " " : " (");
        text_add(text, key);
        text_add(text, "=");
        text_value(text, value, LOG_LINE_CONTEXT_MAX);
}

static size_t log_line_text(const struct log_line *line, int stamp, char *buf, size_t size) {
        const char *frontend = log_line_part(line, LOG_LINE_FRONTEND), *backend = log_line_part(line, LOG_LINE_BACKEND);
        const char *server = log_line_part(line, LOG_LINE_SERVER), *address = log_line_part(line, LOG_LINE_ADDRESS);
        struct text text = text_init(buf, size);
        char time[CLOCK_RFC3339_SIZE];
        int n = 0;

        if (stamp) {
                clock_rfc3339(line->wall_ms, time);
                text_printf(&text, "%s ", time);
        }
        text_printf(&text, "%s: ", log_line_level(line->level));
        text_message(&text, log_line_part(line, LOG_LINE_MESSAGE), LOG_LINE_MESSAGE_MAX);
        if (frontend)
                log_line_pair(&text, &n, "frontend", frontend);
        if (backend)
                log_line_pair(&text, &n, server ? "server" : "backend", backend);
        if (backend && server) {
                text_add(&text, "/");
                text_value(&text, server, LOG_LINE_CONTEXT_MAX);
        } else if (server) {
                log_line_pair(&text, &n, "server", server);
        }
        if (address)
                log_line_pair(&text, &n, "address", address);
        if (line->session)
                text_printf(&text, "%ssession=%" PRIu64, n++ ? " " : " (", line->session);
        if (n)
                text_add(&text, ")");
        return text.len;
}

static size_t log_line_json(const struct log_line *line, char *buf, size_t size) {
        static const char *const keys[] = { "message", "frontend", "backend", "server", "address" };
        char time[CLOCK_RFC3339_SIZE], session[24];
        json_t *json = json_object();
        size_t len = 0;
        int failed;

        clock_rfc3339(line->wall_ms, time);
        failed = json_object_set_new(json, "time", json_string(time));
        failed |= json_object_set_new(json, "level", json_string(log_line_level(line->level)));
        for (int i = LOG_LINE_MESSAGE; i < LOG_LINE_PARTS; i++) {
                const char *s = log_line_part(line, i);

                if (s)
                        failed |= json_object_set_new(json, keys[i], text_json(s, i == LOG_LINE_MESSAGE ?
                                                      LOG_LINE_MESSAGE_MAX : LOG_LINE_CONTEXT_MAX));
        }
        if (line->session) {
                snprintf(session, sizeof(session), "%" PRIu64, line->session);
                failed |= json_object_set_new(json, "session", json_string(session));
        }
        if (!failed)
                len = json_dumpb(json, buf, size, TEXT_JSON_FLAGS);
        json_decref(json);
        return len < size ? len : 0;
}

size_t log_line_format(const struct log_line *line, const struct log_line_style *style, char *buf, size_t size) {
        if (style->format == LOG_JSON)
                return log_line_json(line, buf, size);
        return log_line_text(line, style->stamp, buf, size);
}
