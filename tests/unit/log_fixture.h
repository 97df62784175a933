/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_TESTS_UNIT_LOG_FIXTURE_H
#define SPLICED_TESTS_UNIT_LOG_FIXTURE_H

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

/*
 * What the log's tests share: a directory of its own for each test, a pipe or
 * a socket in the place of stderr, and waiting for what a file is to hold.
 */

#define PATIENCE_MS 20000

static const struct log_target off = { .to = LOG_TO_OFF };
static const struct log_target text_stderr = { .to = LOG_TO_STDERR };

static struct {
        char dir[64], path[96], other[96];
        int saved_stderr;
        int pipe[2];                    /* what redirect() puts in the place of stderr */
} fixture;

static inline int setup(void **state) {
        snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/spliced-log-XXXXXX");
        if (!mkdtemp(fixture.dir))
                return -1;
        snprintf(fixture.path, sizeof(fixture.path), "%s/log", fixture.dir);
        snprintf(fixture.other, sizeof(fixture.other), "%s/other", fixture.dir);
        fixture.saved_stderr = fixture.pipe[0] = fixture.pipe[1] = -1;
        return 0;
}

static inline void restore_stderr(void) {
        if (fixture.saved_stderr >= 0) {
                dup2(fixture.saved_stderr, STDERR_FILENO);
                close(fixture.saved_stderr);
        }
        fixture.saved_stderr = -1;
        for (int i = 0; i < 2; i++) {
                if (fixture.pipe[i] >= 0)
                        close(fixture.pipe[i]);
                fixture.pipe[i] = -1;
        }
}

static inline int teardown(void **state) {
        restore_stderr();
        unsetenv("JOURNAL_STREAM");
        unlink(fixture.path);
        unlink(fixture.other);
        return rmdir(fixture.dir);
}

/* Makes stderr a pipe (or a socket) that we hold the other end of. */
static inline void redirect(int socket) {
        if (socket) {
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fixture.pipe), 0);
                setsockopt(fixture.pipe[1], SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));   /* the least there is */
        } else {
                assert_int_equal(pipe2(fixture.pipe, O_CLOEXEC), 0);
        }
        fixture.saved_stderr = dup(STDERR_FILENO);
        assert_int_equal(dup2(fixture.pipe[1], STDERR_FILENO), STDERR_FILENO);
        close(fixture.pipe[1]);
        fixture.pipe[1] = -1;
}

static inline struct log *make(const struct log_target *target, enum log_level level, const struct log_target *access) {
        const char *failed;
        struct log *log;

        assert_int_equal(log_new(&log, target, level, access, &failed), 0);
        return log;
}

static inline struct log_target file_target(enum log_format format) {
        return (struct log_target){ .to = LOG_TO_FILE, .format = format, .path = fixture.path };
}

/* All of a file, to be freed. */
static inline char *slurp(const char *path) {
        FILE *file = fopen(path, "re");
        char *text = NULL;
        size_t size = 0;

        if (!file)
                return strdup("");
        if (getdelim(&text, &size, EOF, file) < 0) {
                free(text);
                text = strdup("");
        }
        fclose(file);
        return text;
}

static inline void nap(void) {
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* Waits until the file holds the text. */
static inline void await(const char *path, const char *expected) {
        int64_t until = clock_now_ms() + PATIENCE_MS;

        for (;;) {
                char *text = slurp(path);
                int there = strstr(text, expected) != NULL;

                free(text);
                if (there)
                        return;
                assert_true(clock_now_ms() < until);
                nap();
        }
}

static inline unsigned count(const char *text, const char *word) {
        unsigned n = 0;

        for (; (text = strstr(text, word)); text += strlen(word))
                n++;
        return n;
}

static inline unsigned count_threads(void) {
        DIR *dir = opendir("/proc/self/task");
        unsigned n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

static inline void await_threads(unsigned n) {
        int64_t until = clock_now_ms() + PATIENCE_MS;

        while (count_threads() != n) {
                assert_true(clock_now_ms() < until);
                nap();
        }
}

/* One line from the pipe, without its newline. */
static inline void read_line(int fd, char *line, size_t size) {
        size_t n = 0;

        while (read(fd, line + n, 1) == 1 && line[n] != '\n')
                assert_true(++n < size);
        line[n] = '\0';
}

/* An access record of the tests: its text is the line. */
static inline size_t format_string(char *buf, size_t size, const void *data, int json) {
        return (size_t)snprintf(buf, size, json ? "{\"record\":\"%s\"}" : "record %s", (const char *)data);
}

static inline void record(struct log *log, const char *s) {
        log_record(log, format_string, s, strlen(s) + 1);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* main() of the log's tests. */
static inline void prepare(void) {
        alarm(120);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
}

#endif
