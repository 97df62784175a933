/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "child.h"
#include "keeper/privilege.h"

#define SOME_UID 4711
#define SOME_GID 4712
#define CAP(cap) (UINT64_C(1) << (cap))

static const struct privilege nobody = { .uid = (uid_t)-1, .gid = (gid_t)-1 };

/* A line of /proc/self/status, as a hexadecimal number. */
static uint64_t status_of(const char *path, const char *key) {
        char line[256];
        uint64_t value = UINT64_MAX;
        size_t len = strlen(key);
        FILE *file = fopen(path, "re");

        CHECK(file != NULL);
        while (fgets(line, sizeof(line), file))
                if (strncmp(line, key, len) == 0 && line[len] == ':')
                        value = strtoull(line + len + 1, NULL, 16);
        fclose(file);
        return value;
}

static void check_caps(uint64_t caps) {
        CHECK(status_of("/proc/self/status", "CapEff") == caps);
        CHECK(status_of("/proc/self/status", "CapPrm") == caps);
        CHECK(status_of("/proc/self/status", "CapInh") == caps);
        CHECK(status_of("/proc/self/status", "CapAmb") == caps);
        CHECK(status_of("/proc/self/status", "NoNewPrivs") == 1);
}

static struct privilege some(void) {
        return (struct privilege){ .uid = SOME_UID, .gid = SOME_GID, .groups = { SOME_GID, 4713 }, .n_groups = 2 };
}

static void drop(unsigned needs, uint64_t caps) {
        struct privilege privilege = some();
        char why[PRIVILEGE_WHY] = "";
        gid_t groups[8];

        CHECK(privilege_drop(&privilege, needs, why) == 0);
        CHECK(getuid() == SOME_UID && geteuid() == SOME_UID && getgid() == SOME_GID && getegid() == SOME_GID);
        CHECK(getgroups(8, groups) == 2 && groups[0] == SOME_GID && groups[1] == 4713);
        check_caps(caps);
        CHECK(status_of("/proc/self/status", "CapBnd") == caps);
}

static int bind_port(uint16_t port) {
        struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, r;

        CHECK(fd >= 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        r = bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ? errno : 0;
        close(fd);
        return r == EADDRINUSE ? 0 : r;
}

static int set_mark(void) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), mark = 1, r;

        r = setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ? errno : 0;
        close(fd);
        return r;
}

/* Every way back is closed. */
static void check_no_way_back(void) {
        CHECK(setuid(0) < 0 && errno == EPERM);
        CHECK(setresuid(0, 0, 0) < 0 && errno == EPERM);
        CHECK(setgid(0) < 0 && errno == EPERM);
        CHECK(setgroups(0, NULL) < 0 && errno == EPERM);
        CHECK(prctl(PR_CAP_AMBIENT, (long)PR_CAP_AMBIENT_RAISE, (long)CAP_SYS_ADMIN, 0L, 0L) < 0);
        CHECK(prctl(PR_SET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) < 0);
        CHECK(open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0);
}

static void child_drop(void *arg) {
        (void)arg;
        drop(PRIVILEGE_BIND, CAP(CAP_NET_BIND_SERVICE));
        check_no_way_back();
        CHECK(bind_port(81) == 0);
        CHECK(set_mark() == EPERM);
        CHECK(prctl(PR_GET_DUMPABLE) == 1);
        CHECK(prctl(PR_GET_KEEPCAPS) == 0);
}

static void child_drop_raw(void *arg) {
        (void)arg;
        drop(PRIVILEGE_BIND | PRIVILEGE_RAW, CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_NET_RAW));
        CHECK(set_mark() == 0);
}

static void child_drop_admin(void *arg) {
        (void)arg;
        drop(PRIVILEGE_BIND | PRIVILEGE_ADMIN, CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_NET_ADMIN));
}

