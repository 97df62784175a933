/* SPDX-License-Identifier: ISC */
#include "conf/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "conf/bytes.h"

#define SECOND INT64_C(1000)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct value_unit { const char *name; int64_t factor; };

static const struct value_unit value_durations[] = {
        { "d", 86400 * SECOND }, { "h", 3600 * SECOND }, { "m", 60 * SECOND }, { "s", SECOND }, { "ms", 1 },
};

static const struct value_unit value_sizes[] = {
        { "G", INT64_C(1) << 30 }, { "M", INT64_C(1) << 20 }, { "K", INT64_C(1) << 10 }, { "", 1 },
};

int value_refuse(char why[static VALUE_WHY], const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(why, VALUE_WHY, fmt, args);
        va_end(args);
        return -EINVAL;
}

/* Members are of several widths; value and member are both little or both big endian only if copied by type. */
static int64_t value_load(const void *member, size_t size) {
        switch (size) {
        case 1:
                return *(const uint8_t *)member;
        case 2:
                return *(const uint16_t *)member;
        case 4:
                return *(const uint32_t *)member;
        default:
                return *(const int64_t *)member;
        }
}

static void value_store(void *member, size_t size, int64_t value) {
        switch (size) {
        case 1:
                *(uint8_t *)member = (uint8_t)value;
                break;
        case 2:
                *(uint16_t *)member = (uint16_t)value;
                break;
        case 4:
                *(uint32_t *)member = (uint32_t)value;
                break;
        default:
                *(int64_t *)member = value;
                break;
        }
}

/* Digits, as many as there are: the end of them, or NULL where there are none.  Too large a number is INT64_MAX. */
static const char *value_digits(const char *text, int base, int64_t *value) {
        const char *p = text;

        *value = 0;
        for (; base == 16 ? isxdigit((unsigned char)*p) : (*p >= '0' && *p < '0' + base); p++) {
                int digit = *p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10;

                if (*value > (INT64_MAX - digit) / base)
                        *value = INT64_MAX;
                else
                        *value = *value * base + digit;
        }
        return p == text ? NULL : p;
}

/* A number with one of the units behind it.  Returns 0; -ERANGE where it is too large; -EINVAL where it is none. */
static int value_with_unit(const char *text, const struct value_unit *units, size_t n, int64_t *value) {
        const char *unit = value_digits(text, 10, value);

        if (!unit)
                return -EINVAL;
        for (size_t i = 0; i < n; i++) {
                if (strcmp(unit, units[i].name) != 0)
                        continue;
                if (__builtin_mul_overflow(*value, units[i].factor, value))
                        return -ERANGE;
                return *value == INT64_MAX ? -ERANGE : 0;
        }
        return -EINVAL;
}

static void value_format_unit(int64_t value, const struct value_unit *units, size_t n, char *buf, size_t size) {
        size_t i = 0;

        /* 60s and 1000ms read worse than 1m and 1s, so the largest unit that loses nothing. */
        while (i < n - 1 && (value == 0 || value % units[i].factor != 0))
                i++;
        snprintf(buf, size, "%lld%s", (long long)(value / units[i].factor), units[i].name);
}

int value_number(const char *text, int64_t *value) {
        int hex = text[0] == '0' && (text[1] | 0x20) == 'x';
        const char *end = value_digits(hex ? text + 2 : text, hex ? 16 : 10, value);

        return end && *end == '\0' ? 0 : -EINVAL;
}

/* ", or auto" where the row has a word for "none". */
static const char *value_or_zero(const struct schema_row *row, char *buf, size_t size) {
        if (row->zero)
                snprintf(buf, size, ", or %s", row->zero);
        else
                buf[0] = '\0';
        return buf;
}

static int value_parse_number(const struct schema_row *row, const char *text, int64_t *value, char *why) {
        char or_zero[32];
        int r;

        value_or_zero(row, or_zero, sizeof(or_zero));
        if (row->zero && strcasecmp(text, row->zero) == 0) {
                *value = 0;
                return 0;
        }
        r = value_number(text, value);
        if (r < 0 || *value < row->min || *value > row->max)
                return value_refuse(why, "%s; allowed: %lld to %lld%s", r < 0 ? "is not a number" : "is out of range",
                                    (long long)row->min, (long long)row->max, or_zero);
        return 0;
}

