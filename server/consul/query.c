/* SPDX-License-Identifier: Apache-2.0 */
/* Prepared queries (https://developer.hashicorp.com/consul/api-docs/query). */
#include "server/query/query.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wire.h"
#include "server/consul/change.h"
#include "server/consul/list.h"
#include "server/consul/prepared.h"

static struct slice claim_of(struct consul_call *k, struct slice name, int is_template)
{
    struct buf b;
    buf_init(&b);
    prepared_claim(name, is_template, &b);
    struct slice s = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
    return s;
}

/* --- changing --- */

/* A name belongs to one query; that of a query that went with its session is free. */
static int claim(struct consul_change *h, struct view *v, const struct prepared *g)
{
    struct record_row row;
    struct query other;
    struct slice key = claim_of(&h->k, g->name, g->template.type.len != 0);
    int rc = key.len != 0 ? view_record(v, QUERY_NAMES, key, &row) : MU_E_NOT_FOUND;
    if (key.len == 0) {
        return 0;
    }
    if (rc == 0 && !slice_eq(row.body, slice_str(g->new_id)) &&
        query_get(v, row.body, &other) == 0) {
        query_free(&other);
        consul_text(h->k.r, 500, "name '%.*s' aliases an existing query name", SLICE_FMT(g->name));
        return -1;
    }
    consul_change_cas(h, QUERY_NAMES, key, slice_str(g->new_id), rc == 0 ? row.meta.mod_rev : 0);
    return 0;
}

static int may_write(struct consul_change *h, struct slice name)
{
    return consul_may(&h->k, ACCESS_QUERY, name, ACCESS_WRITE);
}

static int session_is_there(struct consul_change *h, struct view *v, struct slice session)
{
    struct session_row row;
    if (session.len == 0 || view_session(v, session, &row) == 0) {
        return 1;
    }
    if (consul_is_uuid(session)) {
        consul_text(h->k.r, 500, "invalid session \"%.*s\"", SLICE_FMT(session));
    } else {
        consul_text(h->k.r, 500, "invalid session: index error: UUID must be 36 characters");
    }
    return 0;
}

static int plan_create(struct consul_change *h, struct view *v)
{
    struct prepared *g = h->data;
    if (!may_write(h, g->name) || !session_is_there(h, v, g->session) || claim(h, v, g) != 0) {
        return -1;
    }
    consul_change_cas(h, QUERIES, slice_str(g->new_id), g->text, 0);
    return 0;
}

/* The query that is changed; its old name is let go when it is another one. */
static int find_old(struct consul_change *h, struct view *v, struct query *out,
                    struct slice *claimed)
{
    int rc = query_get(v, h->k.rest, out);
    if (rc == MU_E_NOT_FOUND) {
        consul_text(h->k.r, 500, "Cannot modify non-existent prepared query: '%.*s'",
                    SLICE_FMT(h->k.rest));
        return -1;
    }
    if (rc != 0) {
        consul_fail(h->k.r, rc, NULL);
        return -1;
    }
    struct slice name = query_text(out, NULL, "Name");
    *claimed = claim_of(&h->k, name, query_text(out, "Template", "Type").len != 0);
    if (!may_write(h, name)) {
        query_free(out);
        return -1;
    }
    return 0;
}

static int plan_update(struct consul_change *h, struct view *v)
{
    struct prepared *g = h->data;
    struct query old;
    struct slice had;
    if (find_old(h, v, &old, &had) != 0) {
        return -1;
    }
    mu_rev rev = old.mod_rev;
    query_free(&old);
    if (!may_write(h, g->name) || !session_is_there(h, v, g->session) || claim(h, v, g) != 0) {
        return -1;
    }
    if (had.len != 0 && !slice_eq(had, claim_of(&h->k, g->name, g->template.type.len != 0))) {
        consul_change_delete(h, QUERY_NAMES, had);
    }
    consul_change_cas(h, QUERIES, h->k.rest, g->text, rev);
    return 0;
}

