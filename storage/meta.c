/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/meta.h"

#include "base/hash.h"
#include "base/wire.h"

enum { META_VERSION = 2, META_SIZE = 100, META_CRC_AT = 96, COMPACT_VERSION = 1 };

static const char *const compact_names[META_SLOT_N] = {
    [META_SLOT_CONFIG] = "compact.config",
    [META_SLOT_INSTANCE] = "compact.instance",
    [META_SLOT_USER] = "compact.user",
};

enum meta_slot meta_slot_of(uint8_t space)
{
    switch (space) {
    case SPACE_CONFIG:
        return META_SLOT_CONFIG;
    case SPACE_INSTANCE:
    case SPACE_SERVICE:
    case SPACE_NODE:
    case SPACE_PLACE:
    case SPACE_CHECK:
    case SPACE_SESSION:
    case SPACE_RECORD:
        return META_SLOT_INSTANCE;
    case SPACE_USER:
        return META_SLOT_USER;
    default:
        return META_SLOT_N;
    }
}

int meta_read(struct db_txn *t, struct meta *out)
{
    struct slice s;
    int rc = db_get(t, DB_META, SLICE_LIT("state"), &s);
    if (rc == MU_E_NOT_FOUND) {
        *out = (struct meta){0};
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (s.len < 4 || wire_get_u32(s.p) != META_VERSION) {
        return s.len < 4 || wire_get_u32(s.p) == 0 ? MU_E_CORRUPT : MU_E_FORMAT;
    }
    if (s.len != META_SIZE || wire_get_u32(s.p + META_CRC_AT) != hash_crc32c(0, s.p, META_CRC_AT)) {
        return MU_E_CORRUPT;
    }
    *out = (struct meta){
        .applied = wire_get_u64(s.p + 4),
        .applied_term = wire_get_u64(s.p + 12),
        .revision = wire_get_u64(s.p + 20),
        .hash = wire_get_u64(s.p + 28),
        .conf_index = wire_get_u64(s.p + 52),
        .compacted = {wire_get_u64(s.p + 60), wire_get_u64(s.p + 68), wire_get_u64(s.p + 76)},
        .n_requests = wire_get_u64(s.p + 84),
    };
    memcpy(out->cluster_id, s.p + 36, sizeof(out->cluster_id));
    return 0;
}

void meta_write(struct db_txn *t, const struct meta *m)
{
    uint8_t *p = db_put_reserve(t, DB_META, SLICE_LIT("state"), META_SIZE, 0);
    wire_set_u32(p, META_VERSION);
    wire_set_u64(p + 4, m->applied);
    wire_set_u64(p + 12, m->applied_term);
    wire_set_u64(p + 20, m->revision);
    wire_set_u64(p + 28, m->hash);
    memcpy(p + 36, m->cluster_id, sizeof(m->cluster_id));
    wire_set_u64(p + 52, m->conf_index);
    wire_set_u64(p + 60, m->compacted[META_SLOT_CONFIG]);
    wire_set_u64(p + 68, m->compacted[META_SLOT_INSTANCE]);
    wire_set_u64(p + 76, m->compacted[META_SLOT_USER]);
    wire_set_u64(p + 84, m->n_requests);
    wire_set_u32(p + 92, 0);
    wire_set_u32(p + META_CRC_AT, hash_crc32c(0, p, META_CRC_AT));
}

int meta_read_conf(struct db_txn *t, struct slice *out)
{
    int rc = db_get(t, DB_META, SLICE_LIT("conf"), out);
    if (rc == MU_E_NOT_FOUND) {
        *out = slice_of(NULL, 0);
        return 0;
    }
    return rc;
}

void meta_write_conf(struct db_txn *t, struct slice conf)
{
    db_put(t, DB_META, SLICE_LIT("conf"), conf, 0);
}

int meta_read_compact(struct db_txn *t, enum meta_slot slot, struct meta_compact *inout)
{
    struct slice s;
    struct wire_reader r;
    int rc = db_get(t, DB_META, slice_str(compact_names[slot]), &s);
    if (rc != 0) {
        return rc;
    }
    wire_read_init(&r, s);
    int is_known = wire_u8(&r) == COMPACT_VERSION;
    inout->is_in_key = wire_u8(&r);
    inout->is_dropping = wire_u8(&r);
    inout->rev = wire_u64(&r);
    inout->sub = wire_u32(&r);
    inout->n_kept = wire_u64(&r);
    inout->superseded_ms = (int64_t)wire_u64(&r);
    inout->superseded_rev = wire_u64(&r);
    inout->tombstone = wire_u64(&r);
    struct slice key = wire_bytes(&r, KEY_MAX + 1);
    buf_clear(&inout->key);
    buf_append_slice(&inout->key, key);
    return wire_read_end(&r) == 0 && is_known ? 0 : MU_E_CORRUPT;
}

void meta_write_compact(struct db_txn *t, enum meta_slot slot, const struct meta_compact *c)
{
    struct buf b;
    buf_init(&b);
    wire_put_u8(&b, COMPACT_VERSION);
    wire_put_u8(&b, (uint8_t)c->is_in_key);
    wire_put_u8(&b, (uint8_t)c->is_dropping);
    wire_put_u64(&b, c->rev);
    wire_put_u32(&b, c->sub);
    wire_put_u64(&b, c->n_kept);
    wire_put_u64(&b, (uint64_t)c->superseded_ms);
    wire_put_u64(&b, c->superseded_rev);
    wire_put_u64(&b, c->tombstone);
    wire_put_bytes(&b, buf_slice(&c->key));
    db_put(t, DB_META, slice_str(compact_names[slot]), buf_slice(&b), 0);
    buf_fini(&b);
}

void meta_del_compact(struct db_txn *t, enum meta_slot slot)
{
    db_del(t, DB_META, slice_str(compact_names[slot]));
}
