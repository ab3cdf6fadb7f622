/* SPDX-License-Identifier: Apache-2.0 */
/* Logs that lose what was durable, one at a time, and the way back of raft/replica_receive.c: no
 * vote and no answer until a snapshot is here that reaches the last entry of a leader, of our saved
 * term or a later one, at the time it was asked. With is_naive the node goes on with what is left
 * of its log: then the checks must find something. */
#include <string.h>

#include "tests/sim/sim_impl.h"

static int is_any_damaged(const struct sim *s)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        if (s->nodes[i].is_damaged) {
            return 1;
        }
    }
    return 0;
}

/* A node that is down loses the end of its log, or all of it. */
void sim_damage(struct sim *s)
{
    struct sim_node *n = &s->nodes[sim_rnd((uint32_t)s->o.n)];
    if (n->is_up || !n->exists || is_any_damaged(s) || n->disk.n < 3) {
        return;
    }
    size_t keep = sim_rnd(2) != 0 ? n->disk.n - 1 - sim_rnd(10) % (uint32_t)(n->disk.n - 1) : 1;
    memdisk_cut(&n->disk, n->disk.first + keep);
    s->stats->damages++;
    if (s->o.is_naive) { /* as if a short log were a whole one */
        mu_index last = n->disk.first + n->disk.n - 1;
        if (n->saved.index > last) {
            n->saved = n->stored;
        }
        if (n->saved.index > last) {
            memset(&n->saved, 0, sizeof(n->saved));
        }
        return;
    }
    n->is_damaged = 1;
    n->asked = NULL;
}

static int hears(const struct sim *s, const struct sim_node *a, const struct sim_node *b)
{
    return b->is_up && !s->cut[a->i][b->i] && !s->cut[b->i][a->i];
}

static void ask(struct sim *s, struct sim_node *n)
{
    struct sim_node *l = &s->nodes[sim_rnd(SIM_NODES_MAX)];
    if (!hears(s, n, l) || node_state(l->node) != NODE_LEADER) {
        return;
    }
    if (node_term(l->node) < n->term) {
        node_saw_term(l->node, n->id, n->term, s->now + l->skew);
        sim_settle(l);
    } else if (node_commit(l->node) >= node_noop(l->node)) {
        n->asked = l;
        n->asked_term = node_term(l->node);
        n->asked_up_to = node_last(l->node);
    }
}

static void take(struct sim_node *n, struct sim_node *l)
{
    struct wal *w = memwal_open(&n->disk);
    wal_reset(w, l->state.index, l->state.term);
    struct wal_op *op = wal_take(w);
    wal_execute(op, NULL);
    wal_done(w, op);
    wal_close(w);
    n->saved = n->stored = n->received = l->state;
    if (node_term(l->node) > n->term) {
        n->term = node_term(l->node);
        n->vote = 0;
    }
    n->is_damaged = 0;
    sim_boot(n);
}

/* Each millisecond; 1 while node n is out. */
int sim_rejoin(struct sim *s, struct sim_node *n)
{
    struct sim_node *l = n->asked;
    if (!n->is_damaged) {
        return 0;
    }
    if (l == NULL || !hears(s, n, l) || node_state(l->node) != NODE_LEADER ||
        node_term(l->node) != n->asked_term) {
        n->asked = NULL;
        if (sim_rnd(20) == 0) {
            ask(s, n);
        }
    } else if (l->state.index >= n->asked_up_to && sim_rnd(20) == 0) {
        take(n, l);
        return 0;
    }
    return 1;
}
