/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_TESTS_UNIT_NAMES_FIXTURE_H
#define SPLICED_TESTS_UNIT_NAMES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/shared.h"
#include "worker/slots.h"

/* What a worker has before its threads start, of a config with one backend; a successor can take it over. */
struct fixture {
        struct conf *conf;
        struct arena arena;
        struct env_shared shared;
        struct log *log;
        int log_fd;
        char log_path[64];
        char *log_text;                 /* as of the last fixture_log() */
};

static inline void fixture_share(struct fixture *f) {
        int inherited;

        assert_int_equal(shared_init(&f->shared, &f->arena, f->conf, f->log, 1, 16, &inherited), 0);
}

static inline void fixture_load(struct fixture *f, const char *text) {
        assert_int_equal(conf_load_text(&f->conf, "test", text, strlen(text), stderr), 0);
}

/* text: the backend's lines and what else is to be at top level; there is a frontend already. */
static inline struct fixture *fixture_open(const char *text) {
        struct limits limits = { .sessions = 16, .pipes = 4 };
        struct fixture *f = calloc(1, sizeof(*f));
        struct log_target target = { .to = LOG_TO_FILE }, none = { 0 };
        const char *failed;

        fixture_load(f, text);
        f->log_fd = memfd_create("test-log", MFD_CLOEXEC);
        snprintf(f->log_path, sizeof(f->log_path), "/proc/self/fd/%d", f->log_fd);
        target.path = f->log_path;
        assert_int_equal(log_new(&f->log, &target, LOG_LEVEL_INFO, &none, &failed), 0);
        assert_int_equal(shared_arena(&f->arena, &limits), 0);
        fixture_share(f);
        return f;
}

/* The worker is gone, and another one has what it left in the arena; with another config where text is not NULL. */
static inline void fixture_succeed(struct fixture *f, const char *text) {
        shared_deinit(&f->shared);
        if (text) {
                conf_free(f->conf);
                fixture_load(f, text);
        }
        fixture_share(f);
}

static inline void fixture_close(struct fixture *f) {
        shared_close_loops(&f->arena);
        shared_deinit(&f->shared);
        arena_deinit(&f->arena);
        log_free(f->log);
        close(f->log_fd);
        conf_free(f->conf);
        free(f->log_text);
        free(f);
}

/* What was logged so far. */
static inline const char *fixture_log(struct fixture *f) {
        off_t size = lseek(f->log_fd, 0, SEEK_END);

        free(f->log_text);
        f->log_text = calloc(1, (size_t)size + 1);
        assert_int_equal(pread(f->log_fd, f->log_text, (size_t)size, 0), size);
        return f->log_text;
}

static inline struct backend *fixture_backend(struct fixture *f) {
        return &f->shared.backends[f->shared.backend_slots[0]];
}

/* A session's place: the server's slot, or what the backend says instead. */
static inline int fixture_pick(struct fixture *f, struct addr *addr) {
        struct backend_request request = { .now_ms = 1 };

        return backend_pick(fixture_backend(f), &request, addr);
}

#endif
