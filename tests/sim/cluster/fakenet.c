/* SPDX-License-Identifier: Apache-2.0 */
/* raft/transport.h between nodes of one process.
 *
 * What the contract promises holds: a session is a FIFO, dialled by the sender, and a new session
 * discards what the old one still had under way. Below that everything may happen: delay, stalls
 * of a lost packet, links that carry one way only (frames wait, and after PEER_DEAD_MS the session
 * breaks and they are lost), resets in the middle of a frame, processes that die loudly or
 * silently. */
#include "raft/transport.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/sim/cluster/world.h"

enum { DEAD_US = 3000 * 1000, RETRY_MIN_US = 50 * 1000, RETRY_MAX_US = 200 * 1000 };

struct frame {
    struct frame *next;
    int64_t at;
    size_t len;
    uint8_t type;
    uint8_t body[];
};

/* What is under way from one node to another; outlives the sender's process. */
struct pipe {
    struct frame *head, **tail;
    uint64_t epoch; /* of the session whose frames these are */
    uint64_t queued;
    int64_t last_at, cut_since; /* -1: not cut */
};

struct out {
    mu_node_id id;
    int nr;             /* of the node behind the address */
    int is_up, is_told; /* as the user was told */
    uint64_t epoch;
    int64_t dial_at;
};

struct transport {
    struct transport_options o;
    struct sim_node *node;
    unsigned life;
    struct out outs[NODES_MAX];
    size_t n_outs;
    uint64_t in_epoch[NODES_MAX]; /* the session that counts, of each sender */
    void (*closed)(void *arg);
    void *closed_arg;
    int is_closing;
};

static struct pipe pipes[NODES_MAX][NODES_MAX];
static uint64_t epochs;

static void dial_later(struct transport *t, struct out *o);

static struct pipe *pipe_of(int a, int b)
{
    struct pipe *p = &pipes[a][b];
    if (p->tail == NULL) {
        p->tail = &p->head;
        p->cut_since = -1;
    }
    return p;
}

static void pipe_clear(struct pipe *p)
{
    while (p->head != NULL) {
        struct frame *f = p->head;
        p->head = f->next;
        mem_free(f);
    }
    p->tail = &p->head;
    p->queued = 0;
}

int net_is_cut(int a, int b)
{
    return world->cut_until[a][b] > world->now;
}

/* --- sessions --- */

static struct out *out_find(const struct transport *t, mu_node_id id)
{
    for (size_t i = 0; i < t->n_outs; i++) {
        if (t->outs[i].id == id) {
            return (struct out *)(uintptr_t)&t->outs[i];
        }
    }
    return NULL;
}

/* Frames that had left already may still arrive, as long as no newer session did. */
static void break_session(struct transport *t, struct out *o)
{
    struct pipe *p = pipe_of(t->node->nr, o->nr);
    if (!o->is_up) {
        return;
    }
    o->is_up = 0;
    if (sim_chance(60)) {
        pipe_clear(p);
    }
    dial_later(t, o);
    loop_wake(t->node, 1);
}

static int is_listening(const struct sim_node *n)
{
    return n->is_up && n->transport != NULL && !n->transport->is_closing;
}

static int is_welcome(const struct transport *t, struct sim_node *to)
{
    struct sim_node *cur = world->cur;
    world->cur = to;
    int rc = to->transport->o.is_allowed(to->transport->o.arg, t->node->id, t->node->name);
    world->cur = cur;
    return rc;
}

static void on_dial(void *arg, uint64_t nr)
{
    struct transport *t = arg;
    struct sim_node *to = &world->nodes[nr];
    if (!t->node->is_up || t->node->transport != t || t->is_closing) {
        return;
    }
    for (size_t i = 0; i < t->n_outs; i++) {
        struct out *o = &t->outs[i];
        if (o->nr != (int)nr || o->is_up || o->dial_at > world->now) {
            continue;
        }
        if (!is_listening(to) || net_is_cut(t->node->nr, to->nr) ||
            net_is_cut(to->nr, t->node->nr) || to->paused_until > world->now ||
            !is_welcome(t, to)) {
            dial_later(t, o);
            continue;
        }
        struct pipe *p = pipe_of(t->node->nr, to->nr);
        pipe_clear(p);
        o->is_up = 1;
        o->epoch = p->epoch = ++epochs;
        p->last_at = 0;
        p->cut_since = -1;
        to->transport->in_epoch[t->node->nr] = o->epoch;
        loop_wake(t->node, sim_between(100, 3000));
    }
}

static void dial_later(struct transport *t, struct out *o)
{
    o->dial_at = world->now + sim_between(RETRY_MIN_US, RETRY_MAX_US);
    if (o->nr >= 0) {
        sim_at(o->dial_at, on_dial, t, (uint64_t)o->nr);
    }
}

