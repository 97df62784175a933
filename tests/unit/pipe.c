/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/pipe.h"
#include "net/sys.h"

#define BIG (512u * 1024u)        /* a big pipe */
#define NOBODY 65534

struct fixture {
        struct arena arena;
        struct pipe_store store;
        struct pipe_pool pool;
        unsigned descriptors;           /* open before the test */
};

static unsigned open_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 4096; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void fixture_open(struct fixture *f, uint32_t records, uint64_t big_budget) {
        const uint32_t sizes[ARENA_SLABS] = { [ARENA_PIPES] = sizeof(struct pipe_record) };
        const uint32_t counts[ARENA_SLABS] = { [ARENA_PIPES] = records };

        f->descriptors = open_descriptors();
        assert_int_equal(arena_init(&f->arena, sizes, counts), 0);
        assert_int_equal(pipe_store_init(&f->store, &f->arena, big_budget), 0);
        pipe_pool_init(&f->pool, &f->store);
}

/* Whatever a test did, with the pool gone every record is free, no descriptor open and no budget used. */
static void fixture_close(struct fixture *f) {
        pipe_pool_deinit(&f->pool);
        assert_int_equal(f->store.big, 0);
        for (uint32_t i = 0; i < arena_count(&f->arena, ARENA_PIPES); i++)
                assert_int_equal(f->store.records[i].owner, PIPE_FREE);
        for (uint32_t i = 0; i < arena_count(&f->arena, ARENA_PIPES); i++)
                assert_true(arena_list_take(&f->store.list) != ARENA_NONE);
        pipe_store_deinit(&f->store);
        arena_deinit(&f->arena);
        assert_int_equal(open_descriptors(), f->descriptors);
}

static uint32_t take(struct fixture *f, enum pipe_class class, uint32_t owner) {
        uint32_t size = pipe_pool_ready(&f->pool, class);
        uint32_t index;

        assert_true(size > 0);
        index = pipe_pool_take(&f->pool, class, owner);
        assert_int_equal(f->store.records[index].owner, PIPE_OWNER(owner));
        assert_int_equal(f->store.records[index].size, size);
        return index;
}

static void test_owners(void **unused) {
        struct fixture f;
        struct pipe_record *record;
        uint32_t index, again;

        (void)unused;
        fixture_open(&f, 8, 0);
        assert_int_equal(pipe_pool_ready(&f.pool, PIPE_SMALL), 65536);
        record = &f.store.records[0];
        assert_int_equal(record->owner, PIPE_SPARE);
        /* Asking again promises the same one. */
        assert_int_equal(pipe_pool_ready(&f.pool, PIPE_SMALL), 65536);
        assert_int_equal(f.store.records[1].owner, PIPE_FREE);

        index = take(&f, PIPE_SMALL, 0);
        assert_int_equal(index, 0);
        assert_true(record->owner != PIPE_FREE && record->owner != PIPE_SPARE);
        assert_int_equal(write(record->ends[1], "x", 1), 1);
        char byte;
        assert_int_equal(read(record->ends[0], &byte, 1), 1);
        for (int end = 0; end < 2; end++) {
                assert_true(fcntl(record->ends[end], F_GETFD) & FD_CLOEXEC);
                assert_true(fcntl(record->ends[end], F_GETFL) & O_NONBLOCK);
        }
        pipe_pool_give(&f.pool, index);
        assert_int_equal(record->owner, PIPE_SPARE);
        again = take(&f, PIPE_SMALL, 40);
        assert_int_equal(again, index);
        pipe_pool_drop(&f.pool, index);
        assert_int_equal(record->owner, PIPE_FREE);
        assert_int_equal(open_descriptors(), f.descriptors + 1);
        fixture_close(&f);
}

/* A pipe that is dropped with bytes in it never comes back with them. */
static void test_dropped_bytes_are_gone(void **unused) {
        struct fixture f;

        (void)unused;
        fixture_open(&f, 2, 0);
        for (int i = 0; i < 20; i++) {
                uint32_t index = take(&f, PIPE_SMALL, 1);
                char byte;

                assert_int_equal(read(f.store.records[index].ends[0], &byte, 1), -1);
                assert_int_equal(errno, EAGAIN);
                assert_int_equal(write(f.store.records[index].ends[1], "old", 3), 3);
                pipe_pool_drop(&f.pool, index);
        }
        fixture_close(&f);
}

static void test_pool_is_bounded(void **unused) {
        struct fixture f;
        uint32_t held[PIPE_POOL_MAX + 5];

        (void)unused;
        fixture_open(&f, 64, 0);
        for (int i = 0; i < PIPE_POOL_MAX + 5; i++)
                held[i] = take(&f, PIPE_SMALL, (uint32_t)i);
        for (int i = 0; i < PIPE_POOL_MAX + 5; i++)
                for (int k = 0; k < i; k++)
                        assert_int_not_equal(held[i], held[k]);
        for (int i = 0; i < PIPE_POOL_MAX + 5; i++)
                pipe_pool_give(&f.pool, held[i]);
        assert_int_equal(f.pool.n[PIPE_SMALL], PIPE_POOL_MAX);
        assert_int_equal(open_descriptors(), f.descriptors + 1 + 2 * PIPE_POOL_MAX);
        fixture_close(&f);
}

