/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/rig.h"
#include "script/script.h"
#include "session/access.h"
#include "session/relay.h"

/*
 * relay_move() against a kernel that is a model: two streams without a
 * descriptor.  Wherever a kernel could do one thing or another, and wherever the session waits and
 * the world could go on in several ways, the model chooses.  A run is one sequence of choices; all
 * sequences up to a depth are run, and what comes after the depth is the quiet end (FINs come, space frees).
 */

#define MODEL_DEPTH_MAX 24
/* The thread sanitizer looks at every copied byte, and has nothing to find in one thread. */
#ifdef __SANITIZE_THREAD__
#define MODEL_SHALLOWER 2
#else
#define MODEL_SHALLOWER 0
#endif
#define MODEL_STEPS 400         /* rounds in a run: none comes near */
#define MODEL_PERIOD 65521      /* of the bytes' pattern */
#define MODEL_SOCKET 500        /* descriptors of the sockets, by side; pipes follow */
#define MODEL_PIPE 510
#define MODEL_PIPES 4
#define MODEL_BULK (100u * 1024u)
#define MODEL_NO_MARK UINT64_MAX

struct model_kind {
        const char *name;
        unsigned depth;
        int pipe_size;          /* 0: none to be had */
        int scarce;             /* each pipe may be had or not */
        int urgent;             /* urgent bytes may come */
        int is_unix[2];
        int cut;                /* half-close is off */
        uint64_t bulk;          /* bytes that come at once while the session waits; 0: MODEL_BULK */
        uint64_t rate, burst;   /* of each direction, in bytes; 0: no limit */
};

/* One peer, and what the kernel holds of it.  Counts are bytes since the start. */
struct model_side {
        uint64_t given, taken;  /* arrived from it; read by us */
        uint64_t delivered;     /* taken by it: bytes of the other's stream */
        uint64_t mark;          /* an urgent byte stood before this byte */
        int fin;                /* it has sent its FIN */
        int reset;              /* 1: with the error still to be reported; 2: reported, once, as kernels do */
        int gone;               /* it has closed after its FIN: what is sent to it is lost; 2: the error was reported */
        int blocked;            /* it takes no more until the world says so */
        int watched;            /* that it takes some again is an event */
        int shut;               /* we have passed a FIN on to it */
        int closed, linger;
        uint32_t pending;       /* events */
};

struct model_pipe {
        int open;
        unsigned from;          /* whose bytes it holds */
        uint64_t at, n;
};

struct model {
        const struct model_kind *kind;
        struct rig rig;
        struct session *session;
        struct model_side side[2];
        struct model_pipe pipes[MODEL_PIPES];
        const char *wrong;              /* the first violation */
        int64_t begin_ms;
        int late;                       /* time was up for a lost side */
        unsigned choice[MODEL_DEPTH_MAX], options[MODEL_DEPTH_MAX], length, at;
        uint8_t pattern[2][MODEL_PERIOD + DIRECTION_SCRATCH];
};

static void model_wrong(struct model *model, const char *what) {
        if (!model->wrong)
                model->wrong = what;
}

/* One of `options`; 0 is what leads to a quiet end. */
static unsigned model_choose(struct model *model, unsigned options) {
        if (model->at + MODEL_SHALLOWER >= model->kind->depth)
                return 0;
        if (model->at == model->length) {
                model->choice[model->length] = 0;
                model->options[model->length++] = options;
        } else if (model->options[model->at] != options)
                model_wrong(model, "a run cannot be repeated");
        return model->choice[model->at++];
}

/* The next sequence of choices, depth first. */
static int model_next(struct model *model) {
        while (model->length && model->choice[model->length - 1] + 1 == model->options[model->length - 1])
                model->length--;
        if (!model->length)
                return 0;
        model->choice[model->length - 1]++;
        return 1;
}

static const uint8_t *model_bytes(const struct model *model, unsigned side, uint64_t at) {
        return model->pattern[side] + at % MODEL_PERIOD;
}

