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

#include "script/run.h"

/*
 * Every system call of the data path failing.  Sessions of several shapes go
 * through the real kernel once to count their calls, then again and again, each
 * time with one call that fails or is cut short, or with one that always does.
 * A second session runs beside, with descriptors that no fault touches.
 */

/* What may go wrong with a call, and whether the session is to survive it unharmed. */
struct fault {
        enum script_call call;
        enum script_what what;
        int value;
        int soft;               /* 2: but not where each call fares so: that takes for ever, or no kernel does it */
};

static const struct fault faults[] = {
        { SCRIPT_ACCEPT, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_ACCEPT, SCRIPT_FAIL, ECONNABORTED, 2 },
        { SCRIPT_ACCEPT, SCRIPT_FAIL, EMFILE, 1 }, { SCRIPT_ACCEPT, SCRIPT_FAIL, ENFILE, 1 },
        { SCRIPT_ACCEPT, SCRIPT_FAIL, ENOBUFS, 1 }, { SCRIPT_ACCEPT, SCRIPT_FAIL, ENOMEM, 1 },
        { SCRIPT_SOCKET, SCRIPT_FAIL, EMFILE, 0 }, { SCRIPT_SOCKET, SCRIPT_FAIL, ENOBUFS, 0 },
        { SCRIPT_SOCKET, SCRIPT_FAIL, EAFNOSUPPORT, 1 },
        { SCRIPT_BIND, SCRIPT_FAIL, EADDRINUSE, 1 }, { SCRIPT_BIND, SCRIPT_FAIL, EADDRNOTAVAIL, 1 },
        { SCRIPT_CONNECT, SCRIPT_FAIL, ECONNREFUSED, 1 }, { SCRIPT_CONNECT, SCRIPT_FAIL, EADDRNOTAVAIL, 1 },
        { SCRIPT_CONNECT, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_CONNECT, SCRIPT_FAIL, ENETUNREACH, 1 },
        { SCRIPT_CONNECT, SCRIPT_FAIL, ENOENT, 1 },
        { SCRIPT_SHUTDOWN, SCRIPT_FAIL, ENOTCONN, 0 }, { SCRIPT_SHUTDOWN, SCRIPT_FAIL, EIO, 0 },
        { SCRIPT_CLOSE, SCRIPT_FAIL, EIO, 1 },
        { SCRIPT_GETSOCKOPT, SCRIPT_FAIL, EINVAL, 0 }, { SCRIPT_GETSOCKOPT, SCRIPT_FAIL, ENOBUFS, 0 },
        { SCRIPT_GETSOCKNAME, SCRIPT_FAIL, ENOBUFS, 1 },
        { SCRIPT_GETPEERNAME, SCRIPT_FAIL, ENOTCONN, 1 },
        { SCRIPT_SETSOCKOPT, SCRIPT_FAIL, EINVAL, 1 }, { SCRIPT_SETSOCKOPT, SCRIPT_FAIL, ENOMEM, 1 },
        { SCRIPT_RECV, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_RECV, SCRIPT_FAIL, ECONNRESET, 0 },
        { SCRIPT_RECV, SCRIPT_FAIL, ETIMEDOUT, 0 }, { SCRIPT_RECV, SCRIPT_FAIL, ENOMEM, 0 },
        { SCRIPT_RECV, SCRIPT_SHORT, 1, 2 }, { SCRIPT_RECV, SCRIPT_SHORT, 4000, 1 },
        { SCRIPT_RECVMSG, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_RECVMSG, SCRIPT_FAIL, ECONNRESET, 0 },
        { SCRIPT_RECVMSG, SCRIPT_FAIL, ENOMEM, 0 }, { SCRIPT_RECVMSG, SCRIPT_SHORT, 1, 2 },
        { SCRIPT_SEND, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_SEND, SCRIPT_FAIL, EPIPE, 0 },
        { SCRIPT_SEND, SCRIPT_FAIL, ECONNRESET, 0 }, { SCRIPT_SEND, SCRIPT_FAIL, ENOBUFS, 0 },
        { SCRIPT_SEND, SCRIPT_SHORT, 1, 2 }, { SCRIPT_SEND, SCRIPT_SHORT, 4000, 1 },
        { SCRIPT_READ, SCRIPT_FAIL, EAGAIN, 0 }, { SCRIPT_READ, SCRIPT_FAIL, EIO, 0 },
        { SCRIPT_READ, SCRIPT_SHORT, 1, 1 }, { SCRIPT_READ, SCRIPT_ZERO, 0, 0 },
        { SCRIPT_WRITE, SCRIPT_FAIL, EAGAIN, 0 }, { SCRIPT_WRITE, SCRIPT_FAIL, EIO, 0 },
        { SCRIPT_WRITE, SCRIPT_SHORT, 1, 0 },
        { SCRIPT_SPLICE_IN, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_SPLICE_IN, SCRIPT_FAIL, EINVAL, 1 },
        { SCRIPT_SPLICE_IN, SCRIPT_FAIL, ECONNRESET, 0 }, { SCRIPT_SPLICE_IN, SCRIPT_FAIL, ENOMEM, 0 },
        { SCRIPT_SPLICE_IN, SCRIPT_SHORT, 1, 2 }, { SCRIPT_SPLICE_IN, SCRIPT_ZERO, 0, 1 },
        { SCRIPT_SPLICE_OUT, SCRIPT_FAIL, EAGAIN, 1 }, { SCRIPT_SPLICE_OUT, SCRIPT_FAIL, EPIPE, 0 },
        { SCRIPT_SPLICE_OUT, SCRIPT_FAIL, ENOMEM, 0 }, { SCRIPT_SPLICE_OUT, SCRIPT_SHORT, 1, 2 },
        { SCRIPT_SPLICE_OUT, SCRIPT_ZERO, 0, 0 },
        { SCRIPT_PIPE, SCRIPT_FAIL, EMFILE, 1 }, { SCRIPT_PIPE, SCRIPT_FAIL, ENOMEM, 1 },
        { SCRIPT_PIPE_SIZE, SCRIPT_FAIL, EBADF, 1 }, { SCRIPT_PIPE_RESIZE, SCRIPT_FAIL, EPERM, 1 },
        { SCRIPT_PIPE_RESIZE, SCRIPT_FAIL, ENOMEM, 1 },
        { SCRIPT_UNSENT, SCRIPT_FAIL, EINVAL, 0 },
        { SCRIPT_POLLER_ADD, SCRIPT_FAIL, ENOMEM, 0 }, { SCRIPT_POLLER_ADD, SCRIPT_FAIL, ENOSPC, 0 },
        { SCRIPT_POLLER_WATCH, SCRIPT_FAIL, ENOMEM, 0 }, { SCRIPT_POLLER_WATCH, SCRIPT_FAIL, ENOENT, 0 },
        { SCRIPT_POLLER_UNWATCH, SCRIPT_FAIL, ENOMEM, 1 },
        { SCRIPT_POLLER_REMOVE, SCRIPT_FAIL, ENOENT, 1 },
};

