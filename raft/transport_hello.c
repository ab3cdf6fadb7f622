/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/wire.h"
#include "raft/transport_frame.h"

static const char magic[8] = {'M', 'U', 'S', 'T', 'E', 'R', 'P', '1'};

static void put_frame(struct buf *out, uint8_t type, struct buf *body)
{
    struct slice part = buf_slice(body);
    frame_append(out, type, &part, 1);
    buf_fini(body);
}

void hello_append(struct buf *out, const struct hello *h)
{
    struct buf b;
    buf_init(&b);
    buf_append(&b, magic, sizeof(magic));
    wire_put_u16(&b, h->version_min);
    wire_put_u16(&b, h->version_max);
    buf_append(&b, h->cluster_id, sizeof(h->cluster_id));
    wire_put_u64(&b, h->from);
    wire_put_u64(&b, h->to);
    wire_put_u64(&b, h->session);
    wire_put_bytes(&b, slice_str(h->name));
    put_frame(out, FRAME_HELLO, &b);
}

int hello_parse(struct slice body, struct hello *out)
{
    struct wire_reader r;
    wire_read_init(&r, body);
    struct slice m = wire_raw(&r, sizeof(magic));
    memset(out, 0, sizeof(*out));
    out->version_min = wire_u16(&r);
    out->version_max = wire_u16(&r);
    struct slice id = wire_raw(&r, sizeof(out->cluster_id));
    out->from = wire_u64(&r);
    out->to = wire_u64(&r);
    out->session = wire_u64(&r);
    struct slice name = wire_bytes(&r, sizeof(out->name) - 1);
    if (wire_read_end(&r) != 0 || memcmp(m.p, magic, sizeof(magic)) != 0 || !text_is_name(name, sizeof(out->name) - 1)) {
        return MU_E_FORMAT;
    }
    memcpy(out->cluster_id, id.p, sizeof(out->cluster_id));
    memcpy(out->name, name.p, name.len);
    return 0;
}

void hello_ack_append(struct buf *out, const char *reason)
{
    struct buf b;
    buf_init(&b);
    wire_put_bytes(&b, slice_str(reason));
    put_frame(out, FRAME_HELLO_ACK, &b);
}

int hello_ack_parse(struct slice body, char reason[128])
{
    struct wire_reader r;
    wire_read_init(&r, body);
    struct slice s = wire_bytes(&r, 127);
    if (wire_read_end(&r) != 0) {
        return MU_E_FORMAT;
    }
    memcpy(reason, s.p, s.len);
    reason[s.len] = '\0';
    return 0;
}
