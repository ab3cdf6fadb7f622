/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the catalog: of a node, or of one of its services. Their rows say how they are; the
 * instances they speak of count them and are written anew with each change.
 *
 * A TTL check owns a lease. When it runs out the check is critical; when it is kept alive after
 * that, passing, since only a passing check is kept alive in that way. */
#include "storage/apply/apply_impl.h"

#include <string.h>

#include "base/wire.h"

static const char expired[] = "TTL expired";
static const char expired_after[] = "TTL expired (last output before timeout follows): ";

/* A check as it is: its row's key, and what it says. */
struct found {
    struct buf key;
    struct row_at cur;
    struct check_row row; /* borrows from the row */
};

static void found_open(struct apply *a, const struct check_name *n, struct found *out)
{
    *out = (struct found){0};
    key_check(&out->key, n);
    row_find(a, buf_slice(&out->key), &out->cur);
    if (out->cur.is_live) {
        int rc = check_row_decode(row_bytes(a, &out->cur), &out->row);
        MU_INVARIANT(rc == 0);
    }
}

static void found_close(struct found *f)
{
    buf_fini(&f->key);
}

int check_is_there(struct apply *a, struct slice node, struct slice id, struct buf *out_service_id)
{
    struct slice service;
    int rc = link_get(a, LINK_CHECK, node, id, &service);
    if (rc == 0 && out_service_id != NULL) {
        buf_clear(out_service_id);
        buf_append_slice(out_service_id, service);
    }
    return rc == 0;
}

int check_status_of(struct apply *a, const struct check_name *n, enum check_status *out)
{
    struct found f;
    found_open(a, n, &f);
    *out = f.row.status;
    int rc = f.cur.is_live ? 0 : MU_E_NOT_FOUND;
    found_close(&f);
    return rc;
}

/* --- counting --- */

static void count(struct check_count *d, const struct check_name *n, const struct check_row *row,
                  int by)
{
    int is_critical = row->status == CHECK_CRITICAL;
    if (n->service_id.len == 0) {
        d->node_critical += is_critical ? by : 0;
        return;
    }
    d->all += by;
    d->warning += row->status == CHECK_WARNING ? by : 0;
    d->critical += is_critical ? by : 0;
}

static void touch(struct apply *a, const struct check_name *n, const struct check_count *d)
{
    if (n->service_id.len != 0) {
        service_touch(a, n->node, n->service_id, d);
    } else {
        node_touch(a, n->node, d->node_critical);
    }
}

/* --- links --- */

static void link_check(struct apply *a, const struct check_name *n, int is_agent)
{
    struct buf at;
    buf_init(&at);
    link_put(a, LINK_CHECK, n->node, n->id, n->service_id);
    if (is_agent) {
        buf_append_slice(&at, n->node);
        buf_append_byte(&at, 0);
        buf_append_slice(&at, n->service_id);
        link_put(a, LINK_AGENT_CHECK, n->id, slice_of(NULL, 0), buf_slice(&at));
    }
    buf_fini(&at);
}

static void unlink_check(struct apply *a, const struct check_name *n, int is_agent)
{
    link_del(a, LINK_CHECK, n->node, n->id);
    if (is_agent) {
        link_del(a, LINK_AGENT_CHECK, n->id, slice_of(NULL, 0));
    }
}

/* --- writing --- */

/* The row in place of what was found. */
static void write_row(struct apply *a, const struct check_name *n, struct found *f,
                      const struct check_row *row)
{
    struct check_count d = {0};
    int was_critical = f->cur.is_live && f->row.status == CHECK_CRITICAL;
    int is_critical = row->status == CHECK_CRITICAL;
    if (f->cur.is_live) {
        count(&d, n, &f->row, -1);
    }
    count(&d, n, row, 1);
    buf_clear(&a->row);
    check_row_encode(&a->row, row);
    row_write(a, &f->cur);
    touch(a, n, &d);
    if (is_critical && !was_critical) {
        session_check_failed(a, n->node, n->id);
    }
}

static int64_t critical_since(const struct apply *a, const struct found *f, enum check_status now)
{
    int was_critical = f->cur.is_live && f->row.critical_at != 0;
    return now != CHECK_CRITICAL ? 0 : was_critical ? f->row.critical_at : a->wall_ms;
}