static int value_parse_duration(const struct schema_row *row, const char *text, int64_t *value, char *why) {
        char or_zero[32], min[32], max[32];
        const char *what = "is not a duration";
        int64_t number;
        int r;

        if (row->zero && (strcasecmp(text, row->zero) == 0 || strcmp(text, "0") == 0)) {
                *value = CONF_OFF;
                return 0;
        }
        r = value_with_unit(text, value_durations, ARRAY_SIZE(value_durations), value);
        if (r == 0 && *value >= row->min && *value <= row->max)
                return 0;
        if (r == 0 || r == -ERANGE)
                what = "is out of range";
        else if (value_number(text, &number) == 0)
                what = "has no unit";
        value_format_unit(row->min, value_durations, ARRAY_SIZE(value_durations), min, sizeof(min));
        value_format_unit(row->max, value_durations, ARRAY_SIZE(value_durations), max, sizeof(max));
        return value_refuse(why, "%s; allowed: %s to %s, as in 100ms, 5s, 2m, 1h or 1d%s", what, min, max,
                            value_or_zero(row, or_zero, sizeof(or_zero)));
}

/* A size, or with `rate` a size a second, where "/s" may be left out. */
static int value_parse_size(const struct schema_row *row, const char *text, int rate, int64_t *value, char *why) {
        char or_zero[32], min[32], max[32], copy[64];
        size_t len = strlen(text);
        int r = -EINVAL;

        if (row->zero && strcasecmp(text, row->zero) == 0) {
                *value = 0;
                return 0;
        }
        if (rate && len > 2 && strcmp(text + len - 2, "/s") == 0)
                len -= 2;
        if (len < sizeof(copy)) {
                memcpy(copy, text, len);
                copy[len] = '\0';
                r = value_with_unit(copy, value_sizes, ARRAY_SIZE(value_sizes), value);
        }
        if (r == 0 && *value >= row->min && *value <= row->max)
                return 0;
        value_format_unit(row->min, value_sizes, ARRAY_SIZE(value_sizes), min, sizeof(min));
        value_format_unit(row->max, value_sizes, ARRAY_SIZE(value_sizes), max, sizeof(max));
        return value_refuse(why, "%s; allowed: %s to %s%s%s", r == -EINVAL ? rate ? "is not a rate" : "is not a size" :
                            "is out of range", min, max,
                            rate ? " bytes a second, as in 512K/s or 10M/s" : " bytes, as in 4096, 64K, 8M or 1G",
                            value_or_zero(row, or_zero, sizeof(or_zero)));
}

/* Connections a second: "100/s". */
static int value_parse_rate(const struct schema_row *row, const char *text, int64_t *value, char *why) {
        const char *end = value_digits(text, 10, value), *what = "is out of range";

        if (strcasecmp(text, row->zero) == 0) {
                *value = 0;
                return 0;
        }
        if (end && strcmp(end, "/s") == 0 && *value >= row->min && *value <= row->max)
                return 0;
        if (!end || strcmp(end, "/s") != 0)
                what = end && *end == '\0' ? "has no unit" : "is not a rate";
        return value_refuse(why, "%s; allowed: %lld/s to %lld/s, or %s", what, (long long)row->min,
                            (long long)row->max, row->zero);
}

static int value_parse_bool(const char *text, int64_t *value, char *why) {
        static const char *const words[] = { "off", "on", "no", "yes", "false", "true" };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                if (strcasecmp(text, words[i]) == 0) {
                        *value = i % 2;
                        return 0;
                }
        }
        return value_refuse(why, "is neither on nor off; allowed: on, yes, true, off, no, false");
}

static int value_parse_mode(const struct schema_row *row, const char *text, int64_t *value, char *why) {
        const char *end = value_digits(text, 8, value);

        if (!end || *end != '\0' || end - text < 3 || *value > row->max)
                return value_refuse(why, "is not a file mode; allowed: octal digits in quotes, \"0000\" to \"0%llo\"",
                                    (unsigned long long)row->max);
        return 0;
}

/* "a", "a or b", "a, b or c", from words[min] on; `more` is one word beyond the list. */
static void value_list_words(const struct schema_row *row, const char *more, char *buf, size_t size) {
        size_t n = 0, at = 0, first = (size_t)row->min;

        while (row->words[n])
                n++;
        buf[0] = '\0';
        for (size_t i = first; i < n + (more != NULL); i++) {
                const char *gap = i == first ? "" : i + 1 == n + (more != NULL) ? " or " : ", ";
                int len = snprintf(buf + at, size - at, "%s%s", gap, i < n ? row->words[i] : more);

                if (len < 0 || (size_t)len >= size - at)
                        break;
                at += (size_t)len;
        }
}

