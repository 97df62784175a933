/* SPDX-License-Identifier: ISC */
#include "balance/acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Collects the rules of both lists by what they are about. */
struct acl_build {
        struct prefix_network *v4, *v6; /* owned */
        size_t n_v4, n_v6;
};

static void acl_add_network(struct acl_build *build, const struct conf_rule *rule, uint8_t verdict) {
        struct prefix_network *network = rule->family == AF_INET ? &build->v4[build->n_v4++]
                                                                 : &build->v6[build->n_v6++];

        if (rule->family == AF_INET)
                prefix_half4(&rule->network, network->half);
        else
                prefix_half6(&rule->network, network->half);
        network->bits = (uint8_t)rule->prefix;
        network->value = verdict;
}

static void acl_add(struct acl *acl, struct acl_build *build, const struct conf_rules *rules, uint8_t verdict) {
        for (size_t i = 0; i < rules->n; i++) {
                const struct conf_rule *rule = &rules->list[i];

                switch (rule->kind) {
                case CONF_RULE_NETWORK:
                        acl_add_network(build, rule, verdict);
                        break;
                case CONF_RULE_UNIX:
                        if (verdict > acl->local)
                                acl->local = verdict;
                        break;
                case CONF_RULE_UID:
                        acl->uids.list[acl->uids.n++] = (struct acl_id){ rule->id, verdict };
                        break;
                case CONF_RULE_GID:
                        acl->gids.list[acl->gids.n++] = (struct acl_id){ rule->id, verdict };
                        break;
                default:
                        break;
                }
        }
}

static int acl_compare(const void *a, const void *b) {
        const struct acl_id *left = a, *right = b;

        if (left->id != right->id)
                return left->id < right->id ? -1 : 1;
        return (int)left->verdict - (int)right->verdict;
}

static void acl_sort(struct acl_ids *ids) {
        size_t kept = 0;

        if (ids->n)
                qsort(ids->list, ids->n, sizeof(*ids->list), acl_compare);
        for (size_t i = 0; i < ids->n; i++)
                if (i + 1 == ids->n || ids->list[i].id != ids->list[i + 1].id)
                        ids->list[kept++] = ids->list[i];
        ids->n = kept;
        /* Room for as many as there are rules is not kept for nothing. */
        if (!ids->n) {
                free(ids->list);
                ids->list = NULL;
        }
}

int acl_init(struct acl *acl, const struct conf_rules *allow, const struct conf_rules *deny) {
        size_t n = allow->n + deny->n + 1;
        struct acl_build build = { 0 };
        int r = -ENOMEM;

        *acl = (struct acl){ .otherwise = allow->given ? ACL_DENY : ACL_ALLOW };
        build.v4 = calloc(n, sizeof(*build.v4));
        build.v6 = calloc(n, sizeof(*build.v6));
        acl->uids.list = calloc(n, sizeof(*acl->uids.list));
        acl->gids.list = calloc(n, sizeof(*acl->gids.list));
        if (!build.v4 || !build.v6 || !acl->uids.list || !acl->gids.list)
                goto out;
        acl_add(acl, &build, allow, ACL_ALLOW);
        acl_add(acl, &build, deny, ACL_DENY);
        acl_sort(&acl->uids);
        acl_sort(&acl->gids);
        r = prefix_init(&acl->v4, build.v4, build.n_v4);
        if (r == 0)
                r = prefix_init(&acl->v6, build.v6, build.n_v6);
out:
        free(build.v4);
        free(build.v6);
        return r;
}

void acl_deinit(struct acl *acl) {
        prefix_deinit(&acl->v4);
        prefix_deinit(&acl->v6);
        free(acl->uids.list);
        free(acl->gids.list);
        *acl = (struct acl){ 0 };
}

int acl_is_open(const struct acl *acl) {
        return acl->otherwise == ACL_ALLOW && !acl->v4.n && !acl->v6.n && !acl->uids.n && !acl->gids.n && !acl->local;
}

int acl_asks_ids(const struct acl *acl) {
        return acl->uids.n || acl->gids.n;
}

int acl_asks_groups(const struct acl *acl) {
        return acl->gids.n != 0;
}

static unsigned acl_find_id(const struct acl_ids *ids, uint32_t id) {
        size_t from = 0, to = ids->n;

        while (from < to) {
                size_t middle = from + (to - from) / 2;

                if (ids->list[middle].id == id)
                        return ids->list[middle].verdict;
                if (ids->list[middle].id < id)
                        from = middle + 1;
                else
                        to = middle;
        }
        return ACL_NONE;
}

/* Verdicts are numbered such that of two equally specific ones the greater decides. */
static unsigned acl_both(unsigned a, unsigned b) {
        return a > b ? a : b;
}

static unsigned acl_of_peer(const struct acl *acl, const struct acl_client *client) {
        unsigned verdict = acl_both(acl_find_id(&acl->uids, client->uid), acl_find_id(&acl->gids, client->gid));

        for (size_t i = 0; i < client->n_groups && acl->gids.n; i++)
                verdict = acl_both(verdict, acl_find_id(&acl->gids, client->groups[i]));
        return verdict;
}

int acl_allows(const struct acl *acl, const struct acl_client *client) {
        unsigned verdict = ACL_NONE;
        uint64_t half[2];

        if (client->has_peer)
                verdict = acl_of_peer(acl, client);
        if (client->family == AF_INET) {
                prefix_half4(client->address, half);
                verdict = acl_both(verdict, prefix_find(&acl->v4, half));
        } else if (client->family == AF_INET6) {
                prefix_half6(client->address, half);
                verdict = acl_both(verdict, prefix_find(&acl->v6, half));
        } else if (verdict == ACL_NONE)
                verdict = acl->local;
        return (verdict == ACL_NONE ? acl->otherwise : verdict) == ACL_ALLOW;
}
