/* SPDX-License-Identifier: ISC */
#include "conf_test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/schema.h"

#define HAS(sockopts, id) (((sockopts).set >> (id)) & 1)

static void test_defaults(void **state) {
        struct conf *conf = conf_test_good(CONF_REST);
        const struct conf_frontend *frontend = conf->frontends;
        const struct conf_backend *backend = conf->backends;

        (void)state;
        assert_null(conf->user);
        assert_null(conf->group);
        assert_int_equal(conf->sandbox, 1);
        assert_int_equal(conf->threads, 0);
        assert_int_equal(conf->max_connections, 0);
        assert_null(conf->max_connections_where.file);
        assert_null(conf->pid_file);
        assert_int_equal(conf->drain, 30000);
        assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
        assert_int_equal(conf->log.to, LOG_TO_STDERR);
        assert_int_equal(conf->log.format, LOG_TEXT);
        assert_int_equal(conf->access_log.to, LOG_TO_OFF);
        assert_int_equal(conf->access_log.format, LOG_TEXT);

        assert_int_equal(conf->n_frontends, 1);
        assert_string_equal(frontend->name, "f");
        assert_int_equal(frontend->backend, 0);
        assert_int_equal(frontend->max_connections, 0);
        assert_int_equal(frontend->half_close, 1);
        assert_int_equal(frontend->access_log, 0);
        assert_int_equal(frontend->timeouts.client, 3600000);
        assert_int_equal(frontend->timeouts.client_fin, 30000);
        assert_int_equal(frontend->timeouts.session, CONF_OFF);
        assert_string_equal(frontend->where.file, "t");
        assert_int_equal(frontend->where.line, 2);
        assert_int_equal(frontend->n_listeners, 1);
        assert_string_equal(frontend->listeners->text, ":80");
        assert_int_equal(frontend->listeners->addr.kind, ADDR_ANY);
        assert_int_equal(frontend->listeners->backlog, 0);
        assert_int_equal(frontend->listeners->v6only, 0);
        assert_int_equal(frontend->listeners->defer_accept, CONF_OFF);

        assert_int_equal(conf->n_backends, 1);
        assert_int_equal(backend->balance, CONF_ROUNDROBIN);
        assert_int_equal(backend->retries, 2);
        assert_int_equal(backend->timeouts.connect, 5000);
        assert_int_equal(backend->timeouts.server, 3600000);
        assert_int_equal(backend->timeouts.server_fin, 30000);
        assert_int_equal(backend->n_servers, 1);
        assert_string_equal(backend->servers->name, "s");
        assert_string_equal(backend->servers->text, "10.0.0.1:80");
        assert_int_equal(backend->servers->weight, 1);
        assert_int_equal(backend->servers->backup, 0);
        assert_int_equal(backend->servers->disabled, 0);
        assert_int_equal(backend->servers->source.kind, ADDR_NONE);
        assert_true(HAS(backend->servers->sockopts, SOCKOPT_KEEPALIVE));
        assert_int_equal(backend->servers->sockopts.value[SOCKOPT_KEEPALIVE_IDLE], 60000);
        assert_false(HAS(backend->servers->sockopts, SOCKOPT_RCVBUF));
        conf_free(conf);
}

