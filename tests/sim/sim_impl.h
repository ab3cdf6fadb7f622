/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the simulator's files. */
#pragma once

#include "tests/sim/sim.h"

enum { SIM_EVENT_MESSAGE = 1, SIM_EVENT_DISK = 2 };

struct sim_snapshot {
    mu_index index, conf_index;
    mu_term term;
    uint64_t hash;
    size_t conf_len;
    uint8_t conf[1024];
};

struct sim_message {
    int refs, from, to, is_snapshot;
    struct message m;
    struct sim_snapshot snapshot;
    struct buf frame; /* the encoded message: what is delivered went through the codec */
};

struct sim_event {
    int64_t at;
    uint64_t order;
    int kind, node;
    uint64_t epoch;
    struct sim_message *message;
};

struct sim_node {
    struct sim *sim;
    int i, is_up, exists;
    uint64_t epoch;
    mu_node_id id;
    char name[16];
    struct node *node;
    struct wal *wal;
    struct wal_op *running;
    int64_t restart_at, skew;
    /* disk */
    struct memdisk disk;
    mu_term term;
    mu_node_id vote;
    struct sim_snapshot stored;   /* snapshot file */
    struct sim_snapshot received; /* file that came last */
    struct sim_snapshot saved;    /* what the store held at its last sync */
    /* memory */
    struct sim_snapshot state; /* of the machine now */
    struct sim_snapshot incoming;
    int is_installing, is_damaged;
    struct sim_node *asked; /* a damaged node's leader, what it was asked in, and for */
    mu_term asked_term;
    mu_index asked_up_to;
    uint64_t install_op, ops_taken, ops_done;
    mu_term led_term;
    struct message_scratch scratch;
};

struct sim {
    struct sim_options o;
    struct sim_stats *stats;
    int64_t now;
    uint64_t rnd, order;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_event *heap;
    size_t n_heap, heap_cap;
    int cut[SIM_NODES_MAX][SIM_NODES_MAX];
    int64_t link_at[SIM_NODES_MAX][SIM_NODES_MAX];
    uint32_t drop, dup, delay, disk_ms; /* drop, dup: per mille */
    int is_faulty;
    int64_t isolate_at;
    int isolate;
    uint64_t value;
    mu_index probe;
    char violation[256];
};

extern struct sim *sim_now; /* one runs at a time */

uint32_t sim_rnd(uint32_t n);
int sim_chance(uint32_t per_mille);
void sim_violated(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_push(struct sim *s, struct sim_event e);
struct sim_event sim_pop(struct sim *s);
struct sim_node *sim_by_id(struct sim *s, mu_node_id id);

/* sim_net.c */
extern const struct node_ops sim_ops;
void sim_deliver(struct sim *s, struct sim_message *m);
void sim_message_unref(struct sim_message *m);
/* sim_check.c: the truth that all copies are held against */
void check_reset(void);
void check_appended(struct sim *s, struct sim_node *n, mu_index i);
void check_leader(struct sim *s, struct sim_node *n);
void check_commit(struct sim *s, struct sim_node *n);
void check_applied(struct sim *s, struct sim_node *n);
mu_index check_highest(void);
/* sim_members.c */
void sim_change_members(struct sim *s);
void sim_check_members(struct sim *s, struct sim_node *l);
/* sim_damage.c */
void sim_damage(struct sim *s);
int sim_rejoin(struct sim *s, struct sim_node *n);
/* sim.c */
void sim_boot(struct sim_node *n);
void sim_settle(struct sim_node *n); /* after each input: disk, apply, checks */
