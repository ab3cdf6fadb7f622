/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas with a small state machine in one process and on one loop: a register machine that
 * remembers a chained hash of what it applied. Its state is a file beside the log, so that a
 * restart finds it; snapshots are that file. */
#pragma once

#include <uv.h>

#include "base/buf.h"
#include "raft/replica.h"

enum { KIT_NODES = 5 };

struct kit_node {
    struct kit *kit;
    int i, is_up, is_closed;
    char name[16], dir[256], address[32];
    struct disk *disk;
    struct replica *replica;
    struct kit_state {
        mu_index index, conf_index;
        mu_term term;
        uint64_t hash, n_commands;
        uint32_t conf_len;
        uint8_t conf[1024];
        uint8_t padding[]; /* makes a snapshot long enough for several chunks */
    } * state;
    uint64_t result_of[8192]; /* n_commands after the command at index & 8191 */
    enum replica_role role;
    mu_node_id leader;
    mu_term ready_term;
    mu_index loaded; /* index of the newest snapshot loaded */
    int n_snapshots, n_loads, is_disk_full, n_messages;
    char last_message[64];
    struct {
        uv_work_t work;
        char path[320];
        struct kit_state *state;
        int code;
    } taking;
};

struct kit {
    uv_loop_t loop;
    char dir[128];
    int n;
    struct replica_options options; /* taken for each node at its start */
    struct kit_node nodes[KIT_NODES];
    struct replica_member members[KIT_NODES];
    size_t state_bytes;
};

void kit_open(struct kit *k, int n);
void kit_close(struct kit *k);
void kit_start(struct kit *k, int i);
void kit_join(struct kit *k, int i); /* starts empty */
void kit_stop(struct kit *k, int i); /* orderly; on disk all is kept */
/* Runs the loop until fn gives 1; fails the test after ms. */
void kit_until(struct kit *k, int (*fn)(struct kit *k), int64_t ms, const char *what);
void kit_run(struct kit *k, int64_t ms);
struct kit_node *kit_leader(struct kit *k); /* ready, or NULL */
struct kit_node *kit_wait_leader(struct kit *k);
struct kit_node *kit_follower(struct kit *k); /* one that is up and follows */

struct kit_call {
    struct replica_proposal p;
    struct replica_read rd;
    int is_done, code;
    uint64_t result;
};
void kit_propose(struct kit_node *n, struct kit_call *c, const char *text, int64_t wait_ms);
/* Only while n leads. */
void kit_propose_local(struct kit_node *n, struct kit_call *c, const char *text, int64_t wait_ms);
void kit_read(struct kit_node *n, struct kit_call *c, int is_leader_only, int64_t wait_ms);
int kit_await(struct kit *k, struct kit_call *c); /* its code */
int kit_put(struct kit *k, struct kit_node *n, const char *text);
/* All nodes that are up have applied the same, up to at least the highest commit. */
void kit_wait_equal(struct kit *k);
