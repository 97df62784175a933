/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/gate.h"

/* Lets somebody in as http.c does; whoever had to go is gone at once.  Returns the descriptor that had to, or -1. */
static int come(struct gate *gate, int fd, uid_t uid, int64_t now) {
        struct gate_place *victim = gate_victim(gate);
        int gone = -1;

        if (victim) {
                gone = victim->fd;
                victim->lost = 1;
                gate_give(victim);
        }
        assert_non_null(gate_take(gate, fd, uid, 0, now));
        return gone;
}

static void test_room(void **state) {
        struct gate gate;

        (void)state;
        gate_init(&gate);
        assert_int_equal(gate_taken(&gate), 0);
        for (int i = 0; i < GATE_PLACES; i++)
                assert_int_equal(come(&gate, 100 + i, 0, i), -1);
        assert_int_equal(gate_taken(&gate), GATE_PLACES);
        /* Then the one goes that has waited longest. */
        for (int i = 0; i < 5 * GATE_PLACES; i++)
                assert_int_equal(come(&gate, 1000 + i, 0, 1000 + i),
                                 i < GATE_PLACES ? 100 + i : 1000 + i - GATE_PLACES);
        assert_int_equal(gate_taken(&gate), GATE_PLACES);
}

/* Whoever has many loses one of them to whoever has few, and never the other way round. */
static void test_fair(void **state) {
        struct gate gate;

        (void)state;
        gate_init(&gate);
        come(&gate, 1, 0, 0);
        come(&gate, 2, 7, 0);
        for (int i = 0; i < 1000; i++)
                come(&gate, 100 + i, 1000, 10 + i);
        for (int fd = 1; fd <= 2; fd++) {
                int there = 0;

                for (int i = 0; i < GATE_PLACES + GATE_AIR; i++)
                        there += gate.places[i].fd == fd;
                assert_int_equal(there, 1);
        }
        assert_true(come(&gate, 3, 0, 5000) >= 100);
}

static void test_waits(void **state) {
        struct gate gate;
        struct gate_place *waits[GATE_WAITING];

        (void)state;
        gate_init(&gate);
        for (int i = 0; i < GATE_WAITING; i++) {
                assert_true(gate_may_wait(&gate));
                waits[i] = gate_take(&gate, i, 0, 0, 0);
                waits[i]->waits = 1;
        }
        assert_false(gate_may_wait(&gate));
        /* Who waits for the keeper is neither pushed out nor late. */
        for (int i = 0; i < 100; i++)
                assert_false(come(&gate, 100 + i, 0, 1 + i) >= 0 && waits[0]->fd != 0);
        for (int i = 0; i < GATE_WAITING; i++)
                assert_int_equal(waits[i]->fd, i);
        for (struct gate_place *late; (late = gate_overdue(&gate, GATE_PATIENCE_MS + 1000));) {
                assert_true(late->fd >= 100);
                gate_give(late);
        }
        assert_int_equal(gate_taken(&gate), GATE_WAITING);
        gate_give(waits[3]);
        assert_true(gate_may_wait(&gate));
}

/* A connection that was lent is neither pushed out nor late, and keeps nobody from waiting for the keeper. */
static void test_lent(void **state) {
        struct gate gate;

        (void)state;
        gate_init(&gate);
        for (int i = 0; i < GATE_WAITING; i++)
                gate_take(&gate, i, 0, 0, 0)->lent = 1;
        assert_true(gate_may_wait(&gate));
        for (int i = 0; i < 100; i++)
                assert_false(come(&gate, 100 + i, 0, 1 + i) < 100 && i >= GATE_PLACES - GATE_WAITING);
        for (int i = 0; i < GATE_WAITING; i++)
                assert_int_equal(gate.places[i].fd, i);
        for (struct gate_place *late; (late = gate_overdue(&gate, GATE_PATIENCE_MS + 1000)); gate_give(late))
                assert_true(late->fd >= 100);
        assert_int_equal(gate_taken(&gate), GATE_WAITING);
}

static void test_overdue(void **state) {
        struct gate gate;
        struct gate_place *place;

        (void)state;
        gate_init(&gate);
        place = gate_take(&gate, 5, 0, 0, 1000);
        assert_null(gate_overdue(&gate, 1000 + GATE_PATIENCE_MS - 1));
        assert_ptr_equal(gate_overdue(&gate, 1000 + GATE_PATIENCE_MS), place);
        place->lost = 1;
        assert_null(gate_overdue(&gate, 1000 + GATE_PATIENCE_MS));
}

/* Those that have lost their place and are not gone yet do not count, as long as there is air. */
static void test_air(void **state) {
        struct gate gate;
        struct gate_place *victim;
        int fd = 0;

        (void)state;
        gate_init(&gate);
        for (; fd < GATE_PLACES; fd++)
                gate_take(&gate, fd, 0, 0, fd);
        for (int i = 0; i < GATE_AIR; i++) {
                victim = gate_victim(&gate);
                assert_int_equal(victim->fd, i);
                victim->lost = 1;
                assert_non_null(gate_take(&gate, fd, 0, 0, fd));
                fd++;
        }
        assert_null(gate_take(&gate, fd, 0, 0, fd));
}

static void test_large(void **state) {
        struct gate gate;
        struct gate_place *places[GATE_LARGE];

        (void)state;
        gate_init(&gate);
        for (int i = 0; i < GATE_LARGE; i++) {
                assert_null(gate_large_victim(&gate));
                places[i] = gate_take(&gate, i, 0, 0, 100 - i);
                places[i]->large = 1;
        }
        assert_ptr_equal(gate_large_victim(&gate), places[GATE_LARGE - 1]);
        places[GATE_LARGE - 1]->lost = 1;
        assert_null(gate_large_victim(&gate));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_room), cmocka_unit_test(test_fair), cmocka_unit_test(test_waits),
                cmocka_unit_test(test_lent), cmocka_unit_test(test_overdue),
                cmocka_unit_test(test_air), cmocka_unit_test(test_large),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
