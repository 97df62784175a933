/* SPDX-License-Identifier: ISC */
/* Targets that block, hang or fail: no caller waits for them, what is lost is told, and stopping comes back. */
#include "log_fixture.h"

static const struct log_target to_syslog = { .to = LOG_TO_SYSLOG };

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

int main(void) {
        const struct CMUnitTest tests[] = {
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
        };

        prepare();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
