/* SPDX-License-Identifier: ISC */
#include "keeper/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "keeper/child.h"
#include "keeper/confine.h"
#include "keeper/identify.h"
#include "keeper/process.h"
#include "worker/limits.h"
#include "worker/slots.h"
#include "worker/worker.h"

#define RELOAD_CHECK_MS 10000   /* for a config on a file system that hangs, or a FIFO as include file */
#define RELOAD_LEAVE_MS 5000    /* for the worker to come to a clean point */

static void reload_refuse(struct keeper *keeper, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whoever asked for it is told all of it, as far as it fits. */
static void reload_add_text(struct keeper *keeper, const char *why) {
        char *text = keeper->control->reload_text;
        size_t len = strlen(text), size = sizeof(keeper->control->reload_text);

        if (len + strlen(why) + 2 <= size)
                snprintf(text + len, size - len, "%s%s", len ? "\n" : "", why);
}

/* Logs why, and keeps the first reason for whoever asks later. */
static void reload_refuse(struct keeper *keeper, const char *fmt, ...) {
        char why[1024];
        va_list args;

        va_start(args, fmt);
        vsnprintf(why, sizeof(why), fmt, args);
        va_end(args);
        log_error(keeper->log, LOG_NO_CONTEXT, "reload refused: %s", why);
        if (!keeper->control->reload_why[0])
                snprintf(keeper->control->reload_why, sizeof(keeper->control->reload_why), "%.*s",
                         (int)sizeof(keeper->control->reload_why) - 1, why);
        reload_add_text(keeper, why);
}

/* It is over, before anything stopped: tells whoever asked for it. */
static void reload_refused(struct keeper *keeper) {
        control_note(keeper->control, CONTROL_RELOAD, 0, keeper->control->reload_text);
        control_answer(keeper->control, CONTROL_RELOAD, 0);
}

/* One log line for each mistake. */
static void reload_log_mistakes(struct keeper *keeper, char *text) {
        for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                reload_refuse(keeper, "%s", line);
}

static int reload_load(struct keeper *keeper, struct conf **conf) {
        char *text = NULL;
        size_t size = 0;
        FILE *errors = open_memstream(&text, &size);
        int r;

        if (!errors)
                return -errno;
        r = conf_load(conf, keeper->options->path, errors);
        if (r == 0 && identify_rules(*conf, errors) != 0)
                r = CONF_INVALID;
        fclose(errors);
        if (r == CONF_INVALID)
                reload_log_mistakes(keeper, text);
        free(text);
        return r;
}

/* What only a restart can change. */
static int reload_possible(struct keeper *keeper, const struct conf *now, const struct conf *next) {
        char why[PRIVILEGE_WHY];
        struct limits limits;
        unsigned threads;

        if (strcmp(now->pid_file ? now->pid_file : "", next->pid_file ? next->pid_file : "") != 0) {
                reload_refuse(keeper, "pid-file cannot change without a restart");
                return 0;
        }
        if (!confine_same_identity(now, next)) {
                reload_refuse(keeper, "user and group cannot change without a restart");
                return 0;
        }
        /* One that the config in force lacks already was told of at the start. */
        if (privilege_check(privilege_needed(next) & ~privilege_needed(now), why) != 0) {
                reload_refuse(keeper, "%s; it takes a restart", why);
                return 0;
        }
        if (worker_limits(next, keeper->log, &threads, &limits) < 0) {
                reload_refuse(keeper, "the new config needs more descriptors");
                return 0;
        }
        if (next->max_connections > arena_count(&keeper->arena, ARENA_SESSIONS)) {
                reload_refuse(keeper, "max-connections above %" PRIu32 " needs a restart",
                          arena_count(&keeper->arena, ARENA_SESSIONS));
                return 0;
        }
        return 1;
}

static void reload_tell(struct keeper *keeper, const char *what, const char *kind, const char *name) {
        log_info(keeper->log, LOG_NO_CONTEXT, "reload: %s %s %s", kind, name, what);
}

/* Says what came, went and changed, by name.  `has` looks a name up in the other config. */
static void reload_tell_frontends(struct keeper *keeper, const struct conf *a, const struct conf *b, const char *what) {
        for (size_t i = 0; i < a->n_frontends; i++) {
                size_t j = 0;

                while (j < b->n_frontends && strcmp(a->frontends[i].name, b->frontends[j].name) != 0)
                        j++;
                if (j == b->n_frontends)
                        reload_tell(keeper, what, "frontend", a->frontends[i].name);
        }
}

static void reload_tell_servers(struct keeper *keeper, const struct conf_backend *a, const struct conf_backend *b,
                                const char *what) {
        char name[2 * CONF_NAME_MAX + 2];

        for (size_t i = 0; i < a->n_servers; i++) {
                size_t j = 0;

                while (b && j < b->n_servers && strcmp(a->servers[i].name, b->servers[j].name) != 0)
                        j++;
                if (b && j < b->n_servers)
                        continue;
                snprintf(name, sizeof(name), "%s/%s", a->name, a->servers[i].name);
                reload_tell(keeper, what, "server", name);
        }
}

static void reload_tell_backends(struct keeper *keeper, const struct conf *a, const struct conf *b, const char *what) {
        for (size_t i = 0; i < a->n_backends; i++) {
                const struct conf_backend *other = NULL;

                for (size_t j = 0; j < b->n_backends && !other; j++)
                        if (strcmp(a->backends[i].name, b->backends[j].name) == 0)
                                other = &b->backends[j];
                if (!other)
                        reload_tell(keeper, what, "backend", a->backends[i].name);
                reload_tell_servers(keeper, &a->backends[i], other, what);
        }
}

/* Leaves what the keeper needs of the new config to go on logging as it says. */
static void reload_note_log(struct keeper *keeper, const struct conf *next) {
        struct control_record *control = keeper->control;

        control->log_to = next->log.to;
        control->log_format = next->log.format;
        control->log_level = next->log_level;
        snprintf(control->log_path, sizeof(control->log_path), "%s", next->log.path ? next->log.path : "");
}

/* Opens the logs as the next worker will, who could only die of one that cannot be opened. */
static int reload_logs(struct keeper *keeper, const struct conf *next) {
        const char *failed = NULL;
        struct log *log;
        int r = log_new(&log, &next->log, next->log_level, &next->access_log, &failed);

        if (r < 0)
                reload_refuse(keeper, "cannot open the log %s: %s", failed ? failed : "", strerror(-r));
        else
                log_free(log);
        return r;
}

/* Opens what the next config has more.  Why that fails is in the log already. */
static int reload_listen(struct keeper *keeper, const struct conf *next) {
        char *text = NULL;
        size_t size = 0;
        FILE *errors = open_memstream(&text, &size);
        int r = slots_listen(&keeper->arena, next, &keeper->service.inherited, keeper->log, errors);

        if (r < 0)
                reload_refuse(keeper, "a new listener cannot be opened");
        if (errors)
                fclose(errors);
        for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line && r < 0;
             line = strtok_r(NULL, "\n", &save))
                reload_add_text(keeper, line);
        free(text);
        return r;
}

