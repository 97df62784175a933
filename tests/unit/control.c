/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/control.h"

/* A control record that a child of ours shares, as keeper and worker do. */
static struct control_record *shared_record(void) {
        struct control_record *control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        assert_ptr_not_equal(control, MAP_FAILED);
        control->to_keeper = eventfd(0, EFD_NONBLOCK);
        control->to_worker = eventfd(0, EFD_NONBLOCK);
        return control;
}

static void unshare_record(struct control_record *control) {
        close(control->to_keeper);
        close(control->to_worker);
        munmap(control, sizeof(*control));
}

static int told(int eventfd) {
        uint64_t n;

        return read(eventfd, &n, sizeof(n)) == sizeof(n);
}

/* One answer for all that came before the change began, and none for who came after. */
static void test_requests(void **state) {
        struct control_record *control = shared_record();
        uint32_t first, second, third, generation = 77;

        (void)state;
        first = control_ask(control, CONTROL_RELOAD);
        second = control_ask(control, CONTROL_RELOAD);
        assert_true(told(control->to_keeper));
        assert_false(control_answered(control, CONTROL_RELOAD, first, &generation));
        control->requests[CONTROL_RELOAD].taken = control->requests[CONTROL_RELOAD].asked;
        third = control_ask(control, CONTROL_RELOAD);
        control_answer(control, CONTROL_RELOAD, 5);
        assert_true(told(control->to_worker));
        assert_true(control_answered(control, CONTROL_RELOAD, first, &generation));
        assert_int_equal(generation, 5);
        assert_true(control_answered(control, CONTROL_RELOAD, second, &generation));
        assert_false(control_answered(control, CONTROL_RELOAD, third, &generation));
        assert_false(control_answered(control, CONTROL_UPGRADE, 1, &generation));
        control->requests[CONTROL_RELOAD].taken = control->requests[CONTROL_RELOAD].asked;
        control_answer(control, CONTROL_RELOAD, 0);
        assert_true(control_answered(control, CONTROL_RELOAD, third, &generation));
        assert_int_equal(generation, 0);
        unshare_record(control);
}

/* Numbers that have gone once round. */
static void test_round(void **state) {
        struct control_record *control = shared_record();
        struct control_request *request = &control->requests[CONTROL_UPGRADE];
        uint32_t generation, number;

        (void)state;
        *request = (struct control_request){ .asked = UINT32_MAX, .taken = UINT32_MAX, .answered = UINT32_MAX };
        number = control_ask(control, CONTROL_UPGRADE);
        assert_int_equal(number, 0);
        assert_false(control_answered(control, CONTROL_UPGRADE, number, &generation));
        request->taken = request->asked;
        control_answer(control, CONTROL_UPGRADE, 3);
        assert_true(control_answered(control, CONTROL_UPGRADE, number, &generation));
        unshare_record(control);
}

/* Whoever reads while it is written gets one or the other, and never a part of both. */
static void test_outcome(void **state) {
        struct control_record *control = shared_record();
        struct control_outcome outcome;
        char text[CONTROL_TEXT];
        pid_t pid;

        (void)state;
        control_outcome(control, CONTROL_RELOAD, &outcome);
        assert_int_equal(outcome.wall_ms, 0);
        control_note(control, CONTROL_RELOAD, 1, "a");
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                for (int i = 0; i < 3000; i++) {
                        memset(text, 'a' + i % 26, sizeof(text) - 1);
                        text[i % (sizeof(text) - 1)] = '\0';
                        control_note(control, CONTROL_RELOAD, i & 1, text);
                }
                _exit(0);
        }
        while (waitpid(pid, NULL, WNOHANG) == 0) {
                control_outcome(control, CONTROL_RELOAD, &outcome);
                if (!outcome.version || outcome.version & 1)
                        continue;
                for (size_t i = 0; outcome.text[i]; i++)
                        assert_int_equal(outcome.text[i], outcome.text[0]);
        }
        control_note(control, CONTROL_RELOAD, 0, "last");
        control_outcome(control, CONTROL_RELOAD, &outcome);
        assert_string_equal(outcome.text, "last");
        assert_int_equal(outcome.ok, 0);
        assert_true(outcome.wall_ms > 0);
        /* More than there is room for is cut. */
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        control_note(control, CONTROL_RELOAD, 1, text);
        control_outcome(control, CONTROL_RELOAD, &outcome);
        assert_int_equal(strlen(outcome.text), CONTROL_TEXT - 1);
        unshare_record(control);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests), cmocka_unit_test(test_round), cmocka_unit_test(test_outcome),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
