/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/life.h"

/* The legal steps once more, written down on their own: what is not here is ILLEGAL. */
static const struct legal {
        enum life_state from;
        enum life_event event;
        enum life_state to;
        enum life_action action;
} life_legal[] = {
        { LIFE_ACCEPTED, LIFE_ADMIT, LIFE_PREFACE, LIFE_READ_PREFACE },
        { LIFE_ACCEPTED, LIFE_CLIENT_LEFT, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_ACCEPTED, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_PREFACE, LIFE_LOOK, LIFE_PREFACE, LIFE_READ_PREFACE },
        { LIFE_PREFACE, LIFE_MORE, LIFE_PREFACE, LIFE_STAY },
        { LIFE_PREFACE, LIFE_ROUTED, LIFE_PICKING, LIFE_PICK },
        { LIFE_PREFACE, LIFE_GIVE_UP, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_PREFACE, LIFE_CLIENT_LEFT, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_PREFACE, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_PICKING, LIFE_PICKED, LIFE_CONNECTING, LIFE_CONNECT },
        { LIFE_PICKING, LIFE_PAUSE, LIFE_QUEUED, LIFE_REST },
        { LIFE_PICKING, LIFE_WAIT, LIFE_QUEUED, LIFE_STAY },
        { LIFE_PICKING, LIFE_GIVE_UP, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_PICKING, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_QUEUED, LIFE_DUE, LIFE_PICKING, LIFE_PICK },
        { LIFE_QUEUED, LIFE_GRANTED, LIFE_CONNECTING, LIFE_CONNECT },
        { LIFE_QUEUED, LIFE_CLIENT_LEFT, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_QUEUED, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_CONNECTING, LIFE_PENDING, LIFE_CONNECTING, LIFE_STAY },
        { LIFE_CONNECTING, LIFE_DUE, LIFE_CONNECTING, LIFE_CONNECT_AGAIN },
        { LIFE_CONNECTING, LIFE_CONNECTED, LIFE_RELAYING, LIFE_RELAY },
        { LIFE_CONNECTING, LIFE_FAILED, LIFE_PICKING, LIFE_PICK_NEXT },
        { LIFE_CONNECTING, LIFE_CLIENT_LEFT, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_CONNECTING, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_RELAYING, LIFE_DONE, LIFE_CLOSED, LIFE_FINISH },
        { LIFE_RELAYING, LIFE_ENDING, LIFE_CLOSING, LIFE_LINGER },
        { LIFE_RELAYING, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
        { LIFE_CLOSING, LIFE_FLUSHED, LIFE_CLOSED, LIFE_PART },
        { LIFE_CLOSING, LIFE_KILL, LIFE_CLOSED, LIFE_ABORT },
};
#define LEGAL_STEPS (sizeof(life_legal) / sizeof(life_legal[0]))

static const struct legal *legal_find(int state, int event) {
        for (size_t i = 0; i < LEGAL_STEPS; i++)
                if ((int)life_legal[i].from == state && (int)life_legal[i].event == event)
                        return &life_legal[i];
        return NULL;
}

static void test_every_pair(void **unused) {
        (void)unused;
        for (int state = 0; state < LIFE_STATES; state++)
                for (int event = 0; event < LIFE_EVENTS; event++) {
                        struct life_step step = life_step(state, event);
                        const struct legal *legal = legal_find(state, event);

                        if (step.action != (legal ? (int)legal->action : LIFE_ILLEGAL) ||
                            step.next != (legal ? (int)legal->to : LIFE_CLOSED))
                                fail_msg("%s, %s: got %s, %s", life_state_name(state), life_event_name(event),
                                         life_state_name(step.next), life_action_name(step.action));
                }
}

static void test_outside_the_table(void **unused) {
        (void)unused;
        assert_int_equal(life_step(LIFE_STATES, LIFE_KILL).action, LIFE_ILLEGAL);
        assert_int_equal(life_step((enum life_state)-1, LIFE_KILL).action, LIFE_ILLEGAL);
        assert_int_equal(life_step(LIFE_RELAYING, LIFE_EVENTS).action, LIFE_ILLEGAL);
        assert_int_equal(life_step(LIFE_RELAYING, (enum life_event)-1).action, LIFE_ILLEGAL);
        assert_string_equal(life_state_name(LIFE_STATES), "?");
        assert_string_equal(life_event_name(LIFE_EVENTS), "?");
        assert_string_equal(life_action_name(LIFE_ACTIONS), "?");
}

/* A fresh arena is all zero: closed, and nothing may happen to what is closed. */
static void test_zero_is_closed(void **unused) {
        (void)unused;
        assert_int_equal(LIFE_CLOSED, 0);
        assert_int_equal(LIFE_ILLEGAL, 0);
        assert_int_equal(LIFE_NOTHING, 0);
        for (int event = 0; event < LIFE_EVENTS; event++)
                assert_int_equal(life_step(LIFE_CLOSED, event).action, LIFE_ILLEGAL);
        for (int state = 0; state < LIFE_STATES; state++)
                assert_int_equal(life_step(state, LIFE_NOTHING).action, LIFE_ILLEGAL);
}

/* Marks what can be reached from `state`. */
static void reach(int state, unsigned char *reached) {
        if (reached[state])
                return;
        reached[state] = 1;
        for (int event = 0; event < LIFE_EVENTS; event++)
                if (life_step(state, event).action != LIFE_ILLEGAL)
                        reach(life_step(state, event).next, reached);
}

static void test_reach(void **unused) {
        unsigned char reached[LIFE_STATES];

        (void)unused;
        for (int state = LIFE_CLOSED + 1; state < LIFE_STATES; state++) {
                memset(reached, 0, sizeof(reached));
                reach(state, reached);
                if (!reached[LIFE_CLOSED])
                        fail_msg("%s never ends", life_state_name(state));
        }
        /* And nothing in the table is out of reach. */
        memset(reached, 0, sizeof(reached));
        reach(LIFE_ACCEPTED, reached);
        for (int state = 0; state < LIFE_STATES; state++)
                if (!reached[state])
                        fail_msg("nothing leads to %s", life_state_name(state));
}

static void test_kill_ends_at_once(void **unused) {
        (void)unused;
        for (int state = LIFE_CLOSED + 1; state < LIFE_STATES; state++) {
                assert_int_equal(life_step(state, LIFE_KILL).next, LIFE_CLOSED);
                assert_int_equal(life_step(state, LIFE_KILL).action, LIFE_ABORT);
        }
}

static void test_events_and_actions_are_used(void **unused) {
        unsigned char events[LIFE_EVENTS] = { 0 }, actions[LIFE_ACTIONS] = { 0 };

        (void)unused;
        for (int state = 0; state < LIFE_STATES; state++)
                for (int event = 0; event < LIFE_EVENTS; event++) {
                        struct life_step step = life_step(state, event);

                        assert_true(step.action < LIFE_ACTIONS);
                        actions[step.action] = 1;
                        if (step.action != LIFE_ILLEGAL)
                                events[event] = 1;
                }
        for (int event = LIFE_NOTHING + 1; event < LIFE_EVENTS; event++)
                assert_true(events[event]);
        for (int action = 0; action < LIFE_ACTIONS; action++)
                assert_true(actions[action]);
}

/*
 * What a state holds is what its step took it over with: so on every path each acquire
 * has one release, and CLOSED holds nothing.
 */
static void test_holds(void **unused) {
        (void)unused;
        assert_int_equal(life_holds(LIFE_CLOSED), 0);
        assert_int_equal(life_holds(LIFE_ACCEPTED), LIFE_HOLDS_CLIENT);
        for (size_t i = 0; i < LEGAL_STEPS; i++) {
                const struct legal *legal = &life_legal[i];
                unsigned held = life_holds(legal->from);
                unsigned releases = life_releases(legal->action, held);
                unsigned acquires = life_acquires(legal->action);

                /* Never a release of what is not held, nor an acquire of what is. */
                assert_int_equal(releases & ~held, 0);
                assert_int_equal(acquires & (held & ~releases), 0);
                if (((held & ~releases) | acquires) != life_holds(legal->to))
                        fail_msg("%s, %s: holds %x, releases %x, acquires %x; %s holds %x",
                                 life_state_name(legal->from),
                                 life_event_name(legal->event), held, releases, acquires, life_state_name(legal->to),
                                 life_holds(legal->to));
        }
}

/* Every path, each state at most twice on it: a balance of takes and gives that never leaves 0 or 1. */
static unsigned walk(int state, unsigned held, unsigned char *seen) {
        unsigned paths = 0;

        if (state == LIFE_CLOSED) {
                assert_int_equal(held, 0);
                return 1;
        }
        if (seen[state] == 2)
                return 0;
        seen[state]++;
        for (int event = 0; event < LIFE_EVENTS; event++) {
                struct life_step step = life_step(state, event);
                unsigned releases;

                if (step.action == LIFE_ILLEGAL)
                        continue;
                releases = life_releases(step.action, held);
                assert_int_equal(releases & ~held, 0);
                assert_int_equal(life_acquires(step.action) & held & ~releases, 0);
                paths += walk(step.next, (held & ~releases) | life_acquires(step.action), seen);
        }
        seen[state]--;
        return paths;
}

static void test_every_path_releases(void **unused) {
        unsigned char seen[LIFE_STATES] = { 0 };

        (void)unused;
        assert_true(walk(LIFE_ACCEPTED, LIFE_HOLDS_CLIENT, seen) > 50);
}

static void check_names(const char *(*name)(int), int n) {
        for (int i = 0; i < n; i++) {
                assert_non_null(name(i));
                assert_true(*name(i) && strcmp(name(i), "?") != 0);
                for (int k = 0; k < i; k++)
                        assert_string_not_equal(name(i), name(k));
        }
}

static const char *state_name(int i) {
        return life_state_name(i);
}

static const char *event_name(int i) {
        return life_event_name(i);
}

static const char *action_name(int i) {
        return life_action_name(i);
}

static void test_names(void **unused) {
        (void)unused;
        check_names(state_name, LIFE_STATES);
        check_names(event_name, LIFE_EVENTS);
        check_names(action_name, LIFE_ACTIONS);
}

static void test_print(void **unused) {
        char *text = NULL;
        size_t size = 0, lines = 0;
        FILE *out = open_memstream(&text, &size);

        (void)unused;
        assert_non_null(out);
        assert_int_equal(life_print(out), 0);
        assert_int_equal(fclose(out), 0);
        for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line; lines++) {
                char from[16], event[16], to[16], action[16];
                size_t i;

                assert_int_equal(sscanf(line, "%15s %15s -> %15[A-Z] : %15s", from, event, to, action), 4);
                for (i = 0; i < LEGAL_STEPS; i++)
                        if (!strcmp(from, life_state_name(life_legal[i].from)) &&
                            !strcmp(event, life_event_name(life_legal[i].event)))
                                break;
                assert_true(i < LEGAL_STEPS);
                assert_string_equal(to, life_state_name(life_legal[i].to));
                assert_string_equal(action, life_action_name(life_legal[i].action));
        }
        free(text);
        assert_int_equal(lines, LEGAL_STEPS);
}

