/* SPDX-License-Identifier: ISC */
#include "conf_test.h"

#include <arpa/inet.h>

#include "conf/lookup.h"

/* What the keys of balancing, health, names and admission become. */

static void test_defaults(void **state) {
        struct conf *conf = conf_test_good(
                "frontend \"f\" { listen \":80\" { } listen \"unix:/a\" { } route \"r\" { sni = a.b backend = \"b\" "
                "} }\n"
                "backend \"b\" { server \"s\" { address = \"h:1\" } }\n"
                "backend \"c\" { server \"s\" { address = \"h:1\" } check { } outlier { } }\n");
        const struct conf_frontend *frontend = conf->frontends;
        const struct conf_backend *bare = conf->backends, *checked = bare + 1;
        const struct conf_server *server = bare->servers;

        (void)state;
        assert_int_equal(conf->resolver.n_servers, 0);
        assert_int_equal(conf->resolver.timeout, 2000);
        assert_int_equal(conf->resolver.hold, 30000);

        assert_int_equal(frontend->backend, CONF_NO_BACKEND);
        assert_int_equal(frontend->n_routes, 1);
        assert_int_equal(frontend->allow.given, 0);
        assert_int_equal(frontend->deny.given, 0);
        assert_int_equal(frontend->rate, 0);
        assert_int_equal(frontend->max_per_source, 0);
        assert_int_equal(frontend->rate_per_source, 0);
        assert_true(frontend->upload_rate == 0 && frontend->download_rate == 0);
        assert_int_equal(frontend->timeouts.preface, 5000);
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(frontend->listeners[i].accept_proxy, 0);
                assert_int_equal(frontend->listeners[i].proxy_from.given, 0);
        }
        assert_int_equal(frontend->routes->from.given, 0);
        assert_int_equal(frontend->routes->alpn.n + frontend->routes->uid.n + frontend->routes->gid.n, 0);

        assert_int_equal(server->max_connections, 0);
        assert_int_equal(server->send_proxy, CONF_SEND_PROXY_OFF);
        assert_int_equal(server->slow_start, CONF_OFF);
        assert_int_equal(server->check, 1);
        assert_null(server->check_text);
        assert_int_equal(server->check_addr.kind, ADDR_NONE);

        assert_int_equal(bare->queue, 0);
        assert_int_equal(bare->when_down, CONF_WHEN_DOWN_REFUSE);
        assert_int_equal(bare->resolve, CONF_OFF);
        assert_int_equal(bare->check.given, 0);
        assert_int_equal(bare->outlier.given, 0);
        assert_int_equal(bare->timeouts.queue, 30000);
        assert_int_equal(bare->timeouts.check, 2000);

        assert_int_equal(checked->check.given, 1);
        assert_int_equal(checked->check.type, CONF_CHECK_TCP);
        assert_null(checked->check.send);
        assert_null(checked->check.expect);
        assert_int_equal(checked->check.interval, 2000);
        assert_int_equal(checked->check.fast_interval, 2000);
        assert_int_equal(checked->check.rise, 2);
        assert_int_equal(checked->check.fall, 3);
        assert_int_equal(checked->check.on_down, CONF_ON_DOWN_KEEP);
        assert_int_equal(checked->outlier.given, 1);
        assert_int_equal(checked->outlier.failures, 5);
        assert_int_equal(checked->outlier.eject, 10000);
        assert_int_equal(checked->outlier.eject_max, 300000);
        assert_int_equal(checked->outlier.max_ejected, 50);
        conf_free(conf);
}

