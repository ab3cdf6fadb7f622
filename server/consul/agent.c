/* SPDX-License-Identifier: Apache-2.0 */
/* The agent (https://developer.hashicorp.com/consul/api-docs/agent). There is one for the whole
 * cluster, behind every node: its services and checks are found by their ids wherever they were
 * registered, and move when the node dies that they stand on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/wire.h"
#include "server/consul/define.h"
#include "server/consul/list.h"

enum { OPS_OWN = 3, ID_EXTRA = 32 }; /* operations besides those of checks */

#define NODE_MAINTENANCE    SLICE_LIT("_node_maintenance")
#define SERVICE_MAINTENANCE "_service_maintenance:"

/* --- registering --- */

static struct slice self_node(struct consul_call *k)
{
    return slice_str(core_node_name(k->c->core));
}

struct slice consul_keep(struct http_req *r, struct slice s)
{
    uint8_t *p = http_alloc(r, s.len + 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    p[s.len] = '\0';
    return slice_of(p, s.len);
}

static struct slice join(struct http_req *r, const char *before, struct slice s, const char *after)
{
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, before);
    buf_append_slice(&b, s);
    buf_append_str(&b, after);
    struct slice kept = consul_keep(r, buf_slice(&b));
    buf_fini(&b);
    return kept;
}

static int refuse_id(struct http_req *r, struct slice id, const char *what)
{
    if (id.len == 0 || id.len > KEY_NAME_MAX || memchr(id.p, 0, id.len) != NULL) {
        consul_text(r, 400, "%s must have 1 to %d bytes, none of them zero", what, KEY_NAME_MAX);
        return -1;
    }
    return 0;
}

/* An alias of its own service tells nothing that its owner does not know. */
static int may_alias(struct consul_call *k, const struct define_check *d, struct slice service_id)
{
    int is_own = d->alias_node.len == 0 && slice_eq(d->alias_service, service_id);
    return is_own || consul_may_alias(k, d->alias_node, d->alias_service);
}

/* One check, of that service of the agent or (empty) its node, as an operation; 0, or the error was
 * answered. */
static int check_op(struct consul_call *k, const struct define_check *d, struct slice service_id,
                    struct op *o)
{
    struct define_fault f;
    *o = (struct op){.type = OP_CHECK_SET};
    o->u.check.name.node = self_node(k);
    o->u.check.is_agent = 1;
    o->u.check.keep_status = d->status.len == 0;
    if (define_check_row(d, &o->u.check.row, &f) != 0) {
        consul_text(k->r, f.status, "%s", f.text);
        return -1;
    }
    if (o->u.check.row.run.kind == CHECK_KIND_ALIAS && !may_alias(k, d, service_id)) {
        return -1;
    }
    o->u.check.name.service_id = service_id;
    o->u.check.row.is_agent = 1;
    o->u.check.lease_id = o->u.check.row.ttl_ms != 0 ? core_lease_id(k->c->core) : 0;
    return 0;
}

/* `number`: what tells it from the others of its service, if it must. */
static int service_check_op(struct consul_call *k, struct define_check *d, struct slice service,
                            struct slice id, const char *number, struct op *o)
{
    struct slice check_id = d->check_id.len != 0 ? d->check_id : d->id;
    if (check_id.len == 0) {
        check_id = join(k->r, "service:", id, number);
    }
    if (d->name.len == 0) {
        d->name = join(k->r, "Service '", service, "' check");
    }
    if (refuse_id(k->r, check_id, "CheckID") != 0 || check_op(k, d, id, o) != 0) {
        return -1;
    }
    o->u.check.name.id = check_id;
    return 0;
}

static int is_empty(const struct define_check *d)
{
    static const struct define_check none;
    return memcmp(d, &none, sizeof(none)) == 0;
}

struct registration {
    struct op *ops; /* room for all checks, and OPS_OWN */
    size_t n;
    struct slice service_id;
};

static int add_checks(struct consul_call *k, struct define_service *d, struct registration *g)
{
    struct define_check *all = (struct define_check *)(void *)d->checks.p;
    struct slice service = d->name.len != 0 ? d->name : d->service;
    size_t has_one = !is_empty(&d->check), of = has_one + d->checks.n;
    for (size_t i = 0; i < of; i++) {
        struct define_check *c = i < has_one ? &d->check : &all[i - has_one];
        struct op *o = &g->ops[g->n];
        char number[ID_EXTRA] = "";
        if (of > 1) {
            (void)snprintf(number, sizeof(number), ":%zu", i + 1);
        }
        if (service_check_op(k, c, service, g->service_id, number, o) != 0 ||
            !consul_may_check(k, g->service_id, o->u.check.name.id)) {
            return -1;
        }
        g->n++;
    }
    return 0;
}

