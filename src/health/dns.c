/* SPDX-License-Identifier: ISC */
#include "health/dns.h"

/* Newer versions would rather have records parsed by themselves; 1.18 has no such calls. */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "health/dns_answer.h"

#define DNS_RESOLV_CONF "/etc/resolv.conf"
#define DNS_TRIES 2             /* for each name server */
#define DNS_CLASS_IN 1

struct dns {
        const struct conf_resolver *conf;
        ares_channel files;             /* /etc/hosts alone; answers at once */
        ares_channel servers;           /* name servers alone */
        struct ares_options system;     /* for its search list */
        struct stat resolv_conf;        /* as it was when `servers` was made; all zero: it was not there */
        struct pollfd *fds;             /* of `servers`, after one place for the caller's */
        size_t n_fds, size_fds;
        size_t pending;
        int closing;
        struct dns_answer_records records;      /* of the message that is being read */
};

struct dns_lookup;

/* Addresses of one family of one name. */
struct dns_part {
        struct dns_lookup *lookup;
        struct dns_target *target;
        enum dns_answer_type type;
        enum dns_state state;
        struct in6_addr *list;          /* owned; an IPv4 address in its first four bytes */
        size_t n, left_out;
};

struct dns_target {
        const char *name;
        uint16_t port, priority, weight;
        int srv;                        /* it comes from an SRV record */
        int step;                       /* in the search list */
        unsigned missing;               /* answers that are to come */
        struct dns_part v4, v6;
};

struct dns_lookup {
        struct dns *dns;
        void (*done)(void *arg, const struct dns_answer *answer);
        void *arg;
        unsigned missing;               /* targets, or the answer that names them, that are to come */
        char *name;
        struct dns_target *targets;     /* owned; of a host name, one */
        struct dns_answer_records *srv; /* the targets' names */
        struct dns_answer answer;
        int from_file, from_server;     /* who said something */
        uint32_t ttl;                   /* the lowest */
};

/* Outcomes by their number.  c-ares also says "refused" of name servers that fail. */
static const char *dns_why(int status) {
        switch (status) {
        case ARES_ENOTFOUND:
                return "there is no such name";
        case ARES_ENODATA:
                return "the name has no such record";
        case ARES_ETIMEOUT:
                return "no name server answers";
        case ARES_ECONNREFUSED:
        case ARES_ESERVFAIL:
        case ARES_EREFUSED:
                return "the name servers fail or refuse";
        case ARES_EBADRESP:
                return "the answer makes no sense";
        case ARES_EBADNAME:
                return "that cannot be a name";
        case ARES_ENOMEM:
                return "out of memory";
        default:
                return "the look-up fails";
        }
}

static enum dns_state dns_state(int status) {
        if (status == ARES_SUCCESS)
                return DNS_GOOD;
        return status == ARES_ENOTFOUND || status == ARES_ENODATA ? DNS_EMPTY : DNS_FAILED;
}

/* c-ares opens and closes sockets as it likes; this is told what to wait for. */
static void dns_watch(void *arg, ares_socket_t fd, int readable, int writable) {
        struct dns *dns = arg;
        short events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
        size_t i = 1;

        while (i < dns->n_fds && dns->fds[i].fd != fd)
                i++;
        if (!events) {
                if (i < dns->n_fds)
                        dns->fds[i] = dns->fds[--dns->n_fds];
                return;
        }
        if (i == dns->size_fds) {
                struct pollfd *fds = realloc(dns->fds, 2 * dns->size_fds * sizeof(*fds));

                /* Then its look-ups time out. */
                if (!fds)
                        return;
                dns->fds = fds;
                dns->size_fds *= 2;
        }
        if (i == dns->n_fds)
                dns->n_fds++;
        dns->fds[i] = (struct pollfd){ .fd = fd, .events = events };
}

static int dns_errno(int status) {
        return status == ARES_SUCCESS ? 0 : status == ARES_ENOMEM ? -ENOMEM : -EIO;
}

