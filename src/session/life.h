/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_LIFE_H
#define SPLICED_SESSION_LIFE_H

#include <stdint.h>
#include <stdio.h>

/*
 * The life of a session, as a table: state × event → next state and action.
 * Pure: session_run() (session.h) performs the actions.  Each action returns the event
 * that came of it, or LIFE_NOTHING where the world has to answer first.
 * life_print() prints the table as the picture that spliced(8) shows.
 */

enum life_state {
        LIFE_CLOSED,            /* the record is free; zero, so that a fresh arena is all closed */
        LIFE_ACCEPTED,          /* has its record; waits for its thread to take it up */
        LIFE_PREFACE,           /* is looked at before it gets a server: admission, headers, routes */
        LIFE_PICKING,           /* a server is being chosen; never outlasts a handler */
        LIFE_QUEUED,            /* waits for a place at a server, or for its turn to choose again */
        LIFE_CONNECTING,        /* has a server, and a connect under way or to be repeated */
        LIFE_RELAYING,          /* bytes move */
        LIFE_CLOSING,           /* all is written; the last bytes are on their way to a peer */
        LIFE_STATES
};

enum life_event {
        LIFE_NOTHING,           /* no event: the executor stops */
        LIFE_ADMIT,             /* its thread takes the session up */
        LIFE_LOOK,              /* there may be more of the preface */
        LIFE_MORE,              /* the preface is not complete */
        LIFE_ROUTED,            /* admitted, and its backend is known */
        LIFE_PICKED,            /* a server was chosen */
        LIFE_PAUSE,             /* every server was tried; again after a pause */
        LIFE_WAIT,              /* it is in the backend's queue */
        LIFE_GRANTED,           /* it was given a place at a server */
        LIFE_GIVE_UP,           /* no server, or no try left */
        LIFE_PENDING,           /* connect is under way */
        LIFE_CONNECTED,         /* connect succeeded */
        LIFE_FAILED,            /* connect failed or took too long */
        LIFE_DUE,               /* a pause is over */
        LIFE_CLIENT_LEFT,       /* the client is gone before it had a server */
        LIFE_DONE,              /* both directions ended with a FIN */
        LIFE_ENDING,            /* both directions ended, but a peer has not taken all yet */
        LIFE_FLUSHED,           /* it has, or its time is over */
        LIFE_KILL,              /* ended from outside: a timeout, a stop, a fault */
        LIFE_EVENTS
};

enum life_action {
        LIFE_ILLEGAL,           /* a hole of the table: a fault of ours */
        LIFE_STAY,              /* nothing to do */
        LIFE_READ_PREFACE,      /* admit, read what comes before the choice, choose the backend */
        LIFE_PICK,              /* choose a server */
        LIFE_REST,              /* wait before the next round */
        LIFE_CONNECT,           /* open a socket and connect */
        LIFE_CONNECT_AGAIN,     /* connect once more with the same socket */
        LIFE_PICK_NEXT,         /* let go of the server and choose another */
        LIFE_RELAY,             /* start moving bytes */
        LIFE_LINGER,            /* wait until the peers have taken all */
        LIFE_ABORT,             /* release everything, peers see a reset */
        LIFE_FINISH,            /* release everything, peers saw a FIN */
        LIFE_PART,              /* release everything, as it was decided when LINGER began */
        LIFE_ACTIONS
};

struct life_step {
        uint8_t next;           /* enum life_state */
        uint8_t action;         /* enum life_action */
};

/* What a session holds, as bits: what an action acquires and releases. */
#define LIFE_HOLDS_CLIENT 1u    /* its record, its place in the limits, its client's socket, perhaps that side's pipe */
#define LIFE_HOLDS_SERVER 2u    /* a place at a server, and the socket to it */
#define LIFE_HOLDS_PIPES 4u     /* perhaps a pipe for each direction: the other one too */

/* The row and column of the table.  Out of range: ILLEGAL. */
struct life_step life_step(enum life_state state, enum life_event event);

/* What a session in that state holds: LIFE_HOLDS_*. */
unsigned life_holds(enum life_state state);
/* What an action takes, and what it gives back of what is held: LIFE_HOLDS_*. */
unsigned life_acquires(enum life_action action);
unsigned life_releases(enum life_action action, unsigned held);

/* Names for logs, tests and the picture. */
const char *life_state_name(enum life_state state);
const char *life_event_name(enum life_event event);
const char *life_action_name(enum life_action action);

/* Prints every legal step, one a line: "STATE event -> STATE : action".  Returns 0 or -errno. */
int life_print(FILE *out);

#endif
