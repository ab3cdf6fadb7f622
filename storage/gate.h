/* SPDX-License-Identifier: Apache-2.0 */
/* Many readers pass at the cost of one atomic addition; one owner can close the gate, wait until
 * all have left, and change what they stand on (the map, the whole file). A thread that is inside
 * already may enter again even while the gate is closing. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

struct gate {
    atomic_int n_inside;
    atomic_int is_closed;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

void gate_init(struct gate *g);
void gate_fini(struct gate *g);
void gate_enter(struct gate *g);
void gate_leave(struct gate *g);
/* One owner at a time, not from inside. gate_try_close gives up (0) when somebody is inside. */
void gate_close(struct gate *g);
int gate_try_close(struct gate *g);
void gate_open(struct gate *g);
