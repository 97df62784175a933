/* SPDX-License-Identifier: ISC */
#include "session/survey.h"

#include <errno.h>
#include <unistd.h>

#include "session/counters.h"
#include "session/env.h"

int survey_begin(struct env_shared *shared, int rows) {
        struct survey *survey = &shared->survey;

        if (atomic_load(&survey->left))
                return -EBUSY;
        atomic_store(&survey->rows, (uint32_t)rows);
        atomic_store(&survey->left, shared->n_threads);
        atomic_fetch_add(&survey->number, 1);
        for (uint32_t i = 0; i < shared->n_threads; i++)
                loop_wake(shared->threads[i].record);
        return 0;
}

int survey_ended(const struct env_shared *shared) {
        return atomic_load(&shared->survey.left) == 0;
}

void survey_wake(struct env *env) {
        uint32_t number = atomic_load(&env->shared->survey.number);

        if (number == env->survey)
                return;
        env->survey = number;
        env->surveyed = 0;
        env->shared->threads[env->thread].n_rows = 0;
        loop_ready(&env->loop, env_survey_node(env));
}

static int64_t survey_later(int64_t a, int64_t b) {
        return a > b ? a : b;
}

/* A side has sent its FIN once its direction is no more open, unless that was cut short. */
static int survey_has_fin(const struct direction *direction) {
        return direction->state == DIRECTION_EOF || direction->state == DIRECTION_DRAINED ||
               direction->state == DIRECTION_SHUT;
}

static enum survey_fin survey_fin(const struct session *session) {
        const struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];
        int client = survey_has_fin(up), server = survey_has_fin(down);

        if (client && server)
                return up->in_ms <= down->in_ms ? SURVEY_FIN_CLIENT : SURVEY_FIN_SERVER;
        return client ? SURVEY_FIN_CLIENT : server ? SURVEY_FIN_SERVER : SURVEY_FIN_NONE;
}

static void survey_row(const struct env *env, const struct session *session, struct survey_row *row) {
        const struct direction *up = &session->direction[SESSION_CLIENT], *down = &session->direction[SESSION_SERVER];

        *row = (struct survey_row){
                .id = session->id, .accepted_ms = session->accepted_ms,
                .active_ms = survey_later(survey_later(up->in_ms, up->out_ms), survey_later(down->in_ms, down->out_ms)),
                .bytes = { up->bytes, down->bytes }, .client = session->client,
                .index = env_index(env, session), .client_family = session->client_family,
                .client_port = session->client_port, .thread = session->thread, .frontend = session->frontend,
                .backend = session->backend, .server = session->server, .state = session->state,
                .fin = (uint8_t)survey_fin(session),
        };
}

static void survey_look(struct env *env, uint32_t index, int rows) {
        struct env_thread *thread = &env->shared->threads[env->thread];
        struct session *session = &env->shared->sessions[index];

        counters_bytes(env, session);
        if (rows)
                survey_row(env, session, &thread->rows[thread->n_rows++]);
}

void survey_turn(struct env *env) {
        struct survey *survey = &env->shared->survey;
        const uint64_t *owned = env->shared->threads[env->thread].own;
        uint32_t words = (env->shared->n_sessions + 63) / 64, word = env->surveyed / 64;
        int rows = (int)atomic_load(&survey->rows);
        uint64_t one = 1;
        ssize_t n;

        for (unsigned looked = 0; word < words && looked < SURVEY_BATCH; word++)
                for (uint64_t own = owned[word]; own; own &= own - 1, looked++)
                        survey_look(env, word * 64 + (uint32_t)__builtin_ctzll(own), rows);
        env->surveyed = word * 64;
        if (word < words) {
                loop_ready(&env->loop, env_survey_node(env));
                return;
        }
        if (atomic_fetch_sub(&survey->left, 1) == 1) {
                n = write(survey->done, &one, sizeof(one));
                (void)n; /* EAGAIN: it is readable already */
        }
}
