/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_TESTS_UNIT_CHILD_H
#define SPLICED_TESTS_UNIT_CHILD_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Tests of what a process cannot undo: each runs in a child, which ends by itself and says what went wrong. */

#define CHILD_SECONDS 60

/* In a child: ends it with a message where the condition is false. */
#define CHECK(condition)                                                                                               \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        dprintf(STDERR_FILENO, "# %s:%d: not so: %s (errno %s)\n", __FILE__, __LINE__, #condition,     \
                                strerror(errno));                                                                      \
                        _exit(1);                                                                                      \
                }                                                                                                      \
        } while (0)

/* Runs fn in a child.  Returns its wait status: 0 where every check held. */
static inline int child_run(void (*fn)(void *), void *arg) {
        int status = -1;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                alarm(CHILD_SECONDS);
                fn(arg);
                _exit(0);
        }
        while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return status;
}

/* Passes a cmocka test where every check in the child held. */
#define assert_child(fn, arg) assert_int_equal(child_run((fn), (arg)), 0)

#endif
