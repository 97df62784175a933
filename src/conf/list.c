/* SPDX-License-Identifier: ISC */
#include "conf/list.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf/rule.h"

#define LIST_HOST_MAX 253
#define LIST_LABEL_MAX 63
#define LIST_DNS_PORT 53

static void *list_member(const struct schema_row *row, const void *target) {
        return (char *)target + row->offset;
}

static int list_is_rules(const struct schema_row *row) {
        return row->type == SCHEMA_RULES || row->type == SCHEMA_NETWORKS;
}

/* Elements are parsed before the array grows: one that is refused takes no place. */
static int list_parse_rule(struct conf_rules *rules, const struct schema_row *row, const char *text,
                           struct region *region, char *why) {
        struct conf_rule rule, *list;
        int r = rule_parse(&rule, text, row->type == SCHEMA_NETWORKS, region, why);

        if (r < 0)
                return r;
        list = region_grow(region, rules->list, rules->n, sizeof(*list));
        if (!list)
                return -ENOMEM;
        rules->list = list;
        list[rules->n++] = rule;
        return 0;
}

/* Whether text is labels with dots between them, as a ClientHello has them: no address, and no dot at the end. */
static int list_is_sni(const char *text) {
        size_t label = 0;
        int digits = 1;

        if (strlen(text) > LIST_HOST_MAX)
                return 0;
        for (const char *p = text; *p; p++) {
                if (*p == '.') {
                        if (label == 0 || p[-1] == '-')
                                return 0;
                        label = 0;
                        digits = 1;
                        continue;
                }
                if ((*p == '-' && label == 0) ||
                    (*p != '-' && *p != '_' && (!isascii((unsigned char)*p) || !isalnum((unsigned char)*p))))
                        return 0;
                if (++label > LIST_LABEL_MAX)
                        return 0;
                digits = digits && isdigit((unsigned char)*p);
        }
        return label > 0 && text[strlen(text) - 1] != '-' && !digits;
}

static int list_parse_word(struct conf_words *words, const struct schema_row *row, const char *text,
                           struct region *region, char *why) {
        size_t len = strlen(text);
        const char **list;
        char *copy;

        if (row->type == SCHEMA_SNI && !list_is_sni(strncmp(text, "*.", 2) == 0 ? text + 2 : text))
                return value_refuse(why, "is not a host name; allowed: www.example.org, or *.example.org for all below "
                                    "it");
        if (row->type == SCHEMA_ALPN && ((int64_t)len < row->min || (int64_t)len > row->max))
                return value_refuse(why, "is %s; allowed: %lld to %lld bytes, as in h2", len ? "too long" : "empty",
                                    (long long)row->min, (long long)row->max);
        list = region_grow(region, words->list, words->n, sizeof(*list));
        copy = region_strndup(region, text, len);
        if (!list || !copy)
                return -ENOMEM;
        for (char *p = copy; row->type == SCHEMA_SNI && *p; p++)
                *p = (char)tolower((unsigned char)*p);
        words->list = list;
        list[words->n++] = copy;
        return 0;
}

static int list_parse_id(struct conf_ids *ids, const struct schema_row *row, const char *text, struct region *region,
                         char *why) {
        uint32_t *list;
        int64_t value;
        int r = value_number(text, &value);

        if (r < 0 || value < row->min || value > row->max)
                return value_refuse(why, "is %s; allowed: %lld to %lld", r < 0 ? "not a number" : "out of range",
                                    (long long)row->min, (long long)row->max);
        list = region_grow(region, ids->list, ids->n, sizeof(*list));
        if (!list)
                return -ENOMEM;
        ids->list = list;
        list[ids->n++] = (uint32_t)value;
        return 0;
}

static int list_parse_nameserver(struct conf_resolver *resolver, const char *text, struct region *region, char *why) {
        struct addr addr, *list;
        const char *bad;

        if (value_parse_bare_ip(&addr, text) == 0)
                /* The port is at the same place in both families. */
                addr.in.sin_port = htons(LIST_DNS_PORT);
        else if (addr_parse(&addr, text, &bad) < 0 || addr.kind != ADDR_IP)
                return value_refuse(why, "is not the address of a name server; allowed: an IP address with or without "
                                    "a port, as in 10.0.0.53 or [2001:db8::53]:5353");
        list = region_grow(region, resolver->servers, resolver->n_servers, sizeof(*list));
        if (!list)
                return -ENOMEM;
        resolver->servers = list;
        list[resolver->n_servers++] = addr;
        return 0;
}

int list_parse(const struct schema_row *row, const char *text, void *target, struct region *region,
               char why[static VALUE_WHY]) {
        void *member = list_member(row, target);
        int r = value_check_bytes(text, why);

        if (r < 0)
                return r;
        switch (row->type) {
        case SCHEMA_RULES:
        case SCHEMA_NETWORKS:
                return list_parse_rule(member, row, text, region, why);
        case SCHEMA_SNI:
        case SCHEMA_ALPN:
                return list_parse_word(member, row, text, region, why);
        case SCHEMA_IDS:
                return list_parse_id(member, row, text, region, why);
        case SCHEMA_NAMESERVERS:
                return list_parse_nameserver(target, text, region, why);
        default:
                return value_refuse(why, "is in no list");
        }
}

void list_given(const struct schema_row *row, void *target) {
        if (list_is_rules(row))
                ((struct conf_rules *)list_member(row, target))->given = 1;
}

ptrdiff_t list_length(const struct schema_row *row, const void *target) {
        const void *member = list_member(row, target);
        size_t n;

        switch (row->type) {
        case SCHEMA_RULES:
        case SCHEMA_NETWORKS:
                return ((const struct conf_rules *)member)->given ? (ptrdiff_t)((const struct conf_rules *)member)->n
                                                                  : -1;
        case SCHEMA_SNI:
        case SCHEMA_ALPN:
                n = ((const struct conf_words *)member)->n;
                break;
        case SCHEMA_IDS:
                n = ((const struct conf_ids *)member)->n;
                break;
        default:
                n = ((const struct conf_resolver *)target)->n_servers;
                break;
        }
        return n > 0 ? (ptrdiff_t)n : -1;
}

char *list_format(const struct schema_row *row, const void *target, size_t i, char *buf) {
        const void *member = list_member(row, target);
        char text[ADDR_STRLEN] = "";
        const struct addr *addr;

        switch (row->type) {
        case SCHEMA_RULES:
        case SCHEMA_NETWORKS:
                return value_quote(rule_format(&((const struct conf_rules *)member)->list[i], text), buf, VALUE_STRLEN);
        case SCHEMA_SNI:
        case SCHEMA_ALPN:
                return value_quote(((const struct conf_words *)member)->list[i], buf, VALUE_STRLEN);
        case SCHEMA_IDS:
                snprintf(buf, VALUE_STRLEN, "%u", ((const struct conf_ids *)member)->list[i]);
                return buf;
        default:
                addr = &((const struct conf_resolver *)target)->servers[i];
                return value_quote(addr_format(&addr->sa, addr->len, text, sizeof(text)), buf, VALUE_STRLEN);
        }
}

const char *list_example(const struct schema_row *row) {
        switch (row->type) {
        case SCHEMA_SNI:
                return "\"www.example.org\"";
        case SCHEMA_ALPN:
                return "\"h2\"";
        case SCHEMA_IDS:
                return "1000";
        case SCHEMA_NAMESERVERS:
                return "\"10.0.0.53\"";
        default:
                return "\"10.0.0.0/8\"";
        }
}
