/* SPDX-License-Identifier: Apache-2.0 */
/* The others: who they are now, frames to and from them, and the node's outputs. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

struct peer *peers_find(struct replica *r, mu_node_id id)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].m.id == id) {
            return &r->peers[i];
        }
    }
    return NULL;
}

/* --- sending --- */

int peers_send(struct replica *r, mu_node_id to, const struct message *m, struct slice tail)
{
    uint8_t head[MESSAGE_HEAD_MAX];
    if (r->transport == NULL) {
        return MU_E_CLOSED;
    }
    struct slice parts[2] = {slice_of(head, message_encode(m, head)), tail};
    return transport_send(r->transport, to, (uint8_t)m->type, parts, tail.len > 0 ? 2 : 1);
}

/* Frames of at most REPLICA_APPEND_BYTES. What a slow peer cannot take now is dropped: it rejects
 * what follows, and the engine starts again there. */
void peers_send_append(struct replica *r, struct peer *p, const struct message *in)
{
    struct message m = *in;
    size_t left = m.append.n;
    p->sent_commit = m.append.commit;
    do {
        struct err e = {0};
        size_t k = 0;
        if (left > 0) {
            if (transport_queued(r->transport, p->m.id) > REPLICA_PEER_QUEUE) {
                return;
            }
            k = left < REPLICA_APPLY_MAX ? left : REPLICA_APPLY_MAX;
            k = wal_read(r->wal, m.append.prev + 1, k, REPLICA_APPEND_BYTES, r->read_entries, &e);
            if (k == 0) {
                replica_fatal(r, REPLICA_EXIT_CORRUPT, e.text);
            }
        }
        uint8_t head[MESSAGE_HEAD_MAX];
        m.append.n = k;
        r->parts[0] = slice_of(head, message_encode(&m, head));
        r->parts[1] = slice_of(r->heads, k * MESSAGE_ENTRY_HEAD);
        for (size_t i = 0; i < k; i++) {
            message_put_entry_head(r->heads + i * MESSAGE_ENTRY_HEAD, &r->read_entries[i]);
            r->parts[2 + i] = r->read_entries[i].data;
        }
        if (transport_send(r->transport, p->m.id, MESSAGE_APPEND, r->parts, k > 0 ? 2 + k : 1) !=
            0) {
            return;
        }
        if (k > 0) {
            m.append.prev += k;
            m.append.prev_term = r->read_entries[k - 1].term;
            left -= k;
        }
    } while (left > 0);
}

/* The engine names the commit index only with the next APPEND or heartbeat; watchers on followers
 * should not wait for that. */
void peers_send_hints(struct replica *r)
{
    if (!replica_is_leader(r)) {
        return;
    }
    struct message m = {.type = MESSAGE_COMMIT, .term = node_term(r->node)};
    m.commit.index = node_commit(r->node);
    for (size_t i = 0; i < r->n_peers; i++) {
        struct peer *p = &r->peers[i];
        if (p->is_up && p->sent_commit < m.commit.index &&
            peers_send(r, p->m.id, &m, (struct slice){0}) == 0) {
            p->sent_commit = m.commit.index;
        }
    }
}

/* --- outputs of the node --- */

static void op_save_vote(void *arg, mu_term term, mu_node_id vote)
{
    struct replica *r = arg;
    struct err e = {0};
    if (vote_save(r->vote_file, &(struct vote){.term = term, .vote = vote}, &e) != 0) {
        replica_fatal(r, REPLICA_EXIT_SYNC, e.text);
    }
}

static void op_send(void *arg, mu_node_id to, const struct message *m)
{
    struct replica *r = arg;
    struct peer *p = peers_find(r, to);
    if (p == NULL || r->transport == NULL || !transport_is_up(r->transport, to)) {
        return;
    }
    if (m->type == MESSAGE_APPEND) {
        peers_send_append(r, p, m);
    } else {
        peers_send(r, to, m, (struct slice){0});
    }
}

static void op_need_snapshot(void *arg, mu_node_id to, mu_index index)
{
    sending_want(arg, to, index);
}

static void op_install(void *arg)
{
    receiving_reset(arg);
}

static void op_conf_changed(void *arg)
{
    struct replica *r = arg;
    if (r->node != NULL) {
        peers_refresh(r);
    }
}

static void op_base(void *arg, struct node_base *out)
{
    struct replica *r = arg;
    struct replica_position pos = {0};
    r->m.position(r->m.arg, &pos);
    *out = replica_base(&pos);
}

