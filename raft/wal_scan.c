/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: read every segment, check every record, tell a torn last write from damage.
 *
 * The happy path walks from the newest ORIGIN segment (or the oldest there is) to the first place
 * where no record stands. Then, in this order:
 *
 *  1. Something valid stands behind it, of a group begun after the bad record's group was synced:
 *     DAMAGED. (Records say how many the group before had: so we know whose the bad one was.)
 *  2. One changed bit makes it the right next record: that is put right, the walk begins again.
 *  3. It is the torn end of the last write: later segments are removed, newest first, the tail is
 *     zeroed: TORN.
 *
 * The last group is written once more and everything synced before anything is reported: an earlier
 * run may have died with it in the page cache only, or after a failed sync. Nothing is changed on
 * disk when the log is DAMAGED. */
#include "raft/wal_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wire.h"

struct scan {
    struct wal *w;
    struct wal_info *info;
    struct err *e;
    uint64_t *seqs, *spares;
    struct wal_head *heads;
    uint8_t *img;
    size_t n_seqs, n_spares, img_cap;
    int has_junk;
    size_t at;       /* segment that is walked */
    size_t group_at; /* where the last group begins: segment and offset */
    uint32_t group_off;
};

enum { SCAN_OK = 0, SCAN_DAMAGED = 1 }; /* beside negative errors */

__attribute__((format(printf, 2, 3))) static int damaged(struct scan *sc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sc->info->detail, sizeof(sc->info->detail), fmt, ap);
    va_end(ap);
    sc->info->health = WAL_DAMAGED;
    return SCAN_DAMAGED;
}

static int damaged_at(struct scan *sc, size_t seg, uint64_t off, const char *why)
{
    return damaged(sc, "%016llx.seg at %llu: %s", (unsigned long long)sc->seqs[seg],
                   (unsigned long long)off, why);
}

static void push(uint64_t **v, size_t *n, uint64_t x)
{
    *v = mem_realloc(*v, (*n + 1) * sizeof(**v));
    (*v)[(*n)++] = x;
}

static int take_name(void *arg, const char *name)
{
    struct scan *sc = arg;
    uint64_t id;
    size_t len = strlen(name);
    if (strcmp(name, "prepare.tmp") == 0) {
        sc->has_junk = 1;
    }
    if (len < 20 || name[16] != '.' || text_hex64(slice_of(name, 16), &id) != 0) {
        return 0;
    }
    if (strcmp(name + 16, ".seg") == 0) {
        push(&sc->seqs, &sc->n_seqs, id);
    } else if (strcmp(name + 16, ".spare") == 0) {
        push(&sc->spares, &sc->n_spares, id);
    }
    return 0;
}

static int open_seg(struct scan *sc, uint64_t seq, unsigned flags, struct disk_file **out)
{
    char path[WAL_NAME_BYTES];
    wal_seg_path(path, sc->w->dir, seq);
    return sc->w->disk->ops->open(sc->w->disk, path, flags, out, sc->e);
}

static void img_free(struct scan *sc)
{
    if (sc->img_cap != 0) {
        munmap(sc->img, sc->img_cap);
        sc->img_cap = 0;
    }
}

/* Mapped, not from the heap: one large block freed there would keep the allocator from ever giving
 * the memory of the cache back. */
static void img_reserve(struct scan *sc, size_t size)
{
    if (sc->img_cap >= size) {
        return;
    }
    img_free(sc);
    sc->img = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MU_INVARIANT(sc->img != MAP_FAILED);
    sc->img_cap = size;
}

/* Bytes from..to of segment i; a shorter file reads as zeros. */
static int load(struct scan *sc, size_t i, uint32_t from, uint32_t to)
{
    struct disk_file *f = NULL;
    size_t got = 0;
    int rc = open_seg(sc, sc->seqs[i], DISK_READ, &f);
    if (rc != 0) {
        return rc;
    }
    img_reserve(sc, to);
    rc = f->disk->ops->pread(f, sc->img + from, to - from, from, &got, sc->e);
    f->disk->ops->close(f);
    if (rc == 0) {
        memset(sc->img + from + got, 0, to - from - got);
    }
    return rc;
}

