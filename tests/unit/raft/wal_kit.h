/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the log's tests: a log on a memdisk, entries whose content follows from a number. */
#pragma once

#include "raft/wal.h"
#include "tests/lib/memdisk.h"
#include "tests/unit/unit.h"

struct kit {
    struct memdisk *m;
    struct wal *w;
    struct wal_info info;
    struct wal_options o;
};

void kit_init(struct kit *k, uint64_t segment_bytes, uint64_t cache_bytes); /* new disk, new log */
void kit_fini(struct kit *k);
int kit_open(struct kit *k); /* 0 and k->info, or the error */
void kit_close(struct kit *k);
void kit_reopen(struct kit *k, enum wal_health want);
/* Append n entries from index first; entry i has the content of id + i, `len` bytes (at least 8).
 */
void kit_append(struct kit *k, mu_index first, size_t n, mu_term term, uint64_t id, size_t len);
mu_index kit_flush(struct kit *k); /* take, execute, done; gives what is durable */
/* The id of an entry's content, checked in full. */
uint64_t kit_id_of(struct slice data);
/* Fail unless entries first..last have ids id.. */
void kit_expect(struct kit *k, mu_index first, mu_index last, uint64_t id);
