/* SPDX-License-Identifier: Apache-2.0 */
/* What holds waiting proposals and reads. Intrusive: nothing is allocated but the table's slots. */
#pragma once

#include "raft/replica.h"

struct proposals {
    struct replica_proposal *head;
    struct replica_proposal **tail;
    size_t n;
};
void proposals_init(struct proposals *l);
void proposals_push(struct proposals *l, struct replica_proposal *p);
struct replica_proposal *proposals_pop(struct proposals *l);

/* Proposals by a number: their index on the leader, their seq on a forwarder. Several may share
 * one. */
struct table {
    struct replica_proposal **slots;
    size_t mask, n;
    int is_by_seq;
};
void table_init(struct table *t, int is_by_seq);
void table_fini(struct table *t);
void table_put(struct table *t, struct replica_proposal *p);
struct replica_proposal *table_take(struct table *t,
                                    uint64_t key); /* all with this key, linked by hash_next */
/* Take out those whose deadline has come (now = INT64_MAX: all), linked by hash_next. */
struct replica_proposal *table_expire(struct table *t, int64_t now);

struct reads {
    struct replica_read *head;
    struct replica_read **tail;
};
void reads_init(struct reads *l);
void reads_push(struct reads *l, struct replica_read *rd);
void reads_move(struct reads *to, struct reads *from);