static void test_big_budget(void **unused) {
        struct fixture f;
        uint32_t big[3], small;

        (void)unused;
        fixture_open(&f, 64, 3 * BIG + BIG / 2);
        assert_int_equal(f.store.big_max, 3);
        for (int i = 0; i < 3; i++) {
                if (pipe_pool_ready(&f.pool, PIPE_BIG) < BIG) {
                        /* Without CAP_SYS_RESOURCE fs.pipe-max-size may be lower. */
                        print_message("# no big pipes here\n");
                        fixture_close(&f);
                        skip();
                }
                big[i] = take(&f, PIPE_BIG, 9);
                assert_int_equal(f.store.records[big[i]].size, fcntl(f.store.records[big[i]].ends[0], F_GETPIPE_SZ));
        }
        assert_int_equal(f.store.big, 3);
        /* Over the budget: as good as it gets, which is a small one. */
        assert_int_equal(pipe_pool_ready(&f.pool, PIPE_BIG), 65536);
        small = pipe_pool_take(&f.pool, PIPE_BIG, 9);
        assert_int_equal(f.store.records[small].big, 0);
        assert_int_equal(f.store.big, 3);
        /* One that was dropped makes room for another; one in the pool keeps its place. */
        pipe_pool_give(&f.pool, big[0]);
        assert_int_equal(f.store.big, 3);
        assert_int_equal(pipe_pool_ready(&f.pool, PIPE_BIG), BIG);
        pipe_pool_drop(&f.pool, big[1]);
        assert_int_equal(f.store.big, 2);
        pipe_pool_give(&f.pool, small);
        assert_int_equal(take(&f, PIPE_BIG, 1), big[0]);
        big[1] = take(&f, PIPE_BIG, 1);
        assert_int_equal(f.store.records[big[1]].big, 1);
        for (int i = 0; i < 3; i++)
                pipe_pool_give(&f.pool, big[i]);
        assert_int_equal(f.pool.n[PIPE_BIG], 3);
        fixture_close(&f);
}

/* A record short: the other class helps out, and then there is none, counted. */
static void test_records_run_out(void **unused) {
        struct fixture f;
        uint32_t a, b;

        (void)unused;
        fixture_open(&f, 2, 16 * BIG);
        a = take(&f, PIPE_SMALL, 1);
        b = take(&f, PIPE_BIG, 1);
        assert_int_equal(f.store.refused, 0);
        assert_int_equal(pipe_pool_ready(&f.pool, PIPE_SMALL), 0);
        assert_int_equal(f.store.refused, 1);
        assert_int_equal(pipe_pool_ready(&f.pool, PIPE_BIG), 0);
        assert_int_equal(f.store.refused, 2);
        pipe_pool_give(&f.pool, b);
        assert_int_equal(take(&f, PIPE_SMALL, 3), b);
        pipe_pool_give(&f.pool, a);
        assert_int_equal(take(&f, PIPE_BIG, 3), a);
        pipe_pool_give(&f.pool, a);
        pipe_pool_drop(&f.pool, b);
        fixture_close(&f);
}

/* No descriptors: none is promised, no record is lost, and it works on when they are back. */
static void test_descriptors_run_out(void **unused) {
        struct fixture f;
        struct rlimit limit, low;

        (void)unused;
        fixture_open(&f, 8, 4 * BIG);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        low = limit;
        /* One is left, and a pipe needs two. */
        low.rlim_cur = (rlim_t)f.arena.fd + 2;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        for (int i = 0; i < 50; i++) {
                assert_int_equal(pipe_pool_ready(&f.pool, PIPE_SMALL), 0);
                assert_int_equal(pipe_pool_ready(&f.pool, PIPE_BIG), 0);
        }
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(f.store.refused, 100);
        assert_int_equal(f.store.big, 0);
        pipe_pool_give(&f.pool, take(&f, PIPE_SMALL, 5));
        fixture_close(&f);
}

#define CROWD_ROUNDS 3000

struct crowd {
        struct pipe_store *store;
        pthread_barrier_t *together;
        _Atomic int *big;               /* big pipes that are lent out at this moment */
        uint32_t owner;
        unsigned faults;
};

