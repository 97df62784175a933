/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "dns_liar.h"
#include "health/dns.h"

/*
 * Look-ups with a real name server, Debian's dnsmasq, and with one that lies.  As root they run in namespaces of
 * their own; else what needs those is skipped.
 */

#define PATIENCE_MS 20000
#define MANY 100                        /* addresses of "many.test" */

struct waiter {
        int done;
        struct dns_answer answer;
};

static int isolated;
static pid_t dnsmasq[2];                 /* 0: not running */
static uint16_t dnsmasq_port;
static char hosts_path[] = "/tmp/spliced-dns-XXXXXX";

/* Who looks up: with the name server on that port of 127.0.0.1. */
struct rig {
        struct conf_resolver conf;
        struct addr servers[3];
        struct dns *dns;
};

static struct addr local(uint16_t port) {
        struct addr addr = { .kind = ADDR_IP, .len = sizeof(addr.in) };

        addr.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        return addr;
}

static void rig_open(struct rig *rig, size_t n, const uint16_t *ports, int64_t timeout) {
        memset(rig, 0, sizeof(*rig));
        for (size_t i = 0; i < n; i++)
                rig->servers[i] = local(ports[i]);
        rig->conf = (struct conf_resolver){ .servers = rig->servers, .n_servers = n, .timeout = timeout };
        assert_int_equal(dns_new(&rig->dns, &rig->conf), 0);
}

static void waiter_done(void *arg, const struct dns_answer *answer) {
        struct waiter *waiter = arg;

        waiter->done++;
        waiter->answer = *answer;
}

static void await(struct rig *rig, const struct waiter *waiter) {
        int64_t until = clock_now_ms() + PATIENCE_MS;

        while (!waiter->done && clock_now_ms() < until)
                assert_int_equal(dns_wait(rig->dns, -1, 1000), 0);
        assert_int_equal(waiter->done, 1);
        assert_int_equal(dns_pending(rig->dns), 0);
}

static void ask_host(struct rig *rig, struct waiter *waiter, const char *host) {
        waiter->done = 0;
        assert_int_equal(dns_host(rig->dns, host, 80, waiter_done, waiter), 0);
        await(rig, waiter);
}

static void ask_srv(struct rig *rig, struct waiter *waiter, const char *name) {
        waiter->done = 0;
        assert_int_equal(dns_srv(rig->dns, name, waiter_done, waiter), 0);
        await(rig, waiter);
}

/* The addresses as text; with weights where they have any: "127.0.0.1:80/10*3%1" is priority, weight and share. */
static const char *say(const struct dns_answer *answer) {
        static char text[16384];

        text[0] = '\0';
        for (size_t i = 0; i < answer->n; i++) {
                const struct dns_address *address = &answer->list[i];
                char addr[ADDR_STRLEN], *end = text + strlen(text);

                addr_format(&address->addr.sa, address->addr.len, addr, sizeof(addr));
                if (address->share)
                        sprintf(end, "%s%s/%u*%u%%%u", i ? " " : "", addr, address->priority, address->weight,
                                address->share);
                else
                        sprintf(end, "%s%s", i ? " " : "", addr);
        }
        return text;
}

static void expect(const struct waiter *waiter, enum dns_state v4, enum dns_state v6, const char *text) {
        assert_string_equal(say(&waiter->answer), text);
        assert_int_equal(waiter->answer.v4, v4);
        assert_int_equal(waiter->answer.v6, v6);
        /* There is a reason exactly where something is missing. */
        assert_int_equal(waiter->answer.why != NULL, !waiter->answer.n || v4 == DNS_FAILED || v6 == DNS_FAILED);
}

/* dnsmasq */

