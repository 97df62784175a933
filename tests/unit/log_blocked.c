/* SPDX-License-Identifier: ISC */
/* Targets that block, hang or fail: no caller waits for them, what is lost is told, and stopping comes back. */
#include "log_fixture.h"

#include <sys/un.h>

/* ---- a logging daemon of our own ---- */

static struct {
        char path[108];
        int fd;                         /* a datagram socket that is bound to the path */
        int hang;                       /* a descriptor on which send() blocks, or -1; atomic, as the next */
        int in, back;                   /* how many calls blocked, and came back */
} daemon_ = { .fd = -1, .hang = -1 };

/* In place of libc's: a call that hangs, though it was asked not to wait. */
ssize_t send(int fd, const void *bytes, size_t len, int flags) {
        int hang = __atomic_load_n(&daemon_.hang, __ATOMIC_ACQUIRE);
        char byte;

        if (hang < 0)
                return sendto(fd, bytes, len, flags, NULL, 0);
        __atomic_add_fetch(&daemon_.in, 1, __ATOMIC_RELEASE);
        while (read(hang, &byte, 1) < 0 && errno == EINTR)
                ;
        __atomic_add_fetch(&daemon_.back, 1, __ATOMIC_RELEASE);
        errno = EIO;
        return -1;
}

/* At its path, which the log's thread may be reading. */
static void daemon_bind(void) {
        struct sockaddr_un name = { .sun_family = AF_UNIX };

        unlink(daemon_.path);
        daemon_.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        snprintf(name.sun_path, sizeof(name.sun_path), "%s", daemon_.path);
        assert_int_equal(bind(daemon_.fd, (struct sockaddr *)&name, sizeof(name)), 0);
}

static void daemon_start(void) {
        snprintf(daemon_.path, sizeof(daemon_.path), "%s/daemon", fixture.dir);
        daemon_bind();
}

static void daemon_stop(void) {
        close(daemon_.fd);
        unlink(daemon_.path);
}

/* The next datagram, with a NUL behind it. */
static size_t daemon_take(char *buf, size_t size) {
        struct pollfd ready = { .fd = daemon_.fd, .events = POLLIN };
        ssize_t n;

        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        n = recv(daemon_.fd, buf, size - 1, 0);
        assert_true(n >= 0);
        buf[n] = '\0';
        return (size_t)n;
}

static struct log_target daemon_target(enum log_to to, enum log_format format) {
        return (struct log_target){ .to = to, .format = format, .path = daemon_.path };
}

/* RFC 5424, of a log with and without a thread; and a daemon that is started anew. */
static void test_syslog(void **state) {
        char line[512], host[256] = "", wanted[300];
        struct log_target target;
        struct log *log;
        const char *at;

        daemon_start();
        target = daemon_target(LOG_TO_SYSLOG, LOG_TEXT);
        log = make(&target, LOG_LEVEL_INFO, &off);
        log_error(log, NULL, "before");
        daemon_take(line, sizeof(line));
        assert_ptr_equal(strstr(line, "<27>1 20"), line);
        log_start(log);
        log_warning(log, NULL, "hello %%s");
        daemon_take(line, sizeof(line));
        gethostname(host, sizeof(host) - 1);
        snprintf(wanted, sizeof(wanted), "Z %s spliced %d - - warning: hello %%s", host, (int)getpid());
        assert_ptr_equal(strstr(line, "<28>1 20"), line);
        at = strstr(line, wanted);
        assert_non_null(at);
        assert_string_equal(at, wanted);
        daemon_stop();
        log_info(log, NULL, "lost");
        while (log_dropped(log) < 1)
                usleep(1000);
        daemon_bind();
        log_info(log, NULL, "found");
        do
                daemon_take(line, sizeof(line));
        while (!strstr(line, "info: found"));
        log_free(log);
        daemon_stop();
}

