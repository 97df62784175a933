/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health/dns_answer.h"

/* A message under construction.  One byte more than it has room for is a failure of the test. */
struct message {
        unsigned char bytes[65535];
        size_t n;
};

static void put(struct message *m, const void *bytes, size_t n) {
        assert_true(n <= sizeof(m->bytes) - m->n);
        memcpy(m->bytes + m->n, bytes, n);
        m->n += n;
}

static void put16(struct message *m, unsigned value) {
        const unsigned char bytes[] = { (unsigned char)(value >> 8), (unsigned char)value };

        put(m, bytes, 2);
}

static void put32(struct message *m, uint32_t value) {
        put16(m, value >> 16);
        put16(m, value & 0xffff);
}

/* A name in labels; "@12" is a pointer to that offset, also behind labels ("www.@12"). */
static void put_name(struct message *m, const char *name) {
        while (*name && *name != '@') {
                size_t n = strcspn(name, ".");
                unsigned char len = (unsigned char)n;

                put(m, &len, 1);
                put(m, name, n);
                name += n + (name[n] == '.');
        }
        if (*name == '@')
                put16(m, 0xc000 | (unsigned)atoi(name + 1));
        else
                put(m, "", 1);
}

static void begin(struct message *m, const char *name, unsigned type, unsigned answers) {
        m->n = 0;
        put16(m, 0x1234);
        put16(m, 0x8180);
        put16(m, 1);
        put16(m, answers);
        put32(m, 0);
        put_name(m, name);
        put16(m, type);
        put16(m, 1);
}

static void head(struct message *m, const char *owner, unsigned type, uint32_t ttl, size_t len) {
        put_name(m, owner);
        put16(m, type);
        put16(m, 1);
        put32(m, ttl);
        put16(m, (unsigned)len);
}

static void put_a(struct message *m, const char *owner, uint32_t ttl, const char *text) {
        struct in_addr addr;

        assert_int_equal(inet_pton(AF_INET, text, &addr), 1);
        head(m, owner, DNS_ANSWER_A, ttl, sizeof(addr));
        put(m, &addr, sizeof(addr));
}

/* Fills in the length of the data that begins at `data`. */
static void patch(struct message *m, size_t data) {
        m->bytes[data - 2] = (unsigned char)((m->n - data) >> 8);
        m->bytes[data - 1] = (unsigned char)(m->n - data);
}

static void put_cname(struct message *m, const char *owner, uint32_t ttl, const char *target) {
        size_t data;

        head(m, owner, 5, ttl, 0);
        data = m->n;
        put_name(m, target);
        patch(m, data);
}

static void put_srv(struct message *m, const char *owner, uint32_t ttl, unsigned priority, unsigned weight,
                    unsigned port, const char *target) {
        size_t data;

        head(m, owner, DNS_ANSWER_SRV, ttl, 0);
        data = m->n;
        put16(m, priority);
        put16(m, weight);
        put16(m, port);
        put_name(m, target);
        patch(m, data);
}

/* Parses a copy that ends where the message does, so that a sanitizer sees a step beyond. */
static int parse(const unsigned char *bytes, size_t n, enum dns_answer_type type, struct dns_answer_records *records) {
        unsigned char *copy = malloc(n ? n : 1);
        int r;

        memcpy(copy, bytes, n);
        memset(records, 0xaa, sizeof(*records));
        r = dns_answer_parse(copy, n, type, records);
        free(copy);
        assert_true(r == 0 || r == -EBADMSG);
        assert_true(records->n <= DNS_ANSWER_RECORDS && (r == 0 || records->n == 0));
        return r;
}

/* The addresses, joined, or what went wrong. */
static const char *addresses(const struct message *m, uint32_t *ttl) {
        static struct dns_answer_records records;
        static char text[4096];

        text[0] = '\0';
        if (parse(m->bytes, m->n, DNS_ANSWER_A, &records) < 0)
                return "bad";
        *ttl = records.ttl;
        for (size_t i = 0; i < records.n; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
                         inet_ntoa(records.list[i].v4));
        return text;
}

static struct message m;

