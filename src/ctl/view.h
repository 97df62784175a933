/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_VIEW_H
#define SPLICED_CTL_VIEW_H

#include "ctl/sample.h"
#include "ctl/table.h"

/*
 * The lines that `top` shows, 80 columns wide: made from two samples, without a terminal, so that a pipe and a
 * test see the same.
 */

enum view_kind { VIEW_TITLE, VIEW_FRONTEND, VIEW_BACKEND, VIEW_SERVER, VIEW_SESSION };

#define VIEW_TEXT 400
#define VIEW_NAME 200
#define VIEW_SESSIONS 50                /* as many are listed */

struct view_line {
        enum view_kind kind;
        enum table_color color;
        char text[VIEW_TEXT];           /* UTF-8 without control characters */
        char name[VIEW_NAME];           /* what a key acts on: NAME, BACKEND/NAME or the session's id */
};

struct view {
        char head[2][VIEW_TEXT];        /* the daemon as a whole */
        struct view_line *lines;        /* owned */
        size_t n;
};

/* Fills *view.  former: NULL for the first sample, which knows no rates.  Returns 0 or -ENOMEM. */
int view_make(struct view *view, const struct sample *former, const struct sample *now, enum sample_order order);
void view_free(struct view *view);

#endif
