/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/transport_hello.h"

#include "base/text.h"
#include "base/wire.h"
#include "raft/transport_frame.h"

static const char magic[] = "musterPR"; /* without its NUL */

enum { MAGIC_LEN = sizeof(magic) - 1 };

static int is_magic(struct slice s)
{
    return slice_eq(s, slice_of(magic, MAGIC_LEN));
}

static void put_frame(struct buf *b, uint8_t type, struct buf *body)
{
    struct slice part = buf_slice(body);
    MU_INVARIANT(part.len <= PEER_HELLO_MAX);
    peer_frame_put(b, type, &part, 1);
    buf_fini(body);
}

/* --- hello --- */

void peer_hello_put(struct buf *b, const struct peer_hello *h)
{
    struct buf body;
    buf_init(&body);
    buf_append(&body, magic, MAGIC_LEN);
    wire_put_u16(&body, h->version_min);
    wire_put_u16(&body, h->version_max);
    buf_append(&body, h->cluster_id, sizeof(h->cluster_id));
    wire_put_u64(&body, h->from);
    wire_put_u64(&body, h->to);
    wire_put_u64(&body, h->run);
    wire_put_u64(&body, h->session);
    wire_put_bytes(&body, slice_str(h->name));
    put_frame(b, PEER_FRAME_TYPE_HELLO, &body);
}

int peer_hello_read(struct slice body, struct peer_hello *out)
{
    struct wire_reader r;
    struct peer_hello h = {0};
    wire_read_init(&r, body);
    struct slice m = wire_raw(&r, MAGIC_LEN);
    h.version_min = wire_u16(&r);
    h.version_max = wire_u16(&r);
    struct slice cluster = wire_raw(&r, sizeof(h.cluster_id));
    h.from = wire_u64(&r);
    h.to = wire_u64(&r);
    h.run = wire_u64(&r);
    h.session = wire_u64(&r);
    struct slice name = wire_bytes(&r, PEER_NAME_MAX);
    if (r.failed || !is_magic(m) || h.from == 0 || h.version_min > h.version_max ||
        !text_is_name(name, PEER_NAME_MAX)) {
        return MU_E_FORMAT;
    }
    memcpy(h.cluster_id, cluster.p, sizeof(h.cluster_id));
    memcpy(h.name, name.p, name.len);
    *out = h;
    return 0;
}

/* --- ack --- */

void peer_ack_put(struct buf *b, const struct peer_ack *a)
{
    struct buf body;
    buf_init(&body);
    buf_append(&body, magic, MAGIC_LEN);
    wire_put_u16(&body, a->refusal);
    wire_put_u16(&body, a->version);
    buf_append(&body, a->cluster_id, sizeof(a->cluster_id));
    wire_put_u64(&body, a->from);
    put_frame(b, PEER_FRAME_TYPE_ACK, &body);
}

int peer_ack_read(struct slice body, struct peer_ack *out)
{
    struct wire_reader r;
    struct peer_ack a = {0};
    wire_read_init(&r, body);
    struct slice m = wire_raw(&r, MAGIC_LEN);
    a.refusal = wire_u16(&r);
    a.version = wire_u16(&r);
    struct slice cluster = wire_raw(&r, sizeof(a.cluster_id));
    a.from = wire_u64(&r);
    if (r.failed || !is_magic(m)) {
        return MU_E_FORMAT;
    }
    memcpy(a.cluster_id, cluster.p, sizeof(a.cluster_id));
    *out = a;
    return 0;
}

/* --- rules --- */

uint16_t peer_version_of(const struct peer_hello *h)
{
    uint16_t version = h->version_max < PEER_VERSION_MAX ? h->version_max : PEER_VERSION_MAX;
    return version >= h->version_min && version >= PEER_VERSION_MIN ? version : 0;
}

int peer_is_same_cluster(const uint8_t a[16], const uint8_t b[16])
{
    static const uint8_t unknown[16];
    return memcmp(a, unknown, sizeof(unknown)) == 0 || memcmp(b, unknown, sizeof(unknown)) == 0 ||
           memcmp(a, b, sizeof(unknown)) == 0;
}

const char *peer_refusal_text(unsigned refusal)
{
    static const char *const texts[PEER_REFUSAL_N] = {
        [PEER_WELCOME] = "welcome",
        [PEER_REFUSED_VERSION] = "no common version of the peer protocol",
        [PEER_REFUSED_CLUSTER] = "it belongs to another cluster",
        [PEER_REFUSED_TARGET] = "another node was meant",
        [PEER_REFUSED_MEMBER] = "not a member",
        [PEER_REFUSED_NAME] = "the name does not fit the certificate or the member's id",
        [PEER_REFUSED_STALE] = "a newer session is there",
    };
    return refusal < PEER_REFUSAL_N ? texts[refusal] : "for a reason unknown to this version";
}
