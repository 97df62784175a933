/* SPDX-License-Identifier: ISC */
#include "worker/sandbox_calls.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
        __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZER 1
#else
#define SANDBOX_SANITIZER 0
#endif

/* The part of an argument that counts where the kernel takes an int. */
#define SANDBOX_INT UINT32_MAX

/*
 * Let through whatever the arguments are.  The kernel keeps a bitmap of such calls and does
 * not run the filter for them, so the data path's belong here.  Names that an
 * architecture or the library does not know are left out.
 */
static const char *const sandbox_allowed[] = {
        /* bytes */
        "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2", "splice",
        "tee", "vmsplice", "sendfile", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "pipe",
        "pipe2",
        /* sockets; socket() itself is below */
        "socketpair", "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername",
        "getsockopt", "setsockopt",
        /* events and timers */
        "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select",
        "pselect6", "eventfd2", "signalfd4", "timerfd_create", "timerfd_settime", "timerfd_gettime", "clock_gettime",
        "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
        /* descriptors */
        "close", "close_range", "dup", "dup2", "dup3", "fcntl", "lseek", "fstat", "pidfd_open",
        /* files: which ones is up to Landlock */
        "open", "openat", "stat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
        "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "umask", "flock", "ftruncate", "fallocate",
        "fadvise64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat",
        "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "fchownat", "memfd_create",
        /* memory; mmap() and mprotect() are below */
        "brk", "munmap", "mremap", "madvise", "mincore", "msync", "membarrier", "mlock", "munlock",
        /* threads; clone() is below */
        "futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "gettid", "exit", "exit_group",
        "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler",
        "sched_get_priority_min", "sched_get_priority_max", "getcpu", "arch_prctl", "restart_syscall",
        /* signals; to whom is up to the second filter, below */
        "kill", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend",
        "rt_sigtimedwait", "sigaltstack",
        /* who and how much */
        "getpid", "getppid", "getpgrp", "getpgid", "getsid", "getuid", "geteuid", "getresuid", "getgid", "getegid",
        "getresgid", "getgroups", "capget", "getrusage", "getrlimit", "sysinfo", "uname", "getrandom",
#if SANDBOX_SANITIZER
        "clone", "ptrace", "wait4", "process_vm_readv", "personality", "mprotect", "mmap", "prctl", "pause", "getdents",
        "tkill",
#endif
};

/* Refused with EPERM: they exist, and they are not for a worker. */
static const char *const sandbox_refused[] = {
        /* programs and processes; a clone() that makes no thread is below */
        "execve", "execveat", "fork", "vfork", "wait4", "waitid", "ptrace", "process_vm_readv", "process_vm_writev",
        "process_madvise", "kcmp", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
        "tkill", "personality", "unshare", "setns", "setsid", "setpgid", "sched_setscheduler",
        "sched_setparam", "sched_setattr", "ioprio_set",
        /* identity and rights */
        "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
        "capset", "setrlimit", "keyctl", "add_key", "request_key", "seccomp", "landlock_restrict_self",
        /* file systems */
        "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig",
        "fsmount", "fspick", "mount_setattr", "quotactl", "quotactl_fd", "swapon", "swapoff", "mknod", "mknodat",
        "mkdir", "mkdirat", "rmdir", "symlink", "symlinkat", "truncate", "creat", "setxattr", "lsetxattr",
        "fsetxattr", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark", "inotify_init",
        "inotify_init1", "utimensat", "utimes", "utime", "futimesat", "chdir", "fchdir", "acct",
        /* the kernel */
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
        "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "syslog", "iopl",
        "ioperm", "modify_ldt", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
        "setdomainname", "vhangup", "nfsservctl", "lookup_dcookie", "pkey_mprotect", "remap_file_pages", "move_pages",
        "mbind", "migrate_pages", "set_mempolicy", "uselib", "memfd_secret",
        /* System V's and POSIX's ways to talk to others */
        "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl",
        "semtimedop", "mq_open", "mq_unlink",
};

/* One call where `arg`, or those bits of it that mask has, is value. */
static int sandbox_calls_if(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned arg, uint64_t mask,
                            uint64_t value) {
        struct scmp_arg_cmp condition = {
                .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value,
        };
        int call = seccomp_syscall_resolve_name(name);

        return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(filter, action, call, 1, &condition);
}

