/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/db/longkey.h"

#include "base/wire.h"

enum { SUB_FIRST = 0x01, SUB_END = 0x02, SUB_PREFIX = 9, ID_SIZE = 8 };

_Static_assert(SUB_PREFIX + LONGKEY_CHUNK + 1 <= DB_KEY_MAX, "a marker must fit");

/* A key as LMDB sees it. */
struct phys {
    size_t len;
    uint8_t bytes[DB_KEY_MAX];
};

/* id 0 is the root, whose keys carry no prefix. */
static size_t put_prefix(uint8_t *out, uint64_t id)
{
    if (id == 0) {
        return 0;
    }
    out[0] = SUB_FIRST;
    wire_set_u64_be(out + 1, id);
    return SUB_PREFIX;
}

static struct slice phys_leaf(struct phys *p, uint64_t id, struct slice rest)
{
    p->len = put_prefix(p->bytes, id);
    if (rest.len != 0) {
        memcpy(p->bytes + p->len, rest.p, rest.len);
    }
    p->len += rest.len;
    return slice_of(p->bytes, p->len);
}

static struct slice phys_marker(struct phys *p, uint64_t id, struct slice rest)
{
    (void)phys_leaf(p, id, slice_of(rest.p, LONGKEY_CHUNK));
    p->bytes[p->len++] = 0;
    return slice_of(p->bytes, p->len);
}

static int is_marker(struct slice phys, uint64_t id)
{
    return phys.len == (id == 0 ? 0 : SUB_PREFIX) + LONGKEY_CHUNK + 1;
}

static struct slice after(struct slice s, size_t n)
{
    return slice_of(s.p + n, s.len - n);
}

static int read_id(struct slice value, uint64_t *out)
{
    if (value.len != ID_SIZE) {
        return MU_E_CORRUPT;
    }
    *out = wire_get_u64(value.p);
    return *out != 0 ? 0 : MU_E_CORRUPT;
}

/* A row in a sub-range: u32 length, logical key, row. */
static int open_leaf(struct slice stored, struct slice *out_key, struct slice *out_value)
{
    struct wire_reader r;
    wire_read_init(&r, stored);
    struct slice key = wire_bytes(&r, stored.len);
    if (r.failed) {
        return MU_E_CORRUPT;
    }
    *out_key = key;
    *out_value = slice_of(r.p, r.left);
    return 0;
}

/* Follow the markers of `key` to the sub-range of its last piece. */
static int descend(struct db_txn *t, struct slice key, uint64_t *out_id, struct slice *out_rest)
{
    struct phys p;
    uint64_t id = 0;
    while (key.len > LONGKEY_CHUNK) {
        struct slice value;
        int rc = db_get(t, DB_ROWS, phys_marker(&p, id, key), &value);
        rc = rc != 0 ? rc : read_id(value, &id);
        if (rc != 0) {
            return rc;
        }
        key = after(key, LONGKEY_CHUNK);
    }
    *out_id = id;
    *out_rest = key;
    return 0;
}

typedef int (*get_fn)(struct db_txn *t, enum db_table table, struct slice key, struct slice *out);

static int get_long(struct db_txn *t, struct slice key, struct slice *out, get_fn get)
{
    struct phys p;
    uint64_t id;
    struct slice rest, stored, stored_key;
    int rc = descend(t, key, &id, &rest);
    rc = rc != 0 ? rc : get(t, DB_ROWS, phys_leaf(&p, id, rest), &stored);
    rc = rc != 0 ? rc : open_leaf(stored, &stored_key, out);
    return rc;
}

int longkey_get(struct db_txn *t, struct slice key, struct slice *out)
{
    return key.len <= LONGKEY_CHUNK ? db_get(t, DB_ROWS, key, out) : get_long(t, key, out, db_get);
}

int longkey_find(struct db_txn *t, struct slice key, struct slice *out)
{
    return key.len <= LONGKEY_CHUNK ? db_find(t, DB_ROWS, key, out)
                                    : get_long(t, key, out, db_find);
}

