/* SPDX-License-Identifier: ISC */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "script.h"
#include "session/accept.h"
#include "session/access.h"
#include "session/relay.h"
#include "worker/adopt.h"
#include "worker/control.h"
#include "worker/shared.h"
#include "worker/slots.h"

static void rig_on_event(void *owner, uint64_t key, uint32_t events) {
        session_event(owner, key, events);
}

static void rig_on_ready(void *owner, uint32_t node) {
        session_ready(owner, node);
}

static void rig_on_expire(void *owner, uint32_t node) {
        session_expire(owner, node);
}

static void rig_on_wake(void *owner) {
        env_read_mail(owner);
        tap_wake(owner);
}

static const struct loop_handlers rig_handlers = {
        .event = rig_on_event, .ready = rig_on_ready, .expire = rig_on_expire, .wake = rig_on_wake,
};

/* The fixture itself must not fail: there is no test without it. */
static void rig_need(int ok, const char *what) {
        if (ok)
                return;
        fprintf(stderr, "rig: %s: %s\n", what, strerror(errno));
        abort();
}

int rig_descriptors(void) {
        DIR *dir = opendir("/proc/self/fd");
        int n = -3; /* ".", ".." and the directory's own */

        rig_need(dir != NULL, "/proc/self/fd");
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

void rig_load(struct rig *rig, const char *config) {
        struct log_target target = { .to = LOG_TO_FILE };
        const char *failed;

        *rig = (struct rig){ .descriptors = rig_descriptors() };
        script_reset(RIG_START_MS);
        signal(SIGPIPE, SIG_IGN); /* as the daemon does: splice has no flag against it */
        rig_need(conf_load_text(&rig->conf, "rig", config, strlen(config), stderr) == 0, "the config");
        rig->log_fd = memfd_create("rig-log", MFD_CLOEXEC);
        rig_need(rig->log_fd >= 0, "memfd_create");
        snprintf(rig->log_path, sizeof(rig->log_path), "/proc/self/fd/%d", rig->log_fd);
        target.path = rig->log_path;
        rig_need(log_new(&rig->log, &target, LOG_LEVEL_INFO, &target, &failed) == 0, "log_new");
}

void rig_name(struct addr *addr) {
        static unsigned number;
        int n;

        *addr = (struct addr){ .kind = ADDR_UNIX, .un.sun_family = AF_UNIX };
        n = snprintf(addr->un.sun_path + 1, sizeof(addr->un.sun_path) - 1, "spliced-rig-%d-%u", (int)getpid(),
                     number++);
        addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static void rig_start_env(struct rig *rig) {
        struct env *env = aligned_alloc(_Alignof(struct env), sizeof(*env));

        rig_need(env != NULL, "memory");
        memset(env, 0, sizeof(*env));
        env->server_limits = calloc(arena_count(&rig->arena, ARENA_SERVERS), sizeof(*env->server_limits));
        env->admit_limits = calloc(arena_count(&rig->arena, ARENA_FRONTENDS), sizeof(*env->admit_limits));
        rig_need(env->server_limits != NULL && env->admit_limits != NULL, "memory");
        env->shared = &rig->shared;
        env->conf = rig->conf;
        env->log = rig->log;
        env->accepting = 1;
        pipe_pool_init(&env->pipes, &rig->shared.pipes);
        loop_init(&env->loop, rig->shared.threads[0].record, &rig_handlers, env, rig->shared.links, rig->shared.timers);
        rig->env = env;
}

static void rig_free_env(struct rig *rig) {
        free(rig->env->server_limits);
        free(rig->env->admit_limits);
        free(rig->env);
}

void rig_start(struct rig *rig, uint32_t sessions, uint32_t pipes) {
        struct limits limits = { .sessions = sessions, .pipes = pipes };
        struct control_record *control;
        int inherited;

        rig_need(shared_arena(&rig->arena, &limits) == 0, "shared_arena");
        control = control_of(&rig->arena);
        *control = (struct control_record){ .to_worker = -1, .to_keeper = -1, .config = -1, .next_config = -1 };
        rig_need(slots_listen(&rig->arena, rig->conf, NULL, rig->log, NULL) == 0, "slots_listen");
        rig_need(shared_init(&rig->shared, &rig->arena, rig->conf, rig->log, 1, sessions, &inherited) == 0,
                 "shared_init");
        rig_need(shared_register(&rig->shared) == 0, "shared_register");
        rig_start_env(rig);
}

/* Whatever the worker has not opened is the keeper's: the log, the ends of peers. */
static void rig_own_rest(struct rig *rig) {
        int32_t *own = control_of(&rig->arena)->keeper;
        int n = 0;

        for (int fd = 0; fd < SCRIPT_FDS; fd++) {
                if (fcntl(fd, F_GETFD) < 0 || script.fds[fd].opened)
                        continue;
                rig_need(n < CONTROL_DESCRIPTORS, "too many descriptors");
                own[n++] = fd;
        }
        while (n < CONTROL_DESCRIPTORS)
                own[n++] = -1;
}

/* What the worker had in its memory is gone; and then what src/keeper/child.c and src/worker/worker.c do. */
static void rig_adopt(struct rig *rig) {
        uint32_t sessions = rig->shared.max_sessions;
        struct adopt_report report;
        int inherited;

        rig->deaths++;
        shared_deinit(&rig->shared);
        rig_free_env(rig);
        if (rig->between)
                rig->between(rig->between_arg);
        rig_own_rest(rig);
        adopt_close_unowned(&rig->arena);
        script_forget_closed();

        rig_need(shared_init(&rig->shared, &rig->arena, rig->conf, rig->log, 1, sessions, &inherited) == 0,
                 "shared_init");
        rig_need(inherited, "the loop is not taken over");
        rig_start_env(rig);
        adopt_sessions(&rig->shared, &rig->env, inherited, &report);
        rig->reset += report.reset;
        rig_need(shared_register(&rig->shared) == 0, "shared_register");
        pipe_pool_ready(&rig->env->pipes, PIPE_SMALL);
        accept_adopt(rig->env);
        loop_replay(&rig->env->loop);
}

int rig_round(struct rig *rig) {
        jmp_buf grave;
        int r;

        if (setjmp(grave) == 0) {
                script.grave = &grave;
                r = loop_round(&rig->env->loop, 0);
                script.grave = NULL;
                return r;
        }
        script.grave = NULL;
        rig_adopt(rig);
        return loop_round(&rig->env->loop, 0);
}

int rig_next_timer(struct rig *rig, int64_t max_ms) {
        int wait_ms = wheel_timeout(&rig->env->loop.wheel, script.now_ms);

        if (wait_ms < 0)
                return 0;
        script.now_ms += wait_ms < max_ms ? wait_ms : max_ms;
        return 1;
}

/* What a session does by itself at a time needs a timer that fires by then. */
static int rig_timed(struct rig *rig, uint32_t index) {
        const struct session *session = &rig->shared.sessions[index];
        int64_t when = wheel_when(&rig->env->loop.wheel, index);

        if (session->until_ms && when > session->until_ms)
                return 0;
        for (unsigned side = 0; side < SESSION_SIDES; side++)
                if (session->direction[side].held && when > relay_resume_ms(rig->env, session, side))
                        return 0;
        return !session->close_ms || when <= session->close_ms;
}

const char *rig_look(struct rig *rig) {
        uint32_t bound = arena_list_bound(&rig->shared.session_list);

        for (uint32_t i = 0; i < bound; i++) {
                const struct session *session = &rig->shared.sessions[i];

                if (session->busy)
                        return "a session is marked busy between two rounds";
                if (session->state == LIFE_CLOSED)
                        continue;
                if (!rig_timed(rig, i))
                        return "a session has no timer for what it waits for";
                if (session->state == LIFE_PICKING)
                        return "PICKING outlasts a handler";
                for (int side = 0; side < SESSION_SIDES; side++) {
                        const struct direction *direction = &session->direction[side];
                        const struct pipe_record *pipe;

                        if (session->state >= LIFE_RELAYING && !direction_sane(direction))
                                return "a direction is not sane";
                        if (direction->pipe == DIRECTION_NO_PIPE)
                                continue;
                        pipe = &rig->shared.pipes.records[direction->pipe];
                        if (pipe->owner != PIPE_OWNER(i * SESSION_SIDES + (unsigned)side))
                                return "a pipe does not know its owner";
                        if (!direction->piped)
                                return "a session holds an empty pipe";
                }
        }
        if (rig->shared.threads[0].record->current != LOOP_NONE)
                return "the thread names a current session between two rounds";
        return NULL;
}

/* Whether every index of a list can be had again, each once.  Uses the list up. */
static int rig_list_complete(struct arena_list *list) {
        uint8_t *seen = calloc(list->count, 1);
        uint32_t n = 0, index;
        int ok = 1;

        rig_need(seen != NULL, "memory");
        while ((index = arena_list_take(list)) != ARENA_NONE) {
                ok = ok && index < list->count && !seen[index];
                if (!ok)
                        break;
                seen[index] = 1;
                n++;
        }
        free(seen);
        return ok && n == list->count;
}

static const char *rig_look_pipes(struct rig *rig) {
        uint32_t spares = 0;

        for (uint32_t i = 0; i < arena_count(&rig->arena, ARENA_PIPES); i++) {
                const struct pipe_record *record = &rig->shared.pipes.records[i];
                int bytes = 0;

                if (record->owner == PIPE_FREE)
                        continue;
                if (record->owner != PIPE_SPARE)
                        return "a pipe is owned by a session that is gone";
                spares++;
                if (script.model == NULL && (ioctl(record->ends[0], FIONREAD, &bytes) < 0 || bytes))
                        return "a spare pipe is not empty";
        }
        if (spares != rig->env->pipes.n[PIPE_SMALL] + rig->env->pipes.n[PIPE_BIG])
                return "a spare pipe is in no pool";
        return NULL;
}

const char *rig_look_empty(struct rig *rig) {
        struct env_shared *shared = &rig->shared;

        for (uint32_t i = 0; i < shared->n_sessions; i++) {
                const struct session *session = &shared->sessions[i];

                if (session->state != LIFE_CLOSED) {
                        snprintf(rig->why, sizeof(rig->why), "session %u is still %s", i,
                                 life_state_name(session->state));
                        return rig->why;
                }
                if (shared->timers[i].slot || shared->links[i].ready)
                        return "a closed session is still scheduled";
                if (session->generation && (session->fd[0] != -1 || session->fd[1] != -1))
                        return "a closed session names descriptors";
                if (shared->sources[i] != QUOTA_NONE)
                        return "a closed session counts for its source";
        }
        if (atomic_load(&shared->sessions_now) || atomic_load(&shared->threads[0].sessions))
                return "sessions are counted that are none";
        for (size_t i = 0; i < rig->conf->n_frontends; i++)
                if (atomic_load(&shared->frontends[i].sessions))
                        return "a frontend counts sessions that are none";
        for (size_t b = 0; b < rig->conf->n_backends; b++)
                for (size_t s = 0; s < rig->conf->backends[b].n_servers; s++)
                        if (atomic_load(&shared->backends[b].records[s].sessions))
                                return "a server counts sessions that are none";
        return rig_look_pipes(rig);
}

char *rig_log(struct rig *rig) {
        off_t size = lseek(rig->log_fd, 0, SEEK_END);
        char *log = malloc((size_t)size + 1);
        ssize_t n;

        rig_need(log != NULL, "memory");
        n = pread(rig->log_fd, log, (size_t)size, 0);
        log[n > 0 ? n : 0] = 0;
        return log;
}

int rig_logged(struct rig *rig, const char *text) {
        char *log = rig_log(rig);
        int found = strstr(log, text) != NULL;

        free(log);
        return found;
}

const char *rig_stop(struct rig *rig) {
        const char *why = NULL;
        int left;

        accept_stop(rig->env);
        session_kill_all(rig->env, ACCESS_SHUTDOWN);
        why = rig_look_empty(rig);
        pipe_pool_deinit(&rig->env->pipes);
        if (!why && atomic_load(&rig->shared.pipes.big))
                why = "big pipes are counted that are none";
        if (!why && (!rig_list_complete(&rig->shared.session_list) || !rig_list_complete(&rig->shared.rare_list) ||
                     !rig_list_complete(&rig->shared.pipes.list)))
                why = "a record did not come back to its free list";
        script.model = NULL;
        shared_unlisten(&rig->shared);
        shared_deinit(&rig->shared);
        shared_close_loops(&rig->arena);
        arena_deinit(&rig->arena);
        rig_free_env(rig);
        log_free(rig->log);
        close(rig->log_fd);
        conf_free(rig->conf);
        left = rig_descriptors() - rig->descriptors;
        if (!why && left) {
                snprintf(rig->why, sizeof(rig->why), "%d descriptors were left open", left);
                why = rig->why;
        }
        return why;
}
