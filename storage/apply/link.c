/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to find a row by something else than its key: (kind, fields) -> a few bytes. They are made
 * and taken away with the rows they lead to and are no rows themselves: no history, no events. */
#include "storage/apply/apply_impl.h"

static struct slice link_key(struct buf *out, enum link_kind kind, struct slice a, struct slice b)
{
    buf_clear(out);
    link_key_put(out, kind, a, b);
    return buf_slice(out);
}

void link_put(struct apply *a, enum link_kind kind, struct slice x, struct slice y,
              struct slice value)
{
    db_put(a->txn, DB_LINKS, link_key(&a->link_key, kind, x, y), value, 0);
}

int link_get(struct apply *a, enum link_kind kind, struct slice x, struct slice y,
             struct slice *out)
{
    return db_get(a->txn, DB_LINKS, link_key(&a->link_key, kind, x, y), out);
}

void link_del(struct apply *a, enum link_kind kind, struct slice x, struct slice y)
{
    db_del(a->txn, DB_LINKS, link_key(&a->link_key, kind, x, y));
}

int link_next(struct apply *a, enum link_kind kind, struct slice x, struct buf *inout_y)
{
    struct slice k, v;
    struct buf prefix;
    buf_init(&prefix);
    link_key_put(&prefix, kind, x, slice_of(NULL, 0));
    struct slice from = link_key(&a->link_key, kind, x, buf_slice(inout_y));
    struct db_cur *c = db_cur_open(a->txn, DB_LINKS);
    int rc = db_cur_seek(c, from, &k, &v);
    int is_found = rc == 0 && slice_has_prefix(k, buf_slice(&prefix));
    if (is_found) {
        buf_clear(inout_y);
        buf_append(inout_y, k.p + prefix.len, k.len - prefix.len);
    }
    db_cur_close(c);
    buf_fini(&prefix);
    return is_found;
}
