/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/limits.h"

/* What fits is used, and one more would not fit: for every limit in a range, and around larger ones. */
static void check_boundary(uint64_t descriptors, unsigned threads, size_t listeners) {
        struct limits limits, more;

        if (limits_fit(&limits, descriptors, 0, threads, listeners) == LIMITS_TOO_LOW) {
                /* Not even one: and so it says what one takes. */
                assert_int_equal(limits.sessions, 1);
                assert_true(limits.descriptors > descriptors);
                assert_int_equal(limits_fit(&more, descriptors, 1, threads, listeners), LIMITS_TOO_LOW);
                assert_int_equal(limits_fit(&more, limits.descriptors, 0, threads, listeners), 0);
                return;
        }
        assert_in_range(limits.sessions, 1, LIMITS_SESSIONS_MAX);
        assert_true(limits.descriptors <= descriptors);
        assert_true(limits.descriptors >= 2 * ((uint64_t)limits.sessions + limits.pipes) + listeners);
        assert_int_equal(limits_fit(&more, descriptors, limits.sessions, threads, listeners), 0);
        assert_int_equal(more.sessions, limits.sessions);
        assert_int_equal(more.pipes, limits.pipes);
        if (limits.sessions < LIMITS_SESSIONS_MAX)
                assert_int_equal(limits_fit(&more, descriptors, limits.sessions + 1, threads, listeners),
                                 LIMITS_TOO_LOW);
}

static void test_boundaries(void **unused) {
        static const uint64_t larger[] = { 4096, 20000, 65536, 100000, 219999, 220000, 230000, 524288, 1048576,
                                           1u << 30, UINT32_MAX, UINT64_MAX };
        static const unsigned threads[] = { 1, 2, 3, 16, 256 };

        (void)unused;
        for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++)
                for (size_t listeners = 1; listeners < 300; listeners += 97) {
                        for (uint64_t descriptors = 0; descriptors < 3000; descriptors++)
                                check_boundary(descriptors, threads[t], listeners);
                        for (size_t i = 0; i < sizeof(larger) / sizeof(larger[0]); i++)
                                check_boundary(larger[i], threads[t], listeners);
                }
}

/* More descriptors never mean fewer sessions. */
static void test_monotonic(void **unused) {
        uint32_t last = 0;

        (void)unused;
        for (uint64_t descriptors = 60; descriptors < 5000; descriptors++) {
                struct limits limits;

                assert_int_equal(limits_fit(&limits, descriptors, 0, 1, 1), 0);
                assert_true(limits.sessions >= last);
                last = limits.sessions;
        }
}

static void test_cap(void **unused) {
        struct limits limits;

        (void)unused;
        assert_int_equal(limits_fit(&limits, 1u << 30, 0, 2, 4), 0);
        assert_int_equal(limits.sessions, 100000);
        assert_int_equal(limits_fit(&limits, limits.descriptors, 0, 2, 4), 0);
        assert_int_equal(limits.sessions, 100000);
        assert_int_equal(limits_fit(&limits, limits.descriptors - 1, 0, 2, 4), 0);
        assert_int_equal(limits.sessions, 99999);
        /* The cap is that of "auto" alone. */
        assert_int_equal(limits_fit(&limits, 1u << 30, 250000, 2, 4), 0);
        assert_int_equal(limits.sessions, 250000);
        assert_int_equal(limits_fit(&limits, UINT64_MAX, UINT32_MAX, 256, 1000), 0);
        assert_int_equal(limits.sessions, UINT32_MAX);
        assert_true(limits.descriptors > 2 * (uint64_t)UINT32_MAX);
}

static void test_wanted(void **unused) {
        struct limits limits;

        (void)unused;
        assert_int_equal(limits_fit(&limits, 1024, 100000, 1, 1), LIMITS_TOO_LOW);
        assert_int_equal(limits.sessions, 100000);
        /* With the limit that it names it fits. */
        assert_int_equal(limits_fit(&limits, limits.descriptors, 100000, 1, 1), 0);
        assert_int_equal(limits_fit(&limits, limits.descriptors - 1, 100000, 1, 1), LIMITS_TOO_LOW);
}

/* With a limit of 64 there is still something to serve with. */
static void test_sixty_four(void **unused) {
        struct limits limits;

        (void)unused;
        for (unsigned threads = 1; threads <= 2; threads++)
                for (size_t listeners = 1; listeners <= 4; listeners++) {
                        assert_int_equal(limits_fit(&limits, 64, 0, threads, listeners), 0);
                        assert_true(limits.sessions >= 8);
                        assert_true(limits.pipes >= threads);
                }
}

/* In a child, as it changes its limits: 0 where all is well, else the step that was not. */
static int raised(void) {
        struct rlimit limit = { 100, 300 };

        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 1;
        if (limits_raise() != 300)
                return 2;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur != 300 || limit.rlim_max != 300)
                return 3;
        if (limits_raise() != 300)
                return 4;
        /* Growing the table leaves nothing behind, and forgives a limit that it cannot have. */
        int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        close(before);
        limits_grow_table(300);
        limits_grow_table(100000);
        if (fcntl(299, F_GETFD) != -1 || errno != EBADF)
                return 5;
        int after = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        return after == before ? 0 : 6;
}

static void test_raise(void **unused) {
        int status;
        pid_t pid = fork();

        (void)unused;
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(raised());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_machine(void **unused) {
        FILE *file = fopen("/proc/sys/fs/pipe-user-pages-soft", "re");
        uint64_t budget = limits_pipe_budget();
        unsigned long pages = 0;
        cpu_set_t set;

        (void)unused;
        if (file) {
                if (fscanf(file, "%lu", &pages) != 1)
                        pages = 0;
                fclose(file);
        }
        assert_true(budget > 0);
        if (pages && pages <= 65536)
                assert_int_equal(budget, (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) / 2);
        assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
        assert_int_equal(limits_cpus(), CPU_COUNT(&set));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_boundaries),
                cmocka_unit_test(test_monotonic),
                cmocka_unit_test(test_cap),
                cmocka_unit_test(test_wanted),
                cmocka_unit_test(test_sixty_four),
                cmocka_unit_test(test_raise),
                cmocka_unit_test(test_machine),
        };

        return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
