/* SPDX-License-Identifier: ISC */
#include "net/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define SYS_RETRY(call)                                                                                                \
        ({                                                                                                             \
                ssize_t sys_result_;                                                                                   \
                do                                                                                                     \
                        sys_result_ = (call);                                                                          \
                while (sys_result_ < 0 && errno == EINTR);                                                             \
                sys_result_ < 0 ? -errno : sys_result_;                                                                \
        })

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SYS_WATCHED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SYS_WATCHED 1
#endif

/*
 * The calls of a message go to the kernel directly: libc's are points of cancellation, which in a program with
 * threads costs each two atomic operations, and here nobody cancels a thread.  Sanitizers look at libc's.
 */
#ifdef SYS_WATCHED
#define SYS_RECV(fd, buf, len, flags) recv(fd, buf, len, flags)
#define SYS_RECVMSG(fd, message, flags) recvmsg(fd, message, flags)
#define SYS_SEND(fd, buf, len, flags) send(fd, buf, len, flags)
#else
#define SYS_RECV(fd, buf, len, flags) syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL)
#define SYS_RECVMSG(fd, message, flags) syscall(SYS_recvmsg, fd, message, flags)
#define SYS_SEND(fd, buf, len, flags) syscall(SYS_sendto, fd, buf, len, flags, NULL, 0L)
#endif

int sys_accept(int fd, struct sockaddr *sa, socklen_t *len) {
        return (int)SYS_RETRY(accept4(fd, sa, len, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

int sys_socket(int domain, int type, int protocol) {
        return (int)SYS_RETRY(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

int sys_bind(int fd, const struct sockaddr *sa, socklen_t len) {
        return bind(fd, sa, len) < 0 ? -errno : 0;
}

int sys_connect(int fd, const struct sockaddr *sa, socklen_t len) {
        /* Not retried on EINTR: the attempt goes on in the kernel, and connect(2) again would say EALREADY. */
        return connect(fd, sa, len) < 0 ? (errno == EINTR ? -EINPROGRESS : -errno) : 0;
}

int sys_getsockname(int fd, struct sockaddr *sa, socklen_t *len) {
        return getsockname(fd, sa, len) < 0 ? -errno : 0;
}

int sys_getpeername(int fd, struct sockaddr *sa, socklen_t *len) {
        return getpeername(fd, sa, len) < 0 ? -errno : 0;
}

int sys_shutdown(int fd, int how) {
        return shutdown(fd, how) < 0 ? -errno : 0;
}

int sys_close(int fd) {
        /* Linux frees the descriptor even where it reports EINTR: a second close could hit a stranger's. */
        return close(fd) < 0 ? -errno : 0;
}

int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
        return getsockopt(fd, level, name, value, len) < 0 ? -errno : 0;
}

int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
        return setsockopt(fd, level, name, value, len) < 0 ? -errno : 0;
}

ssize_t sys_recv(int fd, void *buf, size_t len, int flags) {
        return SYS_RETRY(SYS_RECV(fd, buf, len, flags | MSG_DONTWAIT));
}

ssize_t sys_recvmsg(int fd, struct msghdr *message, int flags) {
        return SYS_RETRY(SYS_RECVMSG(fd, message, flags | MSG_DONTWAIT));
}

ssize_t sys_send(int fd, const void *buf, size_t len, int flags) {
        return SYS_RETRY(SYS_SEND(fd, buf, len, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

ssize_t sys_read(int fd, void *buf, size_t len) {
        return SYS_RETRY(read(fd, buf, len));
}

ssize_t sys_write(int fd, const void *buf, size_t len) {
        return SYS_RETRY(write(fd, buf, len));
}

ssize_t sys_splice(int from, int to, size_t len) {
        return SYS_RETRY(splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

ssize_t sys_tee(int from, int to, size_t len) {
        return SYS_RETRY(tee(from, to, len, SPLICE_F_NONBLOCK));
}

int sys_pipe(int ends[2]) {
        return pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
}

int sys_pipe_resize(int fd, int size) {
        return (int)SYS_RETRY(fcntl(fd, F_SETPIPE_SZ, size));
}

int sys_pipe_size(int fd) {
        return (int)SYS_RETRY(fcntl(fd, F_GETPIPE_SZ));
}

int sys_unsent(int fd) {
        int n = 0;

        return ioctl(fd, SIOCOUTQ, &n) < 0 ? -errno : n;
}

int64_t sys_clock_ms(void) {
        return clock_now_ms();
}

int64_t sys_clock_us(void) {
        return clock_now_us();
}
