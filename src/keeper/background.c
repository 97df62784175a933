/* SPDX-License-Identifier: ISC */
#include "keeper/background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static void background_wait(int from, int failure) {
        unsigned char status;
        ssize_t n;

        do
                n = read(from, &status, 1);
        while (n < 0 && errno == EINTR);
        _exit(n == 1 ? status : failure);
}

int background_enter(int *report, int failure) {
        int ends[2];
        pid_t pid;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid = fork();
        if (pid < 0) {
                int r = -errno;

                close(ends[0]);
                close(ends[1]);
                return r;
        }
        if (pid > 0) {
                close(ends[1]);
                background_wait(ends[0], failure);
        }
        close(ends[0]);
        setsid();
        if (chdir("/") < 0) {
                int r = -errno;

                close(ends[1]);
                return r;
        }
        *report = ends[1];
        return 0;
}

void background_report(int *report, int status) {
        unsigned char byte = (unsigned char)status;
        ssize_t n;
        int null;

        if (*report < 0)
                return;
        if (status == 0) {
                null = open("/dev/null", O_RDWR | O_CLOEXEC);
                if (null >= 0) {
                        dup2(null, STDIN_FILENO);
                        dup2(null, STDOUT_FILENO);
                        dup2(null, STDERR_FILENO);
                        if (null > STDERR_FILENO)
                                close(null);
                }
        }
        n = write(*report, &byte, 1);
        (void)n; /* nobody waits any more: nobody is misled either */
        close(*report);
        *report = -1;
}
