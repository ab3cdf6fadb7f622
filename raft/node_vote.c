/* SPDX-License-Identifier: Apache-2.0 */
/* G10: a vote of one that does not know yet that it votes.
 *
 * A CHANGE counts from when it stands in a log. The candidate whose log names us a voter may need
 * our vote before we can hear of it: with one of four dead, no other majority is left. The engine
 * refuses, since by its own configuration it has no vote; so it is given here, by the same rules:
 * one in a term, durable before it leaves, to a log that is as good as ours, not while a leader is
 * heard. Safe, since a vote counts by the candidate's configuration, never by the voter's. The
 * engine then begins anew with that term and vote. */
#include "raft/node_impl.h"

static int is_voter(const struct node *n)
{
    int i = conf_find(&n->conf, n->o.id);
    return i >= 0 && n->conf.members[i].is_voter;
}

static mu_term last_term(const struct node *n, mu_index last)
{
    mu_term t = wal_term(n->o.wal, last);
    return t != 0 || last != n->base_index ? t : n->base_term;
}

static int is_log_good(const struct node *n, const struct message *m)
{
    mu_index last = wal_last(n->o.wal);
    mu_term term = last_term(n, last);
    return last > 0 &&
           (m->vote.last_term > term || (m->vote.last_term == term && m->vote.last >= last));
}

static int hears_leader(const struct node *n)
{
    return n->heard_at > 0 && n->now - n->heard_at < (int64_t)n->o.election_ms;
}

static int may_grant(const struct node *n, mu_node_id from, const struct message *m)
{
    if (n->is_installing || wal_durable(n->o.wal) != wal_last(n->o.wal) || m->term < n->term ||
        !is_log_good(n, m) || (hears_leader(n) && !m->vote.is_disrupt)) {
        return 0;
    }
    return m->vote.is_pre || m->term > n->term || n->vote == 0 || n->vote == from;
}

static void answer(struct node *n, mu_node_id to, const struct message *m, int is_granted)
{
    struct message r = {.type = MESSAGE_VOTE_RESULT, .term = m->term};
    r.vote_result.is_granted = is_granted;
    r.vote_result.is_pre = m->vote.is_pre;
    if (!is_granted && n->term > m->term) {
        r.term = n->term;
    }
    n->o.ops->send(n->o.arg, to, &r);
}

int node_guard_vote(struct node *n, mu_node_id from, const struct message *m)
{
    if (m->type != MESSAGE_VOTE || !node_has(n, NODE_G10) || is_voter(n) ||
        n->o.ops->base == NULL) {
        return 0;
    }
    int is_granted = may_grant(n, from, m);
    if (is_granted && !m->vote.is_pre && (m->term != n->term || n->vote != from)) {
        n->term = m->term;
        n->vote = from;
        n->o.ops->save_vote(n->o.arg, n->term, n->vote);
        node_restart(n);
    }
    answer(n, from, m, is_granted);
    return 1;
}
