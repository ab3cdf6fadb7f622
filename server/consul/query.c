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
#include "server/consul/body.h"
#include "server/consul/change.h"
#include "server/consul/list.h"

/* --- what is given --- */

struct given_service {
    struct slice service, near, tags, node_meta, service_meta, ignored, failover;
    int only_passing, connect;
};
struct given_template {
    struct slice type, regexp;
    int drops_empty;
};
struct given_dns {
    struct slice ttl;
};
struct given {
    struct slice id, name, session, token;
    struct given_service service;
    struct given_template template;
    struct given_dns dns;
    struct slice text;
    char new_id[UUID_SIZE + 1];
};

#define AT(s, m) offsetof(struct s, m)
static const struct body_field service_fields[] = {
    {"Service", BODY_STR, AT(given_service, service), NULL},
    {"Near", BODY_STR, AT(given_service, near), NULL},
    {"Tags", BODY_STRS, AT(given_service, tags), NULL},
    {"NodeMeta", BODY_PAIRS, AT(given_service, node_meta), NULL},
    {"ServiceMeta", BODY_PAIRS, AT(given_service, service_meta), NULL},
    {"IgnoreCheckIDs", BODY_STRS, AT(given_service, ignored), NULL},
    {"Failover", BODY_JSON, AT(given_service, failover), NULL},
    {"OnlyPassing", BODY_BOOL, AT(given_service, only_passing), NULL},
    {"Connect", BODY_BOOL, AT(given_service, connect), NULL},
    {"SamenessGroup", BODY_SKIPPED, 0, NULL},
    {"Peer", BODY_SKIPPED, 0, NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
};
static const struct body_table service_table = {"structs.ServiceQuery",
                                                sizeof(struct given_service), service_fields,
                                                N_ELEMENTS(service_fields)};
static const struct body_field template_fields[] = {
    {"Type", BODY_STR, AT(given_template, type), NULL},
    {"Regexp", BODY_STR, AT(given_template, regexp), NULL},
    {"RemoveEmptyTags", BODY_BOOL, AT(given_template, drops_empty), NULL},
};
static const struct body_table template_table = {"structs.QueryTemplateOptions",
                                                 sizeof(struct given_template), template_fields,
                                                 N_ELEMENTS(template_fields)};
static const struct body_field dns_fields[] = {{"TTL", BODY_STR, AT(given_dns, ttl), NULL}};
static const struct body_table dns_table = {"structs.QueryDNSOptions", sizeof(struct given_dns),
                                            dns_fields, N_ELEMENTS(dns_fields)};
static const struct body_field fields[] = {
    {"ID", BODY_STR, AT(given, id), NULL},
    {"Name", BODY_STR, AT(given, name), NULL},
    {"Session", BODY_STR, AT(given, session), NULL},
    {"Token", BODY_STR, AT(given, token), NULL},
    {"Service", BODY_OBJECT, AT(given, service), &service_table},
    {"Template", BODY_OBJECT, AT(given, template), &template_table},
    {"DNS", BODY_OBJECT, AT(given, dns), &dns_table},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"ModifyIndex", BODY_SKIPPED, 0, NULL},
};
static const struct body_table table = {"structs.PreparedQuery", sizeof(struct given), fields,
                                        N_ELEMENTS(fields)};
#undef AT

/* Every text of the service may be a template's. */
static int check_texts(struct consul_call *k, const struct given_service *s)
{
    struct pair_iter it;
    struct slice a, b;
    struct err e = {0};
    int rc = query_check_text(s->service, &e);
    rc = rc != 0 ? rc : query_check_text(s->near, &e);
    tags_begin(&it, s->tags);
    while (rc == 0 && tags_next(&it, &a)) {
        rc = query_check_text(a, &e);
    }
    metadata_begin(&it, s->service_meta);
    while (rc == 0 && metadata_next(&it, &a, &b)) {
        rc = query_check_text(b, &e);
    }
    metadata_begin(&it, s->node_meta);
    while (rc == 0 && metadata_next(&it, &a, &b)) {
        rc = query_check_text(b, &e);
    }
    if (rc != 0) {
        consul_text(k->r, 500, "%s", e.text);
    }
    return rc;
}

