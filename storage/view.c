/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/view_impl.h"

#include "base/mem.h"
#include "base/wire.h"
#include "storage/db/longkey.h"
#include "storage/event.h"
#include "storage/store_impl.h"

struct view {
    struct store *store;
    struct db_txn *txn;
    struct meta meta;
    struct buf key; /* of a point read; scans have their own */
    struct block {
        struct block *next;
        struct buf row;
    } * blocks;        /* rows that were put together, until view_close */
    struct view *next; /* in the pool */
};

/* ---- life ---- */

struct view *view_open(struct store *s)
{
    gate_enter(&s->gate);
    pthread_mutex_lock(&s->pool_lock);
    struct view *v = s->pool;
    if (v != NULL) {
        s->pool = v->next;
    }
    pthread_mutex_unlock(&s->pool_lock);
    if (v == NULL) {
        v = mem_zalloc(sizeof(*v));
        v->store = s;
        v->txn = db_read_new(s->db);
    }
    db_read_begin(v->txn);
    int rc = meta_read(v->txn, &v->meta);
    if (rc != 0) {
        db_fatal("reading the state of the store", rc);
    }
    return v;
}

static void free_blocks(struct view *v)
{
    while (v->blocks != NULL) {
        struct block *b = v->blocks;
        v->blocks = b->next;
        buf_fini(&b->row);
        mem_free(b);
    }
}

void view_close(struct view *v)
{
    struct store *s = v->store;
    free_blocks(v);
    db_read_end(v->txn);
    pthread_mutex_lock(&s->pool_lock);
    v->next = s->pool;
    s->pool = v;
    pthread_mutex_unlock(&s->pool_lock);
    gate_leave(&s->gate);
}

void store_drop_views(struct store *s)
{
    while (s->pool != NULL) {
        struct view *v = s->pool;
        s->pool = v->next;
        db_read_free(v->txn);
        buf_fini(&v->key);
        mem_free(v);
    }
}

struct db_txn *view_txn(struct view *v)
{
    return v->txn;
}

const struct meta *view_meta(const struct view *v)
{
    return &v->meta;
}

mu_rev view_revision(const struct view *v)
{
    return v->meta.revision;
}

mu_index view_applied(const struct view *v)
{
    return v->meta.applied;
}

mu_rev view_compacted(const struct view *v, uint8_t space)
{
    enum meta_slot slot = meta_slot_of(space);
    return slot < META_SLOT_N ? v->meta.compacted[slot] : 0;
}

/* ---- one row ---- */

int view_stored(int rc)
{
    return rc == MU_E_FORMAT ? MU_E_CORRUPT : rc;
}

int view_link(struct view *v, enum link_kind kind, struct slice x, struct slice y,
              struct slice *out)
{
    buf_clear(&v->key);
    link_key_put(&v->key, kind, x, y);
    return db_get(v->txn, DB_LINKS, buf_slice(&v->key), out);
}

static int newest_row(struct view *v, struct slice key, struct event *out)
{
    struct slice value;
    int rc = longkey_get(v->txn, key, &value);
    return rc != 0 ? rc : event_resolve(v->txn, value, out);
}

static int row_before(struct view *v, const struct row_meta *m, struct event *out)
{
    return m->prev_rev == 0 ? MU_E_NOT_FOUND : event_get(v->txn, m->prev_rev, m->prev_sub, out);
}

/* The row as it was at `rev`. What is kept of a key is a gapless head of its chain, so a version
 * that is found is the right one, however old; only when the chain has ended does it matter what
 * was compacted. */
static int find_row(struct view *v, struct slice key, mu_rev rev, struct event *out)
{
    struct event ev;
    struct row_meta m;
    if (rev > v->meta.revision) {
        return MU_E_FUTURE_REVISION;
    }
    int rc = newest_row(v, key, &ev);
    while (rc == 0) {
        rc = view_stored(row_meta_decode(ev.head, &m));
        if (rc == 0 && (rev == 0 || m.mod_rev <= rev)) {
            *out = ev;
            return m.is_deleted ? MU_E_NOT_FOUND : 0;
        }
        rc = rc != 0 ? rc : row_before(v, &m, &ev);
    }
    int is_forgotten = rc == MU_E_NOT_FOUND && rev != 0 && rev <= view_compacted(v, key.p[0]);
    return is_forgotten ? MU_E_COMPACTED : rc;
}