/* A tombstone, and its lease with it; nothing is touched. */
static void bury(struct apply *a, const struct check_name *n, struct found *f)
{
    struct check_row row = {.meta = row_next_meta(a, &f->cur)};
    struct row_meta was = f->row.meta;
    int is_agent = f->row.is_agent;
    row.meta.is_deleted = 1;
    row.meta.lease = 0;
    buf_clear(&a->row);
    check_row_encode(&a->row, &row);
    row_write(a, &f->cur);
    unlink_check(a, n, is_agent);
    if (was.lease != 0) {
        lease_detach(a, was.lease, &was);
        lease_remove(a, was.lease);
    }
}

static void remove_check(struct apply *a, const struct check_name *n)
{
    struct found f;
    struct check_count d = {0};
    found_open(a, n, &f);
    MU_INVARIANT(f.cur.is_live);
    count(&d, n, &f.row, -1);
    bury(a, n, &f);
    touch(a, n, &d);
    found_close(&f);
    session_check_failed(a, n->node, n->id);
}

/* --- many --- */

typedef void (*check_fn)(struct apply *a, const struct check_name *n, void *arg);

static void each_check(struct apply *a, struct slice node, struct slice service_id, check_fn fn,
                       void *arg)
{
    struct buf prefix, at, key;
    struct check_name n;
    buf_init(&prefix);
    buf_init(&at);
    buf_init(&key);
    key_check_prefix_of(&prefix, node, service_id);
    buf_append_slice(&at, buf_slice(&prefix));
    while (row_next(a, buf_slice(&prefix), &at, &key)) {
        int rc = key_parse_check(buf_slice(&key), &n);
        MU_INVARIANT(rc == 0);
        fn(a, &n, arg);
    }
    buf_fini(&prefix);
    buf_fini(&at);
    buf_fini(&key);
}

static void bury_one(struct apply *a, const struct check_name *n, void *arg)
{
    struct found f;
    (void)arg;
    found_open(a, n, &f);
    bury(a, n, &f);
    found_close(&f);
    session_check_failed(a, n->node, n->id);
}

void checks_gone(struct apply *a, struct slice node, struct slice service_id)
{
    each_check(a, node, service_id, bury_one, NULL);
}

static void count_one(struct apply *a, const struct check_name *n, void *arg)
{
    enum check_status status;
    uint32_t *sum = arg;
    *sum += check_status_of(a, n, &status) == 0 && status == CHECK_CRITICAL;
}

uint32_t checks_critical(struct apply *a, struct slice node)
{
    uint32_t n = 0;
    each_check(a, node, slice_of(NULL, 0), count_one, &n);
    return n;
}

struct moving {
    struct slice to;
    unsigned n;
};

/* Its row goes to the other node's key as it is; so do its lease and its links. */
static void move_one(struct apply *a, const struct check_name *n, void *arg)
{
    struct moving *m = arg;
    struct found f, there;
    struct check_name to = {m->to, n->service_id, n->id};
    struct check_count was = {0}, is = {0};
    found_open(a, n, &f);
    int is_taken = check_is_there(a, m->to, n->id, NULL);
    if (n->service_id.len == 0 && (!f.row.is_agent || is_taken)) {
        found_close(&f);
        return;
    }
    count(&was, n, &f.row, -1);
    count(&is, &to, &f.row, 1);
    if (is_taken) { /* it cannot go along with its service */
        bury(a, n, &f);
        found_close(&f);
        service_touch(a, m->to, n->service_id, &was);
        return;
    }
    found_open(a, &to, &there);
    struct row_meta old = f.row.meta;
    int is_agent = f.row.is_agent;
    struct check_row row = f.row;
    row.meta = row_next_meta(a, &there.cur);
    row.meta.lease = old.lease;
    buf_clear(&a->row);
    check_row_encode(&a->row, &row);
    row_write(a, &there.cur);
    found_close(&f);
    if (old.lease != 0) {
        lease_detach(a, old.lease, &old);
        lease_attach(a, old.lease, &row.meta, buf_slice(&there.key));
    }
    found_open(a, n, &f);
    f.row.meta.lease = 0; /* it went */
    bury(a, n, &f);
    link_check(a, &to, is_agent);
    if (n->service_id.len == 0) { /* a service took its counts along */
        touch(a, n, &was);
        touch(a, &to, &is);
    }
    m->n++;
    found_close(&f);
    found_close(&there);
}