/* A head that cannot be trusted gets size 0. */
static int load_head(struct scan *sc, size_t i)
{
    struct disk_file *f = NULL;
    uint64_t size = 0;
    int rc = open_seg(sc, sc->seqs[i], DISK_READ, &f);
    if (rc == 0) {
        rc = f->disk->ops->size(f, &size, sc->e);
        f->disk->ops->close(f);
    }
    rc = rc != 0 ? rc : load(sc, i, 0, WAL_HEADER_BYTES);
    if (rc != 0) {
        return rc;
    }
    struct wal_head *h = &sc->heads[i];
    rc = wal_head_decode(sc->img, h);
    if (rc == MU_E_FORMAT) {
        return err_set(sc->e, rc, "%016llx.seg has a format this version does not know",
                       (unsigned long long)sc->seqs[i]);
    }
    if (rc != 0 || h->seq != sc->seqs[i] || size < h->size) {
        h->size = 0;
        h->flags = 0;
    }
    return 0;
}

/* Which segments count: from the newest origin on; all of them whole and without a gap. */
static int find_start(struct scan *sc, size_t *out_start)
{
    size_t start = 0;
    for (size_t i = 0; i < sc->n_seqs; i++) {
        int rc = load_head(sc, i);
        if (rc != 0) {
            return rc;
        }
        start = (sc->heads[i].flags & WAL_ORIGIN) != 0 ? i : start;
    }
    for (size_t i = start; i < sc->n_seqs; i++) {
        if (sc->heads[i].size == 0) {
            return damaged_at(sc, i, 0, "the header is bad or the file too short");
        }
        if (i > start && sc->seqs[i] != sc->seqs[i - 1] + 1) {
            return damaged_at(sc, i, 0, "the segment before it is missing");
        }
        if (sc->heads[i].salt != sc->heads[start].salt) {
            return damaged_at(sc, i, 0, "the segment belongs to another log");
        }
    }
    *out_start = start;
    return 0;
}

static int is_next_pos(struct scan *sc, const uint8_t *p, const struct wal_rec *r, uint32_t off)
{
    struct wal_pos *pos = &sc->w->pos;
    if (r->chain != wal_rec_chain(p, r->body.len, pos->chain)) {
        return 0;
    }
    if (r->group == pos->group + 1 && r->nth == 0 && r->prev_count == pos->count) {
        *pos = (struct wal_pos){.group = r->group, .prev_count = pos->count};
        sc->group_at = sc->at;
        sc->group_off = off;
    }
    if (r->group != pos->group || r->nth != pos->count || r->prev_count != pos->prev_count) {
        return 0;
    }
    pos->chain = r->chain;
    pos->count++;
    return 1;
}

/* Take one record into the index; 0 when it does not fit what came before. */
static int take_record(struct scan *sc, const uint8_t *p, const struct wal_rec *r, uint32_t off)
{
    struct wal *w = sc->w;
    if (!is_next_pos(sc, p, r, off)) {
        return 0;
    }
    if (r->kind == WAL_SEAL) {
        return r->index == w->last;
    }
    if (r->kind == WAL_TRUNCATE) {
        if (r->index == 0 || r->index > w->last) {
            return 0;
        }
        wal_index_cut(w, r->index, r->term);
        return 1;
    }
    if (r->index != w->last + 1 || r->term < wal_term(w, w->last)) {
        return 0;
    }
    wal_index_entry(w, r->term, (enum wal_kind)r->kind, off);
    return 1;
}

static int is_head_next(const struct scan *sc, const struct wal_head *h)
{
    const struct wal *w = sc->w;
    return h->first == w->last + 1 && h->prev_term == wal_term(w, w->last) &&
           h->pos.chain == w->pos.chain && h->pos.group == w->pos.group &&
           h->pos.count == w->pos.count && h->pos.prev_count == w->pos.prev_count;
}

