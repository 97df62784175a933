/* SPDX-License-Identifier: ISC */
#include "net/listener.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/identity.h"

/* Tries at a path that others change while we look. */
#define LISTENER_TRIES 8
/* Tries at another starter's lock, 10 ms apart. */
#define LISTENER_LOCK_TRIES 100

/* What is asked of one listener_open(), handed down. */
struct listener_job {
        const struct addr *addr;
        const struct listener_options *options;
        char name[ADDR_STRLEN];         /* the address as a user writes it */
        char *why;
};

/* An AF_UNIX path while it is being made. */
struct listener_node {
        int dir;                        /* ours; locked where it could be */
        const char *base;               /* the last part of the path */
        char temp[128];                 /* the name beside it; empty while nothing is bound */
        struct stat stale;              /* what is to be replaced; st_ino 0: nothing */
        struct stat own;
        uid_t uid;                      /* -1: unchanged */
        gid_t gid;
};

static void listener_close(int *fd) {
        if (*fd >= 0) {
                close(*fd);
        }
        *fd = -1;
}

/* Writes a sentence to why and returns r, so that failing is one statement. */
static int listener_fail(struct listener_job *job, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int listener_fail(struct listener_job *job, int r, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(job->why, LISTENER_WHY, fmt, args);
        va_end(args);
        return r;
}

/* What to do about an errno of socket(), bind() or listen(). */
static const char *listener_advice(const struct listener_job *job, int r) {
        int is_unix = job->addr && addr_family(job->addr) == AF_UNIX;

        switch (-r) {
        case EADDRINUSE:
                return is_unix ? "another process holds it (see ss -lxp)" : "another process holds it (see ss -ltnp)";
        case EACCES:
                return is_unix ? "this user may not write to its directory"
                               : "ports under net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE";
        case EADDRNOTAVAIL:
                return "no interface has this address (see ip addr); socket { freebind } does without";
        case EAFNOSUPPORT:
                return "this kernel has no addresses of that family";
        case EMFILE:
        case ENFILE:
                return "raise the limit of open files";
        case EINVAL:
                return job->addr && addr_family(job->addr) == AF_INET6 &&
                                IN6_IS_ADDR_LINKLOCAL(&job->addr->in6.sin6_addr)
                        ? "a link-local address needs its interface, as in [fe80::1%eth0]:80" : NULL;
        case EROFS:
                return "its directory is read-only here";
        default:
                return NULL;
        }
}

static int listener_fail_errno(struct listener_job *job, int r, const char *what) {
        const char *advice = listener_advice(job, r);
        char buf[128];
        const char *error = strerror_r(-r, buf, sizeof(buf));
        int lower = islower((unsigned char)error[1]);

        return listener_fail(job, r, "%s %s: %c%s%s%s", what, job->name,
                             lower ? tolower((unsigned char)error[0]) : error[0], error + 1,
                             advice ? "; " : "", advice ? advice : "");
}

static int listener_fail_sockopt(struct listener_job *job, int r, enum sockopt_id id) {
        char value[64];
        char buf[128];
        const char *advice = "";

        if (r == -ENOPROTOOPT || r == -EOPNOTSUPP || r == -EPROTONOSUPPORT || r == -ENOENT) {
                advice = "; this kernel does not have it";
        } else if (r == -EPERM) {
                advice = "; it needs root or CAP_NET_ADMIN";
        }
        return listener_fail(job, r, "cannot set socket option %s = %s on %s: %s%s", sockopt_spec(id)->name,
                             sockopt_format(job->options->sockopts, id, value, sizeof(value)), job->name,
                             strerror_r(-r, buf, sizeof(buf)), advice);
}

static int listener_set(int fd, int level, int name, int value) {
        return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* A socket of that family with the section's options on it. */
static int listener_socket(struct listener_job *job, int *fd, int family) {
        const struct sockopt_set *sockopts = job->options->sockopts;
        int protocol = sockopts ? sockopt_protocol(family, sockopts) : 0;
        enum sockopt_id failed;
        int r;

        *fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
        if (*fd < 0) {
                r = -errno;
                if (protocol != 0 && r != -EAFNOSUPPORT) {
                        return listener_fail_sockopt(job, r, SOCKOPT_MPTCP);
                }
                return listener_fail_errno(job, r, "cannot make a socket for");
        }
        if (sockopts) {
                r = sockopt_apply(*fd, family, sockopts, SOCKOPT_LISTENER, &failed);
                if (r < 0) {
                        return listener_fail_sockopt(job, r, failed);
                }
        }
        return 0;
}

/* The kernel cuts a backlog down to net.core.somaxconn by itself, so the largest one means just that. */
static int listener_listen(struct listener_job *job, int fd) {
        int backlog = job->options->backlog > 0 ? job->options->backlog : INT_MAX;

        return listen(fd, backlog) < 0 ? listener_fail_errno(job, -errno, "cannot listen on") : 0;
}

static int listener_open_ip(struct listener_job *job, int *fd, const struct addr *addr) {
        int family = addr_family(addr);
        int defer = job->options->defer_accept_s;
        int r;

        r = listener_socket(job, fd, family);
        if (r < 0) {
                return r;
        }
        r = listener_set(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (r == 0 && family == AF_INET6) {
                r = listener_set(*fd, IPPROTO_IPV6, IPV6_V6ONLY, job->options->v6only != 0);
        }
        if (r < 0) {
                return listener_fail_errno(job, r, "cannot prepare the socket for");
        }
        if (defer > 0) {
                r = listener_set(*fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, defer);
                if (r < 0) {
                        return listener_fail_errno(job, r, "cannot set defer-accept on");
                }
        }
        if (bind(*fd, &addr->sa, addr->len) < 0) {
                return listener_fail_errno(job, -errno, "cannot listen on");
        }
        return listener_listen(job, *fd);
}

/* One dual-stack socket, or IPv4 alone where the kernel has no IPv6. */
static int listener_open_any(struct listener_job *job, int *fd) {
        struct addr v4 = { .kind = ADDR_IP, .len = sizeof(v4.in) };
        int r = listener_open_ip(job, fd, job->addr);

        if ((r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL) || job->options->v6only) {
                return r;
        }
        listener_close(fd);
        v4.in.sin_family = AF_INET;
        v4.in.sin_port = job->addr->in6.sin6_port;
        return listener_open_ip(job, fd, &v4);
}

/* A number, as of a user or group: 1 with *id set, or 0. */
static int listener_number(const char *text, unsigned *id) {
        unsigned long long n;
        char *end;

        if (!isdigit((unsigned char)text[0])) {
                return 0;
        }
        errno = 0;
        n = strtoull(text, &end, 10);
        if (*end != '\0' || errno || n >= UINT_MAX) {
                return 0;
        }
        *id = (unsigned)n;
        return 1;
}

/* Looks up a user (group 0) or a group (group 1).  0, or -errno with why. */
static int listener_id(struct listener_job *job, const char *text, int group, unsigned *id) {
        int r;

        if (!text || listener_number(text, id)) {
                return 0;
        }
        r = identity_find(text, group ? IDENTITY_GROUP : IDENTITY_USER, id);
        if (r < 0) {
                return listener_fail_errno(job, r, "cannot look up users for");
        }
        if (r == IDENTITY_UNKNOWN) {
                return listener_fail(job, -EINVAL, "cannot listen on %s: there is no %s %.64s; make it or use a number",
                                     job->name, group ? "group" : "user", text);
        }
        return 0;
}

/* Connects to what stands at the path: 0 where nobody answers (stale, or gone); -EADDRINUSE where it is live. */
static int listener_probe(struct listener_job *job) {
        int fd __attribute__((cleanup(listener_close))) = -1;
        int r;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
                return listener_fail_errno(job, -errno, "cannot make a socket to try");
        }
        r = connect(fd, &job->addr->sa, job->addr->len) < 0 ? errno : 0;
        switch (r) {
        case ECONNREFUSED:
        case ENOENT:
                return 0;
        case 0:
        case EAGAIN:            /* its backlog is full: somebody listens */
        case EPROTOTYPE:        /* a datagram socket that somebody has open */
                return listener_fail_errno(job, -EADDRINUSE, "cannot listen on");
        case EACCES:
        case EPERM:
                return listener_fail(job, -r, "cannot listen on %s: a socket is there, and this user may not connect "
                                     "to it to see whether it is in use; remove it if it is not", job->name);
        default:
                return listener_fail_errno(job, -r, "cannot tell whether somebody still listens on");
        }
}

/* Finds out what stands at the path now, to node->stale.  0 where it may be taken, or -errno with why. */
static int listener_look(struct listener_job *job, struct listener_node *node) {
        struct stat st;

        memset(&node->stale, 0, sizeof(node->stale));
        if (fstatat(node->dir, node->base, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                return errno == ENOENT ? 0 : listener_fail_errno(job, -errno, "cannot look at");
        }
        if (!S_ISSOCK(st.st_mode)) {
                return listener_fail(job, -EEXIST, "cannot listen on %s: there is a %s, which is left alone; "
                                     "remove it or choose another path", job->name,
                                     S_ISDIR(st.st_mode) ? "directory" : S_ISLNK(st.st_mode) ? "symbolic link" :
                                     S_ISREG(st.st_mode) ? "plain file" : "file of another kind");
        }
        node->stale = st;
        return listener_probe(job);
}

/*
 * Starters that find the same stale path take turns, or two of them would put
 * away each other's sockets.  A stranger who holds the lock delays us by a second and no more.
 */
static void listener_lock(int dir) {
        const struct timespec pause = { .tv_nsec = 10000000 };

        for (int i = 0; i < LISTENER_LOCK_TRIES; ++i) {
                if (flock(dir, LOCK_EX | LOCK_NB) == 0 || (errno != EWOULDBLOCK && errno != EINTR)) {
                        return;
                }
                nanosleep(&pause, NULL);
        }
}

static int listener_open_dir(struct listener_job *job, struct listener_node *node) {
        const char *path = job->addr->un.sun_path;
        char dir[sizeof(job->addr->un.sun_path) + 1];
        size_t len;

        node->base = strrchr(path, '/') + 1;
        len = (size_t)(node->base - path);
        memcpy(dir, path, len);
        dir[len] = '\0';
        node->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (node->dir >= 0) {
                listener_lock(node->dir);
        } else if (errno == EACCES) {
                /* One that may be entered and written to but not read cannot be locked; it serves all the same. */
                node->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        if (node->dir < 0) {
                char buf[128];

                return listener_fail(job, -errno, "cannot listen on %s: directory %s: %s", job->name, dir,
                                     strerror_r(errno, buf, sizeof(buf)));
        }
        return 0;
}

/*
 * Binds fd beside the path.  The name tells what it is for, since ss(8) goes
 * on showing it; where that is too long for AF_UNIX, a short one by way of the directory's descriptor.
 */
static int listener_bind_temp(struct listener_job *job, struct listener_node *node, int fd) {
        const char *path = job->addr->un.sun_path;
        int dir_len = (int)(node->base - path);
        int r = -EADDRINUSE;

        for (int i = 0; i < LISTENER_TRIES && r == -EADDRINUSE; ++i) {
                struct sockaddr_un un = { .sun_family = AF_UNIX };
                char full[256];
                unsigned random;

                if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
                        return listener_fail_errno(job, -errno, "cannot choose a temporary name for");
                }
                snprintf(node->temp, sizeof(node->temp), ".%s.%08x", node->base, random);
                if (snprintf(full, sizeof(full), "%.*s%s", dir_len, path, node->temp) >= (int)sizeof(un.sun_path)) {
                        snprintf(node->temp, sizeof(node->temp), ".spliced.%08x", random);
                        snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", node->dir, node->temp);
                }
                memcpy(un.sun_path, full, strnlen(full, sizeof(un.sun_path) - 1));
                r = bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ? -errno : 0;
        }
        if (r < 0) {
                node->temp[0] = '\0';
                return listener_fail_errno(job, r, "cannot listen on");
        }
        return 0;
}

/* Gives the bound node owner, group and mode: by descriptor, so that nobody can slip another file under the name. */
static int listener_own(struct listener_job *job, struct listener_node *node) {
        int fd __attribute__((cleanup(listener_close))) = -1;
        char link[64];

        fd = openat(node->dir, node->temp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &node->own) < 0) {
                return listener_fail_errno(job, -errno, "cannot find again what was bound for");
        }
        if (!S_ISSOCK(node->own.st_mode)) {
                return listener_fail(job, -EEXIST, "cannot listen on %s: somebody else writes to its directory",
                                     job->name);
        }
        if ((node->uid != (uid_t)-1 || node->gid != (gid_t)-1) &&
            fchownat(fd, "", node->uid, node->gid, AT_EMPTY_PATH) < 0) {
                const char *owner = job->options->owner, *group = job->options->group;
                int error = errno;
                char buf[128];

                return listener_fail(job, -error, "cannot give %s to %s%.64s%s%s%.64s: %s%s", job->name,
                                     owner ? "user " : "", owner ? owner : "", owner && group ? " and " : "",
                                     group ? "group " : "", group ? group : "", strerror_r(error, buf, sizeof(buf)),
                                     error == EPERM ? "; it needs root, or a group that this user is in" : "");
        }
        /* fchmod() refuses an O_PATH descriptor; its link in /proc is the same file. */
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (chmod(link, job->options->mode) < 0) {
                return listener_fail_errno(job, -errno, "cannot set the mode of");
        }
        return 0;
}

/* Renames where nothing is.  File systems without RENAME_NOREPLACE have link(), which never replaces either. */
static int listener_place_new(struct listener_node *node) {
        if (renameat2(node->dir, node->temp, node->dir, node->base, RENAME_NOREPLACE) == 0) {
                node->temp[0] = '\0';
                return 0;
        }
        if (errno != EINVAL && errno != ENOSYS) {
                return -errno;
        }
        return linkat(node->dir, node->temp, node->dir, node->base, 0) < 0 ? -errno : 0;
}

/*
 * Swaps the node with the stale one.  Only after the swap is it sure what was
 * there: where another starter was faster, its socket is put back.
 */
static int listener_place_over(struct listener_node *node) {
        struct stat st;

        if (renameat2(node->dir, node->temp, node->dir, node->base, RENAME_EXCHANGE) < 0) {
                if (errno != EINVAL && errno != ENOSYS) {
                        return -errno;
                }
                if (renameat(node->dir, node->temp, node->dir, node->base) < 0) {
                        return -errno;
                }
                node->temp[0] = '\0';
                return 0;
        }
        if (fstatat(node->dir, node->temp, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (st.st_dev != node->stale.st_dev || st.st_ino != node->stale.st_ino)) {
                if (renameat2(node->dir, node->temp, node->dir, node->base, RENAME_EXCHANGE) == 0) {
                        return -EEXIST;
                }
                /* What bears the temporary name now is not ours to remove. */
                node->temp[0] = '\0';
                return -errno;
        }
        return 0;
}

/* Puts the listening node in its place; looks again where that changed meanwhile. */
static int listener_place(struct listener_job *job, struct listener_node *node) {
        int r = 0;

        for (int i = 0; i < LISTENER_TRIES; ++i) {
                r = node->stale.st_ino != 0 ? listener_place_over(node) : listener_place_new(node);
                if (r != -EEXIST && r != -ENOENT) {
                        break;
                }
                r = listener_look(job, node);
                if (r < 0) {
                        return r;
                }
                r = -EBUSY;
        }
        return r < 0 ? listener_fail_errno(job, r, "cannot put a socket at") : 0;
}

static void listener_node_deinit(struct listener_node *node) {
        if (node->temp[0] != '\0') {
                unlinkat(node->dir, node->temp, 0);
        }
        listener_close(&node->dir);
}

static int listener_open_path(struct listener_job *job, int *fd, struct listener_path *path) {
        struct listener_node node __attribute__((cleanup(listener_node_deinit))) = {
                .dir = -1, .uid = (uid_t)-1, .gid = (gid_t)-1,
        };
        int r;

        r = listener_id(job, job->options->owner, 0, &node.uid);
        if (r == 0) {
                r = listener_id(job, job->options->group, 1, &node.gid);
        }
        if (r == 0) {
                r = listener_open_dir(job, &node);
        }
        if (r == 0) {
                r = listener_look(job, &node);
        }
        if (r == 0) {
                r = listener_socket(job, fd, AF_UNIX);
        }
        if (r == 0) {
                r = listener_bind_temp(job, &node, *fd);
        }
        if (r == 0) {
                r = listener_own(job, &node);
        }
        /* Listening before it is visible: nobody who finds the path is refused. */
        if (r == 0) {
                r = listener_listen(job, *fd);
        }
        if (r == 0) {
                r = listener_place(job, &node);
        }
        if (r == 0) {
                path->dev = node.own.st_dev;
                path->ino = node.own.st_ino;
        }
        return r;
}

static int listener_open_abstract(struct listener_job *job, int *fd) {
        int r = listener_socket(job, fd, AF_UNIX);

        if (r < 0) {
                return r;
        }
        if (bind(*fd, &job->addr->sa, job->addr->len) < 0) {
                return listener_fail_errno(job, -errno, "cannot listen on");
        }
        return listener_listen(job, *fd);
}

int listener_open(int *fd, struct listener_path *path, const struct addr *addr, const struct listener_options *options,
                  char *why) {
        struct listener_job job = { .addr = addr, .options = options, .why = why };
        int made __attribute__((cleanup(listener_close))) = -1;
        int r;

        *fd = -1;
        memset(path, 0, sizeof(*path));
        why[0] = '\0';
        if (addr->kind == ADDR_ANY) {
                snprintf(job.name, sizeof(job.name), ":%u", ntohs(addr->in6.sin6_port));
                r = listener_open_any(&job, &made);
        } else {
                addr_format(&addr->sa, addr->len, job.name, sizeof(job.name));
                if (addr_family(addr) == AF_UNSPEC) {
                        r = listener_fail(&job, -EINVAL, "cannot listen on what is no numeric address");
                } else if (addr_family(addr) != AF_UNIX) {
                        r = listener_open_ip(&job, &made, addr);
                } else if (addr->un.sun_path[0] == '\0') {
                        r = listener_open_abstract(&job, &made);
                } else {
                        r = listener_open_path(&job, &made, path);
                }
        }
        if (r == 0) {
                *fd = made;
                made = -1;
        }
        return r;
}

int listener_family(int fd) {
        int family;
        socklen_t len = sizeof(family);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0 ? -errno : family;
}

int listener_take(int *fd, int passed, const char *name, const struct listener_options *options, char *why) {
        struct listener_job job = { .options = options, .why = why };
        int made __attribute__((cleanup(listener_close))) = -1;
        enum sockopt_id failed;
        int r;

        *fd = -1;
        snprintf(job.name, sizeof(job.name), "fd:%s", name);
        made = fcntl(passed, F_DUPFD_CLOEXEC, 0);
        if (made < 0) {
                return listener_fail_errno(&job, -errno, "cannot take over");
        }
        r = listener_family(made);
        if (r < 0) {
                return listener_fail_errno(&job, r, "cannot take over");
        }
        if (options->sockopts) {
                r = sockopt_apply(made, r, options->sockopts, SOCKOPT_LISTENER, &failed);
                if (r < 0) {
                        return listener_fail_sockopt(&job, r, failed);
                }
        }
        *fd = made;
        made = -1;
        return 0;
}

void listener_unlink(const struct addr *addr, const struct listener_path *path) {
        struct stat st;

        if (path->ino == 0 || addr_family(addr) != AF_UNIX || addr->un.sun_path[0] == '\0') {
                return;
        }
        if (lstat(addr->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == path->dev &&
            st.st_ino == path->ino) {
                unlink(addr->un.sun_path);
        }
}