#define FAULTS_N (sizeof(faults) / sizeof(faults[0]))

struct cell {
        const struct kind *kind;
        const struct scenario *scenario;
        char name[64];
};

static void faults_report(const struct cell *cell, const struct fault *fault, uint64_t nth, const char *what) {
        if (!fault)
                fail_msg("%s, without a fault: %s", cell->name, what);
        fail_msg("%s, %s number %lu (0: each) %s %d: %s", cell->name, script_call_name(fault->call),
                 (unsigned long)nth, fault->what == SCRIPT_FAIL ? "fails with errno" : "cut to", fault->value, what);
}

/* Whether the session has to come through.  An accepted socket that refuses an option is turned away, by design. */
static int faults_soft(const struct cell *cell, const struct fault *fault) {
        if (cell->scenario->client_end == FLOW_RESET || cell->scenario->server_end == FLOW_RESET)
                return 0;
        /* Where there is a look first, EAGAIN after that is no answer. */
        if ((cell->scenario->no_pipes || cell->scenario->preface) && fault->call == SCRIPT_RECV &&
            fault->what == SCRIPT_FAIL)
                return 0;
        return fault->soft && !(fault->call == SCRIPT_SETSOCKOPT && cell->kind->front_unix);
}

static void faults_one(const struct cell *cell, const struct fault *fault, uint64_t nth) {
        struct run run;
        int whole;

        run_start(&run, cell->kind, cell->scenario);
        script_rule(fault->call, fault->what, fault->value, nth);
        whole = run_all(&run);
        if (!run.wrong && nth && !whole && faults_soft(cell, fault))
                run.wrong = "the session did not come through";
        if (run.wrong)
                faults_report(cell, fault, nth, run.wrong);
}

