/* SPDX-License-Identifier: ISC */
#include "worker/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/sys.h"
#include "session/access.h"
#include "session/admit.h"
#include "session/deadline.h"
#include "session/pick.h"
#include "session/preface.h"
#include "session/relay.h"
#include "worker/control.h"
#include "worker/slots.h"

#define ADOPT_FEW 1024  /* descriptors */
#define ADOPT_CRASHES 2 /* a session that was being served in so many crashes is reset */

/* A set of descriptors: one byte each. */
enum adopt_owner { ADOPT_NOBODY, ADOPT_FIXED, ADOPT_SESSION, ADOPT_DISPUTED };
struct adopt_set {
        uint8_t *has;
        size_t size;
};

/* Returns 0 where fd cannot be in the set or is in it already. */
static int adopt_own(struct adopt_set *set, int fd) {
        if (fd < 0 || (size_t)fd >= set->size || set->has[fd])
                return 0;
        set->has[fd] = ADOPT_FIXED;
        return 1;
}

static int adopt_set_init(struct adopt_set *set) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -errno;
        set->size = limit.rlim_cur > (1u << 22) ? 1u << 22 : limit.rlim_cur;
        set->has = calloc(set->size, 1);
        return set->has ? 0 : -ENOMEM;
}

static void adopt_own_fixed(const struct arena *arena, struct adopt_set *set) {
        const struct control_record *control = control_of(arena);
        const struct loop_record *loops = arena_slab(arena, ARENA_THREADS);
        const struct env_listener_record *listeners = arena_slab(arena, ARENA_LISTENERS);

        for (int fd = 0; fd <= STDERR_FILENO; fd++)
                adopt_own(set, fd);
        adopt_own(set, arena->fd);
        adopt_own(set, control->to_worker);
        adopt_own(set, control->to_keeper);
        adopt_own(set, control->config);
        adopt_own(set, control->next_config);
        for (int i = 0; i < CONTROL_DESCRIPTORS; i++)
                adopt_own(set, control->keeper[i]);
        for (uint32_t i = 0; i < arena->head->extents[ARENA_THREADS].used; i++) {
                adopt_own(set, loops[i].poller);
                adopt_own(set, loops[i].wake);
        }
        for (uint32_t i = 0; i < arena->head->extents[ARENA_LISTENERS].used; i++)
                if (listeners[i].used)
                        adopt_own(set, listeners[i].fd);
}

/* Marks a session's descriptor.  Returns 1 where another session claims it too. */
static int adopt_own_session(struct adopt_set *set, int32_t *fd) {
        if (*fd < 0)
                return 0;
        if ((size_t)*fd < set->size && set->has[*fd] >= ADOPT_SESSION) {
                set->has[*fd] = ADOPT_DISPUTED;
                return 1;
        }
        if (adopt_own(set, *fd))
                set->has[*fd] = ADOPT_SESSION;
        else
                *fd = -1;
        return 0;
}

/* Nobody can tell whose these are, and no client may see another's bytes: they are nobody's. */
static void adopt_settle_disputes(struct adopt_set *set, struct session *sessions, uint32_t used) {
        for (uint32_t i = 0; i < used; i++)
                for (int side = 0; sessions[i].state != LIFE_CLOSED && side < SESSION_SIDES; side++)
                        if (sessions[i].fd[side] >= 0 && set->has[sessions[i].fd[side]] == ADOPT_DISPUTED)
                                sessions[i].fd[side] = -1;
        for (size_t fd = 0; fd < set->size; fd++)
                if (set->has[fd] == ADOPT_DISPUTED)
                        set->has[fd] = ADOPT_NOBODY;
}

