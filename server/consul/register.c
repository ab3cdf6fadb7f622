/* SPDX-License-Identifier: Apache-2.0 */
/* Registering with the catalog itself: nodes, services and checks that no agent answers for
 * (https://developer.hashicorp.com/consul/api-docs/catalog#register-entity). */
#include <stdio.h>
#include <string.h>

#include "server/consul/define.h"
#include "server/consul/list.h"

enum { OPS_OWN = 3, UUID_SIZE = 36 }; /* operations besides those of `Checks` */

struct registered {
    struct slice node, address, id, tagged, meta, service_id, check_id, datacenter;
    struct define_service service;
    struct define_check check;
    struct body_items checks;
    int keeps_node;
};

static const struct body_field fields[] = {
    {"Node", BODY_STR, offsetof(struct registered, node), NULL},
    {"Address", BODY_STR, offsetof(struct registered, address), NULL},
    {"ID", BODY_STR, offsetof(struct registered, id), NULL},
    {"TaggedAddresses", BODY_PAIRS, offsetof(struct registered, tagged), NULL},
    {"NodeMeta", BODY_PAIRS, offsetof(struct registered, meta), NULL},
    {"Service", BODY_OBJECT, offsetof(struct registered, service), &define_service_table},
    {"Check", BODY_OBJECT, offsetof(struct registered, check), &define_check_table},
    {"Checks", BODY_OBJECTS, offsetof(struct registered, checks), &define_check_table},
    {"SkipNodeUpdate", BODY_BOOL, offsetof(struct registered, keeps_node), NULL},
    {"ServiceID", BODY_STR, offsetof(struct registered, service_id), NULL},
    {"CheckID", BODY_STR, offsetof(struct registered, check_id), NULL},
    {"Datacenter", BODY_STR, offsetof(struct registered, datacenter), NULL},
    {"WriteRequest", BODY_SKIPPED, 0, NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
    {"PeerName", BODY_SKIPPED, 0, NULL},
    {"Locality", BODY_SKIPPED, 0, NULL},
};
static const struct body_table table = {"structs.RegisterRequest", sizeof(struct registered),
                                        fields, N_ELEMENTS(fields)};

static int refuse_name(struct http_req *r, struct slice s, size_t max, const char *what)
{
    int is_bad = s.len > max || (s.len != 0 && memchr(s.p, 0, s.len) != NULL);
    for (size_t i = 0; i < s.len && !is_bad; i++) {
        is_bad = s.p[i] < ' ' || s.p[i] == 0x7f;
    }
    if (is_bad) {
        consul_text(r, 400, "%s has at most %zu bytes and no control characters", what, max);
    }
    return is_bad ? -1 : 0;
}

static int refuse(struct consul_call *k, const struct registered *d)
{
    if (d->node.len == 0) {
        consul_text(k->r, 500, "Must provide node");
        return -1;
    }
    if (d->address.len == 0 && !d->keeps_node) {
        consul_text(k->r, 500, "Must provide address if SkipNodeUpdate is not set");
        return -1;
    }
    if (d->id.len != 0 && d->id.len != UUID_SIZE) {
        consul_text(k->r, 500, "Bad node ID: uuid string is wrong length");
        return -1;
    }
    return refuse_name(k->r, d->node, KEY_NAME_MAX / 2, "Node") != 0 ||
                   refuse_name(k->r, d->address, 255, "Address") != 0 ||
                   refuse_name(k->r, d->id, UUID_SIZE, "ID") != 0
               ? -1
               : 0;
}

struct plan {
    struct op *ops; /* room for all `Checks`, and OPS_OWN */
    size_t n;
    struct slice node;
};

static int add_service(struct consul_call *k, const struct registered *d, struct plan *p)
{
    struct op *o = &p->ops[p->n];
    struct define_fault f;
    struct buf extra;
    struct define_service s = d->service;
    s.name = s.service.len != 0 ? s.service : s.name;
    if (s.id.len != 0 && s.name.len == 0) {
        consul_text(k->r, 500, "Must provide service name with ID");
        return -1;
    }
    if (s.name.len == 0) {
        return 0;
    }
    *o = (struct op){.type = OP_SERVICE_SET};
    buf_init(&extra);
    int rc = define_service_row(&s, &extra, &o->u.service.row, &f);
    o->u.service.row.extra = consul_keep(k->r, buf_slice(&extra));
    buf_clear(&extra);
    if (rc == 0) {
        struct service_name in = list_service(s.name);
        buf_append_slice(&extra, d->node);
        buf_append_byte(&extra, '/');
        buf_append_slice(&extra, o->u.service.row.service_id);
        o->u.service.node = d->node;
        o->u.service.name =
            (struct instance_name){in.ns, in.group, in.service, SLICE_LIT("DEFAULT"),
                                   consul_keep(k->r, buf_slice(&extra))};
        p->n++;
    } else {
        consul_text(k->r, 500, "%s", f.text);
    }
    buf_fini(&extra);
    return rc;
}

static int add_check(struct consul_call *k, const struct registered *d, struct define_check *c,
                     struct plan *p)
{
    struct op *o = &p->ops[p->n];
    struct define_fault f;
    struct slice id = c->check_id.len != 0 ? c->check_id : c->id.len != 0 ? c->id : c->name;
    *o = (struct op){.type = OP_CHECK_SET};
    if (define_check_row(c, &o->u.check.row, &f) != 0) {
        consul_text(k->r, f.status, "%s", f.text);
        return -1;
    }
    if (id.len == 0) {
        consul_text(k->r, 500, "Must provide check ID or name");
        return -1;
    }
    if (refuse_name(k->r, id, KEY_NAME_MAX, "CheckID") != 0 ||
        refuse_name(k->r, c->service_id, KEY_NAME_MAX / 2, "ServiceID") != 0) {
        return -1;
    }
    o->u.check.row.run = (struct check_run){0}; /* others run it, and tell */
    o->u.check.row.ttl_ms = 0;
    o->u.check.name = (struct check_name){d->node, c->service_id, id};
    p->n++;
    return 0;
}

static int is_empty(const struct define_check *d)
{
    static const struct define_check none;
    return memcmp(d, &none, sizeof(none)) == 0;
}

static void registered(struct consul_write *w)
{
    const struct plan *p = w->data;
    struct slice rest = w->cw.result.detail;
    struct txn_item item = {0};
    int code = w->cw.result.code;
    (void)txn_item_next(&rest, &item);
    if (code == 0) {
        consul_bool(w->r, 1);
    } else if (code == MU_E_NOT_FOUND && item.op < p->n && p->ops[item.op].type == OP_CHECK_SET) {
        consul_text(w->r, 500,
                    "failed inserting check: Missing service registration on node \"%.*s\"",
                    SLICE_FMT(p->node));
    } else if (code == MU_E_NOT_FOUND) {
        consul_text(w->r, 500, "failed inserting service: Missing node registration");
    } else if (code == MU_E_CONFLICT) {
        consul_text(w->r, 500,
                    "failed inserting service: it is registered otherwise already, on "
                    "another node or without one");
    } else {
        consul_fail(w->r, code, NULL);
    }
}

/* Whether the service stands in the same registration, where it was asked for. */
static int names_service(const struct plan *p, struct slice id)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->ops[i].type == OP_SERVICE_SET && slice_eq(p->ops[i].u.service.row.service_id, id)) {
            return 1;
        }
    }
    return 0;
}

