/* SPDX-License-Identifier: ISC */
#include "balance/outlier.h"

int outlier_failed(const struct conf_outlier *conf, struct server_record *record, int64_t now_ms) {
        int64_t since_ms = record->failed_ms;

        /* Sessions that it had before. */
        if (record->ejected_until_ms > now_ms)
                return OUTLIER_COUNTED;
        /* While it was ejected it had no occasion to fail. */
        if (record->ejected_until_ms > since_ms)
                since_ms = record->ejected_until_ms;
        if (now_ms - since_ms >= conf->eject_max)
                record->ejections = 0;
        record->failed_ms = now_ms;
        if (++record->failures < conf->failures)
                return OUTLIER_COUNTED;
        record->failures = 0;
        return OUTLIER_DUE;
}

void outlier_add(struct outlier_count *count, enum server_state state, unsigned weight) {
        if (!weight || (state != SERVER_STATE_EJECTED && !server_state_usable(state)))
                return;
        count->in++;
        count->ejected += state == SERVER_STATE_EJECTED;
}

int outlier_allows(const struct conf_outlier *conf, const struct outlier_count *count) {
        return count->ejected + 1 <= count->in * conf->max_ejected / 100;
}

int64_t outlier_eject(const struct conf_outlier *conf, struct server_record *record, int64_t now_ms) {
        int64_t ms = conf->eject;

        for (uint32_t i = 0; i < record->ejections && ms < conf->eject_max; i++)
                ms *= 2;
        if (ms > conf->eject_max)
                ms = conf->eject_max;
        record->ejections++;
        record->failures = 0;
        record->ejected_until_ms = now_ms + ms;
        return ms;
}

void outlier_forget(struct server_record *record) {
        record->failures = 0;
        record->ejections = 0;
        record->ejected_until_ms = 0;
        record->failed_ms = 0;
}
