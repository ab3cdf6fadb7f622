/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/wheel.h"

void wheel_init(struct wheel *w, int64_t now)
{
    memset(w, 0, sizeof(*w));
    w->tick = now / WHEEL_TICK_MS;
}

static void link_to(struct worker_timer **head, struct worker_timer *t)
{
    t->next = *head;
    t->prev = head;
    if (*head != NULL) {
        (*head)->prev = &t->next;
    }
    *head = t;
}

void wheel_stop(struct worker_timer *t)
{
    if (t->prev != NULL) {
        *t->prev = t->next;
        if (t->next != NULL) {
            t->next->prev = t->prev;
        }
        t->prev = NULL;
        t->next = NULL;
    }
}

/* Never early: the tick at or after the moment, and never one that was looked at already. */
static void insert(struct wheel *w, struct worker_timer *t)
{
    int64_t tick = (t->at + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
    if (tick <= w->tick) {
        tick = w->tick + 1;
    }
    unsigned slot = (unsigned)(tick % WHEEL_SLOTS);
    link_to(&w->slots[slot], t);
    w->is_used[slot / 64] |= 1ull << (slot % 64);
}

void wheel_start(struct wheel *w, struct worker_timer *t, int64_t now, int64_t delay_ms)
{
    wheel_stop(t);
    t->at = now + (delay_ms > 0 ? delay_ms : 0);
    insert(w, t);
}

static void run_slot(struct wheel *w, unsigned slot, int64_t now)
{
    struct worker_timer *due = w->slots[slot];
    if (due == NULL) {
        w->is_used[slot / 64] &= ~(1ull << (slot % 64));
        return;
    }
    due->prev = &due; /* a list of its own: timers started meanwhile do not join it */
    w->slots[slot] = NULL;
    w->is_used[slot / 64] &= ~(1ull << (slot % 64));
    while (due != NULL) {
        struct worker_timer *t = due;
        wheel_stop(t);
        if (t->at > now) {
            insert(w, t); /* for a later turn of the wheel */
        } else {
            t->fire(t);
        }
    }
}

void wheel_run(struct wheel *w, int64_t now)
{
    int64_t to = now / WHEEL_TICK_MS;
    int64_t from = w->tick + 1;
    if (to - from >= WHEEL_SLOTS) {
        from = to - WHEEL_SLOTS + 1; /* after a long pause each slot is looked at once */
    }
    for (int64_t tick = from; tick <= to; tick++) {
        w->tick = tick;
        run_slot(w, (unsigned)(tick % WHEEL_SLOTS), now);
    }
}

int64_t wheel_next(const struct wheel *w)
{
    for (int64_t i = 1; i <= WHEEL_SLOTS;) {
        unsigned slot = (unsigned)((w->tick + i) % WHEEL_SLOTS);
        uint64_t bits = w->is_used[slot / 64] >> (slot % 64);
        if (bits != 0) {
            int64_t skip = __builtin_ctzll(bits);
            return i + skip <= WHEEL_SLOTS ? (w->tick + i + skip) * WHEEL_TICK_MS
                                           : (w->tick + WHEEL_SLOTS) * WHEEL_TICK_MS;
        }
        i += 64 - slot % 64;
    }
    return -1;
}
