/* SPDX-License-Identifier: Apache-2.0 */
#include "client/loop.h"

#include <signal.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "client/client_impl.h"
#include "client/hub.h"
#include "client/keeper.h"
#include "client/mem.h"
#include "client/stream.h"

enum { POLL_MAX_MS = 1000 };

/* --- tasks --- */

static void unlink_task(struct task *t)
{
    struct task **at = &t->loop->tasks;
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
}

static void take_off(struct loop *l, void *easy)
{
    (void)curl_multi_remove_handle(l->multi, easy);
}

static void task_end(struct task *t)
{
    unlink_task(t);
    t->is_active = false;
    t->done(t);
    call_fini(&t->call);
}

muster_status task_start(struct task *t, struct loop *l, const struct muster_request *q,
                         void (*done)(struct task *t))
{
    struct muster_error e;
    muster_status rc = call_init(&t->call, l->m, q, &e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    t->loop = l;
    t->done = done;
    t->is_active = true;
    t->is_running = false;
    t->next = l->tasks;
    l->tasks = t;
    return MUSTER_OK;
}

void task_cancel(struct task *t)
{
    if (!t->is_active) {
        return;
    }
    if (t->is_running) {
        take_off(t->loop, t->call.easy);
    }
    unlink_task(t);
    t->is_active = false;
    call_fini(&t->call);
}

/* Returns when it wants to be looked at again; INT64_MAX when it runs, 0 when it ended. */
static int64_t task_step(struct task *t, int64_t now)
{
    if (t->is_running) {
        return INT64_MAX;
    }
    switch (call_next(&t->call, now)) {
    case CALL_RUN:
        t->is_running = curl_multi_add_handle(t->loop->multi, t->call.easy) == CURLM_OK;
        if (t->is_running) {
            return INT64_MAX;
        }
        t->call.status = status_no_memory(&t->call.error);
        break;
    case CALL_WAIT:
        return t->call.retry_at;
    case CALL_END:
        break;
    }
    task_end(t);
    return 0;
}

static int64_t step_tasks(struct loop *l, int64_t now)
{
    int64_t at = INT64_MAX;
    for (struct task *t = l->tasks; t != NULL;) {
        struct task *next = t->next;
        int64_t want = task_step(t, now);
        at = want < at ? want : at;
        t = next;
    }
    return at;
}

/* --- the stream --- */

void loop_stream_start(struct loop *l, struct stream *s)
{
    l->stream = s;
    l->stream_is_running = false;
}

void loop_stream_stop(struct loop *l)
{
    if (l->stream_is_running) {
        take_off(l, l->stream->easy);
        stream_abandon(l->stream);
    }
    l->stream = NULL;
    l->stream_is_running = false;
}

static void stream_took(struct loop *l, enum call_step step)
{
    if (step == CALL_END) {
        struct stream *s = l->stream;
        l->stream = NULL;
        hub_stream_ended(l->hub, s);
    }
}

static int64_t step_stream(struct loop *l, int64_t now)
{
    struct stream *s = l->stream;
    if (s == NULL) {
        return INT64_MAX;
    }
    if (l->stream_is_running && stream_is_silent(s, now)) {
        take_off(l, s->easy);
        l->stream_is_running = false;
        stream_took(l, stream_done(s, CURLE_OPERATION_TIMEDOUT, now));
        return 0;
    }
    if (l->stream_is_running) {
        return s->heard_at + s->silence_ms + 1;
    }
    enum call_step step = stream_next(s, now);
    if (step == CALL_RUN) {
        l->stream_is_running = curl_multi_add_handle(l->multi, s->easy) == CURLM_OK;
        return now;
    }
    stream_took(l, step);
    return step == CALL_WAIT ? s->retry_at : 0;
}

/* --- the thread --- */

static void ended(struct loop *l, void *easy, int code, int64_t now)
{
    take_off(l, easy);
    if (l->stream != NULL && l->stream->easy == easy) {
        l->stream_is_running = false;
        stream_took(l, stream_done(l->stream, code, now));
        return;
    }
    for (struct task *t = l->tasks; t != NULL; t = t->next) {
        if (t->is_running && t->call.easy == easy) {
            t->is_running = false;
            if (call_done(&t->call, code, now) == CALL_END) {
                task_end(t);
            }
            return;
        }
    }
}

static bool take_ended(struct loop *l)
{
    bool any = false;
    int left = 0;
    for (CURLMsg *msg; (msg = curl_multi_info_read(l->multi, &left)) != NULL;) {
        if (msg->msg == CURLMSG_DONE) {
            ended(l, msg->easy_handle, (int)msg->data.result, clock_mono_ms());
            any = true;
        }
    }
    return any;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool is_stopping(struct loop *l)
{
    pthread_mutex_lock(&l->m->lock);
    bool is = l->is_stopping;
    pthread_mutex_unlock(&l->m->lock);
    return is;
}

static void *loop_main(void *arg)
{
    struct loop *l = arg;
    while (!is_stopping(l)) {
        int n_running = 0;
        int64_t now = clock_mono_ms();
        int64_t at = hub_step(l->hub, now);
        at = earliest(at, keeper_step(l->keeper, now));
        at = earliest(at, step_tasks(l, now));
        at = earliest(at, step_stream(l, now));
        (void)curl_multi_perform(l->multi, &n_running);
        if (take_ended(l)) {
            continue;
        }
        int64_t wait = earliest(at - clock_mono_ms(), POLL_MAX_MS);
        if (wait > 0) {
            (void)curl_multi_poll(l->multi, NULL, 0, (int)wait, NULL);
        }
    }
    hub_stop(l->hub);
    keeper_stop(l->keeper);
    return NULL;
}

/* The program's signals are not for this thread. */
static int start_thread(struct loop *l)
{
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&l->thread, NULL, loop_main, l);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void free_parts(struct loop *l)
{
    hub_free(l->hub);
    keeper_free(l->keeper);
    if (l->multi != NULL) {
        (void)curl_multi_cleanup(l->multi);
    }
    cmem_free(l);
}

static struct loop *loop_new(struct muster *m)
{
    struct loop *l = cmem_zalloc(sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->m = m;
    l->multi = curl_multi_init();
    l->hub = hub_new(l);
    l->keeper = keeper_new(l);
    if (l->multi == NULL || l->hub == NULL || l->keeper == NULL || start_thread(l) != 0) {
        free_parts(l);
        return NULL;
    }
    return l;
}

muster_status loop_need(struct muster *m, struct loop **out, struct muster_error *e)
{
    pthread_mutex_lock(&m->lock);
    if (m->loop == NULL) {
        m->loop = loop_new(m); /* the new thread waits for the lock */
    }
    struct loop *l = m->loop;
    pthread_mutex_unlock(&m->lock);
    if (l == NULL) {
        return status_set(e, MUSTER_NO_MEMORY, "the background thread could not be started");
    }
    *out = l;
    return MUSTER_OK;
}

void loop_wake(struct loop *l)
{
    (void)curl_multi_wakeup(l->multi);
}

bool loop_is_here(const struct loop *l)
{
    return pthread_equal(pthread_self(), l->thread) != 0;
}

void loop_stop(struct muster *m)
{
    struct loop *l = m->loop;
    if (l == NULL) {
        return;
    }
    pthread_mutex_lock(&m->lock);
    l->is_stopping = true;
    pthread_mutex_unlock(&m->lock);
    loop_wake(l);
    (void)pthread_join(l->thread, NULL);
}

void loop_free(struct muster *m)
{
    if (m->loop != NULL) {
        free_parts(m->loop);
        m->loop = NULL;
    }
}
