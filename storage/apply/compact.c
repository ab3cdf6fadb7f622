/* SPDX-License-Identifier: Apache-2.0 */
/* Forgetting old versions, a bounded piece per command.
 *
 * A run walks the rows of a space in key order and, for each key, the chain of its versions from
 * the newest to the oldest. From the first version on that was superseded before the given time and
 * is not among the newest `keep_versions`, all older ones go: what stays of a key is always a
 * gapless head of its chain. A key whose newest row is an old tombstone goes altogether. Where the
 * run stopped is kept in DB_META and so in snapshots: every node forgets the same at the same
 * command. */
#include "storage/apply/apply_impl.h"

enum { WORK_MAX = 1000 };     /* rows and versions looked at by one command: a few milliseconds */
enum { PIECES_PER_WORK = 2 }; /* of a large row that are taken away for the price of one */

static void raise_compacted(struct apply *a, enum meta_slot slot, mu_rev to)
{
    if (to > a->meta->compacted[slot]) {
        a->meta->compacted[slot] = to;
    }
}

static void set_key(struct meta_compact *p, struct slice key)
{
    buf_clear(&p->key);
    buf_append_slice(&p->key, key);
}

/* The first row at or behind the position that belongs to the slot. 0 when the run is through. */
static int next_row(struct apply *a, enum meta_slot slot, struct meta_compact *p,
                    struct row_meta *out)
{
    struct longkey_cur c;
    struct slice k, v;
    struct event ev;
    longkey_cur_open(&c, a->txn);
    int rc = longkey_cur_seek(&c, buf_slice(&p->key), &k, &v);
    while (rc == 0 && meta_slot_of(k.p[0]) != slot && k.p[0] < SPACE_LAST) {
        /* The spaces of a slot need not be neighbours. */
        rc = longkey_cur_seek(&c, slice_of((const uint8_t[]){(uint8_t)(k.p[0] + 1)}, 1), &k, &v);
    }
    int is_ours = rc == 0 && meta_slot_of(k.p[0]) == slot;
    if (is_ours) {
        rc = event_resolve(a->txn, v, &ev);
        rc = rc != 0 ? rc : row_meta_decode(ev.head, out);
        MU_INVARIANT(rc == 0);
        set_key(p, k);
    }
    longkey_cur_close(&c);
    return is_ours;
}

static void enter_key(struct meta_compact *p, const struct row_meta *newest,
                      const struct cmd_compact *m)
{
    int is_gone = newest->is_deleted && newest->time_ms < m->before_ms;
    p->is_in_key = 1;
    p->rev = newest->prev_rev;
    p->sub = newest->prev_sub;
    p->n_kept = 1;
    p->superseded_ms = newest->time_ms;
    p->superseded_rev = newest->mod_rev;
    p->is_dropping = is_gone;
    p->tombstone = is_gone ? newest->mod_rev : 0;
}

/* One version of the key under way. Returns what it cost; 0 when there is none left. */
static size_t step_version(struct apply *a, enum meta_slot slot, struct meta_compact *p,
                           const struct cmd_compact *m)
{
    struct event ev;
    struct row_meta v;
    size_t work = 1;
    if (p->rev == 0 || event_get(a->txn, p->rev, p->sub, &ev) != 0) {
        return 0;
    }
    int rc = row_meta_decode(ev.head, &v);
    MU_INVARIANT(rc == 0);
    if (p->superseded_ms < m->before_ms && p->n_kept >= m->keep_versions) {
        p->is_dropping = 1;
    }
    if (p->is_dropping) {
        work += event_del(a->txn, p->rev, p->sub) / PIECES_PER_WORK;
        raise_compacted(a, slot, v.mod_rev); /* may be the revision that replaced it, too */
        raise_compacted(a, slot, p->superseded_rev - 1);
    }
    p->n_kept++;
    p->superseded_ms = v.time_ms;
    p->superseded_rev = v.mod_rev;
    p->rev = v.prev_rev;
    p->sub = v.prev_sub;
    return work;
}

/* All versions are dealt with: the tombstone goes unless the key came back in between. Then on to
 * the next key. */
static void leave_key(struct apply *a, enum meta_slot slot, struct meta_compact *p)
{
    struct row_at cur;
    if (p->tombstone != 0) {
        row_find(a, buf_slice(&p->key), &cur);
        if (cur.is_stored && cur.meta.mod_rev == p->tombstone) {
            MU_INVARIANT(cur.meta.is_deleted);
            (void)event_del(a->txn, cur.meta.mod_rev, cur.meta.mod_sub);
            longkey_del(a->txn, cur.key);
            raise_compacted(a, slot, p->tombstone);
        }
    }
    buf_append_byte(&p->key, 0);
    p->is_in_key = 0;
}

void apply_compact(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_compact *m = &c->u.compact;
    struct meta_compact *p = &a->compact;
    struct row_meta newest;
    enum meta_slot slot = meta_slot_of(m->space);
    MU_INVARIANT(slot < META_SLOT_N);
    if (meta_read_compact(a->txn, slot, p) != 0) {
        set_key(p, slice_of((const uint8_t[]){SPACE_FIRST}, 1));
        p->is_in_key = 0;
    }
    for (size_t work = 0; work < WORK_MAX;) {
        if (!p->is_in_key) {
            if (!next_row(a, slot, p, &newest)) {
                meta_del_compact(a->txn, slot);
                return;
            }
            enter_key(p, &newest, m);
        }
        size_t cost = step_version(a, slot, p, m);
        if (cost == 0) {
            leave_key(a, slot, p);
            cost = 1;
        }
        work += cost;
    }
    meta_write_compact(a->txn, slot, p);
    r->is_changed = 1;
}
