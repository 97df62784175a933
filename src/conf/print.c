/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"

#include <errno.h>

#include "conf/schema.h"
#include "conf/value.h"

struct print {
        FILE *out;
        int indent;
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

/* Every key of a section that has a value and an effect.  addr: the address that they concern, or NULL. */
static void print_keys(struct print *print, const struct schema_row *rows, const void *target,
                       const struct addr *addr) {
        for (; rows->key; rows++)
                if ((!addr || schema_applies(rows->scope, addr)) && value_format(rows, target, print->value))
                        print_line(print, rows->key, print->value);
}

static void print_inner(struct print *print, const char *key, const struct schema_row *rows, const void *target) {
        print_open(print, key, NULL);
        print_keys(print, rows, target, NULL);
        print_close(print);
}

static void print_frontend(struct print *print, const struct conf *conf, const struct conf_frontend *frontend) {
        fputc('\n', print->out);
        print_open(print, "frontend", frontend->name);
        for (size_t i = 0; i < frontend->n_listeners; i++) {
                const struct conf_listener *listener = &frontend->listeners[i];

                print_open(print, "listen", listener->text);
                print_keys(print, schema_listener, listener, &listener->addr);
                print_inner(print, "socket", schema_socket, &listener->sockopts);
                print_close(print);
        }
        print_line(print, "backend", value_quote(conf->backends[frontend->backend].name, print->value,
                                                 sizeof(print->value)));
        print_keys(print, schema_frontend, frontend, NULL);
        print_inner(print, "timeouts", schema_client_timeouts, &frontend->timeouts);
        print_close(print);
}

static void print_backend(struct print *print, const struct conf_backend *backend) {
        fputc('\n', print->out);
        print_open(print, "backend", backend->name);
        print_keys(print, schema_backend, backend, NULL);
        print_inner(print, "timeouts", schema_server_timeouts, &backend->timeouts);
        for (size_t i = 0; i < backend->n_servers; i++) {
                const struct conf_server *server = &backend->servers[i];

                print_open(print, "server", server->name);
                print_line(print, "address", value_quote(server->text, print->value, sizeof(print->value)));
                print_keys(print, schema_server, server, &server->addr);
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
        for (size_t i = 0; i < conf->n_frontends; i++)
                print_frontend(&print, conf, &conf->frontends[i]);
        for (size_t i = 0; i < conf->n_backends; i++)
                print_backend(&print, &conf->backends[i]);
        if (fflush(out) != 0 || ferror(out))
                return errno ? -errno : -EIO;
        return 0;
}
