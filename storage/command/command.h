/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: every write of every face, as one typed value with one codec. Bytes:
 * docs/formats.md#commands; golden files freeze them.
 *
 * Layout of an encoded command: version u8 = 1, type u8, flags u8, 0 u8, wall_ms i64 (stamped by
 * the proposing leader at offset 4), then 16 bytes of request id when flag 1 is set, then the body.
 * Numbers are never reused. */
#pragma once

#include "base/err.h"
#include "storage/command/txn.h"
#include "storage/keys.h"
#include "storage/rows.h"

enum command_type {
    CMD_CONFIG_PUT = 1,
    CMD_CONFIG_DELETE = 2,
    CMD_INSTANCE_PUT = 3,
    CMD_INSTANCE_DELETE = 4,
    CMD_INSTANCE_HEALTH = 5,
    CMD_LEASE_GRANT = 6,
    CMD_LEASE_REVOKE = 7,
    CMD_LEASE_OVERDUE = 8, /* ttl passed */
    CMD_LEASE_END = 9,     /* time to remove passed */
    CMD_LEASE_REVIVE = 10, /* keep-alive of an overdue lease */
    CMD_LEASE_CHECKPOINT = 11,
    CMD_COMPACT = 12,
    CMD_CLUSTER_INIT = 13,
    CMD_CLUSTER_RESTORE =
        14, /* new cluster id over an old one: applied while restoring, never proposed */
    /* cluster id, proposed once by the first leader */
    CMD_TXN = 15, /* operations on user keys, sessions, the catalog and records: txn.h */
};

enum { COMMAND_STAMP_OFFSET = 4, COMMAND_LEASES_MAX = 1024, COMMAND_SIZE_MAX = 12 * 1024 * 1024 };

enum cas_mode { CAS_NONE, CAS_REVISION, CAS_ABSENT };

struct cmd_config_put {
    struct config_name name;
    struct slice content, content_type, description, tags, author, comment;
    uint8_t digest[32];
    enum cas_mode cas;
    mu_rev expect;
};

struct cmd_config_delete {
    struct config_name name;
    enum cas_mode cas;
    mu_rev expect;
};

/* Register or replace. The row's meta, is_healthy (unless keep_health) and output are set by apply.
 * With ttl_ms > 0 a lease is made (id = lease_id, drawn by the proposer) unless the instance has
 * one already. */
struct cmd_instance_put {
    struct instance_name name;
    struct instance_row row; /* meta.lease: an existing lease to bind to, or 0 */
    mu_lease_id lease_id;    /* for ttl */
    enum cas_mode cas;
    mu_rev expect;
    int set_health; /* 1: row.is_healthy is an order (PATCH) */
};

struct cmd_instance_delete {
    struct instance_name name;
    mu_rev create_rev; /* 0 = any; else only that incarnation (removal by check or lease) */
};

/* A check changed its mind. Refused as a result when the incarnation is another one. */
struct cmd_instance_health {
    struct instance_name name;
    mu_rev create_rev;
    int is_healthy;
    struct slice output;
};

struct cmd_lease_grant {
    mu_lease_id id; /* drawn by the proposer when the client named none */
    int64_t ttl_ms;
};

struct cmd_lease_revoke {
    mu_lease_id id;
};

struct lease_step {
    mu_lease_id id;
    uint64_t generation;  /* as seen; apply skips the lease when it moved */
    int64_t remaining_ms; /* checkpoint only */
};

struct cmd_lease_steps {            /* OVERDUE, END, REVIVE, CHECKPOINT */
    size_t n;                       /* at most COMMAND_LEASES_MAX */
    const struct lease_step *items; /* to encode */
    struct slice body;              /* decoded */
};

struct cmd_compact {
    uint8_t space;          /* SPACE_CONFIG or SPACE_INSTANCE (with services) */
    int64_t before_ms;      /* versions superseded before this wall time go */
    uint32_t keep_versions; /* but this many newest of each key stay */
};

struct cmd_cluster_init {
    uint8_t cluster_id[16];
};

struct cmd_txn {
    size_t n;             /* 1 to TXN_OPS_MAX */
    int wants_rows;       /* 1: an item for each row that was written, too */
    const struct op *ops; /* to encode */
    struct slice body;    /* decoded: n operations, checked, to be walked with op_decode */
};

struct command {
    enum command_type type;
    int has_request_id;
    uint8_t request_id[16];
    int64_t wall_ms;
    union {
        struct cmd_config_put config_put;
        struct cmd_config_delete config_delete;
        struct cmd_instance_put instance_put;
        struct cmd_instance_delete instance_delete;
        struct cmd_instance_health instance_health;
        struct cmd_lease_grant lease_grant;
        struct cmd_lease_revoke lease_revoke;
        struct cmd_lease_steps lease_steps;
        struct cmd_compact compact;
        struct cmd_cluster_init cluster_init;
        struct cmd_txn txn;
    } u;
};

void command_encode(struct buf *out, const struct command *c);
/* Slices in *out borrow from s. MU_E_FORMAT for anything malformed, too long or unknown. */
int command_decode(struct slice s, struct command *out);
/* Step i of n, of a command that is to be encoded or was decoded. */
struct lease_step command_lease_step(const struct cmd_lease_steps *m, size_t i);

/* What a command came to; the same on every node, sent back to the node that forwarded it, kept for
 * request ids. */
struct command_result {
    int code;        /* 0 or MU_E_*: a refused compare is a result, not a failure */
    mu_rev revision; /* store revision after the command */
    mu_rev mod_rev;  /* of the row concerned (on REVISION_MISMATCH / EXISTS: what it is now) */
    mu_rev create_rev;
    uint64_t version;
    mu_lease_id lease;
    int64_t ttl_ms;
    int is_created;
    int is_changed;   /* 0: nothing changed (repeated registration) */
    int is_duplicate; /* request id seen before: this is the first one's result, without detail */
    struct slice detail; /* CMD_TXN: txn_item_next. Not in the encoded form, not kept for request
                            ids; borrowed until store_apply returns */
};

enum { COMMAND_RESULT_SIZE = 68 };
void command_result_encode(uint8_t out[COMMAND_RESULT_SIZE], const struct command_result *r);
int command_result_decode(struct slice s, struct command_result *out);
