/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_PAGE_H
#define SPLICED_ADMIN_PAGE_H

#include <stdint.h>
#include <stdio.h>

#include "admin/http.h"

/*
 * The status page: page.html, which the build turns into page.inc, with what there is to see filled in where it says
 * {{status}} and the like.  So it is whole without JavaScript; with it, it lives on /v1/status, /v1/frontends and
 * /v1/backends.  Its own style and script are let through by a nonce, and nothing else is.
 */

/* Answers the request with it; returns as the api's functions. */
int page_serve(struct http_request *request);

/* Writes s with all that means something in HTML escaped. */
void page_escape(FILE *out, const char *s);

/* Writes an amount of bytes for people: "999 B", "1.2 MB".  buf has PAGE_BYTES bytes.  Returns buf. */
#define PAGE_BYTES 16
char *page_bytes(uint64_t n, char buf[static PAGE_BYTES]);

#endif