static void tell_sessions(struct transport *t)
{
    for (size_t i = 0; i < t->n_outs && !t->is_closing; i++) {
        struct out *o = &t->outs[i];
        if (o->is_told != o->is_up) {
            o->is_told = o->is_up;
            sim_trace(o->is_up ? "session up" : "session down", (uint64_t)t->node->nr,
                      (uint64_t)o->nr);
            t->o.session(t->o.arg, o->id, o->is_up);
        }
    }
}

/* --- frames --- */

static int64_t delay(void)
{
    int64_t d = sim_between(100, 1500);
    if (world->net_slow_until > world->now) {
        d += sim_between(0, 120000);
    }
    return sim_chance(1) ? d + sim_between(20000, 300000) : d; /* a packet lost and sent again */
}

int transport_send(struct transport *t, mu_node_id to, uint8_t type, const struct slice *parts,
                   size_t n_parts)
{
    struct out *o = out_find(t, to);
    size_t len = 0;
    if (o == NULL || !o->is_up || !o->is_told) {
        return MU_E_CLOSED;
    }
    for (size_t i = 0; i < n_parts; i++) {
        len += parts[i].len;
    }
    MU_INVARIANT(len <= TRANSPORT_FRAME_MAX);
    struct frame *f = mem_alloc(sizeof(*f) + len);
    struct pipe *p = pipe_of(t->node->nr, o->nr);
    *f = (struct frame){.type = type, .len = len};
    for (size_t i = 0, at = 0; i < n_parts; at += parts[i++].len) {
        memcpy(f->body + at, parts[i].p, parts[i].len);
    }
    f->at = world->now + delay();
    f->at = f->at > p->last_at ? f->at : p->last_at;
    p->last_at = f->at;
    p->queued += len;
    *p->tail = f;
    p->tail = &f->next;
    oracle_sent(t->node, to, type, slice_of(f->body, len));
    loop_wake(&world->nodes[o->nr], f->at - world->now);
    return 0;
}

static int deliver_from(struct transport *t, int from)
{
    struct pipe *p = pipe_of(from, t->node->nr);
    int n = 0;
    while (p->head != NULL && p->head->at <= world->now && !net_is_cut(from, t->node->nr)) {
        struct frame *f = p->head;
        p->head = f->next;
        p->tail = p->head != NULL ? p->tail : &p->head;
        p->queued -= f->len;
        if (t->in_epoch[from] == p->epoch && !t->is_closing) {
            n++;
            t->o.receive(t->o.arg, world->nodes[from].id, f->type, slice_of(f->body, f->len));
        }
        mem_free(f);
    }
    if (p->head != NULL && !net_is_cut(from, t->node->nr)) {
        loop_wake(t->node, p->head->at - world->now);
    }
    return n;
}

int net_deliver(struct sim_node *n)
{
    struct transport *t = n->transport;
    int done = 0, first = (int)sim_below(NODES_MAX);
    if (t == NULL) {
        return 0;
    }
    if (t->is_closing) {
        void (*closed)(void *) = t->closed;
        n->transport = NULL;
        closed(t->closed_arg);
        return 0;
    }
    tell_sessions(t);
    for (int i = 0; i < NODES_MAX && n->transport == t; i++) {
        done += deliver_from(t, (first + i) % NODES_MAX);
    }
    return done;
}

/* --- what happens to links --- */

static struct out *out_to(int a, int b)
{
    struct transport *t = world->nodes[a].is_up ? world->nodes[a].transport : NULL;
    for (size_t i = 0; t != NULL && i < t->n_outs; i++) {
        if (t->outs[i].nr == b) {
            return &t->outs[i];
        }
    }
    return NULL;
}

/* A session whose either way has been cut for too long is over. */
static void on_dead(void *arg, uint64_t ab)
{
    int a = (int)(ab >> 8), b = (int)(ab & 0xff);
    struct pipe *p = pipe_of(a, b);
    struct out *o = out_to(a, b);
    (void)arg;
    if (o != NULL && p->cut_since >= 0 && world->now - p->cut_since >= DEAD_US &&
        (net_is_cut(a, b) || net_is_cut(b, a))) {
        break_session(world->nodes[a].transport, o);
    }
}

static void on_open(void *arg, uint64_t ab)
{
    int a = (int)(ab >> 8), b = (int)(ab & 0xff);
    (void)arg;
    if (!net_is_cut(a, b)) {
        if (!net_is_cut(b, a)) {
            pipe_of(a, b)->cut_since = pipe_of(b, a)->cut_since = -1;
        }
        loop_wake(&world->nodes[b], sim_between(1, 200000)); /* when TCP tries again */
    }
}

static void cut_seen(int a, int b)
{
    struct pipe *p = pipe_of(a, b);
    if (p->cut_since < 0) {
        p->cut_since = world->now;
    }
    sim_at(p->cut_since + DEAD_US, on_dead, NULL, (uint64_t)a << 8 | (uint64_t)b);
}

void net_cut(int a, int b, int64_t until)
{
    if (until > world->cut_until[a][b]) {
        world->cut_until[a][b] = until;
        cut_seen(a, b);
        cut_seen(b, a);
        sim_at(until, on_open, NULL, (uint64_t)a << 8 | (uint64_t)b);
    }
}

