/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http/target.h"

#include "base/text.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode s into *mem (which moves on) when it holds escapes, else borrow it. Returns 0 or
 * MU_E_BAD_REQUEST. */
static int decode(struct slice s, int is_query, uint8_t **mem, struct slice *out, struct err *e)
{
    struct slice got = s;
    if (s.len != 0 &&
        (memchr(s.p, '%', s.len) != NULL || (is_query && memchr(s.p, '+', s.len) != NULL))) {
        uint8_t *to = *mem;
        size_t n = 0;
        for (size_t i = 0; i < s.len; i++) {
            uint8_t c = s.p[i];
            if (c == '%') {
                int hi = i + 2 < s.len ? hex_digit(s.p[i + 1]) : -1;
                int lo = i + 2 < s.len ? hex_digit(s.p[i + 2]) : -1;
                if (hi < 0 || lo < 0) {
                    return err_set(e, MU_E_BAD_REQUEST, "bad percent-escape in the request target");
                }
                c = (uint8_t)(hi * 16 + lo);
                i += 2;
            } else if (c == '+' && is_query) {
                c = ' ';
            }
            to[n++] = c;
        }
        got = slice_of(to, n);
        *mem += n;
    }
    if (got.len != 0 && (memchr(got.p, 0, got.len) != NULL || !text_is_utf8(got))) {
        return err_set(e, MU_E_BAD_REQUEST, "the request target does not decode to text in UTF-8");
    }
    *out = got;
    return 0;
}

void target_split(struct slice target, struct slice *out_path, struct slice *out_query)
{
    const uint8_t *q = target.len != 0 ? memchr(target.p, '?', target.len) : NULL;
    size_t n = q != NULL ? (size_t)(q - target.p) : target.len;
    *out_path = slice_of(target.p, n);
    *out_query = q != NULL ? slice_of(q + 1, target.len - n - 1) : slice_of(NULL, 0);
}

static int is_dots(struct slice s)
{
    return (s.len == 1 && s.p[0] == '.') || (s.len == 2 && s.p[0] == '.' && s.p[1] == '.');
}

int path_split(struct slice raw, uint8_t *mem, struct path *out, struct err *e)
{
    if (raw.len == 0 || raw.p[0] != '/') {
        return err_set(e, MU_E_BAD_REQUEST, "the path does not start with \"/\"");
    }
    out->n = 0;
    for (size_t at = 1; at <= raw.len && raw.len > 1;) {
        const uint8_t *slash = at < raw.len ? memchr(raw.p + at, '/', raw.len - at) : NULL;
        size_t end = slash != NULL ? (size_t)(slash - raw.p) : raw.len;
        struct slice seg;
        int code = decode(slice_of(raw.p + at, end - at), 0, &mem, &seg, e);
        if (code != 0) {
            return code;
        }
        if (seg.len == 0 || is_dots(seg)) {
            return err_set(e, MU_E_BAD_REQUEST, "empty or relative segment in the path");
        }
        if (out->n < PATH_SEGMENTS_MAX) {
            out->seg[out->n++] = seg;
        } else {
            out->n = PATH_SEGMENTS_MAX + 1;
        }
        at = end + 1;
    }
    return 0;
}

int query_split(struct slice raw, uint8_t *mem, struct query_pair *out, size_t max, size_t *out_n,
                struct err *e)
{
    size_t n = 0;
    for (size_t at = 0; at < raw.len;) {
        const uint8_t *amp = memchr(raw.p + at, '&', raw.len - at);
        size_t end = amp != NULL ? (size_t)(amp - raw.p) : raw.len;
        const uint8_t *eq = end > at ? memchr(raw.p + at, '=', end - at) : NULL;
        size_t name_end = eq != NULL ? (size_t)(eq - raw.p) : end;
        if (end > at) {
            if (n == max) {
                return err_set(e, MU_E_BAD_REQUEST, "more than %zu query parameters", max);
            }
            size_t value = eq != NULL ? name_end + 1 : end;
            int code = decode(slice_of(raw.p + at, name_end - at), 1, &mem, &out[n].name, e);
            if (code == 0) {
                code = decode(slice_of(raw.p + value, end - value), 1, &mem, &out[n].value, e);
            }
            if (code != 0) {
                return code;
            }
            n++;
        }
        at = end + 1;
    }
    *out_n = n;
    return 0;
}
