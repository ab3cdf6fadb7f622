/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory that forgets like a real one: after a power loss any un-synced write may be
 * there, be gone or be there in part (512-byte sectors), and so may any change of a name whose
 * directory was not synced. Everything follows from a seed. One thread at a time. */
#pragma once

#include "base/disk.h"

struct memdisk;

struct memdisk *memdisk_new(void);
void memdisk_free(struct memdisk *m);
struct disk *memdisk_disk(struct memdisk *m);

/* Power fails: every call from now on gives MU_E_IO. Close what is open, then switch on. */
void memdisk_off(struct memdisk *m);
/* The same, just before the n-th change (write, sync, rename...) from now; 0 = never. Is the power
 * gone? */
void memdisk_off_at(struct memdisk *m, unsigned n);
int memdisk_is_off(const struct memdisk *m);
/* What a power loss leaves, drawn from seed. All of it counts as synced afterwards. */
void memdisk_on(struct memdisk *m, uint64_t seed);
/* What is written whole or not at all: 512 unless set. */
void memdisk_set_sector(struct memdisk *m, unsigned bytes);
/* A process dies, not the machine: everything written stays, synced or not. */
void memdisk_on_kept(struct memdisk *m);

/* The n-th write or sync from now fails with code once; 0 = none. A failed sync loses what it
 * should have synced, as on Linux: what is read back until the power goes is the new content. */
void memdisk_fail_write(struct memdisk *m, unsigned n, int code);
void memdisk_fail_sync(struct memdisk *m, unsigned n, int code);
/* Writes and reservations beyond this many bytes in all give MU_E_DISK_FULL; 0 = unlimited. */
void memdisk_set_capacity(struct memdisk *m, uint64_t bytes);

/* For flipping bits and cutting: a file's content, changed directly and durably. NULL when it is
 * not there. */
uint8_t *memdisk_content(struct memdisk *m, const char *path, uint64_t *out_len);
void memdisk_cut(struct memdisk *m, const char *path, uint64_t len);
/* The k-th name below dir in byte order, NULL behind the last. */
const char *memdisk_name(struct memdisk *m, const char *dir, unsigned k);
/* Writes not synced yet, over all files whose path begins and ends like this. */
uint64_t memdisk_unsynced(const struct memdisk *m, const char *prefix, const char *suffix);
/* An independent copy with everything synced. */
struct memdisk *memdisk_copy(const struct memdisk *m);

struct memdisk_stats {
    uint64_t n_writes, n_syncs, n_dir_syncs, bytes_written;
};
void memdisk_stats(const struct memdisk *m, struct memdisk_stats *out);
