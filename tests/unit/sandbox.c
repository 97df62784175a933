/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

#include "base/log.h"
#include "child.h"
#include "dns_liar.h"
#include "health/dns.h"
#include "net/addr.h"
#include "net/listener.h"
#include "worker/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#else
#define SANITIZER 0
#endif

/* A directory with one for logs, one for sockets and one that is nobody's business. */
struct fixture {
        char dir[64], logs[80], sockets[80], secret[80], path[128];
        struct dns_liar *liar;          /* a name server, where a test started one */
};

static int setup(void **state) {
        static struct fixture f;
        FILE *file;

        f = (struct fixture){ .dir = "/tmp/spl-sandbox-XXXXXX" };
        if (!mkdtemp(f.dir))
                return -1;
        snprintf(f.logs, sizeof(f.logs), "%s/logs", f.dir);
        snprintf(f.sockets, sizeof(f.sockets), "%s/sockets", f.dir);
        snprintf(f.secret, sizeof(f.secret), "%s/secret", f.dir);
        snprintf(f.path, sizeof(f.path), "%s/secret/file", f.dir);
        if (mkdir(f.logs, 0700) < 0 || mkdir(f.sockets, 0700) < 0 || mkdir(f.secret, 0700) < 0)
                return -1;
        file = fopen(f.path, "we");
        if (!file)
                return -1;
        fclose(file);
        *state = &f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
        return system(command);
}

static struct sandbox_report enter(const struct fixture *f) {
        const struct sandbox_path paths[] = {
                { f->logs, SANDBOX_WRITE | SANDBOX_REPLACE | SANDBOX_READ },
                { f->sockets, SANDBOX_SOCKETS },
        };
        const struct sandbox_rules rules = { .paths = paths, .n_paths = 2 };
        struct sandbox_report report;

        CHECK(sandbox_enter(&rules, &report) == 0);
        CHECK(report.missing == NULL);
        return report;
}

#define REFUSED(call) \
        do { \
                errno = 0; \
                CHECK((call) < 0); \
                CHECK(errno == EPERM); \
        } while (0)

static void child_refused(void *arg) {
        char *const argv[] = { (char *)"true", NULL };

        if (!enter(arg).seccomp)
                return;
        REFUSED(execve("/bin/true", argv, argv));
        REFUSED(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, argv, 0));
        REFUSED(syscall(SYS_fork));
        REFUSED(mount("none", "/mnt", "tmpfs", 0, NULL));
        REFUSED(unshare(CLONE_NEWUSER));
        REFUSED(chroot("/"));
        REFUSED(syscall(SYS_bpf, 0, NULL, 0));
        REFUSED(syscall(SYS_setuid, 1));
        REFUSED(syscall(SYS_io_uring_setup, 1, NULL));
        REFUSED(syscall(SYS_seccomp, 0, 0, NULL));
        REFUSED(mkdir("/tmp/spl-never", 0700));
        REFUSED(setpriority(PRIO_USER, 0, 5));
        REFUSED(setpriority(PRIO_PROCESS, (id_t)getpid(), 5));
        CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
        CHECK(system("true") != 0);
        if (!SANITIZER) {
                REFUSED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
                REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
                REFUSED((long)fork());
                errno = 0;
                CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                      MAP_FAILED && errno == EPERM);
                CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
        }
        CHECK(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
        /* Of a kernel that is yet to come. */
        CHECK(syscall(4095) < 0 && errno == ENOSYS);
        CHECK(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS);
        CHECK(socket(AF_VSOCK, SOCK_STREAM, 0) < 0 && errno == ENOSYS);
        CHECK(ioctl(0, TIOCSTI, "x") < 0 && errno == ENOSYS);
        REFUSED(kill(1, 0));
        REFUSED(kill(0, 0));
        REFUSED(kill(-1, 0));
        REFUSED(syscall(SYS_tgkill, getppid(), getppid(), 0));
        CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) == 0);
        CHECK(kill(getpid(), 0) == 0);
        /* The parent may be another user's, but the filter lets it through. */
        CHECK(kill(getppid(), 0) == 0 || errno == EPERM);
        CHECK(prlimit(getppid(), RLIMIT_NOFILE, NULL, NULL) < 0);
}

