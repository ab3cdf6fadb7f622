/* SPDX-License-Identifier: Apache-2.0 */
/* Loading: a new environment is built beside the store, synced, and put in its place while nobody
 * reads.
 *
 * Any error before the swap leaves the store as it was. A kill between the two renames leaves no
 * store: it opens empty, and the caller, who still has the snapshot, loads it again. A failing
 * rename in the swap ends the process for the same reason. */
#include "storage/snapshot/format.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/apply/requests.h"
#include "storage/db/longkey.h"
#include "storage/event.h"
#include "storage/store_impl.h"

enum {
    COMMIT_BYTES = 16 * 1024 * 1024,
    RECORD_COST = 256,
    /* pages around a record */ ID_VALUE = REQUEST_ID_SIZE
};

/* ---- checking ---- */

static int is_bad_event(const struct snapshot_record *rec)
{
    struct event ev;
    struct row_meta m;
    if (event_parse(rec->key, rec->value, &ev) != 0 || row_meta_decode(ev.head, &m) != 0) {
        return 1;
    }
    return m.mod_rev != ev.rev || m.mod_sub != ev.sub || m.prev_rev > ev.rev ||
           (m.prev_rev == ev.rev && m.prev_sub >= ev.sub);
}

/* What a record says by itself. */
static int is_bad_record(const struct snapshot_record *rec)
{
    mu_rev rev;
    uint32_t sub, n;
    struct lease_row lease;
    struct command_result result;
    switch (rec->table) {
    case DB_EVENTS:
        return is_bad_event(rec);
    case DB_PIECES:
        return event_piece_key_parse(rec->key, &rev, &sub, &n) != 0 || rec->value.len > EVENT_PAGE;
    case DB_ROWS:
        return rec->key.p[0] < 'A' || event_ref_parse(rec->value, &rev, &sub) != 0;
    case DB_LEASES:
        return rec->key.len != 8 || lease_row_decode(rec->value, &lease) != 0;
    case DB_LEASE_KEYS:
        return rec->key.len != 20 || rec->value.len == 0 || rec->value.len > KEY_MAX;
    case DB_REQUESTS:
        return rec->key.len != 8 || rec->value.len != ID_VALUE + COMMAND_RESULT_SIZE ||
               command_result_decode(slice_of(rec->value.p + ID_VALUE, COMMAND_RESULT_SIZE),
                                     &result) != 0;
    default:
        return 0;
    }
}

static int next_record(struct snapshot_reader *r, struct snapshot_record *out)
{
    int rc = snapshot_get_row(r, out);
    if (rc == 1 && is_bad_record(out)) {
        return err_set(r->err, MU_E_CORRUPT, "snapshot %s holds a row that cannot be read",
                       r->path);
    }
    return rc;
}

static int open_file(const char *path, int *out_fd, struct err *e)
{
    *out_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *out_fd >= 0 ? 0 : files_err(e, errno, "opening", path);
}

int snapshot_check(const char *path, struct snapshot_info *out, struct err *e)
{
    int fd;
    struct snapshot_record rec;
    int rc = open_file(path, &fd, e);
    if (rc != 0) {
        return rc;
    }
    struct snapshot_reader *r = mem_alloc(sizeof(*r));
    rc = snapshot_get_header(r, fd, path, e);
    if (rc == 0) {
        do {
            rc = next_record(r, &rec);
        } while (rc == 1);
    }
    if (rc == 0) {
        *out = r->info;
    }
    snapshot_reader_fini(r);
    mem_free(r);
    close(fd);
    return rc;
}

/* ---- filling a new environment ---- */

struct sink {
    struct db *db;
    struct db_txn *txn;
    uint64_t bytes;    /* since the last commit */
    uint64_t n_pieces; /* that events still wait for */
    const char *path;
    struct err *err;
};

static int sink_begin(struct sink *s)
{
    int rc = db_reserve(s->db, db_end_bytes(s->db) + 3 * (uint64_t)COMMIT_BYTES, s->err);
    if (rc == 0) {
        s->txn = db_write_begin(s->db);
        s->bytes = 0;
    }
    return rc;
}

static int sink_turn(struct sink *s)
{
    db_write_commit(s->txn, NULL);
    s->txn = NULL;
    return sink_begin(s);
}

static int put_row(struct sink *s, const struct snapshot_record *rec)
{
    mu_rev rev = 0;
    uint32_t sub = 0;
    struct event ev;
    int rc = event_ref_parse(rec->value, &rev, &sub);
    rc = rc != 0 ? rc : event_get(s->txn, rev, sub, &ev);
    if (rc != 0 || !slice_eq(ev.key, rec->key)) {
        return err_set(s->err, MU_E_CORRUPT, "snapshot %s holds a row without its event", s->path);
    }
    if (ev.row_len > ROW_INLINE_MAX) {
        longkey_append(s->txn, rec->key, rec->value);
        return 0;
    }
    uint8_t copy[ROW_INLINE_MAX]; /* writing may move what is borrowed */
    MU_INVARIANT(!ev.is_cut);
    memcpy(copy, ev.head.p, ev.row_len);
    longkey_append(s->txn, rec->key, slice_of(copy, ev.row_len));
    return 0;
}

/* Each piece must be one that an event waits for; at the end none may wait. Keys rise, so none
 * comes twice. */
