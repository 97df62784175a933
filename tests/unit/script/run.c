/* SPDX-License-Identifier: ISC */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_ROUNDS 4000
#define RUN_SPINS 60            /* rounds with system calls but no progress, while time stands still */
#define RUN_JUMP_MS (20 * 60 * 1000)
#define RUN_WAITS 60            /* timers waited for without any progress */

static const char run_config[] =
        "socket { sndbuf = 32K rcvbuf = 256K }\n"
        "frontend \"f\" { listen \"127.0.0.1:1\" { accept-proxy = on }\n"
        "route \"r\" { sni = \"a.b\" backend = \"b\" } }\n"
        "backend \"b\" {\n"
        "server \"s0\" { address = \"127.0.0.1:1\" }\n"
        "server \"s1\" { address = \"127.0.0.1:1\" source = \"127.0.0.1\" }\n"
        "}\n";

const struct scenario run_scenarios[RUN_SCENARIOS] = {
        { .name = "ping-pong", .up = 500, .down = 500, .window = 101, .hold = 200, .pause_ms = 6000,
          .server_end = FLOW_FIN_AFTER_EOF },
        { .name = "bulk", .up = 600000, .down = 600000, .deaf = 1 },
        { .name = "trickle", .up = 90000, .down = 90000, .chunk = 3000, .park = 1 },
        { .name = "trickle without pipes", .up = 300000, .down = 300000, .chunk = 3000, .deaf = 1, .no_pipes = 1 },
        { .name = "half-close", .up = 40000, .down = 100000, .server_waits = 1 },
        { .name = "client reset", .up = 40000, .down = 400000, .client_end = FLOW_RESET },
        { .name = "server reset", .up = 400000, .down = 40000, .server_end = FLOW_RESET },
        { .name = "retry", .up = 500, .down = 500, .dead_first = 1 },
        { .name = "backlog", .up = 500, .down = 500, .backlog = 1, .pause_ms = 60 },
        { .name = "limited bulk", .up = 620000, .down = 620000, .rate = 2000000 },
        { .name = "rules", .up = 500, .down = 500, .rules = 1 },
        { .name = "no half-close", .up = 40000, .down = 0, .server_end = FLOW_FIN_AFTER_EOF, .no_half_close = 1 },
        { .name = "preface", .up = 500, .down = 500, .preface = 1 },
        { .name = "preface in parts", .up = 500, .down = 500, .preface = 1, .chunk = 17 },
        { .name = "preface in parts without pipes", .up = 500, .down = 500, .preface = 1, .chunk = 17,
          .no_pipes = 1 },
        { .name = "greeting", .up = 500, .down = 500, .greeting = 1 },
        { .name = "source", .up = 500, .down = 500, .balance = CONF_SOURCE },
};

