/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the command functions. */
#pragma once

#include "storage/apply/apply.h"
#include "storage/apply/requests.h"
#include "storage/db/longkey.h"
#include "storage/event.h"

struct apply {
    struct db_txn *txn;
    struct meta *meta;
    struct requests requests;
    struct command command; /* decoded here: it is large */

    /* of the command under way */
    mu_rev rev;         /* the revision it makes if it changes a row */
    uint32_t n_changed; /* rows so far */
    int64_t wall_ms;

    /* scratch, reused */
    struct buf key; /* of the row the command is about */
    struct buf service_key;
    struct buf lease_key;
    struct buf row;     /* the new one */
    struct buf old_row; /* the one before, when it was stored in pieces */
    struct buf stored_lease;
    struct meta_compact compact;

    /* what apply_end hands out */
    struct buf change_keys;
    struct change *changes;
    size_t n_changes, cap_changes;
};

typedef void (*apply_fn)(struct apply *a, const struct command *c, struct command_result *r);

void apply_config_put(struct apply *a, const struct command *c, struct command_result *r);
void apply_config_delete(struct apply *a, const struct command *c, struct command_result *r);
void apply_instance_put(struct apply *a, const struct command *c, struct command_result *r);
void apply_instance_delete(struct apply *a, const struct command *c, struct command_result *r);
void apply_instance_health(struct apply *a, const struct command *c, struct command_result *r);
void apply_lease_grant(struct apply *a, const struct command *c, struct command_result *r);
void apply_lease_revoke(struct apply *a, const struct command *c, struct command_result *r);
void apply_lease_steps(struct apply *a, const struct command *c, struct command_result *r);
void apply_compact(struct apply *a, const struct command *c, struct command_result *r);

/* ---- rows (row.c) ---- */

/* A logical key and its current row. Borrowed: the row until the next row_write, the key from the
 * caller. */
struct row_at {
    struct slice key;
    struct event stored;  /* empty when there is none */
    struct row_meta meta; /* zero when there is none */
    int is_stored;        /* there is a row, perhaps a tombstone */
    int is_live;
    int is_cursor_on; /* the table's cursor stands on it */
};
void row_find(struct apply *a, struct slice key, struct row_at *out);
/* The current row, whole: borrowed until the next row_write or row_bytes. */
struct slice row_bytes(struct apply *a, const struct row_at *cur);
/* Meta of the row that will follow `cur`. */
struct row_meta row_next_meta(const struct apply *a, const struct row_at *cur);
/* Make a->row (encoded) the current row and append the event. The cursor must not have moved since
 * row_find. */
void row_write(struct apply *a, const struct row_at *cur);
/* Is the command's condition met? Otherwise the result is filled. */
int row_cas(const struct row_at *cur, enum cas_mode mode, mu_rev expect, struct command_result *r);
void row_result(const struct row_at *cur, const struct row_meta *m, struct command_result *r);

/* ---- instances (instance.c) ---- */

enum instance_order { INSTANCE_REMOVE, INSTANCE_UNHEALTHY, INSTANCE_HEALTHY };
/* Do this to the instance with that logical key, because its lease says so. `key` must not be in
 * a's scratch. */
void instance_by_lease(struct apply *a, struct slice key, enum instance_order order);

/* ---- leases (lease.c) ---- */

int lease_find(struct apply *a, mu_lease_id id, struct lease_row *out); /* 0, NOT_FOUND */
void lease_write(struct apply *a, const struct lease_row *row);
void lease_remove(struct apply *a, mu_lease_id id); /* the row alone */
void lease_attach(struct apply *a, mu_lease_id id, const struct row_meta *m, struct slice key);
void lease_detach(struct apply *a, mu_lease_id id, const struct row_meta *m);
