/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong, when, and for how long: planned from the seed before anything runs, so that one
 * of the faults can be left out and all others stay. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "raft/replica_impl.h"
#include "tests/sim/cluster/world.h"

static const char *const names[FAULT_N] = {
    "kill",
    "power lost",
    "power lost in a write",
    "power lost everywhere",
    "stop",
    "pause",
    "cut",
    "cut one way",
    "split",
    "reset",
    "slow disk",
    "failed sync",
    "flipped bit",
    "wall clock jumps",
    "clock rate",
    "transfer",
    "add",
    "replace",
    "remove",
    "slow network",
};

/* --- planning --- */

static int is_in_mix(const struct mix *m, enum fault_kind k)
{
    switch (k) {
    case FAULT_KILL:
    case FAULT_POWER:
    case FAULT_POWER_WRITING:
    case FAULT_POWER_ALL:
    case FAULT_STOP:
    case FAULT_BAD_SYNC:
        return m->has_crashes;
    case FAULT_CUT:
    case FAULT_CUT_ONE_WAY:
    case FAULT_SPLIT:
    case FAULT_RESET:
        return m->has_cuts;
    case FAULT_FLIP:
        return m->has_damage;
    case FAULT_WALL:
    case FAULT_RATE:
    case FAULT_PAUSE:
        return m->has_clocks;
    case FAULT_ADD:
    case FAULT_REPLACE:
    case FAULT_REMOVE:
        return m->has_members;
    case FAULT_SLOW_NET:
        return m->has_slow_net;
    default:
        return 1;
    }
}

static void choose_mix(struct mix *m, uint64_t *rng)
{
    *m = (struct mix){.n = sim_draw(rng) % 4 == 0 ? 5 : 3};
    m->n = world->o.n_voters != 0 ? world->o.n_voters : m->n;
    m->has_snapshots = sim_draw(rng) % 2 != 0;
    m->has_members = sim_draw(rng) % 5 == 0;
    m->has_damage = sim_draw(rng) % 5 == 0;
    m->has_bias = sim_draw(rng) % 4 == 0;
    m->has_clocks = sim_draw(rng) % 2 != 0;
    m->has_cuts = sim_draw(rng) % 4 != 0;
    m->has_crashes = sim_draw(rng) % 4 != 0;
    m->has_slow_net = sim_draw(rng) % 3 == 0;
    m->think_us = 60000 + (int64_t)(sim_draw(rng) % 800000);
}

static void plan_one(struct fault *f, uint64_t *rng)
{
    do {
        f->kind = (enum fault_kind)(sim_draw(rng) % FAULT_N);
    } while (!is_in_mix(&world->mix, f->kind));
    f->at = 1500000 + (int64_t)(sim_draw(rng) % (uint64_t)(world->o.fault_ms * 1000));
    f->a = sim_draw(rng) % 2 != 0 ? -1 : (int)(sim_draw(rng) % (uint64_t)world->mix.n);
    f->b = (int)(sim_draw(rng) % (uint64_t)world->mix.n);
    f->ms = 20 + (int64_t)(sim_draw(rng) % 1500);
    if (sim_draw(rng) % 4 == 0) {
        f->ms += (int64_t)(sim_draw(rng) % 8000); /* long ones: sessions and leases run out */
    }
    f->salt = sim_draw(rng);
}

void faults_plan(void)
{
    uint64_t rng = world->o.seed * UINT64_C(0x2545f4914f6cdd1d) + 17;
    choose_mix(&world->mix, &rng);
    world->n_faults = 4 + (int)(sim_draw(&rng) % 24);
    for (int i = 0; i < world->n_faults; i++) {
        plan_one(&world->faults[i], &rng);
        world->faults[i].is_dropped = (world->o.dropped[i / 64] >> (i % 64) & 1) != 0;
    }
    world->out->n_faults = world->n_faults;
}