unsigned checks_move(struct apply *a, struct slice node, struct slice service_id, struct slice to)
{
    struct moving m = {.to = to};
    each_check(a, node, service_id, move_one, &m);
    return m.n;
}

static void rename_one(struct apply *a, const struct check_name *n, void *arg)
{
    struct found f;
    const struct slice *service = arg;
    found_open(a, n, &f);
    struct check_row row = f.row;
    row.meta = row_next_meta(a, &f.cur);
    row.service_name = *service;
    buf_clear(&a->row);
    check_row_encode(&a->row, &row);
    row_write(a, &f.cur);
    found_close(&f);
}

void checks_rename(struct apply *a, struct slice node, struct slice service_id,
                   struct slice service)
{
    each_check(a, node, service_id, rename_one, &service);
}

/* --- its lease --- */

static int starts_with(struct slice s, const char *text)
{
    return slice_has_prefix(s, slice_of(text, strlen(text)));
}

static void expire(struct buf *out, struct slice output)
{
    if (output.len == 0 || starts_with(output, expired)) {
        buf_append_str(out, expired);
        return;
    }
    buf_append_str(out, expired_after);
    size_t left = CHECK_OUTPUT_MAX - out->len;
    buf_append(out, output.p, output.len < left ? output.len : left);
}

static struct slice output_before(struct slice output)
{
    size_t head = sizeof(expired_after) - 1;
    return starts_with(output, expired_after) ? slice_of(output.p + head, output.len - head)
                                              : slice_of(NULL, 0);
}

void check_by_lease(struct apply *a, struct slice key, enum instance_order order)
{
    struct buf name, output;
    struct check_name n;
    struct found f;
    buf_init(&name);
    buf_init(&output);
    buf_append_slice(&name, key);
    int rc = key_parse_check(buf_slice(&name), &n);
    MU_INVARIANT(rc == 0);
    if (order == INSTANCE_REMOVE) {
        remove_check(a, &n);
    } else {
        int is_well = order == INSTANCE_HEALTHY;
        found_open(a, &n, &f);
        MU_INVARIANT(f.cur.is_live);
        struct check_row row = f.row;
        row.meta = row_next_meta(a, &f.cur);
        if (!is_well) {
            expire(&output, f.row.output);
        } else {
            buf_append_slice(&output, output_before(f.row.output));
        }
        row.status = is_well ? CHECK_PASSING : CHECK_CRITICAL;
        row.output = buf_slice(&output);
        row.critical_at = critical_since(a, &f, row.status);
        if (row.status != f.row.status || !slice_eq(row.output, f.row.output)) {
            write_row(a, &n, &f, &row);
        }
        found_close(&f);
    }
    buf_fini(&name);
    buf_fini(&output);
}

static void lease_anew(struct apply *a, mu_lease_id id, int64_t ttl_ms)
{
    struct lease_row l = {0};
    (void)lease_find(a, id, &l);
    lease_write(a, &(struct lease_row){.id = id,
                                       .ttl_ms = ttl_ms,
                                       .generation = l.generation + 1,
                                       .remaining_ms = ttl_ms,
                                       .remove_after_ms = REMOVE_NEVER,
                                       .is_owned = 1});
}

/* --- operations --- */

/* Where the check that is meant stands. */
struct where {
    struct buf node, service_id;
    int is_there;
};

static void where_open(struct apply *a, const struct op_check *m, struct where *out)
{
    struct slice at;
    *out = (struct where){0};
    if (!m->is_agent) {
        buf_append_slice(&out->node, m->name.node);
        out->is_there = check_is_there(a, m->name.node, m->name.id, &out->service_id);
        return;
    }
    if (link_get(a, LINK_AGENT_CHECK, m->name.id, slice_of(NULL, 0), &at) == 0) {
        const uint8_t *zero = memchr(at.p, 0, at.len);
        MU_INVARIANT(zero != NULL);
        size_t n = (size_t)(zero - at.p);
        buf_append(&out->node, at.p, n);
        buf_append(&out->service_id, zero + 1, at.len - n - 1);
        out->is_there = 1;
    }
}

