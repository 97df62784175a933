/* SPDX-License-Identifier: ISC */
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "engine/poller.h"
#include "net/sys.h"
#include "real.h"

struct script script;

static const char *const script_names[SCRIPT_CALLS] = {
        [SCRIPT_ACCEPT] = "accept", [SCRIPT_SOCKET] = "socket", [SCRIPT_BIND] = "bind", [SCRIPT_CONNECT] = "connect",
        [SCRIPT_SHUTDOWN] = "shutdown", [SCRIPT_CLOSE] = "close", [SCRIPT_GETSOCKOPT] = "getsockopt",
        [SCRIPT_GETSOCKNAME] = "getsockname", [SCRIPT_GETPEERNAME] = "getpeername",
        [SCRIPT_SETSOCKOPT] = "setsockopt", [SCRIPT_LINGER] = "setsockopt(SO_LINGER)", [SCRIPT_RECV] = "recv",
        [SCRIPT_RECVMSG] = "recvmsg", [SCRIPT_SEND] = "send", [SCRIPT_READ] = "read", [SCRIPT_WRITE] = "write",
        [SCRIPT_SPLICE_IN] = "splice to a pipe", [SCRIPT_SPLICE_OUT] = "splice from a pipe",
        [SCRIPT_TEE] = "tee", [SCRIPT_PIPE] = "pipe",
        [SCRIPT_PIPE_RESIZE] = "F_SETPIPE_SZ", [SCRIPT_PIPE_SIZE] = "F_GETPIPE_SZ", [SCRIPT_UNSENT] = "SIOCOUTQ",
        [SCRIPT_POLLER_NEW] = "epoll_create", [SCRIPT_POLLER_ADD] = "epoll_ctl(ADD)",
        [SCRIPT_POLLER_WATCH] = "epoll_ctl(MOD, for room)", [SCRIPT_POLLER_UNWATCH] = "epoll_ctl(MOD, without)",
        [SCRIPT_POLLER_ADD_LISTENER] = "epoll_ctl(ADD, a listener)", [SCRIPT_POLLER_REMOVE] = "epoll_ctl(DEL)",
        [SCRIPT_POLLER_WAIT] = "epoll_wait", [SCRIPT_CLOCK] = "clock_gettime",
};

const char *script_call_name(enum script_call call) {
        return script_names[call];
}

void script_reset(int64_t now_ms) {
        memset(&script, 0, sizeof(script));
        script.now_ms = now_ms;
        script.is_virtual = 1;
}

void script_count_anew(void) {
        memset(script.calls, 0, sizeof(script.calls));
}

struct script_rule *script_rule(enum script_call call, enum script_what what, int value, uint64_t nth) {
        struct script_rule *rule = &script.rules[script.n_rules++];

        *rule = (struct script_rule){ .call = call, .what = what, .value = value, .nth = nth };
        return rule;
}

static struct script_fd *script_fd(int fd) {
        return fd >= 0 && fd < SCRIPT_FDS ? &script.fds[fd] : NULL;
}

void script_forget_closed(void) {
        for (int fd = 0; fd < SCRIPT_FDS; fd++)
                if (fcntl(fd, F_GETFD) < 0)
                        script.fds[fd] = (struct script_fd){ 0 };
}

void script_spare(int fd) {
        script_fd(fd)->spared = 1;
}

static int script_is_spared(int fd) {
        return script_fd(fd) && script_fd(fd)->spared;
}

static void script_lied(int fd) {
        if (script_fd(fd) && script_fd(fd)->poller)
                script_fd(fd)->lied = 1;
}

/* The process dies, if this is the moment. */
static void script_live(enum script_call call, enum script_moment when) {
        if (!script.die_nth || script.calls[call] != script.die_nth || script.die_at != call ||
            script.die_when != when || !script.counted || !script.grave)
                return;
        script.die_nth = 0;
        longjmp(*script.grave, 1);
}

/* Counts a call on one or two descriptors (-1: none).  Returns the rule that it falls under, or NULL. */
static struct script_rule *script_enter(enum script_call call, int a, int b) {
        script.work++;
        script.counted = !script_is_spared(a) && !script_is_spared(b);
        if (!script.counted)
                return NULL;
        script.calls[call]++;
        script_live(call, SCRIPT_BEFORE);
        for (unsigned i = 0; i < script.n_rules; i++) {
                struct script_rule *rule = &script.rules[i];

                if (rule->call != call || (rule->nth && rule->nth != script.calls[call]))
                        continue;
                rule->hits++;
                if ((script_fd(a) && script_fd(a)->accepted) || (script_fd(b) && script_fd(b)->accepted))
                        rule->accepted = 1;
                else
                        rule->other = 1;
                if (rule->nth && (rule->what != SCRIPT_FAIL || rule->value == EAGAIN)) {
                        script_lied(a);
                        script_lied(b);
                }
                return rule;
        }
        return NULL;
}

