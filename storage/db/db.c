/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/db/tsan.h"
#include "storage/db/undo.h"

enum { READERS_MAX = 1024 };
/* Pages that one put or deletion inside a table may have copied. Counted only to ask for blocks
 * early enough. */
enum { PAGES_PER_CHANGE = 4, PAGES_PER_TXN = 64 };

struct db {
    MDB_env *env;
    MDB_dbi dbi[DB_TABLE_N];
    uint64_t map_bytes;
    uint64_t page_size;
    uint64_t step;     /* blocks are asked for in these portions */
    uint64_t reserved; /* the file's blocks below this offset are ours */
    int fd;
    int needs_zeros; /* the file system has no fallocate: write zeros instead */
    struct db_txn *writer;
    char committed, read_ended; /* addresses for tsan.h */
};

struct db_cur {
    MDB_cursor *c;
    struct db_txn *txn;
    enum db_table table;
    uint64_t turn;       /* of the read transaction the cursor belongs to */
    struct db_cur *next; /* in the pool */
};

struct db_txn {
    struct db *db;
    MDB_txn *txn;
    int is_write;
    uint64_t turn;
    MDB_cursor *own[DB_TABLE_N];     /* write only */
    struct db_cur *pool[DB_TABLE_N]; /* read only: closed cursors */
    uint64_t begin_end;              /* write only: end of the file's used part at begin */
    uint64_t spent;   /* write only: bytes that were written since, with the air in split pages */
    uint64_t copied;  /* write only: bytes of pages that may have been copied */
    struct undo undo; /* write only */
};

static const char *const table_names[DB_TABLE_N] = {
    [DB_META] = "meta",
    [DB_ROWS] = "rows",
    [DB_EVENTS] = "events",
    [DB_LEASES] = "leases",
    [DB_LEASE_KEYS] = "lease_keys",
    [DB_REQUESTS] = "requests",
    [DB_PIECES] = "pieces",
    [DB_LINKS] = "links",
};

_Noreturn void db_fatal(const char *what, int lmdb_rc)
{
    log_error("storage", "the store cannot go on", LOG_STR("what", what),
              LOG_STR("error", mdb_strerror(lmdb_rc)));
    abort();
}

static int err_lmdb(struct err *e, int rc, const char *what)
{
    int code = MU_E_IO;
    if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID || rc == MDB_PANIC) {
        code = MU_E_CORRUPT;
    } else if (rc == MDB_VERSION_MISMATCH) {
        code = MU_E_FORMAT;
    } else if (rc == ENOSPC || rc == EDQUOT || rc == MDB_MAP_FULL) {
        code = MU_E_DISK_FULL;
    } else if (rc == ENOMEM) {
        db_fatal(what, rc);
    }
    return err_set(e, code, "%s: %s", what, mdb_strerror(rc));
}

static MDB_val val_of(struct slice s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.p};
}

static struct slice slice_of_val(MDB_val v)
{
    return slice_of(v.mv_data, v.mv_size);
}

/* ---- environment ---- */

static int open_tables(struct db *d, struct err *e)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(d->env, NULL, 0, &txn);
    if (rc != 0) {
        return err_lmdb(e, rc, "beginning a transaction");
    }
    for (size_t i = 0; i < DB_TABLE_N && rc == 0; i++) {
        rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &d->dbi[i]);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return err_lmdb(e, rc, "opening a table");
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? 0 : err_lmdb(e, rc, "creating the tables");
}

/* Bigger portions mean fewer calls; on a small file system they would take what the log needs. */
static uint64_t step_for(int fd)
{
    const uint64_t mib = 1024 * 1024;
    struct statvfs v;
    if (fstatvfs(fd, &v) != 0) {
        return 4 * mib;
    }
    uint64_t size = (uint64_t)v.f_blocks * v.f_frsize;
    return size < 256 * mib ? mib : size < 4096 * mib ? 4 * mib : 16 * mib;
}

static int env_open(struct db *d, const char *dir, struct err *e)
{
    MDB_stat st;
    MDB_envinfo info;
    int rc = mdb_env_create(&d->env);
    if (rc != 0) {
        d->env = NULL;
        return err_lmdb(e, rc, "creating the environment");
    }
    rc = mdb_env_set_maxdbs(d->env, DB_TABLE_N);
    rc = rc != 0 ? rc : mdb_env_set_maxreaders(d->env, READERS_MAX);
    rc = rc != 0 ? rc : mdb_env_set_mapsize(d->env, d->map_bytes);
    rc = rc != 0 ? rc : mdb_env_open(d->env, dir, MDB_WRITEMAP | MDB_NOSYNC | MDB_NOTLS, 0600);
    rc = rc != 0 ? rc : mdb_env_get_fd(d->env, &d->fd);
    rc = rc != 0 ? rc : mdb_env_stat(d->env, &st);
    rc = rc != 0 ? rc : mdb_env_info(d->env, &info);
    if (rc != 0) {
        return err_lmdb(e, rc, dir);
    }
    MU_INVARIANT(mdb_env_get_maxkeysize(d->env) >= DB_KEY_MAX);
    d->page_size = st.ms_psize;
    d->map_bytes = info.me_mapsize;
    return 0;
}