enum model_arrival { MODEL_FIN, MODEL_NOTHING, MODEL_SHORT, MODEL_FILL, MODEL_RESET, MODEL_SHORT_FIN, MODEL_URGENT };

static void model_arrive(struct model *model, unsigned side, enum model_arrival what, size_t fill) {
        struct model_side *from = &model->side[side];

        switch (what) {
        case MODEL_NOTHING:
                return;
        case MODEL_FILL:
                from->given += fill;
                break;
        case MODEL_URGENT:
                from->mark = from->given + 70;
                from->given += 200;
                from->pending |= POLLER_PRI;
                break;
        case MODEL_SHORT:
        case MODEL_SHORT_FIN:
                from->given += 100;
                break;
        default:
                break;
        }
        from->pending |= POLLER_IN | POLLER_OUT * !from->blocked;
        if (what == MODEL_FIN || what == MODEL_SHORT_FIN) {
                from->fin = 1;
                from->pending |= POLLER_RDHUP;
        }
        if (what == MODEL_RESET) {
                from->reset = 1;
                from->blocked = 0;
                from->pending |= POLLER_RDHUP | POLLER_HUP | POLLER_ERR | POLLER_OUT;
        }
}

/* How many bytes can be read at once; where there are none, *result is what the call says. */
static size_t model_readable(struct model *model, unsigned side, size_t len, int splice, ssize_t *result) {
        struct model_side *from = &model->side[side];

        if (from->given == from->taken && !from->fin && !from->reset)
                model_arrive(model, side, model_choose(model, model->kind->urgent && !from->mark ? 7 : 6), len);
        if (from->given > from->taken) {
                size_t n = from->given - from->taken < len ? (size_t)(from->given - from->taken) : len;

                /* splice stops at a mark, and calls it the end where there is a FIN behind. */
                if (splice && from->taken == from->mark) {
                        *result = from->fin ? 0 : -EAGAIN;
                        return 0;
                }
                if (from->mark && from->taken < from->mark && from->taken + n > from->mark)
                        n = (size_t)(from->mark - from->taken);
                return n;
        }
        if (from->reset == 1) {
                from->reset = 2;
                *result = -ECONNRESET;
        } else
                *result = from->reset || from->fin ? 0 : -EAGAIN;
        return 0;
}

static ssize_t model_recv(void *arg, int fd, void *buf, size_t len, int flags) {
        struct model *model = arg;
        unsigned side = (unsigned)(fd - MODEL_SOCKET);
        ssize_t result = 0;
        size_t n = model_readable(model, side, len, 0, &result);

        if (!n)
                return result;
        memcpy(buf, model_bytes(model, side, model->side[side].taken), n);
        if (!(flags & MSG_PEEK))
                model->side[side].taken += n;
        return (ssize_t)n;
}

/* Its FIN came before, and now it is not there any more. */
static void model_leave(struct model *model, unsigned side) {
        model->side[side].gone = 1;
        model->side[side].blocked = 0;
        model->side[side].pending |= POLLER_IN | POLLER_OUT | POLLER_RDHUP | POLLER_HUP | POLLER_ERR;
}

/* How many of len bytes the side takes, or what the call says instead. */
static ssize_t model_writable(struct model *model, unsigned side, size_t len) {
        struct model_side *to = &model->side[side];

        if (to->shut)
                model_wrong(model, "bytes after a FIN");
        if (to->reset) {
                ssize_t result = to->reset == 1 ? -ECONNRESET : -EPIPE;

                to->reset = 2;
                return result;
        }
        if (to->gone) {
                to->gone = 2;
                return -EPIPE;
        }
        if (to->blocked)
                return -EAGAIN;
        switch (model_choose(model, 4)) {
        case 0:
                return (ssize_t)len;
        case 1:
                if (len < 2)
                        return (ssize_t)len;
                to->blocked = 1;
                return (ssize_t)(len / 2);
        case 2:
                to->blocked = 1;
                return -EAGAIN;
        default:
                if (to->fin) {
                        model_leave(model, side);
                        to->gone = 2;
                        return -EPIPE;
                }
                model_arrive(model, side, MODEL_RESET, 0);
                to->reset = 2;
                return -ECONNRESET;
        }
}

