/* SPDX-License-Identifier: Apache-2.0 */
#include "client/keeper.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/client_impl.h"
#include "client/instance.h"
#include "client/json.h"
#include "client/mem.h"

enum {
    PATH_ROOM = 8192,
    BODY_MAX = 4 * 1024 * 1024,
    BATCH_MAX = 10000, /* the server's bound on leases in one keep-alive */
    LEASE_LEN = 16,
    BEAT_MIN_MS = 100,
    ATTEMPT_MIN_MS = 200,
};

struct reg {
    struct reg *next;
    char *path; /* of the instance, with its group */
    char *body;
    char *delete_path; /* with its cluster as well */
    int64_t ttl_ms;
    bool is_busy; /* under the lock: its request is under way */
    bool is_gone; /* under the lock: deregistered; freed by the thread */
    /* under the lock; written by the thread */
    char lease[LEASE_LEN + 1]; /* "": lost */
    /* owner's */
    struct task task;
    struct keeper *keeper;
    int64_t retry_at;
    unsigned n_failed;
};

struct keeper {
    struct loop *loop;
    struct reg *regs; /* under the lock; unlinked by the thread */
    bool is_new;      /* under the lock: the beat may be due earlier */
    /* owner's */
    struct task beat;
    char *beat_body;
    size_t beat_from; /* leases of this round that were sent already */
    size_t beat_n;
    bool beat_more;
    int64_t beat_at;
};

struct keeper *keeper_new(struct loop *l)
{
    struct keeper *k = cmem_zalloc(sizeof(*k));
    if (k != NULL) {
        k->loop = l;
    }
    return k;
}

static void reg_free(struct reg *r)
{
    if (r != NULL) {
        cmem_free(r->path);
        cmem_free(r->body);
        cmem_free(r->delete_path);
        cmem_free(r);
    }
}

void keeper_free(struct keeper *k)
{
    if (k == NULL) {
        return;
    }
    while (k->regs != NULL) {
        struct reg *r = k->regs;
        k->regs = r->next;
        reg_free(r);
    }
    cmem_free(k->beat_body);
    cmem_free(k);
}

static void lock(struct keeper *k)
{
    pthread_mutex_lock(&k->loop->m->lock);
}

static void unlock(struct keeper *k)
{
    pthread_mutex_unlock(&k->loop->m->lock);
}

/* --- answers --- */

static bool copy_lease(char out[LEASE_LEN + 1], const char *lease)
{
    if (lease == NULL || strlen(lease) != LEASE_LEN ||
        strspn(lease, "0123456789abcdef") != LEASE_LEN) {
        return false;
    }
    memcpy(out, lease, LEASE_LEN + 1);
    return true;
}

static muster_status lease_of(const struct http_in *in, char out[LEASE_LEN + 1],
                              struct muster_error *e)
{
    struct cjson_doc *doc = NULL;
    muster_status rc = cjson_parse(in->body.p, in->body.len, &doc);
    bool ok = copy_lease(out, cjson_text(cjson_get(cjson_root(doc), "lease")));
    cjson_free(doc);
    if (rc == MUSTER_NO_MEMORY) {
        return status_set(e, MUSTER_UNKNOWN, "out of memory after the registration");
    }
    return ok ? MUSTER_OK
              : status_set(e, MUSTER_REFUSED, "the answer to the registration names no lease");
}

/* --- the beat: one request for all leases --- */

/* The shortest time to live of those that are kept; INT64_MAX when there is none. */
static int64_t shortest_ttl(const struct keeper *k)
{
    int64_t ttl = INT64_MAX;
    for (const struct reg *r = k->regs; r != NULL; r = r->next) {
        if (!r->is_gone && r->lease[0] != '\0' && r->ttl_ms < ttl) {
            ttl = r->ttl_ms;
        }
    }
    return ttl;
}

/* A third of the shortest time to live, less up to a fifth of that. */
static int64_t next_beat(int64_t ttl_ms, int64_t now)
{
    int64_t third = ttl_ms / 3;
    return now + third - (int64_t)rnd_below((uint64_t)(third / 5) + 1);
}

static void lost(struct keeper *k, const char *lease)
{
    for (struct reg *r = k->regs; r != NULL; r = r->next) {
        if (strcmp(r->lease, lease) == 0) {
            r->lease[0] = '\0';
            r->retry_at = 0;
            r->n_failed = 0;
        }
    }
}

