/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "session/direction.h"

/*
 * The direction machine against a world that may answer anything at any time.  Where
 * counters are set aside, both together have a few thousand states: all are visited, so every interleaving
 * of every length is covered.
 */

#define SOME_PIPE 7u
#define BIG_READ (1024u * 1024u)
#define STATES_MAX 200000u

/* What the test knows of the world by itself. */
struct model {
        uint8_t eof;            /* recv has said so */
        uint8_t lost;           /* in was reset */
        uint8_t failed;         /* out is gone */
        uint8_t shorts;         /* short fills since the last full one, while bulk */
        uint8_t bulk;
};

struct pair {
        struct direction direction;
        struct model model;
};

enum answer {
        ANSWER_FULL,            /* all that was asked for, and out takes it all */
        ANSWER_FULL_PART,       /* out takes a part */
        ANSWER_FULL_STUCK,      /* out takes nothing */
        ANSWER_SHORT,
        ANSWER_SHORT_PART,
        ANSWER_SHORT_STUCK,
        ANSWER_TINY,            /* a small pipe: less was asked for, and that much came */
        ANSWER_EMPTY,           /* EAGAIN of the side that was read */
        ANSWER_STUCK,           /* EAGAIN of the side that was written */
        ANSWER_END,             /* 0 */
        ANSWER_READABLE,        /* from here on events, which come at any time */
        ANSWER_WRITABLE,
        ANSWER_URGENT,
        ANSWER_ENDING,
        ANSWER_RESET,
        ANSWER_GONE,
        ANSWER_HOLD,            /* no tokens left */
        ANSWER_RELEASE,
        ANSWER_END_EARLY,       /* the end is known while the pipe still holds bytes */
        ANSWERS
};

static void answer_copy(struct pair *pair, enum answer answer) {
        static const struct { size_t asked, n, sent; } sizes[] = {
                [ANSWER_FULL] = { DIRECTION_SCRATCH, DIRECTION_SCRATCH, DIRECTION_SCRATCH },
                [ANSWER_FULL_PART] = { DIRECTION_SCRATCH, DIRECTION_SCRATCH, 1000 },
                [ANSWER_FULL_STUCK] = { DIRECTION_SCRATCH, DIRECTION_SCRATCH, 0 },
                [ANSWER_SHORT] = { DIRECTION_SCRATCH, 100, 100 },
                [ANSWER_SHORT_PART] = { DIRECTION_SCRATCH, 100, 99 },
                [ANSWER_SHORT_STUCK] = { DIRECTION_SCRATCH, 100, 0 },
                [ANSWER_TINY] = { 4096, 4096, 4096 },
        };
        struct direction *direction = &pair->direction;
        uint8_t was_ready = direction->in_ready;
        uint64_t bytes = direction->bytes;
        size_t n = sizes[answer].n, sent = sizes[answer].sent;
        int may_hide = direction->marked || direction->in_ended;

        assert_int_equal(was_ready, 1);
        if (sent < n)
                direction->pipe = SOME_PIPE;
        direction_copied(direction, sizes[answer].asked, n, sent, 5);
        assert_int_equal(direction->bytes, bytes + sent);
        assert_int_equal(direction->piped, n - sent);
        assert_int_equal(direction->in_ms, 5);
        assert_int_equal(direction->out_ms, sent ? 5 : 0);
        assert_int_equal(direction->out_ready, sent == n);
        assert_int_equal(direction->in_ready, n == sizes[answer].asked || may_hide);
        if (n >= DIRECTION_SCRATCH) {
                pair->model.bulk = 1;
                pair->model.shorts = 0;
        }
}

static void answer_fill(struct pair *pair, enum answer answer) {
        struct direction *direction = &pair->direction;
        size_t n = answer == ANSWER_FULL ? BIG_READ : answer == ANSWER_TINY ? DIRECTION_SCRATCH : 100;

        direction->pipe = SOME_PIPE;
        direction_filled(direction, n, 5);
        assert_int_equal(direction->piped, n);
        assert_int_equal(direction->in_ms, 5);
        /* A short splice says nothing about what waits: the pipe may have been out of slots. */
        assert_int_equal(direction->in_ready, 1);
        if (n >= DIRECTION_SCRATCH)
                pair->model.shorts = 0;
        else if (++pair->model.shorts == 2)
                pair->model.bulk = pair->model.shorts = 0;
}

