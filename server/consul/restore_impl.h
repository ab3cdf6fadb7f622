/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by restore.c (what the snapshot has) and restore_drop.c (what it does not have). */
#pragma once

#include "base/wire.h"
#include "server/consul/import.h"
#include "server/consul/restore.h"
#include "server/consul/spool.h"
#include "storage/view_catalog.h"
#include "storage/view_kv.h"

enum {
    RESTORE_OPS_MAX = 240, /* and one record more */
    RESTORE_OPS_MORE = 15,
    RESTORE_BYTES_MAX = 1024 * 1024,
    RESTORE_MEMORY_MAX = 4 * 1024 * 1024, /* that a batch holds of records */
    RESTORE_IDS_MAX = 4 * 1000 * 1000,
    RESTORE_FOREIGN_MAX = 64,
    RESTORE_TRIES = 5,
    RESTORE_WAITS = 3,
    RESTORE_WAIT_MAX_MS = 60 * 1000,
};

enum restore_phase {
    PHASE_NODES,
    PHASE_SERVICES,
    PHASE_CHECKS,
    PHASE_SESSIONS,
    PHASE_KEYS,
    PHASE_POLICIES,
    PHASE_ROLES,
    PHASE_TOKENS,
    PHASE_RECORDS,
    PHASE_DROP_KEYS,
    PHASE_DROP_SESSIONS,
    PHASE_DROP_RECORDS,
    PHASE_DROP_TOKENS,
    PHASE_DROP_ROLES,
    PHASE_DROP_POLICIES,
    PHASE_DROP_CHECKS,
    PHASE_DROP_SERVICES,
    PHASE_DROP_NODES,
    PHASE_END
};

/* Where the next batch begins. */
struct restore_place {
    enum restore_phase phase;
    struct statefile at;
    size_t resume_len; /* PHASE_DROP_KEYS: of the buffer */
};

struct arena_block;

struct restore {
    struct restore_options o;
    struct spool *spool;
    struct slice state;
    mu_rev revision; /* at the first batch: what came later was not there to be replaced */
    uint64_t seed;   /* of the ids */
    uint64_t *ids;   /* sorted: hashes of what the snapshot has */
    size_t n_ids, cap_ids;
    struct slice
        foreign[RESTORE_FOREIGN_MAX]; /* members of the cluster it comes from, not of this */
    size_t n_foreign;

    struct restore_place now, began;
    struct buf resume, resume_began;                       /* a key */
    struct view *v;                                        /* while a batch is planned */
    struct op ops[RESTORE_OPS_MAX + RESTORE_OPS_MORE + 1]; /* and the mark of access control */
    size_t n, bytes;
    size_t n_memory; /* of mem */
    int is_acl;      /* the batch changes what access control knows */
    struct arena_block *mem;
    struct slice last_node;
    int64_t delayed_until; /* of the keys so far */
    int64_t wait_until;    /* before the next batch */
    unsigned tries, waits;
    struct restore_count count;
};

void *restore_alloc(void *arg, size_t size); /* arg: the restore; until the next batch */
struct slice restore_keep(struct restore *r, struct slice s);
struct op *restore_op(struct restore *r, enum op_type type);
int restore_is_full(const struct restore *r);
void restore_set(struct restore *r, struct slice kind, struct slice name, struct slice body);
void restore_unset(struct restore *r, struct slice kind, struct slice name);
/* The record by which a document is found (import_doc.claim), as its body says; empty kind: none.
 */
void restore_claim_of(struct restore *r, struct slice kind, struct slice body,
                      struct slice *out_kind, struct slice *out_name);
/* A claim goes when it leads to `name`, and the snapshot gives it to nobody. */
void restore_unclaim(struct restore *r, struct slice kind, struct slice claim, struct slice name);

/* What is in the snapshot, by what tells it from others of its kind. */
enum restore_id {
    ID_NODE = 'N',
    ID_SERVICE = 'P',
    ID_AGENT_SERVICE = 'a',
    ID_CHECK = 'H',
    ID_AGENT_CHECK = 'b',
    ID_SESSION = 'E',
    ID_KEY = 'K',
    ID_RECORD = 'R'
};
int restore_has(const struct restore *r, enum restore_id what, struct slice x, struct slice y);

int restore_is_member(struct restore *r, struct slice node);
/* restore_drop.c: as much of the phase as fits; 1 when it is over. */
int restore_drop(struct restore *r);
