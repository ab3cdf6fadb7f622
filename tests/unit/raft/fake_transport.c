/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft/fake_transport.h"

#include <string.h>

#include <uv.h>

#include "base/mem.h"

enum { NODES = 16 };

struct frame {
    struct frame *next;
    mu_node_id from, to;
    uint64_t from_life, to_life;
    uint8_t type;
    size_t len;
    uint8_t body[];
};

struct transport {
    struct transport_options o;
    uint64_t life;
    uv_timer_t timer;
    void (*closed)(void *arg);
    void *closed_arg;
    mu_node_id peers[NODES];
    int is_up[NODES];
    uint64_t peer_life[NODES];
    size_t n_peers;
};

static struct transport *all[NODES];
static struct frame *head, **tail = &head;
static uint64_t lives;
static struct {
    mu_node_id a, b;
} cuts[64];
static size_t n_cuts;

static struct transport *find(mu_node_id id)
{
    for (size_t i = 0; i < NODES; i++) {
        if (all[i] != NULL && all[i]->o.self == id) {
            return all[i];
        }
    }
    return NULL;
}

void fake_cut(mu_node_id a, mu_node_id b, int is_cut)
{
    for (size_t i = 0; i < n_cuts; i++) {
        if (cuts[i].a == a && cuts[i].b == b) {
            if (!is_cut) {
                cuts[i] = cuts[--n_cuts];
            }
            return;
        }
    }
    if (is_cut) {
        cuts[n_cuts].a = a;
        cuts[n_cuts++].b = b;
    }
}

void fake_isolate(mu_node_id a, int is_cut)
{
    for (size_t i = 0; i < NODES; i++) {
        if (all[i] != NULL && all[i]->o.self != a) {
            fake_cut(a, all[i]->o.self, is_cut);
            fake_cut(all[i]->o.self, a, is_cut);
        }
    }
}

static mu_node_id only_of;
static uint8_t only_types[2];

void fake_only(mu_node_id a, uint8_t type1, uint8_t type2)
{
    only_of = type1 != 0 ? a : 0;
    only_types[0] = type1;
    only_types[1] = type2;
}

static int is_filtered(const struct frame *f)
{
    return only_of != 0 && (f->from == only_of || f->to == only_of) && f->type != only_types[0] &&
           f->type != only_types[1];
}

void fake_mend(void)
{
    only_of = 0;
    n_cuts = 0;
}

void fake_reset(mu_node_id a, mu_node_id b)
{
    for (size_t i = 0; i < NODES; i++) {
        for (size_t k = 0; all[i] != NULL && k < all[i]->n_peers; k++) {
            if ((all[i]->o.self == a && all[i]->peers[k] == b) ||
                (all[i]->o.self == b && all[i]->peers[k] == a)) {
                all[i]->peer_life[k] = 0;
            }
        }
    }
}

static int is_cut(mu_node_id a, mu_node_id b)
{
    for (size_t i = 0; i < n_cuts; i++) {
        if (cuts[i].a == a && cuts[i].b == b) {
            return 1;
        }
    }
    return 0;
}

/* Sessions follow who is there. */
static void refresh(struct transport *t)
{
    for (size_t i = 0; i < t->n_peers; i++) {
        struct transport *p = find(t->peers[i]);
        int is_there = p != NULL && p->o.is_allowed(p->o.arg, t->o.self, t->o.self_name);
        if (t->is_up[i] && (!is_there || t->peer_life[i] != p->life)) {
            t->is_up[i] = 0;
            t->o.session(t->o.arg, t->peers[i], 0);
        } else if (!t->is_up[i] && is_there) {
            t->is_up[i] = 1;
            t->peer_life[i] = p->life;
            t->o.session(t->o.arg, t->peers[i], 1);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct transport *t = timer->data;
    refresh(t);
    for (size_t n = 0; n < 1000 && head != NULL; n++) {
        struct frame *f = head;
        head = f->next;
        if (head == NULL) {
            tail = &head;
        }
        struct transport *to = find(f->to);
        if (to != NULL && to->life == f->to_life && !is_cut(f->from, f->to) && !is_filtered(f)) {
            to->o.receive(to->o.arg, f->from, f->type, slice_of(f->body, f->len));
        }
        mem_free(f);
    }
}

int transport_open(const struct transport_options *o, struct transport **out, struct err *e)
{
    struct transport *t = mem_zalloc(sizeof(*t));
    (void)e;
    t->o = *o;
    t->life = ++lives;
    uv_timer_init(o->loop, &t->timer);
    t->timer.data = t;
    uv_timer_start(&t->timer, on_timer, 1, 1);
    for (size_t i = 0; i < NODES; i++) {
        if (all[i] == NULL) {
            all[i] = t;
            break;
        }
    }
    *out = t;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct transport *t = h->data;
    t->closed(t->closed_arg);
    mem_free(t);
}

void transport_close(struct transport *t, void (*closed)(void *arg), void *arg)
{
    for (size_t i = 0; i < NODES; i++) {
        if (all[i] == t) {
            all[i] = NULL;
        }
    }
    t->closed = closed;
    t->closed_arg = arg;
    uv_close((uv_handle_t *)&t->timer, on_closed);
}

void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t n)
{
    struct transport old = *t;
    t->n_peers = n;
    for (size_t i = 0; i < n; i++) {
        t->peers[i] = peers[i].id;
        t->is_up[i] = 0;
        t->peer_life[i] = 0;
        for (size_t k = 0; k < old.n_peers; k++) {
            if (old.peers[k] == peers[i].id) {
                t->is_up[i] = old.is_up[k];
                t->peer_life[i] = old.peer_life[k];
            }
        }
    }
}

int transport_is_up(const struct transport *t, mu_node_id to)
{
    for (size_t i = 0; i < t->n_peers; i++) {
        if (t->peers[i] == to) {
            return t->is_up[i];
        }
    }
    return 0;
}

int transport_send(struct transport *t, mu_node_id to, uint8_t type, const struct slice *parts,
                   size_t n_parts)
{
    struct transport *p = find(to);
    size_t len = 0;
    if (!transport_is_up(t, to) || p == NULL) {
        return MU_E_CLOSED;
    }
    for (size_t i = 0; i < n_parts; i++) {
        len += parts[i].len;
    }
    MU_INVARIANT(len <= TRANSPORT_FRAME_MAX);
    struct frame *f = mem_alloc(sizeof(*f) + len);
    *f = (struct frame){.from = t->o.self, .to = to, .to_life = p->life, .type = type, .len = len};
    len = 0;
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].len > 0) {
            memcpy(f->body + len, parts[i].p, parts[i].len);
        }
        len += parts[i].len;
    }
    *tail = f;
    tail = &f->next;
    return 0;
}

uint64_t transport_queued(const struct transport *t, mu_node_id to)
{
    (void)t;
    (void)to;
    return 0;
}

int transport_reload_tls(struct transport *t, struct err *e)
{
    (void)t;
    (void)e;
    return 0;
}

void transport_flush(struct transport *t)
{
    (void)t;
}