/* ?replace-existing-checks: those that are not named now go. */
static void add_keep(struct consul_call *k, struct registration *g)
{
    struct buf list;
    struct op *o = &g->ops[g->n];
    buf_init(&list);
    wire_put_u16(&list, (uint16_t)(g->n - 1));
    for (size_t i = 1; i < g->n; i++) {
        wire_put_bytes(&list, g->ops[i].u.check.name.id);
    }
    *o = (struct op){.type = OP_CHECK_KEEP};
    o->u.check.is_agent = 1;
    o->u.check.name = (struct check_name){self_node(k), g->service_id, slice_of(NULL, 0)};
    o->u.check.keep = consul_keep(k->r, buf_slice(&list));
    buf_fini(&list);
    g->n++;
}

static int is_on(struct http_req *r, const char *name)
{
    struct slice s;
    return http_query(r, name, &s) &&
           (s.len == 0 || slice_eq(s, SLICE_LIT("true")) || slice_eq(s, SLICE_LIT("1")));
}

static void done(struct consul_write *w)
{
    struct slice id = w->data != NULL ? *(const struct slice *)w->data : slice_of(NULL, 0);
    switch (w->cw.result.code) {
    case 0:
        http_respond(w->r, 200, NULL, slice_of(NULL, 0));
        break;
    case MU_E_CONFLICT:
        consul_text(
            w->r, 500,
            "Service \"%.*s\" is registered otherwise already, on another node or without one",
            SLICE_FMT(id));
        break;
    case MU_E_NOT_FOUND:
        consul_text(w->r, 404, "ServiceID \"%.*s\" does not exist", SLICE_FMT(id));
        break;
    default:
        consul_fail(w->r, w->cw.result.code, NULL);
        break;
    }
}

void consul_agent_register(struct consul_call *k)
{
    struct define_service *d = http_alloc(k->r, sizeof(*d));
    struct registration *g = http_alloc(k->r, sizeof(*g));
    struct define_fault f;
    struct buf extra;
    memset(d, 0, sizeof(*d));
    d->is_strict = 1;
    *g = (struct registration){0};
    if (consul_body(k->r, &define_service_table, d) != 0) {
        return;
    }
    g->ops = http_alloc(k->r, (OPS_OWN + d->checks.n) * sizeof(*g->ops));
    struct op *o = &g->ops[g->n++];
    *o = (struct op){.type = OP_SERVICE_SET};
    buf_init(&extra);
    int rc = define_service_row(d, &extra, &o->u.service.row, &f);
    o->u.service.row.extra = consul_keep(k->r, buf_slice(&extra));
    buf_fini(&extra);
    if (rc != 0) {
        consul_text(k->r, f.status, "%s", f.text);
        return;
    }
    struct service_name in = list_service(d->name.len != 0 ? d->name : d->service);
    g->service_id = o->u.service.row.service_id;
    o->u.service.node = self_node(k);
    o->u.service.is_agent = 1;
    o->u.service.name =
        (struct instance_name){in.ns, in.group, in.service, SLICE_LIT("DEFAULT"), g->service_id};
    if (add_checks(k, d, g) != 0 || !consul_may_register(k, in.service, g->service_id)) {
        return;
    }
    if (is_on(k->r, "replace-existing-checks")) {
        add_keep(k, g);
    }
    consul_write(k, g->ops, g->n, 0, done, &g->service_id);
}

void consul_agent_deregister(struct consul_call *k)
{
    struct op o = {.type = OP_SERVICE_DELETE}; /* gone is what is wanted: absent is fine */
    if (refuse_id(k->r, k->rest, "Service ID") != 0 || !consul_may_id(k, "service", k->rest)) {
        return;
    }
    o.u.service.is_agent = 1;
    o.u.service.node = self_node(k);
    o.u.service.row.service_id = k->rest;
    consul_write(k, &o, 1, 0, done, NULL);
}

/* --- checks --- */

