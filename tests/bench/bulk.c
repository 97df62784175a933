/* SPDX-License-Identifier: ISC */
/*
 * bulk: the load of the benchmark and of its smoke test, over TCP (IPv4) and AF_UNIX.
 *
 *   bulk sink ADDRESS...       takes streams; after each one's last byte answers with what arrived (struct verdict)
 *   bulk echo ADDRESS...       sends everything back
 *   bulk source ADDRESS        -c streams of -b bytes to a sink, its answers compared with what was sent
 *   bulk short ADDRESS         -n connections, -c at a time: connect, -s bytes there and back, close
 *   bulk pingpong ADDRESS      -n messages of -s bytes there and back over -c connections
 *   bulk idle ADDRESS          opens -c connections at the first line on stdin and holds them until stdin ends;
 *                              each further line passes -b bytes there and back over every one of them
 *
 * ADDRESS is 127.0.0.1:80, unix:/path or unix:@name.  -t ends every mode after that many seconds, servers too,
 * and -v has the sink compare each byte; what comes back to the others is always compared.
 *
 * A server writes "ready" to stdout once it listens; a client writes one line of JSON a result.
 * Exit status: 0, 1 for a wrong byte, a failed call or the deadline, 64 for usage.
 *
 * Bytes are a pattern of a prime period that each connection enters at a place of its own, so what is lost,
 * doubled or delivered to the wrong connection shows.  A stream begins with that place and its length (struct head):
 * its end is no FIN, since not every proxy passes on one direction's end alone.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define EX_USAGE 64
#define PERIOD 65521u                           /* the pattern's; prime */
#define SLICE (256u * 1024)                     /* one read or write at most */
#define PAGE 4096u
#define HEAD sizeof(struct head)
#define ADDRESSES_MAX 8
#define EVENTS 256
#define ACTIVE_MAX 64                           /* idle connections that open or pass bytes at once */
#define SOURCES 4096                            /* addresses that clients connect from */
#define COUNT_MAX 10000000u                     /* connections and messages in one run */

enum mode {
        MODE_SINK,
        MODE_ECHO,
        MODE_SOURCE,
        MODE_SHORT,
        MODE_PINGPONG,
        MODE_IDLE,
};

static const char *const mode_names[] = {"sink", "echo", "source", "short", "pingpong", "idle"};

struct address {
        struct sockaddr_storage name;
        socklen_t len;
};

struct options {
        enum mode mode;
        struct address addresses[ADDRESSES_MAX];
        unsigned n_addresses;
        unsigned at_once;
        uint64_t total;
        uint64_t bytes;
        uint64_t size;
        bool verify;
        int64_t deadline_ns;
};

/* How a stream begins. */
struct head {
        uint64_t place;                         /* in the pattern, of what follows */
        uint64_t bytes;                         /* of it all, with this */
};

/* A sink's answer at the end of a stream. */
struct verdict {
        uint64_t bytes;
        uint64_t wrong;
};

/* A connection that a server has accepted, or its listening socket. */
struct flow {
        int fd;
        bool listens;
        bool wrong;
        bool answered;
        uint64_t received;
        struct head head;
        unsigned char *held;                    /* echo: what the peer did not take yet */
        size_t held_len;
        size_t held_at;
};

/* A client's connection; an exchange is what goes out and comes back once. */
struct client {
        int fd;
        bool connecting;
        uint32_t events;                        /* as registered */
        uint64_t place;
        uint64_t sent;
        uint64_t received;
        int64_t began_ns;
        struct verdict verdict;
};

struct bench {
        const struct options *options;
        int epoll;
        unsigned char *pattern;                 /* PERIOD + SLICE bytes: a slice from any place is in one piece */
        unsigned char *scratch;                 /* SLICE bytes */
        struct client *clients;                 /* at_once of them */
        uint64_t exchange;                      /* bytes each way */
        uint64_t connections;                   /* made so far */
        uint64_t begun;                         /* exchanges; for idle, until they are open, connections */
        uint64_t done;
        uint64_t goal;
        uint32_t *latencies_ns;
};

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *format, ...) {
        int error = errno;
        va_list args;

        va_start(args, format);
        fputs("bulk: ", stderr);
        vfprintf(stderr, format, args);
        if (error)
                fprintf(stderr, ": %s", strerror(error));
        fputc('\n', stderr);
        va_end(args);
        exit(1);
}

