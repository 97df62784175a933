/* SPDX-License-Identifier: ISC */
/* A program that does nothing, whatever its arguments: what an upgrade must not wait for. */
#include <unistd.h>

int main(void) {
        for (;;)
                pause();
}
