/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/apply/apply_impl.h"

#include "base/mem.h"

void row_find(struct apply *a, struct slice key, struct row_at *out)
{
    *out = (struct row_at){.key = key};
    struct slice stored;
    if (longkey_find(a->txn, key, &stored) != 0) {
        return;
    }
    int rc = event_resolve(a->txn, stored, &out->stored);
    rc = rc != 0 ? rc : row_meta_decode(out->stored.head, &out->meta);
    MU_INVARIANT(rc == 0);
    out->is_stored = 1;
    out->is_live = !out->meta.is_deleted;
    out->is_cursor_on = 1;
}

struct slice row_bytes(struct apply *a, const struct row_at *cur)
{
    struct slice row;
    int rc = event_row(a->txn, &cur->stored, &a->old_row, &row);
    MU_INVARIANT(rc == 0);
    return row;
}

struct row_meta row_next_meta(const struct apply *a, const struct row_at *cur)
{
    struct row_meta m = {
        .create_rev = a->rev,
        .create_sub = a->n_changed,
        .mod_rev = a->rev,
        .mod_sub = a->n_changed,
        .version = 1,
        .prev_rev = cur->meta.mod_rev,
        .prev_sub = cur->meta.mod_sub,
        .time_ms = a->wall_ms,
    };
    if (cur->is_live) {
        m.create_rev = cur->meta.create_rev;
        m.create_sub = cur->meta.create_sub;
        m.version = cur->meta.version + 1;
        m.lease = cur->meta.lease;
    }
    return m;
}

static void note_change(struct apply *a, struct slice key, int is_delete)
{
    if (a->n_changes == a->cap_changes) {
        a->cap_changes = a->cap_changes == 0 ? 64 : a->cap_changes * 2;
        a->changes = mem_realloc(a->changes, a->cap_changes * sizeof(*a->changes));
    }
    /* The bytes may move while more are added: apply_end sets the pointers. */
    a->changes[a->n_changes++] =
        (struct change){a->rev, a->n_changed, slice_of(NULL, key.len), is_delete};
    buf_append_slice(&a->change_keys, key);
}

void row_write(struct apply *a, const struct row_at *cur)
{
    struct slice row = buf_slice(&a->row);
    struct row_meta m;
    int rc = row_meta_decode(row, &m);
    MU_INVARIANT(rc == 0 && m.mod_rev == a->rev && m.mod_sub == a->n_changed);
    if (row.len <= ROW_INLINE_MAX) {
        longkey_put(a->txn, cur->key, row, cur->is_cursor_on);
    } else {
        uint8_t ref[EVENT_REF_SIZE];
        longkey_put(a->txn, cur->key, event_ref(ref, m.mod_rev, m.mod_sub), cur->is_cursor_on);
    }
    event_append(a->txn, m.mod_rev, m.mod_sub, cur->key, row);
    note_change(a, cur->key, m.is_deleted);
    a->n_changed++;
}

int row_next(struct apply *a, struct slice prefix, struct buf *inout_at, struct buf *out_key)
{
    struct longkey_cur c;
    struct slice k, v;
    struct event ev;
    struct row_meta m = {.is_deleted = 1};
    longkey_cur_open(&c, a->txn);
    int rc = longkey_cur_seek(&c, buf_slice(inout_at), &k, &v);
    while (rc == 0 && slice_has_prefix(k, prefix)) {
        rc = event_resolve(a->txn, v, &ev);
        rc = rc != 0 ? rc : row_meta_decode(ev.head, &m);
        MU_INVARIANT(rc == 0);
        if (!m.is_deleted) {
            break;
        }
        rc = longkey_cur_next(&c, &k, &v);
    }
    int is_found = rc == 0 && !m.is_deleted && slice_has_prefix(k, prefix);
    if (is_found) {
        buf_clear(out_key);
        buf_append_slice(out_key, k);
        buf_clear(inout_at);
        buf_append_slice(inout_at, k);
        buf_append_byte(inout_at, 0);
    }
    longkey_cur_close(&c);
    return is_found;
}

static struct slice body_of(struct slice row)
{
    return slice_of(row.p + ROW_META_SIZE, row.len - ROW_META_SIZE);
}

int row_is_same(struct apply *a, const struct row_at *cur)
{
    return cur->is_live && slice_eq(body_of(row_bytes(a, cur)), body_of(buf_slice(&a->row)));
}

void row_tell(struct apply *a, struct slice key, struct txn_item *item)
{
    struct row_at cur;
    row_find(a, key, &cur);
    if (cur.is_live) {
        item->key = key;
        item->row = row_bytes(a, &cur);
    }
}

void row_result(const struct row_at *cur, const struct row_meta *m, struct command_result *r)
{
    r->mod_rev = m->mod_rev;
    r->create_rev = m->create_rev;
    r->version = m->version;
    r->is_created = !cur->is_live;
    r->is_changed = 1;
}

int row_cas(const struct row_at *cur, enum cas_mode mode, mu_rev expect, struct command_result *r)
{
    mu_rev now = cur->is_live ? cur->meta.mod_rev : 0;
    if (mode == CAS_ABSENT && cur->is_live) {
        r->code = MU_E_EXISTS;
    } else if (mode == CAS_REVISION && now != expect) {
        r->code = MU_E_REVISION_MISMATCH;
    } else {
        return 1;
    }
    if (cur->is_live) {
        r->mod_rev = now;
        r->create_rev = cur->meta.create_rev;
        r->version = cur->meta.version;
    }
    return 0;
}