void consul_agent_check_register(struct consul_call *k)
{
    struct define_check *d = http_alloc(k->r, sizeof(*d));
    struct op o;
    struct slice *service = http_alloc(k->r, sizeof(*service));
    memset(d, 0, sizeof(*d));
    if (consul_body(k->r, &define_check_table, d) != 0) {
        return;
    }
    if (d->name.len == 0) {
        consul_text(k->r, 400, "Missing check name");
        return;
    }
    enum check_status status;
    if (d->status.len != 0 && define_status(d->status, &status) != 0) {
        consul_text(k->r, 400, "Bad check status");
        return;
    }
    struct slice id = d->id.len != 0 ? d->id : d->check_id.len != 0 ? d->check_id : d->name;
    if (refuse_id(k->r, id, "CheckID") != 0 || check_op(k, d, d->service_id, &o) != 0) {
        return;
    }
    if (o.u.check.row.run.kind == CHECK_KIND_NONE) {
        consul_text(k->r, 400, "Invalid check: TTL must be > 0 for TTL checks");
        return;
    }
    if (d->service_id.len != 0 ? !consul_may_id(k, "service", d->service_id)
                               : !consul_may(k, ACCESS_NODE, self_node(k), ACCESS_WRITE)) {
        return;
    }
    if (!consul_may_check(k, d->service_id, id)) {
        return;
    }
    o.u.check.name.id = id;
    *service = d->service_id;
    consul_write(k, &o, 1, 0, done, service);
}

static void check_gone(struct consul_write *w)
{
    struct slice id = *(const struct slice *)w->data;
    if (w->cw.result.code == MU_E_NOT_FOUND) {
        consul_text(w->r, 404,
                    "Unknown check ID \"%.*s\". Ensure that the check ID is passed, not the check "
                    "name.",
                    SLICE_FMT(id));
        return;
    }
    done(w);
}

static struct op own_check(struct consul_call *k, enum op_type type, struct slice id)
{
    struct op o = {.type = type};
    o.u.check.is_agent = 1;
    o.u.check.name = (struct check_name){self_node(k), slice_of(NULL, 0), id};
    return o;
}

void consul_agent_check_deregister(struct consul_call *k)
{
    struct slice *id = http_alloc(k->r, sizeof(*id));
    *id = k->rest;
    if (refuse_id(k->r, k->rest, "CheckID") != 0 || !consul_may_id(k, "check", k->rest)) {
        return;
    }
    struct op ops[] = {own_check(k, OP_CHECK_GET, k->rest), own_check(k, OP_CHECK_DELETE, k->rest)};
    consul_write(k, ops, 2, 0, check_gone, id);
}

/* A TTL check that says the same again is a sign of life, and no entry of the log. */
struct beat {
    struct core_keepalive q;
    struct consul_call k;
    struct op op;
    struct slice id;
    mu_lease_id lease;
    int64_t ttl_ms, remaining_ms;
};

static void push(struct beat *b)
{
    consul_write(&b->k, &b->op, 1, 0, check_gone, &b->id);
}

static void beaten(struct core_request *q)
{
    struct beat *b = CONTAINER_OF(q, struct beat, q.q);
    if (q->code == 0 && b->ttl_ms >= 0) {
        http_respond(b->k.r, 200, NULL, slice_of(NULL, 0));
    } else {
        push(b);
    }
}

/* What this node knows of it: 1 when it need only be kept alive, -1 when it was answered. */
static int look_at_check(struct beat *b)
{
    struct slice node, service;
    struct check_row row;
    struct view *v = view_open(core_store(b->k.c->core));
    int rc = view_agent_check(v, b->id, &node, &service);
    rc = rc != 0 ? rc : view_check(v, node, b->id, &service, &row);
    int is_known = rc == 0, has_ttl = is_known && row.ttl_ms != 0;
    int is_same = has_ttl && row.status == CHECK_PASSING &&
                  b->op.u.check.row.status == CHECK_PASSING &&
                  slice_eq(row.output, b->op.u.check.row.output);
    b->lease = has_ttl ? row.meta.lease : 0;
    view_close(v);
    if (is_known && !has_ttl) {
        consul_text(b->k.r, 500, "CheckID \"%.*s\" does not have associated TTL", SLICE_FMT(b->id));
        return -1;
    }
    return is_same;
}