static ssize_t model_send(void *arg, int fd, const void *buf, size_t len, int flags) {
        struct model *model = arg;
        unsigned side = (unsigned)(fd - MODEL_SOCKET);
        ssize_t n = model_writable(model, side, len);

        if (n <= 0)
                return n;
        if (memcmp(buf, model_bytes(model, !side, model->side[side].delivered), (size_t)n) != 0)
                model_wrong(model, "wrong bytes sent");
        model->side[side].delivered += (uint64_t)n;
        return n;
}

static struct model_pipe *model_pipe(struct model *model, int fd) {
        return &model->pipes[(fd - MODEL_PIPE) / 2];
}

static ssize_t model_write(void *arg, int fd, const void *buf, size_t len) {
        struct model *model = arg;
        struct model_pipe *pipe = model_pipe(model, fd);

        if (pipe->n || len > (size_t)model->kind->pipe_size)
                model_wrong(model, "bytes parked where there is no room");
        for (pipe->from = 0; pipe->from < 2; pipe->from++) {
                uint64_t taken = model->side[pipe->from].taken;

                if (taken >= len && memcmp(buf, model_bytes(model, pipe->from, taken - len), len) == 0) {
                        pipe->at = taken - len;
                        pipe->n = len;
                        return (ssize_t)len;
                }
        }
        model_wrong(model, "bytes parked that nobody sent");
        return (ssize_t)len;
}

static ssize_t model_splice(void *arg, int from, int to, size_t len) {
        struct model *model = arg;
        struct model_pipe *pipe = model_pipe(model, from >= MODEL_PIPE ? from : to);
        ssize_t result = 0;

        if (from < MODEL_PIPE) {
                unsigned side = (unsigned)(from - MODEL_SOCKET);
                size_t room = (size_t)model->kind->pipe_size * (pipe->n == 0);
                size_t n = model_readable(model, side, len < room ? len : room, 1, &result);

                if (!room)
                        return -EAGAIN;
                if (!n)
                        return result;
                *pipe = (struct model_pipe){ .open = 1, .from = side, .at = model->side[side].taken, .n = n };
                model->side[side].taken += n;
                return (ssize_t)n;
        }
        result = model_writable(model, (unsigned)(to - MODEL_SOCKET), len < pipe->n ? len : (size_t)pipe->n);
        if (result <= 0)
                return result;
        if (pipe->from != !(to - MODEL_SOCKET) || pipe->at != model->side[to - MODEL_SOCKET].delivered)
                model_wrong(model, "wrong bytes spliced");
        pipe->at += (uint64_t)result;
        pipe->n -= (uint64_t)result;
        model->side[to - MODEL_SOCKET].delivered += (uint64_t)result;
        return result;
}

static int model_make_pipe(void *arg, int ends[2]) {
        struct model *model = arg;

        if (!model->kind->pipe_size || (model->kind->scarce && model_choose(model, 2)))
                return -EMFILE;
        for (int i = 0; i < MODEL_PIPES; i++)
                if (!model->pipes[i].open) {
                        model->pipes[i] = (struct model_pipe){ .open = 1 };
                        ends[0] = MODEL_PIPE + 2 * i;
                        ends[1] = MODEL_PIPE + 2 * i + 1;
                        return 0;
                }
        return -EMFILE;
}

static int model_pipe_resize(void *arg, int fd, int size) {
        return -EPERM;
}

static int model_pipe_size(void *arg, int fd) {
        return ((struct model *)arg)->kind->pipe_size;
}

