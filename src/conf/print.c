/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"

#include <errno.h>
#include <string.h>

#include "conf/list.h"
#include "conf/schema.h"
#include "conf/value.h"

#define PRINT_COLUMNS 100

struct print {
        FILE *out;
        int indent;
        const char *skip;               /* a key that would have no effect in this section, or NULL */
        char value[VALUE_STRLEN];
};

static void print_line(struct print *print, const char *key, const char *value) {
        fprintf(print->out, "%*s%s = %s\n", print->indent, "", key, value);
}

static void print_open(struct print *print, const char *key, const char *title) {
        fprintf(print->out, "%*s%s ", print->indent, "", key);
        if (title)
                fprintf(print->out, "%s ", value_quote(title, print->value, sizeof(print->value)));
        fputs("{\n", print->out);
        print->indent += 4;
}

static void print_close(struct print *print) {
        print->indent -= 4;
        fprintf(print->out, "%*s}\n", print->indent, "");
}

/* A list, on as many lines as it needs. */
static void print_list(struct print *print, const struct schema_row *row, const void *target) {
        ptrdiff_t n = list_length(row, target);
        int column;

        if (n < 0 && row->zero)
                print_line(print, row->key, row->zero);
        if (n < 0)
                return;
        column = fprintf(print->out, "%*s%s = {", print->indent, "", row->key);
        for (ptrdiff_t i = 0; i < n; i++) {
                int len = (int)strlen(list_format(row, target, (size_t)i, print->value));

                if (column + len > PRINT_COLUMNS)
                        column = fprintf(print->out, "\n%*s", print->indent + 3, "") - 1;
                column += fprintf(print->out, " %s%s", print->value, i + 1 < n ? "," : "");
        }
        fputs(" }\n", print->out);
}

/* Every key of a section that has a value and an effect.  addr: the address that they concern, or NULL. */
static void print_keys(struct print *print, const struct schema_row *rows, const void *target,
                       const struct addr *addr) {
        for (; rows->key; rows++) {
                if ((addr && !schema_applies(rows->scope, addr)) ||
                    (print->skip && strcmp(print->skip, rows->key) == 0))
                        continue;
                if (rows->flags & SCHEMA_LIST)
                        print_list(print, rows, target);
                else if (value_format(rows, target, print->value))
                        print_line(print, rows->key, print->value);
        }
}

static void print_inner(struct print *print, const char *key, const struct schema_row *rows, const void *target) {
        print_open(print, key, NULL);
        print_keys(print, rows, target, NULL);
        print_close(print);
}

/*
 * Without a socket, its other keys would be mistakes.  One that is the default stays a default, which the daemon
 * can do without: a comment.
 */
static void print_admin(struct print *print, const struct conf *conf) {
        int there = conf->admin.socket.text != NULL;

        print_open(print, "admin", NULL);
        for (const struct schema_row *row = schema_admin; row->key; row++) {
                if ((!there && row->type != SCHEMA_SOCKET && row->type != SCHEMA_LISTEN) ||
                    !value_format(row, conf, print->value))
                        continue;
                if (row->type == SCHEMA_SOCKET && there && !conf->admin.given)
                        print_line(print, "# socket", print->value);
                else
                        print_line(print, row->key, print->value);
        }
        print_close(print);
}

static void print_text(struct print *print, const char *key, const char *text) {
        print_line(print, key, value_quote(text, print->value, sizeof(print->value)));
}

static void print_backend_ref(struct print *print, const struct conf *conf, unsigned backend) {
        if (backend != CONF_NO_BACKEND)
                print_text(print, "backend", conf->backends[backend].name);
}

static void print_frontend(struct print *print, const struct conf *conf, const struct conf_frontend *frontend) {
        fputc('\n', print->out);
        print_open(print, "frontend", frontend->name);
        for (size_t i = 0; i < frontend->n_listeners; i++) {
                const struct conf_listener *listener = &frontend->listeners[i];

                print_open(print, "listen", listener->text);
                print->skip = listener->accept_proxy ? NULL : "proxy-from";
                print_keys(print, schema_listener, listener, &listener->addr);
                print->skip = NULL;
                print_inner(print, "socket", schema_socket, &listener->sockopts);
                print_close(print);
        }
        print_backend_ref(print, conf, frontend->backend);
        for (size_t i = 0; i < frontend->n_routes; i++) {
                const struct conf_route *route = &frontend->routes[i];

                print_open(print, "route", route->name);
                print_keys(print, schema_route, route, NULL);
                print_backend_ref(print, conf, route->backend);
                print_close(print);
        }
        print_keys(print, schema_frontend, frontend, NULL);
        print_inner(print, "timeouts", schema_client_timeouts, &frontend->timeouts);
        print_close(print);
}

static void print_backend(struct print *print, const struct conf_backend *backend) {
        fputc('\n', print->out);
        print_open(print, "backend", backend->name);
        print_keys(print, schema_backend, backend, NULL);
        if (backend->check.given)
                print_inner(print, "check", schema_check, &backend->check);
        if (backend->outlier.given)
                print_inner(print, "outlier", schema_outlier, &backend->outlier);
        print_inner(print, "timeouts", schema_server_timeouts, &backend->timeouts);
        for (size_t i = 0; i < backend->n_servers; i++) {
                const struct conf_server *server = &backend->servers[i];

                print_open(print, "server", server->name);
                print_text(print, "address", server->text);
                print->skip = backend->check.given ? NULL : "check";
                print_keys(print, schema_server, server, &server->addr);
                print->skip = NULL;
                if (server->check_text)
                        print_text(print, "check-address", server->check_text);
                print_inner(print, "socket", schema_socket, &server->sockopts);
                print_close(print);
        }
        print_close(print);
}

int conf_print(const struct conf *conf, FILE *out) {
        struct print print = { .out = out };

        errno = 0;
        print_keys(&print, schema_top, conf, NULL);
        print_inner(&print, "log", schema_log, conf);
        print_inner(&print, "access-log", schema_access_log, conf);
        print_admin(&print, conf);
        print_inner(&print, "resolver", schema_resolver, &conf->resolver);
        for (size_t i = 0; i < conf->n_frontends; i++)
                print_frontend(&print, conf, &conf->frontends[i]);
        for (size_t i = 0; i < conf->n_backends; i++)
                print_backend(&print, &conf->backends[i]);
        if (fflush(out) != 0 || ferror(out))
                return errno ? -errno : -EIO;
        return 0;
}
