/* SPDX-License-Identifier: Apache-2.0 */
/* Keepers of leases: make one, keep it alive for a while through any node, let it go.
 *
 * A lease must not end before its time to live has passed since the last keep-alive that was
 * acknowledged was asked for; and one that was let go must end. */
#include "base/mem.h"
#include "tests/sim/cluster/world.h"

enum { KEEPERS_N = 3, LEASES_MAX = 512 };

struct kept {
    mu_lease_id id;
    int64_t ttl_ms, promised; /* not before this, on a clock that runs as it should */
    int64_t ended_at;         /* 0: lives */
    int left;                 /* keep-alives still to be sent */
    int is_made;
};

struct keeper {
    int nr;
    uint64_t seq;
    struct kept *lease;
};

struct keep_call {
    struct core_write w;
    struct core_keepalive k;
    struct keeper *keeper;
    struct kept *lease;
    int64_t asked, ttl, remaining;
    mu_lease_id id;
    uint64_t seq;
};

static struct keeper keepers[KEEPERS_N];
static struct kept leases[LEASES_MAX];
static int n_leases, is_stopping;

static void go_on(void *arg, uint64_t seq);

/* Clocks may be wrong by 1 in 100. */
static int64_t promise(int64_t asked, int64_t ttl_ms)
{
    return asked + ttl_ms * 1000 - ttl_ms * 30 - 5000;
}

void keepers_ended(mu_lease_id id)
{
    for (int i = 0; i < n_leases; i++) {
        struct kept *l = &leases[i];
        if (l->id == id && l->ended_at == 0) {
            l->ended_at = world->now;
            world->out->leases_ended++;
            if (world->now < l->promised) {
                sim_bad("lease %d ends %.3f s early", i, (double)(l->promised - world->now) / 1e6);
            }
        }
    }
}

static void later(struct keeper *k, int64_t us)
{
    k->seq++;
    sim_at(world->now + us, go_on, k, k->seq);
}

static void on_made(struct core_request *q)
{
    struct keep_call *c = CONTAINER_OF(q, struct keep_call, w.q);
    if (q->code == 0 && c->w.result.code == 0) {
        int64_t p = promise(c->asked, c->lease->ttl_ms);
        c->lease->is_made = 1;
        c->lease->promised = p > c->lease->promised ? p : c->lease->promised;
    }
    if (c->seq == c->keeper->seq) {
        if (q->code == 0) {
            later(c->keeper, c->lease->ttl_ms * 300);
        } else {
            c->keeper->lease = NULL;
            later(c->keeper, 500000);
        }
    }
    mem_free(c);
}

static void on_kept(struct core_request *q)
{
    struct keep_call *c = CONTAINER_OF(q, struct keep_call, k.q);
    struct kept *l = c->lease;
    if (q->code == 0 && c->ttl >= 0) {
        int64_t p = promise(c->asked, l->ttl_ms);
        world->out->keepalives_ok++;
        l->promised = p > l->promised ? p : l->promised;
        if (l->ended_at != 0 && l->ended_at < p) {
            sim_bad("lease %d was acknowledged as alive, and had ended %.3f s before its time",
                    (int)(l - leases), (double)(p - l->ended_at) / 1e6);
        }
    }
    if (c->seq == c->keeper->seq) {
        later(c->keeper, (int64_t)sim_below((uint64_t)l->ttl_ms * 600));
    }
    mem_free(c);
}

static struct keep_call *new_call(struct keeper *k)
{
    struct keep_call *c = mem_zalloc(sizeof(*c));
    c->keeper = k;
    c->lease = k->lease;
    c->asked = world->now;
    c->seq = k->seq;
    c->id = k->lease->id;
    return c;
}

static void make(struct keeper *k, struct sim_node *n)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    k->lease = &leases[n_leases++];
    *k->lease = (struct kept){.id = 1000 + (mu_lease_id)n_leases,
                              .ttl_ms = sim_between(800, 4000),
                              .left = (int)sim_below(12)};
    cmd->type = CMD_LEASE_GRANT;
    cmd->u.lease_grant = (struct cmd_lease_grant){k->lease->id, k->lease->ttl_ms};
    struct keep_call *c = new_call(k);
    c->w.q.reply = clients_box();
    c->w.q.done = on_made;
    world->cur = n;
    core_propose(n->core, &c->w, cmd, 2000);
    world->cur = NULL;
    mem_free(cmd);
}

static void keep(struct keeper *k, struct sim_node *n)
{
    struct keep_call *c = new_call(k);
    k->lease->left--;
    c->k.n = 1;
    c->k.ids = &c->id;
    c->k.out_ttl_ms = &c->ttl;
    c->k.out_remaining_ms = &c->remaining;
    c->k.q.reply = clients_box();
    c->k.q.done = on_kept;
    world->cur = n;
    core_keepalive(n->core, &c->k, 1000);
    world->cur = NULL;
}

static void go_on(void *arg, uint64_t seq)
{
    struct keeper *k = arg;
    struct sim_node *n = any_node();
    if (k->seq != seq || (is_stopping && k->lease == NULL)) {
        return;
    }
    later(k, 2500000); /* when nothing is answered */
    if (n == NULL) {
        return;
    }
    if (k->lease == NULL && n_leases < LEASES_MAX) {
        make(k, n);
    } else if (k->lease != NULL && k->lease->left > 0 && k->lease->ended_at == 0 && !is_stopping) {
        keep(k, n);
    } else {
        k->lease = NULL;
    }
}

void keepers_start(void)
{
    for (int i = 0; i < KEEPERS_N; i++) {
        keepers[i].nr = i;
        later(&keepers[i], sim_between(500000, 2000000));
    }
}

void keepers_stop(void)
{
    is_stopping = 1;
}

int keepers_left(void)
{
    int n = 0;
    for (int i = 0; i < n_leases; i++) {
        n += leases[i].is_made && leases[i].ended_at == 0;
    }
    return n;
}
