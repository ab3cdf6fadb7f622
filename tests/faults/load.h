/* SPDX-License-Identifier: Apache-2.0 */
/* The clients that run against a cluster under faults. Each is a thread with a connection of its
 * own and records each of its operations; see tests/faults/history.h. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tests/faults/caller.h"
#include "tests/faults/history.h"

enum { LOAD_NODES_MAX = 9, LOAD_TIMEOUT_MS = 2500 };

struct load {
    struct place nodes[LOAD_NODES_MAX];
    int n_nodes;
    uint64_t seed;
    int pace_ms; /* a client waits up to this long between two operations */
    FILE *out;
    pthread_mutex_t lock;  /* of out */
    atomic_int is_over;    /* no new operations */
    atomic_ullong end_rev; /* not 0: watchers end when they are there */
    atomic_uint n_clients, n_streams;
    atomic_uint n_short; /* watchers that did not reach the end */
    atomic_ullong n_ops;
};

struct client {
    struct load *load;
    struct caller *caller;
    uint32_t process;
    int role; /* number among those that do the same */
    uint64_t random;
    uint64_t serial;
    int node; /* where the caller is aimed */
    pthread_t thread;
};

uint64_t load_random(struct client *c, uint64_t n); /* below n */
void load_pause(struct client *c, int ms);
/* A number that nobody else writes. */
uint64_t load_unique(struct client *c);
void load_switch(struct client *c); /* to another node */
void load_record(struct client *c, struct hist_op *o);
/* Begins an operation: process, node and time of call. */
struct hist_op load_begin(struct client *c, enum hist_kind kind, const char *key);
/* One read; changes the node when there is no answer. out is OK for 2xx, FAIL for 404, else NONE.
 */
struct reply load_get(struct client *c, const char *path, struct hist_op *o);

struct write {
    const char *method, *path, *body;
    char headers[160]; /* without the request id */
    int is_safe;       /* carries a request id, is repeated when the outcome is unknown */
};

/* One write with its repeats; fills out and rev of o and returns the last answer. */
struct reply load_write(struct client *c, const struct write *w, struct hist_op *o);

/* Reads a register; its value and revision, 0 when it is not there. OK or FAIL when that was told.
 */
enum hist_out load_read(struct client *c, const char *key, const char *query, uint64_t *value,
                        uint64_t *rev);

/* Workloads: until load->is_over. */
void load_register(struct client *c); /* tests/faults/load_config.c */
void load_append(struct client *c);
void load_lock(struct client *c);
void load_registry(struct client *c); /* tests/faults/load_service.c */
void load_lease(struct client *c);
void load_group(struct client *c); /* tests/faults/load_group.c */
void load_wait(struct client *c);  /* tests/faults/load_wait.c */
void load_watch(struct client *c); /* tests/faults/load_watch.c */
/* The list as it is at the end; FAIL: there is no such list, NONE: nobody answers. */
enum hist_out load_last_list(struct client *c, size_t which, uint64_t number);
/* At the end, with all nodes up: every key is read on every node. 0, or -1 when that is not
 * possible. */
int load_read_all(struct client *c); /* tests/faults/load_end.c */

enum { LOAD_KEYS = 6, LOAD_LISTS = 2, LOAD_SERVICES = 2, LOAD_INSTANCES = 4, LOAD_LOCKS = 2 };
uint64_t load_epoch(const struct load *l); /* workloads change their keys as it rises */