/* Marks what sessions and pipes own.  A record that claims what another has keeps nothing: it is found out later. */
static void adopt_own_traffic(const struct arena *arena, struct adopt_set *set) {
        uint32_t used = arena->head->extents[ARENA_SESSIONS].used;
        struct session *sessions = arena_slab(arena, ARENA_SESSIONS);
        struct pipe_record *pipes = arena_slab(arena, ARENA_PIPES);
        int disputes = 0;

        for (uint32_t i = 0; i < used; i++)
                for (int side = 0; sessions[i].state != LIFE_CLOSED && side < SESSION_SIDES; side++)
                        disputes |= adopt_own_session(set, &sessions[i].fd[side]);
        if (disputes)
                adopt_settle_disputes(set, sessions, used);
        for (uint32_t i = 0; i < arena->head->extents[ARENA_PIPES].used; i++) {
                if (pipes[i].owner == PIPE_FREE)
                        continue;
                if (!adopt_own(set, pipes[i].ends[0]) || !adopt_own(set, pipes[i].ends[1]))
                        pipes[i].owner = PIPE_FREE;
        }
}

static int adopt_is_socket(int fd) {
        int type;
        socklen_t len = sizeof(type);

        return sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

void adopt_nothing(const struct arena *arena) {
        struct session *sessions = arena_slab(arena, ARENA_SESSIONS);
        struct pipe_record *pipes = arena_slab(arena, ARENA_PIPES);
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };
        struct arena_extent *extents = arena->head->extents;

        for (uint32_t i = 0; i < extents[ARENA_SESSIONS].used; i++) {
                for (int side = 0; sessions[i].state != LIFE_CLOSED && side < SESSION_SIDES; side++)
                        if (adopt_is_socket(sessions[i].fd[side]))
                                sys_setsockopt(sessions[i].fd[side], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
                sessions[i].state = LIFE_CLOSED;
        }
        for (uint32_t i = 0; i < extents[ARENA_PIPES].used; i++)
                pipes[i].owner = PIPE_FREE;
        extents[ARENA_THREADS].used = 0;
}

/*
 * A session's descriptor that is not open is none: its number will be given to another.  Asked here, before the sandbox
 * makes each of ten thousand calls dearer.
 */
static void adopt_disown_closed(const struct arena *arena) {
        struct session *sessions = arena_slab(arena, ARENA_SESSIONS);

        for (uint32_t i = 0; i < arena->head->extents[ARENA_SESSIONS].used; i++)
                for (int side = 0; sessions[i].state != LIFE_CLOSED && side < SESSION_SIDES; side++)
                        if (sessions[i].fd[side] >= 0 && fcntl(sessions[i].fd[side], F_GETFD) < 0)
                                sessions[i].fd[side] = -1;
}

void adopt_close_unowned(const struct arena *arena) {
        struct adopt_set set;
        size_t gap = 0;

        if (adopt_set_init(&set) < 0)
                return;
        adopt_own_fixed(arena, &set);
        adopt_own_traffic(arena, &set);
        for (size_t fd = 0; fd <= set.size; fd++) {
                if (fd < set.size && !set.has[fd])
                        continue;
                if (fd > gap)
                        close_range((unsigned)gap, fd == set.size ? ~0u : (unsigned)fd - 1, 0);
                gap = fd + 1;
        }
        free(set.has);
        adopt_disown_closed(arena);
}

/* What /proc lists: a directory of thousands takes the kernel milliseconds. */
static int adopt_list_few(const struct adopt_set *set, int32_t *list, size_t size) {
        DIR *dir = opendir("/proc/self/fd");
        struct dirent *entry;
        size_t n = 0;

        if (!dir)
                return -errno;
        while ((entry = readdir(dir)) && n < size) {
                int fd = atoi(entry->d_name);

                if (fd > STDERR_FILENO && fd != dirfd(dir) && (size_t)fd < set->size && !set->has[fd])
                        list[n++] = fd;
        }
        closedir(dir);
        return 0;
}

int adopt_list_unowned(const struct arena *arena, int32_t *list, size_t size) {
        struct adopt_set set;
        size_t owned = 0, n = 0, last;
        int r;

        r = adopt_set_init(&set);
        if (r < 0)
                return r;
        adopt_own_fixed(arena, &set);
        adopt_own_traffic(arena, &set);
        for (size_t fd = 0; fd < set.size; fd++)
                owned += set.has[fd] != ADOPT_NOBODY;
        /* The kernel gives the lowest number that is free: what was opened beside many is not far above their count. */
        last = owned + ADOPT_FEW < set.size ? owned + ADOPT_FEW : set.size - 1;
        if (owned < ADOPT_FEW)
                r = adopt_list_few(&set, list, size);
        for (size_t fd = STDERR_FILENO + 1; owned >= ADOPT_FEW && fd <= last && n < size; fd++)
                if (!set.has[fd] && fcntl((int)fd, F_GETFD) >= 0)
                        list[n++] = (int32_t)fd;
        free(set.has);
        return r;
}

int adopt_keep_on_exec(const struct arena *arena, int keep) {
        struct adopt_set set;
        size_t first = 0;
        int r = adopt_set_init(&set);

        if (r < 0)
                return r;
        adopt_own_fixed(arena, &set);
        adopt_own_traffic(arena, &set);
        for (size_t fd = STDERR_FILENO + 1; fd <= set.size; fd++) {
                int has = fd < set.size && set.has[fd];

                /* A range at a time; the other way round the kernel knows only single descriptors. */
                if (has && keep)
                        fcntl((int)fd, F_SETFD, 0);
                else if (has && !first)
                        first = fd;
                if (!has && first) {
                        close_range((unsigned)first, (unsigned)fd - 1, CLOSE_RANGE_CLOEXEC);
                        first = 0;
                }
        }
        free(set.has);
        return 0;
}

/* A direction whose pipe is not its own, or whose numbers cannot be, makes the session one that cannot go on. */
static int adopt_direction(struct env_shared *shared, struct session *session, unsigned side) {
        struct direction *direction = &session->direction[side];
        uint32_t owner = PIPE_OWNER((uint32_t)(session - shared->sessions) * SESSION_SIDES + side);
        struct pipe_record *pipe;
        int n;

        if (direction->state > DIRECTION_FAILED || direction->held > 1)
                return 0;
        /* A time to come, which nobody noted, would hold the direction for good. */
        if (session->paid_ns[side] && session->paid_ns[side] > sys_clock_ms() * BUCKET_NS_PER_MS)
                session->paid_ns[side] = 0;
        if (direction->pipe == DIRECTION_NO_PIPE)
                return direction->piped == 0;
        if (direction->pipe >= shared->arena->head->extents[ARENA_PIPES].used)
                return 0;
        pipe = &shared->pipes.records[direction->pipe];
        if (pipe->owner != owner || ioctl(pipe->ends[0], FIONREAD, &n) < 0)
                return 0;
        /* Bytes may have moved since the number was noted: the pipe knows. */
        direction_recount(direction, (size_t)n);
        return direction_sane(direction) || direction->state == DIRECTION_FAILED;
}

static int adopt_rare_valid(const struct env_shared *shared, const struct session *session) {
        const struct arena_extent *extents = shared->arena->head->extents;

        if (session->tried > SESSION_TRIES || session->round > session->tried)
                return 0;
        if (session->rare == ARENA_NONE)
                return session->tried == 0;
        if (session->rare >= extents[ARENA_RARE].used)
                return 0;
        for (unsigned i = 0; i < session->tried; i++) {
                uint16_t server = shared->rares[session->rare].server[i];

                if (server >= extents[ARENA_SERVERS].used || !shared->servers[server].conf)
                        return 0;
        }
        return 1;
}

/* One is known once the preface is done. */
static int adopt_backend_valid(const struct env_shared *shared, const struct session *session) {
        if (session->stage > PREFACE_DONE || (session->state > LIFE_PREFACE && session->stage < PREFACE_DONE))
                return 0;
        if (session->backend == SESSION_NO_BACKEND)
                return session->stage < PREFACE_DONE;
        return session->backend < shared->arena->head->extents[ARENA_BACKENDS].used &&
               shared->backends[session->backend].conf != NULL;
}

/*
 * Whether the record makes sense, apart from whether it was in a critical window.  Its descriptors are open, see
 * adopt_disown_closed(); that they are sockets its first turn finds out, see session_adopt().
 */
static int adopt_valid(struct env_shared *shared, struct session *session) {
        const struct arena_extent *extents = shared->arena->head->extents;
        int has_server = session->server != SESSION_NO_SERVER;

        if (session->state >= LIFE_STATES || session->end > ACCESS_END_N || session->stamp != session->generation)
                return 0;
        if (session->listener >= extents[ARENA_LISTENERS].used || session->frontend >= extents[ARENA_FRONTENDS].used)
                return 0;
        if (!shared->frontends[session->frontend].conf || !adopt_backend_valid(shared, session))
                return 0;
        if (has_server && (session->server >= extents[ARENA_SERVERS].used || !shared->servers[session->server].conf))
                return 0;
        if (!adopt_rare_valid(shared, session))
                return 0;
        if (session->state == LIFE_CONNECTING && session->fd[SESSION_SERVER] >= 0 && !has_server)
                return 0;
        if (session->fd[SESSION_CLIENT] < 0)
                return 0;
        if (session->state >= LIFE_RELAYING && (!has_server || session->fd[SESSION_SERVER] < 0))
                return 0;
        return adopt_direction(shared, session, SESSION_CLIENT) && adopt_direction(shared, session, SESSION_SERVER);
}

/* Makes a record that makes no sense safe to release. */
static void adopt_defuse(struct env_shared *shared, struct session *session) {
        const struct arena_extent *extents = shared->arena->head->extents;

        for (int side = 0; side < SESSION_SIDES; side++) {
                direction_init(&session->direction[side], 0);
                session->counted[side] = 0;
                if (!adopt_is_socket(session->fd[side]))
                        session->fd[side] = -1;
        }
        if (session->server >= extents[ARENA_SERVERS].used)
                session->server = SESSION_NO_SERVER;
        if (session->listener >= extents[ARENA_LISTENERS].used)
                session->listener = 0;
        /* Any that is there will do. */
        if (session->frontend >= extents[ARENA_FRONTENDS].used)
                session->frontend = 0;
        while (!shared->frontends[session->frontend].conf && session->frontend + 1u < extents[ARENA_FRONTENDS].used)
                session->frontend++;
        if (session->backend >= extents[ARENA_BACKENDS].used || !shared->backends[session->backend].conf)
                session->backend = SESSION_NO_BACKEND;
        if (session->backend == SESSION_NO_BACKEND ||
            (session->server != SESSION_NO_SERVER && !shared->servers[session->server].conf))
                session->server = SESSION_NO_SERVER;
        session->stage = PREFACE_REFUSED;
        session->rare = ARENA_NONE;
        session->tried = session->round = 0;
        session->end = ACCESS_END_N;
        session->state = LIFE_ACCEPTED;
}

/* Counts the session wherever it counts, and says which thread has it. */
static void adopt_count(struct env_shared *shared, struct session *session, int inherited, uint32_t *next_thread) {
        if (!inherited || session->thread >= shared->n_threads)
                session->thread = (uint16_t)((*next_thread)++ % shared->n_threads);
        shared->sessions_now++;
        shared->threads[session->thread].sessions++;
        shared->frontends[session->frontend].sessions++;
        if (session->server != SESSION_NO_SERVER)
                shared->servers[session->server].record->sessions++;
        if (session->stage > PREFACE_ADMIT)
                admit_adopt(shared, session);
}

static void adopt_reset(struct env *env, struct session *session, unsigned end) {
        /* What the pipes hold is part of a whole that nobody gets. */
        for (int side = 0; side < SESSION_SIDES; side++)
                if (session->direction[side].pipe != DIRECTION_NO_PIPE)
                        session->direction[side].piped = 1;
        session->end = ACCESS_END_N;
        session_note_end(session, end, 0);
        if (session->state == LIFE_PICKING)
                session->state = LIFE_ACCEPTED;
        session_run(env, session, LIFE_KILL);
}

/* Was it being served when the last worker ended? */
static int adopt_caught(const struct env_shared *shared, const struct session *session) {
        const struct loop_record *loops = arena_slab(shared->arena, ARENA_THREADS);
        uint32_t index = (uint32_t)(session - shared->sessions);

        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_THREADS].used; i++)
                if (loops[i].current == index)
                        return 1;
        return 0;
}

