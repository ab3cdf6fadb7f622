/* SPDX-License-Identifier: Apache-2.0 */
/* What is where: four bytes per entry in its segment, and runs of equal terms. */
#include "raft/wal_impl.h"

#include "base/mem.h"

struct wal_seg *wal_seg_add(struct wal *w, const struct wal_head *h)
{
    if (w->n_segs == w->cap_segs) {
        w->cap_segs = w->cap_segs != 0 ? w->cap_segs * 2 : 8;
        w->segs = mem_realloc(w->segs, w->cap_segs * sizeof(*w->segs));
    }
    struct wal_seg *s = &w->segs[w->n_segs++];
    *s = (struct wal_seg){.seq = h->seq,
                          .first = h->first,
                          .end = WAL_HEADER_BYTES,
                          .size = h->size,
                          .seed = wal_seed(h->salt, h->seq)};
    return s;
}

/* Forget terms below first. */
static void runs_trim(struct wal *w)
{
    size_t n = 0;
    while (n + 1 < w->n_runs && w->runs[n + 1].first <= w->first) {
        n++;
    }
    if (w->n_runs != 0 && n != 0) {
        memmove(w->runs, w->runs + n, (w->n_runs - n) * sizeof(*w->runs));
        w->n_runs -= n;
    }
    if (w->last < w->first) {
        w->n_runs = 0;
    } else if (w->runs[0].first < w->first) {
        w->runs[0].first = w->first;
    }
}

void wal_seg_drop_oldest(struct wal *w, size_t n)
{
    MU_INVARIANT(n < w->n_segs);
    mu_index first = w->segs[n].first;
    w->prev_term = wal_term(w, first - 1);
    for (size_t i = 0; i < n; i++) {
        mem_free(w->segs[i].offs);
    }
    w->n_segs -= n;
    memmove(w->segs, w->segs + n, w->n_segs * sizeof(*w->segs));
    w->first = first;
    runs_trim(w);
}

struct wal_seg *wal_seg_of(const struct wal *w, mu_index i)
{
    if (i < w->first || i > w->last) {
        return NULL;
    }
    size_t lo = 0, hi = w->n_segs; /* the last segment with first <= i */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->segs[mid].first <= i) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    MU_INVARIANT(i >= w->segs[lo].first && i - w->segs[lo].first < w->segs[lo].n);
    return &w->segs[lo];
}

void wal_index_entry(struct wal *w, mu_term term, enum wal_kind kind, uint32_t off)
{
    struct wal_seg *s = &w->segs[w->n_segs - 1];
    MU_INVARIANT(s->first + s->n == w->last + 1);
    MU_INVARIANT((off & 7) == 0 && kind <= WAL_CHANGE);
    if (s->n == s->cap) {
        s->cap = s->cap != 0 ? s->cap * 2 : 64;
        s->offs = mem_realloc(s->offs, s->cap * sizeof(*s->offs));
    }
    s->offs[s->n++] = off | (uint32_t)kind;
    w->last++;
    if (w->n_runs == 0 || w->runs[w->n_runs - 1].term != term) {
        if (w->n_runs == w->cap_runs) {
            w->cap_runs = w->cap_runs != 0 ? w->cap_runs * 2 : 16;
            w->runs = mem_realloc(w->runs, w->cap_runs * sizeof(*w->runs));
        }
        w->runs[w->n_runs++] = (struct wal_run){w->last, term};
    }
}

void wal_index_cut(struct wal *w, mu_index first, mu_term prev_term)
{
    for (size_t i = w->n_segs; i-- > 0;) {
        struct wal_seg *s = &w->segs[i];
        if (s->first >= first) {
            s->first = first;
            s->n = 0;
        } else if (s->n > first - s->first) {
            s->n = (size_t)(first - s->first);
        }
    }
    while (w->n_runs != 0 && w->runs[w->n_runs - 1].first >= first) {
        w->n_runs--;
    }
    w->last = first - 1;
    if (first < w->first) {
        w->first = first;
        w->prev_term = prev_term;
    }
}

void wal_index_clear(struct wal *w, mu_index first, mu_term prev_term)
{
    for (size_t i = 0; i < w->n_segs; i++) {
        mem_free(w->segs[i].offs);
    }
    w->n_segs = 0;
    w->n_runs = 0;
    w->first = first;
    w->last = first - 1;
    w->prev_term = prev_term;
}

/* The run that holds i, which is in the log. */
static const struct wal_run *run_of(const struct wal *w, mu_index i)
{
    size_t lo = 0, hi = w->n_runs;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->runs[mid].first <= i) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return &w->runs[lo];
}

mu_term wal_term(const struct wal *w, mu_index i)
{
    if (i + 1 == w->first) {
        return w->prev_term;
    }
    return i >= w->first && i <= w->last ? run_of(w, i)->term : 0;
}

mu_index wal_term_start(const struct wal *w, mu_index i)
{
    return i >= w->first && i <= w->last ? run_of(w, i)->first : i;
}
