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
    int wants_rows;     /* of the transaction under way */
    int is_txn;         /* a transaction is under way: leases are noted */
    int64_t wall_ms;

    /* scratch, reused */
    struct buf key; /* of the row the command is about */
    struct buf service_key;
    struct buf lease_key;
    struct buf row;     /* the new one */
    struct buf old_row; /* the one before, when it was stored in pieces */
    struct buf stored_lease;
    struct buf link_key;
    struct buf scan;             /* a key under way through a tree or a lease */
    struct buf detail, failures; /* txn items: of what was done, and of what failed */
    struct meta_compact compact;

    /* what apply_end hands out */
    struct buf change_keys;
    struct change *changes;
    size_t n_changes, cap_changes;
    mu_lease_id *leases; /* that transactions made, changed or ended */
    size_t n_leases, cap_leases;
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

/* ---- transactions (txn.c) ---- */

void apply_txn(struct apply *a, const struct command *c, struct command_result *r);
/* Does what the operation says and fills the item; a code other than 0 refuses the whole
 * transaction. Sets item->key and row only where the answer shall hold them; they are copied. */
typedef void (*op_fn)(struct apply *a, const struct op *o, struct txn_item *item);
void op_key_write(struct apply *a, const struct op *o, struct txn_item *item);
void op_key_read(struct apply *a, const struct op *o, struct txn_item *item);
void op_key_check(struct apply *a, const struct op *o, struct txn_item *item);
void op_key_delete(struct apply *a, const struct op *o, struct txn_item *item);
void op_key_tree(struct apply *a, const struct op *o, struct txn_item *item);
void op_session(struct apply *a, const struct op *o, struct txn_item *item);
void op_node(struct apply *a, const struct op *o, struct txn_item *item);
void op_service(struct apply *a, const struct op *o, struct txn_item *item);
void op_check(struct apply *a, const struct op *o, struct txn_item *item);
void op_record(struct apply *a, const struct op *o, struct txn_item *item);
/* One more item of the operation under way, before its own. */
void txn_add_item(struct apply *a, const struct txn_item *item);

/* ---- user keys and sessions (user.c, session.c) ---- */

/* The session that owned the lease is over: let go of the key, or delete it. */
void user_key_freed(struct apply *a, struct slice key, mu_lease_id lease,
                    const struct session_row *s);
int session_find(struct apply *a, struct slice id, struct session_row *out); /* 0, NOT_FOUND */
/* Of a member of a lease that ends: the session itself. Fills what its keys then need. */
void session_ended(struct apply *a, struct slice key, struct session_row *out);
/* A check went critical or away, or the node went: the sessions that are bound to it end. */
void session_check_failed(struct apply *a, struct slice node, struct slice check_id);
void session_node_gone(struct apply *a, struct slice node);

/* ---- links (link.c) ---- */

void link_put(struct apply *a, enum link_kind kind, struct slice x, struct slice y,
              struct slice value);
int link_get(struct apply *a, enum link_kind kind, struct slice x, struct slice y,
             struct slice *out); /* 0, NOT_FOUND; borrowed until the next change */
void link_del(struct apply *a, enum link_kind kind, struct slice x, struct slice y);
/* The first link from x whose y is at or behind inout_y; 1 and its y, or 0. */
int link_next(struct apply *a, enum link_kind kind, struct slice x, struct buf *inout_y);

/* ---- leases (lease.c) ---- */

/* The lease ends with all that hangs on it. */
void lease_end(struct apply *a, mu_lease_id id);

int lease_find(struct apply *a, mu_lease_id id, struct lease_row *out); /* 0, NOT_FOUND */
void lease_write(struct apply *a, const struct lease_row *row);
void lease_remove(struct apply *a, mu_lease_id id); /* the row alone */
void lease_attach(struct apply *a, mu_lease_id id, const struct row_meta *m, struct slice key);
void lease_detach(struct apply *a, mu_lease_id id, const struct row_meta *m);
