/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "script/real.h"
#include "script/run.h"

/*
 * The worker dies at every system call of the data path, before the kernel has done it or right after, and another
 * adopts what there is.  Sessions of several shapes come through all the same; but one that was in a critical window
 * is reset, and the log says so; and a connection that was accepted and has no record yet is gone.
 */

#define CRASH_SETTLE 3          /* rounds in which peers do nothing, between a death and the adoption */

struct cell {
        const struct kind *kind;
        const struct scenario *scenario;
        char name[64];
};

/* Shapes that only matter here. */
static const struct scenario crash_scenarios[] = {
        { .name = "reset after a half-close", .up = 500, .down = 400000, .server_waits = 1, .server_end = FLOW_RESET,
          .chunk = 100000 },
};
#define CRASH_SCENARIOS (sizeof(crash_scenarios) / sizeof(crash_scenarios[0]))
#define CRASH_OTHERS 2
#define CRASH_CELLS (RUN_KINDS * (RUN_SCENARIOS + CRASH_SCENARIOS))

struct death {
        enum script_call at;
        uint64_t nth;
        enum script_moment when;
        int peers_wait;                 /* else they go on before somebody adopts, as the kernel does */
};

static void crash_between(void *arg) {
        for (int quiet = 0; quiet < CRASH_SETTLE; quiet++)
                if (run_step_peers(arg))
                        quiet = 0;
                else
                        usleep(100);
}

/* Whether the death may have cost the session. */
static int crash_may_cost(const struct run *run) {
        if (run->rig.reset)
                return strcmp(run->end, "recovered-busy") == 0;
        return script.die_at == SCRIPT_ACCEPT && script.die_when == SCRIPT_AFTER && !run->end[0];
}

/* What is wrong with how the session came through, or NULL. */
static const char *crash_judge(const struct run *run, int whole) {
        int reset = run->scenario->client_end == FLOW_RESET || run->scenario->server_end == FLOW_RESET;

        if (!run->rig.deaths)
                return run->wrong;
        /* It was never taken up: its client sees a FIN. */
        if (crash_may_cost(run))
                return run->end[0] ? run->wrong : NULL;
        if (run->wrong || reset)
                return run->wrong;
        if (!whole)
                return "the session did not come through";
        /* Of two FINs either may be the first. */
        return strstr(run->end, "-fin") ? NULL : "the log says that it did not end by a FIN";
}

/* Returns whether it died. */
static int crash_one(const struct cell *cell, const struct death *death) {
        const char *wrong;
        struct run run;

        run_start(&run, cell->kind, cell->scenario);
        if (!death->peers_wait) {
                run.rig.between = crash_between;
                run.rig.between_arg = &run;
        }
        script.die_at = death->at;
        script.die_nth = death->nth;
        script.die_when = death->when;
        wrong = crash_judge(&run, run_all(&run));
        if (wrong)
                fail_msg("%s, dies %s %s number %lu%s: %s; its end: %s", cell->name,
                         death->when == SCRIPT_BEFORE ? "before" : "after", script_call_name(death->at),
                         (unsigned long)death->nth, death->peers_wait ? ", peers wait" : "", wrong, run.end);
        return run.rig.deaths != 0;
}

/* Fills a pipe; once there is nothing more, the server resets the connection, and whoever is told so dies. */
static ssize_t crash_told(void *arg, int from, int to, size_t len) {
        struct run *run = arg;
        struct flow *server = &run->server[0];
        int waiting;

        if (run->rig.deaths || from != run->rig.shared.sessions[1].fd[SESSION_SERVER])
                return real_splice(from, to, len);
        assert_int_equal(ioctl(from, FIONREAD, &waiting), 0);
        if (!waiting) {
                server->total = server->sent;
                flow_step(server);
                assert_int_equal(server->fd, -1);
                assert_int_equal(real_splice(from, to, len), -ECONNRESET);
                longjmp(*script.grave, 1);
        }
        return real_splice(from, to, len);
}

