/* SPDX-License-Identifier: ISC */
#include "session/admit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/sys.h"
#include "session/access.h"
#include "session/close.h"
#include "session/peer.h"

#define ADMIT_LOG_MS 5000       /* between lines about clients that are turned away, for each frontend */
#define ADMIT_BYTES_BURST_MS 250
#define ADMIT_BYTES_BURST_LEAST 65536u

static struct bucket_limit admit_bytes(uint64_t rate) {
        uint64_t burst = rate / (1000 / ADMIT_BYTES_BURST_MS);

        return bucket_limit(rate, burst > ADMIT_BYTES_BURST_LEAST ? burst : ADMIT_BYTES_BURST_LEAST);
}

int admit_init(struct env_frontend *frontend) {
        const struct conf_frontend *conf = frontend->conf;
        int r = acl_init(&frontend->acl, &conf->allow, &conf->deny);

        frontend->rate = bucket_limit(conf->rate, conf->rate);
        frontend->bytes[SESSION_CLIENT] = admit_bytes(conf->upload_rate);
        frontend->bytes[SESSION_SERVER] = admit_bytes(conf->download_rate);
        frontend->source = quota_limits(conf->max_per_source, conf->rate_per_source);
        frontend->asks = !acl_is_open(&frontend->acl) || conf->max_per_source || conf->rate_per_source;
        return r;
}

void admit_deinit(struct env_frontend *frontend) {
        acl_deinit(&frontend->acl);
}

static int admit_has_quota(const struct env_frontend *frontend) {
        return frontend->source.sessions || frontend->source.rate.rate;
}

/* The client as messages name it. */
static const char *admit_text(const struct session *session, char *buf, size_t size) {
        union access_client client = { .sa.sa_family = AF_UNIX };
        socklen_t len = sizeof(sa_family_t);

        if (session->client_family == AF_INET) {
                client.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = session->client_port };
                memcpy(&client.in.sin_addr, &session->client, sizeof(client.in.sin_addr));
                len = sizeof(client.in);
        } else if (session->client_family == AF_INET6) {
                client.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = session->client_port,
                                                    .sin6_addr = session->client };
                len = sizeof(client.in6);
        }
        return addr_format(&client.sa, len, buf, size);
}

int admit_refuse(struct env *env, struct session *session, unsigned end, const char *why) {
        struct env_admit_limits *limits = &env->admit_limits[session->frontend];
        struct env_frontend_record *record = env->shared->frontends[session->frontend].record;
        struct log_context context = { .frontend = env_frontend_conf(env, session)->name, .session = session->id };
        int denied = end == ACCESS_DENIED;
        uint32_t times = log_limit_ask(denied ? &limits->denied : &limits->limited, env->loop.now_ms, ADMIT_LOG_MS);
        char client[ADDR_STRLEN];

        session_note_end(session, end, 0);
        atomic_fetch_add_explicit(denied ? &record->denied : &record->limited, 1, memory_order_relaxed);
        if (times)
                log_info(env->log, &context, "client %s is turned away: %s (%" PRIu32 " since the last such line)",
                         admit_text(session, client, sizeof(client)), why, times);
        return 0;
}

static int admit_peer(const struct session *session, struct acl_client *client) {
        struct ucred creds;
        int r = peer_ids(session, &creds);

        if (r < 0)
                return r;
        client->has_peer = 1;
        client->uid = creds.uid;
        client->gid = creds.gid;
        return 0;
}

/* Whoever cannot be asked who it is does not come in. */
static int admit_unknown(struct env *env, struct session *session, int error) {
        unsigned end = close_end_of_error(error, ACCESS_DENIED);

        if (end == ACCESS_DENIED)
                admit_refuse(env, session, end, strerror(error));
        session_note_end(session, end, error);
        session->error = (int16_t)error;
        return 0;
}

static int admit_source(struct env *env, struct session *session, const struct acl_client *client) {
        const struct env_frontend *frontend = &env->shared->frontends[session->frontend];
        struct quota_source source = quota_source(session->frontend, client->family, client->address, client->uid);
        uint32_t *place = &env->shared->sources[env_index(env, session)];

        switch (quota_enter(&env->shared->quota, &source, &frontend->source,
                            env->loop.now_ms * BUCKET_NS_PER_MS, place)) {
        case 0:
                return 1;
        case QUOTA_OVER_SESSIONS:
                return admit_refuse(env, session, ACCESS_LIMITED, "max-per-source is reached");
        case QUOTA_OVER_RATE:
                return admit_refuse(env, session, ACCESS_LIMITED, "over rate-per-source");
        default:
                session_note_end(session, ACCESS_INTERNAL, ENOSPC);
                return 0;
        }
}

int admit_client(struct env *env, struct session *session) {
        const struct env_frontend *frontend = &env->shared->frontends[session->frontend];
        struct acl_client client = { .family = session->client_family, .address = &session->client,
                                     .uid = UINT32_MAX };
        uint32_t *groups = NULL;
        int is_unix = (session->flags & SESSION_UNIX(SESSION_CLIENT)) != 0, r = 0, allowed;

        if (!frontend->asks)
                return 1;
        if (is_unix && (acl_asks_ids(&frontend->acl) || client.family == AF_UNIX))
                r = admit_peer(session, &client);
        if (r >= 0 && is_unix && acl_asks_groups(&frontend->acl))
                r = peer_groups(env, session, &client.groups, &client.n_groups, &groups);
        allowed = r >= 0 && acl_allows(&frontend->acl, &client);
        free(groups);
        if (r < 0)
                return admit_unknown(env, session, -r);
        if (!allowed)
                return admit_refuse(env, session, ACCESS_DENIED, "allow and deny say so");
        return admit_has_quota(frontend) ? admit_source(env, session, &client) : 1;
}

void admit_leave(struct env *env, const struct session *session) {
        uint32_t *place = &env->shared->sources[env_index(env, session)];

        if (*place == QUOTA_NONE)
                return;
        quota_leave(&env->shared->quota, *place, env->loop.now_ms * BUCKET_NS_PER_MS);
        *place = QUOTA_NONE;
}

void admit_adopt(struct env_shared *shared, const struct session *session) {
        struct acl_client client = { .uid = UINT32_MAX };
        struct quota_source source;

        if (!admit_has_quota(&shared->frontends[session->frontend]))
                return;
        /* One that cannot be asked counts as nobody's in particular. */
        if (session->client_family == AF_UNIX && session->flags & SESSION_UNIX(SESSION_CLIENT))
                admit_peer(session, &client);
        source = quota_source(session->frontend, session->client_family, &session->client, client.uid);
        quota_adopt(&shared->quota, &source, &shared->sources[session - shared->sessions]);
}
