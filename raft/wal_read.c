/* SPDX-License-Identifier: Apache-2.0 */
/* Reading entries back: from the chunks that were encoded for writing, older ones from the files.
 *
 * A chunk is dropped from memory only after its write is done, so whatever is not in a chunk stands
 * in its file. */
#include "raft/wal_impl.h"

#include "base/mem.h"

struct wal_chunk *wal_chunk_add(struct wal *w, uint64_t seq, uint32_t off)
{
    struct wal_chunks *c = &w->chunks;
    if (c->n == c->cap) {
        if (c->head >= c->cap / 2 && c->head != 0) {
            c->n -= c->head;
            memmove(c->v, c->v + c->head, c->n * sizeof(struct wal_chunk *));
            c->head = 0;
        } else {
            c->cap = c->cap != 0 ? c->cap * 2 : 64;
            c->v = mem_realloc(c->v, c->cap * sizeof(struct wal_chunk *));
        }
    }
    struct wal_chunk *k = mem_zalloc(sizeof(*k));
    k->seq = seq;
    k->off = off;
    c->v[c->n++] = k;
    return k;
}

void wal_chunks_trim(struct wal *w)
{
    struct wal_chunks *c = &w->chunks;
    while (c->head < c->n && c->bytes > w->cache_bytes && c->v[c->head]->is_done) {
        struct wal_chunk *k = c->v[c->head++];
        c->bytes -= k->cap + sizeof(*k);
        mem_free(k->p);
        mem_free(k);
    }
}

static const uint8_t *chunk_find(const struct wal *w, uint64_t seq, uint32_t off)
{
    const struct wal_chunks *c = &w->chunks;
    size_t lo = c->head, hi = c->n; /* first chunk behind (seq, off) ends in lo */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct wal_chunk *k = c->v[mid];
        if (k->seq < seq || (k->seq == seq && k->off <= off)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == c->head) {
        return NULL;
    }
    const struct wal_chunk *k = c->v[lo - 1];
    return k->seq == seq && off - k->off < k->len ? k->p + (off - k->off) : NULL;
}

static int open_for_read(struct wal *w, uint64_t seq, struct err *e)
{
    if (w->read_file != NULL && w->read_seq == seq) {
        return 0;
    }
    wal_read_close(w);
    char path[WAL_NAME_BYTES];
    wal_seg_path(path, w->dir, seq);
    w->read_seq = seq;
    return w->disk->ops->open(w->disk, path, DISK_READ, &w->read_file, e);
}

void wal_read_close(struct wal *w)
{
    if (w->read_file != NULL) {
        w->disk->ops->close(w->read_file);
        w->read_file = NULL;
    }
}

/* Bring bytes from..to of a segment into read_buf. */
static int read_block(struct wal *w, uint64_t seq, uint32_t from, uint32_t to, struct err *e)
{
    int rc = open_for_read(w, seq, e);
    if (rc != 0) {
        return rc;
    }
    size_t len = to - from, got = 0;
    if (w->read_cap < len) {
        mem_free(w->read_buf);
        w->read_buf = mem_alloc(len);
        w->read_cap = len;
    }
    rc = w->disk->ops->pread(w->read_file, w->read_buf, len, from, &got, e);
    if (rc == 0 && got != len) {
        rc = err_set(e, MU_E_CORRUPT, "log segment %016llx ends at %llu", (unsigned long long)seq,
                     (unsigned long long)from + got);
    }
    return rc;
}

static uint32_t off_at(const struct wal_seg *s, size_t k)
{
    return k < s->n ? s->offs[k] & ~7U : s->end;
}

/* Entries first.. of one segment that are in the file only: as many as fit one block. */
static size_t read_disk(struct wal *w, mu_index first, size_t n, size_t max_bytes,
                        struct wal_entry *out, struct err *e)
{
    const struct wal_seg *s = wal_seg_of(w, first);
    size_t k = (size_t)(first - s->first), m = 1;
    uint32_t from = off_at(s, k);
    while (m < n && k + m < s->n && off_at(s, k + m + 1) - from <= max_bytes &&
           chunk_find(w, s->seq, off_at(s, k + m)) == NULL) {
        m++;
    }
    if (read_block(w, s->seq, from, off_at(s, k + m), e) != 0) {
        return 0;
    }
    for (size_t i = 0; i < m; i++) {
        struct wal_rec r;
        uint32_t at = off_at(s, k + i) - from;
        if (!wal_rec_decode(slice_of(w->read_buf + at, off_at(s, k + m) - from - at), s->seed,
                            &r) ||
            r.index != first + i) {
            err_set(e, MU_E_CORRUPT, "log segment %016llx is damaged at %u",
                    (unsigned long long)s->seq, off_at(s, k + i));
            return i;
        }
        out[i] = (struct wal_entry){r.term, (enum wal_kind)r.kind, r.body};
    }
    return m;
}

static void entry_at(const uint8_t *p, struct wal_entry *out)
{
    struct wal_rec r;
    wal_rec_fields(p, &r);
    *out = (struct wal_entry){r.term, (enum wal_kind)r.kind, r.body};
}

size_t wal_read(struct wal *w, mu_index first, size_t n, size_t max_bytes, struct wal_entry *out,
                struct err *e)
{
    size_t got = 0, bytes = 0;
    if (wal_seg_of(w, first) == NULL) {
        err_set(e, MU_E_NOT_FOUND, "entry %llu is not in the log", (unsigned long long)first);
        return 0;
    }
    while (got < n) {
        const struct wal_seg *s = wal_seg_of(w, first + got);
        if (s == NULL) {
            break;
        }
        uint32_t off = off_at(s, (size_t)(first + got - s->first));
        const uint8_t *p = chunk_find(w, s->seq, off);
        if (p == NULL) {
            return got != 0 ? got : read_disk(w, first, n, max_bytes, out, e);
        }
        entry_at(p, &out[got]);
        bytes += out[got].data.len;
        if (got != 0 && bytes > max_bytes) {
            break;
        }
        got++;
    }
    return got;
}

int wal_each(struct wal *w, wal_start_fn fn, void *arg, struct err *e)
{
    for (mu_index i = w->first; i <= w->last; i++) {
        const struct wal_seg *s = wal_seg_of(w, i);
        enum wal_kind kind = (enum wal_kind)(s->offs[i - s->first] & 7);
        struct wal_entry entry = {wal_term(w, i), kind, {NULL, 0}};
        struct err local = {0};
        if (kind == WAL_CHANGE && wal_read(w, i, 1, 0, &entry, &local) != 1) {
            return err_set(e, local.code, "%s", local.text);
        }
        fn(arg, i, entry.term, entry.kind, entry.data);
    }
    return 0;
}
