/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/arena.h"

static const uint32_t some_sizes[ARENA_SLABS] = { 832, 64, 20, 300, 256, 128, 24, 8, 128 };
static const uint32_t some_counts[ARENA_SLABS] = { 2, 3, 1000, 7, 5000, 1, 9, 2, 4 };

static void test_layout(void **unused) {
        struct arena arena = ARENA_NULL;
        struct stat st;
        uint64_t end = sizeof(struct arena_head);

        (void)unused;
        assert_int_equal(arena_init(&arena, some_sizes, some_counts), 0);
        assert_true(arena.head->magic == ARENA_MAGIC);
        assert_memory_equal(&arena.head->magic, "SPLICED1", 8);
        assert_int_equal(arena.head->layout, ARENA_LAYOUT);
        assert_int_equal(arena.head->slabs, ARENA_SLABS);
        assert_int_equal(arena.head->next_session, 1);
        for (int i = 0; i < ARENA_SLABS; i++) {
                const struct arena_extent *extent = &arena.head->extents[i];

                assert_int_equal(extent->size, some_sizes[i]);
                assert_int_equal(extent->count, some_counts[i]);
                assert_int_equal(extent->offset % 4096, 0);
                assert_true(extent->offset >= end);
                end = extent->offset + (uint64_t)extent->size * extent->count;
                assert_int_equal(arena_count(&arena, i), some_counts[i]);
                assert_ptr_equal(arena_slab(&arena, i), (char *)arena.head + extent->offset);
        }
        assert_true(arena.head->size >= end);
        assert_int_equal(fstat(arena.fd, &st), 0);
        assert_int_equal(st.st_size, arena.head->size);
        arena_deinit(&arena);
}

/* Records start zeroed, take no memory until used, and no slab reaches into the next. */
static void test_slabs_are_apart(void **unused) {
        struct arena arena = ARENA_NULL;
        struct stat st;

        (void)unused;
        assert_int_equal(arena_init(&arena, some_sizes, some_counts), 0);
        assert_int_equal(fstat(arena.fd, &st), 0);
        assert_true(st.st_blocks * 512 <= 4096);
        for (int i = 0; i < ARENA_SLABS; i++) {
                unsigned char *slab = arena_slab(&arena, i);

                for (size_t k = 0; k < (size_t)some_sizes[i] * some_counts[i]; k++)
                        assert_int_equal(slab[k], 0);
                memset(slab, i + 1, (size_t)some_sizes[i] * some_counts[i]);
        }
        for (int i = 0; i < ARENA_SLABS; i++) {
                unsigned char *slab = arena_slab(&arena, i);

                for (size_t k = 0; k < (size_t)some_sizes[i] * some_counts[i]; k++)
                        assert_int_equal(slab[k], i + 1);
        }
        arena_deinit(&arena);
}

/* Another process that maps the descriptor sees the same; no program that is run does. */
static void test_shared(void **unused) {
        struct arena arena = ARENA_NULL;
        struct arena_head *other;

        (void)unused;
        assert_int_equal(arena_init(&arena, some_sizes, some_counts), 0);
        assert_true(fcntl(arena.fd, F_GETFD) & FD_CLOEXEC);
        other = mmap(NULL, arena.head->size, PROT_READ, MAP_SHARED, arena.fd, 0);
        assert_true(other != MAP_FAILED);
        memcpy(arena_slab(&arena, ARENA_SESSIONS), "here", 4);
        assert_memory_equal((char *)other + other->extents[ARENA_SESSIONS].offset, "here", 4);
        munmap(other, arena.head->size);
        arena_deinit(&arena);
}

static void test_deinit(void **unused) {
        struct arena arena = ARENA_NULL;
        int fd;

        (void)unused;
        arena_deinit(&arena);
        assert_int_equal(arena_init(&arena, some_sizes, some_counts), 0);
        fd = arena.fd;
        arena_deinit(&arena);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        assert_int_equal(arena.fd, -1);
        assert_null(arena.head);
        arena_deinit(&arena);
}

/* Sizes that no address space holds are refused, those whose sum comes round to something small too. */
static void test_too_large(void **unused) {
        static const uint32_t cases[][2] = {
                { UINT32_MAX, UINT32_MAX }, { 1u << 31, 1u << 31 }, { UINT32_MAX, 1u << 31 }, { 1u << 31, UINT32_MAX },
        };

        (void)unused;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                for (int n = 2; n <= ARENA_SLABS; n++) {
                        uint32_t sizes[ARENA_SLABS] = { 0 }, counts[ARENA_SLABS] = { 0 };
                        struct arena arena;
                        int r;

                        for (int k = 0; k < n; k++) {
                                sizes[k] = cases[i][0];
                                counts[k] = cases[i][1];
                        }
                        r = arena_init(&arena, sizes, counts);
                        if (r != -EOVERFLOW && r != -ENOMEM && r != -EFBIG && r != -EINVAL)
                                fail_msg("case %zu, %d slabs: %d", i, n, r);
                        assert_int_equal(arena.fd, -1);
                        assert_null(arena.head);
                }
}

