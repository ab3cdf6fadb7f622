/* SPDX-License-Identifier: Apache-2.0 */
/* DB_EVENTS: every version of every row, in the order of revisions. A current row that is large is
 * kept only here and DB_ROWS holds a reference. Format: docs/formats.md#store. */
#pragma once

#include "storage/db/db.h"
#include "storage/rows.h"

enum { EVENT_KEY_SIZE = 12, EVENT_REF_SIZE = 13, ROW_INLINE_MAX = 1024 };

struct slice event_key(uint8_t out[EVENT_KEY_SIZE], mu_rev rev, uint32_t sub);
int event_key_parse(struct slice key, mu_rev *out_rev, uint32_t *out_sub);
/* What DB_ROWS holds for a row that is kept in the event (rev, sub). */
struct slice event_ref(uint8_t out[EVENT_REF_SIZE], mu_rev rev, uint32_t sub);
int event_is_ref(struct slice stored);
int event_ref_parse(struct slice stored, mu_rev *out_rev, uint32_t *out_sub);

/* Behind all other events. */
void event_append(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice key, struct slice row);
int event_parse(struct slice value, struct slice *out_key, struct slice *out_row);
/* 0, NOT_FOUND, CORRUPT, IO. out_key may be NULL. */
int event_get(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice *out_key,
              struct slice *out_row);
/* A value of DB_ROWS to the row itself. CORRUPT, IO. */
int event_resolve(struct db_txn *t, struct slice stored, struct slice *out_row);