static void update_check(struct consul_call *k, struct slice id, enum check_status status,
                         struct slice output)
{
    struct beat *b = http_alloc(k->r, sizeof(*b));
    memset(b, 0, sizeof(*b));
    if (refuse_id(k->r, id, "CheckID") != 0 || !consul_may_id(k, "check", id)) {
        return;
    }
    b->k = *k;
    b->id = id;
    b->op = own_check(k, OP_CHECK_STATUS, id);
    b->op.u.check.row.status = status;
    b->op.u.check.row.remove_after_ms = REMOVE_NEVER;
    b->op.u.check.row.output =
        slice_of(output.p, output.len < CHECK_OUTPUT_MAX ? output.len : CHECK_OUTPUT_MAX);
    int how = look_at_check(b);
    if (how == 0) {
        push(b);
    } else if (how == 1) {
        b->q.n = 1;
        b->q.ids = &b->lease;
        b->q.out_ttl_ms = &b->ttl_ms;
        b->q.out_remaining_ms = &b->remaining_ms;
        b->q.q.done = beaten;
        b->q.q.reply = worker_mailbox(http_worker(k->r));
        core_keepalive(k->c->core, &b->q, CONSUL_WRITE_MS);
    }
}

static void update_by_note(struct consul_call *k, enum check_status status)
{
    struct slice note = {0};
    (void)http_query(k->r, "note", &note);
    update_check(k, k->rest, status, note);
}

void consul_agent_check_pass(struct consul_call *k)
{
    update_by_note(k, CHECK_PASSING);
}

void consul_agent_check_warn(struct consul_call *k)
{
    update_by_note(k, CHECK_WARNING);
}

void consul_agent_check_fail(struct consul_call *k)
{
    update_by_note(k, CHECK_CRITICAL);
}

struct update {
    struct slice status, output;
};

void consul_agent_check_update(struct consul_call *k)
{
    static const struct body_field fields[] = {
        {"Status", BODY_STR, offsetof(struct update, status), NULL},
        {"Output", BODY_STR, offsetof(struct update, output), NULL},
    };
    static const struct body_table table = {"agent.checkUpdate", sizeof(struct update), fields,
                                            N_ELEMENTS(fields)};
    struct update u = {0};
    enum check_status status;
    if (consul_body(k->r, &table, &u) != 0) {
        return;
    }
    if (define_status(u.status, &status) != 0) {
        consul_text(k->r, 400, "Invalid check status: '%.*s'", SLICE_FMT(u.status));
        return;
    }
    update_check(k, k->rest, status, u.output);
}

/* --- maintenance --- */

static void maintained(struct consul_write *w)
{
    struct slice id = *(const struct slice *)w->data;
    if (w->cw.result.code == MU_E_NOT_FOUND) {
        consul_text(w->r, 404, "No service registered with ID \"%.*s\"", SLICE_FMT(id));
        return;
    }
    done(w);
}

/* Who turns it on again changes nothing: the first reason stays. */
static int is_maintained(struct consul_call *k, struct slice service, struct slice id)
{
    struct slice node, service_id;
    struct check_row row;
    struct view *v = view_open(core_store(k->c->core));
    int is = service.len != 0 ? view_agent_check(v, id, &node, &service_id) == 0
                              : view_check(v, self_node(k), id, &service_id, &row) == 0;
    view_close(v);
    return is;
}

static void maintain(struct consul_call *k, struct slice service, struct slice id,
                     const char *advice)
{
    struct slice value, reason = {0};
    struct slice *name = http_alloc(k->r, sizeof(*name));
    *name = service;
    if (!http_query(k->r, "enable", &value) || value.len == 0) {
        consul_text(k->r, 400, "Missing value for enable");
        return;
    }
    int is_on_now = slice_eq(value, SLICE_LIT("true")) || slice_eq(value, SLICE_LIT("1"));
    if (!is_on_now && !slice_eq(value, SLICE_LIT("false")) && !slice_eq(value, SLICE_LIT("0"))) {
        consul_text(k->r, 400, "Invalid value for enable: \"%.*s\"", SLICE_FMT(value));
        return;
    }
    if (is_on_now && is_maintained(k, service, id)) {
        http_respond(k->r, 200, NULL, slice_of(NULL, 0));
        return;
    }
    (void)http_query(k->r, "reason", &reason);
    struct op ops[2];
    size_t n = 0;
    if (service.len != 0) {
        ops[n] = (struct op){.type = OP_SERVICE_GET};
        ops[n].u.service.is_agent = 1;
        ops[n].u.service.node = self_node(k);
        ops[n++].u.service.row.service_id = service;
    }
    ops[n] = own_check(k, is_on_now ? OP_CHECK_SET : OP_CHECK_DELETE, id);
    if (is_on_now) {
        ops[n].u.check.name.service_id = service;
        ops[n].u.check.row = (struct check_row){
            .status = CHECK_CRITICAL,
            .name = service.len != 0 ? SLICE_LIT("Service Maintenance Mode")
                                     : SLICE_LIT("Node Maintenance Mode"),
            .notes = reason.len != 0 ? reason : slice_str(advice),
            .type_name = SLICE_LIT("maintenance"),
            .remove_after_ms = REMOVE_NEVER,
        };
    }
    consul_write(k, ops, n + 1, 0, maintained, name);
}

