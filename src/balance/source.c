/* SPDX-License-Identifier: ISC */
#include "balance/source.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "balance/bits.h"
#include "balance/maglev.h"
#include "base/hash.h"

#define SOURCE_LOOKS 32         /* at places of the table */

struct source {
        uint64_t *ids;                  /* by member: a hash of what it is called */
        uint64_t *open;                 /* members */
        size_t room;                    /* of `open`, in bits */
        uint16_t *table;                /* NULL: without memory for it, rendezvous does alone */
        size_t size;
        uint64_t made_of;               /* a hash of what the table was made of */
};

/* Any would do; it is part of where clients go, and must stay. */
static const uint64_t source_key[2] = { UINT64_C(0x73706c6963656421), UINT64_C(0x736f757263652e31) };

uint64_t source_hash_address(int family, const struct in6_addr *address) {
        return hash_sip(source_key, address, family == AF_INET ? 4 : sizeof(*address));
}

uint64_t source_hash_uid(uint32_t uid) {
        const unsigned char bytes[5] = { (unsigned char)uid, (unsigned char)(uid >> 8), (unsigned char)(uid >> 16),
                                         (unsigned char)(uid >> 24), 'u' };

        return hash_sip(source_key, bytes, sizeof(bytes));
}

static int source_reserve(struct balance_group *group, size_t members) {
        struct source *source = group->state;
        size_t words = BITS_WORDS(members);
        uint64_t *ids, *open;

        if (!source) {
                source = group->state = calloc(1, sizeof(*source));
                if (!source)
                        return -ENOMEM;
        }
        ids = reallocarray(source->ids, members, sizeof(*ids));
        if (ids)
                source->ids = ids;
        open = reallocarray(source->open, words, sizeof(*open));
        if (open)
                source->open = open;
        if (!ids || !open)
                return -ENOMEM;
        source->room = words * 64;
        return 0;
}

static void source_deinit(struct balance_group *group) {
        struct source *source = group->state;

        if (source) {
                free(source->ids);
                free(source->open);
                free(source->table);
        }
        free(source);
        group->state = NULL;
}

static void source_enter(struct balance_group *group, unsigned member) {
        struct source *source = group->state;

        bits_set(source->open, member);
}

static void source_leave(struct balance_group *group, unsigned member) {
        struct source *source = group->state;

        bits_clear(source->open, member);
}

/* One of several addresses that a name has is called by the address too: which instance has it is chance. */
static uint64_t source_id(const struct backend *backend, const struct backend_member *member) {
        const struct conf_server *server = &backend->conf->servers[member->server];
        const struct addr *addr = &member->record->addr;
        uint64_t id = hash_sip(source_key, server->name, strlen(server->name));
        uint64_t key[2] = { id, addr->sa.sa_family };

        if (server->addr.kind != ADDR_HOST && server->addr.kind != ADDR_SRV)
                return id;
        switch (addr->sa.sa_family) {
        case AF_INET:
                key[1] |= (uint64_t)addr->in.sin_port << 32;
                return hash_sip(key, &addr->in.sin_addr, sizeof(addr->in.sin_addr));
        case AF_INET6:
                key[1] |= (uint64_t)addr->in6.sin6_port << 32;
                return hash_sip(key, &addr->in6.sin6_addr, sizeof(addr->in6.sin6_addr));
        default:
                return hash_sip(key, addr->un.sun_path, addr->len - offsetof(struct sockaddr_un, sun_path));
        }
}

/* Whether a member has places in the table, whatever its state. */
static int source_has_places(const struct balance_group *group, const struct backend_member *member) {
        return member->group == group->number && member->base && member->record->addr.kind != ADDR_NONE;
}

static void source_make_table(struct balance_group *group) {
        struct source *source = group->state;
        const struct backend *backend = group->backend;
        struct maglev_server *servers = calloc(backend->n_members, sizeof(*servers));
        size_t n = 0;

        for (unsigned i = 0; servers && i < backend->n_members; i++)
                if (source_has_places(group, &backend->members[i]))
                        servers[n++] = (struct maglev_server){ .id = source->ids[i], .number = (uint16_t)i,
                                                               .weight = backend->members[i].base };
        free(source->table);
        source->table = NULL;
        if (n) {
                source->size = maglev_size(n);
                source->table = calloc(source->size, sizeof(*source->table));
        }
        if (source->table && maglev_fill(source->table, source->size, servers, n) < 0) {
                free(source->table);
                source->table = NULL;
        }
        free(servers);
}

static void source_rebuild(struct balance_group *group) {
        struct source *source = group->state;
        const struct backend *backend = group->backend;
        uint64_t made_of = 0;

        memset(source->open, 0, source->room / 8);
        for (unsigned i = 0; i < backend->n_members; i++) {
                const struct backend_member *member = &backend->members[i];

                if (!source_has_places(group, member))
                        continue;
                source->ids[i] = source_id(backend, member);
                made_of = hash_mix(made_of ^ source->ids[i] ^ (uint64_t)member->base << 32 ^ i);
                if (member->open)
                        source_enter(group, i);
        }
        /* A slow start comes by here often, and changes no places. */
        if (!source->table || made_of != source->made_of)
                source_make_table(group);
        source->made_of = made_of;
}

/* Of the open members: the one that the client likes best.  Each has its share by weight. */
static int source_rendezvous(const struct balance_group *group, uint64_t client) {
        const struct source *source = group->state;
        const struct backend *backend = group->backend;
        double least = INFINITY;
        int best = -1;

        for (size_t i = bits_next(source->open, 0, source->room); i < source->room;
             i = bits_next(source->open, i + 1, source->room)) {
                double score;

                if (backend_tried(backend, (unsigned)i))
                        continue;
                score = -log2(((double)(hash_mix(client ^ source->ids[i]) >> 11) + 0.5) * 0x1p-53) /
                        backend->members[i].weight;
                if (best < 0 || score < least) {
                        best = (int)i;
                        least = score;
                }
        }
        return best;
}

static int source_pick(struct balance_group *group, const struct backend_request *request) {
        const struct source *source = group->state;
        const struct backend *backend = group->backend;
        uint64_t hash = request->hash;

        for (int i = 0; source->table && i < SOURCE_LOOKS; i++, hash = hash_mix(hash)) {
                unsigned number = source->table[(hash >> 32) * source->size >> 32];
                const struct backend_member *member = &backend->members[number];

                if (!member->open || backend_tried(backend, number))
                        continue;
                if (member->ramp < BACKEND_PARTS &&
                    hash_mix(request->hash + source->ids[number]) % BACKEND_PARTS >= member->ramp)
                        continue;
                return (int)number;
        }
        return source_rendezvous(group, request->hash);
}

const struct balance_algorithm source_algorithm = {
        .name = "source",
        .reserve = source_reserve,
        .deinit = source_deinit,
        .rebuild = source_rebuild,
        .enter = source_enter,
        .leave = source_leave,
        .pick = source_pick,
};
