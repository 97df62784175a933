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

#include "balance/acl.h"

#define RULES_MAX 16

/* A list in CONFIG.md's words: "10.0.0.0/8 unix uid:5".  NULL: the key is not given. */
struct rules {
        struct conf_rules rules;
        struct conf_rule list[RULES_MAX];
};

static void parse_network(struct conf_rule *rule, char *word) {
        char *slash = strchr(word, '/');

        if (slash)
                *slash = '\0';
        rule->kind = CONF_RULE_NETWORK;
        rule->family = strchr(word, ':') ? AF_INET6 : AF_INET;
        rule->prefix = slash ? (unsigned)atoi(slash + 1) : rule->family == AF_INET ? 32 : 128;
        assert_int_equal(inet_pton(rule->family, word, &rule->network), 1);
}

static struct rules *parse(const char *text) {
        struct rules *rules = calloc(1, sizeof(*rules));
        char *copy = strdup(text ? text : "");

        rules->rules = (struct conf_rules){ .list = rules->list, .given = text != NULL };
        for (char *save = NULL, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                struct conf_rule *rule = &rules->list[rules->rules.n++];

                if (strcmp(word, "unix") == 0)
                        rule->kind = CONF_RULE_UNIX;
                else if (sscanf(word, "uid:%u", &rule->id) == 1)
                        rule->kind = CONF_RULE_UID;
                else if (sscanf(word, "gid:%u", &rule->id) == 1)
                        rule->kind = CONF_RULE_GID;
                else
                        parse_network(rule, word);
        }
        free(copy);
        return rules;
}

/* A client: an address, or "unix", or an address by way of a peer: "10.0.0.1 by 5:6,7,8" (uid, gid, groups). */
static int allows(const struct acl *acl, const char *text) {
        struct acl_client client = { .family = AF_UNIX };
        struct in6_addr address = { 0 };
        uint32_t groups[2];
        char name[64];
        int n = sscanf(text, "%63s by %u:%u,%u,%u", name, &client.uid, &client.gid, &groups[0], &groups[1]);

        client.has_peer = n >= 3;
        client.groups = groups;
        client.n_groups = n > 3 ? (size_t)n - 3 : 0;
        client.address = &address;
        if (strcmp(name, "unix") != 0) {
                client.family = strchr(name, ':') ? AF_INET6 : AF_INET;
                assert_int_equal(inet_pton(client.family, name, &address), 1);
        }
        return acl_allows(acl, &client);
}

struct asked { const char *client; int may; };

static void check(const char *allow, const char *deny, const struct asked *asked) {
        struct rules *allowed = parse(allow), *denied = parse(deny);
        struct acl acl;

        assert_int_equal(acl_init(&acl, &allowed->rules, &denied->rules), 0);
        for (; asked->client; asked++)
                if (allows(&acl, asked->client) != asked->may)
                        fail_msg("allow %s, deny %s: %s %s", allow, deny, asked->client,
                                 asked->may ? "is denied" : "is allowed");
        acl_deinit(&acl);
        acl_deinit(&acl);
        free(allowed);
        free(denied);
}

static void test_networks(void **unused) {
        (void)unused;
        check(NULL, NULL, (struct asked[]){ { "10.0.0.1", 1 }, { "::1", 1 }, { "unix by 0:0", 1 }, { 0 } });
        check("10.0.0.0/8", NULL, (struct asked[]){
                { "10.1.2.3", 1 }, { "11.0.0.1", 0 }, { "::1", 0 }, { "unix by 0:0", 0 }, { 0 } });
        check(NULL, "10.0.0.0/8", (struct asked[]){
                { "10.1.2.3", 0 }, { "11.0.0.1", 1 }, { "::1", 1 }, { "unix by 0:0", 1 }, { 0 } });
        check("10.0.0.0/8 10.1.2.0/24 2001:db8::/32", "10.1.0.0/16 2001:db8:5::/48", (struct asked[]){
                { "10.0.0.1", 1 }, { "10.1.0.1", 0 }, { "10.1.2.1", 1 }, { "2001:db8::1", 1 },
                { "2001:db8:5::1", 0 }, { "2001:db9::1", 0 }, { 0 } });
        /* The same network on both. */
        check("10.0.0.0/8", "10.0.0.0/8", (struct asked[]){ { "10.0.0.1", 0 }, { "11.0.0.1", 0 }, { 0 } });
        check("0.0.0.0/0 ::/0", "10.0.0.7 ::7", (struct asked[]){
                { "10.0.0.7", 0 }, { "10.0.0.8", 1 }, { "::7", 0 }, { "::8", 1 }, { "unix by 1:1", 0 }, { 0 } });
        /* An empty list lets nobody in. */
        check("", NULL, (struct asked[]){ { "10.0.0.1", 0 }, { "unix by 0:0", 0 }, { 0 } });
        check(NULL, "", (struct asked[]){ { "10.0.0.1", 1 }, { 0 } });
}

