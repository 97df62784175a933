/* SPDX-License-Identifier: ISC */
#include "session/close.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "base/clock.h"
#include "net/sys.h"
#include "session/accept.h"
#include "session/access.h"
#include "session/admit.h"
#include "session/counters.h"
#include "session/deadline.h"
#include "session/header.h"
#include "session/pick.h"
#include "session/preface.h"
#include "session/tap.h"

#define CLOSE_LOOK_MAX_MS 20

unsigned close_end_of_error(int error, unsigned otherwise) {
        switch (error) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case ENOSPC:
                return ACCESS_NO_DESCRIPTORS;
        default:
                return otherwise;
        }
}

enum life_event close_linger(struct env *env, struct session *session) {
        session->pause_ms = 0;
        if (!session->close_ms)
                session->close_ms =
                        env->loop.now_ms + (session->flags & SESSION_RESET ? CLOSE_LINGER_MS : CLOSE_DELIVER_MS);
        return close_look(env, session);
}

enum life_event close_look(struct env *env, struct session *session) {
        int waiting = 0;

        /* What an AF_UNIX peer was sent stays readable after a close, so only TCP needs to be waited for. */
        for (int side = 0; side < SESSION_SIDES; side++) {
                unsigned spared = SESSION_UNIX(side) | SESSION_LOST(side) | SESSION_DEAF(side);

                if (!(session->flags & spared) && sys_unsent(session->fd[side]) > 0)
                        waiting = 1;
        }
        if (!waiting)
                return LIFE_FLUSHED;
        session->pause_ms = session->pause_ms ? (uint16_t)(session->pause_ms * 2) : 1;
        if (session->pause_ms > CLOSE_LOOK_MAX_MS)
                session->pause_ms = CLOSE_LOOK_MAX_MS;
        session->until_ms = env->loop.now_ms + session->pause_ms;
        deadline_arm(env, session);
        return LIFE_NOTHING;
}

/* RTT and retransmissions of a TCP side, -1 where there are none to be had. */
static void close_tcp_info(int fd, int64_t *rtt_us, int64_t *retrans) {
        struct tcp_info info = { 0 };
        socklen_t len = sizeof(info);

        if (fd < 0 || sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
                return;
        *rtt_us = info.tcpi_rtt;
        *retrans = info.tcpi_total_retrans;
}

static void close_log_client(const struct env *env, const struct session *session, struct access_record *record) {
        struct ucred creds;

        switch (session->client_family) {
        case AF_INET:
                record->client.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = session->client_port };
                memcpy(&record->client.in.sin_addr, &session->client, sizeof(record->client.in.sin_addr));
                break;
        case AF_INET6:
                record->client.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = session->client_port,
                                                            .sin6_addr = session->client };
                break;
        default:
                record->client.sa.sa_family = AF_UNIX;
                if (header_client_ids(env, session, &creds) < 0)
                        return;
                record->has_creds = 1;
                record->uid = creds.uid;
                record->gid = creds.gid;
                record->pid = creds.pid;
        }
}

/* Which servers the session had to do with: the present or last one, and all of them where there were several. */
static void close_log_servers(struct env *env, const struct session *session, struct access_record *record) {
        const struct env_server *servers = env->shared->servers;
        const uint16_t *tried = session->rare == ARENA_NONE ? NULL : env->shared->rares[session->rare].server;
        unsigned last = session->server;

        for (unsigned i = 0; tried && i < session->tried; i++)
                record->tried[record->n_tried++] = servers[tried[i]].conf->name;
        if (session->server != SESSION_NO_SERVER && record->n_tried && record->n_tried < ACCESS_TRIED_MAX)
                record->tried[record->n_tried++] = servers[session->server].conf->name;
        else if (session->server == SESSION_NO_SERVER && tried && session->tried)
                last = tried[session->tried - 1];
        record->retries = record->n_tried ? record->n_tried - 1u : 0;
        if (tried)
                record->retries += env->shared->rares[session->rare].dropped;
        if (last != SESSION_NO_SERVER) {
                record->server = servers[last].conf->name;
                backend_address(env_backend(env, session), last, &record->address);
        }
}

