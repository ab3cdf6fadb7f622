/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/command/command.h"

#include "base/wire.h"

/* Bytes: docs/formats.md#commands. One encoder and one decoder per type, found by number in a
 * table. */
enum { COMMAND_VERSION = 1, FLAG_REQUEST_ID = 1, HEADER_SIZE = 12, TEXT_MAX = 64 * 1024 };

typedef void (*encode_fn)(struct buf *out, const struct command *c);
typedef void (*decode_fn)(struct wire_reader *r, struct command *out);

static void fail_unless(struct wire_reader *r, int ok)
{
    if (!ok) {
        r->failed = 1;
    }
}

/* Fields of a logical key: never empty, never with the separator in it. */
static struct slice get_name(struct wire_reader *r, size_t max)
{
    struct slice s = wire_bytes(r, max);
    fail_unless(r, s.len != 0 && memchr(s.p, 0, s.len) == NULL);
    return s;
}

static void put_config_name(struct buf *out, const struct config_name *n)
{
    wire_put_bytes(out, n->ns);
    wire_put_bytes(out, n->group);
    wire_put_bytes(out, n->key);
}

static void get_config_name(struct wire_reader *r, struct config_name *out)
{
    out->ns = get_name(r, KEY_NAME_MAX);
    out->group = get_name(r, KEY_NAME_MAX);
    out->key = get_name(r, KEY_CONFIG_MAX);
}

static void put_instance_name(struct buf *out, const struct instance_name *n)
{
    wire_put_bytes(out, n->ns);
    wire_put_bytes(out, n->group);
    wire_put_bytes(out, n->service);
    wire_put_bytes(out, n->cluster);
    wire_put_bytes(out, n->id);
}

static void get_instance_name(struct wire_reader *r, struct instance_name *out)
{
    out->ns = get_name(r, KEY_NAME_MAX);
    out->group = get_name(r, KEY_NAME_MAX);
    out->service = get_name(r, KEY_NAME_MAX);
    out->cluster = get_name(r, KEY_NAME_MAX);
    out->id = get_name(r, KEY_NAME_MAX);
}

static void put_cas(struct buf *out, enum cas_mode mode, mu_rev expect)
{
    wire_put_u8(out, (uint8_t)mode);
    wire_put_u64(out, expect);
}

static enum cas_mode get_cas(struct wire_reader *r, mu_rev *out_expect)
{
    unsigned mode = wire_u8(r);
    *out_expect = wire_u64(r);
    fail_unless(r, mode <= CAS_ABSENT);
    return (enum cas_mode)(mode <= CAS_ABSENT ? mode : CAS_NONE);
}

static int get_bool(struct wire_reader *r)
{
    unsigned v = wire_u8(r);
    fail_unless(r, v <= 1);
    return v == 1;
}

static void encode_config_put(struct buf *out, const struct command *c)
{
    const struct cmd_config_put *m = &c->u.config_put;
    put_cas(out, m->cas, m->expect);
    put_config_name(out, &m->name);
    buf_append(out, m->digest, sizeof(m->digest));
    wire_put_bytes(out, m->content_type);
    wire_put_bytes(out, m->description);
    wire_put_bytes(out, m->tags);
    wire_put_bytes(out, m->author);
    wire_put_bytes(out, m->comment);
    wire_put_bytes(out, m->content);
}

static void decode_config_put(struct wire_reader *r, struct command *out)
{
    struct cmd_config_put *m = &out->u.config_put;
    m->cas = get_cas(r, &m->expect);
    get_config_name(r, &m->name);
    struct slice digest = wire_raw(r, sizeof(m->digest));
    if (digest.len == sizeof(m->digest)) {
        memcpy(m->digest, digest.p, sizeof(m->digest));
    }
    m->content_type = wire_bytes(r, TEXT_MAX);
    m->description = wire_bytes(r, TEXT_MAX);
    m->tags = wire_bytes(r, TEXT_MAX);
    m->author = wire_bytes(r, TEXT_MAX);
    m->comment = wire_bytes(r, TEXT_MAX);
    m->content = wire_bytes(r, COMMAND_SIZE_MAX);
}