static uint16_t free_port(void) {
        struct addr addr = local(0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
        assert_int_equal(getsockname(fd, &addr.sa, &addr.len), 0);
        close(fd);
        return ntohs(addr.in.sin_port);
}

static void start_dnsmasq(int which, uint16_t port) {
        char port_text[32], hosts_text[64];

        snprintf(port_text, sizeof(port_text), "--port=%u", port);
        snprintf(hosts_text, sizeof(hosts_text), "--addn-hosts=%s", hosts_path);
        dnsmasq[which] = fork();
        assert_true(dnsmasq[which] >= 0);
        if (dnsmasq[which] == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                execlp("dnsmasq", "dnsmasq", "--conf-file=/dev/null", "--keep-in-foreground", "--log-facility=-",
                       "--no-resolv", "--no-hosts", "--user=root", "--pid-file", "--bind-interfaces",
                       "--listen-address=127.0.0.1", "--local=/test/", "--local-ttl=7", "--max-ttl=3600", port_text,
                       hosts_text, "--host-record=v4.test,127.0.0.4,30", "--host-record=v6.test,::1,40",
                       "--host-record=both.test,127.0.0.5,::1,50", "--cname=alias.test,v4.test,20",
                       "--host-record=away.test,10.9.9.8,50",
                       "--srv-host=_app._tcp.test,v4.test,8080,10,5", "--srv-host=_app._tcp.test,both.test,8081,20,6",
                       "--srv-host=_odd._tcp.test,v4.test,8080,10,5",
                       "--srv-host=_odd._tcp.test,gone.test,8080,10,5",
                       "--srv-host=_bad._tcp.test,v4.test,8080,10,5",
                       "--srv-host=_bad._tcp.test,elsewhere.example,8080,10,5",
                       "--srv-host=_local._tcp.test,localhost,8080,1,1", "--srv-host=_none._tcp.test", NULL);
                _exit(127);
        }
}

static void stop_dnsmasq(int which) {
        if (dnsmasq[which] > 0) {
                kill(dnsmasq[which], SIGKILL);
                waitpid(dnsmasq[which], NULL, 0);
        }
        dnsmasq[which] = 0;
}

static void write_hosts(void) {
        int fd = mkstemp(hosts_path);
        FILE *file = fdopen(fd, "w");

        assert_non_null(file);
        for (int i = MANY; i > 0; i--)
                fprintf(file, "127.0.1.%d many.test\n", i);
        fprintf(file, "10.9.9.9 far.test\n127.0.0.6 far.test\n");
        fchmod(fd, 0644);
        fclose(file);
}

static int set_up(void **unused) {
        static struct waiter waiter;
        const uint16_t *port = &dnsmasq_port;
        int64_t until = clock_now_ms() + PATIENCE_MS;
        struct rig rig;

        (void)unused;
        write_hosts();
        dnsmasq_port = free_port();
        start_dnsmasq(0, dnsmasq_port);
        do {
                rig_open(&rig, 1, port, 500);
                ask_host(&rig, &waiter, "v4.test");
                dns_free(rig.dns);
                if (!waiter.answer.n)
                        usleep(10000);
        } while (!waiter.answer.n && clock_now_ms() < until && waitpid(dnsmasq[0], NULL, WNOHANG) == 0);
        if (!waiter.answer.n) {
                print_message("dnsmasq does not run: %s\n", waiter.answer.why);
                stop_dnsmasq(0);
                unlink(hosts_path);
                return -1;
        }
        return 0;
}

static int tear_down(void **unused) {
        (void)unused;
        stop_dnsmasq(0);
        stop_dnsmasq(1);
        unlink(hosts_path);
        return 0;
}

static void test_host(void **unused) {
        static struct waiter waiter;
        struct rig rig;

        (void)unused;
        rig_open(&rig, 1, &dnsmasq_port, 2000);
        ask_host(&rig, &waiter, "v4.test");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.4:80");
        assert_int_equal(waiter.answer.ttl_ms, 30000);
        ask_host(&rig, &waiter, "V6.test.");
        expect(&waiter, DNS_EMPTY, DNS_GOOD, "[::1]:80");
        assert_int_equal(waiter.answer.ttl_ms, 40000);
        ask_host(&rig, &waiter, "both.test");
        expect(&waiter, DNS_GOOD, DNS_GOOD, "127.0.0.5:80 [::1]:80");
        ask_host(&rig, &waiter, "alias.test");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.4:80");
        assert_int_equal(waiter.answer.ttl_ms, 20000);
        ask_host(&rig, &waiter, "gone.test");
        expect(&waiter, DNS_EMPTY, DNS_EMPTY, "");
        assert_string_equal(waiter.answer.why, "there is no such name");
        /* It is told nothing about other names. */
        ask_host(&rig, &waiter, "elsewhere.example");
        expect(&waiter, DNS_FAILED, DNS_FAILED, "");
        assert_string_equal(waiter.answer.why, "the name servers fail or refuse");
        ask_host(&rig, &waiter, "not..a.name");
        expect(&waiter, DNS_FAILED, DNS_FAILED, "");
        dns_free(rig.dns);
}

static void test_file(void **unused) {
        static const uint16_t nobody[] = { 1 };
        static struct waiter waiter;
        struct rig rig;

        (void)unused;
        rig_open(&rig, 1, nobody, 2000);
        ask_host(&rig, &waiter, "localhost");
        assert_true(waiter.answer.n >= 1);
        assert_true(waiter.answer.v4 == DNS_GOOD || waiter.answer.v6 == DNS_GOOD);
        assert_int_equal(waiter.answer.ttl_ms, -1);
        dns_free(rig.dns);
}

/* More than fits a datagram comes by TCP, and more than is kept is counted. */
static void test_many(void **unused) {
        static struct waiter waiter;
        struct rig rig;

        (void)unused;
        rig_open(&rig, 1, &dnsmasq_port, 5000);
        ask_host(&rig, &waiter, "many.test");
        assert_int_equal(waiter.answer.n, DNS_ADDRESSES);
        assert_int_equal(waiter.answer.left_out, MANY - DNS_ADDRESSES);
        for (size_t i = 0; i < DNS_ADDRESSES; i++)
                assert_int_equal(ntohl(waiter.answer.list[i].addr.in.sin_addr.s_addr), 0x7f000101 + i);
        assert_int_equal(waiter.answer.v4, DNS_GOOD);
        dns_free(rig.dns);
}

static void test_srv(void **unused) {
        static struct waiter waiter;
        struct rig rig;

        (void)unused;
        rig_open(&rig, 1, &dnsmasq_port, 2000);
        ask_srv(&rig, &waiter, "_app._tcp.test");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.4:8080/10*5%1 127.0.0.5:8081/20*6%2 [::1]:8081/20*6%2");
        assert_int_equal(waiter.answer.ttl_ms, 7000);
        ask_srv(&rig, &waiter, "_odd._tcp.test");
        expect(&waiter, DNS_EMPTY, DNS_EMPTY, "127.0.0.4:8080/10*5%1");
        ask_srv(&rig, &waiter, "_bad._tcp.test");
        expect(&waiter, DNS_FAILED, DNS_FAILED, "127.0.0.4:8080/10*5%1");
        ask_srv(&rig, &waiter, "_none._tcp.test");
        expect(&waiter, DNS_EMPTY, DNS_EMPTY, "");
        assert_string_equal(waiter.answer.why, "the name has no such record");
        ask_srv(&rig, &waiter, "_gone._tcp.test");
        expect(&waiter, DNS_EMPTY, DNS_EMPTY, "");
        /* Targets may stand in the hosts file. */
        ask_srv(&rig, &waiter, "_local._tcp.test");
        assert_true(waiter.answer.n >= 1);
        assert_int_equal(waiter.answer.ttl_ms, 7000);
        dns_free(rig.dns);
}

/* What this machine has no route to is left out, unless there is nothing else. */
static void test_unreachable(void **unused) {
        static struct waiter waiter;
        struct rig rig;

        (void)unused;
        if (!isolated)
                skip();
        rig_open(&rig, 1, &dnsmasq_port, 2000);
        ask_host(&rig, &waiter, "far.test");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.6:80");
        assert_int_equal(waiter.answer.left_out, 1);
        ask_host(&rig, &waiter, "away.test");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "10.9.9.8:80");
        assert_int_equal(waiter.answer.list[0].unreachable, 1);
        dns_free(rig.dns);
}

