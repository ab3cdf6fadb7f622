/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions (https://developer.hashicorp.com/consul/api-docs/txn): operations on keys, nodes,
 * services and checks, all or none, in one step of the log. */
#include "server/consul/txn.h"

#include "storage/view_catalog.h"

static const char denied[] = "Permission denied";

static int may_key(const struct identity *who, const struct op *o)
{
    struct slice key = o->u.key.key;
    switch (o->type) {
    case OP_KEY_GET:
    case OP_KEY_GET_OR_EMPTY:
    case OP_KEY_GET_TREE:
        return 1; /* what he may not see is left out of the answer */
    case OP_KEY_CHECK_INDEX:
    case OP_KEY_CHECK_SESSION:
    case OP_KEY_CHECK_ABSENT:
        return access_allows(who, ACCESS_KEY, key, ACCESS_READ);
    case OP_KEY_DELETE_TREE:
        return access_allows_all(who, ACCESS_KEY, key, ACCESS_WRITE);
    default:
        return access_allows(who, ACCESS_KEY, key, ACCESS_WRITE);
    }
}

/* How the service is called that stands there once the operations before number n are done. */
static struct slice service_at(const struct txn *t, size_t n, struct slice node, struct slice id)
{
    while (n-- > 0) {
        const struct op *o = &t->ops[n];
        if ((o->type == OP_SERVICE_SET || o->type == OP_SERVICE_CAS) &&
            slice_eq(o->u.service.node, node) && slice_eq(o->u.service.row.service_id, id)) {
            return o->u.service.name.service;
        }
    }
    return consul_service_at(t->k, node, id);
}

/* Write what stands there, or would: the service, or (id empty) the node. */
static int may_place(const struct txn *t, size_t n, struct slice node, struct slice id)
{
    return id.len == 0
               ? access_allows(t->k->who, ACCESS_NODE, node, ACCESS_WRITE)
               : access_allows(t->k->who, ACCESS_SERVICE, service_at(t, n, node, id), ACCESS_WRITE);
}

/* End it: who may write the node may end all that is on it; without a service of that id it is the
 * node's affair. */
static int may_end(const struct txn *t, size_t n, struct slice node, struct slice id)
{
    return access_allows(t->k->who, ACCESS_NODE, node, ACCESS_WRITE) ||
           (id.len != 0 && service_at(t, n, node, id).len != 0 && may_place(t, n, node, id));
}

/* A check's id is one of its node, whatever service is named with it. */
static int may_check(const struct txn *t, size_t n)
{
    const struct op *o = &t->ops[n];
    const struct check_name *c = &o->u.check.name;
    struct check_row row;
    struct slice owner = {0};
    struct view *v = view_open(core_store(t->k->c->core));
    int is_there = view_check(v, c->node, c->id, &owner, &row) == 0;
    owner = consul_keep(t->k->r, owner);
    view_close(v);
    int is_delete = o->type == OP_CHECK_DELETE || o->type == OP_CHECK_DELETE_CAS;
    if (is_delete) {
        return may_end(t, n, c->node, is_there ? owner : c->service_id);
    }
    return may_place(t, n, c->node, c->service_id) &&
           (!is_there || may_place(t, n, c->node, owner));
}

static int may_service(const struct txn *t, size_t n)
{
    const struct op_service *m = &t->ops[n].u.service;
    struct slice old = service_at(t, n, m->node, m->row.service_id);
    return access_allows(t->k->who, ACCESS_SERVICE, m->name.service, ACCESS_WRITE) &&
           (old.len == 0 || access_allows(t->k->who, ACCESS_SERVICE, old, ACCESS_WRITE));
}

static int may_op(const struct txn *t, size_t n)
{
    const struct op *o = &t->ops[n];
    switch (o->type) {
    case OP_NODE_GET:
    case OP_SERVICE_GET:
    case OP_CHECK_GET:
        return 1;
    case OP_NODE_SET:
    case OP_NODE_CAS:
    case OP_NODE_DELETE:
    case OP_NODE_DELETE_CAS:
        return access_allows(t->k->who, ACCESS_NODE, o->u.node.name, ACCESS_WRITE);
    case OP_SERVICE_SET:
    case OP_SERVICE_CAS:
        return may_service(t, n);
    case OP_SERVICE_DELETE:
    case OP_SERVICE_DELETE_CAS:
        return may_end(t, n, o->u.service.node, o->u.service.row.service_id);
    case OP_CHECK_SET:
    case OP_CHECK_CAS:
    case OP_CHECK_DELETE:
    case OP_CHECK_DELETE_CAS:
        return may_check(t, n);
    default:
        return may_key(t->k->who, o);
    }
}

static void written(struct consul_write *x)
{
    struct txn *t = x->data;
    struct consul_call k = {.r = x->r, .c = x->c};
    t->k = &k;
    (void)consul_who(&k);
    txn_answer(t, x);
}

void consul_txn(struct consul_call *k)
{
    struct txn *t = http_alloc(k->r, sizeof(*t));
    *t = (struct txn){.k = k};
    if (consul_dc(k) != 0 || consul_conflicts(k) || txn_read(t) != 0) {
        return;
    }
    for (size_t i = 0; i < t->n && k->who != NULL; i++) {
        if (t->faults[i] == NULL && !may_op(t, i)) {
            t->faults[i] = denied;
        }
    }
    if (!txn_answer_faults(t)) {
        consul_write(k, t->ops, t->n, 1, written, t);
    }
}