static void test_values(void **state) {
        struct conf *conf = conf_test_good(
                "user = spliced group = \"33\" sandbox = off threads = 0x10 max-connections = 5000\n"
                "pid-file = \"/run/x.pid\" drain = off\n"
                "log { to = 'file:/var/log/x' format = json level = debug }\n"
                "access-log { to = syslog }\n"
                "frontend \"f\" {\n"
                "  backend = b max-connections = 7 half-close = NO access-log = false\n"
                "  timeouts { client = 100ms client-fin = 0 session = 2m }\n"
                "  listen \"unix:@a\" { backlog = 12 }\n"
                "  listen \"unix:/a\" { mode = \"0600\" owner = joe group = \"1000\" }\n"
                "  listen \"[::1]:1\" { v6only = yes defer-accept = 3s }\n"
                "}\n"
                "backend b {\n"
                "  balance = roundrobin retries = 50 timeouts { connect = OFF server = 1d server-fin = 1h }\n"
                "  server one { address = \"db.example.org:5432\" weight = 256 backup = on disabled = TRUE source = "
                "\"10.1.1.1\" }\n"
                "  server two { address = \"[2001:db8::1]:80\" weight = 0 source = \"2001:db8::2\" }\n"
                "  server three { address = \"10.0.0.1:80\" source = \"10.0.0.2:99\" }\n"
                "  server four { address = \"unix:/x\" }\n"
                "}\n");
        const struct conf_frontend *frontend = conf->frontends;
        const struct conf_backend *backend = conf->backends;
        struct in6_addr in6;

        (void)state;
        assert_string_equal(conf->user, "spliced");
        assert_string_equal(conf->group, "33");
        assert_int_equal(conf->sandbox, 0);
        assert_int_equal(conf->threads, 16);
        assert_int_equal(conf->max_connections, 5000);
        assert_int_equal(conf->max_connections_where.line, 1);
        assert_string_equal(conf->pid_file, "/run/x.pid");
        assert_int_equal(conf->drain, CONF_OFF);
        assert_int_equal(conf->log.to, LOG_TO_FILE);
        assert_string_equal(conf->log.path, "/var/log/x");
        assert_int_equal(conf->log.format, LOG_JSON);
        assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
        assert_int_equal(conf->access_log.to, LOG_TO_SYSLOG);

        assert_int_equal(frontend->max_connections, 7);
        assert_int_equal(frontend->half_close, 0);
        assert_int_equal(frontend->access_log, 0);
        assert_int_equal(frontend->timeouts.client, 100);
        assert_int_equal(frontend->timeouts.client_fin, CONF_OFF);
        assert_int_equal(frontend->timeouts.session, 120000);
        assert_int_equal(frontend->n_listeners, 3);
        assert_int_equal(frontend->listeners[0].backlog, 12);
        assert_int_equal(frontend->listeners[1].mode, 0600);
        assert_string_equal(frontend->listeners[1].owner, "joe");
        assert_string_equal(frontend->listeners[1].group, "1000");
        assert_null(frontend->listeners[0].owner);
        assert_int_equal(frontend->listeners[2].v6only, 1);
        assert_int_equal(frontend->listeners[2].defer_accept, 3000);

        assert_int_equal(backend->retries, 50);
        assert_int_equal(backend->timeouts.connect, CONF_OFF);
        assert_int_equal(backend->timeouts.server, 86400000);
        assert_int_equal(backend->timeouts.server_fin, 3600000);
        assert_int_equal(backend->n_servers, 4);
        assert_int_equal(backend->servers[0].addr.kind, ADDR_HOST);
        assert_int_equal(backend->servers[0].weight, 256);
        assert_int_equal(backend->servers[0].backup, 1);
        assert_int_equal(backend->servers[0].disabled, 1);
        assert_int_equal(backend->servers[0].source.in.sin_addr.s_addr, htonl(0x0a010101));
        assert_int_equal(backend->servers[0].source.in.sin_port, 0);
        assert_int_equal(backend->servers[1].weight, 0);
        inet_pton(AF_INET6, "2001:db8::2", &in6);
        assert_memory_equal(&backend->servers[1].source.in6.sin6_addr, &in6, sizeof(in6));
        assert_int_equal(backend->servers[2].source.in.sin_port, htons(99));
        conf_free(conf);
}

