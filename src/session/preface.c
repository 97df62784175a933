/* SPDX-License-Identifier: ISC */
#include "session/preface.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/client_hello.h"
#include "session/access.h"
#include "session/admit.h"
#include "session/header.h"
#include "session/look.h"
#include "session/peer.h"
#include "session/route.h"

_Static_assert(CLIENT_HELLO_NAME_SIZE <= SESSION_SNI_SIZE, "a name fits");

static enum life_event preface_give_up(struct session *session, unsigned end, int error) {
        session_note_end(session, end, error);
        return LIFE_GIVE_UP;
}

/*
 * The first route that takes the client, by what is known of it and by its socket's own peer.  Uses the scratch buffer.
 * Returns as route_match().
 */
static int preface_match(struct env *env, const struct session *session, struct route_client *client) {
        const struct conf_frontend *frontend = env_frontend_conf(env, session);
        uint32_t *memory = NULL;
        struct ucred ids;
        int route;

        if (session->flags & SESSION_UNIX(SESSION_CLIENT) && peer_ids(session, &ids) == 0) {
                client->has_ids = 1;
                client->uid = ids.uid;
                client->gid = ids.gid;
        }
        /* Where the groups cannot be had, there are none that a route could go by. */
        if (client->has_ids && route_asks_groups(frontend->routes, frontend->n_routes))
                peer_groups(env, session, &client->groups, &client->n_groups, &memory);
        route = route_match(frontend->routes, frontend->n_routes, client);
        client->groups = NULL;
        client->n_groups = 0;
        free(memory);
        return route;
}

/* What a ClientHello says, as far as it is there.  Returns LIFE_LOOK with client->hello and what goes with it set. */
static enum life_event preface_parse(struct env *env, struct session *session, const struct look *look, uint8_t *bytes,
                                     struct client_hello *hello, struct route_client *client) {
        struct session_rare *rare;

        client->hello = ROUTE_HELLO_NONE;
        switch (client_hello_parse(hello, bytes, look->n)) {
        case CLIENT_HELLO_MORE:
                /* In so many records that there is no more room to look, or cut off: it will never be complete. */
                return look->n < DIRECTION_SCRATCH && !look->ended ? LIFE_MORE : LIFE_LOOK;
        case CLIENT_HELLO_COMPLETE:
                client->hello = ROUTE_HELLO_HERE;
                client->sni = hello->sni;
                client->alpn = hello->alpn;
                client->alpn_len = hello->alpn_len;
                rare = hello->sni[0] ? env_rare(env, session) : NULL;
                if (rare)
                        snprintf(rare->sni, sizeof(rare->sni), "%s", hello->sni);
                return LIFE_LOOK;
        case CLIENT_HELLO_BAD:
                return preface_give_up(session, ACCESS_BAD_PREFACE, 0);
        default:
                return LIFE_LOOK;
        }
}

/* Looks at the ClientHello.  Returns as preface_parse().  `bytes` has room for DIRECTION_SCRATCH of them. */
static enum life_event preface_hello(struct env *env, struct session *session, uint8_t *bytes,
                                     struct client_hello *hello, struct route_client *client) {
        enum life_event event;
        struct look look;
        int r;

        r = look_begin(env, session, DIRECTION_SCRATCH, &look);
        if (r == -EAGAIN)
                return LIFE_MORE;
        if (r < 0)
                return preface_give_up(session, ACCESS_CLIENT_RESET, -r);
        /* Parsing moves bytes about, and what came out of a pipe goes back into it. */
        memcpy(bytes, look.bytes, look.n);
        event = preface_parse(env, session, &look, bytes, hello, client);
        r = event == LIFE_MORE ? look_again(env, session, &look) : look_keep(env, session, &look);
        return r < 0 ? preface_give_up(session, ACCESS_CLIENT_RESET, -r) : event;
}

/* The backend that a route names, or the default for ROUTE_NONE. */
static enum life_event preface_routed(struct env *env, struct session *session, int route) {
        const struct env_frontend *frontend = &env->shared->frontends[session->frontend];
        uint32_t backend = frontend->backend;

        if (route >= 0)
                backend = env->shared->backend_slots[frontend->conf->routes[route].backend];
        else if (frontend->ghost)
                /* In no config any more: the default of the one that the session came in by. */
                backend = session->backend == SESSION_NO_BACKEND ? ARENA_NONE : session->backend;
        if (backend == ARENA_NONE)
                return preface_give_up(session, ACCESS_NO_ROUTE, 0);
        session->backend = (uint16_t)backend;
        atomic_signal_fence(memory_order_seq_cst);
        session->stage = PREFACE_DONE;
        return LIFE_ROUTED;
}

/* The same for a client whose backend depends on what it says.  Others do not pay for its large frame. */
static __attribute__((noinline)) enum life_event preface_route_hello(struct env *env, struct session *session,
                                                                     struct route_client *client) {
        uint8_t bytes[DIRECTION_SCRATCH];
        struct client_hello hello;
        enum life_event event;

        event = preface_hello(env, session, bytes, &hello, client);
        return event == LIFE_LOOK ? preface_routed(env, session, preface_match(env, session, client)) : event;
}

/* Finds the backend of a client that has said nothing yet (AWAITED) or never will in time (NONE). */
static enum life_event preface_route(struct env *env, struct session *session, enum route_hello said) {
        struct route_client client = { .family = session->client_family, .address = session->client, .sni = "",
                                       .hello = said };
        int route;

        if (!env_frontend_conf(env, session)->n_routes)
                return preface_routed(env, session, ROUTE_NONE);
        route = preface_match(env, session, &client);
        return route == ROUTE_AWAIT ? preface_route_hello(env, session, &client)
                                    : preface_routed(env, session, route);
}

enum life_event preface_read(struct env *env, struct session *session) {
        enum life_event event = LIFE_LOOK;

        while (event == LIFE_LOOK) {
                switch (session->stage) {
                case PREFACE_REFUSED:
                        admit_refuse(env, session, ACCESS_DENIED, "proxy-from does not name this peer");
                        return LIFE_GIVE_UP;
                case PREFACE_HEADER:
                        event = header_read(env, session);
                        break;
                case PREFACE_ADMIT:
                        if (!admit_client(env, session))
                                return LIFE_GIVE_UP;
                        session->stage = PREFACE_ROUTE;
                        break;
                case PREFACE_ROUTE:
                        event = preface_route(env, session, ROUTE_HELLO_AWAITED);
                        break;
                default:
                        return LIFE_ROUTED;
                }
        }
        return event;
}

enum life_event preface_timeout(struct env *env, struct session *session) {
        if (session->stage == PREFACE_ROUTE)
                return preface_route(env, session, ROUTE_HELLO_NONE);
        session_note_end(session, ACCESS_PREFACE_TIMEOUT, 0);
        return LIFE_KILL;
}