static int opens(const char *path, int flags) {
        int fd = open(path, flags | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        close(fd);
        return 0;
}

static void child_files(void *arg) {
        const struct fixture *f = arg;
        char path[128], other[128];

        if (!enter(f).landlock)
                return;
        CHECK(opens(f->path, O_RDONLY) == -EACCES);
        CHECK(opens(f->path, O_WRONLY) == -EACCES);
        CHECK(opens(f->secret, O_RDONLY | O_DIRECTORY) == -EACCES);
        CHECK(opens(f->dir, O_RDONLY | O_DIRECTORY) == -EACCES);
        CHECK(opens("/", O_RDONLY | O_DIRECTORY) == -EACCES);
        CHECK(opens("/bin/true", O_RDONLY) == -EACCES);
        CHECK(opens("/etc/spl-never", O_WRONLY | O_CREAT) == -EACCES);
        CHECK(unlink(f->path) < 0 && errno == EACCES);
        snprintf(path, sizeof(path), "/proc/%ld/mem", (long)getppid());
        CHECK(opens(path, O_RDONLY) == -EACCES);

        CHECK(opens("/etc/hosts", O_RDONLY) == 0 || errno == ENOENT);
        CHECK(opens("/proc/self/status", O_RDONLY) == 0);
        CHECK(opens("/dev/null", O_RDWR) == 0);

        snprintf(path, sizeof(path), "%s/a.log", f->logs);
        snprintf(other, sizeof(other), "%s/b.log", f->logs);
        CHECK(opens(path, O_WRONLY | O_CREAT | O_APPEND) == 0);
        CHECK(rename(path, other) == 0);
        CHECK(opens(path, O_WRONLY | O_CREAT | O_TRUNC) == 0);
        CHECK(unlink(other) == 0);
        snprintf(other, sizeof(other), "%s/a.log", f->sockets);
        CHECK(opens(other, O_WRONLY | O_CREAT) == -EACCES);
        CHECK(rename(path, other) < 0);
}

static void *thread_main(void *arg) {
        atomic_int *count = arg;

        CHECK(pthread_setname_np(pthread_self(), "loop") == 0);
        sched_yield();
        atomic_fetch_add(count, 1);
        return NULL;
}

static void child_threads(void *arg) {
        atomic_int count = 0;
        pthread_t threads[4];
        cpu_set_t cpus;

        enter(arg);
        for (int i = 0; i < 4; i++)
                CHECK(pthread_create(&threads[i], NULL, thread_main, &count) == 0);
        for (int i = 0; i < 4; i++)
                CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(atomic_load(&count) == 4);
        CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
        CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
        CHECK(pthread_kill(pthread_self(), 0) == 0);
}

static void child_sockets(void *arg) {
        int pair[2], ends[2], fd, client, on = 1, unsent;
        struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t len = sizeof(sin);
        char buf[16];

        enter(arg);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
        CHECK(fcntl(ends[0], F_SETPIPE_SZ, 65536) >= 65536);
        CHECK(send(pair[0], "hello", 5, MSG_NOSIGNAL) == 5);
        CHECK(splice(pair[1], NULL, ends[1], NULL, 5, SPLICE_F_NONBLOCK) == 5);
        CHECK(splice(ends[0], NULL, pair[1], NULL, 5, SPLICE_F_NONBLOCK) == 5);
        CHECK(recv(pair[0], buf, sizeof(buf), 0) == 5);
        CHECK(ioctl(pair[0], TIOCOUTQ, &unsent) == 0 && unsent == 0);

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
        CHECK(bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 && listen(fd, 5) == 0);
        CHECK(getsockname(fd, (struct sockaddr *)&sin, &len) == 0);
        client = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(client, (struct sockaddr *)&sin, sizeof(sin)) == 0);
        CHECK(accept4(fd, NULL, NULL, SOCK_CLOEXEC) >= 0);
        CHECK(shutdown(client, SHUT_WR) == 0);
        CHECK(socket(AF_INET6, SOCK_STREAM, 0) >= 0 || errno == EAFNOSUPPORT);
        CHECK(close_range(200, 300, 0) == 0);
}

static void child_events(void *arg) {
        struct itimerspec soon = { .it_value = { .tv_nsec = 1000 } };
        struct timespec now, nap = { .tv_nsec = 1000 };
        struct rlimit limit;
        sigset_t set;
        uint64_t n;
        int fd;

        enter(arg);
        fd = eventfd(1, EFD_CLOEXEC);
        CHECK(fd >= 0 && read(fd, &n, sizeof(n)) == sizeof(n));
        fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        CHECK(fd >= 0 && timerfd_settime(fd, 0, &soon, NULL) == 0 && read(fd, &n, sizeof(n)) == sizeof(n));
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
        CHECK(raise(SIGUSR1) == 0);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        CHECK(fd >= 0 && read(fd, (struct signalfd_siginfo[1]){ 0 }, sizeof(struct signalfd_siginfo)) > 0);
        CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && nanosleep(&nap, NULL) == 0);
        CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && setrlimit(RLIMIT_NOFILE, &limit) == 0);
        CHECK(prctl(PR_SET_PDEATHSIG, (long)SIGKILL) == 0 && prctl(PR_SET_DUMPABLE, 1L) == 0);
        fd = memfd_create("spliced", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
        CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
}

