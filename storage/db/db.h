/* SPDX-License-Identifier: Apache-2.0 */
/* The ordered tables under the store: a thin wrapper that keeps LMDB to itself.
 *
 * One writer thread, any number of readers. Errors inside a write transaction cannot be answered by
 * anybody, so they end the process (db_fatal); in a read transaction they stick in the transaction
 * and are returned. Only keys of at most DB_KEY_MAX bytes; longer logical keys go through
 * storage/db/longkey.h. Nothing here may run while db_set_map_bytes or db_close does:
 * storage/gate.h. */
#pragma once

#include "base/err.h"

enum { DB_KEY_MAX = 511 };

/* Numbers appear in snapshots: never reused. */
enum db_table {
    DB_META = 0,
    DB_ROWS = 1,       /* logical key (longkey.h) -> row, or a reference into DB_EVENTS */
    DB_EVENTS = 2,     /* revision u64 BE, sub u32 BE -> logical key, row */
    DB_LEASES = 3,     /* id u64 BE -> lease row */
    DB_LEASE_KEYS = 4, /* id u64 BE, create revision u64 BE, sub u32 BE -> logical key */
    DB_REQUESTS = 5,   /* log index u64 BE -> request id, result */
    DB_PIECES = 6,     /* revision u64 BE, sub u32 BE, number u32 BE -> a piece of a large row */
    DB_LINKS = 7,      /* kind, fields -> a few bytes: storage/keys.h */
    DB_TABLE_N
};

struct db;
struct db_txn;
struct db_cur;

/* Tables in directory `dir`, which must exist. The map is at least map_bytes and at least what is
 * used. CORRUPT, FORMAT, IO. */
int db_open(const char *dir, uint64_t map_bytes, struct db **out, struct err *e);
void db_close(struct db *d);
int db_sync(struct db *d, struct err *e);
uint64_t db_map_bytes(const struct db *d);
uint64_t db_end_bytes(const struct db *d); /* of the last page ever used */
/* No transaction may be open. */
int db_set_map_bytes(struct db *d, uint64_t bytes, struct err *e);
/* Make sure that the file system has given us the blocks up to `end`, so that no page store can
 * fail. DISK_FULL, IO. */
int db_reserve(struct db *d, uint64_t end, struct err *e);
_Noreturn void db_fatal(const char *what, int lmdb_rc);

/* The one write transaction. `end` of commit: pages in use by the tables. */
struct db_txn *db_write_begin(struct db *d);
void db_write_commit(struct db_txn *t, uint64_t *out_used_bytes);
void db_write_abort(struct db_txn *t);

/* Read transactions are kept and used again: new, (begin, end)*, free. begin takes no memory. */
struct db_txn *db_read_new(struct db *d);
void db_read_begin(struct db_txn *t);
void db_read_end(struct db_txn *t);
void db_read_free(struct db_txn *t);

/* 0, NOT_FOUND, CORRUPT, IO. The value is borrowed until the transaction ends (read) or the next
 * change (write). */
int db_get(struct db_txn *t, enum db_table table, struct slice key, struct slice *out);

/* Write transactions only. db_find leaves the table's own cursor on the key; a put with is_at = 1
 * replaces what it stands on, as long as nothing else was done with that table in between. */
int db_find(struct db_txn *t, enum db_table table, struct slice key, struct slice *out);
void db_put(struct db_txn *t, enum db_table table, struct slice key, struct slice value, int is_at);
/* Room for a value, to be filled before anything else is done with the transaction. */
uint8_t *db_put_reserve(struct db_txn *t, enum db_table table, struct slice key, size_t len,
                        int is_at);
/* The same for a key that is behind all others in the table. */
uint8_t *db_append(struct db_txn *t, enum db_table table, struct slice key, size_t len);
void db_del(struct db_txn *t, enum db_table table, struct slice key); /* absent is fine */

/* A write transaction can take back what was done since a moment: from db_mark on, what each change
 * replaces is remembered, until db_mark_last says that what follows will not be taken back; db_undo
 * puts all of it back, db_unmark forgets it. One at a time. */
void db_mark(struct db_txn *t);
void db_mark_last(struct db_txn *t);
void db_unmark(struct db_txn *t);
void db_undo(struct db_txn *t);

/* Scans, also several at a time in one transaction. Must be closed before the transaction ends.
 * Outputs as for db_get. */
struct db_cur *db_cur_open(struct db_txn *t, enum db_table table);
void db_cur_close(struct db_cur *c);
int db_cur_seek(struct db_cur *c, struct slice key, struct slice *out_key,
                struct slice *out_value); /* first at or behind key */
int db_cur_next(struct db_cur *c, struct slice *out_key, struct slice *out_value);
int db_cur_prev(struct db_cur *c, struct slice *out_key, struct slice *out_value);
int db_cur_last(struct db_cur *c, struct slice *out_key, struct slice *out_value);
