/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rows_impl.h"

#include <math.h>

#include "storage/command/command.h"

enum { ROW_VERSION = 2, ROW_DELETED = 1 };
enum {
    INST_ENABLED = 1,
    INST_HEALTHY = 2,
    INST_OWNS_LEASE = 4,
    INST_NODE_ADDRESS = 8,
    INST_FLAGS = 15
};
enum { LEASE_OVERDUE_FLAG = 1, LEASE_OWNED = 2, LEASE_FLAGS = 3 };

/* Format: docs/formats.md#rows. Fixed offsets, so that apply reads a row's meta without decoding
 * its body. */
void row_meta_encode(struct buf *out, const struct row_meta *m)
{
    uint8_t *p = buf_reserve(out, ROW_META_SIZE);
    p[0] = ROW_VERSION;
    p[1] = m->is_deleted ? ROW_DELETED : 0;
    wire_set_u64(p + 2, m->create_rev);
    wire_set_u32(p + 10, m->create_sub);
    wire_set_u64(p + 14, m->mod_rev);
    wire_set_u32(p + 22, m->mod_sub);
    wire_set_u64(p + 26, m->version);
    wire_set_u64(p + 34, m->lease);
    wire_set_u64(p + 42, m->prev_rev);
    wire_set_u32(p + 50, m->prev_sub);
    wire_set_u64(p + 54, (uint64_t)m->time_ms);
    out->len += ROW_META_SIZE;
}

int row_meta_decode(struct slice s, struct row_meta *out)
{
    const uint8_t *p = s.p;
    if (s.len < ROW_META_SIZE || p[0] != ROW_VERSION || (p[1] & ~ROW_DELETED) != 0) {
        return MU_E_FORMAT;
    }
    *out = (struct row_meta){
        .create_rev = wire_get_u64(p + 2),
        .create_sub = wire_get_u32(p + 10),
        .mod_rev = wire_get_u64(p + 14),
        .mod_sub = wire_get_u32(p + 22),
        .version = wire_get_u64(p + 26),
        .lease = wire_get_u64(p + 34),
        .prev_rev = wire_get_u64(p + 42),
        .prev_sub = wire_get_u32(p + 50),
        .time_ms = (int64_t)wire_get_u64(p + 54),
        .is_deleted = p[1] & ROW_DELETED,
    };
    return 0;
}

int row_begin_decode(struct slice s, struct row_meta *out, struct wire_reader *r)
{
    int rc = row_meta_decode(s, out);
    if (rc == 0) {
        wire_read_init(r, slice_of(s.p + ROW_META_SIZE, s.len - ROW_META_SIZE));
    }
    return rc;
}

void config_row_encode(struct buf *out, const struct config_row *r)
{
    row_meta_encode(out, &r->meta);
    buf_append(out, r->digest, sizeof(r->digest));
    wire_put_bytes(out, r->content_type);
    wire_put_bytes(out, r->description);
    wire_put_bytes(out, r->tags);
    wire_put_bytes(out, r->author);
    wire_put_bytes(out, r->comment);
    wire_put_bytes(out, r->content);
}

static int decode_config(struct slice s, size_t row_len, int is_whole, struct config_row *out)
{
    struct config_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    struct slice digest = wire_raw(&w, sizeof(r.digest));
    r.content_type = wire_bytes(&w, ROW_TEXT_MAX);
    r.description = wire_bytes(&w, ROW_TEXT_MAX);
    r.tags = wire_bytes(&w, ROW_TEXT_MAX);
    r.author = wire_bytes(&w, ROW_TEXT_MAX);
    r.comment = wire_bytes(&w, ROW_TEXT_MAX);
    if (is_whole) {
        r.content = wire_bytes(&w, COMMAND_SIZE_MAX);
        rc = wire_read_end(&w);
    } else {
        r.content = slice_of(NULL, wire_u32(&w));
        rc = w.failed || (s.len - w.left) + r.content.len != row_len ? MU_E_FORMAT : 0;
    }
    if (rc == 0) {
        memcpy(r.digest, digest.p, sizeof(r.digest));
        *out = r;
    }
    return rc;
}

int config_row_decode(struct slice s, struct config_row *out)
{
    return decode_config(s, s.len, 1, out);
}

int config_row_decode_head(struct slice head, size_t row_len, struct config_row *out)
{
    return decode_config(head, row_len, head.len == row_len, out);
}