/* The name servers of the config, in place of the system's. */
static int dns_set_servers(ares_channel channel, const struct conf_resolver *conf) {
        struct ares_addr_port_node *nodes = calloc(conf->n_servers, sizeof(*nodes));
        int status;

        if (!nodes)
                return ARES_ENOMEM;
        for (size_t i = 0; i < conf->n_servers; i++) {
                const struct addr *addr = &conf->servers[i];
                struct ares_addr_port_node *node = &nodes[i];

                node->next = i + 1 < conf->n_servers ? &nodes[i + 1] : NULL;
                node->family = addr_family(addr);
                if (node->family == AF_INET6) {
                        memcpy(&node->addr.addr6, &addr->in6.sin6_addr, sizeof(addr->in6.sin6_addr));
                        node->udp_port = ntohs(addr->in6.sin6_port);
                } else {
                        node->addr.addr4 = addr->in.sin_addr;
                        node->udp_port = ntohs(addr->in.sin_port);
                }
                node->tcp_port = node->udp_port;
        }
        status = ares_set_servers_ports(channel, nodes);
        free(nodes);
        return status;
}

/*
 * No EDNS: c-ares 1.18 takes it back in a way that a name server can do harm with.  Answers of more
 * than 512 bytes are asked for by TCP instead.
 */
static int dns_channel(struct dns *dns, ares_channel *channel, const char *lookups) {
        struct ares_options options = {
                .flags = ARES_FLAG_NOALIASES,
                .timeout = (int)dns->conf->timeout,
                .tries = DNS_TRIES,
                .lookups = (char *)lookups,
                .sock_state_cb = dns_watch,
                .sock_state_cb_data = dns,
        };
        int status = ares_init_options(channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);

        if (status == ARES_SUCCESS && dns->conf->n_servers) {
                status = dns_set_servers(*channel, dns->conf);
                if (status != ARES_SUCCESS) {
                        ares_destroy(*channel);
                        *channel = NULL;
                }
        }
        return dns_errno(status);
}

/* The channel to the name servers, with the search list of the system.  On failure all stays as it was. */
static int dns_open(struct dns *dns) {
        struct ares_options system;
        ares_channel channel;
        int mask, r = dns_channel(dns, &channel, "b");

        if (r < 0)
                return r;
        r = dns_errno(ares_save_options(channel, &system, &mask));
        if (r < 0) {
                ares_destroy_options(&system);
                ares_destroy(channel);
                return r;
        }
        ares_destroy_options(&dns->system);
        ares_destroy(dns->servers);
        dns->system = system;
        dns->servers = channel;
        return 0;
}

/* Whether the system's name servers may be others than those in use; *now is what the file is like. */
static int dns_changed(const struct dns *dns, struct stat *now) {
        const struct stat *then = &dns->resolv_conf;

        *now = (struct stat){ 0 };
        if (dns->conf->n_servers)
                return 0;
        if (stat(DNS_RESOLV_CONF, now) < 0)
                *now = (struct stat){ 0 };
        return now->st_ino != then->st_ino || now->st_dev != then->st_dev || now->st_size != then->st_size ||
               now->st_mtim.tv_sec != then->st_mtim.tv_sec || now->st_mtim.tv_nsec != then->st_mtim.tv_nsec;
}

/* Reads resolv.conf again; one that cannot be read, or a file that is gone, changes nothing. */
static void dns_refresh(struct dns *dns) {
        struct stat now;

        if (!dns->pending && dns_changed(dns, &now) && now.st_ino && dns_open(dns) == 0)
                dns->resolv_conf = now;
}

int dns_outdated(struct dns *dns) {
        struct stat now;

        return dns->pending && dns_changed(dns, &now) && now.st_ino;
}

int dns_new(struct dns **out, const struct conf_resolver *conf) {
        struct dns *dns = calloc(1, sizeof(*dns));
        struct stat now;
        int r;

        *out = NULL;
        if (!dns)
                return -ENOMEM;
        dns->conf = conf;
        dns->n_fds = 1;
        dns->size_fds = 8;
        dns->fds = calloc(dns->size_fds, sizeof(*dns->fds));
        r = dns->fds ? dns_errno(ares_library_init(ARES_LIB_INIT_ALL)) : -ENOMEM;
        if (r < 0) {
                free(dns->fds);
                free(dns);
                return r;
        }
        dns_changed(dns, &now);
        dns->resolv_conf = now;
        r = dns_channel(dns, &dns->files, "f");
        if (r == 0)
                r = dns_open(dns);
        if (r < 0) {
                dns_free(dns);
                return r;
        }
        *out = dns;
        return 0;
}

