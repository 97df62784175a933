/* SPDX-License-Identifier: ISC */
/*
 * stall: what clients notice when something happens to a proxy.
 *
 *   stall [-c SESSIONS] [-b BUSY] [-t SECONDS] 127.0.0.1:PORT
 *
 * Behind the proxy stands an echo server.  Through it go SESSIONS sessions, BUSY of which pass 1 KiB there and back
 * every 10 ms; one more that passes 64 bytes every millisecond, in a thread of its own; and a new connection
 * every 2 ms, whatever became of those before, that passes 64 bytes there and back and then expects its end.
 * Every byte that comes back is compared.
 *
 * Orders come as lines on stdin; each is answered by one line of JSON on stdout:
 *   open      opens the sessions and starts the rest
 *   begin     forgets what was measured
 *   end       passes 64 bytes over each idle session and tells what was measured since begin.  Sessions that are lost
 *             are opened again
 *   renew     replaces a hundredth of the idle sessions, at least one, by new ones, as time does
 *
 * Exit status: 0 at the end of stdin, 1 for a failed call or the deadline, 64 for usage.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EX_USAGE 64
#define NS_PER_MS INT64_C(1000000)
#define SMALL 64u                               /* bytes of a ping, of a new connection, of an idle session's check */
#define BIG 1024u                               /* bytes that a busy session passes */
#define PING_NS NS_PER_MS
#define BUSY_NS (10 * NS_PER_MS)                /* between two exchanges of a busy session */
#define FRESH_NS (2 * NS_PER_MS)                /* between two new connections */
#define FRESH_MAX 4096                          /* new connections at a time */
#define FRESH_DEADLINE_NS (5000 * NS_PER_MS)    /* for each of them: its exchange and its end */
#define ACTIVE_MAX 64                           /* idle sessions that open or are checked at once */
#define SESSIONS_MAX 100000
#define SOURCES 4096                            /* addresses that clients connect from */
#define EVENTS 256
#define TIMES 10000                             /* pings are counted by how long they took, in steps of */
#define TIME_NS INT64_C(10000)

/* What may become of a connection. */
enum fate {
        FATE_DONE,                              /* every byte came back */
        FATE_REFUSED,
        FATE_RESET,
        FATE_CUT,                               /* ended before every byte had come back, or too late */
        FATE_WRONG,                             /* other bytes came back */
        FATES,
};

struct conn {
        int fd;                                 /* -1: none */
        bool fresh;
        bool connecting;
        bool waits;                             /* for the rest of an answer */
        uint32_t size;                          /* of the exchange */
        uint32_t received;
        uint64_t number;                        /* of the exchange: what its bytes are */
        int64_t began_ns;
};

struct pinger {
        pthread_t thread;
        struct sockaddr_in address;
        _Atomic int64_t longest_ns;
        _Atomic int64_t due_ns;                 /* of the ping that is under way */
        _Atomic uint32_t pings;
        _Atomic uint32_t times[TIMES];          /* the last one has all that took longer */
        _Atomic uint32_t lost;                  /* the session had to be opened again */
        _Atomic bool stop;
};

struct stall {
        struct sockaddr_in address;
        unsigned n_sessions, n_busy;
        int64_t deadline_ns;
        int epoll;
        struct conn *sessions;                  /* the busy ones first */
        struct conn fresh[FRESH_MAX];
        bool running;                           /* busy sessions and new connections */
        int64_t busy_due_ns, fresh_due_ns;
        unsigned next_busy, next_renewed;
        unsigned active;                        /* idle sessions whose opening or check goes on */
        uint64_t connections, exchanges, n_fresh;
        uint64_t fate_sessions[FATES], fate_fresh[FATES];
        struct pinger pinger;
};

__attribute__((noreturn))
static void die(const char *what) {
        fprintf(stderr, "stall: %s: %s\n", what, errno ? strerror(errno) : "not done by the deadline");
        exit(1);
}

