/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions (https://developer.hashicorp.com/consul/api-docs/session). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/wire.h"
#include "server/consul/body.h"
#include "server/consul/list.h"
#include "storage/view_kv.h"

#define NS_PER_S INT64_C(1000000000)

enum {
    TTL_MIN_S = 10,
    TTL_MAX_S = 24 * 3600,
    LOCK_DELAY_S = 15,
    NUMBER_OF_S_MAX = 1000,
    CHECKS_MAX = 1024
};

struct service_check {
    struct slice id;
};

struct asked {
    struct slice name, node, behavior, ttl, checks, node_checks;
    struct body_items service_checks;
    int64_t lock_delay;
};

static const struct body_field service_check_fields[] = {
    {"ID", BODY_STR, offsetof(struct service_check, id), NULL},
};
static const struct body_table service_check_table = {
    "structs.ServiceCheck", sizeof(struct service_check), service_check_fields,
    N_ELEMENTS(service_check_fields)};
static const struct body_field fields[] = {
    {"Name", BODY_STR, offsetof(struct asked, name), NULL},
    {"Node", BODY_STR, offsetof(struct asked, node), NULL},
    {"Behavior", BODY_STR, offsetof(struct asked, behavior), NULL},
    {"TTL", BODY_STR, offsetof(struct asked, ttl), NULL},
    {"LockDelay", BODY_DURATION, offsetof(struct asked, lock_delay), NULL},
    {"Checks", BODY_STRS, offsetof(struct asked, checks), NULL},
    {"NodeChecks", BODY_STRS, offsetof(struct asked, node_checks), NULL},
    {"ServiceChecks", BODY_OBJECTS, offsetof(struct asked, service_checks), &service_check_table},
};
static const struct body_table table = {"structs.Session", sizeof(struct asked), fields,
                                        N_ELEMENTS(fields)};

/* --- making --- */

static void *body_alloc(void *arg, size_t size)
{
    return http_alloc(arg, size);
}

static int take_body(struct consul_call *k, struct asked *a)
{
    struct body b = {.alloc = body_alloc, .arg = k->r, .ignores_unknown = 1};
    *a = (struct asked){.lock_delay = LOCK_DELAY_S * NS_PER_S};
    if (http_body(k->r).len == 0) {
        return 0;
    }
    if (body_read(&b, http_body(k->r), &table, a) != 0) {
        consul_text(k->r, 400, "Request decode failed: %s", b.error);
        return -1;
    }
    struct pair_iter checks, more;
    tags_begin(&checks, a->checks);
    tags_begin(&more, a->node_checks);
    if (checks.left > CHECKS_MAX || more.left > CHECKS_MAX) {
        consul_text(k->r, 400, "Checks and NodeChecks have at most %d items", CHECKS_MAX);
        return -1;
    }
    if (a->lock_delay < 0) {
        consul_text(k->r, 400, "Request decode failed: LockDelay is negative");
        return -1;
    }
    if (a->lock_delay < NUMBER_OF_S_MAX) {
        a->lock_delay *= NS_PER_S; /* as Consul takes small numbers */
    }
    return 0;
}

static int take_ttl(struct consul_call *k, const struct asked *a, struct session_row *row)
{
    uint64_t ns = 0;
    if (a->ttl.len == 0) {
        return 0;
    }
    if (consul_text_duration(a->ttl, &ns) != 0 || a->ttl.len > 64) {
        int n = (int)(a->ttl.len < 64 ? a->ttl.len : 64);
        consul_text(k->r, 500, "Session TTL '%.*s' invalid: time: invalid duration \"%.*s\"", n,
                    (const char *)a->ttl.p, n, (const char *)a->ttl.p);
        return -1;
    }
    if (ns != 0 && (ns < TTL_MIN_S * (uint64_t)NS_PER_S || ns > TTL_MAX_S * (uint64_t)NS_PER_S)) {
        consul_text(k->r, 500, "Invalid Session TTL '%llu', must be between [10s=24h0m0s]",
                    (unsigned long long)ns);
        return -1;
    }
    row->ttl_ms = (int64_t)(ns / 1000000);
    row->ttl_text = a->ttl;
    return 0;
}

static int take_behavior(struct consul_call *k, const struct asked *a, struct session_row *row)
{
    row->behavior = SESSION_RELEASE;
    if (slice_eq(a->behavior, SLICE_LIT("delete"))) {
        row->behavior = SESSION_DELETE;
    } else if (a->behavior.len != 0 && !slice_eq(a->behavior, SLICE_LIT("release"))) {
        consul_text(k->r, 500, "Invalid Behavior setting '%.*s'",
                    (int)(a->behavior.len < 64 ? a->behavior.len : 64),
                    (const char *)a->behavior.p);
        return -1;
    }
    return 0;
}

/* Appends what is not in `but`. How many. */
static uint16_t put_ids(struct buf *out, struct slice ids, struct slice but)
{
    struct pair_iter it;
    struct slice id;
    uint16_t n = 0;
    tags_begin(&it, ids);
    while (tags_next(&it, &id)) {
        if (!tags_has(but, id)) {
            wire_put_bytes(out, id);
            n++;
        }
    }
    return n;
}

/* The older member Checks adds to NodeChecks; an empty list of either, not its absence, takes the
 * default away. */
static void take_node_checks(struct consul_call *k, const struct asked *a, struct session_row *row)
{
    struct pair_iter checks;
    struct slice none = {0}, first = a->node_checks;
    struct buf ids, list;
    buf_init(&ids);
    buf_init(&list);
    tags_begin(&checks, a->checks);
    if (first.p == NULL && (a->checks.p == NULL || checks.left > 0)) {
        wire_put_u16(&list, 1);
        wire_put_bytes(&list, SLICE_LIT("serfHealth"));
        first = consul_keep(k->r, buf_slice(&list));
        buf_clear(&list);
    }
    uint16_t n = put_ids(&ids, a->checks, none);
    n = (uint16_t)(n + put_ids(&ids, first, a->checks));
    if (n > 0) {
        wire_put_u16(&list, n);
        buf_append_slice(&list, buf_slice(&ids));
        row->node_checks = consul_keep(k->r, buf_slice(&list));
    }
    buf_fini(&ids);
    buf_fini(&list);
}

static void take_checks(struct consul_call *k, const struct asked *a, struct session_row *row)
{
    struct buf list;
    take_node_checks(k, a, row);
    buf_init(&list);
    if (a->service_checks.n > 0) {
        const struct service_check *c = (const struct service_check *)(void *)a->service_checks.p;
        wire_put_u16(&list, (uint16_t)a->service_checks.n);
        for (size_t i = 0; i < a->service_checks.n; i++) {
            wire_put_bytes(&list, c[i].id);
        }
        row->service_checks = consul_keep(k->r, buf_slice(&list));
    }
    buf_fini(&list);
}

static void draw_uuid(char out[SESSION_ID_SIZE + 1])
{
    uint8_t b[16];
    rnd_bytes(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, SESSION_ID_SIZE + 1,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

/* The first check that keeps it from being made; 1 when there is one. */
static int find_missing(struct view *v, const struct session_row *row, struct slice list,
                        struct slice *out, int *out_is_critical)
{
    struct pair_iter it;
    struct slice id, service;
    struct check_row c;
    tags_begin(&it, list);
    while (tags_next(&it, &id)) {
        int rc = view_check(v, row->node, id, &service, &c);
        if (rc != 0 || c.status == CHECK_CRITICAL) {
            *out = id;
            *out_is_critical = rc == 0;
            return 1;
        }
    }
    return 0;
}

static void tell_missing(struct consul_write *w, const struct session_row *row)
{
    struct view *v = view_open(core_store(w->c->core));
    struct node_row node;
    struct slice id = {0};
    int is_critical = 0;
    int is_check = view_node(v, row->node, &node) == 0 &&
                   (find_missing(v, row, row->node_checks, &id, &is_critical) ||
                    find_missing(v, row, row->service_checks, &id, &is_critical));
    view_close(v);
    if (!is_check) {
        consul_text(w->r, 500, "Missing node registration");
    } else if (is_critical) {
        consul_text(w->r, 500, "Check '%.*s' is in critical state", SLICE_FMT(id));
    } else {
        consul_text(w->r, 500, "Missing check '%.*s' registration", SLICE_FMT(id));
    }
}

static void created(struct consul_write *w)
{
    const struct op *o = w->data;
    struct jw j;
    int code = w->cw.result.code;
    if (code == MU_E_NOT_FOUND || code == MU_E_CONFLICT) {
        tell_missing(w, &o->u.session.row);
        return;
    }
    if (code != 0) {
        consul_fail(w->r, code, NULL);
        return;
    }
    jw_init(&j, http_scratch(w->r));
    jw_obj(&j);
    jw_key(&j, "ID");
    jw_slice(&j, o->u.session.id);
    jw_end(&j);
    consul_json(w->r, 200, buf_slice(j.out));
}

void consul_session_create(struct consul_call *k)
{
    struct asked *a = http_alloc(k->r, sizeof(*a));
    struct op *o = http_alloc(k->r, sizeof(*o));
    char *id = http_alloc(k->r, SESSION_ID_SIZE + 1);
    *o = (struct op){.type = OP_SESSION_CREATE};
    struct session_row *row = &o->u.session.row;
    if (consul_dc(k) != 0 || take_body(k, a) != 0 || take_ttl(k, a, row) != 0 ||
        take_behavior(k, a, row) != 0) {
        return;
    }
    if (a->node.p != NULL && a->node.len == 0) {
        consul_text(k->r, 500, "Must provide Node");
        return;
    }
    if (a->name.len > KEY_NAME_MAX || a->node.len > KEY_NAME_MAX ||
        (a->node.len != 0 && memchr(a->node.p, 0, a->node.len) != NULL)) {
        consul_text(k->r, 400, "Name and Node have at most %d bytes", KEY_NAME_MAX);
        return;
    }
    draw_uuid(id);
    o->u.session.id = slice_of(id, SESSION_ID_SIZE);
    row->name = a->name;
    row->node = a->node.len != 0 ? a->node : slice_str(core_node_name(k->c->core));
    row->lock_delay_ns = (uint64_t)a->lock_delay;
    row->meta.lease = core_lease_id(k->c->core);
    take_checks(k, a, row);
    if (!consul_may(k, ACCESS_SESSION, row->node, ACCESS_WRITE)) {
        return;
    }
    consul_write(k, o, 1, 0, created, o);
}

/* --- ending and renewing --- */

static int take_id(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing session");
        return -1;
    }
    if (k->rest.len != SESSION_ID_SIZE) {
        consul_text(k->r, 500, "failed session lookup: index error: UUID must be 36 characters");
        return -1;
    }
    return 0;
}

static void destroyed(struct consul_write *w)
{
    if (w->cw.result.code == 0) {
        consul_bool(w->r, 1);
    } else {
        consul_fail(w->r, w->cw.result.code, NULL);
    }
}

void consul_session_destroy(struct consul_call *k)
{
    struct op o = {.type = OP_SESSION_DESTROY};
    if (consul_dc(k) == 0 && take_id(k) == 0 && consul_may_session(k, k->rest)) {
        o.u.session.id = k->rest;
        consul_write(k, &o, 1, 0, destroyed, NULL);
    }
}

static void session_json(struct jw *w, struct slice id, const struct session_row *row)
{
    struct pair_iter it;
    struct slice s;
    jw_obj(w);
    jw_key(w, "ID");
    jw_slice(w, id);
    jw_key(w, "Name");
    jw_slice(w, row->name);
    jw_key(w, "Node");
    jw_slice(w, row->node);
    jw_key(w, "LockDelay");
    jw_u64(w, row->lock_delay_ns);
    jw_key(w, "Behavior");
    jw_str(w, row->behavior == SESSION_DELETE ? "delete" : "release");
    jw_key(w, "TTL");
    jw_slice(w, row->ttl_text);
    jw_key(w, "NodeChecks");
    show_list(w, row->node_checks);
    jw_key(w, "ServiceChecks");
    tags_begin(&it, row->service_checks);
    if (it.left == 0) {
        jw_null(w);
    } else {
        jw_arr(w);
        while (tags_next(&it, &s)) {
            jw_obj(w);
            jw_key(w, "ID");
            jw_slice(w, s);
            jw_key(w, "Namespace");
            jw_str(w, "");
            jw_end(w);
        }
        jw_end(w);
    }
    jw_key(w, "CreateIndex");
    jw_u64(w, row->meta.create_rev);
    jw_key(w, "ModifyIndex");
    jw_u64(w, row->meta.mod_rev);
    jw_end(w);
}

struct renewal {
    struct core_keepalive q;
    struct consul_read *g;
    mu_lease_id lease;
    int64_t ttl_ms, remaining_ms;
};

static void not_found(struct http_req *r, struct slice id)
{
    consul_text(r, 404, "Session id '%.*s' not found", SLICE_FMT(id));
}

static void renewed(struct core_request *q)
{
    struct renewal *n = CONTAINER_OF(q, struct renewal, q.q);
    struct consul_read *g = n->g;
    struct slice id = *(const struct slice *)g->data;
    struct session_row row;
    struct jw w;
    if (q->code != 0) {
        consul_fail(g->r, q->code, q->err.text);
        return;
    }
    struct view *v = view_open(core_store(g->c->core));
    int is_there = n->ttl_ms >= 0 && view_session(v, id, &row) == 0;
    if (is_there) {
        jw_init(&w, http_scratch(g->r));
        jw_arr(&w);
        session_json(&w, id, &row);
        jw_end(&w);
    }
    view_close(v);
    if (is_there) {
        consul_json(g->r, 200, buf_slice(w.out));
    } else {
        not_found(g->r, id);
    }
}

static void renew(struct core_request *q)
{
    struct consul_read *g = CONTAINER_OF(q, struct consul_read, gate.q);
    struct slice id = *(const struct slice *)g->data;
    struct renewal *n = http_alloc(g->r, sizeof(*n));
    struct session_row row;
    if (q->code != 0) {
        consul_fail(g->r, q->code, q->err.text);
        return;
    }
    struct view *v = view_open(core_store(g->c->core));
    int rc = view_session(v, id, &row);
    view_close(v);
    if (rc != 0) {
        not_found(g->r, id);
        return;
    }
    memset(n, 0, sizeof(*n));
    n->g = g;
    n->lease = row.meta.lease;
    n->q.n = 1;
    n->q.ids = &n->lease;
    n->q.out_ttl_ms = &n->ttl_ms;
    n->q.out_remaining_ms = &n->remaining_ms;
    n->q.q.done = renewed;
    n->q.q.reply = worker_mailbox(http_worker(g->r));
    core_keepalive(g->c->core, &n->q, CONSUL_WRITE_MS);
}

void consul_session_renew(struct consul_call *k)
{
    if (take_id(k) != 0 || !consul_may_session(k, k->rest)) {
        return;
    }
    struct slice *id = http_alloc(k->r, sizeof(*id));
    *id = k->rest;
    struct consul_read *g = consul_read_new(k);
    if (g == NULL) {
        return;
    }
    g->data = id;
    g->gate.q.done = renew;
    g->gate.q.reply = worker_mailbox(http_worker(k->r));
    core_read_gate(k->c->core, &g->gate, READ_LEADER, CONSUL_HOLD_MS);
}

/* --- reading --- */

struct session_read {
    struct consul_read *g;
    struct slice id, node;
    struct jw w;
};

static int on_session(void *arg, struct slice id, const struct session_row *row)
{
    struct session_read *x = arg;
    list_raise(x->g, row->meta.mod_rev);
    int is_asked = (x->id.len == 0 || slice_eq(id, x->id)) &&
                   (x->node.len == 0 || slice_eq(row->node, x->node));
    if (!row->meta.is_deleted && is_asked && consul_sees(x->g, ACCESS_SESSION, row->node)) {
        session_json(&x->w, id, row);
    }
    return 0;
}

static int render(struct consul_read *g, struct view *v, struct buf *out)
{
    struct session_read *x = g->data;
    struct session_row row;
    g->index = view_compacted(v, SPACE_INSTANCE);
    jw_init(&x->w, out);
    jw_arr(&x->w);
    int rc = 0;
    if (x->id.len == 0) {
        rc = view_sessions(v, on_session, x);
    } else {
        rc = view_session(v, x->id, &row);
        if (rc == 0) {
            rc = on_session(x, x->id, &row);
        } else if (rc == MU_E_NOT_FOUND) {
            list_raise(g, view_revision(v));
            rc = 0;
        }
    }
    jw_end(&x->w);
    return rc;
}

static void start(struct consul_call *k, struct slice id, struct slice node)
{
    struct session_read *x = http_alloc(k->r, sizeof(*x));
    struct buf key;
    *x = (struct session_read){.id = id, .node = node};
    struct consul_read *g = consul_read_new(k);
    if (g == NULL) {
        return;
    }
    x->g = g;
    g->data = x;
    buf_init(&key);
    if (id.len != 0) {
        key_session(&key, id);
    } else {
        buf_append_byte(&key, SPACE_SESSION);
    }
    list_watch(g, &key, id.len == 0);
    buf_fini(&key);
    consul_read_start(g, render);
}

void consul_session_info(struct consul_call *k)
{
    if (take_id(k) == 0) {
        start(k, k->rest, slice_of(NULL, 0));
    }
}

void consul_session_node(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing node name");
        return;
    }
    start(k, slice_of(NULL, 0), k->rest);
}

void consul_session_list(struct consul_call *k)
{
    start(k, slice_of(NULL, 0), slice_of(NULL, 0));
}