/* Walk segment sc->at, loaded. out_sealed: it ends as a full segment does. */
static int walk_segment(struct scan *sc, int *out_sealed)
{
    struct wal_seg *s = wal_seg_add(sc->w, &sc->heads[sc->at]);
    struct wal_rec r;
    *out_sealed = 0;
    while (!*out_sealed &&
           wal_rec_decode(slice_of(sc->img + s->end, s->size - s->end), s->seed, &r)) {
        if (!take_record(sc, sc->img + s->end, &r, s->end)) {
            return damaged_at(sc, sc->at, s->end, "the record does not follow the one before it");
        }
        s->end += (uint32_t)r.size;
        *out_sealed = r.kind == WAL_SEAL;
    }
    return 0;
}

/* Does a record or header of this group, found behind the bad place, prove that the bad place had
 * been synced? */
static int is_proof(const struct scan *sc, uint64_t group, uint32_t prev_count)
{
    const struct wal_pos *pos = &sc->w->pos;
    return group > pos->group + 1 || (group == pos->group + 1 && prev_count != pos->count);
}

/* Search the rest of the loaded segment i. */
static int search_tail(struct scan *sc, size_t i, uint32_t from, int *out_found)
{
    uint32_t seed = wal_seed(sc->heads[i].salt, sc->heads[i].seq);
    struct wal_rec r;
    for (uint32_t off = from; off + WAL_RECORD_HEADER <= sc->heads[i].size; off += 8) {
        if (!wal_rec_decode(slice_of(sc->img + off, sc->heads[i].size - off), seed, &r)) {
            continue;
        }
        *out_found = 1;
        if (is_proof(sc, r.group, r.prev_count)) {
            return damaged_at(sc, i, off,
                              "a later record is there, one before it is bad or missing");
        }
        off += (uint32_t)r.size - 8;
    }
    return 0;
}

/* Its header was written whole or not, and the group is the one to come or the one that tore. */
static int looks_begun(const struct scan *sc, const uint8_t *p)
{
    struct wal_rec r;
    wal_rec_fields(p, &r);
    return r.kind >= WAL_COMMAND && r.kind <= WAL_SEAL && r.group != 0 &&
           (r.group == sc->w->pos.group || r.group == sc->w->pos.group + 1);
}

/* The walk ended at `off` of segment sc->at, which is loaded. out_torn: there is something to cut.
 */
static int judge_end(struct scan *sc, uint32_t off, int *out_torn)
{
    const struct wal_head *h = &sc->heads[sc->at];
    *out_torn = sc->at + 1 < sc->n_seqs;
    if (off + WAL_RECORD_HEADER <= h->size) {
        *out_torn |= looks_begun(sc, sc->img + off);
    }
    int rc = search_tail(sc, sc->at, off + 8, out_torn);
    for (size_t i = sc->at + 1; rc == 0 && i < sc->n_seqs; i++) {
        if (is_proof(sc, sc->heads[i].pos.group, sc->heads[i].pos.prev_count)) {
            return damaged_at(sc, sc->at, off,
                              "a later segment is there, the record is bad or missing");
        }
        rc = load(sc, i, 0, sc->heads[i].size);
        rc = rc != 0 ? rc : search_tail(sc, i, WAL_HEADER_BYTES, out_torn);
    }
    return rc;
}

/* What stands at the end may be the next record but for one bit: one that went bad after its sync,
 * or a tear that lost no more than that. Either way it is put right; out_done: look again. */
static int put_right(struct scan *sc, uint32_t off, int *out_done)
{
    const struct wal_head *h = &sc->heads[sc->at];
    struct disk_file *f = NULL;
    int rc = load(sc, sc->at, 0, h->size);
    if (rc != 0 || !wal_rec_unflip(sc->img + off, h->size - off, wal_seed(h->salt, h->seq),
                                   sc->w->pos.chain)) {
        return rc;
    }
    struct wal_rec r;
    wal_rec_fields(sc->img + off, &r);
    rc = open_seg(sc, sc->seqs[sc->at], DISK_READ | DISK_WRITE, &f);
    if (rc != 0) {
        return rc;
    }
    rc = f->disk->ops->pwrite(f, sc->img + off, r.size, off, sc->e);
    rc = rc != 0 ? rc : f->disk->ops->sync(f, sc->e);
    f->disk->ops->close(f);
    snprintf(sc->info->detail, sizeof(sc->info->detail),
             "%016llx.seg at %u: one wrong bit put right", (unsigned long long)sc->seqs[sc->at],
             off);
    *out_done = rc == 0;
    return rc;
}

