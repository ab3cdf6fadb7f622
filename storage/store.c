/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: take the lock file; clear what an interrupted snapshot_load left; look at the mark; wipe
 * what cannot be trusted; mark unclean, durably; open. Only then may anything be written. Closing
 * cleanly: sync the tables, then mark clean, durably.
 *
 * After a kill between the two renames of snapshot_load there is no store/: the store opens empty
 * and the caller restores the snapshot again. */
#include "storage/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/view.h"

static const uint64_t mib = 1024 * 1024;
enum { REQUEST_IDS_DEFAULT = 65536, PAGE = 4096 };

/* ---- opening ---- */

static char *path_of(const char *dir, const char *name)
{
    struct buf b;
    size_t len;
    buf_init(&b);
    buf_append_str(&b, dir);
    buf_append_byte(&b, '/');
    buf_append_str(&b, name);
    buf_append_byte(&b, 0);
    return (char *)buf_take(&b, &len);
}

/* Two processes on one store would each trust their own memory of it. */
static int take_lock(struct store *s, struct err *e)
{
    char path[FILES_PATH_MAX];
    int rc = files_join(path, s->dir, "store.lock", e);
    if (rc != 0) {
        return rc;
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        return files_err(e, errno, "opening", path);
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return err_set(e, MU_E_IO, "%s is held by another process", path);
    }
    return 0;
}

static int is_trusted(const struct store *s)
{
    char path[FILES_PATH_MAX];
    struct mark found;
    return files_join(path, s->path, "mark", NULL) == 0 && mark_read(path, &found) == 0 &&
           mark_is_trusted(&found, &s->now);
}

static int write_mark(const struct store *s, int is_clean, struct err *e)
{
    char path[FILES_PATH_MAX];
    struct mark m = s->now;
    m.is_clean = is_clean;
    int rc = files_join(path, s->path, "mark", e);
    return rc != 0 ? rc : mark_write(path, &m, e);
}

/* Leaves a directory that may be opened, marked unclean. */
static int prepare_dir(struct store *s, int *out_was_reset, struct err *e)
{
    int was_reset = 0;
    int rc = files_remove_dir(s->path_new, e);
    rc = rc != 0 ? rc : files_remove_dir(s->path_old, e);
    if (rc == 0 && files_exists(s->path) && !is_trusted(s)) {
        was_reset = 1;
        rc = files_remove_dir(s->path, e);
    }
    rc = rc != 0 ? rc : files_mkdir(s->path, e);
    rc = rc != 0 ? rc : write_mark(s, 0, e);
    if (rc == 0) {
        *out_was_reset = was_reset;
    }
    return rc;
}

int store_reload(struct store *s, struct err *e)
{
    struct slice conf;
    struct db_txn *t = db_read_new(s->db);
    db_read_begin(t);
    int rc = meta_read(t, &s->meta);
    rc = rc != 0 ? rc : meta_read_conf(t, &conf);
    rc = rc != 0 ? rc : apply_load(s->apply, t);
    if (rc == 0) {
        buf_clear(&s->conf);
        buf_append_slice(&s->conf, conf);
    }
    db_read_end(t);
    db_read_free(t);
    return rc == 0 ? 0 : err_set(e, rc, "the store in %s cannot be read", s->path);
}

