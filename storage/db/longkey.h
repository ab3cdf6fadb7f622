/* SPDX-License-Identifier: Apache-2.0 */
/* DB_ROWS by logical keys of any length up to KEY_MAX, in exact bytewise order.
 *
 * LMDB's keys end at 511 bytes. A logical key of at most LONGKEY_CHUNK bytes is stored as it is. Of
 * a longer one the first chunk is stored as a *marker* (chunk + one zero byte) that names a
 * sub-range; the rest lives there, cut again when it must be. Inside sub-range `id` every key
 * begins with 0x01 and id u64 BE, which no logical key does (they begin with a letter). The marker
 * sorts right behind the key that is exactly the chunk and before any key with a greater chunk: so
 * walking the table and descending at markers meets logical keys in their order. The value of a row
 * in a sub-range begins with its whole logical key. Errors and borrowing as in storage/db/db.h.
 * Format: docs/formats.md#store. */
#pragma once

#include "storage/db/db.h"

enum { LONGKEY_CHUNK = 496, LONGKEY_LEVELS = 14 };

int longkey_get(struct db_txn *t, struct slice key, struct slice *out);
/* Write transactions only. A put with is_at = 1 follows a longkey_find that found the key, nothing
 * on DB_ROWS in between. */
int longkey_find(struct db_txn *t, struct slice key, struct slice *out);
void longkey_put(struct db_txn *t, struct slice key, struct slice value, int is_at);
void longkey_append(struct db_txn *t, struct slice key,
                    struct slice value);              /* behind all other logical keys */
void longkey_del(struct db_txn *t, struct slice key); /* absent is fine */

struct longkey_cur {
    struct db_cur *c;
    unsigned depth;
    struct longkey_level {
        size_t len;
        uint8_t bytes[DB_KEY_MAX]; /* the marker through which this level was entered */
        uint64_t id;
    } levels[LONGKEY_LEVELS];
};

void longkey_cur_open(struct longkey_cur *c, struct db_txn *t);
void longkey_cur_close(struct longkey_cur *c);
/* First logical key at or behind `key` (not empty); the next one. */
int longkey_cur_seek(struct longkey_cur *c, struct slice key, struct slice *out_key,
                     struct slice *out_value);
int longkey_cur_next(struct longkey_cur *c, struct slice *out_key, struct slice *out_value);
