/* SPDX-License-Identifier: ISC */
#include "ctl/sample.h"

#include <string.h>
#include <time.h>

#include "ctl/show.h"

/* One list; an answer that is none of the kind leaves an empty one. */
static int sample_list(struct call *call, const char *path, const char *key, json_t **list,
                       struct call_answer *answer) {
        int r = call_request(call, "GET", path, NULL, answer);

        if (r == 0 && answer->status != 200)
                r = CALL_BROKEN;
        if (r != 0)
                return r;
        *list = key ? json_incref(json_object_get(answer->json, key)) : json_incref(answer->json);
        call_answer_free(answer);
        return 0;
}

int sample_take(struct call *call, struct sample *sample, struct call_answer *answer) {
        struct timespec now;
        int r;

        *sample = (struct sample){ 0 };
        *answer = (struct call_answer){ 0 };
        r = sample_list(call, "/v1/status", NULL, &sample->status, answer);
        if (r == 0)
                r = sample_list(call, "/v1/frontends", "frontends", &sample->frontends, answer);
        if (r == 0)
                r = sample_list(call, "/v1/backends", "backends", &sample->backends, answer);
        if (r == 0)
                r = sample_list(call, "/v1/sessions", "sessions", &sample->sessions, answer);
        clock_gettime(CLOCK_MONOTONIC, &now);
        sample->at_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
        if (r != 0)
                sample_free(sample);
        return r;
}

void sample_free(struct sample *sample) {
        json_decref(sample->status);
        json_decref(sample->frontends);
        json_decref(sample->backends);
        json_decref(sample->sessions);
        *sample = (struct sample){ 0 };
}

double sample_rate(const json_t *former, const json_t *now, const char *key, double seconds) {
        double grown = (double)(show_number(now, key) - show_number(former, key));

        /* A counter that shrank began anew. */
        return former && seconds > 0 && grown > 0 ? grown / seconds : 0;
}

const json_t *sample_find(const json_t *array, const char *key, const char *text) {
        const json_t *object;
        size_t i;

        json_array_foreach(array, i, object)
                if (strcmp(show_text(object, key), text) == 0)
                        return object;
        return NULL;
}

static int64_t sample_weight(const json_t *session, enum sample_order order) {
        if (order == SAMPLE_BY_AGE)
                return show_number(session, "age_ms");
        return show_number(session, "bytes_up") + show_number(session, "bytes_down");
}

/* By insertion: `most` is small, and most sessions do not get into the list at all. */
size_t sample_sessions(const struct sample *sample, enum sample_order order, const json_t **list, size_t most) {
        const json_t *session;
        size_t n = 0, i;

        json_array_foreach(sample->sessions, i, session) {
                int64_t weight = sample_weight(session, order);
                size_t at = n;

                if (n == most && (most == 0 || sample_weight(list[n - 1], order) >= weight))
                        continue;
                if (n == most)
                        at = --n;
                for (; at > 0 && sample_weight(list[at - 1], order) < weight; at--)
                        list[at] = list[at - 1];
                list[at] = session;
                n++;
        }
        return n;
}