/* Hundreds at a time, each with an answer of its own. */
static void test_at_once(void **unused) {
        static const char *const names[] = { "v4.test", "v6.test", "both.test", "gone.test", "many.test" };
        static const size_t counts[] = { 1, 1, 2, 0, DNS_ADDRESSES };
        static struct waiter waiters[100];
        int64_t until = clock_now_ms() + PATIENCE_MS;
        struct rig rig;

        (void)unused;
        rig_open(&rig, 1, &dnsmasq_port, 5000);
        for (size_t i = 0; i < 100; i++)
                assert_int_equal(dns_host(rig.dns, names[i % 5], 80, waiter_done, &waiters[i]), 0);
        while (dns_pending(rig.dns) && clock_now_ms() < until)
                assert_int_equal(dns_wait(rig.dns, -1, 1000), 0);
        for (size_t i = 0; i < 100; i++) {
                assert_int_equal(waiters[i].done, 1);
                assert_int_equal(waiters[i].answer.n, counts[i % 5]);
        }
        dns_free(rig.dns);
}

static void test_liar(void **unused) {
        static const struct {
                const char *name;
                enum dns_state v4;
                const char *text, *why;
        } lies[] = {
                { "honest.test", DNS_GOOD, "127.0.0.1:80", NULL },
                { "garbage.test", DNS_FAILED, "", "the answer makes no sense" },
                { "short.test", DNS_FAILED, "", "the answer makes no sense" },
                { "foreign.test", DNS_EMPTY, "", "the name has no such record" },
                { "servfail.test", DNS_FAILED, "", "the name servers fail or refuse" },
                { "refused.test", DNS_FAILED, "", "the name servers fail or refuse" },
                { "formerr.test", DNS_FAILED, "", "the look-up fails" },
                { "wrongid.test", DNS_FAILED, "", "no name server answers" },
                { "otherquestion.test", DNS_FAILED, "", "no name server answers" },
                { "mute.test", DNS_FAILED, "", "no name server answers" },
                { "truncated.test", DNS_GOOD, "127.0.0.2:80", NULL },
                { "torn.test", DNS_FAILED, "", NULL },
                { "empty.test", DNS_FAILED, "", NULL },
                { "flood.test", DNS_GOOD, "127.0.0.1:80", NULL },
        };
        static struct waiter waiter;
        struct dns_liar *liar = dns_liar_start();
        uint16_t port = dns_liar_port(liar);
        struct rig rig;

        (void)unused;
        rig_open(&rig, 1, &port, 100);
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
                ask_host(&rig, &waiter, lies[i].name);
                if (strcmp(say(&waiter.answer), lies[i].text) != 0 || waiter.answer.v4 != lies[i].v4 ||
                    (lies[i].why && strcmp(waiter.answer.why, lies[i].why) != 0))
                        fail_msg("%s: [%s] state %d: %s", lies[i].name, say(&waiter.answer), waiter.answer.v4,
                                 waiter.answer.why);
        }
        /* And after all that, the truth. */
        ask_host(&rig, &waiter, "honest.test");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.1:80");
        dns_free(rig.dns);
        dns_liar_stop(liar);
}

