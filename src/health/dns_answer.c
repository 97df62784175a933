/* SPDX-License-Identifier: ISC */
#include "health/dns_answer.h"

#include <errno.h>
#include <string.h>

#define DNS_ANSWER_HEADER 12
#define DNS_ANSWER_CNAME 5
#define DNS_ANSWER_IN 1
#define DNS_ANSWER_ALIASES 16           /* that are followed */
#define DNS_ANSWER_SRV_FIXED 6          /* bytes before the target */

/* Where one reads in the message. */
struct dns_answer_cursor {
        const unsigned char *message;
        size_t len, at;
};

/* The fixed part of a record, with its owner; its data lies at `data`. */
struct dns_answer_head {
        char owner[DNS_ANSWER_NAME_SIZE];
        unsigned type, class;
        uint32_t ttl;
        size_t data, data_len;
};

static unsigned dns_answer_u16(const unsigned char *bytes) {
        return (unsigned)bytes[0] << 8 | bytes[1];
}

static uint32_t dns_answer_u32(const unsigned char *bytes) {
        return (uint32_t)dns_answer_u16(bytes) << 16 | dns_answer_u16(bytes + 2);
}

/* The lower-case form of what a host name or an SRV name may hold, or 0. */
static char dns_answer_letter(unsigned char c) {
        if (c >= 'A' && c <= 'Z')
                return (char)(c - 'A' + 'a');
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '/' ? (char)c : 0;
}

/* Copies one label with a dot behind it.  Returns 0 or -EBADMSG. */
static int dns_answer_label(const unsigned char *label, size_t n, char *name, size_t *used) {
        if (*used + n + 1 >= DNS_ANSWER_NAME_SIZE)
                return -EBADMSG;
        for (size_t i = 0; i < n; i++) {
                name[*used] = dns_answer_letter(label[i]);
                if (!name[(*used)++])
                        return -EBADMSG;
        }
        name[(*used)++] = '.';
        return 0;
}

/* Reads a name, which may be compressed.  A pointer has to lead backwards, so this ends. */
static int dns_answer_name(struct dns_answer_cursor *cursor, char *name) {
        size_t at = cursor->at, lowest = cursor->at, used = 0;
        int jumped = 0, r;

        for (;;) {
                unsigned n;

                if (at >= cursor->len)
                        return -EBADMSG;
                n = cursor->message[at];
                if (n == 0)
                        break;
                if ((n & 0xc0) == 0xc0) {
                        size_t target;

                        if (at + 2 > cursor->len)
                                return -EBADMSG;
                        target = dns_answer_u16(&cursor->message[at]) & 0x3fff;
                        if (target >= lowest || target < DNS_ANSWER_HEADER)
                                return -EBADMSG;
                        if (!jumped)
                                cursor->at = at + 2;
                        jumped = 1;
                        at = lowest = target;
                        continue;
                }
                if (n & 0xc0 || at + 1 + n > cursor->len)
                        return -EBADMSG;
                r = dns_answer_label(&cursor->message[at + 1], n, name, &used);
                if (r < 0)
                        return r;
                at += 1 + n;
        }
        if (!jumped)
                cursor->at = at + 1;
        name[used ? used - 1 : 0] = '\0';
        return 0;
}

static int dns_answer_head(struct dns_answer_cursor *cursor, struct dns_answer_head *head) {
        const unsigned char *fixed;
        int r = dns_answer_name(cursor, head->owner);

        if (r < 0)
                return r;
        if (cursor->len - cursor->at < 10)
                return -EBADMSG;
        fixed = &cursor->message[cursor->at];
        head->type = dns_answer_u16(fixed);
        head->class = dns_answer_u16(fixed + 2);
        head->ttl = dns_answer_u32(fixed + 4);
        /* RFC 2181: with the top bit set it means nothing. */
        if (head->ttl & 0x80000000)
                head->ttl = 0;
        head->data_len = dns_answer_u16(fixed + 8);
        head->data = cursor->at + 10;
        if (cursor->len - head->data < head->data_len)
                return -EBADMSG;
        cursor->at = head->data + head->data_len;
        return 0;
}

/* Reads the data of a record.  Returns 0; 1 where it offers nothing; -EBADMSG. */
static int dns_answer_data(const struct dns_answer_cursor *cursor, const struct dns_answer_head *head,
                           struct dns_answer_record *record) {
        const unsigned char *data = &cursor->message[head->data];
        struct dns_answer_cursor target = *cursor;
        int r;

        memset(record, 0, sizeof(*record));
        switch (head->type) {
        case DNS_ANSWER_A:
                if (head->data_len != sizeof(record->v4))
                        return -EBADMSG;
                memcpy(&record->v4, data, sizeof(record->v4));
                /* 0.0.0.0/8, multicast and what is above: connect() would take the first for this machine. */
                return data[0] == 0 || data[0] >= 224;
        case DNS_ANSWER_AAAA:
                if (head->data_len != sizeof(record->v6))
                        return -EBADMSG;
                memcpy(&record->v6, data, sizeof(record->v6));
                return IN6_IS_ADDR_UNSPECIFIED(&record->v6) || IN6_IS_ADDR_MULTICAST(&record->v6);
        default:
                if (head->data_len <= DNS_ANSWER_SRV_FIXED)
                        return -EBADMSG;
                record->srv.priority = (uint16_t)dns_answer_u16(data);
                record->srv.weight = (uint16_t)dns_answer_u16(data + 2);
                record->srv.port = (uint16_t)dns_answer_u16(data + 4);
                target.at = head->data + DNS_ANSWER_SRV_FIXED;
                r = dns_answer_name(&target, record->srv.target);
                if (r < 0 || target.at != head->data + head->data_len)
                        return -EBADMSG;
                return !record->srv.port || !record->srv.target[0];
        }
}