/* Key by key: top level, frontend, listener; top level, backend, server; wherever each is written. */
static void test_inheritance(void **state) {
        struct conf *conf = conf_test_good(
                "frontend \"f\" {\n"
                "  listen \"10.0.0.1:1\" { socket { rcvbuf = 3K nodelay = off } }\n"
                "  listen \"10.0.0.1:2\" { }\n"
                "  listen \"unix:/a\" { socket { sndbuf = 1M } }\n"
                "  socket { rcvbuf = 2K congestion = \"cubic\" }\n"
                "  backend = \"b\"\n"
                "  timeouts { session = 7s }\n"
                "}\n"
                "backend \"b\" {\n"
                "  server \"s\" { address = \"10.0.0.1:3\" socket { congestion = \"reno\" } }\n"
                "  server \"u\" { address = \"unix:/b\" }\n"
                "  server \"h\" { address = \"host:3\" socket { mark = 0xffffffff } }\n"
                "  timeouts { server = off }\n"
                "  socket { congestion = \"bbr\" pacing-rate = \"10M/s\" user-timeout = off }\n"
                "}\n"
                "socket { rcvbuf = 1K sndbuf = 1K user-timeout = 9s device = \"eth0\" }\n"
                "timeouts { client = 1s session = 2s connect = 3s server = 4s }\n");
        const struct conf_listener *listeners = conf->frontends->listeners;
        const struct conf_server *servers = conf->backends->servers;

        (void)state;
        assert_int_equal(conf->frontends->timeouts.client, 1000);
        assert_int_equal(conf->frontends->timeouts.client_fin, 30000);
        assert_int_equal(conf->frontends->timeouts.session, 7000);
        assert_int_equal(conf->backends->timeouts.connect, 3000);
        assert_int_equal(conf->backends->timeouts.server, CONF_OFF);

        assert_int_equal(listeners[0].sockopts.value[SOCKOPT_RCVBUF], 3072);
        assert_int_equal(listeners[0].sockopts.value[SOCKOPT_NODELAY], 0);
        assert_string_equal(listeners[0].sockopts.congestion, "cubic");
        assert_string_equal(listeners[0].sockopts.device, "eth0");
        assert_int_equal(listeners[1].sockopts.value[SOCKOPT_RCVBUF], 2048);
        assert_int_equal(listeners[1].sockopts.value[SOCKOPT_NODELAY], 1);
        assert_int_equal(listeners[1].sockopts.value[SOCKOPT_SNDBUF], 1024);
        assert_int_equal(listeners[1].sockopts.value[SOCKOPT_USER_TIMEOUT], 9000);
        /* What a UNIX socket inherits and does not have is not in its set. */
        assert_int_equal(listeners[2].sockopts.set, 1 << SOCKOPT_RCVBUF | 1 << SOCKOPT_SNDBUF);
        assert_int_equal(listeners[2].sockopts.value[SOCKOPT_RCVBUF], 2048);
        assert_int_equal(listeners[2].sockopts.value[SOCKOPT_SNDBUF], 1 << 20);

        assert_string_equal(servers[0].sockopts.congestion, "reno");
        assert_int_equal(servers[0].sockopts.value[SOCKOPT_RCVBUF], 1024);
        assert_int_equal(servers[0].sockopts.value[SOCKOPT_PACING_RATE], 10 << 20);
        assert_int_equal(servers[0].sockopts.value[SOCKOPT_USER_TIMEOUT], 0);
        assert_int_equal(servers[1].sockopts.set, 1 << SOCKOPT_RCVBUF | 1 << SOCKOPT_SNDBUF);
        assert_string_equal(servers[2].sockopts.congestion, "bbr");
        assert_int_equal(servers[2].sockopts.value[SOCKOPT_MARK], INT64_C(0xffffffff));
        conf_free(conf);
}

static void test_access_log_default(void **state) {
        struct conf *conf = conf_test_good(
                "frontend \"a\" { listen \":1\" { } backend = \"b\" access-log = off }\n"
                "frontend \"c\" { listen \":2\" { } backend = \"b\" access-log = on }\n"
                "access-log { to = stderr format = json }\n" CONF_REST);

        (void)state;
        assert_int_equal(conf->frontends[0].access_log, 0);
        assert_int_equal(conf->frontends[1].access_log, 1);
        assert_int_equal(conf->frontends[2].access_log, 1);
        conf_free(conf);
}

/* What libconfuse's language has, and comments in every place. */
static void test_language(void **state) {
        struct conf *conf;

        (void)state;
        assert_int_equal(setenv("CONF_TEST", "v\"x", 1), 0);
        assert_int_equal(setenv("CONF_TEST2", "bare", 1), 0);
        conf = conf_test_good(
                "\xef\xbb\xbf// one\r\n"
                "# \"two\n"
                "/* three { \" ' */ threads /*four*/ = /*five*/ 3 # six\n"
                "frontend \"a\\x62\\143 \\\"d\\\"\" { listen\n':80' {} backend = 'a\\\\b' }\n"
                "backend \"a\\\\b\" {\n"
                "  server \"${CONF_TEST:-no}\" { address = \"unix:/${CONF_TEST_UNSET:-x}/a//b\" }\n"
                "  server ${CONF_TEST2} { address = unix:/a//b }\n"
                "  server \"${CONF_TEST_UNSET:-}2\" { address = 10.0.0.1:80 } }\n"
                "pid-file = \"/a*b${CONF_TEST_UNSET:-$}\" drain=1s");
        assert_int_equal(conf->threads, 3);
        assert_string_equal(conf->pid_file, "/a*b$");
        assert_string_equal(conf->frontends->name, "abc \"d\"");
        assert_int_equal(conf->frontends->where.line, 4);
        assert_int_equal(conf->frontends->listeners->where.line, 5);
        assert_string_equal(conf->backends->name, "a\\b");
        assert_string_equal(conf->backends->servers[0].text, "unix:/x/a//b");
        assert_string_equal(conf->backends->servers[0].name, "v\"x");
        assert_string_equal(conf->backends->servers[1].name, "bare");
        assert_string_equal(conf->backends->servers[1].text, "unix:/a//b");
        assert_string_equal(conf->backends->servers[2].name, "2");
        conf_free(conf);
        assert_int_equal(unsetenv("CONF_TEST"), 0);
        assert_int_equal(unsetenv("CONF_TEST2"), 0);
}

