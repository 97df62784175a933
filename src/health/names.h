/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_NAMES_H
#define SPLICED_HEALTH_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "health/dns.h"

/*
 * What an answer means for the addresses of a name: pure logic, without clock or I/O.
 *
 * An address that an answer has joins at once.  One that it has no longer leaves at once where the
 * answer has others of its family; where the answer says that there is none, only when that has lasted for
 * `hold`; and where nothing is known it stays.  So the last good answer is in use while DNS fails.
 */

struct names_rules {
        int64_t resolve;        /* ms between look-ups; CONF_OFF: by TTL */
        int64_t hold;           /* ms; CONF_OFF: an empty answer is never believed */
};

#define NAMES_WEIGHT_CONFIGURED (-1)    /* the weight of the server in the config */
#define NAMES_WEIGHT_MAX 256

struct names_address {
        struct addr addr;
        int weight;             /* of an SRV record, brought to 1 to NAMES_WEIGHT_MAX; or NAMES_WEIGHT_CONFIGURED */
        int backup;             /* an SRV record of lower preference */
        int64_t missing_since;  /* ms: when an answer first said that there is none; 0: none has */
};

/* The addresses of one name.  Zeroed: none are known. */
struct names_set {
        size_t n;
        unsigned failures;      /* answers in a row that left something open */
        struct names_address list[DNS_ADDRESSES];
};

/* What came of an answer. */
struct names_result {
        int64_t next_ms;        /* the next look-up is due so long after `now` */
        unsigned added, removed;
        int changed;            /* addresses, weights or backups are others now */
        unsigned held;          /* addresses that are still here though the last answers had none */
        int failed;             /* something is not known */
};

#define NAMES_LEAST_MS 1000             /* between look-ups that find something, whatever the TTL */
#define NAMES_MOST_MS 3600000           /* likewise at most, and for files */
#define NAMES_FILE_MS 10000             /* of a name from /etc/hosts */
#define NAMES_RETRY_MS 1000             /* after a failure, doubling */
#define NAMES_RETRY_MOST_MS 30000

/* Changes the set by an answer that came at `now` (CLOCK_MONOTONIC, above 0), and says what that meant. */
void names_apply(struct names_set *set, const struct dns_answer *answer, const struct names_rules *rules, int64_t now,
                 struct names_result *result);

#endif
