/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog (https://developer.hashicorp.com/consul/api-docs/catalog). Reading: what an answer is
 * made of is watched, and nothing else. */
#include <string.h>

#include "base/wire.h"
#include "server/consul/list.h"
#include "server/consul/tag_set.h"

struct catalog_read {
    struct show s;
    struct list_query q;
    struct slice name; /* service or node */
    struct consul_read *g;
    struct view *v;
    struct list list;
    struct jw w;
    /* of catalog/services: the tags of the service under way, once each */
    struct tag_set tags;
};

static struct catalog_read *begin(struct consul_call *k, enum filter_kind kind)
{
    struct catalog_read *c = http_alloc(k->r, sizeof(*c));
    struct list_query q;
    memset(c, 0, sizeof(*c));
    if (list_query(k, kind, &q) != 0) {
        return NULL;
    }
    struct consul_read *g = consul_read_new(k);
    if (g == NULL) {
        return NULL;
    }
    c->q = q;
    c->s.datacenter = k->c->datacenter;
    c->name = k->rest;
    c->g = g;
    g->data = c;
    g->filter = q.filter;
    return c;
}

static void render_begin(struct catalog_read *c, struct view *v)
{
    c->v = v;
    c->g->index = view_compacted(v, SPACE_INSTANCE);
    list_init(&c->list, c->g, v, &c->q);
}

static void render_end(struct catalog_read *c, struct buf *out)
{
    list_write(&c->list, out);
    list_fini(&c->list);
}

/* --- nodes --- */

static int on_node(void *arg, struct slice name, const struct node_row *row)
{
    struct catalog_read *c = arg;
    struct jw w;
    list_raise(c->g, row->meta.mod_rev);
    if (row->meta.is_deleted || !list_has_meta(&c->q, row) ||
        !consul_sees(c->g, ACCESS_NODE, name)) {
        return 0;
    }
    list_begin(&c->list, &w, name, slice_of(NULL, 0));
    jw_obj(&w);
    show_node(&w, &c->s, name, row);
    jw_end(&w);
    list_end(&c->list);
    return 0;
}

static int render_nodes(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    render_begin(c, v);
    int rc = view_nodes(v, on_node, c);
    render_end(c, out);
    return rc;
}

void consul_catalog_nodes(struct consul_call *k)
{
    struct catalog_read *c = begin(k, FILTER_NODE);
    if (c != NULL) {
        list_watch_space(c->g, SPACE_NODE);
        consul_read_start(c->g, render_nodes);
    }
}

/* --- services --- */

static int takes_entry(struct catalog_read *c, const struct instance_name *n,
                       const struct instance_row *row)
{
    struct buf text;
    struct jw w;
    if (c->g->filter == NULL) {
        return 1;
    }
    buf_init(&text);
    jw_init(&w, &text);
    jw_obj(&w);
    show_entry(&w, &c->s, c->v, n, row);
    jw_end(&w);
    int is_taken = list_takes(c->g, buf_slice(&text));
    buf_fini(&text);
    return is_taken;
}

static int add_tags(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct catalog_read *c = arg;
    struct pair_iter it;
    struct slice tag;
    int asks_node = c->g->filter != NULL || c->q.n_meta > 0; /* what it says tells of the node */
    if ((asks_node && !consul_sees(c->g, ACCESS_NODE, show_node_name(row))) ||
        !list_is_on(&c->q, c->v, row) || !takes_entry(c, n, row)) {
        return 0;
    }
    c->list.n++; /* there is one */
    tags_begin(&it, row->tags);
    while (tags_next(&it, &tag)) {
        tag_set_add(&c->tags, tag);
    }
    return 0;
}

static int on_service(void *arg, const struct service_name *n, const struct service_row *row)
{
    struct catalog_read *c = arg;
    list_raise(c->g, row->def_rev);
    if (row->meta.is_deleted || !consul_sees(c->g, ACCESS_SERVICE, n->service)) {
        return 0;
    }
    c->list.n = 0;
    tag_set_clear(&c->tags);
    int rc = view_instances(c->v, n, add_tags, c);
    if (rc == 0 && c->list.n > 0) {
        jw_key_slice(&c->w, n->service);
        tag_set_write(&c->tags, &c->w);
    }
    return rc;
}

static int render_services(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    struct service_name n = list_service(slice_of(NULL, 0));
    render_begin(c, v);
    jw_init(&c->w, out);
    tag_set_init(&c->tags);
    jw_obj(&c->w);
    int rc = view_services_all(v, n.ns, n.group, on_service, c);
    jw_end(&c->w);
    tag_set_fini(&c->tags);
    list_fini(&c->list);
    return rc;
}

void consul_catalog_services(struct consul_call *k)
{
    struct catalog_read *c = begin(k, FILTER_SERVICE_NODE);
    struct buf b;
    if (c == NULL) {
        return;
    }
    struct service_name n = list_service(slice_of(NULL, 0));
    buf_init(&b);
    key_service_prefix(&b, n.ns, n.group, slice_of(NULL, 0));
    list_watch(c->g, &b, 1);
    buf_fini(&b);
    consul_read_start(c->g, render_services);
}

/* --- one service --- */

static int sees(struct catalog_read *c, const struct instance_name *n,
                const struct instance_row *row)
{
    return consul_sees(c->g, ACCESS_SERVICE, n->service) &&
           consul_sees(c->g, ACCESS_NODE, show_node_name(row));
}

static int on_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct catalog_read *c = arg;
    struct node_row node;
    struct jw w;
    list_raise(c->g, row->def_rev);
    if (row->node.len != 0 && view_node(c->v, row->node, &node) == 0) {
        list_raise(c->g, node.meta.mod_rev); /* the entry tells its address and metadata */
    }
    if (!list_has_tags(&c->q, row) || !list_is_on(&c->q, c->v, row) || !sees(c, n, row)) {
        return 0;
    }
    list_begin(&c->list, &w, show_node_name(row), show_service_id(n, row));
    jw_obj(&w);
    show_entry(&w, &c->s, c->v, n, row);
    jw_end(&w);
    list_end(&c->list);
    return 0;
}