static void test_addresses(void **unused) {
        uint32_t ttl;

        (void)unused;
        begin(&m, "app.example.org", DNS_ANSWER_A, 4);
        put_a(&m, "@12", 300, "10.0.0.9");
        put_a(&m, "app.example.org", 60, "10.0.0.1");
        put_a(&m, "APP.eXample.ORG", 90, "10.0.0.5");
        put_a(&m, "app.@16", 61, "10.0.0.9");
        assert_string_equal(addresses(&m, &ttl), "10.0.0.1 10.0.0.5 10.0.0.9");
        assert_int_equal(ttl, 60);

        /* Others' addresses, other types and other classes are none of ours. */
        begin(&m, "app.example.org", DNS_ANSWER_A, 4);
        put_a(&m, "bank.example.org", 1, "10.6.6.6");
        put_a(&m, "org", 1, "10.6.6.6");
        head(&m, "@12", DNS_ANSWER_AAAA, 1, 16);
        put(&m, "0123456789abcdef", 16);
        put_a(&m, "@12", 7, "10.0.0.1");
        assert_string_equal(addresses(&m, &ttl), "10.0.0.1");
        assert_int_equal(ttl, 7);
        m.bytes[m.n - 11] = 3;
        assert_string_equal(addresses(&m, &ttl), "");

        begin(&m, "app", DNS_ANSWER_A, 5);
        put_a(&m, "app", 7, "0.0.0.0");
        put_a(&m, "app", 7, "224.0.0.1");
        put_a(&m, "app", 7, "255.255.255.255");
        put_a(&m, "app", 7, "0.1.2.3");
        put_a(&m, "app", 7, "223.255.255.255");
        assert_string_equal(addresses(&m, &ttl), "223.255.255.255");

        begin(&m, "app.example.org", DNS_ANSWER_A, 0);
        assert_string_equal(addresses(&m, &ttl), "");
        assert_int_equal(ttl, 0);

        begin(&m, "", DNS_ANSWER_A, 1);
        put_a(&m, "", 0x80000001, "10.0.0.1");
        assert_string_equal(addresses(&m, &ttl), "10.0.0.1");
        assert_int_equal(ttl, 0);
}

static void test_aliases(void **unused) {
        uint32_t ttl;

        (void)unused;
        begin(&m, "www.example.org", DNS_ANSWER_A, 4);
        put_a(&m, "c.example.net", 300, "10.0.0.3");
        put_cname(&m, "b.example.org", 20, "C.example.net");
        put_cname(&m, "@12", 100, "b.@16");
        put_a(&m, "b.example.org.evil", 1, "10.6.6.6");
        assert_string_equal(addresses(&m, &ttl), "10.0.0.3");
        assert_int_equal(ttl, 20);

        /* One that leads nowhere. */
        begin(&m, "www.example.org", DNS_ANSWER_A, 1);
        put_cname(&m, "@12", 100, "nowhere.example.org");
        assert_string_equal(addresses(&m, &ttl), "");

        /* In a circle. */
        begin(&m, "a", DNS_ANSWER_A, 2);
        put_cname(&m, "a", 100, "b");
        put_cname(&m, "b", 100, "a");
        assert_string_equal(addresses(&m, &ttl), "bad");

        /* Too many steps, and just few enough. */
        for (int hops = 16; hops <= 17; hops++) {
                begin(&m, "n0", DNS_ANSWER_A, (unsigned)hops + 1);
                for (int i = 0; i < hops; i++) {
                        char from[8], to[8];

                        snprintf(from, sizeof(from), "n%d", i);
                        snprintf(to, sizeof(to), "n%d", i + 1);
                        put_cname(&m, from, 5, to);
                }
                put_a(&m, hops == 16 ? "n16" : "n17", 5, "10.0.0.1");
                assert_string_equal(addresses(&m, &ttl), hops == 16 ? "10.0.0.1" : "bad");
        }
}

