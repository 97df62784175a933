/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_SHOW_H
#define SPLICED_CTL_SHOW_H

#include "ctl/call.h"
#include "ctl/table.h"

/*
 * What the daemon says, as tables: `status` and `show …`.
 */

/* How output is wanted. */
struct show_options {
        int json;               /* the API's body, as it came */
        size_t width;
        int colored;
        const char *by, *value; /* of sessions only those of that server, frontend or source; NULL: all */
};

/* The daemon as a whole.  Returns the exit status; reasons are on standard error. */
int show_status(struct call *call, const struct show_options *options);

/* frontends, listeners, backends, servers, sessions or config: `what` of show_things.  Returns the exit status. */
int show_list(struct call *call, const char *what, const struct show_options *options);

/* The words that show_list() knows, NULL at the end. */
extern const char *const show_things[];

/* GET of a path whose body goes to standard output as it is.  Returns the exit status. */
int show_body(struct call *call, const char *path);

/* The colour of a state: of a server, a frontend or the daemon. */
enum table_color show_state_color(const char *state);

/* Whether a server takes sessions, by its state: 1 or 0. */
int show_usable(const json_t *server);

/* Members of a JSON object: a string or "-", a number or 0. */
const char *show_text(const json_t *object, const char *key);
int64_t show_number(const json_t *object, const char *key);

#endif
