/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/command/txn.h"

#include "storage/command/command.h"
#include "storage/rows_impl.h"

/* Bytes: docs/formats.md#transactions. One encoder and one decoder per family of operations, found
 * by number in a table. */
enum { TEXT_MAX = 64 * 1024 };

typedef void (*encode_fn)(struct buf *out, const struct op *o);
typedef void (*decode_fn)(struct wire_reader *r, struct op *o);

static void fail_unless(struct wire_reader *r, int ok)
{
    if (!ok) {
        r->failed = 1;
    }
}

/* A field of a logical key; may be empty only where the key allows it. */
static struct slice get_field(struct wire_reader *r, size_t max, int may_be_empty)
{
    struct slice s = wire_bytes(r, max);
    fail_unless(r, (s.len != 0 || may_be_empty) && (s.len == 0 || memchr(s.p, 0, s.len) == NULL));
    return s;
}

static int get_bool(struct wire_reader *r)
{
    unsigned v = wire_u8(r);
    fail_unless(r, v <= 1);
    return v == 1;
}

static void encode_key(struct buf *out, const struct op *o)
{
    wire_put_u64(out, o->u.key.flags);
    wire_put_bytes(out, o->u.key.session);
    wire_put_bytes(out, o->u.key.key);
    wire_put_bytes(out, o->u.key.value);
}

static void decode_key(struct wire_reader *r, struct op *o)
{
    o->u.key.flags = wire_u64(r);
    o->u.key.session = wire_bytes(r, SESSION_ID_SIZE);
    o->u.key.key = wire_bytes(r, KEY_USER_MAX);
    o->u.key.value = wire_bytes(r, USER_VALUE_MAX);
    /* A tree may begin anywhere. */
    fail_unless(r, o->u.key.key.len != 0 || o->type == OP_KEY_GET_TREE ||
                       o->type == OP_KEY_DELETE_TREE);
}

static void encode_session(struct buf *out, const struct op *o)
{
    wire_put_u64(out, o->u.session.row.meta.lease);
    wire_put_bytes(out, o->u.session.id);
    session_body_encode(out, &o->u.session.row);
}

static void decode_session(struct wire_reader *r, struct op *o)
{
    o->u.session.row.meta = (struct row_meta){.lease = wire_u64(r)};
    o->u.session.id = get_field(r, SESSION_ID_SIZE, 0);
    session_body_decode(r, &o->u.session.row);
    fail_unless(r, o->type != OP_SESSION_CREATE || o->u.session.row.meta.lease != 0);
}

static void encode_node(struct buf *out, const struct op *o)
{
    wire_put_bytes(out, o->u.node.name);
    wire_put_bytes(out, o->u.node.to);
    node_body_encode(out, &o->u.node.row);
}

static void decode_node(struct wire_reader *r, struct op *o)
{
    o->u.node.name = get_field(r, KEY_NAME_MAX, 0);
    o->u.node.to = get_field(r, KEY_NAME_MAX, o->type != OP_NODE_MOVE);
    o->u.node.row.meta = (struct row_meta){0};
    node_body_decode(r, &o->u.node.row);
}

static void encode_service(struct buf *out, const struct op *o)
{
    const struct op_service *s = &o->u.service;
    wire_put_u8(out, s->is_agent ? 1 : 0);
    wire_put_bytes(out, s->node);
    wire_put_bytes(out, s->name.ns);
    wire_put_bytes(out, s->name.group);
    wire_put_bytes(out, s->name.service);
    wire_put_bytes(out, s->name.cluster);
    wire_put_bytes(out, s->name.id);
    instance_body_encode(out, &s->row);
}

/* Only a service that is written is named in full: elsewhere node and service id are enough. */
static void decode_service(struct wire_reader *r, struct op *o)
{
    struct op_service *s = &o->u.service;
    int is_write = o->type == OP_SERVICE_SET || o->type == OP_SERVICE_CAS;
    s->is_agent = get_bool(r);
    s->node = get_field(r, KEY_NAME_MAX, s->is_agent);
    s->name.ns = get_field(r, KEY_NAME_MAX, !is_write);
    s->name.group = get_field(r, KEY_NAME_MAX, !is_write);
    s->name.service = get_field(r, KEY_NAME_MAX, !is_write);
    s->name.cluster = get_field(r, KEY_NAME_MAX, !is_write);
    s->name.id = get_field(r, KEY_NAME_MAX, !is_write);
    s->row.meta = (struct row_meta){0};
    instance_body_decode(r, &s->row);
    fail_unless(r, s->row.service_id.len != 0 && s->row.service_id.len <= KEY_NAME_MAX &&
                       memchr(s->row.service_id.p, 0, s->row.service_id.len) == NULL);
}