/* A FIN is right when all that the other sent is there, its FIN too, and no reset makes a lie of it. */
static void model_pass_fin(struct model *model, unsigned side) {
        const struct model_side *from = &model->side[!side];

        if (!from->fin || from->reset || model->side[side].delivered != from->given)
                model_wrong(model, "a FIN before the last byte, or for a reset");
        model->side[side].shut = 1;
}

static int model_shutdown(void *arg, int fd, int how) {
        struct model *model = arg;
        unsigned side = (unsigned)(fd - MODEL_SOCKET);

        if (model->side[side].fin && !model->side[side].gone && !model->side[side].reset && model_choose(model, 2))
                model_leave(model, side);
        if (model->side[side].reset || model->side[side].gone)
                return -ENOTCONN;
        if (how != SHUT_WR || model->side[side].shut)
                model_wrong(model, "a second FIN");
        model_pass_fin(model, side);
        return 0;
}

static int model_close(void *arg, int fd) {
        struct model *model = arg;
        unsigned number = (unsigned)(fd - MODEL_SOCKET);
        struct model_side *side;

        if (fd >= MODEL_PIPE) {
                if ((fd - MODEL_PIPE) % 2)
                        model_pipe(model, fd)->open = 0;
                return 0;
        }
        if (number > 1 || model->side[number].closed) {
                model_wrong(model, "closed what is not open");
                return -EBADF;
        }
        side = &model->side[number];
        side->closed = 1;
        /* With half-close off, the first FIN that was passed on ends it for both. */
        if (model->kind->cut && model->side[!number].shut && !side->linger)
                return 0;
        /* A close without a reset is a FIN, or was preceded by one; a peer of AF_UNIX cannot tell. */
        if (!side->linger && !side->shut && !side->reset && !side->gone && !model->kind->is_unix[number])
                model_pass_fin(model, number);
        else if (!side->linger && side->given > side->taken && !side->reset && !model->side[!number].gone &&
                 !model->kind->is_unix[number] && !model->kind->cut)
                model_wrong(model, "a close with unread bytes, which is a reset");
        return 0;
}

static int model_getsockopt(void *arg, int fd, int level, int name, void *value, socklen_t *len) {
        struct model *model = arg;

        if (level != SOL_SOCKET || name != SO_ERROR)
                return -ENOPROTOOPT;
        *(int *)value = model->side[fd - MODEL_SOCKET].reset == 1  ? ECONNRESET
                        : model->side[fd - MODEL_SOCKET].gone == 1 ? EPIPE
                                                                   : 0;
        if (model->side[fd - MODEL_SOCKET].gone)
                model->side[fd - MODEL_SOCKET].gone = 2;
        if (model->side[fd - MODEL_SOCKET].reset)
                model->side[fd - MODEL_SOCKET].reset = 2;
        return 0;
}

static int model_setsockopt(void *arg, int fd, int level, int name, const void *value, socklen_t len) {
        struct model *model = arg;

        if (level == SOL_SOCKET && name == SO_LINGER)
                model->side[fd - MODEL_SOCKET].linger = 1;
        return 0;
}

static int model_unsent(void *arg, int fd) {
        return model_choose(arg, 2) ? 100 : 0;
}

static int model_watch(void *arg, int fd) {
        struct model_side *side = &((struct model *)arg)->side[fd - MODEL_SOCKET];

        if (side->watched)
                model_wrong(arg, "watched a second time");
        side->watched = 1;
        side->pending |= POLLER_OUT * !side->blocked;
        return 0;
}

static int model_unwatch(void *arg, int fd) {
        ((struct model *)arg)->side[fd - MODEL_SOCKET].watched = 0;
        return 0;
}

static int model_wait(void *arg, struct poller_event *events, int max) {
        struct model *model = arg;
        uint32_t index = (uint32_t)(model->session - model->rig.shared.sessions);
        int n = 0;

        for (unsigned side = 0; side < 2 && n < max; side++) {
                uint32_t pending = model->side[side].pending & ~(model->side[side].watched ? 0 : POLLER_OUT);

                model->side[side].pending = 0;
                if (!pending)
                        continue;
                events[n].events = pending;
                events[n++].key = session_key(index, model->session->generation, side);
        }
        return n;
}