/* The first calls one by one, then some of the rest, spread evenly, and the last. */
static uint64_t faults_next(uint64_t nth, uint64_t count, uint64_t first, uint64_t rest) {
        uint64_t step = count > first + rest ? (count - first) / rest : 1;

        if (nth < first || step < 2)
                return nth + 1;
        return nth < count && nth + step > count ? count : nth + step;
}

static void every_call_fails(void **state) {
        const struct cell *cell = *state;
        const char *all = getenv("FAULTS_ALL");
        uint64_t counted[SCRIPT_CALLS];
        struct run run;
        unsigned runs = 0;

        run_start(&run, cell->kind, cell->scenario);
        if (!run_all(&run))
                run.wrong = run.wrong ? run.wrong : "the session did not come through";
        if (run.wrong)
                faults_report(cell, NULL, 0, run.wrong);
        memcpy(counted, run.counted, sizeof(counted));

        for (size_t i = 0; i < FAULTS_N; i++) {
                uint64_t count = counted[faults[i].call];

                /* A call that an undisturbed run makes not, a disturbed one may: it can fail each time. */
                for (uint64_t nth = faults[i].soft == 2; nth <= count; runs++) {
                        faults_one(cell, &faults[i], nth);
                        nth = faults_next(nth, count, all ? 1000 : 4, 3);
                }
        }
        print_message("# %s: %u runs\n", cell->name, runs);
}

/* FAULTS_ONE="CELL:CALL:WHAT:VALUE:NTH", all numbers: one run, for a debugger. */
static int faults_debug(const struct cell *cells, const char *what) {
        unsigned cell, call, how, value, nth;
        struct run run;
        int whole;

        if (sscanf(what, "%u:%u:%u:%u:%u", &cell, &call, &how, &value, &nth) != 5)
                return 2;
        run_start(&run, cells[cell].kind, cells[cell].scenario);
        script_rule(call, how, (int)value, nth);
        whole = run_all(&run);
        printf("%s, %s: %s, %s\n", cells[cell].name, script_call_name(call), whole ? "whole" : "not whole",
               run.wrong ? run.wrong : "nothing wrong");
        for (unsigned i = 0; i < SCRIPT_CALLS; i++)
                printf("%s %lu\n", script_call_name(i), (unsigned long)run.counted[i]);
        return run.wrong != NULL;
}

/* Built once for each kind, FAULTS_KIND: most of the time is waiting, which programs can do at once. */
int main(void) {
        static const struct kind *const kind = &run_kinds[FAULTS_KIND];
        static struct cell cells[64];
        static struct CMUnitTest tests[64];
        size_t n = 0;

        for (size_t i = 0; i < RUN_SCENARIOS; i++) {
                if (run_scenarios[i].backlog && !kind->server_unix)
                        continue;
                /* A TCP client is known already.  And each run makes a table: one kind will do. */
                if (run_scenarios[i].balance == CONF_SOURCE && !(kind->front_unix && kind->server_unix))
                        continue;
                cells[n].kind = kind;
                cells[n].scenario = &run_scenarios[i];
                snprintf(cells[n].name, sizeof(cells[n].name), "%s, %s", kind->name, run_scenarios[i].name);
                tests[n] = (struct CMUnitTest){ cells[n].name, every_call_fails, NULL, NULL, &cells[n] };
                n++;
        }
        if (getenv("FAULTS_ONE"))
                return faults_debug(cells, getenv("FAULTS_ONE"));
        return _cmocka_run_group_tests("faults", tests, n, NULL, NULL);
}
