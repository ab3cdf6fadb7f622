/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a node. */
#include "raft/node_impl.h"

enum node_state node_state(const struct node *n)
{
    switch (n->is_started ? raft_state((struct raft *)(uintptr_t)&n->raft) : RAFT_FOLLOWER) {
    case RAFT_LEADER:
        return NODE_LEADER;
    case RAFT_CANDIDATE:
        return NODE_CANDIDATE;
    default:
        return NODE_FOLLOWER;
    }
}

mu_term node_term(const struct node *n)
{
    return n->term;
}

mu_node_id node_leader(const struct node *n)
{
    const struct raft *r = &n->raft;
    switch (node_state(n)) {
    case NODE_LEADER:
        return n->o.id;
    case NODE_FOLLOWER:
        /* The engine keeps the name when only the term moves on. */
        return n->leader_term == n->term ? r->follower_state.current_leader.id : 0;
    default:
        return 0;
    }
}

mu_index node_commit(const struct node *n)
{
    return n->commit;
}

mu_index node_can_apply(const struct node *n)
{
    if (n->is_installing || !n->is_started) {
        return 0;
    }
    mu_index durable = n->raft.last_stored;
    return n->commit < durable ? n->commit : durable;
}

mu_index node_last(const struct node *n)
{
    return wal_last(n->o.wal);
}

mu_index node_noop(const struct node *n)
{
    return node_state(n) == NODE_LEADER ? n->noop : 0;
}

int node_can_submit(const struct node *n)
{
    return node_state(n) == NODE_LEADER && n->raft.leader_state.transferee == 0;
}

mu_node_id node_transferee(const struct node *n)
{
    return node_state(n) == NODE_LEADER ? n->raft.leader_state.transferee : 0;
}

mu_index node_match(const struct node *n, mu_node_id id)
{
    raft_index match = 0;
    if (node_state(n) != NODE_LEADER || raft_match_index(&n->raft, id, &match) != 0) {
        return 0;
    }
    return match;
}

int node_is_installing(const struct node *n)
{
    return n->is_installing;
}

const struct conf *node_conf(const struct node *n)
{
    return &n->conf;
}

mu_index node_conf_index(const struct node *n)
{
    const struct raft *r = &n->raft;
    return r->configuration_uncommitted_index != 0 ? r->configuration_uncommitted_index
                                                   : r->configuration_committed_index;
}

int node_is_conf_committed(const struct node *n)
{
    return n->raft.configuration_uncommitted_index == 0;
}

uint64_t node_elections(const struct node *n)
{
    return n->n_elections;
}
