/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/message.h"

#include <string.h>

#include "base/mem.h"
#include "base/wire.h"
#include "raft/conf.h"

static const uint64_t NUMBER_MAX =
    1ULL << 62; /* terms and indexes beyond this are nonsense, and sums of two stay in range */

enum { FLAG_A = 1, FLAG_B = 2 };

void message_scratch_fini(struct message_scratch *s)
{
    mem_free(s->entries);
    *s = (struct message_scratch){0};
}

static uint64_t number(struct wire_reader *r)
{
    uint64_t v = wire_u64(r);
    if (v >= NUMBER_MAX) {
        r->failed = 1;
    }
    return v;
}

static uint8_t flags(struct wire_reader *r, uint8_t allowed)
{
    uint8_t v = wire_u8(r);
    if ((v & ~allowed) != 0) {
        r->failed = 1;
    }
    return v;
}

static struct slice rest(struct wire_reader *r)
{
    return wire_raw(r, r->left);
}

/* --- entries of APPEND --- */

static int is_entry_good(const struct wal_entry *e, mu_term low, mu_term high)
{
    struct conf c;
    if (e->term < low || e->term > high || e->term == 0 || e->kind < WAL_COMMAND ||
        e->kind > WAL_CHANGE) {
        return 0;
    }
    return e->kind != WAL_CHANGE || conf_decode(e->data, &c) == 0;
}

/* All heads, then all data. Terms never fall and never pass the sender's. */
static void read_entries(struct wire_reader *r, struct message_scratch *s, struct message *m)
{
    uint32_t n = wire_u32(r);
    if (r->failed || n > MESSAGE_ENTRIES_MAX || (size_t)n * MESSAGE_ENTRY_HEAD > r->left) {
        r->failed = 1;
        return;
    }
    if (n > s->cap) {
        s->entries = mem_realloc(s->entries, n * sizeof(*s->entries));
        s->cap = n;
    }
    struct wire_reader data = *r;
    wire_raw(&data, (size_t)n * MESSAGE_ENTRY_HEAD);
    mu_term low = m->append.prev_term;
    for (uint32_t i = 0; i < n; i++) {
        struct wal_entry *e = &s->entries[i];
        e->term = number(r);
        e->kind = (enum wal_kind)wire_u8(r);
        uint32_t len = wire_u32(r);
        e->data = len <= MESSAGE_ENTRY_MAX ? wire_raw(&data, len) : (struct slice){0};
        if (len > MESSAGE_ENTRY_MAX || data.failed || !is_entry_good(e, low, m->term)) {
            r->failed = 1;
            return;
        }
        low = e->term;
    }
    *r = data;
    m->append.n = n;
    m->append.entries = s->entries;
}

static void read_append(struct wire_reader *r, struct message_scratch *s, struct message *m)
{
    m->append.prev = number(r);
    m->append.prev_term = number(r);
    m->append.commit = number(r);
    if ((m->append.prev == 0) != (m->append.prev_term == 0) || m->append.prev_term > m->term ||
        m->term == 0) {
        r->failed = 1;
    }
    if (!r->failed) {
        read_entries(r, s, m);
    }
}

/* --- items --- */

void message_put_forward(struct buf *b, const struct message_forward_item *i)
{
    wire_put_u64(b, i->seq);
    wire_put_u32(b, i->wait_ms);
    wire_put_bytes(b, i->data);
}

static int read_forward(struct wire_reader *r, struct message_forward_item *out)
{
    out->seq = wire_u64(r);
    out->wait_ms = wire_u32(r);
    out->data = wire_bytes(r, MESSAGE_ENTRY_MAX);
    return r->failed ? MU_E_FORMAT : 0;
}

int message_next_forward(struct slice *items, struct message_forward_item *out)
{
    struct wire_reader r;
    wire_read_init(&r, *items);
    if (items->len == 0 || read_forward(&r, out) != 0) {
        return 0;
    }
    *items = slice_of(r.p, r.left);
    return 1;
}

void message_put_result(struct buf *b, const struct message_result_item *i)
{
    wire_put_u64(b, i->seq);
    wire_put_u32(b, (uint32_t)i->code);
    wire_put_bytes(b, i->data);
}

static int read_result(struct wire_reader *r, struct message_result_item *out)
{
    out->seq = wire_u64(r);
    out->code = (int)(int32_t)wire_u32(r);
    out->data = wire_bytes(r, MESSAGE_RESULT_MAX);
    return r->failed || out->code > 0 ? MU_E_FORMAT : 0;
}

