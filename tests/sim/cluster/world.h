/* SPDX-License-Identifier: Apache-2.0 */
/* A whole cluster in one thread: the real core, replica, log, store and hub of several nodes, over
 * an imagined loop, network, log writer, disk and clock.
 *
 * One world per process (a seed runs in a child). Time is virtual, in microseconds; everything that
 * happens is an event with a time, and every choice is drawn from the seed. */
#pragma once

#include <setjmp.h>

#include "base/clock.h"
#include "base/disk.h"
#include "base/mailbox.h"
#include "raft/wal.h"
#include "server/core/core_impl.h"
#include "tests/lib/linear.h"
#include "tests/lib/memdisk.h"

enum { NODES_MAX = 8, KEYS_N = 4, FAULTS_MAX = 64, LOG_MAX = 1 << 16 };

struct fake_loop;
struct writer;
struct transport;

/* What went on in a node's log, kept beside it. */
struct mirror {
    mu_index last;
    mu_term *terms; /* by index, LOG_MAX */
};

struct sim_node {
    int nr;
    char name[8], address[16], dir[64];
    mu_node_id id;
    int is_made, is_up, is_gone, is_starting, is_learner_start; /* gone: for ever */
    int is_flipped; /* its log was damaged and not yet healed */
    unsigned life;
    struct core *core;
    struct store *store;
    struct fake_loop *loop;
    struct writer *writer;
    struct transport *transport;
    struct memdisk *mem;
    struct disk disk, *real; /* disk: logs in memory, snapshots in a directory */
    char dirty[4][64];       /* snapshot files with bytes not synced */
    /* clocks */
    int64_t mono_us, mono_at; /* mono_us at moment mono_at */
    int64_t rate_ppm, wall_ms;
    int64_t turn_at, paused_until;
    int64_t disk_slow_until;
    /* what checks know */
    struct mirror log;
    mu_index synced, durable_down;
    mu_term seen_term;
    int was_leader;
    mu_term voted_term[2]; /* a vote leaves the node: in this term... */
    mu_node_id voted_for;
};

enum fault_kind {
    FAULT_KILL,
    FAULT_POWER,
    FAULT_POWER_WRITING,
    FAULT_POWER_ALL,
    FAULT_STOP,
    FAULT_PAUSE,
    FAULT_CUT,
    FAULT_CUT_ONE_WAY,
    FAULT_SPLIT,
    FAULT_RESET,
    FAULT_SLOW_DISK,
    FAULT_BAD_SYNC,
    FAULT_FLIP,
    FAULT_WALL,
    FAULT_RATE,
    FAULT_TRANSFER,
    FAULT_ADD,
    FAULT_REPLACE,
    FAULT_REMOVE,
    FAULT_SLOW_NET,
    FAULT_N
};

struct fault {
    int64_t at;
    enum fault_kind kind;
    int a, b; /* nodes; a < 0: who leads */
    int64_t ms;
    uint64_t salt;
    int is_dropped;
};

struct sim_options {
    uint64_t seed;
    int64_t fault_ms, heal_ms;
    int n_voters; /* 0: the seed says */
    int is_traced;
    uint64_t dropped[FAULTS_MAX / 64];
    char root[40]; /* directory of the nodes' stores */
};

struct sim_outcome {
    int is_bad;
    char why[600];
    uint64_t trace;
    uint64_t events, turns, writes_ok, writes_unknown, reads_ok, applied, elections, crashes,
        watched, compacted, leases_ended, keepalives_ok, snapshots, installs, changes, rejoins,
        virtual_us, faults;
    int n_faults;
};

/* One seed's character: which dangers there are. */
struct mix {
    int n, has_snapshots, has_members, has_damage, has_bias, has_clocks, has_cuts, has_crashes;
    int has_slow_net;
    int64_t think_us;
};

struct world {
    struct sim_options o;
    struct sim_outcome *out;
    struct mix mix;
    int64_t now;
    uint64_t rng, net_rng;
    struct sim_node nodes[NODES_MAX];
    int n_nodes;
    struct replica_member initial[NODES_MAX];
    struct sim_node *cur; /* whose code runs */
    jmp_buf dying;        /* cur stops here and now */
    int can_die;
    struct fault faults[FAULTS_MAX];
    int n_faults, is_healed;
    int64_t cut_until[NODES_MAX][NODES_MAX];
    int64_t net_slow_until;
    uint64_t trace;
};
extern struct world *world;

