/* SPDX-License-Identifier: Apache-2.0 */
/* One raft server without sockets, files, clock or threads: the engine (libraft's pure core) behind
 * guards.
 *
 * Inputs are calls: a message came, time has passed, entries are proposed, entries are durable.
 * Each is one step of the engine. Outputs go through struct node_ops, during the call. The log's
 * bodies live in the wal (owner's side); the node appends to it, the caller hands the queued
 * operations to the writer and reports what is durable. The same code runs on a simulated network,
 * disk and clock.
 *
 * The engine has known faults at its edge; the guards that keep them out are named where they stand
 * (node.c, node_guard.c, node_vote.c; G8, who may be added or removed, in members.c):
 *
 *  G1  an APPEND that starts below our commit index loses the part we have
 *  G2  late rejections at or below the match index are dropped
 *  G3  a refused pre-vote names our own term, if that is higher
 *  G4  a rejection skips the whole conflicting term
 *  G5  the next time-out is never in the past
 *  G6  an APPEND is cut before each CHANGE; what a second one implies about the first is told first
 *  G7  each term starts with an entry of its own; nothing is read before
 *  G9  a sole voter starts a new term at every start
 *  G10 one that does not know yet that it votes gives its vote all the same */
#pragma once

#include "raft/conf.h"
#include "raft/message.h"

struct node;
struct node_base;

enum node_state { NODE_FOLLOWER, NODE_CANDIDATE, NODE_LEADER };

/* Called from inside a step; none may call back into the node. */
struct node_ops {
    void (*save_vote)(void *arg, mu_term term, mu_node_id vote); /* durable when it returns */
    /* m->append: entries prev+1 .. prev+n of the wal are to be filled in. */
    void (*send)(void *arg, mu_node_id to, const struct message *m);
    /* `to` needs a snapshot that reaches at least `index`. Repeated while it does. */
    void (*need_snapshot)(void *arg, mu_node_id to, mu_index index);
    /* The wal was reset behind the snapshot given to node_install. When that is durable and the
     * state is loaded: node_installed. */
    void (*install)(void *arg);
    void (*conf_changed)(void *arg);
    /* What must not happen has happened. Does not return. */
    void (*fatal)(void *arg, const char *why);
    /* What the machine stands for now; borrowed until the next call. NULL: G10 is off. */
    void (*base)(void *arg, struct node_base *out);
};

/* Guards can be switched off, one by one, by tests that prove their worth. */
enum node_guard {
    NODE_G1 = 1,
    NODE_G2 = 2,
    NODE_G3 = 4,
    NODE_G4 = 8,
    NODE_G5 = 16,
    NODE_G6 = 32,
    NODE_G7 = 64,
    NODE_G9 = 128,
    NODE_G10 = 1024,
    NODE_STALE = 512,   /* an APPEND of an old term is answered here, not by the engine */
    NODE_DURABLE = 256, /* entries are reported to the engine only when they are on disk */
};

struct node_options {
    mu_node_id id;
    const char *name;
    struct wal *wal;
    const struct node_ops *ops;
    void *arg;
    unsigned election_ms, heartbeat_ms;
    unsigned max_inflight; /* entries sent to a peer and not yet acknowledged */
    uint32_t seed;
    unsigned guards_off; /* 0 outside tests */
};

/* What the log stands on: a state of the state machine that is on disk. index 0 = none. */
struct node_base {
    mu_index index;
    mu_term term;
    mu_index conf_index;
    struct slice conf;
};

struct node *node_new(const struct node_options *o);
void node_free(struct node *n);
/* First step. term and vote are what is on disk. All entries of the wal must be durable. */
void node_start(struct node *n, mu_term term, mu_node_id vote, const struct node_base *base,
                int64_t now);

/* --- inputs; `now` is clock_mono_ms --- */

/* APPEND .. COMMIT; others are the caller's. */
void node_receive(struct node *n, mu_node_id from, const struct message *m, int64_t now);
void node_tick(struct node *n, int64_t now);
/* When node_tick has something to do. */
int64_t node_deadline(const struct node *n);
/* Leader: into the log. The entries' terms are set here. 0 and the first index; NOT_LEADER. A
 * CHANGE comes alone; CONFLICT when another is running. */
int node_submit(struct node *n, struct wal_entry *entries, size_t count, mu_index *out_first,
                int64_t now);
/* The wal's durable index. May be called with the same or a lower one than before. */
void node_persisted(struct node *n, mu_index durable, int64_t now);
/* A complete, checked snapshot is on disk. 1: ops->install was called; 0: not wanted. */
int node_install(struct node *n, mu_node_id from, mu_term from_term,
                 const struct node_base *snapshot, int64_t now);
void node_installed(struct node *n, const struct node_base *snapshot, int64_t now);
/* Entry i was applied; for a CHANGE the engine is told. In order. */
void node_applied(struct node *n, mu_index i, const struct wal_entry *e, int64_t now);
/* A snapshot of our own is on disk; the log may forget up to `trailing` entries before it. Returns
 * the index up to which it did. */
mu_index node_snapshotted(struct node *n, const struct node_base *snapshot, unsigned trailing,
                          int64_t now);
/* Hand leadership over; 0, NOT_LEADER, BAD_REQUEST, TIMEOUT: it has not all entries yet.
 * node_transferee says how it goes. */
int node_transfer(struct node *n, mu_node_id to, int64_t now);
/* A peer showed a term higher than ours. */
void node_saw_term(struct node *n, mu_node_id from, mu_term term, int64_t now);

/* --- what is --- */

enum node_state node_state(const struct node *n);
mu_term node_term(const struct node *n);
mu_node_id node_leader(const struct node *n);  /* of this term; 0 = not known */
mu_index node_commit(const struct node *n);    /* highest known; never falls */
mu_index node_can_apply(const struct node *n); /* committed and durable here */
mu_index node_last(const struct node *n);
/* Leader: index of this term's first own entry; 0 otherwise. Reads and membership wait until it is
 * applied. */
mu_index node_noop(const struct node *n);
int node_can_submit(const struct node *n); /* leader and not handing over */
mu_node_id node_transferee(const struct node *n);
mu_index node_match(const struct node *n, mu_node_id id); /* leader only; 0 otherwise */
int node_is_installing(const struct node *n);
/* The configuration in force, committed or not. */
const struct conf *node_conf(const struct node *n);
mu_index node_conf_index(const struct node *n); /* of that configuration */
int node_is_conf_committed(const struct node *n);
uint64_t node_elections(const struct node *n); /* won by this node */
