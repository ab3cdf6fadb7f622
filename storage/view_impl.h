/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that read rows of a view by their kind. */
#pragma once

#include "storage/view.h"

/* Broken stored bytes are our own damage, whatever the decoder calls them. */
int view_stored(int rc);
/* The newest row (rev 0) of a logical key, or the one at rev; whole, borrowed until view_close.
 * NOT_FOUND (also when deleted), COMPACTED, CORRUPT, IO. */
int view_row(struct view *v, struct slice key, mu_rev rev, struct slice *out);
/* The newest rows, tombstones too, of the logical keys that begin with `prefix`, in order, from
 * `start` on (empty: from the first). fn returns 0 to go on. */
typedef int (*view_row_fn)(void *arg, struct slice key, struct slice row);
int view_rows(struct view *v, struct slice prefix, struct slice start, view_row_fn fn, void *arg);
/* A link's value; 0, NOT_FOUND. Borrowed until view_close. */
int view_link(struct view *v, enum link_kind kind, struct slice x, struct slice y,
              struct slice *out);
