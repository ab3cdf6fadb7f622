/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's thread: its loop, its mailbox, its timers, and how it ends.
 *
 * At the end of each turn (uv_prepare: before the loop sleeps) the worker lets http go on with what
 * waits, then settles every connection that has output. Stopping: listeners close, connections
 * drain, then are cut at the deadline; the thread ends when no connection is left and no answer is
 * owed. If answers are still owed after NET_OWED_GRACE_MS the worker's memory stays in place: they
 * would come to its mailbox. */
#include "server/net/net_impl.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

uv_loop_t *worker_loop(struct worker *w)
{
    return &w->loop;
}

unsigned worker_number(const struct worker *w)
{
    return w->number;
}

struct mailbox *worker_mailbox(struct worker *w)
{
    return &w->mailbox;
}

/* --- timers --- */

static void on_tick(uv_timer_t *t);

static void arm_tick(struct worker *w)
{
    int64_t next = wheel_next(&w->wheel);
    if (next < 0 || (w->tick_at != 0 && w->tick_at <= next)) {
        return;
    }
    int64_t delay = next - clock_mono_ms();
    uv_update_time(&w->loop);
    w->tick_at = next;
    (void)uv_timer_start(&w->tick, on_tick, delay > 0 ? (uint64_t)delay : 0, 0);
}

static void on_tick(uv_timer_t *t)
{
    struct worker *w = t->data;
    w->tick_at = 0;
    wheel_run(&w->wheel, clock_mono_ms());
    arm_tick(w);
}

void worker_timer_start(struct worker *w, struct worker_timer *t, int64_t delay_ms)
{
    wheel_start(&w->wheel, t, clock_mono_ms(), delay_ms);
    if (w->tick_at == 0 || w->tick_at > t->at) {
        arm_tick(w);
    }
}

void worker_timer_stop(struct worker *w, struct worker_timer *t)
{
    (void)w;
    wheel_stop(t);
}

/* --- the turn --- */

static int is_finished(const struct worker *w)
{
    return w->is_stopping && w->n_conns == 0 && w->n_closing == 0 &&
           (http_local_owed(w->http) == 0 || w->is_abandoned);
}

static void on_turn(uv_prepare_t *p)
{
    struct worker *w = p->data;
    do {
        http_local_turn(w->http);
        while (w->dirty != NULL) {
            net_conn_settle(w->dirty);
        }
    } while (http_local_is_ready(w->http));
    if (is_finished(w)) {
        uv_stop(&w->loop);
    }
}

static void on_wake(uv_poll_t *p, int status, int events)
{
    struct worker *w = p->data;
    (void)status, (void)events;
    wake_clear(&w->wake);
    (void)mailbox_run(&w->mailbox);
}

static void wake(void *arg)
{
    struct worker *w = arg;
    wake_send(&w->wake);
}

/* --- draining and stopping, on the worker's thread --- */

static void for_each_conn(struct worker *w, void (*fn)(struct net_conn *c))
{
    struct net_conn *next;
    for (struct net_conn *c = w->conns; c != NULL; c = next) {
        next = net_conn_next(c);
        fn(c);
    }
}

static void drain(struct worker *w)
{
    if (w->is_draining) {
        return;
    }
    for (size_t i = 0; i < w->all->n_listeners; i++) {
        listener_stop(&w->listeners[i]);
    }
    if (w->all->guest != NULL) {
        w->all->guest->stop(w->all->guest->arg, w);
    }
    w->is_draining = 1;
    for_each_conn(w, net_conn_drain);
}

static void run_drain(struct mail_job *j)
{
    drain(CONTAINER_OF(j, struct worker, drain_job));
}

static void on_grace_end(struct worker_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, stop_timer);
    if (http_local_owed(w->http) > 0) {
        log_warn("net", "stopping with requests that were never answered",
                 LOG_U64("requests", http_local_owed(w->http)));
        w->is_abandoned = 1;
    }
}

static void on_stop_deadline(struct worker_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, stop_timer);
    for_each_conn(w, net_conn_cut);
    t->fire = on_grace_end;
    worker_timer_start(w, t, NET_OWED_GRACE_MS);
}

static void run_stop(struct mail_job *j)
{
    struct worker *w = CONTAINER_OF(j, struct worker, stop_job);
    drain(w);
    w->is_stopping = 1;
    w->stop_timer.fire = on_stop_deadline;
    worker_timer_start(w, &w->stop_timer, w->stop_at - clock_mono_ms());
}

/* --- life --- */

void worker_init(struct worker *w, struct workers *all, unsigned number)
{
    w->all = all;
    w->number = number;
    MU_INVARIANT(uv_loop_init(&w->loop) == 0);
    wake_init(&w->wake);
    MU_INVARIANT(uv_poll_init(&w->loop, &w->wake_poll, w->wake.fd) == 0);
    (void)uv_poll_start(&w->wake_poll, UV_READABLE, on_wake);
    (void)uv_prepare_init(&w->loop, &w->turn);
    (void)uv_prepare_start(&w->turn, on_turn);
    (void)uv_timer_init(&w->loop, &w->tick);
    w->wake_poll.data = w;
    w->turn.data = w;
    w->tick.data = w;
    mailbox_init(&w->mailbox, wake, w);
    wheel_init(&w->wheel, clock_mono_ms());
    w->http = http_local_new(all->http, w, number, &all->limits);
    w->listeners = mem_zalloc(all->n_listeners * sizeof(*w->listeners));
    for (size_t i = 0; i < all->n_listeners; i++) {
        w->listeners[i].w = w;
        w->listeners[i].fd = -1;
    }
    w->read_bytes = mem_alloc(NET_READ_BYTES);
    w->plain_bytes = mem_alloc(NET_PLAIN_BYTES);
    buf_init(&w->spare);
    w->drain_job.run = run_drain;
    w->stop_job.run = run_stop;
}

void worker_main(void *worker)
{
    struct worker *w = worker;
    for (size_t i = 0; i < w->all->n_listeners; i++) {
        MU_INVARIANT(listener_start(&w->listeners[i]) == 0);
    }
    if (w->all->guest != NULL) {
        w->all->guest->start(w->all->guest->arg, w);
    }
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
}

/* The thread has ended (or never ran). */
void worker_fini(struct worker *w)
{
    for (size_t i = 0; i < w->all->n_listeners; i++) {
        if (w->listeners[i].fd >= 0) {
            close(w->listeners[i].fd);
        }
    }
    (void)mailbox_run(&w->mailbox); /* what came in behind the order to stop */
    uv_close((uv_handle_t *)&w->wake_poll, NULL);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_close((uv_handle_t *)&w->tick, NULL);
    while (uv_run(&w->loop, UV_RUN_DEFAULT) != 0) {
    }
    MU_INVARIANT(uv_loop_close(&w->loop) == 0);
    wake_fini(&w->wake);
    for (size_t i = 0; i < w->all->n_listeners; i++) {
        tls_context_unref(w->listeners[i].tls);
    }
    mailbox_fini(&w->mailbox);
    http_local_free(w->http);
    mem_free(w->listeners);
    mem_free(w->read_bytes);
    mem_free(w->plain_bytes);
    buf_fini(&w->spare);
}
