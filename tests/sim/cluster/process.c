/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes: made, started, killed, cut from power, stopped in order. A node's code runs inside
 * node_run; when it says that it must die (fatal) or its power fails, control comes back here at
 * once and nothing of it is tidied up, as with a real process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "raft/replica_impl.h"
#include "tests/sim/cluster/world.h"

struct sim_node *node_find(mu_node_id id)
{
    for (int i = 0; i < world->n_nodes; i++) {
        if (world->nodes[i].id == id) {
            return &world->nodes[i];
        }
    }
    return NULL;
}

struct replica *node_replica(const struct sim_node *n)
{
    return n->is_up && n->core != NULL ? n->core->replica : NULL;
}

struct sim_node *node_leading(void)
{
    struct sim_node *best = NULL;
    mu_term term = 0;
    for (int i = 0; i < world->n_nodes; i++) {
        struct replica *r = node_replica(&world->nodes[i]);
        if (r != NULL && replica_is_leader(r) && node_term(r->node) > term) {
            best = &world->nodes[i];
            term = node_term(r->node);
        }
    }
    return best;
}

/* --- running a node's code --- */

void node_run(struct sim_node *n, sim_fn fn, void *arg, uint64_t arg2)
{
    struct sim_node *cur = world->cur;
    MU_INVARIANT(!world->can_die);
    world->cur = n;
    world->can_die = 1;
    if (setjmp(world->dying) == 0) {
        fn(arg, arg2);
        world->can_die = 0;
    } else {
        world->can_die = 0;
        node_fell(n, memdisk_is_off(n->mem) ? DEATH_POWER : DEATH_KILL);
    }
    world->cur = cur;
    if (n->is_up && memdisk_is_off(n->mem)) {
        node_fell(n, DEATH_POWER);
    }
}

static void on_fatal(int exit_code, const char *why)
{
    struct sim_node *n = world->cur;
    sim_trace("fatal", (uint64_t)n->nr, (uint64_t)exit_code);
    if (exit_code != REPLICA_EXIT_SYNC) {
        sim_bad("node %d stopped itself with %d: %s", n->nr, exit_code, why);
    }
    if (!world->can_die) {
        sim_bad("node %d: fatal outside its turn: %s", n->nr, why);
    }
    longjmp(world->dying, 1);
}

/* --- life --- */

/* The core's thread is the simulator. */
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
    (void)a, (void)fn, (void)arg;
    memset(out, 0, sizeof(*out));
    return 0;
}

int __wrap_pthread_setname_np(pthread_t t, const char *name);
int __wrap_pthread_setname_np(pthread_t t, const char *name)
{
    (void)t, (void)name;
    return 0;
}

int __wrap_pthread_join(pthread_t t, void **out);
int __wrap_pthread_join(pthread_t t, void **out)
{
    (void)t, (void)out;
    loop_drain(world->cur);
    return 0;
}

int __real_store_open(const struct store_options *o, struct store **out, int *out_was_reset,
                      struct err *e);
int __wrap_store_open(const struct store_options *o, struct store **out, int *out_was_reset,
                      struct err *e);
int __wrap_store_open(const struct store_options *o, struct store **out, int *out_was_reset,
                      struct err *e)
{
    struct store_options small = *o;
    small.map_initial = 32 << 20;
    small.request_ids = 1024;
    int rc = __real_store_open(&small, out, out_was_reset, e);
    world->cur->store = rc == 0 ? *out : NULL;
    return rc;
}

/* Reserving blocks in memory only takes time. */
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
    (void)mode;
    off_t end = lseek(fd, 0, SEEK_END);
    return end < offset + len ? ftruncate(fd, offset + len) : 0;
}

void __real_store_close(struct store *s, int is_clean);
void __wrap_store_close(struct store *s, int is_clean);
void __wrap_store_close(struct store *s, int is_clean)
{
    world->cur->store = NULL;
    __real_store_close(s, is_clean);
}

/* Few entries stay behind a snapshot, so that who was away needs one; and so few are under way that
 * this is still enough (G12). */
struct node *__real_node_new(const struct node_options *o);
struct node *__wrap_node_new(const struct node_options *o);
struct node *__wrap_node_new(const struct node_options *o)
{
    struct node_options few = *o;
    few.max_inflight = world->mix.has_snapshots ? 24 : o->max_inflight;
    return __real_node_new(&few);
}

mu_index __real_node_snapshotted(struct node *n, const struct node_base *s, unsigned trailing,
                                 int64_t now);
mu_index __wrap_node_snapshotted(struct node *n, const struct node_base *s, unsigned trailing,
                                 int64_t now);