static void test_frontend(void **state) {
        struct conf *conf = conf_test_good(
                "frontend \"f\" {\n"
                "  listen \"unix:/a\" { accept-proxy = on proxy-from = { \"uid:33\", unix } }\n"
                "  listen \":80\" { accept-proxy = yes proxy-from = all }\n"
                "  listen \"fd:x\" { accept-proxy = true proxy-from = { } }\n"
                "  backend = \"b\"\n"
                "  allow = { } deny = none rate = 100/s max-per-source = 5 rate-per-source = \"1/s\"\n"
                "  upload-rate = 512K download-rate = \"10M/s\"\n"
                "  route \"one\" { sni = { \"*.Example.ORG\", www.x.de } alpn = h2 backend = \"c\" }\n"
                "  route \"two\" { from = { 10.0.0.0/8 } uid = { 0, 0x10, 4294967294 } gid = 33 backend = \"b\" }\n"
                "  timeouts { preface = off }\n"
                "}\n"
                "frontend \"g\" { listen \":81\" { } backend = \"c\" rate = OFF rate-per-source = off allow = all "
                "deny = { }\n"
                "  upload-rate = off max-per-source = off }\n"
                "backend \"b\" { server \"s\" { address = \"h:1\" } }\n"
                "backend \"c\" { server \"s\" { address = \"h:1\" } }\n");
        const struct conf_frontend *f = conf->frontends, *g = f + 1;

        (void)state;
        assert_int_equal(f->listeners[0].accept_proxy, 1);
        assert_int_equal(f->listeners[0].proxy_from.given, 1);
        assert_int_equal(f->listeners[0].proxy_from.n, 2);
        assert_int_equal(f->listeners[0].proxy_from.list[0].kind, CONF_RULE_UID);
        assert_int_equal(f->listeners[0].proxy_from.list[0].id, 33);
        assert_int_equal(f->listeners[0].proxy_from.list[1].kind, CONF_RULE_UNIX);
        assert_int_equal(f->listeners[1].proxy_from.given, 0);
        assert_int_equal(f->listeners[2].proxy_from.given, 1);
        assert_int_equal(f->listeners[2].proxy_from.n, 0);

        assert_int_equal(f->backend, 0);
        assert_int_equal(f->allow.given, 1);
        assert_int_equal(f->allow.n, 0);
        assert_int_equal(f->deny.given, 0);
        assert_int_equal(f->rate, 100);
        assert_int_equal(f->max_per_source, 5);
        assert_int_equal(f->rate_per_source, 1);
        assert_int_equal(f->upload_rate, 512 << 10);
        assert_int_equal(f->download_rate, 10 << 20);
        assert_int_equal(f->timeouts.preface, CONF_OFF);

        assert_int_equal(f->n_routes, 2);
        assert_string_equal(f->routes[0].name, "one");
        assert_int_equal(f->routes[0].sni.n, 2);
        assert_string_equal(f->routes[0].sni.list[0], "*.example.org");
        assert_string_equal(f->routes[0].sni.list[1], "www.x.de");
        assert_int_equal(f->routes[0].alpn.n, 1);
        assert_string_equal(f->routes[0].alpn.list[0], "h2");
        assert_int_equal(f->routes[0].backend, 1);
        assert_int_equal(f->routes[0].where.line, 8);
        assert_int_equal(f->routes[1].from.n, 1);
        assert_int_equal(f->routes[1].uid.n, 3);
        assert_int_equal(f->routes[1].uid.list[1], 16);
        assert_true(f->routes[1].uid.list[2] == 4294967294);
        assert_int_equal(f->routes[1].gid.list[0], 33);
        assert_int_equal(f->routes[1].backend, 0);

        assert_int_equal(g->rate + g->rate_per_source + g->max_per_source, 0);
        assert_true(g->upload_rate == 0);
        assert_int_equal(g->allow.given, 0);
        assert_int_equal(g->deny.n, 0);
        conf_free(conf);
}

