/* SPDX-License-Identifier: Apache-2.0 */
/* Operations, one after the other, all or none.
 *
 * Each sees what those before it did. When one fails the others are still looked at, so that the
 * answer can name all that failed; then everything is taken back. An operation checks before it
 * changes, so the last one, with none behind it that could fail, needs no memory of what was. */
#include "storage/apply/apply_impl.h"

#include "base/wire.h"

static const op_fn ops[] = {
    [OP_KEY_SET] = op_key_write,
    [OP_KEY_CAS] = op_key_write,
    [OP_KEY_LOCK] = op_key_write,
    [OP_KEY_UNLOCK] = op_key_write,
    [OP_KEY_GET] = op_key_read,
    [OP_KEY_GET_OR_EMPTY] = op_key_read,
    [OP_KEY_GET_TREE] = op_key_tree,
    [OP_KEY_CHECK_INDEX] = op_key_check,
    [OP_KEY_CHECK_SESSION] = op_key_check,
    [OP_KEY_CHECK_ABSENT] = op_key_check,
    [OP_KEY_DELETE] = op_key_delete,
    [OP_KEY_DELETE_TREE] = op_key_tree,
    [OP_KEY_DELETE_CAS] = op_key_delete,
    [OP_SESSION_CREATE] = op_session,
    [OP_SESSION_DESTROY] = op_session,
    [OP_NODE_SET] = op_node,
    [OP_NODE_CAS] = op_node,
    [OP_NODE_GET] = op_node,
    [OP_NODE_DELETE] = op_node,
    [OP_NODE_DELETE_CAS] = op_node,
    [OP_NODE_MOVE] = op_node,
    [OP_NODE_ENSURE] = op_node,
    [OP_SERVICE_SET] = op_service,
    [OP_SERVICE_CAS] = op_service,
    [OP_SERVICE_GET] = op_service,
    [OP_SERVICE_DELETE] = op_service,
    [OP_SERVICE_DELETE_CAS] = op_service,
    [OP_CHECK_SET] = op_check,
    [OP_CHECK_CAS] = op_check,
    [OP_CHECK_GET] = op_check,
    [OP_CHECK_DELETE] = op_check,
    [OP_CHECK_DELETE_CAS] = op_check,
    [OP_CHECK_STATUS] = op_check,
    [OP_CHECK_KEEP] = op_check,
    [OP_RECORD_SET] = op_record,
    [OP_RECORD_CAS] = op_record,
    [OP_RECORD_DELETE] = op_record,
    [OP_RECORD_DELETE_CAS] = op_record,
};

/* What apply has counted so far; the tables have their own memory. */
struct savepoint {
    uint32_t n_changed;
    size_t n_changes, n_change_keys, n_leases;
};

static void take_back(struct apply *a, const struct savepoint *s)
{
    db_undo(a->txn);
    a->n_changed = s->n_changed;
    a->n_changes = s->n_changes;
    a->change_keys.len = s->n_change_keys;
    a->n_leases = s->n_leases;
}

void txn_add_item(struct apply *a, const struct txn_item *item)
{
    txn_item_encode(&a->detail, item);
}

static void run_one(struct apply *a, const struct op *o, struct txn_item *item)
{
    size_t before = a->detail.len;
    ops[o->type](a, o, item);
    if (item->code == 0 && item->key.len != 0 && a->detail.len + item->row.len > TXN_DETAIL_MAX) {
        item->code = MU_E_TOO_LARGE;
    }
    if (item->code == 0 && (item->key.len != 0 || item->is_more)) {
        txn_add_item(a, item);
    } else if (item->code != 0) {
        a->detail.len = before;
    }
}

void apply_txn(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_txn *m = &c->u.txn;
    const struct savepoint s = {a->n_changed, a->n_changes, a->change_keys.len, a->n_leases};
    struct wire_reader w;
    struct txn_item item = {0};
    buf_clear(&a->detail);
    buf_clear(&a->failures);
    a->wants_rows = m->wants_rows;
    a->notes_leases = 1;
    a->tree_left = TREE_MAX;
    wire_read_init(&w, m->body);
    if (m->n > 1) {
        db_mark(a->txn);
    }
    for (unsigned i = 0; i < m->n; i++) {
        struct op o;
        /* With rows in it the answer can turn out too large for what was done already. */
        if (i + 1 == m->n && r->code == 0 && !m->wants_rows) {
            db_mark_last(a->txn);
        }
        op_decode(&w, &o);
        MU_INVARIANT(!w.failed);
        item = (struct txn_item){.op = i};
        run_one(a, &o, &item);
        if (item.code != 0) {
            r->code = r->code != 0 ? r->code : item.code;
            item.key = item.row = (struct slice){0};
            txn_item_encode(&a->failures, &item);
        }
    }
    if (m->n > 1 && r->code != 0) {
        take_back(a, &s);
    } else if (m->n > 1) {
        db_unmark(a->txn);
    }
    MU_INVARIANT(r->code == 0 || a->n_changed == s.n_changed);
    r->mod_rev = item.mod_rev;
    r->is_changed = a->n_changed != s.n_changed;
    r->detail = buf_slice(r->code != 0 ? &a->failures : &a->detail);
}