static int value_parse_word(const struct schema_row *row, const char *text, int64_t *value, char *why) {
        char list[VALUE_WHY / 2];

        for (*value = row->min; row->words[*value]; ++*value)
                if (strcmp(text, row->words[*value]) == 0)
                        return 0;
        value_list_words(row, NULL, list, sizeof(list));
        return value_refuse(why, "is not known; allowed: %s", list);
}

static int value_check_path(const char *path, char *why) {
        if (path[0] != '/' || path[1] == '\0' || path[strlen(path) - 1] == '/')
                return value_refuse(why, "is no absolute path of a file; allowed: a path that starts with / and ends "
                                    "in a file's name");
        if (strlen(path) > 4095)
                return value_refuse(why, "is too long; allowed: a path of at most 4095 bytes");
        return 0;
}

static int value_parse_target(const struct schema_row *row, const char *text, struct log_target *target,
                              struct region *region, char *why) {
        char list[VALUE_WHY / 2];

        if (strncmp(text, "file:", 5) == 0) {
                int r = value_check_path(text + 5, why);

                if (r < 0)
                        return r;
                target->path = region_strdup(region, text + 5);
                target->to = LOG_TO_FILE;
                return target->path ? 0 : -ENOMEM;
        }
        for (int64_t i = row->min; i <= row->max; i++) {
                if (strcmp(text, row->words[i]) == 0) {
                        target->to = (enum log_to)i;
                        target->path = NULL;
                        return 0;
                }
        }
        value_list_words(row, "file:/PATH", list, sizeof(list));
        return value_refuse(why, "is not a target; allowed: %s", list);
}

static int value_parse_string(const struct schema_row *row, const char *text, const char **string,
                              struct region *region, char *why) {
        size_t len = strlen(text);

        if (row->type == SCHEMA_PATH) {
                int r = value_check_path(text, why);

                if (r < 0)
                        return r;
        } else if ((int64_t)len < row->min || (int64_t)len > row->max) {
                return value_refuse(why, "%s; allowed: %lld to %lld bytes", len ? "is too long" : "is empty",
                                    (long long)row->min, (long long)row->max);
        }
        *string = region_strdup(region, text);
        return *string ? 0 : -ENOMEM;
}

int value_check_bytes(const char *text, char why[static VALUE_WHY]) {
        for (; *text; text++)
                if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        return value_refuse(why, "holds a control character; allowed: printable characters");
        return 0;
}

/* These are words of the language that mean no host, in one place or the other. */
static int value_check_prefix(const char *text, const char *allowed, char *why) {
        static const char *const prefixes[] = { "tcp:", "file:" };

        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
                if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0)
                        return value_refuse(why, "starts with '%s', which is not known; allowed: %s", prefixes[i],
                                            allowed);
        return 0;
}

static int value_parse_addr(struct addr *addr, const char *text, const char *allowed, char *why) {
        const char *bad = NULL;
        int r = value_check_bytes(text, why);

        if (r == 0)
                r = value_check_prefix(text, allowed, why);
        if (r < 0)
                return r;
        if (addr_parse(addr, text, &bad) < 0) {
                memset(addr, 0, sizeof(*addr));
                return value_refuse(why, "is refused: %s", bad ? bad : "not an address");
        }
        return 0;
}

/* Refuses an address of a kind that has no use here. */
static int value_refuse_kind(struct addr *addr, const char *what, const char *allowed, char *why) {
        memset(addr, 0, sizeof(*addr));
        return value_refuse(why, "%s; allowed: %s", what, allowed);
}

int value_parse_listen(struct addr *addr, const char *text, char why[static VALUE_WHY]) {
        static const char allowed[] = "10.0.0.1:80, [2001:db8::1]:80, :80, unix:/path, unix:@name or fd:NAME";
        int r = value_parse_addr(addr, text, allowed, why);

        if (r == 0 && addr->kind == ADDR_HOST)
                return value_refuse_kind(addr, "is a host name, and a listener needs an address", allowed, why);
        if (r == 0 && addr->kind == ADDR_SRV)
                return value_refuse_kind(addr, "names SRV records, and a listener needs an address", allowed, why);
        return r;
}

