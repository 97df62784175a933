/* SPDX-License-Identifier: ISC */
#include "session/route.h"

#include <string.h>

static int route_in_network(const struct conf_rule *rule, const struct route_client *client) {
        const uint8_t *network = rule->network.s6_addr, *address = client->address.s6_addr;
        unsigned bytes = rule->prefix / 8, bits = rule->prefix % 8;

        if (rule->family != client->family || memcmp(network, address, bytes) != 0)
                return 0;
        return !bits || ((network[bytes] ^ address[bytes]) >> (8 - bits)) == 0;
}

static int route_has_group(const struct route_client *client, uint32_t gid) {
        if (!client->has_ids)
                return 0;
        if (client->gid == gid)
                return 1;
        for (size_t i = 0; i < client->n_groups; i++)
                if (client->groups[i] == gid)
                        return 1;
        return 0;
}

static int route_has_user(const struct route_client *client, uint32_t uid) {
        return client->has_ids && client->uid == uid;
}

/* Rules of routes are networks alone. */
static int route_from(const struct conf_rules *rules, const struct route_client *client) {
        for (size_t i = 0; i < rules->n; i++)
                if (route_in_network(&rules->list[i], client))
                        return 1;
        return 0;
}

/* "*.example.org" is what ends in ".example.org" and has something before that. */
static int route_name_fits(const char *pattern, const char *name) {
        size_t end, len;

        if (strncmp(pattern, "*.", 2) != 0)
                return strcmp(pattern, name) == 0;
        end = strlen(pattern + 1);
        len = strlen(name);
        return len > end && strcmp(name + len - end, pattern + 1) == 0;
}

static int route_by_sni(const struct conf_words *words, const char *name) {
        for (size_t i = 0; i < words->n; i++)
                if (name[0] && route_name_fits(words->list[i], name))
                        return 1;
        return 0;
}

static int route_by_alpn(const struct conf_words *words, const uint8_t *list, size_t len) {
        for (size_t at = 0; at < len && list[at] < len - at; at += 1u + list[at])
                for (size_t i = 0; i < words->n; i++)
                        if (strlen(words->list[i]) == list[at] && !memcmp(words->list[i], list + at + 1, list[at]))
                                return 1;
        return 0;
}

static int route_by_uid(const struct conf_ids *ids, const struct route_client *client) {
        for (size_t i = 0; i < ids->n; i++)
                if (route_has_user(client, ids->list[i]))
                        return 1;
        return 0;
}

static int route_by_gid(const struct conf_ids *ids, const struct route_client *client) {
        for (size_t i = 0; i < ids->n; i++)
                if (route_has_group(client, ids->list[i]))
                        return 1;
        return 0;
}

/* What can be told of a client before it has said anything. */
static int route_by_peer(const struct conf_route *route, const struct route_client *client) {
        return (!route->from.given || route_from(&route->from, client)) &&
               (!route->uid.n || route_by_uid(&route->uid, client)) &&
               (!route->gid.n || route_by_gid(&route->gid, client));
}

static int route_by_hello(const struct conf_route *route, const struct route_client *client) {
        return (!route->sni.n || route_by_sni(&route->sni, client->sni)) &&
               (!route->alpn.n || route_by_alpn(&route->alpn, client->alpn, client->alpn_len));
}

int route_match(const struct conf_route *routes, size_t n, const struct route_client *client) {
        for (size_t i = 0; i < n; i++) {
                int asks = routes[i].sni.n || routes[i].alpn.n;

                if (!route_by_peer(&routes[i], client))
                        continue;
                if (!asks)
                        return (int)i;
                if (client->hello == ROUTE_HELLO_AWAITED)
                        return ROUTE_AWAIT;
                if (client->hello == ROUTE_HELLO_HERE && route_by_hello(&routes[i], client))
                        return (int)i;
        }
        return ROUTE_NONE;
}

int route_asks_groups(const struct conf_route *routes, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (routes[i].gid.n)
                        return 1;
        return 0;
}
