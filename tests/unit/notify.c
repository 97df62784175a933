/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "child.h"
#include "keeper/notify.h"

/* A manager's socket, abstract so that nothing is left behind. */
struct fixture {
        int fd;
        char message[1024];
};

static int setup(void **state) {
        static struct fixture fixture;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        socklen_t len;
        char name[64];

        fixture = (struct fixture){ .fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                          (size_t)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "spliced-notify-%ld",
                                           (long)getpid()));
        if (fixture.fd < 0 || bind(fixture.fd, (struct sockaddr *)&un, len) < 0)
                return -1;
        snprintf(name, sizeof(name), "@spliced-notify-%ld", (long)getpid());
        setenv("NOTIFY_SOCKET", name, 1);
        *state = &fixture;
        return 0;
}

static int teardown(void **state) {
        struct fixture *fixture = *state;

        close(fixture->fd);
        unsetenv("NOTIFY_SOCKET");
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        return 0;
}

/* What has arrived: datagrams on one machine are there when send() returns. */
static const char *message(struct fixture *fixture) {
        ssize_t n = recv(fixture->fd, fixture->message, sizeof(fixture->message) - 1, MSG_DONTWAIT);

        fixture->message[n < 0 ? 0 : n] = '\0';
        return fixture->message;
}

static void test_messages(void **state) {
        struct fixture *fixture = *state;
        char why[NOTIFY_WHY];

        assert_int_equal(notify_check(why), 0);
        assert_true(notify_built_in());
        assert_int_equal(notify_ready(), 0);
        assert_string_equal(message(fixture), "READY=1");
        assert_int_equal(notify_stopping(), 0);
        assert_string_equal(message(fixture), "STOPPING=1");
        assert_int_equal(notify_extend_timeout(2500), 0);
        assert_string_equal(message(fixture), "EXTEND_TIMEOUT_USEC=2500000");
        assert_int_equal(notify_mainpid(4711), 0);
        assert_string_equal(message(fixture), "MAINPID=4711");
        assert_int_equal(notify_watchdog(), 0);
        assert_string_equal(message(fixture), "WATCHDOG=1");
        assert_string_equal(message(fixture), "");
}

