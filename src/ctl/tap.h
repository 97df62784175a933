/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_CTL_TAP_H
#define SPLICED_CTL_TAP_H

#include "ctl/call.h"

/*
 * `tap`: the bytes of a session as they pass, until it ends or the user does.
 *
 * The API turns the connection into a stream of frames (GET /v1/sessions/ID/tap, "Upgrade: spliced-tap"): a head of
 * TAP_HEAD bytes, all numbers in network order, and for 'b' the bytes.
 *
 *   byte 0       'b' bytes, 'l' as many were lost before what follows, 'e' the session is over
 *   byte 1       'c' they came from the client, 's' from the server
 *   bytes 4-7    how many
 *   bytes 8-15   microseconds since the epoch
 */
#define TAP_HEAD 16

/*
 * Prints what passes as hexadecimal and text, or as a pcapng file.  Returns the exit status: 0 where it went on until
 * the session's end.
 */
int tap_run(struct call *call, const char *id, int pcapng);

#endif
