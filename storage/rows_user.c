/* SPDX-License-Identifier: Apache-2.0 */
/* User keys, sessions and records. Format: docs/formats.md#rows. */
#include "storage/rows_impl.h"

void user_row_encode(struct buf *out, const struct user_row *r)
{
    row_meta_encode(out, &r->meta);
    wire_put_u64(out, r->flags);
    wire_put_u64(out, r->lock_index);
    wire_put_u64(out, (uint64_t)r->delay_until_ms);
    wire_put_bytes(out, r->session);
    wire_put_bytes(out, r->value);
}

int user_row_decode(struct slice s, struct user_row *out)
{
    struct user_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    r.flags = wire_u64(&w);
    r.lock_index = wire_u64(&w);
    r.delay_until_ms = (int64_t)wire_u64(&w);
    r.session = wire_bytes(&w, SESSION_ID_SIZE);
    r.value = wire_bytes(&w, USER_VALUE_MAX);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}

void session_body_encode(struct buf *out, const struct session_row *r)
{
    wire_put_u8(out, (uint8_t)r->behavior);
    wire_put_u64(out, r->lock_delay_ns);
    wire_put_u64(out, (uint64_t)r->ttl_ms);
    wire_put_bytes(out, r->name);
    wire_put_bytes(out, r->node);
    wire_put_bytes(out, r->ttl_text);
    wire_put_bytes(out, r->node_checks);
    wire_put_bytes(out, r->service_checks);
}

void session_body_decode(struct wire_reader *w, struct session_row *out)
{
    unsigned behavior = wire_u8(w);
    w->failed |= behavior > SESSION_DELETE;
    out->behavior = behavior == SESSION_DELETE ? SESSION_DELETE : SESSION_RELEASE;
    out->lock_delay_ns = wire_u64(w);
    out->ttl_ms = (int64_t)wire_u64(w);
    w->failed |= out->ttl_ms < 0;
    out->name = wire_bytes(w, ROW_TEXT_MAX);
    out->node = wire_bytes(w, ROW_TEXT_MAX);
    out->ttl_text = wire_bytes(w, ROW_TEXT_MAX);
    out->node_checks = wire_bytes(w, ROW_TEXT_MAX);
    out->service_checks = wire_bytes(w, ROW_TEXT_MAX);
    w->failed |=
        !row_list_is_sound(out->node_checks, 1) || !row_list_is_sound(out->service_checks, 1);
}

void session_row_encode(struct buf *out, const struct session_row *r)
{
    row_meta_encode(out, &r->meta);
    session_body_encode(out, r);
}

int session_row_decode(struct slice s, struct session_row *out)
{
    struct session_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    session_body_decode(&w, &r);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}

void record_row_encode(struct buf *out, const struct record_row *r)
{
    row_meta_encode(out, &r->meta);
    wire_put_bytes(out, r->body);
}

int record_row_decode(struct slice s, struct record_row *out)
{
    struct record_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    r.body = wire_bytes(&w, RECORD_MAX);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}