static void resolver_done(void *arg, const struct dns_answer *answer) {
        *(struct dns_answer *)arg = *answer;
}

/* Looking names up reads files and asks name servers, by UDP and, where an answer is truncated, by TCP. */
static void child_resolver(void *arg) {
        static const char *const names[] = { "localhost", "honest.test", "truncated.test" };
        static struct dns_answer answer;
        struct conf_resolver conf = { .timeout = 10000 };
        struct addr server;
        const char *why;
        char text[32];
        struct dns *dns;

        snprintf(text, sizeof(text), "127.0.0.1:%u", dns_liar_port(((const struct fixture *)arg)->liar));
        CHECK(addr_parse(&server, text, &why) == 0);
        enter(arg);
        CHECK(dns_new(&dns, &conf) == 0);
        dns_free(dns);
        conf.servers = &server;
        conf.n_servers = 1;
        CHECK(dns_new(&dns, &conf) == 0);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                answer.n = 0;
                CHECK(dns_host(dns, names[i], 80, resolver_done, &answer) == 0);
                while (dns_pending(dns))
                        CHECK(dns_wait(dns, -1, 1000) == 0);
                CHECK(answer.n > 0);
        }
        dns_free(dns);
}

static void wait_for(const char *path, const char *text) {
        char buf[4096];

        for (;;) {
                FILE *file = fopen(path, "re");
                size_t n = 0;

                if (file) {
                        n = fread(buf, 1, sizeof(buf) - 1, file);
                        fclose(file);
                }
                buf[n] = '\0';
                if (strstr(buf, text))
                        return;
                sched_yield();          /* the child's alarm bounds this */
        }
}

/* The real log, its thread made inside, with a rotation. */
static void child_log(void *arg) {
        const struct fixture *f = arg;
        struct log_target target = { .to = LOG_TO_FILE, .path = NULL }, off = { .to = LOG_TO_OFF };
        struct log *log = NULL;
        const char *failed = NULL;
        char path[128], old[128];

        snprintf(path, sizeof(path), "%s/spliced.log", f->logs);
        snprintf(old, sizeof(old), "%s/spliced.log.1", f->logs);
        target.path = path;
        CHECK(log_new(&log, &target, LOG_LEVEL_INFO, &off, &failed) == 0);
        enter(f);
        CHECK(log_start(log) == 0);
        log_info(log, LOG_NO_CONTEXT, "before the rotation");
        wait_for(path, "before the rotation");
        CHECK(rename(path, old) == 0);
        log_reopen(log);
        while (access(path, F_OK) < 0)
                sched_yield();
        log_info(log, LOG_NO_CONTEXT, "after the rotation");
        wait_for(path, "after the rotation");
        log_stop(log, 1000);
        log_free(log);
        openlog("spliced-test", LOG_PID | LOG_NDELAY, LOG_DAEMON);
        closelog();
}

/* A listening path made inside, as without a keeper. */
static void child_listener(void *arg) {
        const struct fixture *f = arg;
        struct listener_options options = { .mode = 0600 };
        struct addr addr = { .kind = ADDR_UNIX, .len = sizeof(addr.un) };
        struct listener_path path;
        struct stat st;
        char why[LISTENER_WHY] = "";
        int fd;

        addr.un.sun_family = AF_UNIX;
        snprintf(addr.un.sun_path, sizeof(addr.un.sun_path), "%s/a.sock", f->sockets);
        enter(f);
        CHECK(listener_open(&fd, &path, &addr, &options, why) == 0);
        CHECK(stat(addr.un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode));
        close(fd);
        /* Over a stale one. */
        CHECK(listener_open(&fd, &path, &addr, &options, why) == 0);
        listener_unlink(&addr, &path);
        CHECK(stat(addr.un.sun_path, &st) < 0);
        close(fd);
}

/* By exit(), where a sanitizer looks for leaks: with a process and ptrace(). */
static void child_exit(void *arg) {
        enter(arg);
        exit(0);
}

