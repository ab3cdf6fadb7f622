/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, places and checks. Format: docs/formats.md#rows. */
#include "storage/rows_impl.h"

#include "storage/keys.h"

enum { NODE_MEMBER = 1, NODE_FLAGS = 1 };
enum { PLACE_AGENT = 1, PLACE_FLAGS = 1 };
enum { CHECK_AGENT = 1, CHECK_TLS = 2, CHECK_SKIP_VERIFY = 4, CHECK_NO_REDIRECTS = 8 };
enum { CHECK_FLAGS = 15 };

static void fail_unless(struct wire_reader *r, int ok)
{
    if (!ok) {
        r->failed = 1;
    }
}

static struct slice get_pairs(struct wire_reader *r)
{
    struct slice s = wire_bytes(r, INSTANCE_LIST_MAX);
    fail_unless(r, row_list_is_sound(s, 2));
    return s;
}

/* ---- nodes ---- */

void node_body_encode(struct buf *out, const struct node_row *r)
{
    wire_put_u8(out, r->is_member ? NODE_MEMBER : 0);
    wire_put_bytes(out, r->id);
    wire_put_bytes(out, r->address);
    wire_put_bytes(out, r->tagged);
    wire_put_bytes(out, r->metadata);
}

void node_body_decode(struct wire_reader *r, struct node_row *out)
{
    unsigned flags = wire_u8(r);
    out->id = wire_bytes(r, ROW_TEXT_MAX);
    out->address = wire_bytes(r, ROW_TEXT_MAX);
    out->tagged = get_pairs(r);
    out->metadata = get_pairs(r);
    out->is_member = (flags & NODE_MEMBER) != 0;
    fail_unless(r, (flags & ~(unsigned)NODE_FLAGS) == 0);
}

void node_row_encode(struct buf *out, const struct node_row *r)
{
    row_meta_encode(out, &r->meta);
    node_body_encode(out, r);
}

int node_row_decode(struct slice s, struct node_row *out)
{
    struct node_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    node_body_decode(&w, &r);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}

/* ---- places ---- */

void place_row_encode(struct buf *out, const struct place_row *r)
{
    row_meta_encode(out, &r->meta);
    wire_put_u8(out, r->is_agent ? PLACE_AGENT : 0);
    wire_put_bytes(out, r->ns);
    wire_put_bytes(out, r->group);
    wire_put_bytes(out, r->service);
    wire_put_bytes(out, r->cluster);
    wire_put_bytes(out, r->id);
}

int place_row_decode(struct slice s, struct place_row *out)
{
    struct place_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    unsigned flags = wire_u8(&w);
    r.is_agent = (flags & PLACE_AGENT) != 0;
    r.ns = wire_bytes(&w, KEY_NAME_MAX);
    r.group = wire_bytes(&w, KEY_NAME_MAX);
    r.service = wire_bytes(&w, KEY_NAME_MAX);
    r.cluster = wire_bytes(&w, KEY_NAME_MAX);
    r.id = wire_bytes(&w, KEY_NAME_MAX);
    fail_unless(&w, (flags & ~(unsigned)PLACE_FLAGS) == 0);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}

/* ---- checks ---- */

static void run_encode(struct buf *out, const struct check_run *r)
{
    wire_put_u8(out, (uint8_t)r->kind);
    wire_put_u64(out, (uint64_t)r->interval_ms);
    wire_put_u64(out, (uint64_t)r->timeout_ms);
    wire_put_u32(out, r->passes_needed);
    wire_put_u32(out, r->failures_to_warn);
    wire_put_u32(out, r->failures_to_fail);
    wire_put_u32(out, r->output_max);
    wire_put_bytes(out, r->target);
    wire_put_bytes(out, r->alias_service);
    wire_put_bytes(out, r->method);
    wire_put_bytes(out, r->body);
    wire_put_bytes(out, r->server_name);
    wire_put_bytes(out, r->headers);
}

