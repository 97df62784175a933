/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_HEALTH_PROBE_H
#define SPLICED_HEALTH_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "health/expect.h"
#include "net/addr.h"

/*
 * One check of one address: connects; sends a PROXY header where the server gets one, and what `send` says; waits for
 * the answer that `expect` describes.  Never blocks.  Whoever runs it calls it for events of its socket, and when it
 * asks to be called.  The deadline is fixed at the start: no activity moves it.
 *
 * A TCP connection ends with a reset, whoever closes it, so that none stays in TIME-WAIT.  Where a check only
 * connects, the handshake's last ACK is held back: the reset overtakes it, and the server's program never sees a
 * client.
 */

#define PROBE_DETAIL_SIZE 120           /* of the text that explains a result */

enum probe_state {
        PROBE_IDLE,
        PROBE_CONNECTING,
        PROBE_BACKLOG,                  /* of an AF_UNIX server, full: the connect is to be repeated */
        PROBE_SENDING,
        PROBE_ANSWER,                   /* waits for it */
};

/* What is checked, and how; borrowed while it runs. */
struct probe_target {
        const struct conf_backend *backend;
        const struct conf_server *server;
        struct expect *expect;          /* of the backend's check; one thread at a time uses it */
};

struct probe {
        struct probe_target target;
        struct addr addr;
        enum probe_state state;
        int fd;                         /* owned; -1: none */
        int poller;
        uint64_t key;
        int64_t until_ms;               /* the deadline; INT64_MAX: none */
        int64_t next_ms;                /* when it wants to be called: probe_due() */
        int64_t rest_until_ms;          /* before a repeated connect, or another look at the answer; 0: no pause */
        int64_t rest_ms;                /* how long the last pause was */
        size_t sent;                    /* of header and `send` together */
        char *answer;                   /* owned, EXPECT_ANSWER_MAX bytes; NULL: nothing has come */
        size_t len;                     /* bytes of it */
        size_t seen;                    /* of these, when it was looked at last */
};

#define PROBE_NULL ((struct probe){ .fd = -1 })

enum probe_result {
        PROBE_PENDING,                  /* the world has to answer, or the clock (next_ms) */
        PROBE_OK,
        PROBE_FAILED,
        PROBE_NO_RESULT,                /* descriptors or memory are short here, which says nothing of the server */
};

/*
 * Starts a check of addr.  Its socket is registered with the poller under the key.  `detail` (PROBE_DETAIL_SIZE bytes)
 * says why, for any result but PROBE_PENDING; what came from outside is escaped in it.  After such a result the probe
 * is to be ended.
 */
enum probe_result probe_start(struct probe *probe, const struct probe_target *target, const struct addr *addr,
                              int poller, uint64_t key, int64_t now_ms, char *detail);

/* An event of its socket. */
enum probe_result probe_event(struct probe *probe, uint32_t events, int64_t now_ms, char *detail);

/* It is next_ms, or later. */
enum probe_result probe_due(struct probe *probe, int64_t now_ms, char *detail);

/* Closes, whatever it was doing.  Idempotent. */
void probe_end(struct probe *probe);

#endif
