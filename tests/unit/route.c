/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/route.h"

#define N(list) (sizeof(list) / sizeof((list)[0]))

static struct conf_rule network_of(const char *text) {
        struct conf_rule rule = { .kind = CONF_RULE_NETWORK };
        const char *slash = strchr(text, '/');
        char address[64] = "";

        assert_non_null(slash);
        memcpy(address, text, (size_t)(slash - text));
        rule.family = strchr(text, ':') ? AF_INET6 : AF_INET;
        rule.prefix = (unsigned)atoi(slash + 1);
        assert_int_equal(inet_pton(rule.family, address, &rule.network), 1);
        return rule;
}

/* An address; "unix", or "unix:UID:GID". */
static struct route_client client_of(const char *text) {
        struct route_client client = { .family = AF_UNIX, .sni = "" };

        if (strncmp(text, "unix", 4) == 0)
                client.has_ids = sscanf(text, "unix:%u:%u", &client.uid, &client.gid) == 2;
        else {
                client.family = strchr(text, ':') ? AF_INET6 : AF_INET;
                assert_int_equal(inet_pton(client.family, text, &client.address), 1);
        }
        return client;
}

static void test_networks(void **state) {
        static const struct { const char *network, *client; int taken; } rows[] = {
                { "10.0.0.0/8", "10.0.0.0", 1 },
                { "10.0.0.0/8", "10.255.255.255", 1 },
                { "10.0.0.0/8", "11.0.0.0", 0 },
                { "10.0.0.0/8", "9.255.255.255", 0 },
                { "192.168.128.0/17", "192.168.128.1", 1 },
                { "192.168.128.0/17", "192.168.127.255", 0 },
                { "192.168.1.1/32", "192.168.1.1", 1 },
                { "192.168.1.1/32", "192.168.1.0", 0 },
                { "192.168.1.0/31", "192.168.1.1", 1 },
                { "192.168.1.0/31", "192.168.1.2", 0 },
                { "0.0.0.0/0", "255.1.2.3", 1 },
                { "0.0.0.0/0", "::1", 0 },
                { "::/0", "::1", 1 },
                { "::/0", "10.0.0.1", 0 },
                { "::/0", "unix", 0 },
                { "0.0.0.0/0", "unix", 0 },
                { "2001:db8::/32", "2001:db8:ffff::1", 1 },
                { "2001:db8::/33", "2001:db8:8000::1", 0 },
                { "2001:db8::/33", "2001:db8:7fff::1", 1 },
                { "2001:db8::1/128", "2001:db8::1", 1 },
                { "2001:db8::1/128", "2001:db8::2", 0 },
        };

        (void)state;
        for (size_t i = 0; i < N(rows); i++) {
                struct conf_rule list[2] = { network_of("172.16.0.0/12"), network_of(rows[i].network) };
                struct conf_route route = { .from = { .list = list, .n = 2, .given = 1 } };
                struct route_client client = client_of(rows[i].client);

                if (route_match(&route, 1, &client) != (rows[i].taken ? 0 : ROUTE_NONE))
                        fail_msg("%s for %s", rows[i].network, rows[i].client);
        }
}

static void test_groups(void **state) {
        static const uint32_t groups[] = { 5, 33 };
        struct route_client client = client_of("unix:1000:100");
        uint32_t gid = 33;
        struct conf_route route = { .gid = { .list = &gid, .n = 1 } }, other = { .from.given = 1 };

        (void)state;
        assert_int_equal(route_match(&route, 1, &client), ROUTE_NONE);
        client.groups = groups;
        client.n_groups = 2;
        assert_int_equal(route_match(&route, 1, &client), 0);
        assert_int_equal(route_asks_groups(&route, 1), 1);
        assert_int_equal(route_asks_groups(&other, 1), 0);
}

/* The routes that the tables below are about. */
enum { FROM, UID, GID, EXACT, WILD, H2, BOTH, ROUTES };

static const char *exact[] = { "example.org", "www.example.net" }, *wild[] = { "*.example.org" }, *h2[] = { "h2" },
                  *both_sni[] = { "both.example" }, *both_alpn[] = { "acme-tls/1", "h2" };
static uint32_t uids[] = { 0, 1000 }, gids[] = { 33 };

static void make_routes(struct conf_route *routes, struct conf_rule *from) {
        *from = network_of("10.0.0.0/8");
        memset(routes, 0, ROUTES * sizeof(*routes));
        routes[FROM].from = (struct conf_rules){ .list = from, .n = 1, .given = 1 };
        routes[UID].uid = (struct conf_ids){ uids, N(uids) };
        routes[GID].gid = (struct conf_ids){ gids, N(gids) };
        routes[EXACT].sni = (struct conf_words){ exact, N(exact) };
        routes[WILD].sni = (struct conf_words){ wild, N(wild) };
        routes[H2].alpn = (struct conf_words){ h2, N(h2) };
        routes[BOTH].sni = (struct conf_words){ both_sni, N(both_sni) };
        routes[BOTH].alpn = (struct conf_words){ both_alpn, N(both_alpn) };
}

