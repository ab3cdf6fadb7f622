/* SPDX-License-Identifier: Apache-2.0 */
#include "client/hub.h"

#include <string.h>

#include "base/clock.h"
#include "client/client_impl.h"
#include "client/mem.h"
#include "client/pattern.h"
#include "client/stream.h"

enum {
    SAVE_AFTER_MS = 1000, /* changes in quick succession are one write to disk */
    READ_CONNECTS = 3,    /* a background read gives up after so many connect timeouts */
    MEMORY_RETRY_MS = 200,
    STREAM_RETRY_MS = 2000 /* after a refusal that repeating at once would not change */
};

struct hub {
    struct loop *loop;
    /* under the lock */
    struct target *incoming;
    struct target *running; /* its callback is under way */
    bool is_lost;
    /* owner's */
    struct target *targets;
    struct stream stream;
    bool has_stream;
    bool is_changed; /* the patterns of the stream are not those of the targets */
    int64_t stream_at;
};

/* --- any thread --- */

struct hub *hub_new(struct loop *l)
{
    struct hub *h = cmem_zalloc(sizeof(*h));
    if (h != NULL) {
        h->loop = l;
    }
    return h;
}

struct muster *hub_client(const struct hub *h)
{
    return h->loop->m;
}

void hub_wake(struct hub *h)
{
    loop_wake(h->loop);
}

void hub_add(struct hub *h, struct target *t)
{
    t->hub = h;
    pthread_mutex_lock(&h->loop->m->lock);
    t->next = h->incoming;
    h->incoming = t;
    pthread_mutex_unlock(&h->loop->m->lock);
    loop_wake(h->loop);
}

void hub_wait_callback(struct target *t)
{
    struct hub *h = t->hub;
    while (h->running == t && !loop_is_here(h->loop)) {
        pthread_cond_wait(&h->loop->m->changed, &h->loop->m->lock);
    }
}

void hub_remove(struct target *t)
{
    struct loop *l = t->hub->loop;
    pthread_mutex_lock(&l->m->lock);
    hub_wait_callback(t);
    t->is_gone = true; /* from here on it may be freed */
    pthread_mutex_unlock(&l->m->lock);
    loop_wake(l);
}

bool hub_is_lost(struct hub *h)
{
    pthread_mutex_lock(&h->loop->m->lock);
    bool is = h->is_lost;
    pthread_mutex_unlock(&h->loop->m->lock);
    return is;
}

/* --- callbacks --- */

bool hub_callback_begin(struct target *t)
{
    struct hub *h = t->hub;
    pthread_mutex_lock(&h->loop->m->lock);
    bool may = !t->is_gone;
    h->running = may ? t : NULL;
    pthread_mutex_unlock(&h->loop->m->lock);
    return may;
}

void hub_callback_end(struct target *t)
{
    struct hub *h = t->hub;
    pthread_mutex_lock(&h->loop->m->lock);
    h->running = NULL;
    pthread_cond_broadcast(&h->loop->m->changed);
    pthread_mutex_unlock(&h->loop->m->lock);
}

static void set_lost(struct hub *h, bool is)
{
    pthread_mutex_lock(&h->loop->m->lock);
    h->is_lost = is;
    pthread_mutex_unlock(&h->loop->m->lock);
}

void hub_save_soon(struct target *t)
{
    if (t->save_at == 0 && t->hub->loop->m->snapshot_dir != NULL) {
        t->save_at = clock_mono_ms() + SAVE_AFTER_MS;
    }
}

static void save(struct target *t)
{
    if (t->save_at != 0) {
        t->save_at = 0;
        t->ops->save(t);
    }
}

/* --- reading one target --- */

static void read_again_later(struct target *t)
{
    t->n_failed++;
    t->retry_at = clock_mono_ms() + call_backoff_ms(t->n_failed);
}

static void went_live(struct target *t, uint64_t rev_next)
{
    t->rev_next = rev_next;
    t->state = TARGET_LIVE;
    t->is_in_stream = false;
    t->n_failed = 0;
    t->fetch_revision = 0;
    t->hub->is_changed = true;
}

static void read_done(struct task *task)
{
    struct target *t = CONTAINER_OF(task, struct target, task);
    const struct call *c = &task->call;
    cmem_free(t->path);
    t->path = NULL;
    bool has_answer = c->status == MUSTER_OK || c->status == MUSTER_NOT_FOUND;
    if (t->state == TARGET_FETCH &&
        (c->status == MUSTER_NOT_FOUND || c->status == MUSTER_COMPACTED)) {
        t->state = TARGET_READ; /* that content is gone already: what is there now will do */
        return;
    }
    if (!has_answer) {
        client_say(t->hub->loop->m, "warn", "%.100s/%.100s could not be read: %.200s", t->group,
                   t->name, c->error.text);
        t->ops->on_unreachable(t);
        read_again_later(t);
        return;
    }
    uint64_t next = t->state == TARGET_FETCH ? t->fetch_revision + 1 : c->in.revision + 1;
    if (t->ops->on_read(t, c)) {
        went_live(t, next);
    } else {
        read_again_later(t);
    }
}

