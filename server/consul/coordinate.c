/* SPDX-License-Identifier: Apache-2.0 */
/* Network coordinates (https://developer.hashicorp.com/consul/api-docs/coordinate). Nobody measures
 * them here: a node stands where it was told to, or where all stand. */
#include <jansson.h>
#include <string.h>

#include "base/json_read.h"
#include "server/consul/body.h"
#include "server/consul/change.h"
#include "server/consul/list.h"

enum { COORDINATE_MAX = 4096, DIMENSIONS = 8 };

static const char origin[] = "{\"Vec\":[0,0,0,0,0,0,0,0],\"Error\":1.5,\"Adjustment\":0,"
                             "\"Height\":0.00001}";

struct places {
    struct consul_read *g;
    struct view *v;
    struct slice wanted; /* node; empty: all */
    struct jw w;
    size_t n;
};

static int on_node(void *arg, struct slice name, const struct node_row *row)
{
    struct places *p = arg;
    struct jw *w = &p->w;
    struct record_row at;
    list_raise(p->g, row->meta.mod_rev);
    if (row->meta.is_deleted || (p->wanted.len != 0 && !slice_eq(p->wanted, name)) ||
        !consul_sees(p->g, ACCESS_NODE, name)) {
        return 0;
    }
    int rc = view_record(p->v, NEAR_COORDINATES, name, &at);
    list_raise(p->g, rc == 0 ? at.meta.mod_rev : 0);
    p->n++;
    jw_obj(w);
    jw_key(w, "Node");
    jw_slice(w, name);
    jw_key(w, "Segment");
    jw_str(w, "");
    jw_key(w, "Coord");
    jw_json(w, rc == 0 ? at.body : slice_str(origin));
    jw_end(w);
    return 0;
}

static int render(struct consul_read *g, struct view *v, struct buf *out)
{
    struct places p = {.g = g, .v = v, .wanted = *(const struct slice *)g->data};
    g->index = view_compacted(v, SPACE_INSTANCE);
    jw_init(&p.w, out);
    jw_arr(&p.w);
    int rc = view_nodes(v, on_node, &p);
    jw_end(&p.w);
    if (p.wanted.len != 0 && p.n == 0) {
        g->status = 404;
        buf_clear(out);
    }
    return rc;
}

static void read_some(struct consul_call *k, struct slice wanted)
{
    struct slice *node = http_alloc(k->r, sizeof(*node));
    struct buf b;
    *node = wanted;
    struct consul_read *g = consul_read_new(k);
    if (g == NULL) {
        return;
    }
    g->data = node;
    buf_init(&b);
    buf_append_byte(&b, SPACE_NODE);
    list_watch(g, &b, 1);
    buf_fini(&b);
    consul_record_watch(g, NEAR_COORDINATES);
    consul_read_start(g, render);
}

void consul_coordinate_nodes(struct consul_call *k)
{
    read_some(k, slice_of(NULL, 0));
}

void consul_coordinate_node(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing node name");
        return;
    }
    if (consul_may(k, ACCESS_NODE, k->rest, ACCESS_READ)) {
        read_some(k, k->rest);
    }
}

void consul_coordinate_datacenters(struct consul_call *k)
{
    struct jw w;
    jw_init(&w, http_scratch(k->r));
    jw_arr(&w);
    jw_obj(&w);
    jw_key(&w, "Datacenter");
    jw_str(&w, k->c->datacenter);
    jw_key(&w, "AreaID");
    jw_str(&w, "wan");
    jw_key(&w, "Coordinates");
    jw_arr(&w);
    jw_obj(&w);
    jw_key(&w, "Node");
    jw_str(&w, core_node_name(k->c->core));
    jw_key(&w, "Segment");
    jw_str(&w, "");
    jw_key(&w, "Coord");
    jw_json(&w, slice_str(origin));
    jw_end(&w);
    jw_end(&w);
    jw_end(&w);
    jw_end(&w);
    consul_json(k->r, 200, buf_slice(w.out));
}

/* --- telling --- */

struct told {
    struct slice node, coord;
};
static const struct body_field fields[] = {
    {"Node", BODY_STR, offsetof(struct told, node), NULL},
    {"Coord", BODY_JSON, offsetof(struct told, coord), NULL},
    {"Segment", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
    {"Datacenter", BODY_SKIPPED, 0, NULL},
};
static const struct body_table table = {"structs.CoordinateUpdateRequest", sizeof(struct told),
                                        fields, N_ELEMENTS(fields)};

/* Of a node that is not there nothing is kept, and nothing said. */
static int plan(struct consul_change *h, struct view *v)
{
    const struct told *t = h->data;
    struct node_row row;
    if (view_node(v, t->node, &row) != 0) {
        http_respond(h->k.r, 200, NULL, slice_of(NULL, 0));
        return -1;
    }
    consul_change_set(h, NEAR_COORDINATES, t->node, t->coord);
    return 0;
}

static void written(struct consul_write *w)
{
    if (consul_change_outcome(w) == 1) {
        http_respond(w->r, 200, NULL, slice_of(NULL, 0));
    }
}

/* Its numbers: 0, or what was wrong was answered. */
static int check_coordinate(struct consul_call *k, struct slice text)
{
    static const char *const names[] = {"Error", "Adjustment", "Height"};
    json_t *coord = json_loadb((const char *)text.p, text.len, 0, NULL), *v, *x;
    json_t *vec = json_object_get(coord, "Vec");
    const char *wrong = vec != NULL && !json_is_array(vec) ? "Vec" : NULL;
    size_t i;
    json_array_foreach (vec, i, x) {
        wrong = json_is_number(x) ? wrong : "Vec";
    }
    for (i = 0; i < N_ELEMENTS(names) && wrong == NULL; i++) {
        v = json_object_get(coord, names[i]);
        wrong = v != NULL && !json_is_number(v) ? names[i] : NULL;
    }
    size_t n = json_array_size(vec);
    json_decref(coord);
    if (wrong != NULL) {
        consul_text(k->r, 400, "Request decode failed: %s of a coordinate is told in numbers",
                    wrong);
    } else if (n != DIMENSIONS) {
        consul_text(k->r, 500, "incompatible coordinate");
    }
    return wrong != NULL || n != DIMENSIONS ? -1 : 0;
}

void consul_coordinate_update(struct consul_call *k)
{
    struct told *t = http_alloc(k->r, sizeof(*t));
    *t = (struct told){0};
    if (consul_dc(k) != 0 || consul_body(k->r, &table, t) != 0) {
        return;
    }
    if (t->node.len == 0 || t->node.len > KEY_NAME_MAX / 2 || t->coord.len == 0 ||
        t->coord.len > COORDINATE_MAX || t->coord.p[0] != '{') {
        consul_text(k->r, 400, "Node and Coord are required: an object of at most %d bytes",
                    COORDINATE_MAX);
        return;
    }
    if (check_coordinate(k, t->coord) == 0 && consul_may(k, ACCESS_NODE, t->node, ACCESS_WRITE)) {
        consul_change_start(consul_change_new(k, t), plan, written);
    }
}