/* The next name server is asked where one fails, refuses or does not answer. */
static void test_next_server(void **unused) {
        static struct waiter waiter;
        struct dns_liar *liar = dns_liar_start();
        const uint16_t ports[] = { 1, dns_liar_port(liar), dnsmasq_port };
        struct rig rig;

        (void)unused;
        rig_open(&rig, 3, ports, 100);
        ask_host(&rig, &waiter, "v4.test");             /* the liar does not know it: refused */
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.4:80");
        dns_free(rig.dns);
        dns_liar_stop(liar);
}

/* An end in the middle is at once, and says nothing. */
static void test_stop(void **unused) {
        static struct waiter waiters[50];
        struct dns_liar *liar = dns_liar_start();
        uint16_t port = dns_liar_port(liar);
        int64_t begin;
        struct rig rig;
        int wake[2];

        (void)unused;
        rig_open(&rig, 1, &port, 60000);
        for (size_t i = 0; i < 50; i++)
                assert_int_equal(i % 2 ? dns_srv(rig.dns, "mute.test", waiter_done, &waiters[i])
                                       : dns_host(rig.dns, "mute.test", 80, waiter_done, &waiters[i]), 0);
        assert_int_equal(dns_pending(rig.dns), 50);
        assert_int_equal(pipe2(wake, O_CLOEXEC), 0);
        assert_int_equal(dns_wait(rig.dns, wake[0], 1), 0);
        assert_int_equal(write(wake[1], "x", 1), 1);
        assert_int_equal(dns_wait(rig.dns, wake[0], -1), 1);
        begin = clock_now_ms();
        dns_free(rig.dns);
        assert_true(clock_now_ms() - begin < 5000);
        for (size_t i = 0; i < 50; i++)
                assert_int_equal(waiters[i].done, 0);
        close(wake[0]);
        close(wake[1]);
        dns_liar_stop(liar);
}