static const struct script_model model_kernel = {
        .recv = model_recv, .send = model_send, .write = model_write, .splice = model_splice, .pipe = model_make_pipe,
        .pipe_resize = model_pipe_resize, .pipe_size = model_pipe_size, .shutdown = model_shutdown,
        .close = model_close, .getsockopt = model_getsockopt, .setsockopt = model_setsockopt, .unsent = model_unsent,
        .watch = model_watch, .unwatch = model_unwatch, .wait = model_wait,
};

/* A session whose server has just been connected, with every count that accept and pick would have raised. */
static void model_session(struct model *model) {
        struct env_shared *shared = &model->rig.shared;
        struct env *env = model->rig.env;
        uint32_t index = arena_list_take(&shared->session_list);
        struct backend_request request = { .session = index };
        struct addr addr;

        assert_int_not_equal(index, ARENA_NONE);
        model->session = &shared->sessions[index];
        model->begin_ms = script.now_ms;
        *model->session = (struct session){
                .generation = model->session->generation, .fd = { MODEL_SOCKET, MODEL_SOCKET + 1 }, .id = 1,
                .accepted_ms = script.now_ms, .phase_ms = script.now_ms, .rare = ARENA_NONE, .end = ACCESS_END_N,
                .state = LIFE_RELAYING,
        };
        for (unsigned side = 0; side < 2; side++) {
                direction_init(&model->session->direction[side], script.now_ms);
                if (model->kind->is_unix[side])
                        model->session->flags |= (uint8_t)SESSION_UNIX(side);
                model->side[side] = (struct model_side){ 0 };
        }
        model->session->server = (uint16_t)backend_pick(&shared->backends[0], &request, &addr);
        atomic_fetch_add(&shared->sessions_now, 1);
        atomic_fetch_add(&shared->frontends[0].sessions, 1);
        atomic_fetch_add(&shared->threads[0].sessions, 1);
        env->loop.now_ms = script.now_ms;
        relay_ready(model->session);
        session_run(env, model->session, relay_start(env, model->session));
}

/* The session waits: whether there is something that it should have done. */
static int model_stalls(const struct model *model) {
        for (unsigned side = 0; side < 2; side++) {
                const struct direction *direction = &model->session->direction[side];
                const struct model_side *from = &model->side[side], *to = &model->side[!side];

                if (direction_ended(direction) || to->blocked || to->gone)
                        continue;
                if (direction->held && !direction->piped)
                        continue;
                if (direction->piped || from->given > from->taken || direction->state == DIRECTION_DRAINED)
                        return 1;
                if (direction->state == DIRECTION_OPEN && (from->fin || from->reset))
                        return 1;
        }
        return 0;
}

/* The session waits, so the world does something.  Returns 0 where nothing is left that it could do. */
static int model_world(struct model *model) {
        struct { unsigned side; int what; } can[16];
        int64_t close_ms = model->session->close_ms;
        int held = model->session->direction[0].held || model->session->direction[1].held;
        unsigned n = 0, chosen;
        enum { UNBLOCK = 100, LEAVE, TIME };

        if (held)
                can[n].side = 0, can[n++].what = TIME;
        if (model->session->state == LIFE_RELAYING) {
                for (unsigned side = 0; side < 2; side++)
                        if (model->side[side].blocked)
                                can[n].side = side, can[n++].what = UNBLOCK;
                for (int what = MODEL_FIN; what <= MODEL_RESET; what++)
                        for (unsigned side = 0; side < 2 && what != MODEL_NOTHING; side++)
                                if (!model->side[side].fin && !model->side[side].reset)
                                        can[n].side = side, can[n++].what = what;
        }
        for (unsigned side = 0; side < 2; side++)
                if (model->side[side].fin && !model->side[side].gone && !model->side[side].reset)
                        can[n].side = side, can[n++].what = LEAVE;
        if (!held && (model->session->close_ms || model->session->until_ms))
                can[n].side = 0, can[n++].what = TIME;
        if (!n)
                return 0;
        chosen = model_choose(model, n);
        if (can[chosen].what == UNBLOCK) {
                model->side[can[chosen].side].blocked = 0;
                model->side[can[chosen].side].pending |= POLLER_OUT;
        } else if (can[chosen].what == LEAVE) {
                model_leave(model, can[chosen].side);
        } else if (can[chosen].what != TIME) {
                model_arrive(model, can[chosen].side, (enum model_arrival)can[chosen].what,
                             model->kind->bulk ? model->kind->bulk : MODEL_BULK);
        } else {
                /* Right to the session's own timer: where the wheel turns on the way is no matter of the run. */
                script.now_ms = wheel_when(&model->rig.env->loop.wheel,
                                           (uint32_t)(model->session - model->rig.shared.sessions));
                rig_round(&model->rig);
                model->late |= close_ms && script.now_ms >= close_ms;
                /* By now the record is free where it ended, and says nothing any more. */
                model->late |= !held && model->session->state == LIFE_CLOSED;
        }
        return 1;
}