/* The text is kept as an address is written. */
static int value_parse_listener(const struct schema_row *row, const char *text, struct conf_listener *listener,
                                struct region *region, char *why) {
        char address[sizeof("unix:") + 4096];
        int r;

        if (strcmp(text, row->zero) == 0) {
                listener->text = NULL;
                listener->addr = (struct addr){ .kind = ADDR_NONE };
                return 0;
        }
        if (row->type == SCHEMA_SOCKET && value_check_path(text, why) < 0)
                return -EINVAL;
        snprintf(address, sizeof(address), "%s%s", row->type == SCHEMA_SOCKET ? "unix:" : "", text);
        r = value_parse_listen(&listener->addr, address, why);
        if (r < 0)
                return r;
        listener->text = region_strdup(region, address);
        return listener->text ? 0 : -ENOMEM;
}

static int value_parse_server(struct addr *addr, const char *text, char *why) {
        static const char allowed[] = "10.0.0.1:80, [2001:db8::1]:80, host.name:80, unix:/path, unix:@name or "
                                      "srv:_service._protocol.domain";
        int r = value_parse_addr(addr, text, allowed, why);

        if (r == 0 && addr->kind == ADDR_FD)
                return value_refuse_kind(addr, "is a listening socket, and a server needs an address", allowed, why);
        if (r == 0 && addr->kind == ADDR_ANY)
                return value_refuse_kind(addr, "names no host to connect to", allowed, why);
        return r;
}

static int value_parse_check_address(struct addr *addr, const char *text, char *why) {
        static const char allowed[] = "10.0.0.1:80, [2001:db8::1]:80, unix:/path or unix:@name";
        int r = value_parse_addr(addr, text, allowed, why);

        if (r == 0 && addr->kind != ADDR_IP && addr->kind != ADDR_UNIX)
                return value_refuse_kind(addr, "is no fixed address to connect to", allowed, why);
        return r;
}

int value_parse_bare_ip(struct addr *addr, const char *text) {
        char copy[INET6_ADDRSTRLEN + 2];
        size_t len = strlen(text);

        memset(addr, 0, sizeof(*addr));
        if (len == 0 || len >= sizeof(copy))
                return -EINVAL;
        memcpy(copy, text, len + 1);
        if (copy[0] == '[' && copy[len - 1] == ']') {
                copy[len - 1] = '\0';
                memmove(copy, copy + 1, len - 1);
        } else if (inet_pton(AF_INET, copy, &addr->in.sin_addr) == 1) {
                addr->kind = ADDR_IP;
                addr->len = sizeof(addr->in);
                addr->in.sin_family = AF_INET;
                return 0;
        }
        if (inet_pton(AF_INET6, copy, &addr->in6.sin6_addr) != 1)
                return -EINVAL;
        addr->kind = ADDR_IP;
        addr->len = sizeof(addr->in6);
        addr->in6.sin6_family = AF_INET6;
        addr_unmap(addr);
        return 0;
}

static int value_parse_source(struct addr *addr, const char *text, char *why) {
        const char *bad = NULL;

        if (value_parse_bare_ip(addr, text) == 0)
                return 0;
        if (addr_parse(addr, text, &bad) == 0 && addr->kind == ADDR_IP)
                return 0;
        memset(addr, 0, sizeof(*addr));
        return value_refuse(why, "is not a local address; allowed: an IP address with or without a port, as in "
                            "10.0.0.1, 2001:db8::1 or 10.0.0.1:4000");
}

static int value_parse_sockopt(const struct schema_row *row, const char *text, struct sockopt_set *set, char *why) {
        const struct sockopt_spec *spec = sockopt_spec(row->id);
        struct schema_row as = { .key = spec->name, .min = spec->min, .max = spec->max };
        int64_t value = 0;
        char *string;
        size_t len;
        int r = 0;

        if (spec->min == 0 && (spec->type == SOCKOPT_DURATION || spec->type == SOCKOPT_RATE))
                as.zero = "off";
        switch (spec->type) {
        case SOCKOPT_BOOL:
                r = value_parse_bool(text, &value, why);
                break;
        case SOCKOPT_NUMBER:
                r = value_parse_number(&as, text, &value, why);
                break;
        case SOCKOPT_SIZE:
        case SOCKOPT_RATE:
                r = value_parse_size(&as, text, spec->type == SOCKOPT_RATE, &value, why);
                break;
        case SOCKOPT_DURATION:
                as.min = spec->min ? spec->min : 1;
                r = value_parse_duration(&as, text, &value, why);
                if (value == CONF_OFF)
                        value = 0;
                break;
        case SOCKOPT_STRING:
                string = row->id == SOCKOPT_CONGESTION ? set->congestion : set->device;
                len = strlen(text);
                if ((int64_t)len < spec->min || (int64_t)len > spec->max || strpbrk(text, "/ "))
                        return value_refuse(why, "is not a name; allowed: %lld to %lld bytes without spaces and "
                                            "slashes", (long long)spec->min, (long long)spec->max);
                memset(string, 0, SOCKOPT_STRLEN);
                memcpy(string, text, len);
                break;
        }
        if (r < 0)
                return r;
        set->value[row->id] = value;
        set->set |= UINT32_C(1) << row->id;
        return 0;
}

