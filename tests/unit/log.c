/* SPDX-License-Identifier: ISC */
/* The log as its callers see it: lines, files that are opened again, processes and threads that share it. */
#include "log_fixture.h"

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

/* ---- reopening ---- */

/* A file whose last line was cut short by a killed writer: the next one begins with a line of its own. */
static void test_torn_file(void **state) {
        struct log_target target = file_target(LOG_TEXT);
        FILE *file = fopen(fixture.path, "w");
        struct log *log;
        char *text;

        assert_non_null(file);
        fputs("whole\nhalf", file);
        fclose(file);
        for (int i = 0; i < 2; i++) {
                log = make(&target, LOG_LEVEL_INFO, &off);
                log_info(log, NULL, "next");
                log_free(log);
        }
        text = slurp(fixture.path);
        assert_ptr_equal(strstr(text, "whole\nhalf\n2"), text);
        assert_null(strstr(text, "\n\n"));
        free(text);
}

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
                LOG_TEST(test_torn_file),
                LOG_TEST(test_reopen),
                LOG_TEST(test_reopen_that_fails),
                LOG_TEST(test_clone_shares_the_descriptor),
                LOG_TEST(test_four_threads),
                LOG_TEST(test_signals_stay_out),
                LOG_TEST(test_limit),
        };

        prepare();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