/* In one piece until view_close. */
static int keep_row(struct view *v, const struct event *ev, struct slice *out)
{
    if (!ev->is_cut) {
        *out = ev->head;
        return 0;
    }
    struct block *b = mem_zalloc(sizeof(*b));
    b->next = v->blocks;
    v->blocks = b;
    return event_row(v->txn, ev, &b->row, out);
}

static int point_read(struct view *v, mu_rev rev, struct slice *out)
{
    struct event ev;
    int rc = find_row(v, buf_slice(&v->key), rev, &ev);
    return rc != 0 ? rc : keep_row(v, &ev, out);
}

int view_config(struct view *v, const struct config_name *n, mu_rev rev, struct config_row *out)
{
    struct slice row;
    buf_clear(&v->key);
    key_config(&v->key, n);
    int rc = point_read(v, rev, &row);
    return rc != 0 ? rc : view_stored(config_row_decode(row, out));
}

int view_config_head(struct view *v, const struct config_name *n, mu_rev rev,
                     struct config_row *out)
{
    struct event ev;
    struct slice row;
    buf_clear(&v->key);
    key_config(&v->key, n);
    int rc = find_row(v, buf_slice(&v->key), rev, &ev);
    if (rc != 0 || config_row_decode_head(ev.head, ev.row_len, out) == 0) {
        return rc;
    }
    rc = keep_row(v, &ev, &row);
    return rc != 0 ? rc : view_stored(config_row_decode(row, out));
}

int view_service(struct view *v, const struct service_name *n, struct service_row *out)
{
    struct slice row;
    buf_clear(&v->key);
    key_service(&v->key, n);
    int rc = point_read(v, 0, &row);
    return rc != 0 ? rc : view_stored(service_row_decode(row, out));
}

int view_instance(struct view *v, const struct instance_name *n, struct instance_row *out)
{
    struct slice row;
    buf_clear(&v->key);
    key_instance(&v->key, n);
    int rc = point_read(v, 0, &row);
    return rc != 0 ? rc : view_stored(instance_row_decode(row, out));
}

/* A config for a callback: without its content when that would have to be put together. */
static int config_for_callback(struct view *v, const struct event *ev, struct buf *mem,
                               struct config_row *out)
{
    struct slice row;
    if (config_row_decode_head(ev->head, ev->row_len, out) == 0) {
        return 0;
    }
    int rc = event_row(v->txn, ev, mem, &row);
    return rc != 0 ? rc : view_stored(config_row_decode(row, out));
}

int view_config_history(struct view *v, const struct config_name *n, mu_rev before,
                        view_config_fn fn, void *arg)
{
    struct event ev;
    struct config_row r;
    struct buf mem;
    buf_init(&mem);
    buf_clear(&v->key);
    key_config(&v->key, n);
    int rc = newest_row(v, buf_slice(&v->key), &ev), stop = 0;
    while (rc == 0) {
        stop = config_for_callback(v, &ev, &mem, &r);
        if (stop == 0 && (before == 0 || r.meta.mod_rev < before)) {
            stop = fn(arg, n, &r);
        }
        if (stop != 0) {
            break;
        }
        rc = row_before(v, &r.meta, &ev);
    }
    buf_fini(&mem);
    return stop != 0 ? stop : rc == MU_E_NOT_FOUND ? 0 : rc;
}

int view_row(struct view *v, struct slice key, mu_rev rev, struct slice *out)
{
    struct event ev;
    int rc = find_row(v, key, rev, &ev);
    return rc != 0 ? rc : keep_row(v, &ev, out);
}

/* ---- many rows ---- */

/* Where a row lies that must be put together, until the next one. */
static int give_row(struct view *v, struct slice key, struct slice value, struct buf *mem,
                    view_row_fn fn, void *arg)
{
    struct event ev;
    struct slice row;
    int rc = event_resolve(v->txn, value, &ev);
    rc = rc != 0 ? rc : event_row(v->txn, &ev, mem, &row);
    return rc != 0 ? rc : fn(arg, key, row);
}

int view_rows(struct view *v, struct slice prefix, struct slice start, view_row_fn fn, void *arg)
{
    struct longkey_cur c;
    struct slice key, value;
    struct buf mem;
    int stop = 0;
    buf_init(&mem);
    longkey_cur_open(&c, v->txn);
    int rc = longkey_cur_seek(&c, start.len != 0 ? start : prefix, &key, &value);
    while (rc == 0 && slice_has_prefix(key, prefix)) {
        stop = give_row(v, key, value, &mem, fn, arg);
        if (stop != 0) {
            break;
        }
        rc = longkey_cur_next(&c, &key, &value);
    }
    longkey_cur_close(&c);
    buf_fini(&mem);
    return stop != 0 ? stop : rc == MU_E_NOT_FOUND ? 0 : rc;
}

