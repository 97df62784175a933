/* SPDX-License-Identifier: ISC */
#include "keeper/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "config.h"
#include "keeper/child.h"
#include "keeper/process.h"
#include "worker/adopt.h"

#define UPGRADE_CHECK_MS 10000
#define UPGRADE_LEAVE_MS 5000
#define UPGRADE_ARGUMENTS 32

extern char **environ;

static void upgrade_drop_binary(struct keeper *keeper) {
        if (keeper->binary < 0)
                return;
        keeper_disown(keeper, keeper->binary);
        close(keeper->binary);
        keeper->binary = -1;
}

static void upgrade_refused(struct keeper *keeper, const char *why) {
        char text[sizeof(keeper->control->binary) + 256];

        snprintf(text, sizeof(text), "%s: %s", keeper->control->binary, why);
        log_error(keeper->log, LOG_NO_CONTEXT, "upgrade refused: %s", text);
        control_note(keeper->control, CONTROL_UPGRADE, 0, text);
        control_answer(keeper->control, CONTROL_UPGRADE, 0);
        upgrade_drop_binary(keeper);
        keeper->change = KEEPER_NO_CHANGE;
}

/* Becomes the new binary with nothing but its standard streams, the arena and the config.  Does not return. */
static void upgrade_ask(struct keeper *keeper) {
        const int keep[] = { keeper->arena.fd, keeper->control->config, keeper->binary };
        char descriptors[32], option[] = "--" UPGRADE_CHECK_OPTION;
        char *argv[] = { keeper->control->binary, option, descriptors, NULL };
        int highest = STDERR_FILENO;
        sigset_t none;

        for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
                if (keep[i] > highest)
                        highest = keep[i];
        /* A table of our own from here on, without the sockets: a peer's FIN must not wait for us. */
        if (close_range((unsigned)highest + 1, ~0u, CLOSE_RANGE_UNSHARE) < 0)
                _exit(1);
        fcntl(keeper->arena.fd, F_SETFD, 0);
        fcntl(keeper->control->config, F_SETFD, 0);
        snprintf(descriptors, sizeof(descriptors), "%d,%d", keeper->arena.fd, keeper->control->config);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execveat(keeper->binary, "", argv, environ, AT_EMPTY_PATH);
        fprintf(stderr, "spliced: cannot execute %s: %s\n", keeper->control->binary, strerror(errno));
        _exit(1);
}

void upgrade_begin(struct keeper *keeper) {
        pid_t pid;

        /* As for a reload. */
        if (keeper->change != KEEPER_NO_CHANGE || !keeper->was_ready || keeper->control->state != CONTROL_READY) {
                keeper->upgrade_again = 1;
                return;
        }
        keeper->control->requests[CONTROL_UPGRADE].taken =
                __atomic_load_n(&keeper->control->requests[CONTROL_UPGRADE].asked, __ATOMIC_ACQUIRE);
        /* Opened once: what is asked is what is executed, whatever the path names then. */
        keeper->binary = open(keeper->control->binary, O_RDONLY | O_CLOEXEC);
        if (keeper->binary < 0) {
                upgrade_refused(keeper, strerror(errno));
                return;
        }
        keeper_own(keeper, keeper->binary);
        pid = process_clone();
        if (pid == 0)
                upgrade_ask(keeper);
        if (pid < 0) {
                upgrade_refused(keeper, strerror(-pid));
                return;
        }
        keeper->helper = pid;
        keeper->changes++;
        keeper->change = KEEPER_CHECK_BINARY;
        keeper->change_until_ms = clock_now_ms() + UPGRADE_CHECK_MS;
}

void upgrade_checked(struct keeper *keeper, int status) {
        char ending[64], why[128];

        if (status != 0) {
                snprintf(why, sizeof(why), "it cannot take over (%s)", process_ending(status, ending, sizeof(ending)));
                upgrade_refused(keeper, why);
                return;
        }
        if (keeper->stopping) {
                upgrade_drop_binary(keeper);
                keeper->change = KEEPER_NO_CHANGE;
                return;
        }
        keeper->change = KEEPER_LEAVE_BINARY;
        keeper->change_until_ms = clock_now_ms() + UPGRADE_LEAVE_MS;
        /* As for a reload. */
        control_answer(keeper->control, CONTROL_UPGRADE, keeper->control->generation + 1);
        keeper_command(keeper, CONTROL_LEAVE);
}

void upgrade_execute(struct keeper *keeper) {
        char arena[16], option[] = "--" UPGRADE_RESUME_OPTION, file[] = "-f", *argv[UPGRADE_ARGUMENTS + 5];
        int32_t own[CONTROL_DESCRIPTORS];
        int n = 0, r;

        snprintf(arena, sizeof(arena), "%d", keeper->arena.fd);
        argv[n++] = keeper->control->binary;
        argv[n++] = option;
        argv[n++] = arena;
        for (int i = 1; keeper->options->argv[i] && n < UPGRADE_ARGUMENTS + 2; i++) {
                /* Of an upgrade before this one. */
                if (strcmp(keeper->options->argv[i], "--" UPGRADE_RESUME_OPTION) == 0 && keeper->options->argv[i + 1]) {
                        i++;
                        continue;
                }
                argv[n++] = keeper->options->argv[i];
        }
        /* As it was made absolute for the background: the last -f counts, once is enough. */
        if (strcmp(argv[n - 1], keeper->options->path) != 0) {
                argv[n++] = file;
                argv[n++] = (char *)keeper->options->path;
        }
        argv[n] = NULL;

        log_info(keeper->log, LOG_NO_CONTEXT, "upgrade: executing %s", keeper->control->binary);
        /* What was asked for meanwhile: blocked signals stay pending across execve. */
        if (keeper->reload_again)
                kill(getpid(), SIGHUP);
        if (keeper->upgrade_again)
                kill(getpid(), SIGUSR2);
        adopt_close_unowned(&keeper->arena);
        /* What is the keeper's alone (its log, its signals) ends with this binary. */
        memcpy(own, keeper->control->keeper, sizeof(own));
        memset(keeper->control->keeper, 0xff, sizeof(own));
        r = adopt_keep_on_exec(&keeper->arena, 1);
        if (r >= 0) {
                service_pass(&keeper->service, 1);
                execveat(keeper->binary, "", argv, environ, AT_EMPTY_PATH);
                r = -errno;
                service_pass(&keeper->service, 0);
        }
        adopt_keep_on_exec(&keeper->arena, 0);
        memcpy(keeper->control->keeper, own, sizeof(own));
        upgrade_refused(keeper, strerror(-r));
}

int upgrade_can(const char *descriptors) {
        struct arena arena = ARENA_NULL;
        struct conf *conf = NULL;
        int arena_number, config, r;

        if (sscanf(descriptors, "%d,%d", &arena_number, &config) != 2)
                return KEEPER_USAGE;
        r = arena_attach(&arena, arena_number);
        if (r < 0) {
                fprintf(stderr,
                        "spliced: upgrade: this binary (%s, layout %d) cannot read the running one's sessions: %s\n",
                        PACKAGE_VERSION, ARENA_LAYOUT, strerror(-r));
                return KEEPER_FAILURE;
        }
        r = child_load(&conf, config, "the effective config", stderr);
        if (r < 0)
                fprintf(stderr, "spliced: upgrade: cannot read the config: %s\n", strerror(-r));
        conf_free(conf);
        arena_deinit(&arena);
        return r == 0 ? KEEPER_OK : KEEPER_FAILURE;
}