static int64_t now_ns(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The bytes of an exchange: none but its own has them. */
static void fill(unsigned char *data, size_t size, uint64_t number) {
        for (size_t i = 0; i < size; i += sizeof(number))
                memcpy(data + i, &number, sizeof(number));
}

/* A socket whose address is one of many, so that many connections do not run out of ports. */
static int new_socket(uint64_t number, int flags) {
        struct sockaddr_in source = { .sin_family = AF_INET };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;

        source.sin_addr.s_addr = htonl(0x7f400000u + 1 + (uint32_t)(number % SOURCES));
        if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
            bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
                die("socket");
        return fd;
}

/* The pinging session */

static int ping_once(int fd, uint64_t number) {
        unsigned char sent[SMALL], received[SMALL];

        fill(sent, SMALL, number);
        return send(fd, sent, SMALL, MSG_NOSIGNAL) == SMALL && recv(fd, received, SMALL, MSG_WAITALL) == SMALL &&
               memcmp(sent, received, SMALL) == 0;
}

static int ping_open(const struct pinger *pinger) {
        struct timeval patience = { .tv_sec = 5 };

        while (!atomic_load(&pinger->stop)) {
                int fd = new_socket(SOURCES - 1, 0);

                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
                if (connect(fd, (const struct sockaddr *)&pinger->address, sizeof(pinger->address)) == 0)
                        return fd;
                close(fd);
                usleep(1000);
        }
        return -1;
}

static void *ping_main(void *arg) {
        struct pinger *pinger = arg;
        struct sched_param first = { .sched_priority = 2 };
        int64_t due_ns, late_ns;
        int fd;

        /* Where it is allowed: its own waiting for a CPU is nothing that the proxy does. */
        pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
        fd = ping_open(pinger);
        due_ns = now_ns();
        for (uint64_t number = UINT64_C(1) << 63; fd >= 0 && !atomic_load(&pinger->stop); number++) {
                struct timespec until = { .tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000 };

                atomic_store(&pinger->due_ns, due_ns);
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
                while (fd >= 0 && !ping_once(fd, number)) {
                        atomic_fetch_add(&pinger->lost, 1);
                        close(fd);
                        fd = ping_open(pinger);
                }
                late_ns = now_ns() - due_ns;
                if (late_ns > atomic_load(&pinger->longest_ns))
                        atomic_store(&pinger->longest_ns, late_ns);
                atomic_fetch_add(&pinger->pings, 1);
                atomic_fetch_add(&pinger->times[late_ns / TIME_NS < TIMES ? late_ns / TIME_NS : TIMES - 1], 1);
                due_ns += late_ns > PING_NS ? late_ns : PING_NS;
        }
        if (fd >= 0)
                close(fd);
        return NULL;
}

/* All other connections */

static void conn_watch(struct stall *stall, struct conn *conn, int op, uint32_t events) {
        struct epoll_event event = { .events = events, .data.ptr = conn };

        if (epoll_ctl(stall->epoll, op, conn->fd, &event) < 0)
                die("epoll_ctl");
}

static bool conn_is_idle(const struct stall *stall, const struct conn *conn) {
        return !conn->fresh && conn >= stall->sessions + stall->n_busy;
}

static void conn_settled(struct stall *stall, const struct conn *conn, bool was_waiting) {
        if (was_waiting && conn_is_idle(stall, conn))
                stall->active--;
}

static void conn_end(struct stall *stall, struct conn *conn, enum fate fate) {
        bool waited = conn->waits || conn->connecting;

        (conn->fresh ? stall->fate_fresh : stall->fate_sessions)[fate]++;
        close(conn->fd);
        conn->fd = -1;
        conn->waits = conn->connecting = false;
        conn_settled(stall, conn, waited);
}

static void conn_send(struct stall *stall, struct conn *conn, uint32_t size) {
        unsigned char data[BIG];
        bool waited = conn->waits || conn->connecting;

        conn->number = ++stall->exchanges;
        conn->size = size;
        conn->received = 0;
        conn->connecting = false;
        conn->waits = true;
        if (!waited && conn_is_idle(stall, conn))
                stall->active++;
        fill(data, size, conn->number);
        /* So few bytes always fit. */
        if (send(conn->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
                conn_end(stall, conn, FATE_RESET);
        else if (conn->fresh)
                shutdown(conn->fd, SHUT_WR);
}

static void conn_open(struct stall *stall, struct conn *conn) {
        bool fresh = conn->fresh;

        *conn = (struct conn){ .fresh = fresh, .connecting = true, .began_ns = now_ns() };
        conn->fd = new_socket(stall->connections++, SOCK_NONBLOCK);
        if (conn_is_idle(stall, conn))
                stall->active++;
        conn_watch(stall, conn, EPOLL_CTL_ADD, EPOLLOUT);
        if (connect(conn->fd, (struct sockaddr *)&stall->address, sizeof(stall->address)) < 0 && errno != EINPROGRESS)
                conn_end(stall, conn, FATE_REFUSED);
}

/* Takes what has come back of an exchange. */
static void conn_receive(struct stall *stall, struct conn *conn) {
        unsigned char data[BIG], expected[BIG];
        uint32_t want = conn->waits ? conn->size - conn->received : 0;
        ssize_t n = recv(conn->fd, data, want ? want : sizeof(data), 0);

        if (n < 0 && errno == EAGAIN)
                return;
        fill(expected, BIG, conn->number);
        if (n < 0) {
                conn_end(stall, conn, FATE_RESET);
        } else if (n == 0) {
                /* A new connection expects its end after all that it sent; the others expect none. */
                conn_end(stall, conn, conn->fresh && conn->received == conn->size ? FATE_DONE : FATE_CUT);
        } else if (!want || memcmp(data, expected + conn->received % 8, (size_t)n) != 0) {
                conn_end(stall, conn, FATE_WRONG);
        } else {
                conn->received += (uint32_t)n;
                if (conn->received == conn->size) {
                        conn->waits = false;
                        conn_settled(stall, conn, true);
                }
        }
}

static void conn_event(struct stall *stall, struct conn *conn) {
        socklen_t len = sizeof(int);
        int error = 0;

        if (conn->fd < 0)
                return;
        if (!conn->connecting) {
                conn_receive(stall, conn);
                return;
        }
        if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
                conn_end(stall, conn, error == ECONNREFUSED ? FATE_REFUSED : FATE_RESET);
                return;
        }
        conn_watch(stall, conn, EPOLL_CTL_MOD, EPOLLIN);
        /* An exchange at once: only then has the proxy connected to the server, too. */
        conn_send(stall, conn, SMALL);
}

static void fresh_begin(struct stall *stall, int64_t now) {
        struct conn *conn = &stall->fresh[stall->n_fresh++ % FRESH_MAX];

        /* The oldest there is. */
        if (conn->fd >= 0)
                conn_end(stall, conn, FATE_CUT);
        conn_open(stall, conn);
        for (uint64_t i = stall->n_fresh > FRESH_MAX ? stall->n_fresh - FRESH_MAX : 0; i < stall->n_fresh; i += 16) {
                conn = &stall->fresh[i % FRESH_MAX];
                if (conn->fd >= 0 && now - conn->began_ns > FRESH_DEADLINE_NS)
                        conn_end(stall, conn, FATE_CUT);
        }
}

/* Begins what is due.  A busy session whose answer has not come yet is passed over. */
static void stall_due(struct stall *stall) {
        int64_t now = now_ns();

        if (now >= stall->deadline_ns) {
                errno = 0;
                die("stall");
        }
        if (!stall->running)
                return;
        while (stall->n_busy && stall->busy_due_ns <= now) {
                struct conn *conn = &stall->sessions[stall->next_busy++ % stall->n_busy];

                if (conn->fd >= 0 && !conn->connecting && !conn->waits)
                        conn_send(stall, conn, BIG);
                stall->busy_due_ns += BUSY_NS / stall->n_busy;
        }
        while (stall->fresh_due_ns <= now) {
                fresh_begin(stall, now);
                stall->fresh_due_ns += FRESH_NS;
        }
}

/* One round of events.  stdin is among them as a null pointer.  Returns true where it has an order. */
static bool stall_round(struct stall *stall) {
        struct epoll_event events[EVENTS];
        bool order = false;
        int n = epoll_wait(stall->epoll, events, EVENTS, 1);

        if (n < 0 && errno != EINTR)
                die("epoll_wait");
        for (int i = 0; i < n; i++)
                if (events[i].data.ptr)
                        conn_event(stall, events[i].data.ptr);
                else
                        order = true;
        stall_due(stall);
        return order;
}

/* Opens whatever session is not there. */
static void stall_fill(struct stall *stall) {
        for (unsigned i = 0; i < stall->n_sessions; i++) {
                while (stall->active >= ACTIVE_MAX)
                        stall_round(stall);
                if (stall->sessions[i].fd < 0)
                        conn_open(stall, &stall->sessions[i]);
        }
        while (stall->active)
                stall_round(stall);
}

static void order_open(struct stall *stall) {
        stall_fill(stall);
        stall->running = true;
        stall->busy_due_ns = stall->fresh_due_ns = now_ns();
        stall->pinger.address = stall->address;
        atomic_store(&stall->pinger.due_ns, now_ns());
        errno = pthread_create(&stall->pinger.thread, NULL, ping_main, &stall->pinger);
        if (errno)
                die("pthread_create");
        puts("{}");
}

static void order_begin(struct stall *stall) {
        memset(stall->fate_sessions, 0, sizeof(stall->fate_sessions));
        memset(stall->fate_fresh, 0, sizeof(stall->fate_fresh));
        atomic_store(&stall->pinger.longest_ns, 0);
        atomic_store(&stall->pinger.pings, 0);
        for (unsigned i = 0; i < TIMES; i++)
                atomic_store(&stall->pinger.times[i], 0);
        atomic_store(&stall->pinger.lost, 0);
        puts("{}");
}

/* What 99 of 100 pings did not take longer than, in ms; 0 where there were none. */
static double ping_p99_ms(struct pinger *pinger) {
        uint64_t all = 0, n = 0;
        unsigned i = 0;

        for (unsigned k = 0; k < TIMES; k++)
                all += atomic_load(&pinger->times[k]);
        if (!all)
                return 0;
        while (i < TIMES - 1 && (n += atomic_load(&pinger->times[i])) * 100 < all * 99)
                i++;
        return (double)(i + 1) * TIME_NS / 1e6;
}

static void order_end(struct stall *stall) {
        int64_t longest_ns = atomic_load(&stall->pinger.longest_ns);
        int64_t going_on_ns = now_ns() - atomic_load(&stall->pinger.due_ns);
        double p99_ms = ping_p99_ms(&stall->pinger);
        uint64_t *sessions = stall->fate_sessions, *fresh = stall->fate_fresh;

        if (going_on_ns > longest_ns)
                longest_ns = going_on_ns;
        for (unsigned i = stall->n_busy; i < stall->n_sessions; i++) {
                while (stall->active >= ACTIVE_MAX)
                        stall_round(stall);
                if (stall->sessions[i].fd >= 0)
                        conn_send(stall, &stall->sessions[i], SMALL);
        }
        while (stall->active)
                stall_round(stall);
        printf("{\"longest_ms\": %.3f, \"p99_ms\": %.2f, \"pings\": %u, \"lost\": %" PRIu64 ", \"wrong\": %" PRIu64
               ", \"fresh\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"fresh_reset\": %" PRIu64
               ", \"fresh_cut\": %" PRIu64 "}\n", (double)longest_ns / 1e6, p99_ms, atomic_load(&stall->pinger.pings),
               sessions[FATE_REFUSED] + sessions[FATE_RESET] + sessions[FATE_CUT] + sessions[FATE_WRONG] +
               (atomic_load(&stall->pinger.lost) ? 1 : 0),
               sessions[FATE_WRONG] + fresh[FATE_WRONG], fresh[FATE_DONE], fresh[FATE_REFUSED], fresh[FATE_RESET],
               fresh[FATE_CUT]);
        fflush(stdout);
        stall_fill(stall);
}

static void order_renew(struct stall *stall) {
        unsigned idle = stall->n_sessions - stall->n_busy;

        for (unsigned i = 0; idle && i < idle / 100 + 1; i++) {
                struct conn *conn = &stall->sessions[stall->n_busy + stall->next_renewed++ % idle];

                if (conn->fd >= 0)
                        close(conn->fd);
                conn->fd = -1;
        }
        stall_fill(stall);
        puts("{}");
}

static void stall_run(struct stall *stall) {
        static const struct {
                const char *name;
                void (*run)(struct stall *stall);
        } orders[] = { { "open", order_open }, { "begin", order_begin }, { "end", order_end },
                       { "renew", order_renew } };
        struct epoll_event event = { .events = EPOLLIN };
        char line[16];

        if (epoll_ctl(stall->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
                die("epoll_ctl");
        setvbuf(stdin, NULL, _IONBF, 0);
        for (;;) {
                while (!stall_round(stall))
                        ;
                if (!fgets(line, sizeof(line), stdin))
                        break;
                line[strcspn(line, "\n")] = '\0';
                for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
                        if (strcmp(line, orders[i].name) == 0)
                                orders[i].run(stall);
                fflush(stdout);
        }
        atomic_store(&stall->pinger.stop, true);
        if (stall->running)
                pthread_join(stall->pinger.thread, NULL);
}

__attribute__((noreturn))
static void usage(void) {
        fputs("usage: stall [-c SESSIONS] [-b BUSY] [-t SECONDS] 127.0.0.1:PORT\n", stderr);
        exit(EX_USAGE);
}

static unsigned parse_number(const char *text, unsigned min, unsigned max) {
        char *end;
        unsigned long value = strtoul(text, &end, 10);

        if (end == text || *end || text[0] == '-' || value < min || value > max)
                usage();
        return (unsigned)value;
}

static void parse_options(struct stall *stall, int argc, char **argv) {
        unsigned seconds = 60;
        char *colon;
        int c;

        while ((c = getopt(argc, argv, "c:b:t:")) != -1) {
                switch (c) {
                case 'c': stall->n_sessions = parse_number(optarg, 1, SESSIONS_MAX); break;
                case 'b': stall->n_busy = parse_number(optarg, 0, SESSIONS_MAX); break;
                case 't': seconds = parse_number(optarg, 1, 3600); break;
                default: usage();
                }
        }
        colon = optind == argc - 1 ? strchr(argv[optind], ':') : NULL;
        if (!colon || stall->n_busy > stall->n_sessions)
                usage();
        *colon = '\0';
        stall->address = (struct sockaddr_in){ .sin_family = AF_INET,
                                               .sin_port = htons((uint16_t)parse_number(colon + 1, 1, UINT16_MAX)) };
        if (inet_pton(AF_INET, argv[optind], &stall->address.sin_addr) != 1)
                usage();
        stall->deadline_ns = now_ns() + (int64_t)seconds * 1000000000;
}

int main(int argc, char **argv) {
        struct stall *stall = calloc(1, sizeof(*stall));

        if (!stall)
                die("no memory");
        stall->n_sessions = 5000;
        stall->n_busy = 100;
        parse_options(stall, argc, argv);
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                die("prctl");
        stall->epoll = epoll_create1(EPOLL_CLOEXEC);
        stall->sessions = calloc(stall->n_sessions, sizeof(*stall->sessions));
        if (stall->epoll < 0 || !stall->sessions)
                die("epoll_create1");
        for (unsigned i = 0; i < stall->n_sessions; i++)
                stall->sessions[i].fd = -1;
        for (unsigned i = 0; i < FRESH_MAX; i++)
                stall->fresh[i] = (struct conn){ .fd = -1, .fresh = true };
        stall_run(stall);
        free(stall->sessions);
        free(stall);
        return 0;
}