static void child_drop_nothing_needed(void *arg) {
        (void)arg;
        drop(0, 0);
        CHECK(bind_port(81) == EACCES);
}

/* What is kept is still there in the program that an upgrade executes. */
static void child_drop_exec(void *arg) {
        (void)arg;
        drop(PRIVILEGE_BIND, CAP(CAP_NET_BIND_SERVICE));
        execl("/bin/sh", "sh", "-c", "while read -r key value; do case $key$value in "
              "CapEff:0000000000000400) exit 0 ;; esac; done </proc/self/status; exit 1", (char *)NULL);
        CHECK(0);
}

/* A worker is made by a bare clone(), and may give up what only the keeper needs. */
static void child_drop_again(void *arg) {
        struct privilege privilege = some();
        char why[PRIVILEGE_WHY] = "";
        int status = -1;
        pid_t pid;

        (void)arg;
        drop(PRIVILEGE_BIND | PRIVILEGE_RAW, CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_NET_RAW));
        pid = (pid_t)syscall(SYS_clone, (long)(CLONE_FILES | SIGCHLD), 0L, 0L, 0L, 0L);
        CHECK(pid >= 0);
        if (pid == 0) {
                CHECK(privilege_drop(&privilege, PRIVILEGE_BIND, why) == 0);
                check_caps(CAP(CAP_NET_BIND_SERVICE));
                CHECK(privilege_drop(&privilege, PRIVILEGE_RAW, why) == PRIVILEGE_LACKS);
                CHECK(strstr(why, "CAP_NET_RAW") != NULL);
                check_caps(0);
                _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        check_caps(CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_NET_RAW));
}

/* Cores stay possible: a process that is not dumpable has a /proc that belongs to root. */
static void child_drop_pdeathsig(void *arg) {
        int signal = -1;

        (void)arg;
        CHECK(prctl(PR_SET_PDEATHSIG, (long)SIGKILL) == 0);
        drop(PRIVILEGE_BIND, CAP(CAP_NET_BIND_SERVICE));
        CHECK(prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal == 0);
        CHECK(open("/proc/self/mem", O_RDONLY | O_CLOEXEC) >= 0);
}

static void child_group_alone(void *arg) {
        struct privilege privilege = { .uid = (uid_t)-1, .gid = SOME_GID, .groups = { SOME_GID }, .n_groups = 1 };
        char why[PRIVILEGE_WHY] = "";

        (void)arg;
        CHECK(privilege_drop(&privilege, PRIVILEGE_BIND, why) == 0);
        CHECK(getuid() == 0 && getgid() == SOME_GID);
        check_caps(CAP(CAP_NET_BIND_SERVICE));
}

static void child_root_unset(void *arg) {
        uint64_t before = status_of("/proc/self/status", "CapEff");
        char why[PRIVILEGE_WHY] = "";

        (void)arg;
        CHECK(privilege_drop(&nobody, PRIVILEGE_BIND, why) == 0);
        CHECK(getuid() == 0 && status_of("/proc/self/status", "CapEff") == before);
        CHECK(status_of("/proc/self/status", "NoNewPrivs") == 0);
}

static void become_plain(void) {
        if (geteuid() != 0)
                return;
        CHECK(setgroups(0, NULL) == 0);
        CHECK(setresgid(SOME_GID, SOME_GID, SOME_GID) == 0 && setresuid(SOME_UID, SOME_UID, SOME_UID) == 0);
}

