/* SPDX-License-Identifier: Apache-2.0 */
/* What a stranger may send to the peer port: frames come out the same however the bytes are cut,
 * none longer than allowed, no memory for promises; what is taken for a hello or an answer means
 * the same when written again. */
#include <stdlib.h>

#include "base/mem.h"
#include "raft/transport_frame.h"
#include "raft/transport_hello.h"

enum { SESSION_MAX = 200 * 1024 }; /* stands for TRANSPORT_FRAME_MAX */

static void try_hello(struct slice body)
{
    struct peer_hello h, again;
    struct buf b;
    if (peer_hello_read(body, &h) != 0) {
        return;
    }
    MU_INVARIANT(h.from != 0 && h.name[0] != '\0' && strlen(h.name) <= PEER_NAME_MAX);
    uint16_t version = peer_version_of(&h);
    MU_INVARIANT(version == 0 || (version >= h.version_min && version <= h.version_max));
    buf_init(&b);
    peer_hello_put(&b, &h);
    int rc = peer_hello_read(slice_of(b.p + PEER_FRAME_HEAD, b.len - PEER_FRAME_HEAD), &again);
    MU_INVARIANT(rc == 0 && memcmp(&h, &again, sizeof(h)) == 0);
    MU_INVARIANT(b.len - PEER_FRAME_HEAD <= body.len);
    buf_fini(&b);
}

static void try_ack(struct slice body)
{
    struct peer_ack a, again;
    struct buf b;
    if (peer_ack_read(body, &a) != 0) {
        return;
    }
    buf_init(&b);
    peer_ack_put(&b, &a);
    int rc = peer_ack_read(slice_of(b.p + PEER_FRAME_HEAD, b.len - PEER_FRAME_HEAD), &again);
    MU_INVARIANT(rc == 0 && memcmp(&a, &again, sizeof(a)) == 0);
    MU_INVARIANT(peer_refusal_text(a.refusal) != NULL);
    buf_fini(&b);
}

/* A node's side of it: a hello first, then longer frames. Appends all frames to out, then the code.
 */
static void run(struct slice in, unsigned seed, struct buf *out)
{
    struct peer_frame_reader r;
    int rc = 0;
    int is_known = 0;
    peer_frame_reader_init(&r, PEER_HELLO_MAX);
    while (in.len > 0 && rc == 0) {
        size_t cap = 0, n = in.len;
        uint8_t *to = peer_frame_reader_room(&r, &cap);
        MU_INVARIANT(cap > 0 && r.b.cap <= 2 * (r.max + PEER_FRAME_HEAD) + PEER_FRAME_ROOM);
        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            n = 1 + (seed >> 16) % 37;
        }
        n = n < in.len ? n : in.len;
        n = n < cap ? n : cap;
        memcpy(to, in.p, n);
        peer_frame_reader_add(&r, n);
        in = slice_of(in.p + n, in.len - n);
        uint8_t type;
        struct slice body;
        while ((rc = peer_frame_reader_next(&r, &type, &body)) == 1) {
            struct peer_hello h;
            MU_INVARIANT(body.len <= r.max);
            buf_printf(out, "%u %zu ", type, body.len);
            buf_append_slice(out, body);
            if (!is_known && type == PEER_FRAME_TYPE_HELLO && peer_hello_read(body, &h) == 0) {
                is_known = 1;
                peer_frame_reader_limit(&r, SESSION_MAX);
            }
        }
    }
    buf_printf(out, " %d", rc);
    peer_frame_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* First byte: 0 and 1: the rest is the body of a hello, of an answer; else a stream, and the seed
 * of its cuts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1) {
        return 0;
    }
    struct slice in = slice_of(data + 1, len - 1);
    struct buf whole, cut;
    if (data[0] == 0) {
        try_hello(in);
        return 0;
    }
    if (data[0] == 1) {
        try_ack(in);
        return 0;
    }
    buf_init(&whole);
    buf_init(&cut);
    run(in, 0, &whole);
    run(in, data[0], &cut);
    MU_INVARIANT(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