static void encode_check(struct buf *out, const struct op *o)
{
    const struct op_check *c = &o->u.check;
    wire_put_u8(out, c->is_agent ? 1 : 0);
    wire_put_u8(out, c->keep_status ? 1 : 0);
    wire_put_u64(out, c->lease_id);
    wire_put_bytes(out, c->name.node);
    wire_put_bytes(out, c->name.service_id);
    wire_put_bytes(out, c->name.id);
    wire_put_bytes(out, c->keep);
    check_body_encode(out, &c->row);
}

static void decode_check(struct wire_reader *r, struct op *o)
{
    struct op_check *c = &o->u.check;
    c->is_agent = get_bool(r);
    c->keep_status = get_bool(r);
    c->lease_id = wire_u64(r);
    c->name.node = get_field(r, KEY_NAME_MAX, c->is_agent);
    c->name.service_id = get_field(r, KEY_NAME_MAX, 1);
    c->name.id = get_field(r, KEY_NAME_MAX, o->type == OP_CHECK_KEEP);
    c->keep = wire_bytes(r, TEXT_MAX);
    fail_unless(r, row_list_is_sound(c->keep, 1));
    c->row.meta = (struct row_meta){0};
    check_body_decode(r, &c->row);
    fail_unless(r, c->row.ttl_ms == 0 || c->lease_id != 0 ||
                       (o->type != OP_CHECK_SET && o->type != OP_CHECK_CAS));
}

static void encode_record(struct buf *out, const struct op *o)
{
    wire_put_bytes(out, o->u.record.kind);
    wire_put_bytes(out, o->u.record.name);
    wire_put_bytes(out, o->u.record.body);
}

static void decode_record(struct wire_reader *r, struct op *o)
{
    o->u.record.kind = get_field(r, KEY_NAME_MAX, 0);
    o->u.record.name = get_field(r, KEY_NAME_MAX, 0);
    o->u.record.body = wire_bytes(r, RECORD_MAX);
}

static const struct family {
    unsigned first, last;
    encode_fn encode;
    decode_fn decode;
} families[] = {
    {OP_KEY_SET, OP_KEY_DELETE_CAS, encode_key, decode_key},
    {OP_SESSION_CREATE, OP_SESSION_DESTROY, encode_session, decode_session},
    {OP_NODE_SET, OP_NODE_ENSURE, encode_node, decode_node},
    {OP_SERVICE_SET, OP_SERVICE_DELETE_CAS, encode_service, decode_service},
    {OP_CHECK_SET, OP_CHECK_KEEP, encode_check, decode_check},
    {OP_RECORD_SET, OP_RECORD_DELETE_CAS, encode_record, decode_record},
};

static const struct family *family_of(unsigned type)
{
    for (size_t i = 0; i < N_ELEMENTS(families); i++) {
        if (type >= families[i].first && type <= families[i].last) {
            return &families[i];
        }
    }
    return NULL;
}

void op_encode(struct buf *out, const struct op *o)
{
    const struct family *f = family_of(o->type);
    MU_INVARIANT(f != NULL);
    wire_put_u8(out, (uint8_t)o->type);
    wire_put_u64(out, o->expect);
    f->encode(out, o);
}

void op_decode(struct wire_reader *r, struct op *out)
{
    unsigned type = wire_u8(r);
    const struct family *f = family_of(type);
    out->expect = wire_u64(r);
    if (f == NULL) {
        r->failed = 1;
        return;
    }
    out->type = (enum op_type)type;
    f->decode(r, out);
}

void txn_item_encode(struct buf *out, const struct txn_item *i)
{
    wire_put_u16(out, (uint16_t)i->op);
    wire_put_u16(out, (uint16_t)(i->code < 0 ? -i->code : 0));
    wire_put_u8(out, i->is_more ? 1 : 0);
    wire_put_u64(out, i->mod_rev);
    wire_put_bytes(out, i->key);
    wire_put_bytes(out, i->row);
}

int txn_item_next(struct slice *rest, struct txn_item *out)
{
    struct wire_reader r;
    wire_read_init(&r, *rest);
    out->op = wire_u16(&r);
    out->code = -(int)wire_u16(&r);
    out->is_more = wire_u8(&r) != 0;
    out->mod_rev = wire_u64(&r);
    out->key = wire_bytes(&r, KEY_MAX);
    out->row = wire_bytes(&r, COMMAND_SIZE_MAX);
    *rest = r.failed ? (struct slice){0} : slice_of(r.p, r.left);
    return !r.failed;
}