/* For calls that move bytes: sets *result and returns 1 where the rule answers, else cuts *len. */
static int script_transfer(enum script_call call, int a, int b, size_t *len, ssize_t *result) {
        struct script_rule *rule = script_enter(call, a, b);

        if (!rule)
                return 0;
        if (rule->what == SCRIPT_SHORT) {
                if (*len > (size_t)rule->value)
                        *len = (size_t)rule->value;
                return 0;
        }
        *result = rule->what == SCRIPT_FAIL ? -rule->value : 0;
        return 1;
}

/* The kernel does the call, which the process may not outlive. */
#define SCRIPT_REAL(call, made)                                                                                        \
        ({                                                                                                             \
                __typeof__(made) result_ = (made);                                                                     \
                script_live((call), SCRIPT_AFTER);                                                                     \
                result_;                                                                                               \
        })

/* For the others: a rule makes them fail. */
#define SCRIPT_MAY_FAIL(call, fd)                                                                                      \
        do {                                                                                                           \
                struct script_rule *rule_ = script_enter((call), (fd), -1);                                            \
                if (rule_)                                                                                             \
                        return rule_->what == SCRIPT_FAIL ? -rule_->value : 0;                                         \
        } while (0)

#define SCRIPT_MODEL(member, ...)                                                                                      \
        do {                                                                                                           \
                if (script.model && script.model->member)                                                              \
                        return script.model->member(script.model_arg, __VA_ARGS__);                                    \
        } while (0)

/* Notes a descriptor that the kernel has given, or that it gave none. */
static int script_opened(int fd, struct script_fd state) {
        if (script_fd(fd)) {
                *script_fd(fd) = state;
                script_fd(fd)->opened = 1;
        }
        return fd;
}

int sys_accept(int fd, struct sockaddr *sa, socklen_t *len) {
        SCRIPT_MAY_FAIL(SCRIPT_ACCEPT, fd);
        return SCRIPT_REAL(SCRIPT_ACCEPT, script_opened(real_accept(fd, sa, len), (struct script_fd){ .accepted = 1 }));
}

int sys_socket(int domain, int type, int protocol) {
        SCRIPT_MAY_FAIL(SCRIPT_SOCKET, -1);
        return SCRIPT_REAL(SCRIPT_SOCKET, script_opened(real_socket(domain, type, protocol), (struct script_fd){ 0 }));
}

int sys_bind(int fd, const struct sockaddr *sa, socklen_t len) {
        SCRIPT_MAY_FAIL(SCRIPT_BIND, fd);
        return SCRIPT_REAL(SCRIPT_BIND, real_bind(fd, sa, len));
}

int sys_connect(int fd, const struct sockaddr *sa, socklen_t len) {
        SCRIPT_MAY_FAIL(SCRIPT_CONNECT, fd);
        return SCRIPT_REAL(SCRIPT_CONNECT, real_connect(fd, sa, len));
}

int sys_shutdown(int fd, int how) {
        SCRIPT_MAY_FAIL(SCRIPT_SHUTDOWN, fd);
        SCRIPT_MODEL(shutdown, fd, how);
        return SCRIPT_REAL(SCRIPT_SHUTDOWN, real_shutdown(fd, how));
}

int sys_close(int fd) {
        struct script_rule *rule = script_enter(SCRIPT_CLOSE, fd, -1);
        int r;

        if (script.model && script.model->close)
                return script.model->close(script.model_arg, fd);
        if (script_fd(fd))
                *script_fd(fd) = (struct script_fd){ 0 };
        r = SCRIPT_REAL(SCRIPT_CLOSE, real_close(fd));
        return rule && rule->what == SCRIPT_FAIL ? -rule->value : r;
}

int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
        SCRIPT_MAY_FAIL(SCRIPT_GETSOCKOPT, fd);
        SCRIPT_MODEL(getsockopt, fd, level, name, value, len);
        return SCRIPT_REAL(SCRIPT_GETSOCKOPT, real_getsockopt(fd, level, name, value, len));
}

int sys_getsockname(int fd, struct sockaddr *sa, socklen_t *len) {
        SCRIPT_MAY_FAIL(SCRIPT_GETSOCKNAME, fd);
        return SCRIPT_REAL(SCRIPT_GETSOCKNAME, real_getsockname(fd, sa, len));
}