static int64_t now_ns(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* What is left until the deadline, for poll(); the end where nothing is. */
static int remaining_ms(const struct options *options) {
        int64_t left = (options->deadline_ns - now_ns()) / 1000000;

        if (left <= 0) {
                errno = 0;
                die("%s: not done by the deadline", mode_names[options->mode]);
        }
        return (int)left;
}

static void *allocate(size_t n, size_t size) {
        void *p = calloc(n, size);

        if (!p)
                die("no memory");
        return p;
}

/*
 * What is read to starts with a page, as what the kernel copies it from mostly does: to a place some bytes beyond its
 * source, pages aside, which is where malloc() puts it, AMD's Zen 3 takes three times as long to copy.
 */
static void *allocate_pages(size_t n) {
        size_t whole = (n + PAGE - 1) / PAGE * PAGE;
        void *p = aligned_alloc(PAGE, whole);

        if (!p)
                die("no memory");
        return memset(p, 0, whole);
}

static void bench_init(struct bench *bench, const struct options *options) {
        uint32_t x = 2463534242u;

        *bench = (struct bench){.options = options, .epoll = epoll_create1(EPOLL_CLOEXEC)};
        if (bench->epoll < 0)
                die("epoll_create1");
        bench->pattern = allocate_pages(PERIOD + SLICE);
        bench->scratch = allocate_pages(SLICE);
        for (size_t i = 0; i < PERIOD; i++) {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                bench->pattern[i] = (unsigned char)x;
        }
        for (size_t i = PERIOD; i < PERIOD + SLICE; i++)
                bench->pattern[i] = bench->pattern[i - PERIOD];
}

static void bench_deinit(struct bench *bench) {
        close(bench->epoll);
        free(bench->pattern);
        free(bench->scratch);
        free(bench->clients);
        free(bench->latencies_ns);
}

static const unsigned char *pattern_at(const struct bench *bench, uint64_t place) {
        return bench->pattern + place % PERIOD;
}

static void watch(const struct bench *bench, int op, int fd, uint32_t events, void *what) {
        struct epoll_event event = {.events = events, .data.ptr = what};

        if (epoll_ctl(bench->epoll, op, fd, &event) < 0)
                die("epoll_ctl");
}

/* Servers */

static void server_listen(const struct bench *bench, const struct address *address, struct flow *flow) {
        const struct sockaddr *name = (const struct sockaddr *)&address->name;
        int on = 1;

        *flow = (struct flow){.listens = true};
        flow->fd = socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (flow->fd < 0)
                die("socket");
        if (name->sa_family == AF_INET && setsockopt(flow->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
                die("SO_REUSEADDR");
        /* Inherited by what is accepted. */
        if (name->sa_family == AF_INET && setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
                die("TCP_NODELAY");
        if (bind(flow->fd, name, address->len) < 0)
                die("bind");
        if (listen(flow->fd, SOMAXCONN) < 0)
                die("listen");
        watch(bench, EPOLL_CTL_ADD, flow->fd, EPOLLIN, flow);
}

static void server_accept(const struct bench *bench, const struct flow *listener) {
        struct flow *flow;
        int fd;

        while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                flow = allocate(1, sizeof(*flow));
                flow->fd = fd;
                watch(bench, EPOLL_CTL_ADD, fd, EPOLLIN, flow);
        }
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                die("accept4");
}

static void flow_free(struct flow *flow) {
        close(flow->fd);
        free(flow->held);
        free(flow);
}

/* Counts n bytes of a stream, compares them with what they ought to be, and takes the head from the first ones. */
static void sink_take(const struct bench *bench, struct flow *flow, const unsigned char *data, size_t n) {
        while (n > 0 && flow->received < HEAD) {
                ((unsigned char *)&flow->head)[flow->received++] = *data++;
                n--;
        }
        if (n > 0 && bench->options->verify &&
            memcmp(data, pattern_at(bench, flow->head.place % PERIOD + flow->received - HEAD), n) != 0)
                flow->wrong = true;
        flow->received += n;
}

static void sink_answer(struct flow *flow) {
        struct verdict verdict = {.bytes = flow->received, .wrong = flow->wrong};

        flow->answered = true;
        if (send(flow->fd, &verdict, sizeof(verdict), MSG_NOSIGNAL) != (ssize_t)sizeof(verdict))
                fprintf(stderr, "bulk: sink: an answer was not taken: %s\n", strerror(errno));
}

static void sink_event(const struct bench *bench, struct flow *flow) {
        ssize_t n = recv(flow->fd, bench->scratch, SLICE, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0)
                sink_take(bench, flow, bench->scratch, (size_t)n);
        if (flow->answered && n > 0)
                fprintf(stderr, "bulk: sink: more arrived than was sent\n");
        /* The end, or one that came too early; after a reset nobody waits for the answer. */
        if (!flow->answered && (n == 0 || (flow->received >= HEAD && flow->received >= flow->head.bytes)))
                sink_answer(flow);
        if (n <= 0)
                flow_free(flow);
}

/* Sends what is held; false where the flow is gone. */
static bool echo_flush(const struct bench *bench, struct flow *flow) {
        ssize_t n = send(flow->fd, flow->held + flow->held_at, flow->held_len - flow->held_at, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
                flow_free(flow);
                return false;
        }
        flow->held_at += n > 0 ? (size_t)n : 0;
        if (flow->held_at < flow->held_len)
                return true;
        free(flow->held);
        flow->held = NULL;
        watch(bench, EPOLL_CTL_MOD, flow->fd, EPOLLIN, flow);
        return true;
}

static void echo_event(const struct bench *bench, struct flow *flow) {
        ssize_t sent, n;

        if (flow->held && (!echo_flush(bench, flow) || flow->held))
                return;
        n = recv(flow->fd, bench->scratch, SLICE, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                flow_free(flow);
                return;
        }
        sent = send(flow->fd, bench->scratch, (size_t)n, MSG_NOSIGNAL);
        if (sent == n)
                return;
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
                flow_free(flow);
                return;
        }
        sent = sent < 0 ? 0 : sent;
        flow->held_at = 0;
        flow->held_len = (size_t)(n - sent);
        flow->held = allocate(flow->held_len, 1);
        memcpy(flow->held, bench->scratch + sent, flow->held_len);
        watch(bench, EPOLL_CTL_MOD, flow->fd, EPOLLOUT, flow);
}

static void server_run(struct bench *bench) {
        const struct options *options = bench->options;
        struct epoll_event events[EVENTS];
        struct flow listeners[ADDRESSES_MAX];

        for (unsigned i = 0; i < options->n_addresses; i++)
                server_listen(bench, &options->addresses[i], &listeners[i]);
        puts("ready");
        fflush(stdout);
        for (;;) {
                int n = epoll_wait(bench->epoll, events, EVENTS, remaining_ms(options));

                if (n < 0 && errno != EINTR)
                        die("epoll_wait");
                for (int i = 0; i < n; i++) {
                        struct flow *flow = events[i].data.ptr;

                        if (flow->listens)
                                server_accept(bench, flow);
                        else if (options->mode == MODE_SINK)
                                sink_event(bench, flow);
                        else
                                echo_event(bench, flow);
                }
        }
}

/* Clients */

static void client_want(const struct bench *bench, struct client *client, uint32_t events) {
        if (client->events != events)
                watch(bench, client->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, client->fd, events, client);
        client->events = events;
}

/* Each connection comes from another address of 127/8, so that many short ones do not run out of ports. */
static void client_bind(const struct client *client, uint64_t number) {
        struct sockaddr_in source = {.sin_family = AF_INET};
        int on = 1;

        source.sin_addr.s_addr = htonl(0x7f400000u + 1 + (uint32_t)(number % SOURCES));
        if (setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0)
                die("IP_BIND_ADDRESS_NO_PORT");
        if (bind(client->fd, (struct sockaddr *)&source, sizeof(source)) < 0)
                die("bind to a source address");
        if (setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
                die("TCP_NODELAY");
}

static void client_send(struct bench *bench, struct client *client) {
        bool stream = bench->options->mode == MODE_SOURCE;
        struct head first = {.place = client->place, .bytes = bench->exchange};
        uint64_t head = stream ? HEAD : 0;
        uint64_t at = client->sent < head ? 0 : client->sent - head;
        uint64_t left = bench->exchange - (client->sent < head ? head : client->sent);
        struct iovec pieces[2] = {
                {.iov_base = (unsigned char *)&first + (client->sent < head ? client->sent : 0),
                 .iov_len = client->sent < head ? head - client->sent : 0},
                {.iov_base = (void *)pattern_at(bench, client->place + at), .iov_len = left < SLICE ? left : SLICE},
        };
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
        ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
                die("send after %" PRIu64 " bytes", client->sent);
        client->sent += n > 0 ? (uint64_t)n : 0;
        /* A long exchange comes back while it still goes out. */
        if (client->sent == bench->exchange)
                client_want(bench, client, EPOLLIN);
        else
                client_want(bench, client, stream ? EPOLLOUT : EPOLLIN | EPOLLOUT);
}

static void client_begin(struct bench *bench, struct client *client) {
        bench->begun++;
        client->sent = 0;
        client->received = 0;
        if (bench->options->mode != MODE_SHORT)
                client->began_ns = now_ns();
        client_send(bench, client);
}

/* The connection stands. */
static void client_open(struct bench *bench, struct client *client) {
        const struct options *options = bench->options;

        client->connecting = false;
        if (options->mode != MODE_IDLE) {
                client_begin(bench, client);
                return;
        }
        client_want(bench, client, EPOLLIN);
        bench->done++;
}

static void client_connect(struct bench *bench, struct client *client) {
        const struct address *address = &bench->options->addresses[0];
        const struct sockaddr *name = (const struct sockaddr *)&address->name;
        struct timespec pause = {.tv_nsec = 1000000};
        uint64_t number = bench->connections++;
        int r;

        *client = (struct client){.fd = socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                  .connecting = true, .place = number * 40503 % PERIOD, .began_ns = now_ns()};
        if (client->fd < 0)
                die("socket");
        if (name->sa_family == AF_INET)
                client_bind(client, number);
        /* A full AF_UNIX backlog is EAGAIN, and nothing tells when it has room. */
        while ((r = connect(client->fd, name, address->len)) < 0 && errno == EAGAIN && remaining_ms(bench->options) > 0)
                nanosleep(&pause, NULL);
        if (r == 0)
                client_open(bench, client);
        else if (errno == EINPROGRESS)
                client_want(bench, client, EPOLLOUT);
        else
                die("connect");
}

/* An exchange is complete. */
static void client_done(struct bench *bench, struct client *client) {
        enum mode mode = bench->options->mode;
        int64_t latency_ns = now_ns() - client->began_ns;

        bench->done++;
        if (bench->latencies_ns)
                bench->latencies_ns[bench->done - 1] = latency_ns < UINT32_MAX ? (uint32_t)latency_ns : UINT32_MAX;
        if (mode == MODE_SHORT || mode == MODE_SOURCE) {
                close(client->fd);
                client->fd = -1;
        }
        if (mode == MODE_SHORT && bench->connections < bench->goal)
                client_connect(bench, client);
        else if (mode == MODE_PINGPONG && bench->begun < bench->goal)
                client_begin(bench, client);
}

/* Reads of the sink's answer what has come. */
static void client_verdict(struct bench *bench, struct client *client) {
        size_t have = client->received;
        ssize_t n = recv(client->fd, (unsigned char *)&client->verdict + have, sizeof(client->verdict) - have, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0)
                die("recv of the sink's answer");
        client->received += (uint64_t)n;
        errno = 0;
        if (n == 0)
                die("the stream ended without the sink's answer");
        if (client->received < sizeof(client->verdict))
                return;
        if (client->verdict.bytes != bench->exchange || client->verdict.wrong)
                die("sent %" PRIu64 " bytes, %" PRIu64 " arrived%s", bench->exchange, client->verdict.bytes,
                    client->verdict.wrong ? ", not the same" : "");
        client_done(bench, client);
}

static void client_recv(struct bench *bench, struct client *client) {
        uint64_t left = bench->exchange - client->received;
        ssize_t n = recv(client->fd, bench->scratch, left > 0 && left < SLICE ? left : SLICE, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0)
                die("recv after %" PRIu64 " bytes", client->received);
        errno = 0;
        if (n == 0)
                die("closed by the peer after %" PRIu64 " of %" PRIu64 " bytes", client->received, bench->exchange);
        if ((uint64_t)n > left)
                die("more came back than was sent");
        if (memcmp(bench->scratch, pattern_at(bench, client->place + client->received), (size_t)n) != 0)
                die("wrong bytes between %" PRIu64 " and %" PRIu64, client->received, client->received + (uint64_t)n);
        client->received += (uint64_t)n;
        if (client->received == bench->exchange)
                client_done(bench, client);
}

static void client_event(struct bench *bench, struct client *client, uint32_t events) {
        socklen_t len = sizeof(int);
        int error = 0;

        if (client->connecting) {
                if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
                        errno = error ? error : errno;
                        die("connect");
                }
                client_open(bench, client);
                return;
        }
        if (events & EPOLLOUT) {
                client_send(bench, client);
                return;
        }
        if (bench->options->mode == MODE_SOURCE)
                client_verdict(bench, client);
        else
                client_recv(bench, client);
}

/* Idle connections open, and later pass bytes, some at a time. */
static void idle_top_up(struct bench *bench) {
        while (bench->begun < bench->goal && bench->begun - bench->done < ACTIVE_MAX) {
                if (bench->exchange) {
                        client_begin(bench, &bench->clients[bench->begun]);
                } else {
                        bench->begun++;
                        client_connect(bench, &bench->clients[bench->begun - 1]);
                }
        }
}

/* Handles events until bench->goal of them are done.  Returns the seconds that it took. */
static double clients_run(struct bench *bench, int64_t began_ns) {
        struct epoll_event events[EVENTS];

        for (;;) {
                int n;

                if (bench->options->mode == MODE_IDLE)
                        idle_top_up(bench);
                if (bench->done == bench->goal)
                        break;
                n = epoll_wait(bench->epoll, events, EVENTS, remaining_ms(bench->options));

                if (n < 0 && errno != EINTR)
                        die("epoll_wait");
                for (int i = 0; i < n; i++)
                        client_event(bench, events[i].data.ptr, events[i].events);
        }
        return (double)(now_ns() - began_ns) / 1e9;
}

static int compare_u32(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

static void report(struct bench *bench, double seconds) {
        const struct options *options = bench->options;

        printf("{\"mode\": \"%s\", \"at_once\": %u, \"done\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seconds\": %.6f",
               mode_names[options->mode], options->at_once, bench->done, bench->done * bench->exchange, seconds);
        if (bench->latencies_ns) {
                qsort(bench->latencies_ns, bench->done, sizeof(*bench->latencies_ns), compare_u32);
                printf(", \"p50_us\": %.1f, \"p99_us\": %.1f", bench->latencies_ns[bench->done / 2] / 1e3,
                       bench->latencies_ns[bench->done * 99 / 100] / 1e3);
        }
        puts("}");
        fflush(stdout);
}

/* Waits for a line on stdin; false at its end. */
static bool next_line(const struct options *options) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        char c = 0;

        do {
                if (poll(&in, 1, remaining_ms(options)) <= 0)
                        continue;
                if (read(STDIN_FILENO, &c, 1) <= 0)
                        return false;
        } while (c != '\n');
        return true;
}

static void idle_run(struct bench *bench) {
        const struct options *options = bench->options;

        bench->goal = options->at_once;
        while (next_line(options)) {
                bench->begun = bench->done = 0;
                report(bench, clients_run(bench, now_ns()));
                bench->exchange = options->bytes;
        }
}

static void load_run(struct bench *bench) {
        const struct options *options = bench->options;
        int64_t began_ns = now_ns();

        bench->goal = options->mode == MODE_SOURCE ? options->at_once : options->total;
        bench->exchange = options->mode == MODE_SOURCE ? options->bytes : options->size;
        if (options->mode != MODE_SOURCE)
                bench->latencies_ns = allocate(options->total, sizeof(*bench->latencies_ns));
        for (unsigned i = 0; i < options->at_once; i++)
                client_connect(bench, &bench->clients[i]);
        report(bench, clients_run(bench, began_ns));
}

/* Options */

__attribute__((noreturn))
static void usage(const char *wrong) {
        fprintf(stderr, "bulk: %s\n"
                        "usage: bulk sink|echo [-v] [-t SECONDS] ADDRESS...\n"
                        "       bulk source|short|pingpong|idle [-c AT-ONCE] [-n TOTAL] [-b BYTES] [-s SIZE] "
                        "[-t SECONDS] ADDRESS\n", wrong);
        exit(EX_USAGE);
}

/* A number of min to max, with K, M or G as powers of 1024. */
static uint64_t parse_number(const char *text, uint64_t min, uint64_t max) {
        static const char units[] = "KMG";
        const char *unit;
        char *end;
        uint64_t value;
        unsigned shift = 0;

        errno = 0;
        value = strtoull(text, &end, 10);
        if (*end && (unit = strchr(units, *end))) {
                shift = 10 * (unsigned)(unit - units + 1);
                end++;
        }
        if (errno || end == text || *end || text[0] == '-' || value > max >> shift || value << shift < min)
                usage(text);
        return value << shift;
}

static void parse_address(const char *text, struct address *address) {
        struct sockaddr_un *un = (struct sockaddr_un *)&address->name;
        struct sockaddr_in *in = (struct sockaddr_in *)&address->name;
        const char *colon = strrchr(text, ':');
        char host[INET_ADDRSTRLEN];
        size_t n;

        *address = (struct address){.len = sizeof(*in)};
        if (strncmp(text, "unix:", 5) == 0) {
                n = strlen(text + 5);
                if (n == 0 || n >= sizeof(un->sun_path))
                        usage(text);
                un->sun_family = AF_UNIX;
                memcpy(un->sun_path, text + 5, n);
                address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (text[5] != '@'));
                if (text[5] == '@')
                        un->sun_path[0] = '\0';
                return;
        }
        if (!colon || (size_t)(colon - text) >= sizeof(host))
                usage(text);
        memcpy(host, text, (size_t)(colon - text));
        host[colon - text] = '\0';
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)parse_number(colon + 1, 1, UINT16_MAX));
        if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
                usage(text);
}

