/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_GATE_H
#define SPLICED_ADMIN_GATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Who may be connected to one of the admin's listeners: a bounded number of connections, and never so that those who
 * have some keep others out.  When all places are taken, a newcomer gets that of the connection that has gone longest
 * without an answer, among those of the user who has the most.  One that waits for the keeper, or was lent, is not
 * taken.
 *
 * Pure: it holds no descriptor and closes none.
 */

#define GATE_PLACES 32
#define GATE_AIR 8                      /* for those that have lost their place and are not gone yet */
#define GATE_WAITING 8                  /* that may wait for the keeper */
#define GATE_LARGE 4                    /* answers that hold much memory */
#define GATE_PATIENCE_MS 15000          /* for a request from its first byte to its answer's last; or for the first */

struct gate_place {
        int fd;                         /* of the connection, not owned; -1: the place is free */
        uid_t uid;                      /* of the peer, where it is AF_UNIX */
        pid_t pid;
        int64_t since_ms;               /* it was accepted, or its last answer was complete */
        uint8_t waits;                  /* for the keeper: it has as long as that takes */
        uint8_t lent;                   /* its connection speaks HTTP no more: it has as long as it likes */
        uint8_t large;                  /* its answer holds much memory */
        uint8_t lost;                   /* it has to go: its socket was shut down */
};

struct gate {
        struct gate_place places[GATE_PLACES + GATE_AIR];
};

/* Whether it is neither late nor to be lost for another. */
int gate_stays(const struct gate_place *place);

/* Makes all places free. */
void gate_init(struct gate *gate);

/* How many are taken, lost ones included. */
unsigned gate_taken(const struct gate *gate);

/*
 * The place that has to be lost before somebody with that uid may come in; NULL where nobody has to.  The caller marks
 * it and ends the connection.
 */
struct gate_place *gate_victim(struct gate *gate);

/* Takes a free place.  NULL: there is none, nor air. */
struct gate_place *gate_take(struct gate *gate, int fd, uid_t uid, pid_t pid, int64_t now_ms);

/* Gives it back. */
void gate_give(struct gate_place *place);

/* One that has had its time, or NULL. */
struct gate_place *gate_overdue(struct gate *gate, int64_t now_ms);

/* How many wait for the keeper, and whether another may. */
int gate_may_wait(const struct gate *gate);

/* The one that has to be lost before another large answer begins, or NULL. */
struct gate_place *gate_large_victim(struct gate *gate);

#endif
