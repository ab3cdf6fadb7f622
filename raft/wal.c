/* SPDX-License-Identifier: Apache-2.0 */
/* The owner's side: encodes records into memory, decides where each goes, and queues operations. No
 * file is touched here but to open.
 *
 * Truncation is a record of its own (TRUNCATE), so that it is durable or not like an entry and old
 * bytes are never rewritten. A reset begins a segment with the ORIGIN flag: the moment it gets its
 * name, everything older is void. A segment that is full ends in SEAL, written only when the next
 * one is there: a lost last file is noticed. */
#include "raft/wal_impl.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

static struct wal_op *op_get(struct wal *w)
{
    if (w->op == NULL) {
        w->op = mem_zalloc(sizeof(*w->op));
        w->op->wal = w;
        w->op->cut = UINT64_MAX;
    }
    return w->op;
}

static struct wal_act *act_add(struct wal *w, enum wal_act_kind kind)
{
    struct wal_op *op = op_get(w);
    if (op->n == op->cap) {
        op->cap = op->cap != 0 ? op->cap * 2 : 2;
        op->acts = mem_realloc(op->acts, op->cap * sizeof(*op->acts));
    }
    struct wal_act *a = &op->acts[op->n++];
    *a = (struct wal_act){.kind = kind};
    return a;
}

static void op_free(struct wal_op *op)
{
    for (size_t i = 0; i < op->n; i++) {
        mem_free(op->acts[i].head);
    }
    mem_free(op->acts);
    mem_free(op);
}

static void group_begin(struct wal *w)
{
    struct wal_op *op = op_get(w);
    if (!op->has_group) {
        op->has_group = 1;
        w->pos.group++;
        w->pos.prev_count = w->pos.count;
        w->pos.count = 0;
    }
}

/* A next segment that takes at least one record of `need` bytes and its SEAL. */
static void segment_begin(struct wal *w, size_t need, uint32_t flags)
{
    size_t size = WAL_HEADER_BYTES + need + WAL_RECORD_HEADER;
    size = size > w->segment_bytes ? (size + 4095) & ~(size_t)4095 : w->segment_bytes;
    MU_INVARIANT(size <= WAL_SEGMENT_MAX);
    group_begin(w);
    struct wal_head h = {.seq = w->next_seq++,
                         .salt = w->salt,
                         .first = w->last + 1,
                         .prev_term = wal_term(w, w->last)};
    h.pos = w->pos;
    h.size = (uint32_t)size;
    h.flags = flags;
    struct wal_act *a = act_add(w, WAL_ACT_BEGIN);
    a->seq = h.seq;
    a->size = h.size;
    a->head = mem_alloc(WAL_HEADER_BYTES);
    wal_head_encode(a->head, &h);
    wal_seg_add(w, &h);
    w->chunk = NULL;
}

static uint8_t *chunk_reserve(struct wal *w, const struct wal_seg *s, size_t n)
{
    struct wal_chunk *k = w->chunk;
    if (k == NULL) {
        k = w->chunk = wal_chunk_add(w, s->seq, s->end);
        act_add(w, WAL_ACT_WRITE)->chunk = k;
        w->chunks.bytes += sizeof(*k);
    }
    if (k->cap - k->len < n) {
        size_t cap = k->cap != 0 ? (size_t)k->cap * 2 : 1024;
        cap = cap < k->len + n ? k->len + n : cap;
        k->p = mem_realloc(k->p, cap);
        w->chunks.bytes += cap - k->cap;
        k->cap = (uint32_t)cap;
    }
    k->len += (uint32_t)n;
    return k->p + k->len - n;
}

/* Encode one record at the end of the current segment, which has room; returns its offset. */
static uint32_t record_put(struct wal *w, uint8_t kind, mu_index index, mu_term term,
                           struct slice body)
{
    group_begin(w);
    struct wal_seg *s = &w->segs[w->n_segs - 1];
    size_t size = wal_rec_size(body.len);
    MU_INVARIANT(s->size - s->end >= size);
    uint32_t off = s->end;
    struct wal_rec r = {.index = index,
                        .term = term,
                        .group = w->pos.group,
                        .nth = w->pos.count,
                        .prev_count = w->pos.prev_count};
    r.kind = kind;
    r.body = body;
    w->pos.chain = wal_rec_encode(chunk_reserve(w, s, size), &r, s->seed, w->pos.chain);
    w->pos.count++;
    s->end += (uint32_t)size;
    return off;
}

