/* SPDX-License-Identifier: Apache-2.0 */
/* A subscribed config: a target of the hub that calls the program. */
#include <string.h>

#include "client/client_impl.h"
#include "client/config.h"
#include "client/hub.h"
#include "client/mem.h"
#include "client/pattern.h"

struct muster_subscription {
    struct target t;
    muster_config_fn fn;
    void *user;
    /* owner's */
    bool is_told;      /* something was told already, from the cluster or the disk */
    bool has_disk;     /* the disk was asked */
    bool is_deleted;   /* the last thing told */
    uint64_t revision; /* of the last content told */
    struct muster_config *unsaved;
};

static struct muster_subscription *of(struct target *t)
{
    return CONTAINER_OF(t, struct muster_subscription, t);
}

/* Takes c: it is kept until it is on disk. */
static void tell(struct muster_subscription *s, struct muster_config *c)
{
    s->is_told = true;
    s->is_deleted = c->deleted;
    s->revision = c->revision;
    if (hub_callback_begin(&s->t)) {
        s->fn(s->user, c);
        hub_callback_end(&s->t);
    }
    muster_config_free(s->unsaved);
    s->unsaved = NULL;
    if (!c->from_disk && hub_client(s->t.hub)->snapshot_dir != NULL) {
        s->unsaved = c;
        hub_save_soon(&s->t);
    } else {
        muster_config_free(c);
    }
}

static bool tell_deleted(struct muster_subscription *s, uint64_t revision)
{
    struct muster_config *c = config_new(s->t.group, s->t.name, "", NULL, 0);
    if (c == NULL) {
        return false;
    }
    c->deleted = true;
    c->revision = revision;
    tell(s, c);
    return true;
}

/* --- what the hub asks --- */

static void sub_path(const struct target *t, uint64_t revision, struct cbuf *out)
{
    config_path(out, t->group, t->name);
    if (revision != 0) {
        cbuf_printf(out, "?revision=%llu", (unsigned long long)revision);
    }
}

static bool sub_on_read(struct target *t, const struct call *c)
{
    struct muster_subscription *s = of(t);
    struct http_in *in = (struct http_in *)&c->in; /* its body moves into the config */
    if (c->status == MUSTER_NOT_FOUND) {
        if (s->is_told && s->is_deleted) {
            return true;
        }
        return tell_deleted(s, s->is_told ? in->revision : 0);
    }
    struct muster_config *n = config_from_call(t->group, t->name, in);
    if (n == NULL) {
        return false;
    }
    if (s->is_told && !s->is_deleted && n->revision == s->revision) {
        muster_config_free(n);
        return true; /* nothing has changed meanwhile */
    }
    tell(s, n);
    return true;
}

static void sub_on_unreachable(struct target *t)
{
    struct muster_subscription *s = of(t);
    if (s->is_told || s->has_disk) {
        return;
    }
    s->has_disk = true;
    struct muster_config *c = config_load(hub_client(t->hub), t->group, t->name);
    if (c != NULL) {
        tell(s, c);
    }
}

static bool sub_on_event(struct target *t, const struct event *ev)
{
    struct muster_subscription *s = of(t);
    char *content = NULL;
    size_t size = 0;
    if (ev->is_delete) {
        return tell_deleted(s, ev->revision);
    }
    if (event_content(ev, &content, &size) != MUSTER_OK) {
        return false;
    }
    struct muster_config *c = config_new(t->group, t->name, ev->content_type, content, size);
    if (c == NULL) {
        cmem_free(content);
        return false;
    }
    c->revision = ev->revision;
    c->version = ev->version;
    tell(s, c);
    return true;
}

static void sub_on_revision(struct target *t, uint64_t revision)
{
    (void)t;
    (void)revision;
}

static void sub_on_step(struct target *t)
{
    (void)t;
}

static void sub_save(struct target *t)
{
    struct muster_subscription *s = of(t);
    const struct muster *m = hub_client(t->hub);
    if (s->unsaved != NULL && s->unsaved->deleted) {
        config_forget(m, t->group, t->name);
    } else if (s->unsaved != NULL) {
        config_save(m, s->unsaved);
    }
    muster_config_free(s->unsaved);
    s->unsaved = NULL;
}

static void sub_free(struct target *t)
{
    struct muster_subscription *s = of(t);
    muster_config_free(s->unsaved);
    cmem_free(s);
}

static const struct target_ops sub_ops = {
    .is_config = true,
    .path = sub_path,
    .on_read = sub_on_read,
    .on_unreachable = sub_on_unreachable,
    .on_event = sub_on_event,
    .on_revision = sub_on_revision,
    .on_step = sub_on_step,
    .save = sub_save,
    .free = sub_free,
};

/* --- the program's side --- */

muster_status muster_config_subscribe(struct muster *m, const char *group, const char *key,
                                      muster_config_fn fn, void *user,
                                      struct muster_subscription **out, struct muster_error *e)
{
    struct loop *l = NULL;
    muster_status rc = config_check_names(group, key, e);
    if (rc == MUSTER_OK && fn == NULL) {
        rc = status_set(e, MUSTER_INVALID, "a subscription needs a function");
    }
    if (rc == MUSTER_OK && !pattern_can_group(group)) {
        rc = status_set(e, MUSTER_INVALID, "a group with / or , cannot be watched");
    }
    rc = rc != MUSTER_OK ? rc : loop_need(m, &l, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    struct muster_subscription *s = cmem_zalloc(sizeof(*s));
    if (s == NULL) {
        return status_no_memory(e);
    }
    s->t.ops = &sub_ops;
    s->t.group = cmem_strdup(group);
    s->t.name = cmem_strdup(key);
    s->fn = fn;
    s->user = user;
    if (s->t.group == NULL || s->t.name == NULL) {
        cmem_free(s->t.group);
        cmem_free(s->t.name);
        cmem_free(s);
        return status_no_memory(e);
    }
    *out = s; /* before the first callback can come */
    hub_add(l->hub, &s->t);
    return MUSTER_OK;
}

void muster_unsubscribe(struct muster_subscription *s)
{
    if (s != NULL) {
        hub_remove(&s->t);
    }
}
