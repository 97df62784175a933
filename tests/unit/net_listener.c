/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/listener.h"

/* A directory of each test's own, and what it opened there. */
struct fixture {
        char dir[64];
        char why[LISTENER_WHY];
        struct listener_options options;
        struct listener_path path;
        struct addr addr;
        int fd;
};

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        const char *tmp = getenv("TMPDIR");

        /* Paths below have to fit into 107 bytes. */
        snprintf(f->dir, sizeof(f->dir), "%s/spl-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
        if (!mkdtemp(f->dir)) {
                return -1;
        }
        f->options.mode = 0660;
        f->fd = -1;
        *state = f;
        return 0;
}

/* Whatever is left in the directory, and how many that was. */
static int sweep(const char *path) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        int n = 0;

        while ((entry = readdir(dir))) {
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                        if (unlinkat(dirfd(dir), entry->d_name, 0) < 0) {
                                unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
                        }
                        ++n;
                }
        }
        closedir(dir);
        return n;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        if (f->fd >= 0) {
                close(f->fd);
        }
        sweep(f->dir);
        rmdir(f->dir);
        free(f);
        return 0;
}

static void parse(struct addr *addr, const char *text) {
        const char *why = NULL;

        if (addr_parse(addr, text, &why) != 0) {
                fail_msg("%s: %s", text, why);
        }
}

static int open_text(struct fixture *f, const char *text) {
        parse(&f->addr, text);
        return listener_open(&f->fd, &f->path, &f->addr, &f->options, f->why);
}

/* NAME in the test's directory, as an address. */
static const char *in_dir(const struct fixture *f, const char *name, char *buf) {
        snprintf(buf, ADDR_STRLEN, "unix:%s/%s", f->dir, name);
        return buf;
}

static void must_open(struct fixture *f, const char *text) {
        int r = open_text(f, text);

        if (r != 0) {
                fail_msg("%s: %d: %s", text, r, f->why);
        }
        assert_true(f->fd >= 0);
        assert_int_equal(fcntl(f->fd, F_GETFD), FD_CLOEXEC);
        assert_true(fcntl(f->fd, F_GETFL) & O_NONBLOCK);
        assert_string_equal(f->why, "");
}

static void must_fail(struct fixture *f, const char *text, int error, const char *word) {
        int r = open_text(f, text);

        if (r != -error) {
                fail_msg("%s: %d (%s) and not %d", text, r, f->why, -error);
        }
        assert_int_equal(f->fd, -1);
        assert_int_equal(f->path.ino, 0);
        if (!strstr(f->why, word)) {
                fail_msg("%s: \"%s\" lacks \"%s\"", text, f->why, word);
        }
        /* A sentence names the address. */
        if (f->addr.kind == ADDR_IP) {
                assert_non_null(strstr(f->why, text));
        }
}

/* Connects: 0 or -errno. */
static int try(const struct sockaddr *sa, socklen_t len) {
        int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int r = connect(fd, sa, len) < 0 ? -errno : 0;

        close(fd);
        return r;
}

static uint16_t port_of(int fd) {
        struct sockaddr_in6 in6;
        socklen_t len = sizeof(in6);

        assert_int_equal(getsockname(fd, (void *)&in6, &len), 0);
        return ntohs(in6.sin6_port);
}

/* A port that was free a moment ago, as "HOST:PORT". */
static const char *free_port(const char *host, char *buf) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (void *)&in6, sizeof(in6)), 0);
        snprintf(buf, 64, "%s:%u", host, port_of(fd));
        close(fd);
        return buf;
}

static int reaches(const char *host, uint16_t port) {
        struct addr addr;
        char text[64];

        snprintf(text, sizeof(text), "%s:%u", host, port);
        parse(&addr, text);
        return try(&addr.sa, addr.len);
}

static void test_ipv4(void **state) {
        struct fixture *f = *state;
        char text[64];

        must_open(f, free_port("127.0.0.1", text));
        assert_int_equal(f->path.ino, 0);
        assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
}

static void test_in_use(void **state) {
        struct fixture *f = *state;
        char text[64];
        int fd;

        must_open(f, free_port("127.0.0.1", text));
        fd = f->fd;
        must_fail(f, text, EADDRINUSE, "ss -ltnp");
        assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
        close(fd);
}

