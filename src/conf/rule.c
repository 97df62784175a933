/* SPDX-License-Identifier: ISC */
#include "conf/rule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RULE_ID_MAX (UINT32_MAX - 1)    /* the last one means "no one" to the kernel */
#define RULE_NAME_MAX 255
#define RULE_NETWORKS "10.0.0.0/8, 2001:db8::/32 or an address without a prefix"
#define RULE_ALL "10.0.0.0/8, 2001:db8::/32, unix, uid:1000, user:NAME, gid:33 or group:NAME"

/* The words that come before a colon; none of them is a part of an IPv6 address. */
static const struct rule_prefix { const char *text; enum conf_rule_kind kind; } rule_prefixes[] = {
        { "uid:", CONF_RULE_UID }, { "gid:", CONF_RULE_GID },
        { "user:", CONF_RULE_USER }, { "group:", CONF_RULE_GROUP },
};

/* Digits up to the end of text, of at most max.  Returns whether that is what it is. */
static int rule_number(const char *text, uint32_t max, uint32_t *number) {
        uint64_t value = 0;
        size_t i;

        for (i = 0; text[i] >= '0' && text[i] <= '9' && value <= max; i++)
                value = value * 10 + (uint64_t)(text[i] - '0');
        *number = (uint32_t)value;
        return i > 0 && text[i] == '\0' && value <= max;
}

static int rule_parse_id(struct conf_rule *rule, const char *text, char *why) {
        if (!rule_number(text, RULE_ID_MAX, &rule->id))
                return value_refuse(why, "has no number from 0 to %u behind its colon; allowed: " RULE_ALL,
                                    RULE_ID_MAX);
        return 0;
}

static int rule_parse_name(struct conf_rule *rule, const char *text, struct region *region, char *why) {
        size_t len = strlen(text);

        if (len == 0 || len > RULE_NAME_MAX)
                return value_refuse(why, "has no name of 1 to %d bytes behind its colon; allowed: " RULE_ALL,
                                    RULE_NAME_MAX);
        rule->name = region_strndup(region, text, len);
        return rule->name ? 0 : -ENOMEM;
}

/* Sets the bits of the network that come after the prefix to 0.  Returns whether one was set. */
static int rule_mask(struct conf_rule *rule) {
        size_t size = rule->family == AF_INET ? 4 : 16;
        int set = 0;

        for (size_t i = rule->prefix / 8; i < size; i++) {
                uint8_t keep = i == rule->prefix / 8 ? (uint8_t)(0xff00 >> rule->prefix % 8) : 0;

                set |= rule->network.s6_addr[i] & ~keep;
                rule->network.s6_addr[i] &= keep;
        }
        return set != 0;
}

/* A v4-mapped network is the IPv4 one: clients of that kind count as IPv4 everywhere. */
static void rule_unmap(struct conf_rule *rule) {
        if (rule->family != AF_INET6 || rule->prefix < 96 || !IN6_IS_ADDR_V4MAPPED(&rule->network))
                return;
        rule->family = AF_INET;
        rule->prefix -= 96;
        memmove(rule->network.s6_addr, rule->network.s6_addr + 12, 4);
        memset(rule->network.s6_addr + 4, 0, 12);
}

static int rule_parse_network(struct conf_rule *rule, const char *text, const char *allowed, char *why) {
        char copy[INET6_ADDRSTRLEN], masked[RULE_STRLEN], alone[INET6_ADDRSTRLEN];
        const char *slash = strchr(text, '/');
        size_t len = slash ? (size_t)(slash - text) : strlen(text);
        uint32_t bits, prefix;

        if (len >= sizeof(copy))
                return value_refuse(why, "is not known; allowed: %s", allowed);
        memcpy(copy, text, len);
        copy[len] = '\0';
        if (inet_pton(AF_INET, copy, &rule->network) == 1)
                rule->family = AF_INET;
        else if (inet_pton(AF_INET6, copy, &rule->network) == 1)
                rule->family = AF_INET6;
        else
                return value_refuse(why, "is not known; allowed: %s", allowed);
        prefix = bits = rule->family == AF_INET ? 32 : 128;
        if (slash && !rule_number(slash + 1, bits, &prefix))
                return value_refuse(why, "has no prefix from 0 to %u behind its slash; allowed: %s", bits, allowed);
        rule->prefix = prefix;
        inet_ntop(rule->family, &rule->network, alone, sizeof(alone));
        if (rule_mask(rule))
                return value_refuse(why, "has bits set after its prefix; allowed: %s, or %s",
                                    rule_format(rule, masked), alone);
        rule_unmap(rule);
        return 0;
}

int rule_parse(struct conf_rule *rule, const char *text, int networks, struct region *region,
               char why[static VALUE_WHY]) {
        *rule = (struct conf_rule) { .kind = CONF_RULE_NETWORK };
        if (networks)
                return rule_parse_network(rule, text, RULE_NETWORKS, why);
        if (strcmp(text, "unix") == 0) {
                rule->kind = CONF_RULE_UNIX;
                return 0;
        }
        for (size_t i = 0; i < sizeof(rule_prefixes) / sizeof(rule_prefixes[0]); i++) {
                size_t len = strlen(rule_prefixes[i].text);

                if (strncmp(text, rule_prefixes[i].text, len) != 0)
                        continue;
                rule->kind = rule_prefixes[i].kind;
                if (rule->kind == CONF_RULE_UID || rule->kind == CONF_RULE_GID)
                        return rule_parse_id(rule, text + len, why);
                return rule_parse_name(rule, text + len, region, why);
        }
        return rule_parse_network(rule, text, RULE_ALL, why);
}

char *rule_format(const struct conf_rule *rule, char buf[static RULE_STRLEN]) {
        char ip[INET6_ADDRSTRLEN];

        switch (rule->kind) {
        case CONF_RULE_NETWORK:
                inet_ntop(rule->family, &rule->network, ip, sizeof(ip));
                snprintf(buf, RULE_STRLEN, "%s/%u", ip, rule->prefix);
                break;
        case CONF_RULE_UNIX:
                snprintf(buf, RULE_STRLEN, "unix");
                break;
        case CONF_RULE_UID:
                snprintf(buf, RULE_STRLEN, "uid:%u", rule->id);
                break;
        case CONF_RULE_GID:
                snprintf(buf, RULE_STRLEN, "gid:%u", rule->id);
                break;
        case CONF_RULE_USER:
                snprintf(buf, RULE_STRLEN, "user:%s", rule->name);
                break;
        case CONF_RULE_GROUP:
                snprintf(buf, RULE_STRLEN, "group:%s", rule->name);
                break;
        }
        return buf;
}
