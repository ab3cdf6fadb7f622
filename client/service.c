/* SPDX-License-Identifier: Apache-2.0 */
/* A discovered service: a target of the hub that keeps a list. The list never changes: a change
 * makes a new one, so whoever looks at one needs the lock only to take hold of it. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "client/client_impl.h"
#include "client/hub.h"
#include "client/instance.h"
#include "client/mem.h"
#include "client/pattern.h"
#include "client/snapfile.h"

enum { NAME_MAX_BYTES = 512, PATH_ROOM = 8192, READ_CONNECTS = 3 };

struct muster_service {
    struct target t;
    /* under the lock */
    struct inst_list *list;
    uint64_t n_picked; /* round robin */
    muster_service_fn fn;
    void *user;
    bool is_untold; /* fn does not know the list yet */
    /* owner's */
    struct inst_list *next_list; /* while the events of one message are gone through */
};

/* What was given to the program: the public part first, then what keeps it alive. */
struct given_list {
    struct muster_instances pub;
    struct inst_list *list;
    struct muster_instance items[];
};

struct given_instance {
    struct muster_instance pub;
    struct inst *inst;
};

static struct muster_service *of(struct target *t)
{
    return CONTAINER_OF(t, struct muster_service, t);
}

static struct muster *client_of(const struct muster_service *s)
{
    return hub_client(s->t.hub);
}

/* --- path and disk --- */

static void service_path(const struct target *t, uint64_t revision, struct cbuf *out)
{
    (void)revision;
    cbuf_str(out, "/services/");
    cbuf_percent(out, t->name);
    cbuf_str(out, "?group=");
    cbuf_percent(out, t->group);
}

static struct inst_list *load(const struct muster *m, const char *group, const char *name)
{
    struct snapname n = {"service", m->namespace_, group, name};
    struct inst_list *l = NULL;
    char *data = NULL;
    size_t len = 0;
    if (m->snapshot_dir == NULL || snapfile_load(m->snapshot_dir, &n, &data, &len) != MUSTER_OK) {
        return NULL;
    }
    (void)inst_list_parse(data, len, &l);
    cmem_free(data);
    if (l != NULL) {
        l->from_disk = true;
    }
    return l;
}

static void service_save(struct target *t)
{
    const struct muster *m = hub_client(t->hub);
    struct snapname n = {"service", m->namespace_, t->group, t->name};
    struct cbuf b;
    cbuf_init(&b, HTTP_BODY_MAX);
    inst_list_json(&b, of(t)->list); /* only this thread changes it */
    if (cbuf_failed(&b) || snapfile_save(m->snapshot_dir, &n, b.p, b.len) != MUSTER_OK) {
        client_say(m, "warn", "the snapshot of service %.100s could not be written", t->name);
    }
    cbuf_fini(&b);
}

/* --- what the hub asks --- */

/* Takes l. */
static void set_list(struct muster_service *s, struct inst_list *l)
{
    struct muster *m = client_of(s);
    pthread_mutex_lock(&m->lock);
    struct inst_list *old = s->list;
    s->list = l;
    s->is_untold = true;
    pthread_mutex_unlock(&m->lock);
    inst_list_unref(old);
    hub_save_soon(&s->t);
}

static void service_on_step(struct target *t)
{
    struct muster_service *s = of(t);
    struct muster *m = client_of(s);
    pthread_mutex_lock(&m->lock);
    muster_service_fn fn = s->is_untold ? s->fn : NULL;
    pthread_mutex_unlock(&m->lock);
    if (fn == NULL || !hub_callback_begin(t)) {
        return;
    }
    /* Again: it may have been changed before the callback was announced. */
    pthread_mutex_lock(&m->lock);
    fn = s->fn;
    void *user = s->user;
    s->is_untold = false;
    pthread_mutex_unlock(&m->lock);
    if (fn != NULL) {
        fn(user, s);
    }
    hub_callback_end(t);
}

static bool is_equal(const struct inst_list *a, const struct inst_list *b)
{
    if (a->n != b->n || a->from_disk != b->from_disk) {
        return false;
    }
    for (size_t k = 0; k < a->n; k++) {
        const struct muster_instance *x = &a->v[k]->i, *y = &b->v[k]->i;
        if (x->revision != y->revision || x->healthy != y->healthy || strcmp(x->id, y->id) != 0 ||
            strcmp(x->cluster, y->cluster) != 0) {
            return false;
        }
    }
    return true;
}

static bool service_on_read(struct target *t, const struct call *c)
{
    struct muster_service *s = of(t);
    struct inst_list *l = NULL;
    if (c->status != MUSTER_OK || inst_list_parse(c->in.body.p, c->in.body.len, &l) != MUSTER_OK) {
        return false;
    }
    l->revision = c->in.revision;
    inst_list_unref(s->next_list);
    s->next_list = NULL;
    if (is_equal(l, s->list)) {
        inst_list_unref(l);
    } else {
        set_list(s, l);
    }
    return true;
}

