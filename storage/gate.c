/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/gate.h"

#include "base/err.h"

/* Which gates this thread is inside of, and how often. Only to let a nested reader pass a closing
 * gate, which would else wait for itself. One store is the rule; a test with several nodes in one
 * process has a few. */
enum { GATES_PER_THREAD = 8 };
static _Thread_local struct {
    const struct gate *gate;
    unsigned n;
} entered[GATES_PER_THREAD];

/* This thread's count for the gate; a free place when it has none. */
static unsigned *count_of(const struct gate *g)
{
    size_t at = GATES_PER_THREAD;
    for (size_t i = 0; i < GATES_PER_THREAD; i++) {
        if (entered[i].n != 0 && entered[i].gate == g) {
            return &entered[i].n;
        }
        at = entered[i].n == 0 && at == GATES_PER_THREAD ? i : at;
    }
    MU_INVARIANT(at < GATES_PER_THREAD);
    entered[at].gate = g;
    return &entered[at].n;
}

void gate_init(struct gate *g)
{
    atomic_init(&g->n_inside, 0);
    atomic_init(&g->is_closed, 0);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
}

void gate_fini(struct gate *g)
{
    MU_INVARIANT(atomic_load(&g->n_inside) == 0);
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
}

static void step_out(struct gate *g)
{
    int left = atomic_fetch_sub(&g->n_inside, 1) - 1;
    MU_INVARIANT(left >= 0);
    if (left == 0 && atomic_load(&g->is_closed)) {
        pthread_mutex_lock(&g->lock);
        pthread_cond_broadcast(&g->changed);
        pthread_mutex_unlock(&g->lock);
    }
}

void gate_enter(struct gate *g)
{
    unsigned *n = count_of(g);
    for (;;) {
        atomic_fetch_add(&g->n_inside, 1);
        if (!atomic_load(&g->is_closed) || *n != 0) {
            break;
        }
        step_out(g);
        pthread_mutex_lock(&g->lock);
        while (atomic_load(&g->is_closed)) {
            pthread_cond_wait(&g->changed, &g->lock);
        }
        pthread_mutex_unlock(&g->lock);
    }
    (*n)++;
}

void gate_leave(struct gate *g)
{
    unsigned *n = count_of(g);
    MU_INVARIANT(*n != 0);
    (*n)--;
    step_out(g);
}

void gate_close(struct gate *g)
{
    MU_INVARIANT(*count_of(g) == 0);
    atomic_store(&g->is_closed, 1);
    pthread_mutex_lock(&g->lock);
    while (atomic_load(&g->n_inside) != 0) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

int gate_try_close(struct gate *g)
{
    MU_INVARIANT(*count_of(g) == 0);
    atomic_store(&g->is_closed, 1);
    if (atomic_load(&g->n_inside) == 0) {
        return 1;
    }
    gate_open(g);
    return 0;
}

void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    atomic_store(&g->is_closed, 0);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}
