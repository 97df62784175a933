/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_ADMIN_METRICS_H
#define SPLICED_ADMIN_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "session/counters.h"

/* Metrics in the text format of Prometheus. */

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Text that grows.  Pure; zeroed at first.  The caller frees buf. */
struct metrics_text {
        char *buf;
        size_t len, size;
        int failed;                     /* memory ran out: what is there is no whole */
};

/* Appends as printf does. */
void metrics_printf(struct metrics_text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Begins a family: its HELP and TYPE. */
void metrics_family(struct metrics_text *text, const char *name, const char *type, const char *help);

/* A label's value with what the format wants escaped.  buf has METRICS_LABEL bytes, enough for a name.  Returns buf. */
#define METRICS_LABEL 256
char *metrics_label(const char *value, char buf[static METRICS_LABEL]);

/* A histogram's lines.  labels without braces; bounds in ms. */
void metrics_histogram(struct metrics_text *text, const char *name, const char *labels, const int64_t *bounds,
                       const struct counters_histogram_sum *sum);

struct api;

/* All there are, as of the last survey.  text->buf is the caller's. */
void metrics_all(struct api *api, struct metrics_text *text);

#endif
