/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_SERVICE_H
#define SPLICED_KEEPER_SERVICE_H

#include <stdint.h>

#include "base/log.h"
#include "keeper/notify.h"
#include "worker/slots.h"

/*
 * What the service manager is told and when, and what it has passed.  All messages follow from
 * the keeper's state, which service_tick() compares with what was told last: nothing else has to remember to tell.
 *
 *   READY=1                when the first worker is ready, and at the end of each reload and upgrade, refused or not
 *   RELOADING=1            at the beginning of each
 *   STOPPING=1             when a stop begins; EXTEND_TIMEOUT_USEC again and again while it drains
 *   STATUS=                the state, the sessions, why the last reload was refused
 *   WATCHDOG=1             at half the interval, until no worker has been well for SERVICE_UNWELL_MS
 */

#define SERVICE_UNWELL_MS 60000
#define SERVICE_STATUS 384

struct keeper;

struct service {
        struct notify_sockets sockets;          /* of the manager; open for as long as the keeper runs */
        struct slots_inherited inherited;       /* finds them by name */
        int64_t watchdog_ms;                    /* 0: none */
        int64_t pinged_ms, extended_ms, status_ms;      /* when that was last sent */
        int64_t well_ms;                        /* when a worker was last seen to be well */
        int ready, reloading, stopping;         /* what the manager believes */
        unsigned changes;                       /* of keeper->changes, told so far */
        int kind;                               /* of the last status */
        char status[SERVICE_STATUS];
};

/* Takes the manager's sockets: before any other process is made.  It must stay where it is.  Returns 0 or -errno. */
int service_init(struct service *service);

/* Frees; the sockets stay open. */
void service_deinit(struct service *service);

/* Says in the log what the manager offers in vain. */
void service_check(struct log *log);

/* The keeper's loop begins; `resumed`: after an upgrade, which the manager still waits for. */
void service_begin(struct service *service, int resumed);

/* Tells what has changed.  Once in each round of the keeper's loop. */
void service_tick(struct keeper *keeper);

/* How long the keeper's loop may sleep at most, of `wait` ms. */
int64_t service_wait(const struct service *service, int64_t wait);

/* Before an execve: leaves the sockets to this process's next program (pass = 1); or not, since it failed. */
void service_pass(const struct service *service, int pass);

/* The same messages for one process alone: at its start, and about once a second.  alive: its threads are at work. */
void service_alone_ready(struct keeper *keeper);
void service_alone_beat(struct keeper *keeper, int alive, int draining);

#endif