/* The manual shows the table as it is: every line of it, and no other step. */
static void test_manual(void **unused) {
        const char *top = getenv("top_srcdir");
        char path[4096], *text = NULL, *page;
        size_t size, length, steps = 0;
        FILE *file = open_memstream(&text, &size);

        (void)unused;
        assert_int_equal(life_print(file), 0);
        assert_int_equal(fclose(file), 0);
        if (!top) {
                free(text);
                skip();
        }
        snprintf(path, sizeof(path), "%s/man/spliced.8", top);
        file = fopen(path, "r");
        assert_non_null(file);
        page = calloc(1, 1 << 20);
        length = fread(page, 1, (1 << 20) - 1, file);
        fclose(file);
        assert_true(length > 0);
        for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;)
                assert_non_null(strstr(page, line));
        for (const char *at = page; (at = strstr(at, " -> ")); at++)
                steps++;
        assert_int_equal(steps, LEGAL_STEPS);
        free(page);
        free(text);
}

static void test_print_fails(void **unused) {
        FILE *full = fopen("/dev/full", "w");

        (void)unused;
        if (!full)
                skip();
        setvbuf(full, NULL, _IONBF, 0);
        assert_true(life_print(full) < 0);
        fclose(full);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_pair),
                cmocka_unit_test(test_outside_the_table),
                cmocka_unit_test(test_zero_is_closed),
                cmocka_unit_test(test_reach),
                cmocka_unit_test(test_kill_ends_at_once),
                cmocka_unit_test(test_events_and_actions_are_used),
                cmocka_unit_test(test_holds),
                cmocka_unit_test(test_every_path_releases),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_manual),
                cmocka_unit_test(test_print_fails),
        };

        return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
