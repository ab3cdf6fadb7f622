/* SPDX-License-Identifier: Apache-2.0 */
/* What changes replaced, in the order of the changes: bytes only, no tables are touched here. */
#pragma once

#include "base/buf.h"
#include "storage/db/db.h"

struct undo {
    struct buf bytes;
    size_t *at; /* where each entry begins */
    size_t n, cap;
    int is_on;
};

struct undo_entry {
    enum db_table table;
    int had_value; /* 0: the key was not there */
    struct slice key, value;
};

void undo_fini(struct undo *u);
void undo_clear(struct undo *u);
/* Copies. */
void undo_note(struct undo *u, const struct undo_entry *e);
/* The newest entry that was not taken yet; borrowed until the next undo_note. 0 when none is left.
 */
int undo_take(struct undo *u, struct undo_entry *out);
