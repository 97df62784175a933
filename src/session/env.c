/* SPDX-License-Identifier: ISC */
#include "session/env.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The thread's list is a stack that its owner takes whole, so it needs no lock. */
static void env_post_to(struct env_shared *shared, uint32_t session, unsigned number) {
        struct env_thread *thread = &shared->threads[number % shared->n_threads];
        struct env_mail *mail = &shared->mail[session];
        uint32_t first;

        if (atomic_exchange(&mail->posted, 1))
                return;
        first = atomic_load(&thread->mail);
        do
                mail->next = first;
        while (!atomic_compare_exchange_weak(&thread->mail, &first, session + 1));
        if (!first)
                loop_wake(thread->record);
}

void env_post(struct env_shared *shared, uint32_t session) {
        env_post_to(shared, session, shared->sessions[session].thread);
}

void env_post_kill(struct env_shared *shared, uint32_t session, uint64_t id, unsigned end) {
        atomic_store(&shared->mail[session].kill, id << 8 | end);
        env_post(shared, session);
}

/*
 * What another thread's record says of a session, unless it changes that very moment.  Its id comes first and last: no
 * two sessions have the same, and the thread that owns it compares once more.  Returns the id, or 0.
 */
__attribute__((no_sanitize("thread"))) static uint64_t env_runs_on(const volatile struct session *session,
                                                                   unsigned server, unsigned *thread) {
        uint64_t id = session->id;

        *thread = session->thread;
        if (session->state != LIFE_RELAYING || session->server != server)
                return 0;
        return session->id == id ? id : 0;
}

uint32_t env_kill_server(struct env_shared *shared, unsigned server, unsigned end) {
        uint32_t bound = arena_list_bound(&shared->session_list), n = 0;

        if (!atomic_load(&shared->servers[server].record->sessions))
                return 0;
        for (uint32_t i = 0; i < bound; i++) {
                unsigned thread;
                uint64_t id = env_runs_on(&shared->sessions[i], server, &thread);

                if (!id)
                        continue;
                atomic_store(&shared->mail[i].kill, id << 8 | end);
                env_post_to(shared, i, thread);
                n++;
        }
        return n;
}

void env_wake_health(const struct env_shared *shared) {
        const struct loop_record *health = shared->health;

        if (health)
                loop_wake(health);
}

void env_post_kill_seen(struct env_shared *shared, const struct survey_row *row, unsigned end) {
        atomic_store(&shared->mail[row->index].kill, row->id << 8 | end);
        env_post_to(shared, row->index, row->thread);
}

void env_resume(struct env_shared *shared) {
        for (uint32_t i = 0; i < shared->n_threads; i++) {
                atomic_store(&shared->threads[i].resume, 1);
                loop_wake(shared->threads[i].record);
        }
}

void env_wake_names(const struct env_shared *shared) {
        const int *names = shared->names;
        const uint64_t one = 1;

        while (names && write(*names, &one, sizeof(one)) < 0 && errno == EINTR)
                ;
}

/* Which thread a record names: the one that has it, unless that changes this very moment. */
__attribute__((no_sanitize("thread"))) static unsigned env_thread_of(const volatile struct session *session) {
        return session->thread;
}

/*
 * A session that was posted to this thread is another's by now, or nobody's.  The record may have a new session
 * that was posted meanwhile, and since it was in this thread's list, to nobody else: that one's thread is to look.
 */
static void env_forward(struct env *env, uint32_t session) {
        unsigned thread = env_thread_of(&env->shared->sessions[session]) % env->shared->n_threads;

        if (thread != env->thread)
                env_post_to(env->shared, session, thread);
}

void env_read_mail(struct env *env) {
        uint32_t at = atomic_exchange(&env->shared->threads[env->thread].mail, 0);

        while (at) {
                uint32_t index = at - 1;

                at = env->shared->mail[index].next;
                /* An exchange, not a store: what was done before anybody found it in the list is seen from here on. */
                atomic_exchange(&env->shared->mail[index].posted, 0);
                if (env_owns(env, index))
                        loop_ready(&env->loop, index);
                else
                        env_forward(env, index);
        }
}

void env_grant(struct env_shared *shared, struct backend *backend, int64_t now_ms) {
        uint32_t session;

        while ((session = backend_grant(backend, now_ms)) != BACKEND_NOBODY)
                env_post(shared, session);
}

struct session_rare *env_rare(struct env *env, struct session *session) {
        if (session->rare == ARENA_NONE) {
                uint32_t index = arena_list_take(&env->shared->rare_list);

                if (index == ARENA_NONE)
                        return NULL;
                memset(&env->shared->rares[index], 0, sizeof(env->shared->rares[index]));
                atomic_signal_fence(memory_order_seq_cst);
                session->rare = index;
        }
        return &env->shared->rares[session->rare];
}

void env_give_pipe(struct env *env, uint32_t pipe) {
        uint32_t node = env_pool_node(env);

        pipe_pool_give(&env->pipes, pipe);
        if (pipe_pool_untrimmed(&env->pipes) && wheel_when(&env->loop.wheel, node) == INT64_MAX)
                wheel_arm(&env->loop.wheel, node, env->loop.now_ms + PIPE_POOL_TRIM_MS);
}