void fault_text(const struct fault *f, char *out, size_t cap)
{
    char who[24] = "the leader";
    if (f->a >= 0) {
        snprintf(who, sizeof(who), "node %d", f->a);
    }
    snprintf(out, cap, "%.3f s %s: %s (%d), %.3f s", (double)f->at / 1e6, names[f->kind], who, f->b,
             (double)f->ms / 1e3);
}

/* --- nodes --- */

static void on_boot(void *arg, uint64_t nr)
{
    (void)arg;
    node_boot(&world->nodes[nr]);
}

static void boot_later(const struct sim_node *n, int64_t ms)
{
    sim_at(world->now + ms * 1000, on_boot, NULL, (uint64_t)n->nr);
}

static int is_anyone_hurt(void)
{
    for (int i = 0; i < world->n_nodes; i++) {
        if (world->nodes[i].is_flipped || world->nodes[i].is_gone) {
            return 1;
        }
    }
    return 0;
}

static void flip(struct sim_node *n, const struct fault *f)
{
    if (is_anyone_hurt() || !n->is_up) {
        return;
    }
    node_die(n, f->salt % 2 != 0 ? DEATH_KILL : DEATH_POWER);
    n->is_flipped = 1;
    disk_flip(n, f->salt);
    boot_later(n, f->ms);
}

static void power_all(const struct fault *f)
{
    uint64_t salt = f->salt;
    for (int i = 0; i < world->n_nodes; i++) {
        struct sim_node *n = &world->nodes[i];
        if (n->is_up) {
            node_die(n, DEATH_POWER);
            boot_later(n, f->ms / 2 + (int64_t)(sim_draw(&salt) % 500));
        }
    }
}

/* --- links --- */

static void cut_off(int a, int64_t ms, int ways)
{
    for (int b = 0; b < NODES_MAX; b++) {
        if (b != a && (ways & 1) != 0) {
            net_cut(a, b, world->now + ms * 1000);
        }
        if (b != a && (ways & 2) != 0) {
            net_cut(b, a, world->now + ms * 1000);
        }
    }
}

static void split(const struct fault *f)
{
    for (int a = 0; a < NODES_MAX; a++) {
        for (int b = 0; b < NODES_MAX; b++) {
            if (a != b && (f->salt >> a & 1) != (f->salt >> b & 1)) {
                net_cut(a, b, world->now + f->ms * 1000);
            }
        }
    }
}

/* --- members: one operation after the other, issued again until it is done --- */

struct member_change {
    int newcomer; /* node, -1: none */
    int victim;   /* node, -1: none */
};

static struct member_change changes[FAULTS_MAX];
static int n_changes, n_changes_done;

static int is_member(const struct conf *c, int nr, int *out_votes)
{
    int i = nr >= 0 ? conf_find(c, world->nodes[nr].id) : -1;
    *out_votes = i >= 0 && c->members[i].is_voter;
    return i >= 0;
}

static int is_done(const struct replica *r, const struct member_change *c)
{
    int votes, dummy;
    const struct conf *conf = node_conf(r->node);
    int is_in = is_member(conf, c->newcomer, &votes);
    return node_is_conf_committed(r->node) && (c->newcomer < 0 || (is_in && votes)) &&
           (c->victim < 0 || !is_member(conf, c->victim, &dummy));
}

static void as_leader(void *arg, uint64_t n)
{
    struct member_change *c = arg;
    struct replica *r = node_replica(world->cur);
    mu_node_id out = c->victim >= 0 ? world->nodes[c->victim].id : 0;
    (void)n;
    if (c->newcomer >= 0) {
        struct replica_member m = {.id = world->nodes[c->newcomer].id};
        snprintf(m.name, sizeof(m.name), "%s", world->nodes[c->newcomer].name);
        snprintf(m.address, sizeof(m.address), "%s", world->nodes[c->newcomer].address);
        replica_member_add(r, &m, out, NULL, NULL);
    } else {
        replica_member_remove(r, out, NULL, NULL);
    }
    loop_wake(world->cur, 1);
}

