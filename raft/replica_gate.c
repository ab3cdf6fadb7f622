/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizable reads without a log write.
 *
 * Leader: notes its commit index C (an own-term entry is committed), sends CONFIRM(term, round) to
 * all voters; each acknowledges only if its durable term is that term and it follows the sender. A
 * majority, and still leader of that term: no later leader had committed anything when the round
 * began, so the state at C holds all that was acknowledged before. One round serves all reads that
 * waited for it; those that come meanwhile form the next one. Then each waits until C is applied.
 * No clocks are trusted. Follower: READ_INDEX asks the leader for such a C, in one batch, and waits
 * until C is applied here. new_reads -> round_reads or asked_reads -> settled_reads -> done. Lost
 * leadership, session or refusal: back to new_reads. */
#include "base/clock.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

enum { ROUND_RETRY_MS = 50 };

void replica_read(struct replica *r, struct replica_read *rd)
{
    rd->index = 0;
    rd->round = 0;
    reads_push(&r->new_reads, rd);
    replica_touch(r);
}

/* --- reads that a follower asked for --- */

struct remote_read {
    struct replica_read rd;
    struct replica *r;
    mu_node_id from;
    uint64_t seq;
};

static void remote_done(struct replica_read *rd, int code)
{
    struct remote_read *q = CONTAINER_OF(rd, struct remote_read, rd);
    if (!q->r->is_closing) {
        struct message m = {.type = MESSAGE_READ_INDEX_RESULT, .term = node_term(q->r->node)};
        m.read_index_result.seq = q->seq;
        m.read_index_result.index = rd->index;
        m.read_index_result.code = code;
        peers_send(q->r, q->from, &m, (struct slice){0});
    }
    mem_free(q);
}

static int is_remote(const struct replica_read *rd)
{
    return rd->done == remote_done;
}

void gate_read_index(struct replica *r, mu_node_id from, const struct message *m)
{
    struct remote_read *q = mem_zalloc(sizeof(*q));
    q->r = r;
    q->from = from;
    q->seq = m->read_index.seq;
    q->rd.done = remote_done;
    q->rd.is_leader_only = m->read_index.is_leader_only;
    q->rd.deadline_at = clock_mono_ms() + 10 * REPLICA_ELECTION_MS;
    if (replica_is_leader(r)) {
        replica_read(r, &q->rd);
    } else {
        remote_done(&q->rd, MU_E_NOT_LEADER);
    }
}

/* The index of a read is known. */
static void settle(struct replica *r, struct replica_read *rd, mu_index index)
{
    rd->index = index;
    if (is_remote(rd)) {
        remote_done(rd, 0); /* the asker waits for its own apply */
    } else {
        reads_push(&r->settled_reads, rd);
    }
}

static void settle_all(struct replica *r, struct reads *l, mu_index index)
{
    struct replica_read *rd = l->head;
    reads_init(l);
    for (struct replica_read *next; rd != NULL; rd = next) {
        next = rd->next;
        settle(r, rd, index);
    }
}

/* --- the leader's round --- */

static void send_confirm(struct replica *r)
{
    const struct conf *c = node_conf(r->node);
    struct message m = {
        .type = MESSAGE_CONFIRM, .term = r->round_term, .confirm = {.round = r->round}};
    r->round_sent_at = clock_mono_ms();
    for (size_t i = 0; i < c->n; i++) {
        if (c->members[i].is_voter && c->members[i].id != r->self) {
            peers_send(r, c->members[i].id, &m, (struct slice){0});
        }
    }
}

static int has_majority(const struct replica *r)
{
    const struct conf *c = node_conf(r->node);
    size_t acks = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct replica_member *m = &c->members[i];
        const struct peer *p = peers_find((struct replica *)(uintptr_t)r, m->id);
        acks += m->is_voter && (m->id == r->self || (p != NULL && p->acked_round >= r->round));
    }
    return acks > conf_voters(c) / 2;
}

static void close_round(struct replica *r)
{
    r->is_round_open = 0;
    reads_move(&r->new_reads, &r->round_reads);
}

static void check_round(struct replica *r)
{
    if (r->is_round_open && has_majority(r)) {
        r->is_round_open = 0;
        settle_all(r, &r->round_reads, r->round_index);
        replica_touch(r);
    }
}

/* leader_only reads need no round; the others wait for the next. */
static void begin_round(struct replica *r)
{
    struct replica_read *rd = r->new_reads.head;
    mu_index commit = node_commit(r->node);
    reads_init(&r->new_reads);
    for (struct replica_read *next; rd != NULL; rd = next) {
        next = rd->next;
        if (rd->is_leader_only) {
            settle(r, rd, commit);
        } else if (r->is_round_open) {
            reads_push(&r->new_reads, rd);
        } else {
            reads_push(&r->round_reads, rd);
        }
    }
    if (!r->is_round_open && r->round_reads.head != NULL) {
        r->is_round_open = 1;
        r->round++;
        r->round_index = commit;
        r->round_term = node_term(r->node);
        send_confirm(r);
    }
}

