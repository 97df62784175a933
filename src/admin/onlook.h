/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_ONLOOK_H
#define SPLICED_ADMIN_ONLOOK_H

#include "admin/http.h"

/*
 * Onlookers: `GET /v1/sessions/ID/tap` with "Upgrade: spliced-tap" turns its connection into a stream of what passes
 * in that session (session/tap.h), as frames: a head of ONLOOK_HEAD bytes, numbers in network order, and for 'b' the
 * bytes.
 *
 *   byte 0       'b': bytes; 'l': so many were lost before what follows; 'e': the session is over
 *   byte 1       'c': they came from the client; 's': from the server
 *   bytes 4-7    how many
 *   bytes 8-15   microseconds since the epoch
 *
 * A stream that ends without an 'e' ended with the worker, and the session goes on.  Only root and the daemon's user
 * may look on, TAP_MAX at once.  Each onlooker has a thread of its own, which may wait for it; everything here is
 * called in the admin thread.
 */
#define ONLOOK_HEAD 16

struct api;
struct onlook;

/* Answers the request. */
int onlook_serve(struct http_request *request, const char *id);

/* Gives back the connections of those that have ended.  Now and then. */
void onlook_tick(struct api *api);

/* Ends all: before the HTTP library ends, or the process. */
void onlook_stop(struct api *api);

#endif