static struct check_name name_of(const struct where *w, struct slice id)
{
    return (struct check_name){buf_slice(&w->node), buf_slice(&w->service_id), id};
}

static void where_close(struct where *w)
{
    buf_fini(&w->node);
    buf_fini(&w->service_id);
}

static int refuse(struct apply *a, const struct op *o, const struct where *w)
{
    int has_condition = o->type == OP_CHECK_CAS || o->type == OP_CHECK_DELETE_CAS;
    mu_rev now = 0;
    if (!has_condition) {
        return 0;
    }
    if (w->is_there) {
        struct found f;
        struct check_name n = name_of(w, o->u.check.name.id);
        found_open(a, &n, &f);
        now = f.cur.meta.mod_rev;
        found_close(&f);
    }
    if (now == o->expect) {
        return 0;
    }
    return o->expect == 0 ? MU_E_EXISTS : MU_E_REVISION_MISMATCH;
}

static void tell(struct apply *a, const struct check_name *n, int wants_row, struct txn_item *item)
{
    struct row_at cur;
    buf_clear(&a->key);
    key_check(&a->key, n);
    row_find(a, buf_slice(&a->key), &cur);
    item->mod_rev = cur.is_live ? cur.meta.mod_rev : 0;
    if (wants_row) {
        row_tell(a, buf_slice(&a->key), item);
    }
}

/* What is new in `row` when the check was `f`. */
static void fill(struct apply *a, const struct op_check *m, struct found *f, struct check_row *row)
{
    *row = m->row;
    row->meta = row_next_meta(a, &f->cur);
    row->is_agent = m->is_agent || (f->cur.is_live && f->row.is_agent);
    if (m->keep_status && f->cur.is_live) {
        row->status = f->row.status;
        row->output = f->row.output;
    }
    row->critical_at = critical_since(a, f, row->status);
    row->meta.lease = row->ttl_ms == 0                           ? 0
                      : f->cur.is_live && f->row.meta.lease != 0 ? f->row.meta.lease
                                                                 : m->lease_id;
}

static void put(struct apply *a, const struct op_check *m, const struct check_name *n,
                struct slice service)
{
    struct found f;
    struct check_row row;
    found_open(a, n, &f);
    fill(a, m, &f, &row);
    row.service_name = service;
    mu_lease_id lease = row.meta.lease;
    struct row_meta was = f.row.meta, is = row.meta;
    buf_clear(&a->row);
    check_row_encode(&a->row, &row);
    if (!row_is_same(a, &f.cur) || was.lease != lease) {
        write_row(a, n, &f, &row);
        link_check(a, n, row.is_agent);
    }
    if (was.lease != lease && was.lease != 0) {
        lease_detach(a, was.lease, &was);
        lease_remove(a, was.lease);
    }
    if (was.lease != lease && lease != 0) {
        lease_attach(a, lease, &is, buf_slice(&f.key));
    }
    if (lease != 0) {
        lease_anew(a, lease, m->row.ttl_ms);
    }
    found_close(&f);
}

/* Where it shall stand, and how the service is called. NOT_FOUND. */
static int place_for(struct apply *a, const struct op_check *m, const struct where *w,
                     struct buf *out_node, struct buf *out_service)
{
    struct spot s = {0};
    struct slice node = w->is_there && m->is_agent ? buf_slice(&w->node) : m->name.node;
    int rc = 0;
    if (m->name.service_id.len == 0) {
        buf_append_slice(out_node, node);
        return node_is_there(a, node) ? 0 : MU_E_NOT_FOUND;
    }
    rc = spot_open(a, m->is_agent, m->name.node, m->name.service_id, &s);
    if (rc == 0 && s.instance.len != 0) {
        struct instance_name n;
        rc = key_parse_instance(buf_slice(&s.instance), &n);
        MU_INVARIANT(rc == 0);
        buf_append_slice(out_node, buf_slice(&s.node));
        buf_append_slice(out_service, n.service);
    } else {
        rc = MU_E_NOT_FOUND;
    }
    spot_close(&s);
    return rc;
}