/* Newest first, so that a crash in between leaves a torn log again. Unlinked, not reused: their
 * sequence numbers come again. */
static int cut_tail(struct scan *sc, uint32_t off)
{
    struct disk *d = sc->w->disk;
    char path[WAL_NAME_BYTES];
    int rc = 0;
    for (size_t i = sc->n_seqs; rc == 0 && i-- > sc->at + 1;) {
        wal_seg_path(path, sc->w->dir, sc->seqs[i]);
        rc = d->ops->unlink(d, path, sc->e);
        rc = rc != 0 ? rc : d->ops->sync_dir(d, sc->w->dir, sc->e);
    }
    struct disk_file *f = NULL;
    rc = rc != 0 ? rc : open_seg(sc, sc->seqs[sc->at], DISK_READ | DISK_WRITE, &f);
    if (rc != 0) {
        return rc;
    }
    rc = wal_files_zero(f, off, sc->heads[sc->at].size, sc->e);
    rc = rc != 0 ? rc : d->ops->sync(f, sc->e);
    d->ops->close(f);
    if (rc == 0) {
        sc->info->health = WAL_TORN;
        snprintf(sc->info->detail, sizeof(sc->info->detail),
                 "%016llx.seg at %u: torn last write cut", (unsigned long long)sc->seqs[sc->at],
                 off);
    }
    return rc;
}

/* Write the last group again and sync every segment. */
static int settle(struct scan *sc, size_t start)
{
    struct wal *w = sc->w;
    int rc = 0;
    for (size_t i = start; rc == 0 && i <= sc->at; i++) {
        struct disk_file *f = NULL;
        uint32_t from = i == sc->group_at ? sc->group_off : WAL_HEADER_BYTES,
                 end = w->segs[i - start].end;
        rc = open_seg(sc, sc->seqs[i], DISK_READ | DISK_WRITE, &f);
        if (rc != 0) {
            break;
        }
        if (i >= sc->group_at && from < end) {
            rc = load(sc, i, from, end);
            rc = rc != 0 ? rc : w->disk->ops->pwrite(f, sc->img + from, end - from, from, sc->e);
        }
        rc = rc != 0 ? rc : w->disk->ops->sync(f, sc->e);
        w->disk->ops->close(f);
    }
    return rc != 0 ? rc : w->disk->ops->sync_dir(w->disk, w->dir, sc->e);
}

/* From the first segment that counts to the end of the records; sc->at is where that is. */
static int walk_all(struct scan *sc, size_t start)
{
    const struct wal_head *h = &sc->heads[start];
    int is_sealed = 0, rc = 0;
    wal_index_clear(sc->w, h->first, h->prev_term);
    sc->w->pos = h->pos;
    sc->w->salt = h->salt;
    sc->group_at = start;
    sc->group_off = WAL_HEADER_BYTES;
    for (sc->at = start;; sc->at++) {
        h = &sc->heads[sc->at];
        if (sc->at > start && !is_head_next(sc, h)) {
            return damaged_at(sc, sc->at, 0, "the segment does not follow the one before it");
        }
        rc = load(sc, sc->at, 0, h->size);
        rc = rc != 0 ? rc : walk_segment(sc, &is_sealed);
        if (rc != 0 || !is_sealed) {
            return rc;
        }
        if (sc->at + 1 == sc->n_seqs) {
            return damaged_at(sc, sc->at, 0, "the segment after it is missing");
        }
    }
}

static int find_end(struct scan *sc, size_t start)
{
    int is_torn = 0, is_changed = 1, rc = 0;
    uint32_t end = 0;
    while (rc == 0 && is_changed) {
        is_changed = 0;
        rc = walk_all(sc, start);
        end = rc == 0 ? sc->w->segs[sc->w->n_segs - 1].end : 0;
        rc = rc != 0 ? rc : judge_end(sc, end, &is_torn);
        rc = rc != 0 ? rc : put_right(sc, end, &is_changed);
    }
    rc = rc == 0 && is_torn ? cut_tail(sc, end) : rc;
    return rc != 0 ? rc : settle(sc, start);
}