static size_t take_beat(struct keeper *k, const struct http_in *in)
{
    size_t n_lost = 0;
    struct cjson_doc *doc = NULL;
    (void)cjson_parse(in->body.p, in->body.len, &doc); /* without memory: the next one tells */
    const struct cjson *o = cjson_first(cjson_get(cjson_root(doc), "leases"));
    lock(k);
    for (; o != NULL; o = cjson_next(o)) {
        const char *id = cjson_text(cjson_get(o, "id"));
        if (id != NULL && id[0] != '\0' && cjson_get(o, "error") != NULL) {
            lost(k, id);
            n_lost++;
        }
    }
    unlock(k);
    cjson_free(doc);
    return n_lost;
}

static void beat_done(struct task *t)
{
    struct keeper *k = CONTAINER_OF(t, struct keeper, beat);
    const struct muster *m = k->loop->m;
    int64_t now = clock_mono_ms();
    cmem_free(k->beat_body);
    k->beat_body = NULL;
    lock(k);
    int64_t ttl = shortest_ttl(k);
    unlock(k);
    if (t->call.status != MUSTER_OK) {
        client_say(m, "warn", "keep-alive failed: %.200s", t->call.error.text);
        k->beat_from = 0;
        k->beat_at = now + call_backoff_ms(1) + BEAT_MIN_MS;
        return;
    }
    size_t n_lost = take_beat(k, &t->call.in);
    if (n_lost > 0) {
        client_say(m, "warn", "%zu leases were lost: registering again", n_lost);
    }
    k->beat_from = k->beat_more ? k->beat_from + k->beat_n : 0;
    k->beat_at = k->beat_more || ttl == INT64_MAX ? now : next_beat(ttl, now);
}

/* {"leases":["..",..]} of up to BATCH_MAX, from the beat_from'th on. */
static char *beat_body(struct keeper *k)
{
    struct cbuf b;
    size_t at = 0;
    k->beat_n = 0;
    k->beat_more = false;
    cbuf_init(&b, BODY_MAX);
    cbuf_str(&b, "{\"leases\":[");
    for (const struct reg *r = k->regs; r != NULL; r = r->next) {
        if (r->is_gone || r->lease[0] == '\0' || at++ < k->beat_from) {
            continue;
        }
        if (k->beat_n == BATCH_MAX) {
            k->beat_more = true;
            break;
        }
        cbuf_printf(&b, "%s\"%s\"", k->beat_n > 0 ? "," : "", r->lease);
        k->beat_n++;
    }
    cbuf_str(&b, "]}");
    return cbuf_take(&b);
}

static void beat_start(struct keeper *k, int64_t ttl_ms, int64_t now)
{
    lock(k);
    k->beat_body = beat_body(k);
    unlock(k);
    if (k->beat_body != NULL && k->beat_n == 0) {
        cmem_free(k->beat_body); /* the rest of a round has gone meanwhile */
        k->beat_body = NULL;
        k->beat_from = 0;
        k->beat_at = next_beat(ttl_ms, now);
        return;
    }
    struct muster_request q = {.method = "POST",
                               .path = "/leases:keepalive",
                               .body = k->beat_body,
                               .body_len = k->beat_body != NULL ? strlen(k->beat_body) : 0,
                               .timeout_ms = k->loop->m->request_ms};
    if (k->beat_body == NULL || task_start(&k->beat, k->loop, &q, beat_done) != MUSTER_OK) {
        cmem_free(k->beat_body);
        k->beat_body = NULL;
        k->beat_at = now + BEAT_MIN_MS;
        return;
    }
    /* A node that hangs must not cost the lease. */
    int64_t attempt = ttl_ms / 6 > ATTEMPT_MIN_MS ? ttl_ms / 6 : ATTEMPT_MIN_MS;
    if (attempt < k->beat.call.attempt_ms) {
        k->beat.call.attempt_ms = attempt;
    }
}

/* --- registering again --- */