/* -T: complete, reads back as itself, and the same text again. */
static void test_print(void **state) {
        static const char text[] =
                "log { to = \"file:/a \\\"quoted\\\" \\\\ \\${x\" }\n"
                "socket { rcvbuf = 64K pacing-rate = \"1M/s\" congestion = \"cubic\" user-timeout = 90s tos = 16 }\n"
                "frontend 'we\"b' { backend = \"b\"\n"
                "  listen \"unix:/a\" { owner = \"0\" group = 'a b' }\n"
                "  listen \"unix:@b\" { } listen \":80\" { v6only = on } listen \"10.0.0.1:80\" { defer-accept = 1m } "
                "listen \"fd:web\" { }"
                "}\n"
                "backend \"b\" { retries = 0\n"
                "  server \"s\" { address = \"[::1]:80\" source = \"[::1]\" weight = 0 backup = on }\n"
                "  server \"t\" { address = \"unix:/x\" }\n"
                "  server \"u\" { address = \"h:1\" source = \"127.0.0.1:5\" } }\n";
        static const char expected[] =
                "sandbox = on\n"
                "threads = auto\n"
                "max-connections = auto\n"
                "drain = 30s\n"
                "log {\n"
                "    to = \"file:/a \\\"quoted\\\" \\\\ \\${x\"\n"
                "    format = text\n"
                "    level = info\n"
                "}\n"
                "access-log {\n"
                "    to = off\n"
                "    format = text\n"
                "}\n"
                "admin {\n"
                "    # socket = \"/run/spliced/admin.sock\"\n"
                "    mode = \"0600\"\n"
                "    http = off\n"
                "}\n"
                "resolver {\n"
                "    timeout = 2s\n"
                "    hold = 30s\n"
                "}\n"
                "\n"
                "frontend \"we\\\"b\" {\n"
                "    listen \"unix:/a\" {\n"
                "        backlog = somaxconn\n"
                "        mode = \"0660\"\n"
                "        owner = \"0\"\n"
                "        group = \"a b\"\n"
                "        accept-proxy = off\n"
                "        socket {\n"
                "            rcvbuf = 64K\n"
                "        }\n"
                "    }\n";
        struct conf *conf = conf_test_good(text);
        char *first = conf_test_print(conf), *second;

        (void)state;
        conf_free(conf);
        conf = conf_test_good(first);
        second = conf_test_print(conf);
        conf_free(conf);
        assert_string_equal(first, second);
        assert_memory_equal(first, expected, sizeof(expected) - 1);
        assert_non_null(strstr(first, "source = \"::1\""));
        assert_non_null(strstr(first, "source = \"127.0.0.1:5\""));
        assert_non_null(strstr(first, "user-timeout = 90s"));
        assert_non_null(strstr(first, "pacing-rate = \"1M/s\""));
        assert_non_null(strstr(first, "defer-accept = 1m"));
        free(first);
        free(second);
}

static void test_print_fails(void **state) {
        struct conf *conf = conf_test_good(CONF_REST);
        FILE *full = fopen("/dev/full", "w");

        (void)state;
        assert_non_null(full);
        assert_int_equal(conf_print(conf, full), -ENOSPC);
        fclose(full);
        conf_free(conf);
}

/* A folder of files for one test. */
struct folder { char path[64]; };

static int folder_setup(void **state) {
        struct folder *folder = calloc(1, sizeof(*folder));

        strcpy(folder->path, "/tmp/conf_load.[XXXXXX");
        *state = folder;
        return mkdtemp(folder->path) ? 0 : -1;
}

