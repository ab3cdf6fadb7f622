/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/msgpack.h"

#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "base/json_write.h"
#include "base/wire.h"

/* --- heads: what a value's first bytes say --- */

struct head {
    enum mp_type type;
    size_t len;     /* of the head itself */
    size_t payload; /* bytes of a raw */
    size_t n;       /* items of an array, members of a map */
    uint64_t u;     /* of an integer, as 64 bits; of a bool */
    int is_negative;
    double d;
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static uint64_t widen(uint64_t v, size_t n)
{
    return n < 8 && (v >> (8 * n - 1)) != 0 ? v | ~UINT64_C(0) << (8 * n) : v;
}

static double real_of(const uint8_t *p, size_t n)
{
    uint64_t bits = big_endian(p, n);
    uint32_t narrow = (uint32_t)bits;
    float f;
    double d;
    memcpy(&f, &narrow, sizeof(f));
    memcpy(&d, &bits, sizeof(d));
    return n == 4 ? (double)f : d;
}

/* Forms of one byte: what is in the byte itself. 1 when it is one of them. */
static int head_short(uint8_t c, struct head *h)
{
    h->len = 1;
    if (c < 0x80 || c >= 0xe0) {
        h->type = MP_INT;
        h->u = widen(c, 1);
        h->u = c < 0x80 ? c : h->u;
        h->is_negative = c >= 0xe0;
    } else if (c < 0xa0) {
        h->type = c < 0x90 ? MP_MAP : MP_ARRAY;
        h->n = c & 15;
    } else if (c < 0xc0) {
        h->type = MP_RAW;
        h->payload = c & 31;
    } else if (c == 0xc0) {
        h->type = MP_NIL;
    } else if (c == 0xc2 || c == 0xc3) {
        h->type = MP_BOOL;
        h->u = c & 1;
    } else {
        return 0;
    }
    return 1;
}

/* How many bytes follow the first one, by its value; 0: not known here. */
static size_t width_of(uint8_t c)
{
    static const uint8_t widths[32] = {
        [0x04] = 1, [0x05] = 2, [0x06] = 4,             /* bin */
        [0x0a] = 4, [0x0b] = 8,                         /* float */
        [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8, /* unsigned */
        [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8, /* signed */
        [0x19] = 1, [0x1a] = 2, [0x1b] = 4,             /* raw */
        [0x1c] = 2, [0x1d] = 4,                         /* array */
        [0x1e] = 2, [0x1f] = 4,                         /* map */
    };
    return c >= 0xc0 && c < 0xe0 ? widths[c - 0xc0] : 0;
}

static int head_read(struct slice s, struct head *h)
{
    *h = (struct head){0};
    if (s.len == 0 || head_short(s.p[0], h)) {
        return s.len == 0 ? MU_E_FORMAT : 0;
    }
    uint8_t c = s.p[0];
    size_t w = width_of(c);
    if (w == 0 || s.len < 1 + w) {
        return MU_E_FORMAT;
    }
    uint64_t v = big_endian(s.p + 1, w);
    h->len = 1 + w;
    if (c <= 0xc6 || (c >= 0xd9 && c <= 0xdb)) {
        h->type = MP_RAW;
        h->payload = (size_t)v;
    } else if (c <= 0xcb) {
        h->type = MP_REAL;
        h->d = real_of(s.p + 1, w);
    } else if (c <= 0xd3) {
        h->type = MP_INT;
        h->u = c <= 0xcf ? v : widen(v, w);
        h->is_negative = c > 0xcf && (int64_t)h->u < 0;
    } else {
        h->type = c <= 0xdd ? MP_ARRAY : MP_MAP;
        h->n = (size_t)v;
    }
    return 0;
}

/* --- taking values off --- */

static int take(struct slice *rest, int depth)
{
    struct head h;
    struct head key;
    int rc = depth > MP_DEPTH_MAX ? MU_E_FORMAT : head_read(*rest, &h);
    if (rc != 0 || h.payload > rest->len - h.len) {
        return MU_E_FORMAT;
    }
    *rest = slice_of(rest->p + h.len + h.payload, rest->len - h.len - h.payload);
    /* An item has one byte at least: more than there are bytes cannot be. */
    if (h.n > rest->len) {
        return MU_E_FORMAT;
    }
    for (size_t i = 0; i < h.n && rc == 0; i++) {
        if (h.type == MP_MAP) {
            rc = head_read(*rest, &key) == 0 && key.type == MP_RAW ? take(rest, depth + 1)
                                                                   : MU_E_FORMAT;
        }
        rc = rc != 0 ? rc : take(rest, depth + 1);
    }
    return rc;
}

int mp_take(struct slice *rest, struct slice *out)
{
    struct slice at = *rest;
    int rc = take(&at, 0);
    if (rc == 0) {
        *out = slice_of(rest->p, rest->len - at.len);
        *rest = at;
    }
    return rc;
}

/* --- looking --- */

static struct head head_of(struct slice v)
{
    struct head h;
    if (head_read(v, &h) != 0) {
        h = (struct head){.type = MP_NIL};
    }
    return h;
}

enum mp_type mp_type_of(struct slice v)
{
    return head_of(v).type;
}

struct slice mp_raw(struct slice v)
{
    struct head h = head_of(v);
    return h.type == MP_RAW ? slice_of(v.p + h.len, h.payload) : slice_of(NULL, 0);
}

uint64_t mp_u64(struct slice v)
{
    struct head h = head_of(v);
    return h.type == MP_INT && !h.is_negative ? h.u : 0;
}

int64_t mp_i64(struct slice v)
{
    struct head h = head_of(v);
    int fits = h.type == MP_INT && (h.is_negative || h.u <= INT64_MAX);
    return fits ? (int64_t)h.u : 0;
}

int mp_bool(struct slice v)
{
    struct head h = head_of(v);
    return h.type == MP_BOOL && h.u != 0;
}

static void walk(struct slice v, enum mp_type type, struct mp_walk *w)
{
    struct head h = head_of(v);
    *w = (struct mp_walk){0};
    if (h.type == type) {
        w->rest = slice_of(v.p + h.len, v.len - h.len);
        w->left = type == MP_MAP ? 2 * h.n : h.n;
    }
}

void mp_items(struct slice array, struct mp_walk *w)
{
    walk(array, MP_ARRAY, w);
}

void mp_members(struct slice map, struct mp_walk *w)
{
    walk(map, MP_MAP, w);
}

int mp_next(struct mp_walk *w, struct slice *out)
{
    if (w->left == 0 || mp_take(&w->rest, out) != 0) {
        return 0;
    }
    w->left--;
    return 1;
}

struct slice mp_member(struct slice map, const char *name)
{
    struct slice k, v, found = {0};
    struct mp_walk w;
    mp_members(map, &w);
    while (mp_next(&w, &k) && mp_next(&w, &v)) {
        if (slice_eq(mp_raw(k), slice_str(name))) {
            found = v;
        }
    }
    return found;
}

struct slice mp_text(struct slice map, const char *name)
{
    return mp_raw(mp_member(map, name));
}

/* --- as JSON --- */

static void write_json(struct jw *w, struct slice v)
{
    struct head h = head_of(v);
    struct slice k, item;
    struct mp_walk at;
    struct slice raw = mp_raw(v);
    switch (h.type) {
    case MP_NIL:
        jw_null(w);
        break;
    case MP_BOOL:
        jw_bool(w, h.u != 0);
        break;
    case MP_REAL:
        jw_f64(w, h.d);
        break;
    case MP_INT:
        if (h.is_negative) {
            jw_i64(w, (int64_t)h.u);
        } else {
            jw_u64(w, h.u);
        }
        break;
    case MP_RAW:
        if (raw.len != 0 && memchr(raw.p, 0, raw.len) != NULL) {
            jw_null(w);
        } else {
            jw_slice(w, raw);
        }
        break;
    case MP_ARRAY:
        jw_arr(w);
        mp_items(v, &at);
        while (mp_next(&at, &item)) {
            write_json(w, item);
        }
        jw_end(w);
        break;
    case MP_MAP:
        jw_obj(w);
        mp_members(v, &at);
        while (mp_next(&at, &k) && mp_next(&at, &item)) {
            jw_key_slice(w, mp_raw(k));
            write_json(w, item);
        }
        jw_end(w);
        break;
    }
}

void mp_json(struct slice v, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    write_json(&w, v);
}

/* --- writing --- */

static void put_be(struct buf *b, uint8_t first, uint64_t v, int n)
{
    buf_append_byte(b, first);
    for (int i = n - 1; i >= 0; i--) {
        buf_append_byte(b, (uint8_t)(v >> (8 * i)));
    }
}

void mp_put_nil(struct buf *b)
{
    buf_append_byte(b, 0xc0);
}

void mp_put_bool(struct buf *b, int v)
{
    buf_append_byte(b, v ? 0xc3 : 0xc2);
}

void mp_put_u64(struct buf *b, uint64_t v)
{
    if (v < 0x80) {
        buf_append_byte(b, (uint8_t)v);
    } else if (v <= UINT32_MAX) {
        put_be(b, 0xce, v, 4);
    } else {
        put_be(b, 0xcf, v, 8);
    }
}

void mp_put_i64(struct buf *b, int64_t v)
{
    if (v >= 0) {
        mp_put_u64(b, (uint64_t)v);
    } else {
        put_be(b, 0xd3, (uint64_t)v, 8);
    }
}

void mp_put_f64(struct buf *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    put_be(b, 0xcb, bits, 8);
}

/* A length in the form that begins with `small` (up to max), else in 2 or 4 bytes. */
static void put_len(struct buf *b, size_t n, uint8_t small, size_t max, uint8_t two)
{
    if (n <= max) {
        buf_append_byte(b, (uint8_t)(small | n));
    } else if (n <= UINT16_MAX) {
        put_be(b, two, n, 2);
    } else {
        put_be(b, (uint8_t)(two + 1), n, 4);
    }
}

void mp_put_raw(struct buf *b, struct slice s)
{
    put_len(b, s.len, 0xa0, 31, 0xda);
    buf_append_slice(b, s);
}

void mp_put_str(struct buf *b, const char *s)
{
    mp_put_raw(b, slice_str(s));
}

void mp_put_array(struct buf *b, size_t n)
{
    put_len(b, n, 0x90, 15, 0xdc);
}

void mp_put_map(struct buf *b, size_t n)
{
    put_len(b, n, 0x80, 15, 0xde);
}

void mp_put_json(struct buf *b, const json_t *v)
{
    const char *key;
    const json_t *item;
    size_t i;
    switch (v != NULL ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        mp_put_map(b, json_object_size(v));
        json_object_foreach ((json_t *)(uintptr_t)v, key, item) {
            mp_put_str(b, key);
            mp_put_json(b, item);
        }
        break;
    case JSON_ARRAY:
        mp_put_array(b, json_array_size(v));
        json_array_foreach (v, i, item) {
            mp_put_json(b, item);
        }
        break;
    case JSON_STRING:
        mp_put_raw(b, slice_of(json_string_value(v), json_string_length(v)));
        break;
    case JSON_INTEGER:
        mp_put_i64(b, json_integer_value(v));
        break;
    case JSON_REAL:
        mp_put_f64(b, json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        mp_put_bool(b, json_is_true(v));
        break;
    default:
        mp_put_nil(b);
    }
}

/* --- maps and arrays that are counted --- */

static void open_with(struct mp_open *m, struct buf *out, uint8_t first)
{
    *m = (struct mp_open){.out = out, .at = out->len};
    put_be(out, first, 0, 4);
}

void mp_open_map(struct mp_open *m, struct buf *out)
{
    open_with(m, out, 0xdf);
}

void mp_open_array(struct mp_open *m, struct buf *out)
{
    open_with(m, out, 0xdd);
}

void mp_key(struct mp_open *m, const char *name)
{
    m->n++;
    mp_put_str(m->out, name);
}

void mp_item(struct mp_open *m)
{
    m->n++;
}

void mp_close(struct mp_open *m)
{
    for (size_t i = 0; i < 4; i++) {
        m->out->p[m->at + 1 + i] = (uint8_t)(m->n >> (24 - 8 * i));
    }
}

void mp_key_str(struct mp_open *m, const char *name, struct slice s)
{
    mp_key(m, name);
    mp_put_raw(m->out, s);
}

void mp_key_i64(struct mp_open *m, const char *name, int64_t v)
{
    mp_key(m, name);
    mp_put_i64(m->out, v);
}

void mp_key_bool(struct mp_open *m, const char *name, int v)
{
    mp_key(m, name);
    mp_put_bool(m->out, v);
}

void mp_key_json(struct mp_open *m, const char *name, const json_t *v)
{
    mp_key(m, name);
    mp_put_json(m->out, v);
}