void net_heal(void)
{
    memset(world->cut_until, 0, sizeof(world->cut_until));
    for (int a = 0; a < NODES_MAX; a++) {
        for (int b = 0; b < NODES_MAX; b++) {
            on_open(NULL, (uint64_t)a << 8 | (uint64_t)b);
        }
    }
}

void net_reset(int a, int b)
{
    struct out *o = out_to(a, b);
    if (o != NULL) {
        break_session(world->nodes[a].transport, o);
    }
}

static void on_silent_death(void *arg, uint64_t ab)
{
    int a = (int)(ab >> 8), b = (int)(ab & 0xff);
    struct out *o = out_to(a, b);
    (void)arg;
    if (o != NULL && o->is_up &&
        (!world->nodes[b].is_up || world->nodes[b].transport == NULL ||
         world->nodes[b].transport->in_epoch[a] != o->epoch)) {
        break_session(world->nodes[a].transport, o);
    }
}

void net_died(struct sim_node *n, int is_silent)
{
    for (int a = 0; a < NODES_MAX; a++) {
        if (a != n->nr) {
            int64_t after = is_silent ? DEAD_US : sim_between(100, 5000);
            sim_at(world->now + after, on_silent_death, NULL, (uint64_t)a << 8 | (uint64_t)n->nr);
        }
    }
}

/* --- the rest of the contract --- */

static void resets_of_old(struct sim_node *n)
{
    for (int a = 0; a < NODES_MAX; a++) {
        sim_at(world->now + sim_between(100, 50000), on_silent_death, NULL,
               (uint64_t)a << 8 | (uint64_t)n->nr);
    }
}

int transport_open(const struct transport_options *o, struct transport **out, struct err *e)
{
    struct transport *t = mem_zalloc(sizeof(*t));
    (void)e;
    t->o = *o;
    t->node = world->cur;
    t->life = world->cur->life;
    world->cur->transport = t;
    resets_of_old(t->node); /* what was open to an earlier process is refused now */
    *out = t;
    return 0;
}

void transport_close(struct transport *t, void (*closed)(void *arg), void *arg)
{
    t->is_closing = 1;
    t->closed = closed;
    t->closed_arg = arg;
    for (size_t i = 0; i < t->n_outs; i++) {
        t->outs[i].is_up = 0;
    }
    net_died(t->node, 0);
}

static int nr_of(const char *address)
{
    for (int i = 0; i < world->n_nodes; i++) {
        if (strcmp(world->nodes[i].address, address) == 0) {
            return i;
        }
    }
    return -1;
}

static int is_in(const struct transport_peer *peers, size_t n, mu_node_id id)
{
    for (size_t i = 0; i < n; i++) {
        if (peers[i].id == id) {
            return 1;
        }
    }
    return 0;
}

static void refuse_strangers(struct transport *t)
{
    for (int a = 0; a < world->n_nodes; a++) {
        struct sim_node *n = &world->nodes[a];
        if (t->in_epoch[a] != 0 && !t->o.is_allowed(t->o.arg, n->id, n->name)) {
            t->in_epoch[a] = 0;
            sim_at(world->now + 500, on_silent_death, NULL,
                   (uint64_t)a << 8 | (uint64_t)t->node->nr);
        }
    }
}

void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n_outs; i++) {
        if (is_in(peers, n, t->outs[i].id)) {
            t->outs[kept++] = t->outs[i];
        } else if (t->outs[i].nr >= 0) {
            pipe_clear(pipe_of(t->node->nr, t->outs[i].nr));
        }
    }
    t->n_outs = kept;
    for (size_t i = 0; i < n; i++) {
        if (out_find(t, peers[i].id) == NULL) {
            struct out *o = &t->outs[t->n_outs++];
            *o = (struct out){.id = peers[i].id, .nr = nr_of(peers[i].address)};
            dial_later(t, o);
        }
    }
    refuse_strangers(t);
}

uint64_t transport_queued(const struct transport *t, mu_node_id to)
{
    const struct out *o = out_find(t, to);
    return o != NULL && o->nr >= 0 ? pipe_of(t->node->nr, o->nr)->queued : 0;
}

int transport_is_up(const struct transport *t, mu_node_id to)
{
    const struct out *o = out_find(t, to);
    return o != NULL && o->is_up && o->is_told;
}

int transport_reload_tls(struct transport *t, struct err *e)
{
    (void)t, (void)e;
    return 0;
}

int64_t transport_tls_not_after(const struct transport *t)
{
    (void)t;
    return 0;
}

void transport_flush(struct transport *t)
{
    (void)t;
}

const char *transport_why_down(const struct transport *t, mu_node_id to)
{
    (void)t, (void)to;
    return "";
}

uint16_t transport_port(const struct transport *t)
{
    (void)t;
    return 1;
}

void transport_stats(const struct transport *t, struct transport_stats *out)
{
    (void)t;
    *out = (struct transport_stats){0};
}