int value_parse(const struct schema_row *row, const char *text, void *target, struct region *region,
                char why[static VALUE_WHY]) {
        void *member = (char *)target + row->offset;
        int64_t value = 0;
        int r;

        if (row->type == SCHEMA_SEND)
                return bytes_parse_send(target, text, region, why);
        if (row->type == SCHEMA_EXPECT)
                return bytes_parse_expect(target, text, region, why);
        r = value_check_bytes(text, why);
        if (r < 0)
                return r;
        switch (row->type) {
        case SCHEMA_NUMBER:
                r = value_parse_number(row, text, &value, why);
                break;
        case SCHEMA_DURATION:
                r = value_parse_duration(row, text, &value, why);
                break;
        case SCHEMA_RATE:
                r = value_parse_rate(row, text, &value, why);
                break;
        case SCHEMA_BYTE_RATE:
                r = value_parse_size(row, text, 1, &value, why);
                break;
        case SCHEMA_BOOL:
                r = value_parse_bool(text, &value, why);
                break;
        case SCHEMA_MODE:
                r = value_parse_mode(row, text, &value, why);
                break;
        case SCHEMA_WORD:
                r = value_parse_word(row, text, &value, why);
                break;
        case SCHEMA_STRING:
        case SCHEMA_PATH:
                return value_parse_string(row, text, member, region, why);
        case SCHEMA_TARGET:
                return value_parse_target(row, text, member, region, why);
        case SCHEMA_ADDRESS:
                return value_parse_server(member, text, why);
        case SCHEMA_CHECK_ADDRESS:
                return value_parse_check_address(member, text, why);
        case SCHEMA_SOURCE:
                return value_parse_source(member, text, why);
        case SCHEMA_SOCKOPT:
                return value_parse_sockopt(row, text, target, why);
        case SCHEMA_SOCKET:
        case SCHEMA_LISTEN:
                return value_parse_listener(row, text, member, region, why);
        default:
                return value_refuse(why, "has no value");
        }
        if (r == 0)
                value_store(member, row->size, value);
        return r;
}

char *value_quote(const char *text, char *buf, size_t size) {
        size_t at = 0;

        buf[at++] = '"';
        for (; *text && at + 4 < size; text++) {
                if (*text == '"' || *text == '\\' || (*text == '$' && text[1] == '{'))
                        buf[at++] = '\\';
                buf[at++] = *text;
        }
        buf[at++] = '"';
        buf[at] = '\0';
        return buf;
}

static void value_format_source(const struct addr *addr, char *buf, size_t size) {
        char text[ADDR_STRLEN] = "";

        if (addr->sa.sa_family == AF_INET && addr->in.sin_port == 0)
                inet_ntop(AF_INET, &addr->in.sin_addr, text, sizeof(text));
        else if (addr->sa.sa_family == AF_INET6 && addr->in6.sin6_port == 0)
                inet_ntop(AF_INET6, &addr->in6.sin6_addr, text, sizeof(text));
        else
                addr_format(&addr->sa, addr->len, text, sizeof(text));
        value_quote(text, buf, size);
}

static int value_format_target(const struct schema_row *row, const struct log_target *target, char *buf) {
        char text[VALUE_STRLEN / 2];

        if (target->to != LOG_TO_FILE) {
                snprintf(buf, VALUE_STRLEN, "%s", row->words[target->to]);
                return 1;
        }
        snprintf(text, sizeof(text), "file:%s", target->path);
        value_quote(text, buf, VALUE_STRLEN);
        return 1;
}

static int value_format_sockopt(const struct schema_row *row, const struct sockopt_set *set, char *buf) {
        char text[64];

        if (!(set->set & UINT32_C(1) << row->id))
                return 0;
        sockopt_format(set, row->id, text, sizeof(text));
        if (sockopt_spec(row->id)->type == SOCKOPT_STRING || strchr(text, '/'))
                value_quote(text, buf, VALUE_STRLEN);
        else
                snprintf(buf, VALUE_STRLEN, "%s", text);
        return 1;
}