int sys_getpeername(int fd, struct sockaddr *sa, socklen_t *len) {
        SCRIPT_MAY_FAIL(SCRIPT_GETPEERNAME, fd);
        return SCRIPT_REAL(SCRIPT_GETPEERNAME, real_getpeername(fd, sa, len));
}

int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
        enum script_call call = level == SOL_SOCKET && name == SO_LINGER ? SCRIPT_LINGER : SCRIPT_SETSOCKOPT;

        SCRIPT_MAY_FAIL(call, fd);
        SCRIPT_MODEL(setsockopt, fd, level, name, value, len);
        return SCRIPT_REAL(call, real_setsockopt(fd, level, name, value, len));
}

ssize_t sys_recv(int fd, void *buf, size_t len, int flags) {
        ssize_t n;

        if (script_transfer(SCRIPT_RECV, fd, -1, &len, &n))
                return n;
        SCRIPT_MODEL(recv, fd, buf, len, flags);
        return SCRIPT_REAL(SCRIPT_RECV, real_recv(fd, buf, len, flags));
}

ssize_t sys_recvmsg(int fd, struct msghdr *message, int flags) {
        ssize_t n;

        if (script_transfer(SCRIPT_RECVMSG, fd, -1, &message->msg_iov[0].iov_len, &n))
                return n;
        message->msg_flags = 0;
        SCRIPT_MODEL(recv, fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len, flags);
        return SCRIPT_REAL(SCRIPT_RECVMSG, real_recvmsg(fd, message, flags));
}

ssize_t sys_send(int fd, const void *buf, size_t len, int flags) {
        ssize_t n;

        if (script_transfer(SCRIPT_SEND, fd, -1, &len, &n))
                return n;
        SCRIPT_MODEL(send, fd, buf, len, flags);
        return SCRIPT_REAL(SCRIPT_SEND, real_send(fd, buf, len, flags));
}

ssize_t sys_read(int fd, void *buf, size_t len) {
        ssize_t n;

        if (script_transfer(SCRIPT_READ, fd, -1, &len, &n))
                return n;
        return SCRIPT_REAL(SCRIPT_READ, real_read(fd, buf, len));
}

ssize_t sys_write(int fd, const void *buf, size_t len) {
        ssize_t n;

        if (script_transfer(SCRIPT_WRITE, fd, -1, &len, &n))
                return n;
        SCRIPT_MODEL(write, fd, buf, len);
        return SCRIPT_REAL(SCRIPT_WRITE, real_write(fd, buf, len));
}

ssize_t sys_splice(int from, int to, size_t len) {
        enum script_call call = script_fd(to) && script_fd(to)->pipe ? SCRIPT_SPLICE_IN : SCRIPT_SPLICE_OUT;
        ssize_t n;

        if (script_transfer(call, from, to, &len, &n))
                return n;
        SCRIPT_MODEL(splice, from, to, len);
        return SCRIPT_REAL(call, real_splice(from, to, len));
}

ssize_t sys_tee(int from, int to, size_t len) {
        ssize_t n;

        if (script_transfer(SCRIPT_TEE, from, to, &len, &n))
                return n;
        return SCRIPT_REAL(SCRIPT_TEE, real_tee(from, to, len));
}

int sys_pipe(int ends[2]) {
        int r;

        SCRIPT_MAY_FAIL(SCRIPT_PIPE, -1);
        SCRIPT_MODEL(pipe, ends);
        r = real_pipe(ends);
        for (int i = 0; r == 0 && i < 2; i++)
                script_opened(ends[i], (struct script_fd){ .pipe = 1 });
        return SCRIPT_REAL(SCRIPT_PIPE, r);
}

int sys_pipe_resize(int fd, int size) {
        SCRIPT_MAY_FAIL(SCRIPT_PIPE_RESIZE, fd);
        SCRIPT_MODEL(pipe_resize, fd, size);
        return SCRIPT_REAL(SCRIPT_PIPE_RESIZE, real_pipe_resize(fd, size));
}

int sys_pipe_size(int fd) {
        SCRIPT_MAY_FAIL(SCRIPT_PIPE_SIZE, fd);
        SCRIPT_MODEL(pipe_size, fd);
        return SCRIPT_REAL(SCRIPT_PIPE_SIZE, real_pipe_size(fd));
}

int sys_unsent(int fd) {
        SCRIPT_MAY_FAIL(SCRIPT_UNSENT, fd);
        SCRIPT_MODEL(unsent, fd);
        return SCRIPT_REAL(SCRIPT_UNSENT, real_unsent(fd));
}

