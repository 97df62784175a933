/* SPDX-License-Identifier: ISC */
#include "keeper/identify.h"

#include <string.h>

#include "net/identity.h"

static int identify_rule(struct conf_rule *rule, const struct conf_where *where, const char *key, FILE *errors) {
        int group = rule->kind == CONF_RULE_GROUP, r;

        if (rule->kind != CONF_RULE_USER && !group)
                return 0;
        r = identity_find(rule->name, group ? IDENTITY_GROUP : IDENTITY_USER, &rule->id);
        if (r == 0) {
                rule->kind = group ? CONF_RULE_GID : CONF_RULE_UID;
                return 0;
        }
        if (r < 0)
                fprintf(errors, "%s:%u: %s: cannot look up %s '%s': %s\n", where->file, where->line, key,
                        group ? "group" : "user", rule->name, strerror(-r));
        else
                fprintf(errors, "%s:%u: %s: there is no %s '%s'; allowed: one that there is, or its number, as in %s\n",
                        where->file, where->line, key, group ? "group" : "user", rule->name,
                        group ? "gid:100" : "uid:1000");
        return IDENTIFY_UNKNOWN;
}

static int identify_list(struct conf_rules *rules, const struct conf_where *where, const char *key, FILE *errors) {
        int r = 0;

        for (size_t i = 0; i < rules->n; i++)
                r |= identify_rule(&rules->list[i], where, key, errors);
        return r;
}

int identify_rules(struct conf *conf, FILE *errors) {
        int r = 0;

        for (size_t f = 0; f < conf->n_frontends; f++) {
                struct conf_frontend *frontend = &conf->frontends[f];

                r |= identify_list(&frontend->allow, &frontend->where, "allow", errors);
                r |= identify_list(&frontend->deny, &frontend->where, "deny", errors);
                for (size_t l = 0; l < frontend->n_listeners; l++)
                        r |= identify_list(&frontend->listeners[l].proxy_from, &frontend->listeners[l].where,
                                           "proxy-from", errors);
        }
        return r;
}