/* A port whose last connection still waits in TIME_WAIT is taken again at once. */
static void test_reuse(void **state) {
        struct fixture *f = *state;
        char text[64];
        int client, served;

        must_open(f, free_port("127.0.0.1", text));
        client = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(client, &f->addr.sa, f->addr.len), 0);
        served = accept(f->fd, NULL, NULL);
        assert_true(served >= 0);
        close(served);
        close(client);
        close(f->fd);
        must_open(f, text);
}

static void test_not_ours(void **state) {
        struct fixture *f = *state;

        must_fail(f, "192.0.2.1:8080", EADDRNOTAVAIL, "ip addr");
}

static void test_dual_stack(void **state) {
        struct fixture *f = *state;
        char text[64];

        must_open(f, free_port("", text));
        assert_int_equal(reaches("127.0.0.1", port_of(f->fd)), 0);
        assert_int_equal(reaches("[::1]", port_of(f->fd)), 0);
}

static void test_v6only(void **state) {
        struct fixture *f = *state;
        char text[64];

        f->options.v6only = 1;
        must_open(f, free_port("", text));
        assert_int_equal(reaches("127.0.0.1", port_of(f->fd)), -ECONNREFUSED);
        assert_int_equal(reaches("[::1]", port_of(f->fd)), 0);
}

/* Makes socket(AF_INET6) fail as a kernel without IPv6 does, for this process. */
static int forget_ipv6(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0;
}

static int without_ipv6(struct fixture *f, const char *text) {
        struct sockaddr_in in;
        socklen_t len = sizeof(in);
        const char *why;

        if (forget_ipv6()) {
                return 77;
        }
        if (addr_parse(&f->addr, text, &why) != 0 ||
            listener_open(&f->fd, &f->path, &f->addr, &f->options, f->why) != 0) {
                return 1;
        }
        if (getsockname(f->fd, (void *)&in, &len) < 0 || in.sin_family != AF_INET || in.sin_addr.s_addr != 0 ||
            in.sin_port != f->addr.in6.sin6_port) {
                return 2;
        }
        f->options.v6only = 1;
        if (listener_open(&f->fd, &f->path, &f->addr, &f->options, f->why) != -EAFNOSUPPORT || f->fd != -1) {
                return 3;
        }
        return 0;
}