static void parse_options(int argc, char **argv, struct options *options) {
        int64_t seconds = 60;
        int c;

        *options = (struct options){.at_once = 1, .total = 1, .bytes = 1 << 20, .size = 64};
        while (argc > 1 && options->mode <= MODE_IDLE && strcmp(argv[1], mode_names[options->mode]) != 0)
                options->mode++;
        if (argc < 2 || options->mode > MODE_IDLE)
                usage("no such mode");
        argc--;
        argv++;
        while ((c = getopt(argc, argv, "c:n:b:s:t:v")) != -1) {
                switch (c) {
                case 'c': options->at_once = (unsigned)parse_number(optarg, 1, COUNT_MAX); break;
                case 'n': options->total = parse_number(optarg, 1, COUNT_MAX); break;
                case 'b': options->bytes = parse_number(optarg, HEAD, UINT64_C(1) << 40); break;
                case 's': options->size = parse_number(optarg, 1, UINT64_C(1) << 30); break;
                case 't': seconds = (int64_t)parse_number(optarg, 1, 3600); break;
                case 'v': options->verify = true; break;
                default: usage("no such option");
                }
        }
        while (optind < argc) {
                if (options->n_addresses == (options->mode <= MODE_ECHO ? ADDRESSES_MAX : 1))
                        usage("too many addresses");
                parse_address(argv[optind++], &options->addresses[options->n_addresses++]);
        }
        if (options->n_addresses == 0)
                usage("no address");
        /* More connections than exchanges would never be used. */
        if ((options->mode == MODE_SHORT || options->mode == MODE_PINGPONG) && options->at_once > options->total)
                options->at_once = (unsigned)options->total;
        options->deadline_ns = now_ns() + seconds * 1000000000;
}

int main(int argc, char **argv) {
        struct options options;
        struct bench bench;

        parse_options(argc, argv, &options);
        /* Whoever started a server may be killed: it must not outlive that by its whole deadline. */
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                die("prctl");
        bench_init(&bench, &options);
        if (options.mode <= MODE_ECHO)
                server_run(&bench);
        bench.clients = allocate(options.at_once, sizeof(*bench.clients));
        if (options.mode == MODE_IDLE)
                idle_run(&bench);
        else
                load_run(&bench);
        bench_deinit(&bench);
        return 0;
}