/* --- world.c: events, chance, clocks --- */
typedef void (*sim_fn)(void *arg, uint64_t n);
void sim_at(int64_t at, sim_fn fn, void *arg, uint64_t n);
int sim_step(void); /* 0: nothing more happens */
uint64_t sim_draw(uint64_t *state);
uint64_t sim_below(uint64_t n);
int sim_chance(unsigned percent);
int64_t sim_between(int64_t a, int64_t b);
void sim_trace(const char *what, uint64_t a, uint64_t b);
_Noreturn void sim_bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t sim_node_mono_us(const struct sim_node *n);
int64_t sim_when_mono(const struct sim_node *n, int64_t mono_ms); /* virtual time of that moment */

/* --- fakeuv.c --- */
void loop_turn(struct sim_node *n);
void loop_drain(struct sim_node *n); /* until all handles are closed */
void loop_wake(struct sim_node *n, int64_t delay_us);

/* --- fakenet.c --- */
int net_deliver(struct sim_node *n); /* frames and news that are due; how many */
void net_died(struct sim_node *n, int is_silent);
void net_cut(int a, int b, int64_t until);
void net_heal(void);
void net_reset(int a, int b);
int net_is_cut(int a, int b);

/* --- fakedisk.c --- */
void disk_make(struct sim_node *n);
void disk_power_lost(struct sim_node *n);
void disk_flip(struct sim_node *n, uint64_t salt);

/* --- process.c --- */
void node_make(int nr, int is_join);
void node_boot(struct sim_node *n);
void node_run(struct sim_node *n, sim_fn fn, void *arg, uint64_t arg2); /* as that node; may die */
enum death { DEATH_KILL, DEATH_POWER };
void node_die(struct sim_node *n, enum death how);
void node_fell(struct sim_node *n, enum death how); /* by itself: somebody starts it again */
void node_stop(struct sim_node *n);
struct sim_node *node_find(mu_node_id id);
struct sim_node *node_leading(void); /* of the highest term, or NULL */
struct replica *node_replica(const struct sim_node *n);

/* --- oracle.c --- */
void oracle_init(void);
void oracle_booted(struct sim_node *n);
void oracle_looked(struct sim_node *n); /* after every turn */
void oracle_sent(struct sim_node *from, mu_node_id to, uint8_t type, struct slice body);
void oracle_synced(struct sim_node *n, mu_index last);
void oracle_acked(mu_rev rev);
void oracle_end(void);
mu_index oracle_applied(void);
mu_rev oracle_revision(void);
/* The k-th change of configs there ever was; 0: there are no more yet. */
struct told {
    mu_rev rev;
    uint32_t sub;
    int key; /* number of the register */
    int is_delete;
};
int oracle_change(size_t k, struct told *out);
mu_rev oracle_compacted(void);

/* --- client.c, lease.c, watcher.c --- */
enum { BOX_N = 3 };
void clients_start(void);
void clients_stop(void); /* begin nothing new */
int clients_are_idle(void);
void clients_check(void); /* linearizable? */
void clients_final(void); /* a write and a read through every node */
int clients_final_left(void);
void clients_mail(void); /* what came back from nodes */
struct mailbox *clients_box(void);
void register_name(int key, char out[8], struct config_name *name);
int register_of(struct slice logical_key);
struct sim_node *any_node(void);
void watchers_start(void);
void watchers_check(void);
void keepers_start(void);
void keepers_stop(void);
void keepers_ended(mu_lease_id id);
int keepers_left(void);

/* --- faults.c --- */
void faults_plan(void);
void faults_start(void);
void faults_heal(void);
void fault_text(const struct fault *f, char *out, size_t cap);
void faults_leader_seen(struct sim_node *n);
int faults_members_left(void);

/* --- run.c --- */
void world_run(const struct sim_options *o, struct sim_outcome *out);
