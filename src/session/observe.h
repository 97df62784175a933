/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_OBSERVE_H
#define SPLICED_SESSION_OBSERVE_H

#include "balance/outlier.h"
#include "session/env.h"

/*
 * What sessions tell of the health of their servers: outlier { } of a backend.  A failure is a connect that failed, or
 * a reset before the server's first byte.  A success is that byte, or an end without any that was no reset.
 */

/* A failure of the session's server, with its errno.  Where it is one too many, the server is ejected. */
void observe_failed(struct env *env, const struct session *session, int error);

/* A success.  Costs two loads where there is nothing to forget. */
static inline void observe_succeeded(const struct env *env, const struct session *session) {
        if (env_backend(env, session)->conf->outlier.given)
                outlier_succeeded(env_server(env, session)->record);
}

#endif
