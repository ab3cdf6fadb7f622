/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot over what is there: the differences, as batches of ordinary operations.
 *
 * The whole archive is read and checked before the first batch. Then come, each against a view of
 * its own: what the snapshot has - nodes, services, checks, sessions, keys with their locks,
 * policies, roles, tokens, other records - and what it does not have goes. What is equal is left
 * alone. Not touched: members of the cluster, their serfHealth and their service consul; instances
 * without a node; configs of the native API.
 *
 * All calls may take long: not on a worker's thread. */
#pragma once

#include "base/err.h"
#include "storage/command/command.h"
#include "storage/view.h"

struct restore;

struct restore_options {
    struct store *store;
    const char *dir;  /* for the unpacked state */
    const char *self; /* this node: what stood on members that are not here goes to it */
    mu_lease_id (*lease_id)(void *arg); /* draws one */
    void *arg;
};

/* `file` is read here and not later. 0, or the first error of the archive. */
int restore_open(const struct restore_options *o, struct slice file, struct restore **out,
                 struct err *e);
void restore_free(struct restore *r); /* NULL is fine */

enum restore_step {
    RESTORE_DONE,
    RESTORE_BATCH, /* propose restore_ops, then restore_done or restore_again */
    RESTORE_WAIT,  /* plan again after restore_wait_ms: keys whose lock is delayed */
};
/* What comes next, or an error. */
int restore_plan(struct restore *r, struct err *e);
const struct op *restore_ops(const struct restore *r, size_t *out_n);
int64_t restore_wait_ms(const struct restore *r);
/* It was done; is_changed: it made a difference. */
void restore_done(struct restore *r, int is_changed);
/* It was refused: something changed meanwhile. The same place is looked at anew. 0, or -1 when that
 * was done too often. */
int restore_again(struct restore *r);

/* What an operation of the batch is about: "service db1". */
void restore_name_op(const struct restore *r, size_t op, char out[200]);

struct restore_count {
    uint64_t n_records; /* of the archive */
    uint64_t n_passed;  /* of kinds that are not here, and what hangs on things that are not */
    uint64_t n_changes; /* operations that were done */
};
void restore_count(const struct restore *r, struct restore_count *out);