static void reg_done(struct task *t)
{
    struct reg *r = CONTAINER_OF(t, struct reg, task);
    struct keeper *k = r->keeper;
    char lease[LEASE_LEN + 1];
    bool ok = t->call.status == MUSTER_OK && lease_of(&t->call.in, lease, NULL) == MUSTER_OK;
    if (ok) {
        client_say(k->loop->m, "info", "registered again: %.200s", r->path);
    } else {
        client_say(k->loop->m, "error", "could not register again: %.200s", t->call.error.text);
        r->n_failed++;
        r->retry_at = clock_mono_ms() + call_backoff_ms(r->n_failed);
    }
    lock(k);
    if (ok) {
        memcpy(r->lease, lease, sizeof(lease));
        r->n_failed = 0;
        k->is_new = true;
    }
    r->is_busy = false;
    pthread_cond_broadcast(&k->loop->m->changed);
    unlock(k);
}

static void reg_again(struct keeper *k, struct reg *r)
{
    struct muster_request q = {
        .method = "PUT", .path = r->path, .body = r->body, .body_len = strlen(r->body)};
    if (task_start(&r->task, k->loop, &q, reg_done) != MUSTER_OK) {
        r->retry_at = clock_mono_ms() + BEAT_MIN_MS;
        lock(k);
        r->is_busy = false;
        pthread_cond_broadcast(&k->loop->m->changed);
        unlock(k);
    }
}

/* --- a turn of the thread --- */

/* Unlink what is gone, and take the next that wants to be registered again: it is busy from here
 * on. */
static struct reg *sweep(struct keeper *k, int64_t now, int64_t *at)
{
    struct reg *found = NULL;
    for (struct reg **p = &k->regs; *p != NULL;) {
        struct reg *r = *p;
        if (r->is_gone && !r->is_busy) {
            *p = r->next;
            reg_free(r);
            continue;
        }
        if (!r->is_gone && !r->is_busy && r->lease[0] == '\0') {
            if (found == NULL && r->retry_at <= now) {
                found = r;
            } else {
                *at = r->retry_at < *at ? r->retry_at : *at;
            }
        }
        p = &r->next;
    }
    if (found != NULL) {
        found->is_busy = true;
    }
    return found;
}

int64_t keeper_step(struct keeper *k, int64_t now)
{
    int64_t at = INT64_MAX;
    lock(k);
    struct reg *again = sweep(k, now, &at);
    int64_t ttl = shortest_ttl(k);
    if (k->is_new && ttl != INT64_MAX) {
        int64_t soon = next_beat(ttl, now);
        k->beat_at = k->beat_at == 0 || soon < k->beat_at ? soon : k->beat_at;
    }
    k->is_new = false;
    unlock(k);
    if (again != NULL) {
        again->keeper = k;
        reg_again(k, again);
        return now; /* there may be more */
    }
    if (ttl == INT64_MAX || k->beat.is_active) {
        return at;
    }
    if (now >= k->beat_at) {
        beat_start(k, ttl, now);
    }
    return k->beat_at > now && k->beat_at < at ? k->beat_at : k->beat.is_active ? now : at;
}

void keeper_stop(struct keeper *k)
{
    task_cancel(&k->beat);
    for (struct reg *r = k->regs; r != NULL; r = r->next) {
        task_cancel(&r->task);
    }
}

/* --- the program's side --- */

static void put_path(struct cbuf *b, const char *service, const char *group, const char *id)
{
    cbuf_str(b, "/services/");
    cbuf_percent(b, service);
    cbuf_str(b, "/instances/");
    cbuf_percent(b, id);
    cbuf_str(b, "?group=");
    cbuf_percent(b, group != NULL ? group : "DEFAULT_GROUP");
}

static char *delete_path(const char *service, const char *group, const char *cluster,
                         const char *id)
{
    struct cbuf b;
    cbuf_init(&b, PATH_ROOM);
    put_path(&b, service, group, id);
    cbuf_str(&b, "&cluster=");
    cbuf_percent(&b, cluster != NULL ? cluster : "DEFAULT");
    return cbuf_take(&b);
}

static struct reg *reg_new(const struct muster_instance *i)
{
    struct reg *r = cmem_zalloc(sizeof(*r));
    struct cbuf path, body;
    char id[300];
    if (r == NULL) {
        return NULL;
    }
    (void)snprintf(id, sizeof(id), "%s:%u", i->address, i->port);
    const char *name = i->id != NULL ? i->id : id;
    cbuf_init(&path, PATH_ROOM);
    put_path(&path, i->service, i->group, name);
    r->path = cbuf_take(&path);
    cbuf_init(&body, BODY_MAX);
    instance_json(&body, i);
    r->body = cbuf_take(&body);
    r->delete_path = delete_path(i->service, i->group, i->cluster, name);
    r->ttl_ms = i->ttl_ms;
    if (r->path == NULL || r->body == NULL || r->delete_path == NULL) {
        reg_free(r);
        return NULL;
    }
    return r;
}