/* Each is compared with all that an instance has, whenever somebody asks. */
static int has_few(const struct given_service *s)
{
    struct pair_iter it;
    const struct slice lists[] = {s->tags, s->ignored, s->node_meta, s->service_meta};
    int are_few = 1;
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        tags_begin(&it, lists[i]);
        are_few &= it.left <= QUERY_LIST_MAX;
    }
    return are_few;
}

static int check_template(struct consul_call *k, const struct given_template *t)
{
    struct err e = {0};
    if (t->type.len != 0 && !slice_eq(t->type, SLICE_LIT("name_prefix_match"))) {
        consul_text(k->r, 500, "Bad Template.Type '%.*s'",
                    (int)(t->type.len < 100 ? t->type.len : 100), (const char *)t->type.p);
        return -1;
    }
    if (query_check_regex(t->regexp, &e) != 0) {
        consul_text(k->r, 500, "%s", e.text);
        return -1;
    }
    return 0;
}

static int check(struct consul_call *k, const struct given *g)
{
    uint64_t ns;
    const char *why = NULL;
    int is_template = g->template.type.len != 0;
    if (g->name.len > QUERY_NAME_MAX - 2 || !text_is_utf8(g->name)) {
        why = "Name is UTF-8 of at most 254 bytes";
    } else if (g->name.len == 0 && g->session.len == 0 && !is_template) {
        why = "Must be bound to a session, or have a name";
    } else if (g->service.service.len == 0) {
        why = "Must provide a Service name to query";
    } else if (!has_few(&g->service)) {
        why = "Tags, IgnoreCheckIDs, NodeMeta and ServiceMeta have at most 64 entries each";
    } else if (g->service.connect) {
        why = "Connect must be enabled in order to use this query";
    } else if (g->token.len != 0) {
        why = "a token is not kept with a query: who runs it shows one";
    } else if (g->dns.ttl.len != 0 && consul_text_duration(g->dns.ttl, &ns) != 0) {
        why = "Bad DNS TTL: it is a duration of zero or more, like \"10s\"";
    }
    if (why != NULL) {
        consul_text(k->r, 500, "%s", why);
        return -1;
    }
    return check_template(k, &g->template) != 0 || check_texts(k, &g->service) != 0 ? -1 : 0;
}

/* --- as it is kept --- */

static void put(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

static void put_flag(struct jw *w, const char *name, int v)
{
    jw_key(w, name);
    jw_bool(w, v);
}

static void put_list(struct jw *w, const char *name, struct slice list)
{
    jw_key(w, name);
    if (list.len == 0) {
        jw_null(w);
    } else {
        show_list(w, list);
    }
}

static void put_pairs(struct jw *w, const char *name, struct slice pairs)
{
    jw_key(w, name);
    if (pairs.len == 0) {
        jw_null(w);
    } else {
        show_pairs(w, pairs);
    }
}

static void put_service(struct jw *w, const struct given_service *s)
{
    jw_key(w, "Service");
    jw_obj(w);
    put(w, "Service", s->service);
    jw_key(w, "Failover");
    jw_json(w, s->failover.len != 0 ? s->failover
                                    : SLICE_LIT("{\"NearestN\":0,\"Datacenters\":null}"));
    put_flag(w, "OnlyPassing", s->only_passing);
    put_list(w, "IgnoreCheckIDs", s->ignored);
    put(w, "Near", s->near);
    put_list(w, "Tags", s->tags);
    put_pairs(w, "NodeMeta", s->node_meta);
    put_pairs(w, "ServiceMeta", s->service_meta);
    put_flag(w, "Connect", 0);
    jw_end(w);
}

static void write_text(struct consul_call *k, struct given *g)
{
    struct jw w;
    struct buf b;
    buf_init(&b);
    jw_init(&w, &b);
    jw_obj(&w);
    put(&w, "ID", slice_str(g->new_id));
    put(&w, "Name", g->name);
    put(&w, "Session", g->session);
    put(&w, "Token", slice_of(NULL, 0));
    jw_key(&w, "Template");
    jw_obj(&w);
    put(&w, "Type", g->template.type);
    put(&w, "Regexp", g->template.regexp);
    put_flag(&w, "RemoveEmptyTags", g->template.drops_empty);
    jw_end(&w);
    put_service(&w, &g->service);
    jw_key(&w, "DNS");
    jw_obj(&w);
    put(&w, "TTL", g->dns.ttl);
    jw_end(&w);
    jw_end(&w);
    g->text = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
}

/* "=NAME" or "~PREFIX"; empty for a query without a name. */
static struct slice claim_of(struct consul_call *k, struct slice name, int is_template)
{
    struct buf b;
    buf_init(&b);
    if (name.len != 0 || is_template) {
        buf_append_byte(&b, is_template ? '~' : '=');
        buf_append_slice(&b, name);
    }
    struct slice s = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
    return s;
}

/* --- changing --- */

/* A name belongs to one query; that of a query that went with its session is free. */
static int claim(struct consul_change *h, struct view *v, const struct given *g)
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
    consul_text(h->k.r, 500, "failed session lookup: invalid session \"%.*s\"",
                (int)(session.len < 64 ? session.len : 64), (const char *)session.p);
    return 0;
}