static void *crowd_main(void *arg) {
        struct crowd *crowd = arg;
        struct pipe_pool pool;

        pipe_pool_init(&pool, crowd->store);
        pthread_barrier_wait(crowd->together);
        for (int i = 0; i < CROWD_ROUNDS; i++) {
                enum pipe_class class = i % 3 ? PIPE_BIG : PIPE_SMALL;
                uint32_t size = pipe_pool_ready(&pool, class), index;
                struct pipe_record *record;

                if (!size)
                        continue;
                index = pipe_pool_take(&pool, class, crowd->owner);
                record = &crowd->store->records[index];
                crowd->faults += record->owner != PIPE_OWNER(crowd->owner) || record->size != size;
                if (record->big && ++*crowd->big > (int)crowd->store->big_max)
                        crowd->faults++;
                if (record->big)
                        --*crowd->big;
                if (i % 2)
                        pipe_pool_drop(&pool, index);
                else
                        pipe_pool_give(&pool, index);
        }
        pipe_pool_deinit(&pool);
        return NULL;
}

/* Threads with pools of their own share records and budget: each pipe has one owner, and the budget holds. */
static void test_two_pools(void **unused) {
        _Atomic int big = 0;
        pthread_barrier_t together;
        pthread_t threads[3];
        struct crowd crowd[3];
        struct fixture f;

        (void)unused;
        fixture_open(&f, 7, 2 * BIG);
        pthread_barrier_init(&together, NULL, 3);
        for (uint32_t i = 0; i < 3; i++) {
                crowd[i] = (struct crowd){ .store = &f.store, .together = &together, .big = &big, .owner = i };
                assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
        }
        for (int i = 0; i < 3; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(crowd[i].faults, 0);
        }
        pthread_barrier_destroy(&together);
        assert_int_equal(big, 0);
        fixture_close(&f);
}

/*
 * Over the user's soft limit of pipe buffers the kernel makes tiny pipes and refuses to let
 * them grow: their true size is what is promised.  In a child, which is nobody; status 0: as it should.
 */
static int tiny_pipes(long soft_pages) {
        struct fixture f;
        uint32_t size = 0, index;
        long used = 0;

        if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
                return 10;
        fixture_open(&f, 8, 64 * BIG);
        while (used <= soft_pages) {
                int ends[2], got;

                if (sys_pipe(ends) < 0)
                        return 11;
                got = sys_pipe_resize(ends[1], (int)(4 * BIG));
                if (got < 0)
                        got = sys_pipe_size(ends[1]);
                if (got < 65536)
                        break;
                used += got / getpagesize();
        }
        size = pipe_pool_ready(&f.pool, PIPE_SMALL);
        if (size == 0 || size >= 65536)
                return 12;
        index = pipe_pool_take(&f.pool, PIPE_SMALL, 1);
        if (sys_pipe_size(f.store.records[index].ends[1]) != (int)size || f.store.records[index].big)
                return 13;
        /* All that is promised does go in. */
        void *bytes = calloc(1, size);
        if (sys_write(f.store.records[index].ends[1], bytes, size) != (ssize_t)size)
                return 14;
        free(bytes);
        /* A big one stays tiny, and takes no budget. */
        if (pipe_pool_ready(&f.pool, PIPE_BIG) != size || f.store.big)
                return 15;
        pipe_pool_drop(&f.pool, index);
        pipe_pool_deinit(&f.pool);
        return f.store.big ? 16 : 0;
}

static void test_tiny_pipes(void **unused) {
        FILE *file = fopen("/proc/sys/fs/pipe-user-pages-soft", "re");
        long pages = 0;
        int status;
        pid_t pid;

        (void)unused;
        if (file) {
                if (fscanf(file, "%ld", &pages) != 1)
                        pages = 0;
                fclose(file);
        }
        if (geteuid() != 0 || pages == 0 || pages > 65536)
                skip();
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(tiny_pipes(pages));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        /* 10: this container may not change its user. */
        if (WEXITSTATUS(status) == 10)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* A pipe is full by slots, not bytes: why nothing here counts bytes to know whether there is room. */
static void test_kernel_full_by_slots(void **unused) {
        int ends[2];
        int writes = 0;

        (void)unused;
        assert_int_equal(sys_pipe(ends), 0);
        /* Packets do not share a slot, as pieces that splice() moves do not. */
        assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK | O_DIRECT), 0);
        while (write(ends[1], "0123456789", 10) == 10)
                writes++;
        assert_int_equal(errno, EAGAIN);
        assert_int_equal(writes, sys_pipe_size(ends[1]) / getpagesize());
        close(ends[0]);
        close(ends[1]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_owners),
                cmocka_unit_test(test_dropped_bytes_are_gone),
                cmocka_unit_test(test_pool_is_bounded),
                cmocka_unit_test(test_big_budget),
                cmocka_unit_test(test_records_run_out),
                cmocka_unit_test(test_descriptors_run_out),
                cmocka_unit_test(test_two_pools),
                cmocka_unit_test(test_tiny_pipes),
                cmocka_unit_test(test_kernel_full_by_slots),
        };

        return cmocka_run_group_tests_name("pipe", tests, NULL, NULL);
}
