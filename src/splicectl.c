/* SPDX-License-Identifier: ISC */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "ctl/call.h"
#include "ctl/change.h"
#include "ctl/show.h"
#include "ctl/tap.h"
#include "ctl/top.h"

#define SPLICECTL_SOCKET "/run/spliced/admin.sock"
#define SPLICECTL_READY_MS 10000L
#define SPLICECTL_LONGEST_MS 86400000L

/* Exit status. */
enum { SPLICECTL_OK, SPLICECTL_REFUSED, SPLICECTL_NO_DAEMON };

/* Long options without a short one. */
enum { SPLICECTL_JSON = 256, SPLICECTL_TIMEOUT, SPLICECTL_SERVER, SPLICECTL_FRONTEND, SPLICECTL_SOURCE,
       SPLICECTL_PCAPNG };

struct splicectl {
        struct call call;
        struct show_options show;
        const char *socket;
        long timeout_ms;
        int timed;                      /* --timeout was given */
        int pcapng;
        char **words;                   /* the command's */
        int n_words;
};

static void splicectl_usage(FILE *out) {
        fputs("usage: splicectl [-s SOCKET] [--json] COMMAND …\n"
              "\n"
              "  status                                 the daemon as a whole\n"
              "  show frontends|listeners|backends|servers|sessions|config\n"
              "  show sessions --server BACKEND/NAME | --frontend NAME | --source NETWORK\n"
              "  server BACKEND/NAME ready|drain|maint  drain: no new sessions, still checked\n"
              "  weight BACKEND/NAME N                  0 to 256\n"
              "  address BACKEND/NAME ADDRESS\n"
              "  frontend NAME ready|pause              paused: clients wait in the backlog\n"
              "  kill ID                                ends a session\n"
              "  kill --server BACKEND/NAME | --frontend NAME | --source NETWORK\n"
              "  reload, upgrade                        and wait for it, or say why not\n"
              "  wait-ready [--timeout 10s]             serving, and every server checked once\n"
              "  top                                    a live view\n"
              "  tap [--pcapng] ID                      a session's bytes as they pass\n"
              "  metrics                                as Prometheus reads them\n"
              "\n"
              "  -s, --socket SOCKET  the daemon's admin socket (default: " SPLICECTL_SOCKET ")\n"
              "  --json               print the API's answer as it is\n"
              "  -V, --version        print the version\n"
              "  -h, --help           print this help\n"
              "\n"
              "Exit status: 0, 1 where it was refused or for bad usage, 2 where no daemon is there.\n",
              out);
}

static int splicectl_wrong(const char *what, const char *word, const char *allowed) {
        fprintf(stderr, "splicectl: %s '%s'; allowed: %s\n", what, word, allowed);
        return SPLICECTL_REFUSED;
}

/* Whether the command has that many words after its name; says what it takes where not. */
static int splicectl_takes(const struct splicectl *ctl, int n, const char *usage) {
        if (ctl->n_words == n + 1)
                return 1;
        fprintf(stderr, "usage: splicectl %s\n", usage);
        return 0;
}

static int splicectl_word(const char *word, const char *const *allowed) {
        for (; *allowed; allowed++)
                if (strcmp(word, *allowed) == 0)
                        return 1;
        return 0;
}

