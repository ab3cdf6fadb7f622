/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/db/undo.h"

#include "base/mem.h"
#include "base/wire.h"

void undo_fini(struct undo *u)
{
    buf_fini(&u->bytes);
    mem_free(u->at);
    *u = (struct undo){0};
}

void undo_clear(struct undo *u)
{
    buf_clear(&u->bytes);
    u->n = 0;
}

void undo_note(struct undo *u, const struct undo_entry *e)
{
    if (u->n == u->cap) {
        u->cap = u->cap == 0 ? 64 : u->cap * 2;
        u->at = mem_realloc(u->at, u->cap * sizeof(*u->at));
    }
    u->at[u->n++] = u->bytes.len;
    wire_put_u8(&u->bytes, (uint8_t)e->table);
    wire_put_u8(&u->bytes, e->had_value ? 1 : 0);
    wire_put_bytes(&u->bytes, e->key);
    wire_put_bytes(&u->bytes, e->value);
}

int undo_take(struct undo *u, struct undo_entry *out)
{
    struct wire_reader r;
    if (u->n == 0) {
        return 0;
    }
    size_t at = u->at[--u->n];
    wire_read_init(&r, slice_of(u->bytes.p + at, u->bytes.len - at));
    out->table = (enum db_table)wire_u8(&r);
    out->had_value = wire_u8(&r);
    out->key = wire_bytes(&r, UINT32_MAX);
    out->value = wire_bytes(&r, UINT32_MAX);
    MU_INVARIANT(!r.failed);
    return 1;
}
