/* SPDX-License-Identifier: Apache-2.0 */
#include "server/watch/ring.h"

#include "base/err.h"
#include "base/mem.h"

/* A record: revision, key length, key, padding to 8. FILLER in the length closes the end of the
 * ring. */
struct record {
    mu_rev rev;
    uint32_t len;
    uint32_t size; /* of the whole record */
};

static const uint32_t FILLER = UINT32_MAX; /* as a record length */

static void record_get(const struct change_ring *r, size_t at, struct record *out)
{
    memcpy(out, r->p + at, sizeof(*out));
}

void ring_init(struct change_ring *r, size_t cap, mu_rev head)
{
    MU_INVARIANT(cap >= 64 && cap % 8 == 0);
    *r = (struct change_ring){.p = mem_alloc(cap), .cap = cap, .floor = head};
}

void ring_fini(struct change_ring *r)
{
    mem_free(r->p);
    r->p = NULL;
}

/* Bytes from `at` to the end that hold no whole record are skipped without a filler. */
static size_t ring_wrap(const struct change_ring *r, size_t at)
{
    return r->cap - at < sizeof(struct record) ? 0 : at;
}

static size_t ring_gap(const struct change_ring *r, size_t at)
{
    return r->cap - at < sizeof(struct record) ? r->cap - at : 0;
}

static void drop_oldest(struct change_ring *r)
{
    struct record rec;
    size_t gap = ring_gap(r, r->start);
    r->used -= gap;
    r->start = ring_wrap(r, r->start);
    MU_INVARIANT(r->used >= sizeof(rec));
    record_get(r, r->start, &rec);
    MU_INVARIANT(rec.size >= sizeof(rec) && rec.size <= r->used);
    r->used -= rec.size;
    r->start = (r->start + rec.size) % r->cap;
    if (rec.len != FILLER) {
        r->n--;
        r->floor = rec.rev > r->floor ? rec.rev : r->floor;
    }
}

static void make_room(struct change_ring *r, size_t size)
{
    while (r->cap - r->used < size) {
        drop_oldest(r);
    }
}

/* Move the writing place to the start when the record does not fit before the end. */
static size_t place(struct change_ring *r, size_t size)
{
    size_t at = (r->start + r->used) % r->cap;
    size_t tail = r->cap - at;
    if (tail >= size) {
        make_room(r, size);
        return at;
    }
    make_room(r, tail);
    if (tail >= sizeof(struct record)) {
        struct record filler = {.rev = 0, .len = FILLER, .size = (uint32_t)tail};
        memcpy(r->p + at, &filler, sizeof(filler));
    }
    r->used += tail;
    make_room(r, size);
    return 0;
}

void ring_push(struct change_ring *r, mu_rev rev, struct slice key)
{
    size_t size = (sizeof(struct record) + key.len + 7) & ~(size_t)7;
    if (size > r->cap / 4) {
        r->start = r->used = r->n = 0;
        r->floor = rev;
        return;
    }
    size_t at = place(r, size);
    struct record rec = {.rev = rev, .len = (uint32_t)key.len, .size = (uint32_t)size};
    memcpy(r->p + at, &rec, sizeof(rec));
    memcpy(r->p + at + sizeof(rec), key.p, key.len);
    r->used += size;
    r->n++;
}

mu_rev ring_floor(const struct change_ring *r)
{
    return r->floor;
}

size_t ring_count(const struct change_ring *r)
{
    return r->n;
}

void ring_begin(const struct change_ring *r, mu_rev from, struct ring_iter *it)
{
    *it = (struct ring_iter){.at = r->start, .left = r->used, .from = from};
}

int ring_next(const struct change_ring *r, struct ring_iter *it, struct slice *out_key)
{
    while (it->left > 0) {
        struct record rec;
        it->left -= ring_gap(r, it->at);
        it->at = ring_wrap(r, it->at);
        if (it->left == 0) {
            return 0;
        }
        record_get(r, it->at, &rec);
        size_t body = it->at + sizeof(rec);
        it->left -= rec.size;
        it->at = (it->at + rec.size) % r->cap;
        if (rec.len != FILLER && rec.rev >= it->from) {
            *out_key = slice_of(r->p + body, rec.len);
            return 1;
        }
    }
    return 0;
}