/* The helper: exit status 0 with control->next_config set, or 1 with the reason in the log. */
static int reload_check(struct keeper *keeper) {
        struct conf *now = NULL, *next = NULL;
        int r;

        r = reload_load(keeper, &next);
        if (r == 0)
                r = child_load(&now, keeper->control->config, "the effective config", stderr);
        if (r < 0)
                reload_refuse(keeper, "%s", strerror(-r));
        if (r != 0 || !reload_possible(keeper, now, next) || reload_logs(keeper, next) < 0)
                return 1;
        r = child_config(next);
        if (r < 0) {
                reload_refuse(keeper, "cannot keep the config: %s", strerror(-r));
                return 1;
        }
        keeper->control->next_config = r;
        if (reload_listen(keeper, next) < 0)
                return 1;
        slots_listen_default(&keeper->arena, next, keeper->log);
        slots_update(&keeper->arena, now, next, keeper->log);
        reload_note_log(keeper, next);
        reload_tell_frontends(keeper, next, now, "is new");
        reload_tell_frontends(keeper, now, next, "is gone");
        reload_tell_backends(keeper, next, now, "is new");
        reload_tell_backends(keeper, now, next, "is gone");
        return 0;
}

void reload_begin(struct keeper *keeper) {
        pid_t pid;

        /* A worker that starts closes what it does not know, so nobody may open anything meanwhile. */
        if (keeper->change != KEEPER_NO_CHANGE || !keeper->was_ready || keeper->control->state != CONTROL_READY) {
                keeper->reload_again = 1;
                return;
        }
        keeper->control->next_config = -1;
        keeper->control->reload_why[0] = '\0';
        keeper->control->reload_text[0] = '\0';
        keeper->control->requests[CONTROL_RELOAD].taken =
                __atomic_load_n(&keeper->control->requests[CONTROL_RELOAD].asked, __ATOMIC_ACQUIRE);
        pid = process_clone();
        if (pid == 0) {
                sigset_t none;

                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                _exit(reload_check(keeper));
        }
        if (pid < 0) {
                reload_refuse(keeper, "cannot start a helper: %s", strerror(-pid));
                reload_refused(keeper);
                return;
        }
        keeper->helper = pid;
        keeper->changes++;
        keeper->change = KEEPER_CHECK_CONFIG;
        keeper->change_until_ms = clock_now_ms() + RELOAD_CHECK_MS;
}

