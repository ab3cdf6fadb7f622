/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/view.h"

#include "base/mem.h"
#include "base/wire.h"
#include "storage/db/longkey.h"
#include "storage/event.h"
#include "storage/store_impl.h"

struct view {
    struct store *store;
    struct db_txn *txn;
    struct meta meta;
    struct buf key;    /* of a point read; scans have their own */
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

void view_close(struct view *v)
{
    struct store *s = v->store;
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

/* Broken stored bytes are our own damage, whatever the decoder calls them. */
static int stored(int rc)
{
    return rc == MU_E_FORMAT ? MU_E_CORRUPT : rc;
}

static int newest_row(struct view *v, struct slice key, struct slice *out_row)
{
    struct slice value;
    int rc = longkey_get(v->txn, key, &value);
    return rc != 0 ? rc : event_resolve(v->txn, value, out_row);
}

static int row_before(struct view *v, const struct row_meta *m, struct slice *out_row)
{
    return m->prev_rev == 0 ? MU_E_NOT_FOUND
                            : event_get(v->txn, m->prev_rev, m->prev_sub, NULL, out_row);
}

/* The row as it was at `rev`. What is kept of a key is a gapless head of its chain, so a version
 * that is found is the right one, however old; only when the chain has ended does it matter what
 * was compacted. */
static int row_at(struct view *v, struct slice key, mu_rev rev, struct slice *out_row)
{
    struct slice row;
    struct row_meta m;
    if (rev > v->meta.revision) {
        return MU_E_FUTURE_REVISION;
    }
    int rc = newest_row(v, key, &row);
    while (rc == 0) {
        rc = stored(row_meta_decode(row, &m));
        if (rc == 0 && (rev == 0 || m.mod_rev <= rev)) {
            *out_row = row;
            return m.is_deleted ? MU_E_NOT_FOUND : 0;
        }
        rc = rc != 0 ? rc : row_before(v, &m, &row);
    }
    int is_forgotten = rc == MU_E_NOT_FOUND && rev != 0 && rev <= view_compacted(v, key.p[0]);
    return is_forgotten ? MU_E_COMPACTED : rc;
}

int view_config(struct view *v, const struct config_name *n, mu_rev rev, struct config_row *out)
{
    struct slice row;
    buf_clear(&v->key);
    key_config(&v->key, n);
    int rc = row_at(v, buf_slice(&v->key), rev, &row);
    return rc != 0 ? rc : stored(config_row_decode(row, out));
}

int view_service(struct view *v, const struct service_name *n, struct service_row *out)
{
    struct slice row;
    buf_clear(&v->key);
    key_service(&v->key, n);
    int rc = row_at(v, buf_slice(&v->key), 0, &row);
    return rc != 0 ? rc : stored(service_row_decode(row, out));
}

int view_instance(struct view *v, const struct instance_name *n, struct instance_row *out)
{
    struct slice row;
    buf_clear(&v->key);
    key_instance(&v->key, n);
    int rc = row_at(v, buf_slice(&v->key), 0, &row);
    return rc != 0 ? rc : stored(instance_row_decode(row, out));
}

int view_config_history(struct view *v, const struct config_name *n, mu_rev before,
                        view_config_fn fn, void *arg)
{
    struct slice row;
    struct config_row r;
    buf_clear(&v->key);
    key_config(&v->key, n);
    int rc = newest_row(v, buf_slice(&v->key), &row);
    while (rc == 0) {
        rc = stored(config_row_decode(row, &r));
        if (rc == 0 && (before == 0 || r.meta.mod_rev < before)) {
            rc = fn(arg, n, &r);
        }
        if (rc != 0) {
            return rc;
        }
        rc = row_before(v, &r.meta, &row);
    }
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

/* ---- many rows ---- */

/* Live rows under a prefix, in key order. */
typedef int (*row_fn)(void *arg, struct slice key, struct slice row);

static int scan(struct view *v, struct slice prefix, row_fn fn, void *arg)
{
    struct longkey_cur c;
    struct slice key, value, row;
    longkey_cur_open(&c, v->txn);
    int rc = longkey_cur_seek(&c, prefix, &key, &value);
    while (rc == 0 && slice_has_prefix(key, prefix)) {
        struct row_meta m;
        rc = event_resolve(v->txn, value, &row);
        rc = rc != 0 ? rc : stored(row_meta_decode(row, &m));
        if (rc == 0 && !m.is_deleted) {
            rc = fn(arg, key, row);
        }
        if (rc != 0) {
            longkey_cur_close(&c);
            return rc;
        }
        rc = longkey_cur_next(&c, &key, &value);
    }
    longkey_cur_close(&c);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

static int scan_and_free(struct view *v, struct buf *prefix, row_fn fn, void *arg)
{
    int rc = scan(v, buf_slice(prefix), fn, arg);
    buf_fini(prefix);
    return rc;
}

struct config_scan {
    view_config_fn fn;
    void *arg;
    struct slice key_prefix; /* checked here when the range could not say it */
};

static int on_config(void *arg, struct slice key, struct slice row)
{
    const struct config_scan *s = arg;
    struct config_name n;
    struct config_row r;
    int rc = stored(key_parse_config(key, &n));
    if (rc != 0 || !slice_has_prefix(n.key, s->key_prefix)) {
        return rc;
    }
    rc = stored(config_row_decode(row, &r));
    return rc != 0 ? rc : s->fn(s->arg, &n, &r);
}

int view_configs(struct view *v, struct slice ns, struct slice group, struct slice key_prefix,
                 view_config_fn fn, void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_config_prefix(&prefix, ns, group, key_prefix);
    return scan_and_free(v, &prefix, on_config, &(struct config_scan){fn, arg, key_prefix});
}

struct service_scan {
    view_service_fn fn;
    void *arg;
    struct slice name_prefix;
};

static int on_service(void *arg, struct slice key, struct slice row)
{
    const struct service_scan *s = arg;
    struct service_name n;
    struct service_row r;
    int rc = stored(key_parse_service(key, &n));
    if (rc != 0 || !slice_has_prefix(n.service, s->name_prefix)) {
        return rc;
    }
    rc = stored(service_row_decode(row, &r));
    return rc != 0 ? rc : s->fn(s->arg, &n, &r);
}

int view_services(struct view *v, struct slice ns, struct slice group, struct slice name_prefix,
                  view_service_fn fn, void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_service_prefix(&prefix, ns, group, name_prefix);
    return scan_and_free(v, &prefix, on_service, &(struct service_scan){fn, arg, name_prefix});
}

struct instance_scan {
    view_instance_fn fn;
    void *arg;
};

static int on_instance(void *arg, struct slice key, struct slice row)
{
    const struct instance_scan *s = arg;
    struct instance_name n;
    struct instance_row r;
    int rc = stored(key_parse_instance(key, &n));
    rc = rc != 0 ? rc : stored(instance_row_decode(row, &r));
    return rc != 0 ? rc : s->fn(s->arg, &n, &r);
}

int view_instances(struct view *v, const struct service_name *n, view_instance_fn fn, void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_instance_prefix(&prefix, n);
    return scan_and_free(v, &prefix, on_instance, &(struct instance_scan){fn, arg});
}

int view_all_instances(struct view *v, view_instance_fn fn, void *arg)
{
    return scan(v, slice_of((const uint8_t[]){SPACE_INSTANCE}, 1), on_instance,
                &(struct instance_scan){fn, arg});
}

/* ---- changes ---- */

static int is_wanted(const char *spaces, struct slice key)
{
    return strchr(spaces, key.p[0]) != NULL;
}

static int give_change(mu_rev rev, uint32_t sub, struct slice value, const char *spaces,
                       view_change_fn fn, void *arg)
{
    struct slice key, row;
    struct row_meta m;
    int rc = event_parse(value, &key, &row);
    if (rc != 0 || !is_wanted(spaces, key)) {
        return rc;
    }
    rc = stored(row_meta_decode(row, &m));
    return rc != 0 ? rc : fn(arg, rev, sub, key, row, m.is_deleted);
}

int view_changes(struct view *v, const char *spaces, mu_rev from, size_t max_changes,
                 view_change_fn fn, void *arg, mu_rev *out_next)
{
    uint8_t at[EVENT_KEY_SIZE];
    struct slice k, value;
    mu_rev last = 0, next = v->meta.revision + 1;
    size_t n = 0;
    from = from != 0 ? from : 1;
    for (const char *p = spaces; *p != 0; p++) {
        if (from <= view_compacted(v, (uint8_t)*p)) {
            return MU_E_COMPACTED;
        }
    }
    struct db_cur *c = db_cur_open(v->txn, DB_EVENTS);
    int rc = db_cur_seek(c, event_key(at, from, 0), &k, &value);
    while (rc == 0) {
        mu_rev rev;
        uint32_t sub;
        rc = event_key_parse(k, &rev, &sub);
        if (rc == 0 && n >= max_changes && rev != last) {
            next = rev;
            rc = MU_E_NOT_FOUND;
            break;
        }
        rc = rc != 0 ? rc : give_change(rev, sub, value, spaces, fn, arg);
        if (rc != 0) {
            db_cur_close(c);
            return rc;
        }
        last = rev;
        n++;
        rc = db_cur_next(c, &k, &value);
    }
    db_cur_close(c);
    if (rc == MU_E_NOT_FOUND) {
        *out_next = next > from ? next : from;
        return 0;
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
    return rc != 0 ? rc : stored(lease_row_decode(value, out));
}

int view_leases(struct view *v, store_lease_fn fn, void *arg)
{
    struct slice k, value;
    struct lease_row row;
    struct db_cur *c = db_cur_open(v->txn, DB_LEASES);
    int rc = db_cur_seek(c, slice_of(NULL, 0), &k, &value);
    while (rc == 0) {
        rc = stored(lease_row_decode(value, &row));
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
