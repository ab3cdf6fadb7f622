/* SPDX-License-Identifier: Apache-2.0 */
/* MessagePack as Consul's snapshots hold it (https://github.com/msgpack/msgpack, the old form of
 * raw bytes): a reader that takes no memory by what the input says, and a writer.
 *
 * A value is the slice of its bytes. Only mp_take reads what was not checked; all others are given
 * values that mp_take found whole, or parts of such. */
#pragma once

#include "base/buf.h"

struct json_t;

enum { MP_DEPTH_MAX = 32 };
enum mp_type { MP_NIL, MP_BOOL, MP_INT, MP_REAL, MP_RAW, MP_ARRAY, MP_MAP };

/* The first value of *rest, which is moved behind it. 0; FORMAT: cut off, too deep, of a kind that
 * Consul does not write (extensions), or a map with keys that are no texts. */
int mp_take(struct slice *rest, struct slice *out);

enum mp_type mp_type_of(struct slice v);
struct slice mp_raw(struct slice v); /* empty when it is none */
/* 0 when it is none, and when it does not fit. */
uint64_t mp_u64(struct slice v);
int64_t mp_i64(struct slice v);
int mp_bool(struct slice v);
/* A member of a map: the last of that name; an empty slice when there is none. */
struct slice mp_member(struct slice map, const char *name);
struct slice mp_text(struct slice map, const char *name); /* its bytes */
/* Walking an array: *walk is the rest, of mp_items; 1 while there is an item. */
struct mp_walk {
    struct slice rest;
    size_t left;
};
void mp_items(struct slice array, struct mp_walk *w);
int mp_next(struct mp_walk *w, struct slice *out);
void mp_members(struct slice map, struct mp_walk *w); /* key, value, key, value */

/* The value as JSON. What is not UTF-8 becomes U+FFFD as in Go; bytes with a zero among them are
 * no text: null. */
void mp_json(struct slice v, struct buf *out);

void mp_put_nil(struct buf *b);
void mp_put_bool(struct buf *b, int v);
void mp_put_u64(struct buf *b, uint64_t v);
void mp_put_i64(struct buf *b, int64_t v);
void mp_put_f64(struct buf *b, double v);
void mp_put_raw(struct buf *b, struct slice s);
void mp_put_str(struct buf *b, const char *s);
void mp_put_array(struct buf *b, size_t n);
void mp_put_map(struct buf *b, size_t n);
void mp_put_json(struct buf *b, const struct json_t *v);

/* A map or array whose number of members is counted while it is written; a member is a key
 * (mp_key), then its value, an item mp_item, then its value. */
struct mp_open {
    struct buf *out;
    size_t at;
    uint32_t n;
};
void mp_open_map(struct mp_open *m, struct buf *out);
void mp_open_array(struct mp_open *m, struct buf *out);
void mp_key(struct mp_open *m, const char *name);
void mp_item(struct mp_open *m);
void mp_close(struct mp_open *m);
/* Whole members. */
void mp_key_str(struct mp_open *m, const char *name, struct slice s);
void mp_key_i64(struct mp_open *m, const char *name, int64_t v);
void mp_key_bool(struct mp_open *m, const char *name, int v);
void mp_key_json(struct mp_open *m, const char *name, const struct json_t *v);