static void reload_drop_config(int *memfd) {
        int fd = *memfd;

        *memfd = -1;
        if (fd >= 0)
                close(fd);
}

void reload_undo(struct keeper *keeper) {
        slots_unlisten_pending(&keeper->arena);
        reload_drop_config(&keeper->control->next_config);
        keeper->change = KEEPER_NO_CHANGE;
}

void reload_checked(struct keeper *keeper, int status) {
        if (status != 0) {
                if (process_faulted(status) && (status & 0x7f))
                        reload_refuse(keeper, "the helper that checks the config crashed");
                else if (status & 0x7f)
                        reload_refuse(keeper, "reading the config took too long");
                reload_undo(keeper);
                reload_refused(keeper);
                return;
        }
        if (keeper->stopping) {
                reload_undo(keeper);
                return;
        }
        keeper->change = KEEPER_LEAVE_CONFIG;
        keeper->change_until_ms = clock_now_ms() + RELOAD_LEAVE_MS;
        /* Before the order to leave: whoever asked is told by the worker that leaves. */
        control_answer(keeper->control, CONTROL_RELOAD, keeper->control->generation + 1);
        keeper_command(keeper, CONTROL_LEAVE);
}

void reload_switch(struct keeper *keeper) {
        keeper->former = keeper->control->config;
        keeper_own(keeper, keeper->former);
        keeper->control->config = keeper->control->next_config;
        keeper->control->next_config = -1;
        keeper->change = KEEPER_TRY_CONFIG;
        keeper->control->trying = 1;
}

static void reload_settle(struct keeper *keeper, int *memfd) {
        keeper_disown(keeper, keeper->former);
        reload_drop_config(memfd);
        keeper->former = -1;
        keeper->change = KEEPER_NO_CHANGE;
}

void reload_done(struct keeper *keeper) {
        reload_settle(keeper, &keeper->former);
        keeper->conf_stale = 1;
        keeper_follow_log(keeper);
        log_info(keeper->log, LOG_NO_CONTEXT, "reloaded: worker %" PRIu32 " serves the new config; %" PRIu32
                 " sessions go on, %" PRIu32 " were reset", keeper->control->generation, keeper->control->last_adopted,
                 keeper->control->last_reset);
}

void reload_failed(struct keeper *keeper) {
        int dropped = keeper->control->config;

        keeper->control->config = keeper->former;
        keeper->control->trying = 0;
        snprintf(keeper->control->reload_why, sizeof(keeper->control->reload_why),
                 "the worker with the new config died before it was ready");
        control_note(keeper->control, CONTROL_RELOAD, 0, keeper->control->reload_why);
        log_error(keeper->log, LOG_NO_CONTEXT,
                  "reload failed: the worker died before it was ready; the former config comes back");
        reload_settle(keeper, &dropped);
}