void dns_free(struct dns *dns) {
        if (!dns)
                return;
        dns->closing = 1;
        ares_destroy(dns->servers);
        ares_destroy(dns->files);
        ares_destroy_options(&dns->system);
        ares_library_cleanup();
        free(dns->fds);
        free(dns);
}

size_t dns_pending(const struct dns *dns) {
        return dns->pending;
}

int dns_reachable(const struct addr *addr) {
        int fd = socket(addr->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

        if (fd < 0)
                return errno != EAFNOSUPPORT && errno != EPROTONOSUPPORT;
        /* Of a datagram socket this sends nothing; it only looks for a route and a local address. */
        r = connect(fd, &addr->sa, addr->len);
        close(fd);
        return r == 0;
}

/* What can be reached comes first, then by priority. */
static int dns_compare(const struct dns_address *a, const struct dns_address *b) {
        if (a->unreachable != b->unreachable)
                return a->unreachable - b->unreachable;
        if (a->priority != b->priority)
                return a->priority < b->priority ? -1 : 1;
        if (a->addr.len != b->addr.len)
                return a->addr.len < b->addr.len ? -1 : 1;
        return memcmp(&a->addr.sa, &b->addr.sa, a->addr.len);
}

static void dns_add(struct dns_answer *answer, const struct dns_address *address) {
        size_t at = answer->n;

        for (size_t i = 0; i < answer->n; i++)
                if (addr_equal(&answer->list[i].addr, &address->addr))
                        return;
        while (at > 0 && dns_compare(address, &answer->list[at - 1]) < 0)
                at--;
        if (answer->n == DNS_ADDRESSES) {
                answer->left_out++;
                if (at == answer->n)
                        return;
        } else
                answer->n++;
        memmove(&answer->list[at + 1], &answer->list[at], (answer->n - 1 - at) * sizeof(*address));
        answer->list[at] = *address;
}

/* Adds what was found of one family of one name. */
static void dns_add_part(struct dns_lookup *lookup, const struct dns_part *part) {
        const struct dns_target *target = part->target;

        for (size_t i = 0; i < part->n; i++) {
                struct dns_address address = {
                        .addr = { .kind = ADDR_IP },
                        .priority = target->priority,
                        .weight = target->weight,
                        .share = target->srv ? (uint16_t)(target->v4.n + target->v6.n) : 0,
                };

                if (part->type == DNS_ANSWER_A) {
                        address.addr.in.sin_family = AF_INET;
                        memcpy(&address.addr.in.sin_addr, &part->list[i], sizeof(address.addr.in.sin_addr));
                        address.addr.in.sin_port = htons(target->port);
                        address.addr.len = sizeof(address.addr.in);
                } else {
                        address.addr.in6.sin6_family = AF_INET6;
                        address.addr.in6.sin6_addr = part->list[i];
                        address.addr.in6.sin6_port = htons(target->port);
                        address.addr.len = sizeof(address.addr.in6);
                        addr_unmap(&address.addr);
                }
                address.unreachable = !dns_reachable(&address.addr);
                dns_add(&lookup->answer, &address);
        }
        lookup->answer.left_out += part->left_out;
}

static void dns_worse(enum dns_state *state, enum dns_state other) {
        if (other > *state)
                *state = other;
}

static void dns_lookup_free(struct dns_lookup *lookup) {
        size_t n = lookup->srv ? lookup->srv->n : 1;

        for (size_t i = 0; lookup->targets && i < n; i++) {
                free(lookup->targets[i].v4.list);
                free(lookup->targets[i].v6.list);
        }
        free(lookup->targets);
        free(lookup->srv);
        free(lookup->name);
        free(lookup);
}

/* Puts together what the parts brought. */
static void dns_finish(struct dns_lookup *lookup) {
        struct dns_answer *answer = &lookup->answer;
        size_t n = lookup->srv ? lookup->srv->n : 1;

        for (size_t i = 0; lookup->targets && i < n; i++) {
                dns_add_part(lookup, &lookup->targets[i].v4);
                dns_add_part(lookup, &lookup->targets[i].v6);
                dns_worse(&answer->v4, lookup->targets[i].v4.state);
                dns_worse(&answer->v6, lookup->targets[i].v6.state);
        }
        if (lookup->srv)
                answer->left_out += lookup->srv->left_out;
        /* Where nothing can be reached this machine has no network yet, say, and all are as good. */
        while (answer->n > 0 && answer->list[answer->n - 1].unreachable && !answer->list[0].unreachable) {
                answer->n--;
                answer->left_out++;
        }
        /* A family without addresses is nothing to talk about where the other one has some. */
        if (answer->n > 0 && answer->v4 != DNS_FAILED && answer->v6 != DNS_FAILED)
                answer->why = NULL;
        answer->ttl_ms = lookup->from_server ? (int64_t)lookup->ttl * 1000 : lookup->from_file ? -1 : 0;
}

/* One less to come.  With the last one the look-up ends. */
static void dns_arrived(struct dns_lookup *lookup) {
        struct dns *dns = lookup->dns;

        if (--lookup->missing)
                return;
        dns->pending--;
        if (!dns->closing) {
                dns_finish(lookup);
                lookup->done(lookup->arg, &lookup->answer);
        }
        dns_lookup_free(lookup);
}

static void dns_note(struct dns_lookup *lookup, int status) {
        /* What failed is said first. */
        if (status != ARES_SUCCESS && (!lookup->answer.why || dns_state(status) == DNS_FAILED))
                lookup->answer.why = dns_why(status);
}

/* Reads an answer into dns->records.  Returns the status: that of c-ares, or what a look into the message says. */
static int dns_read(struct dns_lookup *lookup, int status, const unsigned char *message, int len,
                    enum dns_answer_type type) {
        struct dns_answer_records *records = &lookup->dns->records;

        if (status == ARES_SUCCESS) {
                if (dns_answer_parse(message, (size_t)len, type, records) < 0)
                        status = ARES_EBADRESP;
                else if (!records->n)
                        status = ARES_ENODATA;
        }
        if (status == ARES_SUCCESS) {
                if (!lookup->from_server || records->ttl < lookup->ttl)
                        lookup->ttl = records->ttl;
                lookup->from_server = 1;
        }
        dns_note(lookup, status);
        return status;
}

/* Keeps the addresses of dns->records.  Returns the status. */
static int dns_keep(struct dns_part *part) {
        const struct dns_answer_records *records = &part->lookup->dns->records;

        part->list = calloc(records->n, sizeof(*part->list));
        if (!part->list) {
                dns_note(part->lookup, ARES_ENOMEM);
                return ARES_ENOMEM;
        }
        for (size_t i = 0; i < records->n; i++) {
                if (part->type == DNS_ANSWER_A)
                        memcpy(&part->list[i], &records->list[i].v4, sizeof(records->list[i].v4));
                else
                        part->list[i] = records->list[i].v6;
        }
        part->n = records->n;
        part->left_out = records->left_out;
        return ARES_SUCCESS;
}

/*
 * What to ask for next: the name itself and the name in each domain of the search list, in the order that the
 * system's options want.  Returns 0 where there is nothing left.
 */
static int dns_candidate(const struct dns *dns, struct dns_target *target, char *name, size_t size) {
        int domains = dns->system.ndomains, dots = 0, n;
        size_t len = strlen(target->name);

        for (const char *c = target->name; *c; c++)
                dots += *c == '.';
        if (target->srv || (len && target->name[len - 1] == '.'))
                domains = 0;
        while (target->step <= domains) {
                int domain = target->step++ - (dots >= dns->system.ndots);

                if (domains == 0 || domain < 0 || domain == domains)
                        n = snprintf(name, size, "%s", target->name);
                else
                        n = snprintf(name, size, "%s.%s", target->name, dns->system.domains[domain]);
                /* One that is too long does not exist. */
                if (n >= 0 && (size_t)n < size)
                        return 1;
        }
        return 0;
}

static void dns_arrived(struct dns_lookup *lookup);
static void dns_part_arrived(struct dns_target *target);

static void dns_got_part(void *arg, int status, int timeouts, unsigned char *message, int len) {
        struct dns_part *part = arg;

        status = dns_read(part->lookup, status, message, len, part->type);
        if (status == ARES_SUCCESS)
                status = dns_keep(part);
        part->state = dns_state(status);
        dns_part_arrived(part->target);
}

/* Asks for both families of the next candidate, or has done. */
static void dns_step(struct dns_target *target) {
        struct dns_lookup *lookup = target->v4.lookup;
        char name[DNS_ANSWER_NAME_SIZE];

        if (!dns_candidate(lookup->dns, target, name, sizeof(name))) {
                dns_arrived(lookup);
                return;
        }
        /* One too many, so that it cannot end in here. */
        target->missing = 3;
        ares_query(lookup->dns->servers, name, DNS_CLASS_IN, DNS_ANSWER_A, dns_got_part, &target->v4);
        ares_query(lookup->dns->servers, name, DNS_CLASS_IN, DNS_ANSWER_AAAA, dns_got_part, &target->v6);
        dns_part_arrived(target);
}

/* Both families of a name are looked for in the same place: where one has addresses, or is not known. */
static void dns_part_arrived(struct dns_target *target) {
        if (--target->missing)
                return;
        if (target->v4.state == DNS_EMPTY && target->v6.state == DNS_EMPTY)
                dns_step(target);
        else
                dns_arrived(target->v4.lookup);
}

/* Takes the addresses of one family from what the hosts file says. */
static void dns_take_file(struct dns_part *part, const struct ares_addrinfo *info, int family) {
        struct dns_answer_records *records = &part->lookup->dns->records;

        records->n = records->left_out = 0;
        for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
                struct dns_answer_record *record = &records->list[records->n];

                if (node->ai_family != family)
                        continue;
                if (records->n == DNS_ANSWER_RECORDS) {
                        records->left_out++;
                        continue;
                }
                if (family == AF_INET)
                        record->v4 = ((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr;
                else
                        record->v6 = ((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr;
                records->n++;
        }
        part->state = records->n ? dns_state(dns_keep(part)) : DNS_EMPTY;
}

/* The hosts file speaks for both families, as it does for the C library. */
static void dns_got_file(void *arg, int status, int timeouts, struct ares_addrinfo *info) {
        struct dns_target *target = arg;

        if (status == ARES_SUCCESS) {
                dns_take_file(&target->v4, info, AF_INET);
                dns_take_file(&target->v6, info, AF_INET6);
                target->v4.lookup->from_file = 1;
        }
        ares_freeaddrinfo(info);
}

/* Asks for the addresses of a name; dns_arrived() tells that they are there. */
static void dns_ask(struct dns_lookup *lookup, struct dns_target *target) {
        static const struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC };

        target->v4 = (struct dns_part){ .lookup = lookup, .target = target, .type = DNS_ANSWER_A };
        target->v6 = (struct dns_part){ .lookup = lookup, .target = target, .type = DNS_ANSWER_AAAA };
        /* Without a name server in it, this has called back when it returns. */
        ares_getaddrinfo(lookup->dns->files, target->name, NULL, &hints, dns_got_file, target);
        if (target->v4.n || target->v6.n)
                dns_arrived(lookup);
        else
                dns_step(target);
}

/* Makes targets of the SRV records in dns->records.  Returns the status. */
static int dns_targets(struct dns_lookup *lookup) {
        lookup->srv = malloc(sizeof(*lookup->srv));
        lookup->targets = calloc(lookup->dns->records.n, sizeof(*lookup->targets));
        if (!lookup->srv || !lookup->targets) {
                free(lookup->srv);
                free(lookup->targets);
                lookup->srv = NULL;
                lookup->targets = NULL;
                dns_note(lookup, ARES_ENOMEM);
                return ARES_ENOMEM;
        }
        *lookup->srv = lookup->dns->records;
        for (size_t i = 0; i < lookup->srv->n; i++) {
                const struct dns_answer_record *record = &lookup->srv->list[i];

                lookup->targets[i] = (struct dns_target){
                        .name = record->srv.target, .port = record->srv.port, .priority = record->srv.priority,
                        .weight = record->srv.weight, .srv = 1,
                };
        }
        return ARES_SUCCESS;
}

static void dns_got_srv(void *arg, int status, int timeouts, unsigned char *message, int len) {
        struct dns_lookup *lookup = arg;

        status = dns_read(lookup, status, message, len, DNS_ANSWER_SRV);
        if (status == ARES_SUCCESS && !lookup->dns->closing)
                status = dns_targets(lookup);
        lookup->answer.v4 = lookup->answer.v6 = dns_state(status);
        for (size_t i = 0; lookup->targets && i < lookup->srv->n; i++) {
                lookup->missing++;
                dns_ask(lookup, &lookup->targets[i]);
        }
        dns_arrived(lookup);
}

static struct dns_lookup *dns_lookup(struct dns *dns, const char *name,
                                     void (*done)(void *arg, const struct dns_answer *answer), void *arg) {
        struct dns_lookup *lookup = calloc(1, sizeof(*lookup));

        if (!lookup)
                return NULL;
        lookup->dns = dns;
        lookup->done = done;
        lookup->arg = arg;
        lookup->missing = 1;
        lookup->name = strdup(name);
        if (!lookup->name) {
                free(lookup);
                return NULL;
        }
        dns_refresh(dns);
        dns->pending++;
        return lookup;
}

int dns_host(struct dns *dns, const char *host, uint16_t port,
             void (*done)(void *arg, const struct dns_answer *answer), void *arg) {
        struct dns_target *target = calloc(1, sizeof(*target));
        struct dns_lookup *lookup = target ? dns_lookup(dns, host, done, arg) : NULL;

        if (!lookup) {
                free(target);
                return -ENOMEM;
        }
        lookup->targets = target;
        target->name = lookup->name;
        target->port = port;
        dns_ask(lookup, target);
        return 0;
}

int dns_srv(struct dns *dns, const char *name, void (*done)(void *arg, const struct dns_answer *answer), void *arg) {
        struct dns_lookup *lookup = dns_lookup(dns, name, done, arg);

        if (!lookup)
                return -ENOMEM;
        ares_query(dns->servers, lookup->name, DNS_CLASS_IN, DNS_ANSWER_SRV, dns_got_srv, lookup);
        return 0;
}

/* How long to wait: what c-ares wants, rounded up, but no longer than what the caller wants. */
static int dns_timeout(struct dns *dns, int64_t timeout_ms) {
        struct timeval tv, *most = ares_timeout(dns->servers, NULL, &tv);

        if (most) {
                int64_t ms = (int64_t)most->tv_sec * 1000 + most->tv_usec / 1000 + 1;

                timeout_ms = timeout_ms < 0 || ms < timeout_ms ? ms : timeout_ms;
        }
        return timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
}

int dns_wait(struct dns *dns, int wake, int64_t timeout_ms) {
        int timeout = dns_timeout(dns, timeout_ms), woken;
        struct pollfd *ready;
        size_t n = 0;

        dns->fds[0] = (struct pollfd){ .fd = wake, .events = POLLIN };
        if (poll(dns->fds, dns->n_fds, timeout) < 0)
                return errno == EINTR ? 0 : -errno;
        woken = dns->fds[0].revents != 0;
        /* c-ares changes the list while it works. */
        ready = malloc(dns->n_fds * sizeof(*ready));
        for (size_t i = 1; ready && i < dns->n_fds; i++)
                if (dns->fds[i].revents)
                        ready[n++] = dns->fds[i];
        for (size_t i = 0; i < n; i++)
                ares_process_fd(dns->servers, ready[i].revents & ~POLLOUT ? ready[i].fd : ARES_SOCKET_BAD,
                                ready[i].revents & POLLOUT ? ready[i].fd : ARES_SOCKET_BAD);
        free(ready);
        if (!n)
                ares_process_fd(dns->servers, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        return woken;
}
