/* SPDX-License-Identifier: Apache-2.0 */
/* One slot each way under one lock: `todo` goes to the thread, `finished` comes back. Between
 * operations the thread prepares the next segment, one step at a time; when the disk is full it
 * tries again each second. */
#include "raft/writer.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum { RETRY_MS = 1000 };

struct writer {
    struct writer_options o;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct wal_op *todo;       /* under lock */
    struct wal_op *finished;   /* under lock */
    int is_stopping;           /* under lock */
    int code;                  /* under lock; once set, nothing is executed any more */
    struct err err;            /* valid when code is set */
    struct writer_stats stats; /* under lock */
    struct wal_op *flying;     /* owner's: handed over, not yet polled */
};

/* Work on spare segments while nothing else is to do; returns with the lock held. */
static void prepare(struct writer *w)
{
    int more = 1;
    while (more && w->todo == NULL && !w->is_stopping && w->code == 0) {
        struct err e = {0};
        pthread_mutex_unlock(&w->lock);
        int rc = wal_prepare(w->o.wal, &more, &e);
        pthread_mutex_lock(&w->lock);
        if (rc != 0 && rc != MU_E_DISK_FULL) {
            w->code = rc;
            w->err = e;
            w->o.wake(w->o.arg);
        }
    }
}

static void wait_for_work(struct writer *w)
{
    while (w->todo == NULL && !w->is_stopping) {
        if (w->code == 0) {
            prepare(w);
        }
        if (w->todo != NULL || w->is_stopping) {
            return;
        }
        if (wal_space_ok(w->o.wal) || w->code != 0) {
            pthread_cond_wait(&w->cond, &w->lock);
        } else {
            struct timespec at;
            clock_gettime(CLOCK_MONOTONIC, &at);
            at.tv_sec += RETRY_MS / 1000;
            pthread_cond_timedwait(&w->cond, &w->lock, &at);
        }
    }
}

static void execute(struct writer *w, struct wal_op *op)
{
    struct err e = {0};
    int64_t start = clock_mono_us();
    int rc = wal_execute(op, &e);
    uint64_t us = (uint64_t)(clock_mono_us() - start);
    pthread_mutex_lock(&w->lock);
    w->stats.n_ops++;
    w->stats.us_total += us;
    w->stats.us_max = us > w->stats.us_max ? us : w->stats.us_max;
    if (rc != 0) {
        w->code = rc;
        w->err = e;
    }
    w->finished = op;
    pthread_mutex_unlock(&w->lock);
    w->o.wake(w->o.arg);
}

static void *run(void *arg)
{
    struct writer *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        wait_for_work(w);
        struct wal_op *op = w->todo;
        if (op == NULL || w->code != 0) {
            break;
        }
        w->todo = NULL;
        pthread_mutex_unlock(&w->lock);
        execute(w, op);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int writer_start(const struct writer_options *o, struct writer **out, struct err *e)
{
    struct writer *w = mem_zalloc(sizeof(*w));
    pthread_condattr_t attr;
    w->o = *o;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        pthread_cond_destroy(&w->cond);
        pthread_mutex_destroy(&w->lock);
        mem_free(w);
        return err_set(e, MU_E_INTERNAL, "cannot start the log writer's thread");
    }
    pthread_setname_np(w->thread, "log-writer");
    *out = w;
    return 0;
}

void writer_kick(struct writer *w)
{
    if (w->flying != NULL) {
        return;
    }
    struct wal_op *op = wal_take(w->o.wal);
    if (op == NULL) {
        return;
    }
    w->flying = op;
    pthread_mutex_lock(&w->lock);
    w->todo = op;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int writer_poll(struct writer *w, mu_index *out_durable, struct err *e)
{
    pthread_mutex_lock(&w->lock);
    struct wal_op *op = w->finished;
    int code = w->code;
    w->finished = NULL;
    pthread_mutex_unlock(&w->lock);
    if (code != 0) {
        return err_set(e, code, "%s", w->err.text);
    }
    if (op == NULL) {
        return 0;
    }
    MU_INVARIANT(op == w->flying);
    w->flying = NULL;
    *out_durable = wal_done(w->o.wal, op);
    writer_kick(w);
    return 1;
}

int writer_is_idle(const struct writer *w)
{
    return w->flying == NULL && !wal_has_pending(w->o.wal);
}

void writer_stats(const struct writer *w, struct writer_stats *out)
{
    struct writer *lockable = (struct writer *)w;
    pthread_mutex_lock(&lockable->lock);
    *out = w->stats;
    pthread_mutex_unlock(&lockable->lock);
}

/* On the owner's thread, the writer's being over: what is left is executed here. */
static int drain(struct writer *w, struct err *e)
{
    struct wal_op *op = w->flying;
    int is_done = op != NULL && w->finished == op, rc = w->code;
    if (rc != 0) {
        return err_set(e, rc, "%s", w->err.text);
    }
    if (op == NULL) {
        op = wal_take(w->o.wal);
    }
    while (op != NULL) {
        rc = is_done ? 0 : wal_execute(op, e);
        if (rc != 0) {
            return rc;
        }
        wal_done(w->o.wal, op);
        is_done = 0;
        op = wal_take(w->o.wal);
    }
    return 0;
}

int writer_stop(struct writer *w, struct err *e)
{
    pthread_mutex_lock(&w->lock);
    w->is_stopping = 1;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    int rc = drain(w, e);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
    return rc;
}