/* "off", "100/s" or "10M/s". */
static int value_format_rate(const struct schema_row *row, int64_t value, char *buf) {
        static const struct value_unit units[] = { { "/s", 1 } };
        char text[64];

        if (value == 0) {
                snprintf(buf, VALUE_STRLEN, "%s", row->zero);
                return 1;
        }
        if (row->type == SCHEMA_RATE) {
                value_format_unit(value, units, ARRAY_SIZE(units), text, sizeof(text));
        } else {
                value_format_unit(value, value_sizes, ARRAY_SIZE(value_sizes), text, sizeof(text) - 2);
                strcat(text, "/s");
        }
        value_quote(text, buf, VALUE_STRLEN);
        return 1;
}

static int value_format_listener(const struct schema_row *row, const struct conf_listener *listener, char *buf) {
        const char *skip = row->type == SCHEMA_SOCKET ? "unix:" : "";

        if (listener->text)
                value_quote(listener->text + strlen(skip), buf, VALUE_STRLEN);
        else
                snprintf(buf, VALUE_STRLEN, "%s", row->zero);
        return 1;
}

static int value_format_string(const char *text, char *buf) {
        if (!text)
                return 0;
        value_quote(text, buf, VALUE_STRLEN);
        return 1;
}

int value_format(const struct schema_row *row, const void *target, char *buf) {
        const void *member = (const char *)target + row->offset;

        switch (row->type) {
        case SCHEMA_NUMBER:
                if (row->zero && value_load(member, row->size) == 0)
                        snprintf(buf, VALUE_STRLEN, "%s", row->zero);
                else
                        snprintf(buf, VALUE_STRLEN, "%lld", (long long)value_load(member, row->size));
                return 1;
        case SCHEMA_DURATION:
                if (value_load(member, row->size) == CONF_OFF && row->flags & SCHEMA_UNSET)
                        return 0;
                if (value_load(member, row->size) == CONF_OFF)
                        snprintf(buf, VALUE_STRLEN, "%s", row->zero);
                else
                        value_format_unit(value_load(member, row->size), value_durations, ARRAY_SIZE(value_durations),
                                          buf, VALUE_STRLEN);
                return 1;
        case SCHEMA_BOOL:
                snprintf(buf, VALUE_STRLEN, "%s", value_load(member, row->size) ? "on" : "off");
                return 1;
        case SCHEMA_MODE:
                snprintf(buf, VALUE_STRLEN, "\"%04llo\"", (unsigned long long)value_load(member, row->size));
                return 1;
        case SCHEMA_WORD:
                snprintf(buf, VALUE_STRLEN, "%s", row->words[value_load(member, row->size)]);
                return 1;
        case SCHEMA_STRING:
        case SCHEMA_PATH:
                return value_format_string(*(const char *const *)member, buf);
        case SCHEMA_TARGET:
                return value_format_target(row, member, buf);
        case SCHEMA_SOURCE:
                if (((const struct addr *)member)->kind == ADDR_NONE)
                        return 0;
                value_format_source(member, buf, VALUE_STRLEN);
                return 1;
        case SCHEMA_SOCKOPT:
                return value_format_sockopt(row, target, buf);
        case SCHEMA_SOCKET:
        case SCHEMA_LISTEN:
                return value_format_listener(row, member, buf);
        case SCHEMA_RATE:
        case SCHEMA_BYTE_RATE:
                return value_format_rate(row, value_load(member, row->size), buf);
        case SCHEMA_SEND:
                return bytes_format_send(target, buf);
        case SCHEMA_EXPECT:
                return bytes_format_expect(target, buf);
        default:
                return 0;
        }
}

int value_check_name(const char *text, char why[static VALUE_WHY]) {
        char buf[4 * CONF_NAME_MAX + 1];
        struct text shown = text_init(buf, sizeof(buf));
        size_t len = strlen(text);

        if (len == 0 || len > CONF_NAME_MAX)
                return value_refuse(why, "is %s; allowed: a name of 1 to %d bytes", len ? "too long" : "empty",
                                    CONF_NAME_MAX);
        /* What the log would write otherwise than it stands here could not be found by its name again. */
        text_message(&shown, text, sizeof(buf) - 1);
        if (strchr(text, '/') || strcmp(buf, text) != 0)
                return value_refuse(why, "is no name; allowed: printable characters but /");
        return 0;
}
