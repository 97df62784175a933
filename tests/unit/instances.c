/* SPDX-License-Identifier: ISC */
#include "names_fixture.h"

#include "health/instances.h"

#define CONFIG \
        "frontend \"f\" { listen \"unix:@spliced-instances\" { } backend = \"b\" }\n" \
        "backend \"b\" { server \"a\" { address = \"127.0.0.1:9\" weight = 0 }\n" \
        "server \"s\" { address = \"app.test:80\" weight = 3 } }\n"

static struct addr address(unsigned n) {
        struct addr addr = { .kind = ADDR_IP, .len = sizeof(addr.in) };

        addr.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(80),
                                        .sin_addr.s_addr = htonl(0x0a000000 + n) };
        return addr;
}

/* A set of these, 10.0.0.n, with the weight of the config. */
static const struct names_set *set_of(const char *digits) {
        static struct names_set set;

        set.n = 0;
        for (const char *c = digits; *c; c++)
                set.list[set.n++] = (struct names_address){ .addr = address((unsigned)(*c - '0')),
                                                            .weight = NAMES_WEIGHT_CONFIGURED };
        return &set;
}

static void open_instances(struct fixture *f, struct instances *instances) {
        struct backend *backend = fixture_backend(f);
        struct server_record *records = arena_slab(&f->arena, ARENA_SERVERS);
        uint32_t first = 0;

        while (strcmp(records[first].name, "s") != 0 || records[first].instance)
                first++;
        assert_int_equal(instances_init(instances, &f->shared, backend, 1, (uint16_t)first), 0);
        for (uint32_t i = 0; i < f->arena.head->extents[ARENA_SERVERS].used; i++)
                if (records[i].instance && f->shared.servers[i].conf && !f->shared.servers[i].ghost)
                        assert_int_equal(instances_add(instances, (uint16_t)i), 0);
}

/* Who gets sessions: "12" where 10.0.0.1 and 10.0.0.2 have as many of them, a "!" before one that has less. */
static const char *served(struct fixture *f) {
        static char text[64];
        unsigned counts[64] = { 0 }, most = 0, n = 0;
        struct addr addr;

        for (int i = 0; i < 640; i++) {
                int slot = fixture_pick(f, &addr);

                if (slot < 0)
                        break;
                counts[ntohl(addr.in.sin_addr.s_addr) & 63]++;
                backend_release(fixture_backend(f), (unsigned)slot);
        }
        text[0] = '\0';
        for (unsigned i = 0; i < 64; i++)
                most = counts[i] > most ? counts[i] : most;
        for (unsigned i = 0; i < 64; i++)
                if (counts[i]) {
                        if (counts[i] + 1 < most)
                                text[n++] = '!';
                        text[n++] = (char)('0' + i);
                        text[n] = '\0';
                }
        return text;
}

#define SERVED(f, wanted) assert_string_equal(served(f), (wanted))

static void test_follow(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct instances instances;

        (void)unused;
        open_instances(f, &instances);
        SERVED(f, "");
        assert_int_equal(instances_put(&instances, set_of("1"), 1), 0);
        SERVED(f, "1");
        assert_int_equal(instances_put(&instances, set_of("123"), 1), 0);
        SERVED(f, "123");
        assert_int_equal(instances_put(&instances, set_of("35"), 1), 0);
        SERVED(f, "35");
        assert_int_equal(instances_put(&instances, set_of(""), 1), 0);
        SERVED(f, "");
        /* Slots are used again: nobody had a session. */
        for (int i = 0; i < 300; i++) {
                assert_int_equal(instances_put(&instances, set_of(i % 2 ? "1234" : "5678"), 1), 0);
                SERVED(f, i % 2 ? "1234" : "5678");
        }
        assert_true(instances.n <= 8);
        instances_deinit(&instances);
        fixture_close(f);
}

