/* SPDX-License-Identifier: Apache-2.0 */
/* A hashed timer wheel: starting and stopping cost the same for one timer and for a hundred
 * thousand. One thread.
 *
 * A timer sits in the slot of its tick; timers that are further away than one turn of the wheel are
 * looked at once a turn and stay. */
#pragma once

#include "server/net/worker.h"

enum { WHEEL_TICK_MS = 10, WHEEL_SLOTS = 1024 };

struct wheel {
    struct worker_timer *slots[WHEEL_SLOTS];
    uint64_t is_used[WHEEL_SLOTS / 64]; /* a set bit: the slot may hold timers */
    int64_t tick;                       /* everything up to here has been looked at */
};

void wheel_init(struct wheel *w, int64_t now);
void wheel_start(struct wheel *w, struct worker_timer *t, int64_t now,
                 int64_t delay_ms); /* restarts when running */
void wheel_stop(struct worker_timer *t);
/* Fires what is due. Timers may be started and stopped from `fire`. */
void wheel_run(struct wheel *w, int64_t now);
/* When wheel_run should be called next; -1 when no timer runs. */
int64_t wheel_next(const struct wheel *w);
