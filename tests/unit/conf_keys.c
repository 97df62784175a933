/* SPDX-License-Identifier: ISC */
/* Writes every key that the config knows, one a line, for conf-man.sh. */
#include "conf/conf.h"

static void print_key(const char *key, void *arg) {
        (void)arg;
        puts(key);
}

int main(void) {
        conf_each_key(print_key, NULL);
        return fflush(stdout) != 0;
}