/* Segments before the newest origin: a reset was cut short. */
static int drop_void(struct scan *sc, size_t start)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < start; i++) {
        rc = wal_files_drop(&sc->w->files, sc->seqs[i], sc->e);
    }
    return rc;
}

/* Keep spares of the right size; remove the others and what was left half-made. */
static int take_spares(struct scan *sc)
{
    struct wal_files *f = &sc->w->files;
    struct disk *d = sc->w->disk;
    char path[WAL_NAME_BYTES];
    wal_prep_path(path, sc->w->dir);
    int rc = sc->has_junk ? d->ops->unlink(d, path, sc->e) : 0;
    for (size_t i = 0; rc == 0 && i < sc->n_spares; i++) {
        struct disk_file *file = NULL;
        uint64_t size = 0;
        wal_spare_path(path, sc->w->dir, sc->spares[i]);
        rc = d->ops->open(d, path, DISK_READ, &file, sc->e);
        if (rc == 0) {
            rc = d->ops->size(file, &size, sc->e);
            d->ops->close(file);
        }
        unsigned n = atomic_load(&f->n_spares);
        if (rc == 0 && size == f->segment_bytes && n < WAL_SPARES_MAX) {
            f->spares[n] = sc->spares[i];
            atomic_store(&f->n_spares, n + 1);
        } else if (rc == 0) {
            rc = d->ops->unlink(d, path, sc->e);
        }
        f->next_spare = sc->spares[i] + 1;
    }
    return rc;
}

/* An empty log that remembers the files, for wal_reset to give up. */
static void set_damaged(struct scan *sc)
{
    struct wal *w = sc->w;
    wal_index_clear(w, 1, 0);
    w->is_damaged = 1;
    w->salt = w->salt != 0 ? w->salt : rnd_u64();
    for (size_t i = 0; i < sc->n_seqs; i++) {
        wal_seg_add(w, &(struct wal_head){.seq = sc->seqs[i], .first = 1, .size = WAL_SEGMENT_MIN});
        w->pos.group =
            sc->heads[i].pos.group > w->pos.group ? sc->heads[i].pos.group : w->pos.group;
    }
    w->next_seq = sc->n_seqs != 0 ? sc->seqs[sc->n_seqs - 1] + 1 : 1;
}

static int scan_segments(struct scan *sc)
{
    size_t start = 0;
    sc->heads = mem_zalloc((sc->n_seqs + 1) * sizeof(*sc->heads));
    if (sc->n_seqs == 0) {
        sc->w->next_seq = 1;
        /* Spare 0 is what the first segment is made of; any other shows that there was a log. */
        int was_there = sc->n_spares != 0 && sc->spares[sc->n_spares - 1] != 0;
        return was_there ? damaged(sc, "spare segments are there, but no segment") : 0;
    }
    int rc = find_start(sc, &start);
    rc = rc != 0 ? rc : find_end(sc, start);
    if (rc == 0) {
        sc->w->next_seq = sc->seqs[sc->at] + 1;
        rc = drop_void(sc, start);
    }
    return rc;
}

int wal_scan(struct wal *w, struct wal_info *info, struct err *e)
{
    struct scan sc = {.w = w, .info = info, .e = e};
    int rc = w->disk->ops->mkdir(w->disk, w->dir, e);
    rc = rc != 0 ? rc : w->disk->ops->sync_dir(w->disk, ".", e);
    rc = rc != 0 ? rc : w->disk->ops->list(w->disk, w->dir, take_name, &sc, e);
    rc = rc != 0 ? rc : take_spares(&sc);
    rc = rc != 0 ? rc : scan_segments(&sc);
    if (rc == SCAN_DAMAGED) {
        set_damaged(&sc);
        rc = 0;
    }
    mem_free(sc.seqs);
    mem_free(sc.spares);
    mem_free(sc.heads);
    img_free(&sc);
    return rc;
}