/* And did that worker die by a fault, and not the first one with this session? */
static int adopt_poisonous(const struct env_shared *shared, struct session *session, int caught) {
        return caught && control_of(shared->arena)->suspect && ++session->crashes >= ADOPT_CRASHES;
}

static void adopt_one(struct env_shared *shared, struct env **envs, struct session *session, int inherited,
                      uint32_t *next_thread, struct adopt_report *report) {
        int valid = adopt_valid(shared, session), caught = adopt_caught(shared, session);
        int torn = valid && relay_torn(session);

        if (!valid)
                adopt_defuse(shared, session);
        adopt_count(shared, session, inherited, next_thread);
        if (!valid || torn || adopt_poisonous(shared, session, caught)) {
                report->reset++;
                adopt_reset(envs[session->thread], session,
                            torn ? ACCESS_RECOVERED_BUSY : ACCESS_INTERNAL);
                return;
        }
        session->busy = SESSION_AT_REST;
        report->adopted++;
        session_adopt(envs[session->thread], session, inherited, caught);
}

/* Gives back the records of rare things that no session names. */
static void adopt_rares(struct env_shared *shared) {
        uint32_t used = shared->arena->head->extents[ARENA_RARE].used;
        uint8_t *named = calloc(used + 1, 1);

        /* Without memory for that they stay taken: a leak until the next adoption, and no harm. */
        if (!named)
                return;
        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_SESSIONS].used; i++)
                if (shared->sessions[i].state != LIFE_CLOSED && shared->sessions[i].rare < used)
                        named[shared->sessions[i].rare] = 1;
        for (uint32_t i = 0; i < used; i++)
                if (!named[i])
                        arena_list_give(&shared->rare_list, i);
        free(named);
}