/* The same, beginning the next segment when this one would have no room left for its SEAL. */
static uint32_t record_place(struct wal *w, uint8_t kind, mu_index index, mu_term term,
                             struct slice body)
{
    const struct wal_seg *s = &w->segs[w->n_segs - 1];
    size_t need = wal_rec_size(body.len);
    if (s->size - s->end < need + WAL_RECORD_HEADER) {
        record_put(w, WAL_SEAL, w->last, wal_term(w, w->last), slice_of(NULL, 0));
        segment_begin(w, need, 0);
    }
    return record_put(w, kind, index, term, body);
}

static void truncate_to(struct wal *w, mu_index first)
{
    mu_term prev_term = wal_term(w, first - 1);
    record_place(w, WAL_TRUNCATE, first, prev_term, slice_of(NULL, 0));
    wal_index_cut(w, first, prev_term);
    struct wal_op *op = op_get(w);
    op->cut = first < op->cut ? first : op->cut;
    w->durable = w->durable < first ? w->durable : first - 1;
    op->last = w->last;
}

void wal_append(struct wal *w, mu_index first, const struct wal_entry *entries, size_t n)
{
    MU_INVARIANT(!w->is_damaged);
    MU_INVARIANT(first >= w->first && first <= w->last + 1);
    if (first <= w->last) {
        truncate_to(w, first);
    }
    for (size_t i = 0; i < n; i++) {
        const struct wal_entry *entry = &entries[i];
        MU_INVARIANT(entry->kind >= WAL_COMMAND && entry->kind <= WAL_CHANGE);
        MU_INVARIANT(entry->term >= wal_term(w, w->last) && entry->data.len < WAL_SEGMENT_MAX / 2);
        uint32_t off = record_place(w, (uint8_t)entry->kind, w->last + 1, entry->term, entry->data);
        wal_index_entry(w, entry->term, entry->kind, off);
    }
    if (w->op != NULL) {
        w->op->last = w->last;
    }
}

void wal_reset(struct wal *w, mu_index index, mu_term term)
{
    size_t n = w->n_segs;
    uint64_t *old = mem_alloc(n * sizeof(*old));
    for (size_t i = 0; i < n; i++) {
        old[i] = w->segs[i].seq;
    }
    wal_index_clear(w, index + 1, term);
    wal_read_close(w);
    segment_begin(w, 0, WAL_ORIGIN);
    for (size_t i = 0; i < n; i++) {
        act_add(w, WAL_ACT_DROP)->seq = old[i];
    }
    mem_free(old);
    w->op->has_reset = 1;
    w->op->last = index;
    w->durable = 0;
    w->is_damaged = 0;
}

void wal_drop_prefix(struct wal *w, mu_index index)
{
    MU_INVARIANT(!w->is_damaged);
    size_t n = 0;
    while (n + 1 < w->n_segs && w->segs[n].first + w->segs[n].n <= index + 1) {
        n++;
    }
    if (n == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        act_add(w, WAL_ACT_DROP)->seq = w->segs[i].seq;
    }
    w->op->last = w->last;
    wal_seg_drop_oldest(w, n);
    wal_read_close(w); /* an open file would keep the space of a removed segment */
}

int wal_has_pending(const struct wal *w)
{
    return w->op != NULL;
}

struct wal_op *wal_take(struct wal *w)
{
    struct wal_op *op = w->op;
    if (op == NULL) {
        return NULL;
    }
    struct wal_chunk *k = w->chunk;
    if (k != NULL && k->len < k->cap - k->cap / 4) {
        k->p = mem_realloc(k->p, k->len);
        w->chunks.bytes -= k->cap - k->len;
        k->cap = k->len;
    }
    w->op = NULL;
    w->chunk = NULL;
    struct wal_op **at = &w->flying;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = op;
    return op;
}

