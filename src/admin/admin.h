/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_ADMIN_H
#define SPLICED_ADMIN_ADMIN_H

#include "worker/worker.h"

/*
 * The admin thread: one beside the event loops, which answers who comes by the admin's listeners.  It reads what the
 * loops leave for it (session/survey.h, session/counters.h) and never waits for a lock that they hold for
 * long.  The listeners are the arena's: a worker that ends leaves who waits there to the next.
 *
 *   admin.c    the thread
 *   http.c     connections, requests, answers: libmicrohttpd, and nobody else sees it
 *   gate.c     who may be connected
 *   api.c      the routes
 *   view.c     what there is to see, as JSON; metrics.c as Prometheus wants it; page.c as a page
 *   change.c   what can be changed
 *   onlook.c   what passes in a session, to those who look on; each has a thread of its own
 */

extern const struct worker_admin admin_worker;

#endif