static void test_no_ipv6(void **state) {
        struct fixture *f = *state;
        char text[64];
        int status;
        pid_t pid;

        free_port("", text);
        pid = fork();
        if (pid == 0) {
                _exit(without_ipv6(f, text));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
                skip();
        }
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_options(void **state) {
        struct fixture *f = *state;
        struct sockopt_set sockopts;
        struct tcp_info info;
        socklen_t len = sizeof(info);
        char text[64];
        int value = 0;

        sockopt_defaults(&sockopts);
        f->options.sockopts = &sockopts;
        f->options.backlog = 7;
        f->options.defer_accept_s = 5;
        must_open(f, free_port("127.0.0.1", text));
        assert_int_equal(getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
        assert_int_equal(info.tcpi_sacked, 7);          /* of a listener: its backlog */
        len = sizeof(value);
        assert_int_equal(getsockopt(f->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &value, &len), 0);
        assert_true(value >= 5);
        len = sizeof(value);
        assert_int_equal(getsockopt(f->fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        assert_int_equal(value, 1);
}

static void test_backlog_is_somaxconn(void **state) {
        struct fixture *f = *state;
        struct tcp_info info;
        socklen_t len = sizeof(info);
        unsigned somaxconn = 0;
        char text[64];
        FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");

        if (!file) {
                skip();
        }
        assert_int_equal(fscanf(file, "%u", &somaxconn), 1);
        fclose(file);
        must_open(f, free_port("127.0.0.1", text));
        assert_int_equal(getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
        assert_int_equal(info.tcpi_sacked, somaxconn);
}

static void test_bad_sockopt(void **state) {
        struct fixture *f = *state;
        struct sockopt_set sockopts;
        char text[64];

        sockopt_defaults(&sockopts);
        sockopts.set |= UINT32_C(1) << SOCKOPT_CONGESTION;
        strcpy(sockopts.congestion, "no-such-cc");
        f->options.sockopts = &sockopts;
        must_fail(f, free_port("127.0.0.1", text), ENOENT, "congestion = no-such-cc");
        assert_non_null(strstr(f->why, "kernel"));
}

static void test_host_is_refused(void **state) {
        must_fail(*state, "host.name:80", EINVAL, "numeric");
}

static void test_path(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        struct stat st;

        must_open(f, in_dir(f, "a.sock", text));
        assert_int_equal(stat(text + 5, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 07777, 0660);
        assert_int_equal(st.st_ino, f->path.ino);
        assert_int_equal(st.st_dev, f->path.dev);
        assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
        listener_unlink(&f->addr, &f->path);
        assert_int_equal(sweep(f->dir), 0);
}

/* The umask, which belongs to every thread, neither matters nor changes. */
static void test_mode(void **state) {
        static const mode_t modes[] = { 0, 0600, 0666, 0777 };
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        mode_t old = umask(0077);
        struct stat st;

        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); ++i) {
                f->options.mode = modes[i];
                must_open(f, in_dir(f, "a.sock", text));
                assert_int_equal(stat(text + 5, &st), 0);
                assert_int_equal(st.st_mode & 07777, modes[i]);
                listener_unlink(&f->addr, &f->path);
                close(f->fd);
        }
        assert_int_equal(umask(old), 0077);
}

/*
 * What a watcher sees: the path arrives by a rename, after its owner and mode
 * were set, and nothing happens to it from then on.
 */
static void test_right_before_visible(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        _Alignas(struct inotify_event) char buf[4096];
        int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        int attrib = 0, arrived = 0;
        ssize_t n;

        assert_true(watch >= 0);
        assert_true(inotify_add_watch(watch, f->dir, IN_CREATE | IN_ATTRIB | IN_MOVED_TO | IN_DELETE) >= 0);
        must_open(f, in_dir(f, "a.sock", text));
        n = read(watch, buf, sizeof(buf));
        assert_true(n > 0);
        for (char *at = buf; at < buf + n;) {
                struct inotify_event *event = (void *)at;

                if (strcmp(event->name, "a.sock") == 0) {
                        assert_int_equal(event->mask, IN_MOVED_TO);
                        ++arrived;
                } else {
                        assert_int_equal(event->name[0], '.');
                        assert_int_equal(arrived, 0);
                        attrib += (event->mask & IN_ATTRIB) != 0;
                }
                at += sizeof(*event) + event->len;
        }
        assert_int_equal(arrived, 1);
        assert_true(attrib > 0);
        close(watch);
}

static void test_owner(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        struct stat st;

        if (geteuid() != 0) {
                skip();
        }
        f->options.owner = "12345";
        f->options.group = "54321";
        must_open(f, in_dir(f, "a.sock", text));
        assert_int_equal(stat(text + 5, &st), 0);
        assert_int_equal(st.st_uid, 12345);
        assert_int_equal(st.st_gid, 54321);
        assert_int_equal(st.st_mode & 07777, 0660);
        close(f->fd);

        f->options.owner = NULL;
        f->options.group = "daemon";
        must_open(f, in_dir(f, "b.sock", text));
        assert_int_equal(stat(text + 5, &st), 0);
        assert_int_equal(st.st_uid, 0);
        assert_int_equal(st.st_gid, 1);
}

static void test_unknown_owner(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];

        f->options.owner = "no-such-user";
        must_fail(f, in_dir(f, "a.sock", text), EINVAL, "user no-such-user");
        f->options.owner = NULL;
        f->options.group = "no-such-group";
        must_fail(f, in_dir(f, "a.sock", text), EINVAL, "group no-such-group");
        f->options.group = "99999999999";
        must_fail(f, in_dir(f, "a.sock", text), EINVAL, "group 99999999999");
        assert_int_equal(sweep(f->dir), 0);
}

static void test_stale(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        ino_t before;

        must_open(f, in_dir(f, "a.sock", text));
        before = f->path.ino;
        close(f->fd);
        assert_int_equal(try(&f->addr.sa, f->addr.len), -ECONNREFUSED);
        must_open(f, text);
        assert_int_not_equal(f->path.ino, before);
        assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
        /* And of the stale one nothing is left over. */
        assert_int_equal(sweep(f->dir), 1);
}

static void test_live(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        struct stat before, after;
        int fd;

        must_open(f, in_dir(f, "a.sock", text));
        fd = f->fd;
        assert_int_equal(stat(text + 5, &before), 0);
        must_fail(f, text, EADDRINUSE, "another process");
        assert_non_null(strstr(f->why, text));
        assert_int_equal(stat(text + 5, &after), 0);
        assert_int_equal(after.st_ino, before.st_ino);
        assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
        assert_int_equal(sweep(f->dir), 1);
        close(fd);
}

/* A server too busy to accept is a live one. */
static void test_live_with_full_backlog(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        int fd, clients[8], n = 0, full = 0;

        f->options.backlog = 1;
        must_open(f, in_dir(f, "a.sock", text));
        fd = f->fd;
        while (n < 8 && !full) {
                clients[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
                full = connect(clients[n++], &f->addr.sa, f->addr.len) < 0 && errno == EAGAIN;
        }
        assert_true(full);
        must_fail(f, text, EADDRINUSE, "another process");
        while (n > 0) {
                close(clients[--n]);
        }
        close(fd);
}

/* Where it cannot be found out, it counts as live. */
static void test_stale_but_forbidden(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        int fd, r;

        f->options.mode = 0;
        must_open(f, in_dir(f, "a.sock", text));
        fd = f->fd;
        f->fd = -1;
        close(fd);
        if (geteuid() == 0 && (strncmp(f->dir, "/tmp/", 5) != 0 || chmod(f->dir, 0777) < 0 || seteuid(65534) < 0)) {
                skip();
        }
        r = open_text(f, text);
        if (getuid() == 0) {
                assert_int_equal(seteuid(0), 0);
        }
        assert_int_equal(r, -EACCES);
        assert_non_null(strstr(f->why, "may not connect"));
        assert_int_equal(access(text + 5, F_OK), 0);
}

static void test_live_datagram(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        parse(&f->addr, in_dir(f, "a.sock", text));
        assert_int_equal(bind(fd, &f->addr.sa, f->addr.len), 0);
        must_fail(f, text, EADDRINUSE, "another process");
        close(fd);
        must_open(f, text);
}

static void test_other_files(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        char data[8] = "";
        int fd;

        in_dir(f, "file", text);
        fd = open(text + 5, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "precious", 8), 8);
        must_fail(f, text, EEXIST, "plain file");
        assert_non_null(strstr(f->why, text));
        assert_int_equal(pread(fd, data, 8, 0), 8);
        assert_memory_equal(data, "precious", 8);
        close(fd);
        assert_int_equal(access(text + 5, F_OK), 0);

        in_dir(f, "dir", text);
        assert_int_equal(mkdir(text + 5, 0700), 0);
        must_fail(f, text, EEXIST, "directory");
        assert_int_equal(access(text + 5, F_OK), 0);

        /* Not even where it would lead to nothing. */
        in_dir(f, "link", text);
        assert_int_equal(symlink("nothing", text + 5), 0);
        must_fail(f, text, EEXIST, "symbolic link");

        in_dir(f, "fifo", text);
        assert_int_equal(mkfifo(text + 5, 0600), 0);
        must_fail(f, text, EEXIST, "another kind");
        assert_int_equal(sweep(f->dir), 4);
}

static void test_directories(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        int fd;

        must_fail(f, in_dir(f, "missing/a.sock", text), ENOENT, "missing/: No such file");
        fd = open(in_dir(f, "file", text) + 5, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        close(fd);
        must_fail(f, in_dir(f, "file/a.sock", text), ENOTDIR, "file/: Not a directory");
}

static void test_no_permission(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];

        /* Another user must be able to get there. */
        if (geteuid() != 0 || strncmp(f->dir, "/tmp/", 5) != 0) {
                skip();
        }
        assert_int_equal(chmod(f->dir, 0555), 0);
        assert_int_equal(seteuid(65534), 0);
        in_dir(f, "a.sock", text);
        must_fail(f, text, EACCES, "may not write to its directory");
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(chmod(f->dir, 0777), 0);

        /* Nor may such a user give a socket away; nothing is left behind. */
        assert_int_equal(seteuid(65534), 0);
        f->options.owner = "12345";
        must_fail(f, text, EPERM, "user 12345");
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(sweep(f->dir), 0);
}

/* The longest path there can be has no room for a temporary name beside it. */
static void test_longest_path(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        char name[128];

        for (size_t len = 90; len <= 107; ++len) {
                size_t n = len - strlen(f->dir) - 1;

                memset(name, 'n', n);
                name[n] = '\0';
                in_dir(f, name, text);
                assert_int_equal(strlen(text + 5), len);
                must_open(f, text);
                assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
                close(f->fd);
                must_open(f, text);             /* stale */
                assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
                listener_unlink(&f->addr, &f->path);
                close(f->fd);
                assert_int_equal(sweep(f->dir), 0);
        }
        f->fd = -1;
}

static void test_abstract(void **state) {
        struct fixture *f = *state;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        socklen_t len = sizeof(un);
        char text[64];
        int fd;

        snprintf(text, sizeof(text), "unix:@spliced-test-%d", getpid());
        must_open(f, text);
        assert_int_equal(f->path.ino, 0);
        fd = f->fd;
        assert_int_equal(getsockname(fd, (void *)&un, &len), 0);
        assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + strlen(text) - 5);
        assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
        /* The name padded to the full length is another name. */
        assert_int_equal(try(&f->addr.sa, sizeof(f->addr.un)), -ECONNREFUSED);
        must_fail(f, text, EADDRINUSE, "another process");
        listener_unlink(&f->addr, &f->path);
        close(fd);

        snprintf(text, sizeof(text), "unix:@%d", getpid());
        must_open(f, text);
}

static void test_unlink_only_ours(void **state) {
        struct fixture *f = *state;
        struct listener_path path;
        char text[ADDR_STRLEN];
        int fd, file;

        /* Replaced by somebody else's socket. */
        must_open(f, in_dir(f, "a.sock", text));
        path = f->path;
        fd = f->fd;
        assert_int_equal(unlink(text + 5), 0);
        must_open(f, text);
        listener_unlink(&f->addr, &path);
        assert_int_equal(access(text + 5, F_OK), 0);
        listener_unlink(&f->addr, &f->path);
        assert_int_equal(access(text + 5, F_OK), -1);

        /* Gone, or a plain file by now. */
        listener_unlink(&f->addr, &f->path);
        file = open(text + 5, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_true(file >= 0);
        close(file);
        listener_unlink(&f->addr, &f->path);
        assert_int_equal(access(text + 5, F_OK), 0);
        close(fd);
}

/* Starters that race for one stale path: one wins and keeps it, the others learn that it is live. */
static void test_race(void **state) {
        struct fixture *f = *state;
        char text[ADDR_STRLEN];
        int go[2], done[2], won = 0, status;
        pid_t pids[6];
        char byte;

        for (int round = 0; round < 20; ++round) {
                must_open(f, in_dir(f, "a.sock", text));
                close(f->fd);
                f->fd = -1;
                assert_int_equal(pipe(go), 0);
                assert_int_equal(pipe(done), 0);
                for (int i = 0; i < 6; ++i) {
                        pids[i] = fork();
                        if (pids[i] == 0) {
                                int r;

                                close(go[1]);
                                close(done[1]);
                                r = read(go[0], &byte, 1) < 0 ? -1 : open_text(f, text);
                                /* Whoever has it holds it until all have tried. */
                                _exit(r == 0 ? read(done[0], &byte, 1) < 0 ? 2 : 0 : r == -EADDRINUSE ? 1 : 2);
                        }
                }
                close(go[1]);
                close(go[0]);
                won = 0;
                for (int i = 0; i < 5; ++i) {
                        pid_t pid = waitpid(-1, &status, 0);

                        assert_true(pid > 0 && WIFEXITED(status));
                        assert_int_equal(WEXITSTATUS(status), 1);
                }
                assert_int_equal(try(&f->addr.sa, f->addr.len), 0);
                close(done[1]);
                close(done[0]);
                assert_true(waitpid(-1, &status, 0) > 0);
                won += WIFEXITED(status) && WEXITSTATUS(status) == 0;
                assert_int_equal(won, 1);
                assert_int_equal(sweep(f->dir), 1);
        }
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                test(test_ipv4), test(test_in_use), test(test_reuse), test(test_not_ours), test(test_dual_stack),
                test(test_v6only), test(test_no_ipv6), test(test_options), test(test_backlog_is_somaxconn),
                test(test_bad_sockopt), test(test_host_is_refused), test(test_path), test(test_mode),
                test(test_right_before_visible), test(test_owner), test(test_unknown_owner), test(test_stale),
                test(test_live), test(test_live_with_full_backlog), test(test_stale_but_forbidden),
                test(test_live_datagram), test(test_other_files),
                test(test_directories), test(test_no_permission), test(test_longest_path), test(test_abstract),
                test(test_unlink_only_ours), test(test_race),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
