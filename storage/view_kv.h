/* SPDX-License-Identifier: Apache-2.0 */
/* Reading user keys, sessions and records; rules as in storage/view.h. */
#pragma once

#include "storage/view.h"

/* rev 0 = newest. 0, NOT_FOUND, COMPACTED, FUTURE_REVISION. */
int view_user(struct view *v, struct slice key, mu_rev rev, struct user_row *out);
/* Keys that begin with `prefix` (may be empty), in byte order; fn returns 0 to go on. A tombstone
 * comes with meta.is_deleted: its mod_rev counts for the index of the prefix. */
typedef int (*view_user_fn)(void *arg, struct slice key, const struct user_row *row);
int view_users(struct view *v, struct slice prefix, view_user_fn fn, void *arg);
/* The same from `start` (included) on. */
int view_users_from(struct view *v, struct slice prefix, struct slice start, view_user_fn fn,
                    void *arg);

int view_session(struct view *v, struct slice id, struct session_row *out);
/* All, tombstones too. */
typedef int (*view_session_fn)(void *arg, struct slice id, const struct session_row *row);
int view_sessions(struct view *v, view_session_fn fn, void *arg);

int view_record(struct view *v, struct slice kind, struct slice name, struct record_row *out);
/* All of a kind, tombstones too. */
typedef int (*view_record_fn)(void *arg, struct slice name, const struct record_row *row);
int view_records(struct view *v, struct slice kind, view_record_fn fn, void *arg);
