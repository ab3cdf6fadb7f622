/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the log: shared by wal*.c and its tests only. Bytes: docs/formats.md#log.
 *
 * Words: a *segment* is one file; a *record* is one entry or one mark (TRUNCATE, SEAL) in it; a
 * *group* is everything that one wal_take handed over, made durable by one sync; a *position* is
 * where the next record goes in the chain and in its group. */
#pragma once

#include <stdatomic.h>

#include "raft/wal.h"

enum {
    WAL_HEADER_BYTES = 4096, /* a page of its own, so that writing records never rewrites it */
    WAL_HEADER_USED = 80,
    WAL_RECORD_HEADER = 56,
    WAL_SEGMENT_MIN = 8192,
    WAL_SEGMENT_MAX = 1 << 30,
    WAL_SPARES_MAX = 2,
    WAL_PREPARE_STEP = 256 << 10, /* zeros written between two looks at the queue */
    WAL_NAME_BYTES = 300,
};

/* Record kinds beside enum wal_kind. */
enum { WAL_TRUNCATE = 4, WAL_SEAL = 5 };
enum { WAL_ORIGIN = 1 }; /* header flag: nothing in older segments counts */

struct wal_pos {
    uint64_t chain;
    uint64_t group;
    uint32_t count;      /* records of this group so far */
    uint32_t prev_count; /* records of the group before */
};

struct wal_head {
    uint64_t seq, salt;
    mu_index first;    /* index of the next entry when the segment began */
    mu_term prev_term; /* of first - 1 */
    struct wal_pos pos;
    uint32_t size;
    uint32_t flags;
};

struct wal_rec {
    uint64_t chain;
    mu_index index;
    mu_term term;
    uint64_t group;
    uint32_t nth, prev_count;
    uint8_t kind;
    struct slice body;
    size_t size; /* with header and padding */
};

/* wal_record.c */
uint32_t wal_seed(uint64_t salt, uint64_t seq);
size_t wal_rec_size(size_t len);
/* Write record r (chain and size are made here) at p, which has wal_rec_size(r->body.len) bytes;
 * returns the new chain. */
uint64_t wal_rec_encode(uint8_t *p, const struct wal_rec *r, uint32_t seed, uint64_t prev_chain);
int wal_rec_decode(struct slice s, uint32_t seed,
                   struct wal_rec *out); /* 1 when a whole, unhurt record stands at s */
void wal_rec_fields(const uint8_t *p, struct wal_rec *out); /* of a record known to be good */
uint64_t wal_rec_chain(const uint8_t *p, size_t len, uint64_t prev_chain);
/* 1 when changing one single bit of what stands at p makes it a record that follows prev_chain:
 * then that is done, and it is certainly what was written, since the chain has 64 bits more than
 * the bit could choose. */
int wal_rec_unflip(uint8_t *p, size_t left, uint32_t seed, uint64_t prev_chain);
void wal_head_encode(uint8_t *p, const struct wal_head *h);
/* 0, CORRUPT, or FORMAT for a version that is not ours. */
int wal_head_decode(const uint8_t *p, struct wal_head *out);

struct wal_seg {
    uint64_t seq;
    mu_index first; /* of the live entries in it */
    uint32_t *offs; /* offset | kind; offsets are multiples of 8 */
    size_t n, cap;
    uint32_t end, size, seed;
};

/* Encoded records of one group in one segment; stays as the cache of newest entries after the
 * write. */
struct wal_chunk {
    uint64_t seq;
    uint32_t off, len, cap;
    int is_done;
    uint8_t *p;
};

struct wal_chunks {
    struct wal_chunk **v; /* ascending in (seq, off) from head to n */
    size_t head, n, cap;
    uint64_t bytes;
};

struct wal_run {
    mu_index first;
    mu_term term;
};

enum wal_act_kind { WAL_ACT_WRITE, WAL_ACT_BEGIN, WAL_ACT_DROP };

struct wal_act {
    enum wal_act_kind kind;
    struct wal_chunk *chunk;
    uint64_t seq;
    uint32_t size;
    uint8_t *head; /* WAL_HEADER_BYTES, of BEGIN */
};

struct wal_op {
    struct wal *wal;
    struct wal_op *next;
    struct wal_act *acts;
    size_t n, cap;
    int has_group, has_reset;
    mu_index last; /* of the log when this op is done */
    mu_index cut;  /* lowest index truncated by it; UINT64_MAX = none */
};

/* The writer's side. Touched by the writer's thread only, except the atomics. */
struct wal_files {
    struct disk *disk;
    const char *dir;
    uint32_t segment_bytes;
    struct disk_file *cur;
    uint64_t cur_seq;
    int is_dirty;
    uint64_t spares[WAL_SPARES_MAX + 2]; /* kept, one being prepared, one made at once */
    uint64_t next_spare;
    struct disk_file *prep;
    uint64_t prep_off;
    atomic_uint n_spares;
    atomic_int is_full;
};

struct wal {
    struct disk *disk;
    char *dir;
    uint32_t segment_bytes;
    uint64_t cache_bytes;
    uint64_t salt, next_seq;
    int is_damaged;
    mu_index first, last, durable;
    mu_term prev_term; /* of first - 1 */
    struct wal_pos pos;
    struct wal_seg *segs;
    size_t n_segs, cap_segs;
    struct wal_run *runs;
    size_t n_runs, cap_runs;
    struct wal_chunks chunks;
    struct wal_chunk *chunk;     /* being filled, in the pending op */
    struct wal_op *op;           /* pending, not yet taken */
    struct wal_op *flying;       /* taken, not yet done, oldest first */
    struct disk_file *read_file; /* of read_seq */
    uint64_t read_seq;
    uint8_t *read_buf;
    size_t read_cap;
    struct wal_files files;
};

/* wal_index.c: what is where, in memory. */
struct wal_seg *wal_seg_add(struct wal *w, const struct wal_head *h);
void wal_seg_drop_oldest(struct wal *w, size_t n);
struct wal_seg *wal_seg_of(const struct wal *w, mu_index i); /* NULL when i is not in the log */
void wal_index_entry(struct wal *w, mu_term term, enum wal_kind kind, uint32_t off);
void wal_index_cut(struct wal *w, mu_index first, mu_term prev_term);
void wal_index_clear(struct wal *w, mu_index first, mu_term prev_term);

/* wal_read.c */
struct wal_chunk *wal_chunk_add(struct wal *w, uint64_t seq, uint32_t off);
void wal_chunks_trim(struct wal *w);
void wal_read_close(struct wal *w);

/* wal_scan.c: fills the index from the files, cuts a torn tail. */
int wal_scan(struct wal *w, struct wal_info *info, struct err *e);

/* wal_file.c */
void wal_seg_path(char out[WAL_NAME_BYTES], const char *dir, uint64_t seq);
void wal_spare_path(char out[WAL_NAME_BYTES], const char *dir, uint64_t id);
void wal_prep_path(char out[WAL_NAME_BYTES], const char *dir);
int wal_files_begin(struct wal_files *f, uint64_t seq, uint32_t size, const uint8_t *head,
                    struct err *e);
int wal_files_drop(struct wal_files *f, uint64_t seq, struct err *e);
int wal_files_zero(struct disk_file *file, uint64_t from, uint64_t to, struct err *e);
void wal_files_close(struct wal_files *f);