static int plan_delete(struct consul_change *h, struct view *v)
{
    struct query old;
    struct slice had;
    if (find_old(h, v, &old, &had) != 0) {
        return -1;
    }
    consul_change_delete_cas(h, QUERIES, h->k.rest, old.mod_rev);
    if (had.len != 0) {
        consul_change_delete(h, QUERY_NAMES, had);
    }
    query_free(&old);
    return 0;
}

static void changed(struct consul_write *w)
{
    const struct consul_change *h = w->data;
    const struct prepared *g = h->data;
    struct jw j;
    int rc = consul_change_outcome(w);
    if (rc == 0) {
        consul_text(w->r, 500, "somebody else changed it, or took the name, at the same time");
    } else if (rc == 1 && g != NULL && g->id.len == 0 && h->k.rest.len == 0) {
        jw_init(&j, http_scratch(w->r));
        jw_obj(&j);
        jw_key(&j, "ID");
        jw_str(&j, g->new_id);
        jw_end(&j);
        consul_json(w->r, 200, buf_slice(j.out));
    } else if (rc == 1) {
        http_respond(w->r, 200, NULL, slice_of(NULL, 0));
    }
}

static void keep_text(struct consul_call *k, struct prepared *g)
{
    struct buf b;
    buf_init(&b);
    prepared_text(g, &b);
    g->text = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
}

/* The query that is to be changed is named by its id. */
static int has_id(struct consul_call *k)
{
    int has = consul_is_uuid(k->rest);
    if (!has) {
        consul_text(k->r, 500,
                    "Prepared Query lookup failed: failed prepared query lookup: index error: "
                    "UUID must be 36 characters");
    }
    return has;
}

static struct prepared *read_given(struct consul_call *k)
{
    struct err e = {0};
    struct prepared *g = http_alloc(k->r, sizeof(*g));
    memset(g, 0, sizeof(*g));
    if (consul_dc(k) != 0 || consul_body(k->r, &prepared_table, g) != 0) {
        return NULL;
    }
    if (prepared_check(g, &e) != 0) {
        consul_text(k->r, 500, "%s", e.text);
        return NULL;
    }
    return g;
}

void consul_query_create(struct consul_call *k)
{
    struct prepared *g = read_given(k);
    if (g == NULL) {
        return;
    }
    if (g->id.len != 0) {
        consul_text(k->r, 500, "ID must be empty when creating a new prepared query");
        return;
    }
    consul_uuid(g->new_id);
    keep_text(k, g);
    consul_change_start(consul_change_new(k, g), plan_create, changed);
}

void consul_query_put(struct consul_call *k)
{
    struct prepared *g = read_given(k);
    if (g == NULL) {
        return;
    }
    if (!has_id(k)) {
        return;
    }
    memcpy(g->new_id, k->rest.p, UUID_SIZE);
    keep_text(k, g);
    consul_change_start(consul_change_new(k, g), plan_update, changed);
}

void consul_query_delete(struct consul_call *k)
{
    if (consul_dc(k) == 0 && has_id(k)) {
        consul_change_start(consul_change_new(k, NULL), plan_delete, changed);
    }
}

/* --- reading --- */

struct asked {
    struct slice id; /* or name */
    uint64_t limit;
    int explains, is_mesh;
    /* while it runs */
    struct consul_read *g;
    struct view *v;
    struct show s;
    struct jw w;
    size_t n;
    struct buf *items;
};

static void tell(struct asked *x, const struct query *q)
{
    char *text = json_dumps(q->doc, JSON_COMPACT);
    struct record_row row = {.meta = {.create_rev = q->create_rev, .mod_rev = q->mod_rev},
                             .body = slice_str(text)};
    consul_record_show(&x->w, &row);
    free(text);
}

static int on_query(void *arg, struct slice id, const struct record_row *row)
{
    struct asked *x = arg;
    struct query q;
    list_raise(x->g, row->meta.mod_rev);
    if (!row->meta.is_deleted && query_get(x->v, id, &q) == 0) {
        if (consul_sees(x->g, ACCESS_QUERY, query_text(&q, NULL, "Name"))) {
            tell(x, &q);
        }
        query_free(&q);
    }
    return 0;
}

