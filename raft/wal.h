/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log: segments of checksummed records, and the durable term and vote. Bytes:
 * docs/formats.md#log, #vote.
 *
 * Two sides. The owner's side (one thread, the core) appends, truncates, reads, drops the prefix:
 * it only fills memory and queues operations. The writer's side (another thread) takes queued
 * operations in order, writes them and syncs once per group. Completions go back by message. The
 * simulator runs both sides in one thread. */
#pragma once

#include "base/disk.h"

struct wal;
struct wal_op; /* a queued file operation, opaque */

enum wal_kind { WAL_COMMAND = 1, WAL_BARRIER = 2, WAL_CHANGE = 3 };

struct wal_entry {
    mu_term term;
    enum wal_kind kind;
    struct slice data;
};

enum wal_health {
    WAL_OK,
    WAL_TORN /* a torn last write was cut */,
    WAL_DAMAGED /* bad in the middle, or shorter than applied */
};

struct wal_info {
    enum wal_health health;
    mu_index first, last; /* last = first - 1 when empty */
    char detail[200];     /* what was found; not empty with WAL_OK: a bit was put right */
};

struct wal_options {
    struct disk *disk;
    const char *dir; /* "log" */
    uint64_t
        segment_bytes;    /* 0 = 16 MiB; at least 8 KiB; a longer entry gets a segment of its own */
    uint64_t cache_bytes; /* newest entries kept in memory beyond those being written */
};

/* Read and check everything. DAMAGED is reported in info, not as an error; such a log is empty and
 * can only be reset or closed. */
int wal_open(const struct wal_options *o, struct wal **out, struct wal_info *info, struct err *e);
void wal_close(struct wal *w);

/* Owner's side. */
mu_index wal_first(const struct wal *w);
mu_index wal_last(const struct wal *w);
mu_index wal_durable(const struct wal *w);
uint64_t wal_bytes(const struct wal *w);
/* Term of an entry that is there, or of first-1 if known by wal_reset/wal_drop_prefix; 0 otherwise.
 */
mu_term wal_term(const struct wal *w, mu_index i);
/* First index of the run of entries with the same term that ends at i (bounded below by wal_first).
 */
mu_index wal_term_start(const struct wal *w, mu_index i);
/* Append after truncating to first-1 when first <= last (n = 0: only truncate). Copies the data.
 * Entry kinds and terms are indexed in memory. */
void wal_append(struct wal *w, mu_index first, const struct wal_entry *entries, size_t n);
/* Forget everything and start behind a snapshot at index (term of it kept). wal_durable is 0 until
 * this is done, then at least index. */
void wal_reset(struct wal *w, mu_index index, mu_term term);
/* Entries at or below index are no longer needed. Whole segments are reused: wal_first moves to the
 * first entry of what stays. */
void wal_drop_prefix(struct wal *w, mu_index index);
/* Entries from first, at most n and max_bytes of data (at least one). Borrowed until the next call
 * on w. May read from disk. Returns how many. */
size_t wal_read(struct wal *w, mu_index first, size_t n, size_t max_bytes, struct wal_entry *out,
                struct err *e);
/* Each entry's term and kind in order, data only for WAL_CHANGE: what raft needs at start. */
typedef void (*wal_start_fn)(void *arg, mu_index i, mu_term term, enum wal_kind kind,
                             struct slice data);
int wal_each(struct wal *w, wal_start_fn fn, void *arg, struct err *e);

/* Hand-over. take: owner's side, NULL when nothing waits. execute: writer's side, all of one take
 * with one sync (or more where needed); an error means the process must stop. done: owner's side;
 * frees the op and returns the new durable index, reported safely: never an entry that a later
 * queued truncation covers. */
int wal_has_pending(const struct wal *w); /* would wal_take give something? */
struct wal_op *wal_take(struct wal *w);
int wal_execute(struct wal_op *op, struct err *e);
mu_index wal_done(struct wal *w, struct wal_op *op);

/* Space. The writer's side keeps one spare segment ready: wal_prepare does a bounded step of that
 * work (256 KiB) when there is nothing else to do, out_more = 1 when another is needed. DISK_FULL
 * is no reason to stop: try again later. Other errors mean stop. */
int wal_prepare(struct wal *w, int *out_more, struct err *e);
/* Owner's side, any time: 0 when no next segment could be made. Refuse proposals then; what still
 * comes fits while wal_room lasts, beyond it wal_execute fails with DISK_FULL. */
int wal_space_ok(const struct wal *w);
uint64_t wal_room(const struct wal *w); /* bytes left in the current segment */

/* The term and vote: two checksummed copies, written one after the other, synced before the call
 * returns. */
struct vote {
    mu_term term;
    mu_node_id vote;
};
struct vote_file;
/* Both copies bad (also: an empty file) = CORRUPT; no file = zeros, and the file is made. */
int vote_open(struct disk *d, const char *path, struct vote_file **out, struct vote *out_vote,
              struct err *e);
int vote_save(struct vote_file *f, const struct vote *v, struct err *e);
void vote_close(struct vote_file *f);
