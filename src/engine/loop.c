/* SPDX-License-Identifier: ISC */
#include "engine/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "net/sys.h"

int loop_record_init(struct loop_record *record) {
        int r;

        *record = (struct loop_record){ .poller = -1, .wake = -1, .current = LOOP_NONE };
        r = poller_new();
        if (r < 0)
                return r;
        record->poller = r;
        record->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (record->wake < 0) {
                r = -errno;
                goto fail;
        }
        r = poller_add(record->poller, record->wake, LOOP_WAKE_KEY);
        if (r < 0)
                goto fail;
        return 0;

fail:
        loop_record_deinit(record);
        return r;
}

void loop_record_deinit(struct loop_record *record) {
        if (record->wake >= 0)
                close(record->wake);
        if (record->poller >= 0)
                close(record->poller);
        record->wake = record->poller = -1;
}

void loop_init(struct loop *loop, struct loop_record *record, const struct loop_handlers *handlers, void *owner,
               struct loop_links *links, struct wheel_node *timers) {
        *loop = (struct loop){ .record = record, .handlers = handlers, .owner = owner, .links = links,
                               .now_ms = sys_clock_ms(), .alarm = -1, .alarm_ms = INT64_MAX };
        wheel_init(&loop->wheel, timers, loop->now_ms);
}

int loop_alarm(struct loop *loop) {
        int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), r;

        if (fd < 0)
                return -errno;
        r = poller_add_quiet(loop->record->poller, fd, LOOP_ALARM_KEY);
        if (r < 0) {
                close(fd);
                return r;
        }
        loop->alarm = fd;
        return 0;
}

void loop_deinit(struct loop *loop) {
        if (loop->alarm >= 0)
                close(loop->alarm);
        loop->alarm = -1;
}

void loop_stop(struct loop *loop) {
        loop->stopped = 1;
}

void loop_wake(const struct loop_record *record) {
        uint64_t one = 1;
        ssize_t n = write(record->wake, &one, sizeof(one));

        (void)n; /* EAGAIN: the counter is at its end, so a wake-up is pending anyway */
}

void loop_ready(struct loop *loop, uint32_t node) {
        struct loop_links *links = &loop->links[node];

        if (links->ready)
                return;
        *links = (struct loop_links){ .ready = 1, .prev = loop->last };
        if (loop->last)
                loop->links[loop->last - 1].next = node + 1;
        else
                loop->first = node + 1;
        loop->last = node + 1;
}

void loop_unready(struct loop *loop, uint32_t node) {
        struct loop_links *links = &loop->links[node];

        if (!links->ready)
                return;
        if (loop->round_last == node + 1)
                loop->round_last = links->prev;
        if (links->prev)
                loop->links[links->prev - 1].next = links->next;
        else
                loop->first = links->next;
        if (links->next)
                loop->links[links->next - 1].prev = links->prev;
        else
                loop->last = links->prev;
        *links = (struct loop_links){ 0 };
}

static void loop_event(struct loop *loop, uint64_t key, uint32_t events) {
        uint64_t count;

        /* Edge-triggered, it need not be read.  One that a process before us has set goes off here too. */
        if (key == LOOP_ALARM_KEY) {
                loop->alarm_ms = INT64_MAX;
                return;
        }
        if (key != LOOP_WAKE_KEY) {
                loop->handlers->event(loop->owner, key, events);
                return;
        }
        /* The eventfd is writable too, which says nothing. */
        if ((events & POLLER_IN) && read(loop->record->wake, &count, sizeof(count)) == sizeof(count))
                loop->handlers->wake(loop->owner);
}

static void loop_handle(struct loop *loop, struct poller_event *event) {
        loop_event(loop, event->key, event->events);
        atomic_signal_fence(memory_order_seq_cst);
        event->events = 0;
}

void loop_replay(struct loop *loop) {
        for (int i = 0; i < LOOP_BATCH; i++)
                if (loop->record->batch[i].events)
                        loop_handle(loop, &loop->record->batch[i]);
}

static void loop_ready_round(struct loop *loop) {
        loop->round_last = loop->last;
        for (int i = 0; loop->round_last && i < LOOP_BATCH; i++) {
                uint32_t node = loop->first - 1;

                /* Takes round_last back to none when this was the round's last. */
                loop_unready(loop, node);
                loop->handlers->ready(loop->owner, node);
        }
        loop->round_last = 0;
}

/* Has the alarm end the wait; returns what epoll_wait() itself has to see to. */
static int loop_set_alarm(struct loop *loop, int wait_ms) {
        int64_t until_ms = loop->now_ms + wait_ms;
        struct itimerspec when = { 0 };

        if (loop->alarm < 0 || wait_ms <= 0)
                return wait_ms;
        if (until_ms >= loop->alarm_ms)
                return -1;
        when.it_value.tv_sec = until_ms / 1000;
        when.it_value.tv_nsec = until_ms % 1000 * 1000000;
        if (timerfd_settime(loop->alarm, TFD_TIMER_ABSTIME, &when, NULL) < 0)
                return wait_ms;
        loop->alarm_ms = until_ms;
        return -1;
}

int loop_round(struct loop *loop, int max_wait_ms) {
        struct loop_record *record = loop->record;
        uint32_t node;
        int wait_ms, n;

        wait_ms = loop->first ? 0 : wheel_timeout(&loop->wheel, loop->now_ms);
        if (max_wait_ms >= 0 && (wait_ms < 0 || wait_ms > max_wait_ms))
                wait_ms = max_wait_ms;
        n = poller_wait(record->poller, record->batch, LOOP_BATCH, loop_set_alarm(loop, wait_ms));
        if (n < 0)
                return n;
        loop->now_ms = sys_clock_ms();
        __atomic_store_n(&record->beat_ms, loop->now_ms, __ATOMIC_RELAXED);

        for (int i = 0; i < n; i++)
                loop_handle(loop, &record->batch[i]);
        loop_ready_round(loop);
        /* What is left is due at once, so the next round does not wait. */
        for (int i = 0; i < LOOP_BATCH && (node = wheel_expire(&loop->wheel, loop->now_ms)) != WHEEL_NONE; i++)
                loop->handlers->expire(loop->owner, node);
        return 0;
}

int loop_run(struct loop *loop) {
        int r = 0;

        while (!loop->stopped && r >= 0)
                r = loop_round(loop, -1);
        return r;
}
