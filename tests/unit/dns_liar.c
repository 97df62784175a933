/* SPDX-License-Identifier: ISC */
#include "dns_liar.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 4096
#define HEADER 12
#define FLOOD 200

struct dns_liar {
        int udp, tcp, stop;
        uint16_t port;
        pthread_t thread;
};

/* A question and what is made of it. */
struct answer {
        unsigned char bytes[SIZE];
        size_t n;
        size_t question;        /* where it ends */
};

static void add(struct answer *a, const void *bytes, size_t n) {
        if (n <= SIZE - a->n) {
                memcpy(a->bytes + a->n, bytes, n);
                a->n += n;
        }
}

/* An A record of that owner ("\xc0\x0c": the name asked for); answers to AAAA stay empty. */
static void add_address(struct answer *a, const char *owner, size_t owner_len, unsigned char last) {
        const unsigned char rest[] = { 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 127, 0, 0, last };

        if (a->bytes[a->question - 3] != 1)
                return;
        add(a, owner, owner_len);
        add(a, rest, sizeof(rest));
        a->bytes[7]++;
}

static int is(const struct answer *a, const char *label) {
        size_t n = strlen(label);

        return a->bytes[HEADER] == n && memcmp(a->bytes + HEADER + 1, label, n) == 0;
}

/* Makes an answer of a question.  Returns 0 where there is none. */
static int answer_make(struct answer *a, int tcp) {
        size_t at = HEADER;

        while (at < a->n && a->bytes[at])
                at += 1 + a->bytes[at];
        a->question = a->n = at + 5;
        if (a->n > SIZE)
                return 0;
        a->bytes[2] |= 0x80;
        a->bytes[3] = 0x80;
        memset(a->bytes + 6, 0, 6);
        if (is(a, "honest") || is(a, "flood")) {
                add_address(a, "\xc0\x0c", 2, 1);
        } else if (is(a, "garbage")) {
                a->bytes[7] = 9;
                add(a, "\xff\xfe\xfd\xfc garbage", 12);
        } else if (is(a, "short")) {
                add_address(a, "\xc0\x0c", 2, 1);
                a->bytes[7] = 2;
        } else if (is(a, "foreign")) {
                add_address(a, "\x04" "bank" "\x04test", 11, 66);
        } else if (is(a, "formerr")) {
                a->bytes[3] |= 1;
        } else if (is(a, "servfail")) {
                a->bytes[3] |= 2;
        } else if (is(a, "wrongid")) {
                add_address(a, "\xc0\x0c", 2, 66);
                a->bytes[0] ^= 0x55;
        } else if (is(a, "otherquestion")) {
                add_address(a, "\xc0\x0c", 2, 66);
                a->bytes[HEADER + 1] = 'x';
        } else if (is(a, "truncated") || is(a, "torn")) {
                if (!tcp)
                        a->bytes[2] |= 2;
                add_address(a, "\xc0\x0c", 2, tcp ? 2 : 66);
        } else if (is(a, "empty")) {
                a->n = 0;
        } else if (is(a, "mute") || is(a, "_mute")) {
                return 0;
        } else {
                a->bytes[3] |= 5;
        }
        return 1;
}

static void liar_udp(struct dns_liar *liar) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        struct answer a = { 0 };
        ssize_t n = recvfrom(liar->udp, a.bytes, SIZE, 0, (struct sockaddr *)&from, &len);

        if (n < HEADER)
                return;
        a.n = (size_t)n;
        if (!answer_make(&a, 0))
                return;
        for (int i = is(&a, "flood") ? FLOOD : 1; i > 0; i--)
                sendto(liar->udp, a.bytes, a.n, 0, (struct sockaddr *)&from, len);
}

/* One question a connection; "torn" ends in the middle of the answer. */
static void liar_tcp(struct dns_liar *liar) {
        int fd = accept4(liar->tcp, NULL, NULL, SOCK_CLOEXEC);
        struct answer a = { 0 };
        unsigned char length[2];

        if (fd < 0)
                return;
        if (recv(fd, length, 2, MSG_WAITALL) == 2) {
                size_t n = (size_t)length[0] << 8 | length[1];

                if (n <= SIZE && recv(fd, a.bytes, n, MSG_WAITALL) == (ssize_t)n && n >= HEADER) {
                        a.n = n;
                        if (answer_make(&a, 1)) {
                                length[0] = (unsigned char)(a.n >> 8);
                                length[1] = (unsigned char)a.n;
                                send(fd, length, 2, MSG_NOSIGNAL);
                                send(fd, a.bytes, is(&a, "torn") ? a.n / 2 : a.n, MSG_NOSIGNAL);
                        }
                }
        }
        close(fd);
}

static void *liar_main(void *arg) {
        struct dns_liar *liar = arg;
        struct pollfd fds[] = {
                { .fd = liar->stop, .events = POLLIN },
                { .fd = liar->udp, .events = POLLIN },
                { .fd = liar->tcp, .events = POLLIN },
        };

        for (;;) {
                if (poll(fds, 3, -1) < 0)
                        continue;
                if (fds[0].revents)
                        return NULL;
                if (fds[1].revents)
                        liar_udp(liar);
                if (fds[2].revents)
                        liar_tcp(liar);
        }
}

struct dns_liar *dns_liar_start(void) {
        struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct dns_liar *liar = calloc(1, sizeof(*liar));
        socklen_t len = sizeof(addr);

        liar->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        liar->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        liar->stop = eventfd(0, EFD_CLOEXEC);
        if (bind(liar->tcp, (struct sockaddr *)&addr, len) < 0 || listen(liar->tcp, 16) < 0 ||
            getsockname(liar->tcp, (struct sockaddr *)&addr, &len) < 0 ||
            bind(liar->udp, (struct sockaddr *)&addr, len) < 0 ||
            pthread_create(&liar->thread, NULL, liar_main, liar) != 0) {
                perror("dns_liar_start");
                abort();
        }
        liar->port = ntohs(addr.sin_port);
        return liar;
}

uint16_t dns_liar_port(const struct dns_liar *liar) {
        return liar->port;
}

void dns_liar_stop(struct dns_liar *liar) {
        uint64_t one = 1;

        if (write(liar->stop, &one, sizeof(one)) != sizeof(one))
                abort();
        pthread_join(liar->thread, NULL);
        close(liar->stop);
        close(liar->udp);
        close(liar->tcp);
        free(liar);
}
