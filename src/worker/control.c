/* SPDX-License-Identifier: ISC */
#include "worker/control.h"

#include <unistd.h>

void control_signal(int eventfd) {
        uint64_t one = 1;
        ssize_t n = write(eventfd, &one, sizeof(one));

        (void)n; /* EAGAIN: a signal is pending already */
}

void control_clear(int eventfd) {
        uint64_t count;
        ssize_t n = read(eventfd, &count, sizeof(count));

        (void)n;
}