static void op_fatal(void *arg, const char *why)
{
    replica_fatal(arg, REPLICA_EXIT_INVARIANT, why);
}

const struct node_ops replica_node_ops = {
    .save_vote = op_save_vote,
    .send = op_send,
    .need_snapshot = op_need_snapshot,
    .install = op_install,
    .conf_changed = op_conf_changed,
    .base = op_base,
    .fatal = op_fatal,
};

/* --- who they are --- */

/* The log of one that joins begins with members of long ago, and one whose log is damaged may know
 * the first members only; whoever leads now need not be one of them. Until its own log names it, it
 * believes what a leader told it. */
static int is_newcomer(const struct replica *r)
{
    return r->o.is_join && conf_find(node_conf(r->node), r->self) < 0;
}

static const struct conf *current_conf(const struct replica *r)
{
    int has_own = !r->is_damaged && r->is_started && node_conf(r->node)->n > 0;
    if (has_own && (!is_newcomer(r) || r->hello.n == 0)) {
        return node_conf(r->node);
    }
    return r->hello.n > 0 ? &r->hello : &r->initial;
}

static void peer_fini(struct replica *r, struct peer *p)
{
    propose_session_lost(r,
                         p->m.id); /* the transport says nothing about those that leave the set */
    gate_session_lost(r, p->m.id);
    sending_stop(r, p);
    buf_fini(&p->results);
}

static void set_transport_peers(struct replica *r)
{
    struct transport_peer list[REPLICA_MEMBERS_MAX];
    for (size_t i = 0; i < r->n_peers; i++) {
        list[i] = (struct transport_peer){
            .id = r->peers[i].m.id, .name = r->peers[i].m.name, .address = r->peers[i].m.address};
    }
    if (r->transport != NULL) {
        transport_set_peers(r->transport, list, r->n_peers);
    }
}

void peers_refresh(struct replica *r)
{
    const struct conf *c = current_conf(r);
    size_t n = 0;
    for (size_t i = 0; i < r->n_peers; i++) {
        if (conf_find(c, r->peers[i].m.id) >= 0) {
            r->peers[n++] = r->peers[i];
        } else {
            peer_fini(r, &r->peers[i]);
        }
    }
    r->n_peers = n;
    for (size_t i = 0; i < c->n; i++) {
        const struct replica_member *m = &c->members[i];
        struct peer *p = peers_find(r, m->id);
        if (m->id == r->self) {
            continue;
        }
        if (p == NULL) {
            p = &r->peers[r->n_peers++];
            *p = (struct peer){.heard_at = -1};
            buf_init(&p->results);
        }
        p->m = *m;
    }
    set_transport_peers(r);
}

/* --- the transport's callbacks --- */

/* A newcomer cannot answer us before it knows where we are. */
static void tell_members(struct replica *r, struct peer *p)
{
    if (replica_is_leader(r) && p->is_up) {
        struct message m = {.type = MESSAGE_MEMBERS, .term = node_term(r->node)};
        struct buf b;
        buf_init(&b);
        conf_encode(&b, node_conf(r->node));
        peers_send(r, p->m.id, &m, buf_slice(&b));
        buf_fini(&b);
    }
}

/* Sessions may be older than our leading. */
void peers_tell_members(struct replica *r)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        tell_members(r, &r->peers[i]);
    }
}

static void on_session(void *arg, mu_node_id id, int is_up)
{
    struct replica *r = arg;
    struct peer *p = peers_find(r, id);
    if (p == NULL || r->is_closing) {
        return;
    }
    p->is_up = is_up;
    p->sent_commit = 0;
    if (!is_up) {
        sending_stop(r, p);
        propose_session_lost(r, id);
        gate_session_lost(r, id);
    } else {
        tell_members(r, p);
    }
    replica_touch(r);
}

static int is_allowed(void *arg, mu_node_id id, const char *name)
{
    struct replica *r = arg;
    const struct conf *c = node_conf(r->node);
    int self = conf_find(c, r->self);
    (void)name;
    /* One that does not vote yet may not have heard of the newest members either. */
    return conf_find(current_conf(r), id) >= 0 || r->is_damaged ||
           (r->o.is_join && (self < 0 || !c->members[self].is_voter));
}

