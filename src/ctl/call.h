/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_CALL_H
#define SPLICED_CTL_CALL_H

#include <jansson.h>

/*
 * Requests to the daemon's admin API over its socket, one after the other.  Made with libcurl.  A call that meets
 * the moment in which one worker gives way to the next is tried again: those that change nothing silently, the others
 * only where they have not been sent.
 */

#define CALL_WHY 256

struct call {
        void *curl;             /* libcurl's handle, owned */
        const char *socket;     /* path, borrowed */
        int json;               /* what the daemon answers to a change or a refused request is printed as it came */
        char why[CALL_WHY];     /* what went wrong in the last request, one line */
};

/* What came back.  To be freed by call_answer_free(). */
struct call_answer {
        long status;            /* of HTTP: 200, 404, … */
        char *text;             /* the body, owned, with a NUL after it; never NULL after success */
        size_t length;
        json_t *json;           /* the body where it is JSON, owned; else NULL */
};

/* Prepares requests to the socket at that path.  Returns 0 or -ENOMEM; call_deinit() is fine in either case. */
int call_init(struct call *call, const char *socket);
void call_deinit(struct call *call);

/* Whether nobody can listen at that path; says so on standard error. */
int call_impossible(const char *socket);

/* Outcomes of call_request() other than an answer; call->why says which. */
#define CALL_NO_DAEMON 1        /* nobody listens there, or the path is not to be reached */
#define CALL_BROKEN 2           /* the connection ended, or took too long */

/*
 * Sends a request and waits for the whole answer.  path: "/v1/status", its parts escaped by call_escape().
 * body: JSON to send, borrowed, or NULL.
 * Returns 0 with *answer filled, whatever its status; an outcome above; -ENOMEM.
 */
int call_request(struct call *call, const char *method, const char *path, const json_t *body,
                 struct call_answer *answer);

/* GET of something that has to be a JSON object: 0, else what to exit with, the reason on standard error. */
int call_get(struct call *call, const char *path, struct call_answer *answer);

/* Says on standard error why a request failed or was refused.  Returns the exit status: 1, or 2 for no daemon. */
int call_complain(const struct call *call, int r, const struct call_answer *answer);

/* The body of an answer, as it came, to standard output. */
void call_print(const struct call_answer *answer);

/* A part of a path, escaped.  Owned by the caller (free()); NULL where memory ran out. */
char *call_escape(struct call *call, const char *part);

/* Frees what an answer holds.  Idempotent. */
void call_answer_free(struct call_answer *answer);

#endif