static void test_v6(void **unused) {
        static struct dns_answer_records records;
        struct in6_addr addr;

        (void)unused;
        inet_pton(AF_INET6, "2001:db8::7", &addr);
        begin(&m, "x", DNS_ANSWER_AAAA, 2);
        put_a(&m, "x", 1, "10.0.0.1");
        head(&m, "x", DNS_ANSWER_AAAA, 30, 16);
        put(&m, &addr, 16);
        assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_AAAA, &records), 0);
        assert_int_equal(records.n, 1);
        assert_int_equal(records.ttl, 30);
        assert_memory_equal(&records.list[0].v6, &addr, 16);
        inet_pton(AF_INET6, "ff02::1", &m.bytes[m.n - 16]);
        assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_AAAA, &records), 0);
        assert_int_equal(records.n, 0);
        inet_pton(AF_INET6, "::", &m.bytes[m.n - 16]);
        assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_AAAA, &records), 0);
        assert_int_equal(records.n, 0);
        /* Asked for something else. */
        assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_A, &records), -EBADMSG);
}

static void test_srv(void **unused) {
        static struct dns_answer_records records;
        static const struct { unsigned priority, weight, port; const char *target; } wanted[] = {
                { 5, 9, 81, "b.example.org" }, { 10, 3, 80, "a.example.org" }, { 10, 3, 82, "a.example.org" },
                { 10, 65535, 80, "z.example.org" },
        };

        (void)unused;
        begin(&m, "_app._tcp.example.org", DNS_ANSWER_SRV, 9);
        put_srv(&m, "@12", 60, 10, 1, 80, "A.example.org");
        put_srv(&m, "@12", 60, 10, 65000, 80, "z.example.org");
        put_srv(&m, "@12", 40, 5, 9, 81, "b.@22");
        put_srv(&m, "@12", 60, 10, 2, 80, "a.example.org");
        put_srv(&m, "@12", 60, 10, 3, 82, "a.example.org");
        put_srv(&m, "@12", 60, 10, 60000, 80, "z.example.org");
        put_srv(&m, "@12", 60, 1, 1, 0, "port-zero.example.org");
        put_srv(&m, "@12", 60, 1, 1, 80, "");
        put_srv(&m, "_other._tcp.example.org", 1, 1, 1, 80, "other.example.org");
        assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_SRV, &records), 0);
        assert_int_equal(records.n, 4);
        assert_int_equal(records.ttl, 40);
        assert_int_equal(records.left_out, 0);
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(records.list[i].srv.priority, wanted[i].priority);
                assert_int_equal(records.list[i].srv.weight, wanted[i].weight);
                assert_int_equal(records.list[i].srv.port, wanted[i].port);
                assert_string_equal(records.list[i].srv.target, wanted[i].target);
        }
        begin(&m, "_x._tcp.org", DNS_ANSWER_SRV, 1);
        put_srv(&m, "@12", 60, 0, 0, 0, "");
        assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_SRV, &records), 0);
        assert_int_equal(records.n, 0);
}

/* What is kept of too many does not depend on their order. */
static void test_many(void **unused) {
        static struct dns_answer_records up, down;
        char text[32];

        (void)unused;
        for (int way = 0; way < 2; way++) {
                begin(&m, "many", DNS_ANSWER_A, 1000);
                for (int i = 0; i < 1000; i++) {
                        int k = way ? 999 - i : i;

                        snprintf(text, sizeof(text), "10.0.%d.%d", k / 250, k % 250);
                        put_a(&m, "many", 9, text);
                }
                assert_int_equal(parse(m.bytes, m.n, DNS_ANSWER_A, way ? &down : &up), 0);
        }
        assert_int_equal(up.n, DNS_ANSWER_RECORDS);
        assert_int_equal(up.left_out, 1000 - DNS_ANSWER_RECORDS);
        assert_int_equal(down.left_out, up.left_out);
        for (size_t i = 0; i < up.n; i++)
                assert_memory_equal(&up.list[i].v4, &down.list[i].v4, 4);
        assert_string_equal(inet_ntoa(up.list[63].v4), "10.0.0.63");
}

static void expect_bad(const char *what) {
        uint32_t ttl;

        if (strcmp(addresses(&m, &ttl), "bad") != 0)
                fail_msg("was believed: %s", what);
}

