/* SPDX-License-Identifier: ISC */
#include "balance/server.h"

#include "balance/outlier.h"

void server_file(struct server_record *record, const struct conf_server *conf) {
        uint16_t weight = conf->weight && record->srv_weight ? record->srv_weight : conf->weight;

        if (record->file_weight != weight)
                record->file_weight = record->weight = weight;
        if (record->file_disabled != conf->disabled) {
                record->file_disabled = (uint8_t)conf->disabled;
                record->admin = conf->disabled ? SERVER_MAINT : SERVER_READY;
        }
        record->backup = conf->backup || record->srv_backup;
}

enum server_state server_state(const struct server_record *record, int checked, int64_t now_ms) {
        if (record->admin == SERVER_MAINT)
                return SERVER_STATE_MAINT;
        if (record->admin == SERVER_DRAIN)
                return SERVER_STATE_DRAIN;
        if (record->addr.kind == ADDR_NONE || (checked && record->check == SERVER_CHECK_DOWN))
                return SERVER_STATE_DOWN;
        if (record->ejected_until_ms > now_ms)
                return SERVER_STATE_EJECTED;
        return checked && record->check == SERVER_CHECK_UP ? SERVER_STATE_UP : SERVER_STATE_UNCHECKED;
}

int server_state_usable(enum server_state state) {
        return state == SERVER_STATE_UP || state == SERVER_STATE_UNCHECKED;
}

void server_forget_checks(struct server_record *record) {
        record->check = SERVER_CHECK_NONE;
        record->check_last = SERVER_RESULT_NONE;
        record->check_streak = 0;
        record->check_wall_ms = 0;
        record->check_detail[0] = '\0';
}

void server_forget_health(struct server_record *record) {
        server_forget_checks(record);
        outlier_forget(record);
}

const char *server_state_name(enum server_state state) {
        static const char *const names[SERVER_STATES] = {
                [SERVER_STATE_UP] = "up", [SERVER_STATE_DOWN] = "down", [SERVER_STATE_DRAIN] = "drain",
                [SERVER_STATE_MAINT] = "maint", [SERVER_STATE_EJECTED] = "ejected",
                [SERVER_STATE_UNCHECKED] = "unchecked",
        };

        return (unsigned)state < SERVER_STATES ? names[state] : "?";
}
