/* SPDX-License-Identifier: Apache-2.0 */
/* The store: a multi-version key space in LMDB, changed only by store_apply on one thread, read
 * through views (storage/view.h) on any.
 *
 * LMDB runs with MDB_WRITEMAP | MDB_NOSYNC | MDB_NOTLS: a commit costs memory copies, not a disk
 * write. What survives a power cut is the replicated log and the snapshots; the store is rebuilt
 * from them when the machine (or the mount) went away without a clean stop. Which stop was clean:
 * docs/formats.md#store. */
#pragma once

#include "base/err.h"
#include "storage/command/command.h"

struct store;

struct store_options {
    const char *dir;      /* data directory; "store/" below it is ours */
    uint64_t map_initial; /* bytes; grown online by doubling. 0 = 256 MiB */
    uint64_t map_max;     /* 0 = 64 GiB */
    uint32_t request_ids; /* how many request ids are remembered. 0 = 65,536 */
};

enum store_entry_kind { STORE_COMMAND = 1, STORE_BARRIER = 2, STORE_CHANGE = 3 };

struct store_entry {
    mu_index index;
    mu_term term;
    enum store_entry_kind kind;
    struct slice data; /* STORE_CHANGE: the encoded configuration, kept opaque */
};

/* What the store stands for, read at open and after each apply. */
struct store_state {
    mu_index applied;
    mu_term applied_term;
    mu_rev revision;
    uint64_t hash;          /* rolling over applied commands */
    uint8_t cluster_id[16]; /* zero until CMD_CLUSTER_INIT */
    mu_index conf_index;    /* of the last STORE_CHANGE */
    struct slice conf;      /* borrowed until the next apply */
};

/* One row that changed, for the watch hub. */
struct change {
    mu_rev rev;
    uint32_t sub;
    struct slice key; /* logical key, valid until the next store_apply */
    int is_delete;
};

struct change_set {
    const struct change *items; /* in (rev, sub) order */
    size_t n;
    const mu_lease_id *leases; /* that transactions made, changed or ended */
    size_t n_leases;
};

/* Called once for every STORE_COMMAND that is not skipped, in order, from inside store_apply,
 * before the transaction is committed: keep the result, answer nobody until store_apply has
 * returned. */
typedef void (*store_result_fn)(void *arg, const struct store_entry *entry,
                                const struct command_result *result);

/* Open or make the store. Discards and starts empty (applied = 0) when what is there cannot be
 * trusted after a power cut: the caller then restores a snapshot and replays the log.
 * *out_was_reset tells. Errors: CORRUPT, FORMAT (newer), IO. */
int store_open(const struct store_options *o, struct store **out, int *out_was_reset,
               struct err *e);
/* is_clean: sync and leave the mark that lets the next open trust the file. No view may be open. */
void store_close(struct store *s, int is_clean);
void store_state(const struct store *s, struct store_state *out);
/* Apply committed entries in one transaction. Entries at or below the applied index are skipped.
 * Cannot fail: a broken disk aborts the process with a message; lack of space is prevented by
 * store_has_room. */
void store_apply(struct store *s, const struct store_entry *entries, size_t n, store_result_fn fn,
                 void *arg, struct change_set *out_changes);
/* Can `bytes` of commands be applied with the space that is reserved? Grows the map and reserves
 * disk space as needed. MU_E_DISK_FULL when the file system has no more; then apply must wait. Same
 * thread as store_apply. */
int store_has_room(struct store *s, uint64_t bytes, struct err *e);
uint64_t store_used_bytes(const struct store *s);

/* Lease rows in id order, for the leader's wheel (a read transaction of its own; any thread). fn
 * returns 0 to go on. */
typedef int (*store_lease_fn)(void *arg, const struct lease_row *row);
int store_leases(struct store *s, store_lease_fn fn, void *arg);

/* Snapshots (docs/formats.md#snapshot). */
struct snapshot_info {
    mu_index index;
    mu_term term;
    mu_rev revision;
    uint64_t hash;
    uint64_t n_rows;
    uint64_t size_bytes;
    uint8_t cluster_id[16];
    mu_index conf_index;
    uint8_t conf[4096];
    size_t conf_len;
};
/* Write a consistent copy to `path` (absolute; written beside it, synced, renamed). Any thread;
 * holds one read transaction. is_cancelled may be NULL. */
int snapshot_write(struct store *s, const char *path, const volatile int *is_cancelled,
                   struct snapshot_info *out, struct err *e);
/* Check every byte of a snapshot file without loading it. CORRUPT, FORMAT. */
int snapshot_check(const char *path, struct snapshot_info *out, struct err *e);
/* Replace the contents of the store by a (checked) snapshot. Views open now keep seeing the old
 * contents until they are closed; the call waits for them. Same thread as store_apply. */
int snapshot_load(struct store *s, const char *path, struct err *e);
