/* SPDX-License-Identifier: Apache-2.0 */
/* Links between nodes, and the node's outputs. Every message goes through its bytes. */
#include <string.h>

#include "base/mem.h"
#include "tests/sim/sim_impl.h"

void sim_message_unref(struct sim_message *m)
{
    if (--m->refs == 0) {
        buf_fini(&m->frame);
        mem_free(m);
    }
}

static void post(struct sim *s, struct sim_message *m)
{
    int64_t at = s->now + sim_rnd(s->delay + 1);
    if (s->is_faulty && sim_chance(20)) {
        at += sim_rnd(200);
    }
    if (s->o.is_fifo) {
        int64_t *last = &s->link_at[m->from][m->to];
        at = at < *last ? *last : at;
        *last = at;
    }
    m->refs++;
    sim_push(s,
             (struct sim_event){.at = at, .kind = SIM_EVENT_MESSAGE, .node = m->to, .message = m});
}

static void transmit(struct sim *s, struct sim_message *m)
{
    m->refs = 1;
    s->stats->messages++;
    if (!s->cut[m->from][m->to] && !(s->is_faulty && sim_chance(s->drop))) {
        post(s, m);
        if (s->is_faulty && !s->o.is_fifo && sim_chance(s->dup)) {
            post(s, m);
        }
    }
    sim_message_unref(m);
}

static void encode(struct sim_node *n, const struct message *in, struct buf *out)
{
    uint8_t head[MESSAGE_HEAD_MAX], eh[MESSAGE_ENTRY_HEAD];
    struct message m = *in;
    struct wal_entry e;
    buf_append(out, head, message_encode(&m, head));
    for (size_t pass = 0; m.type == MESSAGE_APPEND && pass < 2; pass++) {
        for (size_t i = 0; i < m.append.n; i++) {
            if (wal_read(n->wal, m.append.prev + 1 + i, 1, 1 << 20, &e, NULL) != 1) {
                sim_violated(n->sim, "node %d sends what its log does not hold", n->i);
                return;
            }
            if (pass == 0) {
                message_put_entry_head(eh, &e);
                buf_append(out, eh, sizeof(eh));
            } else {
                buf_append_slice(out, e.data);
            }
        }
    }
}

static void op_send(void *arg, mu_node_id to, const struct message *m)
{
    struct sim_node *n = arg, *t = sim_by_id(n->sim, to);
    if (t == NULL) {
        return;
    }
    struct sim_message *x = mem_zalloc(sizeof(*x));
    x->from = n->i;
    x->to = t->i;
    x->m.type = m->type;
    buf_init(&x->frame);
    encode(n, m, &x->frame);
    transmit(n->sim, x);
}

static void op_save_vote(void *arg, mu_term term, mu_node_id vote)
{
    struct sim_node *n = arg;
    if (!n->sim->o.is_vote_lost || sim_rnd(2) != 0) {
        n->term = term;
        n->vote = vote;
    }
}

/* A file that reaches so far, or one taken now. */
static void op_need_snapshot(void *arg, mu_node_id to, mu_index index)
{
    struct sim_node *n = arg, *t = sim_by_id(n->sim, to);
    if (t == NULL) {
        return;
    }
    if (n->stored.index < index) {
        if (n->state.index < index) {
            return;
        }
        n->stored = n->state;
    }
    struct sim_message *x = mem_zalloc(sizeof(*x));
    x->from = n->i;
    x->to = t->i;
    x->is_snapshot = 1;
    x->m.term = node_term(n->node);
    x->snapshot = n->stored;
    buf_init(&x->frame);
    transmit(n->sim, x);
}

static void op_install(void *arg)
{
    struct sim_node *n = arg;
    n->is_installing = 1;
    n->install_op = 0; /* the next operation taken holds the reset */
    n->sim->stats->installs++;
}

static void op_conf_changed(void *arg)
{
    (void)arg;
}

static void op_base(void *arg, struct node_base *out)
{
    struct sim_node *n = arg;
    *out = (struct node_base){
        .index = n->state.index, .term = n->state.term, .conf_index = n->state.conf_index};
    out->conf = slice_of(n->state.conf, n->state.conf_len);
}

static void op_fatal(void *arg, const char *why)
{
    struct sim_node *n = arg;
    sim_violated(n->sim, "node %d: %s", n->i, why);
}

const struct node_ops sim_ops = {
    .save_vote = op_save_vote,
    .send = op_send,
    .need_snapshot = op_need_snapshot,
    .install = op_install,
    .conf_changed = op_conf_changed,
    .fatal = op_fatal,
    .base = op_base,
};

static void deliver_snapshot(struct sim *s, struct sim_node *n, struct sim_message *m)
{
    if (n->is_installing) {
        return; /* never a second one meanwhile */
    }
    n->incoming = n->received =
        m->snapshot; /* the file is complete and synced before the engine hears of it */
    struct node_base b = {
        .index = m->snapshot.index, .term = m->snapshot.term, .conf_index = m->snapshot.conf_index};
    b.conf = slice_of(m->snapshot.conf, m->snapshot.conf_len);
    node_install(n->node, s->nodes[m->from].id, m->m.term, &b, s->now + n->skew);
}

/* As raft/replica_peer.c: one that votes has sessions with members alone. So one that was removed,
 * and did not hear of it, asks in vain for votes by the members it remembers, and disturbs nobody.
 * What a leader sends is let through: here a node is added again under its old name and with its
 * old log, which no real one is. */
static int lets_in(const struct sim_node *n, mu_node_id from, enum message_type type)
{
    const struct conf *c = node_conf(n->node);
    int self = conf_find(c, n->id);
    return type != MESSAGE_VOTE || conf_find(c, from) >= 0 || self < 0 ||
           !c->members[self].is_voter;
}

void sim_deliver(struct sim *s, struct sim_message *m)
{
    struct sim_node *n = &s->nodes[m->to];
    struct message x;
    if (!n->is_up || s->cut[m->from][m->to] || !lets_in(n, s->nodes[m->from].id, m->m.type)) {
        return;
    }
    if (m->is_snapshot) {
        deliver_snapshot(s, n, m);
    } else if (message_decode((uint8_t)m->m.type, buf_slice(&m->frame), &n->scratch, &x) != 0) {
        sim_violated(s, "a message of node %d does not decode: type %d, %zu bytes", m->from,
                     (int)m->m.type, m->frame.len);
    } else {
        node_receive(n->node, s->nodes[m->from].id, &x, s->now + n->skew);
    }
    sim_settle(n);
}
