/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "session/access.h"
#include "session/env.h"

/* How threads have each other look at sessions: nobody who was posted is forgotten, whoever had the record before. */

#define SESSIONS 128
#define THREADS 2
#define NODES (SESSIONS + THREADS * ENV_NODES)

struct post {
        struct env_shared shared;
        struct env *envs[THREADS];
        struct loop_record *records;
        uint64_t own[THREADS][SESSIONS / 64];
};

static void post_handler(void *owner, uint32_t node) {
        (void)owner;
        (void)node;
}

static const struct loop_handlers handlers = { .ready = post_handler };

static void post_start(struct post *post) {
        struct env_shared *shared = &post->shared;

        memset(post, 0, sizeof(*post));
        post->records = aligned_alloc(64, THREADS * sizeof(*post->records));
        *shared = (struct env_shared){
                .n_threads = THREADS, .n_sessions = SESSIONS,
                .sessions = calloc(SESSIONS, sizeof(struct session)),
                .mail = calloc(SESSIONS, sizeof(struct env_mail)),
                .links = calloc(NODES, sizeof(struct loop_links)),
                .timers = calloc(NODES, sizeof(struct wheel_node)),
                .threads = aligned_alloc(64, THREADS * sizeof(struct env_thread)),
        };
        assert_true(post->records && shared->sessions && shared->mail && shared->links && shared->timers &&
                    shared->threads);
        memset(shared->threads, 0, THREADS * sizeof(struct env_thread));
        for (unsigned i = 0; i < THREADS; i++) {
                struct env *env = post->envs[i] = aligned_alloc(_Alignof(struct env), sizeof(*env));

                assert_non_null(env);
                memset(env, 0, sizeof(*env));
                assert_int_equal(loop_record_init(&post->records[i]), 0);
                shared->threads[i].record = &post->records[i];
                shared->threads[i].own = post->own[i];
                env->shared = shared;
                env->thread = i;
                loop_init(&env->loop, &post->records[i], &handlers, env, shared->links, shared->timers);
        }
}

static void post_stop(struct post *post) {
        for (unsigned i = 0; i < THREADS; i++) {
                loop_record_deinit(&post->records[i]);
                free(post->envs[i]);
        }
        free(post->records);
        free(post->shared.sessions);
        free(post->shared.mail);
        free(post->shared.links);
        free(post->shared.timers);
        free(post->shared.threads);
}

/* A session begins in that record. */
static void post_begin(struct post *post, uint32_t session, unsigned thread) {
        post->shared.sessions[session].thread = (uint16_t)thread;
        env_own(post->envs[thread], session);
}

/* Its thread reads its mail; returns whether that has it look at the session, and takes it off the list again. */
static int post_read(struct post *post, unsigned thread, uint32_t session) {
        int ready;

        env_read_mail(post->envs[thread]);
        ready = (int)post->shared.links[session].ready;
        loop_unready(&post->envs[thread]->loop, session);
        return ready;
}

static void test_each_once(void **unused) {
        struct post post;

        (void)unused;
        post_start(&post);
        for (uint32_t i = 0; i < SESSIONS; i++)
                post_begin(&post, i, i % THREADS);
        for (int round = 0; round < 3; round++) {
                for (uint32_t i = 0; i < SESSIONS; i += 3)
                        for (int times = 0; times <= round; times++)
                                env_post(&post.shared, i);
                for (unsigned thread = 0; thread < THREADS; thread++)
                        env_read_mail(post.envs[thread]);
                for (uint32_t i = 0; i < SESSIONS; i++) {
                        assert_int_equal(post.shared.links[i].ready, i % 3 == 0);
                        loop_unready(&post.envs[i % THREADS]->loop, i);
                }
        }
        post_stop(&post);
}

/* The record has been given up, and is another thread's now, before the one that was told has looked. */
static void test_record_moves(void **unused) {
        struct post post;

        (void)unused;
        post_start(&post);
        post_begin(&post, 7, 0);
        env_post(&post.shared, 7);
        env_disown(post.envs[0], 7);
        post_begin(&post, 7, 1);
        /* The new session is given a place, while the record is in the former one's list still. */
        env_post(&post.shared, 7);
        assert_int_equal(post_read(&post, 1, 7), 0);
        assert_int_equal(post_read(&post, 0, 7), 0);
        assert_int_equal(post_read(&post, 1, 7), 1);
        /* And that is the end of it. */
        assert_int_equal(post_read(&post, 0, 7), 0);
        assert_int_equal(post_read(&post, 1, 7), 0);
        /* So with one that is to be ended. */
        env_post(&post.shared, 7);
        env_disown(post.envs[1], 7);
        post_begin(&post, 7, 0);
        env_post_kill(&post.shared, 7, 42, ACCESS_KILLED);
        assert_int_equal(post_read(&post, 1, 7), 0);
        assert_int_equal(post_read(&post, 0, 7), 1);
        assert_true(post.shared.mail[7].kill == (42u << 8 | ACCESS_KILLED));
        post_stop(&post);
}

/* Nobody has it any more: nobody looks, and it is not handed round for ever. */
static void test_gone(void **unused) {
        struct post post;

        (void)unused;
        post_start(&post);
        for (unsigned thread = 0; thread < 2 * THREADS; thread++) {
                post_begin(&post, 7, 0);
                env_post(&post.shared, 7);
                env_disown(post.envs[0], 7);
                post.shared.sessions[7].thread = (uint16_t)thread;
                for (int i = 0; i < 3; i++) {
                        assert_int_equal(post_read(&post, 0, 7), 0);
                        assert_int_equal(post_read(&post, 1, 7), 0);
                }
                assert_int_equal(post.shared.mail[7].posted, 0);
        }
        post_stop(&post);
}

/* Two threads, each with half of the sessions: every post is read by its owner, or is the next one's. */
struct reader {
        struct post *post;
        unsigned thread;
        _Atomic int *done;
        uint64_t seen;
};

static void *post_reader(void *arg) {
        struct reader *reader = arg;
        int last = 0;

        while (!last) {
                last = atomic_load(reader->done);
                env_read_mail(reader->post->envs[reader->thread]);
                for (uint32_t i = reader->thread; i < SESSIONS; i += THREADS) {
                        reader->seen += reader->post->shared.links[i].ready;
                        loop_unready(&reader->post->envs[reader->thread]->loop, i);
                }
        }
        return NULL;
}

static void test_threads(void **unused) {
        struct reader readers[THREADS];
        pthread_t ids[THREADS];
        _Atomic int done = 0;
        struct post post;

        (void)unused;
        post_start(&post);
        for (uint32_t i = 0; i < SESSIONS; i++)
                post_begin(&post, i, i % THREADS);
        for (unsigned t = 0; t < THREADS; t++) {
                readers[t] = (struct reader){ .post = &post, .thread = t, .done = &done };
                assert_int_equal(pthread_create(&ids[t], NULL, post_reader, &readers[t]), 0);
        }
        for (uint32_t i = 0; i < 20000; i++)
                env_post(&post.shared, i * 7 % SESSIONS);
        atomic_store(&done, 1);
        for (unsigned t = 0; t < THREADS; t++)
                pthread_join(ids[t], NULL);
        for (uint32_t i = 0; i < SESSIONS; i++)
                assert_int_equal(post.shared.mail[i].posted, 0);
        for (unsigned t = 0; t < THREADS; t++)
                assert_true(readers[t].seen >= SESSIONS / THREADS && readers[t].seen <= 10000);
        post_stop(&post);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_once),
                cmocka_unit_test(test_record_moves),
                cmocka_unit_test(test_gone),
                cmocka_unit_test(test_threads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