void service_row_encode(struct buf *out, const struct service_row *r)
{
    row_meta_encode(out, &r->meta);
    wire_put_u32(out, r->n_instances);
    wire_put_u32(out, r->n_healthy);
    wire_put_u64(out, r->def_rev);
}

int service_row_decode(struct slice s, struct service_row *out)
{
    struct service_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    r.n_instances = wire_u32(&w);
    r.n_healthy = wire_u32(&w);
    r.def_rev = wire_u64(&w);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}

void instance_body_encode(struct buf *out, const struct instance_row *r)
{
    wire_put_u8(out,
                (uint8_t)((r->is_enabled ? INST_ENABLED : 0) | (r->is_healthy ? INST_HEALTHY : 0) |
                          (r->owns_lease ? INST_OWNS_LEASE : 0) |
                          (r->is_node_address ? INST_NODE_ADDRESS : 0)));
    wire_put_u8(out, (uint8_t)r->check.type);
    wire_put_u16(out, r->port);
    wire_put_f64(out, r->weight);
    wire_put_u64(out, (uint64_t)r->ttl_ms);
    wire_put_u64(out, (uint64_t)r->remove_after_ms);
    wire_put_u64(out, (uint64_t)r->unhealthy_at);
    wire_put_u64(out, (uint64_t)r->check.interval_ms);
    wire_put_u64(out, (uint64_t)r->check.timeout_ms);
    wire_put_u32(out, r->check.failures);
    wire_put_u32(out, r->check.successes);
    wire_put_bytes(out, r->address);
    wire_put_bytes(out, r->check.target);
    wire_put_bytes(out, r->check.method);
    wire_put_bytes(out, r->tags);
    wire_put_bytes(out, r->metadata);
    wire_put_bytes(out, r->output);
    wire_put_bytes(out, r->node);
    wire_put_bytes(out, r->service_id);
    wire_put_bytes(out, r->extra);
}

int row_list_is_sound(struct slice s, unsigned per)
{
    if (s.len == 0) {
        return 1;
    }
    struct wire_reader w;
    wire_read_init(&w, s);
    unsigned n = wire_u16(&w) * per;
    for (unsigned i = 0; i < n && !w.failed; i++) {
        (void)wire_bytes(&w, ROW_TEXT_MAX);
    }
    return wire_read_end(&w) == 0;
}

void instance_body_decode(struct wire_reader *w, struct instance_row *out)
{
    unsigned flags = wire_u8(w);
    unsigned type = wire_u8(w);
    out->port = wire_u16(w);
    out->weight = wire_f64(w);
    out->ttl_ms = (int64_t)wire_u64(w);
    out->remove_after_ms = (int64_t)wire_u64(w);
    out->unhealthy_at = (int64_t)wire_u64(w);
    out->check.interval_ms = (int64_t)wire_u64(w);
    out->check.timeout_ms = (int64_t)wire_u64(w);
    out->check.failures = wire_u32(w);
    out->check.successes = wire_u32(w);
    out->address = wire_bytes(w, ROW_TEXT_MAX);
    out->check.target = wire_bytes(w, ROW_TEXT_MAX);
    out->check.method = wire_bytes(w, ROW_TEXT_MAX);
    out->tags = wire_bytes(w, INSTANCE_LIST_MAX);
    out->metadata = wire_bytes(w, INSTANCE_LIST_MAX);
    out->output = wire_bytes(w, INSTANCE_OUTPUT_MAX);
    out->node = wire_bytes(w, KEY_NAME_MAX);
    out->service_id = wire_bytes(w, KEY_NAME_MAX);
    out->extra = wire_bytes(w, INSTANCE_LIST_MAX);
    out->is_enabled = (flags & INST_ENABLED) != 0;
    out->is_healthy = (flags & INST_HEALTHY) != 0;
    out->owns_lease = (flags & INST_OWNS_LEASE) != 0;
    out->is_node_address = (flags & INST_NODE_ADDRESS) != 0;
    out->check.type = type < CHECK_TYPE_N ? (enum check_type)type : CHECK_NONE;
    int is_bad = (flags & ~(unsigned)INST_FLAGS) != 0 || !isfinite(out->weight) ||
                 type >= CHECK_TYPE_N || out->ttl_ms < 0 || out->remove_after_ms < REMOVE_NEVER ||
                 !row_list_is_sound(out->tags, 1) || !row_list_is_sound(out->metadata, 2);
    if (is_bad) {
        w->failed = 1;
    }
}