static void as_node_transfer(void *arg, uint64_t n)
{
    (void)arg, (void)n;
    replica_transfer(node_replica(world->cur), 0, NULL, NULL);
    loop_wake(world->cur, 1);
}

static void on_member_step(void *arg, uint64_t n)
{
    struct sim_node *leader = node_leading();
    (void)arg, (void)n;
    if (n_changes_done == n_changes) {
        return;
    }
    struct member_change *c = &changes[n_changes_done];
    sim_at(world->now + 300000, on_member_step, NULL, 0);
    if (leader == NULL || leader->paused_until > world->now) {
        return;
    }
    struct replica *r = node_replica(leader);
    if (is_done(r, c)) {
        n_changes_done++;
        world->out->changes++;
        if (c->victim >= 0 && !world->nodes[c->victim].is_gone) {
            world->nodes[c->victim].is_gone = 1;
            node_die(&world->nodes[c->victim], DEATH_KILL);
        }
    } else if (!members_is_busy(r)) {
        if (leader->nr == c->victim) {
            node_run(leader, as_node_transfer, NULL, 0);
        } else {
            node_run(leader, as_leader, c, 0);
        }
    }
}

static int count_alive_members(void)
{
    int n = 0;
    for (int i = 0; i < world->n_nodes; i++) {
        n += !world->nodes[i].is_gone;
    }
    return n;
}

/* A fault of another kind may have taken the same node; only one member is gone for ever at a time.
 */
static void change_members(const struct fault *f, int nr)
{
    struct member_change c = {-1, -1};
    if (n_changes != n_changes_done || n_changes == FAULTS_MAX) {
        return;
    }
    if (f->kind != FAULT_REMOVE) {
        if (world->n_nodes == NODES_MAX) {
            return;
        }
        c.newcomer = world->n_nodes;
        node_make(c.newcomer, 1);
        node_boot(&world->nodes[c.newcomer]);
    } else if (count_alive_members() <= 3) {
        return;
    }
    if (f->kind != FAULT_ADD) {
        c.victim = nr;
    }
    if (f->kind == FAULT_REPLACE) {
        if (is_anyone_hurt()) {
            c.victim = -1; /* growth only: the newcomer does not vote yet */
        } else {
            node_die(&world->nodes[nr], DEATH_POWER);
            world->nodes[nr].is_gone = 1;
        }
    }
    changes[n_changes++] = c;
    sim_at(world->now + 100000, on_member_step, NULL, 0);
}

int faults_members_left(void)
{
    return n_changes - n_changes_done;
}

/* --- striking --- */

static void strike_disk(struct sim_node *n, const struct fault *f)
{
    if (f->kind == FAULT_SLOW_DISK) {
        n->disk_slow_until = world->now + f->ms * 2000;
    } else if (f->kind == FAULT_BAD_SYNC) {
        memdisk_fail_sync(n->mem, 1 + (unsigned)(f->salt % 3), MU_E_IO);
    } else {
        memdisk_off_at(n->mem, 1 + (unsigned)(f->salt % 6));
    }
}

static void strike_clock(struct sim_node *n, const struct fault *f)
{
    if (f->kind == FAULT_PAUSE) {
        n->paused_until = world->now + f->ms * 1000;
    } else if (f->kind == FAULT_WALL) {
        n->wall_ms += (int64_t)(f->salt % 7200000) - 3600000;
    } else {
        n->mono_us = sim_node_mono_us(n);
        n->mono_at = world->now;
        n->rate_ppm = (int64_t)(f->salt % 20000) - 10000;
        loop_wake(n, 1);
    }
}