static void start_read(struct target *t)
{
    const struct muster *m = t->hub->loop->m;
    struct cbuf path;
    int64_t most = READ_CONNECTS * m->connect_ms;
    cbuf_init(&path, HTTP_HEAD_MAX);
    t->ops->path(t, t->state == TARGET_FETCH ? t->fetch_revision : 0, &path);
    cmem_free(t->path);
    t->path = cbuf_take(&path);
    struct muster_request q = {.method = "GET",
                               .path = t->path,
                               .timeout_ms = most < m->request_ms ? most : m->request_ms};
    if (t->path == NULL || task_start(&t->task, t->hub->loop, &q, read_done) != MUSTER_OK) {
        read_again_later(t);
    }
}

/* --- the stream --- */

static void apply_event(struct hub *h, const struct event *ev, uint64_t revision)
{
    for (struct target *t = h->targets; t != NULL; t = t->next) {
        if (t->state != TARGET_LIVE || !t->is_in_stream || revision < t->rev_next ||
            t->ops->is_config != ev->is_config || strcmp(t->name, ev->name) != 0 ||
            strcmp(t->group, ev->group) != 0) {
            continue;
        }
        if (!t->ops->on_event(t, ev)) {
            t->state = t->ops->is_config ? TARGET_FETCH : TARGET_READ;
            t->fetch_revision = revision;
            t->retry_at = 0;
        }
    }
}

/* Everything up to `revision` was told to whoever is live. */
static void advance(struct hub *h, uint64_t revision, bool is_change)
{
    for (struct target *t = h->targets; t != NULL; t = t->next) {
        if (t->state != TARGET_LIVE || !t->is_in_stream || revision < t->rev_next) {
            continue;
        }
        t->rev_next = revision + 1;
        if (is_change) {
            t->ops->on_revision(t, revision);
        }
    }
}

static bool has_fetch(const struct hub *h)
{
    for (const struct target *t = h->targets; t != NULL; t = t->next) {
        if (t->state == TARGET_FETCH) {
            return true;
        }
    }
    return false;
}

/* An event that cannot be read: the state is read instead. */
static void reread_all(struct hub *h)
{
    for (struct target *t = h->targets; t != NULL; t = t->next) {
        if (t->state == TARGET_LIVE) {
            t->state = TARGET_READ;
            t->retry_at = 0;
        }
    }
}

static int on_message(void *user, const struct sse_message *m)
{
    struct hub *h = user;
    struct event_doc *doc = NULL;
    set_lost(h, false);
    if (strcmp(m->type, "change") != 0) {
        if (strcmp(m->type, "progress") == 0) {
            advance(h, m->id, false);
        }
        return 0;
    }
    if (event_parse(m->data, m->len, &doc) != MUSTER_OK) {
        client_say(h->loop->m, "error", "a change could not be read: reading the state again");
        reread_all(h);
        return 1;
    }
    for (size_t i = 0; i < event_count(doc); i++) {
        struct event ev;
        if (event_at(doc, i, &ev)) {
            apply_event(h, &ev, m->id);
        }
    }
    event_free(doc);
    advance(h, m->id, true);
    /* To fetch content is to stop here: the stream goes on behind it. */
    return has_fetch(h);
}

static void drop_stream(struct hub *h)
{
    if (h->has_stream) {
        loop_stream_stop(h->loop);
        stream_fini(&h->stream);
        h->has_stream = false;
    }
}

static void start_stream(struct hub *h, int64_t now)
{
    uint64_t from = UINT64_MAX;
    struct muster_error e = {0};
    struct pattern_set set;
    pattern_init(&set);
    for (struct target *t = h->targets; t != NULL; t = t->next) {
        t->is_in_stream = t->state == TARGET_LIVE;
        if (t->is_in_stream) {
            pattern_add(&set, t->ops->is_config, t->group, t->name);
            from = t->rev_next < from ? t->rev_next : from;
        }
    }
    char *query = pattern_query(&set);
    h->is_changed = false;
    muster_status rc = MUSTER_NO_MEMORY;
    if (query != NULL) {
        rc = stream_init(&h->stream, h->loop->m, query, from, &e);
    }
    cmem_free(query);
    pattern_fini(&set);
    if (rc != MUSTER_OK) {
        client_say(h->loop->m, "error", "the watch could not be begun: %s", e.text);
        h->is_changed = true; /* the targets are not in any stream */
        h->stream_at = now + (rc == MUSTER_NO_MEMORY ? MEMORY_RETRY_MS : STREAM_RETRY_MS);
        return;
    }
    h->stream.fn = on_message;
    h->stream.user = h;
    h->has_stream = true;
    loop_stream_start(h->loop, &h->stream);
}

