/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_write.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/text.h"

enum { DEPTH_MAX = 63 };
static const double WHOLE_MAX = 1e15; /* every whole number below has an exact int64_t and double */

void jw_init(struct jw *w, struct buf *out)
{
    *w = (struct jw){.out = out};
}

static void before_value(struct jw *w)
{
    if (w->after_key) {
        w->after_key = 0;
        return;
    }
    if (w->depth == 0) {
        return;
    }
    uint64_t bit = UINT64_C(1) << w->depth;
    MU_INVARIANT((w->is_obj & bit) == 0); /* an object's value needs a key before it */
    if (w->has_any & bit) {
        buf_append_byte(w->out, ',');
    }
    w->has_any |= bit;
}

static void open_level(struct jw *w, int is_obj)
{
    before_value(w);
    MU_INVARIANT(w->depth < DEPTH_MAX);
    w->depth++;
    uint64_t bit = UINT64_C(1) << w->depth;
    w->has_any &= ~bit;
    w->is_obj = is_obj ? w->is_obj | bit : w->is_obj & ~bit;
    buf_append_byte(w->out, is_obj ? '{' : '[');
}

void jw_obj(struct jw *w)
{
    open_level(w, 1);
}

void jw_arr(struct jw *w)
{
    open_level(w, 0);
}

void jw_end(struct jw *w)
{
    MU_INVARIANT(w->depth > 0 && !w->after_key);
    uint64_t bit = UINT64_C(1) << w->depth;
    buf_append_byte(w->out, w->is_obj & bit ? '}' : ']');
    w->depth--;
}

static void put_escaped(struct buf *b, uint8_t c)
{
    switch (c) {
    case '"':
        buf_append_str(b, "\\\"");
        return;
    case '\\':
        buf_append_str(b, "\\\\");
        return;
    case '\n':
        buf_append_str(b, "\\n");
        return;
    case '\r':
        buf_append_str(b, "\\r");
        return;
    case '\t':
        buf_append_str(b, "\\t");
        return;
    default:
        buf_printf(b, "\\u%04x", c);
        return;
    }
}

/* 1 when none of eight bytes needs a look: no control character, quote, backslash, nothing from DEL
 * up. */
static int are_plain(const uint8_t *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high = ones << 7;
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    uint64_t quote = v ^ ones * '"';
    uint64_t backslash = v ^ ones * '\\';
    /* (x - ones) & ~x: the high bit of each byte that is zero; v - ones * 32 borrows below a space;
     * v + ones carries into the high bit from DEL up. One byte may disturb its neighbour, but only
     * when it is itself a hit. */
    uint64_t hits = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
                    (v - ones * 0x20) | (v + ones) | v;
    return (hits & high) == 0;
}

static int is_plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c < 0x7f;
}

/* Bytes of the UTF-8 character at p, 0 when it is not valid. */
static size_t char_len(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    return n <= left && text_is_utf8(slice_of(p, n)) ? n : 0;
}

static void put_string(struct buf *b, struct slice s)
{
    size_t i = 0;
    buf_append_byte(b, '"');
    while (i < s.len) {
        size_t from = i;
        while (s.len - i >= 8 && are_plain(s.p + i)) {
            i += 8;
        }
        while (i < s.len && is_plain(s.p[i])) {
            i++;
        }
        buf_append(b, s.p + from, i - from);
        if (i == s.len) {
            break;
        }
        if (s.p[i] < 0x80) {
            put_escaped(b, s.p[i++]);
            continue;
        }
        size_t n = char_len(s.p + i, s.len - i);
        if (n == 0) {
            buf_append_str(b, "\xef\xbf\xbd");
            i++;
        } else {
            buf_append(b, s.p + i, n);
            i += n;
        }
    }
    buf_append_byte(b, '"');
}

void jw_key_slice(struct jw *w, struct slice key)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    MU_INVARIANT(w->depth > 0 && (w->is_obj & bit) != 0 && !w->after_key);
    if (w->has_any & bit) {
        buf_append_byte(w->out, ',');
    }
    w->has_any |= bit;
    put_string(w->out, key);
    buf_append_byte(w->out, ':');
    w->after_key = 1;
}

void jw_key(struct jw *w, const char *key)
{
    jw_key_slice(w, slice_str(key));
}

void jw_str(struct jw *w, const char *s)
{
    jw_slice(w, slice_str(s));
}

void jw_slice(struct jw *w, struct slice s)
{
    before_value(w);
    put_string(w->out, s);
}

void jw_u64(struct jw *w, uint64_t v)
{
    before_value(w);
    buf_append_u64(w->out, v);
}

void jw_i64(struct jw *w, int64_t v)
{
    before_value(w);
    if (v < 0) {
        buf_append_byte(w->out, '-');
    }
    buf_append_u64(w->out, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

void jw_f64(struct jw *w, double v)
{
    char text[40];
    if (!isfinite(v)) {
        jw_null(w); /* JSON has no word for it */
        return;
    }
    if (fabs(v) < WHOLE_MAX && v == (double)(int64_t)v && !(v == 0 && signbit(v))) {
        jw_i64(w, (int64_t)v); /* the common case, and never as "1e+06" */
        return;
    }
    before_value(w);
    /* A normal number that has a form of 15 digits or fewer prints it at 15; a denormal one may
     * not. */
    for (int digits = fabs(v) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    buf_append_str(w->out, text);
}

void jw_bool(struct jw *w, int v)
{
    before_value(w);
    buf_append_str(w->out, v ? "true" : "false");
}

void jw_null(struct jw *w)
{
    before_value(w);
    buf_append_str(w->out, "null");
}

void jw_base64(struct jw *w, struct slice s)
{
    static const char t[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    before_value(w);
    MU_INVARIANT(s.len < SIZE_MAX / 2);
    uint8_t *out = buf_reserve(w->out, (s.len + 2) / 3 * 4 + 2);
    const uint8_t *from = out;
    *out++ = '"';
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        uint32_t v = (uint32_t)s.p[i] << 16;
        v |= n > 1 ? (uint32_t)s.p[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)s.p[i + 2] : 0;
        *out++ = (uint8_t)t[v >> 18];
        *out++ = (uint8_t)t[v >> 12 & 63];
        *out++ = n > 1 ? (uint8_t)t[v >> 6 & 63] : '=';
        *out++ = n > 2 ? (uint8_t)t[v & 63] : '=';
    }
    *out++ = '"';
    w->out->len += (size_t)(out - from);
}

void jw_json(struct jw *w, struct slice json)
{
    before_value(w);
    buf_append_slice(w->out, json);
}
