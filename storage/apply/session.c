/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions. Each owns a lease; its row is the first that hangs on it, the keys it holds follow. The
 * lease ends with the session and the session with the lease. */
#include "storage/apply/apply_impl.h"

enum { DELAY_MAX_S = 60 }; /* what is asked beyond is kept, but not applied */

int session_find(struct apply *a, struct slice id, struct session_row *out)
{
    struct row_at cur;
    struct buf key;
    buf_init(&key);
    key_session(&key, id);
    row_find(a, buf_slice(&key), &cur);
    int rc = cur.is_live ? session_row_decode(row_bytes(a, &cur), out) : MU_E_NOT_FOUND;
    buf_fini(&key);
    MU_INVARIANT(rc == 0 || rc == MU_E_NOT_FOUND);
    return rc;
}

/* --- links: the sessions of a node, and of a check --- */

static struct slice check_field(struct buf *out, struct slice node, struct slice check_id)
{
    buf_clear(out);
    buf_append_slice(out, node);
    buf_append_byte(out, 0);
    buf_append_slice(out, check_id);
    return buf_slice(out);
}

static void link_checks(struct apply *a, struct slice id, const struct session_row *s, int is_put)
{
    const struct slice lists[] = {s->node_checks, s->service_checks};
    struct pair_iter it;
    struct slice check;
    struct buf x;
    buf_init(&x);
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        tags_begin(&it, lists[i]);
        while (tags_next(&it, &check)) {
            struct slice field = check_field(&x, s->node, check);
            if (is_put) {
                link_put(a, LINK_SESSION_CHECK, field, id, slice_of(NULL, 0));
            } else {
                link_del(a, LINK_SESSION_CHECK, field, id);
            }
        }
    }
    buf_fini(&x);
}

/* --- making --- */

static int refuse_check(struct apply *a, struct slice node, struct slice id)
{
    enum check_status status;
    struct buf service;
    buf_init(&service);
    int rc = check_is_there(a, node, id, &service)
                 ? check_status_of(a, &(struct check_name){node, buf_slice(&service), id}, &status)
                 : MU_E_NOT_FOUND;
    buf_fini(&service);
    return rc == 0 && status == CHECK_CRITICAL ? MU_E_CONFLICT : rc;
}

static int refuse_list(struct apply *a, struct slice node, struct slice list)
{
    struct pair_iter it;
    struct slice id;
    int rc = 0;
    tags_begin(&it, list);
    while (rc == 0 && tags_next(&it, &id)) {
        rc = refuse_check(a, node, id);
    }
    return rc;
}

static int refuse(struct apply *a, const struct op_session *m)
{
    struct lease_row lease;
    if (!node_is_there(a, m->row.node)) {
        return MU_E_NOT_FOUND;
    }
    int rc = refuse_list(a, m->row.node, m->row.node_checks);
    rc = rc != 0 ? rc : refuse_list(a, m->row.node, m->row.service_checks);
    if (rc == 0 && lease_find(a, m->row.meta.lease, &lease) == 0) {
        rc = MU_E_EXISTS;
    }
    return rc;
}

static void create(struct apply *a, const struct op_session *m, struct txn_item *item)
{
    struct row_at cur;
    item->code = refuse(a, m);
    buf_clear(&a->key);
    key_session(&a->key, m->id);
    row_find(a, buf_slice(&a->key), &cur);
    if (item->code == 0 && cur.is_live) {
        item->code = MU_E_EXISTS;
    }
    if (item->code != 0) {
        return;
    }
    struct session_row row = m->row;
    row.meta = row_next_meta(a, &cur);
    row.meta.lease = m->row.meta.lease;
    buf_clear(&a->row);
    session_row_encode(&a->row, &row);
    row_write(a, &cur);
    item->mod_rev = row.meta.mod_rev;
    lease_write(a, &(struct lease_row){.id = row.meta.lease,
                                       .ttl_ms = 2 * row.ttl_ms,
                                       .generation = 1,
                                       .remaining_ms = 2 * row.ttl_ms,
                                       .is_owned = 1});
    lease_attach(a, row.meta.lease, &row.meta, cur.key);
    link_put(a, LINK_SESSION_NODE, row.node, m->id, slice_of(NULL, 0));
    link_checks(a, m->id, &row, 1);
    if (a->wants_rows) {
        item->key = cur.key;
        item->row = buf_slice(&a->row);
    }
}

