/* SPDX-License-Identifier: ISC */
#include "session/header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/sys.h"
#include "session/access.h"
#include "session/look.h"
#include "session/peer.h"
#include "session/preface.h"

#define HEADER_LOG_MS 1000      /* between lines about headers that are wrong */

int header_may_come(struct env *env, const struct env_listener *listener, const struct session *session) {
        const struct acl *acl = &listener->proxy_from;
        struct acl_client peer = { .family = session->client_family, .address = &session->client };
        int is_unix = (session->flags & SESSION_UNIX(SESSION_CLIENT)) != 0, r = 0;
        uint32_t *memory = NULL;
        struct ucred ids = { 0 };

        if (!listener->conf->proxy_from.given)
                return 1;
        if (is_unix && acl_asks_ids(acl)) {
                r = peer_ids(session, &ids);
                peer.has_peer = 1;
                peer.uid = ids.uid;
                peer.gid = ids.gid;
        }
        if (is_unix && r >= 0 && acl_asks_groups(acl))
                r = peer_groups(env, session, &peer.groups, &peer.n_groups, &memory);
        r = r >= 0 && acl_allows(acl, &peer);
        free(memory);
        return r;
}

/* What an accepted header said of this session; NULL where none did, or where it said that the peer is the client. */
static const struct proxy_header *header_said(const struct env *env, const struct session *session) {
        const struct session_rare *rare;

        if (session->rare == ARENA_NONE)
                return NULL;
        rare = &env->shared->rares[session->rare];
        return rare->header.client.kind == ADDR_NONE ? NULL : &rare->header;
}

int header_client_ids(const struct env *env, const struct session *session, struct ucred *ids) {
        const struct proxy_header *header = header_said(env, session);

        if (!header)
                return peer_ids(session, ids);
        if (!header->has_ids)
                return -ENODATA;
        *ids = (struct ucred){ .pid = header->pid, .uid = header->uid, .gid = header->gid };
        return 0;
}

/* From now on the client is who the header says. */
static void header_note(struct session *session, struct session_rare *rare, const struct proxy_header *header) {
        const struct addr *client = &header->client;

        rare->header = *header;
        session->client = (struct in6_addr){ 0 };
        session->client_port = 0;
        session->client_family = client->sa.sa_family;
        if (client->sa.sa_family == AF_INET) {
                session->client_port = client->in.sin_port;
                memcpy(&session->client, &client->in.sin_addr, sizeof(client->in.sin_addr));
        } else if (client->sa.sa_family == AF_INET6) {
                session->client_port = client->in6.sin6_port;
                session->client = client->in6.sin6_addr;
        }
}

/* Bytes, or the connection, are lost. */
static enum life_event header_lost(struct session *session, int error) {
        session_note_end(session, ACCESS_CLIENT_RESET, error);
        return LIFE_KILL;
}

/* Takes the header out of the kernel: a process that dies meanwhile leaves a session that is reset. */
static enum life_event header_take(struct env *env, struct session *session, const struct proxy_header *header,
                                   const struct look *look, size_t len) {
        struct session_rare *rare = NULL;
        int r;

        if (header->client.kind != ADDR_NONE) {
                rare = env_rare(env, session);
                if (!rare) {
                        session_note_end(session, ACCESS_INTERNAL, 0);
                        return LIFE_KILL;
                }
        }
        r = look_take(env, session, look, len);
        if (r < 0)
                return header_lost(session, -r);
        if (rare)
                header_note(session, rare, header);
        session->stage = PREFACE_ADMIT;
        session->phase_ms = env->loop.now_ms;
        session_busy(session, SESSION_AT_REST);
        return LIFE_LOOK;
}

static enum life_event header_bad(struct env *env, struct session *session, const char *why) {
        struct log_context context = { .frontend = env_frontend_conf(env, session)->name, .session = session->id,
                                       .address = env->shared->listeners[session->listener].record->text };
        uint32_t times = log_limit_ask(&env->header_limit, env->loop.now_ms, HEADER_LOG_MS);

        if (times)
                log_warning(env->log, &context, "no PROXY header, or a bad one, from a peer: %s (%u times so far)", why,
                            times);
        session_note_end(session, ACCESS_BAD_PREFACE, 0);
        return LIFE_GIVE_UP;
}

enum life_event header_read(struct env *env, struct session *session) {
        struct proxy_header header;
        struct look look;
        const char *why;
        int r, len;

        r = look_begin(env, session, PROXY_HEADER_V2_MAX, &look);
        if (r == -EAGAIN)
                return LIFE_MORE;
        if (r < 0)
                return header_lost(session, -r);
        if (look.n == 0) {
                session_note_end(session, ACCESS_CLIENT_FIN, 0);
                return LIFE_GIVE_UP;
        }
        len = proxy_header_parse(&header, look.bytes, look.n, &why);
        if (len > 0)
                return header_take(env, session, &header, &look, (size_t)len);
        if (len < 0)
                return header_bad(env, session, why);
        if (look.ended)
                return header_bad(env, session, "it ends before it is complete");
        r = look_again(env, session, &look);
        return r < 0 ? header_lost(session, -r) : LIFE_MORE;
}

static struct addr header_peer(const struct session *session) {
        struct addr addr = { .kind = ADDR_IP };

        switch (session->client_family) {
        case AF_INET:
                addr.len = sizeof(addr.in);
                addr.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = session->client_port };
                memcpy(&addr.in.sin_addr, &session->client, sizeof(addr.in.sin_addr));
                break;
        case AF_INET6:
                addr.len = sizeof(addr.in6);
                addr.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = session->client_port,
                                                  .sin6_addr = session->client };
                break;
        default:
                addr = (struct addr){ .kind = ADDR_UNIX, .len = sizeof(addr.un) };
                /* One that has no name has none, and that is all that could be said of one which cannot be asked. */
                if (sys_getpeername(session->fd[SESSION_CLIENT], &addr.sa, &addr.len) < 0)
                        addr.len = sizeof(addr.un.sun_family);
                addr.un.sun_family = AF_UNIX;
        }
        return addr;
}

/* Where the client connected to: our own end of its connection. */
static int header_local(const struct env *env, const struct session *session, struct addr *addr) {
        const struct addr *listener = &env->shared->listeners[session->listener].record->addr;
        int r;

        /* The kernel knows a path by the name that it had before it was visible (listener.h), if it is ours. */
        if (listener->kind == ADDR_UNIX) {
                *addr = *listener;
                return 0;
        }
        *addr = (struct addr){ .kind = session->flags & SESSION_UNIX(SESSION_CLIENT) ? ADDR_UNIX : ADDR_IP,
                               .len = sizeof(addr->un) };
        r = sys_getsockname(session->fd[SESSION_CLIENT], &addr->sa, &addr->len);
        addr_unmap(addr);
        return r;
}

int header_send(const struct env *env, const struct session *session) {
        const struct proxy_header *said = header_said(env, session);
        struct proxy_header header = { .client = { .kind = ADDR_NONE } };
        char buf[PROXY_HEADER_SIZE];
        ssize_t n;
        size_t len;
        int r;

        if (said)
                header = *said;
        else {
                header.client = header_peer(session);
                r = header_local(env, session, &header.destination);
                if (r < 0)
                        return r;
        }
        len = proxy_header_format(&header, session->greeting, buf);
        n = sys_send(session->fd[SESSION_SERVER], buf, len, 0);
        if (n < 0)
                return (int)n;
        return (size_t)n == len ? 0 : -EMSGSIZE;
}
