/* SPDX-License-Identifier: Apache-2.0 */
/* A change of records that depends on what is there: first the store here is as new as the
 * leader's, then `plan` looks and makes the operations, then they are one transaction. */
#pragma once

#include "server/consul/consul_impl.h"
#include "storage/view_kv.h"

enum { CHANGE_OPS_MAX = 16 };

struct consul_change;
/* 0, or the error was answered. */
typedef int (*consul_change_plan_fn)(struct consul_change *h, struct view *v);

struct consul_change {
    struct consul_call k;
    void *data;
    struct op ops[CHANGE_OPS_MAX];
    size_t n;
    /* private */
    consul_change_plan_fn plan;
    consul_written_fn done; /* its data is the change */
    struct core_read gate;
};

struct consul_change *consul_change_new(struct consul_call *k, void *data);
void consul_change_start(struct consul_change *h, consul_change_plan_fn plan,
                         consul_written_fn done);
/* All copied. `expect`: the revision that is there, 0 = none. */
void consul_change_set(struct consul_change *h, struct slice kind, struct slice name,
                       struct slice body);
void consul_change_cas(struct consul_change *h, struct slice kind, struct slice name,
                       struct slice body, mu_rev expect);
void consul_change_delete(struct consul_change *h, struct slice kind, struct slice name);
void consul_change_delete_cas(struct consul_change *h, struct slice kind, struct slice name,
                              mu_rev expect);

/* 1 when it was done; 0 when a condition did not hold; else -1 and the error was answered. */
int consul_change_outcome(struct consul_write *w);

enum { UUID_SIZE = 36 };
void consul_uuid(char out[UUID_SIZE + 1]); /* random */
int consul_is_uuid(struct slice s);

/* A stored object with CreateIndex and ModifyIndex. */
void consul_record_show(struct jw *w, const struct record_row *row);
/* Reads one kind of records: its range is watched, and no other. */
void consul_record_watch(struct consul_read *g, struct slice kind);
