/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/internal/ui: summaries of services and nodes, as Consul's web interface and those who read
 * along with it ask for them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/consul/list.h"

/* Names, told sorted and once each. */
struct names {
    struct buf text;
    struct name {
        size_t at, len;
    } * p;
    size_t n, cap;
};

struct ui_read {
    struct show s;
    struct list_query q;
    struct slice name; /* of the node; empty: all */
    struct consul_read *g;
    struct view *v;
    struct jw w;
    struct buf item;
    /* of the service under way */
    struct names tags, nodes, sources;
    uint64_t n_instances;
    struct show_tally tally;
};

static struct ui_read *begin(struct consul_call *k, enum filter_kind kind)
{
    struct ui_read *u = http_alloc(k->r, sizeof(*u));
    struct list_query q;
    struct consul_read *g = list_query(k, kind, &q) == 0 ? consul_read_new(k) : NULL;
    if (g == NULL) {
        return NULL; /* answered, and the request's memory gone */
    }
    memset(u, 0, sizeof(*u));
    u->g = g;
    u->q = q;
    u->s.datacenter = k->c->datacenter;
    u->s.has_nulls = 1;
    u->name = k->rest;
    u->g->data = u;
    u->g->filter = u->q.filter;
    return u;
}

static void render_begin(struct ui_read *u, struct view *v, struct buf *out)
{
    u->v = v;
    u->g->index = view_compacted(v, SPACE_INSTANCE);
    jw_init(&u->w, out);
}

/* --- names --- */

static void names_add(struct names *l, struct slice s)
{
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->p = mem_realloc(l->p, l->cap * sizeof(*l->p));
    }
    l->p[l->n++] = (struct name){l->text.len, s.len};
    buf_append_slice(&l->text, s);
}

static struct slice name_at(const struct names *l, size_t i)
{
    return slice_of(l->text.p + l->p[i].at, l->p[i].len);
}

static int by_bytes(const void *a, const void *b, void *arg)
{
    const struct names *l = arg;
    const struct name *x = a, *y = b;
    return slice_cmp(slice_of(l->text.p + x->at, x->len), slice_of(l->text.p + y->at, y->len));
}

static void names_write(struct names *l, struct jw *w, const char *key)
{
    jw_key(w, key);
    if (l->n == 0) {
        jw_null(w);
        return;
    }
    qsort_r(l->p, l->n, sizeof(*l->p), by_bytes, l);
    jw_arr(w);
    for (size_t i = 0; i < l->n; i++) {
        if (i == 0 || !slice_eq(name_at(l, i), name_at(l, i - 1))) {
            jw_slice(w, name_at(l, i));
        }
    }
    jw_end(w);
}

static void names_clear(struct names *l)
{
    buf_clear(&l->text);
    l->n = 0;
}

static void names_fini(struct names *l)
{
    buf_fini(&l->text);
    mem_free(l->p);
    *l = (struct names){0};
}

/* --- services --- */

/* What ?filter= is about: the instance as health/service tells it. */
static int takes(struct ui_read *u, const struct instance_name *n, const struct instance_row *row)
{
    struct jw w;
    if (u->g->filter == NULL) {
        return 1;
    }
    buf_clear(&u->item);
    jw_init(&w, &u->item);
    jw_obj(&w);
    show_health(&w, &u->s, u->v, n, row);
    jw_end(&w);
    return list_takes(u->g, buf_slice(&u->item));
}

static int add_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct ui_read *u = arg;
    struct pair_iter it;
    struct slice key, value;
    list_raise(u->g, row->meta.mod_rev);
    if (!consul_sees(u->g, ACCESS_NODE, show_node_name(row)) || !takes(u, n, row)) {
        return 0;
    }
    u->n_instances++;
    names_add(&u->nodes, show_node_name(row));
    tags_begin(&it, row->tags);
    while (tags_next(&it, &value)) {
        names_add(&u->tags, value);
    }
    metadata_begin(&it, row->metadata);
    while (metadata_next(&it, &key, &value)) {
        if (slice_eq(key, SLICE_LIT("external-source")) && value.len != 0) {
            names_add(&u->sources, value);
        }
    }
    show_count(u->v, row, &u->tally);
    return 0;
}

static void put_count(struct jw *w, const char *key, uint64_t n)
{
    jw_key(w, key);
    jw_u64(w, n);
}

static void put_service(struct ui_read *u, struct slice name)
{
    struct jw *w = &u->w;
    jw_obj(w);
    jw_key(w, "Name");
    jw_slice(w, name);
    names_write(&u->tags, w, "Tags");
    names_write(&u->nodes, w, "Nodes");
    put_count(w, "InstanceCount", u->n_instances);
    put_count(w, "ChecksPassing", u->tally.n[CHECK_PASSING]);
    put_count(w, "ChecksWarning", u->tally.n[CHECK_WARNING]);
    put_count(w, "ChecksCritical", u->tally.n[CHECK_CRITICAL]);
    names_write(&u->sources, w, "ExternalSources");
    jw_key(w, "GatewayConfig");
    jw_obj(w);
    jw_end(w);
    jw_end(w);
}

static int on_service(void *arg, const struct service_name *n, const struct service_row *row)
{
    struct ui_read *u = arg;
    list_raise(u->g, row->meta.mod_rev);
    if (row->meta.is_deleted || !consul_sees(u->g, ACCESS_SERVICE, n->service)) {
        return 0;
    }
    names_clear(&u->tags);
    names_clear(&u->nodes);
    names_clear(&u->sources);
    u->n_instances = 0;
    u->tally = (struct show_tally){{0}};
    int rc = view_instances(u->v, n, add_instance, u);
    if (rc == 0 && u->n_instances > 0) {
        put_service(u, n->service);
    }
    return rc;
}

