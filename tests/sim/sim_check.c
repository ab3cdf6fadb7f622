/* SPDX-License-Identifier: Apache-2.0 */
/* What must always hold: one leader in a term, one content for an index and term, leaders have all
 * that is committed, committed entries are the same everywhere, so are the states they lead to. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "tests/sim/sim_impl.h"

enum { COPIES = 1 << 17, TERMS = 1 << 16 };

struct copy {
    mu_index index;
    mu_term term, prev_term;
    uint64_t id;
};

static struct {
    struct copy copies[COPIES];
    size_t n_copies;
    int leader[TERMS];
    mu_term committed_term[SIM_INDEX_MAX]; /* of the entry; 0 = not yet */
    mu_term committed_in[SIM_INDEX_MAX];   /* term of who saw it first */
    mu_index checked[SIM_NODES_MAX];
    uint64_t epoch[SIM_NODES_MAX];
    mu_index commit_seen[SIM_NODES_MAX];
    uint64_t hash[SIM_INDEX_MAX];
    mu_index highest;
} truth;

void check_reset(void)
{
    memset(&truth, 0, sizeof(truth));
}

mu_index check_highest(void)
{
    return truth.highest;
}

static uint64_t id_of(struct sim_node *n, mu_index i)
{
    struct wal_entry e;
    if (wal_read(n->wal, i, 1, 1 << 20, &e, NULL) != 1) {
        return 0;
    }
    return hash_xxh3(e.data.p, e.data.len, (uint64_t)e.kind);
}

/* Log matching: an index and a term name one entry, with one entry before it. */
void check_appended(struct sim *s, struct sim_node *n, mu_index i)
{
    mu_term term = wal_term(n->wal, i), prev = wal_term(n->wal, i - 1);
    uint64_t id = id_of(n, i);
    size_t at =
        (size_t)((i * 0x9E3779B97F4A7C15ULL) ^ (term * 0xD6E8FEB86659FD93ULL)) & (COPIES - 1);
    while (truth.copies[at].index != 0) {
        struct copy *c = &truth.copies[at];
        if (c->index == i && c->term == term) {
            if (c->id != id || c->prev_term != prev) {
                sim_violated(s, "log matching: node %d, index %llu, term %llu", n->i,
                             (unsigned long long)i, (unsigned long long)term);
            }
            return;
        }
        at = (at + 1) & (COPIES - 1);
    }
    MU_INVARIANT(truth.n_copies++ < COPIES / 2);
    truth.copies[at] = (struct copy){.index = i, .term = term, .prev_term = prev, .id = id};
}

void check_leader(struct sim *s, struct sim_node *n)
{
    mu_term t = node_term(n->node);
    MU_INVARIANT(t < TERMS);
    if (truth.leader[t] != 0 && truth.leader[t] != n->i + 1) {
        sim_violated(s, "election safety: term %llu, nodes %d and %d", (unsigned long long)t,
                     truth.leader[t] - 1, n->i);
    }
    truth.leader[t] = n->i + 1;
    for (mu_index i = 1; i <= truth.highest; i++) {
        if (truth.committed_term[i] == 0 || truth.committed_in[i] >= t || i < wal_first(n->wal)) {
            continue;
        }
        if (i > wal_last(n->wal) || wal_term(n->wal, i) != truth.committed_term[i]) {
            sim_violated(s, "leader completeness: node %d, term %llu, index %llu", n->i,
                         (unsigned long long)t, (unsigned long long)i);
            return;
        }
    }
}

void check_commit(struct sim *s, struct sim_node *n)
{
    mu_index c = node_commit(n->node);
    if (truth.epoch[n->i] != n->epoch) {
        truth.epoch[n->i] = n->epoch;
        truth.commit_seen[n->i] = 0;
    }
    if (n->is_installing) {
        return;
    }
    for (mu_index i = truth.commit_seen[n->i] + 1; i <= c; i++) {
        mu_term t = i >= wal_first(n->wal) ? wal_term(n->wal, i) : 0;
        if (t == 0) {
            continue;
        }
        MU_INVARIANT(i < SIM_INDEX_MAX);
        if (truth.committed_term[i] == 0) {
            truth.committed_term[i] = t;
            truth.committed_in[i] = node_term(n->node);
            truth.highest = i > truth.highest ? i : truth.highest;
            s->stats->commits++;
        } else if (truth.committed_term[i] != t) {
            sim_violated(s, "committed entries differ: node %d, index %llu", n->i,
                         (unsigned long long)i);
        }
    }
    truth.commit_seen[n->i] = c;
}

void check_applied(struct sim *s, struct sim_node *n)
{
    mu_index i = n->state.index;
    MU_INVARIANT(i < SIM_INDEX_MAX);
    if (truth.hash[i] == 0) {
        truth.hash[i] = n->state.hash;
    } else if (truth.hash[i] != n->state.hash) {
        sim_violated(s, "state machines differ: node %d, index %llu", n->i, (unsigned long long)i);
    }
}
