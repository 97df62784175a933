/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_SYS_H
#define SPLICED_NET_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/*
 * The seam: every system call of the data path, so that a test can link a
 * scripted kernel in its place (libsys.a is left out then).  Each returns what the call
 * of its name returns, or -errno; EINTR is retried here.  Descriptors are made
 * non-blocking and close-on-exec.
 */
int sys_accept(int fd, struct sockaddr *sa, socklen_t *len);
int sys_socket(int domain, int type, int protocol);
int sys_bind(int fd, const struct sockaddr *sa, socklen_t len);
int sys_connect(int fd, const struct sockaddr *sa, socklen_t len);
int sys_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int sys_getpeername(int fd, struct sockaddr *sa, socklen_t *len);
int sys_shutdown(int fd, int how);
int sys_close(int fd);
int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
ssize_t sys_recv(int fd, void *buf, size_t len, int flags);
ssize_t sys_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t sys_send(int fd, const void *buf, size_t len, int flags);
ssize_t sys_read(int fd, void *buf, size_t len);
ssize_t sys_write(int fd, const void *buf, size_t len);

/* Both with SPLICE_F_MOVE | SPLICE_F_NONBLOCK. */
ssize_t sys_splice(int from, int to, size_t len);

/* tee(2) from one pipe to another, with SPLICE_F_NONBLOCK. */
ssize_t sys_tee(int from, int to, size_t len);

/* Fills ends[2]: read end, write end. */
int sys_pipe(int ends[2]);

/* F_SETPIPE_SZ and F_GETPIPE_SZ: the size in force in bytes, or -errno. */
int sys_pipe_resize(int fd, int size);
int sys_pipe_size(int fd);

/* Bytes that the peer has not taken yet: unacknowledged for TCP, unread for AF_UNIX (SIOCOUTQ).  Or -errno. */
int sys_unsent(int fd);

/* The data path's clock: milliseconds on CLOCK_MONOTONIC. */
int64_t sys_clock_ms(void);

/* The same clock in microseconds: for what is too short for that. */
int64_t sys_clock_us(void);

#endif