void consul_agent_service_maintenance(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing service ID");
        return;
    }
    if (refuse_id(k->r, k->rest, "Service ID") == 0 && consul_may_id(k, "service", k->rest)) {
        maintain(k, k->rest, join(k->r, SERVICE_MAINTENANCE, k->rest, ""),
                 "Maintenance mode is enabled for this service, but no reason was provided. This "
                 "is a default message.");
    }
}

void consul_agent_maintenance(struct consul_call *k)
{
    if (!consul_may(k, ACCESS_NODE, self_node(k), ACCESS_WRITE)) {
        return;
    }
    maintain(k, slice_of(NULL, 0), NODE_MAINTENANCE,
             "Maintenance mode is enabled for this node, but no reason was provided. This is a "
             "default message.");
}

/* --- reading --- */

struct agent_read {
    struct show s;
    struct jw w;
    struct view *v;
    struct consul_read *g;
    struct slice name; /* one service id or service name; empty: all */
    int by_name;
    size_t n;
    enum check_status worst;
    struct buf item;
    int is_away; /* in maintenance */
};

static int each_instance(struct agent_read *a, view_place_fn fn)
{
    return view_places(a->v, slice_of(NULL, 0), fn, a);
}

/* 0, NOT_FOUND, or DENIED. */
static int find_instance(struct agent_read *a, const struct place_row *p, struct instance_name *n,
                         struct instance_row *row)
{
    *n = (struct instance_name){p->ns, p->group, p->service, p->cluster, p->id};
    if (p->meta.is_deleted || !p->is_agent || view_instance(a->v, n, row) != 0) {
        return MU_E_NOT_FOUND;
    }
    return consul_sees(a->g, ACCESS_SERVICE, n->service) ? 0 : MU_E_DENIED;
}

/* A member of the map, told when the filter takes it. */
static void begin_item(struct agent_read *a, struct jw *w)
{
    buf_clear(&a->item);
    jw_init(w, &a->item);
    jw_obj(w);
}

static void end_item(struct agent_read *a, struct jw *w, struct slice id)
{
    jw_end(w);
    if (list_takes(a->g, buf_slice(&a->item))) {
        jw_key_slice(&a->w, id);
        jw_json(&a->w, buf_slice(&a->item));
    }
}

static int on_own_service(void *arg, struct slice node, struct slice id, const struct place_row *p)
{
    struct agent_read *a = arg;
    struct instance_name n;
    struct instance_row row;
    (void)node;
    if (find_instance(a, p, &n, &row) == 0) {
        struct jw w;
        begin_item(a, &w);
        show_service(&w, &a->s, &n, &row, 1);
        end_item(a, &w, id);
    }
    return 0;
}

/* The node is the agent's, which is known to who asks: a service's check needs the service alone.
 */
static int sees_own_check(struct agent_read *a, const struct check_name *n,
                          const struct check_row *row)
{
    return n->service_id.len != 0 ? consul_sees(a->g, ACCESS_SERVICE, row->service_name)
                                  : consul_sees(a->g, ACCESS_NODE, n->node);
}

static int on_own_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct agent_read *a = arg;
    if (!row->meta.is_deleted && row->is_agent && sees_own_check(a, n, row)) {
        struct jw w;
        begin_item(a, &w);
        show_check(&w, &a->s, a->v, n, row);
        end_item(a, &w, n->id);
    }
    return 0;
}

static int render_services(struct consul_read *g, struct view *v, struct buf *out)
{
    struct agent_read *a = g->data;
    a->v = v;
    jw_init(&a->w, out);
    jw_obj(&a->w);
    int rc = each_instance(a, on_own_service);
    jw_end(&a->w);
    buf_fini(&a->item);
    return rc;
}

