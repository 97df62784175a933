/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/notify.h"

/* What is told where libsystemd was not configured in. */

static int setup(void **unused) {
        (void)unused;
        unsetenv("NOTIFY_SOCKET");
        unsetenv("WATCHDOG_USEC");
        unsetenv("LISTEN_FDS");
        return 0;
}

static void test_nothing_offered(void **unused) {
        char why[NOTIFY_WHY] = "x";

        (void)unused;
        assert_int_equal(notify_check(why), 0);
        assert_string_equal(why, "");
        assert_false(notify_built_in());
}

static void test_offers(void **unused) {
        static const char *const offers[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS" };
        char why[NOTIFY_WHY];

        (void)unused;
        for (size_t i = 0; i < 3; i++) {
                setenv(offers[i], "1", 1);
                assert_int_equal(notify_check(why), NOTIFY_UNSUPPORTED);
                assert_non_null(strstr(why, offers[i]));
                assert_non_null(strstr(why, "without libsystemd"));
                unsetenv(offers[i]);
        }
}

static void test_sockets(void **unused) {
        struct notify_sockets sockets;
        char why[NOTIFY_WHY] = "";

        (void)unused;
        assert_int_equal(notify_sockets_take(&sockets), 0);
        assert_int_equal(sockets.n, 0);
        assert_int_equal(notify_listen_fd(&sockets, "web", why), -ENOTSUP);
        assert_non_null(strstr(why, "web"));
        notify_sockets_free(&sockets);
}

static void test_silence(void **unused) {
        (void)unused;
        setenv("NOTIFY_SOCKET", "/nonexistent", 1);
        assert_int_equal(notify_ready(), 0);
        assert_int_equal(notify_reloading(), 0);
        assert_int_equal(notify_stopping(), 0);
        assert_int_equal(notify_status("%d", 1), 0);
        assert_int_equal(notify_extend_timeout(1), 0);
        assert_int_equal(notify_mainpid(1), 0);
        assert_int_equal(notify_watchdog_ms(), 0);
        assert_int_equal(notify_watchdog(), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_nothing_offered, setup),
                cmocka_unit_test_setup(test_offers, setup),
                cmocka_unit_test_setup(test_sockets, setup),
                cmocka_unit_test_setup(test_silence, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