static int render_list(struct consul_read *g, struct view *v, struct buf *out)
{
    struct asked *x = g->data;
    x->g = g;
    x->v = v;
    g->index = view_compacted(v, SPACE_RECORD);
    jw_init(&x->w, out);
    jw_arr(&x->w);
    int rc = view_records(v, QUERIES, on_query, x);
    jw_end(&x->w);
    return rc;
}

static int not_found(struct consul_read *g, struct buf *out)
{
    buf_clear(out);
    buf_append_str(out, "Query not found");
    g->status = 404;
    g->content_type = "text/plain; charset=utf-8";
    return 0;
}

static int render_one(struct consul_read *g, struct view *v, struct buf *out)
{
    struct asked *x = g->data;
    struct query q;
    x->g = g;
    int rc = query_get(v, x->id, &q);
    g->index = view_revision(v);
    if (rc == 0 && !consul_sees(g, ACCESS_QUERY, query_text(&q, NULL, "Name"))) {
        query_free(&q);
        rc = MU_E_DENIED;
    }
    if (rc != 0) {
        return rc == MU_E_NOT_FOUND ? not_found(g, out) : rc;
    }
    g->index = q.mod_rev;
    jw_init(&x->w, out);
    jw_arr(&x->w);
    tell(x, &q);
    jw_end(&x->w);
    query_free(&q);
    return 0;
}

static int on_found(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct asked *x = arg;
    struct jw w;
    if (!consul_sees(x->g, ACCESS_SERVICE, n->service) ||
        !consul_sees(x->g, ACCESS_NODE, show_node_name(row))) {
        return 0;
    }
    x->items = mem_realloc(x->items, (x->n + 1) * sizeof(*x->items));
    buf_init(&x->items[x->n]);
    jw_init(&w, &x->items[x->n++]);
    jw_obj(&w);
    jw_key(&w, "Node");
    jw_obj(&w);
    show_node_of(&w, &x->s, x->v, row);
    jw_end(&w);
    jw_key(&w, "Service");
    jw_obj(&w);
    show_service(&w, &x->s, n, row, 0);
    jw_end(&w);
    jw_key(&w, "Checks");
    jw_arr(&w);
    (void)show_checks_of(&w, &x->s, x->v, n, row);
    jw_end(&w);
    jw_end(&w);
    return 0;
}

/* In a new order each time, so that the load is shared. */
static void tell_nodes(struct asked *x)
{
    jw_arr(&x->w);
    for (size_t left = x->n; left > 0; left--) {
        size_t i = (size_t)rnd_below(left);
        if (x->limit == 0 || x->n - left < x->limit) {
            jw_json(&x->w, buf_slice(&x->items[i]));
        }
        buf_fini(&x->items[i]);
        x->items[i] = x->items[left - 1];
    }
    jw_end(&x->w);
    mem_free(x->items);
    x->items = NULL;
    x->n = 0;
}

/* How the answer came to be, as those of queries tell it. */
static void tell_state(struct asked *x)
{
    struct core_glance look;
    core_glance(x->g->c->core, &look);
    jw_key(&x->w, "Index");
    jw_u64(&x->w, 0);
    jw_key(&x->w, "LastContact");
    jw_u64(&x->w, 0);
    jw_key(&x->w, "KnownLeader");
    jw_bool(&x->w, look.has_leader);
    jw_key(&x->w, "ConsistencyLevel");
    jw_str(&x->w, consul_read_level(x->g));
}

static int execute(struct asked *x, const struct query *q)
{
    char *dns = json_dumps(json_object_get(q->doc, "DNS"), JSON_COMPACT);
    int rc = x->is_mesh ? 0 : query_run(x->v, q, on_found, x); /* nothing is a member of a mesh */
    jw_obj(&x->w);
    jw_key(&x->w, "Service");
    jw_slice(&x->w, query_text(q, "Service", "Service"));
    jw_key(&x->w, "Nodes");
    tell_nodes(x);
    jw_key(&x->w, "DNS");
    jw_json(&x->w, slice_str(dns));
    jw_key(&x->w, "Datacenter");
    jw_str(&x->w, x->s.datacenter);
    jw_key(&x->w, "Failovers");
    jw_u64(&x->w, 0);
    tell_state(x);
    jw_end(&x->w);
    free(dns);
    return rc;
}

