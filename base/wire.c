/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <endian.h>

#include "base/err.h"

void wire_read_init(struct wire_reader *r, struct slice s)
{
    *r = (struct wire_reader){.p = s.p, .left = s.len};
}

struct slice wire_raw(struct wire_reader *r, size_t n)
{
    if (r->failed || r->left < n) {
        r->failed = 1;
        return (struct slice){0};
    }
    struct slice s = slice_of(r->p, n);
    if (n != 0) { /* the input may be NULL and empty */
        r->p += n;
        r->left -= n;
    }
    return s;
}

/* The bytes of one number into out; zeros when there are not enough. */
static void take(struct wire_reader *r, void *out, size_t n)
{
    struct slice s = wire_raw(r, n);
    if (s.len == n) {
        memcpy(out, s.p, n);
    }
}

uint8_t wire_u8(struct wire_reader *r)
{
    uint8_t v = 0;
    take(r, &v, sizeof(v));
    return v;
}

uint16_t wire_u16(struct wire_reader *r)
{
    uint16_t v = 0;
    take(r, &v, sizeof(v));
    return le16toh(v);
}

uint32_t wire_u32(struct wire_reader *r)
{
    uint32_t v = 0;
    take(r, &v, sizeof(v));
    return le32toh(v);
}

uint64_t wire_u64(struct wire_reader *r)
{
    uint64_t v = 0;
    take(r, &v, sizeof(v));
    return le64toh(v);
}

double wire_f64(struct wire_reader *r)
{
    uint64_t v = wire_u64(r);
    double d;
    memcpy(&d, &v, sizeof(d));
    return d;
}

uint64_t wire_u64_be(struct wire_reader *r)
{
    uint64_t v = 0;
    take(r, &v, sizeof(v));
    return be64toh(v);
}

uint32_t wire_u32_be(struct wire_reader *r)
{
    uint32_t v = 0;
    take(r, &v, sizeof(v));
    return be32toh(v);
}

struct slice wire_bytes(struct wire_reader *r, size_t max)
{
    uint32_t n = wire_u32(r);
    if (n > max) {
        r->failed = 1;
    }
    return wire_raw(r, n);
}

int wire_read_end(const struct wire_reader *r)
{
    return r->failed || r->left != 0 ? MU_E_FORMAT : 0;
}

void wire_put_u8(struct buf *b, uint8_t v)
{
    buf_append_byte(b, v);
}

void wire_put_u16(struct buf *b, uint16_t v)
{
    v = htole16(v);
    buf_append(b, &v, sizeof(v));
}

void wire_put_u32(struct buf *b, uint32_t v)
{
    v = htole32(v);
    buf_append(b, &v, sizeof(v));
}

void wire_put_u64(struct buf *b, uint64_t v)
{
    v = htole64(v);
    buf_append(b, &v, sizeof(v));
}

void wire_put_f64(struct buf *b, double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof(u));
    wire_put_u64(b, u);
}

void wire_put_u64_be(struct buf *b, uint64_t v)
{
    v = htobe64(v);
    buf_append(b, &v, sizeof(v));
}

void wire_put_u32_be(struct buf *b, uint32_t v)
{
    v = htobe32(v);
    buf_append(b, &v, sizeof(v));
}

void wire_put_bytes(struct buf *b, struct slice s)
{
    MU_INVARIANT(s.len <= UINT32_MAX);
    wire_put_u32(b, (uint32_t)s.len);
    buf_append_slice(b, s);
}

uint32_t wire_get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

uint64_t wire_get_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

uint64_t wire_get_u64_be(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

void wire_set_u32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

void wire_set_u64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

void wire_set_u64_be(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}
