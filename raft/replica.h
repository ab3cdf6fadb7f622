/* SPDX-License-Identifier: Apache-2.0 */
/* The replicated log, seen from the server: propose commands, learn what is committed, gate reads,
 * move members.
 *
 * Everything here runs on one thread, the one that runs the uv loop given to replica_open (the core
 * thread). The log writer and its thread are inside. The library behind it (libraft) is seen by no
 * other room. */
#pragma once

#include "base/disk.h"
#include "base/err.h"

struct replica;
struct uv_loop_s;
struct tls_config; /* raft/transport.h */
struct uv_loop_s;  /* uv_loop_t */

struct buf;

enum { REPLICA_RESULT_MAX = 9 * 1024 * 1024 };
enum { REPLICA_MEMBERS_MAX = 9, REPLICA_NAME_MAX = 63, REPLICA_ADDRESS_MAX = 255 };

struct replica_member {
    mu_node_id id; /* xxh3 of the name, never 0 */
    char name[REPLICA_NAME_MAX + 1];
    char address[REPLICA_ADDRESS_MAX + 1]; /* host:port of the peer listener */
    int is_voter;                          /* 0: learner */
};

struct replica_options {
    struct uv_loop_s *loop;  /* uv_loop_t */
    struct disk *disk;       /* the data directory; log/, vote and snapshots/ below it are ours */
    const char *data_dir;    /* the same, absolute */
    const char *name;        /* this node's */
    const char *peer_listen; /* host:port; NULL on a single node without peers */
    const struct replica_member
        *initial; /* the full static list, the same on all; n = 1 for a single node */
    size_t n_initial;
    int is_join;                 /* start empty and wait to be added */
    int64_t election_ms;         /* 0 = default 400 (randomised 1 to 2 times) */
    int64_t heartbeat_ms;        /* 0 = default 50 */
    uint64_t queue_bytes;        /* bound of waiting proposals; 0 = 64 MiB */
    uint64_t segment_bytes;      /* of a log segment; 0 = 16 MiB */
    uint64_t trailing_entries;   /* kept in the log behind a snapshot; 0 = 20,000, or what 16 MiB
                                    hold; at least 4,098 */
    uint64_t snapshot_log_bytes; /* take a snapshot after this much log; 0 = 64 MiB (or the size of
                                    the store, if larger) */
    const struct tls_config
        *tls; /* NULL = plaintext, only between loopback addresses unless allow_plaintext */
    int allow_plaintext;
};

enum replica_role {
    REPLICA_FOLLOWER,
    REPLICA_CANDIDATE,
    REPLICA_LEADER,
    REPLICA_DAMAGED /* log damaged: no vote, rejoins by snapshot */
};

enum replica_entry_kind { REPLICA_COMMAND = 1, REPLICA_BARRIER = 2, REPLICA_CHANGE = 3 };

struct replica_entry {
    mu_index index;
    mu_term term;
    enum replica_entry_kind kind;
    struct slice data;
};

struct replica_position {
    mu_index index;
    mu_term term;
    mu_index conf_index;
    struct slice conf; /* encoded configuration, opaque to the state machine */
};

/* The state machine, filled in by server/core. All calls on the loop's thread. */
struct replica_machine {
    void *arg;
    /* What the state machine stands for now (its applied index survives restarts with its rows). */
    void (*position)(void *arg, struct replica_position *out);
    /* Committed entries, in order, without gap, each once per run (after a restart possibly again
     * below position: skip them). Returns 0, or MU_E_DISK_FULL: nothing was applied, try again
     * later. */
    int (*apply)(void *arg, const struct replica_entry *entries, size_t n);
    /* Leader only, before a command goes into the log: put in what is not deterministic (wall
     * clock). */
    void (*stamp)(void *arg, uint8_t *data, size_t len);
    /* Answer of a command applied on this node as leader, asked right after apply: bytes for the
     * node that forwarded it, at most REPLICA_RESULT_MAX, appended to out. Called only for entries
     * proposed in this run. */
    void (*result)(void *arg, mu_index index, struct buf *out);
    /* Write a consistent snapshot to the absolute path, off this thread; call replica_snapshot_done
     * later. */
    void (*snapshot_begin)(void *arg, const char *path);
    /* Check a received file fully (may run on a pool thread: must not touch anything but the file);
     * fill what it stands for. */
    int (*snapshot_check)(void *arg, const char *path, mu_index *out_index, mu_term *out_term,
                          mu_index *out_conf_index, uint8_t *out_conf, size_t *inout_conf_len,
                          struct err *e);
    /* Replace the state by the file; position() is the snapshot's afterwards. Cannot fail but by
     * aborting. */
    void (*snapshot_load)(void *arg, const char *path);
    void (*role_changed)(void *arg, enum replica_role role, mu_term term, mu_node_id leader);
    /* The own-term no-op of a new leader is applied: reads, expiry and membership may begin. */
    void (*leader_ready)(void *arg, mu_term term);
    /* A message of the server's own from another member (types 0..255 are the server's). Borrowed.
     */
    void (*message)(void *arg, mu_node_id from, uint8_t type, struct slice data);
    /* A failed sync or an impossible state: log and exit with this code. Never returns. */
    void (*fatal)(void *arg, int exit_code, const char *why);
    /* The cluster's id, zero while unknown; peers with another one are refused. May be NULL. */
    void (*cluster_id)(void *arg, uint8_t out[16]);
};