static uint64_t round_up(uint64_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

static void set_options(struct store *s, const struct store_options *o)
{
    s->options = *o;
    s->options.map_initial = round_up(o->map_initial != 0 ? o->map_initial : 256 * mib);
    s->options.map_max = round_up(o->map_max != 0 ? o->map_max : 64 * 1024 * mib);
    s->options.request_ids = o->request_ids != 0 ? o->request_ids : REQUEST_IDS_DEFAULT;
    s->dir = mem_strdup(o->dir);
    s->options.dir = s->dir;
    s->path = path_of(o->dir, "store");
    s->path_new = path_of(o->dir, "store.new");
    s->path_old = path_of(o->dir, "store.old");
    s->lock_fd = -1;
}

static void store_free(struct store *s)
{
    if (s->db != NULL) {
        store_drop_views(s);
        db_close(s->db);
    }
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    apply_free(s->apply);
    buf_fini(&s->conf);
    gate_fini(&s->gate);
    pthread_mutex_destroy(&s->pool_lock);
    mem_free(s->path_old);
    mem_free(s->path_new);
    mem_free(s->path);
    mem_free(s->dir);
    mem_free(s);
}

int store_open_at(const struct store_options *o, const struct mark *now, struct store **out,
                  int *out_was_reset, struct err *e)
{
    struct store *s = mem_zalloc(sizeof(*s));
    int was_reset = 0;
    set_options(s, o);
    s->now = *now;
    gate_init(&s->gate);
    pthread_mutex_init(&s->pool_lock, NULL);
    buf_init(&s->conf);
    s->apply = apply_new(s->options.request_ids);
    int rc = take_lock(s, e);
    rc = rc != 0 ? rc : prepare_dir(s, &was_reset, e);
    rc = rc != 0 ? rc : db_open(s->path, s->options.map_initial, &s->db, e);
    rc = rc != 0 ? rc : store_reload(s, e);
    if (rc != 0) {
        store_free(s);
        return rc;
    }
    atomic_store(&s->used_bytes, db_end_bytes(s->db));
    *out = s;
    *out_was_reset = was_reset;
    return 0;
}

int store_open(const struct store_options *o, struct store **out, int *out_was_reset, struct err *e)
{
    struct mark now;
    mark_now(o->dir, &now);
    return store_open_at(o, &now, out, out_was_reset, e);
}

void store_close(struct store *s, int is_clean)
{
    struct err e = {0};
    store_drop_views(s);
    if (is_clean) {
        int rc = db_sync(s->db, &e);
        rc = rc != 0 ? rc : write_mark(s, 1, &e);
        if (rc != 0) {
            log_debug("storage", "the store is not marked clean", LOG_STR("error", e.text));
        }
    }
    store_free(s);
}

/* ---- state ---- */

void store_state(const struct store *s, struct store_state *out)
{
    *out = (struct store_state){
        .applied = s->meta.applied,
        .applied_term = s->meta.applied_term,
        .revision = s->meta.revision,
        .hash = s->meta.hash,
        .conf_index = s->meta.conf_index,
        .conf = buf_slice(&s->conf),
    };
    memcpy(out->cluster_id, s->meta.cluster_id, sizeof(out->cluster_id));
}

uint64_t store_used_bytes(const struct store *s)
{
    return atomic_load(&s->used_bytes);
}

/* ---- room ---- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Pages are copied before they are changed, each at most once per transaction: what a batch adds to
 * the file is bounded by the pages there are and by what it writes. Addresses cost nothing, so the
 * map is far ahead of the blocks. */
static uint64_t blocks_needed(uint64_t end, uint64_t bytes)
{
    return end + mib + 4 * bytes + min_u64(128 * bytes, end);
}

static uint64_t map_needed(uint64_t end, uint64_t bytes)
{
    return end + 16 * mib + 16 * bytes + min_u64(1024 * bytes, end);
}

/* Readers must be out while the map moves. Early, a busy gate is left alone; when there is no other
 * way, it is waited for. */
static int grow_map(struct store *s, uint64_t need, struct err *e)
{
    uint64_t map = db_map_bytes(s->db);
    int is_urgent = need > map;
    if (map >= s->options.map_max || (!is_urgent && db_end_bytes(s->db) < map / 2)) {
        return 0;
    }
    if (is_urgent) {
        gate_close(&s->gate);
    } else if (!gate_try_close(&s->gate)) {
        return 0;
    }
    do {
        map *= 2;
    } while (map < need);
    int rc = db_set_map_bytes(s->db, min_u64(map, s->options.map_max), e);
    gate_open(&s->gate);
    return rc;
}

int store_has_room(struct store *s, uint64_t bytes, struct err *e)
{
    uint64_t end = db_end_bytes(s->db);
    int rc = grow_map(s, map_needed(end, bytes), e);
    if (rc != 0) {
        return rc;
    }
    uint64_t need = blocks_needed(end, bytes);
    if (need > db_map_bytes(s->db)) {
        return err_set(e, MU_E_DISK_FULL, "the store has reached its largest size");
    }
    return db_reserve(s->db, need, e);
}

/* ---- applying ---- */

static void take_conf(struct store *s, const struct store_entry *entries, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        if (entries[i].kind == STORE_CHANGE) {
            buf_clear(&s->conf);
            buf_append_slice(&s->conf, entries[i].data);
            return;
        }
    }
}

void store_apply(struct store *s, const struct store_entry *entries, size_t n, store_result_fn fn,
                 void *arg, struct change_set *out_changes)
{
    uint64_t bytes = 0, used;
    while (n != 0 && entries[0].index <= s->meta.applied) {
        entries++;
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        bytes += entries[i].data.len;
    }
    if (n == 0) {
        *out_changes = (struct change_set){0};
        return;
    }
    (void)store_has_room(s, bytes,
                         NULL); /* the caller has asked; this one is for those that did not */
    struct db_txn *t = db_write_begin(s->db);
    apply_begin(s->apply, t, &s->meta);
    for (size_t i = 0; i < n; i++) {
        apply_entry(s->apply, &entries[i], fn, arg);
    }
    apply_end(s->apply, out_changes);
    db_write_commit(t, &used);
    atomic_store(&s->used_bytes, used);
    take_conf(s, entries, n);
}

int store_leases(struct store *s, store_lease_fn fn, void *arg)
{
    struct view *v = view_open(s);
    int rc = view_leases(v, fn, arg);
    view_close(v);
    return rc;
}
