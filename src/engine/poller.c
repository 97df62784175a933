/* SPDX-License-Identifier: ISC */
#include "engine/poller.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(POLLER_IN == EPOLLIN && POLLER_PRI == EPOLLPRI && POLLER_OUT == EPOLLOUT && POLLER_ERR == EPOLLERR &&
                       POLLER_HUP == EPOLLHUP && POLLER_RDHUP == EPOLLRDHUP,
               "poller events are the kernel's");
_Static_assert(sizeof(struct poller_event) == sizeof(struct epoll_event) &&
                       offsetof(struct poller_event, key) == offsetof(struct epoll_event, data),
               "a poller event is laid out as the kernel's");

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

/*
 * The thread sanitizer knows that an event comes after its registration only for a poller that was made in the same
 * process.  One that was inherited makes it see a race between epoll_ctl() and what the event's handler does with
 * the descriptor, which is ordered otherwise; and in the sandbox it finds no names, so that none can be suppressed.
 */
static int poller_control(int poller, int op, int fd, struct epoll_event *event) {
#ifdef __SANITIZE_THREAD__
        return (int)syscall(SYS_epoll_ctl, poller, op, fd, event);
#else
        return epoll_ctl(poller, op, fd, event);
#endif
}

int poller_new(void) {
        int fd = epoll_create1(EPOLL_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int poller_register(int poller, int op, int fd, uint32_t events, uint64_t key) {
        struct epoll_event event = { .events = events | EPOLLET, .data.u64 = key };

        return poller_control(poller, op, fd, &event) < 0 ? -errno : 0;
}

int poller_add(int poller, int fd, uint64_t key) {
        return poller_register(poller, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP, key);
}

int poller_add_quiet(int poller, int fd, uint64_t key) {
        return poller_register(poller, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLPRI | EPOLLRDHUP, key);
}

int poller_watch(int poller, int fd, uint64_t key) {
        return poller_register(poller, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP, key);
}

int poller_unwatch(int poller, int fd, uint64_t key) {
        return poller_register(poller, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLPRI | EPOLLRDHUP, key);
}

int poller_add_listener(int poller, int fd, uint64_t key) {
        return poller_register(poller, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, key);
}

int poller_remove(int poller, int fd) {
        return poller_control(poller, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

int poller_wait(int poller, struct poller_event *events, int max, int timeout_ms) {
        int n = epoll_wait(poller, (struct epoll_event *)events, max, timeout_ms);

        return n >= 0 ? n : errno == EINTR ? 0 : -errno;
}