static void test_backend(void **state) {
        static const char *const balances[CONF_BALANCES] = {
                "roundrobin", "leastconn", "random", "source", "first", "least-time",
        };
        struct conf *conf = conf_test_good(
                "resolver { servers = { \"10.0.0.53\", \"2001:db8::53\", \"[::1]:5353\", \"127.0.0.1:54\" }\n"
                "  timeout = 500ms hold = 1s }\n"
                "timeouts { preface = 1s queue = 2s check = 3s }\n"
                "frontend \"f\" { listen \":80\" { } backend = \"b\" }\n"
                "backend \"b\" {\n"
                "  queue = 10 when-down = wait resolve = 10s\n"
                "  server \"s\" { address = \"srv:_ldap._tcp.example.org\" max-connections = 7 send-proxy = v1\n"
                "    slow-start = 30s check-address = \"unix:/c\" }\n"
                "  server \"t\" { address = \"unix:/x\" send-proxy = v2 check = off }\n"
                "  check { type = expect send = \"PING\\r\\n\" expect = \"+PONG\" interval = 5s fast-interval = 1s\n"
                "    rise = 1 fall = 4 on-down = close }\n"
                "  outlier { failures = 3 eject = 1s eject-max = 1s max-ejected = 100 }\n"
                "  timeouts { queue = 4s }\n"
                "}\n"
                "backend \"c\" { server \"s\" { address = \"h:1\" } check { interval = 7s } }\n");
        const struct conf_backend *backend = conf->backends;
        const struct addr *servers = conf->resolver.servers;

        (void)state;
        assert_int_equal(conf->resolver.n_servers, 4);
        assert_int_equal(servers[0].in.sin_port, htons(53));
        assert_int_equal(servers[0].in.sin_addr.s_addr, htonl(0x0a000035));
        assert_int_equal(addr_family(&servers[1]), AF_INET6);
        assert_int_equal(servers[1].in6.sin6_port, htons(53));
        assert_int_equal(servers[2].in6.sin6_port, htons(5353));
        assert_int_equal(servers[3].in.sin_port, htons(54));
        assert_int_equal(conf->resolver.timeout, 500);
        assert_int_equal(conf->resolver.hold, 1000);

        assert_int_equal(conf->frontends->timeouts.preface, 1000);
        assert_int_equal(backend->timeouts.queue, 4000);
        assert_int_equal(backend->timeouts.check, 3000);
        assert_int_equal(backend[1].timeouts.queue, 2000);
        assert_int_equal(backend->queue, 10);
        assert_int_equal(backend->when_down, CONF_WHEN_DOWN_WAIT);
        assert_int_equal(backend->resolve, 10000);

        assert_int_equal(backend->servers[0].addr.kind, ADDR_SRV);
        assert_string_equal(backend->servers[0].text, "srv:_ldap._tcp.example.org");
        assert_int_equal(backend->servers[0].max_connections, 7);
        assert_int_equal(backend->servers[0].send_proxy, CONF_SEND_PROXY_V1);
        assert_int_equal(backend->servers[0].slow_start, 30000);
        assert_string_equal(backend->servers[0].check_text, "unix:/c");
        assert_int_equal(backend->servers[0].check_addr.kind, ADDR_UNIX);
        assert_int_equal(backend->servers[1].send_proxy, CONF_SEND_PROXY_V2);
        assert_int_equal(backend->servers[1].check, 0);

        assert_int_equal(backend->check.type, CONF_CHECK_EXPECT);
        assert_int_equal(backend->check.interval, 5000);
        assert_int_equal(backend->check.fast_interval, 1000);
        assert_int_equal(backend->check.rise, 1);
        assert_int_equal(backend->check.fall, 4);
        assert_int_equal(backend->check.on_down, CONF_ON_DOWN_CLOSE);
        assert_int_equal(backend->check.regex, 0);
        assert_int_equal(backend->outlier.failures, 3);
        assert_int_equal(backend->outlier.eject, 1000);
        assert_int_equal(backend->outlier.eject_max, 1000);
        assert_int_equal(backend->outlier.max_ejected, 100);
        assert_int_equal(backend[1].check.fast_interval, 7000);
        conf_free(conf);

        for (unsigned i = 0; i < CONF_BALANCES; i++) {
                char text[256];

                snprintf(text, sizeof(text), "frontend \"f\" { listen \":80\" { } backend = \"b\" }\n"
                         "backend \"b\" { balance = \"%s\" server \"s\" { address = \"h:1\" } }", balances[i]);
                conf = conf_test_good(text);
                assert_int_equal(conf->backends->balance, i);
                conf_free(conf);
        }
}

