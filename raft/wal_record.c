/* SPDX-License-Identifier: Apache-2.0 */
/* Records and segment headers: bytes to structs and back, nothing else.
 *
 * A record has two checksums: one over its header (so that the length is trusted before it is used)
 * and one over the body, which goes on from the first. Both start from a seed made of the log's
 * salt and the segment's sequence number: what an earlier life of the file left behind is never
 * valid, because two seeds of one log always differ. */
#include "raft/wal_impl.h"

#include "base/hash.h"
#include "base/wire.h"

enum {
    R_CRC = 0,
    R_HEAD_CRC = 4,
    R_CHAIN = 8,
    R_LEN = 16,
    R_KIND = 20,
    R_INDEX = 24,
    R_TERM = 32,
    R_GROUP = 40,
    R_NTH = 48,
    R_PREV = 52
};
_Static_assert(R_PREV + 4 == WAL_RECORD_HEADER, "record header");

enum {
    H_CRC = 8,
    H_VERSION = 12,
    H_SEQ = 16,
    H_SALT = 24,
    H_FIRST = 32,
    H_TERM = 40,
    H_CHAIN = 48,
    H_GROUP = 56,
    H_COUNT = 64,
    H_PREV = 68
};
enum { H_SIZE = 72, H_FLAGS = 76, WAL_VERSION = 1 };
_Static_assert(H_FLAGS + 4 == WAL_HEADER_USED, "segment header");
static const uint8_t MAGIC[8] = {'m', 'u', 's', 't', 'e', 'r', 'w', 'l'};

uint32_t wal_seed(uint64_t salt, uint64_t seq)
{
    uint8_t b[16];
    wire_set_u64(b, salt);
    wire_set_u64(b + 8, seq);
    return hash_crc32c(0, b, sizeof(b));
}

size_t wal_rec_size(size_t len)
{
    return (WAL_RECORD_HEADER + len + 7) & ~(size_t)7;
}

uint64_t wal_rec_chain(const uint8_t *p, size_t len, uint64_t prev_chain)
{
    return hash_xxh3(p + R_LEN, WAL_RECORD_HEADER - R_LEN + len, prev_chain);
}

static uint32_t head_crc(const uint8_t *p, uint32_t seed)
{
    return hash_crc32c(seed, p + R_CHAIN, WAL_RECORD_HEADER - R_CHAIN);
}

uint64_t wal_rec_encode(uint8_t *p, const struct wal_rec *r, uint32_t seed, uint64_t prev_chain)
{
    size_t len = r->body.len;
    wire_set_u32(p + R_LEN, (uint32_t)len);
    wire_set_u32(p + R_KIND, r->kind);
    wire_set_u64(p + R_INDEX, r->index);
    wire_set_u64(p + R_TERM, r->term);
    wire_set_u64(p + R_GROUP, r->group);
    wire_set_u32(p + R_NTH, r->nth);
    wire_set_u32(p + R_PREV, r->prev_count);
    if (len != 0) {
        memcpy(p + WAL_RECORD_HEADER, r->body.p, len);
    }
    memset(p + WAL_RECORD_HEADER + len, 0, wal_rec_size(len) - WAL_RECORD_HEADER - len);
    uint64_t chain = wal_rec_chain(p, len, prev_chain);
    wire_set_u64(p + R_CHAIN, chain);
    uint32_t crc = head_crc(p, seed);
    wire_set_u32(p + R_HEAD_CRC, crc);
    wire_set_u32(p + R_CRC, hash_crc32c(crc, p + WAL_RECORD_HEADER, len));
    return chain;
}

void wal_rec_fields(const uint8_t *p, struct wal_rec *out)
{
    size_t len = wire_get_u32(p + R_LEN);
    *out = (struct wal_rec){
        .chain = wire_get_u64(p + R_CHAIN),
        .index = wire_get_u64(p + R_INDEX),
        .term = wire_get_u64(p + R_TERM),
        .group = wire_get_u64(p + R_GROUP),
        .nth = wire_get_u32(p + R_NTH),
        .prev_count = wire_get_u32(p + R_PREV),
        .kind = p[R_KIND],
        .body = {p + WAL_RECORD_HEADER, len},
        .size = wal_rec_size(len),
    };
}

/* Cheap tests first: this runs at every eighth byte when a tail is searched. */
static int is_head_ok(const uint8_t *p, size_t left, uint32_t seed)
{
    if (left < WAL_RECORD_HEADER) {
        return 0;
    }
    uint32_t kind = wire_get_u32(p + R_KIND);
    return kind >= WAL_COMMAND && kind <= WAL_SEAL &&
           wal_rec_size(wire_get_u32(p + R_LEN)) <= left &&
           wire_get_u32(p + R_HEAD_CRC) == head_crc(p, seed);
}