static int64_t now_us(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void test_reloading(void **state) {
        int64_t before = now_us(), at = 0;

        assert_int_equal(notify_reloading(), 0);
        assert_int_equal(sscanf(message(*state), "RELOADING=1\nMONOTONIC_USEC=%" SCNd64, &at), 1);
        assert_true(at >= before && at <= now_us());
}

/* No text makes a line of its own. */
static void test_status(void **state) {
        char longer[2000];

        assert_int_equal(notify_status("%d sessions%s", 7, "\nMAINPID=1\r\x7f"), 0);
        assert_string_equal(message(*state), "STATUS=7 sessions MAINPID=1  ");
        memset(longer, 'x', sizeof(longer));
        longer[sizeof(longer) - 1] = '\0';
        assert_int_equal(notify_status("%s", longer), 0);
        assert_memory_equal(message(*state), "STATUS=xxx", 10);
}

static void test_no_manager(void **state) {
        unsetenv("NOTIFY_SOCKET");
        assert_int_equal(notify_ready(), 0);
        assert_int_equal(notify_status("x"), 0);
        assert_string_equal(message(*state), "");
        setenv("NOTIFY_SOCKET", "@spliced-nobody-is-there", 1);
        assert_true(notify_ready() < 0);
}

static void test_watchdog(void **state) {
        char pid[32];

        (void)state;
        assert_int_equal(notify_watchdog_ms(), 0);
        setenv("WATCHDOG_USEC", "30000000", 1);
        assert_int_equal(notify_watchdog_ms(), 30000);
        setenv("WATCHDOG_PID", "1", 1);
        assert_int_equal(notify_watchdog_ms(), 0);
        snprintf(pid, sizeof(pid), "%ld", (long)getpid());
        setenv("WATCHDOG_PID", pid, 1);
        assert_int_equal(notify_watchdog_ms(), 30000);
        setenv("WATCHDOG_USEC", "1", 1);
        assert_int_equal(notify_watchdog_ms(), 1);
        setenv("WATCHDOG_USEC", "rubbish", 1);
        assert_int_equal(notify_watchdog_ms(), 0);
}

static int listening(int domain, int type) {
        int fd = socket(domain, type, 0);

        CHECK(fd >= 0);
        if (domain == AF_INET) {
                struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

                CHECK(bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
        } else {
                struct sockaddr_un un = { .sun_family = AF_UNIX };

                CHECK(bind(fd, (struct sockaddr *)&un, sizeof(sa_family_t)) == 0);
        }
        CHECK(listen(fd, 5) == 0);
        return fd;
}

/* Puts n descriptors where a manager puts them. */
static void pass(const int *fds, int n, const char *names, pid_t for_pid) {
        int moved[16];
        char text[32];

        for (int i = 0; i < n; i++) {
                moved[i] = fcntl(fds[i], F_DUPFD, 100);
                CHECK(moved[i] >= 100);
        }
        for (int i = 0; i < n; i++)
                CHECK(dup2(moved[i], NOTIFY_FIRST_FD + i) >= 0);
        snprintf(text, sizeof(text), "%d", n);
        setenv("LISTEN_FDS", text, 1);
        snprintf(text, sizeof(text), "%ld", (long)for_pid);
        setenv("LISTEN_PID", text, 1);
        if (names)
                setenv("LISTEN_FDNAMES", names, 1);
}

static void child_sockets(void *arg) {
        int fds[7] = {
                listening(AF_INET, SOCK_STREAM), listening(AF_UNIX, SOCK_STREAM), listening(AF_INET, SOCK_STREAM),
                listening(AF_INET, SOCK_STREAM), socket(AF_INET, SOCK_DGRAM, 0), listening(AF_UNIX, SOCK_SEQPACKET),
                socket(AF_INET, SOCK_STREAM, 0),
        };
        struct notify_sockets sockets;
        char why[NOTIFY_WHY] = "";

        (void)arg;
        pass(fds, 7, "web:local:two:two:udp:packets:idle", getpid());
        CHECK(notify_sockets_take(&sockets) == 0 && sockets.n == 7);
        CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
        CHECK(notify_listen_fd(&sockets, "web", why) == 3);
        CHECK(notify_listen_fd(&sockets, "web", why) == 3);
        CHECK((fcntl(3, F_GETFL) & O_NONBLOCK) && (fcntl(3, F_GETFD) & FD_CLOEXEC));
        CHECK(notify_listen_fd(&sockets, "local", why) == 4);
        CHECK(fcntl(9, F_GETFD) & FD_CLOEXEC);

        CHECK(notify_listen_fd(&sockets, "two", why) == -ENOTUNIQ && strstr(why, "two (5), two (6)"));
        CHECK(notify_listen_fd(&sockets, "5", why) == 5);
        CHECK(notify_listen_fd(&sockets, "6", why) == 6);

        CHECK(notify_listen_fd(&sockets, "absent", why) == -ENOENT && strstr(why, "absent") && strstr(why, "web (3)"));
        CHECK(notify_listen_fd(&sockets, "2", why) == -ENOENT);
        CHECK(notify_listen_fd(&sockets, "10", why) == -ENOENT);
        CHECK(notify_listen_fd(&sockets, "3x", why) == -ENOENT);
        CHECK(notify_listen_fd(&sockets, "", why) == -ENOENT);

        CHECK(notify_listen_fd(&sockets, "udp", why) == -EINVAL && strstr(why, "ListenStream"));
        CHECK(notify_listen_fd(&sockets, "packets", why) == -EINVAL);
        CHECK(notify_listen_fd(&sockets, "idle", why) == -EINVAL);
        notify_sockets_free(&sockets);
        notify_sockets_free(&sockets);
}

/* They are for one process; what is at those numbers in another is something else. */
static void child_other_pid(void *arg) {
        int fd = listening(AF_INET, SOCK_STREAM);
        struct notify_sockets sockets;
        char why[NOTIFY_WHY] = "";

        (void)arg;
        pass(&fd, 1, "web", getppid());
        CHECK(notify_sockets_take(&sockets) == 0 && sockets.n == 0);
        CHECK(!getenv("LISTEN_FDS"));
        CHECK(notify_listen_fd(&sockets, "web", why) == -ENOENT && strstr(why, "none at all"));
        CHECK(notify_listen_fd(&sockets, "3", why) == -ENOENT);
        notify_sockets_free(&sockets);
}

static void child_nameless(void *arg) {
        int fd = listening(AF_INET, SOCK_STREAM);
        struct notify_sockets sockets;
        char why[NOTIFY_WHY] = "";

        (void)arg;
        pass(&fd, 1, NULL, getpid());
        CHECK(notify_sockets_take(&sockets) == 0 && sockets.n == 1);
        CHECK(notify_listen_fd(&sockets, "3", why) == 3);
        notify_sockets_free(&sockets);
}

static void child_rubbish(void *arg) {
        struct notify_sockets sockets;
        char pid[32];

        (void)arg;
        snprintf(pid, sizeof(pid), "%ld", (long)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "rubbish", 1);
        CHECK(notify_sockets_take(&sockets) < 0 && sockets.n == 0);
        notify_sockets_free(&sockets);
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        close(NOTIFY_FIRST_FD);
        CHECK(notify_sockets_take(&sockets) == -EBADF && sockets.n == 0);
        notify_sockets_free(&sockets);
}

#define CHILD_TEST(name) static void test_##name(void **unused) { (void)unused; assert_child(child_##name, NULL); }

CHILD_TEST(sockets)
CHILD_TEST(other_pid)
CHILD_TEST(nameless)
CHILD_TEST(rubbish)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reloading, setup, teardown),
                cmocka_unit_test_setup_teardown(test_status, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_manager, setup, teardown),
                cmocka_unit_test_setup_teardown(test_watchdog, setup, teardown),
                cmocka_unit_test(test_sockets),
                cmocka_unit_test(test_other_pid),
                cmocka_unit_test(test_nameless),
                cmocka_unit_test(test_rubbish),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
