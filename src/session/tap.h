/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_TAP_H
#define SPLICED_SESSION_TAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "session/session.h"

struct env_shared;
struct survey_row;

/*
 * Copies of a session's bytes for somebody who looks on: tee(2) where bytes go through a pipe, a write where they are
 * copied.  Each direction has a pipe of its own.  Nothing waits for the onlooker: what its pipe does not take is
 * lost, and counted.  From then on that pipe gets nothing until it is empty and the loss was read, so that the
 * onlooker knows where in the stream bytes are missing.
 *
 * A tap is the onlooker's, who may be in any thread, from tap_open() to tap_close().  The session's thread takes it up,
 * fills the pipes, and closes their write ends when the session ends or the onlooker has gone.  Taps live in process
 * memory, the session's record does not know of them, and their descriptors are nobody's in the arena: a tap ends with
 * the worker.  A session that nobody looks on at pays for one look at env.taps each time that it reads.
 *
 *   FREE ── tap_open() ──► ASKED ── taken up ──► ON ── the session ends ──► OVER ── tap_close() ──► FREE
 *                            │                   └── tap_close() ──► LEFT ── noticed ──► FREE
 *                            └── there is no such session any more ──► OVER
 */
enum tap_state { TAP_FREE, TAP_ASKED, TAP_ON, TAP_LEFT, TAP_OVER };

#define TAP_MAX 8               /* at once */

struct tap {
        _Atomic uint32_t word;                  /* enum tap_state, and the session's thread: TAP_WORD() */
        uint32_t session;                       /* record */
        uint64_t id;
        int ends[SESSION_SIDES][2];             /* of a pipe for each side; -1: closed */
        _Atomic uint64_t lost[SESSION_SIDES];   /* bytes; while there are some, the pipe gets nothing */
};

#define TAP_WORD(state, thread) ((uint32_t)(state) | (uint32_t)(thread) << 8)
#define TAP_STATE(word) ((enum tap_state)((word) & 0xff))
#define TAP_THREAD(word) ((word) >> 8)

/*
 * Opens a tap on a session that a survey saw.  Returns its number, -EBUSY where all are in use, or -errno.  What the
 * session has taken in and not delivered yet is the first that is copied.
 */
int tap_open(struct env_shared *shared, const struct survey_row *row);

/* Is readable when there are copies of what came from that side, or the end.  It stays the tap's. */
int tap_read_end(const struct env_shared *shared, int number, unsigned side);

/*
 * Reads copies of what came from that side.  Returns how many bytes; 0 at the end of the session; -EAGAIN where there
 * is nothing now; -errno.  *lost is how many bytes are missing between those read so far and the next.  That something
 * was lost does not always make the descriptor readable: somebody who waits looks once in a while.
 */
ssize_t tap_read(struct env_shared *shared, int number, unsigned side, void *buf, size_t size, uint64_t *lost);

/* The onlooker goes. */
void tap_close(struct env_shared *shared, int number);

/* In the thread of a loop, on its wake-up: takes up what was asked for, and gives up what was left. */
void tap_wake(struct env *env);

/* In the session's thread, where env->taps is not 0: n bytes that came from that side. */
void tap_copy(struct env *env, const struct session *session, unsigned side, const void *bytes, size_t n);

/* The same for the n bytes that its pipe holds: just filled, or when it begins to relay. */
void tap_tee(struct env *env, const struct session *session, unsigned side, size_t n);

/* The same for its end. */
void tap_end(struct env *env, const struct session *session);

#endif