/* Sessions keep the slot, and its last address can be told, until the slot has none of them any more. */
static void test_sessions(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct backend *backend = fixture_backend(f);
        struct instances instances;
        struct addr addr;
        int held[3], slot;

        (void)unused;
        open_instances(f, &instances);
        for (int i = 0; i < 3; i++) {
                char digit[] = { (char)('1' + i), '\0' };

                assert_int_equal(instances_put(&instances, set_of(digit), 1), 0);
                held[i] = fixture_pick(f, &addr);
                assert_true(held[i] >= 0);
                for (int k = 0; k < i; k++)
                        assert_int_not_equal(held[i], held[k]);
        }
        assert_int_equal(instances_put(&instances, set_of("4"), 1), 0);
        for (int i = 0; i < 3; i++) {
                backend_address(backend, (unsigned)held[i], &addr);
                assert_int_equal(ntohl(addr.in.sin_addr.s_addr), 0x0a000001 + i);
        }
        /* One that comes back takes its own slot, whoever is in it. */
        assert_int_equal(instances_put(&instances, set_of("2"), 1), 0);
        slot = fixture_pick(f, &addr);
        assert_int_equal(slot, held[1]);
        backend_release(backend, (unsigned)slot);
        for (int i = 0; i < 3; i++)
                backend_release(backend, (unsigned)held[i]);
        assert_int_equal(instances_put(&instances, set_of("5678"), 1), 0);
        assert_int_equal(instances.n, 5);
        SERVED(f, "5678");
        instances_deinit(&instances);
        fixture_close(f);
}

/* However many slots old sessions hold, a new address finds one. */
static void test_bounded(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct names_set set = { .n = 1 };
        struct instances instances;
        struct addr addr;

        (void)unused;
        open_instances(f, &instances);
        for (unsigned i = 1; i <= 2 * INSTANCES_MAX; i++) {
                set.list[0] = (struct names_address){ .addr = address(i), .weight = NAMES_WEIGHT_CONFIGURED };
                assert_int_equal(instances_put(&instances, &set, 1), 0);
                assert_true(fixture_pick(f, &addr) >= 0);
                assert_int_equal(ntohl(addr.in.sin_addr.s_addr), 0x0a000000 + i);
        }
        assert_int_equal(instances.n, INSTANCES_MAX);
        instances_deinit(&instances);
        fixture_close(f);
}

/* With no slot left in the arena the rest is left out, and said so. */
static void test_full(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct server_record *records = arena_slab(&f->arena, ARENA_SERVERS);
        struct arena_extent *extent = &f->arena.head->extents[ARENA_SERVERS];
        struct instances instances;

        (void)unused;
        open_instances(f, &instances);
        for (uint32_t i = extent->used; i < extent->count; i++)
                records[i].used = 1;
        extent->used = extent->count;
        records[extent->count - 5].used = 0;
        assert_int_equal(instances_put(&instances, set_of("1234"), 1), 2);
        SERVED(f, "12");
        assert_int_equal(instances_put(&instances, set_of("234"), 1), 1);
        SERVED(f, "23");
        instances_deinit(&instances);
        fixture_close(f);
}

static void check_record(const struct instances *instances, const struct addr *addr, unsigned weight, int backup) {
        const struct server_record *records = instances->backend->records;
        unsigned found = 0;

        for (unsigned i = 0; i < 100; i++)
                if (records[i].used && addr_equal(&records[i].addr, addr)) {
                        found++;
                        assert_int_equal(records[i].weight, weight);
                        assert_int_equal(records[i].backup, backup);
                }
        assert_int_equal(found, 1);
}

static void test_weights(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct names_set set = *set_of("12");
        struct instances instances;

        (void)unused;
        open_instances(f, &instances);
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        check_record(&instances, &set.list[0].addr, 3, 0);
        check_record(&instances, &set.list[1].addr, 3, 0);
        set.list[0].weight = 7;
        set.list[1].weight = 200;
        set.list[1].backup = 1;
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        check_record(&instances, &set.list[0].addr, 7, 0);
        check_record(&instances, &set.list[1].addr, 200, 1);
        SERVED(f, "1");
        instances_deinit(&instances);
        /* A weight of 0 in the file drains all, whatever DNS says. */
        fixture_succeed(f, "frontend \"f\" { listen \"unix:@spliced-instances\" { } backend = \"b\" }\n"
                        "backend \"b\" { server \"a\" { address = \"127.0.0.1:9\" weight = 0 }\n"
                        "server \"s\" { address = \"app.test:80\" weight = 0 } }\n");
        SERVED(f, "");
        fixture_succeed(f, CONFIG);
        open_instances(f, &instances);
        check_record(&instances, &set.list[0].addr, 7, 0);
        check_record(&instances, &set.list[1].addr, 200, 1);
        instances_deinit(&instances);
        fixture_close(f);
}

static void set_weight(struct server_record *record, void *arg) {
        record->weight = *(const uint16_t *)arg;
        record->admin = SERVER_READY;
}

