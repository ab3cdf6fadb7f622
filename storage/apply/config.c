/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/apply/apply_impl.h"

static void find_config(struct apply *a, const struct config_name *n, struct row_at *out)
{
    buf_clear(&a->key);
    key_config(&a->key, n);
    row_find(a, buf_slice(&a->key), out);
}

/* A publication is a new version even when the content is the old one: its author and comment are
 * history too. */
void apply_config_put(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_config_put *m = &c->u.config_put;
    struct row_at cur;
    find_config(a, &m->name, &cur);
    if (!row_cas(&cur, m->cas, m->expect, r)) {
        return;
    }
    struct config_row row = {
        .meta = row_next_meta(a, &cur),
        .content = m->content,
        .content_type = m->content_type,
        .description = m->description,
        .tags = m->tags,
        .author = m->author,
        .comment = m->comment,
    };
    memcpy(row.digest, m->digest, sizeof(row.digest));
    buf_clear(&a->row);
    config_row_encode(&a->row, &row);
    row_write(a, &cur);
    row_result(&cur, &row.meta, r);
}

void apply_config_delete(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_config_delete *m = &c->u.config_delete;
    struct row_at cur;
    find_config(a, &m->name, &cur);
    if (!row_cas(&cur, m->cas, m->expect, r)) {
        return;
    }
    if (!cur.is_live) {
        r->code = MU_E_NOT_FOUND;
        return;
    }
    struct config_row row = {.meta = row_next_meta(a, &cur)};
    row.meta.is_deleted = 1;
    buf_clear(&a->row);
    config_row_encode(&a->row, &row);
    row_write(a, &cur);
    row_result(&cur, &row.meta, r);
}
