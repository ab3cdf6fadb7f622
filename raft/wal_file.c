/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's side: executes operations on the files.
 *
 * One operation: (1) new segments come into being, each complete and synced before it gets its
 * name; (2) chunks are written, the files synced; (3) segments no longer needed are given up,
 * oldest first, the directory synced after each, so that what a crash leaves is always a gapless
 * end of the log. Any error is final: the caller stops the process, nothing is tried again.
 *
 * Spare segments are made of written zeros, a step at a time between operations (wal_prepare);
 * freed ones are reused as they are. */
#include "raft/wal_impl.h"

#include <stdio.h>

#include "base/mem.h"

void wal_seg_path(char out[WAL_NAME_BYTES], const char *dir, uint64_t seq)
{
    snprintf(out, WAL_NAME_BYTES, "%s/%016llx.seg", dir, (unsigned long long)seq);
}

void wal_spare_path(char out[WAL_NAME_BYTES], const char *dir, uint64_t id)
{
    snprintf(out, WAL_NAME_BYTES, "%s/%016llx.spare", dir, (unsigned long long)id);
}

void wal_prep_path(char out[WAL_NAME_BYTES], const char *dir)
{
    snprintf(out, WAL_NAME_BYTES, "%s/prepare.tmp", dir);
}

int wal_files_zero(struct disk_file *file, uint64_t from, uint64_t to, struct err *e)
{
    static const uint8_t zeros[65536];
    int rc = 0;
    while (rc == 0 && from < to) {
        size_t n = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
        rc = file->disk->ops->pwrite(file, zeros, n, from, e);
        from += n;
    }
    return rc;
}

static int sync_dir(struct wal_files *f, struct err *e)
{
    return f->disk->ops->sync_dir(f->disk, f->dir, e);
}

static void push_spare(struct wal_files *f, uint64_t id)
{
    unsigned n = atomic_load(&f->n_spares);
    MU_INVARIANT(n < N_ELEMENTS(f->spares));
    f->spares[n] = id;
    atomic_store(&f->n_spares, n + 1);
}

static void prep_drop(struct wal_files *f)
{
    char path[WAL_NAME_BYTES];
    wal_prep_path(path, f->dir);
    f->disk->ops->close(f->prep);
    f->prep = NULL;
    f->disk->ops->unlink(f->disk, path, NULL);
}

static int prep_start(struct wal_files *f, uint32_t size, struct err *e)
{
    char path[WAL_NAME_BYTES];
    wal_prep_path(path, f->dir);
    f->prep_off = 0;
    int rc = f->disk->ops->open(f->disk, path, DISK_WRITE | DISK_CREATE | DISK_TRUNC, &f->prep, e);
    return rc != 0 ? rc : f->disk->ops->allocate(f->prep, size, e);
}

/* Zeros up to `upto`, synced; at the end the file becomes a spare. */
static int prep_step(struct wal_files *f, uint32_t size, uint64_t upto, struct err *e)
{
    uint64_t to = upto < size ? upto : size;
    int rc = wal_files_zero(f->prep, f->prep_off, to, e);
    rc = rc != 0 ? rc : f->disk->ops->sync(f->prep, e);
    if (rc != 0 || to < size) {
        f->prep_off = to;
        return rc;
    }
    char from_path[WAL_NAME_BYTES], to_path[WAL_NAME_BYTES];
    wal_prep_path(from_path, f->dir);
    wal_spare_path(to_path, f->dir, f->next_spare);
    f->disk->ops->close(f->prep);
    f->prep = NULL;
    rc = f->disk->ops->rename(f->disk, from_path, to_path, e);
    if (rc == 0) {
        push_spare(f, f->next_spare++);
    }
    return rc;
}

static int prep_run(struct wal_files *f, uint32_t size, uint64_t step, struct err *e)
{
    int rc = f->prep != NULL ? 0 : prep_start(f, size, e);
    rc = rc != 0 ? rc : prep_step(f, size, f->prep_off + step, e);
    if (rc != 0 && f->prep != NULL) {
        prep_drop(f);
    }
    return rc;
}

int wal_prepare(struct wal *w, int *out_more, struct err *e)
{
    struct wal_files *f = &w->files;
    *out_more = 0;
    if (atomic_load(&f->n_spares) != 0) {
        return 0;
    }
    int rc = prep_run(f, f->segment_bytes, WAL_PREPARE_STEP, e);
    atomic_store(&f->is_full, rc == MU_E_DISK_FULL);
    *out_more = rc == 0 && f->prep != NULL;
    return rc;
}

/* A file of at least `size` zeros or old bytes, under the name of a spare: gives its id. */
static int take_spare(struct wal_files *f, uint32_t size, uint64_t *out_id, struct err *e)
{
    if (size != f->segment_bytes && f->prep != NULL) {
        prep_drop(f);
    }
    if (atomic_load(&f->n_spares) == 0 || size != f->segment_bytes) {
        int rc = prep_run(f, size, size, e);
        if (rc != 0) {
            return rc;
        }
    }
    unsigned n = atomic_load(&f->n_spares) - 1;
    *out_id = f->spares[n];
    atomic_store(&f->n_spares, n);
    return 0;
}