/* No more was read than there were tokens for. */
static void model_check_rate(struct model *model) {
        uint64_t ms = (uint64_t)(script.now_ms - model->begin_ms);

        for (int i = 0; i < 2 && model->kind->rate; i++)
                if (model->side[i].taken > model->kind->burst + model->kind->rate * ms / 1000)
                        model_wrong(model, "more was read than is allowed");
}

/* What must be true of a run that has ended. */
static void model_judge(struct model *model) {
        const struct model_side *side = model->side;
        const char *why = rig_look_empty(&model->rig);
        int resets = !!side[0].reset + !!side[1].reset;

        if (why)
                model_wrong(model, why);
        for (int i = 0; i < 2; i++) {
                if (!side[i].closed)
                        model_wrong(model, "a socket was not closed");
                if (!resets && !model->late && model->kind->cut && !side[0].shut && !side[1].shut && !side[0].gone &&
                    !side[1].gone)
                        model_wrong(model, "a session without fault passed on no FIN");
                if (!resets && !model->late && !side[i].gone && !model->kind->cut) {
                        if (!side[i].shut && !model->kind->is_unix[i])
                                model_wrong(model, "a session without fault did not pass on two FINs");
                        if (side[i].linger)
                                model_wrong(model, "a session without fault ended with a reset");
                        if (side[i].delivered != side[!i].given)
                                model_wrong(model, "bytes were lost");
                }
                if (resets == 1 && side[!i].reset && !side[i].gone && !model->late &&
                    side[i].delivered != side[!i].given)
                        model_wrong(model, "bytes before a reset were lost");
                if (resets && !model->kind->is_unix[i] && !side[i].gone && !side[i].linger)
                        model_wrong(model, "a reset was not passed on as one");
        }
}

static void model_run(struct model *model) {
        int step;

        model->at = 0;
        model->wrong = NULL;
        model->late = 0;
        model_session(model);
        for (step = 0; step < MODEL_STEPS && !model->wrong && model->session->state != LIFE_CLOSED; step++) {
                const char *why = rig_look(&model->rig);

                model_check_rate(model);
                if (why)
                        model_wrong(model, why);
                else if (model->rig.env->loop.first || model->side[0].pending || model->side[1].pending)
                        rig_round(&model->rig);
                else if (model->session->state == LIFE_RELAYING && model_stalls(model))
                        model_wrong(model, "something could move and nobody moves it");
                else if (!model_world(model))
                        model_wrong(model, "nothing can happen any more");
        }
        if (step == MODEL_STEPS)
                model_wrong(model, "the session does not end");
        if (!model->wrong)
                model_judge(model);
        /* A spare one left over would answer what the next run is to choose. */
        if (model->kind->scarce)
                pipe_pool_deinit(&model->rig.env->pipes);
}

