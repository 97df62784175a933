/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_OUTLIER_H
#define SPLICED_BALANCE_OUTLIER_H

#include <stdatomic.h>
#include <stdint.h>

#include "balance/server.h"
#include "conf/conf.h"

/*
 * Outliers: live traffic as the check of a server.  So many failures in a row eject it for a time, which doubles with
 * each ejection, up to eject-max; it begins anew once the server has been in use for as long as that without a failure.
 * What ends an ejection is the clock alone: server_state() compares.
 *
 * Pure: records, numbers and the time that the caller gives.  Under the lock of the backend, but for successes.
 * The limit counts the servers that would be in use: neither down, drained, in maintenance nor without a weight.  So
 * a backend whose checks have taken out one half is not robbed of the other.
 */

/* Servers of a backend, for the limit. */
struct outlier_count {
        size_t in;                      /* usable or ejected */
        size_t ejected;
};

/* A success: failures count from zero.  Any thread, without the lock; mostly that is one load. */
static inline void outlier_succeeded(struct server_record *record) {
        if (atomic_load_explicit(&record->failures, memory_order_relaxed))
                atomic_store_explicit(&record->failures, 0, memory_order_relaxed);
}

/* Outcomes of outlier_failed(). */
#define OUTLIER_COUNTED 0               /* noted, or not even that while it is ejected anyway */
#define OUTLIER_DUE 1                   /* so many in a row: to be ejected if the limit allows it; counts from zero */

/* A failure. */
int outlier_failed(const struct conf_outlier *conf, struct server_record *record, int64_t now_ms);

/* Adds a server in that state and with that weight. */
void outlier_add(struct outlier_count *count, enum server_state state, unsigned weight);

/* Whether one of these may be ejected besides those that are.  Rounded down: 50 % of one server are none. */
int outlier_allows(const struct conf_outlier *conf, const struct outlier_count *count);

/* Ejects.  Returns for how long, in ms. */
int64_t outlier_eject(const struct conf_outlier *conf, struct server_record *record, int64_t now_ms);

/* Forgets all failures and ejections: of a server that is another now, or where nobody is ejected any more. */
void outlier_forget(struct server_record *record);

#endif