static void child_abort(void *arg) {
        const struct rlimit none = { 0, 0 };

        setrlimit(RLIMIT_CORE, &none);
        enter(arg);
        signal(SIGABRT, SIG_DFL);
        abort();
}

/* A path that is not there is named, and the rest is in force; with a filter made before. */
static void child_missing(void *arg) {
        const struct fixture *f = arg;
        struct sandbox_calls calls;
        const struct sandbox_path paths[] = {
                { "/nonexistent/a", SANDBOX_WRITE }, { "/nonexistent/b", SANDBOX_READ },
                { f->path, SANDBOX_READ | SANDBOX_WRITE | SANDBOX_SOCKETS },
        };
        const struct sandbox_rules rules = { .calls = &calls, .paths = paths, .n_paths = 3 };
        struct sandbox_report report;

        CHECK(sandbox_calls_init(&calls) == 0);
        CHECK(sandbox_enter(&rules, &report) == 0);
        CHECK(!report.seccomp || (syscall(SYS_fork) < 0 && errno == EPERM));
        sandbox_calls_deinit(&calls);
        if (!report.landlock)
                return;
        CHECK(report.missing == paths[0].path);
        CHECK(opens(f->path, O_RDWR) == 0);
        CHECK(opens(f->secret, O_RDONLY | O_DIRECTORY) == -EACCES);
}

/* Without privileges, too: that is how it mostly runs. */
static void become_plain(const struct fixture *f) {
        if (geteuid() != 0)
                return;
        CHECK(chmod(f->dir, 0755) == 0);
        CHECK(chown(f->logs, 4711, (gid_t)-1) == 0 && chown(f->sockets, 4711, (gid_t)-1) == 0);
        CHECK(setresuid(4711, 4711, 4711) == 0 && prctl(PR_SET_DUMPABLE, 1L) == 0);
}

static void child_plain_user(void *arg) {
        become_plain(arg);
        child_refused(arg);
}

/* What another process of the same user is about is readable without the sandbox, and not within. */
static void child_other_process(void *arg) {
        char path[64];
        int ends[2];
        pid_t other;

        become_plain(arg);
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        other = fork();
        CHECK(other >= 0);
        if (other == 0) {
                /* Until this test ends, whatever way. */
                close(ends[1]);
                _exit(read(ends[0], path, 1) != 0);
        }
        snprintf(path, sizeof(path), "/proc/%ld/environ", (long)other);
        CHECK(opens(path, O_RDONLY) == 0);
        if (!enter(arg).landlock)
                return;
        CHECK(opens(path, O_RDONLY) == -EACCES);
        snprintf(path, sizeof(path), "/proc/%ld/root/etc/passwd", (long)other);
        CHECK(opens(path, O_RDONLY) == -EACCES);
        CHECK(opens("/proc/self/environ", O_RDONLY) == 0);
}

#define CHILD_TEST(name) static void test_##name(void **state) { assert_child(child_##name, *state); }

CHILD_TEST(refused)
CHILD_TEST(files)
CHILD_TEST(threads)
CHILD_TEST(sockets)
CHILD_TEST(events)
CHILD_TEST(log)
CHILD_TEST(listener)
CHILD_TEST(exit)
CHILD_TEST(missing)
CHILD_TEST(plain_user)
CHILD_TEST(other_process)

static void test_resolver(void **state) {
        struct fixture *f = *state;

        f->liar = dns_liar_start();
        assert_child(child_resolver, f);
        dns_liar_stop(f->liar);
}

static void test_abort(void **state) {
        int status = child_run(child_abort, *state);

        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_describe(void **state) {
        char buf[80];

        (void)state;
        assert_ptr_equal(sandbox_describe(buf, sizeof(buf)), buf);
        print_message("# %s\n", buf);
        assert_memory_equal(buf, "seccomp: ", 9);
        assert_non_null(strstr(buf, ", landlock: "));
        assert_int_equal(prctl(PR_GET_SECCOMP), 0);
}

#define SANDBOX_TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_describe),
                SANDBOX_TEST(refused),
                SANDBOX_TEST(files),
                SANDBOX_TEST(threads),
                SANDBOX_TEST(sockets),
                SANDBOX_TEST(events),
                SANDBOX_TEST(resolver),
                SANDBOX_TEST(log),
                SANDBOX_TEST(listener),
                SANDBOX_TEST(missing),
                SANDBOX_TEST(plain_user),
                SANDBOX_TEST(other_process),
                SANDBOX_TEST(exit),
                SANDBOX_TEST(abort),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