static int render_service(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    struct service_name n = list_service(c->name);
    struct service_row row;
    render_begin(c, v);
    int rc = view_service_last(v, &n, &row);
    if (rc == 0) {
        list_raise(g, row.def_rev);
        rc = view_instances(v, &n, on_instance, c);
    }
    render_end(c, out);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

/* Its row, and its instances. */
static void watch_service(struct consul_read *g, struct slice name)
{
    struct service_name n = list_service(name);
    struct buf b;
    buf_init(&b);
    key_service(&b, &n);
    list_watch(g, &b, 0);
    buf_clear(&b);
    key_instance_prefix(&b, &n);
    list_watch(g, &b, 1);
    buf_fini(&b);
}

void consul_catalog_service(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing service name");
        return;
    }
    struct catalog_read *c = begin(k, FILTER_SERVICE_NODE);
    if (c != NULL) {
        watch_service(c->g, c->name);
        consul_read_start(c->g, render_service);
    }
}

/* --- one node --- */

struct one_place {
    struct catalog_read *c;
    struct jw *w;
    int is_list;
};

static int on_place(void *arg, struct slice node, struct slice id, const struct place_row *p)
{
    struct one_place *x = arg;
    struct instance_name n = {p->ns, p->group, p->service, p->cluster, p->id};
    struct instance_row row;
    (void)node;
    list_raise(x->c->g, p->meta.mod_rev);
    if (p->meta.is_deleted || view_instance(x->c->v, &n, &row) != 0 ||
        !consul_sees(x->c->g, ACCESS_SERVICE, n.service)) {
        return 0;
    }
    struct buf text;
    struct jw w;
    buf_init(&text);
    jw_init(&w, &text);
    jw_obj(&w);
    show_service(&w, &x->c->s, &n, &row, 0);
    jw_end(&w);
    if (list_takes(x->c->g, buf_slice(&text))) {
        if (!x->is_list) {
            jw_key_slice(x->w, id);
        }
        jw_json(x->w, buf_slice(&text));
    }
    buf_fini(&text);
    return 0;
}

static int render_node_of(struct consul_read *g, struct view *v, struct buf *out, int is_list)
{
    struct catalog_read *c = g->data;
    struct jw w;
    struct node_row row;
    struct one_place x = {c, &w, is_list};
    render_begin(c, v);
    jw_init(&w, out);
    int rc = consul_sees(g, ACCESS_NODE, c->name) ? view_node(v, c->name, &row) : MU_E_NOT_FOUND;
    if (rc != 0) {
        if (is_list) {
            buf_append_str(out, "{\"Node\":null,\"Services\":null}");
        } else {
            jw_null(&w);
        }
        list_raise(g, rc == MU_E_NOT_FOUND ? view_revision(v) : 0);
        return rc == MU_E_NOT_FOUND ? 0 : rc;
    }
    list_raise(g, row.meta.mod_rev);
    jw_obj(&w);
    jw_key(&w, "Node");
    jw_obj(&w);
    show_node(&w, &c->s, c->name, &row);
    jw_end(&w);
    jw_key(&w, "Services");
    if (is_list) {
        jw_arr(&w);
    } else {
        jw_obj(&w);
    }
    rc = view_places(v, c->name, on_place, &x);
    jw_end(&w);
    jw_end(&w);
    return rc;
}

static int render_node(struct consul_read *g, struct view *v, struct buf *out)
{
    return render_node_of(g, v, out, 0);
}

static int render_node_services(struct consul_read *g, struct view *v, struct buf *out)
{
    return render_node_of(g, v, out, 1);
}

static void read_node(struct consul_call *k, consul_render_fn render)
{
    struct buf b;
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing node name");
        return;
    }
    struct catalog_read *c = begin(k, FILTER_SERVICE);
    if (c == NULL) {
        return;
    }
    buf_init(&b);
    key_node(&b, c->name);
    list_watch(c->g, &b, 0);
    buf_clear(&b);
    key_place_prefix(&b, c->name);
    list_watch(c->g, &b, 1);
    buf_fini(&b);
    consul_read_start(c->g, render);
}

