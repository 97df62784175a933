/* SPDX-License-Identifier: ISC */
#include "conf/check.h"

#include <stdlib.h>

struct check_listener {
        const struct conf_listener *listener;
        struct place place;
};

void check_listeners(const struct conf *conf, const struct place *places, struct mistakes *mistakes) {
        struct check_listener *all;
        size_t n = 0, total = 0;

        for (size_t i = 0; i < conf->n_frontends; i++)
                total += conf->frontends[i].n_listeners;
        all = region_alloc(mistakes->region, total * sizeof(*all));
        if (!all)
                return;
        for (size_t i = 0; i < conf->n_frontends; i++)
                for (size_t j = 0; j < conf->frontends[i].n_listeners; j++, n++)
                        all[n] = (struct check_listener) { &conf->frontends[i].listeners[j], places[n] };

        for (size_t i = 1; i < total; i++) {
                const struct conf_listener *second = all[i].listener;

                for (size_t j = 0; j < i && second->addr.kind != ADDR_NONE; j++) {
                        const struct conf_listener *first = all[j].listener;

                        if (!addr_equal(&first->addr, &second->addr))
                                continue;
                        mistakes_add(mistakes, all[i].place,
                                     "listen: '%s' is the same address as '%s' at %s:%u; allowed: one listener "
                                     "for an address",
                                     mistakes_word(mistakes, second->text), mistakes_word(mistakes, first->text),
                                     mistakes_word(mistakes, all[j].place.name), all[j].place.line);
                        break;
                }
        }
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
