/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_SANDBOX_CALLS_H
#define SPLICED_WORKER_SANDBOX_CALLS_H

#include <stddef.h>

/* The system calls that a sandboxed worker may make: the seccomp half of worker/sandbox.h. */

/*
 * The filter as the kernel takes it.  Making it takes a few milliseconds, putting it in force a
 * tenth of one; and it is the same for every worker, so the keeper makes it once.
 */
struct sandbox_calls {
        struct sock_filter *code;       /* n instructions; owned */
        size_t n;
};

/* Makes the filter.  Returns 0 or -errno (then it is empty). */
int sandbox_calls_init(struct sandbox_calls *calls);

/* Frees it.  Idempotent. */
void sandbox_calls_deinit(struct sandbox_calls *calls);

/*
 * Puts the filter around the calling thread and those that it will make; calls are borrowed for the call.
 * no_new_privs is set already.  Returns 0; SANDBOX_CALLS_NONE where this kernel has no seccomp filters; -errno.
 */
#define SANDBOX_CALLS_NONE 1
int sandbox_calls_enter(const struct sandbox_calls *calls);

/* Whether this kernel has seccomp filters. */
int sandbox_calls_there(void);

#endif