int db_open(const char *dir, uint64_t map_bytes, struct db **out, struct err *e)
{
    struct db *d = mem_zalloc(sizeof(*d));
    d->map_bytes = map_bytes;
    int rc = env_open(d, dir, e);
    if (rc == 0) {
        d->step = step_for(d->fd);
        rc = db_reserve(d, db_end_bytes(d) + 64 * d->page_size, e);
    }
    if (rc == 0) {
        rc = open_tables(d, e);
    }
    if (rc != 0) {
        db_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

void db_close(struct db *d)
{
    MU_INVARIANT(d->writer == NULL || d->writer->txn == NULL);
    if (d->env != NULL) {
        mdb_env_close(d->env);
    }
    if (d->writer != NULL) {
        undo_fini(&d->writer->undo);
    }
    mem_free(d->writer);
    mem_free(d);
}

int db_sync(struct db *d, struct err *e)
{
    int rc = mdb_env_sync(d->env, 1);
    return rc == 0 ? 0 : err_lmdb(e, rc, "syncing the store");
}

uint64_t db_map_bytes(const struct db *d)
{
    return d->map_bytes;
}

uint64_t db_end_bytes(const struct db *d)
{
    MDB_envinfo info;
    int rc = mdb_env_info(d->env, &info);
    MU_INVARIANT(rc == 0);
    return (info.me_last_pgno + 1) * d->page_size;
}

int db_set_map_bytes(struct db *d, uint64_t bytes, struct err *e)
{
    int rc = mdb_env_set_mapsize(d->env, bytes);
    if (rc != 0) {
        return err_lmdb(e, rc, "growing the map");
    }
    d->map_bytes = bytes;
    return 0;
}

/* ---- blocks ---- */

/* Only behind the last used page: what is below may hold rows. */
static int write_zeros(struct db *d, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[64 * 1024];
    while (from < to) {
        size_t n = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
        ssize_t done = pwrite(d->fd, zeros, n, (off_t)from);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? errno : EIO;
        }
        from += (uint64_t)done;
    }
    return 0;
}

static int allocate(struct db *d, uint64_t from, uint64_t to)
{
    if (!d->needs_zeros) {
        int rc;
        do {
            rc = fallocate(d->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
        } while (rc != 0 && errno == EINTR);
        if (rc == 0) {
            return 0;
        }
        if (errno != EOPNOTSUPP && errno != ENOSYS) {
            return errno;
        }
        d->needs_zeros = 1;
    }
    uint64_t end = db_end_bytes(d);
    return write_zeros(d, from > end ? from : end, to);
}

int db_reserve(struct db *d, uint64_t end, struct err *e)
{
    if (end <= d->reserved) {
        return 0;
    }
    if (end > d->map_bytes) {
        end = d->map_bytes;
    }
    uint64_t rounded = (end + d->step - 1) / d->step * d->step;
    if (rounded > d->map_bytes) {
        rounded = d->map_bytes;
    }
    int rc = allocate(d, d->reserved, rounded);
    if (rc == ENOSPC || rc == EDQUOT) {
        rounded = end;
        rc = allocate(d, d->reserved, rounded);
    }
    if (rc != 0) {
        int code = rc == ENOSPC || rc == EDQUOT || rc == EFBIG ? MU_E_DISK_FULL : MU_E_IO;
        return err_set(e, code, "reserving space for the store: %s", strerror(rc));
    }
    d->reserved = rounded;
    return 0;
}

/* A change is about to happen: ask for the blocks that it may need. When the file system refuses
 * here, the write goes on: the count is pessimistic, and store_has_room has stopped new commands
 * long before. No page is copied twice in a transaction. */
static void charge(struct db_txn *t, size_t len, int is_append)
{
    __tsan_acquire(&t->db->read_ended);
    t->spent += 2 * len + 64;
    t->copied += is_append ? 0 : PAGES_PER_CHANGE * t->db->page_size;
    uint64_t copied = t->copied < t->begin_end ? t->copied : t->begin_end;
    uint64_t end = t->begin_end + t->spent + copied + PAGES_PER_TXN * t->db->page_size;
    if (end > t->db->reserved) {
        (void)db_reserve(t->db, end, NULL);
    }
}

/* ---- transactions ---- */

struct db_txn *db_write_begin(struct db *d)
{
    if (d->writer == NULL) {
        d->writer = mem_zalloc(sizeof(*d->writer));
        d->writer->db = d;
        d->writer->is_write = 1;
    }
    struct db_txn *t = d->writer;
    MU_INVARIANT(t->txn == NULL);
    int rc = mdb_txn_begin(d->env, NULL, 0, &t->txn);
    if (rc != 0) {
        db_fatal("beginning a write", rc);
    }
    t->begin_end = db_end_bytes(d);
    t->spent = t->copied = 0;
    return t;
}

static void close_own(struct db_txn *t)
{
    for (size_t i = 0; i < DB_TABLE_N; i++) {
        if (t->own[i] != NULL) {
            mdb_cursor_close(t->own[i]);
            t->own[i] = NULL;
        }
    }
}

void db_write_commit(struct db_txn *t, uint64_t *out_used_bytes)
{
    uint64_t pages = 2;
    close_own(t);
    for (size_t i = 0; i < DB_TABLE_N; i++) {
        MDB_stat st;
        if (mdb_stat(t->txn, t->db->dbi[i], &st) == 0) {
            pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
        }
    }
    __tsan_release(&t->db->committed);
    int rc = mdb_txn_commit(t->txn);
    if (rc != 0) {
        db_fatal("committing", rc);
    }
    t->txn = NULL;
    if (out_used_bytes != NULL) {
        *out_used_bytes = pages * t->db->page_size;
    }
}

void db_write_abort(struct db_txn *t)
{
    close_own(t);
    mdb_txn_abort(t->txn);
    t->txn = NULL;
}

struct db_txn *db_read_new(struct db *d)
{
    struct db_txn *t = mem_zalloc(sizeof(*t));
    t->db = d;
    int rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &t->txn);
    if (rc != 0) {
        db_fatal("opening a reader", rc);
    }
    mdb_txn_reset(t->txn);
    return t;
}

void db_read_begin(struct db_txn *t)
{
    int rc = mdb_txn_renew(t->txn);
    if (rc != 0) {
        db_fatal("beginning a read", rc);
    }
    __tsan_acquire(&t->db->committed);
    t->turn++;
}

void db_read_end(struct db_txn *t)
{
    __tsan_release(&t->db->read_ended);
    mdb_txn_reset(t->txn);
}

void db_read_free(struct db_txn *t)
{
    for (size_t i = 0; i < DB_TABLE_N; i++) {
        while (t->pool[i] != NULL) {
            struct db_cur *c = t->pool[i];
            t->pool[i] = c->next;
            mdb_cursor_close(c->c);
            mem_free(c);
        }
    }
    mdb_txn_abort(t->txn);
    mem_free(t);
}

/* ---- rows ---- */

static int found(struct db_txn *t, int rc, const char *what)
{
    if (rc == 0) {
        return 0;
    }
    if (rc == MDB_NOTFOUND) {
        return MU_E_NOT_FOUND;
    }
    if (t->is_write) {
        db_fatal(what, rc);
    }
    return err_lmdb(NULL, rc, what);
}

int db_get(struct db_txn *t, enum db_table table, struct slice key, struct slice *out)
{
    MDB_val k = val_of(key), v;
    int rc = mdb_get(t->txn, t->db->dbi[table], &k, &v);
    if (rc == 0) {
        *out = slice_of_val(v);
    }
    return found(t, rc, "reading");
}

static MDB_cursor *own_cursor(struct db_txn *t, enum db_table table)
{
    MU_INVARIANT(t->is_write);
    if (t->own[table] == NULL) {
        int rc = mdb_cursor_open(t->txn, t->db->dbi[table], &t->own[table]);
        if (rc != 0) {
            db_fatal("opening a cursor", rc);
        }
    }
    return t->own[table];
}

int db_find(struct db_txn *t, enum db_table table, struct slice key, struct slice *out)
{
    MDB_val k = val_of(key), v;
    int rc = mdb_cursor_get(own_cursor(t, table), &k, &v, MDB_SET);
    if (rc == 0) {
        *out = slice_of_val(v);
    }
    return found(t, rc, "finding");
}

/* Before a change, while a mark is set. */
static void remember(struct db_txn *t, enum db_table table, struct slice key, int is_new)
{
    MDB_val k = val_of(key), v;
    if (!t->undo.is_on) {
        return;
    }
    int rc = is_new ? MDB_NOTFOUND : mdb_get(t->txn, t->db->dbi[table], &k, &v);
    struct undo_entry e = {.table = table, .key = key, .had_value = rc == 0};
    if (rc == 0) {
        e.value = slice_of_val(v);
    } else if (rc != MDB_NOTFOUND) {
        db_fatal("reading", rc);
    }
    undo_note(&t->undo, &e);
}

void db_mark(struct db_txn *t)
{
    MU_INVARIANT(t->is_write && !t->undo.is_on);
    t->undo.is_on = 1;
}

void db_mark_last(struct db_txn *t)
{
    t->undo.is_on = 0;
}

void db_unmark(struct db_txn *t)
{
    t->undo.is_on = 0;
    undo_clear(&t->undo);
}

void db_undo(struct db_txn *t)
{
    struct undo_entry e;
    t->undo.is_on = 0;
    while (undo_take(&t->undo, &e)) {
        if (e.had_value) {
            db_put(t, e.table, e.key, e.value, 0);
        } else {
            db_del(t, e.table, e.key);
        }
    }
    undo_clear(&t->undo);
}

void db_put(struct db_txn *t, enum db_table table, struct slice key, struct slice value, int is_at)
{
    MDB_val k = val_of(key), v = val_of(value);
    remember(t, table, key, 0);
    charge(t, key.len + value.len, 0);
    int rc = mdb_cursor_put(own_cursor(t, table), &k, &v, is_at ? MDB_CURRENT : 0);
    if (rc != 0) {
        db_fatal("writing", rc);
    }
}

static uint8_t *put_room(struct db_txn *t, enum db_table table, struct slice key, size_t len,
                         unsigned flags)
{
    MDB_val k = val_of(key), v = {len, NULL};
    remember(t, table, key, (flags & MDB_APPEND) != 0);
    charge(t, key.len + len, (flags & MDB_APPEND) != 0);
    int rc = mdb_cursor_put(own_cursor(t, table), &k, &v, flags | MDB_RESERVE);
    if (rc != 0) {
        db_fatal("writing", rc);
    }
    __tsan_acquire(&t->db->read_ended);
    return v.mv_data;
}

uint8_t *db_put_reserve(struct db_txn *t, enum db_table table, struct slice key, size_t len,
                        int is_at)
{
    return put_room(t, table, key, len, is_at ? MDB_CURRENT : 0);
}

uint8_t *db_append(struct db_txn *t, enum db_table table, struct slice key, size_t len)
{
    return put_room(t, table, key, len, MDB_APPEND);
}

void db_del(struct db_txn *t, enum db_table table, struct slice key)
{
    MDB_val k = val_of(key);
    remember(t, table, key, 0);
    charge(t, 0, 0);
    int rc = mdb_del(t->txn, t->db->dbi[table], &k, NULL);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        db_fatal("deleting", rc);
    }
}