static void service_on_unreachable(struct target *t)
{
    (void)t; /* the last list stays */
}

static bool service_on_event(struct target *t, const struct event *ev)
{
    struct muster_service *s = of(t);
    const struct inst_list *now = s->next_list != NULL ? s->next_list : s->list;
    struct inst_list *l = NULL;
    if (ev->is_delete) {
        l = inst_list_without(now, ev->cluster, ev->id);
    } else {
        struct inst *i = NULL;
        if (inst_parse(ev->instance, &i) == MUSTER_OK) {
            l = inst_list_with(now, i);
        }
        inst_unref(i);
    }
    if (l == NULL) {
        inst_list_unref(s->next_list);
        s->next_list = NULL;
        return false;
    }
    inst_list_unref(s->next_list);
    s->next_list = l;
    return true;
}

static void service_on_revision(struct target *t, uint64_t revision)
{
    struct muster_service *s = of(t);
    if (s->next_list != NULL) {
        struct inst_list *l = s->next_list;
        s->next_list = NULL;
        l->revision = revision;
        set_list(s, l);
        service_on_step(t);
    }
}

static void service_free(struct target *t)
{
    struct muster_service *s = of(t);
    inst_list_unref(s->list);
    inst_list_unref(s->next_list);
    cmem_free(s);
}

static const struct target_ops service_ops = {
    .is_config = false,
    .path = service_path,
    .on_read = service_on_read,
    .on_unreachable = service_on_unreachable,
    .on_event = service_on_event,
    .on_revision = service_on_revision,
    .on_step = service_on_step,
    .save = service_save,
    .free = service_free,
};

/* --- discover --- */

/* The first list, on the caller's thread. */
static muster_status first_list(struct muster *m, struct muster_service *s, struct muster_error *e)
{
    struct call c;
    struct cbuf path;
    struct inst_list *known = load(m, s->t.group, s->t.name);
    int64_t soon = READ_CONNECTS * m->connect_ms;
    cbuf_init(&path, PATH_ROOM);
    service_path(&s->t, 0, &path);
    struct muster_request q = {.method = "GET",
                               .path = path.p,
                               .timeout_ms = known != NULL && soon < m->request_ms ? soon : 0};
    muster_status rc = cbuf_failed(&path) ? status_no_memory(e) : call_init(&c, m, &q, e);
    if (rc == MUSTER_OK) {
        rc = call_perform(&c, e);
        if (rc == MUSTER_OK) {
            rc = inst_list_parse(c.in.body.p, c.in.body.len, &s->list);
            if (rc == MUSTER_OK) {
                s->list->revision = c.in.revision;
                s->t.rev_next = c.in.revision + 1;
                s->t.state = TARGET_LIVE;
            } else {
                (void)status_set(e, rc, "the list of instances could not be read");
            }
        }
        call_fini(&c);
    }
    if (rc == MUSTER_UNREACHABLE && known != NULL) {
        s->list = known;
        known = NULL;
        s->t.state = TARGET_READ;
        rc = MUSTER_OK;
    }
    inst_list_unref(known);
    cbuf_fini(&path);
    return rc;
}

static muster_status new_service(const char *group, const char *service,
                                 struct muster_service **out, struct muster_error *e)
{
    struct muster_service *s = cmem_zalloc(sizeof(*s));
    if (s == NULL) {
        return status_no_memory(e);
    }
    s->t.ops = &service_ops;
    s->t.group = cmem_strdup(group);
    s->t.name = cmem_strdup(service);
    *out = s;
    return s->t.group != NULL && s->t.name != NULL ? MUSTER_OK : status_no_memory(e);
}

static void free_unborn(struct muster_service *s)
{
    if (s != NULL) {
        cmem_free(s->t.group);
        cmem_free(s->t.name);
        service_free(&s->t);
    }
}

muster_status muster_discover(struct muster *m, const char *group, const char *service,
                              struct muster_service **out, struct muster_error *e)
{
    struct loop *l = NULL;
    struct muster_service *s = NULL;
    group = group != NULL ? group : "DEFAULT_GROUP";
    if (service == NULL || !text_is_name(slice_str(service), NAME_MAX_BYTES) ||
        !text_is_name(slice_str(group), NAME_MAX_BYTES)) {
        return status_set(e, MUSTER_INVALID, "a name is 1 to %d bytes of UTF-8", NAME_MAX_BYTES);
    }
    if (!pattern_can_group(group)) {
        return status_set(e, MUSTER_INVALID, "a group with / or , cannot be watched");
    }
    muster_status rc = new_service(group, service, &s, e);
    rc = rc != MUSTER_OK ? rc : loop_need(m, &l, e);
    rc = rc != MUSTER_OK ? rc : first_list(m, s, e);
    if (rc != MUSTER_OK) {
        free_unborn(s);
        return rc;
    }
    s->t.hub = l->hub;
    if (!s->list->from_disk) {
        hub_save_soon(&s->t);
    }
    hub_add(l->hub, &s->t);
    *out = s;
    return MUSTER_OK;
}

