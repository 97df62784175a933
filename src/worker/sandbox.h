/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_WORKER_SANDBOX_H
#define SPLICED_WORKER_SANDBOX_H

#include <stddef.h>

#include "worker/sandbox_calls.h"

/*
 * The sandbox of a worker: what someone who took it over could still do.
 *
 * seccomp lets through the system calls that the worker and its threads need
 * (sandbox_calls.c lists them by group).  What would be an attack (execve, ptrace, mount, new processes,
 * other identities, …) fails with EPERM, what is merely unknown with ENOSYS, so
 * that a library falls back as on an older kernel.  Signals go to this process and its parent only.  Calls of
 * a foreign architecture (32-bit ones, say) kill the process.
 *
 * Landlock closes the file system but for the paths given and those of the
 * name services (SANDBOX_BASE below).  It does not govern connect() to AF_UNIX paths, nor chmod, chown, stat
 * and the like, nor descriptors that are open already.  A file is known by its inode: give the
 * directory of whatever is replaced by renaming.  Memory and descriptors of other processes
 * in /proc are out of reach, also those of the keeper; their environment too, but for whoever has CAP_PERFMON (root).
 *
 * Both also hold for threads made later, and for good.
 *
 * A sanitizer build also lets its run-time library do what it wants: clone and ptrace (leak check at exit).
 */

/* What a path may be used for, and all that is below where it is a directory; as bits. */
enum sandbox_rights {
        SANDBOX_READ = 1,       /* open files to read, list directories */
        SANDBOX_WRITE = 2,      /* open files to write, make and truncate them */
        SANDBOX_REPLACE = 4,    /* remove files and rename them within their directory */
        SANDBOX_SOCKETS = 8,    /* make, rename and remove AF_UNIX sockets; list */
};

struct sandbox_path {
        const char *path;
        unsigned rights;
};

struct sandbox_rules {
        const struct sandbox_calls *calls;      /* made before, which saves each worker some ms; NULL: made now */
        const struct sandbox_path *paths;       /* besides SANDBOX_BASE */
        size_t n_paths;
};

/*
 * What is always readable: resolver and name services (their configuration, their modules,
 * and where resolv.conf may point to), time zones, /proc.  /dev/null may be written too.
 */
#define SANDBOX_BASE \
        "/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/proc", \
        "/dev/null", "/dev/urandom", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/nscd", \
        "/var/lib/misc", "/var/lib/sss"

/* What came of it. */
struct sandbox_report {
        int seccomp;            /* 1 where it is in force, 0 where this kernel has none */
        int landlock;           /* the kernel's ABI where it is in force, 0 where this kernel has none */
        const char *missing;    /* the first of rules->paths that is not there, and so is out of reach; NULL: none */
};

/*
 * Closes the sandbox around the calling thread, which is to be the only one,
 * after everything that needs more (capabilities, identity, namespaces) was done.  Sets no_new_privs.
 * A kernel without seccomp or Landlock is no error, but reported.
 * Returns 0 or -errno (then a part may be in force, and the process should end).
 */
int sandbox_enter(const struct sandbox_rules *rules, struct sandbox_report *report);

/* Writes what this kernel offers, as "seccomp: yes, landlock: ABI 6", for people.  Changes nothing.  Returns buf. */
char *sandbox_describe(char *buf, size_t size);

#endif