static void answer_flush(struct pair *pair, size_t n) {
        struct direction *direction = &pair->direction;
        uint64_t bytes = direction->bytes;
        uint32_t piped = direction->piped;

        direction_flushed(direction, n, 5);
        assert_int_equal(direction->bytes, bytes + n);
        assert_int_equal(direction->piped, piped - n);
        assert_int_equal(direction->out_ms, 5);
        if (!direction->piped)
                direction->pipe = DIRECTION_NO_PIPE;
}

static void answer_end(struct pair *pair) {
        direction_eof(&pair->direction, 5);
        pair->model.eof = 1;
}

/* The answers to an operation.  Returns 0 where this one is none to what the machine wants to do. */
static int answer_operation(struct pair *pair, enum answer answer) {
        struct direction *direction = &pair->direction;

        switch (direction_next(direction)) {
        case DIRECTION_COPY:
                if (answer <= ANSWER_TINY)
                        answer_copy(pair, answer);
                else if (answer == ANSWER_EMPTY)
                        direction_in_empty(direction);
                else if (answer == ANSWER_END)
                        answer_end(pair);
                else
                        return 0;
                return 1;
        case DIRECTION_SPLICE:
                if (answer == ANSWER_FULL || answer == ANSWER_SHORT || answer == ANSWER_TINY)
                        answer_fill(pair, answer);
                else if (answer == ANSWER_EMPTY) {
                        if (direction->marked || direction->in_ended)
                                pair->model.bulk = pair->model.shorts = 0;
                        direction_splice_empty(direction);
                } else if (answer == ANSWER_END) {
                        direction_splice_end(direction);
                        pair->model.bulk = pair->model.shorts = 0;
                } else
                        return 0;
                return 1;
        case DIRECTION_FLUSH:
                if (answer == ANSWER_FULL)
                        answer_flush(pair, direction->piped);
                else if (answer == ANSWER_FULL_PART && direction->piped > 1)
                        answer_flush(pair, direction->piped - 1);
                else if (answer == ANSWER_STUCK)
                        direction_out_full(direction);
                else
                        return 0;
                return 1;
        case DIRECTION_FIN:
                if (answer != ANSWER_FULL)
                        return 0;
                direction_shut(direction);
                return 1;
        default:
                return 0;
        }
}

/* Events, as session and relay hand them on. */
static int answer_event(struct pair *pair, enum answer answer) {
        struct direction *direction = &pair->direction;

        switch (answer) {
        case ANSWER_READABLE:
                direction->in_ready = 1;
                return 1;
        case ANSWER_WRITABLE:
                direction->out_ready = 1;
                return 1;
        case ANSWER_URGENT:
                direction->marked = direction->in_ready = 1;
                return 1;
        case ANSWER_ENDING:
                direction->in_ended = direction->in_ready = 1;
                return 1;
        case ANSWER_RESET:
                direction_lose(direction);
                pair->model.lost = 1;
                return 1;
        case ANSWER_GONE:
                if (direction_ended(direction))
                        return 0;
                direction->pipe = DIRECTION_NO_PIPE;
                direction_fail(direction);
                pair->model.failed = 1;
                return 1;
        case ANSWER_HOLD:
                direction_hold(direction);
                assert_int_equal(direction->held, direction->state == DIRECTION_OPEN);
                return 1;
        case ANSWER_RELEASE:
                direction_release(direction);
                return 1;
        case ANSWER_END_EARLY:
                if (direction->state != DIRECTION_OPEN)
                        return 0;
                answer_end(pair);
                return 1;
        default:
                return 0;
        }
}

static int answer(struct pair *pair, enum answer what) {
        return what < ANSWER_READABLE ? answer_operation(pair, what) : answer_event(pair, what);
}

/* While the world has nothing and takes nothing, the machine comes to rest: no spin. */
static void check_rests(struct pair pair) {
        for (int step = 0; step < 6; step++) {
                enum direction_op op = direction_next(&pair.direction);

                if (op == DIRECTION_WAIT || op == DIRECTION_END)
                        return;
                assert_true(answer(&pair, op == DIRECTION_FIN ? ANSWER_FULL :
                                          op == DIRECTION_FLUSH ? ANSWER_STUCK : ANSWER_EMPTY));
        }
        fail_msg("state %u goes on although nothing moves", pair.direction.state);
}

