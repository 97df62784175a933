/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_SAMPLE_H
#define SPLICED_CTL_SAMPLE_H

#include "ctl/call.h"

/*
 * What the daemon is doing at one moment, and how fast things went since the moment before: what `top` shows.
 */

struct sample {
        double at_s;            /* CLOCK_MONOTONIC */
        json_t *status, *frontends, *backends, *sessions;       /* owned; the last three are arrays */
};

/* Asks the daemon.  Returns as call_request(); CALL_BROKEN for a refusal, too: *answer tells more, *sample is empty. */
int sample_take(struct call *call, struct sample *sample, struct call_answer *answer);
void sample_free(struct sample *sample);

/* How much a counter grew each second between two of the same object; 0 where there is no former one. */
double sample_rate(const json_t *former, const json_t *now, const char *key, double seconds);

/* The object of an array whose `key` is that text, or NULL. */
const json_t *sample_find(const json_t *array, const char *key, const char *text);

/* What sessions may be sorted by: most first. */
enum sample_order { SAMPLE_BY_BYTES, SAMPLE_BY_AGE };

/*
 * The `most` first sessions in that order, as borrowed objects in list.  Returns how many there are, at most `most`.
 */
size_t sample_sessions(const struct sample *sample, enum sample_order order, const json_t **list, size_t most);

#endif