static void write_resolv_conf(const char *path, const char *text) {
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        fputs(text, file);
        fclose(file);
}

/* The system's name servers, and a search list; another file is read at the next look-up. */
static void test_resolv_conf(void **unused) {
        static struct waiter waiter;
        struct conf_resolver conf = { .timeout = 500 };
        char path[] = "/tmp/spliced-resolv-XXXXXX";
        struct rig rig = { 0 };

        (void)unused;
        if (!isolated)
                skip();
        close(mkstemp(path));
        write_resolv_conf(path, "nameserver 127.0.0.99\n");
        if (mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0) {
                unlink(path);
                skip();
        }
        start_dnsmasq(1, 53);
        rig.conf = conf;
        assert_int_equal(dns_new(&rig.dns, &rig.conf), 0);
        ask_host(&rig, &waiter, "v4.test");
        expect(&waiter, DNS_FAILED, DNS_FAILED, "");
        assert_int_equal(dns_outdated(rig.dns), 0);
        write_resolv_conf(path, "nameserver 127.0.0.1\nsearch other.test test\n");
        for (int64_t until = clock_now_ms() + PATIENCE_MS; clock_now_ms() < until && !waiter.answer.n;)
                ask_host(&rig, &waiter, "v4");
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.4:80");
        /* While a look-up is under way it has to wait. */
        waiter.done = 0;
        assert_int_equal(dns_host(rig.dns, "v4.test", 80, waiter_done, &waiter), 0);
        assert_int_equal(dns_outdated(rig.dns), 0);
        write_resolv_conf(path, "nameserver 127.0.0.98\n");
        assert_int_equal(dns_outdated(rig.dns), 1);
        await(&rig, &waiter);
        expect(&waiter, DNS_GOOD, DNS_EMPTY, "127.0.0.4:80");
        ask_host(&rig, &waiter, "v4.test");
        expect(&waiter, DNS_FAILED, DNS_FAILED, "");
        dns_free(rig.dns);
        stop_dnsmasq(1);
        umount("/etc/resolv.conf");
        unlink(path);
}

static void isolate(void) {
        struct ifreq request = { .ifr_name = "lo" };
        int fd;

        if (getuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
                return;
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
                request.ifr_flags |= IFF_UP;
                isolated = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
        }
        close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_host),        cmocka_unit_test(test_file),
                cmocka_unit_test(test_many),        cmocka_unit_test(test_srv),
                cmocka_unit_test(test_unreachable), cmocka_unit_test(test_at_once),
                cmocka_unit_test(test_liar),        cmocka_unit_test(test_next_server),
                cmocka_unit_test(test_stop),        cmocka_unit_test(test_resolv_conf),
        };

        signal(SIGPIPE, SIG_IGN);
        isolate();
        return cmocka_run_group_tests_name("dns", tests, set_up, tear_down);
}
