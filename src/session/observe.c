/* SPDX-License-Identifier: ISC */
#include "session/observe.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "session/access.h"
#include "session/close.h"

struct observe_failure {
        struct backend *backend;
        struct server_record *record;
        int64_t now_ms;
        int due;                        /* it is to be ejected */
        int64_t eject_ms;               /* it was, for so long; 0: the limit does not allow it */
        struct outlier_count count;     /* before that */
        size_t all;                     /* servers */
};

/* Descriptors, memory and ports that are short here are no server's fault. */
static int observe_is_ours(int error) {
        return error == EADDRNOTAVAIL || close_end_of_error(error, ACCESS_INTERNAL) == ACCESS_NO_DESCRIPTORS;
}

static int observe_allowed(struct observe_failure *failure) {
        const struct backend *backend = failure->backend;

        failure->count = (struct outlier_count){ 0 };
        failure->all = 0;
        for (size_t i = 0; i < backend->n_members; i++) {
                const struct backend_member *member = &backend->members[i];
                int checked = backend_checked(backend, member->slot);

                failure->all += member->record->addr.kind != ADDR_NONE || member->record->instance == 0;
                outlier_add(&failure->count, server_state(member->record, checked, failure->now_ms),
                            member->record->weight);
        }
        return outlier_allows(&backend->conf->outlier, &failure->count);
}

static void observe_count(struct backend *backend, void *arg) {
        struct observe_failure *failure = arg;

        failure->due = outlier_failed(&backend->conf->outlier, failure->record, failure->now_ms) == OUTLIER_DUE &&
                       observe_allowed(failure);
}

/* Under the lock once more: meanwhile another thread may have ejected one, and so many are enough. */
static void observe_eject(struct server_record *record, void *arg) {
        struct observe_failure *failure = arg;

        if (record->ejected_until_ms <= failure->now_ms && observe_allowed(failure))
                failure->eject_ms = outlier_eject(&failure->backend->conf->outlier, record, failure->now_ms);
}

static void observe_tell(struct env *env, const struct session *session, const struct observe_failure *failure,
                         int error) {
        struct backend *backend = failure->backend;
        char text[ADDR_STRLEN];
        struct addr addr;
        struct log_context context = { .backend = backend->conf->name, .server = env_server(env, session)->conf->name,
                                       .address = text };

        backend_address(backend, session->server, &addr);
        addr_format(&addr.sa, addr.len, text, sizeof(text));
        log_warning(env->log, &context,
                    "live traffic: the server is ejected for %" PRId64 ".%03" PRId64 " s: %u failures in a row, the "
                    "last one: %s; %zu of %zu servers left", failure->eject_ms / 1000, failure->eject_ms % 1000,
                    backend->conf->outlier.failures, strerror(error),
                    failure->count.in - failure->count.ejected - 1, failure->all);
}

void observe_failed(struct env *env, const struct session *session, int error) {
        struct backend *backend = env_backend(env, session);
        struct observe_failure failure = { .backend = backend, .record = env_server(env, session)->record,
                                           .now_ms = env->loop.now_ms };

        if (!backend->conf->outlier.given || observe_is_ours(error))
                return;
        backend_locked(backend, observe_count, &failure);
        if (!failure.due)
                return;
        backend_change(backend, session->server, observe_eject, &failure, failure.now_ms);
        if (!failure.eject_ms)
                return;
        observe_tell(env, session, &failure, error);
        env_wake_health(env->shared);
}