void hub_stream_ended(struct hub *h, struct stream *s)
{
    muster_status rc = s->status;
    if (rc == MUSTER_COMPACTED) {
        client_say(h->loop->m, "warn", "changes were compacted away: reading the state again");
        reread_all(h);
    } else if (rc != MUSTER_OK && rc != MUSTER_CLOSED) {
        client_say(h->loop->m, "error", "the watch was refused: %s", s->error.text);
        set_lost(h, true);
        h->stream_at =
            clock_mono_ms() + (rc == MUSTER_NO_MEMORY ? MEMORY_RETRY_MS : STREAM_RETRY_MS);
    }
    stream_fini(s);
    h->has_stream = false;
}

/* --- a turn of the thread --- */

static void take_incoming(struct hub *h)
{
    pthread_mutex_lock(&h->loop->m->lock);
    struct target *t = h->incoming;
    h->incoming = NULL;
    pthread_mutex_unlock(&h->loop->m->lock);
    while (t != NULL) {
        struct target *next = t->next;
        t->next = h->targets;
        h->targets = t;
        h->is_changed = true;
        t = next;
    }
}

static void free_target(struct target *t)
{
    task_cancel(&t->task);
    save(t);
    cmem_free(t->group);
    cmem_free(t->name);
    cmem_free(t->path);
    t->ops->free(t);
}

static void drop_gone(struct hub *h)
{
    for (struct target **at = &h->targets; *at != NULL;) {
        struct target *t = *at;
        pthread_mutex_lock(&h->loop->m->lock);
        bool is_gone = t->is_gone;
        pthread_mutex_unlock(&h->loop->m->lock);
        if (is_gone) {
            *at = t->next;
            free_target(t);
            h->is_changed = true;
        } else {
            at = &t->next;
        }
    }
}

static int64_t step_target(struct target *t, int64_t now)
{
    int64_t at = INT64_MAX;
    t->ops->on_step(t);
    if (t->state != TARGET_LIVE && !t->task.is_active) {
        if (t->retry_at <= now) {
            start_read(t);
        }
        at = t->task.is_active ? now : t->retry_at;
    }
    if (t->save_at != 0 && t->save_at <= now) {
        save(t);
    }
    return t->save_at != 0 && t->save_at < at ? t->save_at : at;
}

/* The stream is left as it is while somebody reads for the first time: ten subscriptions in a row
 * should not be ten connections. */
static int64_t step_shared(struct hub *h, bool has_live, bool is_reading, int64_t now)
{
    if (h->has_stream && h->stream.n_failed >= 2) {
        set_lost(h, true);
    }
    bool may = has_live && !has_fetch(h);
    if (h->has_stream && (!may || (h->is_changed && !is_reading))) {
        drop_stream(h);
    }
    if (!h->has_stream && may && !is_reading) {
        if (now < h->stream_at) {
            return h->stream_at;
        }
        start_stream(h, now);
    }
    return INT64_MAX;
}

int64_t hub_step(struct hub *h, int64_t now)
{
    int64_t at = INT64_MAX;
    bool has_live = false, is_reading = false;
    take_incoming(h);
    drop_gone(h);
    for (struct target *t = h->targets; t != NULL; t = t->next) {
        int64_t want = step_target(t, now);
        at = want < at ? want : at;
        has_live |= t->state == TARGET_LIVE;
        is_reading |= t->state == TARGET_READ && t->task.is_active && t->n_failed == 0;
    }
    int64_t want = step_shared(h, has_live, is_reading, now);
    return want < at ? want : at;
}

void hub_stop(struct hub *h)
{
    drop_stream(h);
    take_incoming(h);
    for (struct target *t = h->targets; t != NULL; t = t->next) {
        task_cancel(&t->task);
        save(t);
    }
}

void hub_free(struct hub *h)
{
    if (h == NULL) {
        return;
    }
    /* No thread of ours, and nobody else inside: without the lock, which loop_need() may hold. */
    while (h->targets != NULL) {
        struct target *t = h->targets;
        h->targets = t->next;
        free_target(t);
    }
    cmem_free(h);
}
