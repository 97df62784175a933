/* SPDX-License-Identifier: ISC */
#include "session/peer.h"

#include <errno.h>
#include <stdlib.h>

#include "net/sys.h"

int peer_ids(const struct session *session, struct ucred *ids) {
        socklen_t len = sizeof(*ids);

        return sys_getsockopt(session->fd[SESSION_CLIENT], SOL_SOCKET, SO_PEERCRED, ids, &len);
}

int peer_groups(struct env *env, const struct session *session, const uint32_t **groups, size_t *n, uint32_t **memory) {
        socklen_t len = sizeof(env->scratch);
        void *buf = env->scratch;
        int r = sys_getsockopt(session->fd[SESSION_CLIENT], SOL_SOCKET, SO_PEERGROUPS, buf, &len);

        *memory = NULL;
        if (r == -ERANGE) {
                buf = *memory = malloc(len);
                if (!buf)
                        return -ENOMEM;
                r = sys_getsockopt(session->fd[SESSION_CLIENT], SOL_SOCKET, SO_PEERGROUPS, buf, &len);
        }
        if (r < 0)
                return r;
        *groups = buf;
        *n = len / sizeof(**groups);
        return 0;
}
