/* SPDX-License-Identifier: ISC */
/*
 * What it costs to choose a server, for each algorithm, and how well the table of `source` spreads.
 *
 *   pick [--quick]       prints both as tables, as doc/PERFORMANCE.md has them
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "balance/backend.h"
#include "balance/maglev.h"
#include "balance/source.h"
#include "base/hash.h"

#define PICK_SERVERS 1000
#define PICK_TRIED 3
#define PICK_BATCH 1000         /* picks that are timed, before their places are given back */
#define PICK_BATCHES 300

struct bench {
        struct arena arena;
        struct conf_server servers[PICK_SERVERS];
        char names[PICK_SERVERS][16];
        struct conf_backend conf;
        struct backend_waiter waiter;
        struct backend backend;
        uint64_t client;
};

struct scene {
        const char *name;
        int weights;            /* 1 to 256; else all 1 */
        int full, down;         /* so many of the servers are */
        unsigned tried;
};

static const struct scene scenes[] = {
        { "all open", 0, 0, 0, 0 },
        { "weights 1 to 256", 1, 0, 0, 0 },
        { "3 tried", 0, 0, 0, PICK_TRIED },
        { "weights, 3 tried", 1, 0, 0, PICK_TRIED },
        { "900 full", 0, 900, 0, 0 },
        { "900 down", 0, 0, 900, 0 },
        { "999 down", 0, 0, 999, 0 },
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

static const struct { enum conf_balance balance; const char *name; } algorithms[] = {
        { CONF_ROUNDROBIN, "roundrobin" }, { CONF_LEASTCONN, "leastconn" }, { CONF_RANDOM, "random" },
        { CONF_SOURCE, "source" }, { CONF_FIRST, "first" }, { CONF_LEAST_TIME, "least-time" },
};
#define ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

static int64_t now_ns(void) {
        struct timespec ts;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void need(int ok, const char *what) {
        if (ok)
                return;
        fprintf(stderr, "pick: %s\n", what);
        exit(1);
}

/* Servers that are full or down are spread over the others. */
static int chosen(int i, int n) {
        return (int)(hash_mix((uint64_t)i) % PICK_SERVERS) < n;
}

static struct bench *bench_open(enum conf_balance balance, const struct scene *scene) {
        const uint32_t sizes[ARENA_SLABS] = { [ARENA_SERVERS] = sizeof(struct server_record) };
        const uint32_t counts[ARENA_SLABS] = { [ARENA_SERVERS] = PICK_SERVERS };
        struct bench *bench = calloc(1, sizeof(*bench));
        uint16_t slots[PICK_SERVERS];
        struct server_record *records;

        need(bench && arena_init(&bench->arena, sizes, counts) == 0, "no memory");
        records = arena_slab(&bench->arena, ARENA_SERVERS);
        for (int i = 0; i < PICK_SERVERS; i++) {
                struct conf_server *server = &bench->servers[i];
                const char *why;

                snprintf(bench->names[i], sizeof(bench->names[i]), "s%d", i);
                *server = (struct conf_server){ .name = bench->names[i], .slow_start = CONF_OFF,
                                                .weight = (uint16_t)(scene->weights ? i % 256 + 1 : 1) };
                need(addr_parse(&server->addr, "10.0.0.1:80", &why) == 0, "addr_parse");
                slots[i] = (uint16_t)i;
                records[i].addr = server->addr;
                records[i].weight = server->weight;
                if (chosen(i, scene->down) && i)
                        records[i].admin = SERVER_MAINT;
                if (chosen(i, scene->full) && i)
                        server->max_connections = records[i].sessions = 1;
        }
        bench->conf = (struct conf_backend){ .name = "b", .balance = balance, .servers = bench->servers,
                                             .n_servers = PICK_SERVERS };
        need(backend_init(&bench->backend, &bench->conf, &bench->arena, slots, &bench->waiter) == 0, "backend_init");
        for (int i = 0; i < PICK_SERVERS; i++)
                backend_note_connect(&bench->backend, (unsigned)i, 200 + i % 50, 1000);
        return bench;
}

static void bench_close(struct bench *bench) {
        backend_deinit(&bench->backend);
        arena_deinit(&bench->arena);
        free(bench);
}

static int compare(const void *a, const void *b) {
        int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

        return left < right ? -1 : left > right;
}

static double median(int64_t *batches, int n) {
        qsort(batches, (size_t)n, sizeof(*batches), compare);
        return (double)batches[n / 2] / PICK_BATCH;
}

/* ns that a pick costs, and what giving a place back costs: medians, since others may want the processor too. */
static void bench_measure(enum conf_balance balance, const struct scene *scene, int batches, double *pick,
                          double *release) {
        struct bench *bench = bench_open(balance, scene);
        int64_t picking[PICK_BATCHES], releasing[PICK_BATCHES], start;
        int taken[PICK_BATCH];
        struct addr addr;

        for (int b = 0; b < batches; b++) {
                start = now_ns();
                for (int i = 0; i < PICK_BATCH; i++) {
                        uint16_t tried[PICK_TRIED] = { (uint16_t)i, (uint16_t)(i + 1) % PICK_SERVERS, 7 };
                        struct backend_request request = { .hash = hash_mix(bench->client++), .tried = tried,
                                                           .n_tried = scene->tried };

                        taken[i] = backend_pick(&bench->backend, &request, &addr);
                        need(taken[i] >= 0, "no server was picked");
                }
                picking[b] = now_ns() - start;
                start = now_ns();
                for (int i = 0; i < PICK_BATCH; i++)
                        backend_release(&bench->backend, (unsigned)taken[i]);
                releasing[b] = now_ns() - start;
        }
        *pick = median(picking, batches);
        *release = median(releasing, batches);
        bench_close(bench);
}

static void print_picks(int batches) {
        double pick[SCENES], release[SCENES];

        printf("| 1,000 servers, ns a pick |");
        for (size_t s = 0; s < SCENES; s++)
                printf(" %s |", scenes[s].name);
        printf(" place given back |\n|---|");
        for (size_t s = 0; s <= SCENES; s++)
                printf("---:|");
        printf("\n");
        for (size_t a = 0; a < ALGORITHMS; a++) {
                printf("| %s |", algorithms[a].name);
                for (size_t s = 0; s < SCENES; s++) {
                        bench_measure(algorithms[a].balance, &scenes[s], batches, &pick[s], &release[s]);
                        printf(" %.0f |", pick[s]);
                        fflush(stdout);
                }
                printf(" %.0f |\n", release[0]);
        }
}

static void table_servers(struct maglev_server *servers, int n, int without) {
        static const uint64_t key[2] = { 1, 2 };
        int used = 0;

        for (int i = 0; i < n; i++) {
                char name[16];

                snprintf(name, sizeof(name), "s%d", i);
                if (i != without)
                        servers[used++] = (struct maglev_server){ .id = hash_sip(key, name, strlen(name)),
                                                                  .number = (uint16_t)i, .weight = 1 };
        }
}

/* What part of the places changes hands when one of so many servers leaves, beyond those that were its own. */
static void print_table(int n) {
        size_t size = maglev_size((size_t)n), most = 0, least = size, moved = 0, own = 0;
        struct maglev_server *servers = calloc((size_t)n, sizeof(*servers));
        uint16_t *before = calloc(size, sizeof(*before)), *after = calloc(size, sizeof(*after));
        size_t *places = calloc((size_t)n, sizeof(*places));
        int64_t start = now_ns(), took;

        need(servers && before && after && places, "no memory");
        table_servers(servers, n, -1);
        need(maglev_fill(before, size, servers, (size_t)n) == 0, "no memory");
        took = now_ns() - start;
        for (size_t i = 0; i < size; i++)
                places[before[i]]++;
        for (int i = 0; i < n; i++) {
                most = places[i] > most ? places[i] : most;
                least = places[i] < least ? places[i] : least;
        }
        table_servers(servers, n, n / 2);
        need(maglev_fill(after, size, servers, (size_t)n - 1) == 0, "no memory");
        for (size_t i = 0; i < size; i++) {
                own += before[i] == n / 2;
                moved += before[i] != after[i];
        }
        printf("| %d | %zu | %.2f to %.2f | %.2f %% | %.2f %% | %.1f |\n", n, size,
               (double)least * n / (double)size, (double)most * n / (double)size, 100.0 * (double)own / (double)size,
               100.0 * (double)(moved - own) / (double)size, (double)took / 1e6);
        free(places);
        free(after);
        free(before);
        free(servers);
}

int main(int argc, char **argv) {
        static const int sizes[] = { 3, 10, 100, 1000 };
        int quick = argc == 2 && strcmp(argv[1], "--quick") == 0;

        if (argc != 1 && !quick) {
                fprintf(stderr, "usage: pick [--quick]\n");
                return 1;
        }
        print_picks(quick ? 1 : PICK_BATCHES);
        printf("\n| servers | places | share of a server, 1.00 is even | moved when one leaves: its own | others' | "
               "ms to make |\n|---:|---:|---:|---:|---:|---:|\n");
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
                print_table(sizes[i]);
        return 0;
}