static void model_report(const struct model *model) {
        char text[256] = "";

        for (unsigned i = 0; i < model->at; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u/%u", model->choice[i],
                         model->options[i]);
        fail_msg("%s: %s, after the choices%s", model->kind->name, model->wrong, text);
}

static const struct model_kind model_kinds[] = {
        { .name = "TCP and TCP", .depth = 8, .pipe_size = 65536 },
        { .name = "UNIX and TCP", .depth = 7, .pipe_size = 65536, .is_unix = { 1, 0 } },
        { .name = "UNIX and UNIX", .depth = 6, .pipe_size = 65536, .is_unix = { 1, 1 } },
        { .name = "TCP and TCP, urgent bytes", .depth = 7, .pipe_size = 65536, .urgent = 1 },
        { .name = "long bursts", .depth = 6, .pipe_size = 65536, .bulk = 3u << 20 },
        { .name = "half-close off", .depth = 7, .pipe_size = 65536, .cut = 1 },
        { .name = "small pipes", .depth = 7, .pipe_size = 4096 },
        { .name = "scarce pipes", .depth = 8, .pipe_size = 65536, .scarce = 1 },
        { .name = "limited", .depth = 6, .pipe_size = 65536, .rate = 2000000, .burst = 70000 },
        { .name = "limited to a little", .depth = 6, .pipe_size = 65536, .rate = 50000, .burst = 1000, .bulk = 3000 },
        { .name = "limited, without pipes", .depth = 6, .pipe_size = 0, .rate = 2000000, .burst = 70000 },
        { .name = "limited, UNIX", .depth = 6, .pipe_size = 65536, .is_unix = { 1, 1 }, .rate = 2000000,
          .burst = 70000 },
        { .name = "no pipes", .depth = 7, .pipe_size = 0 },
        { .name = "no pipes, urgent bytes", .depth = 7, .pipe_size = 0, .urgent = 1 },
};

static void relay_all_interleavings(void **state) {
        const struct model_kind *kind = *state;
        struct model *model = calloc(1, sizeof(*model));
        uint32_t seed = 1;
        unsigned long runs = 0;
        const char *why;

        assert_non_null(model);
        for (unsigned side = 0; side < 2; side++)
                for (size_t i = 0; i < sizeof(model->pattern[0]); i++)
                        if (i < MODEL_PERIOD)
                                model->pattern[side][i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
                        else
                                model->pattern[side][i] = model->pattern[side][i - MODEL_PERIOD];
        model->kind = kind;
        rig_load(&model->rig, "frontend \"f\" { listen \"unix:@spliced-model\" { } backend = \"b\" "
                              "timeouts { client = off client-fin = off } }\n"
                              "backend \"b\" { timeouts { server = off server-fin = off } "
                              "server \"s\" { address = \"127.0.0.1:9\" } }\n");
        model->rig.conf->frontends[0].half_close = !kind->cut;
        rig_name(&model->rig.conf->frontends[0].listeners[0].addr);
        rig_start(&model->rig, 2, MODEL_PIPES);
        for (unsigned side = 0; side < 2; side++)
                model->rig.shared.frontends[0].bytes[side] = bucket_limit(kind->rate, kind->burst);
        script.model = &model_kernel;
        script.model_arg = model;
        do {
                model_run(model);
                runs++;
        } while (!model->wrong && model_next(model));
        print_message("# %s: %lu runs\n", kind->name, runs);
        if (model->wrong)
                model_report(model);
        why = rig_stop(&model->rig);
        if (why)
                fail_msg("%s: %s", kind->name, why);
        free(model);
}

int main(void) {
        struct CMUnitTest tests[sizeof(model_kinds) / sizeof(model_kinds[0])];
        size_t n = sizeof(tests) / sizeof(tests[0]);

        for (size_t i = 0; i < n; i++)
                tests[i] = (struct CMUnitTest){ model_kinds[i].name, relay_all_interleavings, NULL, NULL,
                                                (void *)&model_kinds[i] };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