static void run_decode(struct wire_reader *r, struct check_run *out)
{
    unsigned kind = wire_u8(r);
    out->kind = kind < CHECK_KIND_N ? (enum check_kind)kind : CHECK_KIND_NONE;
    out->interval_ms = (int64_t)wire_u64(r);
    out->timeout_ms = (int64_t)wire_u64(r);
    out->passes_needed = wire_u32(r);
    out->failures_to_warn = wire_u32(r);
    out->failures_to_fail = wire_u32(r);
    out->output_max = wire_u32(r);
    out->target = wire_bytes(r, CHECK_TEXT_MAX);
    out->alias_service = wire_bytes(r, CHECK_TEXT_MAX);
    out->method = wire_bytes(r, CHECK_TEXT_MAX);
    out->body = wire_bytes(r, CHECK_TEXT_MAX);
    out->server_name = wire_bytes(r, CHECK_TEXT_MAX);
    out->headers = get_pairs(r);
    fail_unless(r, kind < CHECK_KIND_N && out->interval_ms >= 0 && out->timeout_ms >= 0);
}

void check_body_encode(struct buf *out, const struct check_row *r)
{
    wire_put_u8(out, (uint8_t)((r->is_agent ? CHECK_AGENT : 0) | (r->run.use_tls ? CHECK_TLS : 0) |
                               (r->run.skip_verify ? CHECK_SKIP_VERIFY : 0) |
                               (r->run.no_redirects ? CHECK_NO_REDIRECTS : 0)));
    wire_put_u8(out, (uint8_t)r->status);
    wire_put_u64(out, (uint64_t)r->ttl_ms);
    wire_put_u64(out, (uint64_t)r->remove_after_ms);
    wire_put_u64(out, (uint64_t)r->critical_at);
    run_encode(out, &r->run);
    wire_put_bytes(out, r->name);
    wire_put_bytes(out, r->notes);
    wire_put_bytes(out, r->service_name);
    wire_put_bytes(out, r->type_name);
    wire_put_bytes(out, r->definition);
    wire_put_bytes(out, r->output);
}

void check_body_decode(struct wire_reader *r, struct check_row *out)
{
    unsigned flags = wire_u8(r);
    unsigned status = wire_u8(r);
    out->ttl_ms = (int64_t)wire_u64(r);
    out->remove_after_ms = (int64_t)wire_u64(r);
    out->critical_at = (int64_t)wire_u64(r);
    run_decode(r, &out->run);
    out->name = wire_bytes(r, CHECK_TEXT_MAX);
    out->notes = wire_bytes(r, CHECK_TEXT_MAX);
    out->service_name = wire_bytes(r, KEY_NAME_MAX);
    out->type_name = wire_bytes(r, KEY_NAME_MAX);
    out->definition = wire_bytes(r, INSTANCE_LIST_MAX);
    out->output = wire_bytes(r, CHECK_TEXT_MAX);
    out->is_agent = (flags & CHECK_AGENT) != 0;
    out->run.use_tls = (flags & CHECK_TLS) != 0;
    out->run.skip_verify = (flags & CHECK_SKIP_VERIFY) != 0;
    out->run.no_redirects = (flags & CHECK_NO_REDIRECTS) != 0;
    out->status = status <= CHECK_CRITICAL ? (enum check_status)status : CHECK_CRITICAL;
    fail_unless(r, (flags & ~(unsigned)CHECK_FLAGS) == 0 && status <= CHECK_CRITICAL &&
                       out->ttl_ms >= 0 && out->remove_after_ms >= REMOVE_NEVER);
}

void check_row_encode(struct buf *out, const struct check_row *r)
{
    row_meta_encode(out, &r->meta);
    check_body_encode(out, r);
}

int check_row_decode(struct slice s, struct check_row *out)
{
    struct check_row r;
    struct wire_reader w;
    int rc = row_begin_decode(s, &r.meta, &w);
    if (rc != 0) {
        return rc;
    }
    check_body_decode(&w, &r);
    rc = wire_read_end(&w);
    if (rc == 0) {
        *out = r;
    }
    return rc;
}