static void folder_empty(const char *path) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        char name[512];

        while (dir && (entry = readdir(dir))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
                if (unlink(name) < 0)
                        folder_empty(name);
        }
        if (dir)
                closedir(dir);
        rmdir(path);
}

static int folder_teardown(void **state) {
        folder_empty(((struct folder *)*state)->path);
        free(*state);
        return 0;
}

static void folder_write(const struct folder *folder, const char *name, const char *text) {
        char path[256];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", folder->path, name);
        file = fopen(path, "w");
        assert_non_null(file);
        fputs(text, file);
        assert_int_equal(fclose(file), 0);
}

static void folder_make(const struct folder *folder, const char *name) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", folder->path, name);
        assert_int_equal(mkdir(path, 0700), 0);
}

/* Loads a file of the folder.  In `errors` the folder's path is cut out, so that tests can compare. */
static int folder_load(const struct folder *folder, const char *name, struct conf **conf, char *errors, size_t size) {
        char path[256], *text, *from, *at;
        size_t len, prefix = strlen(folder->path) + 1;
        FILE *stream = open_memstream(&text, &len);
        int r;

        snprintf(path, sizeof(path), "%s/%s", folder->path, name);
        r = conf_load(conf, path, stream);
        fclose(stream);
        snprintf(path, sizeof(path), "%s/", folder->path);
        errors[0] = '\0';
        for (from = text; (at = strstr(from, path)); from = at + prefix)
                strncat(errors, from, (size_t)(at - from));
        assert_true(strlen(errors) + strlen(from) < size);
        strcat(errors, from);
        free(text);
        return r;
}

static void test_include(void **state) {
        struct folder *folder = *state;
        char errors[1024];
        struct conf *conf;

        folder_make(folder, "d");
        folder_make(folder, "d/e");
        folder_write(folder, "main", "include(\"d/*.conf\")\ninclude(\"none/*.conf\")\ninclude('b')\nthreads = 2\n");
        folder_write(folder, "b", "backend \"b\" { server \"s\" { address = \"10.0.0.1:80\" } }\n");
        folder_write(folder, "d/2.conf", "\n\nfrontend \"two\" { listen \":2\" { } backend = \"b\" }\n");
        folder_write(folder, "d/1.conf", "frontend \"one\" { listen \":1\" { } backend = \"b\" }\ninclude(\"e/3\")\n");
        folder_write(folder, "d/e/3", "frontend \"three\" { listen \":3\" { } backend = \"b\" } drain = 1s");
        assert_int_equal(folder_load(folder, "main", &conf, errors, sizeof(errors)), 0);
        assert_string_equal(errors, "");
        assert_int_equal(conf->n_frontends, 3);
        assert_string_equal(conf->frontends[0].name, "one");
        assert_string_equal(conf->frontends[1].name, "three");
        assert_string_equal(conf->frontends[2].name, "two");
        assert_int_equal(conf->frontends[2].where.line, 3);
        assert_non_null(strstr(conf->frontends[2].where.file, "/d/2.conf"));
        assert_int_equal(conf->drain, 1000);
        conf_free(conf);
}

static void test_include_mistakes(void **state) {
        struct folder *folder = *state;
        char errors[4096], text[512];
        struct conf *conf;

        folder_make(folder, "d");
        folder_write(folder, "main", "threads = 1\ninclude(\"b\")\ninclude(\"nope\")\ninclude(\"d\")\ninclude(\"\")\n"
                     "include(\"/dev/null\")\ninclude(\"c\")" CONF_REST);
        folder_write(folder, "b", "# one\nthreads = 2\nfrontend \"f\" { listen \":80\" { } backend = \"nope\" x = 1 "
                "}\n");
        folder_write(folder, "c", "include(\"d/../main\")");
        assert_int_equal(folder_load(folder, "main", &conf, errors, sizeof(errors)), CONF_INVALID);
        assert_null(conf);
        snprintf(text, sizeof(text),
                 "main:3: include: 'nope' cannot be read: No such file or directory\n"
                 "main:4: include: 'd' is no regular file\n"
                 "main:5: include: the path is empty; allowed: the path of a file, or a pattern\n"
                 "main:6: include: '/dev/null' is no regular file\n");
        assert_memory_equal(errors, text, strlen(text));
        assert_non_null(strstr(errors, "\nb:3: listen: ':80' is the same address as ':80' at main:8; allowed: "));
        assert_non_null(strstr(errors, "\nb:2: 'threads' is given twice at the top level; allowed: once, and it is at "
                "main:1\n"));
        assert_non_null(strstr(errors, "\nb:3: unknown key 'x' in frontend \"f\"; allowed: "));
        assert_non_null(strstr(errors, "\nb:3: frontend 'f' is defined twice; allowed: once, and it is at main:8\n"));
        assert_non_null(strstr(errors, "\nc:1: include: 'd/../main' includes itself, in the end\n"));
        /* A backend that is not there may be in a file that could not be had. */
        assert_null(strstr(errors, "is not defined"));
}