/* A node that is there already and is told as it is stays so, and nobody needs to be asked: it is
 * named, and not written, so that a change in between is not undone. */
static int stays(struct consul_call *k, struct op *o)
{
    const struct node_row *told = &o->u.node.row;
    struct node_row row;
    struct view *v = view_open(core_store(k->c->core));
    int is_there = view_node(v, o->u.node.name, &row) == 0;
    int is_same = is_there &&
                  (o->type == OP_NODE_ENSURE ||
                   (slice_eq(row.id, told->id) && slice_eq(row.address, told->address) &&
                    slice_eq(row.tagged, told->tagged) && slice_eq(row.metadata, told->metadata)));
    view_close(v);
    return is_same;
}

static int may_node(struct consul_call *k, struct op *o)
{
    if (access_allows(k->who, ACCESS_NODE, o->u.node.name, ACCESS_WRITE)) {
        return 1;
    }
    if (!stays(k, o)) {
        return consul_may(k, ACCESS_NODE, o->u.node.name, ACCESS_WRITE);
    }
    o->type = OP_NODE_ENSURE;
    return 1;
}

/* The node, each service by its name, each check by its service or node. */
static int may(struct consul_call *k, const struct plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct op *o = &p->ops[i];
        int is_allowed = 1;
        if (o->type == OP_NODE_SET || o->type == OP_NODE_ENSURE) {
            is_allowed = may_node(k, o);
        } else if (o->type == OP_SERVICE_SET) {
            is_allowed = consul_may(k, ACCESS_SERVICE, o->u.service.name.service, ACCESS_WRITE) &&
                         consul_may_place(k, p->node, o->u.service.row.service_id, 1);
        } else if (o->type == OP_CHECK_SET) {
            struct slice service = o->u.check.name.service_id;
            is_allowed = (names_service(p, service) || consul_may_place(k, p->node, service, 0)) &&
                         consul_may_check_at(k, p->node, o->u.check.name.id);
        }
        if (!is_allowed) {
            return 0;
        }
    }
    return 1;
}

