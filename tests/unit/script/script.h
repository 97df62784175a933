/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_SCRIPT_SCRIPT_H
#define TESTS_UNIT_SCRIPT_SCRIPT_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "engine/poller.h"

/*
 * The scripted kernel: every function of net/sys.h and engine/poller.h, to be
 * linked in place of libsys.a.  A call is counted and passed on to the real
 * kernel, unless a rule says that it fails or is cut short, or a model answers it.
 *
 * A kernel that says EAGAIN, or takes a part, sends an edge later.  So does the script: where a rule
 * with a number (not one for every call) told a lie about a registered descriptor, the next poller_wait()
 * reports it anew.
 *
 * One thread.  The seam has no argument for a context, hence the one global.
 */

enum script_call {
        SCRIPT_ACCEPT, SCRIPT_SOCKET, SCRIPT_BIND, SCRIPT_CONNECT, SCRIPT_SHUTDOWN, SCRIPT_CLOSE, SCRIPT_GETSOCKOPT,
        SCRIPT_SETSOCKOPT, SCRIPT_LINGER /* setsockopt(SO_LINGER) */, SCRIPT_GETSOCKNAME, SCRIPT_GETPEERNAME,
        SCRIPT_RECV, SCRIPT_RECVMSG, SCRIPT_SEND, SCRIPT_READ, SCRIPT_WRITE,
        SCRIPT_SPLICE_IN /* into a pipe */, SCRIPT_SPLICE_OUT /* from a pipe */, SCRIPT_TEE, SCRIPT_PIPE,
        SCRIPT_PIPE_RESIZE, SCRIPT_PIPE_SIZE, SCRIPT_UNSENT, SCRIPT_POLLER_NEW, SCRIPT_POLLER_ADD,
        SCRIPT_POLLER_WATCH, SCRIPT_POLLER_UNWATCH, SCRIPT_POLLER_ADD_LISTENER, SCRIPT_POLLER_REMOVE,
        SCRIPT_POLLER_WAIT, SCRIPT_CLOCK /* the one of microseconds, which connecting asks */,
        SCRIPT_CALLS
};

const char *script_call_name(enum script_call call);

/* What a rule does. */
enum script_what {
        SCRIPT_FAIL,            /* the call returns -value and does nothing (close: closes all the same) */
        SCRIPT_SHORT,           /* it is made for `value` bytes at most */
        SCRIPT_ZERO,            /* it returns 0 and does nothing */
};

struct script_rule {
        enum script_call call;
        enum script_what what;
        int value;
        uint64_t nth;           /* which call, from 1; 0: every one */
        uint64_t hits;          /* how often it applied */
        int accepted, other;    /* applied to a socket that was accepted, or to another */
};

/* A kernel that answers by itself.  What is NULL is passed on.  Same contracts as the seam's. */
struct script_model {
        ssize_t (*recv)(void *arg, int fd, void *buf, size_t len, int flags);   /* recvmsg too */
        ssize_t (*send)(void *arg, int fd, const void *buf, size_t len, int flags);
        ssize_t (*write)(void *arg, int fd, const void *buf, size_t len);
        ssize_t (*splice)(void *arg, int from, int to, size_t len);
        int (*pipe)(void *arg, int ends[2]);
        int (*pipe_resize)(void *arg, int fd, int size);
        int (*pipe_size)(void *arg, int fd);
        int (*shutdown)(void *arg, int fd, int how);
        int (*close)(void *arg, int fd);
        int (*getsockopt)(void *arg, int fd, int level, int name, void *value, socklen_t *len);
        int (*setsockopt)(void *arg, int fd, int level, int name, const void *value, socklen_t len);
        int (*unsent)(void *arg, int fd);
        int (*watch)(void *arg, int fd);
        int (*unwatch)(void *arg, int fd);
        int (*wait)(void *arg, struct poller_event *events, int max);
};

/* When the process dies that is to die at a call: before the kernel has done it, or right after. */
enum script_moment { SCRIPT_BEFORE, SCRIPT_AFTER };

#define SCRIPT_FDS 1024
#define SCRIPT_RULES 4

struct script_fd {
        uint64_t key;
        int poller;             /* that it is registered with, plus 1; 0: none */
        uint8_t listener, quiet, pipe, accepted, spared, lied;
        uint8_t opened;         /* by a call of the seam, and not closed since */
};

struct script {
        uint64_t calls[SCRIPT_CALLS];   /* counted since script_reset(), but for spared descriptors */
        uint64_t work;                  /* all calls but waiting and looking at the clock */
        struct script_rule rules[SCRIPT_RULES];
        unsigned n_rules;
        int64_t now_ms;                 /* the clock, when it is virtual; poller_wait() then never waits */
        int is_virtual;
        int counted;                    /* the last call was */
        enum script_call die_at;        /* the process dies at this call, once */
        enum script_moment die_when;
        uint64_t die_nth;               /* which of these, from 1; 0: it lives */
        jmp_buf *grave;                 /* where it goes then; NULL: it cannot die now */
        const struct script_model *model;
        void *model_arg;
        struct script_fd fds[SCRIPT_FDS];
};

extern struct script script;

/* Forgets rules, counts, the model and what is known of descriptors; the clock is virtual from now on, at now_ms. */
void script_reset(int64_t now_ms);

/* Starts counting anew, and the calls of the rules with it. */
void script_count_anew(void);

struct script_rule *script_rule(enum script_call call, enum script_what what, int value, uint64_t nth);

/* Forgets what is known of descriptors that were closed behind our back. */
void script_forget_closed(void);

/* Calls on fd are neither counted nor touched by rules from now on, until it is closed. */
void script_spare(int fd);

#endif
