/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_FILTER_H
#define SPLICED_ADMIN_FILTER_H

#include "admin/http.h"
#include "session/survey.h"

/*
 * Which sessions are meant, as a query says: ?frontend=F, ?server=B/N, ?source=NET (10.0.0.0/8, 2001:db8::/32, one
 * address, or unix).  Where several are given, all have to fit.
 */
struct filter {
        uint64_t id;                    /* 0: any */
        int given;                      /* something is */
        uint8_t has_source;
        uint32_t frontend;              /* slot, or ARENA_NONE: any */
        uint32_t backend;               /* the same */
        const char *server;             /* its name, for it may have several slots; NULL: any */
        uint16_t family;                /* of the source */
        uint8_t prefix;
        struct in6_addr network;        /* an IPv4 one in its first four bytes */
        const struct env_shared *shared;
        const char *why;                /* what is wrong with the query; NULL: nothing */
        unsigned status;                /* and the status for that */
        char detail[256];
};

/* Reads a request's query.  Returns 1; or 0 where it is wrong, and then the request was answered into *r. */
int filter_query(struct filter *filter, struct http_request *request, int *r);

/* One that only the session with that id fits.  Returns 0 where the text is no id. */
int filter_id(struct filter *filter, const struct env_shared *shared, const char *text);

/* Whether a session is meant. */
int filter_fits(const struct filter *filter, const struct survey_row *row);

/* Parses a network.  Returns 0 or -EINVAL. */
int filter_network(struct filter *filter, const char *text);

#endif