/* A list over `count` records of a slab of their own. */
static void open_list(struct arena *arena, struct arena_list *list, uint32_t count) {
        const uint32_t sizes[ARENA_SLABS] = { [ARENA_SESSIONS] = 8 };
        const uint32_t counts[ARENA_SLABS] = { [ARENA_SESSIONS] = count };

        assert_int_equal(arena_init(arena, sizes, counts), 0);
        assert_int_equal(arena_list_init(list, arena, ARENA_SESSIONS), 0);
}

static void close_list(struct arena *arena, struct arena_list *list) {
        arena_list_deinit(list);
        arena_deinit(arena);
}

static void test_list_order(void **unused) {
        struct arena_list list;
        struct arena arena;

        (void)unused;
        open_list(&arena, &list, 10);
        assert_int_equal(arena_list_bound(&list), 0);
        for (uint32_t i = 0; i < 6; i++) {
                assert_int_equal(arena_list_take(&list), i);
                assert_int_equal(arena_list_bound(&list), i + 1);
        }
        /* The last that came back is the first to go out, before any fresh one. */
        arena_list_give(&list, 1);
        arena_list_give(&list, 4);
        arena_list_give(&list, 0);
        assert_int_equal(arena_list_bound(&list), 6);
        assert_int_equal(arena_list_take(&list), 0);
        assert_int_equal(arena_list_take(&list), 4);
        assert_int_equal(arena_list_take(&list), 1);
        assert_int_equal(arena_list_take(&list), 6);
        assert_int_equal(arena_list_bound(&list), 7);
        close_list(&arena, &list);
        close_list(&arena, &list);
}

static void test_list_exhausted(void **unused) {
        struct arena_list list;
        struct arena arena;

        (void)unused;
        open_list(&arena, &list, 3);
        for (int i = 0; i < 3; i++)
                assert_true(arena_list_take(&list) != ARENA_NONE);
        for (int i = 0; i < 3; i++)
                assert_int_equal(arena_list_take(&list), ARENA_NONE);
        assert_int_equal(arena_list_bound(&list), 3);
        arena_list_give(&list, 2);
        assert_int_equal(arena_list_take(&list), 2);
        assert_int_equal(arena_list_take(&list), ARENA_NONE);
        close_list(&arena, &list);

        open_list(&arena, &list, 0);
        assert_int_equal(arena_list_take(&list), ARENA_NONE);
        close_list(&arena, &list);
}

#define CROWD 4
#define CROWD_RECORDS 37
#define CROWD_ROUNDS 20000

struct crowd {
        struct arena_list list;
        _Atomic unsigned holders[CROWD_RECORDS];
        uint64_t stamps[CROWD_RECORDS];         /* written by whoever holds it: a second holder would be a data race */
        _Atomic unsigned clashes, refused;
};

static void *crowd_main(void *arg) {
        struct crowd *crowd = arg;

        for (int round = 0; round < CROWD_ROUNDS; round++) {
                uint32_t held[12];
                int n = 0;

                while (n < 1 + round % 12) {
                        held[n] = arena_list_take(&crowd->list);
                        if (held[n] == ARENA_NONE) {
                                crowd->refused++;
                                break;
                        }
                        if (held[n] >= CROWD_RECORDS || crowd->holders[held[n]]++) {
                                crowd->clashes++;
                                return NULL;
                        }
                        crowd->stamps[held[n++]]++;
                }
                while (n) {
                        crowd->holders[held[--n]]--;
                        arena_list_give(&crowd->list, held[n]);
                }
        }
        return NULL;
}

/* Four threads that want more than there is: nobody gets what another has, and nothing is lost. */
static void test_list_crowd(void **unused) {
        struct crowd *crowd = calloc(1, sizeof(*crowd));
        struct arena arena;
        pthread_t threads[CROWD];
        unsigned char seen[CROWD_RECORDS] = { 0 };

        (void)unused;
        open_list(&arena, &crowd->list, CROWD_RECORDS);
        for (int i = 0; i < CROWD; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, crowd), 0);
        for (int i = 0; i < CROWD; i++)
                pthread_join(threads[i], NULL);
        assert_int_equal(crowd->clashes, 0);
        assert_true(arena_list_bound(&crowd->list) <= CROWD_RECORDS);
        for (int i = 0; i < CROWD_RECORDS; i++) {
                uint32_t index = arena_list_take(&crowd->list);

                assert_true(index < CROWD_RECORDS);
                assert_int_equal(seen[index]++, 0);
        }
        assert_int_equal(arena_list_take(&crowd->list), ARENA_NONE);
        close_list(&arena, &crowd->list);
        free(crowd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_layout),
                cmocka_unit_test(test_slabs_are_apart),
                cmocka_unit_test(test_shared),
                cmocka_unit_test(test_deinit),
                cmocka_unit_test(test_too_large),
                cmocka_unit_test(test_list_order),
                cmocka_unit_test(test_list_exhausted),
                cmocka_unit_test(test_list_crowd),
        };

        return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
