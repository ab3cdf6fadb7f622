/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between peers, without sockets: bytes in, frames out. Layout: docs/formats.md#peer.
 *
 * A reader takes bytes wherever they were cut. No frame costs a malloc of its own: frames are
 * borrowed from the reader's buffer, which grows for a large one and shrinks back later. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum {
    PEER_FRAME_HEAD = 9,       /* length u32, type u8, crc32c u32 */
    PEER_FRAME_TYPE_MAX = 253, /* of the user's frames */
    PEER_FRAME_TYPE_ACK = 254, /* the two of the hand-shake */
    PEER_FRAME_TYPE_HELLO = 255,
    PEER_FRAME_ROOM = 64 * 1024,   /* a reader's buffer at rest */
    PEER_FRAME_KEEP = 1024 * 1024, /* a larger one is given back at once, others after a while */
    PEER_FRAME_SMALL_READS = 256,  /* "a while" */
};

struct peer_frame_reader {
    struct buf b;
    size_t at;        /* start of the first frame that was not given out */
    size_t max;       /* longest body that is taken */
    unsigned n_small; /* reads since the large buffer was needed */
};

void peer_frame_reader_init(struct peer_frame_reader *r, size_t body_max);
void peer_frame_reader_fini(struct peer_frame_reader *r);
void peer_frame_reader_limit(struct peer_frame_reader *r, size_t body_max);
/* Where the next bytes go; frames given out before are gone. Call when next() has returned 0. */
uint8_t *peer_frame_reader_room(struct peer_frame_reader *r, size_t *out_cap);
void peer_frame_reader_add(struct peer_frame_reader *r, size_t n);
/* 1 and a checked frame, borrowed until room(); 0: more bytes are needed; MU_E_TOO_LARGE or
 * MU_E_CORRUPT: nothing that follows can be read. */
int peer_frame_reader_next(struct peer_frame_reader *r, uint8_t *out_type, struct slice *out_body);

size_t peer_frame_len(const struct slice *parts, size_t n_parts); /* of the body */
/* Append one frame; the body is at most UINT32_MAX bytes. */
void peer_frame_put(struct buf *b, uint8_t type, const struct slice *parts, size_t n_parts);