/* A template stands for many queries: its id is that of none of them. */
static int is_template(struct view *v, struct slice id)
{
    struct query q;
    if (!consul_is_uuid(id) || query_get(v, id, &q) != 0) {
        return 0;
    }
    int is = query_text(&q, "Template", "Type").len != 0;
    query_free(&q);
    return is;
}

static int render_run(struct consul_read *g, struct view *v, struct buf *out)
{
    struct asked *x = g->data;
    struct query q;
    x->g = g;
    x->v = v;
    x->s.datacenter = g->c->datacenter;
    g->index = 1;
    if (is_template(v, x->id)) {
        buf_append_str(out, "prepared query templates can only be resolved up by name, not by ID");
        g->status = 500;
        g->content_type = "text/plain; charset=utf-8";
        return 0;
    }
    int rc = query_find(v, x->id, &q);
    if (rc != 0) {
        return rc == MU_E_NOT_FOUND ? not_found(g, out) : rc;
    }
    jw_init(&x->w, out);
    if (!x->explains) {
        rc = execute(x, &q);
    } else if (consul_sees(g, ACCESS_QUERY, query_text(&q, NULL, "Name"))) {
        jw_obj(&x->w);
        jw_key(&x->w, "Query");
        tell(x, &q);
        tell_state(x);
        jw_end(&x->w);
    } else {
        rc = MU_E_DENIED;
    }
    query_free(&q);
    return rc;
}

void consul_query_list(struct consul_call *k)
{
    struct asked *x = http_alloc(k->r, sizeof(*x));
    memset(x, 0, sizeof(*x));
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        g->data = x;
        consul_record_watch(g, QUERIES);
        consul_read_start(g, render_list);
    }
}

static int ends_with(struct slice *s, const char *end)
{
    size_t n = strlen(end);
    int is = s->len > n && memcmp(s->p + s->len - n, end, n) == 0;
    s->len -= is ? n : 0;
    return is;
}

/* ?limit=, of which less than one is none, and ?connect=. */
static int take_options(struct consul_call *k, struct asked *x)
{
    struct slice s, digits;
    if (http_query(k->r, "limit", &s) && s.len != 0) {
        int is_negative = s.p[0] == '-';
        digits = slice_of(s.p + is_negative, s.len - (size_t)is_negative);
        if (text_u64(digits, INT64_MAX, &x->limit) != 0) {
            consul_text(k->r, 500, "Bad limit: strconv.Atoi: parsing \"%.*s\": invalid syntax",
                        SLICE_FMT(s));
            return -1;
        }
        x->limit = is_negative ? 0 : x->limit;
    }
    if (http_query(k->r, "connect", &s) && s.len != 0 && consul_text_bool(s, &x->is_mesh) != 0) {
        consul_text(k->r, 500,
                    "Error parsing 'connect' value: strconv.ParseBool: parsing \"%.*s\": invalid "
                    "syntax",
                    SLICE_FMT(s));
        return -1;
    }
    return 0;
}

void consul_query_get(struct consul_call *k)
{
    struct asked *x = http_alloc(k->r, sizeof(*x));
    memset(x, 0, sizeof(*x));
    x->id = k->rest;
    int executes = ends_with(&x->id, "/execute");
    x->explains = !executes && ends_with(&x->id, "/explain");
    if (!executes && !x->explains && !consul_is_uuid(x->id)) {
        consul_text(k->r, 500,
                    "failed prepared query lookup: index error: UUID must be 36 "
                    "characters");
        return;
    }
    if ((executes || x->explains) && take_options(k, x) != 0) {
        return;
    }
    struct consul_read *g = consul_read_new(k);
    if (g == NULL) {
        return;
    }
    g->data = x;
    if (!executes && !x->explains) {
        consul_record_watch(g, QUERIES);
    }
    consul_read_start(g, executes || x->explains ? render_run : render_one);
}
