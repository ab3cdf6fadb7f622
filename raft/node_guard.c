/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into the engine and comes out of it, kept inside what it can bear. The letters are
 * those of node.h. */
#include "raft/node_impl.h"

#include <string.h>

/* --- outgoing --- */

/* A rejection: the leader goes back one entry per round trip; the start of our run of that term is
 * as good an answer, and quicker. */
static void raise_speed(struct node *n, struct message *m)
{
    const struct raft *r = &n->raft;
    mu_index rejected = m->append_result.rejected;
    if (rejected == 0 || node_state(n) != NODE_FOLLOWER || rejected > wal_last(n->o.wal) ||
        rejected < wal_first(n->o.wal)) {
        return;
    }
    mu_index low = r->follower_state.match > n->commit ? r->follower_state.match : n->commit;
    mu_index hint = wal_term_start(n->o.wal, rejected) - 1;
    if (hint < low) {
        hint = low;
    }
    if (hint < m->append_result.last) {
        m->append_result.last = hint;
    }
}

void node_guard_out(struct node *n, struct message *m, const struct raft_message *rm)
{
    (void)rm;
    if (m->type == MESSAGE_VOTE_RESULT && node_has(n, NODE_G3) && m->vote_result.is_pre &&
        !m->vote_result.is_granted && n->term > m->term) {
        m->term = n->term; /* the asker learns that its term is old; else the best log can stay
                              without a term for ever */
    }
    if (m->type == MESSAGE_APPEND_RESULT && node_has(n, NODE_G4)) {
        raise_speed(n, m);
    }
}

/* --- APPEND in --- */

struct piece {
    mu_index prev;
    mu_term prev_term;
    const struct wal_entry *entries;
    size_t n;
};

static void deliver(struct node *n, mu_node_id from, const struct message *m, const struct piece *p)
{
    struct raft_message rm = {
        .type = RAFT_APPEND_ENTRIES, .server_id = from, .server_address = "peer"};
    rm.append_entries.term = m->term;
    rm.append_entries.prev_log_index = p->prev;
    rm.append_entries.prev_log_term = p->prev_term;
    rm.append_entries.leader_commit = m->append.commit;
    rm.append_entries.n_entries = (unsigned)p->n;
    if (p->n > 0) {
        /* Bodies stay in the frame: the wal copies them inside the step. The engine frees or hands
         * back the batch, so it is a token. */
        struct raft_entry *re = node_entries(n, p->n);
        void *token = raft_malloc(1);
        for (size_t i = 0; i < p->n; i++) {
            const struct wal_entry *e = &p->entries[i];
            re[i] = (struct raft_entry){
                .term = e->term, .type = (enum raft_entry_type)e->kind, .batch = token};
            re[i].buf =
                (struct raft_buffer){.base = (void *)(uintptr_t)e->data.p, .len = e->data.len};
        }
        rm.append_entries.entries = re;
    }
    struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = &rm}};
    node_step(n, &e);
    if (m->term == raft_current_term(&n->raft)) {
        n->leader_term = m->term;
    }
}

/* G6: a CHANGE at c2 says that the one before it, c1, is committed, as only one may be in flight.
 * The engine must hear that first, or it could only roll back past both. True only if the log up to
 * c2 is the leader's. */
static void tell_implied(struct node *n, mu_node_id from, const struct message *m,
                         const struct piece *p)
{
    const struct raft *r = &n->raft;
    mu_index c1 = r->configuration_uncommitted_index, c2 = p->prev + 1;
    if (p->n == 0 || p->entries[0].kind != WAL_CHANGE) {
        return;
    }
    if (m->term > raft_current_term(r)) {
        struct piece empty = {.prev = p->prev, .prev_term = p->prev_term};
        deliver(n, from, m, &empty);
        c1 = r->configuration_uncommitted_index;
    }
    if (c1 == 0 || c1 >= c2 || m->term != raft_current_term(r) || node_state(n) != NODE_FOLLOWER) {
        return;
    }
    if (wal_term(n->o.wal, p->prev) != p->prev_term ||
        wal_term(n->o.wal, c2) == p->entries[0].term) {
        return;
    }
    struct wal_entry e;
    struct err err = {0};
    if (wal_read(n->o.wal, c1, 1, CONF_MAX, &e, &err) != 1 || e.kind != WAL_CHANGE) {
        node_fatal(n, err.text[0] != 0 ? err.text : "pending CHANGE is not in the log",
                   RAFT_CORRUPT);
    }
    node_tell_conf(n, c1, e.data);
}

