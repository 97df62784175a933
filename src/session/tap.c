/* SPDX-License-Identifier: ISC */
#include "session/tap.h"

#include <errno.h>

#include "net/sys.h"
#include "session/env.h"

/* Twice what one splice brings, or else as much.  A pipe that the kernel leaves smaller loses sooner. */
#define TAP_PIPE_SIZE (1024 * 1024)
#define TAP_PIPE_SMALLER (512 * 1024)

static void tap_close_ends(struct tap *tap, int end) {
        for (int side = 0; side < SESSION_SIDES; side++) {
                if (tap->ends[side][end] >= 0)
                        sys_close(tap->ends[side][end]);
                tap->ends[side][end] = -1;
        }
}

static int tap_pipes(struct tap *tap) {
        for (int side = 0; side < SESSION_SIDES; side++) {
                int r = sys_pipe(tap->ends[side]);

                if (r < 0) {
                        tap->ends[side][0] = tap->ends[side][1] = -1;
                        return r;
                }
                if (sys_pipe_resize(tap->ends[side][1], TAP_PIPE_SIZE) < 0)
                        sys_pipe_resize(tap->ends[side][1], TAP_PIPE_SMALLER);
                atomic_store(&tap->lost[side], 0);
        }
        return 0;
}

/* Has the session's thread look at it. */
static void tap_post(struct env_shared *shared, int number, unsigned thread) {
        atomic_fetch_or(&shared->threads[thread].taps, 1u << number);
        loop_wake(shared->threads[thread].record);
}

int tap_open(struct env_shared *shared, const struct survey_row *row) {
        for (int i = 0; i < TAP_MAX; i++) {
                struct tap *tap = &shared->taps[i];
                uint32_t free = TAP_FREE;
                int r;

                if (!atomic_compare_exchange_strong(&tap->word, &free, TAP_OVER))
                        continue;
                tap->session = row->index;
                tap->id = row->id;
                for (int side = 0; side < SESSION_SIDES; side++)
                        tap->ends[side][0] = tap->ends[side][1] = -1;
                r = tap_pipes(tap);
                if (r < 0) {
                        tap_close_ends(tap, 0);
                        tap_close_ends(tap, 1);
                        atomic_store(&tap->word, TAP_FREE);
                        return r;
                }
                atomic_store(&tap->word, TAP_WORD(TAP_ASKED, row->thread));
                tap_post(shared, i, row->thread);
                return i;
        }
        return -EBUSY;
}

int tap_read_end(const struct env_shared *shared, int number, unsigned side) {
        return shared->taps[number].ends[side][0];
}

ssize_t tap_read(struct env_shared *shared, int number, unsigned side, void *buf, size_t size, uint64_t *lost) {
        struct tap *tap = &shared->taps[number];
        /* Looked at first: then the pipe gets nothing more, so that an empty one has given all that came before. */
        int some = atomic_load(&tap->lost[side]) > 0;
        ssize_t n = sys_read(tap->ends[side][0], buf, size);

        *lost = n == 0 || (n == -EAGAIN && some) ? atomic_exchange(&tap->lost[side], 0) : 0;
        return n;
}

void tap_close(struct env_shared *shared, int number) {
        struct tap *tap = &shared->taps[number];
        uint32_t word = atomic_load(&tap->word);

        tap_close_ends(tap, 0);
        /* From ASKED to OVER the rest is the thread's. */
        do
                if (TAP_STATE(word) == TAP_OVER) {
                        atomic_store(&tap->word, TAP_FREE);
                        return;
                }
        while (!atomic_compare_exchange_weak(&tap->word, &word, TAP_WORD(TAP_LEFT, TAP_THREAD(word))));
        tap_post(shared, number, TAP_THREAD(word));
}

/* Lets go of the write ends: the onlooker, where there is one, sees the end, and has the tap to itself. */
static void tap_finish(struct env *env, int number) {
        struct tap *tap = &env->shared->taps[number];
        uint32_t word = atomic_load(&tap->word);

        env->taps &= ~(1u << number);
        tap_close_ends(tap, 1);
        while (!atomic_compare_exchange_weak(&tap->word, &word, TAP_STATE(word) == TAP_LEFT ? TAP_FREE : TAP_OVER))
                ;
}

/* Counts what the pipe did not take. */
static void tap_count(struct tap *tap, unsigned side, size_t n, ssize_t taken) {
        if (taken < (ssize_t)n)
                atomic_fetch_add(&tap->lost[side], n - (taken > 0 ? (size_t)taken : 0));
}

/* From the read end `from`, where there are no bytes. */
static void tap_give(struct tap *tap, unsigned side, const void *bytes, int from, size_t n) {
        int to = tap->ends[side][1];

        if (atomic_load(&tap->lost[side]))
                tap_count(tap, side, n, 0);
        else
                tap_count(tap, side, n, bytes ? sys_write(to, bytes, n) : sys_tee(from, to, n));
}

static int tap_piped_end(const struct env *env, const struct session *session, unsigned side) {
        return env->shared->pipes.records[session->direction[side].pipe].ends[0];
}

/* To all that look on at it. */
static void tap_give_all(struct env *env, const struct session *session, unsigned side, const void *bytes, int from,
                         size_t n) {
        for (uint32_t taps = env->taps; taps; taps &= taps - 1) {
                struct tap *tap = &env->shared->taps[__builtin_ctz(taps)];

                if (tap->session == env_index(env, session))
                        tap_give(tap, side, bytes, from, n);
        }
}

void tap_copy(struct env *env, const struct session *session, unsigned side, const void *bytes, size_t n) {
        tap_give_all(env, session, side, bytes, -1, n);
}

void tap_tee(struct env *env, const struct session *session, unsigned side, size_t n) {
        if (n)
                tap_give_all(env, session, side, NULL, tap_piped_end(env, session, side), n);
}

static void tap_begin(struct env *env, int number) {
        struct tap *tap = &env->shared->taps[number];
        const struct session *session = &env->shared->sessions[tap->session];
        uint32_t word = TAP_WORD(TAP_ASKED, env->thread);

        if (!env_owns(env, tap->session) || session->id != tap->id ||
            !atomic_compare_exchange_strong(&tap->word, &word, TAP_WORD(TAP_ON, env->thread))) {
                tap_finish(env, number);
                return;
        }
        env->taps |= 1u << number;
        /* Whoever else looks on has had these. */
        for (unsigned side = 0; session->state == LIFE_RELAYING && side < SESSION_SIDES; side++)
                if (session->direction[side].piped)
                        tap_give(tap, side, NULL, tap_piped_end(env, session, side), session->direction[side].piped);
}

void tap_wake(struct env *env) {
        uint32_t posted = atomic_load(&env->shared->threads[env->thread].taps);

        if (posted)
                posted = atomic_exchange(&env->shared->threads[env->thread].taps, 0);
        for (; posted; posted &= posted - 1) {
                int number = __builtin_ctz(posted);
                uint32_t word = atomic_load(&env->shared->taps[number].word);

                /* One that was left and noticed before its post came may be another's by now. */
                if (word == TAP_WORD(TAP_ASKED, env->thread))
                        tap_begin(env, number);
                else if (word == TAP_WORD(TAP_LEFT, env->thread))
                        tap_finish(env, number);
        }
}

void tap_end(struct env *env, const struct session *session) {
        for (uint32_t taps = env->taps; taps; taps &= taps - 1)
                if (env->shared->taps[__builtin_ctz(taps)].session == env_index(env, session))
                        tap_finish(env, __builtin_ctz(taps));
}