/* As any user: nothing set is fine, what we are already is fine, anything else is refused. */
static void child_plain(void *arg) {
        struct privilege privilege = { .uid = SOME_UID + 1, .gid = (gid_t)-1 };
        char why[PRIVILEGE_WHY] = "";
        gid_t groups[64];
        int n;

        (void)arg;
        become_plain();
        n = getgroups(64, groups);
        CHECK(privilege_drop(&privilege, PRIVILEGE_BIND, why) == -EPERM);
        CHECK(strstr(why, "root") != NULL);
        privilege = (struct privilege){ .uid = (uid_t)-1, .gid = SOME_GID + 1, .groups = { 1 }, .n_groups = 1 };
        CHECK(privilege_drop(&privilege, PRIVILEGE_BIND, why) == -EPERM);

        privilege = (struct privilege){ .uid = getuid(), .gid = getgid(), .groups = { 0 }, .n_groups = 1 };
        CHECK(privilege_drop(&privilege, PRIVILEGE_BIND, why) == 0);
        CHECK(getgroups(64, groups) == n);
        CHECK(privilege_drop(&nobody, PRIVILEGE_BIND, why) == 0);
        check_caps(0);
        CHECK(privilege_drop(&nobody, PRIVILEGE_ADMIN, why) == PRIVILEGE_LACKS);
        CHECK(strstr(why, "CAP_NET_ADMIN") != NULL);
}

static void run(void (*fn)(void *), int as_root) {
        if (as_root && geteuid() != 0)
                skip();
        assert_child(fn, NULL);
}

#define ROOT_TEST(name) static void test_##name(void **unused) { (void)unused; run(child_##name, 1); }

ROOT_TEST(drop)
ROOT_TEST(drop_raw)
ROOT_TEST(drop_admin)
ROOT_TEST(drop_nothing_needed)
ROOT_TEST(drop_exec)
ROOT_TEST(drop_again)
ROOT_TEST(drop_pdeathsig)
ROOT_TEST(group_alone)
ROOT_TEST(root_unset)

static void test_plain(void **unused) {
        (void)unused;
        run(child_plain, 0);
}

static void test_lookup(void **unused) {
        struct privilege privilege;
        char why[PRIVILEGE_WHY] = "";
        struct passwd *daemon_user = getpwnam("daemon");
        struct group *adm = getgrnam("adm");
        char number[16];

        (void)unused;
        assert_int_equal(privilege_lookup(&privilege, NULL, NULL, why), 0);
        assert_true(privilege.uid == (uid_t)-1 && privilege.gid == (gid_t)-1 && privilege.n_groups == 0);
        if (!daemon_user || !adm)
                skip();

        assert_int_equal(privilege_lookup(&privilege, "daemon", NULL, why), 0);
        assert_int_equal(privilege.uid, daemon_user->pw_uid);
        assert_int_equal(privilege.gid, daemon_user->pw_gid);
        assert_in_range(privilege.n_groups, 1, PRIVILEGE_GROUPS);
        assert_int_equal(privilege.groups[0], privilege.gid);

        assert_int_equal(privilege_lookup(&privilege, "daemon", "adm", why), 0);
        assert_int_equal(privilege.uid, daemon_user->pw_uid);
        assert_int_equal(privilege.gid, adm->gr_gid);

        assert_int_equal(privilege_lookup(&privilege, NULL, "adm", why), 0);
        assert_true(privilege.uid == (uid_t)-1);
        assert_int_equal(privilege.n_groups, 1);

        snprintf(number, sizeof(number), "%u", (unsigned)daemon_user->pw_uid);
        assert_int_equal(privilege_lookup(&privilege, number, NULL, why), 0);
        assert_int_equal(privilege.uid, daemon_user->pw_uid);
        assert_int_equal(privilege.gid, daemon_user->pw_gid);
}

static void test_lookup_numbers(void **unused) {
        struct privilege privilege;
        char why[PRIVILEGE_WHY] = "";

        (void)unused;
        assert_int_equal(privilege_lookup(&privilege, "3999999999", "3999999998", why), 0);
        assert_true(privilege.uid == 3999999999U && privilege.gid == 3999999998U);
        assert_int_equal(privilege.n_groups, 1);
        assert_int_equal(privilege_lookup(&privilege, "3999999999", NULL, why), -EINVAL);
        assert_non_null(strstr(why, "3999999999"));
        assert_non_null(strstr(why, "group"));
        /* These mean "unchanged" to the kernel, or nothing. */
        assert_int_equal(privilege_lookup(&privilege, "4294967295", "0", why), -EINVAL);
        assert_int_equal(privilege_lookup(&privilege, "4294967296", "0", why), -EINVAL);
        assert_int_equal(privilege_lookup(&privilege, "0", "-1", why), -EINVAL);
}