/* A PROXY header of version 2, 28 bytes, as it also has to arrive; and a ClientHello that asks for a.b. */
static const uint8_t run_preface[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\1\x0a\0\0\2\x04\xd2\x01\xbb"
        "\x16\x03\x01\0\x3b\1\0\0\x37\x03\x03" "0123456789abcdef0123456789ABCDEF"
        "\0\0\x02\x13\x01\x01\0\0\x0c\0\0\0\x08\0\x06\0\0\x03" "a.b";

const struct kind run_kinds[RUN_KINDS] = {
        { 0, 0, "TCP to TCP" }, { 0, 1, "TCP to UNIX" }, { 1, 0, "UNIX to TCP" }, { 1, 1, "UNIX to UNIX" },
};

/* The fixture itself must not fail: there is no test without it. */
static void run_need(int ok, const char *what) {
        if (ok)
                return;
        fprintf(stderr, "run: %s: %s\n", what, strerror(errno));
        abort();
}

static int run_wrong(struct run *run, const char *what) {
        if (!run->wrong)
                run->wrong = what;
        return 0;
}

static int run_listen(struct addr *addr, int is_unix, int backlog) {
        int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        run_need(fd >= 0, "a socket");
        if (is_unix)
                rig_name(addr);
        else
                addr->in.sin_port = 0;
        run_need(bind(fd, &addr->sa, addr->len) == 0, "bind");
        run_need(getsockname(fd, &addr->sa, &addr->len) == 0, "getsockname");
        if (backlog >= 0)
                run_need(listen(fd, backlog) == 0, "listen");
        return fd;
}

static int run_connect(const struct addr *addr) {
        int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = 65536;

        run_need(fd >= 0, "a socket");
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        if (connect(fd, &addr->sa, addr->len) < 0 && errno != EINPROGRESS) {
                close(fd);
                return -1;
        }
        return fd;
}

static void run_front(struct run *run, struct addr *addr) {
        *addr = run->rig.conf->frontends[0].listeners[0].addr;
        if (!run->kind->front_unix)
                run_need(getsockname(run->rig.shared.listeners[0].record->fd, &addr->sa, &addr->len) == 0,
                         "getsockname");
}

/* Accepts on either server.  Returns -1 where nobody waits. */
static int run_accept(struct run *run) {
        for (int i = 0; i < 2; i++) {
                int fd = accept4(run->listen[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd >= 0)
                        return fd;
        }
        return -1;
}

/* The header that names a client as it was connected. */
static void run_greeting(struct run *run, int client, const struct addr *front) {
        struct proxy_header header = { .client = { .kind = ADDR_IP, .len = sizeof(struct sockaddr_un) } };

        run_need(getsockname(client, &header.client.sa, &header.client.len) == 0, "getsockname");
        if (run->kind->front_unix)
                header.client.kind = ADDR_UNIX;
        header.destination = *front;
        run->greeting_len = proxy_header_format(&header, 2, run->greeting);
}

/* What comes first on the session beside. */
static void run_begin_beside(struct run *run, const struct addr *front) {
        uint8_t buf[PROXY_HEADER_SIZE];
        size_t want = sizeof(run_preface) - 1, got = 0;
        ssize_t n;

        if (run->scenario->greeting) {
                run_greeting(run, run->peer_client, front);
                want = run->greeting_len;
        } else if (run->scenario->preface)
                run_need(send(run->peer_client, run_preface, want, MSG_NOSIGNAL) == (ssize_t)want, "send");
        else
                return;
        for (int i = 0; i < 300 && got < want; i++) {
                rig_round(&run->rig);
                if (run->peer_server < 0)
                        run->peer_server = run_accept(run);
                n = run->peer_server < 0 ? -1 : recv(run->peer_server, buf + got, want - got, MSG_DONTWAIT);
                got += n > 0 ? (size_t)n : 0;
        }
        run_need(got == want && memcmp(buf, run->scenario->preface ? run_preface : run->greeting, want) == 0,
                 "what comes first on the session beside");
}

/* One message each way through the session beside. */
static void run_ping(struct run *run) {
        char buf[100] = "ping";
        size_t there = 0, back = 0;
        ssize_t n;

        run->pinged_ms = script.now_ms;
        if (send(run->peer_client, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf)) {
                run_wrong(run, "the session beside was ended");
                return;
        }
        for (int i = 0; i < 300 && back < sizeof(buf); i++) {
                if (rig_round(&run->rig) < 0) {
                        run_wrong(run, "the loop failed");
                        return;
                }
                if (run->peer_server < 0)
                        run->peer_server = run_accept(run);
                n = run->peer_server < 0 ? -1 : recv(run->peer_server, buf, sizeof(buf), MSG_DONTWAIT);
                if (n > 0 && send(run->peer_server, buf, (size_t)n, MSG_NOSIGNAL) == n)
                        there += (size_t)n;
                n = recv(run->peer_client, buf, sizeof(buf), MSG_DONTWAIT);
                if (n > 0)
                        back += (size_t)n;
                else if (n == 0 || errno != EAGAIN)
                        break;
                else if (i > 20)
                        usleep(1000);
        }
        if (there != sizeof(buf) || back != sizeof(buf))
                run_wrong(run, "the session beside was harmed");
}

/* Rules that let the client in, but not before it was asked for all that a client can be asked for. */
static void run_rules(struct conf_frontend *frontend) {
        static struct conf_rule allow[] = { { .kind = CONF_RULE_UNIX },
                                            { .kind = CONF_RULE_NETWORK, .family = AF_INET } };
        static struct conf_rule deny[] = { { .kind = CONF_RULE_UID, .id = UINT32_MAX },
                                           { .kind = CONF_RULE_GID, .id = UINT32_MAX } };

        frontend->allow = (struct conf_rules){ allow, 2, 1 };
        frontend->deny = (struct conf_rules){ deny, 2, 1 };
        frontend->max_per_source = 2;
        frontend->rate_per_source = 2;
        frontend->rate = 2;
}

void run_start(struct run *run, const struct kind *kind, const struct scenario *scenario) {
        struct conf *conf;
        struct addr front;

        *run = (struct run){ .scenario = scenario, .kind = kind, .listen = { -1, -1 }, .client = FLOW_NULL,
                             .filler = { { -1, -1 }, { -1, -1 } }, .peer_client = -1, .peer_server = -1 };
        rig_load(&run->rig, run_config);
        conf = run->rig.conf;
        conf->frontends[0].access_log = 1;
        conf->frontends[0].half_close = !scenario->no_half_close;
        conf->frontends[0].upload_rate = conf->frontends[0].download_rate = scenario->rate;
        if (scenario->rules)
                run_rules(&conf->frontends[0]);
        conf->frontends[0].listeners[0].accept_proxy = scenario->preface;
        conf->frontends[0].n_routes = scenario->preface != 0;
        conf->frontends[0].backend = scenario->preface ? CONF_NO_BACKEND : 0;
        for (int i = 0; i < 2; i++)
                conf->backends[0].servers[i].send_proxy =
                        scenario->preface || scenario->greeting ? CONF_SEND_PROXY_V2 : CONF_SEND_PROXY_OFF;
        conf->backends[0].balance = scenario->balance;
        if (kind->front_unix)
                rig_name(&conf->frontends[0].listeners[0].addr);
        else
                conf->frontends[0].listeners[0].addr.in.sin_port = 0;
        for (int i = 0; i < 2; i++)
                run->listen[i] = run_listen(&conf->backends[0].servers[i].addr, kind->server_unix,
                                            scenario->backlog ? 0 : 8);
        rig_start(&run->rig, 4, 8);
        run_front(run, &front);

        run->peer_client = run_connect(&front);
        run_need(run->peer_client >= 0, "a client");
        run_begin_beside(run, &front);
        run_ping(run);
        run_need(run->wrong == NULL, run->wrong);
        for (int side = 0; side < SESSION_SIDES; side++)
                script_spare(run->rig.shared.sessions[0].fd[side]);
        /* The session beside took the first server: what is dead now is what comes first for the next. */
        if (scenario->dead_first) {
                close(run->listen[1]);
                run->listen[1] = run_listen(&conf->backends[0].servers[1].addr, kind->server_unix, -1);
                backend_set_address(&run->rig.shared.backends[0], 1, &conf->backends[0].servers[1].addr);
        }
        for (int i = 0; scenario->backlog && i < 2; i++)
                for (int k = 0; k < 2; k++)
                        run->filler[i][k] = run_connect(&conf->backends[0].servers[i].addr);
        run->client = (struct flow){ .fd = run_connect(&front), .is_unix = kind->front_unix, .stream = 0, .other = 1,
                                     .total = scenario->up, .window = scenario->window, .hold = scenario->hold,
                                     .end = scenario->client_end, .held = scenario->hold != 0, .deaf = scenario->deaf,
                                     .chunk = scenario->chunk };
        run_need(run->client.fd >= 0, "a client");
        if (scenario->preface) {
                run->client.head = run_preface;
                run->client.head_len = sizeof(run_preface) - 1;
        } else if (scenario->greeting)
                run_greeting(run, run->client.fd, &front);
        script_count_anew();
        for (uint64_t nth = 10; scenario->park && nth <= 20; nth += 5)
                script_rule(SCRIPT_SEND, SCRIPT_SHORT, 1000, nth);
        if (scenario->no_pipes) {
                pipe_pool_deinit(&run->rig.env->pipes);
                script_rule(SCRIPT_PIPE, SCRIPT_FAIL, EMFILE, 0);
        }
}

/* What a server accepts is one more try of the session. */
static int run_serve(struct run *run) {
        const struct scenario *scenario = run->scenario;
        int fd = scenario->backlog && !run->released ? -1 : run_accept(run), size = 65536;

        if (fd < 0)
                return 0;
        if (run->n_servers == RUN_SERVERS) {
                close(fd);
                return run_wrong(run, "more connections to servers than tries");
        }
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        run->server[run->n_servers++] = (struct flow){
                .fd = fd, .is_unix = run->kind->server_unix, .stream = 1, .other = 0, .total = scenario->down,
                .window = scenario->window ? 1 : 0, .end = scenario->server_end, .wait_eof = scenario->server_waits,
                .deaf = scenario->deaf && !run->released, .chunk = scenario->chunk,
                .other_head = scenario->preface ? run_preface : run->greeting,
                .other_len = scenario->preface ? sizeof(run_preface) - 1 : run->greeting_len,
        };
        return 1;
}

static void run_release(struct run *run) {
        run->released = 1;
        run->client.held = run->client.deaf = 0;
        for (unsigned i = 0; i < run->n_servers; i++)
                run->server[i].deaf = 0;
        /* The fillers leave, and the queues with them. */
        for (int i = 0; i < 2; i++)
                for (int k = 0; k < 2; k++)
                        if (run->filler[i][k] >= 0) {
                                int fd = accept4(run->listen[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

                                if (fd >= 0)
                                        close(fd);
                                close(run->filler[i][k]);
                                run->filler[i][k] = -1;
                        }
}

int run_step_peers(struct run *run) {
        int did = run_serve(run);

        did |= flow_step(&run->client);
        for (unsigned i = 0; i < run->n_servers; i++)
                did |= flow_step(&run->server[i]);
        return did;
}

static int run_done(const struct run *run) {
        if (!run->released || !flow_done(&run->client))
                return 0;
        for (unsigned i = 0; i < run->n_servers; i++)
                if (!flow_done(&run->server[i]))
                        return 0;
        return 1;
}

/*
 * What the kernel has under way on loopback takes no time, but the kernel may be a moment late; and an
 * acknowledgement may be 40 ms late on purpose, which is waited for once, before virtual time passes in leaps.
 */
static int run_something_comes(struct run *run) {
        int far = run->released && !run->patient && wheel_timeout(&run->rig.env->loop.wheel, script.now_ms) > 500;
        struct pollfd polls[RUN_SERVERS + 4];
        nfds_t n = 0;

        polls[n++] = (struct pollfd){ .fd = run->rig.shared.threads[0].record->poller, .events = POLLIN };
        for (int i = 0; i < 2; i++)
                if (!(run->scenario->backlog && !run->released) && !(run->scenario->dead_first && i == 1))
                        polls[n++] = (struct pollfd){ .fd = run->listen[i], .events = POLLIN };
        polls[n++] = flow_poll(&run->client);
        for (unsigned i = 0; i < run->n_servers; i++)
                polls[n++] = flow_poll(&run->server[i]);
        run->patient |= far;
        return poll(polls, n, far ? 50 : run->released && !run->patient) > 0;
}

/* One round of everything.  Returns whether it made a difference; *spins counts rounds that only look as if. */
static int run_round(struct run *run, int *spins) {
        uint64_t work = script.work;
        const char *why;
        int did;

        if (rig_round(&run->rig) < 0)
                return run_wrong(run, "the loop failed");
        why = rig_look(&run->rig);
        if (why)
                return run_wrong(run, why);
        did = run_step_peers(run);
        if (did)
                *spins = 0;
        else if (script.work != work || run->rig.env->loop.first) {
                if (++*spins > RUN_SPINS)
                        return run_wrong(run, "it spins: system calls without progress");
                did = 1;
        }
        return did;
}

/* Lets time pass, to the next timer.  The session beside is never so long silent that it would time out. */
static int run_wait(struct run *run, int64_t max_ms) {
        int waited = rig_next_timer(&run->rig, max_ms < RUN_JUMP_MS ? max_ms : RUN_JUMP_MS);

        if (script.now_ms - run->pinged_ms >= RUN_JUMP_MS)
                run_ping(run);
        return waited;
}

/* Until all is done, or nothing happens any more whatever the time. */
static void run_drive(struct run *run) {
        int64_t release_ms = script.now_ms + run->scenario->pause_ms;
        int spins = 0, waits = 0;

        for (int i = 0; i < RUN_ROUNDS && !run->wrong; i++) {
                if (run_round(run, &spins)) {
                        waits = spins ? waits : 0;
                        continue;
                }
                if (run->wrong || run_done(run))
                        return;
                if (run_something_comes(run)) {
                        if (++spins > RUN_SPINS)
                                run_wrong(run, "events that nobody handles");
                        continue;
                }
                if (!run->released && (script.now_ms >= release_ms || !run_wait(run, release_ms - script.now_ms))) {
                        run_ping(run);
                        run_release(run);
                        continue;
                }
                spins = 0;
                if (run->released && (++waits > RUN_WAITS || !run_wait(run, INT64_MAX)))
                        return;
        }
        run_wrong(run, "too many rounds");
}

/* The peers are gone: whatever is left of the session has to follow. */
static void run_leave(struct run *run) {
        int spins = 0;

        flow_close(&run->client);
        for (unsigned i = 0; i < run->n_servers; i++)
                flow_close(&run->server[i]);
        for (int i = 0; i < RUN_ROUNDS && !run->wrong && atomic_load(&run->rig.shared.sessions_now) > 1; i++) {
                if (run_round(run, &spins))
                        continue;
                for (unsigned k = 0; k < run->n_servers; k++)
                        flow_close(&run->server[k]);
                if (run->wrong || run_something_comes(run))
                        continue;
                spins = 0;
                if (!run_wait(run, INT64_MAX))
                        break;
        }
        if (atomic_load(&run->rig.shared.sessions_now) > 1)
                run_wrong(run, "a session stays though its peers have left");
}

/* The session beside says goodbye. */
static void run_part(struct run *run) {
        char byte;
        int seen = 0;

        run_ping(run);
        shutdown(run->peer_client, SHUT_WR);
        for (int i = 0; i < 300 && !run->wrong && seen < 2; i++) {
                rig_round(&run->rig);
                if (!seen && recv(run->peer_server, &byte, 1, MSG_DONTWAIT) == 0) {
                        shutdown(run->peer_server, SHUT_WR);
                        seen = 1;
                }
                if (seen && recv(run->peer_client, &byte, 1, MSG_DONTWAIT) == 0)
                        seen = 2;
                if (i > 20)
                        usleep(1000);
        }
        if (seen != 2)
                run_wrong(run, "the session beside did not end well");
}

/* Bytes that arrived are the right ones, and a peer that saw a FIN on TCP has all of them. */
static void run_judge_flow(struct run *run, const struct flow *flow, const struct flow *from, int is_server) {
        if (flow->wrong)
                run_wrong(run, "wrong bytes arrived");
        if (from && flow->got > from->sent)
                run_wrong(run, "more bytes arrived than were sent");
        /* A server may see a connection that came to nothing: it was not picked after all. */
        if (flow->is_unix || !flow->eof || (is_server && !flow->got))
                return;
        /* EPIPE says that the peer has closed: then it sees nothing any more. */
        for (unsigned i = 0; i < script.n_rules; i++) {
                const struct script_rule *rule = &script.rules[i];

                if (rule->what == SCRIPT_FAIL && rule->value == EPIPE && (is_server ? rule->other : rule->accepted))
                        return;
        }
        if (!from || flow->got < from->total || !from->ended || (from->end == FLOW_RESET && !from->is_unix))
                run_wrong(run, "a part was taken for the whole");
}

/* The connection to a server that was used, of several that were made: the one with the most traffic. */
static const struct flow *run_server(const struct run *run) {
        const struct flow *best = NULL;

        for (unsigned i = 0; i < run->n_servers; i++)
                if (!best || run->server[i].got + run->server[i].sent > best->got + best->sent)
                        best = &run->server[i];
        return best;
}

/* Nothing went wrong as far as the peers can tell. */
static int run_whole(const struct run *run) {
        const struct scenario *scenario = run->scenario;
        const struct flow *server = run_server(run);

        if (!server)
                return 0;
        if (scenario->client_end == FLOW_RESET || scenario->server_end == FLOW_RESET) {
                const struct flow *other = scenario->client_end == FLOW_RESET ? server : &run->client;

                return other->eof || other->error || other->ended;
        }
        return run->client.got == scenario->down && run->client.eof && server->got == scenario->up && server->eof;
}

/* What the access log says of the session that is not the one beside. */
static void run_note_end(struct run *run) {
        char *log = rig_log(&run->rig), *save = NULL;

        for (char *line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                const char *end = strstr(line, " end=");

                if (end && strstr(line, " session=2 "))
                        sscanf(end, " end=%31s", run->end);
        }
        free(log);
}

/* Everything from start to end.  Returns whether the session was served whole. */
int run_all(struct run *run) {
        const char *why;
        int whole;

        run_drive(run);
        whole = run_whole(run);
        run_judge_flow(run, &run->client, run_server(run), 0);
        for (unsigned i = 0; i < run->n_servers; i++)
                run_judge_flow(run, &run->server[i], &run->client, 1);
        if (!run->wrong)
                run_leave(run);
        script.die_nth = 0;
        memcpy(run->counted, script.calls, sizeof(run->counted));
        script.n_rules = 0;
        if (!run->wrong)
                run_part(run);
        if (run->peer_client >= 0)
                close(run->peer_client);
        if (run->peer_server >= 0)
                close(run->peer_server);
        flow_close(&run->client);
        for (unsigned i = 0; i < run->n_servers; i++)
                flow_close(&run->server[i]);
        for (int i = 0; i < 50 && !run->wrong && atomic_load(&run->rig.shared.sessions_now); i++)
                if (rig_round(&run->rig) == 0 && i > 5)
                        rig_next_timer(&run->rig, 1000);
        why = run->wrong ? NULL : rig_look_empty(&run->rig);
        if (why)
                run_wrong(run, why);
        run_note_end(run);
        if (rig_logged(&run->rig, "internal error: event"))
                run_wrong(run, "the log has an internal error");
        run_release(run);
        for (int i = 0; i < 2; i++)
                close(run->listen[i]);
        why = rig_stop(&run->rig);
        if (why)
                run_wrong(run, why);
        return whole;
}
