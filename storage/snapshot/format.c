/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/snapshot/format.h"

#include "base/hash.h"
#include "base/wire.h"
#include "storage/files.h"

enum { SNAPSHOT_VERSION = 1 };
static const char magic[8] = "MUSTSNAP";

/* Events before what leans on them: pieces, and rows, which are written as references. */
const enum db_table snapshot_order[DB_TABLE_N] = {DB_META,   DB_EVENTS,     DB_PIECES,   DB_ROWS,
                                                  DB_LEASES, DB_LEASE_KEYS, DB_REQUESTS, DB_LINKS};

int snapshot_rank(unsigned table)
{
    for (int i = 0; i < DB_TABLE_N; i++) {
        if (snapshot_order[i] == table) {
            return i;
        }
    }
    return -1;
}

/* ---- writing ---- */

static void put_bytes(struct snapshot_writer *w, const void *p, size_t len)
{
    if (w->rc == 0) {
        w->rc = files_write_all(w->fd, p, len, w->path, w->err);
        w->size_bytes += len;
    }
}

void snapshot_put_header(struct snapshot_writer *w, int fd, const char *path,
                         const struct snapshot_info *info, struct err *e)
{
    uint8_t b[SNAPSHOT_HEADER_FIXED + SNAPSHOT_CONF_MAX + 4];
    size_t len = SNAPSHOT_HEADER_FIXED + info->conf_len;
    MU_INVARIANT(info->conf_len <= SNAPSHOT_CONF_MAX);
    w->fd = fd;
    w->path = path;
    w->err = e;
    w->rc = 0;
    w->n_rows = w->size_bytes = 0;
    w->len = 0;
    memcpy(b, magic, sizeof(magic));
    wire_set_u32(b + 8, SNAPSHOT_VERSION);
    wire_set_u32(b + 12, (uint32_t)info->conf_len);
    wire_set_u64(b + 16, info->index);
    wire_set_u64(b + 24, info->term);
    wire_set_u64(b + 32, info->revision);
    wire_set_u64(b + 40, info->hash);
    memcpy(b + 48, info->cluster_id, sizeof(info->cluster_id));
    wire_set_u64(b + 64, info->conf_index);
    memcpy(b + SNAPSHOT_HEADER_FIXED, info->conf, info->conf_len);
    wire_set_u32(b + len, hash_crc32c(0, b, len));
    w->chain = hash_xxh3(b, len, 0);
    put_bytes(w, b, len + 4);
}

static void flush_block(struct snapshot_writer *w)
{
    const uint8_t *payload = w->block + SNAPSHOT_BLOCK_HEAD;
    if (w->len == 0) {
        return;
    }
    w->chain = hash_xxh3(payload, w->len, w->chain);
    wire_set_u32(w->block, (uint32_t)w->len);
    wire_set_u32(w->block + 4, hash_crc32c(0, payload, w->len));
    wire_set_u64(w->block + 8, w->chain);
    put_bytes(w, w->block, SNAPSHOT_BLOCK_HEAD + w->len);
    w->len = 0;
}

static void put_payload(struct snapshot_writer *w, const uint8_t *p, size_t len)
{
    while (len != 0) {
        size_t room = SNAPSHOT_BLOCK_MAX - w->len;
        size_t n = len < room ? len : room;
        memcpy(w->block + SNAPSHOT_BLOCK_HEAD + w->len, p, n);
        w->len += n;
        p += n;
        len -= n;
        if (w->len == SNAPSHOT_BLOCK_MAX) {
            flush_block(w);
        }
    }
}

void snapshot_put_row(struct snapshot_writer *w, enum db_table table, struct slice key,
                      struct slice value)
{
    uint8_t head[SNAPSHOT_RECORD_HEAD];
    head[0] = (uint8_t)table;
    wire_set_u32(head + 1, (uint32_t)key.len);
    wire_set_u32(head + 5, (uint32_t)value.len);
    put_payload(w, head, sizeof(head));
    put_payload(w, key.p, key.len);
    put_payload(w, value.p, value.len);
    w->n_rows++;
}