/* With a world that takes all and has no more, the machine comes to its end. */
static void check_ends(struct pair pair) {
        for (int step = 0; step < 12; step++) {
                enum direction_op op = direction_next(&pair.direction);

                if (op == DIRECTION_END) {
                        int failed = pair.model.lost || pair.model.failed;

                        /* A reset that came after the FIN was passed on changes nothing. */
                        if (pair.direction.state != DIRECTION_SHUT)
                                assert_true(failed);
                        else
                                assert_false(pair.model.failed);
                        return;
                }
                if (op == DIRECTION_WAIT) {
                        answer(&pair, ANSWER_READABLE);
                        answer(&pair, ANSWER_WRITABLE);
                        answer(&pair, ANSWER_RELEASE);
                } else
                        assert_true(answer(&pair, op == DIRECTION_FLUSH || op == DIRECTION_FIN ? ANSWER_FULL :
                                                                                                 ANSWER_END));
        }
        fail_msg("state %u has no end", pair.direction.state);
}

static void check(const struct pair *pair) {
        const struct direction *direction = &pair->direction;
        enum direction_op op = direction_next(direction);

        assert_true(direction_sane(direction));
        assert_int_equal(direction_ended(direction), op == DIRECTION_END);
        assert_int_equal(direction->bulk, pair->model.bulk ? 1 + pair->model.shorts : 0);
        switch (op) {
        case DIRECTION_FIN:
                assert_true(pair->model.eof && !pair->model.lost && !pair->model.failed && !direction->piped);
                break;
        case DIRECTION_FLUSH:
                assert_true(direction->piped && direction->out_ready);
                break;
        case DIRECTION_COPY:
        case DIRECTION_SPLICE:
                assert_true(direction->in_ready && direction->out_ready && !direction->piped && !pair->model.eof);
                assert_false(direction->held);
                assert_int_equal(op == DIRECTION_SPLICE, pair->model.bulk);
                break;
        case DIRECTION_WAIT:
                assert_false(direction->out_ready && (direction->piped || (direction->in_ready && !direction->held)));
                break;
        default:
                break;
        }
        if (pair->model.lost && pair->model.eof && !direction->piped)
                assert_true(direction_ended(direction));
        if (pair->model.failed)
                assert_int_equal(direction->state, DIRECTION_FAILED);
        check_rests(*pair);
        check_ends(*pair);
}

/* An open-addressed set of pairs, and the queue of those to look at. */
struct seen {
        struct pair *pairs;
        uint32_t *table;
        uint32_t n;
};
#define TABLE_SIZE (4 * STATES_MAX)

static int seen_same(const struct pair *a, const struct pair *b) {
        return !memcmp(a, b, sizeof(*a));
}

static void seen_add(struct seen *seen, const struct pair *pair) {
        const unsigned char *bytes = (const unsigned char *)pair;
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < sizeof(*pair); i++)
                hash = (hash ^ bytes[i]) * 16777619u;
        for (hash %= TABLE_SIZE; seen->table[hash]; hash = (hash + 1) % TABLE_SIZE)
                if (seen_same(&seen->pairs[seen->table[hash] - 1], pair))
                        return;
        assert_true(seen->n < STATES_MAX);
        seen->pairs[seen->n++] = *pair;
        seen->table[hash] = seen->n;
}

/* Sets counters and stamps aside, which no decision looks at. */
static void set_aside(struct direction *direction) {
        direction->bytes = 0;
        direction->in_ms = direction->out_ms = 0;
}

static void test_all_interleavings(void **unused) {
        struct seen seen = { .pairs = calloc(STATES_MAX, sizeof(struct pair)), .table = calloc(TABLE_SIZE, 4) };
        struct pair start;
        unsigned reached[DIRECTION_FAILED + 1] = { 0 };

        (void)unused;
        memset(&start, 0, sizeof(start));
        direction_init(&start.direction, 0);
        seen_add(&seen, &start);
        for (uint32_t i = 0; i < seen.n; i++) {
                check(&seen.pairs[i]);
                reached[seen.pairs[i].direction.state]++;
                for (int what = 0; what < ANSWERS; what++) {
                        struct pair next = seen.pairs[i];
                        uint8_t was = next.direction.state;

                        if (!answer(&next, what))
                                continue;
                        /* Never back, and from the ends nowhere. */
                        assert_true(next.direction.state >= was);
                        if (was >= DIRECTION_SHUT)
                                assert_int_equal(next.direction.state, was);
                        set_aside(&next.direction);
                        seen_add(&seen, &next);
                }
        }
        /* DRAINED only lasts until the next operation, but it is there. */
        for (int state = 0; state <= DIRECTION_FAILED; state++)
                assert_true(reached[state] > 0);
        print_message("# %u states\n", seen.n);
        assert_true(seen.n > 500);
        free(seen.pairs);
        free(seen.table);
}

