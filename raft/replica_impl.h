/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by replica*.c and members.c: the glue between node, wal, transport and state machine. All
 * on the loop's thread.
 *
 * One turn of the loop: callbacks (frames, mail, writer) only record and step the node; then, just
 * before the loop sleeps, replica_turn does in this order: proposals into the log or to the leader,
 * log to the writer, committed entries to the machine, reads, hints, results. */
#pragma once

#include <uv.h>

#include "base/buf.h"
#include "base/wake.h"
#include "raft/node.h"
#include "raft/replica_lists.h"
#include "raft/transport.h"
#include "raft/writer.h"

enum {
    REPLICA_ELECTION_MS = 400,
    REPLICA_HEARTBEAT_MS = 50,
    REPLICA_INFLIGHT = 4096, /* uncommitted entries; also what a peer may have unacknowledged */
    REPLICA_UNCOMMITTED_BYTES = 8 << 20,
    REPLICA_APPEND_BYTES = 1 << 20, /* bodies in one APPEND frame */
    REPLICA_APPLY_MAX = 4096,       /* entries per call of the machine */
    REPLICA_APPLY_BYTES = 8 << 20,
    REPLICA_PEER_QUEUE = 16 << 20, /* more waiting than this for one peer: drop, it asks again */
    REPLICA_SWEEP_MS = 25,         /* how exact deadlines are */
    REPLICA_HOLD_MS = 10,          /* pause after a refusal before asking again */
    REPLICA_APPLY_RETRY_MS = 250,
    REPLICA_TRAILING = 20000, /* entries kept behind a snapshot */
    REPLICA_TRAILING_BYTES = 16 << 20,
    REPLICA_SNAPSHOT_KEEP = 2,
};

/* --- peers --- */

struct sending; /* replica_send.c: a snapshot on its way to a peer */

struct peer {
    struct replica_member m;
    int is_up;
    int64_t heard_at;        /* -1 = never */
    mu_index sent_commit;    /* in this term */
    uint64_t acked_round;    /* in this term */
    mu_index wants_snapshot; /* at least up to here; 0 = none */
    int wants_rejoin;
    struct sending *sending;
    struct buf results; /* FORWARD_RESULT items */
    uint64_t results_run;
    size_t n_results;
};

enum receiving_state { RECEIVING_NONE, RECEIVING_CHUNKS, RECEIVING_CHECK, RECEIVING_RESET };

/* A snapshot on its way to us. */
struct receiving {
    enum receiving_state state;
    mu_node_id from;
    mu_term term;
    uint64_t id, size, offset;
    int is_rejoin;
    int64_t heard_at;
    struct disk_file *file;
    struct replica_position pos;
    uint8_t conf[CONF_MAX];
    char name[64]; /* of the file, once it has its own */
};

struct transfer {
    replica_done_cb cb;
    void *arg;
    int is_running;
    mu_node_id to; /* while it has not all entries yet; then 0 */
    int64_t deadline_at;
    mu_term term;
};

struct members_op; /* members.c */

struct replica {
    struct replica_options o;
    struct replica_machine m;
    char *data_dir, *name, *peer_listen;
    mu_node_id self;
    struct conf initial;
    struct node *node;
    struct wal *wal;
    struct vote_file *vote_file;
    struct vote vote; /* as found */
    struct transport *transport;
    struct writer *writer;
    struct wake written; /* by the writer, after an operation */
    uv_poll_t written_poll;

    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer;
    int n_handles;
    int is_open, is_started, is_closing, is_dirty, is_tick_due;
    int64_t armed_at, swept_at;
    void (*closed_cb)(void *arg);
    void *closed_arg;

    int is_damaged, is_vote_lost;
    char damage[256];
    int64_t rejoin_at;

    struct peer peers[REPLICA_MEMBERS_MAX];
    size_t n_peers;
    struct conf hello; /* members told to us while we have no configuration */

    enum replica_role told_role;
    mu_term told_term;
    mu_node_id told_leader;
    mu_term ready_term;      /* leader_ready was called for it */
    int64_t leader_heard_at; /* -1 never */

    mu_index applied;
    mu_term applied_term;
    int64_t apply_hold;
    uint64_t bytes_since_snapshot;
    struct wal_entry *read_entries;      /* REPLICA_APPLY_MAX */
    struct replica_entry *apply_entries; /* the same */
    struct slice *parts;                 /* of an APPEND frame */
    uint8_t *heads;
    struct message_scratch scratch;