/* "500ms", "10s", "2m" and so on, in ms; -1 for anything else. */
static long splicectl_duration(const char *text) {
        static const struct { const char *unit; long ms; } units[] = {
                { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
        };
        char *end;
        long n = strtol(text, &end, 10);

        for (size_t i = 0; isdigit((unsigned char)*text) && i < sizeof(units) / sizeof(units[0]); i++)
                if (strcmp(end, units[i].unit) == 0 && n <= SPLICECTL_LONGEST_MS / units[i].ms)
                        return n * units[i].ms;
        return -1;
}

static int splicectl_status(struct splicectl *ctl) {
        return splicectl_takes(ctl, 0, "status") ? show_status(&ctl->call, &ctl->show) : SPLICECTL_REFUSED;
}

static int splicectl_show(struct splicectl *ctl) {
        static const char usage[] = "show frontends|listeners|backends|servers|sessions|config";

        if (!splicectl_takes(ctl, 1, usage))
                return SPLICECTL_REFUSED;
        if (!splicectl_word(ctl->words[1], show_things))
                return splicectl_wrong("show: nothing is called", ctl->words[1], usage + strlen("show "));
        return show_list(&ctl->call, ctl->words[1], &ctl->show);
}

static int splicectl_server(struct splicectl *ctl) {
        static const char *const states[] = { "ready", "drain", "maint", NULL };

        if (!splicectl_takes(ctl, 2, "server BACKEND/NAME ready|drain|maint"))
                return SPLICECTL_REFUSED;
        if (!splicectl_word(ctl->words[2], states))
                return splicectl_wrong("server: no state is called", ctl->words[2], "ready, drain, maint");
        return change_server(&ctl->call, ctl->words[1], "state", json_string(ctl->words[2]));
}

static int splicectl_weight(struct splicectl *ctl) {
        char *end;
        long weight;

        if (!splicectl_takes(ctl, 2, "weight BACKEND/NAME N"))
                return SPLICECTL_REFUSED;
        weight = strtol(ctl->words[2], &end, 10);
        if (!isdigit((unsigned char)*ctl->words[2]) || *end || weight > 256)
                return splicectl_wrong("weight: wrong number", ctl->words[2], "0 to 256");
        return change_server(&ctl->call, ctl->words[1], "weight", json_integer(weight));
}

static int splicectl_address(struct splicectl *ctl) {
        json_t *address;

        if (!splicectl_takes(ctl, 2, "address BACKEND/NAME ADDRESS"))
                return SPLICECTL_REFUSED;
        address = json_string(ctl->words[2]);
        if (!address)
                return splicectl_wrong("address: not UTF-8:", ctl->words[2], "as in the config");
        return change_server(&ctl->call, ctl->words[1], "address", address);
}

static int splicectl_frontend(struct splicectl *ctl) {
        static const char *const states[] = { "ready", "pause", NULL };

        if (!splicectl_takes(ctl, 2, "frontend NAME ready|pause"))
                return SPLICECTL_REFUSED;
        if (!splicectl_word(ctl->words[2], states))
                return splicectl_wrong("frontend: no state is called", ctl->words[2], "ready, pause");
        return change_frontend(&ctl->call, ctl->words[1], strcmp(ctl->words[2], "pause") == 0 ? "paused" : "ready");
}

static int splicectl_kill(struct splicectl *ctl) {
        static const char usage[] = "kill ID | --server BACKEND/NAME | --frontend NAME | --source NETWORK";

        if (!splicectl_takes(ctl, ctl->show.by ? 0 : 1, usage))
                return SPLICECTL_REFUSED;
        if (ctl->show.by)
                return change_kill_all(&ctl->call, ctl->show.by, ctl->show.value);
        return change_kill(&ctl->call, ctl->words[1]);
}

static int splicectl_generation(struct splicectl *ctl) {
        return splicectl_takes(ctl, 0, ctl->words[0]) ? change_generation(&ctl->call, ctl->words[0])
                                                      : SPLICECTL_REFUSED;
}

static int splicectl_wait_ready(struct splicectl *ctl) {
        return splicectl_takes(ctl, 0, "wait-ready [--timeout 10s]") ? change_wait_ready(&ctl->call, ctl->timeout_ms)
                                                                    : SPLICECTL_REFUSED;
}

static int splicectl_top(struct splicectl *ctl) {
        if (!splicectl_takes(ctl, 0, "top"))
                return SPLICECTL_REFUSED;
        if (ctl->show.json)
                return splicectl_wrong("--json: not for", "top", "status, show and what changes something");
        return top_run(&ctl->call);
}

static int splicectl_tap(struct splicectl *ctl) {
        return splicectl_takes(ctl, 1, "tap [--pcapng] ID") ? tap_run(&ctl->call, ctl->words[1], ctl->pcapng)
                                                            : SPLICECTL_REFUSED;
}

static int splicectl_metrics(struct splicectl *ctl) {
        return splicectl_takes(ctl, 0, "metrics") ? show_body(&ctl->call, "/metrics") : SPLICECTL_REFUSED;
}

static const struct splicectl_command {
        const char *name;
        int (*run)(struct splicectl *ctl);
} splicectl_commands[] = {
        { "status", splicectl_status }, { "show", splicectl_show }, { "server", splicectl_server },
        { "weight", splicectl_weight }, { "address", splicectl_address }, { "frontend", splicectl_frontend },
        { "kill", splicectl_kill }, { "reload", splicectl_generation }, { "upgrade", splicectl_generation },
        { "wait-ready", splicectl_wait_ready }, { "top", splicectl_top }, { "tap", splicectl_tap },
        { "metrics", splicectl_metrics },
};

static int splicectl_run(struct splicectl *ctl) {
        for (size_t i = 0; i < sizeof(splicectl_commands) / sizeof(splicectl_commands[0]); i++) {
                int r;

                if (strcmp(splicectl_commands[i].name, ctl->words[0]) != 0)
                        continue;
                if (ctl->show.by && splicectl_commands[i].run != splicectl_kill &&
                    (splicectl_commands[i].run != splicectl_show || ctl->n_words != 2 ||
                     strcmp(ctl->words[1], "sessions") != 0))
                        return splicectl_wrong("a choice of sessions:", ctl->show.by,
                                               "with kill and show sessions alone");
                if (ctl->pcapng && splicectl_commands[i].run != splicectl_tap)
                        return splicectl_wrong("an option of tap:", "pcapng", "with tap alone");
                if (ctl->timed && splicectl_commands[i].run != splicectl_wait_ready)
                        return splicectl_wrong("an option of wait-ready:", "timeout", "with wait-ready alone");
                if (call_impossible(ctl->socket))
                        return SPLICECTL_REFUSED;
                r = call_init(&ctl->call, ctl->socket);
                ctl->call.json = ctl->show.json;
                if (r < 0)
                        fprintf(stderr, "splicectl: %s\n", strerror(-r));
                else
                        r = splicectl_commands[i].run(ctl);
                call_deinit(&ctl->call);
                if (r >= 0 && (fflush(stdout) != 0 || ferror(stdout))) {
                        fprintf(stderr, "splicectl: cannot write the answer: %s\n", strerror(errno));
                        r = SPLICECTL_REFUSED;
                }
                return r < 0 ? SPLICECTL_REFUSED : r;
        }
        fprintf(stderr, "splicectl: unknown command '%s'\n", ctl->words[0]);
        splicectl_usage(stderr);
        return SPLICECTL_REFUSED;
}

/* Takes one option.  Returns 0, or 1 + the exit status where the program ends with it. */
static int splicectl_option(struct splicectl *ctl, int option) {
        static const char *const by[] = { "server", "frontend", "source" };

        switch (option) {
        case 's':
                ctl->socket = optarg;
                return 0;
        case SPLICECTL_JSON:
                ctl->show.json = 1;
                return 0;
        case SPLICECTL_TIMEOUT:
                ctl->timed = 1;
                ctl->timeout_ms = splicectl_duration(optarg);
                return ctl->timeout_ms < 0 ? 1 + splicectl_wrong("--timeout: wrong duration", optarg, "500ms, 10s, 2m")
                                           : 0;
        case SPLICECTL_SERVER:
        case SPLICECTL_FRONTEND:
        case SPLICECTL_SOURCE:
                if (ctl->show.by)
                        return 1 + splicectl_wrong("one choice of sessions too many:", optarg,
                                                   "one of --server, --frontend, --source");
                ctl->show.by = by[option - SPLICECTL_SERVER];
                ctl->show.value = optarg;
                return 0;
        case SPLICECTL_PCAPNG:
                ctl->pcapng = 1;
                return 0;
        case 'V':
                printf("%s\n", PACKAGE_STRING);
                return 1 + SPLICECTL_OK;
        case 'h':
                splicectl_usage(stdout);
                return 1 + SPLICECTL_OK;
        default:
                splicectl_usage(stderr);
                return 1 + SPLICECTL_REFUSED;
        }
}

int main(int argc, char **argv) {
        static const struct option long_options[] = {
                { "json", no_argument, NULL, SPLICECTL_JSON },
                { "timeout", required_argument, NULL, SPLICECTL_TIMEOUT },
                { "server", required_argument, NULL, SPLICECTL_SERVER },
                { "frontend", required_argument, NULL, SPLICECTL_FRONTEND },
                { "source", required_argument, NULL, SPLICECTL_SOURCE },
                { "pcapng", no_argument, NULL, SPLICECTL_PCAPNG },
                { "socket", required_argument, NULL, 's' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'V' },
                { 0 },
        };
        struct splicectl ctl = { .socket = SPLICECTL_SOCKET, .timeout_ms = SPLICECTL_READY_MS };
        int option;

        ctl.show.width = table_width(stdout);
        ctl.show.colored = table_colored(stdout);
        while ((option = getopt_long(argc, argv, "s:Vh", long_options, NULL)) != -1) {
                int end = splicectl_option(&ctl, option);

                if (end)
                        return end - 1;
        }
        ctl.words = argv + optind;
        ctl.n_words = argc - optind;
        if (ctl.n_words == 0) {
                splicectl_usage(stderr);
                return SPLICECTL_REFUSED;
        }
        return splicectl_run(&ctl);
}