static struct direction ready_one(void) {
        struct direction direction;

        direction_init(&direction, 3);
        direction.in_ready = direction.out_ready = 1;
        return direction;
}

static void test_begin(void **unused) {
        struct direction direction;

        (void)unused;
        direction_init(&direction, 3);
        assert_int_equal(direction.state, DIRECTION_OPEN);
        assert_int_equal(direction.pipe, DIRECTION_NO_PIPE);
        assert_int_equal(direction.in_ms, 3);
        assert_int_equal(direction.out_ms, 3);
        assert_int_equal(direction_next(&direction), DIRECTION_WAIT);
        direction.in_ready = 1;
        assert_int_equal(direction_next(&direction), DIRECTION_WAIT);
        direction.out_ready = 1;
        assert_int_equal(direction_next(&direction), DIRECTION_COPY);
}

static void test_hysteresis(void **unused) {
        struct direction direction = ready_one();

        (void)unused;
        direction_copied(&direction, DIRECTION_SCRATCH, DIRECTION_SCRATCH - 1, DIRECTION_SCRATCH - 1, 4);
        direction.in_ready = 1;
        assert_int_equal(direction_next(&direction), DIRECTION_COPY);
        direction_copied(&direction, DIRECTION_SCRATCH, DIRECTION_SCRATCH, DIRECTION_SCRATCH, 4);
        assert_int_equal(direction_next(&direction), DIRECTION_SPLICE);
        direction.pipe = SOME_PIPE;
        /* One short fill, then a full one: stays.  Two short ones in a row: back. */
        static const size_t fills[] = { 10, DIRECTION_SCRATCH, 10, BIG_READ, DIRECTION_SCRATCH - 1, 1 };
        for (size_t i = 0; i < sizeof(fills) / sizeof(fills[0]); i++) {
                assert_int_equal(direction_next(&direction), DIRECTION_SPLICE);
                direction_filled(&direction, fills[i], 5);
                assert_int_equal(direction_next(&direction), DIRECTION_FLUSH);
                direction_flushed(&direction, fills[i], 5);
        }
        assert_int_equal(direction_next(&direction), DIRECTION_COPY);
        /* And bulk again starts without a memory of the last time. */
        direction_copied(&direction, DIRECTION_SCRATCH, DIRECTION_SCRATCH, DIRECTION_SCRATCH, 6);
        direction_filled(&direction, 1, 6);
        direction_flushed(&direction, 1, 6);
        assert_int_equal(direction_next(&direction), DIRECTION_SPLICE);
}

static void test_fin_after_the_last_byte(void **unused) {
        struct direction direction = ready_one();

        (void)unused;
        direction.pipe = SOME_PIPE;
        direction_copied(&direction, DIRECTION_SCRATCH, 300, 100, 4);
        direction_eof(&direction, 5);
        assert_int_equal(direction.state, DIRECTION_EOF);
        assert_int_equal(direction_next(&direction), DIRECTION_WAIT);
        direction.out_ready = 1;
        assert_int_equal(direction_next(&direction), DIRECTION_FLUSH);
        direction_flushed(&direction, 199, 6);
        assert_int_equal(direction_next(&direction), DIRECTION_FLUSH);
        direction_flushed(&direction, 1, 7);
        assert_int_equal(direction.bytes, 300);
        assert_int_equal(direction_next(&direction), DIRECTION_FIN);
        direction_shut(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_END);
}