int64_t sys_clock_ms(void) {
        return script.is_virtual ? script.now_ms : real_clock_ms();
}

/* It cannot fail, but somebody may die there: between two notes, where there is no other call. */
int64_t sys_clock_us(void) {
        script.counted = 1;
        script.calls[SCRIPT_CLOCK]++;
        script_live(SCRIPT_CLOCK, SCRIPT_BEFORE);
        script_live(SCRIPT_CLOCK, SCRIPT_AFTER);
        return script.is_virtual ? script.now_ms * 1000 : real_clock_us();
}

int poller_new(void) {
        SCRIPT_MAY_FAIL(SCRIPT_POLLER_NEW, -1);
        return SCRIPT_REAL(SCRIPT_POLLER_NEW, real_poller_new());
}

static void script_registered(int poller, int fd, uint64_t key, uint8_t listener, uint8_t quiet) {
        if (!script_fd(fd))
                return;
        script_fd(fd)->poller = poller + 1;
        script_fd(fd)->key = key;
        script_fd(fd)->listener = listener;
        script_fd(fd)->quiet = quiet;
}

int poller_add(int poller, int fd, uint64_t key) {
        int r;

        SCRIPT_MAY_FAIL(SCRIPT_POLLER_ADD, fd);
        r = real_poller_add(poller, fd, key);
        if (r == 0)
                script_registered(poller, fd, key, 0, 0);
        return SCRIPT_REAL(SCRIPT_POLLER_ADD, r);
}

int poller_add_quiet(int poller, int fd, uint64_t key) {
        int r;

        SCRIPT_MAY_FAIL(SCRIPT_POLLER_ADD, fd);
        r = real_poller_add_quiet(poller, fd, key);
        if (r == 0)
                script_registered(poller, fd, key, 0, 1);
        return SCRIPT_REAL(SCRIPT_POLLER_ADD, r);
}

int poller_watch(int poller, int fd, uint64_t key) {
        SCRIPT_MAY_FAIL(SCRIPT_POLLER_WATCH, fd);
        SCRIPT_MODEL(watch, fd);
        if (script_fd(fd))
                script_fd(fd)->quiet = 0;
        return SCRIPT_REAL(SCRIPT_POLLER_WATCH, real_poller_watch(poller, fd, key));
}

int poller_unwatch(int poller, int fd, uint64_t key) {
        SCRIPT_MAY_FAIL(SCRIPT_POLLER_UNWATCH, fd);
        SCRIPT_MODEL(unwatch, fd);
        if (script_fd(fd))
                script_fd(fd)->quiet = 1;
        return SCRIPT_REAL(SCRIPT_POLLER_UNWATCH, real_poller_unwatch(poller, fd, key));
}

int poller_add_listener(int poller, int fd, uint64_t key) {
        int r;

        SCRIPT_MAY_FAIL(SCRIPT_POLLER_ADD_LISTENER, fd);
        r = real_poller_add_listener(poller, fd, key);
        if (r == 0)
                script_registered(poller, fd, key, 1, 0);
        return SCRIPT_REAL(SCRIPT_POLLER_ADD_LISTENER, r);
}

int poller_remove(int poller, int fd) {
        SCRIPT_MAY_FAIL(SCRIPT_POLLER_REMOVE, fd);
        if (script_fd(fd))
                script_fd(fd)->poller = 0;
        return SCRIPT_REAL(SCRIPT_POLLER_REMOVE, real_poller_remove(poller, fd));
}

/* A descriptor that is registered anew reports what holds as a fresh edge. */
static void script_make_good(void) {
        for (int fd = 0; fd < SCRIPT_FDS; fd++) {
                struct script_fd *state = &script.fds[fd];

                if (!state->lied)
                        continue;
                state->lied = 0;
                if (!state->poller)
                        continue;
                real_poller_remove(state->poller - 1, fd);
                if (state->listener)
                        real_poller_add_listener(state->poller - 1, fd, state->key);
                else if (state->quiet)
                        real_poller_add_quiet(state->poller - 1, fd, state->key);
                else
                        real_poller_add(state->poller - 1, fd, state->key);
        }
}

int poller_wait(int poller, struct poller_event *events, int max, int timeout_ms) {
        script.work--;
        SCRIPT_MAY_FAIL(SCRIPT_POLLER_WAIT, -1);
        SCRIPT_MODEL(wait, events, max);
        script_make_good();
        return SCRIPT_REAL(SCRIPT_POLLER_WAIT,
                           real_poller_wait(poller, events, max, script.is_virtual ? 0 : timeout_ms));
}