static int render_checks(struct consul_read *g, struct view *v, struct buf *out)
{
    struct agent_read *a = g->data;
    a->v = v;
    jw_init(&a->w, out);
    jw_obj(&a->w);
    int rc = view_checks(v, slice_of(NULL, 0), on_own_check, a);
    jw_end(&a->w);
    buf_fini(&a->item);
    return rc;
}

static struct consul_read *begin_agent(struct consul_call *k, enum filter_kind kind, int by_name)
{
    struct agent_read *a = http_alloc(k->r, sizeof(*a));
    struct list_query q;
    memset(a, 0, sizeof(*a));
    struct consul_read *g = list_query(k, kind, &q) == 0 ? consul_read_new(k) : NULL;
    if (g == NULL) {
        return NULL;
    }
    a->s.datacenter = k->c->datacenter;
    a->s.is_agent = 1;
    a->name = k->rest;
    a->by_name = by_name;
    a->g = g;
    g->data = a;
    g->is_plain = 1;
    g->filter = q.filter;
    return g;
}

static void read_agent(struct consul_call *k, enum filter_kind kind, consul_render_fn render,
                       int by_name)
{
    struct consul_read *g = begin_agent(k, kind, by_name);
    if (g != NULL) {
        consul_read_start(g, render);
    }
}

void consul_agent_services(struct consul_call *k)
{
    read_agent(k, FILTER_SERVICE, render_services, 0);
}

void consul_agent_checks(struct consul_call *k)
{
    read_agent(k, FILTER_CHECK, render_checks, 0);
}

/* 0 and the instance, or as find_instance. */
static int own_service(struct agent_read *a, struct slice id, struct instance_name *n,
                       struct instance_row *row)
{
    struct slice node;
    struct place_row p;
    int rc = view_agent_service(a->v, id, &node);
    rc = rc != 0 ? rc : view_place(a->v, node, id, &p);
    return rc != 0 ? MU_E_NOT_FOUND : find_instance(a, &p, n, row);
}

/* All that the answer is made of stands in that row; under another name it is another row, and this
 * one goes. */
static void watch_instance(struct consul_read *g, const struct instance_name *n)
{
    struct buf key;
    buf_init(&key);
    key_instance(&key, n);
    if (g->n_ranges == 0 || !slice_eq(g->ranges[0].key, buf_slice(&key))) {
        g->n_ranges = 0;
        list_watch(g, &key, 0);
    }
    buf_fini(&key);
}

static int render_service(struct consul_read *g, struct view *v, struct buf *out)
{
    struct agent_read *a = g->data;
    struct instance_name n;
    struct instance_row row;
    char hash[24];
    a->v = v;
    g->index = 0;
    int rc = own_service(a, a->name, &n, &row);
    if (rc == MU_E_DENIED) {
        return rc;
    }
    if (rc != 0) {
        g->status = 404;
        g->content_type = "text/plain; charset=utf-8";
        buf_printf(out, "unknown service ID: %.*s", SLICE_FMT(a->name));
        return 0;
    }
    jw_init(&a->w, out);
    jw_obj(&a->w);
    show_service(&a->w, &a->s, &n, &row, 1);
    g->index = hash_xxh3(out->p, out->len, 0);
    g->index += g->index == 0;
    (void)snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)g->index);
    jw_key(&a->w, "ContentHash");
    jw_str(&a->w, hash);
    jw_end(&a->w);
    watch_instance(g, &n);
    return 0;
}

/* ?hash= as we told it; another one is not what there is. */
static uint64_t hash_asked(struct http_req *r)
{
    struct slice s;
    char text[17];
    char *end;
    if (!http_query(r, "hash", &s) || s.len != sizeof(text) - 1) {
        return 0;
    }
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    uint64_t v = strspn(text, "0123456789abcdef") == s.len ? strtoull(text, &end, 16) : 0;
    return v;
}

void consul_agent_service(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing service ID");
        return;
    }
    struct consul_read *g = begin_agent(k, FILTER_NONE, 0);
    if (g != NULL) {
        g->is_exact = g->is_hash = 1;
        g->p.index = hash_asked(k->r);
        consul_read_start(g, render_service);
    }
}

/* --- agent/health/service --- */