mu_index __wrap_node_snapshotted(struct node *n, const struct node_base *s, unsigned trailing,
                                 int64_t now)
{
    world->out->snapshots++;
    return __real_node_snapshotted(n, s, world->mix.has_snapshots ? 32 : trailing, now);
}

void node_make(int nr, int is_join)
{
    struct sim_node *n = &world->nodes[nr];
    *n = (struct sim_node){.nr = nr, .is_made = 1, .is_learner_start = is_join};
    snprintf(n->name, sizeof(n->name), "n%d", nr);
    snprintf(n->address, sizeof(n->address), "n%d:1", nr);
    snprintf(n->dir, sizeof(n->dir), "%s/n%d", world->o.root, nr);
    (void)mkdir(n->dir, 0700);
    n->id = replica_id_of(n->name);
    n->mono_us = (int64_t)sim_below(1000000) * 1000;
    n->mono_at = world->now;
    n->turn_at = INT64_MAX;
    n->log.terms = mem_zalloc(LOG_MAX * sizeof(mu_term));
    disk_make(n);
    world->n_nodes = nr + 1 > world->n_nodes ? nr + 1 : world->n_nodes;
}

static void boot(void *arg, uint64_t nothing)
{
    struct sim_node *n = arg;
    struct err e = {0};
    (void)nothing;
    struct core_options o = {.data_dir = n->dir, .fatal = on_fatal, .disk_reserve_bytes = 1};
    o.replica = (struct replica_options){
        .name = n->name,
        .peer_listen = n->address,
        .initial = world->initial,
        .n_initial = (size_t)world->mix.n,
        .is_join = n->is_learner_start,
        .segment_bytes = 16384,
        .snapshot_log_bytes = world->mix.has_snapshots ? 8000 : 0,
        .allow_plaintext = 1,
    };
    struct core *c = NULL;
    int rc = core_start(&o, &c, &e);
    if (rc != 0 && (memdisk_is_off(n->mem) || strstr(e.text, "injected") != NULL)) {
        longjmp(world->dying, 1);
    }
    if (rc != 0) {
        sim_bad("node %d does not start: %s", n->nr, e.text);
    }
    n->core = c;
}

void node_boot(struct sim_node *n)
{
    if (n->is_up || n->is_gone || !n->is_made) {
        return;
    }
    sim_trace("boot", (uint64_t)n->nr, n->life);
    n->core = NULL;
    n->is_up = 1;
    n->turn_at = INT64_MAX;
    n->paused_until = 0;
    n->was_leader = 0;
    node_run(n, boot, n, 0);
    if (n->is_up) {
        oracle_booted(n);
        loop_wake(n, 1);
    }
}

static void forget_process(struct sim_node *n)
{
    n->life++;
    n->is_up = 0;
    n->core = NULL;
    n->loop = NULL;
    n->writer = NULL;
    n->transport = NULL;
    n->turn_at = INT64_MAX;
}

static mu_index durable_now(const struct sim_node *n)
{
    struct replica *r = node_replica(n);
    return r != NULL && r->wal != NULL ? wal_durable(r->wal) : n->durable_down;
}

void node_die(struct sim_node *n, enum death how)
{
    if (!n->is_up) {
        return;
    }
    sim_trace(how == DEATH_POWER ? "power lost" : "killed", (uint64_t)n->nr, n->life);
    world->out->crashes++;
    n->durable_down = durable_now(n);
    if (n->store != NULL) {
        __real_store_close(n->store, 0);
        n->store = NULL;
    }
    forget_process(n);
    if (how == DEATH_POWER) {
        disk_power_lost(n);
    } else {
        memdisk_on_kept(n->mem);
    }
    net_died(n, how == DEATH_POWER);
}

static void on_again(void *arg, uint64_t nothing)
{
    (void)nothing;
    node_boot(arg);
}

void node_fell(struct sim_node *n, enum death how)
{
    node_die(n, how);
    sim_at(world->now + sim_between(200000, 4000000), on_again, n, 0);
}

static void stop(void *arg, uint64_t nothing)
{
    struct sim_node *n = arg;
    (void)nothing;
    core_stop(n->core);
}

void node_stop(struct sim_node *n)
{
    if (!n->is_up || n->core == NULL) {
        return;
    }
    unsigned life = n->life;
    sim_trace("stop", (uint64_t)n->nr, n->life);
    node_run(n, stop, n, 0);
    if (n->is_up && n->life == life) {
        n->durable_down = n->log.last;
        forget_process(n);
        net_died(n, 0);
    }
}
