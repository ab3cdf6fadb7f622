/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that makes the log durable. One operation at a time: what arrives meanwhile becomes the next one, with one sync for all of it.
 *
 * Failure: an error of the disk ends the process (REPLICA_EXIT_SYNC); after a failed sync nothing known about the file is true. */
#include <string.h>

#include "base/clock.h"
#include "raft/replica_impl.h"

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->op == NULL && !w->is_stopping) {
            pthread_cond_wait(&w->wake, &w->lock);
        }
        if (w->op == NULL) {
            break;
        }
        struct wal_op *op = w->op;
        struct err e = {0};
        pthread_mutex_unlock(&w->lock);
        int64_t t0 = clock_mono_us();
        int code = wal_execute(op, &e);
        int64_t us = clock_mono_us() - t0;
        pthread_mutex_lock(&w->lock);
        w->op = NULL;
        w->done_op = op;
        w->code = code;
        w->err = e;
        w->us = us;
        uv_async_send(&w->finished);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void collect(struct replica *r)
{
    struct writer *w = &r->writer;
    pthread_mutex_lock(&w->lock);
    struct wal_op *op = w->done_op;
    int code = w->code;
    struct err e = w->err;
    int64_t us = w->us;
    w->done_op = NULL;
    pthread_mutex_unlock(&w->lock);
    if (op == NULL) {
        return;
    }
    if (code != 0) {
        replica_fatal(r, REPLICA_EXIT_SYNC, e.text);
    }
    w->is_busy = 0;
    w->n_done++;
    w->n_syncs++;
    w->sync_us += (uint64_t)us;
    mu_index durable = wal_done(r->wal, op);
    if (!r->is_damaged && r->is_started && !r->is_closing) {
        node_persisted(r->node, durable, clock_mono_ms());
    }
}

static void on_finished(uv_async_t *a)
{
    struct replica *r = a->data;
    collect(r);
    writer_feed(r); /* what gathered meanwhile, without waiting for the turn */
    replica_touch(r);
}

void writer_feed(struct replica *r)
{
    struct writer *w = &r->writer;
    struct wal_op *op = w->is_busy ? NULL : wal_take(r->wal);
    if (op == NULL) {
        return;
    }
    w->is_busy = 1;
    w->n_taken++;
    pthread_mutex_lock(&w->lock);
    w->op = op;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

int writer_start(struct replica *r)
{
    struct writer *w = &r->writer;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    uv_async_init(r->o.loop, &w->finished, on_finished);
    w->finished.data = r;
    r->n_handles++;
    int rc = pthread_create(&w->thread, NULL, writer_main, w);
    MU_INVARIANT(rc == 0);
    pthread_setname_np(w->thread, "log");
    return 0;
}

void writer_stop(struct replica *r)
{
    struct writer *w = &r->writer;
    for (;;) { /* what is queued is still written */
        pthread_mutex_lock(&w->lock);
        int is_idle = w->op == NULL && w->done_op == NULL;
        pthread_mutex_unlock(&w->lock);
        if (!is_idle) {
            uv_sleep(1);
            collect(r);
            continue;
        }
        writer_feed(r);
        if (!w->is_busy) {
            break;
        }
    }
    pthread_mutex_lock(&w->lock);
    w->is_stopping = 1;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
}

int writer_run_now(struct replica *r, struct err *e)
{
    struct wal_op *op;
    MU_INVARIANT(!r->writer.is_busy);
    while ((op = wal_take(r->wal)) != NULL) {
        int rc = wal_execute(op, e);
        if (rc != 0) {
            return rc;
        }
        wal_done(r->wal, op);
    }
    return 0;
}
