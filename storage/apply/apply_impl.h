/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the command functions. */
#pragma once

#include "storage/apply/apply.h"
#include "storage/apply/requests.h"
#include "storage/db/longkey.h"
#include "storage/event.h"

enum { TREE_MAX = 100000 }; /* keys that one transaction deletes or tells by prefix */

struct apply {
    struct db_txn *txn;
    struct meta *meta;
    struct requests requests;
    struct command command; /* decoded here: it is large */

    /* of the command under way */
    mu_rev rev;         /* the revision it makes if it changes a row */
    uint32_t n_changed; /* rows so far */
    int wants_rows;     /* of the transaction under way */
    uint32_t tree_left; /* keys that its operations on trees may still look at */
    int notes_leases;   /* the leases that are touched are noted: the command's result cannot name
                           them all */
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
/* The next live row under `prefix` at or behind the key in inout_at, which is moved behind it; 1
 * and its key, or 0. Rows may be written between two calls. */
int row_next(struct apply *a, struct slice prefix, struct buf *inout_at, struct buf *out_key);
/* Is what stands in a->row behind its meta equal to the live row? */
int row_is_same(struct apply *a, const struct row_at *cur);
/* For the answer: the live row as it is now. `key` must stay. */
void row_tell(struct apply *a, struct slice key, struct txn_item *item);
/* Is the command's condition met? Otherwise the result is filled. */
int row_cas(const struct row_at *cur, enum cas_mode mode, mu_rev expect, struct command_result *r);
void row_result(const struct row_at *cur, const struct row_meta *m, struct command_result *r);

/* ---- instances (instance.c) ---- */

enum instance_order { INSTANCE_REMOVE, INSTANCE_UNHEALTHY, INSTANCE_HEALTHY };
/* Do this to the instance with that logical key, because its lease says so. `key` must not be in
 * a's scratch. */
void instance_by_lease(struct apply *a, struct slice key, enum instance_order order);

void instance_find(struct apply *a, struct slice key, struct row_at *out,
                   struct instance_row *out_row);
/* Row and service counts. `old` is dead after this: it borrows from the row that is replaced. A
 * def_rev of now in `row` is a new description. */
void instance_write(struct apply *a, const struct row_at *cur, const struct instance_name *n,
                    const struct instance_row *old, const struct instance_row *row);
/* Of the catalog: its checks and those of its node say how it is. */
void instance_judge(const struct apply *a, const struct instance_row *old,
                    struct instance_row *row);
/* A tombstone in its place; hangs on no lease. */
void instance_bury(struct apply *a, struct slice key);
/* Is it described in the same words? Health aside. */
int instance_is_described_same(const struct instance_row *x, const struct instance_row *y);

/* ---- the catalog (node.c, service.c, check.c) ----
 *
 * Names that are handed in must not borrow from rows or from a's scratch: rows are written. */

/* What changed in the checks that an instance counts. */
struct check_count {
    int all, warning, critical, node_critical;
};

/* A service id of a node. */
struct spot {
    struct buf node;     /* where it is, or would be */
    struct buf instance; /* logical key; empty when there is no such service */
    int is_agent;        /* of what is there */
};
/* is_agent: found by the cluster's agent wherever it is; else it would be on `node`. NOT_FOUND when
 * there is no such node. To be closed in any case. */
int spot_open(struct apply *a, int is_agent, struct slice node, struct slice service_id,
              struct spot *out);
void spot_close(struct spot *s);
/* A check changed: the instance is written anew. */
void service_touch(struct apply *a, struct slice node, struct slice service_id,
                   const struct check_count *d);
/* The instance with that key was described anew by something else than its place: who looks at the
 * places of its node is told by their rows. */
void service_described(struct apply *a, struct slice key);
/* With its place and its checks. */
void service_gone(struct apply *a, struct slice node, struct slice service_id);
/* The same for the instance with that key, when it stands on a node. */
void service_gone_of(struct apply *a, const struct instance_row *row);
/* With its checks to another node, unless its id is taken there. Returns how many rows it took. */
unsigned service_move(struct apply *a, struct slice node, struct slice service_id, struct slice to);

int node_is_there(struct apply *a, struct slice node);
void node_address(struct apply *a, struct slice node, struct buf *out); /* replaces `out` */
/* The node or a check of it changed: all its instances are written anew. */
void node_touch(struct apply *a, struct slice node, int d_critical);

/* All checks of a service id, or of the node alone (service_id empty); nothing is left that counts
 * them. */
void checks_gone(struct apply *a, struct slice node, struct slice service_id);
uint32_t checks_critical(struct apply *a, struct slice node); /* of the node alone */
/* Those that the agent has, to another node, their counts with them. Returns how many. */
unsigned checks_move(struct apply *a, struct slice node, struct slice service_id, struct slice to);
/* The name that they show of their service. */
void checks_rename(struct apply *a, struct slice node, struct slice service_id,
                   struct slice service);
/* Is the id taken on that node? `out_service_id` may be NULL. */
int check_is_there(struct apply *a, struct slice node, struct slice id, struct buf *out_service_id);
int check_status_of(struct apply *a, const struct check_name *n, enum check_status *out);
/* Its lease ran out, or was kept alive after that. `key` may be in a's scratch. */
void check_by_lease(struct apply *a, struct slice key, enum instance_order order);

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
/* The sessions of a node whose checks are all well on `to` go there, at most `max`; the others
 * stay. Returns how many went. */
unsigned sessions_move(struct apply *a, struct slice node, struct slice to, unsigned max);

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