/* One more than any id in use. `above` is an id that may have no key yet. */
static uint64_t fresh_id(struct db_txn *t, uint64_t above)
{
    const uint8_t end = SUB_END;
    struct slice k, v;
    uint64_t max = above;
    struct db_cur *c = db_cur_open(t, DB_ROWS);
    int rc = db_cur_seek(c, slice_of(&end, 1), &k, &v);
    rc = rc == 0 ? db_cur_prev(c, &k, &v) : db_cur_last(c, &k, &v);
    if (rc == 0 && k.len > SUB_PREFIX && k.p[0] == SUB_FIRST && wire_get_u64_be(k.p + 1) > max) {
        max = wire_get_u64_be(k.p + 1);
    }
    db_cur_close(c);
    return max + 1;
}

/* Like descend, making what is missing. */
static uint64_t descend_making(struct db_txn *t, struct slice *inout_key)
{
    struct phys p;
    uint64_t id = 0;
    while (inout_key->len > LONGKEY_CHUNK) {
        struct slice value, marker = phys_marker(&p, id, *inout_key);
        int rc = db_get(t, DB_ROWS, marker, &value);
        if (rc == MU_E_NOT_FOUND) {
            id = fresh_id(t, id);
            wire_set_u64(db_put_reserve(t, DB_ROWS, marker, ID_SIZE, 0), id);
        } else {
            rc = rc != 0 ? rc : read_id(value, &id);
            MU_INVARIANT(rc == 0);
        }
        *inout_key = after(*inout_key, LONGKEY_CHUNK);
    }
    return id;
}

static void put_long(struct db_txn *t, struct slice key, struct slice value, int is_at)
{
    struct phys p;
    struct slice rest = key;
    uint64_t id = descend_making(t, &rest);
    uint8_t *out =
        db_put_reserve(t, DB_ROWS, phys_leaf(&p, id, rest), 4 + key.len + value.len, is_at);
    wire_set_u32(out, (uint32_t)key.len);
    memcpy(out + 4, key.p, key.len);
    if (value.len != 0) {
        memcpy(out + 4 + key.len, value.p, value.len);
    }
}

void longkey_put(struct db_txn *t, struct slice key, struct slice value, int is_at)
{
    if (key.len <= LONGKEY_CHUNK) {
        db_put(t, DB_ROWS, key, value, is_at);
        return;
    }
    put_long(t, key, value, is_at);
}

void longkey_append(struct db_txn *t, struct slice key, struct slice value)
{
    if (key.len <= LONGKEY_CHUNK) {
        uint8_t *out = db_append(t, DB_ROWS, key, value.len);
        if (value.len != 0) {
            memcpy(out, value.p, value.len);
        }
        return;
    }
    put_long(t, key, value, 0);
}

static int is_empty(struct db_txn *t, uint64_t id)
{
    uint8_t prefix[SUB_PREFIX];
    struct slice k, v;
    (void)put_prefix(prefix, id);
    struct db_cur *c = db_cur_open(t, DB_ROWS);
    int rc = db_cur_seek(c, slice_of(prefix, SUB_PREFIX), &k, &v);
    db_cur_close(c);
    return rc != 0 || !slice_has_prefix(k, slice_of(prefix, SUB_PREFIX));
}

void longkey_del(struct db_txn *t, struct slice key)
{
    struct phys p;
    uint64_t ids[LONGKEY_LEVELS] = {0};
    size_t n = 0;
    for (struct slice rest = key; rest.len > LONGKEY_CHUNK; rest = after(rest, LONGKEY_CHUNK)) {
        struct slice value;
        if (db_get(t, DB_ROWS, phys_marker(&p, ids[n], rest), &value) != 0 ||
            read_id(value, &ids[n + 1]) != 0) {
            return;
        }
        n++;
        MU_INVARIANT(n + 1 < LONGKEY_LEVELS);
    }
    db_del(t, DB_ROWS, phys_leaf(&p, ids[n], after(key, n * LONGKEY_CHUNK)));
    /* A sub-range without rows goes with its marker. */
    while (n != 0 && is_empty(t, ids[n])) {
        n--;
        db_del(t, DB_ROWS, phys_marker(&p, ids[n], after(key, n * LONGKEY_CHUNK)));
    }
}