/*
 * The kernel tells of a reset once.  Where a splice has taken the word, and nobody is there any more to note it, the
 * connection looks as if it had ended by a FIN: then a part of the answer would pass for the whole.
 */
static void a_reset_that_only_a_splice_knew_of(void **state) {
        const struct script_model model = { .splice = crash_told };
        struct run run;

        run_start(&run, &run_kinds[0], &crash_scenarios[0]);
        script.model = &model;
        script.model_arg = &run;
        run_all(&run);
        assert_int_equal(run.rig.deaths, 1);
        assert_null(run.wrong);
        assert_string_equal(run.end, "recovered-busy");
        assert_int_equal(run.client.error, ECONNRESET);
}

/* Options that are put off until a session is five seconds old are not forgotten where somebody dies setting them. */
static void an_option_that_was_not_set(void **state) {
        struct run run;
        uint64_t count;

        run_start(&run, &run_kinds[0], &run_scenarios[0]);
        assert_true(run_all(&run));
        count = run.counted[SCRIPT_SETSOCKOPT];
        run_start(&run, &run_kinds[0], &run_scenarios[0]);
        script.die_at = SCRIPT_SETSOCKOPT;
        script.die_when = SCRIPT_BEFORE;
        script.die_nth = count;
        assert_true(run_all(&run));
        assert_int_equal(run.rig.deaths, 1);
        assert_true(run.counted[SCRIPT_SETSOCKOPT] > count);
}

/*
 * At the last call of each kind; where both sides are of one family at the first too, and before it.  With CRASH_ALL=1,
 * at all of them and in every way, which takes minutes.
 */
static void every_call_is_the_last(void **state) {
        const struct cell *cell = *state;
        int all = getenv("CRASH_ALL") != NULL, more = cell->kind->front_unix == cell->kind->server_unix;
        unsigned deaths = 0;
        struct run run;

        run_start(&run, cell->kind, cell->scenario);
        if (!run_all(&run) || run.wrong)
                fail_msg("%s, nobody dies: %s", cell->name, run.wrong ? run.wrong : "it does not come through");
        for (unsigned at = 0; at < SCRIPT_CALLS; at++)
                for (uint64_t nth = 1, count = run.counted[at]; nth <= count;
                     nth = all || nth == count ? nth + 1 : count)
                        for (int how = 0; how < 4; how++) {
                                struct death death = { .at = at, .nth = nth, .peers_wait = how >> 1,
                                                       .when = how & 1 ? SCRIPT_BEFORE : SCRIPT_AFTER };

                                if (all || (nth == count ? how <= more : how == 0 && more))
                                        deaths += (unsigned)crash_one(cell, &death);
                        }
        print_message("# %s: %u deaths\n", cell->name, deaths);
}

int main(void) {
        static struct cell cells[CRASH_CELLS];
        static struct CMUnitTest tests[CRASH_CELLS + CRASH_OTHERS] = {
                cmocka_unit_test(a_reset_that_only_a_splice_knew_of),
                cmocka_unit_test(an_option_that_was_not_set),
        };
        size_t n = 0;

        for (size_t k = 0; k < RUN_KINDS; k++)
                for (size_t s = 0; s < RUN_SCENARIOS + CRASH_SCENARIOS; s++) {
                        const struct scenario *scenario =
                                s < RUN_SCENARIOS ? &run_scenarios[s] : &crash_scenarios[s - RUN_SCENARIOS];

                        if (scenario->backlog && !run_kinds[k].server_unix)
                                continue;
                        cells[n] = (struct cell){ .kind = &run_kinds[k], .scenario = scenario };
                        snprintf(cells[n].name, sizeof(cells[n].name), "%s, %s", run_kinds[k].name, scenario->name);
                        tests[CRASH_OTHERS + n] = (struct CMUnitTest){ cells[n].name, every_call_is_the_last, NULL,
                                                                       NULL, &cells[n] };
                        n++;
                }
        return _cmocka_run_group_tests("crash", tests, CRASH_OTHERS + n, NULL, NULL);
}