static int refuse_lease(struct apply *a, const struct op_check *m)
{
    struct lease_row l;
    int is_taken = m->row.ttl_ms != 0 && lease_find(a, m->lease_id, &l) == 0;
    return is_taken ? MU_E_CONFLICT : 0;
}

static void set(struct apply *a, const struct op *o, const struct where *w, struct txn_item *item)
{
    const struct op_check *m = &o->u.check;
    struct buf node, service, there;
    buf_init(&node);
    buf_init(&service);
    buf_init(&there);
    item->code = place_for(a, m, w, &node, &service);
    item->code = item->code != 0 ? item->code : refuse(a, o, w);
    item->code = item->code != 0 ? item->code : refuse_lease(a, m);
    if (item->code == 0) {
        struct check_name n = {buf_slice(&node), m->name.service_id, m->name.id};
        struct check_name was = name_of(w, m->name.id);
        if (w->is_there &&
            !(slice_eq(was.node, n.node) && slice_eq(was.service_id, n.service_id))) {
            remove_check(a, &was);
        } else if (!w->is_there && check_is_there(a, n.node, n.id, &there) &&
                   !slice_eq(buf_slice(&there), n.service_id)) {
            remove_check(a, &(struct check_name){n.node, buf_slice(&there), n.id});
        }
        put(a, m, &n, buf_slice(&service));
        tell(a, &n, a->wants_rows, item);
    }
    buf_fini(&node);
    buf_fini(&service);
    buf_fini(&there);
}

/* Status and output alone; its time runs anew. */
static void set_status(struct apply *a, const struct op_check *m, const struct check_name *n,
                       struct txn_item *item)
{
    struct found f;
    found_open(a, n, &f);
    mu_lease_id lease = f.row.meta.lease;
    int64_t ttl_ms = f.row.ttl_ms;
    if (f.row.status != m->row.status || !slice_eq(f.row.output, m->row.output)) {
        struct check_row row = f.row;
        row.meta = row_next_meta(a, &f.cur);
        row.status = m->row.status;
        row.output = m->row.output;
        row.critical_at = critical_since(a, &f, row.status);
        write_row(a, n, &f, &row);
    }
    found_close(&f);
    if (lease != 0) {
        lease_anew(a, lease, ttl_ms);
    }
    tell(a, n, a->wants_rows, item);
}

static void keep_one(struct apply *a, const struct check_name *n, void *arg)
{
    const struct op_check *m = arg;
    if (!tags_has(m->keep, n->id)) {
        remove_check(a, n);
    }
}

static void keep(struct apply *a, const struct op_check *m)
{
    struct spot s;
    if (spot_open(a, m->is_agent, m->name.node, m->name.service_id, &s) == 0 &&
        s.instance.len != 0) {
        struct op_check copy = *m;
        each_check(a, buf_slice(&s.node), m->name.service_id, keep_one, &copy);
    }
    spot_close(&s);
}

void op_check(struct apply *a, const struct op *o, struct txn_item *item)
{
    const struct op_check *m = &o->u.check;
    struct where w;
    if (o->type == OP_CHECK_KEEP) {
        keep(a, m);
        return;
    }
    where_open(a, m, &w);
    struct check_name n = name_of(&w, m->name.id);
    switch (o->type) {
    case OP_CHECK_SET:
    case OP_CHECK_CAS:
        set(a, o, &w, item);
        break;
    case OP_CHECK_GET:
    case OP_CHECK_STATUS:
        if (!w.is_there) {
            item->code = MU_E_NOT_FOUND;
        } else if (o->type == OP_CHECK_GET) {
            tell(a, &n, 1, item);
        } else {
            set_status(a, m, &n, item);
        }
        break;
    default:
        item->code = w.is_there ? refuse(a, o, &w) : 0;
        if (w.is_there && item->code == 0) {
            remove_check(a, &n);
        }
        break;
    }
    where_close(&w);
}
