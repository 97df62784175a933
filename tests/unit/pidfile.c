/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/background.h"
#include "keeper/pidfile.h"

struct fixture {
        char dir[64];
        char path[96];
};

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        const char *tmp = getenv("TMPDIR");

        snprintf(f->dir, sizeof(f->dir), "%s/spl-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
        if (!mkdtemp(f->dir))
                return -1;
        snprintf(f->path, sizeof(f->path), "%s/spliced.pid", f->dir);
        *state = f;
        return 0;
}

static unsigned files_in(const char *path) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        unsigned n = 0;

        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        unlink(f->path);
        if (rmdir(f->dir) < 0)
                return -1;
        free(f);
        return 0;
}

static void put(const char *path, const char *text) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        fputs(text, file);
        assert_int_equal(fclose(file), 0);
}

static const char *get(const char *path) {
        static char text[64];
        FILE *file = fopen(path, "re");
        size_t n;

        assert_non_null(file);
        n = fread(text, 1, sizeof(text) - 1, file);
        text[n] = '\0';
        fclose(file);
        return text;
}

static void test_write(void **state) {
        struct fixture *f = *state;
        mode_t mask = umask(077);
        char expected[32];
        struct stat st;

        snprintf(expected, sizeof(expected), "%ld\n", (long)getpid());
        assert_int_equal(pidfile_write(f->path), 0);
        umask(mask);
        assert_string_equal(get(f->path), expected);
        assert_int_equal(stat(f->path, &st), 0);
        /* Others may read it, whatever the umask. */
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_int_equal(files_in(f->dir), 1);

        /* A stale one, and a longer one, is replaced. */
        put(f->path, "123456789012345678\nand more\n");
        assert_int_equal(pidfile_write(f->path), 0);
        assert_string_equal(get(f->path), expected);
        pidfile_remove(f->path);
        assert_int_equal(files_in(f->dir), 0);
        pidfile_remove(f->path);
}

static void test_remove_ours_alone(void **state) {
        static const char *const others[] = { "1\n", "", "no number\n", "-1\n" };
        struct fixture *f = *state;

        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                put(f->path, others[i]);
                pidfile_remove(f->path);
                assert_string_equal(get(f->path), others[i]);
        }
}

/* Whoever stops us half-way leaves no file that stops the next start: the number may be the same in a container. */
static void test_left_over(void **state) {
        struct fixture *f = *state;
        char temporary[128];

        snprintf(temporary, sizeof(temporary), "%s.%ld", f->path, (long)getpid());
        put(temporary, "1");
        assert_int_equal(pidfile_write(f->path), 0);
        assert_int_equal(files_in(f->dir), 1);
}

/* The file next to it is never one that somebody else laid out as a link. */
static void test_no_link_is_followed(void **state) {
        struct fixture *f = *state;
        char temporary[128], victim[128];

        snprintf(temporary, sizeof(temporary), "%s.%ld", f->path, (long)getpid());
        snprintf(victim, sizeof(victim), "%s/victim", f->dir);
        put(victim, "precious");
        assert_int_equal(symlink(victim, temporary), 0);
        pidfile_write(f->path);
        assert_string_equal(get(victim), "precious");
        unlink(victim);
        unlink(temporary);
}

static void test_failures(void **state) {
        struct fixture *f = *state;
        char path[PATH_MAX + 10];

        snprintf(path, sizeof(path), "%s/missing/spliced.pid", f->dir);
        assert_int_equal(pidfile_write(path), -ENOENT);
        memset(path, 'a', sizeof(path) - 1);
        path[sizeof(path) - 1] = '\0';
        assert_int_equal(pidfile_write(path), -ENAMETOOLONG);
        /* A directory is no place for it, and nothing is left beside. */
        assert_int_equal(mkdir(f->path, 0755), 0);
        assert_int_equal(pidfile_write(f->path), -EISDIR);
        assert_int_equal(files_in(f->dir), 1);
        assert_int_equal(rmdir(f->path), 0);
}

/* ------------------------------------------------------------ into the background */

/* Runs background_enter() in a child and `daemon` in what splits off.  Returns the child's exit status. */
static int enter(void (*daemon)(int *report, void *arg), void *arg) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                int report = -1;

                if (background_enter(&report, 99) == 0)
                        daemon(&report, arg);
                _exit(98);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void report_status(int *report, void *arg) {
        background_report(report, *(int *)arg);
        /* A second word, and one without anybody to hear it, are harmless. */
        background_report(report, 5);
        _exit(0);
}

static void test_background_status(void **unused) {
        (void)unused;
        for (int status = 0; status < 4; status++)
                assert_int_equal(enter(report_status, &status), status);
}

static void say_nothing(int *report, void *arg) {
        (void)report;
        (void)arg;
        _exit(0);
}

static void die(int *report, void *arg) {
        (void)report;
        (void)arg;
        kill(getpid(), SIGKILL);
}

static void test_background_without_a_word(void **unused) {
        (void)unused;
        assert_int_equal(enter(say_nothing, NULL), 99);
        assert_int_equal(enter(die, NULL), 99);
}

/* Tells the test how the daemon found itself once it had reported. */
static void look_around(int *report, void *arg) {
        char link[64], findings[] = "snd", cwd[8];
        ssize_t n;

        if (getsid(0) != getpid())
                findings[0] = '-';
        background_report(report, 0);
        for (int fd = 0; fd < 3; fd++) {
                char path[32];

                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                n = readlink(path, link, sizeof(link) - 1);
                if (n < 0 || (link[n] = '\0', strcmp(link, "/dev/null") != 0))
                        findings[1] = '-';
        }
        if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, "/") != 0 || *report != -1)
                findings[2] = '-';
        n = write(*(int *)arg, findings, 3);
        _exit(n == 3 ? 0 : 1);
}

static void test_background_daemon(void **unused) {
        char findings[4] = "";
        int ends[2];

        (void)unused;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(enter(look_around, &ends[1]), 0);
        close(ends[1]);
        assert_int_equal(read(ends[0], findings, 3), 3);
        assert_string_equal(findings, "snd");
        close(ends[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_write),
                TEST(test_remove_ours_alone),
                TEST(test_left_over),
                TEST(test_no_link_is_followed),
                TEST(test_failures),
                cmocka_unit_test(test_background_status),
                cmocka_unit_test(test_background_without_a_word),
                cmocka_unit_test(test_background_daemon),
        };

        return cmocka_run_group_tests_name("pidfile", tests, NULL, NULL);
}
