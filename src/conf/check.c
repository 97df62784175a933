/* SPDX-License-Identifier: ISC */
#include "conf/check.h"

#include <errno.h>
#include <stdio.h>

#include "conf/lookup.h"

/* A text that is the same for listeners of the same address alone; NULL where there is no address, or no memory. */
static const char *check_listener_key(const struct conf_listener *listener, struct region *region) {
        const struct addr *addr = &listener->addr;
        char text[ADDR_STRLEN];

        if (addr->kind == ADDR_NONE)
                return NULL;
        if (addr->kind == ADDR_FD)
                snprintf(text, sizeof(text), "fd:%s", addr->name);
        else
                addr_format(&addr->sa, addr->len, text, sizeof(text));
        return region_strdup(region, text);
}

void check_listeners(const struct conf *conf, const struct place *places, struct mistakes *mistakes) {
        const struct conf_listener **all;
        struct lookup names = { 0 };
        uint32_t n = 0, total = 0;

        for (size_t i = 0; i < conf->n_frontends; i++)
                total += (uint32_t)conf->frontends[i].n_listeners;
        all = region_alloc(mistakes->region, total * sizeof(*all));
        if (!all)
                return;
        for (size_t i = 0; i < conf->n_frontends; i++) {
                for (size_t j = 0; j < conf->frontends[i].n_listeners; j++, n++) {
                        const struct conf_listener *listener = &conf->frontends[i].listeners[j];
                        const char *key = check_listener_key(listener, mistakes->region);
                        uint32_t first;

                        all[n] = listener;
                        if (!key || lookup_add(&names, mistakes->region, key, n) != -EEXIST)
                                continue;
                        lookup_find(&names, key, &first);
                        mistakes_add(mistakes, places[n], "listen: '%s' is the same address as '%s' at %s:%u; allowed: "
                                     "one listener for an address", mistakes_word(mistakes, listener->text),
                                     mistakes_word(mistakes, all[first]->text),
                                     mistakes_word(mistakes, places[first].name), places[first].line);
                }
        }
}

static void check_admin_one(const struct conf *conf, const struct conf_listener *own, struct place place,
                            const struct place *places, const char *key, struct mistakes *mistakes) {
        size_t n = 0;

        for (size_t i = 0; i < conf->n_frontends; i++)
                for (size_t j = 0; j < conf->frontends[i].n_listeners; j++, n++) {
                        if (!addr_equal(&conf->frontends[i].listeners[j].addr, &own->addr))
                                continue;
                                        /* A default stands nowhere. */
                        mistakes_add(mistakes, place.line ? place : places[n],
                                     "%s: '%s' is the same address as a listener of frontend '%s'; allowed: one "
                                     "listener for an address", key, mistakes_word(mistakes, own->text),
                                     mistakes_word(mistakes, conf->frontends[i].name));
                }
}

void check_admin(const struct conf *conf, const struct place admin[2], const struct place *places,
                 struct mistakes *mistakes) {
        const struct conf_listener *socket = &conf->admin.socket, *http = &conf->admin.http;

        if (socket->text)
                check_admin_one(conf, socket, admin[0], places, "admin: socket", mistakes);
        if (http->text)
                check_admin_one(conf, http, admin[1], places, "admin: http", mistakes);
        if (socket->text && http->text && addr_equal(&socket->addr, &http->addr))
                mistakes_add(mistakes, admin[1], "http: '%s' is the address of the socket; allowed: another, or off",
                             mistakes_word(mistakes, http->text));
}

void check_source(const struct conf_server *server, struct place place, struct mistakes *mistakes) {
        int own = addr_family(&server->source), its = addr_family(&server->addr);

        if (own == AF_UNSPEC || its == AF_UNSPEC || its == AF_UNIX || own == its)
                return;
        mistakes_add(mistakes, place, "source: an %s address cannot reach '%s'; allowed: an %s address",
                     own == AF_INET ? "IPv4" : "IPv6", mistakes_word(mistakes, server->text),
                     its == AF_INET ? "IPv4" : "IPv6");
}

void check_access_log(const struct conf *conf, const struct conf_frontend *frontend, struct place place,
                      struct mistakes *mistakes) {
        if (frontend->access_log && conf->access_log.to == LOG_TO_OFF)
                mistakes_add(mistakes, place, "access-log: 'on' has no effect, since the top level has no access log; "
                             "allowed: off, or access-log { to = ... } at the top level");
}

void check_proxy_from(const struct conf_listener *listener, struct place place, struct mistakes *mistakes) {
        if (!listener->accept_proxy)
                mistakes_add(mistakes, place, "'proxy-from' has no effect here; allowed: together with accept-proxy = "
                             "on");
}
