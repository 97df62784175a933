/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_DNS_ANSWER_H
#define SPLICED_HEALTH_DNS_ANSWER_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads a DNS message that answers a question: a pure function, for it sees what strangers send.
 * It believes only what belongs to the question: records of the name asked for, or of the
 * name that a chain of aliases (CNAME) leads to.
 */

#define DNS_ANSWER_RECORDS 64           /* that are kept of one answer */
#define DNS_ANSWER_NAME_SIZE 255        /* of a name in text, with a dot at the end and the NUL */

enum dns_answer_type { DNS_ANSWER_A = 1, DNS_ANSWER_AAAA = 28, DNS_ANSWER_SRV = 33 };

struct dns_answer_record {
        union {
                struct in_addr v4;
                struct in6_addr v6;
                struct {
                        uint16_t priority, weight, port;
                        char target[DNS_ANSWER_NAME_SIZE];      /* lower case, without a dot at the end */
                } srv;
        };
};

/* Without doubles, in an order that does not depend on the order in the message. */
struct dns_answer_records {
        uint32_t ttl;                   /* s: the lowest of the records and aliases used; 0 where there are none */
        size_t n;
        size_t left_out;                /* that were more than are kept */
        struct dns_answer_record list[DNS_ANSWER_RECORDS];
};

/*
 * Gathers the records of one type.  Those that offer nothing are skipped: SRV with the target "." or port 0, and
 * addresses that no server can have (0.0.0.0, multicast).
 * Returns 0, perhaps with no record at all; or -EBADMSG where the message makes no sense, whatever it held.
 */
int dns_answer_parse(const unsigned char *message, size_t len, enum dns_answer_type type,
                     struct dns_answer_records *records);

#endif