static void test_match(void **state) {
        static const struct { const char *client, *sni, *alpn; int route; } rows[] = {
                { "10.1.2.3", "example.org", "", FROM },
                { "11.1.2.3", "example.org", "", EXACT },
                { "unix:1000:33", "example.org", "", UID },
                { "unix:7:33", "example.org", "", GID },
                { "unix:7:7", "example.org", "", EXACT },
                { "unix", "example.org", "", EXACT },
                { "::1", "www.example.net", "", EXACT },
                { "::1", "example.net", "", ROUTE_NONE },
                { "::1", "a.example.org", "", WILD },
                { "::1", "a.b.c.example.org", "", WILD },
                { "::1", ".example.org", "", ROUTE_NONE },
                { "::1", "example.organic", "", ROUTE_NONE },
                { "::1", "badexample.org", "", ROUTE_NONE },
                { "::1", "*.example.org", "", WILD },
                { "::1", "", "\2h2", H2 },
                { "::1", "else", "\10http/1.1\2h2", H2 },
                { "::1", "else", "\2h1\2h3", ROUTE_NONE },
                { "::1", "else", "\3h2c", ROUTE_NONE },
                { "::1", "both.example", "\12acme-tls/1", BOTH },
                { "::1", "both.example", "\10http/1.1", ROUTE_NONE },
                { "::1", "else", "\12acme-tls/1", ROUTE_NONE },
                { "::1", "", "", ROUTE_NONE },
        };
        struct conf_route routes[ROUTES];
        struct conf_rule from;

        (void)state;
        make_routes(routes, &from);
        for (size_t i = 0; i < N(rows); i++) {
                struct route_client client = client_of(rows[i].client);
                int peers = rows[i].route >= 0 && rows[i].route < EXACT, got;

                got = route_match(routes, ROUTES, &client);
                if (got != (peers ? rows[i].route : ROUTE_AWAIT))
                        fail_msg("row %zu: route %d before anything was said", i, got);
                client.hello = ROUTE_HELLO_NONE;
                got = route_match(routes, ROUTES, &client);
                if (got != (peers ? rows[i].route : ROUTE_NONE))
                        fail_msg("row %zu: route %d with nothing said", i, got);
                client.hello = ROUTE_HELLO_HERE;
                client.sni = rows[i].sni;
                client.alpn = (const uint8_t *)rows[i].alpn;
                client.alpn_len = strlen(rows[i].alpn);
                got = route_match(routes, ROUTES, &client);
                if (got != rows[i].route)
                        fail_msg("row %zu: route %d", i, got);
        }
}

/* The order counts; a client that no earlier route can take is not kept waiting, and without conditions all match. */
static void test_order(void **state) {
        struct conf_route routes[ROUTES], order[3] = { 0 };
        struct route_client near, far = client_of("192.168.0.1");
        struct conf_rule from;

        (void)state;
        near = client_of("10.0.0.1");
        make_routes(routes, &from);
        order[0] = routes[EXACT];
        order[0].from = routes[FROM].from;
        order[1] = routes[FROM];
        assert_int_equal(route_match(order, 3, &near), ROUTE_AWAIT);
        assert_int_equal(route_match(order, 3, &far), 2);
        near.hello = ROUTE_HELLO_NONE;
        assert_int_equal(route_match(order, 3, &near), 1);
        near.hello = ROUTE_HELLO_HERE;
        near.sni = "example.org";
        assert_int_equal(route_match(order, 3, &near), 0);
        assert_int_equal(route_match(order, 0, &near), ROUTE_NONE);
        /* A list that is given and empty names nobody. */
        order[2].from.given = 1;
        assert_int_equal(route_match(order, 3, &far), ROUTE_NONE);
}

/* A list of protocols that is cut off is not read beyond its end. */
static void test_cut_protocols(void **state) {
        struct conf_route routes[ROUTES];
        struct route_client client = client_of("::1");
        struct conf_rule from;
        uint8_t *list = malloc(2);

        (void)state;
        make_routes(routes, &from);
        memcpy(list, "\2h", 2);
        client.hello = ROUTE_HELLO_HERE;
        client.alpn = list;
        client.alpn_len = 2;
        assert_int_equal(route_match(routes, ROUTES, &client), ROUTE_NONE);
        free(list);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_networks), cmocka_unit_test(test_groups), cmocka_unit_test(test_match),
                cmocka_unit_test(test_order), cmocka_unit_test(test_cut_protocols),
        };

        return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
