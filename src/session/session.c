/* SPDX-License-Identifier: ISC */
#include "session/session.h"

#include <errno.h>

#include "net/sys.h"
#include "session/accept.h"
#include "session/access.h"
#include "session/close.h"
#include "session/connect.h"
#include "session/deadline.h"
#include "session/env.h"
#include "session/pick.h"
#include "session/preface.h"
#include "session/relay.h"

#define SESSION_GENERATION_MASK ((1u << 30) - 1)

uint64_t session_key(uint32_t index, uint32_t generation, unsigned side) {
        return (uint64_t)(generation & SESSION_GENERATION_MASK) << 34 | (uint64_t)side << 32 | index;
}

uint32_t session_key_index(uint64_t key) {
        return (uint32_t)key;
}

unsigned session_key_side(uint64_t key) {
        return (unsigned)(key >> 32) & 3;
}

int session_key_fits(uint64_t key, uint32_t generation) {
        return key >> 34 == (generation & SESSION_GENERATION_MASK);
}

static int session_is_fin(unsigned end) {
        return end == ACCESS_CLIENT_FIN || end == ACCESS_SERVER_FIN;
}

void session_note_end(struct session *session, unsigned end, int error) {
        if (session->end != ACCESS_END_N && (!session_is_fin(session->end) || session_is_fin(end)))
                return;
        session->end = (uint8_t)end;
        session->error = (int16_t)error;
}

void session_busy(struct session *session, unsigned busy) {
        atomic_signal_fence(memory_order_seq_cst);
        *(volatile uint8_t *)&session->busy = (uint8_t)busy;
        atomic_signal_fence(memory_order_seq_cst);
}

void session_forget_server(struct session *session) {
        struct direction *down = &session->direction[SESSION_SERVER];

        down->in_ready = down->in_ended = down->marked = 0;
        session->direction[SESSION_CLIENT].out_ready = 0;
}

static enum life_event session_stay(struct env *env, struct session *session) {
        deadline_arm(env, session);
        return LIFE_NOTHING;
}

/* Its thread has it from here on. */
static enum life_event session_take_up(struct env *env, struct session *session) {
        env_own(env, env_index(env, session));
        return preface_read(env, session);
}

static enum life_event session_illegal(struct env *env, struct session *session) {
        session_note_end(session, ACCESS_INTERNAL, 0);
        return close_abort(env, session);
}

typedef enum life_event session_action_fn(struct env *env, struct session *session);

static session_action_fn *const session_actions[LIFE_ACTIONS] = {
        [LIFE_ILLEGAL] = session_illegal,
        [LIFE_STAY] = session_stay,
        [LIFE_READ_PREFACE] = session_take_up,
        [LIFE_PICK] = pick_server,
        [LIFE_REST] = pick_rest,
        [LIFE_CONNECT] = connect_start,
        [LIFE_CONNECT_AGAIN] = connect_again,
        [LIFE_PICK_NEXT] = connect_next,
        [LIFE_RELAY] = relay_start,
        [LIFE_LINGER] = close_linger,
        [LIFE_ABORT] = close_abort,
        [LIFE_FINISH] = close_finish,
        [LIFE_PART] = close_part,
};

void session_run(struct env *env, struct session *session, enum life_event event) {
        while (event != LIFE_NOTHING) {
                struct life_step step = life_step(session->state, event);

                if (step.action == LIFE_ILLEGAL) {
                        struct log_context context = { .frontend = env_frontend_conf(env, session)->name,
                                                       .session = session->id };

                        log_error(env->log, &context, "internal error: event %s in state %s; the session is reset",
                                  life_event_name(event), life_state_name(session->state));
                }
                /* The record is free only once its resources are released, which the action does. */
                if (step.next != LIFE_CLOSED)
                        session->state = step.next;
                event = session_actions[step.action](env, session);
        }
}

/* What an event says of a side, kept until somebody can use it. */
static void session_note_flags(struct session *session, unsigned side, uint32_t events) {
        struct direction *in = &session->direction[side], *out = &session->direction[!side];

        if (events & (POLLER_IN | POLLER_PRI | POLLER_RDHUP | POLLER_HUP | POLLER_ERR))
                in->in_ready = 1;
        if (events & (POLLER_RDHUP | POLLER_HUP | POLLER_ERR))
                in->in_ended = 1;
        if (events & POLLER_PRI)
                in->marked = 1;
        if (events & (POLLER_OUT | POLLER_HUP | POLLER_ERR))
                out->out_ready = 1;
}

/*
 * Whether a client without a server is gone.  A FIN alone says nothing: it may
 * wait for its answer.  An AF_UNIX peer that closed hangs up, but what it sent before still counts.
 */