static void lead(struct replica *r)
{
    if (r->is_round_open && r->round_term != node_term(r->node)) {
        close_round(r);
    }
    reads_move(&r->new_reads, &r->asked_reads);
    if (!replica_is_ready_leader(r)) {
        return;
    }
    check_round(r);
    begin_round(r);
    check_round(r);
}

void gate_confirm(struct replica *r, mu_node_id from, const struct message *m)
{
    if (m->term == node_term(r->node) && node_state(r->node) == NODE_FOLLOWER &&
        node_leader(r->node) == from) {
        struct message ack = {
            .type = MESSAGE_CONFIRM_ACK, .term = m->term, .confirm = {.round = m->confirm.round}};
        peers_send(r, from, &ack, (struct slice){0});
    }
}

void gate_ack(struct replica *r, mu_node_id from, const struct message *m)
{
    struct peer *p = peers_find(r, from);
    if (p != NULL && replica_is_leader(r) && m->term == node_term(r->node) &&
        m->confirm.round <= r->round && m->confirm.round > p->acked_round) {
        p->acked_round = m->confirm.round;
    }
}

/* --- a follower's question --- */

/* Reads of other members are this node's affair only while it leads. */
static void refuse_remote(struct reads *l)
{
    struct replica_read *rd = l->head;
    reads_init(l);
    for (struct replica_read *next; rd != NULL; rd = next) {
        next = rd->next;
        if (is_remote(rd)) {
            remote_done(rd, MU_E_NOT_LEADER);
        } else {
            reads_push(l, rd);
        }
    }
}

static void ask(struct replica *r)
{
    mu_node_id leader = replica_leader(r);
    if (r->is_round_open || r->round_reads.head != NULL) {
        close_round(r);
    }
    refuse_remote(&r->new_reads);
    if (r->asked_reads.head != NULL && r->asked_of != leader) {
        reads_move(&r->new_reads, &r->asked_reads);
    }
    if (r->new_reads.head == NULL || r->asked_reads.head != NULL || leader == 0 ||
        clock_mono_ms() < r->ask_hold || r->transport == NULL ||
        !transport_is_up(r->transport, leader)) {
        return;
    }
    struct message m = {.type = MESSAGE_READ_INDEX, .term = node_term(r->node)};
    m.read_index.seq = ++r->ask_seq;
    m.read_index.is_leader_only = 1;
    for (struct replica_read *rd = r->new_reads.head; rd != NULL; rd = rd->next) {
        m.read_index.is_leader_only &= rd->is_leader_only != 0;
    }
    if (peers_send(r, leader, &m, (struct slice){0}) == 0) {
        r->asked_of = leader;
        reads_move(&r->asked_reads, &r->new_reads);
    }
}

void gate_read_index_result(struct replica *r, const struct message *m)
{
    if (m->read_index_result.seq != r->ask_seq || r->asked_reads.head == NULL) {
        return;
    }
    if (m->read_index_result.code == 0) {
        settle_all(r, &r->asked_reads, m->read_index_result.index);
    } else {
        reads_move(&r->new_reads, &r->asked_reads);
        r->ask_hold = clock_mono_ms() + REPLICA_HOLD_MS;
    }
}

void gate_session_lost(struct replica *r, mu_node_id peer)
{
    if (r->asked_of == peer) {
        reads_move(&r->new_reads, &r->asked_reads);
    }
}

/* --- turn, time, end --- */

static void serve_settled(struct replica *r)
{
    struct replica_read *rd = r->settled_reads.head;
    reads_init(&r->settled_reads);
    for (struct replica_read *next; rd != NULL; rd = next) {
        next = rd->next;
        if (rd->index <= r->applied) {
            rd->done(rd, 0);
        } else {
            reads_push(&r->settled_reads, rd);
        }
    }
}

void gate_turn(struct replica *r)
{
    if (!r->is_damaged &&
        (r->new_reads.head != NULL || r->round_reads.head != NULL || r->asked_reads.head != NULL)) {
        if (replica_is_leader(r)) {
            lead(r);
        } else {
            ask(r);
        }
    }
    if (r->settled_reads.head != NULL) {
        serve_settled(r);
    }
}

static void expire(struct replica *r, struct reads *l, int64_t now, int code)
{
    struct replica_read *rd = l->head;
    (void)r;
    reads_init(l);
    for (struct replica_read *next; rd != NULL; rd = next) {
        next = rd->next;
        if (rd->deadline_at <= now) {
            rd->done(rd, code);
        } else {
            reads_push(l, rd);
        }
    }
}

void gate_sweep(struct replica *r, int64_t now)
{
    int code = replica_leader(r) != 0 ? MU_E_TIMEOUT : MU_E_NO_LEADER;
    expire(r, &r->new_reads, now, code);
    expire(r, &r->round_reads, now, code);
    expire(r, &r->asked_reads, now, code);
    expire(r, &r->settled_reads, now, MU_E_TIMEOUT);
    if (r->is_round_open && r->round_reads.head == NULL) {
        r->is_round_open = 0;
    }
    if (r->is_round_open && replica_is_leader(r) && now - r->round_sent_at >= ROUND_RETRY_MS) {
        send_confirm(r);
    }
}

void gate_fail_all(struct replica *r)
{
    gate_sweep(r, INT64_MAX);
}