int snapshot_put_end(struct snapshot_writer *w)
{
    uint8_t b[SNAPSHOT_FOOTER_SIZE];
    flush_block(w);
    wire_set_u32(b, 0);
    wire_set_u64(b + 8, w->n_rows);
    wire_set_u64(b + 16, w->size_bytes + sizeof(b));
    wire_set_u64(b + 24, w->chain);
    wire_set_u32(b + 4, hash_crc32c(0, b + 8, sizeof(b) - 8));
    put_bytes(w, b, sizeof(b));
    return w->rc;
}

/* ---- reading ---- */

static int corrupt(struct snapshot_reader *r, const char *what)
{
    return err_set(r->err, MU_E_CORRUPT, "snapshot %s: %s near byte %llu", r->path, what,
                   (unsigned long long)r->offset);
}

static int get_bytes(struct snapshot_reader *r, void *out, size_t len)
{
    size_t n;
    int rc = files_read_full(r->fd, out, len, &n, r->path, r->err);
    if (rc != 0) {
        return rc;
    }
    r->offset += n;
    return n == len ? 0 : corrupt(r, "cut short");
}

int snapshot_get_header(struct snapshot_reader *r, int fd, const char *path, struct err *e)
{
    uint8_t b[SNAPSHOT_HEADER_FIXED + SNAPSHOT_CONF_MAX + 4];
    memset(r, 0, offsetof(struct snapshot_reader, block));
    r->fd = fd;
    r->path = path;
    r->err = e;
    buf_init(&r->record);
    buf_init(&r->last_key);
    int rc = get_bytes(r, b, SNAPSHOT_HEADER_FIXED);
    if (rc != 0) {
        return rc;
    }
    if (memcmp(b, magic, sizeof(magic)) != 0) {
        return err_set(e, MU_E_FORMAT, "%s is not a snapshot", path);
    }
    if (wire_get_u32(b + 8) != SNAPSHOT_VERSION) {
        return err_set(e, MU_E_FORMAT, "snapshot %s has an unknown version", path);
    }
    size_t conf_len = wire_get_u32(b + 12);
    if (conf_len > SNAPSHOT_CONF_MAX) {
        return corrupt(r, "bad header");
    }
    size_t len = SNAPSHOT_HEADER_FIXED + conf_len;
    rc = get_bytes(r, b + SNAPSHOT_HEADER_FIXED, conf_len + 4);
    if (rc != 0) {
        return rc;
    }
    if (wire_get_u32(b + len) != hash_crc32c(0, b, len)) {
        return corrupt(r, "bad header");
    }
    r->info.index = wire_get_u64(b + 16);
    r->info.term = wire_get_u64(b + 24);
    r->info.revision = wire_get_u64(b + 32);
    r->info.hash = wire_get_u64(b + 40);
    memcpy(r->info.cluster_id, b + 48, sizeof(r->info.cluster_id));
    r->info.conf_index = wire_get_u64(b + 64);
    r->info.conf_len = conf_len;
    memcpy(r->info.conf, b + SNAPSHOT_HEADER_FIXED, conf_len);
    r->chain = hash_xxh3(b, len, 0);
    r->last_rank = -1;
    return 0;
}

static int read_footer(struct snapshot_reader *r, const uint8_t head[SNAPSHOT_BLOCK_HEAD])
{
    uint8_t b[SNAPSHOT_FOOTER_SIZE], more;
    size_t n;
    memcpy(b, head, SNAPSHOT_BLOCK_HEAD);
    int rc = get_bytes(r, b + SNAPSHOT_BLOCK_HEAD, sizeof(b) - SNAPSHOT_BLOCK_HEAD);
    if (rc != 0) {
        return rc;
    }
    r->info.n_rows = wire_get_u64(b + 8);
    r->info.size_bytes = wire_get_u64(b + 16);
    int is_right = wire_get_u32(b + 4) == hash_crc32c(0, b + 8, sizeof(b) - 8) &&
                   r->info.n_rows == r->n_rows && r->info.size_bytes == r->offset &&
                   wire_get_u64(b + 24) == r->chain;
    if (!is_right) {
        return corrupt(r, "bad footer");
    }
    rc = files_read_full(r->fd, &more, 1, &n, r->path, r->err);
    if (rc == 0 && n != 0) {
        rc = corrupt(r, "bytes behind the end");
    }
    r->is_at_end = rc == 0;
    return rc;
}

