/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of the catalog. What stands on a node shows its address and health, so its instances are
 * written anew when these change. */
#include "storage/apply/apply_impl.h"

enum { MOVE_MAX = 256 };

static void find(struct apply *a, struct buf *key, struct slice name, struct row_at *out,
                 struct node_row *row)
{
    buf_clear(key);
    key_node(key, name);
    *row = (struct node_row){0};
    row_find(a, buf_slice(key), out);
    if (out->is_live) {
        int rc = node_row_decode(row_bytes(a, out), row);
        MU_INVARIANT(rc == 0);
    }
}

int node_is_there(struct apply *a, struct slice node)
{
    struct row_at cur;
    struct buf key;
    buf_init(&key);
    key_node(&key, node);
    row_find(a, buf_slice(&key), &cur);
    buf_fini(&key);
    return cur.is_live;
}

void node_address(struct apply *a, struct slice node, struct buf *out)
{
    struct row_at cur;
    struct node_row row;
    struct buf key;
    buf_init(&key);
    find(a, &key, node, &cur, &row);
    buf_clear(out);
    buf_append_slice(out, row.address);
    buf_fini(&key);
}

/* --- what stands on it --- */

/* Calls for each service id of the node; 0 from it stops. */
typedef int (*service_fn)(struct apply *a, struct slice node, struct slice service_id, void *arg);

static void each_service(struct apply *a, struct slice node, service_fn fn, void *arg)
{
    struct buf prefix, at, key;
    struct slice n, id;
    int goes_on = 1;
    buf_init(&prefix);
    buf_init(&at);
    buf_init(&key);
    key_place_prefix(&prefix, node);
    buf_append_slice(&at, buf_slice(&prefix));
    while (goes_on && row_next(a, buf_slice(&prefix), &at, &key)) {
        int rc = key_parse_place(buf_slice(&key), &n, &id);
        MU_INVARIANT(rc == 0);
        goes_on = fn(a, n, id, arg);
    }
    buf_fini(&prefix);
    buf_fini(&at);
    buf_fini(&key);
}

static int touch_one(struct apply *a, struct slice node, struct slice service_id, void *arg)
{
    service_touch(a, node, service_id, arg);
    return 1;
}

void node_touch(struct apply *a, struct slice node, int d_critical)
{
    struct check_count d = {.node_critical = d_critical};
    each_service(a, node, touch_one, &d);
}

static int remove_one(struct apply *a, struct slice node, struct slice service_id, void *arg)
{
    (void)arg;
    service_gone(a, node, service_id);
    return 1;
}

struct move {
    struct slice to;
    unsigned n;
};

static int move_one(struct apply *a, struct slice node, struct slice service_id, void *arg)
{
    struct move *m = arg;
    struct spot s;
    int rc = spot_open(a, 0, node, service_id, &s);
    MU_INVARIANT(rc == 0);
    int is_agent = s.is_agent;
    spot_close(&s);
    if (is_agent) {
        m->n += service_move(a, node, service_id, m->to);
    }
    return m->n < MOVE_MAX;
}

/* --- operations --- */

static int refuse(const struct op *o, const struct row_at *cur)
{
    int has_condition = o->type == OP_NODE_CAS || o->type == OP_NODE_DELETE_CAS;
    if (!has_condition || o->expect == (cur->is_live ? cur->meta.mod_rev : 0)) {
        return 0;
    }
    return o->expect == 0 ? MU_E_EXISTS : MU_E_REVISION_MISMATCH;
}

static void set(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    struct node_row old;
    find(a, &a->key, o->u.node.name, &cur, &old);
    item->code = refuse(o, &cur);
    if (item->code != 0) {
        return;
    }
    struct node_row row = o->u.node.row;
    int was_there = cur.is_live;
    if (was_there && o->type == OP_NODE_ENSURE) {
        return;
    }
    row.meta = row_next_meta(a, &cur);
    row.is_member = row.is_member || old.is_member; /* nobody takes that from a member */
    buf_clear(&a->row);
    node_row_encode(&a->row, &row);
    if (row_is_same(a, &cur)) {
        item->mod_rev = cur.meta.mod_rev;
    } else {
        row_write(a, &cur);
        item->mod_rev = row.meta.mod_rev;
        if (was_there) {
            node_touch(a, o->u.node.name, 0);
        }
    }
    if (a->wants_rows) {
        row_tell(a, buf_slice(&a->key), item);
    }
}

static void get(struct apply *a, const struct op *o, struct txn_item *item)
{
    buf_clear(&a->key);
    key_node(&a->key, o->u.node.name);
    row_tell(a, buf_slice(&a->key), item);
    item->code = item->key.len == 0 ? MU_E_NOT_FOUND : 0;
}

static void remove_node(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    struct node_row old;
    struct slice name = o->u.node.name;
    find(a, &a->key, name, &cur, &old);
    if (!cur.is_live) {
        return; /* gone is what was wanted */
    }
    item->code = refuse(o, &cur);
    if (item->code != 0) {
        return;
    }
    session_node_gone(a, name);
    each_service(a, name, remove_one, NULL);
    checks_gone(a, name, slice_of(NULL, 0));
    find(a, &a->key, name, &cur, &old);
    struct node_row row = {.meta = row_next_meta(a, &cur)};
    row.meta.is_deleted = 1;
    buf_clear(&a->row);
    node_row_encode(&a->row, &row);
    row_write(a, &cur);
}

static void move(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct slice from = o->u.node.name, to = o->u.node.to;
    struct move m = {.to = to};
    if (!node_is_there(a, from) || !node_is_there(a, to) || slice_eq(from, to)) {
        item->code = MU_E_NOT_FOUND;
        return;
    }
    each_service(a, from, move_one, &m);
    if (m.n < MOVE_MAX) {
        m.n += checks_move(a, from, slice_of(NULL, 0), to);
    }
    if (m.n < MOVE_MAX) {
        m.n += sessions_move(a, from, to, MOVE_MAX - m.n);
    }
    item->is_more = m.n >= MOVE_MAX;
}

void op_node(struct apply *a, const struct op *o, struct txn_item *item)
{
    switch (o->type) {
    case OP_NODE_SET:
    case OP_NODE_CAS:
    case OP_NODE_ENSURE:
        set(a, o, item);
        return;
    case OP_NODE_GET:
        get(a, o, item);
        return;
    case OP_NODE_MOVE:
        move(a, o, item);
        return;
    default:
        remove_node(a, o, item);
        return;
    }
}
