/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "config.h"
#include "keeper/keeper.h"
#include "keeper/notify.h"
#include "keeper/upgrade.h"
#include "worker/sandbox.h"

#define MAIN_DEFAULT_FILE SYSCONFDIR "/spliced.conf"

/* Long options that have no short one. */
enum { MAIN_NO_KEEPER = 256, MAIN_CHECK_UPGRADE, MAIN_RESUME };

enum main_mode { MAIN_SERVE, MAIN_TEST, MAIN_PRINT };

static void main_usage(FILE *out) {
        fputs("usage: spliced [-f FILE] [-t] [-T] [-D] [-v]... [--no-keeper]\n"
              "       spliced -V | -h\n"
              "\n"
              "  -f FILE        read the config from FILE (default: " MAIN_DEFAULT_FILE ")\n"
              "  -t             check the config and exit; touches nothing\n"
              "  -T             print the effective config and exit\n"
              "  -D             go into the background once ready\n"
              "  -v             log more; may be repeated\n"
              "  --no-keeper    serve in one process, for debuggers: no reload, no upgrade\n"
              "  -V, --version  print the version and what it can make use of here, and exit\n"
              "  -h, --help     print this help and exit\n"
              "\n"
              "Exit status: 0, 1 for a bad config or bad usage, 2 for a failure at start or run time.\n",
              out);
}

static void main_version(void) {
        char sandbox[128];

        printf("%s\n%s, libsystemd: %s\n", PACKAGE_STRING, sandbox_describe(sandbox, sizeof(sandbox)),
               notify_built_in() ? "yes" : "no");
}

/* In the background the working directory is another one, and a reload has to find the file again. */
static const char *main_absolute(const char *path, char *buf, size_t size) {
        char here[PATH_MAX];

        if (path[0] == '/' || !getcwd(here, sizeof(here)) || (size_t)snprintf(buf, size, "%s/%s", here, path) >= size)
                return path;
        return buf;
}

static int main_config(enum main_mode mode, struct keeper_options *options) {
        char absolute[2 * PATH_MAX];
        const char *path = options->path;
        struct conf *conf;
        int r;

        r = conf_load(&conf, path, stderr);
        if (r == CONF_INVALID)
                return KEEPER_USAGE;
        if (r < 0) {
                fprintf(stderr, "spliced: cannot read %s: %s\n", path, strerror(-r));
                return KEEPER_USAGE;
        }
        if (mode == MAIN_SERVE) {
                if (options->background)
                        options->path = main_absolute(path, absolute, sizeof(absolute));
                return keeper_run(conf, options);
        }
        if (mode == MAIN_PRINT) {
                r = conf_print(conf, stdout);
                if (r >= 0 && fflush(stdout) != 0)
                        r = -errno;
                if (r < 0)
                        fprintf(stderr, "spliced: cannot print the config: %s\n", strerror(-r));
        }
        conf_free(conf);
        return r < 0 ? KEEPER_FAILURE : KEEPER_OK;
}

int main(int argc, char **argv) {
        static const struct option long_options[] = {
                { "no-keeper", no_argument, NULL, MAIN_NO_KEEPER },
                { UPGRADE_CHECK_OPTION, required_argument, NULL, MAIN_CHECK_UPGRADE },
                { UPGRADE_RESUME_OPTION, required_argument, NULL, MAIN_RESUME },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'V' },
                { 0 },
        };
        struct keeper_options options = { .path = MAIN_DEFAULT_FILE, .argv = argv };
        enum main_mode mode = MAIN_SERVE;
        int option, resume = -1;

        while ((option = getopt_long(argc, argv, "f:tTDvVh", long_options, NULL)) != -1) {
                switch (option) {
                case 'f':
                        options.path = optarg;
                        break;
                case 't':
                        mode = MAIN_TEST;
                        break;
                case 'T':
                        mode = MAIN_PRINT;
                        break;
                case 'D':
                        options.background = 1;
                        break;
                case 'v':
                        options.verbose++;
                        break;
                case MAIN_NO_KEEPER:
                        options.alone = 1;
                        break;
                case MAIN_CHECK_UPGRADE:
                        return upgrade_can(optarg);
                case MAIN_RESUME:
                        resume = atoi(optarg);
                        break;
                case 'V':
                        main_version();
                        return KEEPER_OK;
                case 'h':
                        main_usage(stdout);
                        return KEEPER_OK;
                default:
                        main_usage(stderr);
                        return KEEPER_USAGE;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "spliced: unexpected argument '%s'\n", argv[optind]);
                main_usage(stderr);
                return KEEPER_USAGE;
        }
        return resume >= 0 ? (int)keeper_resume(resume, &options) : main_config(mode, &options);
}