static int sandbox_calls_list(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n) {
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                int call = seccomp_syscall_resolve_name(names[i]);

                if (call == __NR_SCMP_ERROR)
                        continue;
                r = seccomp_rule_add(filter, action, call, 0);
                /* There with the other action already (a sanitizer's): the first one stays. */
                if (r == -EEXIST)
                        r = 0;
        }
        return r;
}

/* The families that a listener, a server or the resolver has. */
static int sandbox_calls_socket(scmp_filter_ctx filter) {
        static const unsigned families[] = { AF_UNIX, AF_INET, AF_INET6 };
        int r = 0;

        for (size_t i = 0; i < sizeof(families) / sizeof(families[0]) && r == 0; i++)
                r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "socket", 0, SANDBOX_INT, families[i]);
        return r;
}

/* Memory that can be written is never code, and nothing becomes code later. */
static int sandbox_calls_memory(scmp_filter_ctx filter) {
        static const unsigned good[] = { 0, PROT_WRITE, PROT_EXEC };
        const unsigned mask = PROT_WRITE | PROT_EXEC;
        int r;

        if (SANDBOX_SANITIZER)
                return 0;
        r = sandbox_calls_if(filter, SCMP_ACT_ERRNO(EPERM), "mmap", 2, mask, mask);
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]) && r == 0; i++)
                r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "mmap", 2, mask, good[i]);
        if (r == 0)
                r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "mprotect", 2, PROT_EXEC, 0);
        if (r == 0)
                r = sandbox_calls_if(filter, SCMP_ACT_ERRNO(EPERM), "mprotect", 2, PROT_EXEC, PROT_EXEC);
        return r;
}

/*
 * Threads, but no processes.  clone3() hides its flags behind a pointer, so it is in no list: as unknown
 * it fails with ENOSYS, and libc uses clone().
 */
static int sandbox_calls_threads(scmp_filter_ctx filter) {
#ifdef __s390x__ /* flags and stack change places there */
        const unsigned flags = 1;
#else
        const unsigned flags = 0;
#endif
        int r;

        if (SANDBOX_SANITIZER)
                return 0;
        r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "clone", flags, CLONE_THREAD, CLONE_THREAD);
        if (r == 0)
                r = sandbox_calls_if(filter, SCMP_ACT_ERRNO(EPERM), "clone", flags, CLONE_THREAD, 0);
        return r;
}

/* Of the calls that are a hundred calls each. */
static int sandbox_calls_multiplexed(scmp_filter_ctx filter) {
        static const unsigned ioctls[] = {
                FIONREAD, FIONBIO, TIOCOUTQ, SIOCOUTQNSD, TCGETS, TIOCGWINSZ, SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFCONF,
                SIOCGIFFLAGS, SIOCGIFADDR,
        };
        static const unsigned prctls[] = {
                PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_DUMPABLE, PR_GET_DUMPABLE,
                PR_GET_TID_ADDRESS, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_SET_TIMERSLACK, PR_CAPBSET_READ,
#ifdef PR_SET_VMA
                PR_SET_VMA,
#endif
        };
        int r = 0;

        for (size_t i = 0; i < sizeof(ioctls) / sizeof(ioctls[0]) && r == 0; i++)
                r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "ioctl", 1, SANDBOX_INT, ioctls[i]);
        for (size_t i = 0; i < sizeof(prctls) / sizeof(prctls[0]) && r == 0 && !SANDBOX_SANITIZER; i++)
                r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "prctl", 0, SANDBOX_INT, prctls[i]);
        /* Limits of this process alone. */
        if (r == 0)
                r = sandbox_calls_if(filter, SCMP_ACT_ALLOW, "prlimit64", 0, SANDBOX_INT, 0);
        return r;
}

/* A thread may set its own priority, and nobody else's. */
static int sandbox_calls_priority(scmp_filter_ctx filter) {
        const struct scmp_arg_cmp own[] = {
                { .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = SANDBOX_INT, .datum_b = PRIO_PROCESS },
                { .arg = 1, .op = SCMP_CMP_MASKED_EQ, .datum_a = SANDBOX_INT, .datum_b = 0 },
        };
        const int call = SCMP_SYS(setpriority);
        int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 2, own);

        for (unsigned i = 0; i < 2 && r == 0; i++) {
                struct scmp_arg_cmp other = { .arg = i, .op = SCMP_CMP_NE, .datum_a = 0 };

                r = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), call, 1, &other);
        }
        return r;
}