/* --- ending --- */

void session_ended(struct apply *a, struct slice key, struct session_row *out)
{
    struct row_at cur;
    struct session_row old;
    struct slice id = slice_of(key.p + 1, key.len - 1);
    row_find(a, key, &cur);
    MU_INVARIANT(cur.is_live);
    int rc = session_row_decode(row_bytes(a, &cur), &old);
    MU_INVARIANT(rc == 0);
    *out = (struct session_row){.behavior = old.behavior, .lock_delay_ns = old.lock_delay_ns};
    uint64_t most = (uint64_t)DELAY_MAX_S * 1000000000;
    out->lock_delay_ns = old.lock_delay_ns > most ? most : old.lock_delay_ns;
    link_del(a, LINK_SESSION_NODE, old.node, id);
    link_checks(a, id, &old, 0);
    lease_detach(a, old.meta.lease, &old.meta);
    struct session_row row = {.meta = row_next_meta(a, &cur)};
    row.meta.is_deleted = 1;
    row.meta.lease = 0;
    row_find(a, key, &cur); /* the links moved nothing here, the lease may have */
    buf_clear(&a->row);
    session_row_encode(&a->row, &row);
    row_write(a, &cur);
}

static void end_all(struct apply *a, enum link_kind kind, struct slice x)
{
    struct session_row s;
    struct buf id;
    buf_init(&id);
    while (link_next(a, kind, x, &id)) {
        if (session_find(a, buf_slice(&id), &s) == 0) {
            lease_end(a, s.meta.lease);
        } else {
            MU_INVARIANT(0 && "a link without a session");
        }
    }
    buf_fini(&id);
}

void session_check_failed(struct apply *a, struct slice node, struct slice check_id)
{
    struct buf x;
    buf_init(&x);
    end_all(a, LINK_SESSION_CHECK, check_field(&x, node, check_id));
    buf_fini(&x);
}

void session_node_gone(struct apply *a, struct slice node)
{
    end_all(a, LINK_SESSION_NODE, node);
}

/* --- moving --- */

static void move_session(struct apply *a, struct slice id, struct slice to)
{
    struct row_at cur;
    struct session_row old;
    struct buf key;
    buf_init(&key);
    key_session(&key, id);
    row_find(a, buf_slice(&key), &cur);
    int rc = session_row_decode(row_bytes(a, &cur), &old);
    MU_INVARIANT(rc == 0);
    struct session_row row = old;
    row.meta = row_next_meta(a, &cur);
    row.node = to;
    buf_clear(&a->row);
    session_row_encode(&a->row, &row);
    link_checks(a, id, &old, 0);
    link_checks(a, id, &row, 1);
    link_del(a, LINK_SESSION_NODE, old.node, id);
    link_put(a, LINK_SESSION_NODE, to, id, slice_of(NULL, 0));
    row_write(a, &cur);
    buf_fini(&key);
}

unsigned sessions_move(struct apply *a, struct slice node, struct slice to, unsigned max)
{
    struct session_row s;
    struct buf id;
    unsigned n = 0;
    buf_init(&id);
    while (n < max && link_next(a, LINK_SESSION_NODE, node, &id)) {
        int rc = session_find(a, buf_slice(&id), &s);
        MU_INVARIANT(rc == 0);
        if (refuse_list(a, to, s.node_checks) == 0 && refuse_list(a, to, s.service_checks) == 0) {
            move_session(a, buf_slice(&id), to);
            n++;
        }
        buf_append_byte(&id, 0);
    }
    buf_fini(&id);
    return n;
}

void op_session(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct session_row s;
    if (o->type == OP_SESSION_CREATE) {
        create(a, &o->u.session, item);
    } else if (session_find(a, o->u.session.id, &s) == 0) {
        lease_end(a, s.meta.lease);
    }
}