/* G1: an APPEND that reaches below our commit index (late, repeated, or after our acknowledgements
 * were lost and the log was compacted) would be rejected, and break the leader's accounts. All up
 * to the commit index is the same on both sides, so that part is cut off. */
static void skip_committed(struct node *n, const struct message *m, struct piece *p)
{
    if (!node_has(n, NODE_G1) || m->term < n->term || p->prev >= n->commit) {
        return;
    }
    mu_term t = wal_term(n->o.wal, n->commit);
    if (t == 0) {
        return;
    }
    size_t covered = (size_t)(n->commit - p->prev);
    if (covered > p->n) {
        covered = p->n;
    }
    p->entries += covered;
    p->n -= covered;
    p->prev = n->commit;
    p->prev_term = t;
}

static size_t next_change(const struct piece *p)
{
    size_t i = 1;
    while (i < p->n && p->entries[i].kind != WAL_CHANGE) {
        i++;
    }
    return i;
}

/* The engine answers an APPEND of an old term with a hint it never set; after an APPEND that starts
 * at 0 that even reads as an acceptance, and its sender may lead again in our term by then. */
static void refuse_stale(struct node *n, mu_node_id from, const struct message *m)
{
    struct message out = {.type = MESSAGE_APPEND_RESULT, .term = raft_current_term(&n->raft)};
    out.append_result.rejected = m->append.prev > 0 ? m->append.prev : 1;
    n->o.ops->send(n->o.arg, from, &out);
}

void node_guard_append(struct node *n, mu_node_id from, const struct message *m)
{
    struct piece p = {.prev = m->append.prev,
                      .prev_term = m->append.prev_term,
                      .entries = m->append.entries,
                      .n = m->append.n};
    if (m->term == raft_current_term(&n->raft) && raft_state(&n->raft) == RAFT_LEADER) {
        return; /* nobody else leads in our term: not from a member in its right mind */
    }
    if (m->term < raft_current_term(&n->raft) && node_has(n, NODE_STALE)) {
        refuse_stale(n, from, m);
        return;
    }
    n->heard_at = n->now;
    if (!n->is_installing) {
        skip_committed(n, m, &p);
    }
    while (node_has(n, NODE_G6) && !n->is_installing && p.n > 0) {
        size_t k = next_change(&p);
        struct piece head = p;
        head.n = k;
        tell_implied(n, from, m, &head);
        if (k == p.n) {
            break;
        }
        deliver(n, from, m, &head);
        p.prev += k;
        p.prev_term = p.entries[k - 1].term;
        p.entries += k;
        p.n -= k;
    }
    deliver(n, from, m, &p);
}

/* --- the others in --- */

/* G2: the engine's accounts break on a rejection at or below what it knows to match; such a one is
 * late. */
static int guard_result(struct node *n, mu_node_id from, struct message *m)
{
    if (!node_has(n, NODE_G2) || m->append_result.rejected == 0 ||
        raft_state(&n->raft) != RAFT_LEADER || m->term != raft_current_term(&n->raft)) {
        return 0;
    }
    mu_index match = node_match(n, from);
    if (m->append_result.rejected <= match) {
        return 1;
    }
    if (m->append_result.last < match) {
        m->append_result.last = match;
    }
    return 0;
}

int node_guard_in(struct node *n, mu_node_id from, struct message *m)
{
    switch (m->type) {
    case MESSAGE_APPEND_RESULT:
        return guard_result(n, from, m);
    case MESSAGE_TIMEOUT_NOW:
        return node_has(n, NODE_G9) && conf_voters(&n->conf) < 2;
    default:
        return 0;
    }
}