/* What is safe to report: nothing that a later operation, taken or still pending, takes away again.
 */
static void durable_raise(struct wal *w, mu_index to)
{
    for (const struct wal_op *op = w->flying != NULL ? w->flying : w->op; op != NULL;) {
        if (op->has_reset) {
            return;
        }
        to = op->cut <= to ? op->cut - 1 : to;
        op = op == w->op ? NULL : op->next != NULL ? op->next : w->op;
    }
    w->durable = to > w->durable ? to : w->durable;
}

mu_index wal_done(struct wal *w, struct wal_op *op)
{
    MU_INVARIANT(w->flying == op);
    w->flying = op->next;
    for (size_t i = 0; i < op->n; i++) {
        if (op->acts[i].kind == WAL_ACT_WRITE) {
            op->acts[i].chunk->is_done = 1;
        }
    }
    durable_raise(w, op->last);
    op_free(op);
    wal_chunks_trim(w);
    return w->durable;
}

mu_index wal_first(const struct wal *w)
{
    return w->first;
}

mu_index wal_last(const struct wal *w)
{
    return w->last;
}

mu_index wal_durable(const struct wal *w)
{
    return w->durable;
}

uint64_t wal_bytes(const struct wal *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < w->n_segs; i++) {
        sum += w->segs[i].end - WAL_HEADER_BYTES;
    }
    return sum;
}

uint64_t wal_room(const struct wal *w)
{
    return w->n_segs != 0
               ? w->segs[w->n_segs - 1].size - w->segs[w->n_segs - 1].end - WAL_RECORD_HEADER
               : 0;
}

int wal_space_ok(const struct wal *w)
{
    return !atomic_load(&w->files.is_full) || atomic_load(&w->files.n_spares) != 0;
}

/* A new log: one empty segment, made and synced here. */
static int create_first(struct wal *w, struct err *e)
{
    wal_reset(w, 0, 0);
    struct wal_op *op = wal_take(w);
    int rc = wal_execute(op, e);
    wal_done(w, op);
    return rc;
}

int wal_open(const struct wal_options *o, struct wal **out, struct wal_info *info, struct err *e)
{
    struct wal *w = mem_zalloc(sizeof(*w));
    uint64_t bytes = o->segment_bytes != 0 ? o->segment_bytes : 16U << 20;
    bytes = bytes < WAL_SEGMENT_MIN   ? WAL_SEGMENT_MIN
            : bytes > WAL_SEGMENT_MAX ? WAL_SEGMENT_MAX
                                      : bytes & ~(uint64_t)4095;
    w->disk = o->disk;
    w->dir = mem_strdup(o->dir);
    w->segment_bytes = (uint32_t)bytes;
    w->cache_bytes = o->cache_bytes;
    w->first = 1;
    w->files.disk = o->disk;
    w->files.dir = w->dir;
    w->files.segment_bytes = w->segment_bytes;
    *info = (struct wal_info){.health = WAL_OK};
    int rc = wal_scan(w, info, e);
    if (rc == 0 && !w->is_damaged && w->n_segs == 0) {
        w->salt = rnd_u64();
        rc = create_first(w, e);
    }
    if (rc != 0) {
        wal_close(w);
        return rc;
    }
    w->durable = w->last;
    info->first = w->first;
    info->last = w->last;
    *out = w;
    return 0;
}

void wal_close(struct wal *w)
{
    wal_files_close(&w->files);
    wal_read_close(w);
    for (struct wal_op *op = w->flying; op != NULL;) {
        struct wal_op *next = op->next;
        op_free(op);
        op = next;
    }
    if (w->op != NULL) {
        op_free(w->op);
    }
    for (size_t i = w->chunks.head; i < w->chunks.n; i++) {
        mem_free(w->chunks.v[i]->p);
        mem_free(w->chunks.v[i]);
    }
    mem_free(w->chunks.v);
    wal_index_clear(w, 1, 0);
    mem_free(w->segs);
    mem_free(w->runs);
    mem_free(w->read_buf);
    mem_free(w->dir);
    mem_free(w);
}