enum { REPLICA_EXIT_SYNC = 75, REPLICA_EXIT_CORRUPT = 76, REPLICA_EXIT_INVARIANT = 77 };

int replica_open(const struct replica_options *o, const struct replica_machine *m,
                 struct replica **out, struct err *e);
/* Listeners and timers start here, after the server is set up. */
int replica_start(struct replica *r, struct err *e);
/* Orderly stop: queued writes finish, connections close; closed_cb later. */
void replica_close(struct replica *r, void (*closed_cb)(void *arg), void *arg);

/* A proposal, embedded in what waits for it. The callback fires exactly once, never from inside
 * replica_propose: code 0 and the result bytes; NO_LEADER, NOT_LEADER, OVERLOADED, DISK_FULL:
 * certainly not applied; UNKNOWN_OUTCOME: may or may not be. */
struct replica_proposal {
    struct replica_proposal *next;
    void (*done)(struct replica_proposal *p, int code, struct slice result);
    uint8_t *data; /* heap (mem_alloc), taken */
    size_t len;
    int64_t deadline_at; /* clock_mono_ms */
    int is_local_only;   /* NOT_LEADER instead of forwarding: what only holds while this node leads
                            (the end of a lease) */
    /* private */
    mu_index index;
    mu_term term;
    uint64_t seq;
    struct replica_proposal *hash_next;
};

/* On the leader into the log, elsewhere forwarded to it. All proposals of one loop turn become one
 * log write. Takes p->data. */
void replica_propose(struct replica *r, struct replica_proposal *p);

/* A linearizable read waits for its gate. cb fires once: 0 when a read of the local state machine
 * is linearizable from now on; NO_LEADER or TIMEOUT. `is_leader_only`: no quorum round
 * (consistency=leader). One round serves all that wait. */
struct replica_read {
    struct replica_read *next;
    void (*done)(struct replica_read *rd, int code);
    int is_leader_only;
    int64_t deadline_at;
    /* private */
    mu_index index;
    uint64_t round;
};
void replica_read(struct replica *r, struct replica_read *rd);

void replica_snapshot_done(struct replica *r, const char *path, int code, mu_index index,
                           mu_term term, mu_index conf_index, struct slice conf);

/* To one member. Dropped silently when it is unreachable or its queue is full (the sender repeats
 * what matters). */
void replica_send(struct replica *r, mu_node_id to, uint8_t type, struct slice data);

struct replica_member_status {
    struct replica_member m;
    int is_self, is_leader, is_reachable;
    mu_index match;        /* leader only */
    int64_t last_heard_ms; /* age; -1 = never */
};

struct replica_status {
    enum replica_role role;
    mu_node_id self, leader;
    mu_term term;
    mu_index last, durable, commit, applied, first;
    mu_index snapshot_index;
    int64_t leader_age_ms; /* since a leader was last heard; 0 on the leader; -1 never */
    int is_ready;          /* leader: own-term entry applied; follower: knows a leader */
    uint64_t log_bytes;
    uint64_t queued_bytes;
    uint64_t n_syncs, sync_us_total, n_elections;
    char operation[160]; /* running membership operation, "" = none */
    size_t n_members;
    struct replica_member_status members[REPLICA_MEMBERS_MAX];
};
void replica_status(const struct replica *r, struct replica_status *out);

/* Hand leadership to `to` (0 = the most up-to-date voter). cb once: 0, NOT_LEADER, CONFLICT,
 * TIMEOUT. */
typedef void (*replica_done_cb)(void *arg, int code, const char *why);
void replica_transfer(struct replica *r, mu_node_id to, replica_done_cb cb, void *arg);
/* Guided operations on the leader; cb when accepted (0) or refused with the reason; progress in
 * replica_status.operation. replace != 0: after the newcomer is promoted, that member is removed.
 */
void replica_member_add(struct replica *r, const struct replica_member *m, mu_node_id replace,
                        replica_done_cb cb, void *arg);
void replica_member_remove(struct replica *r, mu_node_id id, replica_done_cb cb, void *arg);

/* Load the peers' certificates anew for new sessions; on an error the old ones stay. */
int replica_reload_tls(struct replica *r, struct err *e);

mu_node_id replica_id_of(const char *name);

/* Restoring a snapshot into a new cluster, before replica_open, with nothing of a log on disk: the
 * configuration of its first members, as a REPLICA_CHANGE holds it (the same bytes on every
 * member), and a log that begins behind entry `index` of `term`. */
struct buf;
void replica_members_encode(const struct replica_member *members, size_t n, struct buf *out);
int replica_seed(struct disk *d, uint64_t segment_bytes, mu_index index, mu_term term,
                 struct err *e);
