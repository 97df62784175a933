/* SPDX-License-Identifier: ISC */
#include "admin/page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "admin/api.h"
#include "admin/view.h"

/* page_html[], a string: made of page.html. */
#include "admin/page.inc"

#define PAGE_NONCE 33   /* 32 hexadecimal digits and a NUL */

void page_escape(FILE *out, const char *s) {
        for (; *s; s++)
                switch (*s) {
                case '&':
                        fputs("&amp;", out);
                        break;
                case '<':
                        fputs("&lt;", out);
                        break;
                case '>':
                        fputs("&gt;", out);
                        break;
                case '"':
                        fputs("&quot;", out);
                        break;
                case '\'':
                        fputs("&#39;", out);
                        break;
                default:
                        fputc(*s, out);
                }
}

char *page_bytes(uint64_t n, char buf[static PAGE_BYTES]) {
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
        double value = (double)n;
        unsigned i = 0;

        for (; value >= 999.5 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
                value /= 1000;
        snprintf(buf, PAGE_BYTES, "%.*f %s", i == 0 || value >= 99.95 ? 0 : 1, value, units[i]);
        return buf;
}

static const char *page_string(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

static json_int_t page_number(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

/* One cell; class may be "". */
static void page_cell(FILE *out, const char *class, const char *text) {
        fprintf(out, *class ? "<td class=\"%s\">" : "<td>", class);
        page_escape(out, text);
        fputs("</td>", out);
}

static void page_cell_number(FILE *out, const char *class, json_int_t n) {
        char text[32];

        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, n);
        page_cell(out, class, text);
}

static void page_cell_bytes(FILE *out, json_int_t n) {
        char text[PAGE_BYTES];

        fprintf(out, "<td title=\"%" JSON_INTEGER_FORMAT "\">%s</td>", n, page_bytes((uint64_t)n, text));
}

/* State names are ours: they are classes of the style, too. */
static void page_cell_state(FILE *out, const char *state) {
        fprintf(out, "<td class=\"left\"><span class=\"state %s\">%s</span></td>", state, state);
}

static void page_row(FILE *out, const char *kind, const char *key, const char *more, const char *last) {
        fprintf(out, "<tr class=\"%s\" data-key=\"", kind);
        page_escape(out, key);
        for (const char *part = more; part; part = part == more ? last : NULL) {
                fputc('/', out);
                page_escape(out, part);
        }
        fputs("\">", out);
}

static void page_frontends(FILE *out, const json_t *frontends) {
        const json_t *frontend, *listener;
        size_t i, l;

        json_array_foreach(frontends, i, frontend) {
                page_row(out, "frontend", page_string(frontend, "name"), NULL, NULL);
                page_cell(out, "", page_string(frontend, "name"));
                page_cell_state(out, page_string(frontend, "state"));
                page_cell_number(out, "", page_number(frontend, "sessions"));
                page_cell(out, "live", "–");
                page_cell_number(out, "", page_number(frontend, "sessions_total"));
                page_cell_number(out, "wide", page_number(frontend, "denied_total"));
                page_cell_number(out, "wide", page_number(frontend, "limited_total"));
                page_cell_bytes(out, page_number(frontend, "bytes_up"));
                page_cell_bytes(out, page_number(frontend, "bytes_down"));
                fputs("<td class=\"left wide\">", out);
                json_array_foreach(json_object_get(frontend, "listeners"), l, listener) {
                        fputs(l ? " " : "", out);
                        page_escape(out, page_string(listener, "address"));
                }
                fputs("</td></tr>\n", out);
        }
}

static void page_server(FILE *out, const char *backend, const json_t *server) {
        const json_t *check = json_object_get(server, "check"), *connect = json_object_get(server, "connect_ms");
        const char *last = page_string(check, "last"), *detail = page_string(check, "detail");

        page_row(out, "server", backend, page_string(server, "name"), page_string(server, "address"));
        page_cell(out, "", page_string(server, "name"));
        page_cell_state(out, page_string(server, "state"));
        page_cell_number(out, "", page_number(server, "sessions"));
        page_cell(out, "live", "–");
        page_cell_number(out, "", page_number(server, "sessions_total"));
        page_cell_number(out, "wide", page_number(server, "weight"));
        page_cell_number(out, "wide", page_number(server, "connect_failed_total"));
        page_cell_number(out, "wide", page_number(server, "retried_total"));
        if (json_is_number(connect))
                fprintf(out, "<td>%.1f ms</td>", json_number_value(connect));
        else
                page_cell(out, "", "–");
        page_cell_bytes(out, page_number(server, "bytes_up"));
        page_cell_bytes(out, page_number(server, "bytes_down"));
        page_cell(out, "left wide", page_string(server, "address"));
        fputs("<td class=\"left wide\">", out);
        page_escape(out, last);
        fputs(*last && *detail ? ": " : "", out);
        page_escape(out, detail);
        fputs("</td></tr>\n", out);
}

static json_int_t page_sum(const json_t *backend, const char *key) {
        const json_t *server;
        json_int_t sum = 0;
        size_t i;

        json_array_foreach(json_object_get(backend, "servers"), i, server)
                sum += page_number(server, key);
        return sum;
}

static void page_backend(FILE *out, const json_t *backend) {
        const char *name = page_string(backend, "name");
        const json_t *server;
        size_t i;

        page_row(out, "backend", name, NULL, NULL);
        fputs("<th>", out);
        page_escape(out, name);
        fputs("</th><td class=\"left\">", out);
        if (page_number(backend, "queued"))
                fprintf(out, "%" JSON_INTEGER_FORMAT " queued", page_number(backend, "queued"));
        fputs("</td>", out);
        page_cell_number(out, "", page_sum(backend, "sessions"));
        page_cell(out, "live", "–");
        page_cell_number(out, "", page_sum(backend, "sessions_total"));
        page_cell(out, "wide", "");
        page_cell_number(out, "wide", page_sum(backend, "connect_failed_total"));
        page_cell_number(out, "wide", page_sum(backend, "retried_total"));
        page_cell(out, "", "");
        page_cell_bytes(out, page_sum(backend, "bytes_up"));
        page_cell_bytes(out, page_sum(backend, "bytes_down"));
        page_cell(out, "left wide", page_string(backend, "balance"));
        page_cell(out, "left wide", "");
        fputs("</tr>\n", out);
        json_array_foreach(json_object_get(backend, "servers"), i, server)
                page_server(out, name, server);
}

static void page_uptime(FILE *out, json_int_t s) {
        if (s >= 86400)
                fprintf(out, "%lld d %lld h", s / 86400, s / 3600 % 24);
        else if (s >= 3600)
                fprintf(out, "%lld h %lld min", s / 3600, s / 60 % 60);
        else if (s >= 60)
                fprintf(out, "%lld min", s / 60);
        else
                fprintf(out, "%lld s", s);
}

static void page_status(FILE *out, const json_t *status) {
        const json_t *reload = json_object_get(status, "last_reload");
        const char *state = page_string(status, "state");

        fprintf(out, "<span id=\"state\"><span class=\"state %s\">%s</span></span>\n", state, state);
        fputs("<span class=\"dim\"><span id=\"version\">", out);
        page_escape(out, page_string(status, "version"));
        fputs("</span>, up for <span id=\"uptime\">", out);
        page_uptime(out, page_number(status, "uptime_s"));
        fprintf(out, "</span>, worker <span id=\"worker\">%" JSON_INTEGER_FORMAT "</span></span>\n",
                page_number(status, "worker_generation"));
        fprintf(out, "<span><b id=\"sessions\">%" JSON_INTEGER_FORMAT "</b> <span class=\"dim\">of <span "
                "id=\"sessions-max\">%" JSON_INTEGER_FORMAT "</span> sessions, <span id=\"sessions-total\">%"
                JSON_INTEGER_FORMAT "</span> so far</span></span>\n",
                page_number(status, "sessions"), page_number(status, "sessions_max"),
                page_number(status, "sessions_total"));
        fprintf(out, "<span id=\"reload\">%s</span>\n",
                json_is_false(json_object_get(reload, "ok")) ? "the last reload was refused" : "");
}

/* What stands for a name between {{ and }}. */
static void page_part(struct api *api, FILE *out, const char *name, size_t len, const char *nonce) {
        json_t *json = NULL, *backend;
        size_t i;

        if (len == 5 && memcmp(name, "nonce", len) == 0)
                fputs(nonce, out);
        else if (len == 6 && memcmp(name, "status", len) == 0)
                page_status(out, json = view_status(api));
        else if (len == 9 && memcmp(name, "frontends", len) == 0)
                page_frontends(out, json_object_get(json = view_frontends(api), "frontends"));
        else if (len == 7 && memcmp(name, "servers", len) == 0) {
                json = view_backends(api);
                json_array_foreach(json_object_get(json, "backends"), i, backend)
                        page_backend(out, backend);
        }
        json_decref(json);
}

static void page_write(struct api *api, FILE *out, const char *nonce) {
        const char *at = page_html, *open, *close;

        while ((open = strstr(at, "{{")) && (close = strstr(open, "}}"))) {
                fwrite(at, 1, (size_t)(open - at), out);
                page_part(api, out, open + 2, (size_t)(close - open - 2), nonce);
                at = close + 2;
        }
        fputs(at, out);
}

static int page_nonce(char nonce[static PAGE_NONCE]) {
        uint8_t random[(PAGE_NONCE - 1) / 2];

        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return 0;
        for (size_t i = 0; i < sizeof(random); i++)
                snprintf(nonce + 2 * i, 3, "%02x", random[i]);
        return 1;
}

int page_serve(struct http_request *request) {
        char nonce[PAGE_NONCE], policy[256];
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);

        if (!out)
                return 0;
        if (page_nonce(nonce)) {
                page_write(request->api, out, nonce);
                snprintf(policy, sizeof(policy), "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
                         "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors "
                         "'none'", nonce, nonce);
                http_header(request, "Content-Security-Policy", policy);
                http_header(request, "Referrer-Policy", "no-referrer");
        }
        if (fclose(out) != 0 || len == 0) {
                free(text);
                return 0;
        }
        return http_reply_text(request, 200, "text/html; charset=utf-8", text, len);
}
