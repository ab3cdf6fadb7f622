/* SPDX-License-Identifier: Apache-2.0 */
/* The core: the one thread that owns the replica, the store's writing side, the watch hub, leases
 * and health checks.
 *
 * Workers (and the core's own timers) talk to it by messages. A call here may be made on any worker
 * thread; the completion is delivered to the worker's own mailbox, never on the core thread. */
#pragma once

#include "base/mailbox.h"
#include "raft/replica.h"
#include "storage/view.h"

struct core;

struct core_options {
    const char *data_dir;           /* absolute; exists, locked, ours */
    struct replica_options replica; /* loop and disk are filled in here */
    const char *restore;      /* snapshot file that fills an empty data directory; NULL = none */
    uint64_t store_max_bytes; /* 0 = store's default */
    int64_t config_keep_ms;   /* history kept at least this long; 0 = 30 days */
    uint32_t config_keep_versions; /* and at least this many versions; 0 = 100 */
    uint64_t disk_reserve_bytes;   /* writes are refused below this much free space; 0 = chosen from
                                      the disk's size */
    void (*fatal)(int exit_code, const char *why); /* never returns */
};

/* Open what is on disk, then run the core thread. */
int core_start(const struct core_options *o, struct core **out, struct err *e);
/* Refuse new writes, hand leadership over when there is somebody to take it, at most timeout_ms.
 * Any thread; blocks. */
void core_drain(struct core *c, int64_t timeout_ms);
/* Load the peers' certificates anew. Any thread; blocks until the core thread has done it. */
int core_reload_tls(struct core *c, struct err *e);
/* End the thread, close everything cleanly, free. Nobody may use the core any more. */
void core_stop(struct core *c);

/* A request to the core, embedded in what waits for it. `reply` is where it comes back: the worker
 * takes the mailbox and calls done(). The request must stay alive until then; it cannot be
 * withdrawn. */
struct core_request {
    struct mail_job job; /* private: on the way to the core and back */
    struct mailbox *reply;
    void (*done)(struct core_request *q); /* on the receiver's thread */
    struct core *core;                    /* private */
    int code;                             /* 0 or MU_E_* */
    struct err err;                       /* sentence for people when code != 0 */
};

/* Propose one command. Encoded here, on the caller's thread; at most COMMAND_SIZE_MAX. */
struct core_write {
    struct core_request q;
    struct command_result result;     /* detail lives in `detail` */
    uint8_t *detail;                  /* NULL without one; who proposed frees it (mem_free) */
    struct replica_proposal proposal; /* private */
};
void core_propose(struct core *c, struct core_write *w, const struct command *cmd,
                  int64_t timeout_ms);

enum consistency { READ_STALE, READ_LEADER, READ_LINEAR };

/* Gate for a read: when done() fires with code 0, open a view and read. READ_STALE needs no gate.
 */
struct core_read {
    struct core_request q;
    struct replica_read rd; /* private */
};
void core_read_gate(struct core *c, struct core_read *r, enum consistency level,
                    int64_t timeout_ms);
/* 1 when a view may be opened without the gate: for a stale read, and for a leader's read where
 * this node was confirmed as leader just now (leads.c). Any thread. */
int core_reads_now(struct core *c, enum consistency level);

/* Keep leases alive: one message for up to COMMAND_LEASES_MAX leases. Per lease: the ttl, or -1
 * when there is no such lease. */
struct core_keepalive {
    struct core_request q;
    size_t n;
    mu_lease_id *ids;          /* caller's memory */
    int64_t *out_ttl_ms;       /* caller's memory */
    int64_t *out_remaining_ms; /* caller's memory */
    int is_query;              /* asked without refreshing */
    int64_t deadline_at;       /* private */
};
void core_keepalive(struct core *c, struct core_keepalive *k, int64_t timeout_ms);

/* Administrative questions and orders. */
struct core_admin {
    struct core_request q;
    enum core_admin_op {
        CORE_STATUS,
        CORE_TRANSFER,
        CORE_MEMBER_ADD,
        CORE_MEMBER_REMOVE,
        CORE_SNAPSHOT
    } op;
    struct replica_member member; /* MEMBER_ADD */
    mu_node_id node; /* TRANSFER (0 = any), MEMBER_REMOVE, MEMBER_ADD: the one replaced or 0 */
    struct replica_status *out_status; /* STATUS */
    uint8_t cluster_id[16];            /* STATUS: filled; zero while unknown */
    char path[512]; /* SNAPSHOT: filled with a file that is complete and checked; the caller opens
                       and unlinks it */
};
void core_admin(struct core *c, struct core_admin *a, int64_t timeout_ms);

/* An id for a new lease, never 0; any thread. Each process counts from a place drawn at random:
 * unique like a random number, and what is made together lies together in the store, which costs
 * half as much as leases all over it. Ids are names, not secrets. */
mu_lease_id core_lease_id(struct core *c);

/* A quick look without asking the core thread (atomics): for stale reads, health pages and answer
 * headers. */
struct core_glance {
    int has_leader, is_leader, is_draining, is_disk_full, is_damaged, is_ready;
    int64_t leader_age_ms; /* -1 = never heard of one */
    mu_term term;
    mu_rev revision;
    mu_node_id leader;
};
void core_glance(const struct core *c, struct core_glance *out);
/* Counters for /metrics; any thread. */
struct core_counters {
    uint64_t proposals, proposals_failed, applied_entries, apply_batches, apply_us, keepalives,
        reads_gated, leases, subs, checks_run, checks_mine, store_bytes, log_bytes, queued_bytes,
        log_syncs, log_sync_us, elections, snapshots;
    mu_index commit_index, applied_index;
};
void core_counters(const struct core *c, struct core_counters *out);
const char *core_node_name(const struct core *c);
mu_node_id core_node_id(const struct core *c);
struct store *core_store(struct core *c);
struct hub *core_hub(struct core *c); /* server/watch/hub.h */