void consul_catalog_node(struct consul_call *k)
{
    read_node(k, render_node);
}

void consul_catalog_node_services(struct consul_call *k)
{
    read_node(k, render_node_services);
}

void consul_catalog_datacenters(struct consul_call *k)
{
    struct jw w;
    jw_init(&w, http_scratch(k->r));
    jw_arr(&w);
    jw_str(&w, k->c->datacenter);
    jw_end(&w);
    consul_json(k->r, 200, buf_slice(w.out));
}

/* --- health (https://developer.hashicorp.com/consul/api-docs/health) --- */

static int on_health(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct catalog_read *c = arg;
    struct jw w;
    list_raise(c->g, row->meta.mod_rev);
    if (!list_has_tags(&c->q, row) || !list_is_on(&c->q, c->v, row) || !sees(c, n, row) ||
        (c->q.is_passing && show_worst(c->v, row) != CHECK_PASSING)) {
        return 0;
    }
    list_begin(&c->list, &w, show_node_name(row), show_service_id(n, row));
    jw_obj(&w);
    show_health(&w, &c->s, c->v, n, row);
    jw_end(&w);
    list_end(&c->list);
    return 0;
}

static int render_instances(struct consul_read *g, struct view *v, view_instance_fn fn)
{
    struct catalog_read *c = g->data;
    struct service_name n = list_service(c->name);
    struct service_row row;
    int rc = view_service_last(v, &n, &row);
    if (rc == 0) {
        list_raise(g, row.meta.mod_rev);
        return view_instances(v, &n, fn, c);
    }
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

static int render_health(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    render_begin(c, v);
    int rc = render_instances(g, v, on_health);
    render_end(c, out);
    return rc;
}

static void read_service(struct consul_call *k, enum filter_kind kind, consul_render_fn render)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing service name");
        return;
    }
    struct catalog_read *c = begin(k, kind);
    if (c != NULL) {
        watch_service(c->g, c->name);
        consul_read_start(c->g, render);
    }
}

void consul_health_service(struct consul_call *k)
{
    read_service(k, FILTER_HEALTH, render_health);
}

/* --- checks --- */

static int add_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct catalog_read *c = arg;
    struct jw w;
    list_raise(c->g, row->meta.mod_rev);
    if (row->meta.is_deleted || !consul_sees_check(c->g, n, row)) {
        return 0;
    }
    list_begin(&c->list, &w, n->node, n->id);
    jw_obj(&w);
    show_check(&w, &c->s, c->v, n, row);
    jw_end(&w);
    list_end(&c->list);
    return 0;
}

static int on_service_checks(void *arg, const struct instance_name *n,
                             const struct instance_row *row)
{
    struct catalog_read *c = arg;
    (void)n;
    list_raise(c->g, row->meta.mod_rev);
    return row->node.len == 0 || !list_is_on(&c->q, c->v, row)
               ? 0
               : view_checks_of(c->v, row->node, row->service_id, add_check, c);
}

static int render_service_checks(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    render_begin(c, v);
    int rc = render_instances(g, v, on_service_checks);
    render_end(c, out);
    return rc;
}

void consul_health_checks(struct consul_call *k)
{
    read_service(k, FILTER_CHECK, render_service_checks);
}

static int render_node_checks(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    render_begin(c, v);
    int rc = view_checks(v, c->name, add_check, c);
    render_end(c, out);
    return rc;
}

void consul_health_node(struct consul_call *k)
{
    struct buf b;
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing node name");
        return;
    }
    struct catalog_read *c = begin(k, FILTER_CHECK);
    if (c == NULL) {
        return;
    }
    buf_init(&b);
    key_check_prefix(&b, c->name);
    list_watch(c->g, &b, 1);
    buf_fini(&b);
    consul_read_start(c->g, render_node_checks);
}

static int add_check_in_state(void *arg, const struct check_name *n, const struct check_row *row)
{
    static const char *const names[] = {"passing", "warning", "critical"};
    struct catalog_read *c = arg;
    struct node_row node = {0};
    list_raise(c->g, row->meta.mod_rev);
    int is_asked =
        slice_eq(c->name, SLICE_LIT("any")) || slice_eq(c->name, slice_str(names[row->status]));
    if (!is_asked || row->meta.is_deleted ||
        (c->q.n_meta != 0 &&
         (view_node(c->v, n->node, &node) != 0 || !list_has_meta(&c->q, &node)))) {
        return 0;
    }
    return add_check(c, n, row);
}

static int render_state(struct consul_read *g, struct view *v, struct buf *out)
{
    struct catalog_read *c = g->data;
    render_begin(c, v);
    int rc = view_checks(v, slice_of(NULL, 0), add_check_in_state, c);
    render_end(c, out);
    return rc;
}

void consul_health_state(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing check state");
        return;
    }
    struct catalog_read *c = begin(k, FILTER_CHECK);
    if (c != NULL) {
        list_watch_space(c->g, SPACE_CHECK);
        consul_read_start(c->g, render_state);
    }
}