    /* proposals */
    struct proposals queue;  /* neither in the log nor sent */
    struct proposals failed; /* refused in the call; answered in the turn. index holds the code */
    struct table by_index, by_seq;
    uint64_t queued_bytes, forwarded_bytes, uncommitted_bytes;
    uint64_t seq, run;
    mu_node_id forwarded_to;
    int64_t forward_hold;
    struct wal_entry *submit_entries;
    struct buf forward_items, result;

    /* reads */
    struct reads new_reads, round_reads, asked_reads, settled_reads;
    uint64_t round;
    mu_index round_index;
    mu_term round_term;
    int is_round_open;
    int64_t round_sent_at, ask_hold;
    uint64_t ask_seq;
    mu_node_id asked_of;

    /* snapshots */
    int is_taking;
    mu_index snapshot_index; /* newest file */
    mu_term snapshot_term;
    struct receiving receiving;
    uint64_t transfer_id;
    uint64_t n_elections;

    struct transfer transfer;
    struct members_op *members;
};

static inline int replica_is_leader(const struct replica *r)
{
    return r->node != NULL && node_state(r->node) == NODE_LEADER;
}

/* replica.c */
void replica_touch(struct replica *r); /* there is something for the turn */
void replica_fatal(struct replica *r, int exit_code, const char *why);
mu_node_id replica_leader(const struct replica *r);
int replica_is_ready_leader(const struct replica *r); /* own-term entry committed */
void replica_start_node(struct replica *r);
void replica_handle_closed(struct replica *r); /* while closing: one thing less to wait for */
struct node_base replica_base(const struct replica_position *p);

/* replica_open.c */
int replica_open_log(struct replica *r, struct err *e);
void replica_damage(struct replica *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* replica_peer.c */
int peers_open(struct replica *r, struct err *e);
void peers_refresh(struct replica *r);
struct peer *peers_find(struct replica *r, mu_node_id id);
/* m's fixed part, then tail. 0 or CLOSED, OVERLOADED. */
int peers_send(struct replica *r, mu_node_id to, const struct message *m, struct slice tail);
void peers_send_append(struct replica *r, struct peer *p, const struct message *m);
void peers_send_hints(struct replica *r);
void peers_tell_members(struct replica *r); /* this node has begun to lead */
extern const struct node_ops replica_node_ops;

/* replica_propose.c */
void propose_turn(struct replica *r);
void propose_sweep(struct replica *r, int64_t now);
void propose_applied(struct replica *r, const struct replica_entry *e);
void propose_role(struct replica *r); /* leader or role changed */
void propose_session_lost(struct replica *r, mu_node_id peer);
void propose_forwarded(struct replica *r, mu_node_id from, const struct message *m);
void propose_result(struct replica *r, const struct message *m);
void propose_flush_results(struct replica *r);
void propose_close(struct replica *r);

/* replica_gate.c */
void gate_turn(struct replica *r);
void gate_sweep(struct replica *r, int64_t now);
void gate_confirm(struct replica *r, mu_node_id from, const struct message *m);
void gate_ack(struct replica *r, mu_node_id from, const struct message *m);
void gate_read_index(struct replica *r, mu_node_id from, const struct message *m);
void gate_read_index_result(struct replica *r, const struct message *m);
void gate_session_lost(struct replica *r, mu_node_id peer);
void gate_fail_all(struct replica *r);

/* replica_snapshot.c: files, and taking them */
int snapshot_newest(struct replica *r, mu_index low, mu_index high, struct replica_position *out,
                    uint8_t conf[CONF_MAX], char *out_name, size_t cap);
void snapshot_name(char *out, size_t cap, mu_term term, mu_index index);
void snapshot_path(const struct replica *r, const char *name, char *out, size_t cap);
void snapshot_turn(struct replica *r);
void snapshot_prune(struct replica *r);
/* replica_send.c */
void sending_want(struct replica *r, mu_node_id to, mu_index index);
void sending_rejoin(struct replica *r, mu_node_id from, const struct message *m);
void sending_turn(struct replica *r);
void sending_ack(struct replica *r, mu_node_id from, const struct message *m);
void sending_stop(struct replica *r, struct peer *p);
void sending_stop_all(struct replica *r);
/* replica_receive.c */
void receiving_message(struct replica *r, mu_node_id from, const struct message *m);
void receiving_step(struct replica *r);              /* each turn */
void receiving_turn(struct replica *r, int64_t now); /* now and then */
void receiving_reset(struct replica *r);             /* the node's ops->install */
void receiving_close(struct replica *r);

/* members.c */
void members_turn(struct replica *r);
int members_is_busy(const struct replica *r);
void members_status(const struct replica *r, char *out, size_t cap);
void members_close(struct replica *r);
