/* SPDX-License-Identifier: ISC */
#include "fuzz.h"

#include <string.h>

#include "health/dns_answer.h"

static void fuzz_check_name(const char *name) {
        size_t len = strnlen(name, DNS_ANSWER_NAME_SIZE);

        FUZZ_CHECK(len > 0 && len < DNS_ANSWER_NAME_SIZE);
        for (size_t i = 0; i < len; i++)
                FUZZ_CHECK((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
                           strchr("-_/.", name[i]));
}

static void fuzz_check(enum dns_answer_type type, const struct dns_answer_records *records) {
        FUZZ_CHECK(records->n <= DNS_ANSWER_RECORDS && !(records->ttl & 0x80000000));
        FUZZ_CHECK(records->left_out == 0 || records->n == DNS_ANSWER_RECORDS);
        for (size_t i = 0; i < records->n; i++) {
                const struct dns_answer_record *record = &records->list[i], *next = record + 1;

                if (type == DNS_ANSWER_SRV) {
                        FUZZ_CHECK(record->srv.port);
                        fuzz_check_name(record->srv.target);
                        FUZZ_CHECK(i + 1 == records->n || record->srv.priority <= next->srv.priority);
                } else if (i + 1 < records->n)
                        FUZZ_CHECK(memcmp(&record->v6, &next->v6, type == DNS_ANSWER_A ? 4 : 16) < 0);
        }
}

/* Every message as the answer to each kind of question; what the question asks for, it is an answer to. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const enum dns_answer_type types[] = { DNS_ANSWER_A, DNS_ANSWER_AAAA, DNS_ANSWER_SRV };
        static struct dns_answer_records records;
        unsigned good = 0;

        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
                if (dns_answer_parse(data, size, types[i], &records) == 0) {
                        fuzz_check(types[i], &records);
                        good++;
                } else
                        FUZZ_CHECK(records.n == 0);
        }
        FUZZ_CHECK(good <= 1);
        return 0;
}