static void cluster_id(void *arg, uint8_t out[16])
{
    struct replica *r = arg;
    memset(out, 0, 16);
    if (r->m.cluster_id != NULL) {
        r->m.cluster_id(r->m.arg, out);
    }
}

static void take_members(struct replica *r, const struct message *m)
{
    if ((r->is_damaged || node_conf(r->node)->n == 0 || is_newcomer(r)) &&
        conf_decode(m->members.conf, &r->hello) == 0) {
        peers_refresh(r);
    }
}

static void receive_raft(struct replica *r, mu_node_id from, const struct message *m)
{
    node_receive(r->node, from, m, clock_mono_ms());
    if (m->type == MESSAGE_APPEND && node_leader(r->node) == from) {
        r->leader_heard_at = clock_mono_ms();
    }
}

static void receive(struct replica *r, mu_node_id from, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_APPEND:
    case MESSAGE_APPEND_RESULT:
    case MESSAGE_VOTE:
    case MESSAGE_VOTE_RESULT:
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_COMMIT:
        receive_raft(r, from, m);
        return;
    case MESSAGE_CONFIRM:
        gate_confirm(r, from, m);
        return;
    case MESSAGE_CONFIRM_ACK:
        gate_ack(r, from, m);
        return;
    case MESSAGE_READ_INDEX:
        gate_read_index(r, from, m);
        return;
    case MESSAGE_READ_INDEX_RESULT:
        gate_read_index_result(r, m);
        return;
    case MESSAGE_FORWARD:
        propose_forwarded(r, from, m);
        return;
    case MESSAGE_FORWARD_RESULT:
        propose_result(r, m);
        return;
    case MESSAGE_MEMBERS:
        take_members(r, m);
        return;
    case MESSAGE_SNAPSHOT_BEGIN:
    case MESSAGE_SNAPSHOT_CHUNK:
        receiving_message(r, from, m);
        return;
    case MESSAGE_SNAPSHOT_ACK:
        sending_ack(r, from, m);
        return;
    case MESSAGE_REJOIN:
        sending_rejoin(r, from, m);
        return;
    case MESSAGE_SERVER:
        return;
    }
}

/* A damaged node takes no part: it only takes the snapshot that heals it, and hears who could send
 * it. */
static int is_for_damaged(uint8_t type)
{
    return type == MESSAGE_SNAPSHOT_BEGIN || type == MESSAGE_SNAPSHOT_CHUNK ||
           type == MESSAGE_MEMBERS || type == MESSAGE_SERVER;
}

static void on_frame(void *arg, mu_node_id from, uint8_t type, struct slice body)
{
    struct replica *r = arg;
    struct peer *p = peers_find(r, from);
    struct message m;
    if (r->is_closing || (r->is_damaged && !is_for_damaged(type))) {
        return;
    }
    if (p != NULL) {
        p->heard_at = clock_mono_ms();
    }
    replica_touch(r);
    if (type == MESSAGE_SERVER) {
        if (body.len >= 1) {
            r->m.message(r->m.arg, from, body.p[0], slice_of(body.p + 1, body.len - 1));
        }
        return;
    }
    if (message_decode(type, body, &r->scratch, &m) != 0) {
        log_debug("raft", "bad frame dropped", LOG_U64("from", from), LOG_U64("type", type));
        return;
    }
    receive(r, from, &m);
}

void replica_send(struct replica *r, mu_node_id to, uint8_t type, struct slice data)
{
    if (r->transport != NULL && !r->is_closing && transport_is_up(r->transport, to)) {
        struct slice parts[2] = {slice_of(&type, 1), data};
        transport_send(r->transport, to, MESSAGE_SERVER, parts, 2);
    }
}

int peers_open(struct replica *r, struct err *e)
{
    if (r->peer_listen != NULL) {
        struct transport_options t = {
            .loop = r->o.loop,
            .self = r->self,
            .self_name = r->name,
            .listen = r->peer_listen,
            .tls = r->o.tls,
            .allow_plaintext = r->o.allow_plaintext,
            .arg = r,
            .receive = on_frame,
            .session = on_session,
            .is_allowed = is_allowed,
            .cluster_id = cluster_id,
        };
        int rc = transport_open(&t, &r->transport, e);
        if (rc != 0) {
            return rc;
        }
    }
    peers_refresh(r);
    return 0;
}

int replica_reload_tls(struct replica *r, struct err *e)
{
    return r->transport != NULL ? transport_reload_tls(r->transport, e) : 0;
}