/* Whether the session that a pipe names really has it. */
static int adopt_pipe_owned(const struct env_shared *shared, uint32_t index) {
        uint32_t owner = shared->pipes.records[index].owner - PIPE_OWNER(0);
        uint32_t number = owner / SESSION_SIDES;

        return number < shared->arena->head->extents[ARENA_SESSIONS].used &&
               shared->sessions[number].state != LIFE_CLOSED &&
               shared->sessions[number].direction[owner % SESSION_SIDES].pipe == index;
}

static void adopt_pipes(struct env_shared *shared, struct env **envs) {
        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_PIPES].used; i++) {
                struct pipe_record *record = &shared->pipes.records[i];
                struct env *env = envs[i % shared->n_threads];

                if (record->owner != PIPE_FREE && record->big)
                        atomic_fetch_add(&shared->pipes.big, 1);
                if (record->owner == PIPE_FREE)
                        arena_list_give(&shared->pipes.list, i);
                else if (record->owner == PIPE_SPARE)
                        env_give_pipe(env, i);
                else if (!adopt_pipe_owned(shared, i))
                        pipe_pool_drop(&env->pipes, i);
        }
}

/* By when they began to wait; of one millisecond, by when they came. */
static int adopt_compare_waiting(const void *a, const void *b, void *arg) {
        const struct session *sessions = arg;
        const struct session *left = &sessions[*(const uint32_t *)a], *right = &sessions[*(const uint32_t *)b];

        if (left->phase_ms != right->phase_ms)
                return left->phase_ms < right->phase_ms ? -1 : 1;
        return left->id < right->id ? -1 : left->id > right->id;
}