/* The order in which records are kept: of SRV records the best first. */
static int dns_answer_compare(enum dns_answer_type type, const struct dns_answer_record *a,
                              const struct dns_answer_record *b) {
        int r;

        if (type == DNS_ANSWER_A)
                return memcmp(&a->v4, &b->v4, sizeof(a->v4));
        if (type == DNS_ANSWER_AAAA)
                return memcmp(&a->v6, &b->v6, sizeof(a->v6));
        if (a->srv.priority != b->srv.priority)
                return a->srv.priority < b->srv.priority ? -1 : 1;
        r = strcmp(a->srv.target, b->srv.target);
        return r ? r : (int)a->srv.port - (int)b->srv.port;
}

static void dns_answer_keep(enum dns_answer_type type, struct dns_answer_records *records,
                            const struct dns_answer_record *record) {
        size_t at = records->n;
        int r = 1;

        while (at > 0 && (r = dns_answer_compare(type, record, &records->list[at - 1])) < 0)
                at--;
        if (at > 0 && r == 0) {
                /* Twice the same target: the sum of its weights. */
                if (type == DNS_ANSWER_SRV) {
                        uint32_t weight = (uint32_t)records->list[at - 1].srv.weight + record->srv.weight;

                        records->list[at - 1].srv.weight = weight > UINT16_MAX ? UINT16_MAX : (uint16_t)weight;
                }
                return;
        }
        if (records->n == DNS_ANSWER_RECORDS) {
                records->left_out++;
                if (at == records->n)
                        return;
        } else
                records->n++;
        memmove(&records->list[at + 1], &records->list[at], (records->n - 1 - at) * sizeof(*record));
        records->list[at] = *record;
}

static void dns_answer_ttl(struct dns_answer_records *records, int *any, uint32_t ttl) {
        if (!*any || ttl < records->ttl)
                records->ttl = ttl;
        *any = 1;
}

/*
 * One pass over all records of the answer.  Returns 1 where the name is an alias, and then puts what it
 * stands for in its place; else 0 with the records of that name gathered; or -EBADMSG.
 */
static int dns_answer_pass(struct dns_answer_cursor cursor, unsigned count, enum dns_answer_type type, char *name,
                           struct dns_answer_records *records, int *any) {
        struct dns_answer_record record;
        struct dns_answer_head head;
        int r, alias = 0;
        char next[DNS_ANSWER_NAME_SIZE];

        for (unsigned i = 0; i < count; i++) {
                r = dns_answer_head(&cursor, &head);
                if (r < 0)
                        return r;
                if (head.class != DNS_ANSWER_IN || strcmp(head.owner, name) != 0)
                        continue;
                if (head.type == DNS_ANSWER_CNAME && !alias) {
                        struct dns_answer_cursor data = cursor;

                        data.at = head.data;
                        r = dns_answer_name(&data, next);
                        if (r < 0 || data.at != head.data + head.data_len)
                                return -EBADMSG;
                        alias = 1;
                        dns_answer_ttl(records, any, head.ttl);
                } else if (head.type == (unsigned)type) {
                        r = dns_answer_data(&cursor, &head, &record);
                        if (r < 0)
                                return r;
                        dns_answer_ttl(records, any, head.ttl);
                        if (r == 0)
                                dns_answer_keep(type, records, &record);
                }
        }
        if (alias && !records->n)
                memcpy(name, next, sizeof(next));
        return alias && !records->n;
}

int dns_answer_parse(const unsigned char *message, size_t len, enum dns_answer_type type,
                     struct dns_answer_records *records) {
        struct dns_answer_cursor cursor = { .message = message, .len = len, .at = DNS_ANSWER_HEADER };
        char name[DNS_ANSWER_NAME_SIZE];
        unsigned count;
        int r, any = 0;

        records->ttl = 0;
        records->n = records->left_out = 0;
        if (len < DNS_ANSWER_HEADER || dns_answer_u16(message + 4) != 1)
                return -EBADMSG;
        count = dns_answer_u16(message + 6);
        r = dns_answer_name(&cursor, name);
        if (r < 0)
                return r;
        if (len - cursor.at < 4 || dns_answer_u16(&message[cursor.at]) != (unsigned)type ||
            dns_answer_u16(&message[cursor.at + 2]) != DNS_ANSWER_IN)
                return -EBADMSG;
        cursor.at += 4;
        for (int hop = 0; hop <= DNS_ANSWER_ALIASES; hop++) {
                r = dns_answer_pass(cursor, count, type, name, records, &any);
                if (r <= 0)
                        break;
        }
        if (r < 0)
                records->n = records->left_out = 0;
        /* Aliases in a circle. */
        return r > 0 ? -EBADMSG : r;
}
