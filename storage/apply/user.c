/* SPDX-License-Identifier: Apache-2.0 */
/* User keys. What the Consul face needs of a write decides: flags, who holds the key, how often it
 * was taken (lock_index), and for how long nobody else gets it
 * (https://developer.hashicorp.com/consul/api-docs/kv, consul/state/kvs.go of 1.8). An equal write
 * is no write. */
#include "storage/apply/apply_impl.h"

static const struct user_row no_row;

static void find(struct apply *a, struct slice key, struct row_at *cur, struct user_row *out)
{
    row_find(a, key, cur);
    *out = no_row;
    if (cur->is_stored) {
        int rc = user_row_decode(row_bytes(a, cur), out);
        MU_INVARIANT(rc == 0);
    }
}

static void find_op(struct apply *a, const struct op *o, struct row_at *cur, struct user_row *out)
{
    buf_clear(&a->key);
    key_user(&a->key, o->u.key.key);
    find(a, buf_slice(&a->key), cur, out);
}

static mu_rev rev_now(const struct row_at *cur)
{
    return cur->is_live ? cur->meta.mod_rev : 0;
}

/* --- who holds it --- */

static mu_lease_id lease_of(struct apply *a, struct slice session)
{
    struct session_row s;
    return session.len != 0 && session_find(a, session, &s) == 0 ? s.meta.lease : 0;
}

/* Held keys hang on the lease of the session. */
static void move_hold(struct apply *a, const struct row_at *cur, const struct user_row *old,
                      const struct user_row *row)
{
    if (slice_eq(old->session, row->session) && cur->is_live) {
        return;
    }
    mu_lease_id from = cur->is_live ? lease_of(a, old->session) : 0;
    mu_lease_id to = row->meta.is_deleted ? 0 : lease_of(a, row->session);
    if (from != 0) {
        lease_detach(a, from, &old->meta);
    }
    if (to != 0) {
        lease_attach(a, to, &row->meta, cur->key);
    }
}

static int is_delayed(const struct apply *a, const struct user_row *old)
{
    return old->delay_until_ms > a->wall_ms;
}

static int refuse_lock(struct apply *a, const struct row_at *cur, const struct user_row *old,
                       struct slice session)
{
    struct session_row s;
    if (session_find(a, session, &s) != 0) {
        return MU_E_NO_SESSION;
    }
    int is_held = cur->is_live && old->session.len != 0;
    if (is_held) {
        return slice_eq(old->session, session) ? 0 : MU_E_REVISION_MISMATCH;
    }
    return is_delayed(a, old) ? MU_E_REVISION_MISMATCH : 0;
}

static int refuse_write(struct apply *a, const struct op *o, const struct row_at *cur,
                        const struct user_row *old)
{
    switch (o->type) {
    case OP_KEY_CAS:
        if (o->expect == 0 && cur->is_live) {
            return MU_E_EXISTS;
        }
        return o->expect == rev_now(cur) ? 0 : MU_E_REVISION_MISMATCH;
    case OP_KEY_LOCK:
        return refuse_lock(a, cur, old, o->u.key.session);
    case OP_KEY_UNLOCK:
        return cur->is_live && old->session.len != 0 && slice_eq(old->session, o->u.key.session)
                   ? 0
                   : MU_E_REVISION_MISMATCH;
    default:
        return 0;
    }
}

/* --- writing --- */

/* A row without its value, for the answer. */
static void tell_row(struct apply *a, const struct row_at *cur, const struct user_row *row,
                     struct txn_item *item)
{
    struct user_row bare = *row;
    item->mod_rev = row->meta.mod_rev;
    if (!a->wants_rows) {
        return;
    }
    bare.value = slice_of(NULL, 0);
    buf_clear(&a->row);
    user_row_encode(&a->row, &bare);
    item->key = cur->key;
    item->row = buf_slice(&a->row);
}

static int is_equal(const struct user_row *x, const struct user_row *y)
{
    return x->flags == y->flags && x->lock_index == y->lock_index &&
           slice_eq(x->session, y->session) && slice_eq(x->value, y->value);
}

static void put_row(struct apply *a, const struct row_at *cur, const struct user_row *old,
                    const struct user_row *row)
{
    move_hold(a, cur, old, row);
    /* What hangs on a lease may have moved the table's cursor. */
    struct row_at again;
    row_find(a, cur->key, &again);
    buf_clear(&a->row);
    user_row_encode(&a->row, row);
    row_write(a, &again);
}

void op_key_write(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    struct user_row old;
    find_op(a, o, &cur, &old);
    item->mod_rev = rev_now(&cur);
    item->code = refuse_write(a, o, &cur, &old);
    if (item->code != 0) {
        return;
    }
    struct user_row row = {
        .meta = row_next_meta(a, &cur), .value = o->u.key.value, .flags = o->u.key.flags};
    if (o->type == OP_KEY_LOCK) {
        int is_mine = cur.is_live && old.session.len != 0;
        row.session = o->u.key.session;
        row.lock_index = (cur.is_live ? old.lock_index : 0) + !is_mine;
    } else if (o->type == OP_KEY_UNLOCK) {
        row.lock_index = old.lock_index;
    } else if (cur.is_live) {
        row.session = old.session;
    }
    row.delay_until_ms = is_delayed(a, &old) ? old.delay_until_ms : 0;
    if (cur.is_live && is_equal(&old, &row)) {
        tell_row(a, &cur, &old, item);
        return;
    }
    put_row(a, &cur, &old, &row);
    tell_row(a, &cur, &row, item);
}

