/* SPDX-License-Identifier: ISC */
#include "conf_test.h"

/* Keys that are right by themselves and wrong together, lists that are no lists, and routes. */

#define FRONTEND_KEYS "listen, backend, route, allow, deny, max-connections, rate, max-per-source, rate-per-source, " \
        "upload-rate, download-rate, half-close, access-log, timeouts, socket"
#define RULES "10.0.0.0/8, 2001:db8::/32, unix, uid:1000, user:NAME, gid:33 or group:NAME"
#define NOT_A_BYTE " is not a byte that a string can hold; allowed: \\001 to \\377, or \\x01 to \\xff\n"
#define BACKEND_B "backend \"b\" { server \"s\" { address = \"h:1\" } }\n"

static void test_list_values(void **state) {
        static const struct conf_test_row rows[] = {
                { "frontend \"f\" { listen \":80\" { } backend = \"b\" allow = {\n10.0.0.0/8,\n10.0.0.1/8,\n\"\",\n"
                  "x } }\n"
                  BACKEND_B,
                  "t:3: allow: '10.0.0.1/8' has bits set after its prefix; allowed: 10.0.0.0/8, or 10.0.0.1\n"
                  "t:4: allow: '' is not known; allowed: " RULES "\n"
                  "t:5: allow: 'x' is not known; allowed: " RULES "\n" },
                { "frontend \"f\" { listen \":80\" { } backend = \"b\" allow = { all,\nunix }\ndeny = { unix,\n"
                  "none } }\n"
                  BACKEND_B,
                  "t:1: allow: 'all' stands beside other values; allowed: all alone\n"
                  "t:4: deny: 'none' stands beside other values; allowed: none alone\n" },
                { "frontend \"f\" { listen \"fd:a\" { } route \"r\" { backend = \"b\" sni = { }\nalpn = {}\n"
                  "from = { }\n"
                  "uid = { }\ngid = { } } }\nresolver { servers = { } }\n" BACKEND_B,
                  "t:1: sni: '{ }' is empty; allowed: one value at least, as in { \"www.example.org\" }\n"
                  "t:2: alpn: '{ }' is empty; allowed: one value at least, as in { \"h2\" }\n"
                  "t:3: from: '{ }' is empty; allowed: one value at least, as in { \"10.0.0.0/8\" }\n"
                  "t:4: uid: '{ }' is empty; allowed: one value at least, as in { 1000 }\n"
                  "t:5: gid: '{ }' is empty; allowed: one value at least, as in { 1000 }\n"
                  "t:6: servers: '{ }' is empty; allowed: one value at least, as in { \"10.0.0.53\" }\n" },
                { "resolver { servers = { \"10.0.0.53\",\n\"fd:a\",\n\":53\",\n\"unix:/a\" } }" CONF_REST,
                  "t:2: servers: 'fd:a' is not the address of a name server; allowed: an IP address with or without a "
                  "port, as in 10.0.0.53 or [2001:db8::53]:5353\n"
                  "t:3: servers: ':53' is not the address of a name server; allowed: an IP address with or without a "
                  "port, as in 10.0.0.53 or [2001:db8::53]:5353\n"
                  "t:4: servers: 'unix:/a' is not the address of a name server; allowed: an IP address with or without "
                  "a port, as in 10.0.0.53 or [2001:db8::53]:5353\n" },
                { "frontend \"f\" { listen \":80\" { } backend = \"b\" deny = { \"uid:1\\n\",\n\"user:\\t\" } }\n"
                  BACKEND_B,
                  "t:1: deny: 'uid:1\\n' holds a control character; allowed: printable characters\n"
                  "t:2: deny: 'user:\\t' holds a control character; allowed: printable characters\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

/* What stands between the braces, and what goes on behind a list that goes wrong. */
static void test_list_form(void **state) {
#define IN_FRONTEND(text) "frontend \"f\" { listen \":80\" { } backend = \"b\"\n" text "\nrate = x }\n" BACKEND_B
#define RATE(line) "t:" line ": rate: 'x' is not a rate; allowed: 1/s to 10000000/s, or off\n"
        static const struct conf_test_row rows[] = {
                { IN_FRONTEND("allow = { 10.0.0.0/8\ndeny = { unix }"),
                  "t:2: the { of 'allow' is never closed; allowed: pairs of braces\n" RATE("4") },
                { IN_FRONTEND("allow = { 10.0.0.0/8,\ntimeouts { }"),
                  "t:2: the { of 'allow' is never closed; allowed: pairs of braces\n" RATE("4") },
                { IN_FRONTEND("allow = {\nroute \"r\" { sni = a.b backend = b }"),
                  "t:2: the { of 'allow' is never closed; allowed: pairs of braces\n" RATE("4") },
                { IN_FRONTEND("allow = { 10.0.0.0/8 x,\ny 10.1.0.0/16 }"),
                  "t:2: unexpected 'x' in the list of 'allow'; allowed: values with commas between them\n"
                  "t:2: allow: 'x' is not known; allowed: " RULES "\n"
                  "t:3: unexpected '10.1.0.0/16' in the list of 'allow'; allowed: values with commas between them\n"
                  "t:3: allow: 'y' is not known; allowed: " RULES "\n" RATE("4") },
                { IN_FRONTEND("allow = { , 10.0.0.0/8 }\ndeny = { a,, b }"),
                  "t:2: unexpected ',' in the list of 'allow'; allowed: values with commas between them\n"
                  "t:3: unexpected ',' in the list of 'deny'; allowed: values with commas between them\n"
                  "t:3: deny: 'a' is not known; allowed: " RULES "\n"
                  "t:3: deny: 'b' is not known; allowed: " RULES "\n" RATE("4") },
                { IN_FRONTEND("allow = { { a }, (b, { c }) }\ndeny = { a = 5 }"),
                  "t:2: unexpected '{' in the list of 'allow'; allowed: values with commas between them\n"
                  "t:2: unexpected '(' in the list of 'allow'; allowed: values with commas between them\n"
                  "t:3: unexpected '=' in the list of 'deny'; allowed: values with commas between them\n"
                  "t:3: deny: 'a' is not known; allowed: " RULES "\n" RATE("4") },
                { IN_FRONTEND("allow = 10.0.0.0/8, 10.1.0.0/16\ndeny = unix,"),
                  "t:2: 'allow' has more than one value and no braces; allowed: allow = { VALUE, ... }\n"
                  "t:3: 'deny' has more than one value and no braces; allowed: deny = { VALUE, ... }\n" RATE("4") },
                { IN_FRONTEND("allow += { unix }\nallow { unix }\ndeny ="),
                  "t:2: 'allow' needs a = behind it, not '+='; allowed: allow = { VALUE, ... }\n"
                  "t:3: 'allow' needs a = behind it, not '{'; allowed: allow = { VALUE, ... }\n"
                  "t:4: 'deny' needs one value behind its =, not 'rate'; allowed: deny = { VALUE, ... }\n" RATE("5") },
                { IN_FRONTEND("allow = { unix }\nallow = { x }\nallow = unix max-connections = { 5 }"),
                  "t:3: 'allow' is given twice in frontend \"f\"; allowed: once, and it is at t:2\n"
                  "t:4: 'allow' is given twice in frontend \"f\"; allowed: once, and it is at t:2\n"
                  "t:4: 'max-connections' needs one value behind its =, not '{'; allowed: max-connections = VALUE\n"
                  RATE("5") },
                { IN_FRONTEND("allow = { *, \"unix }\ndeny = { \"a\\0b\", \"\\x00\" }"),
                  "t:2: unexpected '*'; allowed outside of quotes: letters, digits and - _ . : @ % [ ] /\n"
                  "t:2: the string \"unix } has no closing \" on its line; allowed: pairs of quotes\n"
                  "t:2: unexpected ',' in the list of 'allow'; allowed: values with commas between them\n"
                  "t:2: the { of 'allow' is never closed; allowed: pairs of braces\n"
                  "t:3: '\\0'" NOT_A_BYTE "t:3: '\\x00'" NOT_A_BYTE RATE("4") },
                { "frontend \"f\" { listen \":80\" { } backend = \"b\"\nallow = { unix",
                  "t:1: the { in frontend \"f\" is never closed; allowed: pairs of braces\n"
                  "t:2: the { of 'allow' is never closed; allowed: pairs of braces\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

/* NUL has a place in what a check sends and expects, and nowhere else. */
static void test_nul(void **state) {
        static const struct conf_test_row rows[] = {
                { "pid-file = \"/a\\0\"\nuser = \"\\000b\\x00\\x0c\\01\"\ninclude(\"\\0\")\n\"\\0\" = 5\n"
                  "frontend \"\\x0\" { }" CONF_REST,
                  "t:1: '\\0'" NOT_A_BYTE "t:2: '\\000'" NOT_A_BYTE "t:2: '\\x00'" NOT_A_BYTE "t:3: '\\0'" NOT_A_BYTE
                  "t:4: '\\0'" NOT_A_BYTE "t:5: '\\x0'" NOT_A_BYTE },
                { "pid-file = \"\\\\0\\00\\010\"\nuser = '\\0'\nuser = \"\\\\x00\" drain = 5" CONF_REST,
                  "t:1: '\\00'" NOT_A_BYTE
                  "t:3: 'user' is given twice at the top level; allowed: once, and it is at t:2\n"
                  "t:3: drain: '5' has no unit; allowed: 1ms to 365d, as in 100ms, 5s, 2m, 1h or 1d, or off\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_check(void **state) {
#define BACKEND(keys) "frontend \"f\" { listen \":80\" { } backend = \"b\" }\nbackend \"b\" {\n" keys " }\n"
#define SERVER "server \"s\" { address = \"h:1\" }\n"
#define ESCAPES "holds a backslash that is no escape; allowed: \\r, \\n, \\t, \\0, \\xNN and \\\\\n"
        static const struct conf_test_row rows[] = {
                { BACKEND(SERVER "check { send = \"x\"\nexpect = \"/(/\" }"),
                  "t:4: 'send' has no effect here; allowed: together with type = expect\n"
                  "t:5: expect: '/(/' is no regular expression (missing closing parenthesis, at byte 1); allowed: one "
                  "of PCRE2 between slashes\n"
                  "t:5: 'expect' has no effect here; allowed: together with type = expect\n" },
                { BACKEND(SERVER "check { type = tcp\nsend = \"x\" }"),
                  "t:5: 'send' has no effect here; allowed: together with type = expect\n" },
                { BACKEND(SERVER "check { send = \"x\"\ntype = expect }"),
                  "t:5: type: 'expect' needs something to expect; allowed: tcp, or expect = \"STRING\" beside it\n" },
                /* What was refused is not judged a second time. */
                { BACKEND(SERVER "check { type = http send = \"x\" expect = \"y\" }"),
                  "t:4: type: 'http' is not known; allowed: tcp or expect\n" },
                { BACKEND(SERVER "check { type = expect expect = \"y\\400\" }"), "t:4: '\\400'" NOT_A_BYTE },
                { BACKEND(SERVER "check { type = expect send = '\\q'\nexpect = \"a\\\\\" }"),
                  "t:4: send: '\\q' " ESCAPES "t:5: expect: 'a\\' " ESCAPES },
                { BACKEND(SERVER "check { type = expect send = \"\\\\x4\"\nexpect = '\\xg0' }"),
                  "t:4: send: '\\x4' " ESCAPES "t:5: expect: '\\xg0' " ESCAPES },
                { BACKEND("server \"s\" { address = \"h:1\" check = on\ncheck-address = \"10.0.0.1:1\" }"),
                  "t:3: 'check' has no effect here; allowed: in a backend that has check { }\n"
                  "t:4: 'check-address' has no effect here; allowed: in a backend that has check { }\n" },
                { BACKEND("check { }\nserver \"s\" { address = \"h:1\" check = off\ncheck-address = \"10.0.0.1:1\" }"),
                  "t:5: 'check-address' has no effect here; allowed: without check = off\n" },
                { BACKEND("check = { interval = 2s }\nserver \"s\" { address = \"h:1\" check = off }"),
                  "t:3: 'check' is a section, and needs braces behind it, not '='; allowed: check { ... }\n" },
                { BACKEND("check { }\nserver \"s\" { address = \"h:1\" check-address = \"fd:a\" }\n"
                          "server \"t\" { address = \"h:1\" check-address = \"srv:_a._b.c\" }"),
                  "t:4: check-address: 'fd:a' is no fixed address to connect to; allowed: 10.0.0.1:80, "
                  "[2001:db8::1]:80, unix:/path or unix:@name\n"
                  "t:5: check-address: 'srv:_a._b.c' is no fixed address to connect to; allowed: 10.0.0.1:80, "
                  "[2001:db8::1]:80, unix:/path or unix:@name\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_backend(void **state) {
        static const struct conf_test_row rows[] = {
                { BACKEND(SERVER "outlier { eject = 10m }"),
                  "t:4: eject: '10m' is more than eject-max, which is 5m where it is not given; allowed: eject-max at "
                  "most\n" },
                { BACKEND(SERVER "outlier { eject-max = 9s }"),
                  "t:4: eject-max: '9s' is less than eject; allowed: eject at least\n" },
                { BACKEND(SERVER "outlier { eject = 10x eject-max = 9s }"),
                  "t:4: eject: '10x' is not a duration; allowed: 1ms to 1d, as in 100ms, 5s, 2m, 1h or 1d\n" },
                { BACKEND(SERVER "queue = 5"),
                  "t:4: 'queue' has no effect here; allowed: in a backend with a server that has max-connections, or "
                  "with when-down = wait\n" },
                { BACKEND("server \"s\" { address = \"h:1\" max-connections = x } queue = 5"),
                  "t:3: max-connections: 'x' is not a number; allowed: 1 to 10000000, or off\n" },
                { BACKEND("server \"s\" { address = \"10.0.0.1:1\" }\nserver \"t\" { address = \"unix:/a\" } resolve = "
                          "5s"),
                  "t:4: 'resolve' has no effect here; allowed: in a backend with a server at host.name:80 or "
                  "srv:_service._protocol.domain\n" },
                { BACKEND("server \"s\" { address = \"srv:_a._b.c\" source = \"unix:/a\" } outlier { }\noutlier { }"),
                  "t:3: source: 'unix:/a' is not a local address; allowed: an IP address with or without a port, as in "
                  "10.0.0.1, 2001:db8::1 or 10.0.0.1:4000\n"
                  "t:4: 'outlier' is given twice in backend \"b\"; allowed: once, and it is at t:3\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_frontend(void **state) {
#define UNIX_LISTENER "a listener on unix:/path, unix:@name or fd:NAME\n"
        static const struct conf_test_row rows[] = {
                { "frontend \"f\" { backend = \"b\" listen \":80\" { proxy-from = 10.0.0.0/8 }\n"
                  "listen \":81\" { accept-proxy = off\nproxy-from = { } }\n"
                  "listen \":82\" { accept-proxy = maybe proxy-from = { } }\n"
                  "listen \"srv:_a._b.c\" { } }\n" BACKEND_B,
                  "t:1: 'proxy-from' has no effect here; allowed: together with accept-proxy = on\n"
                  "t:3: 'proxy-from' has no effect here; allowed: together with accept-proxy = on\n"
                  "t:4: accept-proxy: 'maybe' is neither on nor off; allowed: on, yes, true, off, no, false\n"
                  "t:5: listen: 'srv:_a._b.c' names SRV records, and a listener needs an address; allowed: "
                  "10.0.0.1:80, "
                  "[2001:db8::1]:80, :80, unix:/path, unix:@name or fd:NAME\n" },
                { "frontend \"f\" { listen \":80\" { } listen \"10.0.0.1:81\" { accept-proxy = on }\n"
                  "route \"r\" { backend = \"b\" uid = 0\ngid = 0 } }\n"
                  "frontend \"g\" { listen \"unix:/a\" { }\nroute \"r\" { backend = \"b\" from = 10.0.0.0/8 } }\n"
                  BACKEND_B,
                  "t:2: 'uid' has no effect in this frontend; allowed with " UNIX_LISTENER
                  "t:3: 'gid' has no effect in this frontend; allowed with " UNIX_LISTENER
                  "t:5: 'from' has no effect in this frontend; allowed with a listener on a TCP address or fd:NAME, or "
                  "one with accept-proxy\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

static void test_routes(void **state) {
        static const struct conf_test_row rows[] = {
                { "frontend \"f\" { listen \":80\" { }\nroute \"r\" { }\nroute \"\" { sni = a.b backend = \"b\" }\n"
                  "route \"s\" { sni = a.b backend = \"c\" }\nroute \"s\" { alpn = h2 backend = \"b\" }\n"
                  "route \"t\" { sni = a.b }\nroute \"u\" { backend = \"b\" }\nroute \"v\" { snii = a.b backend = b }\n"
                  "route { }\nroute = 5 }\n" BACKEND_B,
                  "t:2: route 'r' has no backend; allowed: backend = \"NAME\"\n"
                  "t:2: route 'r' has no condition; allowed: one at least of sni, alpn, from, uid and gid\n"
                  "t:3: route: '' is empty; allowed: a name of 1 to 64 bytes\n"
                  "t:4: backend: 'c' is not defined; allowed: b\n"
                  "t:5: route 's' is defined twice; allowed: once, and it is at t:4\n"
                  "t:6: route 't' has no backend; allowed: backend = \"NAME\"\n"
                  "t:7: route 'u' has no condition; allowed: one at least of sni, alpn, from, uid and gid\n"
                  "t:8: unknown key 'snii' in route \"v\" (did you mean 'sni'?); allowed: sni, alpn, from, uid, gid, "
                  "backend\n"
                  "t:9: 'route' needs a name before its braces; allowed: route \"NAME\" { ... }\n"
                  "t:10: 'route' is a section, and needs a name behind it, not '='; allowed: route \"NAME\" { ... "
                  "}\n" },
                /* A route that was left out may be the one that is missing. */
                { "frontend \"f\" { listen \":80\" { } route = 5 }\n" BACKEND_B,
                  "t:1: 'route' is a section, and needs a name behind it, not '='; allowed: route \"NAME\" { ... }\n" },
                { "frontend \"f\" { listen \":80\" { } }\n" BACKEND_B,
                  "t:1: frontend 'f' has no backend; allowed: backend = \"NAME\", or one route at least, as in route "
                  "\"NAME\" { ... }\n" },
        };

        (void)state;
        CONF_TEST_ROWS(rows);
}

/* One name twice among many, and one listener. */
static void test_twice_among_many(void **state) {
        char *text, *errors;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        struct conf *conf;

        (void)state;
        for (int i = 0; i < 1000; i++)
                fprintf(stream, "frontend \"f%d\" { listen \"10.0.0.1:%d\" { } backend = \"b%d\" }\n", i, i + 1,
                        999 - i);
        for (int i = 0; i < 1000; i++)
                fprintf(stream, "backend \"b%d\" { server \"s\" { address = \"h:1\" } }\n", i);
        fputs("frontend \"f500\" { listen \"10.0.0.1:700\" { } backend = \"b1000\" }\n"
              "backend \"b0\" { server \"s\" { address = \"h:1\" } }\n", stream);
        fclose(stream);
        assert_int_equal(conf_test_load(&conf, text, &errors), CONF_INVALID);
        assert_ptr_equal(errors, strstr(errors, "t:2001: frontend 'f500' is defined twice; allowed: once, and it is at "
                                        "t:501\nt:2001: backend: 'b1000' is not defined; allowed: b0, b1, b2, "));
        assert_non_null(strstr(errors, "\nt:2001: listen: '10.0.0.1:700' is the same address as '10.0.0.1:700' at "
                               "t:700; allowed: one listener for an address\n"
                               "t:2002: backend 'b0' is defined twice; allowed: once, and it is at t:1001\n"));
        free(text);
        free(errors);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_list_values),
                cmocka_unit_test(test_list_form),
                cmocka_unit_test(test_nul),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_backend),
                cmocka_unit_test(test_frontend),
                cmocka_unit_test(test_routes),
                cmocka_unit_test(test_twice_among_many),
        };

        return cmocka_run_group_tests_name("conf_conflicts", tests, NULL, NULL);
}
