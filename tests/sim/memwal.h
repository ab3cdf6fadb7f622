/* SPDX-License-Identifier: Apache-2.0 */
/* raft/wal.h in memory: a disk image that survives a crash, operations that may be lost on the way
 * to it. */
#pragma once

#include "base/clock.h"
#include "raft/wal.h"

/* What is on the imagined disk. */
struct memdisk {
    struct memwal_entry {
        mu_term term;
        enum wal_kind kind;
        size_t len;
        uint8_t *data;
    } * entries;
    mu_index first; /* index of entries[0] */
    size_t n, cap;
    mu_term base_term; /* of first - 1 */
};

void memdisk_init(struct memdisk *d);
void memdisk_fini(struct memdisk *d);
/* Durable entries from this index on are lost. */
void memdisk_cut(struct memdisk *d, mu_index from);
struct wal *memwal_open(struct memdisk *d);
/* The process dies: operations not yet executed reach the disk up to some point in their order, the
 * last of these perhaps in part. `running` is the one being executed, or NULL; it is freed. w is
 * freed. */
void memwal_crash(struct wal *w, struct wal_op *running, uint32_t (*rnd)(uint32_t n));
