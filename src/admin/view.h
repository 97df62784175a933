/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_VIEW_H
#define SPLICED_ADMIN_VIEW_H

#include <jansson.h>

#include "admin/api.h"
#include "admin/filter.h"

/*
 * What there is to see, as CONFIG.md's "Admin API" lists it.  Each returns a new object, which is the caller's, or NULL
 * where memory ran out.
 */
json_t *view_status(struct api *api);

/* Likewise: {"frontends": […]} and so on. */
json_t *view_frontends(struct api *api);
json_t *view_listeners(struct api *api);
json_t *view_backends(struct api *api);

/* {"ready": …, "waiting": […]}: whether it serves, and checked servers ("backend/server") without a first check. */
json_t *view_ready(struct api *api);

/* {"config": "…"}, as -T prints it. */
json_t *view_config(struct api *api);

/* One server, as in the list. */
json_t *view_server(struct api *api, struct backend *backend, const struct backend_look *look);

/* One frontend: by its number in the config. */
json_t *view_frontend(struct api *api, size_t number);

/* Sessions, which can be many: streamed, by their ids.  Answers the request; returns as the api's functions. */
int view_sessions(struct http_request *request);

/* Times as RFC 3339; null for 0. */
json_t *view_time(int64_t wall_ms);

#endif
