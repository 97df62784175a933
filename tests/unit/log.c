/* SPDX-License-Identifier: ISC */
/* The log as its callers see it: real files and pipes, a thread that writes, targets that block or fail. */
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

#define PATIENCE_MS 20000

static const struct log_target off = { .to = LOG_TO_OFF };
static const struct log_target text_stderr = { .to = LOG_TO_STDERR };
static const struct log_target to_syslog = { .to = LOG_TO_SYSLOG };

static struct {
        char dir[64], path[96], other[96];
        int saved_stderr;
        int pipe[2];                    /* what redirect() puts in the place of stderr */
} fixture;

/* ---- a syslog of our own, in place of libc's ---- */

static struct {
        int priority;                   /* of the last line */
        char line[256];
        int hang;                       /* a descriptor to block on, or -1; atomic, as the next */
        int back;                       /* how many blocked calls came back */
} fake_syslog = { .hang = -1 };

void openlog(const char *ident, int option, int facility) {
        assert_string_equal(ident, "spliced");
        assert_int_equal(facility, LOG_DAEMON);
}

static void fake_syslog_take(int priority, const char *fmt, va_list args) {
        int hang = __atomic_load_n(&fake_syslog.hang, __ATOMIC_ACQUIRE);
        char byte;

        if (hang >= 0) {
                while (read(hang, &byte, 1) < 0 && errno == EINTR)
                        ;
                __atomic_add_fetch(&fake_syslog.back, 1, __ATOMIC_RELEASE);
                return;
        }
        fake_syslog.priority = priority;
        vsnprintf(fake_syslog.line, sizeof(fake_syslog.line), fmt, args);
}

void syslog(int priority, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        fake_syslog_take(priority, fmt, args);
        va_end(args);
}