/* A weight that was set at run time stays until DNS says another one than it did. */
static void test_weight_set(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct names_set set = *set_of("1");
        struct instances instances;
        uint16_t weight = 50;

        (void)unused;
        open_instances(f, &instances);
        set.list[0].weight = 7;
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        backend_change(instances.backend, f->shared.servers[1].record->first, set_weight, &weight, 1);
        check_record(&instances, &set.list[0].addr, 50, 0);
        set.list[0].backup = 1;
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        check_record(&instances, &set.list[0].addr, 50, 1);
        set.list[0].weight = 8;
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        check_record(&instances, &set.list[0].addr, 8, 1);
        instances_deinit(&instances);
        fixture_close(f);
}

/* A successor goes on with what is there; and a name that is another one now starts anew. */
static void test_succession(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct instances instances;
        struct names_set set;

        (void)unused;
        open_instances(f, &instances);
        assert_int_equal(instances_were_asked(&instances), 0);
        assert_int_equal(instances_put(&instances, set_of("1234"), 1), 0);
        assert_int_equal(instances_put(&instances, set_of("24"), 1), 0);
        instances_asked(&instances, 1);
        instances_deinit(&instances);

        fixture_succeed(f, NULL);
        SERVED(f, "24");
        open_instances(f, &instances);
        assert_int_equal(instances_were_asked(&instances), 1);
        instances_get(&instances, &set);
        assert_int_equal(set.n, 2);
        assert_int_equal(instances_put(&instances, set_of("45"), 1), 0);
        SERVED(f, "45");
        instances_deinit(&instances);

        fixture_succeed(f, "frontend \"f\" { listen \"unix:@spliced-instances\" { } backend = \"b\" }\n"
                        "backend \"b\" { server \"s\" { address = \"other.test:80\" } }\n");
        SERVED(f, "");
        fixture_close(f);
}

static void set_address(struct server_record *record, void *arg) {
        record->address_set = arg != NULL;
        if (arg)
                record->addr = *(const struct addr *)arg;
}

/* An address that was set at run time is the only one, now and for a successor, until the name is back. */
static void test_override(void **unused) {
        struct fixture *f = fixture_open(CONFIG);
        struct addr mine = address(9);
        struct instances instances;
        struct names_set set;
        uint16_t first;

        (void)unused;
        open_instances(f, &instances);
        assert_int_equal(instances_put(&instances, set_of("123"), 1), 0);
        first = f->shared.servers[1].record->first;
        assert_int_equal(instances_look(&instances), 0);
        backend_change(instances.backend, first, set_address, &mine, 1);
        assert_int_equal(instances_look(&instances), 1);
        assert_int_equal(instances_look(&instances), 0);
        instances_get(&instances, &set);
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        SERVED(f, "9");
        assert_int_equal(instances_put(&instances, set_of("45"), 1), 0);
        SERVED(f, "9");
        instances_deinit(&instances);
        fixture_succeed(f, NULL);
        open_instances(f, &instances);
        instances_get(&instances, &set);
        assert_int_equal(set.n, 0);
        assert_int_equal(instances_put(&instances, set_of("45"), 1), 0);
        SERVED(f, "9");
        /* Taken back: it serves until there is an answer. */
        backend_change(instances.backend, first, set_address, NULL, 1);
        assert_int_equal(instances_look(&instances), 1);
        instances_get(&instances, &set);
        assert_int_equal(instances_put(&instances, &set, 1), 0);
        SERVED(f, "9");
        assert_int_equal(instances_put(&instances, set_of("45"), 1), 0);
        SERVED(f, "45");
        /* Set and taken back before anybody has looked. */
        backend_change(instances.backend, first, set_address, &mine, 1);
        backend_change(instances.backend, first, set_address, NULL, 1);
        assert_int_equal(instances_put(&instances, set_of("45"), 1), 0);
        SERVED(f, "45");
        instances_deinit(&instances);
        fixture_close(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_follow),  cmocka_unit_test(test_sessions),   cmocka_unit_test(test_bounded),
                cmocka_unit_test(test_full),    cmocka_unit_test(test_weights),    cmocka_unit_test(test_weight_set),
                cmocka_unit_test(test_succession), cmocka_unit_test(test_override),
        };

        return cmocka_run_group_tests_name("instances", tests, NULL, NULL);
}