static void close_log(struct env *env, const struct session *session) {
        const struct conf_frontend *frontend = env_frontend_conf(env, session);
        struct access_record record;

        if (!log_has_access(env->log) || !frontend->access_log)
                return;
        record = access_record_none();
        record.wall_ms = clock_wall_ms();
        record.session = session->id;
        record.frontend = frontend->name;
        record.listener = env->shared->listeners[session->listener].record->text;
        if (session->stage == PREFACE_DONE)
                record.backend = env_backend(env, session)->conf->name;
        if (session->rare != ARENA_NONE && env->shared->rares[session->rare].sni[0])
                record.sni = env->shared->rares[session->rare].sni;
        close_log_client(env, session, &record);
        close_log_servers(env, session, &record);
        record.bytes_up = session->direction[SESSION_CLIENT].bytes;
        record.bytes_down = session->direction[SESSION_SERVER].bytes;
        record.queue_ms = session->queue_ms;
        record.connect_ms = session->connect_ms;
        record.duration_ms = sys_clock_ms() - session->accepted_ms;
        record.end = session->end == ACCESS_END_N ? ACCESS_INTERNAL : session->end;
        record.error = session->error;
        if (!(session->flags & SESSION_UNIX(SESSION_CLIENT)))
                close_tcp_info(session->fd[SESSION_CLIENT], &record.client_rtt_us, &record.client_retrans);
        if (!(session->flags & SESSION_UNIX(SESSION_SERVER)))
                close_tcp_info(session->fd[SESSION_SERVER], &record.server_rtt_us, &record.server_retrans);
        access_write(env->log, &record);
}

/* From now on a TCP peer sees a reset, whoever closes the socket. */
static void close_with_reset(const struct session *session) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        for (int side = 0; side < SESSION_SIDES; side++)
                if (session->fd[side] >= 0 && !(session->flags & SESSION_UNIX(side)))
                        sys_setsockopt(session->fd[side], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static enum life_event close_release(struct env *env, struct session *session, int reset) {
        struct env_shared *shared = env->shared;
        uint32_t index = env_index(env, session);
        struct session was;

        if (session->state == LIFE_QUEUED)
                pick_leave(env, session);
        if (env->taps)
                tap_end(env, session);
        counters_ended(env, session);
        close_log(env, session);
        wheel_cancel(&env->loop.wheel, index);
        loop_unready(&env->loop, index);
        admit_leave(env, session);
        env_disown(env, index);
        if (reset)
                close_with_reset(session);

        /* Nobody's first, then closed: a successor closes what we do not get to, and never a stranger's descriptor. */
        was = *session;
        session->state = LIFE_CLOSED;
        __atomic_store_n(&session->generation, session->generation + 1, __ATOMIC_RELEASE);
        session->fd[SESSION_CLIENT] = session->fd[SESSION_SERVER] = -1;
        session->busy = 0;
        atomic_signal_fence(memory_order_seq_cst);

        for (int side = 0; side < SESSION_SIDES; side++) {
                if (was.fd[side] >= 0)
                        sys_close(was.fd[side]);
                if (was.direction[side].pipe == DIRECTION_NO_PIPE)
                        continue;
                if (was.direction[side].piped)
                        pipe_pool_drop(&env->pipes, was.direction[side].pipe);
                else
                        env_give_pipe(env, was.direction[side].pipe);
        }
        if (was.server != SESSION_NO_SERVER)
                pick_give_back(env, &shared->backends[was.backend], was.server);
        if (was.rare != ARENA_NONE)
                arena_list_give(&shared->rare_list, was.rare);
        arena_list_give(&shared->session_list, index);
        atomic_fetch_sub(&shared->threads[env->thread].sessions, 1);
        atomic_fetch_sub(&shared->frontends[was.frontend].sessions, 1);
        atomic_fetch_sub(&shared->sessions_now, 1);
        accept_resume(env);
        return LIFE_NOTHING;
}

enum life_event close_abort(struct env *env, struct session *session) {
        return close_release(env, session, 1);
}

enum life_event close_finish(struct env *env, struct session *session) {
        return close_release(env, session, 0);
}

enum life_event close_part(struct env *env, struct session *session) {
        return close_release(env, session, session->flags & SESSION_RESET);
}