/* A reset delivers what came before it and then fails, wherever it strikes. */
static void test_reset(void **unused) {
        struct direction direction = ready_one();

        (void)unused;
        direction.in_ready = 0;
        direction_lose(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_COPY);
        direction.pipe = SOME_PIPE;
        direction_copied(&direction, DIRECTION_SCRATCH, 300, 100, 4);
        /* A short read does not hide the end. */
        assert_int_equal(direction.in_ready, 1);
        direction.out_ready = 1;
        direction_flushed(&direction, 200, 5);
        assert_int_equal(direction_next(&direction), DIRECTION_COPY);
        direction_eof(&direction, 6);
        assert_int_equal(direction.state, DIRECTION_FAILED);
        assert_int_equal(direction.bytes, 300);

        direction = ready_one();
        direction_eof(&direction, 4);
        assert_int_equal(direction.state, DIRECTION_DRAINED);
        direction_lose(&direction);
        assert_int_equal(direction.state, DIRECTION_FAILED);

        direction = ready_one();
        direction_eof(&direction, 4);
        direction_shut(&direction);
        direction_lose(&direction);
        assert_int_equal(direction.state, DIRECTION_SHUT);
}

static void test_insane(void **unused) {
        struct direction direction = ready_one();

        (void)unused;
        direction.piped = 1;
        assert_false(direction_sane(&direction));
        direction.pipe = SOME_PIPE;
        assert_true(direction_sane(&direction));
        direction.state = DIRECTION_DRAINED;
        assert_false(direction_sane(&direction));
        direction.piped = 0;
        assert_true(direction_sane(&direction));
        direction.state = DIRECTION_EOF;
        assert_false(direction_sane(&direction));
        direction.state = DIRECTION_FAILED + 1;
        assert_false(direction_sane(&direction));

        direction = ready_one();
        direction_hold(&direction);
        assert_true(direction_sane(&direction));
        direction.state = DIRECTION_SHUT;
        assert_false(direction_sane(&direction));
        direction.state = DIRECTION_OPEN;
        direction.held = 2;
        assert_false(direction_sane(&direction));
}

/* Held, it reads nothing, whatever happens, but it still writes; released, it goes on with what it knew. */
static void test_held(void **unused) {
        struct direction direction = ready_one();

        (void)unused;
        direction_copied(&direction, DIRECTION_SCRATCH, DIRECTION_SCRATCH, DIRECTION_SCRATCH, 4);
        direction.pipe = SOME_PIPE;
        direction_filled(&direction, 500, 4);
        direction_hold(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_FLUSH);
        direction_flushed(&direction, 200, 4);
        direction_out_full(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_WAIT);
        direction.out_ready = direction.in_ready = direction.marked = direction.in_ended = 1;
        direction_flushed(&direction, 300, 4);
        assert_int_equal(direction_next(&direction), DIRECTION_WAIT);
        direction_release(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_SPLICE);
        /* A reset does not free it; what came before it is still limited. */
        direction_hold(&direction);
        direction_lose(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_WAIT);
        direction_release(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_SPLICE);
        /* With the side it writes to gone, there is nothing to wait for. */
        direction_hold(&direction);
        direction_fail(&direction);
        assert_int_equal(direction_next(&direction), DIRECTION_END);
        assert_true(direction_sane(&direction));
        direction_hold(&direction);
        assert_true(direction_sane(&direction));
}

/* A process died between a splice and its note: the pipe holds what it holds. */
static void test_recount(void **unused) {
        struct direction direction = ready_one();

        (void)unused;
        direction.pipe = SOME_PIPE;
        direction.piped = 200;
        direction_recount(&direction, 50);
        assert_int_equal(direction.piped, 50);
        assert_int_equal(direction.bytes, 150);
        direction_recount(&direction, 80);
        assert_int_equal(direction.piped, 80);
        assert_int_equal(direction.bytes, 150);
        /* The last bytes went out after the end of in: nothing but the FIN is left to do, and no event will come. */
        direction.state = DIRECTION_EOF;
        direction.in_ready = 0;
        direction_recount(&direction, 0);
        assert_int_equal(direction.bytes, 230);
        assert_int_equal(direction_next(&direction), DIRECTION_FIN);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_begin),
                cmocka_unit_test(test_hysteresis),
                cmocka_unit_test(test_fin_after_the_last_byte),
                cmocka_unit_test(test_reset),
                cmocka_unit_test(test_insane),
                cmocka_unit_test(test_held),
                cmocka_unit_test(test_recount),
                cmocka_unit_test(test_all_interleavings),
        };

        return cmocka_run_group_tests_name("direction", tests, NULL, NULL);
}