static void test_peers(void **unused) {
        (void)unused;
        check("unix", NULL, (struct asked[]){ { "unix by 5:6", 1 }, { "10.0.0.1", 0 }, { "unix", 1 }, { 0 } });
        check("unix", "uid:5", (struct asked[]){ { "unix by 5:6", 0 }, { "unix by 6:6", 1 }, { 0 } });
        check("uid:5", "unix", (struct asked[]){
                { "unix by 5:6", 1 }, { "unix by 6:6", 0 }, { "10.0.0.1", 0 }, { 0 } });
        check("gid:7", "unix", (struct asked[]){
                { "unix by 5:7", 1 }, { "unix by 5:6,7", 1 }, { "unix by 5:6,8,7", 1 }, { "unix by 7:8,9", 0 },
                { 0 } });
        check(NULL, "gid:7 gid:9", (struct asked[]){
                { "unix by 5:7", 0 }, { "unix by 5:6,9", 0 }, { "unix by 7:8", 1 }, { "10.0.0.1", 1 }, { 0 } });
        /* uid and gid are equally specific. */
        check("uid:5", "gid:7", (struct asked[]){ { "unix by 5:7", 0 }, { "unix by 5:8", 1 }, { 0 } });
        check("gid:7", "uid:5", (struct asked[]){ { "unix by 5:7", 0 }, { "unix by 6:7", 1 }, { 0 } });
        check("uid:5", "uid:5", (struct asked[]){ { "unix by 5:7", 0 }, { 0 } });
        check("unix", "unix", (struct asked[]){ { "unix by 5:7", 0 }, { 0 } });
        check("uid:0 gid:0", NULL, (struct asked[]){ { "unix by 1:0", 1 }, { "unix by 0:1", 1 }, { "10.0.0.1", 0 },
                { "unix", 0 }, { 0 } });
        /* The greatest id there is. */
        check("uid:4294967295", NULL, (struct asked[]){ { "unix by 4294967295:1", 1 }, { "unix by 1:1", 0 }, { 0 } });
}

/* A client that a PROXY header names, by way of an AF_UNIX socket. */
static void test_addresses_by_way_of_a_peer(void **unused) {
        (void)unused;
        check("unix", NULL, (struct asked[]){ { "10.0.0.1 by 5:5", 0 }, { 0 } });
        check("10.0.0.0/8", "unix", (struct asked[]){ { "10.0.0.1 by 5:5", 1 }, { "unix by 5:5", 0 }, { 0 } });
        check("uid:5", "10.0.0.0/8", (struct asked[]){
                { "10.0.0.1 by 5:5", 0 }, { "11.0.0.1 by 5:5", 1 }, { "11.0.0.1 by 6:5", 0 }, { 0 } });
        check("10.0.0.0/8", "uid:5", (struct asked[]){
                { "10.0.0.1 by 5:5", 0 }, { "10.0.0.1 by 6:5", 1 }, { "10.0.0.1", 1 }, { 0 } });
}

/* What has to be asked for, and what not. */
static void test_needs(void **unused) {
        static const struct { const char *allow, *deny; int open, ids, groups; } cases[] = {
                { NULL, NULL, 1, 0, 0 }, { NULL, "", 1, 0, 0 }, { "", NULL, 0, 0, 0 }, { NULL, "10.0.0.0/8", 0, 0, 0 },
                { NULL, "::/0", 0, 0, 0 }, { NULL, "unix", 0, 0, 0 }, { NULL, "uid:1", 0, 1, 0 },
                { "gid:1", NULL, 0, 1, 1 },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct rules *allow = parse(cases[i].allow), *deny = parse(cases[i].deny);
                struct acl acl;

                assert_int_equal(acl_init(&acl, &allow->rules, &deny->rules), 0);
                assert_int_equal(acl_is_open(&acl), cases[i].open);
                assert_int_equal(acl_asks_ids(&acl), cases[i].ids);
                assert_int_equal(acl_asks_groups(&acl), cases[i].groups);
                acl_deinit(&acl);
                free(allow);
                free(deny);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_networks),
                cmocka_unit_test(test_peers),
                cmocka_unit_test(test_addresses_by_way_of_a_peer),
                cmocka_unit_test(test_needs),
        };

        return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
