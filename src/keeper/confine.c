/* SPDX-License-Identifier: ISC */
#include "keeper/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static int confine_same(const char *a, const char *b) {
        return strcmp(a ? a : "", b ? b : "") == 0;
}

int confine_same_identity(const struct conf *a, const struct conf *b) {
        return confine_same(a->user, b->user) && confine_same(a->group, b->group);
}