/* The next block, or the end. */
static int read_block(struct snapshot_reader *r)
{
    uint8_t head[SNAPSHOT_BLOCK_HEAD];
    int rc = get_bytes(r, head, sizeof(head));
    if (rc != 0) {
        return rc;
    }
    size_t len = wire_get_u32(head);
    if (len == 0) {
        return read_footer(r, head);
    }
    if (len > SNAPSHOT_BLOCK_MAX) {
        return corrupt(r, "bad block");
    }
    rc = get_bytes(r, r->block, len);
    if (rc != 0) {
        return rc;
    }
    r->chain = hash_xxh3(r->block, len, r->chain);
    if (wire_get_u32(head + 4) != hash_crc32c(0, r->block, len) ||
        wire_get_u64(head + 8) != r->chain) {
        return corrupt(r, "bad block");
    }
    r->at = 0;
    r->len = len;
    return 0;
}

/* Exactly len bytes of payload appended to r->record; less is an error. */
static int take(struct snapshot_reader *r, size_t len)
{
    while (len != 0) {
        if (r->at == r->len) {
            int rc = read_block(r);
            if (rc != 0) {
                return rc;
            }
            if (r->is_at_end) {
                return corrupt(r, "a record is cut short");
            }
        }
        size_t n = len < r->len - r->at ? len : r->len - r->at;
        buf_append(&r->record, r->block + r->at, n);
        r->at += n;
        len -= n;
    }
    return 0;
}

static int check_order(struct snapshot_reader *r, const struct snapshot_record *rec)
{
    int rank = snapshot_rank(rec->table);
    if (rank < r->last_rank ||
        (rank == r->last_rank && slice_cmp(rec->key, buf_slice(&r->last_key)) <= 0)) {
        return corrupt(r, "records out of order");
    }
    r->last_rank = rank;
    buf_clear(&r->last_key);
    buf_append_slice(&r->last_key, rec->key);
    return 0;
}

int snapshot_get_row(struct snapshot_reader *r, struct snapshot_record *out)
{
    while (r->at == r->len && !r->is_at_end) {
        int rc = read_block(r);
        if (rc != 0) {
            return rc;
        }
    }
    if (r->is_at_end) {
        return 0;
    }
    buf_clear(&r->record);
    int rc = take(r, SNAPSHOT_RECORD_HEAD);
    if (rc != 0) {
        return rc;
    }
    unsigned table = r->record.p[0];
    size_t key_len = wire_get_u32(r->record.p + 1), value_len = wire_get_u32(r->record.p + 5);
    size_t key_max = table == DB_ROWS ? (size_t)KEY_MAX : (size_t)DB_KEY_MAX;
    if (snapshot_rank(table) < 0 || key_len == 0 || key_len > key_max ||
        value_len > SNAPSHOT_VALUE_MAX) {
        return corrupt(r, "bad record");
    }
    rc = take(r, key_len + value_len);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *p = r->record.p + SNAPSHOT_RECORD_HEAD;
    struct snapshot_record rec = {(enum db_table)table, slice_of(p, key_len),
                                  slice_of(p + key_len, value_len)};
    rc = check_order(r, &rec);
    if (rc != 0) {
        return rc;
    }
    r->n_rows++;
    *out = rec;
    return 1;
}

void snapshot_reader_fini(struct snapshot_reader *r)
{
    buf_fini(&r->record);
    buf_fini(&r->last_key);
}
