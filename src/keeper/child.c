/* SPDX-License-Identifier: ISC */
#include "keeper/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "keeper/confine.h"
#include "worker/adopt.h"
#include "worker/control.h"
#include "worker/worker.h"

enum log_level child_log_level(const struct conf *conf, unsigned verbose) {
        unsigned level = (unsigned)conf->log_level + verbose;

        return level > LOG_LEVEL_DEBUG ? LOG_LEVEL_DEBUG : (enum log_level)level;
}

int child_load(struct conf **out, int memfd, const char *name, FILE *errors) {
        struct stat st;
        void *text;
        int r;

        if (fstat(memfd, &st) < 0)
                return -errno;
        text = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, memfd, 0);
        if (text == MAP_FAILED)
                return -errno;
        r = conf_load_text(out, name, text, (size_t)st.st_size, errors);
        munmap(text, (size_t)st.st_size + 1);
        return r;
}

int child_config(const struct conf *conf) {
        int fd = memfd_create("spliced-config", MFD_CLOEXEC | MFD_ALLOW_SEALING), copy, r;
        FILE *file;

        if (fd < 0)
                return -errno;
        /* The stream closes its own descriptor. */
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        file = copy < 0 ? NULL : fdopen(copy, "w");
        if (!file) {
                r = -errno;
                if (copy >= 0)
                        close(copy);
                goto fail;
        }
        r = conf_print(conf, file);
        if (fclose(file) != 0 && r >= 0)
                r = -errno;
        if (r >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                r = -errno;
        if (r >= 0)
                return fd;
fail:
        close(fd);
        return r;
}

static int child_ready(void *arg) {
        struct control_record *control = arg;

        /* Before anybody can ask this worker. */
        if (control->trying)
                control_note(control, CONTROL_RELOAD, 1, "");
        control->trying = 0;
        __atomic_store_n(&control->state, CONTROL_READY, __ATOMIC_RELEASE);
        control_signal(control->to_keeper);
        return 0;
}

static int child_run(const struct child_job *child) {
        struct control_record *control = control_of(child->arena);
        struct worker_job job = { .arena = child->arena, .inherited = child->inherited, .ready = child_ready,
                                  .arg = control, .admin = &admin_worker };
        struct conf *conf = child->conf;
        const char *failed = NULL;
        struct log *log;
        int r = 0;

        if (!conf)
                r = child_load(&conf, control->config, "the effective config", stderr);
        if (r != 0) {
                fprintf(stderr, "spliced: the worker cannot load the config: %s\n",
                        r < 0 ? strerror(-r) : "it has mistakes");
                return 1;
        }
        r = log_new(&log, &conf->log, child_log_level(conf, child->verbose), &conf->access_log, &failed);
        if (r < 0) {
                fprintf(stderr, "spliced: the worker cannot open the log %s: %s\n", failed ? failed : "", strerror(-r));
                return 1;
        }
        if (control->generation > 1)
                log_hurry(log);
        job.conf = conf;
        job.log = log;
        r = confine_enter(conf, child->arena, child->calls, 0, log);
        if (r >= 0)
                r = worker_run(&job);
        return r < 0 ? 1 : 0;
}

void child_worker(const struct child_job *job) {
        static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE };
        struct control_record *control = control_of(job->arena);
        sigset_t none;

        /* From a terminal or a control group, signals reach the worker too: they are the keeper's business. */
        for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
                signal(ignored[i], SIG_IGN);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (control->clean)
                adopt_nothing(job->arena);
        adopt_close_unowned(job->arena);
        __atomic_store_n(&control->swept, control->generation, __ATOMIC_RELEASE);
        _exit(child_run(job));
}
