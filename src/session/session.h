/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_SESSION_SESSION_H
#define SPLICED_SESSION_SESSION_H

#include <netinet/in.h>
#include <stdint.h>

#include "net/proxy_header.h"
#include "session/direction.h"
#include "session/life.h"

/*
 * The session record and the one function that changes its state.  A record
 * is plain data in the arena: 256 bytes, no pointers.  It belongs to one thread from LIFE_ACCEPTED to LIFE_CLOSED.
 */

enum session_side { SESSION_CLIENT, SESSION_SERVER, SESSION_SIDES };

/* What session.flags holds. */
#define SESSION_UNIX(side) (1u << (side))       /* the socket of that side is AF_UNIX */
#define SESSION_LOST(side) (4u << (side))       /* that side is gone: reset, or an error on its socket */
#define SESSION_LATE_OPTIONS 16u                /* the server socket has its SOCKOPT_LATER options */
#define SESSION_RESET 32u                       /* both sides are to see a reset at the end */
#define SESSION_DEAF(side) (64u << (side))      /* that side has closed and takes nothing any more */

/* What session.sockets holds. */
#define SESSION_WATCHED(side) (1u << (side))    /* the poller tells when that side can be written to */
#define SESSION_SECOND 4u                       /* the server socket has its SOCKOPT_SECOND options, or needs none */
#define SESSION_ROOMY(side) (8u << (side))      /* a stream had filled that side up, and its send buffer was seen to */

/*
 * What session.busy holds.  SESSION_BUSY: bytes are out of the kernel, or what it has told.  A splice takes no bytes
 * out, but where it fails it has taken the error of its socket: SESSION_FILLING() a pipe from that side,
 * SESSION_FLUSHING() one to it.
 */
#define SESSION_AT_REST 0u
#define SESSION_BUSY 1u
#define SESSION_FILLING(side) (2u + (side))
#define SESSION_FLUSHING(side) (4u + (side))

#define SESSION_NO_SERVER UINT16_MAX
#define SESSION_NO_BACKEND UINT16_MAX   /* before the preface has said which, in a frontend without a default */

struct session {
        /* What a message touches. */
        uint32_t generation;            /* first: one more for each session that had this record; atomic */
        uint8_t state;                  /* enum life_state */
        uint8_t busy;                   /* what is out of the kernel at this moment: see above */
        uint8_t flags;
        uint8_t end;                    /* enum access_end, ACCESS_END_N while nobody ended it */
        int32_t fd[SESSION_SIDES];      /* owned; -1: none */
        struct direction direction[SESSION_SIDES];      /* by the side that it reads */

        uint64_t id;
        int64_t accepted_ms;            /* CLOCK_MONOTONIC */
        int64_t phase_ms;               /* when its present state began, or its present connect */
        int64_t until_ms;               /* when it acts by itself: a pause, a repeated connect, the queue; 0: none */
        int64_t close_ms;               /* a side was lost: by then it ends, delivered or not; 0: none */
        uint64_t counted[SESSION_SIDES]; /* of direction[].bytes: what counters.h knows of */
        int32_t queue_ms;               /* spent in LIFE_QUEUED */
        int32_t connect_ms;             /* the successful connect took; -1: there was none */
        uint32_t rare;                  /* record in ARENA_RARE, or ARENA_NONE */
        uint16_t thread;
        uint16_t listener;              /* slots, which outlive the config that named them */
        uint16_t frontend;
        uint16_t backend;               /* before the preface is done the frontend's default, or SESSION_NO_BACKEND */
        uint16_t server;                /* or SESSION_NO_SERVER */
        uint16_t tried;                 /* servers tried before the present one */
        uint16_t round;                 /* of these, before the present round began */
        uint16_t pause_ms;              /* the last pause before a repeated connect or look */
        int16_t error;                  /* errno that goes with end, 0: none */
        uint16_t crashes;               /* of workers that died while serving it */
        uint16_t client_family;
        uint16_t client_port;           /* network order */
        struct in6_addr client;         /* an IPv4 address in its first four bytes */
        uint32_t stamp;                 /* generation once more: with a damaged one events would be taken for stale */
        uint8_t stage;                  /* enum preface_stage: what of the preface is done */
        uint8_t greeting;               /* version of the PROXY header that the server is to get; 0: none */
        uint8_t waits;                  /* it is in its backend's queue, since phase_ms */
        uint8_t sockets;                /* SESSION_WATCHED(), SESSION_SECOND, SESSION_ROOMY() */
        int64_t paid_ns[SESSION_SIDES]; /* upload-rate, download-rate: a token bucket, by the side that is read */
        int64_t began_us;               /* when its last connect began, CLOCK_MONOTONIC */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct session) <= 256, "a session record has 256 bytes at most");

/* Record of slab ARENA_RARE: what few sessions need.  Those that do have one, from env_rare(). */
#define SESSION_TRIES 51
#define SESSION_SNI_SIZE 256
struct session_rare {
        uint16_t server[SESSION_TRIES]; /* slots of the servers that were tried last, in order; session.tried of them */
        struct proxy_header header;     /* that the client sent; without a client in it where there was none */
        uint32_t dropped;               /* tries before those in `server` */
        char sni[SESSION_SNI_SIZE];     /* "": none */
};

struct env;

/* Keys of events: index, side and as much of the generation as fits. */
#define SESSION_KEY_LISTENER 2u
uint64_t session_key(uint32_t index, uint32_t generation, unsigned side);
uint32_t session_key_index(uint64_t key);
unsigned session_key_side(uint64_t key);
int session_key_fits(uint64_t key, uint32_t generation);

/*
 * Feeds an event to the session's life cycle and performs actions until the
 * world has to answer.  The session may be gone when it returns.
 */
void session_run(struct env *env, struct session *session, enum life_event event);

/*
 * Notes who ended the session and how.  The first says it; only a FIN gives
 * way to what comes later, since a session goes on after one.
 */
void session_note_end(struct session *session, unsigned end, int error);

/* Handlers of the loop for nodes that are sessions. */
void session_event(struct env *env, uint64_t key, uint32_t events);
void session_ready(struct env *env, uint32_t index);
void session_expire(struct env *env, uint32_t index);

/*
 * Takes up a session that another process left in a state that makes sense:
 * arms its timer and puts it on the ready list where it may have work.  With registered = 0 its sockets are
 * not in this thread's poller yet.  caught: the other process ended while it was at work on this very session.
 * Its descriptors have to be open; that they are sockets is looked at before it is served for the first time,
 * and it is reset where they are not.
 */
void session_adopt(struct env *env, struct session *session, int registered, int caught);

/*
 * Marks the session while bytes are out of the kernel, or what is known of them is not in the record yet: a
 * process that takes it over finds it so, and resets it; see relay_torn().
 */
void session_busy(struct session *session, unsigned busy);

/* What the socket of a server that was given up has signalled says nothing of the next. */
void session_forget_server(struct session *session);

/* Ends every session of this thread at once, as `end` says.  For a stop. */
void session_kill_all(struct env *env, unsigned end);

#endif
