/* SPDX-License-Identifier: ISC */
#include "session/connect.h"

#include <errno.h>
#include <string.h>

#include "net/sys.h"
#include "session/access.h"
#include "session/close.h"
#include "session/deadline.h"
#include "session/header.h"
#include "session/observe.h"
#include "session/pick.h"
#include "session/relay.h"

#define CONNECT_AGAIN_MS 5      /* before the first repeat at a full AF_UNIX backlog; doubles ... */
#define CONNECT_AGAIN_MAX_MS 100 /* ... up to this */
#define CONNECT_LOG_MS 1000     /* between lines about one server */

/* Notes why the attempt failed and tells the sysadmin, at most once a second for each server and thread. */
static enum life_event connect_failed(struct env *env, struct session *session, int error) {
        struct backend *backend = env_backend(env, session);
        const struct conf_server *server = env_server(env, session)->conf;
        struct log_limit *limit = &env->server_limits[session->server];
        struct log_context context = {
                .frontend = env_frontend_conf(env, session)->name, .backend = backend->conf->name,
                .server = server->name, .address = server->text, .session = session->id,
        };
        uint32_t times = log_limit_ask(limit, env->loop.now_ms, CONNECT_LOG_MS);

        session->error = (int16_t)error;
        /* Where ports are short here, it is no fault of the server. */
        if (error != EADDRNOTAVAIL)
                backend_note_failure(backend, session->server, env->loop.now_ms);
        observe_failed(env, session, error);
        atomic_fetch_add_explicit(&env_server(env, session)->record->connect_failed, 1, memory_order_relaxed);
        if (times == 1)
                log_warning(env->log, &context, "cannot connect to the server: %s", strerror(error));
        else if (times)
                log_warning(env->log, &context, "cannot connect to the server: %s (%u times since the last such line)",
                            strerror(error), times);
        return LIFE_FAILED;
}

/* The connection is there.  The server's header goes out before anything else, or it is as if there were none. */
static enum life_event connect_done(struct env *env, struct session *session) {
        int r = session->greeting ? header_send(env, session) : 0;

        if (r < 0)
                return connect_failed(env, session, -r);
        relay_ready(session);
        return LIFE_CONNECTED;
}

/* Connects s->fd[SESSION_SERVER] to the address, and has the outcome watched. */
static enum life_event connect_try(struct env *env, struct session *session, const struct addr *address) {
        uint64_t key = session_key(env_index(env, session), session->generation, SESSION_SERVER);
        int fd = session->fd[SESSION_SERVER], r, pending;

        r = sys_connect(fd, &address->sa, address->len);
        /* Somebody before us got so far, and was not there any more to note it. */
        if (r == -EISCONN)
                r = 0;
        pending = r == -EINPROGRESS;
        if (r == -EAGAIN && address->kind == ADDR_UNIX) {
                /* unix(7): the backlog is full, and no event will say when it is not. */
                session->pause_ms = session->pause_ms ? (uint16_t)(session->pause_ms * 2) : CONNECT_AGAIN_MS;
                if (session->pause_ms > CONNECT_AGAIN_MAX_MS)
                        session->pause_ms = CONNECT_AGAIN_MAX_MS;
                session->until_ms = env->loop.now_ms + session->pause_ms;
                return LIFE_PENDING;
        }
        if (r < 0 && !pending)
                return connect_failed(env, session, -r);

        session->until_ms = 0;
        /* That a connection is made, OUT says. */
        if (pending)
                r = poller_add(env->loop.record->poller, fd, key);
        else
                r = poller_add_quiet(env->loop.record->poller, fd, key);
        if (r < 0)
                return connect_failed(env, session, -r);
        if (pending)
                session->sockets |= SESSION_WATCHED(SESSION_SERVER);
        return pending ? LIFE_PENDING : connect_done(env, session);
}

/* The port is left to connect(2), which can share it among destinations: ip(7). */
int connect_bind(int fd, const struct addr *source) {
        int on = 1, r = 0;

        if (source->sa.sa_family == AF_INET || source->sa.sa_family == AF_INET6)
                r = sys_setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        return r < 0 ? r : sys_bind(fd, &source->sa, source->len);
}

/* Not the server's fault where descriptors or memory are short: other servers would not help. */
static enum life_event connect_no_socket(struct env *env, struct session *session, int error) {
        struct log_context context = { .frontend = env_frontend_conf(env, session)->name, .session = session->id };
        uint32_t times;

        if (close_end_of_error(error, ACCESS_INTERNAL) != ACCESS_NO_DESCRIPTORS)
                return connect_failed(env, session, error);
        times = log_limit_ask(&env->socket_limit, env->loop.now_ms, CONNECT_LOG_MS);
        if (times)
                log_warning(env->log, &context,
                            "no socket for the connection to a server: %s; the client is reset (%u times)",
                            strerror(error), times);
        session_note_end(session, ACCESS_NO_DESCRIPTORS, error);
        return LIFE_KILL;
}

/* The version of a server's header, kept in the record: the server may be in no config when the connection is there. */
static uint8_t connect_greeting(enum conf_send_proxy send_proxy) {
        switch (send_proxy) {
        case CONF_SEND_PROXY_V1:
                return 1;
        case CONF_SEND_PROXY_V2:
                return 2;
        default:
                return 0;
        }
}