static void encode_config_delete(struct buf *out, const struct command *c)
{
    const struct cmd_config_delete *m = &c->u.config_delete;
    put_cas(out, m->cas, m->expect);
    put_config_name(out, &m->name);
}

static void decode_config_delete(struct wire_reader *r, struct command *out)
{
    struct cmd_config_delete *m = &out->u.config_delete;
    m->cas = get_cas(r, &m->expect);
    get_config_name(r, &m->name);
}

static void encode_instance_put(struct buf *out, const struct command *c)
{
    const struct cmd_instance_put *m = &c->u.instance_put;
    put_cas(out, m->cas, m->expect);
    wire_put_u64(out, m->row.meta.lease);
    wire_put_u64(out, m->lease_id);
    wire_put_u8(out, m->set_health ? 1 : 0);
    put_instance_name(out, &m->name);
    instance_body_encode(out, &m->row);
}

static void decode_instance_put(struct wire_reader *r, struct command *out)
{
    struct cmd_instance_put *m = &out->u.instance_put;
    m->cas = get_cas(r, &m->expect);
    m->row.meta = (struct row_meta){.lease = wire_u64(r)};
    m->lease_id = wire_u64(r);
    m->set_health = get_bool(r);
    get_instance_name(r, &m->name);
    instance_body_decode(r, &m->row);
    fail_unless(r, m->row.ttl_ms == 0 || m->lease_id != 0);
}

static void encode_instance_delete(struct buf *out, const struct command *c)
{
    wire_put_u64(out, c->u.instance_delete.create_rev);
    put_instance_name(out, &c->u.instance_delete.name);
}

static void decode_instance_delete(struct wire_reader *r, struct command *out)
{
    out->u.instance_delete.create_rev = wire_u64(r);
    get_instance_name(r, &out->u.instance_delete.name);
}

static void encode_instance_health(struct buf *out, const struct command *c)
{
    const struct cmd_instance_health *m = &c->u.instance_health;
    wire_put_u64(out, m->create_rev);
    wire_put_u8(out, m->is_healthy ? 1 : 0);
    put_instance_name(out, &m->name);
    wire_put_bytes(out, m->output);
}

static void decode_instance_health(struct wire_reader *r, struct command *out)
{
    struct cmd_instance_health *m = &out->u.instance_health;
    m->create_rev = wire_u64(r);
    m->is_healthy = get_bool(r);
    get_instance_name(r, &m->name);
    m->output = wire_bytes(r, INSTANCE_OUTPUT_MAX);
}

static void encode_lease_grant(struct buf *out, const struct command *c)
{
    wire_put_u64(out, c->u.lease_grant.id);
    wire_put_u64(out, (uint64_t)c->u.lease_grant.ttl_ms);
}

static void decode_lease_grant(struct wire_reader *r, struct command *out)
{
    out->u.lease_grant.id = wire_u64(r);
    out->u.lease_grant.ttl_ms = (int64_t)wire_u64(r);
    fail_unless(r, out->u.lease_grant.id != 0 && out->u.lease_grant.ttl_ms > 0);
}

static void encode_lease_revoke(struct buf *out, const struct command *c)
{
    wire_put_u64(out, c->u.lease_revoke.id);
}

static void decode_lease_revoke(struct wire_reader *r, struct command *out)
{
    out->u.lease_revoke.id = wire_u64(r);
}

enum { STEP_SIZE = 24 };

static void decode_lease_steps(struct wire_reader *r, struct command *out)
{
    struct cmd_lease_steps *m = &out->u.lease_steps;
    size_t n = wire_u32(r);
    fail_unless(r, n <= COMMAND_LEASES_MAX);
    m->items = NULL;
    m->body = wire_raw(r, n * STEP_SIZE);
    m->n = r->failed ? 0 : n;
}

struct lease_step command_lease_step(const struct cmd_lease_steps *m, size_t i)
{
    struct wire_reader r;
    MU_INVARIANT(i < m->n);
    if (m->items != NULL) {
        return m->items[i];
    }
    wire_read_init(&r, slice_of(m->body.p + i * STEP_SIZE, STEP_SIZE));
    struct lease_step s = {.id = wire_u64(&r)};
    s.generation = wire_u64(&r);
    s.remaining_ms = (int64_t)wire_u64(&r);
    return s;
}

