/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster of nodes in one thread: one seed, one queue of events, imagined disks, links and
 * clocks.
 *
 * What is real: raft/node.c with its guards, the engine, the configuration codec. What is imagined:
 * time, the network (loss, duplicates, delay, reordering, cut links one way), the disk (un-synced
 * writes lost, kept or half kept), the state machine (a chained hash). */
#pragma once

#include "raft/node.h"
#include "tests/sim/memwal.h"

enum { SIM_NODES_MAX = 8, SIM_INDEX_MAX = 1 << 16 };

struct sim_options {
    uint64_t seed;
    int n;            /* voters at first */
    int64_t fault_ms; /* then all is healed */
    unsigned guards_off;
    int is_fifo; /* links keep the order and repeat nothing */
    int has_snapshots, has_members, has_bias, is_vote_lost;
    int has_damage, is_naive; /* logs lose their end; and go on as if nothing were */
    int is_unruly;            /* members change against the rules */
    int is_verbose;
};

struct sim_stats {
    uint64_t elections, commits, crashes, messages, steps, installs, snapshots, changes, damages,
        virtual_ms;
};

/* NULL when all held, else what was violated (valid until the next run). */
const char *sim_run(const struct sim_options *o, struct sim_stats *stats);