static int write_head(struct wal_files *f, const char *path, const uint8_t *head, struct err *e)
{
    struct disk_file *file = NULL;
    int rc = f->disk->ops->open(f->disk, path, DISK_READ | DISK_WRITE, &file, e);
    if (rc != 0) {
        return rc;
    }
    rc = f->disk->ops->pwrite(file, head, WAL_HEADER_BYTES, 0, e);
    rc = rc != 0 ? rc : f->disk->ops->sync(file, e);
    f->disk->ops->close(file);
    return rc;
}

int wal_files_begin(struct wal_files *f, uint64_t seq, uint32_t size, const uint8_t *head,
                    struct err *e)
{
    uint64_t id = 0;
    char from[WAL_NAME_BYTES], to[WAL_NAME_BYTES];
    int rc = take_spare(f, size, &id, e);
    if (rc != 0) {
        return rc;
    }
    wal_spare_path(from, f->dir, id);
    wal_seg_path(to, f->dir, seq);
    rc = write_head(f, from, head, e);
    rc = rc != 0 ? rc : f->disk->ops->rename(f->disk, from, to, e);
    return rc != 0 ? rc : sync_dir(f, e);
}

static int close_cur(struct wal_files *f, struct err *e)
{
    int rc = f->is_dirty ? f->disk->ops->sync(f->cur, e) : 0;
    f->is_dirty = 0;
    if (f->cur != NULL) {
        f->disk->ops->close(f->cur);
        f->cur = NULL;
    }
    return rc;
}

/* Full-sized segments are kept for reuse, as long as few are. */
int wal_files_drop(struct wal_files *f, uint64_t seq, struct err *e)
{
    char from[WAL_NAME_BYTES], to[WAL_NAME_BYTES];
    wal_seg_path(from, f->dir, seq);
    int rc = f->cur != NULL && f->cur_seq == seq ? close_cur(f, e) : 0;
    if (rc != 0) {
        return rc;
    }
    struct disk_file *file = NULL;
    uint64_t size = 0;
    rc = f->disk->ops->open(f->disk, from, DISK_READ, &file, e);
    if (rc != 0) {
        return rc;
    }
    rc = f->disk->ops->size(file, &size, e);
    f->disk->ops->close(file);
    if (rc == 0 && size == f->segment_bytes && atomic_load(&f->n_spares) < WAL_SPARES_MAX) {
        wal_spare_path(to, f->dir, f->next_spare);
        rc = f->disk->ops->rename(f->disk, from, to, e);
        if (rc == 0) {
            push_spare(f, f->next_spare++);
            atomic_store(&f->is_full, 0);
        }
    } else if (rc == 0) {
        rc = f->disk->ops->unlink(f->disk, from, e);
    }
    return rc != 0 ? rc : sync_dir(f, e);
}

static int write_chunk(struct wal_files *f, const struct wal_chunk *k, struct err *e)
{
    int rc = 0;
    if (f->cur == NULL || f->cur_seq != k->seq) {
        char path[WAL_NAME_BYTES];
        wal_seg_path(path, f->dir, k->seq);
        rc = close_cur(f, e);
        rc = rc != 0 ? rc : f->disk->ops->open(f->disk, path, DISK_READ | DISK_WRITE, &f->cur, e);
        f->cur_seq = k->seq;
    }
    if (rc == 0) {
        f->is_dirty = 1;
        rc = f->disk->ops->pwrite(f->cur, k->p, k->len, k->off, e);
    }
    return rc;
}

int wal_execute(struct wal_op *op, struct err *e)
{
    struct wal_files *f = &op->wal->files;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < op->n; i++) {
        const struct wal_act *a = &op->acts[i];
        rc = a->kind == WAL_ACT_BEGIN ? wal_files_begin(f, a->seq, a->size, a->head, e) : 0;
    }
    for (size_t i = 0; rc == 0 && i < op->n; i++) {
        rc = op->acts[i].kind == WAL_ACT_WRITE ? write_chunk(f, op->acts[i].chunk, e) : 0;
    }
    if (rc == 0 && f->is_dirty) {
        f->is_dirty = 0;
        rc = f->disk->ops->sync(f->cur, e);
    }
    for (size_t i = 0; rc == 0 && i < op->n; i++) {
        rc = op->acts[i].kind == WAL_ACT_DROP ? wal_files_drop(f, op->acts[i].seq, e) : 0;
    }
    return rc;
}

void wal_files_close(struct wal_files *f)
{
    if (f->cur != NULL) {
        f->disk->ops->close(f->cur);
        f->cur = NULL;
    }
    if (f->prep != NULL) {
        prep_drop(f);
    }
}
