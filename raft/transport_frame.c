/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/transport_frame.h"

#include "base/hash.h"
#include "base/wire.h"

int frame_parse(struct slice in, size_t max, struct frame *out)
{
    if (in.len < FRAME_HEAD) {
        return 0;
    }
    size_t len = wire_get_u32(in.p);
    if (len > max) {
        return MU_E_TOO_LARGE;
    }
    if (in.len < FRAME_HEAD + len) {
        return 0;
    }
    uint32_t crc = hash_crc32c(0, in.p + 4, 1);
    crc = hash_crc32c(crc, in.p + FRAME_HEAD, len);
    if (crc != wire_get_u32(in.p + 5)) {
        return MU_E_CORRUPT;
    }
    *out = (struct frame){.type = in.p[4], .body = slice_of(in.p + FRAME_HEAD, len), .size = FRAME_HEAD + len};
    return 1;
}

void frame_append(struct buf *out, uint8_t type, const struct slice *parts, size_t n_parts)
{
    size_t len = 0;
    uint32_t crc = hash_crc32c(0, &type, 1);
    for (size_t i = 0; i < n_parts; i++) {
        len += parts[i].len;
        crc = hash_crc32c(crc, parts[i].p, parts[i].len);
    }
    MU_INVARIANT(len <= UINT32_MAX - FRAME_HEAD);
    buf_reserve(out, FRAME_HEAD + len);
    wire_put_u32(out, (uint32_t)len);
    wire_put_u8(out, type);
    wire_put_u32(out, crc);
    for (size_t i = 0; i < n_parts; i++) {
        buf_append_slice(out, parts[i]);
    }
}
