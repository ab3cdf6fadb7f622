/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: what each command does to the rows. One function per command type, found in a
 * table.
 *
 * Reads no clock, no random, no configuration and no network, so that every node comes to the same
 * rows and the same results. Cannot fail: what a command may not do is its result. Runs on one
 * thread, inside the one write transaction. */
#pragma once

#include "storage/meta.h"

struct apply;

/* The last `request_limit` request ids are remembered: the same number on all nodes. */
struct apply *apply_new(uint32_t request_limit);
void apply_free(struct apply *a);
/* Forget the remembered request ids and read them anew: after opening or replacing the store.
 * CORRUPT, IO. */
int apply_load(struct apply *a, struct db_txn *t);

/* One transaction: begin, entries in order, end. `m` is what the store stands for and moves on with
 * the entries. */
void apply_begin(struct apply *a, struct db_txn *t, struct meta *m);
void apply_entry(struct apply *a, const struct store_entry *entry, store_result_fn fn, void *arg);
/* The changes stay valid until the next apply_begin. Writes `m`. */
void apply_end(struct apply *a, struct change_set *out_changes);
