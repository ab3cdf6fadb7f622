/* SPDX-License-Identifier: Apache-2.0 */
/* The core: the one thread that owns the replica, the store's writing side, the watch hub, leases and health checks.
 *
 * Workers (and the core's own timers) talk to it by messages. A call here may be made on any worker thread; the completion is
 * delivered to the worker's own mailbox, never on the core thread. */
#pragma once

#include "base/mailbox.h"
#include "raft/replica.h"
#include "storage/view.h"

struct core;

/* A request to the core, embedded in what waits for it. `reply` is where it comes back: the worker takes the mailbox
 * and calls done(). The request must stay alive until then; it cannot be withdrawn. */
struct core_request {
    struct mail_job job; /* private: on the way to the core and back */
    struct mailbox *reply;
    void (*done)(struct core_request *q); /* on the receiver's thread */
    struct core *core; /* private */
    int code;       /* 0 or MU_E_* */
    struct err err; /* sentence for people when code != 0 */
};

/* Propose one command. Encoded here, on the caller's thread; at most COMMAND_SIZE_MAX. */
struct core_write {
    struct core_request q;
    struct command_result result;
    struct replica_proposal proposal; /* private */
};
void core_propose(struct core *c, struct core_write *w, const struct command *cmd, int64_t timeout_ms);

enum consistency { READ_STALE, READ_LEADER, READ_LINEAR };

/* Gate for a read: when done() fires with code 0, open a view and read. READ_STALE needs no gate. */
struct core_read {
    struct core_request q;
    struct replica_read rd; /* private */
};
void core_read_gate(struct core *c, struct core_read *r, enum consistency level, int64_t timeout_ms);

/* Keep leases alive: one message for up to COMMAND_LEASES_MAX leases. Per lease: the ttl, or -1 when there is no such lease. */
struct core_keepalive {
    struct core_request q;
    size_t n;
    mu_lease_id *ids;        /* caller's memory */
    int64_t *out_ttl_ms;     /* caller's memory */
    int64_t *out_remaining_ms; /* may be NULL; is_query: asked without refreshing */
    int is_query;
};
void core_keepalive(struct core *c, struct core_keepalive *k, int64_t timeout_ms);

/* Administrative questions and orders. */
struct core_admin {
    struct core_request q;
    enum core_admin_op { CORE_STATUS, CORE_TRANSFER, CORE_MEMBER_ADD, CORE_MEMBER_REMOVE, CORE_SNAPSHOT } op;
    struct replica_member member;   /* MEMBER_ADD */
    mu_node_id node;                /* TRANSFER (0 = any), MEMBER_REMOVE, MEMBER_ADD: the one replaced or 0 */
    struct replica_status *out_status; /* STATUS */
    char path[512];                 /* SNAPSHOT: filled with a file that is complete and checked; the caller opens and unlinks it */
};
void core_admin(struct core *c, struct core_admin *a, int64_t timeout_ms);

/* A quick look without asking the core thread (atomics): for stale reads, health pages and answer headers. */
struct core_glance {
    int has_leader, is_leader, is_draining, is_disk_full, is_damaged, is_ready;
    int64_t leader_age_ms; /* -1 = never heard of one */
    mu_term term;
    mu_rev revision;
    mu_node_id leader;
};
void core_glance(const struct core *c, struct core_glance *out);
struct store *core_store(struct core *c);
struct hub *core_hub(struct core *c); /* server/watch/hub.h */