/* Puts those that wait for a server into their queues again, each in its turn. */
static void adopt_queues(struct env_shared *shared, struct env **envs) {
        uint32_t used = shared->arena->head->extents[ARENA_SESSIONS].used, n = 0;
        uint32_t *waiting = calloc(used + 1, sizeof(*waiting));

        /* Without memory for that, each joins when it looks next. */
        for (uint32_t i = 0; i < used; i++) {
                struct session *session = &shared->sessions[i];

                if (session->state != LIFE_QUEUED || !session->waits)
                        continue;
                if (waiting)
                        waiting[n++] = i;
                else
                        session->waits = 0;
        }
        if (waiting)
                qsort_r(waiting, n, sizeof(*waiting), adopt_compare_waiting, shared->sessions);
        for (uint32_t i = 0; i < n; i++)
                pick_rejoin(envs[shared->sessions[waiting[i]].thread], &shared->sessions[waiting[i]]);
        free(waiting);
}

/* Places are counted anew, and may be free: the config may allow more of them, or others. */
static void adopt_backends(struct env_shared *shared) {
        int64_t now_ms = sys_clock_ms();

        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_BACKENDS].used; i++) {
                if (!shared->backends[i].conf)
                        continue;
                backend_recount(&shared->backends[i], now_ms);
                env_grant(shared, &shared->backends[i], now_ms);
        }
}