void muster_service_close(struct muster_service *s)
{
    if (s != NULL) {
        hub_remove(&s->t);
    }
}

/* --- looking --- */

static struct inst_list *hold(struct muster_service *s, uint64_t *out_turn)
{
    struct muster *m = client_of(s);
    pthread_mutex_lock(&m->lock);
    struct inst_list *l = inst_list_ref(s->list);
    *out_turn = s->n_picked++;
    pthread_mutex_unlock(&m->lock);
    return l;
}

muster_status muster_service_list(struct muster_service *s, struct muster_instances **out,
                                  struct muster_error *e)
{
    uint64_t turn = 0;
    struct inst_list *l = hold(s, &turn);
    struct given_list *g = cmem_zalloc(sizeof(*g) + l->n * sizeof(g->items[0]));
    if (g == NULL) {
        inst_list_unref(l);
        return status_no_memory(e);
    }
    for (size_t k = 0; k < l->n; k++) {
        g->items[k] = l->v[k]->i;
    }
    g->list = l;
    g->pub = (struct muster_instances){.items = g->items,
                                       .n = l->n,
                                       .revision = l->revision,
                                       .stale = l->from_disk || hub_is_lost(s->t.hub)};
    *out = &g->pub;
    return MUSTER_OK;
}

void muster_instances_free(struct muster_instances *l)
{
    if (l != NULL) {
        struct given_list *g = CONTAINER_OF(l, struct given_list, pub);
        inst_list_unref(g->list);
        cmem_free(g);
    }
}

static size_t pick_by(const struct pick_item *v, size_t n, muster_pick_by by, const char *key,
                      uint64_t turn)
{
    switch (by) {
    case MUSTER_PICK_ROUND_ROBIN:
        return (size_t)(turn % n);
    case MUSTER_PICK_HASH:
        return pick_rendezvous(v, n, pick_hash(key, 0));
    default:
        return pick_weighted(v, n, rnd_u64());
    }
}

/* Of those that may be picked; v and from hold room for all. */
static muster_status pick_from(const struct inst_list *l, muster_pick_by by, const char *key,
                               uint64_t turn, struct inst **out)
{
    size_t n = 0;
    struct pick_item *v = cmem_alloc(l->n * sizeof(*v));
    size_t *from = cmem_alloc(l->n * sizeof(*from));
    muster_status rc = v != NULL && from != NULL ? MUSTER_OK : MUSTER_NO_MEMORY;
    for (size_t k = 0; rc == MUSTER_OK && k < l->n; k++) {
        const struct muster_instance *i = &l->v[k]->i;
        if (i->healthy && i->enabled && i->weight > 0) {
            v[n] = (struct pick_item){i->weight, l->v[k]->hash};
            from[n++] = k;
        }
    }
    if (rc == MUSTER_OK && n == 0) {
        rc = MUSTER_NOT_FOUND;
    }
    if (rc == MUSTER_OK) {
        *out = l->v[from[pick_by(v, n, by, key, turn)]];
    }
    cmem_free(v);
    cmem_free(from);
    return rc;
}

muster_status muster_service_pick(struct muster_service *s, muster_pick_by by, const char *key,
                                  struct muster_instance **out, struct muster_error *e)
{
    uint64_t turn = 0;
    struct inst *i = NULL;
    if (by == MUSTER_PICK_HASH && key == NULL) {
        return status_set(e, MUSTER_INVALID, "picking by hash needs a key");
    }
    struct inst_list *l = hold(s, &turn);
    struct given_instance *g = cmem_zalloc(sizeof(*g));
    muster_status rc = g != NULL ? pick_from(l, by, key, turn, &i) : MUSTER_NO_MEMORY;
    if (rc == MUSTER_OK) {
        g->inst = inst_ref(i);
        g->pub = i->i;
        *out = &g->pub;
    } else {
        cmem_free(g);
        (void)status_set(e, rc, rc == MUSTER_NOT_FOUND ? "no healthy instance" : "out of memory");
    }
    inst_list_unref(l);
    return rc;
}

void muster_instance_free(struct muster_instance *i)
{
    if (i != NULL) {
        struct given_instance *g = CONTAINER_OF(i, struct given_instance, pub);
        inst_unref(g->inst);
        cmem_free(g);
    }
}

muster_status muster_service_on_change(struct muster_service *s, muster_service_fn fn, void *user,
                                       struct muster_error *e)
{
    struct muster *m = client_of(s);
    (void)e;
    pthread_mutex_lock(&m->lock);
    hub_wait_callback(&s->t);
    s->fn = fn;
    s->user = user;
    s->is_untold = true;
    pthread_mutex_unlock(&m->lock);
    hub_wake(s->t.hub);
    return MUSTER_OK;
}
