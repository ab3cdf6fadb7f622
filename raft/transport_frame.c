/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/transport_frame.h"

#include "base/hash.h"
#include "base/wire.h"

enum { HEAD_CHECKED = 5 }; /* length and type: the part of the head that the crc covers */

void peer_frame_reader_init(struct peer_frame_reader *r, size_t body_max)
{
    *r = (struct peer_frame_reader){.max = body_max};
    buf_init(&r->b);
}

void peer_frame_reader_fini(struct peer_frame_reader *r)
{
    buf_fini(&r->b);
    r->at = 0;
}

void peer_frame_reader_limit(struct peer_frame_reader *r, size_t body_max)
{
    r->max = body_max;
}

/* Give a large buffer back when the last reads did without it. */
static void shrink(struct peer_frame_reader *r, size_t want)
{
    if (want > PEER_FRAME_ROOM || r->b.cap <= PEER_FRAME_ROOM) {
        r->n_small = 0;
        return;
    }
    if (r->b.cap > PEER_FRAME_KEEP || ++r->n_small > PEER_FRAME_SMALL_READS) {
        struct buf b;
        buf_init(&b);
        buf_reserve(&b, PEER_FRAME_ROOM);
        buf_append_slice(&b, buf_slice(&r->b));
        buf_fini(&r->b);
        r->b = b;
        r->n_small = 0;
    }
}

uint8_t *peer_frame_reader_room(struct peer_frame_reader *r, size_t *out_cap)
{
    size_t most = r->max + PEER_FRAME_HEAD;
    size_t want = most < PEER_FRAME_ROOM ? most : PEER_FRAME_ROOM;
    buf_consume(&r->b, r->at);
    r->at = 0;
    if (r->b.len >= PEER_FRAME_HEAD) {
        size_t whole = PEER_FRAME_HEAD + (size_t)wire_get_u32(r->b.p);
        MU_INVARIANT(whole <= most); /* next() has seen it */
        want = whole > want ? whole : want;
    }
    shrink(r, want);
    buf_reserve(&r->b, want > r->b.len ? want - r->b.len : 1);
    *out_cap = r->b.cap - r->b.len;
    return r->b.p + r->b.len;
}

void peer_frame_reader_add(struct peer_frame_reader *r, size_t n)
{
    MU_INVARIANT(n <= r->b.cap - r->b.len);
    r->b.len += n;
}

int peer_frame_reader_next(struct peer_frame_reader *r, uint8_t *out_type, struct slice *out_body)
{
    size_t left = r->b.len - r->at;
    if (left < sizeof(uint32_t)) {
        return 0;
    }
    const uint8_t *p = r->b.p + r->at;
    size_t len = wire_get_u32(p);
    if (len > r->max) {
        return MU_E_TOO_LARGE;
    }
    if (left < PEER_FRAME_HEAD + len) {
        return 0;
    }
    uint32_t crc = hash_crc32c(0, p, HEAD_CHECKED);
    if (hash_crc32c(crc, p + PEER_FRAME_HEAD, len) != wire_get_u32(p + HEAD_CHECKED)) {
        return MU_E_CORRUPT;
    }
    r->at += PEER_FRAME_HEAD + len;
    *out_type = p[4];
    *out_body = slice_of(p + PEER_FRAME_HEAD, len);
    return 1;
}

size_t peer_frame_len(const struct slice *parts, size_t n_parts)
{
    size_t len = 0;
    for (size_t i = 0; i < n_parts; i++) {
        len += parts[i].len;
    }
    return len;
}

void peer_frame_put(struct buf *b, uint8_t type, const struct slice *parts, size_t n_parts)
{
    size_t len = peer_frame_len(parts, n_parts);
    MU_INVARIANT(len <= UINT32_MAX);
    uint8_t *head = buf_reserve(b, PEER_FRAME_HEAD + len);
    wire_set_u32(head, (uint32_t)len);
    head[4] = type;
    b->len += PEER_FRAME_HEAD;
    uint32_t crc = hash_crc32c(0, head, HEAD_CHECKED);
    for (size_t i = 0; i < n_parts; i++) {
        crc = hash_crc32c(crc, parts[i].p, parts[i].len);
        buf_append_slice(b, parts[i]);
    }
    wire_set_u32(head + HEAD_CHECKED, crc); /* nothing moved: there was room for all */
}