static void strike_net(int nr, const struct fault *f)
{
    switch (f->kind) {
    case FAULT_CUT:
        cut_off(nr, f->ms, 3);
        return;
    case FAULT_CUT_ONE_WAY:
        cut_off(nr, f->ms, 1 + (int)(f->salt & 1));
        return;
    case FAULT_SPLIT:
        split(f);
        return;
    case FAULT_RESET:
        net_reset(nr, f->b);
        net_reset(f->b, nr);
        return;
    default:
        world->net_slow_until = world->now + f->ms * 1000;
    }
}

static void strike_node(struct sim_node *n, const struct fault *f)
{
    switch (f->kind) {
    case FAULT_KILL:
    case FAULT_POWER:
        node_die(n, f->kind == FAULT_KILL ? DEATH_KILL : DEATH_POWER);
        boot_later(n, f->ms);
        return;
    case FAULT_STOP:
        node_stop(n);
        boot_later(n, f->ms);
        return;
    case FAULT_POWER_ALL:
        power_all(f);
        return;
    case FAULT_FLIP:
        flip(n, f);
        return;
    case FAULT_TRANSFER:
        if (node_replica(n) != NULL) {
            node_run(n, as_node_transfer, NULL, 0);
        }
        return;
    default:
        return;
    }
}

static void on_fault(void *arg, uint64_t i)
{
    const struct fault *f = &world->faults[i];
    struct sim_node *leader = node_leading();
    (void)arg;
    if (world->is_healed || f->is_dropped) {
        return;
    }
    int nr = f->a >= 0 ? f->a : leader != NULL ? leader->nr : f->b;
    struct sim_node *n = &world->nodes[nr];
    sim_trace(names[f->kind], (uint64_t)nr, (uint64_t)f->ms);
    switch (f->kind) {
    case FAULT_SLOW_DISK:
    case FAULT_BAD_SYNC:
    case FAULT_POWER_WRITING:
        strike_disk(n, f);
        return;
    case FAULT_PAUSE:
    case FAULT_WALL:
    case FAULT_RATE:
        strike_clock(n, f);
        return;
    case FAULT_ADD:
    case FAULT_REPLACE:
    case FAULT_REMOVE:
        change_members(f, nr);
        return;
    case FAULT_CUT:
    case FAULT_CUT_ONE_WAY:
    case FAULT_SPLIT:
    case FAULT_RESET:
    case FAULT_SLOW_NET:
        strike_net(nr, f);
        return;
    default:
        strike_node(n, f);
    }
}

void faults_start(void)
{
    for (int i = 0; i < world->n_faults; i++) {
        sim_at(world->faults[i].at, on_fault, NULL, (uint64_t)i);
    }
}

/* Figure 8 wants leaders that are cut off at, or just after, their election. */
static void on_bias(void *arg, uint64_t nr)
{
    struct sim_node *n = &world->nodes[nr];
    (void)arg;
    if (world->is_healed) {
        return;
    }
    if (sim_chance(30) && n->is_up) {
        node_die(n, sim_chance(50) ? DEATH_KILL : DEATH_POWER);
        boot_later(n, sim_between(50, 2500));
    } else {
        cut_off((int)nr, sim_between(300, 2500), sim_chance(70) ? 3 : 1);
    }
}

void faults_leader_seen(struct sim_node *n)
{
    if (world->mix.has_bias && !world->is_healed && world->now > 1500000 && sim_chance(50)) {
        sim_at(world->now + (sim_chance(50) ? 1 : sim_between(100, 30000)), on_bias, NULL,
               (uint64_t)n->nr);
    }
}

void faults_heal(void)
{
    world->is_healed = 1;
    world->net_slow_until = 0;
    net_heal();
    for (int i = 0; i < world->n_nodes; i++) {
        struct sim_node *n = &world->nodes[i];
        memdisk_off_at(n->mem, 0);
        memdisk_fail_sync(n->mem, 0, 0);
        n->disk_slow_until = n->paused_until = 0;
        if (n->is_up) {
            loop_wake(n, 1);
        } else {
            node_boot(n);
        }
    }
}
