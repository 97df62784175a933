/* SPDX-License-Identifier: ISC */
#include "balance/quota.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A bucket holds one second's worth, so it is full after that. */
#define QUOTA_FULL_NS INT64_C(1000000000)
/* Idle entries that a new one looks at: more than one, so that they go faster than they come. */
#define QUOTA_SWEEP 2

static uint64_t quota_rotate(uint64_t x, unsigned n) {
        return x << n | x >> (64 - n);
}

static void quota_round(uint64_t v[4]) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = quota_rotate(v[1], 13) ^ v[0];
        v[3] = quota_rotate(v[3], 16) ^ v[2];
        v[0] = quota_rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = quota_rotate(v[1], 17) ^ v[2];
        v[3] = quota_rotate(v[3], 21) ^ v[0];
        v[2] = quota_rotate(v[2], 32);
}

/* SipHash-1-3 of the source. */
static uint64_t quota_hash(const struct quota *quota, const struct quota_source *source) {
        const uint64_t words[] = { source->address, (uint64_t)source->frontend << 32 | source->kind,
                                   UINT64_C(16) << 56 };
        uint64_t v[4] = { quota->key[0] ^ UINT64_C(0x736f6d6570736575), quota->key[1] ^ UINT64_C(0x646f72616e646f6d),
                          quota->key[0] ^ UINT64_C(0x6c7967656e657261), quota->key[1] ^ UINT64_C(0x7465646279746573) };

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
                v[3] ^= words[i];
                quota_round(v);
                v[0] ^= words[i];
        }
        v[2] ^= 0xff;
        for (int i = 0; i < 3; i++)
                quota_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct quota_source quota_source(uint32_t frontend, int family, const struct in6_addr *address, uint32_t uid) {
        struct quota_source source = { .address = uid, .frontend = frontend, .kind = QUOTA_UID };
        uint32_t word;

        if (family == AF_INET) {
                memcpy(&word, address, sizeof(word));
                source.address = word;
                source.kind = QUOTA_IPV4;
        } else if (family == AF_INET6) {
                memcpy(&source.address, address, sizeof(source.address));
                source.kind = QUOTA_IPV6;
        }
        return source;
}

struct quota_limits quota_limits(uint32_t sessions, uint32_t rate) {
        return (struct quota_limits){ .sessions = sessions, .rate = bucket_limit(rate, rate) };
}

static void *quota_map(size_t count, size_t size) {
        void *map = mmap(NULL, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);

        return map == MAP_FAILED ? NULL : map;
}

int quota_init(struct quota *quota, uint32_t sessions, const uint64_t seed[2]) {
        *quota = (struct quota){ .key = { seed[0], seed[1] }, .free_lock = PTHREAD_MUTEX_INITIALIZER, .used = 1,
                                 .n_entries = 1 + sessions + QUOTA_IDLE, .n_heads = QUOTA_STRIPES };
        while (quota->n_heads < quota->n_entries)
                quota->n_heads *= 2;
        quota->entries = quota_map(quota->n_entries, sizeof(*quota->entries));
        quota->heads = quota_map(quota->n_heads, sizeof(*quota->heads));
        quota->stripes = aligned_alloc(64, QUOTA_STRIPES * sizeof(*quota->stripes));
        if (!quota->entries || !quota->heads || !quota->stripes)
                return -ENOMEM;
        for (int i = 0; i < QUOTA_STRIPES; i++)
                quota->stripes[i] = (struct quota_stripe){ .lock = PTHREAD_MUTEX_INITIALIZER };
        return 0;
}

void quota_deinit(struct quota *quota) {
        if (quota->entries)
                munmap(quota->entries, quota->n_entries * sizeof(*quota->entries));
        if (quota->heads)
                munmap(quota->heads, quota->n_heads * sizeof(*quota->heads));
        free(quota->stripes);
        *quota = (struct quota){ 0 };
}

static struct quota_stripe *quota_stripe(const struct quota *quota, uint32_t head) {
        return &quota->stripes[head % QUOTA_STRIPES];
}

static uint32_t quota_take(struct quota *quota) {
        uint32_t place = QUOTA_NONE;

        pthread_mutex_lock(&quota->free_lock);
        if (quota->free) {
                place = quota->free;
                quota->free = quota->entries[place].next;
        } else if (quota->used < quota->n_entries)
                place = quota->used++;
        pthread_mutex_unlock(&quota->free_lock);
        return place;
}

/* Takes an idle entry out of the list of its stripe. */
static void quota_wake(struct quota *quota, uint32_t place) {
        struct quota_entry *entry = &quota->entries[place];
        struct quota_stripe *stripe = quota_stripe(quota, entry->head);

        *(entry->newer ? &quota->entries[entry->newer].older : &stripe->newest) = entry->older;
        *(entry->older ? &quota->entries[entry->older].newer : &stripe->oldest) = entry->newer;
        stripe->n_idle--;
}