static int count_pieces(struct sink *s, const struct snapshot_record *rec)
{
    mu_rev rev = 0;
    uint32_t sub = 0, n = 0;
    struct event ev;
    if (rec->table == DB_EVENTS) {
        int rc = event_parse(rec->key, rec->value, &ev);
        s->n_pieces += rc == 0 ? event_n_pieces(&ev) : 0;
        return rc;
    }
    if (rec->table != DB_PIECES) {
        return 0;
    }
    int rc = event_piece_key_parse(rec->key, &rev, &sub, &n);
    rc = rc != 0 ? rc : event_get(s->txn, rev, sub, &ev);
    if (rc != 0 || rec->value.len == 0 || event_piece_len(&ev, n) != rec->value.len) {
        return err_set(s->err, MU_E_CORRUPT, "snapshot %s holds a piece of no row", s->path);
    }
    s->n_pieces--;
    return 0;
}

static int put_record(struct sink *s, const struct snapshot_record *rec)
{
    if (rec->table == DB_ROWS) {
        return put_row(s, rec);
    }
    int rc = count_pieces(s, rec);
    if (rc == 0) {
        uint8_t *p = db_append(s->txn, rec->table, rec->key, rec->value.len);
        memcpy(p, rec->value.p, rec->value.len);
    }
    return rc;
}

static int fill(struct sink *s, struct snapshot_reader *r)
{
    struct snapshot_record rec;
    int rc = sink_begin(s);
    while (rc == 0) {
        int got = next_record(r, &rec);
        if (got != 1) {
            rc = got;
            break;
        }
        s->bytes += rec.key.len + rec.value.len + RECORD_COST;
        rc = put_record(s, &rec);
        if (rc == 0 && s->bytes > COMMIT_BYTES) {
            rc = sink_turn(s);
        }
    }
    if (s->txn == NULL) {
        return rc;
    }
    if (rc != 0) {
        db_write_abort(s->txn);
    } else {
        db_write_commit(s->txn, NULL);
    }
    s->txn = NULL;
    return rc;
}

/* The header speaks for the file, the state row for the store: they must agree. */
static int check_state(struct db *db, const struct snapshot_info *info, struct err *e)
{
    struct meta m;
    struct slice conf;
    struct db_txn *t = db_read_new(db);
    db_read_begin(t);
    int rc = meta_read(t, &m);
    rc = rc != 0 ? rc : meta_read_conf(t, &conf);
    int is_right = rc == 0 && m.applied == info->index && m.applied_term == info->term &&
                   m.revision == info->revision && m.hash == info->hash &&
                   m.conf_index == info->conf_index &&
                   slice_eq(conf, slice_of(info->conf, info->conf_len)) &&
                   memcmp(m.cluster_id, info->cluster_id, sizeof(m.cluster_id)) == 0;
    db_read_end(t);
    db_read_free(t);
    return is_right ? 0 : err_set(e, MU_E_CORRUPT, "the snapshot's header and its state differ");
}

static uint64_t map_for(const struct store *s, int fd)
{
    struct stat st;
    uint64_t map = s->options.map_initial;
    uint64_t want = fstat(fd, &st) == 0 ? 4 * (uint64_t)st.st_size + 128 * 1024 * 1024 : 0;
    while (map < want) {
        map *= 2;
    }
    return map;
}

static int build(struct store *s, const char *path, struct db **out, struct err *e)
{
    int fd;
    int rc = open_file(path, &fd, e);
    if (rc != 0) {
        return rc;
    }
    struct sink sink = {.path = path, .err = e};
    struct snapshot_reader *r = mem_alloc(sizeof(*r));
    rc = snapshot_get_header(r, fd, path, e);
    rc = rc != 0 ? rc : files_remove_dir(s->path_new, e);
    rc = rc != 0 ? rc : files_remove_dir(s->path_old, e); /* or it is in the way of the swap */
    rc = rc != 0 ? rc : files_mkdir(s->path_new, e);
    rc = rc != 0 ? rc : db_open(s->path_new, map_for(s, fd), &sink.db, e);
    rc = rc != 0 ? rc : fill(&sink, r);
    if (rc == 0 && sink.n_pieces != 0) {
        rc = err_set(e, MU_E_CORRUPT, "snapshot %s lacks pieces of rows", path);
    }
    rc = rc != 0 ? rc : check_state(sink.db, &r->info, e);
    rc = rc != 0 ? rc : db_sync(sink.db, e);
    snapshot_reader_fini(r);
    mem_free(r);
    close(fd);
    if (rc != 0 && sink.db != NULL) {
        db_close(sink.db);
    }
    if (rc == 0) {
        *out = sink.db;
    }
    return rc;
}

/* ---- taking its place ---- */

static int mark_new(const struct store *s, struct err *e)
{
    char path[FILES_PATH_MAX];
    struct mark m = s->now;
    m.is_clean = 0;
    int rc = files_join(path, s->path_new, "mark", e);
    return rc != 0 ? rc : mark_write(path, &m, e);
}

static void swap(struct store *s, struct db *db)
{
    struct err e = {0};
    gate_close(&s->gate);
    store_drop_views(s);
    db_close(s->db);
    s->db = db;
    int rc = files_rename(s->path, s->path_old, &e);
    rc = rc != 0 ? rc : files_rename(s->path_new, s->path, &e);
    rc = rc != 0 ? rc : store_reload(s, &e);
    if (rc != 0) {
        db_fatal(e.text, 0);
    }
    atomic_store(&s->used_bytes, db_end_bytes(s->db));
    gate_open(&s->gate);
}

int snapshot_load(struct store *s, const char *path, struct err *e)
{
    struct db *db = NULL;
    int rc = build(s, path, &db, e);
    if (rc == 0) {
        rc = mark_new(s, e);
        if (rc != 0) {
            db_close(db);
        }
    }
    if (rc != 0) {
        (void)files_remove_dir(s->path_new, NULL);
        return rc;
    }
    swap(s, db);
    (void)files_remove_dir(s->path_old, NULL);
    return 0;
}
