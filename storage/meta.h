/* SPDX-License-Identifier: Apache-2.0 */
/* What the store knows about itself, kept in DB_META and changed in the same transaction as the
 * rows. Format: docs/formats.md#store. */
#pragma once

#include "storage/db/db.h"
#include "storage/store.h"

/* Spaces that are compacted together. */
enum meta_slot {
    META_SLOT_CONFIG,
    META_SLOT_INSTANCE, /* services and instances, the catalog, sessions, records */
    META_SLOT_USER,
    META_SLOT_N
};

enum { META_CONF_MAX = 4096 };

struct meta {
    mu_index applied;
    mu_term applied_term;
    mu_rev revision;
    uint64_t hash;
    uint8_t cluster_id[16];
    mu_index conf_index;
    mu_rev compacted[META_SLOT_N];
    uint64_t n_requests; /* rows in DB_REQUESTS */
};

/* The slot of a space; META_SLOT_N when it is not compacted. */
enum meta_slot meta_slot_of(uint8_t space);
/* A store that has none gives an empty one. CORRUPT, FORMAT. */
int meta_read(struct db_txn *t, struct meta *out);
void meta_write(struct db_txn *t, const struct meta *m);
/* The encoded configuration; empty when there is none. */
int meta_read_conf(struct db_txn *t, struct slice *out);
void meta_write_conf(struct db_txn *t, struct slice conf);

/* Where the compaction of a slot goes on. */
struct meta_compact {
    struct buf key; /* the logical key under way, or the first one to look at */
    int is_in_key;  /* some versions of `key` are dealt with */
    mu_rev rev;     /* the next version of it; 0 = none left */
    uint32_t sub;
    uint64_t n_kept;       /* versions that are newer */
    int64_t superseded_ms; /* when the version at rev was replaced, and by which revision */
    mu_rev superseded_rev;
    int is_dropping;  /* from here to the oldest all go */
    mu_rev tombstone; /* the key ends here and goes altogether; 0 = it stays */
};
int meta_read_compact(struct db_txn *t, enum meta_slot slot,
                      struct meta_compact *inout); /* NOT_FOUND: no run under way */
void meta_write_compact(struct db_txn *t, enum meta_slot slot, const struct meta_compact *c);
void meta_del_compact(struct db_txn *t, enum meta_slot slot);
