/* SPDX-License-Identifier: ISC */
#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers that some build with. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

/* Rights by the ABI that brought them; each has those of the ones before. */
#define SANDBOX_ABI_1 ((1ULL << 13) - 1)
#define SANDBOX_ABI_2 (SANDBOX_ABI_1 | LANDLOCK_ACCESS_FS_REFER)
#define SANDBOX_ABI_3 (SANDBOX_ABI_2 | LANDLOCK_ACCESS_FS_TRUNCATE)
#define SANDBOX_ABI_5 (SANDBOX_ABI_3 | LANDLOCK_ACCESS_FS_IOCTL_DEV)

/* What a rule on something that is no directory may hold. */
#define SANDBOX_FILE_RIGHTS \
        (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | \
         LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV)

/* The ABI of this kernel's Landlock, or 0 where it has none or was started without. */
static int sandbox_abi(void) {
        long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, (long)LANDLOCK_CREATE_RULESET_VERSION);

        return abi < 0 ? 0 : (int)abi;
}

/* Whatever this kernel can refuse is refused, unless a path is given for it. */
static uint64_t sandbox_handled(int abi) {
        if (abi >= 5)
                return SANDBOX_ABI_5;
        if (abi >= 3)
                return SANDBOX_ABI_3;
        return abi >= 2 ? SANDBOX_ABI_2 : SANDBOX_ABI_1;
}

/* Renaming within a directory needs the rights to make and to remove there, but not REFER. */
static uint64_t sandbox_access(unsigned rights) {
        uint64_t access = 0;

        if (rights & SANDBOX_READ)
                access |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
        if (rights & SANDBOX_WRITE)
                access |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_MAKE_REG;
        if (rights & SANDBOX_REPLACE)
                access |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
        if (rights & SANDBOX_SOCKETS)
                access |= LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
        return access;
}

/* Returns 0, 1 where there is no such path, or -errno. */
static int sandbox_path_add(int ruleset, uint64_t handled, const char *path, unsigned rights) {
        struct landlock_path_beneath_attr rule = { .allowed_access = sandbox_access(rights) & handled };
        struct stat st;
        int r = 0;

        rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
        if (rule.parent_fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 1 : -errno;
        if (fstat(rule.parent_fd, &st) < 0)
                r = -errno;
        else if (!S_ISDIR(st.st_mode))
                rule.allowed_access &= SANDBOX_FILE_RIGHTS;
        if (r == 0 && rule.allowed_access != 0 &&
            syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0L) < 0)
                r = -errno;
        close(rule.parent_fd);
        return r;
}

static int sandbox_paths(int ruleset, uint64_t handled, const struct sandbox_rules *rules,
                         struct sandbox_report *report) {
        static const char *const base[] = { SANDBOX_BASE };
        int r = sandbox_path_add(ruleset, handled, "/dev/null", SANDBOX_READ | SANDBOX_WRITE);

        for (size_t i = 0; i < sizeof(base) / sizeof(base[0]) && r >= 0; i++)
                r = sandbox_path_add(ruleset, handled, base[i], SANDBOX_READ);
        for (size_t i = 0; i < rules->n_paths && r >= 0; i++) {
                r = sandbox_path_add(ruleset, handled, rules->paths[i].path, rules->paths[i].rights);
                if (r > 0 && !report->missing)
                        report->missing = rules->paths[i].path;
        }
        return r < 0 ? r : 0;
}

static int sandbox_files(const struct sandbox_rules *rules, struct sandbox_report *report) {
        int abi = sandbox_abi();
        struct landlock_ruleset_attr attr = { .handled_access_fs = sandbox_handled(abi) };
        int ruleset, r;

        if (abi == 0)
                return 0;
        ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0L);
        if (ruleset < 0)
                return -errno;
        r = sandbox_paths(ruleset, attr.handled_access_fs, rules, report);
        if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0L) < 0)
                r = -errno;
        close(ruleset);
        if (r == 0)
                report->landlock = abi;
        return r;
}

int sandbox_enter(const struct sandbox_rules *rules, struct sandbox_report *report) {
        struct sandbox_calls calls = { 0 };
        int r;

        *report = (struct sandbox_report){ 0 };
        if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0)
                return -errno;
        /* Before the file system closes: it takes a file. */
        r = rules->calls ? 0 : sandbox_calls_init(&calls);
        if (r == 0)
                r = sandbox_files(rules, report);
        if (r == 0) {
                r = sandbox_calls_enter(rules->calls ? rules->calls : &calls);
                report->seccomp = r == 0;
        }
        sandbox_calls_deinit(&calls);
        return r < 0 ? r : 0;
}

char *sandbox_describe(char *buf, size_t size) {
        const char *seccomp = sandbox_calls_there() ? "yes" : "not in this kernel";
        int abi = sandbox_abi();

        if (abi > 0)
                snprintf(buf, size, "seccomp: %s, landlock: ABI %d", seccomp, abi);
        else
                snprintf(buf, size, "seccomp: %s, landlock: not in this kernel", seccomp);
        return buf;
}