static void bury(struct apply *a, const struct row_at *cur, const struct user_row *old,
                 int64_t delay_until_ms)
{
    struct user_row row = {.meta = row_next_meta(a, cur), .delay_until_ms = delay_until_ms};
    row.meta.is_deleted = 1;
    row.meta.lease = 0;
    put_row(a, cur, old, &row);
}

void op_key_delete(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    struct user_row old;
    find_op(a, o, &cur, &old);
    item->mod_rev = rev_now(&cur);
    if (!cur.is_live) {
        return;
    }
    if (o->type == OP_KEY_DELETE_CAS && o->expect != cur.meta.mod_rev) {
        item->code = MU_E_REVISION_MISMATCH;
        return;
    }
    bury(a, &cur, &old, is_delayed(a, &old) ? old.delay_until_ms : 0);
    item->mod_rev = 0;
}

void user_key_freed(struct apply *a, struct slice key, mu_lease_id lease,
                    const struct session_row *s)
{
    struct row_at cur;
    struct user_row old;
    int64_t until = a->wall_ms + (int64_t)(s->lock_delay_ns / 1000000);
    until = s->lock_delay_ns / 1000000 == 0 ? 0 : until;
    find(a, key, &cur, &old);
    MU_INVARIANT(cur.is_live && old.session.len != 0);
    lease_detach(a, lease, &old.meta);
    if (s->behavior == SESSION_DELETE) {
        bury(a, &cur, &old, until);
        return;
    }
    struct user_row row = old;
    row.meta = row_next_meta(a, &cur);
    row.session = slice_of(NULL, 0);
    row.delay_until_ms = until;
    put_row(a, &cur, &old, &row);
}

/* --- reading and checking --- */

void op_key_read(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    buf_clear(&a->key);
    key_user(&a->key, o->u.key.key);
    row_find(a, buf_slice(&a->key), &cur);
    item->mod_rev = rev_now(&cur);
    if (cur.is_live) {
        item->key = cur.key;
        item->row = row_bytes(a, &cur);
    } else if (o->type == OP_KEY_GET_OR_EMPTY) {
        item->key = cur.key;
    } else {
        item->code = MU_E_NOT_FOUND;
    }
}

void op_key_check(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    struct user_row old;
    find_op(a, o, &cur, &old);
    item->mod_rev = rev_now(&cur);
    if (o->type == OP_KEY_CHECK_ABSENT) {
        item->code = cur.is_live ? MU_E_EXISTS : 0;
        return;
    }
    if (!cur.is_live) {
        item->code = MU_E_NOT_FOUND;
        return;
    }
    int is_met = o->type == OP_KEY_CHECK_INDEX ? o->expect == cur.meta.mod_rev
                                               : slice_eq(old.session, o->u.key.session);
    item->code = is_met ? 0 : MU_E_REVISION_MISMATCH;
    if (is_met) {
        item->key = cur.key;
        item->row = row_bytes(a, &cur);
    } else {
        /* Why: who holds it. */
        tell_row(a, &cur, &old, item);
    }
}

static void tree_key(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    struct user_row old;
    find(a, buf_slice(&a->key), &cur, &old);
    if (o->type == OP_KEY_DELETE_TREE) {
        bury(a, &cur, &old, is_delayed(a, &old) ? old.delay_until_ms : 0);
        return;
    }
    struct slice row = row_bytes(a, &cur);
    if (a->detail.len + row.len > TXN_DETAIL_MAX) {
        item->code = MU_E_TOO_LARGE;
        return;
    }
    txn_add_item(a, &(struct txn_item){
                        .op = item->op, .mod_rev = cur.meta.mod_rev, .key = cur.key, .row = row});
}

static void begin_tree(struct apply *a, struct slice prefix, struct buf *out_prefix)
{
    buf_init(out_prefix);
    key_user(out_prefix, prefix);
    buf_clear(&a->scan);
    buf_append_slice(&a->scan, buf_slice(out_prefix));
}

void op_key_tree(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct buf prefix;
    size_t n = 0;
    begin_tree(a, o->u.key.key, &prefix);
    /* Counted first: too many are refused before one is touched, and those after it at once. */
    while (n <= a->tree_left && row_next(a, buf_slice(&prefix), &a->scan, &a->key)) {
        n++;
    }
    if (n > a->tree_left) {
        item->code = MU_E_TOO_LARGE;
        n = a->tree_left;
    }
    a->tree_left -= (uint32_t)n;
    buf_clear(&a->scan);
    buf_append_slice(&a->scan, buf_slice(&prefix));
    while (item->code == 0 && row_next(a, buf_slice(&prefix), &a->scan, &a->key)) {
        tree_key(a, o, item);
    }
    buf_fini(&prefix);
}
