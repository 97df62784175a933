/* SPDX-License-Identifier: ISC */
#include "session/life.h"

#include <errno.h>

#define STEP(state, action_) { .next = LIFE_##state, .action = LIFE_##action_ }

/* Whatever is not named is { LIFE_CLOSED, LIFE_ILLEGAL }: zero. */
static const struct life_step life_table[LIFE_STATES][LIFE_EVENTS] = {
        [LIFE_ACCEPTED] = {
                [LIFE_ADMIT] = STEP(PREFACE, READ_PREFACE),
                [LIFE_CLIENT_LEFT] = STEP(CLOSED, ABORT),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
        [LIFE_PREFACE] = {
                [LIFE_LOOK] = STEP(PREFACE, READ_PREFACE),
                [LIFE_MORE] = STEP(PREFACE, STAY),
                [LIFE_ROUTED] = STEP(PICKING, PICK),
                [LIFE_GIVE_UP] = STEP(CLOSED, ABORT),
                [LIFE_CLIENT_LEFT] = STEP(CLOSED, ABORT),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
        [LIFE_PICKING] = {
                [LIFE_PICKED] = STEP(CONNECTING, CONNECT),
                [LIFE_PAUSE] = STEP(QUEUED, REST),
                [LIFE_WAIT] = STEP(QUEUED, STAY),
                [LIFE_GIVE_UP] = STEP(CLOSED, ABORT),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
        [LIFE_QUEUED] = {
                [LIFE_DUE] = STEP(PICKING, PICK),
                [LIFE_GRANTED] = STEP(CONNECTING, CONNECT),
                [LIFE_CLIENT_LEFT] = STEP(CLOSED, ABORT),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
        [LIFE_CONNECTING] = {
                [LIFE_PENDING] = STEP(CONNECTING, STAY),
                [LIFE_DUE] = STEP(CONNECTING, CONNECT_AGAIN),
                [LIFE_CONNECTED] = STEP(RELAYING, RELAY),
                [LIFE_FAILED] = STEP(PICKING, PICK_NEXT),
                [LIFE_CLIENT_LEFT] = STEP(CLOSED, ABORT),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
        [LIFE_RELAYING] = {
                [LIFE_DONE] = STEP(CLOSED, FINISH),
                [LIFE_ENDING] = STEP(CLOSING, LINGER),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
        [LIFE_CLOSING] = {
                [LIFE_FLUSHED] = STEP(CLOSED, PART),
                [LIFE_KILL] = STEP(CLOSED, ABORT),
        },
};

struct life_step life_step(enum life_state state, enum life_event event) {
        if ((unsigned)state >= LIFE_STATES || (unsigned)event >= LIFE_EVENTS)
                return (struct life_step){ LIFE_CLOSED, LIFE_ILLEGAL };
        return life_table[state][event];
}

unsigned life_holds(enum life_state state) {
        switch (state) {
        case LIFE_ACCEPTED:
        case LIFE_PREFACE:
        case LIFE_PICKING:
        case LIFE_QUEUED:
                return LIFE_HOLDS_CLIENT;
        case LIFE_CONNECTING:
                return LIFE_HOLDS_CLIENT | LIFE_HOLDS_SERVER;
        case LIFE_RELAYING:
        case LIFE_CLOSING:
                return LIFE_HOLDS_CLIENT | LIFE_HOLDS_SERVER | LIFE_HOLDS_PIPES;
        default:
                return 0;
        }
}

unsigned life_acquires(enum life_action action) {
        switch (action) {
        case LIFE_CONNECT:
                return LIFE_HOLDS_SERVER;
        case LIFE_RELAY:
                return LIFE_HOLDS_PIPES;
        default:
                return 0;
        }
}

unsigned life_releases(enum life_action action, unsigned held) {
        switch (action) {
        case LIFE_PICK_NEXT:
                return LIFE_HOLDS_SERVER;
        case LIFE_ABORT:
        case LIFE_FINISH:
        case LIFE_PART:
                return held;
        default:
                return 0;
        }
}

static const char *const life_states[LIFE_STATES] = {
        [LIFE_CLOSED] = "CLOSED", [LIFE_ACCEPTED] = "ACCEPTED", [LIFE_PREFACE] = "PREFACE", [LIFE_PICKING] = "PICKING",
        [LIFE_QUEUED] = "QUEUED", [LIFE_CONNECTING] = "CONNECTING", [LIFE_RELAYING] = "RELAYING",
        [LIFE_CLOSING] = "CLOSING",
};

static const char *const life_events[LIFE_EVENTS] = {
        [LIFE_NOTHING] = "nothing", [LIFE_ADMIT] = "admit", [LIFE_LOOK] = "look", [LIFE_MORE] = "more",
        [LIFE_ROUTED] = "routed", [LIFE_PICKED] = "picked", [LIFE_PAUSE] = "pause", [LIFE_WAIT] = "wait",
        [LIFE_GRANTED] = "granted", [LIFE_GIVE_UP] = "give-up", [LIFE_PENDING] = "pending",
        [LIFE_CONNECTED] = "connected",
        [LIFE_FAILED] = "failed", [LIFE_DUE] = "due", [LIFE_CLIENT_LEFT] = "client-left", [LIFE_DONE] = "done",
        [LIFE_ENDING] = "ending", [LIFE_FLUSHED] = "flushed", [LIFE_KILL] = "kill",
};

static const char *const life_actions[LIFE_ACTIONS] = {
        [LIFE_ILLEGAL] = "illegal", [LIFE_STAY] = "stay",
        [LIFE_READ_PREFACE] = "read-preface", [LIFE_PICK] = "pick", [LIFE_REST] = "rest",
        [LIFE_CONNECT] = "connect", [LIFE_CONNECT_AGAIN] = "connect-again", [LIFE_PICK_NEXT] = "pick-next",
        [LIFE_RELAY] = "relay", [LIFE_LINGER] = "linger", [LIFE_ABORT] = "abort", [LIFE_FINISH] = "finish",
        [LIFE_PART] = "part",
};

const char *life_state_name(enum life_state state) {
        return (unsigned)state < LIFE_STATES ? life_states[state] : "?";
}

const char *life_event_name(enum life_event event) {
        return (unsigned)event < LIFE_EVENTS ? life_events[event] : "?";
}

const char *life_action_name(enum life_action action) {
        return (unsigned)action < LIFE_ACTIONS ? life_actions[action] : "?";
}

int life_print(FILE *out) {
        for (int state = 0; state < LIFE_STATES; state++)
                for (int event = 0; event < LIFE_EVENTS; event++) {
                        struct life_step step = life_table[state][event];

                        if (step.action == LIFE_ILLEGAL)
                                continue;
                        if (fprintf(out, "%-10s %-11s -> %-10s : %s\n", life_states[state], life_events[event],
                                    life_states[step.next], life_actions[step.action]) < 0)
                                return -EIO;
                }
        return 0;
}