static int sandbox_calls_fill(scmp_filter_ctx filter) {
        int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
        /* A tree instead of a chain, for the calls that the kernel has to run the filter for. */
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (r == 0)
                r = sandbox_calls_list(filter, SCMP_ACT_ALLOW, sandbox_allowed,
                                       sizeof(sandbox_allowed) / sizeof(sandbox_allowed[0]));
        if (r == 0)
                r = sandbox_calls_list(filter, SCMP_ACT_ERRNO(EPERM), sandbox_refused,
                                       sizeof(sandbox_refused) / sizeof(sandbox_refused[0]));
        if (r == 0)
                r = sandbox_calls_socket(filter);
        if (r == 0)
                r = sandbox_calls_memory(filter);
        if (r == 0)
                r = sandbox_calls_threads(filter);
        if (r == 0)
                r = sandbox_calls_multiplexed(filter);
        if (r == 0)
                r = sandbox_calls_priority(filter);
        return r;
}

int sandbox_calls_there(void) {
        /* The filter is never looked at: where there are filters, a null pointer is the mistake that is found. */
        return prctl(PR_SET_SECCOMP, (long)SECCOMP_MODE_FILTER, NULL, 0L, 0L) < 0 && errno == EFAULT;
}

/* The library writes what it has made to a file only. */
static int sandbox_calls_export(struct sandbox_calls *calls, scmp_filter_ctx filter) {
        int fd = memfd_create("spliced-calls", MFD_CLOEXEC);
        off_t size;
        int r;

        if (fd < 0)
                return -errno;
        r = seccomp_export_bpf(filter, fd);
        size = r < 0 ? -1 : lseek(fd, 0, SEEK_END);
        if (size > 0)
                calls->code = malloc((size_t)size);
        if (r == 0 && size < 0)
                r = -errno;
        else if (r == 0 && !calls->code)
                r = -ENOMEM;
        else if (r == 0 && pread(fd, calls->code, (size_t)size, 0) != size)
                r = -EIO;
        if (r == 0)
                calls->n = (size_t)size / sizeof(*calls->code);
        close(fd);
        return r;
}

int sandbox_calls_init(struct sandbox_calls *calls) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
        int r;

        *calls = (struct sandbox_calls){ 0 };
        if (!filter)
                return -ENOMEM;
        r = sandbox_calls_fill(filter);
        if (r == 0)
                r = sandbox_calls_export(calls, filter);
        seccomp_release(filter);
        if (r < 0)
                sandbox_calls_deinit(calls);
        return r;
}

void sandbox_calls_deinit(struct sandbox_calls *calls) {
        free(calls->code);
        *calls = (struct sandbox_calls){ 0 };
}

static int sandbox_calls_load(struct sock_filter *code, size_t n) {
        struct sock_fprog program = { .len = (unsigned short)n, .filter = code };

        return syscall(SYS_seccomp, (long)SECCOMP_SET_MODE_FILTER, 0L, &program) < 0 ? -errno : 0;
}

/*
 * A filter of its own, since it is another one for each worker: signals go to this process (abort, between
 * threads) and to the keeper (a reload that was asked for here).  Of two filters the stricter answer counts.
 */
static int sandbox_calls_signals(void) {
        const uint32_t call = offsetof(struct seccomp_data, nr), target = offsetof(struct seccomp_data, args) +
                (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
        const uint32_t self = (uint32_t)getpid(), parent = (uint32_t)getppid();
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, call),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 4, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 0, 5),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, target),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 3, 0),
                /* A parent of another PID namespace has no number here, and 0 is the process group. */
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, parent ? parent : self, 2, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, target),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        };

        return sandbox_calls_load(code, sizeof(code) / sizeof(code[0]));
}

int sandbox_calls_enter(const struct sandbox_calls *calls) {
        int r;

        if (!sandbox_calls_there())
                return SANDBOX_CALLS_NONE;
        r = sandbox_calls_signals();
        return r < 0 ? r : sandbox_calls_load(calls->code, calls->n);
}
