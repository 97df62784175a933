/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_PROCESS_H
#define SPLICED_KEEPER_PROCESS_H

#include <sys/types.h>

/* Processes that share the keeper's table of descriptors. */

/*
 * As fork(2), but the child shares the caller's table of descriptors
 * (CLONE_FILES): what it opens and closes, both have opened and closed.  The caller must have one
 * thread.  Fork handlers do not run.  libc's note of the thread's number is put
 * right in the child, where the kernel tells its address (prctl(2), PR_GET_TID_ADDRESS).
 * In the child PR_SET_PDEATHSIG is SIGKILL: it does not outlive its parent.
 * Returns as fork(2), or -errno.
 */
pid_t process_clone(void);

/*
 * Asks again to be killed with the parent: a change of user forgets it.  Ends
 * the process where the parent is gone already.
 */
void process_follow_parent(pid_t parent);

/* Describes how a process ended, as of waitpid(2): "killed by SIGSEGV (core dumped)", "exit status 3".  Returns buf. */
const char *process_ending(int status, char *buf, size_t size);

/* Whether that was a fault of its own, and not a kill from outside or a clean exit. */
int process_faulted(int status);

#endif