static void encode_lease_steps(struct buf *out, const struct command *c)
{
    const struct cmd_lease_steps *m = &c->u.lease_steps;
    MU_INVARIANT(m->n <= COMMAND_LEASES_MAX);
    wire_put_u32(out, (uint32_t)m->n);
    for (size_t i = 0; i < m->n; i++) {
        struct lease_step s = command_lease_step(m, i);
        wire_put_u64(out, s.id);
        wire_put_u64(out, s.generation);
        wire_put_u64(out, (uint64_t)s.remaining_ms);
    }
}

static void encode_compact(struct buf *out, const struct command *c)
{
    wire_put_u8(out, c->u.compact.space);
    wire_put_u64(out, (uint64_t)c->u.compact.before_ms);
    wire_put_u32(out, c->u.compact.keep_versions);
}

static void decode_compact(struct wire_reader *r, struct command *out)
{
    out->u.compact.space = wire_u8(r);
    out->u.compact.before_ms = (int64_t)wire_u64(r);
    out->u.compact.keep_versions = wire_u32(r);
    fail_unless(r, out->u.compact.space == SPACE_CONFIG || out->u.compact.space == SPACE_INSTANCE ||
                       out->u.compact.space == SPACE_USER);
}

static void encode_cluster_init(struct buf *out, const struct command *c)
{
    buf_append(out, c->u.cluster_init.cluster_id, sizeof(c->u.cluster_init.cluster_id));
}

static void decode_cluster_init(struct wire_reader *r, struct command *out)
{
    struct slice id = wire_raw(r, sizeof(out->u.cluster_init.cluster_id));
    if (id.len == sizeof(out->u.cluster_init.cluster_id)) {
        memcpy(out->u.cluster_init.cluster_id, id.p, id.len);
    }
}

enum { TXN_WANTS_ROWS = 1 };

static void encode_txn(struct buf *out, const struct command *c)
{
    const struct cmd_txn *m = &c->u.txn;
    MU_INVARIANT(m->n > 0 && m->n <= TXN_OPS_MAX);
    wire_put_u8(out, m->wants_rows ? TXN_WANTS_ROWS : 0);
    wire_put_u16(out, (uint16_t)m->n);
    for (size_t i = 0; i < m->n; i++) {
        op_encode(out, &m->ops[i]);
    }
}

/* The operations are checked here and decoded again, one by one, by apply. */
static void decode_txn(struct wire_reader *r, struct command *out)
{
    struct op o;
    unsigned flags = wire_u8(r);
    size_t n = wire_u16(r);
    fail_unless(r, flags <= TXN_WANTS_ROWS && n > 0 && n <= TXN_OPS_MAX);
    out->u.txn = (struct cmd_txn){.n = r->failed ? 0 : n, .wants_rows = (int)flags};
    const uint8_t *begin = r->p;
    for (size_t i = 0; i < out->u.txn.n && !r->failed; i++) {
        op_decode(r, &o);
    }
    out->u.txn.body = slice_of(begin, (size_t)(r->p - begin));
}

static const struct codec {
    encode_fn encode;
    decode_fn decode;
} codecs[] = {
    [CMD_CONFIG_PUT] = {encode_config_put, decode_config_put},
    [CMD_CONFIG_DELETE] = {encode_config_delete, decode_config_delete},
    [CMD_INSTANCE_PUT] = {encode_instance_put, decode_instance_put},
    [CMD_INSTANCE_DELETE] = {encode_instance_delete, decode_instance_delete},
    [CMD_INSTANCE_HEALTH] = {encode_instance_health, decode_instance_health},
    [CMD_LEASE_GRANT] = {encode_lease_grant, decode_lease_grant},
    [CMD_LEASE_REVOKE] = {encode_lease_revoke, decode_lease_revoke},
    [CMD_LEASE_OVERDUE] = {encode_lease_steps, decode_lease_steps},
    [CMD_LEASE_END] = {encode_lease_steps, decode_lease_steps},
    [CMD_LEASE_REVIVE] = {encode_lease_steps, decode_lease_steps},
    [CMD_LEASE_CHECKPOINT] = {encode_lease_steps, decode_lease_steps},
    [CMD_COMPACT] = {encode_compact, decode_compact},
    [CMD_CLUSTER_INIT] = {encode_cluster_init, decode_cluster_init},
    [CMD_CLUSTER_RESTORE] = {encode_cluster_init, decode_cluster_init},
    [CMD_TXN] = {encode_txn, decode_txn},
};