void consul_catalog_register(struct consul_call *k)
{
    struct registered *d = http_alloc(k->r, sizeof(*d));
    struct plan *p = http_alloc(k->r, sizeof(*p));
    memset(d, 0, sizeof(*d));
    *p = (struct plan){0};
    if (consul_dc(k) != 0 || consul_body(k->r, &table, d) != 0 ||
        consul_dc_is(k, d->datacenter) != 0 || refuse(k, d) != 0) {
        return;
    }
    p->node = d->node;
    p->ops = http_alloc(k->r, (OPS_OWN + d->checks.n) * sizeof(*p->ops));
    struct op *o = &p->ops[p->n++];
    *o = (struct op){.type = d->keeps_node ? OP_NODE_ENSURE : OP_NODE_SET};
    o->u.node.name = d->node;
    o->u.node.row = (struct node_row){
        .id = d->id, .address = d->address, .tagged = d->tagged, .metadata = d->meta};
    if (add_service(k, d, p) != 0) {
        return;
    }
    struct define_check *all = (struct define_check *)(void *)d->checks.p;
    size_t has_one = !is_empty(&d->check);
    for (size_t i = 0; i < has_one + d->checks.n; i++) {
        if (add_check(k, d, i < has_one ? &d->check : &all[i - has_one], p) != 0) {
            return;
        }
    }
    if (may(k, p)) {
        consul_write(k, p->ops, p->n, 0, registered, p);
    }
}

static void gone(struct consul_write *w)
{
    if (w->cw.result.code == 0) {
        consul_bool(w->r, 1);
    } else {
        consul_fail(w->r, w->cw.result.code, NULL);
    }
}

void consul_catalog_deregister(struct consul_call *k)
{
    struct registered *d = http_alloc(k->r, sizeof(*d));
    struct op o = {.type = OP_NODE_DELETE};
    memset(d, 0, sizeof(*d));
    if (consul_dc(k) != 0 || consul_body(k->r, &table, d) != 0 ||
        consul_dc_is(k, d->datacenter) != 0) {
        return;
    }
    if (d->node.len == 0) {
        consul_text(k->r, 500, "Must provide node");
        return;
    }
    if (refuse_name(k->r, d->node, KEY_NAME_MAX / 2, "Node") != 0 ||
        refuse_name(k->r, d->service_id, KEY_NAME_MAX / 2, "ServiceID") != 0 ||
        refuse_name(k->r, d->check_id, KEY_NAME_MAX, "CheckID") != 0) {
        return;
    }
    int is_check = d->service_id.len == 0 && d->check_id.len != 0;
    if (is_check ? !consul_may_end_check(k, d->node, d->check_id)
                 : !consul_may_end(k, d->node, d->service_id)) {
        return;
    }
    if (d->service_id.len != 0) {
        o = (struct op){.type = OP_SERVICE_DELETE};
        o.u.service.node = d->node;
        o.u.service.row.service_id = d->service_id;
    } else if (is_check) {
        o = (struct op){.type = OP_CHECK_DELETE};
        o.u.check.name = (struct check_name){d->node, slice_of(NULL, 0), d->check_id};
        o.u.check.row.remove_after_ms = REMOVE_NEVER;
    } else {
        o.u.node.name = d->node;
    }
    consul_write(k, &o, 1, 0, gone, NULL);
}