void longkey_cur_open(struct longkey_cur *c, struct db_txn *t)
{
    c->c = db_cur_open(t, DB_ROWS);
    c->depth = 0;
    c->levels[0].id = 0;
}

void longkey_cur_close(struct longkey_cur *c)
{
    db_cur_close(c->c);
}

static int push(struct longkey_cur *c, struct slice marker, struct slice value)
{
    uint64_t id;
    int rc = read_id(value, &id);
    if (rc != 0 || c->depth + 1 >= LONGKEY_LEVELS) {
        return MU_E_CORRUPT;
    }
    struct longkey_level *l = &c->levels[++c->depth];
    l->id = id;
    l->len = marker.len;
    memcpy(l->bytes, marker.p, marker.len);
    return 0;
}

/* Leave the level: to what follows its marker. */
static int pop(struct longkey_cur *c, struct slice *k, struct slice *v)
{
    struct longkey_level *l = &c->levels[c->depth--];
    int rc = db_cur_seek(c->c, slice_of(l->bytes, l->len), k, v);
    if (rc != 0 || !slice_eq(*k, slice_of(l->bytes, l->len))) {
        return MU_E_CORRUPT;
    }
    return db_cur_next(c->c, k, v);
}

/* From where the table's cursor stands (rc, k, v) to the first row: out of ended levels, into
 * markers. */
static int settle(struct longkey_cur *c, int rc, struct slice k, struct slice v,
                  struct slice *out_key, struct slice *out_value)
{
    for (;;) {
        uint8_t prefix[SUB_PREFIX];
        uint64_t id = c->levels[c->depth].id;
        size_t len = put_prefix(prefix, id);
        if (rc != 0 && rc != MU_E_NOT_FOUND) {
            return rc;
        }
        if (rc != 0 || !slice_has_prefix(k, slice_of(prefix, len))) {
            if (c->depth == 0) {
                return MU_E_NOT_FOUND;
            }
            rc = pop(c, &k, &v);
        } else if (is_marker(k, id)) {
            rc = push(c, k, v);
            if (rc != 0) {
                return rc;
            }
            len = put_prefix(prefix, c->levels[c->depth].id);
            rc = db_cur_seek(c->c, slice_of(prefix, len), &k, &v);
        } else if (id == 0) {
            *out_key = k;
            *out_value = v;
            return 0;
        } else {
            return open_leaf(v, out_key, out_value);
        }
    }
}

int longkey_cur_seek(struct longkey_cur *c, struct slice key, struct slice *out_key,
                     struct slice *out_value)
{
    struct phys p;
    struct slice k, v, rest = key;
    MU_INVARIANT(key.len != 0 && key.p[0] >= SUB_END);
    c->depth = 0;
    while (rest.len > LONGKEY_CHUNK) {
        struct slice marker = phys_marker(&p, c->levels[c->depth].id, rest);
        int rc = db_cur_seek(c->c, marker, &k, &v);
        if (rc != 0 || !slice_eq(k, marker)) {
            return settle(c, rc, k, v, out_key, out_value);
        }
        rc = push(c, k, v);
        if (rc != 0) {
            return rc;
        }
        rest = after(rest, LONGKEY_CHUNK);
    }
    int rc = db_cur_seek(c->c, phys_leaf(&p, c->levels[c->depth].id, rest), &k, &v);
    return settle(c, rc, k, v, out_key, out_value);
}

int longkey_cur_next(struct longkey_cur *c, struct slice *out_key, struct slice *out_value)
{
    struct slice k, v;
    int rc = db_cur_next(c->c, &k, &v);
    return settle(c, rc, k, v, out_key, out_value);
}