void command_encode(struct buf *out, const struct command *c)
{
    MU_INVARIANT(c->type > 0 && (size_t)c->type < N_ELEMENTS(codecs));
    uint8_t *p = buf_reserve(out, HEADER_SIZE);
    p[0] = COMMAND_VERSION;
    p[1] = (uint8_t)c->type;
    p[2] = c->has_request_id ? FLAG_REQUEST_ID : 0;
    p[3] = 0;
    wire_set_u64(p + COMMAND_STAMP_OFFSET, (uint64_t)c->wall_ms);
    out->len += HEADER_SIZE;
    if (c->has_request_id) {
        buf_append(out, c->request_id, sizeof(c->request_id));
    }
    codecs[c->type].encode(out, c);
}

int command_decode(struct slice s, struct command *out)
{
    struct wire_reader r;
    if (s.len > COMMAND_SIZE_MAX) {
        return MU_E_FORMAT;
    }
    wire_read_init(&r, s);
    unsigned version = wire_u8(&r);
    unsigned type = wire_u8(&r);
    unsigned flags = wire_u8(&r);
    unsigned zero = wire_u8(&r);
    out->wall_ms = (int64_t)wire_u64(&r);
    if (r.failed || version != COMMAND_VERSION || type == 0 || type >= N_ELEMENTS(codecs) ||
        (flags & ~(unsigned)FLAG_REQUEST_ID) != 0 || zero != 0) {
        return MU_E_FORMAT;
    }
    out->type = (enum command_type)type;
    out->has_request_id = (flags & FLAG_REQUEST_ID) != 0;
    if (out->has_request_id) {
        struct slice id = wire_raw(&r, sizeof(out->request_id));
        if (id.len != sizeof(out->request_id)) {
            return MU_E_FORMAT;
        }
        memcpy(out->request_id, id.p, sizeof(out->request_id));
    }
    codecs[type].decode(&r, out);
    return wire_read_end(&r);
}

enum { RESULT_VERSION = 1 };

void command_result_encode(uint8_t out[COMMAND_RESULT_SIZE], const struct command_result *r)
{
    wire_set_u32(out, RESULT_VERSION);
    wire_set_u32(out + 4, (uint32_t)r->code);
    wire_set_u64(out + 8, r->revision);
    wire_set_u64(out + 16, r->mod_rev);
    wire_set_u64(out + 24, r->create_rev);
    wire_set_u64(out + 32, r->version);
    wire_set_u64(out + 40, r->lease);
    wire_set_u64(out + 48, (uint64_t)r->ttl_ms);
    wire_set_u32(out + 56, r->is_created ? 1 : 0);
    wire_set_u32(out + 60, r->is_changed ? 1 : 0);
    wire_set_u32(out + 64, r->is_duplicate ? 1 : 0);
}

int command_result_decode(struct slice s, struct command_result *out)
{
    const uint8_t *p = s.p;
    if (s.len != COMMAND_RESULT_SIZE || wire_get_u32(p) != RESULT_VERSION) {
        return MU_E_FORMAT;
    }
    for (size_t off = 56; off < COMMAND_RESULT_SIZE; off += 4) {
        if (wire_get_u32(p + off) > 1) {
            return MU_E_FORMAT;
        }
    }
    *out = (struct command_result){
        .code = (int)wire_get_u32(p + 4),
        .revision = wire_get_u64(p + 8),
        .mod_rev = wire_get_u64(p + 16),
        .create_rev = wire_get_u64(p + 24),
        .version = wire_get_u64(p + 32),
        .lease = wire_get_u64(p + 40),
        .ttl_ms = (int64_t)wire_get_u64(p + 48),
        .is_created = (int)wire_get_u32(p + 56),
        .is_changed = (int)wire_get_u32(p + 60),
        .is_duplicate = (int)wire_get_u32(p + 64),
    };
    return 0;
}