int message_next_result(struct slice *items, struct message_result_item *out)
{
    struct wire_reader r;
    wire_read_init(&r, *items);
    if (items->len == 0 || read_result(&r, out) != 0) {
        return 0;
    }
    *items = slice_of(r.p, r.left);
    return 1;
}

static void read_items(struct wire_reader *r, struct message *m)
{
    m->forward.run = wire_u64(r);
    m->forward.n = wire_u32(r);
    if (r->failed || m->forward.n > MESSAGE_ITEMS_MAX) {
        r->failed = 1;
        return;
    }
    struct wire_reader walk = *r;
    for (size_t i = 0; i < m->forward.n; i++) {
        struct message_forward_item f;
        struct message_result_item a;
        int rc = m->type == MESSAGE_FORWARD ? read_forward(&walk, &f) : read_result(&walk, &a);
        if (rc != 0) {
            r->failed = 1;
            return;
        }
    }
    if (walk.left != 0) {
        r->failed = 1;
        return;
    }
    m->forward.items = rest(r);
}

/* --- the rest --- */

static void read_snapshot(struct wire_reader *r, struct message *m)
{
    switch (m->type) {
    case MESSAGE_SNAPSHOT_BEGIN:
        m->snapshot_begin.id = wire_u64(r);
        m->snapshot_begin.index = number(r);
        m->snapshot_begin.index_term = number(r);
        m->snapshot_begin.size = number(r);
        m->snapshot_begin.is_rejoin = flags(r, FLAG_A);
        if (m->snapshot_begin.index == 0 || m->snapshot_begin.index_term == 0 ||
            m->snapshot_begin.index_term > m->term) {
            r->failed = 1;
        }
        return;
    case MESSAGE_SNAPSHOT_CHUNK:
        m->snapshot_chunk.id = wire_u64(r);
        m->snapshot_chunk.offset = number(r);
        m->snapshot_chunk.crc = wire_u32(r);
        m->snapshot_chunk.data = rest(r);
        if (m->snapshot_chunk.data.len == 0 || m->snapshot_chunk.data.len > MESSAGE_CHUNK_MAX) {
            r->failed = 1;
        }
        return;
    default:
        m->snapshot_ack.id = wire_u64(r);
        m->snapshot_ack.offset = number(r);
        m->snapshot_ack.code = (int)(int32_t)wire_u32(r);
        return;
    }
}

static void read_members(struct wire_reader *r, struct message *m)
{
    struct conf c;
    m->members.conf = rest(r);
    if (conf_decode(m->members.conf, &c) != 0) {
        r->failed = 1;
    }
}

static void read_vote(struct wire_reader *r, struct message *m)
{
    m->vote.last = number(r);
    m->vote.last_term = number(r);
    uint8_t f = flags(r, FLAG_A | FLAG_B);
    m->vote.is_disrupt = (f & FLAG_A) != 0;
    m->vote.is_pre = (f & FLAG_B) != 0;
    if (m->term == 0 || m->vote.last_term > m->term) {
        r->failed = 1;
    }
}

static void read_read_index_result(struct wire_reader *r, struct message *m)
{
    m->read_index_result.seq = wire_u64(r);
    m->read_index_result.index = number(r);
    m->read_index_result.code = (int)(int32_t)wire_u32(r);
    if (m->read_index_result.code > 0) {
        r->failed = 1;
    }
}

static void read_body(struct wire_reader *r, struct message_scratch *s, struct message *m)
{
    uint8_t f;
    switch (m->type) {
    case MESSAGE_APPEND:
        read_append(r, s, m);
        return;
    case MESSAGE_APPEND_RESULT:
        m->append_result.rejected = number(r);
        m->append_result.last = number(r);
        return;
    case MESSAGE_VOTE:
        read_vote(r, m);
        return;
    case MESSAGE_VOTE_RESULT:
        f = flags(r, FLAG_A | FLAG_B);
        m->vote_result.is_granted = (f & FLAG_A) != 0;
        m->vote_result.is_pre = (f & FLAG_B) != 0;
        return;
    case MESSAGE_TIMEOUT_NOW:
        m->timeout_now.last = number(r);
        m->timeout_now.last_term = number(r);
        return;
    case MESSAGE_COMMIT:
        m->commit.index = number(r);
        return;
    case MESSAGE_CONFIRM:
    case MESSAGE_CONFIRM_ACK:
        m->confirm.round = wire_u64(r);
        return;
    case MESSAGE_READ_INDEX:
        m->read_index.seq = wire_u64(r);
        m->read_index.is_leader_only = flags(r, FLAG_A);
        return;
    case MESSAGE_READ_INDEX_RESULT:
        read_read_index_result(r, m);
        return;
    case MESSAGE_FORWARD:
    case MESSAGE_FORWARD_RESULT:
        read_items(r, m);
        return;
    case MESSAGE_MEMBERS:
        read_members(r, m);
        return;
    case MESSAGE_SNAPSHOT_BEGIN:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_ACK:
        read_snapshot(r, m);
        return;
    case MESSAGE_REJOIN:
        return;
    case MESSAGE_SERVER:
        break;
    }
    r->failed = 1;
}