static int session_client_left(struct session *session, uint32_t events) {
        int fd = session->fd[SESSION_CLIENT], error = 0;
        socklen_t len = sizeof(error);
        char byte;

        if (!(events & (POLLER_ERR | POLLER_HUP)))
                return 0;
        /* The kernel tells it once: to whoever asks again, a reset looks like a FIN. */
        session_busy(session, SESSION_BUSY);
        if (sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                error = EIO;
        if (error) {
                session_note_end(session, ACCESS_CLIENT_RESET, error);
                return 1;
        }
        session_busy(session, SESSION_AT_REST);
        if (!(events & POLLER_HUP) || session->direction[SESSION_CLIENT].piped || sys_recv(fd, &byte, 1, MSG_PEEK) > 0)
                return 0;
        session_note_end(session, ACCESS_CLIENT_FIN, 0);
        return 1;
}

static int session_is_stream(int fd) {
        int type;
        socklen_t len = sizeof(type);

        return sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/*
 * Before an adopted session is served for the first time: are its descriptors sockets?  To ask for all of them
 * at adoption would keep every session waiting.  Returns 1 where the session is gone.
 */
static int session_unmasked(struct env *env, struct session *session) {
        uint8_t *unsure = &env->shared->unsure[env_index(env, session)];

        if (!*unsure)
                return 0;
        *unsure = 0;
        env->unsure--;
        if (session_is_stream(session->fd[SESSION_CLIENT]) &&
            (session->state < LIFE_CONNECTING || session->fd[SESSION_SERVER] < 0 ||
             session_is_stream(session->fd[SESSION_SERVER])))
                return 0;
        session_note_end(session, ACCESS_INTERNAL, 0);
        session_run(env, session, LIFE_KILL);
        return 1;
}

void session_event(struct env *env, uint64_t key, uint32_t events) {
        unsigned side = session_key_side(key);
        struct session *session;

        if (side == SESSION_KEY_LISTENER) {
                accept_run(env, session_key_index(key));
                return;
        }
        /* Only a batch that was torn to pieces names what is not there. */
        if (side >= SESSION_SIDES || session_key_index(key) >= env->shared->n_sessions)
                return;
        session = &env->shared->sessions[session_key_index(key)];
        /* It may have been given up, and taken again by another thread, since the kernel queued this event. */
        if (!session_key_fits(key, __atomic_load_n(&session->generation, __ATOMIC_ACQUIRE)))
                return;

        if (env->unsure && session_unmasked(env, session))
                return;
        env->loop.record->current = session_key_index(key);
        session_note_flags(session, side, events);
        switch (session->state) {
        case LIFE_ACCEPTED:
                /* Of the server only where it is replayed and the choice has started over: it says nothing of now. */
                session_run(env, session, side == SESSION_CLIENT && session_client_left(session, events)
                                                  ? LIFE_CLIENT_LEFT : LIFE_ADMIT);
                break;
        case LIFE_PREFACE:
                if (side == SESSION_CLIENT)
                        session_run(env, session, session_client_left(session, events) ? LIFE_CLIENT_LEFT : LIFE_LOOK);
                break;
        case LIFE_QUEUED:
        case LIFE_CONNECTING:
                if (side == SESSION_SERVER && session->state == LIFE_CONNECTING)
                        session_run(env, session, connect_event(env, session, events));
                else if (side == SESSION_CLIENT && session_client_left(session, events))
                        session_run(env, session, LIFE_CLIENT_LEFT);
                break;
        case LIFE_RELAYING:
                session_run(env, session, relay_event(env, session, side, events));
                break;
        case LIFE_CLOSING:
                session_run(env, session, close_look(env, session));
                break;
        default:
                break;
        }
        env->loop.record->current = LOOP_NONE;
}

/* Whether another thread wants it to end. */
static int session_killed(struct env *env, struct session *session) {
        uint64_t kill = atomic_load_explicit(&env->shared->mail[env_index(env, session)].kill, memory_order_relaxed);

        if (!kill)
                return 0;
        atomic_store(&env->shared->mail[env_index(env, session)].kill, 0);
        if (kill >> 8 != session->id)
                return 0;
        session_note_end(session, kill & 255, 0);
        return 1;
}

/* What a session can do without an event: in most states it waits for one. */
static enum life_event session_turn(struct env *env, struct session *session) {
        if (session_killed(env, session))
                return LIFE_KILL;
        switch (session->state) {
        case LIFE_ACCEPTED:
                return LIFE_ADMIT;
        case LIFE_PREFACE:
                return LIFE_LOOK;
        case LIFE_QUEUED:
                return pick_granted(env, session);
        case LIFE_CONNECTING:
                return connect_resume(env, session);
        case LIFE_RELAYING:
                return relay_move(env, session);
        case LIFE_CLOSING:
                return close_look(env, session);
        default:
                return LIFE_NOTHING;
        }
}

void session_ready(struct env *env, uint32_t index) {
        struct session *session;

        if (index == env_survey_node(env)) {
                survey_turn(env);
                return;
        }
        if (index >= env->shared->n_sessions) {
                accept_run(env, index - env_listener_node(env, 0));
                return;
        }
        session = &env->shared->sessions[index];
        if (env->unsure && session_unmasked(env, session))
                return;
        env->loop.record->current = index;
        session_run(env, session, session_turn(env, session));
        env->loop.record->current = LOOP_NONE;
}

/* Registers what the state has registered; what is registered already stays. */
static int session_register(struct env *env, const struct session *session) {
        uint32_t index = env_index(env, session);
        int server = session->state >= LIFE_RELAYING || (session->state == LIFE_CONNECTING && !session->until_ms), r;

        /* Whoever waits for room, waits for an event. */
        r = poller_add(env->loop.record->poller, session->fd[SESSION_CLIENT],
                       session_key(index, session->generation, SESSION_CLIENT));
        if ((r >= 0 || r == -EEXIST) && server)
                r = poller_add(env->loop.record->poller, session->fd[SESSION_SERVER],
                               session_key(index, session->generation, SESSION_SERVER));
        return r == -EEXIST ? 0 : r;
}

/* Whether it is for a backend that the config has no more, while its frontend is there and may have another. */
static int session_is_stranded(const struct env *env, const struct session *session) {
        return session->backend != SESSION_NO_BACKEND && env_backend(env, session)->ghost &&
               !env->shared->frontends[session->frontend].ghost;
}

/* Whether the choice of a server has to start over. */
static int session_must_choose(const struct session *session, int caught) {
        switch (session->state) {
        case LIFE_PICKING:
                /* A choice never outlasts its handler; but who waits and only looked goes on waiting. */
                return !session->waits || !session->until_ms;
        case LIFE_QUEUED:
                /* Without a time, nothing would ever take it out again; and who waits has no server. */
                return !session->until_ms || session->server != SESSION_NO_SERVER;
        case LIFE_CONNECTING:
                /* What its socket still lacks (options, an address of its own, connect itself) cannot be told. */
                return caught || session->fd[SESSION_SERVER] < 0;
        default:
                return 0;
        }
}

static void session_choose_anew(struct env *env, struct session *session) {
        int fd = session->fd[SESSION_SERVER];

        if (session->server != SESSION_NO_SERVER)
                pick_give_back(env, env_backend(env, session), session->server);
        session->server = SESSION_NO_SERVER;
        session->until_ms = 0;
        session->waits = 0;
        session->state = LIFE_ACCEPTED;
        if (session_is_stranded(env, session)) {
                session->stage = PREFACE_ROUTE;
                session->backend = SESSION_NO_BACKEND;
        }
        session->fd[SESSION_SERVER] = -1;
        session_forget_server(session);
        if (fd >= 0)
                sys_close(fd);
}

void session_adopt(struct env *env, struct session *session, int registered, int caught) {
        int r = 0;

        env_own(env, env_index(env, session));
        if (session_must_choose(session, caught) ||
            (session->state == LIFE_QUEUED && session_is_stranded(env, session)))
                session_choose_anew(env, session);
        if (session->state == LIFE_PICKING)
                session->state = LIFE_QUEUED;
        /* Where it stood between its record and its registration, only trying tells. */
        if (!registered || session->state < LIFE_RELAYING)
                r = session_register(env, session);
        if (r < 0) {
                session_note_end(session, close_end_of_error(-r, ACCESS_INTERNAL), -r);
                session_run(env, session, LIFE_KILL);
                return;
        }
        deadline_arm(env, session);
        env->shared->unsure[env_index(env, session)] = 1;
        env->unsure++;
        loop_ready(&env->loop, env_index(env, session));
}

void session_expire(struct env *env, uint32_t index) {
        struct session *session;

        if (index == env_pool_node(env)) {
                if (pipe_pool_trim(&env->pipes))
                        wheel_arm(&env->loop.wheel, index, env->loop.now_ms + PIPE_POOL_TRIM_MS);
                return;
        }
        if (index >= env->shared->n_sessions) {
                accept_run(env, index - env_listener_node(env, 0));
                return;
        }
        session = &env->shared->sessions[index];
        if (env->unsure && session_unmasked(env, session))
                return;
        env->loop.record->current = index;
        session_run(env, session, deadline_expire(env, session));
        env->loop.record->current = LOOP_NONE;
}

void session_kill_all(struct env *env, unsigned end) {
        uint32_t bound = arena_list_bound(&env->shared->session_list);

        for (uint32_t i = 0; i < bound; i++) {
                struct session *session = &env->shared->sessions[i];

                if (session->thread != env->thread || session->state == LIFE_CLOSED)
                        continue;
                session_note_end(session, end, 0);
                session_run(env, session, LIFE_KILL);
        }
}