/* Frees an entry that is in no list of idle ones. */
static void quota_forget(struct quota *quota, uint32_t place) {
        uint32_t *link = &quota->heads[quota->entries[place].head];

        while (*link != place)
                link = &quota->entries[*link].next;
        *link = quota->entries[place].next;
        pthread_mutex_lock(&quota->free_lock);
        quota->entries[place].next = quota->free;
        quota->free = place;
        pthread_mutex_unlock(&quota->free_lock);
}

static int quota_is_full(const struct quota_entry *entry, int64_t now_ns) {
        return !entry->paid || now_ns - entry->paid >= QUOTA_FULL_NS;
}

/* Idle entries whose bucket has filled up say nothing any more. */
static void quota_sweep(struct quota *quota, struct quota_stripe *stripe, int64_t now_ns) {
        for (int i = 0; i < QUOTA_SWEEP && stripe->oldest; i++) {
                uint32_t place = stripe->oldest;

                if (!quota_is_full(&quota->entries[place], now_ns))
                        return;
                quota_wake(quota, place);
                quota_forget(quota, place);
        }
}

static uint32_t quota_find(const struct quota *quota, uint32_t head, const struct quota_source *source) {
        uint32_t place = quota->heads[head];

        while (place && memcmp(&quota->entries[place].source, source, sizeof(*source)) != 0)
                place = quota->entries[place].next;
        return place;
}

/* The source's entry; a new one where it has none. */
static uint32_t quota_entry(struct quota *quota, uint32_t head, const struct quota_source *source) {
        uint32_t place = quota_find(quota, head, source);

        if (place)
                return place;
        place = quota_take(quota);
        if (!place)
                return place;
        quota->entries[place] = (struct quota_entry){ .source = *source, .head = head, .next = quota->heads[head] };
        quota->heads[head] = place;
        return place;
}

static int quota_over(const struct quota_entry *entry, const struct quota_limits *limits, int64_t now_ns) {
        if (limits->sessions && entry->sessions >= limits->sessions)
                return QUOTA_OVER_SESSIONS;
        if (limits->rate.rate && !bucket_level(&limits->rate, entry->paid, now_ns))
                return QUOTA_OVER_RATE;
        return 0;
}

int quota_enter(struct quota *quota, const struct quota_source *source, const struct quota_limits *limits,
                int64_t now_ns, uint32_t *place) {
        uint32_t head = (uint32_t)quota_hash(quota, source) & (quota->n_heads - 1), found;
        struct quota_stripe *stripe = quota_stripe(quota, head);
        struct quota_entry *entry;
        int r = 0;

        pthread_mutex_lock(&stripe->lock);
        quota_sweep(quota, stripe, now_ns);
        found = quota_find(quota, head, source);
        if (found)
                r = quota_over(&quota->entries[found], limits, now_ns);
        if (r == 0 && found && !quota->entries[found].sessions)
                quota_wake(quota, found);
        else if (r == 0 && !found)
                found = quota_entry(quota, head, source);
        if (r == 0 && !found)
                r = -ENOSPC;
        if (r == 0) {
                entry = &quota->entries[found];
                entry->sessions++;
                if (limits->rate.rate)
                        entry->paid = bucket_take(&limits->rate, entry->paid, 1, now_ns);
                *place = found;
        }
        pthread_mutex_unlock(&stripe->lock);
        return r;
}

int quota_adopt(struct quota *quota, const struct quota_source *source, uint32_t *place) {
        static const struct quota_limits none;

        return quota_enter(quota, source, &none, 0, place);
}

void quota_leave(struct quota *quota, uint32_t place, int64_t now_ns) {
        struct quota_entry *entry = &quota->entries[place];
        struct quota_stripe *stripe = quota_stripe(quota, entry->head);

        pthread_mutex_lock(&stripe->lock);
        if (--entry->sessions == 0) {
                if (quota_is_full(entry, now_ns))
                        quota_forget(quota, place);
                else {
                        entry->newer = 0;
                        entry->older = stripe->newest;
                        *(stripe->newest ? &quota->entries[stripe->newest].newer : &stripe->oldest) = place;
                        stripe->newest = place;
                        stripe->n_idle++;
                }
        }
        if (stripe->n_idle > QUOTA_IDLE / QUOTA_STRIPES) {
                uint32_t oldest = stripe->oldest;

                quota_wake(quota, oldest);
                quota_forget(quota, oldest);
        }
        pthread_mutex_unlock(&stripe->lock);
}

uint32_t quota_sessions(struct quota *quota, const struct quota_source *source, int *known) {
        uint32_t head = (uint32_t)quota_hash(quota, source) & (quota->n_heads - 1), place, sessions = 0;
        struct quota_stripe *stripe = quota_stripe(quota, head);

        pthread_mutex_lock(&stripe->lock);
        place = quota_find(quota, head, source);
        if (place)
                sessions = quota->entries[place].sessions;
        pthread_mutex_unlock(&stripe->lock);
        if (known)
                *known = place != 0;
        return sessions;
}
