/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_SERVER_H
#define SPLICED_BALANCE_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "conf/conf.h"
#include "net/addr.h"

/*
 * What must outlive a process of a server: its record in the arena, and what state that adds up to.  A configured
 * server has one record for each of its addresses (instance 0 always; a host name may have more), all with its name.
 *
 *   admin       what somebody said at run time, else the file: ready, drain, maint
 *   check       what active checks found
 *   ejected     what live traffic found, until a time
 *
 * All but the counters is guarded by the lock of the server's backend.
 */

#define SERVER_NAME_SIZE (CONF_NAME_MAX + 1)
#define SERVER_TEXT_SIZE 320
#define SERVER_DETAIL_SIZE 120
#define SERVER_NO_CONF UINT16_MAX

enum server_admin { SERVER_READY, SERVER_DRAIN, SERVER_MAINT };

/* Checks: nothing is known (counts as up), or what the first one said, and later `rise` or `fall` of them in a row. */
enum server_check { SERVER_CHECK_NONE, SERVER_CHECK_UP, SERVER_CHECK_DOWN };

/* The last single check. */
enum server_result { SERVER_RESULT_NONE, SERVER_RESULT_OK, SERVER_RESULT_FAILED };

/* What a sysadmin is shown. */
enum server_state {
        SERVER_STATE_UP,
        SERVER_STATE_DOWN,              /* by checks, or without an address */
        SERVER_STATE_DRAIN,
        SERVER_STATE_MAINT,
        SERVER_STATE_EJECTED,
        SERVER_STATE_UNCHECKED,         /* gets sessions; nothing is known of its health */
        SERVER_STATES
};

/* Record of slab ARENA_SERVERS: a slot.  Sessions name servers by slot, so these outlive the config. */
struct server_record {
        uint32_t used;                          /* the slot is some server's */
        uint32_t backend;                       /* slot of its backend */
        char name[SERVER_NAME_SIZE];
        char text[SERVER_TEXT_SIZE];            /* the address as written in the file */
        struct addr addr;                       /* in force; ADDR_NONE while there is none */
        struct addr former;                     /* while there is none: what it was before, for sessions that have it */
        uint16_t instance;                      /* among the addresses of one name */
        uint16_t first;                         /* slot of instance 0 */
        uint16_t srv_weight;                    /* what an SRV record says; 0: none does, and the file's counts */
        uint8_t srv_backup;                     /* an SRV record of lower preference */
        uint8_t asked;                          /* instance 0: the name was looked up, whatever came of it */
        uint16_t file_weight;                   /* what file or SRV record said last: where they change, that counts */
        uint16_t weight;                        /* in force */
        uint8_t file_disabled;
        uint8_t admin;                          /* enum server_admin, in force */
        uint8_t backup;
        uint8_t check;                          /* enum server_check */
        uint8_t check_last;                     /* enum server_result */
        uint8_t address_set;                    /* at run time */
        uint16_t check_streak;                  /* results in a row that say other than `check` */
        _Atomic uint32_t failures;              /* in a row, of live traffic */
        uint32_t ejections;                     /* in a row: each doubles the time */
        int64_t ejected_until_ms;               /* CLOCK_MONOTONIC; 0: it is not */
        int64_t failed_ms;                      /* when live traffic last failed */
        int64_t up_ms;                          /* since when it gets sessions again: slow-start; 0: ever since */
        int64_t check_wall_ms;                  /* when `check` became what it is */
        char check_detail[SERVER_DETAIL_SIZE];
        int64_t connect_at_ms;                  /* when connect_us became what it is */
        _Atomic uint32_t connect_us;            /* moving average; 0: nothing is known */
        uint16_t server;                        /* index in the config of this worker, or SERVER_NO_CONF */
        uint16_t member;                        /* in the backend of this worker; that member says whether it is true */
        _Atomic uint32_t sessions;              /* that hold it now */
        _Atomic uint64_t sessions_total;
        _Atomic uint64_t connect_failed;
        _Atomic uint64_t retried;               /* sessions that went on to another try after it failed */
        _Atomic uint64_t bytes_up, bytes_down;  /* of sessions that have ended */
};

/*
 * Brings the record in line with the file, and with what was resolved (srv_weight and srv_backup): a weight or state
 * that was set at run time stays for as long as they say the same.
 */
void server_file(struct server_record *record, const struct conf_server *conf);

/* What the record adds up to at that time.  checked: its config has checks for it. */
enum server_state server_state(const struct server_record *record, int checked, int64_t now_ms);

/* Whether a server in that state gets new sessions, its weight and limit aside. */
int server_state_usable(enum server_state state);

/* Forgets what checks found; and what live traffic found, too: the record stands for another address now, say. */
void server_forget_checks(struct server_record *record);
void server_forget_health(struct server_record *record);

/* "up" and so on; as the API calls them. */
const char *server_state_name(enum server_state state);

#endif
