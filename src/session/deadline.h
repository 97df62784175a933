/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_DEADLINE_H
#define SPLICED_SESSION_DEADLINE_H

#include "session/env.h"

/*
 * The timeouts of a session.  Activity only stamps the record: a session has one timer,
 * armed for the nearest deadline as it was known then; when it fires, the deadlines are worked
 * out anew from the stamps, and mostly it is armed again.
 */

/* Arms the timer where a deadline lies before the time that it is armed for.  Call it when one may have come nearer. */
void deadline_arm(struct env *env, struct session *session);

/*
 * The timer fired: does what is due.  Returns the event for the life cycle,
 * with the end noted where it is one, or LIFE_NOTHING with the timer armed again.
 */
enum life_event deadline_expire(struct env *env, struct session *session);

#endif
