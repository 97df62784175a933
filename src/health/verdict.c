/* SPDX-License-Identifier: ISC */
#include "health/verdict.h"

struct verdict verdict_step(const struct conf_check *conf, struct verdict before, int ok) {
        enum server_check says = ok ? SERVER_CHECK_UP : SERVER_CHECK_DOWN;
        unsigned needed = ok ? conf->rise : conf->fall;

        if (before.check == says)
                return (struct verdict){ says, 0 };
        if (before.check == SERVER_CHECK_NONE || before.streak + 1 >= needed)
                return (struct verdict){ says, 0 };
        return (struct verdict){ before.check, before.streak + 1 };
}

const char *verdict_name(enum server_check check) {
        switch (check) {
        case SERVER_CHECK_UP:
                return "up";
        case SERVER_CHECK_DOWN:
                return "down";
        default:
                return "unchecked";
        }
}
