/* SPDX-License-Identifier: ISC */
#include "worker/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "session/accept.h"
#include "session/access.h"

/* What one thread is started with. */
struct thread_start {
        struct thread_pool *pool;
        struct env *env;
};

static void thread_notify(struct thread_pool *pool) {
        uint64_t one = 1;
        ssize_t n = write(pool->notify, &one, sizeof(one));

        (void)n; /* EAGAIN: news is pending already */
}

void thread_pool_news(struct thread_pool *pool) {
        uint64_t count;
        ssize_t n = read(pool->notify, &count, sizeof(count));

        (void)n;
}

static void thread_on_event(void *owner, uint64_t key, uint32_t events) {
        session_event(owner, key, events);
}

static void thread_on_ready(void *owner, uint32_t node) {
        session_ready(owner, node);
}

static void thread_on_expire(void *owner, uint32_t node) {
        session_expire(owner, node);
}

/* The phase is looked at after every round anyway. */
static void thread_on_wake(void *owner) {
        struct env *env = owner;

        env_read_mail(env);
        survey_wake(env);
        tap_wake(env);
        if (atomic_exchange(&env->shared->threads[env->thread].resume, 0))
                accept_resume(env);
}

static const struct loop_handlers thread_handlers = {
        .event = thread_on_event, .ready = thread_on_ready, .expire = thread_on_expire, .wake = thread_on_wake,
};

static void thread_drain(struct thread_pool *pool, struct env *env) {
        if (env->accepting) {
                accept_stop(env);
                if (atomic_fetch_sub(&pool->accepting, 1) == 1)
                        thread_notify(pool);
        }
        if (!atomic_load(&pool->accepting) && !atomic_load(&env->shared->sessions_now))
                thread_notify(pool);
}

static void *thread_main(void *arg) {
        struct thread_start start = *(struct thread_start *)arg;
        struct thread_pool *pool = start.pool;
        struct env *env = start.env;
        char name[16];          /* pthread_setname_np(3) */
        int phase, r = 0;

        free(arg);
        snprintf(name, sizeof(name), "spliced-loop-%u", env->thread % 100);
        pthread_setname_np(pthread_self(), name);
        /* The one that copying needs is made before traffic, so that descriptors come back to this number. */
        pipe_pool_ready(&env->pipes, PIPE_SMALL);
        accept_adopt(env);
        loop_replay(&env->loop);
        while ((phase = atomic_load(&pool->phase)) < THREAD_LEAVE && r >= 0) {
                if (phase == THREAD_DRAIN)
                        thread_drain(pool, env);
                r = loop_round(&env->loop, THREAD_BEAT_MS);
        }
        if (r < 0) {
                atomic_store(&pool->failed, r);
                thread_notify(pool);
                while (atomic_load(&pool->phase) < THREAD_LEAVE)
                        usleep(10000);
        }
        if (atomic_load(&pool->phase) == THREAD_LEAVE) {
                accept_leave(env);
                return NULL;
        }
        env->accepting = 0;
        /* From here on nobody hands a session to another thread, so each can tell its own. */
        pthread_barrier_wait(&pool->barrier);
        session_kill_all(env, ACCESS_SHUTDOWN);
        pipe_pool_deinit(&env->pipes);
        return NULL;
}

static void thread_env_free(struct env *env) {
        if (!env)
                return;
        free(env->server_limits);
        free(env->admit_limits);
        free(env);
}

static struct env *thread_env(struct env_shared *shared, unsigned number) {
        struct env *env = aligned_alloc(_Alignof(struct env), sizeof(*env));

        if (!env)
                return NULL;
        memset(env, 0, sizeof(*env));
        env->server_limits = calloc(arena_count(shared->arena, ARENA_SERVERS), sizeof(*env->server_limits));
        env->admit_limits = calloc(arena_count(shared->arena, ARENA_FRONTENDS), sizeof(*env->admit_limits));
        if (!env->server_limits || !env->admit_limits) {
                thread_env_free(env);
                return NULL;
        }
        env->shared = shared;
        env->conf = shared->conf;
        env->log = shared->log;
        env->thread = number;
        env->accepting = 1;
        pipe_pool_init(&env->pipes, &shared->pipes);
        loop_init(&env->loop, shared->threads[number].record, &thread_handlers, env, shared->links, shared->timers);
        return env;
}

/* Starts thread number pool->n with every signal blocked: signals are the main thread's. */
static int thread_start(struct thread_pool *pool) {
        struct thread_start *start = malloc(sizeof(*start));
        sigset_t all, before;
        int r;

        if (!start)
                return -ENOMEM;
        *start = (struct thread_start){ pool, pool->envs[pool->n] };
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&pool->ids[pool->n], NULL, thread_main, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r) {
                free(start);
                return -r;
        }
        pool->n++;
        return 0;
}

int thread_pool_prepare(struct thread_pool *pool, struct env_shared *shared) {
        unsigned wanted = shared->n_threads;

        *pool = (struct thread_pool){ .shared = shared, .notify = -1 };
        pool->envs = calloc(wanted, sizeof(*pool->envs));
        pool->ids = calloc(wanted, sizeof(*pool->ids));
        pool->notify = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (!pool->envs || !pool->ids)
                return -ENOMEM;
        if (pool->notify < 0)
                return -errno;
        for (unsigned i = 0; i < wanted; i++) {
                int r;

                pool->envs[i] = thread_env(shared, i);
                if (!pool->envs[i])
                        return -ENOMEM;
                r = loop_alarm(&pool->envs[i]->loop);
                if (r < 0)
                        return r;
        }
        atomic_store(&pool->accepting, wanted);
        return 0;
}

int thread_pool_start(struct thread_pool *pool) {
        int r = 0;

        while (!r && pool->n < pool->shared->n_threads)
                r = thread_start(pool);
        return r;
}

void thread_pool_enter(struct thread_pool *pool, enum thread_phase phase) {
        atomic_store(&pool->phase, phase);
        for (unsigned i = 0; i < pool->n; i++)
                loop_wake(pool->shared->threads[i].record);
}

void thread_pool_stop(struct thread_pool *pool, enum thread_phase phase) {
        if (!pool->shared)
                return;
        /* Only now is it known how many came up. */
        if (pool->n)
                pthread_barrier_init(&pool->barrier, NULL, pool->n);
        thread_pool_enter(pool, phase);
        for (unsigned i = 0; i < pool->n; i++)
                pthread_join(pool->ids[i], NULL);
        if (pool->n)
                pthread_barrier_destroy(&pool->barrier);
        for (unsigned i = 0; pool->envs && i < pool->shared->n_threads; i++) {
                if (pool->envs[i])
                        loop_deinit(&pool->envs[i]->loop);
                thread_env_free(pool->envs[i]);
        }
        if (pool->notify >= 0)
                close(pool->notify);
        free(pool->envs);
        free(pool->ids);
        *pool = (struct thread_pool){ .notify = -1 };
}
