/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of rows in the order of revisions: DB_EVENTS, and DB_PIECES for what is large.
 *
 * LMDB keeps a value of more than one page in pages that lie side by side. Freed space is soon too
 * broken up for that: the file would grow for ever and each search for such a place would look at
 * every free page. So nothing large is stored in one value: an event holds the head of its row,
 * pieces of one page each the rest. A current row that does not fit DB_ROWS is kept only here, and
 * DB_ROWS holds a reference. Format: docs/formats.md#store. */
#pragma once

#include "storage/db/db.h"
#include "storage/rows.h"

enum {
    EVENT_KEY_SIZE = 12,
    EVENT_REF_SIZE = 13,
    EVENT_PAGE = 4080,    /* what a page of 4,096 bytes holds */
    EVENT_HEAD_MIN = 512, /* of a row, beside however long a key: its meta is always there */
    EVENT_PIECE_KEY_SIZE = 16,
    ROW_INLINE_MAX = 192,
};

struct event {
    struct slice key; /* logical key; empty when it came from DB_ROWS */
    mu_rev rev;
    uint32_t sub;
    struct slice head; /* the row, or its beginning when is_cut */
    size_t row_len;
    int is_cut;
};

struct slice event_key(uint8_t out[EVENT_KEY_SIZE], mu_rev rev, uint32_t sub);
int event_key_parse(struct slice key, mu_rev *out_rev, uint32_t *out_sub);
/* What DB_ROWS holds for a row that is kept in the event (rev, sub). */
struct slice event_ref(uint8_t out[EVENT_REF_SIZE], mu_rev rev, uint32_t sub);
int event_is_ref(struct slice stored);
int event_ref_parse(struct slice stored, mu_rev *out_rev, uint32_t *out_sub);

/* Behind all other events. */
void event_append(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice key, struct slice row);
/* Takes the event away; returns how many pieces it had. Absent is fine. */
size_t event_del(struct db_txn *t, mu_rev rev, uint32_t sub);
/* Key and value of DB_EVENTS. CORRUPT. */
int event_parse(struct slice key, struct slice value, struct event *out);
/* 0, NOT_FOUND, CORRUPT, IO. */
int event_get(struct db_txn *t, mu_rev rev, uint32_t sub, struct event *out);
/* A value of DB_ROWS. CORRUPT, IO. */
int event_resolve(struct db_txn *t, struct slice stored, struct event *out);
/* The row in one piece: as it is stored when it is so, else put together in `mem`, which is
 * overwritten. CORRUPT, IO. */
int event_row(struct db_txn *t, const struct event *ev, struct buf *mem, struct slice *out);

/* Pieces: how many, the key of one, and how long it must be (0: there is none with that number). */
size_t event_n_pieces(const struct event *ev);
struct slice event_piece_key(uint8_t out[EVENT_PIECE_KEY_SIZE], mu_rev rev, uint32_t sub,
                             uint32_t n);
int event_piece_key_parse(struct slice key, mu_rev *out_rev, uint32_t *out_sub, uint32_t *out_n);
size_t event_piece_len(const struct event *ev, uint32_t n);