/* It, or its node: by a check, which says so by its name. */
static int is_in_maintenance(struct view *v, const struct instance_row *row)
{
    struct check_row check;
    struct slice service;
    struct buf id;
    buf_init(&id);
    buf_printf(&id, SERVICE_MAINTENANCE "%.*s", SLICE_FMT(row->service_id));
    int is_away =
        !row->is_enabled ||
        (row->node.len != 0 && (view_check(v, row->node, NODE_MAINTENANCE, &service, &check) == 0 ||
                                view_check(v, row->node, buf_slice(&id), &service, &check) == 0));
    buf_fini(&id);
    return is_away;
}

static void health_entry(struct agent_read *a, const struct instance_name *n,
                         const struct instance_row *row)
{
    enum check_status worst = show_worst(a->v, row);
    int is_away = is_in_maintenance(a->v, row);
    a->worst = worst > a->worst ? worst : a->worst;
    a->is_away |= is_away;
    a->n++;
    jw_obj(&a->w);
    jw_key(&a->w, "AggregatedStatus");
    jw_str(&a->w, is_away ? "maintenance" : define_status_name(worst));
    jw_key(&a->w, "Service");
    jw_obj(&a->w);
    show_service(&a->w, &a->s, n, row, 1);
    jw_end(&a->w);
    jw_key(&a->w, "Checks");
    jw_arr(&a->w);
    (void)show_checks_of(&a->w, &a->s, a->v, n, row);
    jw_end(&a->w);
    jw_end(&a->w);
}

static int on_named(void *arg, struct slice node, struct slice id, const struct place_row *p)
{
    struct agent_read *a = arg;
    struct instance_name n;
    struct instance_row row;
    (void)node;
    (void)id;
    if (slice_eq(p->service, a->name) && find_instance(a, p, &n, &row) == 0) {
        health_entry(a, &n, &row);
    }
    return 0;
}

static int wants_text(struct http_req *r)
{
    struct slice s;
    return (http_query(r, "format", &s) && slice_eq(s, SLICE_LIT("text"))) ||
           (http_header(r, "accept", &s) && slice_has_prefix(s, SLICE_LIT("text/plain")));
}

/* The whole in one word, for load balancers; a sentence when there is none of that name. */
static void tell_reason(struct agent_read *a, struct buf *out)
{
    char reason[256];
    const char *word = a->is_away ? "maintenance" : define_status_name(a->worst);
    if (a->n != 0) {
        (void)snprintf(reason, sizeof(reason), "%s", word);
    } else {
        struct slice shown = slice_of(a->name.p, a->name.len < 200 ? a->name.len : 200);
        (void)snprintf(reason, sizeof(reason),
                       a->by_name ? "ServiceName %.*s Not Found" : "ServiceId %.*s not found",
                       SLICE_FMT(shown));
    }
    for (char *p = reason; *p != '\0'; p++) {
        *p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p; /* it goes into a header */
    }
    http_add_header(a->g->r, "X-Consul-Reason", reason);
    if (wants_text(a->g->r)) {
        buf_clear(out);
        buf_append_str(out, reason);
        a->g->content_type = "text/plain; charset=utf-8";
    }
}

static int render_service_health(struct consul_read *g, struct view *v, struct buf *out)
{
    static const int statuses[] = {200, 429, 503};
    struct agent_read *a = g->data;
    struct instance_name n;
    struct instance_row row;
    a->v = v;
    a->n = 0;
    a->is_away = 0;
    a->worst = CHECK_PASSING;
    jw_init(&a->w, out);
    int rc = a->by_name ? 0 : own_service(a, a->name, &n, &row);
    if (rc == MU_E_DENIED) {
        return rc;
    }
    if (a->by_name) {
        jw_arr(&a->w);
        rc = each_instance(a, on_named);
        jw_end(&a->w);
    } else if (rc == 0) {
        health_entry(a, &n, &row);
    } else {
        rc = 0;
        buf_append_str(out, "{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}");
    }
    g->status = a->n == 0 ? 404 : a->is_away ? 503 : statuses[a->worst];
    tell_reason(a, out);
    return rc;
}

void consul_agent_health_name(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing service Name");
        return;
    }
    if (consul_may(k, ACCESS_SERVICE, k->rest, ACCESS_READ)) {
        read_agent(k, FILTER_NONE, render_service_health, 1);
    }
}

void consul_agent_health_id(struct consul_call *k)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing serviceID");
        return;
    }
    read_agent(k, FILTER_NONE, render_service_health, 0);
}
