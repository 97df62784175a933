/* SPDX-License-Identifier: ISC */
#include "ctl/top.h"

#include <errno.h>
#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/change.h"
#include "ctl/view.h"

#define TOP_PERIOD_MS 1000
#define TOP_HEAD 3              /* lines above the list */

struct top {
        struct call *call;
        struct sample samples[2];       /* the former and the present one */
        struct view view;
        enum sample_order order;
        char chosen[VIEW_NAME];         /* what the cursor is on, by name: it stays there when lines move */
        enum view_kind chosen_kind;
        size_t cursor, first;           /* lines of the view */
        char message[CALL_WHY + 64];
        double due_s;                   /* when the next sample is, on CLOCK_MONOTONIC */
};

static double top_now_s(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Takes a new sample where one is due.  While no daemon answers the last one stays on the screen. */
static int top_update(struct top *top) {
        struct call_answer answer;
        struct sample now;
        int r;

        if (top_now_s() < top->due_s)
                return 0;
        r = sample_take(top->call, &now, &answer);
        top->due_s = top_now_s() + TOP_PERIOD_MS / 1000.0;
        if (r != 0) {
                snprintf(top->message, sizeof(top->message), "no answer: %s", top->call->why);
                call_answer_free(&answer);
                return r;
        }
        sample_free(&top->samples[0]);
        top->samples[0] = top->samples[1];
        top->samples[1] = now;
        return 0;
}

static int top_make(struct top *top) {
        view_free(&top->view);
        return view_make(&top->view, top->samples[0].status ? &top->samples[0] : NULL, &top->samples[1], top->order);
}

/* One look for those who read no screen: two samples, since rates need a while to be seen. */
static int top_snapshot(struct top *top) {
        struct call_answer answer;

        for (int i = 0; i < 2; i++) {
                int r = sample_take(top->call, &top->samples[i], &answer);

                if (r != 0) {
                        r = call_complain(top->call, answer.status ? 0 : r, &answer);
                        call_answer_free(&answer);
                        return r;
                }
                if (i == 0)
                        usleep(TOP_PERIOD_MS * 1000);
        }
        if (top_make(top) < 0) {
                fprintf(stderr, "splicectl: %s\n", strerror(ENOMEM));
                return 1;
        }
        printf("%s\n%s\n", top->view.head[0], top->view.head[1]);
        for (size_t i = 0; i < top->view.n; i++)
                printf("%s%s\n", top->view.lines[i].kind == VIEW_TITLE ? "\n" : "", top->view.lines[i].text);
        return 0;
}

/* Puts the cursor back on what it was on, or on the next line that can be chosen. */
static void top_follow(struct top *top) {
        const struct view *view = &top->view;

        for (size_t i = 0; i < view->n; i++)
                if (view->lines[i].kind == top->chosen_kind && strcmp(view->lines[i].name, top->chosen) == 0 &&
                    view->lines[i].kind != VIEW_TITLE)
                        top->cursor = i;
        if (top->cursor >= view->n)
                top->cursor = view->n ? view->n - 1 : 0;
        while (top->cursor + 1 < view->n && view->lines[top->cursor].kind == VIEW_TITLE)
                top->cursor++;
}

static void top_choose(struct top *top) {
        if (top->cursor < top->view.n) {
                top->chosen_kind = top->view.lines[top->cursor].kind;
                snprintf(top->chosen, sizeof(top->chosen), "%s", top->view.lines[top->cursor].name);
        }
}

static void top_move(struct top *top, int step) {
        size_t at = top->cursor;

        while ((step < 0 && at > 0) || (step > 0 && at + 1 < top->view.n)) {
                at = step < 0 ? at - 1 : at + 1;
                if (top->view.lines[at].kind != VIEW_TITLE) {
                        top->cursor = at;
                        break;
                }
        }
        top_choose(top);
}

static int top_attribute(const struct top *top, size_t i) {
        const struct view_line *line = &top->view.lines[i];
        chtype attribute = A_NORMAL;

        if (line->kind == VIEW_TITLE)
                attribute = A_BOLD;
        else if (has_colors())
                attribute = (chtype)COLOR_PAIR(line->color);
        if (i == top->cursor && line->kind != VIEW_TITLE)
                attribute |= A_REVERSE;
        return (int)attribute;
}

static void top_draw(struct top *top) {
        size_t room = LINES > TOP_HEAD + 2 ? (size_t)(LINES - TOP_HEAD - 2) : 1;

        if (top->cursor < top->first)
                top->first = top->cursor;
        if (top->cursor >= top->first + room)
                top->first = top->cursor - room + 1;
        /* The titles above the first line that can be chosen are seen too. */
        if (top->first == 1)
                top->first = 0;
        erase();
        mvaddnstr(0, 0, top->view.head[0], COLS);
        mvaddnstr(1, 0, top->view.head[1], COLS);
        for (size_t i = top->first; i < top->view.n && i < top->first + room; i++) {
                attrset(top_attribute(top, i));
                mvaddnstr(TOP_HEAD + (int)(i - top->first), 0, top->view.lines[i].text, COLS);
        }
        attrset(A_NORMAL);
        mvaddnstr(LINES - 2, 0, top->message, COLS);
        attrset(A_REVERSE);
        mvaddnstr(LINES - 1, 0, " arrows choose  d drain  r ready  m maint  p pause  k kill  s sort  q quit ", COLS);
        attrset(A_NORMAL);
        refresh();
}

/* Asks; 1 for yes. */
static int top_confirm(struct top *top, const char *what) {
        int key;

        snprintf(top->message, sizeof(top->message), "%s %s? (y/n)", what, top->chosen);
        top_draw(top);
        timeout(-1);
        key = getch();
        top->message[0] = '\0';
        return key == 'y' || key == 'Y';
}

/* Runs a change with what it says on standard error kept off the screen and shown as the message instead. */
static void top_apply(struct top *top, int key) {
        int saved = dup(STDERR_FILENO), pipes[2], r;
        ssize_t n = 0;

        if (saved < 0 || pipe(pipes) < 0) {
                snprintf(top->message, sizeof(top->message), "%s", strerror(errno));
                if (saved >= 0)
                        close(saved);
                return;
        }
        dup2(pipes[1], STDERR_FILENO);
        close(pipes[1]);
        if (key == 'k')
                r = change_kill(top->call, top->chosen);
        else if (top->chosen_kind == VIEW_FRONTEND)
                r = change_frontend(top->call, top->chosen, key == 'p' ? "paused" : "ready");
        else
                r = change_server(top->call, top->chosen, "state",
                                  json_string(key == 'd' ? "drain" : key == 'm' ? "maint" : "ready"));
        dup2(saved, STDERR_FILENO);
        close(saved);
        snprintf(top->message, sizeof(top->message), "done");
        if (r != 0)
                n = read(pipes[0], top->message, sizeof(top->message) - 1);
        if (n > 0)
                top->message[n] = '\0';
        top->message[strcspn(top->message, "\n")] = '\0';
        close(pipes[0]);
}

static void top_change(struct top *top, int key) {
        static const struct { int key; enum view_kind kind; const char *what; } changes[] = {
                { 'd', VIEW_SERVER, "drain" }, { 'r', VIEW_SERVER, "make ready" }, { 'm', VIEW_SERVER, "maint" },
                { 'p', VIEW_FRONTEND, "pause" }, { 'r', VIEW_FRONTEND, "make ready" }, { 'k', VIEW_SESSION, "kill" },
        };

        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
                if (changes[i].key == key && changes[i].kind == top->chosen_kind) {
                        if (top_confirm(top, changes[i].what))
                                top_apply(top, key);
                        return;
                }
        snprintf(top->message, sizeof(top->message), "%s",
                 "d, r and m are for servers, p and r for frontends, k for sessions");
}

/* Returns 0 where the user wants to go. */
static int top_key(struct top *top, int key) {
        switch (key) {
        case 'q':
                return 0;
        case KEY_UP:
                top_move(top, -1);
                break;
        case KEY_DOWN:
                top_move(top, 1);
                break;
        case KEY_PPAGE:
        case KEY_NPAGE:
                for (int i = 0; i < 10; i++)
                        top_move(top, key == KEY_PPAGE ? -1 : 1);
                break;
        case 's':
                top->order = top->order == SAMPLE_BY_BYTES ? SAMPLE_BY_AGE : SAMPLE_BY_BYTES;
                break;
        case 'd':
        case 'r':
        case 'm':
        case 'p':
        case 'k':
                top->message[0] = '\0';
                top_change(top, key);
                break;
        default:
                break;
        }
        return 1;
}

static int top_screen(struct top *top) {
        int key, r;

        initscr();
        cbreak();
        noecho();
        keypad(stdscr, TRUE);
        curs_set(0);
        if (has_colors()) {
                start_color();
                use_default_colors();
                init_pair(TABLE_GOOD, COLOR_GREEN, -1);
                init_pair(TABLE_BAD, COLOR_RED, -1);
                init_pair(TABLE_WARN, COLOR_YELLOW, -1);
        }
        do {
                r = top_update(top) < 0 ? -ENOMEM : top->samples[1].status ? top_make(top) : 0;
                if (r == 0) {
                        top_follow(top);
                        top_choose(top);
                        top_draw(top);
                        timeout((int)((top->due_s - top_now_s()) * 1000) + 1);
                        key = getch();
                        if (key != ERR)
                                r = !top_key(top, key);
                }
        } while (r == 0);
        endwin();
        return r < 0 ? r : 0;
}

int top_run(struct call *call) {
        struct top top = { .call = call };
        int r;

        setlocale(LC_CTYPE, "");
        if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
                r = top_snapshot(&top);
        else {
                struct call_answer answer;

                /* With nobody there, nothing is to be shown: say so before the screen is taken. */
                r = call_get(call, "/v1/status", &answer);
                if (r == 0) {
                        call_answer_free(&answer);
                        r = top_screen(&top) < 0 ? 1 : 0;
                }
        }
        view_free(&top.view);
        sample_free(&top.samples[0]);
        sample_free(&top.samples[1]);
        return r;
}
