/* SPDX-License-Identifier: ISC */
#include "engine/arena.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Slabs begin on a page; records that threads write all the time are aligned to cache lines by their types. */
#define ARENA_PAGE 4096u

static uint64_t arena_round(uint64_t n) {
        return (n + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;
}

int arena_init(struct arena *arena, const uint32_t sizes[ARENA_SLABS], const uint32_t counts[ARENA_SLABS]) {
        struct arena_extent extents[ARENA_SLABS];
        uint64_t size = arena_round(sizeof(struct arena_head));
        void *map;
        int fd;

        *arena = ARENA_NULL;
        for (int i = 0; i < ARENA_SLABS; i++) {
                uint64_t slab = (uint64_t)sizes[i] * counts[i];

                if (slab > (uint64_t)SIZE_MAX / 2 - size)
                        return -EOVERFLOW;
                extents[i] = (struct arena_extent){ .offset = size, .size = sizes[i], .count = counts[i] };
                size += arena_round(slab);
        }

        fd = memfd_create("spliced-arena", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t)size) < 0)
                goto fail;
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (map == MAP_FAILED)
                goto fail;

        arena->fd = fd;
        arena->head = map;
        *arena->head = (struct arena_head){ .magic = ARENA_MAGIC, .layout = ARENA_LAYOUT, .slabs = ARENA_SLABS,
                                            .size = size, .next_session = 1 };
        for (int i = 0; i < ARENA_SLABS; i++)
                arena->head->extents[i] = extents[i];
        return 0;

fail:;
        int r = -errno;
        close(fd);
        return r;
}

int arena_attach(struct arena *arena, int fd) {
        struct arena_head head;
        void *map;

        *arena = ARENA_NULL;
        if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) || head.magic != ARENA_MAGIC)
                return -EINVAL;
        if (head.layout < ARENA_LAYOUT_OLDEST || head.layout > ARENA_LAYOUT || head.slabs != ARENA_SLABS)
                return -EPROTONOSUPPORT;
        map = mmap(NULL, head.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        arena->fd = fd;
        arena->head = map;
        return 0;
}

void arena_deinit(struct arena *arena) {
        if (arena->head)
                munmap(arena->head, arena->head->size);
        if (arena->fd >= 0)
                close(arena->fd);
        *arena = ARENA_NULL;
}

void *arena_slab(const struct arena *arena, enum arena_slab slab) {
        return (char *)arena->head + arena->head->extents[slab].offset;
}

uint32_t arena_count(const struct arena *arena, enum arena_slab slab) {
        return arena->head->extents[slab].count;
}

int arena_list_init(struct arena_list *list, const struct arena *arena, enum arena_slab slab) {
        struct arena_extent *extent = &arena->head->extents[slab];
        void *map = mmap(NULL, (extent->count + 1) * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        *list = (struct arena_list){ .lock = PTHREAD_MUTEX_INITIALIZER, .used = &extent->used, .free = ARENA_NONE,
                                     .count = extent->count };
        if (map == MAP_FAILED)
                return -errno;
        list->next = map;
        return 0;
}

void arena_list_deinit(struct arena_list *list) {
        if (list->next)
                munmap(list->next, (list->count + 1) * sizeof(uint32_t));
        list->next = NULL;
}

uint32_t arena_list_take(struct arena_list *list) {
        uint32_t index = ARENA_NONE;

        pthread_mutex_lock(&list->lock);
        if (list->free != ARENA_NONE) {
                index = list->free;
                list->free = list->next[index];
        } else if (*list->used < list->count)
                index = (*list->used)++;
        pthread_mutex_unlock(&list->lock);
        return index;
}

void arena_list_give(struct arena_list *list, uint32_t index) {
        pthread_mutex_lock(&list->lock);
        list->next[index] = list->free;
        list->free = index;
        pthread_mutex_unlock(&list->lock);
}

uint32_t arena_list_bound(struct arena_list *list) {
        uint32_t bound;

        pthread_mutex_lock(&list->lock);
        bound = *list->used;
        pthread_mutex_unlock(&list->lock);
        return bound;
}