enum life_event connect_start(struct env *env, struct session *session) {
        const struct conf_server *server = env_server(env, session)->conf;
        const struct addr *address = &env->address;
        int family = addr_family(address), fd, r;
        enum sockopt_id failed;

        session->phase_ms = env->loop.now_ms;
        session->began_us = sys_clock_us();
        session->pause_ms = 0;
        session->until_ms = 0;
        session->greeting = connect_greeting(server->send_proxy);
        fd = sys_socket(family, SOCK_STREAM, sockopt_protocol(family, &server->sockopts));
        if (fd < 0)
                return connect_no_socket(env, session, -fd);
        session->fd[SESSION_SERVER] = fd;
        session->sockets &= (uint8_t)~(SESSION_WATCHED(SESSION_SERVER) | SESSION_SECOND);
        if (family == AF_UNIX) {
                session->flags |= SESSION_UNIX(SESSION_SERVER);
                session->sockets |= SESSION_SECOND;
        } else
                session->flags &= (uint8_t)~SESSION_UNIX(SESSION_SERVER);

        if (sockopt_any(family, &server->sockopts, SOCKOPT_CONNECT)) {
                r = sockopt_apply(fd, family, &server->sockopts, SOCKOPT_CONNECT, &failed);
                if (r < 0) {
                        char value[64];
                        struct log_context context = { .backend = env_backend(env, session)->conf->name,
                                                       .server = server->name, .session = session->id };

                        log_error(env->log, &context, "cannot set socket option %s = %s: %s",
                                  sockopt_spec(failed)->name,
                                  sockopt_format(&server->sockopts, failed, value, sizeof(value)), strerror(-r));
                        return connect_failed(env, session, -r);
                }
        }
        if (server->source.kind != ADDR_NONE && family != AF_UNIX) {
                r = connect_bind(fd, &server->source);
                if (r < 0)
                        return connect_failed(env, session, -r);
        }
        return connect_try(env, session, address);
}

void connect_options(struct env *env, struct session *session, enum sockopt_stage stage) {
        const struct conf_server *server = env_server(env, session)->conf;
        int family = session->flags & SESSION_UNIX(SESSION_SERVER) ? AF_UNIX : AF_INET, r;
        enum sockopt_id failed;

        r = sockopt_apply(session->fd[SESSION_SERVER], family, &server->sockopts, stage, &failed);
        if (r < 0 && !(session->flags & (SESSION_LOST(SESSION_CLIENT) | SESSION_LOST(SESSION_SERVER)))) {
                struct log_context context = { .backend = env_backend(env, session)->conf->name,
                                               .server = server->name, .session = session->id };

                log_warning(env->log, &context, "cannot set socket option %s on the server's connection: %s",
                            sockopt_spec(failed)->name, strerror(-r));
        }
}

enum life_event connect_again(struct env *env, struct session *session) {
        struct addr address;

        backend_address(env_backend(env, session), session->server, &address);
        return connect_try(env, session, &address);
}

enum life_event connect_resume(struct env *env, struct session *session) {
        struct addr address;
        int r;

        /* Waits for its timer. */
        if (session->until_ms)
                return LIFE_NOTHING;
        backend_address(env_backend(env, session), session->server, &address);
        /* connect(2) asked again says how the first attempt stands. */
        r = sys_connect(session->fd[SESSION_SERVER], &address.sa, address.len);
        if (r == 0 || r == -EISCONN)
                return connect_done(env, session);
        if (r == -EINPROGRESS || r == -EALREADY)
                return LIFE_PENDING;
        return connect_failed(env, session, -r);
}

enum life_event connect_event(struct env *env, struct session *session, uint32_t events) {
        int fd = session->fd[SESSION_SERVER], error = 0, r;
        socklen_t len = sizeof(error);
        char byte;

        /* Writable and nothing else: the kernel says so of a connected socket alone. */
        if (!(events & (POLLER_ERR | POLLER_HUP)))
                return (events & POLLER_OUT) ? connect_done(env, session) : LIFE_NOTHING;
        r = sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
        /* A server that said something before it reset the connection was there: its bytes count. */
        if (r >= 0 && error && (events & POLLER_IN) && sys_recv(fd, &byte, 1, MSG_PEEK) > 0) {
                relay_lost(env, session, SESSION_SERVER, error);
                relay_ready(session);
                return LIFE_CONNECTED;
        }
        if (r < 0 || error)
                return connect_failed(env, session, error ? error : -r);
        /* A hang-up is no answer.  It may be of a socket that a process before this one has given up already: ask. */
        return (events & POLLER_OUT) ? connect_resume(env, session) : LIFE_NOTHING;
}

enum life_event connect_timeout(struct env *env, struct session *session) {
        return connect_failed(env, session, session->until_ms ? EAGAIN : ETIMEDOUT);
}

enum life_event connect_next(struct env *env, struct session *session) {
        int fd = session->fd[SESSION_SERVER];

        session->fd[SESSION_SERVER] = -1;
        if (fd >= 0)
                sys_close(fd);
        session->until_ms = 0;
        session_forget_server(session);
        return pick_next(env, session);
}