static int render_services(struct consul_read *g, struct view *v, struct buf *out)
{
    struct ui_read *u = g->data;
    struct service_name n = list_service(slice_of(NULL, 0));
    render_begin(u, v, out);
    jw_arr(&u->w);
    int rc = view_services_all(v, n.ns, n.group, on_service, u);
    jw_end(&u->w);
    names_fini(&u->tags);
    names_fini(&u->nodes);
    names_fini(&u->sources);
    buf_fini(&u->item);
    return rc;
}

void consul_ui_services(struct consul_call *k)
{
    struct ui_read *u = begin(k, FILTER_HEALTH);
    if (u != NULL) {
        list_watch_space(u->g, SPACE_SERVICE);
        list_watch_space(u->g, SPACE_INSTANCE);
        consul_read_start(u->g, render_services);
    }
}

/* --- nodes --- */

static int on_place(void *arg, struct slice node, struct slice id, const struct place_row *p)
{
    struct ui_read *u = arg;
    struct instance_name n = {p->ns, p->group, p->service, p->cluster, p->id};
    struct instance_row row;
    struct jw w;
    (void)node;
    (void)id;
    list_raise(u->g, p->meta.mod_rev);
    if (p->meta.is_deleted || view_instance(u->v, &n, &row) != 0 ||
        !consul_sees(u->g, ACCESS_SERVICE, n.service)) {
        return 0;
    }
    list_raise(u->g, row.meta.mod_rev);
    buf_append(&u->item, ",", u->item.p[u->item.len - 1] != '[');
    jw_init(&w, &u->item);
    jw_obj(&w);
    show_service(&w, &u->s, &n, &row, 0);
    jw_end(&w);
    return 0;
}

static int on_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct ui_read *u = arg;
    struct jw w;
    list_raise(u->g, row->meta.mod_rev);
    if (row->meta.is_deleted || !consul_sees_check(u->g, n, row)) {
        return 0;
    }
    buf_append(&u->item, ",", u->item.p[u->item.len - 1] != '[');
    jw_init(&w, &u->item);
    jw_obj(&w);
    show_check(&w, &u->s, u->v, n, row);
    jw_end(&w);
    return 0;
}

/* Into u->item. */
static int put_node(struct ui_read *u, struct slice name, const struct node_row *row)
{
    struct jw w;
    buf_clear(&u->item);
    jw_init(&w, &u->item);
    jw_obj(&w);
    show_node(&w, &u->s, name, row);
    jw_end(&w);
    u->item.len--; /* the object stays open */
    buf_append_str(&u->item, ",\"Services\":[");
    int rc = view_places(u->v, name, on_place, u);
    buf_append_str(&u->item, "],\"Checks\":[");
    rc = rc != 0 ? rc : view_checks(u->v, name, on_check, u);
    buf_append_str(&u->item, "]}");
    return rc;
}

static int on_node(void *arg, struct slice name, const struct node_row *row)
{
    struct ui_read *u = arg;
    list_raise(u->g, row->meta.mod_rev);
    if (row->meta.is_deleted || !list_has_meta(&u->q, row) ||
        !consul_sees(u->g, ACCESS_NODE, name)) {
        return 0;
    }
    int rc = put_node(u, name, row);
    if (rc == 0 && list_takes(u->g, buf_slice(&u->item))) {
        jw_json(&u->w, buf_slice(&u->item));
    }
    return rc;
}

static int render_nodes(struct consul_read *g, struct view *v, struct buf *out)
{
    struct ui_read *u = g->data;
    render_begin(u, v, out);
    jw_arr(&u->w);
    int rc = view_nodes(v, on_node, u);
    jw_end(&u->w);
    buf_fini(&u->item);
    return rc;
}

static void watch_nodes(struct consul_read *g)
{
    static const enum key_space spaces[] = {SPACE_NODE, SPACE_PLACE, SPACE_INSTANCE, SPACE_CHECK};
    for (size_t i = 0; i < N_ELEMENTS(spaces); i++) {
        list_watch_space(g, spaces[i]);
    }
}

void consul_ui_nodes(struct consul_call *k)
{
    struct ui_read *u = begin(k, FILTER_NODE);
    if (u != NULL) {
        watch_nodes(u->g);
        consul_read_start(u->g, render_nodes);
    }
}

static int render_node(struct consul_read *g, struct view *v, struct buf *out)
{
    struct ui_read *u = g->data;
    struct node_row row;
    render_begin(u, v, out);
    int rc = consul_sees(g, ACCESS_NODE, u->name) ? view_node(v, u->name, &row) : MU_E_NOT_FOUND;
    if (rc != 0) {
        g->status = rc == MU_E_NOT_FOUND ? 404 : g->status;
        list_raise(g, view_revision(v));
        return rc == MU_E_NOT_FOUND ? 0 : rc;
    }
    list_raise(g, row.meta.mod_rev);
    rc = put_node(u, u->name, &row);
    buf_append_slice(out, buf_slice(&u->item));
    buf_fini(&u->item);
    return rc;
}

void consul_ui_node(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing node name");
        return;
    }
    struct ui_read *u = begin(k, FILTER_NONE);
    if (u != NULL) {
        watch_nodes(u->g);
        consul_read_start(u->g, render_node);
    }
}
