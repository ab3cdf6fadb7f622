/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/event.h"

#include "base/wire.h"
#include "storage/command/command.h"
#include "storage/keys.h"

enum { REF_MARK = 0 };                       /* no row version is 0 */
static const uint32_t cut_flag = 0x80000000; /* beside the length of the key */
enum { ROW_LEN_MAX = COMMAND_SIZE_MAX + 64 * 1024 };

static void put_u32_be(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static uint32_t get_u32_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

struct slice event_key(uint8_t out[EVENT_KEY_SIZE], mu_rev rev, uint32_t sub)
{
    wire_set_u64_be(out, rev);
    put_u32_be(out + 8, sub);
    return slice_of(out, EVENT_KEY_SIZE);
}

int event_key_parse(struct slice key, mu_rev *out_rev, uint32_t *out_sub)
{
    if (key.len != EVENT_KEY_SIZE) {
        return MU_E_CORRUPT;
    }
    *out_rev = wire_get_u64_be(key.p);
    *out_sub = get_u32_be(key.p + 8);
    return 0;
}

struct slice event_piece_key(uint8_t out[EVENT_PIECE_KEY_SIZE], mu_rev rev, uint32_t sub,
                             uint32_t n)
{
    (void)event_key(out, rev, sub);
    put_u32_be(out + EVENT_KEY_SIZE, n);
    return slice_of(out, EVENT_PIECE_KEY_SIZE);
}

int event_piece_key_parse(struct slice key, mu_rev *out_rev, uint32_t *out_sub, uint32_t *out_n)
{
    if (key.len != EVENT_PIECE_KEY_SIZE) {
        return MU_E_CORRUPT;
    }
    *out_n = get_u32_be(key.p + EVENT_KEY_SIZE);
    return event_key_parse(slice_of(key.p, EVENT_KEY_SIZE), out_rev, out_sub);
}

struct slice event_ref(uint8_t out[EVENT_REF_SIZE], mu_rev rev, uint32_t sub)
{
    out[0] = REF_MARK;
    (void)event_key(out + 1, rev, sub);
    return slice_of(out, EVENT_REF_SIZE);
}

int event_is_ref(struct slice stored)
{
    return stored.len == EVENT_REF_SIZE && stored.p[0] == REF_MARK;
}

int event_ref_parse(struct slice stored, mu_rev *out_rev, uint32_t *out_sub)
{
    if (!event_is_ref(stored)) {
        return MU_E_CORRUPT;
    }
    return event_key_parse(slice_of(stored.p + 1, EVENT_KEY_SIZE), out_rev, out_sub);
}

/* ---- cutting ---- */

static size_t head_len(size_t key_len, size_t row_len)
{
    size_t room =
        key_len + 8 + EVENT_HEAD_MIN < EVENT_PAGE ? EVENT_PAGE - key_len - 8 : EVENT_HEAD_MIN;
    return row_len < room ? row_len : room;
}

size_t event_n_pieces(const struct event *ev)
{
    return ev->is_cut ? (ev->row_len - ev->head.len + EVENT_PAGE - 1) / EVENT_PAGE : 0;
}

size_t event_piece_len(const struct event *ev, uint32_t n)
{
    size_t n_pieces = event_n_pieces(ev);
    if (n >= n_pieces) {
        return 0;
    }
    return n + 1 < n_pieces ? EVENT_PAGE : ev->row_len - ev->head.len - (size_t)n * EVENT_PAGE;
}

static void append_pieces(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice rest)
{
    uint8_t k[EVENT_PIECE_KEY_SIZE];
    for (uint32_t n = 0; rest.len != 0; n++) {
        size_t len = rest.len < EVENT_PAGE ? rest.len : EVENT_PAGE;
        memcpy(db_append(t, DB_PIECES, event_piece_key(k, rev, sub, n), len), rest.p, len);
        rest = slice_of(rest.p + len, rest.len - len);
    }
}

void event_append(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice key, struct slice row)
{
    uint8_t k[EVENT_KEY_SIZE];
    MU_INVARIANT(row.len <= ROW_LEN_MAX);
    int is_cut = 4 + key.len + row.len > EVENT_PAGE && row.len > EVENT_HEAD_MIN;
    size_t head = is_cut ? head_len(key.len, row.len) : row.len;
    uint8_t *p = db_append(t, DB_EVENTS, event_key(k, rev, sub), (is_cut ? 8 : 4) + key.len + head);
    wire_set_u32(p, (uint32_t)key.len | (is_cut ? cut_flag : 0));
    memcpy(p + 4, key.p, key.len);
    p += 4 + key.len;
    if (is_cut) {
        wire_set_u32(p, (uint32_t)row.len);
        p += 4;
    }
    memcpy(p, row.p, head);
    append_pieces(t, rev, sub, slice_of(row.p + head, row.len - head));
}

size_t event_del(struct db_txn *t, mu_rev rev, uint32_t sub)
{
    uint8_t k[EVENT_PIECE_KEY_SIZE];
    struct event ev;
    if (event_get(t, rev, sub, &ev) != 0) {
        return 0;
    }
    size_t n_pieces = event_n_pieces(&ev);
    for (uint32_t n = 0; n < n_pieces; n++) {
        db_del(t, DB_PIECES, event_piece_key(k, rev, sub, n));
    }
    db_del(t, DB_EVENTS, event_key(k, rev, sub));
    return n_pieces;
}

/* ---- reading ---- */

int event_parse(struct slice key, struct slice value, struct event *out)
{
    struct event ev = {.is_cut = 0};
    struct wire_reader r;
    int rc = event_key_parse(key, &ev.rev, &ev.sub);
    if (rc != 0) {
        return rc;
    }
    wire_read_init(&r, value);
    uint32_t key_len = wire_u32(&r);
    ev.is_cut = (key_len & cut_flag) != 0;
    key_len &= ~cut_flag;
    ev.key = wire_raw(&r, key_len);
    ev.row_len = ev.is_cut ? wire_u32(&r) : r.left;
    ev.head = slice_of(r.p, r.left);
    int is_bad =
        r.failed || key_len == 0 || key_len > KEY_MAX || ev.row_len > ROW_LEN_MAX ||
        (ev.is_cut && (ev.head.len != head_len(key_len, ev.row_len) || ev.head.len == ev.row_len));
    if (is_bad) {
        return MU_E_CORRUPT;
    }
    *out = ev;
    return 0;
}

int event_get(struct db_txn *t, mu_rev rev, uint32_t sub, struct event *out)
{
    uint8_t k[EVENT_KEY_SIZE];
    struct slice value, key = event_key(k, rev, sub);
    int rc = db_get(t, DB_EVENTS, key, &value);
    return rc != 0 ? rc : event_parse(key, value, out);
}

int event_resolve(struct db_txn *t, struct slice stored, struct event *out)
{
    mu_rev rev;
    uint32_t sub;
    if (!event_is_ref(stored)) {
        *out = (struct event){.head = stored, .row_len = stored.len};
        return 0;
    }
    int rc = event_ref_parse(stored, &rev, &sub);
    rc = rc != 0 ? rc : event_get(t, rev, sub, out);
    return rc == MU_E_NOT_FOUND ? MU_E_CORRUPT : rc;
}

static int add_pieces(struct db_txn *t, const struct event *ev, uint8_t *out)
{
    uint8_t k[EVENT_PIECE_KEY_SIZE];
    struct slice key, value;
    size_t n_pieces = event_n_pieces(ev);
    struct db_cur *c = db_cur_open(t, DB_PIECES);
    int rc = db_cur_seek(c, event_piece_key(k, ev->rev, ev->sub, 0), &key, &value);
    for (uint32_t n = 0; n < n_pieces && rc == 0; n++) {
        size_t len = event_piece_len(ev, n);
        if (value.len != len || !slice_eq(key, event_piece_key(k, ev->rev, ev->sub, n))) {
            rc = MU_E_CORRUPT;
            break;
        }
        memcpy(out, value.p, len);
        out += len;
        if (n + 1 < n_pieces) {
            rc = db_cur_next(c, &key, &value);
        }
    }
    db_cur_close(c);
    return rc == MU_E_NOT_FOUND ? MU_E_CORRUPT : rc;
}

int event_row(struct db_txn *t, const struct event *ev, struct buf *mem, struct slice *out)
{
    if (!ev->is_cut) {
        *out = ev->head;
        return 0;
    }
    buf_clear(mem);
    uint8_t *p = buf_reserve(mem, ev->row_len);
    memcpy(p, ev->head.p, ev->head.len);
    int rc = add_pieces(t, ev, p + ev->head.len);
    if (rc == 0) {
        mem->len = ev->row_len;
        *out = buf_slice(mem);
    }
    return rc;
}