/* What the engine takes for granted, and checks only in a build that nobody ships. */
void node_check_event(const struct node *n, const struct raft_event *e)
{
    const struct raft *r = &n->raft;
    const struct raft_message *m = e->type == RAFT_RECEIVE ? e->receive.message : NULL;
    MU_INVARIANT((int64_t)e->time >= (int64_t)r->now);
    switch (e->type) {
    case RAFT_RECEIVE:
        if (m->type == RAFT_APPEND_ENTRIES_RESULT && node_state(n) == NODE_LEADER &&
            m->append_entries_result.term == n->term && m->append_entries_result.rejected > 0) {
            MU_INVARIANT(m->append_entries_result.rejected > node_match(n, m->server_id)); /* G2 */
        }
        if (m->type == RAFT_APPEND_ENTRIES && m->append_entries.term >= n->term &&
            !n->is_installing) {
            MU_INVARIANT(m->append_entries.prev_log_index >= n->commit ||
                         wal_term(n->o.wal, n->commit) == 0); /* G1 */
        }
        MU_INVARIANT(m->type != RAFT_INSTALL_SNAPSHOT || !r->snapshot.installing);
        break;
    case RAFT_PERSISTED_ENTRIES:
        MU_INVARIANT(e->persisted_entries.index > r->last_stored &&
                     node_state(n) != NODE_CANDIDATE);
        break;
    case RAFT_SUBMIT:
        MU_INVARIANT(e->submit.n > 0 && e->submit.entries[0].term == n->term &&
                     e->submit.entries[0].batch != NULL);
        break;
    case RAFT_SNAPSHOT:
        MU_INVARIANT(e->snapshot.metadata.index > r->trail.snapshot.index &&
                     !r->snapshot.installing);
        break;
    default:
        break;
    }
}

/* A leader tells how far it has committed without an APPEND. Safe: in the leader's own term our log
 * up to `match` is the leader's, entry by entry, so what it has committed of that is committed
 * here. Not past a pending CHANGE, which the engine must see committed by itself. */
static void take_hint(struct node *n, mu_node_id from, const struct message *m)
{
    const struct raft *r = &n->raft;
    if (m->term != raft_current_term(r) || node_state(n) != NODE_FOLLOWER ||
        r->follower_state.current_leader.id != from || n->leader_term != m->term ||
        n->is_installing) {
        return;
    }
    mu_index c =
        m->commit.index < r->follower_state.match ? m->commit.index : r->follower_state.match;
    if (r->configuration_uncommitted_index != 0 && c >= r->configuration_uncommitted_index) {
        c = r->configuration_uncommitted_index - 1;
    }
    if (c > n->commit) {
        n->commit = c;
    }
}

static int to_engine(const struct message *m, struct raft_message *rm)
{
    switch (m->type) {
    case MESSAGE_APPEND_RESULT:
        rm->type = RAFT_APPEND_ENTRIES_RESULT;
        rm->append_entries_result.version = 2;
        rm->append_entries_result.term = m->term;
        rm->append_entries_result.rejected = m->append_result.rejected;
        rm->append_entries_result.last_log_index = m->append_result.last;
        return 1;
    case MESSAGE_VOTE:
        rm->type = RAFT_REQUEST_VOTE;
        rm->request_vote.version = 2;
        rm->request_vote.term = m->term;
        rm->request_vote.candidate_id = rm->server_id;
        rm->request_vote.last_log_index = m->vote.last;
        rm->request_vote.last_log_term = m->vote.last_term;
        rm->request_vote.disrupt_leader = m->vote.is_disrupt;
        rm->request_vote.pre_vote = m->vote.is_pre;
        return 1;
    case MESSAGE_VOTE_RESULT:
        rm->type = RAFT_REQUEST_VOTE_RESULT;
        rm->request_vote_result.version = 2;
        rm->request_vote_result.term = m->term;
        rm->request_vote_result.vote_granted = m->vote_result.is_granted;
        rm->request_vote_result.pre_vote = m->vote_result.is_pre;
        return 1;
    case MESSAGE_TIMEOUT_NOW:
        rm->type = RAFT_TIMEOUT_NOW;
        rm->timeout_now.term = m->term;
        rm->timeout_now.last_log_index = m->timeout_now.last;
        rm->timeout_now.last_log_term = m->timeout_now.last_term;
        return 1;
    default:
        return 0;
    }
}

void node_receive(struct node *n, mu_node_id from, const struct message *in, int64_t now)
{
    MU_INVARIANT(n->is_started && from != 0 && from != n->o.id);
    struct message m = *in;
    if (now > n->now) {
        n->now = now;
    }
    if (m.type == MESSAGE_APPEND) {
        node_guard_append(n, from, &m);
        return;
    }
    if (m.type == MESSAGE_COMMIT) {
        take_hint(n, from, &m);
        return;
    }
    if (node_guard_vote(n, from, &m)) {
        return;
    }
    struct raft_message rm = {.server_id = from, .server_address = "peer"};
    if (!node_guard_in(n, from, &m) && to_engine(&m, &rm)) {
        struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = &rm}};
        node_step(n, &e);
    }
}
