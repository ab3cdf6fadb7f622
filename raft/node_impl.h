/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by node*.c only: the engine is seen nowhere else. */
#pragma once

#include <raft.h>

#include "raft/node.h"

#if RAFT_VERSION_NUMBER != 2201
#error \
    "muster drives libraft 0.22.1; in other versions the ownership of event memory differs and the guards are not proved"
#endif

struct node {
    struct raft raft;
    struct node_options o;
    char address[CONF_ADDRESS_MAX];
    int is_started;
    int64_t now;         /* newest time seen: events never go back */
    int64_t fired_at;    /* G5: the last time-out */
    int64_t heard_at;    /* G10: the last APPEND of the leader of this term */
    mu_term term;        /* saved */
    mu_node_id vote;     /* saved */
    mu_term leader_term; /* in which the engine's leader was heard */
    mu_term noop_term;
    mu_index noop;
    mu_index commit; /* highest of the engine's and the accepted hints */
    int is_installing;
    uint64_t n_elections;

    struct conf conf; /* decoded copy of the engine's */
    mu_index conf_committed_seen, conf_uncommitted_seen;
    const void *conf_seen;

    /* what the engine's log stands on */
    mu_index base_index, base_conf_index;
    mu_term base_term;
    struct buf base_conf;

    struct raft_entry *entries; /* scratch for events */
    struct wal_entry *appended; /* scratch for the wal */
    size_t entries_cap, appended_cap;
};

static inline int node_has(const struct node *n, enum node_guard g)
{
    return (n->o.guards_off & g) == 0;
}

static inline int node_sees(const struct raft_update *u, unsigned flag)
{
    return (u->flags & flag) != 0;
}

/* node.c: one step and everything that follows from it. Returns the engine's code for SUBMIT and
 * TRANSFER; any other failure is fatal. */
int node_step(struct node *n, struct raft_event *e);
void node_fatal(struct node *n, const char *what, int rv);
struct raft_entry *node_entries(struct node *n, size_t count);
void node_decode(struct node *n, struct slice s, struct raft_configuration *out);
/* Tell the engine that the CHANGE at i is committed. */
void node_tell_conf(struct node *n, mu_index i, struct slice conf);

/* The engine begins anew, on what the machine stands for now, with the term and vote saved. All of
 * the log is durable. */
void node_restart(struct node *n);

/* node_vote.c: 1 when a request for a vote was answered here. */
int node_guard_vote(struct node *n, mu_node_id from, const struct message *m);

/* node_guard.c */
void node_guard_append(struct node *n, mu_node_id from, const struct message *m);
/* 1 when the message must not reach the engine; may change it. */
int node_guard_in(struct node *n, mu_node_id from, struct message *m);
void node_check_event(const struct node *n, const struct raft_event *e);
void node_guard_out(struct node *n, struct message *m, const struct raft_message *rm);