/* Rules as they are written, as they are kept, and as -T writes them. */
static void test_rules(void **state) {
        static const struct {
                const char *text, *back;
                enum conf_rule_kind kind;
                int family;
                unsigned prefix, id;
        } rows[] = {
                { "10.0.0.0/8", "10.0.0.0/8", CONF_RULE_NETWORK, AF_INET, 8, 0 },
                { "0.0.0.0/0", "0.0.0.0/0", CONF_RULE_NETWORK, AF_INET, 0, 0 },
                { "255.255.255.255", "255.255.255.255/32", CONF_RULE_NETWORK, AF_INET, 32, 0 },
                { "10.255.254.0/23", "10.255.254.0/23", CONF_RULE_NETWORK, AF_INET, 23, 0 },
                { "10.0.0.1/032", "10.0.0.1/32", CONF_RULE_NETWORK, AF_INET, 32, 0 },
                { "::/0", "::/0", CONF_RULE_NETWORK, AF_INET6, 0, 0 },
                { "::1", "::1/128", CONF_RULE_NETWORK, AF_INET6, 128, 0 },
                { "2001:DB8::/33", "2001:db8::/33", CONF_RULE_NETWORK, AF_INET6, 33, 0 },
                { "::ffff:10.0.0.0/104", "10.0.0.0/8", CONF_RULE_NETWORK, AF_INET, 8, 0 },
                { "::ffff:10.0.0.1", "10.0.0.1/32", CONF_RULE_NETWORK, AF_INET, 32, 0 },
                { "::ffff:0:0/96", "0.0.0.0/0", CONF_RULE_NETWORK, AF_INET, 0, 0 },
                { "::/95", "::/95", CONF_RULE_NETWORK, AF_INET6, 95, 0 },
                { "unix", "unix", CONF_RULE_UNIX, 0, 0, 0 },
                { "uid:0", "uid:0", CONF_RULE_UID, 0, 0, 0 },
                { "uid:4294967294", "uid:4294967294", CONF_RULE_UID, 0, 0, 4294967294 },
                { "gid:0033", "gid:33", CONF_RULE_GID, 0, 0, 33 },
                { "user:bob", "user:bob", CONF_RULE_USER, 0, 0, 0 },
                { "group:domain users", "group:domain users", CONF_RULE_GROUP, 0, 0, 0 },
        };
        enum { N = sizeof(rows) / sizeof(rows[0]) };
        char text[4096] = "frontend \"f\" { listen \":80\" { } backend = \"b\" deny = {", *printed;
        const struct conf_rule *list;
        struct conf *conf;

        (void)state;
        for (size_t i = 0; i < N; i++)
                sprintf(text + strlen(text), "\"%s\",\n", rows[i].text);
        strcat(text, "} }\nbackend \"b\" { server \"s\" { address = \"h:1\" } }\n");
        conf = conf_test_good(text);
        assert_int_equal(conf->frontends->deny.n, N);
        list = conf->frontends->deny.list;
        for (size_t i = 0; i < N; i++) {
                assert_int_equal(list[i].kind, rows[i].kind);
                assert_int_equal(list[i].family, rows[i].family);
                assert_int_equal(list[i].prefix, rows[i].prefix);
                assert_int_equal(list[i].id, rows[i].id);
        }
        assert_memory_equal(list[3].network.s6_addr, "\x0a\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
        assert_memory_equal(list[7].network.s6_addr, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\0", 16);
        assert_memory_equal(list[8].network.s6_addr, "\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
        assert_string_equal(list[16].name, "bob");
        assert_string_equal(list[17].name, "domain users");
        printed = conf_test_print(conf);
        conf_free(conf);
        for (size_t i = 0; i < N; i++) {
                char quoted[64];

                snprintf(quoted, sizeof(quoted), " \"%s\"", rows[i].back);
                assert_non_null(strstr(printed, quoted));
        }
        free(printed);
}

/* Every way to write a list. */
static void test_lists(void **state) {
        static const char *const texts[] = {
                "10.0.0.0/8", "\"10.0.0.0/8\"", "'10.0.0.0/8'", "{10.0.0.0/8}", "{ \"10.0.0.0/8\" }", "{ 10.0.0.0/8, }",
                "{\n# first\n10.0.0.0/8 /* all */ ,\n}", "{ ${CONF_TEST_UNSET:-10.0.0.0/8} }", "{ \"1\\x30.0.0.0/8\" }",
        };

        (void)state;
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                char text[512];
                struct conf *conf;

                snprintf(text, sizeof(text), "frontend \"f\" { listen \":80\" { } allow = %s\nbackend = \"b\" }\n"
                         "backend \"b\" { server \"s\" { address = \"h:1\" } }\n", texts[i]);
                conf = conf_test_good(text);
                assert_int_equal(conf->frontends->allow.n, 1);
                assert_int_equal(conf->frontends->allow.list[0].prefix, 8);
                conf_free(conf);
        }
}

/* send and expect: as written, and what bytes they are.  A regular expression has its slashes left out. */
static void test_bytes(void **state) {
        static const struct { const char *text, *bytes; size_t len; int regex; } rows[] = {
                { "\"PING\\r\\n\"", "PING\r\n", 6, 0 },
                { "'PING\\r\\n'", "PING\r\n", 6, 0 },
                { "\"PING\\\\r\\\\n\"", "PING\r\n", 6, 0 },
                { "\"\\t\\x41\\101\"", "\tAA", 3, 0 },
                { "\"\\0a\\x00b\\000\\x0\"", "\0a\0b\0\0", 6, 0 },
                { "'\\0a\\x00b'", "\0a\0b", 4, 0 },
                { "\"\\\\0\\\\x00\\\\xfF\"", "\0\0\xff", 3, 0 },
                { "\"\\\\\\\\\"", "\\", 1, 0 },
                { "'\\\\\\\\x41'", "\\x41", 4, 0 },
                { "\"\\xff\\x80\\x01\\\"\\${a\"", "\xff\x80\x01\"${a", 7, 0 },
                { "PONG", "PONG", 4, 0 },
                { "\"/\"", "/", 1, 0 },
                { "\"/a\"", "/a", 2, 0 },
                { "\"a/\"", "a/", 2, 0 },
                { "\"\\\\x2fa/\"", "/a/", 3, 0 },
                { "\"/a/\\\\x20\"", "/a/ ", 4, 0 },
                { "\"/^\\\\+PONG/\"", "^\\+PONG", 7, 1 },
                { "'/^\\+PONG/'", "^\\+PONG", 7, 1 },
                { "\"/a\\0b\\\\n/\"", "a\\x00b\\n", 8, 1 },
                { "\"/a/b/\"", "a/b", 3, 1 },
                { "\"/\\\\d+\\r\\\\\\\\/\"", "\\d+\r\\\\", 6, 1 },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char text[512], *printed;
                struct conf *conf;

                snprintf(text, sizeof(text), "frontend \"f\" { listen \":80\" { } backend = \"b\" }\n"
                         "backend \"b\" { server \"s\" { address = \"h:1\" }\n"
                         "check { type = expect %s%s expect = %s } }\n",
                         rows[i].regex ? "" : "send = ", rows[i].regex ? "" : rows[i].text, rows[i].text);
                for (int round = 0; round < 2; round++) {
                        const struct conf_check *check;

                        conf = conf_test_good(round == 0 ? text : printed);
                        if (round == 1)
                                free(printed);
                        check = &conf->backends->check;
                        assert_int_equal(check->regex, rows[i].regex);
                        assert_int_equal(check->expect_len, rows[i].len);
                        assert_memory_equal(check->expect, rows[i].bytes, rows[i].len + 1);
                        if (!rows[i].regex) {
                                assert_int_equal(check->send_len, rows[i].len);
                                assert_memory_equal(check->send, rows[i].bytes, rows[i].len + 1);
                        }
                        printed = conf_test_print(conf);
                        conf_free(conf);
                }
                free(printed);
        }
}

/* A config with so many bytes to expect: those that take the most room, between slashes that make no pattern. */
static char *longest_text(unsigned n) {
        char *text;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        fputs("frontend \"f\" { listen \":80\" { } backend = \"b\" }\n"
              "backend \"b\" { server \"s\" { address = \"h:1\" } check { type = expect expect = \"\\\\x2f", stream);
        for (unsigned i = 2; i < n; i++)
                fputs(i % 2 ? "\\0" : "\\\\\\\\", stream);
        fputs("/\" } }\n", stream);
        fclose(stream);
        return text;
}

static void test_longest_bytes(void **state) {
        char *text = longest_text(4096), *printed, *errors;
        struct conf *conf = conf_test_good(text);

        (void)state;
        assert_int_equal(conf->backends->check.expect_len, 4096);
        assert_int_equal(conf->backends->check.regex, 0);
        printed = conf_test_print(conf);
        conf_free(conf);
        free(text);
        conf = conf_test_good(printed);
        assert_int_equal(conf->backends->check.expect_len, 4096);
        conf_free(conf);
        free(printed);

        text = longest_text(4097);
        assert_int_equal(conf_test_load(&conf, text, &errors), CONF_INVALID);
        assert_non_null(strstr(errors, "...' is too long; allowed: 1 to 4096 bytes\n"));
        free(errors);
        free(text);
}

/* -T: each section with all its keys, and the same again from what it wrote. */
static void test_print(void **state) {
        static const char text[] =
                "resolver { servers = { \"10.0.0.53\", \"[::1]:5353\" } hold = 1m }\n"
                "frontend \"f\" {\n"
                "  listen \":80\" { accept-proxy = on proxy-from = { 10.0.0.0/8, \"::1\" } }\n"
                "  route \"r\" { sni = { \"*.Example.org\", \"a.b\" } alpn = { h2, \"http/1.1\" } backend = \"b\" }\n"
                "  route \"s\" { from = 10.0.0.0/8 backend = \"b\" }\n"
                "  allow = { unix, \"user:bob\" } deny = { } rate = 5/s upload-rate = 1024 }\n"
                "frontend \"g\" { listen \"unix:/a\" { accept-proxy = on } backend = \"b\" allow = { }\n"
                "  route \"r\" { uid = { 1, 2 } gid = 3 backend = \"b\" } }\n"
                "backend \"b\" { balance = source queue = 5 when-down = wait resolve = 90s\n"
                "  server \"s\" { address = \"srv:_a._b.c\" max-connections = 3 send-proxy = v2 slow-start = 10s\n"
                "    check-address = \"127.0.0.1:81\" }\n"
                "  check { type = expect send = '\\0\\\\\\\\' expect = \"/^a|b$/\" }\n"
                "  outlier { } }\n"
                "backend \"c\" { server \"s\" { address = \"h:1\" } }\n";
        static const char *const parts[] = {
                "resolver {\n    servers = { \"10.0.0.53:53\", \"[::1]:5353\" }\n    timeout = 2s\n    hold = 1m\n}\n",
                "        accept-proxy = on\n        proxy-from = { \"10.0.0.0/8\", \"::1/128\" }\n"
                "        v6only = off\n",
                "    route \"r\" {\n        sni = { \"*.example.org\", \"a.b\" }\n"
                "        alpn = { \"h2\", \"http/1.1\" }\n"
                "        backend = \"b\"\n    }\n    route \"s\" {\n        from = { \"10.0.0.0/8\" }\n"
                "        backend = \"b\"\n    }\n"
                "    allow = { \"unix\", \"user:bob\" }\n    deny = { }\n    max-connections = off\n"
                "    rate = \"5/s\"\n"
                "    max-per-source = off\n    rate-per-source = off\n    upload-rate = \"1K/s\"\n"
                "    download-rate = off\n",
                "        accept-proxy = on\n        proxy-from = all\n        socket {\n",
                "    backend = \"b\"\n    route \"r\" {\n        uid = { 1, 2 }\n        gid = { 3 }\n"
                "        backend = \"b\"\n"
                "    }\n    allow = { }\n    deny = none\n",
                "    balance = source\n    retries = 2\n    queue = 5\n    when-down = wait\n    resolve = 90s\n"
                "    check {\n        type = expect\n        send = \"\\x00\\\\\\\\\"\n        expect = \"/^a|b\\$/\"\n"
                "        interval = 2s\n        fast-interval = 2s\n        rise = 2\n        fall = 3\n"
                "        on-down = keep\n    }\n"
                "    outlier {\n        failures = 5\n        eject = 10s\n        eject-max = 5m\n"
                "        max-ejected = 50\n"
                "    }\n"
                "    timeouts {\n        connect = 5s\n        queue = 30s\n        server = 1h\n"
                "        server-fin = 30s\n"
                "        check = 2s\n    }\n"
                "    server \"s\" {\n        address = \"srv:_a._b.c\"\n        weight = 1\n"
                "        max-connections = 3\n"
                "        backup = off\n        disabled = off\n        send-proxy = v2\n        slow-start = 10s\n"
                "        check = on\n        check-address = \"127.0.0.1:81\"\n        socket {\n",
                "    when-down = refuse\n    timeouts {\n",
                "        send-proxy = off\n        slow-start = off\n        socket {\n",
        };
        struct conf *conf = conf_test_good(text);
        char *first = conf_test_print(conf), *second;

        (void)state;
        conf_free(conf);
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
                if (!strstr(first, parts[i]))
                        fail_msg("not there:\n%s\nin:\n%s", parts[i], first);
        conf = conf_test_good(first);
        second = conf_test_print(conf);
        conf_free(conf);
        assert_string_equal(first, second);
        free(first);
        free(second);
}

/* Sanitizers copy on each realloc(), and libconfuse makes one for each value of a list. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NETWORKS 10000
#else
#define NETWORKS 100000
#endif

/* Nothing may be slow in the number of networks, and no line gets long. */
static void test_many_networks(void **state) {
        enum { N = NETWORKS };
        char *text, *printed;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        struct conf *conf;

        (void)state;
        fputs("frontend \"f\" { listen \":80\" { } backend = \"b\" allow = {\n", stream);
        for (unsigned i = 0; i < N; i++)
                fprintf(stream, i % 2 ? "10.%u.%u.%u,\n" : "\"2001:db8:%x:%x:%x::/80\",\n", i >> 16, i >> 8 & 255,
                        i & 255);
        fputs("} }\nbackend \"b\" { server \"s\" { address = \"h:1\" } }\n", stream);
        fclose(stream);
        conf = conf_test_good(text);
        free(text);
        assert_int_equal(conf->frontends->allow.n, N);
        assert_int_equal(conf->frontends->allow.list[N - 1].family, AF_INET);
        assert_int_equal(conf->frontends->allow.list[N - 2].prefix, 80);
        printed = conf_test_print(conf);
        conf_free(conf);
        for (const char *line = printed; *line; line += strcspn(line, "\n") + 1)
                assert_true(strcspn(line, "\n") <= 102);
        conf = conf_test_good(printed);
        assert_int_equal(conf->frontends->allow.n, N);
        free(printed);
        conf_free(conf);
}

static void test_lookup(void **state) {
        struct region region = { 0 };
        struct lookup names = { 0 };
        uint32_t number = 7;
        char name[16];

        (void)state;
        assert_false(lookup_find(&names, "", &number));
        for (uint32_t i = 0; i < 1000; i++) {
                snprintf(name, sizeof(name), "%u", i);
                assert_int_equal(lookup_add(&names, &region, region_strdup(&region, name), i), 0);
                assert_int_equal(lookup_add(&names, &region, name, 5), -EEXIST);
        }
        assert_false(lookup_find(&names, "1000", &number));
        assert_int_equal(number, 7);
        for (uint32_t i = 0; i < 1000; i++) {
                snprintf(name, sizeof(name), "%u", i);
                assert_true(lookup_find(&names, name, &number));
                assert_int_equal(number, i);
        }
        region_free(&region);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_frontend),
                cmocka_unit_test(test_backend),
                cmocka_unit_test(test_rules),
                cmocka_unit_test(test_lists),
                cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_longest_bytes),
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_many_networks),
                cmocka_unit_test(test_lookup),
        };

        return cmocka_run_group_tests_name("conf_policy", tests, NULL, NULL);
}