/* What libc's header calls instead when it checks for overflows. */
void __syslog_chk(int priority, int flag, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void __syslog_chk(int priority, int flag, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        fake_syslog_take(priority, fmt, args);
        va_end(args);
}

/* ---- helpers ---- */

static int setup(void **state) {
        snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/spliced-log-XXXXXX");
        if (!mkdtemp(fixture.dir))
                return -1;
        snprintf(fixture.path, sizeof(fixture.path), "%s/log", fixture.dir);
        snprintf(fixture.other, sizeof(fixture.other), "%s/other", fixture.dir);
        fixture.saved_stderr = fixture.pipe[0] = fixture.pipe[1] = -1;
        return 0;
}

static void restore_stderr(void) {
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

static int teardown(void **state) {
        restore_stderr();
        unsetenv("JOURNAL_STREAM");
        unlink(fixture.path);
        unlink(fixture.other);
        return rmdir(fixture.dir);
}

/* Makes stderr a pipe (or a socket) that we hold the other end of. */
static void redirect(int socket) {
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

static struct log *make(const struct log_target *target, enum log_level level, const struct log_target *access) {
        const char *failed;
        struct log *log;

        assert_int_equal(log_new(&log, target, level, access, &failed), 0);
        return log;
}

static struct log_target file_target(enum log_format format) {
        return (struct log_target){ .to = LOG_TO_FILE, .format = format, .path = fixture.path };
}

/* All of a file, to be freed. */
static char *slurp(const char *path) {
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

static void nap(void) {
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* Waits until the file holds the text. */
static void await(const char *path, const char *expected) {
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

static unsigned count(const char *text, const char *word) {
        unsigned n = 0;

        for (; (text = strstr(text, word)); text += strlen(word))
                n++;
        return n;
}

static unsigned count_threads(void) {
        DIR *dir = opendir("/proc/self/task");
        unsigned n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

static void await_threads(unsigned n) {
        int64_t until = clock_now_ms() + PATIENCE_MS;

        while (count_threads() != n) {
                assert_true(clock_now_ms() < until);
                nap();
        }
}

/* One line from the pipe, without its newline. */
static void read_line(int fd, char *line, size_t size) {
        size_t n = 0;

        while (read(fd, line + n, 1) == 1 && line[n] != '\n')
                assert_true(++n < size);
        line[n] = '\0';
}

/* An access record of the tests: its text is the line. */
static size_t format_string(char *buf, size_t size, const void *data, int json) {
        return (size_t)snprintf(buf, size, json ? "{\"record\":\"%s\"}" : "record %s", (const char *)data);
}

static void record(struct log *log, const char *s) {
        log_record(log, format_string, s, strlen(s) + 1);
}

/* ---- what is written ---- */

static void test_text_line(void **state) {
        const struct log_context context = { "web", "app", "a", "unix:/run/a b", 7 };
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        struct stat st;
        char *text;

        assert_int_equal(log_start(log), 0);
        assert_int_equal(log_start(log), -EALREADY);
        log_info(log, &context, "hello %d", 5);
        log_error(log, LOG_NO_CONTEXT, "bad");
        log_stop(log, PATIENCE_MS);
        log_stop(log, PATIENCE_MS);
        text = slurp(fixture.path);
        assert_string_equal(text + 24, strstr(text, " info: "));
        assert_int_equal(text[23], 'Z');
        assert_non_null(strstr(text,
                               "Z info: hello 5 (frontend=web server=app/a address=\"unix:/run/a b\" session=7)\n"));
        assert_non_null(strstr(text, "Z error: bad\n"));
        assert_int_equal(count(text, "\n"), 2);
        assert_int_equal(stat(fixture.path, &st), 0);
        assert_int_equal(st.st_mode & 07777 & ~0640u, 0);
        free(text);
        assert_null(log_free(log));
        assert_null(log_free(NULL));
}

static void test_json_line(void **state) {
        const struct log_context context = { "web", "app", "a", "[::1]:80", UINT64_MAX };
        struct log_target target = file_target(LOG_JSON);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        json_t *json;
        char *text;

        log_start(log);
        log_warning(log, &context, "it's \"%s\"", "x\ny\xff");
        log_free(log);
        text = slurp(fixture.path);
        assert_int_equal(count(text, "\n"), 1);
        json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_object_size(json), 8);
        assert_int_equal(strlen(json_string_value(json_object_get(json, "time"))), 24);
        assert_string_equal(json_string_value(json_object_get(json, "level")), "warning");
        assert_string_equal(json_string_value(json_object_get(json, "message")), "it's \"x\ny\\xff\"");
        assert_string_equal(json_string_value(json_object_get(json, "frontend")), "web");
        assert_string_equal(json_string_value(json_object_get(json, "backend")), "app");
        assert_string_equal(json_string_value(json_object_get(json, "server")), "a");
        assert_string_equal(json_string_value(json_object_get(json, "address")), "[::1]:80");
        assert_string_equal(json_string_value(json_object_get(json, "session")), "18446744073709551615");
        json_decref(json);
        free(text);
}

static void test_injection(void **state) {
        const struct log_context context = { .address = "x\n2026-01-01T00:00:00Z info: forged", .frontend = "a) (b=c" };
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        char *text;

        log_start(log);
        log_info(log, &context, "client said %s", "\x1b[2J\r\nerror: forged\xc2\x9b");
        log_free(log);
        text = slurp(fixture.path);
        assert_int_equal(count(text, "\n"), 1);
        for (const char *c = text; *c; c++)
                assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
        assert_non_null(strstr(text,
                               "said \\x1b[2J\\r\\nerror: forged\\xc2\\x9b (frontend=\"a) (b=c\" address=\"x\\n2026"));
        free(text);
}

static void test_level_filter(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_WARNING, &off);
        char *text;

        assert_true(log_wants(log, LOG_LEVEL_ERROR));
        assert_true(log_wants(log, LOG_LEVEL_WARNING));
        assert_false(log_wants(log, LOG_LEVEL_INFO));
        assert_false(log_wants(NULL, LOG_LEVEL_ERROR));
        assert_false(log_has_access(log));
        log_start(log);
        log_debug(log, NULL, "one");
        log_info(log, NULL, "two");
        log_warning(log, NULL, "three");
        log_error(log, NULL, "four");
        log_error(NULL, NULL, "nowhere");
        record(log, "nowhere");
        record(NULL, "nowhere");
        log_free(log);
        text = slurp(fixture.path);
        assert_int_equal(count(text, "\n"), 2);
        assert_true(strstr(text, "three") < strstr(text, "four"));
        free(text);
}

static void test_without_a_thread(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log_target access = { .to = LOG_TO_FILE, .format = LOG_JSON, .path = fixture.other };
        struct log *log = make(&target, LOG_LEVEL_INFO, &access);
        char *text;

        log_info(log, NULL, "before");
        record(log, "before");
        await(fixture.path, "before\n");
        await(fixture.other, "{\"record\":\"before\"}\n");
        log_start(log);
        log_stop(log, PATIENCE_MS);
        log_info(log, NULL, "after");
        record(log, "after");
        text = slurp(fixture.path);
        assert_non_null(strstr(text, "after\n"));
        free(text);
        text = slurp(fixture.other);
        assert_string_equal(text, "{\"record\":\"before\"}\n{\"record\":\"after\"}\n");
        free(text);
        log_free(log);
}

static void test_file_that_cannot_be_opened(void **state) {
        struct log_target target = { .to = LOG_TO_FILE, .path = "/nonexistent/log" };
        const char *failed = NULL;
        struct log *log;

        assert_int_equal(log_new(&log, &text_stderr, LOG_LEVEL_INFO, &target, &failed), -ENOENT);
        assert_string_equal(failed, target.path);
        assert_null(log);
        assert_int_equal(mkfifo(fixture.path, 0600), 0);
        target.path = fixture.path;
        /* Nobody reads: no hang. */
        assert_int_equal(log_new(&log, &target, LOG_LEVEL_INFO, &off, &failed), -ENXIO);
}

static void test_records_while_running(void **state) {
        struct log_target access = file_target(LOG_TEXT);
        struct log *log = make(&off, LOG_LEVEL_INFO, &access);
        char big[LOG_RECORD_MAX + 1] = { 0 };

        assert_true(log_has_access(log));
        log_start(log);
        record(log, "one");
        await(fixture.path, "record one\n");
        memset(big, 'x', LOG_RECORD_MAX - 1);
        record(log, big);
        await(fixture.path, "xxx\n");
        log_record(log, format_string, big, sizeof(big));
        assert_int_equal(log_dropped(log), 1);
        log_free(log);
}

static void test_journal_prefix(void **state) {
        static const char *const wanted[] = { "<3>error: e", "<4>warning: w", "<6>info: i", "<7>debug: d" };
        char line[256], stream[64];
        struct stat st;
        struct log *log;

        redirect(1);
        fstat(STDERR_FILENO, &st);
        snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        log = make(&text_stderr, LOG_LEVEL_DEBUG, &text_stderr);
        log_start(log);
        log_error(log, NULL, "e");
        log_warning(log, NULL, "w");
        log_info(log, NULL, "i");
        log_debug(log, NULL, "d");
        for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
                read_line(fixture.pipe[0], line, sizeof(line));
                assert_string_equal(line, wanted[i]);
        }
        record(log, "one");
        read_line(fixture.pipe[0], line, sizeof(line));
        assert_string_equal(line, "<6>record one");
        log_free(log);

        /* Inherited, but stderr leads elsewhere; or nonsense. */
        for (int i = 0; i < 3; i++) {
                snprintf(stream, sizeof(stream), i < 2 ? "%ju:%ju" : "journal", (uintmax_t)st.st_dev + (i == 0),
                         (uintmax_t)st.st_ino + (i == 1));
                setenv("JOURNAL_STREAM", stream, 1);
                log = make(&text_stderr, LOG_LEVEL_INFO, &off);
                log_error(log, NULL, "e");
                read_line(fixture.pipe[0], line, sizeof(line));
                assert_string_equal(line + 23, "Z error: e");
                log_free(log);
        }
}

static void test_syslog(void **state) {
        struct log *log = make(&to_syslog, LOG_LEVEL_INFO, &off);

        log_start(log);
        log_warning(log, NULL, "hello %%s");
        log_stop(log, PATIENCE_MS);
        assert_string_equal(fake_syslog.line, "warning: hello %s");
        assert_int_equal(fake_syslog.priority, LOG_WARNING);
        log_free(log);
}

/* ---- targets that block or fail ---- */

/* Lines until both the ring and stderr are full; returns how many. */
static unsigned flood(struct log *log) {
        struct pollfd target = { .fd = STDERR_FILENO, .events = POLLOUT };
        uint64_t before;
        unsigned n = 0;

        do {
                before = log_dropped(log);
                log_info(log, NULL, "line %u of a flood, long enough to fill a ring soon: %0100d", n++, 0);
        } while (before < 100 || log_dropped(log) == before || poll(&target, 1, 0) != 0);
        return n;
}

static void check_blocked_stderr(int socket) {
        char line[512];
        const char *report;
        uint64_t seen = 0, told = 0, written;
        struct log *log;

        redirect(socket);
        log = make(&text_stderr, LOG_LEVEL_INFO, &off);
        log_start(log);
        written = flood(log);
        assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
        while (seen + told < written) {
                read_line(fixture.pipe[0], line, sizeof(line));
                report = strstr(line, "Z warning: ");
                assert_true(report != NULL || strstr(line, " of a flood") != NULL);
                if (report)
                        told += strtoull(report + strlen("Z warning: "), NULL, 10);
                else
                        seen++;
        }
        assert_int_equal(told, log_dropped(log));
        assert_int_equal(seen + told, written);
        log_info(log, NULL, "and on");
        read_line(fixture.pipe[0], line, sizeof(line));
        assert_non_null(strstr(line, "info: and on"));
        log_free(log);
}

static void test_blocked_pipe(void **state) {
        check_blocked_stderr(0);
}

static void test_blocked_socket(void **state) {
        check_blocked_stderr(1);
}

static void check_stop_of_a_blocked_log(int socket) {
        unsigned threads = count_threads();
        int64_t start;
        uint64_t dropped;
        struct log *log;

        redirect(socket);
        log = make(&text_stderr, LOG_LEVEL_INFO, &off);
        log_start(log);
        flood(log);
        dropped = log_dropped(log);
        start = clock_now_ms();
        log_stop(log, 50);
        assert_in_range(clock_now_ms() - start, 49, 5000);
        await_threads(threads);                                 /* ended, not left in a write */
        assert_true(log_dropped(log) > dropped + 1000);         /* what was in the ring */
        dropped = log_dropped(log);
        log_info(log, NULL, "too late");
        assert_int_equal(log_dropped(log), dropped + 1);
        assert_null(log_free(log));
}

static void test_stop_of_a_blocked_pipe(void **state) {
        check_stop_of_a_blocked_log(0);
}

static void test_stop_of_a_blocked_socket(void **state) {
        check_stop_of_a_blocked_log(1);
}

/* Before log_start() a target is waited for, but once only. */
static void test_blocked_before_the_start(void **state) {
        struct log *log;

        redirect(0);
        log = make(&text_stderr, LOG_LEVEL_INFO, &off);
        flood(log);
        log_free(log);
}

/* A write that hangs, which no poll() can foresee: the thread is left in it, and frees everything when it is back. */
static void test_stop_of_a_hanging_write(void **state) {
        struct log *log = make(&to_syslog, LOG_LEVEL_INFO, &off);
        unsigned threads = count_threads();
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        __atomic_store_n(&fake_syslog.hang, fds[0], __ATOMIC_RELEASE);
        log_start(log);
        for (int i = 0; i < 10; i++)
                log_info(log, NULL, "line");
        log_stop(log, 20);
        assert_true(log_dropped(log) >= 9);
        log_info(log, NULL, "nobody hangs in this one");
        assert_null(log_free(log));
        assert_int_equal(__atomic_load_n(&fake_syslog.back, __ATOMIC_ACQUIRE), 0);
        close(fds[1]);
        await_threads(threads);
        assert_int_equal(__atomic_load_n(&fake_syslog.back, __ATOMIC_ACQUIRE), 1);
        __atomic_store_n(&fake_syslog.hang, -1, __ATOMIC_RELEASE);
        close(fds[0]);
}

/* A main target that blocks leaves the access log alone. */
static void test_blocked_beside_a_file(void **state) {
        struct log_target access = file_target(LOG_TEXT);
        struct log *log;

        redirect(0);
        log = make(&text_stderr, LOG_LEVEL_INFO, &access);
        log_start(log);
        flood(log);
        record(log, "gets through");
        await(fixture.path, "record gets through\n");
        log_stop(log, 0);
        log_free(log);
}

static void test_reader_gone(void **state) {
        struct log *log;

        redirect(0);
        log = make(&text_stderr, LOG_LEVEL_INFO, &off);
        close(fixture.pipe[0]);
        fixture.pipe[0] = -1;
        log_start(log);
        log_info(log, NULL, "one");
        log_info(log, NULL, "two");
        log_stop(log, PATIENCE_MS);
        assert_int_equal(log_dropped(log), 2);
        log_free(log);
}

static void test_disk_full(void **state) {
        struct log_target target = { .to = LOG_TO_FILE, .path = "/dev/full" };
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);

        log_error(log, NULL, "no room, no thread");
        assert_int_equal(log_dropped(log), 1);
        log_start(log);
        log_error(log, NULL, "no room");
        log_stop(log, PATIENCE_MS);
        assert_int_equal(log_dropped(log), 2);
        log_free(log);
}

/* A disk that fills up in the middle of a line: the next line does not continue it, and the loss is told. */
static void test_disk_full_for_a_while(void **state) {
        struct rlimit before, limit;
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        char *text;

        getrlimit(RLIMIT_FSIZE, &before);
        limit = (struct rlimit){ .rlim_cur = 30, .rlim_max = before.rlim_max };
        setrlimit(RLIMIT_FSIZE, &limit);
        log_info(log, NULL, "this one will be cut");
        assert_int_equal(log_dropped(log), 1);
        setrlimit(RLIMIT_FSIZE, &before);
        log_start(log);
        log_info(log, NULL, "next");
        log_free(log);
        text = slurp(fixture.path);
        assert_int_equal(text[30], '\n');
        assert_int_equal(text[31 + 23], 'Z');
        assert_non_null(strstr(text + 31, "Z info: next\n"));
        assert_non_null(strstr(text + 31, "Z warning: 1 line was dropped\n"));
        assert_int_equal(count(text, "\n"), 3);
        free(text);
}

/* ---- reopening ---- */

static void test_reopen(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        char *text;

        for (int running = 0; running < 2; running++) {
                if (running)
                        log_start(log);
                log_info(log, NULL, "old");
                await(fixture.path, "old\n");
                assert_int_equal(rename(fixture.path, fixture.other), 0);
                log_reopen(log);
                log_info(log, NULL, "new");
                await(fixture.path, "new\n");
                text = slurp(fixture.other);
                assert_null(strstr(text, "new"));
                free(text);
                unlink(fixture.path);
                log_reopen(log);
        }
        log_free(log);
}

static void test_reopen_that_fails(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &target);

        log_start(log);
        assert_int_equal(rename(fixture.path, fixture.other), 0);
        assert_int_equal(mkdir(fixture.path, 0700), 0);
        log_reopen(log);
        await(fixture.other, "error: cannot open log file /");
        log_info(log, NULL, "goes on");
        record(log, "too");
        await(fixture.other, "info: goes on\n");
        await(fixture.other, "record too\n");
        log_free(log);
        assert_int_equal(rmdir(fixture.path), 0);
}

/* The way workers are made: a copy of the process with the same descriptor table. */
static pid_t clone_sharing_files(void) {
        return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
}

static void test_clone_shares_the_descriptor(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        int status;
        pid_t pid;

        log_info(log, NULL, "parent, old");
        assert_int_equal(rename(fixture.path, fixture.other), 0);
        pid = clone_sharing_files();
        if (pid == 0) {
                log_start(log);
                log_reopen(log);
                log_info(log, NULL, "child");
                log_stop(log, PATIENCE_MS);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        log_start(log);
        log_info(log, NULL, "parent, new");
        log_free(log);
        await(fixture.path, "child\n");
        await(fixture.path, "parent, new\n");
        await(fixture.other, "parent, old\n");
}

/* ---- threads ---- */

#define THREADS 4
#define LINES 5000

static void *many_lines(void *arg) {
        struct log *log = arg;
        static const char filler[] = "0123456789abcdefghijklmnopqrstuvwxyz";

        for (unsigned i = 0; i < LINES; i++) {
                log_info(log, NULL, "<%s%.*s>", "begin", (int)(i % sizeof(filler)), filler);
                record(log, "whole");
        }
        return NULL;
}

static void test_four_threads(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log_target access = { .to = LOG_TO_FILE, .format = LOG_TEXT, .path = fixture.other };
        struct log *log = make(&target, LOG_LEVEL_INFO, &access);
        pthread_t threads[THREADS];
        unsigned lines, records;
        char *text, *line, *rest;

        log_start(log);
        for (int i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, many_lines, log), 0);
        for (int i = 0; i < 20; i++)
                log_reopen(log);
        for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        log_stop(log, PATIENCE_MS);
        text = slurp(fixture.path);
        lines = count(text, "<begin");
        for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                assert_true((count(line, "<begin") == 1 && line[strlen(line) - 1] == '>') || strstr(line, "dropped"));
        free(text);
        text = slurp(fixture.other);
        records = count(text, "record whole\n");
        assert_int_equal(strlen(text), records * strlen("record whole\n"));
        free(text);
        assert_int_equal(lines + records + log_dropped(log), 2 * THREADS * LINES);
        log_free(log);
}

/* The status file of the thread that was made last: the log's. */
static void newest_thread(char *path, size_t size) {
        DIR *dir = opendir("/proc/self/task");
        struct dirent *entry;
        long newest = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                newest = atol(entry->d_name) > newest ? atol(entry->d_name) : newest;
        closedir(dir);
        snprintf(path, size, "/proc/self/task/%ld/status", newest);
}

static void test_signals_stay_out(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        struct log *log = make(&target, LOG_LEVEL_INFO, &off);
        char *text, *blocked;
        char path[64];
        sigset_t set;

        log_start(log);
        pthread_sigmask(SIG_SETMASK, NULL, &set);
        assert_false(sigismember(&set, SIGTERM));
        log_info(log, NULL, "started");
        await(fixture.path, "started");         /* while a thread is being made, libc blocks all signals anyway */
        newest_thread(path, sizeof(path));
        text = slurp(path);
        blocked = strstr(text, "SigBlk:");
        assert_non_null(blocked);
        assert_int_equal(strtoull(blocked + 7, NULL, 16) & (1ull << (SIGTERM - 1)), 1ull << (SIGTERM - 1));
        free(text);
        log_free(log);
}

static void test_limit(void **state) {
        struct log_limit limit = { 0 };

        assert_int_equal(log_limit_ask(&limit, 5000, 1000), 1);
        assert_int_equal(log_limit_ask(&limit, 5000, 1000), 0);
        assert_int_equal(log_limit_ask(&limit, 5999, 1000), 0);
        assert_int_equal(log_limit_ask(&limit, 6000, 1000), 3);
        assert_int_equal(log_limit_ask(&limit, 6001, 1000), 0);
        assert_int_equal(log_limit_ask(&limit, 99000, 1000), 2);
        assert_int_equal(log_limit_ask(&limit, 199000, 1000), 1);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                LOG_TEST(test_text_line),
                LOG_TEST(test_json_line),
                LOG_TEST(test_injection),
                LOG_TEST(test_level_filter),
                LOG_TEST(test_without_a_thread),
                LOG_TEST(test_file_that_cannot_be_opened),
                LOG_TEST(test_records_while_running),
                LOG_TEST(test_journal_prefix),
                LOG_TEST(test_syslog),
                LOG_TEST(test_blocked_pipe),
                LOG_TEST(test_blocked_socket),
                LOG_TEST(test_stop_of_a_blocked_pipe),
                LOG_TEST(test_stop_of_a_blocked_socket),
                LOG_TEST(test_blocked_before_the_start),
                LOG_TEST(test_stop_of_a_hanging_write),
                LOG_TEST(test_blocked_beside_a_file),
                LOG_TEST(test_reader_gone),
                LOG_TEST(test_disk_full),
                LOG_TEST(test_disk_full_for_a_while),
                LOG_TEST(test_reopen),
                LOG_TEST(test_reopen_that_fails),
                LOG_TEST(test_clone_shares_the_descriptor),
                LOG_TEST(test_four_threads),
                LOG_TEST(test_signals_stay_out),
                LOG_TEST(test_limit),
        };

        alarm(120);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