static void adopt_references(const struct env_shared *shared, struct slots_references *references) {
        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_SESSIONS].used; i++) {
                const struct session *session = &shared->sessions[i];

                if (session->state == LIFE_CLOSED)
                        continue;
                references->listeners[session->listener]++;
                references->frontends[session->frontend]++;
                if (session->backend != SESSION_NO_BACKEND)
                        references->backends[session->backend]++;
                if (session->server != SESSION_NO_SERVER)
                        references->servers[session->server]++;
                for (unsigned t = 0; session->rare != ARENA_NONE && t < session->tried; t++)
                        references->servers[shared->rares[session->rare].server[t] % ENV_SERVERS]++;
        }
}

void adopt_sessions(struct env_shared *shared, struct env **envs, int inherited, struct adopt_report *report) {
        uint32_t used = shared->arena->head->extents[ARENA_SESSIONS].used, next_thread = 0;
        struct server_record *servers = arena_slab(shared->arena, ARENA_SERVERS);
        struct loop_record *loops = arena_slab(shared->arena, ARENA_THREADS);
        struct slots_references *references;

        *report = (struct adopt_report){ 0 };
        /* From here on the records are as this binary writes them. */
        shared->arena->head->layout = ARENA_LAYOUT;
        for (uint32_t i = 0; i < shared->arena->head->extents[ARENA_SERVERS].used; i++)
                servers[i].sessions = 0;
        /* Free records first: what is reset below gives its own back. */
        for (uint32_t i = 0; i < used; i++)
                if (shared->sessions[i].state == LIFE_CLOSED)
                        arena_list_give(&shared->session_list, i);
        adopt_rares(shared);
        adopt_pipes(shared, envs);
        for (uint32_t i = 0; i < used; i++)
                if (shared->sessions[i].state != LIFE_CLOSED)
                        adopt_one(shared, envs, &shared->sessions[i], inherited, &next_thread, report);
        for (uint32_t i = 0; i < shared->n_threads; i++)
                loops[i].current = LOOP_NONE;
        adopt_queues(shared, envs);
        adopt_backends(shared);

        references = calloc(1, sizeof(*references));
        if (references) {
                adopt_references(shared, references);
                slots_sweep(shared, references);
                free(references);
        }
}