static int plan_create(struct consul_change *h, struct view *v)
{
    struct given *g = h->data;
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
        consul_text(h->k.r, 404, "Query not found");
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
    struct given *g = h->data;
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
    const struct given *g = h->data;
    struct jw j;
    int rc = consul_change_outcome(w);
    if (rc == 0) {
        consul_text(w->r, 500, "somebody else changed it, or took the name, at the same time");
    } else if (rc == 1 && g != NULL && g->id.len == 0 && h->k.rest.len == 0) {
        jw_init(&j, http_scratch(w->r));
        jw_obj(&j);
        put(&j, "ID", slice_str(g->new_id));
        jw_end(&j);
        consul_json(w->r, 200, buf_slice(j.out));
    } else if (rc == 1) {
        http_respond(w->r, 200, NULL, slice_of(NULL, 0));
    }
}

static struct given *read_given(struct consul_call *k)
{
    struct given *g = http_alloc(k->r, sizeof(*g));
    memset(g, 0, sizeof(*g));
    return consul_dc(k) == 0 && consul_body(k->r, &table, g) == 0 && check(k, g) == 0 ? g : NULL;
}

void consul_query_create(struct consul_call *k)
{
    struct given *g = read_given(k);
    if (g == NULL) {
        return;
    }
    if (g->id.len != 0) {
        consul_text(k->r, 500, "ID must be empty when creating a new prepared query");
        return;
    }
    consul_uuid(g->new_id);
    write_text(k, g);
    consul_change_start(consul_change_new(k, g), plan_create, changed);
}

void consul_query_put(struct consul_call *k)
{
    struct given *g = read_given(k);
    if (g == NULL) {
        return;
    }
    if (!consul_is_uuid(k->rest)) {
        consul_text(k->r, 500,
                    "failed prepared query lookup: index error: UUID must be 36 "
                    "characters");
        return;
    }
    memcpy(g->new_id, k->rest.p, UUID_SIZE);
    write_text(k, g);
    consul_change_start(consul_change_new(k, g), plan_update, changed);
}

void consul_query_delete(struct consul_call *k)
{
    if (consul_dc(k) == 0) {
        consul_change_start(consul_change_new(k, NULL), plan_delete, changed);
    }
}

/* --- reading --- */

struct asked {
    struct slice id; /* or name */
    uint64_t limit;
    int explains;
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
        rc = MU_E_NOT_FOUND;
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

static int execute(struct asked *x, const struct query *q)
{
    char *dns = json_dumps(json_object_get(q->doc, "DNS"), JSON_COMPACT);
    int rc = query_run(x->v, q, on_found, x);
    jw_obj(&x->w);
    put(&x->w, "Service", query_text(q, "Service", "Service"));
    jw_key(&x->w, "Nodes");
    tell_nodes(x);
    jw_key(&x->w, "DNS");
    jw_json(&x->w, slice_str(dns));
    jw_key(&x->w, "Datacenter");
    jw_str(&x->w, x->s.datacenter);
    jw_key(&x->w, "Failovers");
    jw_u64(&x->w, 0);
    jw_end(&x->w);
    free(dns);
    return rc;
}

static int render_run(struct consul_read *g, struct view *v, struct buf *out)
{
    struct asked *x = g->data;
    struct query q;
    x->g = g;
    x->v = v;
    x->s.datacenter = g->c->datacenter;
    g->index = 1;
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
        jw_end(&x->w);
    } else {
        rc = not_found(g, out);
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
    if (consul_u64(k->r, "limit", &x->limit) != 0) {
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