/* ---- scans ---- */

struct db_cur *db_cur_open(struct db_txn *t, enum db_table table)
{
    struct db_cur *c = t->pool[table];
    if (c != NULL) {
        t->pool[table] = c->next;
        if (c->turn != t->turn) {
            int rc = mdb_cursor_renew(t->txn, c->c);
            if (rc != 0) {
                db_fatal("renewing a cursor", rc);
            }
            c->turn = t->turn;
        }
        return c;
    }
    c = mem_zalloc(sizeof(*c));
    c->txn = t;
    c->table = table;
    c->turn = t->turn;
    int rc = mdb_cursor_open(t->txn, t->db->dbi[table], &c->c);
    if (rc != 0) {
        db_fatal("opening a cursor", rc);
    }
    return c;
}

void db_cur_close(struct db_cur *c)
{
    if (c->txn->is_write) {
        mdb_cursor_close(c->c);
        mem_free(c);
        return;
    }
    c->next = c->txn->pool[c->table];
    c->txn->pool[c->table] = c;
}

static int move(struct db_cur *c, struct slice key, MDB_cursor_op op, struct slice *out_key,
                struct slice *out_value)
{
    MDB_val k = val_of(key), v;
    int rc = mdb_cursor_get(c->c, &k, &v, op);
    if (rc == 0) {
        *out_key = slice_of_val(k);
        *out_value = slice_of_val(v);
    }
    return found(c->txn, rc, "scanning");
}

int db_cur_seek(struct db_cur *c, struct slice key, struct slice *out_key, struct slice *out_value)
{
    return move(c, key, key.len == 0 ? MDB_FIRST : MDB_SET_RANGE, out_key, out_value);
}

int db_cur_next(struct db_cur *c, struct slice *out_key, struct slice *out_value)
{
    return move(c, slice_of(NULL, 0), MDB_NEXT, out_key, out_value);
}

int db_cur_prev(struct db_cur *c, struct slice *out_key, struct slice *out_value)
{
    return move(c, slice_of(NULL, 0), MDB_PREV, out_key, out_value);
}

int db_cur_last(struct db_cur *c, struct slice *out_key, struct slice *out_value)
{
    return move(c, slice_of(NULL, 0), MDB_LAST, out_key, out_value);
}
