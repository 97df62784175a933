/* SPDX-License-Identifier: ISC */
#include "keeper/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "session/env.h"

#define CONFINE_CORE_PATTERN "/proc/sys/kernel/core_pattern"

/* The folders that a sandbox leaves open. */
struct confine_paths {
        struct sandbox_path *list;      /* owned, as are the paths */
        size_t n, size;
        int r;
};

int confine_lookup(struct privilege *privilege, const struct conf *conf) {
        char why[PRIVILEGE_WHY];
        int r = privilege_lookup(privilege, conf->user, conf->group, why);

        if (r < 0)
                fprintf(stderr, "spliced: %s\n", why);
        return r;
}

/* An existing file stays whose it is.  Only one that this call made is given away, so no link can lead elsewhere. */
static void confine_make_log(const struct privilege *privilege, const struct log_target *target) {
        int fd;

        if (target->to != LOG_TO_FILE)
                return;
        fd = open(target->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
        if (fd < 0)
                return;
        /* Where this fails, confine_drop() finds a file that cannot be opened and says so. */
        if (fchown(fd, privilege->uid, privilege->gid) < 0)
                unlink(target->path);
        close(fd);
}

void confine_make_logs(const struct privilege *privilege, const struct conf *conf) {
        if (privilege->uid == (uid_t)-1 && privilege->gid == (gid_t)-1)
                return;
        confine_make_log(privilege, &conf->log);
        confine_make_log(privilege, &conf->access_log);
}

static void confine_failed(const struct conf *conf, struct log *log, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

static void confine_failed(const struct conf *conf, struct log *log, const char *fmt, ...) {
        char text[2 * 4096];
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        log_error(log, LOG_NO_CONTEXT, "%s", text);
        if (conf->log.to != LOG_TO_STDERR)
                fprintf(stderr, "spliced: %s\n", text);
}

/* A worker opens its logs anew, and so does a rotation. */
static int confine_try_log(const struct conf *conf, const struct log_target *target, struct log *log) {
        int fd, r;

        if (target->to != LOG_TO_FILE)
                return 0;
        fd = open(target->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (fd >= 0) {
                close(fd);
                return 0;
        }
        r = -errno;
        confine_failed(conf, log, "cannot open the log %s as %s %s: %s; give the file and its directory to %s",
                       target->path, conf->user ? "user" : conf->group ? "group" : "this", conf->user ? conf->user :
                       conf->group ? conf->group : "user", strerror(-r), conf->user || !conf->group ? "that user" :
                       "that group");
        return r;
}

int confine_drop(const struct privilege *privilege, const struct conf *conf, struct log *log) {
        char why[PRIVILEGE_WHY];
        int r = privilege_drop(privilege, privilege_needed(conf), why);

        if (r < 0) {
                confine_failed(conf, log, "%s", why);
                return r;
        }
        if (r == PRIVILEGE_LACKS)
                log_warning(log, LOG_NO_CONTEXT, "%s", why);
        r = confine_try_log(conf, &conf->log, log);
        if (r >= 0)
                r = confine_try_log(conf, &conf->access_log, log);
        return r;
}

/* Adds the folder of a file: what is replaced by renaming has no lasting identity of its own. */
static void confine_add(struct confine_paths *paths, const char *file, unsigned rights) {
        const char *slash = strrchr(file, '/');
        char *folder;

        if (paths->n == paths->size) {
                size_t size = 2 * paths->size + 8;
                struct sandbox_path *list = reallocarray(paths->list, size, sizeof(*list));

                if (!list) {
                        paths->r = -ENOMEM;
                        return;
                }
                paths->list = list;
                paths->size = size;
        }
        folder = slash ? strndup(file, slash == file ? 1 : (size_t)(slash - file)) : strdup(".");
        if (!folder) {
                paths->r = -ENOMEM;
                return;
        }
        for (size_t i = 0; i < paths->n; i++)
                if (strcmp(paths->list[i].path, folder) == 0) {
                        paths->list[i].rights |= rights;
                        free(folder);
                        return;
                }
        paths->list[paths->n++] = (struct sandbox_path){ folder, rights };
}

static void confine_add_listener(struct confine_paths *paths, const struct addr *addr) {
        if (addr->kind == ADDR_UNIX && addr->un.sun_path[0] != '\0')
                confine_add(paths, addr->un.sun_path, SANDBOX_READ | SANDBOX_SOCKETS);
}

/* Where cores are wanted and the kernel writes them by our rights, it must be able to. */
static void confine_add_core(struct confine_paths *paths) {
        char pattern[256] = "", here[PATH_MAX];
        struct rlimit limit;
        FILE *file;

        if (getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_cur == 0)
                return;
        file = fopen(CONFINE_CORE_PATTERN, "re");
        if (!file)
                return;
        /* Not all of the file system, though, where that is the root directory. */
        if (fgets(pattern, sizeof(pattern), file) && pattern[0] != '|' && strrchr(pattern, '/') != pattern &&
            (pattern[0] == '/' || (getcwd(here, sizeof(here)) && strcmp(here, "/") != 0)))
                confine_add(paths, pattern, SANDBOX_WRITE | SANDBOX_REPLACE);
        fclose(file);
}

static void confine_paths(struct confine_paths *paths, const struct conf *conf, const struct arena *arena, int alone) {
        const struct env_listener_record *records = arena_slab(arena, ARENA_LISTENERS);

        if (conf->log.to == LOG_TO_FILE)
                confine_add(paths, conf->log.path, SANDBOX_WRITE);
        if (conf->access_log.to == LOG_TO_FILE)
                confine_add(paths, conf->access_log.path, SANDBOX_WRITE);
        if (alone && conf->pid_file)
                confine_add(paths, conf->pid_file, SANDBOX_REPLACE);
        for (size_t f = 0; f < conf->n_frontends; f++)
                for (size_t l = 0; l < conf->frontends[f].n_listeners; l++)
                        confine_add_listener(paths, &conf->frontends[f].listeners[l].addr);
        if (conf->admin.given)
                confine_add_listener(paths, &conf->admin.socket.addr);
        confine_add_listener(paths, &conf->admin.http.addr);
        /* Of a config before or after this one: their paths are removed when they close. */
        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++)
                if (records[i].used && records[i].fd >= 0)
                        confine_add_listener(paths, &records[i].addr);
        confine_add_core(paths);
}

static void confine_tell(const struct sandbox_report *report, struct log *log) {
        char landlock[32];

        snprintf(landlock, sizeof(landlock), "ABI %d", report->landlock);
        log_info(log, LOG_NO_CONTEXT, "sandbox: seccomp: %s, landlock: %s",
                 report->seccomp ? "in force" : "not in this kernel",
                 report->landlock ? landlock : "not in this kernel");
        if (report->missing)
                log_warning(log, LOG_NO_CONTEXT, "sandbox: %s is out of reach, since it is not there", report->missing);
}

int confine_enter(const struct conf *conf, const struct arena *arena, const struct sandbox_calls *calls, int alone,
                  struct log *log) {
        struct confine_paths paths = { 0 };
        struct sandbox_report report;
        int r;

        if (!conf->sandbox) {
                log_info(log, LOG_NO_CONTEXT, "sandbox: off");
                return 0;
        }
        confine_paths(&paths, conf, arena, alone);
        r = paths.r;
        if (r == 0) {
                const struct sandbox_rules rules = {
                        .calls = calls->n ? calls : NULL, .paths = paths.list, .n_paths = paths.n,
                };

                r = sandbox_enter(&rules, &report);
        }
        if (r < 0)
                log_error(log, LOG_NO_CONTEXT, "cannot close the sandbox: %s; sandbox = off goes without",
                          strerror(-r));
        else
                confine_tell(&report, log);
        for (size_t i = 0; i < paths.n; i++)
                free((char *)paths.list[i].path);
        free(paths.list);
        return r;
}

static int confine_same(const char *a, const char *b) {
        return strcmp(a ? a : "", b ? b : "") == 0;
}

int confine_same_identity(const struct conf *a, const struct conf *b) {
        return confine_same(a->user, b->user) && confine_same(a->group, b->group);
}
