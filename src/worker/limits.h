/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_LIMITS_H
#define SPLICED_WORKER_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* How many sessions, pipes and descriptors there may be. */

#define LIMITS_SESSIONS_MAX 100000      /* of "auto": some systems allow 2^30 descriptors */

struct limits {
        uint32_t sessions;
        uint32_t pipes;
        uint64_t descriptors;           /* that all this needs */
};

/*
 * Works out what fits into `descriptors` (a limit as of RLIMIT_NOFILE), for so
 * many threads, and listeners and checks (`others`).  wanted = 0 is "auto".  Returns 0; or 1 where
 * `wanted` sessions, or not even one, do not fit: limits->descriptors tells what it would take.
 */
#define LIMITS_TOO_LOW 1
int limits_fit(struct limits *limits, uint64_t descriptors, uint32_t wanted, unsigned threads, size_t others);

/* Raises the soft limit of descriptors to the hard one.  Returns the limit in force. */
uint64_t limits_raise(void);

/* Makes the kernel's descriptor table as large as it will be needed: growing it under load stalls accept. */
void limits_grow_table(uint64_t descriptors);

/* Bytes of pipe buffers that big pipes may take together: half of what the kernel allows a user. */
uint64_t limits_pipe_budget(void);

/* CPUs that this process may use. */
unsigned limits_cpus(void);

#endif