static muster_status register_now(struct muster *m, struct reg *r, struct muster_error *e)
{
    struct call c;
    struct muster_request q = {
        .method = "PUT", .path = r->path, .body = r->body, .body_len = strlen(r->body)};
    muster_status rc = call_init(&c, m, &q, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    rc = call_perform(&c, e);
    rc = rc != MUSTER_OK ? rc : lease_of(&c.in, r->lease, e);
    call_fini(&c);
    return rc;
}

static struct reg *find(struct keeper *k, const char *path)
{
    struct reg *r = k->regs;
    while (r != NULL && (r->is_gone || strcmp(r->delete_path, path) != 0)) {
        r = r->next;
    }
    return r;
}

/* Take the registration of that name out of the keeper's hands: after this nothing is sent for it.
 */
static bool withdraw(struct keeper *k, const char *path)
{
    lock(k);
    struct reg *r = find(k, path);
    while (r != NULL && r->is_busy && !loop_is_here(k->loop)) {
        pthread_cond_wait(&k->loop->m->changed, &k->loop->m->lock);
        r = find(k, path); /* it may have gone meanwhile */
    }
    if (r != NULL) {
        r->is_gone = true;
    }
    unlock(k);
    return r != NULL;
}

static void add(struct keeper *k, struct reg *r)
{
    lock(k);
    r->next = k->regs;
    k->regs = r;
    k->is_new = true;
    unlock(k);
    loop_wake(k->loop);
}

muster_status muster_register(struct muster *m, const struct muster_instance *i,
                              struct muster_error *e)
{
    struct loop *l = NULL;
    muster_status rc = instance_check(i, e);
    rc = rc != MUSTER_OK ? rc : loop_need(m, &l, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    struct reg *r = reg_new(i);
    if (r == NULL) {
        return status_no_memory(e);
    }
    /* Registered anew: the older one is out of the way first, or its repeat could come later. */
    bool was_kept = withdraw(l->keeper, r->delete_path);
    rc = register_now(m, r, e);
    bool is_later = rc == MUSTER_UNREACHABLE || rc == MUSTER_UNKNOWN || rc == MUSTER_NO_MEMORY;
    if (rc == MUSTER_OK || (was_kept && is_later)) {
        add(l->keeper, r); /* what was kept alive is kept alive: it will be registered later */
    } else {
        reg_free(r);
    }
    return rc;
}

static muster_status deregister(struct muster *m, const char *path, int64_t timeout_ms,
                                bool ignores_close, struct muster_error *e)
{
    struct call c;
    struct muster_request q = {.method = "DELETE", .path = path, .timeout_ms = timeout_ms};
    muster_status rc = call_init(&c, m, &q, e);
    if (rc == MUSTER_OK) {
        c.ignores_close = ignores_close;
        rc = call_perform(&c, e);
        call_fini(&c);
    }
    return rc;
}

muster_status muster_deregister(struct muster *m, const char *service, const char *group,
                                const char *cluster, const char *id, struct muster_error *e)
{
    if (service == NULL || id == NULL) {
        return status_set(e, MUSTER_INVALID, "deregistering needs a service and an id");
    }
    char *path = delete_path(service, group, cluster, id);
    if (path == NULL) {
        return status_no_memory(e);
    }
    pthread_mutex_lock(&m->lock);
    struct loop *l = m->loop;
    pthread_mutex_unlock(&m->lock);
    bool was_ours = l != NULL && withdraw(l->keeper, path);
    muster_status rc = deregister(m, path, 0, false, e);
    if (rc == MUSTER_NOT_FOUND && was_ours) {
        rc = MUSTER_OK; /* it had gone by itself: what was wanted */
    }
    cmem_free(path);
    return rc;
}

void keeper_deregister_all(struct keeper *k, int64_t deadline_at)
{
    for (struct reg *r = k->regs; r != NULL; r = r->next) {
        int64_t left = deadline_at - clock_mono_ms();
        if (!r->is_gone && left > 0) {
            (void)deregister(k->loop->m, r->delete_path, left, true, NULL);
        }
    }
}