static void test_lookup_unknown(void **unused) {
        struct privilege privilege;
        char why[PRIVILEGE_WHY] = "";

        (void)unused;
        assert_int_equal(privilege_lookup(&privilege, "no-such-user", NULL, why), -EINVAL);
        assert_string_equal(why, "there is no user no-such-user; make it or use a number");
        assert_int_equal(privilege_lookup(&privilege, NULL, "no-such-group", why), -EINVAL);
        assert_string_equal(why, "there is no group no-such-group; make it or use a number");
        assert_int_equal(privilege_lookup(&privilege, "1x", NULL, why), -EINVAL);
        assert_int_equal(privilege_lookup(&privilege, "", NULL, why), -EINVAL);
}

static unsigned needed(const char *listener, const char *server) {
        char text[512];
        struct conf *conf = NULL;
        unsigned needs;
        int len = snprintf(text, sizeof(text), "frontend \"f\" { listen \"127.0.0.1:8080\" { socket { %s } }\n"
                           "backend = \"b\" }\n"
                           "backend \"b\" { server \"s\" { address = \"127.0.0.1:1\"\nsocket { %s } } }\n",
                           listener, server);

        assert_int_equal(conf_load_text(&conf, "test", text, (size_t)len, stderr), 0);
        needs = privilege_needed(conf);
        conf_free(conf);
        return needs;
}

static void test_needed(void **unused) {
        (void)unused;
        assert_int_equal(needed("", ""), PRIVILEGE_BIND);
        assert_int_equal(needed("nodelay = off", "keepalive = off  freebind = on  priority = 6"), PRIVILEGE_BIND);
        assert_int_equal(needed("mark = 1", ""), PRIVILEGE_BIND | PRIVILEGE_RAW);
        assert_int_equal(needed("", "mark = 1"), PRIVILEGE_BIND | PRIVILEGE_RAW);
        assert_int_equal(needed("device = \"lo\"", ""), PRIVILEGE_BIND | PRIVILEGE_RAW);
        assert_int_equal(needed("transparent = on", ""), PRIVILEGE_BIND | PRIVILEGE_RAW);
        assert_int_equal(needed("transparent = off", ""), PRIVILEGE_BIND);
        assert_int_equal(needed("", "priority = 7"), PRIVILEGE_BIND | PRIVILEGE_RAW);
        assert_int_equal(needed("busy-poll = 50", ""), PRIVILEGE_BIND | PRIVILEGE_ADMIN);
        assert_int_equal(needed("congestion = \"nonesuch\"", ""), PRIVILEGE_BIND | PRIVILEGE_ADMIN);
        if (access("/proc/sys/net/ipv4/tcp_allowed_congestion_control", R_OK) == 0)
                assert_int_equal(needed("congestion = \"reno\"", ""), PRIVILEGE_BIND);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lookup),
                cmocka_unit_test(test_lookup_numbers),
                cmocka_unit_test(test_lookup_unknown),
                cmocka_unit_test(test_needed),
                cmocka_unit_test(test_drop),
                cmocka_unit_test(test_drop_raw),
                cmocka_unit_test(test_drop_admin),
                cmocka_unit_test(test_drop_nothing_needed),
                cmocka_unit_test(test_drop_exec),
                cmocka_unit_test(test_drop_again),
                cmocka_unit_test(test_drop_pdeathsig),
                cmocka_unit_test(test_group_alone),
                cmocka_unit_test(test_root_unset),
                cmocka_unit_test(test_plain),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