int message_decode(uint8_t type, struct slice body, struct message_scratch *s, struct message *out)
{
    struct wire_reader r;
    wire_read_init(&r, body);
    memset(out, 0, sizeof(*out));
    out->type = (enum message_type)type;
    out->term = number(&r);
    if (!r.failed) {
        read_body(&r, s, out);
    }
    return wire_read_end(&r);
}

/* --- encoding --- */

struct put {
    uint8_t *p;
    size_t len;
};

static void put_u64(struct put *w, uint64_t v)
{
    wire_set_u64(w->p + w->len, v);
    w->len += 8;
}

static void put_u32(struct put *w, uint32_t v)
{
    wire_set_u32(w->p + w->len, v);
    w->len += 4;
}

static void put_flags(struct put *w, int a, int b)
{
    w->p[w->len++] = (uint8_t)((a ? FLAG_A : 0) | (b ? FLAG_B : 0));
}

static void put_snapshot(struct put *w, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_SNAPSHOT_BEGIN:
        put_u64(w, m->snapshot_begin.id);
        put_u64(w, m->snapshot_begin.index);
        put_u64(w, m->snapshot_begin.index_term);
        put_u64(w, m->snapshot_begin.size);
        put_flags(w, m->snapshot_begin.is_rejoin, 0);
        return;
    case MESSAGE_SNAPSHOT_CHUNK:
        put_u64(w, m->snapshot_chunk.id);
        put_u64(w, m->snapshot_chunk.offset);
        put_u32(w, m->snapshot_chunk.crc);
        return;
    default:
        put_u64(w, m->snapshot_ack.id);
        put_u64(w, m->snapshot_ack.offset);
        put_u32(w, (uint32_t)m->snapshot_ack.code);
        return;
    }
}

static void put_body(struct put *w, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_APPEND:
        put_u64(w, m->append.prev);
        put_u64(w, m->append.prev_term);
        put_u64(w, m->append.commit);
        put_u32(w, (uint32_t)m->append.n);
        return;
    case MESSAGE_APPEND_RESULT:
        put_u64(w, m->append_result.rejected);
        put_u64(w, m->append_result.last);
        return;
    case MESSAGE_VOTE:
        put_u64(w, m->vote.last);
        put_u64(w, m->vote.last_term);
        put_flags(w, m->vote.is_disrupt, m->vote.is_pre);
        return;
    case MESSAGE_VOTE_RESULT:
        put_flags(w, m->vote_result.is_granted, m->vote_result.is_pre);
        return;
    case MESSAGE_TIMEOUT_NOW:
        put_u64(w, m->timeout_now.last);
        put_u64(w, m->timeout_now.last_term);
        return;
    case MESSAGE_COMMIT:
        put_u64(w, m->commit.index);
        return;
    case MESSAGE_CONFIRM:
    case MESSAGE_CONFIRM_ACK:
        put_u64(w, m->confirm.round);
        return;
    case MESSAGE_READ_INDEX:
        put_u64(w, m->read_index.seq);
        put_flags(w, m->read_index.is_leader_only, 0);
        return;
    case MESSAGE_READ_INDEX_RESULT:
        put_u64(w, m->read_index_result.seq);
        put_u64(w, m->read_index_result.index);
        put_u32(w, (uint32_t)m->read_index_result.code);
        return;
    case MESSAGE_FORWARD:
    case MESSAGE_FORWARD_RESULT:
        put_u64(w, m->forward.run);
        put_u32(w, (uint32_t)m->forward.n);
        return;
    case MESSAGE_SNAPSHOT_BEGIN:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_ACK:
        put_snapshot(w, m);
        return;
    case MESSAGE_MEMBERS:
    case MESSAGE_REJOIN:
    case MESSAGE_SERVER:
        return;
    }
}

size_t message_encode(const struct message *m, uint8_t *out)
{
    struct put w = {.p = out};
    put_u64(&w, m->term);
    put_body(&w, m);
    MU_INVARIANT(w.len <= MESSAGE_HEAD_MAX);
    return w.len;
}

void message_put_entry_head(uint8_t *out, const struct wal_entry *e)
{
    wire_set_u64(out, e->term);
    out[8] = (uint8_t)e->kind;
    wire_set_u32(out + 9, (uint32_t)e->data.len);
}
