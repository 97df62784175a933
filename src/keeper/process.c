/* SPDX-License-Identifier: ISC */
#include "keeper/process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void process_follow_parent(pid_t parent) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
}

pid_t process_clone(void) {
        unsigned long flags = CLONE_FILES | SIGCHLD;
        pid_t parent = getpid();
        int *tid = NULL;
        long pid;

        if (prctl(PR_GET_TID_ADDRESS, &tid) == 0 && tid)
                flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        /*
         * Not clone3(), whose flags are out of sight: systemd refuses it where it restricts namespaces.
         * Architectures have tid as the fourth or the fifth argument, beside one that is not looked at.
         */
#ifdef __s390x__
        pid = syscall(SYS_clone, 0UL, flags, NULL, tid, tid);
#else
        pid = syscall(SYS_clone, flags, 0UL, NULL, tid, tid);
#endif
        if (pid < 0)
                return -errno;
        if (pid == 0)
                process_follow_parent(parent);
        return (pid_t)pid;
}

const char *process_ending(int status, char *buf, size_t size) {
        if (WIFSIGNALED(status))
                snprintf(buf, size, "killed by SIG%s%s", sigabbrev_np(WTERMSIG(status)),
                         WCOREDUMP(status) ? " (core dumped)" : "");
        else
                snprintf(buf, size, "exit status %d", WEXITSTATUS(status));
        return buf;
}

int process_faulted(int status) {
        if (!WIFSIGNALED(status))
                return WEXITSTATUS(status) != 0;
        switch (WTERMSIG(status)) {
        case SIGKILL:
        case SIGTERM:
        case SIGINT:
                return 0;
        default:
                return 1;
        }
}
