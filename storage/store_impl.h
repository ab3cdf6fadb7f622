/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a store, for store.c, view.c and the snapshot files. */
#pragma once

#include "storage/apply/apply.h"
#include "storage/files.h"
#include "storage/gate.h"
#include "storage/mark.h"
#include "storage/meta.h"
#include "storage/store.h"

struct store {
    struct store_options options;
    char *dir;      /* the data directory */
    char *path;     /* dir/store */
    char *path_new; /* dir/store.new: a snapshot being loaded */
    char *path_old; /* dir/store.old: what a loaded snapshot replaced */
    int lock_fd;
    struct mark now;

    struct db *db;
    struct gate gate; /* views are inside; the map and the file change only when it is closed */
    struct apply *apply;
    struct meta meta; /* the writing thread's */
    struct buf conf;
    _Atomic uint64_t used_bytes;

    pthread_mutex_t pool_lock;
    struct view *pool; /* closed views with their readers, to be used again */
};

/* store_open with what is said to hold now: tests. */
int store_open_at(const struct store_options *o, const struct mark *now, struct store **out,
                  int *out_was_reset, struct err *e);
/* Take the state from the tables after they were opened or replaced. */
int store_reload(struct store *s, struct err *e);
/* Gate closed or no other thread: readers of the old tables end. */
void store_drop_views(struct store *s);
struct view;
struct db_txn *view_txn(struct view *v);
const struct meta *view_meta(const struct view *v);