void instance_row_encode(struct buf *out, const struct instance_row *r)
{
    row_meta_encode(out, &r->meta);
    wire_put_u64(out, r->def_rev);
    wire_put_u32(out, r->n_checks);
    wire_put_u32(out, r->n_warning);
    wire_put_u32(out, r->n_critical);
    wire_put_u32(out, r->n_node_critical);
    instance_body_encode(out, r);
}

int instance_row_decode(struct slice s, struct instance_row *out)
{
    struct instance_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    r.def_rev = wire_u64(&w);
    r.n_checks = wire_u32(&w);
    r.n_warning = wire_u32(&w);
    r.n_critical = wire_u32(&w);
    r.n_node_critical = wire_u32(&w);
    instance_body_decode(&w, &r);
    rc = wire_read_end(&w);
    if (rc == 0 && (r.node.len == 0) != (r.service_id.len == 0)) {
        rc = MU_E_FORMAT;
    }
    if (rc == 0) {
        *out = r;
    }
    return rc;
}

static void list_begin(struct pair_iter *it, struct slice s)
{
    struct wire_reader w;
    wire_read_init(&w, s);
    it->left = wire_u16(&w);
    it->rest = slice_of(w.p, w.left);
}

static int list_next(struct pair_iter *it, struct slice *out)
{
    struct wire_reader w;
    wire_read_init(&w, it->rest);
    struct slice s = wire_bytes(&w, ROW_TEXT_MAX);
    if (w.failed) {
        it->left = 0;
        return 0;
    }
    it->rest = slice_of(w.p, w.left);
    *out = s;
    return 1;
}

void tags_begin(struct pair_iter *it, struct slice tags)
{
    list_begin(it, tags);
}

int tags_next(struct pair_iter *it, struct slice *out_tag)
{
    if (it->left == 0) {
        return 0;
    }
    it->left--;
    return list_next(it, out_tag);
}

int tags_has(struct slice tags, struct slice tag)
{
    struct pair_iter it;
    struct slice s;
    tags_begin(&it, tags);
    while (tags_next(&it, &s)) {
        if (slice_eq(s, tag)) {
            return 1;
        }
    }
    return 0;
}

void metadata_begin(struct pair_iter *it, struct slice metadata)
{
    list_begin(it, metadata);
}

int metadata_next(struct pair_iter *it, struct slice *out_key, struct slice *out_value)
{
    struct slice key, value;
    if (it->left == 0) {
        return 0;
    }
    it->left--;
    if (!list_next(it, &key) || !list_next(it, &value)) {
        return 0;
    }
    *out_key = key;
    *out_value = value;
    return 1;
}

void lease_row_encode(struct buf *out, const struct lease_row *r)
{
    wire_put_u8(out, ROW_VERSION);
    wire_put_u8(
        out, (uint8_t)((r->is_overdue ? LEASE_OVERDUE_FLAG : 0) | (r->is_owned ? LEASE_OWNED : 0)));
    wire_put_u64(out, r->id);
    wire_put_u64(out, (uint64_t)r->ttl_ms);
    wire_put_u64(out, r->generation);
    wire_put_u64(out, (uint64_t)r->remaining_ms);
    wire_put_u64(out, (uint64_t)r->remove_after_ms);
}

int lease_row_decode(struct slice s, struct lease_row *out)
{
    struct wire_reader w;
    wire_read_init(&w, s);
    unsigned version = wire_u8(&w);
    unsigned flags = wire_u8(&w);
    struct lease_row r = {.id = wire_u64(&w)};
    r.ttl_ms = (int64_t)wire_u64(&w);
    r.generation = wire_u64(&w);
    r.remaining_ms = (int64_t)wire_u64(&w);
    r.remove_after_ms = (int64_t)wire_u64(&w);
    r.is_overdue = (flags & LEASE_OVERDUE_FLAG) != 0;
    r.is_owned = (flags & LEASE_OWNED) != 0;
    if (wire_read_end(&w) != 0 || version != ROW_VERSION || (flags & ~(unsigned)LEASE_FLAGS) != 0) {
        return MU_E_FORMAT;
    }
    *out = r;
    return 0;
}