static void test_malformed(void **unused) {
        size_t whole;

        (void)unused;
        begin(&m, "app.example.org", DNS_ANSWER_A, 2);
        put_a(&m, "@12", 300, "10.0.0.9");
        put_a(&m, "@12", 300, "10.0.0.8");
        whole = m.n;
        for (m.n = 0; m.n < whole; m.n++)
                expect_bad("a part of a message");

        m.n = whole;
        m.bytes[5] = 2;
        expect_bad("two questions");
        m.bytes[5] = 0;
        expect_bad("no question");

        begin(&m, "app", DNS_ANSWER_A, 1);
        head(&m, "@12", DNS_ANSWER_A, 1, 5);
        put(&m, "12345", 5);
        expect_bad("an address of five bytes");

        begin(&m, "app", DNS_ANSWER_A, 1);
        put_a(&m, "@23", 1, "10.0.0.1");
        expect_bad("a pointer ahead");

        begin(&m, "app", DNS_ANSWER_A, 1);
        put_a(&m, "@21", 1, "10.0.0.1");
        expect_bad("a pointer to itself");

        begin(&m, "app", DNS_ANSWER_A, 1);
        put_a(&m, "@4", 1, "10.0.0.1");
        expect_bad("a pointer into the header");

        begin(&m, "a.b", DNS_ANSWER_A, 1);
        m.bytes[13] = '.';
        put_a(&m, "@12", 1, "10.0.0.1");
        expect_bad("a dot inside a label");

        begin(&m, "a.b", DNS_ANSWER_A, 1);
        m.bytes[12] = 0x41;
        put_a(&m, "a.b", 1, "10.0.0.1");
        expect_bad("a label of an unknown kind");

        begin(&m, "app", DNS_ANSWER_A, 1);
        put_cname(&m, "@12", 1, "x");
        m.bytes[m.n - 5] = 0;   /* the length of the data, too short for the name */
        m.bytes[m.n - 4] = 2;
        expect_bad("an alias beyond its data");
}

/* The longest name has 253 letters and dots. */
static void test_long_name(void **unused) {
        char name[300];
        uint32_t ttl;

        (void)unused;
        for (size_t n = 252; n <= 255; n++) {
                for (size_t i = 0; i < n; i++)
                        name[i] = i % 51 == 50 ? '.' : 'a';
                name[n] = '\0';
                begin(&m, name, DNS_ANSWER_A, 1);
                put_a(&m, "@12", 1, "10.0.0.1");
                assert_string_equal(addresses(&m, &ttl), n <= 253 ? "10.0.0.1" : "bad");
        }
}

static unsigned next(uint64_t *seed, unsigned below) {
        *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (unsigned)((*seed >> 33) % below);
}

/* Damaged messages: a fixed series of random changes to good ones.  The sanitizers watch. */
static void test_damaged(void **unused) {
        static const enum dns_answer_type types[] = { DNS_ANSWER_A, DNS_ANSWER_AAAA, DNS_ANSWER_SRV };
        static struct dns_answer_records records;
        unsigned char bytes[512];
        uint64_t seed = 1;
        size_t good = 0;

        (void)unused;
        for (int round = 0; round < 60000; round++) {
                enum dns_answer_type type = types[next(&seed, 3)];

                begin(&m, "_app._tcp.example.org", type, 4);
                put_cname(&m, "@12", 9, "b.@22");
                put_a(&m, "b.example.org", 5, "10.0.0.1");
                put_srv(&m, "b.@22", 60, 10, 1, 80, "c.@22");
                head(&m, "b.@22", DNS_ANSWER_AAAA, 30, 16);
                put(&m, "0123456789abcdef", 16);
                assert_true(m.n <= sizeof(bytes));
                memcpy(bytes, m.bytes, m.n);
                for (unsigned i = next(&seed, 4); i > 0; i--)
                        bytes[next(&seed, (unsigned)m.n)] = (unsigned char)(next(&seed, 2) ? next(&seed, 256) :
                                                                            0xc0 | next(&seed, 64));
                good += parse(bytes, next(&seed, 4) ? m.n : next(&seed, (unsigned)m.n), type, &records) == 0;
        }
        assert_true(good > 1000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_aliases),
                cmocka_unit_test(test_v6),
                cmocka_unit_test(test_srv),
                cmocka_unit_test(test_many),
                cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_long_name),
                cmocka_unit_test(test_damaged),
        };

        return cmocka_run_group_tests_name("dns_answer", tests, NULL, NULL);
}