int wal_rec_decode(struct slice s, uint32_t seed, struct wal_rec *out)
{
    if (!is_head_ok(s.p, s.len, seed)) {
        return 0;
    }
    wal_rec_fields(s.p, out);
    return hash_crc32c(wire_get_u32(s.p + R_HEAD_CRC), out->body.p, out->body.len) ==
           wire_get_u32(s.p + R_CRC);
}

static int is_next(const uint8_t *p, size_t left, uint32_t seed, uint64_t prev_chain)
{
    struct wal_rec r;
    return wal_rec_decode(slice_of(p, left), seed, &r) &&
           wal_rec_chain(p, r.body.len, prev_chain) == r.chain;
}

static int unflip_head(uint8_t *p, size_t left, uint32_t seed, uint64_t prev_chain)
{
    for (unsigned bit = 0; bit < WAL_RECORD_HEADER * 8; bit++) {
        uint8_t mask = (uint8_t)(1U << (bit & 7));
        p[bit >> 3] ^= mask;
        if (is_next(p, left, seed, prev_chain)) {
            return 1;
        }
        p[bit >> 3] ^= mask;
    }
    return 0;
}

/* A checksum is linear: a flipped bit changes it by a pattern that depends on the bit's place only.
 * Walk the places from the end. */
static int unflip_body(uint8_t *p, size_t left, uint32_t seed, uint64_t prev_chain)
{
    struct wal_rec r;
    wal_rec_fields(p, &r);
    uint32_t want =
        hash_crc32c(wire_get_u32(p + R_HEAD_CRC), r.body.p, r.body.len) ^ wire_get_u32(p + R_CRC);
    uint32_t pattern = 0x82f63b78U;
    for (uint64_t bit = (uint64_t)r.body.len * 8; bit-- > 0;) {
        if (pattern == want) {
            uint8_t *at = p + WAL_RECORD_HEADER + (bit >> 3), mask = (uint8_t)(1U << (bit & 7));
            *at ^= mask;
            if (is_next(p, left, seed, prev_chain)) {
                return 1;
            }
            *at ^= mask;
            return 0;
        }
        pattern = (pattern >> 1) ^ ((pattern & 1) != 0 ? 0x82f63b78U : 0);
    }
    return 0;
}

int wal_rec_unflip(uint8_t *p, size_t left, uint32_t seed, uint64_t prev_chain)
{
    if (left < WAL_RECORD_HEADER) {
        return 0;
    }
    if (unflip_head(p, left, seed, prev_chain)) {
        return 1;
    }
    return is_head_ok(p, left, seed) && unflip_body(p, left, seed, prev_chain);
}

void wal_head_encode(uint8_t *p, const struct wal_head *h)
{
    memset(p, 0, WAL_HEADER_BYTES);
    memcpy(p, MAGIC, sizeof(MAGIC));
    wire_set_u32(p + H_VERSION, WAL_VERSION);
    wire_set_u64(p + H_SEQ, h->seq);
    wire_set_u64(p + H_SALT, h->salt);
    wire_set_u64(p + H_FIRST, h->first);
    wire_set_u64(p + H_TERM, h->prev_term);
    wire_set_u64(p + H_CHAIN, h->pos.chain);
    wire_set_u64(p + H_GROUP, h->pos.group);
    wire_set_u32(p + H_COUNT, h->pos.count);
    wire_set_u32(p + H_PREV, h->pos.prev_count);
    wire_set_u32(p + H_SIZE, h->size);
    wire_set_u32(p + H_FLAGS, h->flags);
    wire_set_u32(p + H_CRC, hash_crc32c(0, p + H_VERSION, WAL_HEADER_USED - H_VERSION));
}

int wal_head_decode(const uint8_t *p, struct wal_head *out)
{
    if (memcmp(p, MAGIC, sizeof(MAGIC)) != 0 ||
        hash_crc32c(0, p + H_VERSION, WAL_HEADER_USED - H_VERSION) != wire_get_u32(p + H_CRC)) {
        return MU_E_CORRUPT;
    }
    if (wire_get_u32(p + H_VERSION) != WAL_VERSION) {
        return MU_E_FORMAT;
    }
    *out = (struct wal_head){
        .seq = wire_get_u64(p + H_SEQ),
        .salt = wire_get_u64(p + H_SALT),
        .first = wire_get_u64(p + H_FIRST),
        .prev_term = wire_get_u64(p + H_TERM),
        .pos = {.chain = wire_get_u64(p + H_CHAIN),
                .group = wire_get_u64(p + H_GROUP),
                .count = wire_get_u32(p + H_COUNT),
                .prev_count = wire_get_u32(p + H_PREV)},
        .size = wire_get_u32(p + H_SIZE),
        .flags = wire_get_u32(p + H_FLAGS),
    };
    int ok = out->size >= WAL_SEGMENT_MIN && out->size <= WAL_SEGMENT_MAX && out->size % 8 == 0 &&
             out->first != 0;
    return ok ? 0 : MU_E_CORRUPT;
}
