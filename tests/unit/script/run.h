/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_SCRIPT_RUN_H
#define TESTS_UNIT_SCRIPT_RUN_H

#include "flow.h"
#include "net/proxy_header.h"
#include "rig.h"
#include "script.h"

/*
 * Sessions of several shapes, between peers that check every byte, from start to end.  A second session runs beside,
 * with descriptors that the script spares: it has to stay unharmed, whatever is done to the first.
 */

#define RUN_SERVERS 6           /* connections that servers accept in a run, one for each try */

struct scenario {
        const char *name;
        size_t up, down;                /* bytes that the client and the server send */
        size_t window;                  /* of the client; the server then echoes */
        size_t hold;                    /* the client stops here until pause_ms have passed */
        enum flow_end client_end, server_end;
        int server_waits;               /* for the client's FIN */
        int deaf;                       /* nobody reads until nothing moves any more */
        int64_t pause_ms;
        int dead_first;                 /* the first server refuses */
        int backlog;                    /* the servers' backlogs are full for pause_ms; AF_UNIX only */
        int no_half_close;
        int no_pipes;                   /* none can be had */
        int park;                       /* some sends take a part, so that the rest goes into a pipe */
        int preface;                    /* the client sends a PROXY header and a ClientHello; the server gets both */
        int greeting;                   /* the server gets a PROXY header, and the client sends none */
        enum conf_balance balance;
        size_t chunk;                   /* peers send so much at a time; 0: all they can */
        uint64_t rate;                  /* bytes a second in each direction */
        int rules;                      /* who the client is, and how many there are of it, matters */
};

struct kind {
        int front_unix, server_unix;
        const char *name;
};

#define RUN_SCENARIOS 17
#define RUN_KINDS 4
extern const struct scenario run_scenarios[RUN_SCENARIOS];
extern const struct kind run_kinds[RUN_KINDS];

/* One run: the scenario, and what serves it. */
struct run {
        const struct scenario *scenario;
        const struct kind *kind;
        struct rig rig;
        int listen[2];
        int filler[2][2];               /* connections that fill the servers' backlogs */
        uint8_t greeting[PROXY_HEADER_SIZE];    /* what the server gets before anything else */
        size_t greeting_len;
        struct flow client;
        struct flow server[RUN_SERVERS];
        unsigned n_servers;
        int peer_client, peer_server;   /* the session beside: what is untouched must stay unharmed */
        int released;
        int patient;                    /* waited already for what may be late */
        int64_t pinged_ms;              /* when the session beside was used last */
        char end[32];                   /* how it ended, as the access log says; "": it does not */
        uint64_t counted[SCRIPT_CALLS]; /* calls of the run, but for the session beside */
        const char *wrong;              /* the first violation */
};

/* Starts what serves the scenario, with the session beside under way.  Calls are counted from here on. */
void run_start(struct run *run, const struct kind *kind, const struct scenario *scenario);

/* Everything from there to the end.  Returns whether the session was served whole; see run->wrong. */
int run_all(struct run *run);

/* Lets the peers do what they can now.  Returns whether they did anything. */
int run_step_peers(struct run *run);

#endif