static void test_include_depth(void **state) {
        struct folder *folder = *state;
        char errors[1024], name[16], text[64];
        struct conf *conf;

        folder_write(folder, "0", CONF_REST "include(\"1\")");
        for (int i = 1; i <= 11; i++) {
                snprintf(name, sizeof(name), "%d", i);
                snprintf(text, sizeof(text), i < 10 ? "include(\"%d\")" : "", i + 1);
                folder_write(folder, name, text);
        }
        assert_int_equal(folder_load(folder, "0", &conf, errors, sizeof(errors)), 0);
        conf_free(conf);
        folder_write(folder, "10", "\ninclude(\"11\")");
        assert_int_equal(folder_load(folder, "0", &conf, errors, sizeof(errors)), CONF_INVALID);
        assert_string_equal(errors, "10:2: include: '11' is nested too deeply; allowed: 10 includes inside of each "
                "other\n");
}

static void test_unreadable(void **state) {
        struct folder *folder = *state;
        char errors[1024];
        struct conf *conf;

        assert_int_equal(folder_load(folder, "none", &conf, errors, sizeof(errors)), CONF_INVALID);
        assert_string_equal(errors, "none: cannot be read: No such file or directory\n");
        folder_make(folder, "d");
        assert_int_equal(folder_load(folder, "d", &conf, errors, sizeof(errors)), CONF_INVALID);
        assert_string_equal(errors, "d: cannot be read: Is a directory\n");
        folder_write(folder, "empty", "");
        assert_int_equal(folder_load(folder, "empty", &conf, errors, sizeof(errors)), CONF_INVALID);
        assert_string_equal(errors, "empty:1: there is no frontend; allowed: one at least, as in frontend \"web\" { "
                "... }\n");
}

/* The schema's rows for socket options are those of net/sockopt.h, under the same names. */
static void test_socket_rows(void **state) {
        unsigned n = 0;

        (void)state;
        for (const struct schema_row *row = schema_socket; row->key; row++, n++) {
                assert_string_equal(row->key, sockopt_spec(row->id)->name);
                assert_int_equal(row->id, n);
        }
        assert_int_equal(n, SOCKOPT_N);
        assert_true(n <= SCHEMA_ROWS_MAX);
}

/* Thousands of sections: nothing may be slow or recursive in their number. */
static void test_large(void **state) {
        char *text, *printed;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        struct conf *conf;

        (void)state;
        fputs(CONF_REST, stream);
        for (int i = 0; i < 2000; i++)
                fprintf(stream, "backend \"b%d\" { server \"s%d\" { address = \"10.0.0.1:80\" } }\n", i, i);
        fclose(stream);
        conf = conf_test_good(text);
        free(text);
        assert_int_equal(conf->n_backends, 2001);
        assert_string_equal(conf->backends[2000].servers[0].name, "s1999");
        printed = conf_test_print(conf);
        conf_free(conf);
        conf = conf_test_good(printed);
        assert_int_equal(conf->n_backends, 2001);
        free(printed);
        conf_free(conf);
        assert_null(conf_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_inheritance),
                cmocka_unit_test(test_access_log_default),
                cmocka_unit_test(test_language),
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_print_fails),
                cmocka_unit_test_setup_teardown(test_include, folder_setup, folder_teardown),
                cmocka_unit_test_setup_teardown(test_include_mistakes, folder_setup, folder_teardown),
                cmocka_unit_test_setup_teardown(test_include_depth, folder_setup, folder_teardown),
                cmocka_unit_test_setup_teardown(test_unreadable, folder_setup, folder_teardown),
                cmocka_unit_test(test_socket_rows),
                cmocka_unit_test(test_large),
        };

        return cmocka_run_group_tests_name("conf_load", tests, NULL, NULL);
}