/* Live rows under a prefix, in key order. `mem` is for a row that must be put together, until the
 * next one. */
struct scan {
    struct view *view;
    struct buf mem;
    struct slice name_prefix; /* checked here when the range could not say it */
    union {
        view_config_fn config;
        view_service_fn service;
        view_instance_fn instance;
    } fn;
    void *arg;
};
typedef int (*row_fn)(struct scan *s, struct slice key, const struct event *ev);

static int give_live(struct scan *s, struct slice key, struct slice value, row_fn fn)
{
    struct event ev;
    struct row_meta m;
    int rc = event_resolve(s->view->txn, value, &ev);
    rc = rc != 0 ? rc : view_stored(row_meta_decode(ev.head, &m));
    return rc != 0 || m.is_deleted ? rc : fn(s, key, &ev);
}

static int scan(struct scan *s, struct slice prefix, row_fn fn)
{
    struct longkey_cur c;
    struct slice key, value;
    longkey_cur_open(&c, s->view->txn);
    int rc = longkey_cur_seek(&c, prefix, &key, &value);
    int stop = 0;
    while (rc == 0 && slice_has_prefix(key, prefix)) {
        stop = give_live(s, key, value, fn);
        if (stop != 0) {
            break;
        }
        rc = longkey_cur_next(&c, &key, &value);
    }
    longkey_cur_close(&c);
    buf_fini(&s->mem);
    return stop != 0 ? stop : rc == MU_E_NOT_FOUND ? 0 : rc;
}

static int scan_from(struct scan *s, struct buf *prefix, row_fn fn)
{
    int rc = scan(s, buf_slice(prefix), fn);
    buf_fini(prefix);
    return rc;
}

static int on_config(struct scan *s, struct slice key, const struct event *ev)
{
    struct config_name n;
    struct config_row r;
    int rc = view_stored(key_parse_config(key, &n));
    if (rc != 0 || !slice_has_prefix(n.key, s->name_prefix)) {
        return rc;
    }
    rc = config_for_callback(s->view, ev, &s->mem, &r);
    return rc != 0 ? rc : s->fn.config(s->arg, &n, &r);
}

int view_configs(struct view *v, struct slice ns, struct slice group, struct slice key_prefix,
                 view_config_fn fn, void *arg)
{
    struct buf prefix;
    struct scan s = {.view = v, .name_prefix = key_prefix, .fn.config = fn, .arg = arg};
    buf_init(&prefix);
    key_config_prefix(&prefix, ns, group, key_prefix);
    return scan_from(&s, &prefix, on_config);
}

static int on_service(struct scan *s, struct slice key, const struct event *ev)
{
    struct service_name n;
    struct service_row r;
    int rc = view_stored(key_parse_service(key, &n));
    if (rc != 0 || !slice_has_prefix(n.service, s->name_prefix)) {
        return rc;
    }
    rc = view_stored(service_row_decode(ev->head, &r));
    return rc != 0 ? rc : s->fn.service(s->arg, &n, &r);
}

int view_services(struct view *v, struct slice ns, struct slice group, struct slice name_prefix,
                  view_service_fn fn, void *arg)
{
    struct buf prefix;
    struct scan s = {.view = v, .name_prefix = name_prefix, .fn.service = fn, .arg = arg};
    buf_init(&prefix);
    key_service_prefix(&prefix, ns, group, name_prefix);
    return scan_from(&s, &prefix, on_service);
}

