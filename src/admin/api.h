/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_API_H
#define SPLICED_ADMIN_API_H

#include "admin/http.h"
#include "session/counters.h"
#include "worker/worker.h"

/* The routes of the API.  Everything runs in the admin thread. */

struct onlook;

struct api {
        struct worker_view view;
        uint32_t *frontends;            /* slots of conf->frontends, in their order; owned */
        struct onlook *onlookers;       /* onlook.h */
        uint32_t listener_at;           /* where the search for a listener's slot begins */
};

/* Makes one.  *out is owned by the caller until api_free().  Returns 0 or -errno. */
int api_new(struct api **out, const struct worker_view *view);

/* Frees.  NULL is fine. */
void api_free(struct api *api);

/* Answers a request whose body is complete, or has it wait.  Returns 0 where its connection has to be closed. */
int api_serve(struct http_request *request);

/* The keeper has answered a request that waits for that, or has not for too long. */
int api_answered(struct http_request *request);

/*
 * Has the loops count the bytes of their sessions, and with `rows` write rows of them, and waits for that, a moment at
 * most.  Returns 0, or -ETIMEDOUT where a loop stands still: then the bytes are those of before, and there are no rows.
 */
int api_survey(struct api *api, int rows);

/* Whether the worker has finished its start, and whether it drains. */
int api_is_ready(const struct api *api);
int api_is_draining(const struct api *api);

#endif
