/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the peer transport: bytes in, frames out, no socket. docs/formats.md#peer.
 *
 * length u32 (of the body), type u8, crc32c u32 (over type and body), body. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum { FRAME_HEAD = 9, FRAME_HELLO = 255, FRAME_HELLO_ACK = 254 };

struct frame {
    uint8_t type;
    struct slice body; /* borrowed from the input */
    size_t size;       /* of the whole frame */
};

/* 1: a whole, checked frame; 0: more bytes are needed; MU_E_TOO_LARGE or MU_E_CORRUPT: the session must end. max bounds the body. */
int frame_parse(struct slice in, size_t max, struct frame *out);
void frame_append(struct buf *out, uint8_t type, const struct slice *parts, size_t n_parts);

struct hello {
    uint16_t version_min, version_max;
    uint8_t cluster_id[16];
    mu_node_id from, to;
    uint64_t session;
    char name[64];
};

enum { HELLO_VERSION = 1 };

void hello_append(struct buf *out, const struct hello *h); /* a whole frame */
int hello_parse(struct slice body, struct hello *out);      /* MU_E_FORMAT */
/* Empty reason = accepted. */
void hello_ack_append(struct buf *out, const char *reason);
int hello_ack_parse(struct slice body, char reason[128]);