static int on_instance(struct scan *s, struct slice key, const struct event *ev)
{
    struct instance_name n;
    struct instance_row r;
    struct slice row;
    int rc = view_stored(key_parse_instance(key, &n));
    rc = rc != 0 ? rc : event_row(s->view->txn, ev, &s->mem, &row);
    rc = rc != 0 ? rc : view_stored(instance_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.instance(s->arg, &n, &r);
}

int view_instances(struct view *v, const struct service_name *n, view_instance_fn fn, void *arg)
{
    struct buf prefix;
    struct scan s = {.view = v, .fn.instance = fn, .arg = arg};
    buf_init(&prefix);
    key_instance_prefix(&prefix, n);
    return scan_from(&s, &prefix, on_instance);
}

int view_all_instances(struct view *v, view_instance_fn fn, void *arg)
{
    struct scan s = {.view = v, .fn.instance = fn, .arg = arg};
    return scan(&s, slice_of((const uint8_t[]){SPACE_INSTANCE}, 1), on_instance);
}

/* ---- changes ---- */

static int is_wanted(const char *spaces, struct slice key)
{
    return strchr(spaces, key.p[0]) != NULL;
}

struct change_scan {
    struct view *view;
    const char *spaces;
    view_change_fn fn;
    void *arg;
    struct buf mem;
    mu_rev last; /* that was given */
    size_t n;
};

static int give_change(struct change_scan *s, const struct event *ev)
{
    struct slice row;
    struct row_meta m;
    s->last = ev->rev;
    s->n++;
    if (!is_wanted(s->spaces, ev->key)) {
        return 0;
    }
    int rc = event_row(s->view->txn, ev, &s->mem, &row);
    rc = rc != 0 ? rc : view_stored(row_meta_decode(row, &m));
    return rc != 0 ? rc : s->fn(s->arg, ev->rev, ev->sub, ev->key, row, m.is_deleted);
}

/* Up to max_changes, then to the end of the revision; *out_next says where to go on. */
static int scan_changes(struct change_scan *s, mu_rev from, size_t max_changes, mu_rev *out_next)
{
    uint8_t at[EVENT_KEY_SIZE];
    struct slice key, value;
    struct event ev;
    struct db_cur *c = db_cur_open(s->view->txn, DB_EVENTS);
    int rc = db_cur_seek(c, event_key(at, from, 0), &key, &value);
    while (rc == 0) {
        rc = event_parse(key, value, &ev);
        if (rc == 0 && s->n >= max_changes && ev.rev != s->last) {
            *out_next = ev.rev;
            break;
        }
        rc = rc != 0 ? rc : give_change(s, &ev);
        if (rc != 0) {
            break;
        }
        rc = db_cur_next(c, &key, &value);
        if (rc == MU_E_NOT_FOUND) {
            rc = 0;
            break;
        }
    }
    db_cur_close(c);
    return rc;
}

int view_changes(struct view *v, const char *spaces, mu_rev from, size_t max_changes,
                 view_change_fn fn, void *arg, mu_rev *out_next)
{
    mu_rev next = v->meta.revision + 1;
    from = from != 0 ? from : 1;
    for (const char *p = spaces; *p != 0; p++) {
        if (from <= view_compacted(v, (uint8_t)*p)) {
            return MU_E_COMPACTED;
        }
    }
    if (from >= next) {
        *out_next = from;
        return 0;
    }
    struct change_scan s = {.view = v, .spaces = spaces, .fn = fn, .arg = arg};
    int rc = scan_changes(&s, from, max_changes, &next);
    buf_fini(&s.mem);
    if (rc == 0) {
        *out_next = next;
    }
    return rc;
}

/* ---- leases ---- */

static struct slice put_id(uint8_t out[8], mu_lease_id id)
{
    wire_set_u64_be(out, id);
    return slice_of(out, 8);
}

int view_lease(struct view *v, mu_lease_id id, struct lease_row *out)
{
    uint8_t key[8];
    struct slice value;
    int rc = db_get(v->txn, DB_LEASES, put_id(key, id), &value);
    return rc != 0 ? rc : view_stored(lease_row_decode(value, out));
}

int view_leases(struct view *v, store_lease_fn fn, void *arg)
{
    struct slice k, value;
    struct lease_row row;
    struct db_cur *c = db_cur_open(v->txn, DB_LEASES);
    int rc = db_cur_seek(c, slice_of(NULL, 0), &k, &value);
    while (rc == 0) {
        rc = view_stored(lease_row_decode(value, &row));
        rc = rc != 0 ? rc : fn(arg, &row);
        if (rc != 0) {
            db_cur_close(c);
            return rc;
        }
        rc = db_cur_next(c, &k, &value);
    }
    db_cur_close(c);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

int view_lease_keys(struct view *v, mu_lease_id id, view_key_fn fn, void *arg)
{
    uint8_t prefix[8];
    struct slice k, value;
    (void)put_id(prefix, id);
    struct db_cur *c = db_cur_open(v->txn, DB_LEASE_KEYS);
    int rc = db_cur_seek(c, slice_of(prefix, sizeof(prefix)), &k, &value);
    while (rc == 0 && slice_has_prefix(k, slice_of(prefix, sizeof(prefix)))) {
        rc = fn(arg, value);
        if (rc != 0) {
            db_cur_close(c);
            return rc;
        }
        rc = db_cur_next(c, &k, &value);
    }
    db_cur_close(c);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}
