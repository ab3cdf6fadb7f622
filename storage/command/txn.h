/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of CMD_TXN: done one after the other, each seeing what those before it did, all or
 * none. Every write to user keys, sessions, the catalog and records is such a transaction, often of
 * one operation. Bytes: docs/formats.md#transactions. */
#pragma once

#include "base/err.h"
#include "base/wire.h"
#include "storage/keys.h"
#include "storage/rows.h"

enum { TXN_OPS_MAX = 256, TXN_DETAIL_MAX = 8 * 1024 * 1024 };

enum op_type {
    /* User keys. `expect` compares with mod_rev; 0 = must not be there. */
    OP_KEY_SET = 1,
    OP_KEY_CAS,
    OP_KEY_LOCK,   /* put for `session`; REVISION_MISMATCH when another one holds it or its
                      delay runs; NO_SESSION */
    OP_KEY_UNLOCK, /* put and let go; REVISION_MISMATCH when `session` does not hold it */
    OP_KEY_GET,    /* NOT_FOUND */
    OP_KEY_GET_OR_EMPTY,
    OP_KEY_GET_TREE,
    OP_KEY_CHECK_INDEX,   /* NOT_FOUND, REVISION_MISMATCH */
    OP_KEY_CHECK_SESSION, /* NOT_FOUND, REVISION_MISMATCH */
    OP_KEY_CHECK_ABSENT,  /* EXISTS */
    OP_KEY_DELETE,        /* absent is fine */
    OP_KEY_DELETE_TREE,
    OP_KEY_DELETE_CAS, /* absent is fine */

    OP_SESSION_CREATE = 32, /* NOT_FOUND: node or a check is not there; CONFLICT: a check is
                               critical */
    OP_SESSION_DESTROY,     /* absent is fine */

    OP_NODE_SET = 48,
    OP_NODE_CAS,
    OP_NODE_GET,
    OP_NODE_DELETE, /* with its places, instances and checks; absent is fine */
    OP_NODE_DELETE_CAS,
    OP_NODE_MOVE,   /* what the cluster's agent has on node `name` goes to node `to`, at most 256
                       places and checks at once; result is_more */
    OP_NODE_ENSURE, /* SET where there is none; one that is there stays as it is */

    OP_SERVICE_SET = 64, /* NOT_FOUND: no such node */
    OP_SERVICE_CAS,
    OP_SERVICE_GET,
    OP_SERVICE_DELETE, /* with its checks; absent is fine */
    OP_SERVICE_DELETE_CAS,

    OP_CHECK_SET = 80, /* NOT_FOUND: no such node or service */
    OP_CHECK_CAS,
    OP_CHECK_GET,
    OP_CHECK_DELETE, /* absent is fine */
    OP_CHECK_DELETE_CAS,
    OP_CHECK_STATUS, /* status and output alone; a TTL check's time runs anew. NOT_FOUND */
    OP_CHECK_KEEP,   /* of the service, all checks go that are not named in `keep` */

    OP_RECORD_SET = 96,
    OP_RECORD_CAS,    /* REVISION_MISMATCH, EXISTS when expect is 0 */
    OP_RECORD_DELETE, /* absent is fine */
    OP_RECORD_DELETE_CAS,
};

struct op_key {
    struct slice key, value, session;
    uint64_t flags;
};

struct op_session {
    struct slice id;
    struct session_row row; /* meta.lease: id for its lease, drawn by the proposer */
};

struct op_node {
    struct slice name, to;
    struct node_row row;
};

/* is_agent: registered with the cluster's agent, where service ids are unique over all members:
 * when the id is there already, it stays on the node it is on and `node` is not looked at. */
struct op_service {
    struct slice node;
    struct instance_name name; /* as in cmd_instance_put */
    struct instance_row row;   /* service_id, extra, ...; meta and counts are set by apply */
    int is_agent;
};

/* A TTL check needs lease_id, drawn by the proposer. is_agent: check ids are unique over all
 * members; `name.node` counts for a new check without a service only. */
struct op_check {
    struct check_name name;
    struct check_row row;
    mu_lease_id lease_id;
    int is_agent;
    int keep_status;   /* a check that is there already keeps its status and output */
    struct slice keep; /* OP_CHECK_KEEP: list of check ids (tags_begin) */
};

struct op_record {
    struct slice kind, name, body;
};

struct op {
    enum op_type type;
    mu_rev expect;
    union {
        struct op_key key;
        struct op_session session;
        struct op_node node;
        struct op_service service;
        struct op_check check;
        struct op_record record;
    } u;
};

void op_encode(struct buf *out, const struct op *o);
/* Borrows; r->failed for anything malformed, too long or unknown. */
void op_decode(struct wire_reader *r, struct op *out);

/* The answer: an item for each operation that has something to tell, in order; for each one that
 * failed when the transaction was refused. Keys are logical keys, rows as stored (rows.h); writes
 * of user keys give the row without its value. */
struct txn_item {
    unsigned op;           /* number of the operation */
    int code;              /* MU_E_*; 0 */
    int is_more;           /* OP_NODE_MOVE */
    mu_rev mod_rev;        /* of the row as it is now, 0 = none */
    struct slice key, row; /* empty when there is none */
};
void txn_item_encode(struct buf *out, const struct txn_item *i);
/* Walk: 1 and the next item, 0 at the end or when the rest is malformed. */
int txn_item_next(struct slice *rest, struct txn_item *out);
