/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside server/core only: the core thread's state and what its files say to each other.
 * Everything here runs on the core thread unless it says otherwise. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/disk.h"
#include "base/wake.h"
#include "server/core/core.h"
#include "server/watch/hub.h"

struct leases;
struct checks;
struct catalog;

/* Types of our own messages between nodes (replica_send). Bodies: docs/formats.md#core-messages. */
enum core_message {
    CORE_MSG_KEEPALIVE = 1,
    CORE_MSG_KEEPALIVE_REPLY = 2,
    CORE_MSG_SHARES = 3,
};

struct applied_result {
    int is_set;
    struct command_result result; /* detail.p: NULL, its bytes are in core->details */
    size_t detail_at;
};

struct core {
    struct core_options options;
    char *data_dir, *name;
    uv_loop_t loop;
    struct wake wake;
    uv_poll_t wake_poll;
    uv_timer_t tick; /* 100 ms: disk space, glance, compaction */
    struct mailbox box;
    pthread_t thread;
    struct disk *disk;
    struct store *store;
    struct replica *replica;
    struct hub *hub;
    struct leases *leases;
    struct checks *checks;
    struct catalog *catalog;

    /* results of the newest apply batch, by index - batch_first */
    struct applied_result *results;
    struct buf details;
    size_t results_cap, batch_n;
    mu_index batch_first;

    enum replica_role role;
    mu_term term;
    mu_node_id leader;
    int is_ready; /* own-term entry applied: leases and checks may act */
    int is_stopping;
    int is_snapshotting;
    uint64_t disk_reserve;
    int64_t next_disk_check, next_compaction;

    struct leads {
        struct replica_read rd;
        int is_asked; /* a round is under way */
        int64_t asked_at, gave_way_at;
        _Atomic int64_t
            wanted_at;         /* clock_mono_ms: somebody asked for a leader's read; 0: nobody */
        _Atomic int64_t until; /* confirmed as leader until then */
    } leads;
    _Atomic mu_lease_id lease_id; /* the last one given out */
    struct {
        _Atomic int has_leader, is_leader, is_draining, is_disk_full, is_damaged, is_ready;
        _Atomic int64_t leader_heard_at; /* clock_mono_ms; -1 never */
        _Atomic mu_term term;
        _Atomic mu_rev revision;
        _Atomic mu_node_id leader;
    } glance;
    struct {
        _Atomic uint64_t proposals, proposals_failed, applied_entries, apply_batches, apply_us,
            keepalives, reads_gated, leases, subs, checks_run, checks_mine, store_bytes, log_bytes,
            queued_bytes, log_syncs, log_sync_us, elections, snapshots, commit_index, applied_index;
    } count;
};

/* Back to the one who asked. */
void core_reply(struct core_request *q);
/* On the way in: remembers the core, sends q to it. Any thread. */
void core_post(struct core *c, struct core_request *q, void (*run)(struct mail_job *));

/* A command of the core's own (lease steps, health changes, compaction). done gets code and result
 * on the core thread. */
typedef void (*core_own_done)(struct core *c, void *arg, int code, const struct command_result *r);
void core_propose_own(struct core *c, const struct command *cmd, int is_local_only,
                      core_own_done done, void *arg);

/* leads.c: leader's reads without a way through the core thread. */
enum { LEADS_ELECTION_MS = 400 }; /* the replica's default */
void leads_tick(struct core *c, int64_t now);
void leads_lost(struct core *c);     /* at any change of role or term */
void leads_give_way(struct core *c); /* before leadership is handed over: nobody waits then */

/* machine.c: the state machine as the replica sees it. */
void core_machine(struct core *c, struct replica_machine *out);
/* Write a snapshot on a pool thread; for the replica, or for an administrator (then it is
 * answered). */
void core_snapshot(struct core *c, const char *path, struct core_admin *admin);
/* Fill the empty store from options.restore and make log and snapshot fit it: every first member
 * does the same and gets the same. `info` is what the check of the file found. */
int core_restore(struct core *c, const struct snapshot_info *info, struct err *e);
/* The first leader ever gives the cluster its id. */
void core_init_cluster(struct core *c);

/* lease.c */
struct leases *leases_new(struct core *c);
void leases_stop(struct leases *l); /* closes its timer on the loop; free after the loop ended */
void leases_free(struct leases *l);
void leases_lead(struct leases *l); /* this node leads and is ready: load all, full time for each */
void leases_follow(struct leases *l); /* it does not any more */
void leases_applied(struct leases *l, const struct store_entry *e, const struct command_result *r);
/* The leases that transactions touched. */
void leases_changed(struct leases *l, const struct change_set *c);
void leases_message(struct leases *l, mu_node_id from, uint8_t type, struct slice body);
void leases_keepalive(struct leases *l, struct core_keepalive *k, int64_t deadline_at);
size_t leases_count(const struct leases *l);

/* check.c */
struct checks *checks_new(struct core *c);
void checks_free(struct checks *k, void (*closed)(void *arg),
                 void *arg);         /* closes its handles on the loop first */
void checks_start(struct checks *k); /* scan what is there */
void checks_changed(struct checks *k, const struct change_set *c);
void checks_reset(struct checks *k); /* the store was replaced */
void checks_message(struct checks *k, mu_node_id from, struct slice body);
void checks_role(struct checks *k);

/* catalog.c */
struct catalog *catalog_new(struct core *c);
void catalog_free(struct catalog *k);
void catalog_lead(struct catalog *k);
void catalog_tick(struct catalog *k, int64_t now);
