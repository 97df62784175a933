/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_CHANGE_H
#define SPLICED_ADMIN_CHANGE_H

#include "admin/http.h"

/*
 * What can be changed at run time.  A body is judged as a whole before anything is changed, and each change is logged
 * with who made it.  All answer the request and return as the api's functions do.
 */

/* PATCH of a server: state, weight, address. */
int change_server(struct http_request *request, const char *backend, const char *server);

/* PATCH of a frontend: state. */
int change_frontend(struct http_request *request, const char *frontend);

/* Ends the session with that id; NULL: those that the query means. */
int change_kill(struct http_request *request, const char *id);

/* Asks the keeper, and has the request wait for what it says: change_answered() passes that on. */
int change_ask(struct http_request *request, enum control_kind kind);
int change_answered(struct http_request *request);

#endif