/* One that does not read blocks nobody; what it takes later is whole. */
static void test_syslog_full(void **state) {
        struct log_target target;
        char line[8192];
        struct log *log;
        int taken = 0;

        daemon_start();
        target = daemon_target(LOG_TO_SYSLOG, LOG_TEXT);
        log = make(&target, LOG_LEVEL_INFO, &off);
        log_start(log);
        for (int i = 0; i < 200; i++)
                log_info(log, NULL, "line %d %0500d", i, 0);
        while (taken < 200) {
                char wanted[32];

                daemon_take(line, sizeof(line));
                snprintf(wanted, sizeof(wanted), "info: line %d 0", taken++);
                assert_non_null(strstr(line, wanted));
        }
        assert_int_equal(log_dropped(log), 0);
        log_free(log);
        daemon_stop();
}

static size_t record_format(char *buf, size_t size, const void *data, int json) {
        return (size_t)snprintf(buf, size, json ? "{\"time\": \"t\", \"bytes_up\": 7,"
                                                  " \"end\": \"a\\nb\", \"sni\": null}"
                                                : "a record of %s", (const char *)data);
}

/* The journal's protocol: fields for what the line is about, in both lanes; a value with a newline has its length. */
static void test_journal(void **state) {
        static const char record[] = "MESSAGE=a record of mine\nPRIORITY=6\nSYSLOG_IDENTIFIER=spliced\n"
                                     "SPLICED_BYTES_UP=7\nSPLICED_END\n\3\0\0\0\0\0\0\0a\nb\n";
        struct log_context context = { .frontend = "web", .session = 5 };
        struct log_target target, json;
        char line[1024];
        struct log *log;
        size_t n;

        daemon_start();
        target = daemon_target(LOG_TO_JOURNAL, LOG_TEXT);
        json = daemon_target(LOG_TO_JOURNAL, LOG_JSON);
        log = make(&target, LOG_LEVEL_INFO, &target);
        log_start(log);
        log_error(log, &context, "two\nlines");
        daemon_take(line, sizeof(line));
        assert_string_equal(line, "MESSAGE=error: two\\nlines (frontend=web session=5)\nPRIORITY=3\n"
                                  "SYSLOG_IDENTIFIER=spliced\nSPLICED_FRONTEND=web\nSPLICED_SESSION=5\n");
        log_record(log, record_format, "mine", 5);
        n = daemon_take(line, sizeof(line));
        assert_int_equal(n, sizeof(record) - 1);
        assert_memory_equal(line, record, n);
        log_free(log);
        log = make(&json, LOG_LEVEL_INFO, &off);
        log_info(log, NULL, "hello");
        daemon_take(line, sizeof(line));
        assert_ptr_equal(strstr(line, "MESSAGE={\"time\":"), line);
        assert_non_null(strstr(line, "\"message\":\"hello\"}\nPRIORITY=6\n"));
        log_free(log);
        daemon_stop();
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
        struct log_target target;
        unsigned threads = count_threads();
        struct log *log;
        int fds[2];

        daemon_start();
        target = daemon_target(LOG_TO_SYSLOG, LOG_TEXT);
        log = make(&target, LOG_LEVEL_INFO, &off);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        __atomic_store_n(&daemon_.hang, fds[0], __ATOMIC_RELEASE);
        log_start(log);
        log_info(log, NULL, "line");
        while (!__atomic_load_n(&daemon_.in, __ATOMIC_ACQUIRE))
                usleep(1000);
        for (int i = 1; i < 10; i++)
                log_info(log, NULL, "line");
        log_stop(log, 20);
        assert_true(log_dropped(log) >= 9);
        log_info(log, NULL, "nobody hangs in this one");
        assert_null(log_free(log));
        assert_int_equal(__atomic_load_n(&daemon_.back, __ATOMIC_ACQUIRE), 0);
        close(fds[1]);
        await_threads(threads);
        assert_true(__atomic_load_n(&daemon_.back, __ATOMIC_ACQUIRE) >= 1);
        __atomic_store_n(&daemon_.hang, -1, __ATOMIC_RELEASE);
        close(fds[0]);
        daemon_stop();
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
                LOG_TEST(test_syslog_full),
                LOG_TEST(test_journal),
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
