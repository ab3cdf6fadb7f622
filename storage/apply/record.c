/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/apply/apply_impl.h"

static int is_met(const struct row_at *cur, const struct op *o)
{
    return o->expect == (cur->is_live ? cur->meta.mod_rev : 0);
}

static int refuse(const struct row_at *cur, const struct op *o)
{
    int has_condition = o->type == OP_RECORD_CAS || o->type == OP_RECORD_DELETE_CAS;
    if (!has_condition || is_met(cur, o)) {
        return 0;
    }
    return o->expect == 0 ? MU_E_EXISTS : MU_E_REVISION_MISMATCH;
}

void op_record(struct apply *a, const struct op *o, struct txn_item *item)
{
    struct row_at cur;
    int is_delete = o->type == OP_RECORD_DELETE || o->type == OP_RECORD_DELETE_CAS;
    buf_clear(&a->key);
    key_record(&a->key, o->u.record.kind, o->u.record.name);
    row_find(a, buf_slice(&a->key), &cur);
    item->mod_rev = cur.is_live ? cur.meta.mod_rev : 0;
    if (is_delete && !cur.is_live) {
        return; /* gone is what was wanted */
    }
    item->code = refuse(&cur, o);
    if (item->code != 0) {
        return;
    }
    struct record_row row = {.meta = row_next_meta(a, &cur)};
    row.meta.is_deleted = is_delete;
    if (!is_delete) {
        row.body = o->u.record.body;
    }
    buf_clear(&a->row);
    record_row_encode(&a->row, &row);
    row_write(a, &cur);
    item->mod_rev = is_delete ? 0 : row.meta.mod_rev;
    if (a->wants_rows && !is_delete) {
        item->key = cur.key;
        item->row = buf_slice(&a->row);
    }
}
