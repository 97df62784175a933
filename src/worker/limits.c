/* SPDX-License-Identifier: ISC */
#include "worker/limits.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define LIMITS_OTHER 14         /* standard streams, arena, logs, signals, a resolver's socket, and some air */
#define LIMITS_ADMIN 8          /* wake-ups and poller of the admin thread, and some who talk to it */
#define LIMITS_PER_THREAD 3     /* epoll, wake-up and alarm */
#define LIMITS_THREAD_PIPES 4   /* pipes that a thread may always have */
#define LIMITS_PIPE_SHARE 16    /* one session in so many may have bytes parked; the others do without a pipe */

static struct limits limits_of(uint64_t sessions, unsigned threads, size_t others) {
        uint64_t pipes = (uint64_t)LIMITS_THREAD_PIPES * threads + sessions / LIMITS_PIPE_SHARE;

        return (struct limits){
                .sessions = (uint32_t)sessions,
                .pipes = (uint32_t)pipes,
                .descriptors = LIMITS_OTHER + LIMITS_ADMIN + others + (uint64_t)LIMITS_PER_THREAD * threads +
                               2 * sessions + 2 * pipes,
        };
}

int limits_fit(struct limits *limits, uint64_t descriptors, uint32_t wanted, unsigned threads, size_t others) {
        uint64_t low = 1, high = LIMITS_SESSIONS_MAX;

        if (wanted) {
                *limits = limits_of(wanted, threads, others);
                return limits->descriptors <= descriptors ? 0 : LIMITS_TOO_LOW;
        }
        *limits = limits_of(low, threads, others);
        if (limits->descriptors > descriptors)
                return LIMITS_TOO_LOW;
        while (low < high) {
                uint64_t middle = (low + high + 1) / 2;

                if (limits_of(middle, threads, others).descriptors <= descriptors)
                        low = middle;
                else
                        high = middle - 1;
        }
        *limits = limits_of(low, threads, others);
        return 0;
}

uint64_t limits_raise(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 1024;
        if (limit.rlim_cur < limit.rlim_max) {
                rlim_t soft = limit.rlim_cur;

                limit.rlim_cur = limit.rlim_max;
                if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                        limit.rlim_cur = soft;
        }
        return limit.rlim_cur;
}

void limits_grow_table(uint64_t descriptors) {
        int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)descriptors - 1);

        if (fd >= 0)
                close(fd);
}

uint64_t limits_pipe_budget(void) {
        FILE *file = fopen("/proc/sys/fs/pipe-user-pages-soft", "re");
        unsigned long pages = 16384;

        if (file) {
                if (fscanf(file, "%lu", &pages) != 1)
                        pages = 16384;
                fclose(file);
        }
        /* 0 means no limit; memory is the limit then. */
        if (pages == 0 || pages > 65536)
                pages = 65536;
        return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

unsigned limits_cpus(void) {
        cpu_set_t set;
        int n;

        CPU_ZERO(&set);
        n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
        return n > 0 ? (unsigned)n : 1;
}
