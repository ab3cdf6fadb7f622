/* SPDX-License-Identifier: Apache-2.0 */
/* Services of the catalog. Each is an instance, found by node and service id through its place; the
 * instance's row counts the checks that say how it is. */
#include "storage/apply/apply_impl.h"

#include "base/wire.h"

/* --- places --- */

static void place_find(struct apply *a, struct buf *key, struct row_at *out, struct place_row *row)
{
    *row = (struct place_row){0};
    row_find(a, buf_slice(key), out);
    if (out->is_live) {
        int rc = place_row_decode(row_bytes(a, out), row);
        MU_INVARIANT(rc == 0);
    }
}

static void instance_of(struct buf *out, const struct place_row *p)
{
    buf_clear(out);
    key_instance(out, &(struct instance_name){p->ns, p->group, p->service, p->cluster, p->id});
}

/* `instance` is the logical key it names; empty for a tombstone. */
static void place_write(struct apply *a, struct slice node, struct slice service_id,
                        struct slice instance, int is_agent)
{
    struct row_at cur;
    struct buf key;
    buf_init(&key);
    key_place(&key, node, service_id);
    row_find(a, buf_slice(&key), &cur);
    struct place_row row = {.meta = row_next_meta(a, &cur), .is_agent = is_agent};
    row.meta.is_deleted = instance.len == 0;
    if (instance.len != 0) {
        struct instance_name n;
        int rc = key_parse_instance(instance, &n);
        MU_INVARIANT(rc == 0);
        row.ns = n.ns;
        row.group = n.group;
        row.service = n.service;
        row.cluster = n.cluster;
        row.id = n.id;
    }
    buf_clear(&a->row);
    place_row_encode(&a->row, &row);
    row_write(a, &cur);
    buf_fini(&key);
    if (is_agent && instance.len != 0) {
        link_put(a, LINK_AGENT_SERVICE, service_id, slice_of(NULL, 0), node);
    } else if (is_agent) {
        link_del(a, LINK_AGENT_SERVICE, service_id, slice_of(NULL, 0));
    }
}

int spot_open(struct apply *a, int is_agent, struct slice node, struct slice service_id,
              struct spot *out)
{
    struct slice at;
    struct row_at cur;
    struct place_row place;
    struct buf key;
    *out = (struct spot){0};
    int is_known =
        is_agent && link_get(a, LINK_AGENT_SERVICE, service_id, slice_of(NULL, 0), &at) == 0;
    buf_append_slice(&out->node, is_known ? at : node);
    buf_init(&key);
    key_place(&key, buf_slice(&out->node), service_id);
    place_find(a, &key, &cur, &place);
    MU_INVARIANT(!is_known || (cur.is_live && place.is_agent));
    if (cur.is_live) {
        instance_of(&out->instance, &place);
        out->is_agent = place.is_agent;
    }
    buf_fini(&key);
    return cur.is_live || node_is_there(a, buf_slice(&out->node)) ? 0 : MU_E_NOT_FOUND;
}

void spot_close(struct spot *s)
{
    buf_fini(&s->node);
    buf_fini(&s->instance);
}

/* --- what checks and nodes do to it --- */

static uint32_t moved(uint32_t n, int by)
{
    MU_INVARIANT(by >= 0 || n >= (uint32_t)-by);
    return n + (uint32_t)by;
}

/* Written anew; to another node when `to` says one. */
static void rewrite(struct apply *a, struct slice key, const struct check_count *d, struct slice to)
{
    struct row_at cur;
    struct instance_row old;
    struct instance_name n;
    int rc = key_parse_instance(key, &n);
    MU_INVARIANT(rc == 0);
    struct buf address;
    buf_init(&address);
    uint32_t critical_there = to.len != 0 ? checks_critical(a, to) : 0;
    if (to.len != 0) {
        node_address(a, to, &address);
    }
    instance_find(a, key, &cur, &old);
    MU_INVARIANT(cur.is_live);
    if (to.len == 0 && old.is_node_address) {
        node_address(a, old.node, &address);
        instance_find(a, key, &cur, &old);
    }
    struct instance_row row = old;
    row.meta = row_next_meta(a, &cur);
    row.n_checks = moved(old.n_checks, d->all);
    row.n_warning = moved(old.n_warning, d->warning);
    row.n_critical = moved(old.n_critical, d->critical);
    row.n_node_critical = moved(old.n_node_critical, d->node_critical);
    if (to.len != 0) {
        row.node = to;
        row.n_node_critical = critical_there;
        row.def_rev = a->rev;
    }
    if (old.is_node_address) {
        row.address = buf_slice(&address);
    }
    instance_judge(a, &old, &row);
    instance_write(a, &cur, &n, &old, &row);
    buf_fini(&address);
}

void service_touch(struct apply *a, struct slice node, struct slice service_id,
                   const struct check_count *d)
{
    struct spot s;
    int rc = spot_open(a, 0, node, service_id, &s);
    MU_INVARIANT(rc == 0 && s.instance.len != 0);
    rewrite(a, buf_slice(&s.instance), d, slice_of(NULL, 0));
    spot_close(&s);
}

void service_described(struct apply *a, struct slice key)
{
    struct row_at cur;
    struct instance_row row;
    struct spot s;
    struct buf node, id;
    instance_find(a, key, &cur, &row);
    if (!cur.is_live || row.node.len == 0) {
        return;
    }
    buf_init(&node);
    buf_init(&id);
    buf_append_slice(&node, row.node);
    buf_append_slice(&id, row.service_id);
    int rc = spot_open(a, 0, buf_slice(&node), buf_slice(&id), &s);
    MU_INVARIANT(rc == 0 && s.instance.len != 0);
    place_write(a, buf_slice(&node), buf_slice(&id), buf_slice(&s.instance), s.is_agent);
    spot_close(&s);
    buf_fini(&node);
    buf_fini(&id);
}

void service_gone(struct apply *a, struct slice node, struct slice service_id)
{
    struct spot s;
    int rc = spot_open(a, 0, node, service_id, &s);
    MU_INVARIANT(rc == 0 && s.instance.len != 0);
    checks_gone(a, node, service_id);
    instance_bury(a, buf_slice(&s.instance));
    place_write(a, node, service_id, slice_of(NULL, 0), s.is_agent);
    spot_close(&s);
}

void service_gone_of(struct apply *a, const struct instance_row *row)
{
    struct buf node, id;
    buf_init(&node);
    buf_init(&id);
    buf_append_slice(&node, row->node);
    buf_append_slice(&id, row->service_id);
    service_gone(a, buf_slice(&node), buf_slice(&id));
    buf_fini(&node);
    buf_fini(&id);
}

unsigned service_move(struct apply *a, struct slice node, struct slice service_id, struct slice to)
{
    struct spot s, there;
    unsigned n = 0;
    int rc = spot_open(a, 0, node, service_id, &s);
    MU_INVARIANT(rc == 0 && s.instance.len != 0 && s.is_agent);
    rc = spot_open(a, 0, to, service_id, &there);
    if (rc == 0 && there.instance.len == 0) {
        place_write(a, node, service_id, slice_of(NULL, 0), 1);
        place_write(a, to, service_id, buf_slice(&s.instance), 1);
        rewrite(a, buf_slice(&s.instance), &(struct check_count){0}, to);
        n = 1 + checks_move(a, node, service_id, to);
    }
    spot_close(&s);
    spot_close(&there);
    return n;
}

/* --- operations --- */

static int is_same_service(struct slice key, const struct instance_name *n)
{
    struct instance_name k;
    int rc = key_parse_instance(key, &k);
    MU_INVARIANT(rc == 0);
    return slice_eq(k.ns, n->ns) && slice_eq(k.group, n->group) &&
           slice_eq(k.service, n->service) && slice_eq(k.cluster, n->cluster);
}

/* Which instance it is: the one that is there, while it is of the same service. */
static void choose_key(const struct op_service *m, const struct spot *s, struct buf *out)
{
    if (s->instance.len != 0 && is_same_service(buf_slice(&s->instance), &m->name)) {
        buf_append_slice(out, buf_slice(&s->instance));
    } else {
        key_instance(out, &m->name);
    }
}

static mu_rev rev_of(struct apply *a, const struct spot *s)
{
    struct row_at cur;
    struct instance_row row;
    if (s->instance.len == 0) {
        return 0;
    }
    instance_find(a, buf_slice(&s->instance), &cur, &row);
    return row.def_rev;
}

static int refuse(struct apply *a, const struct op *o, const struct spot *s)
{
    int has_condition = o->type == OP_SERVICE_CAS || o->type == OP_SERVICE_DELETE_CAS;
    if (!has_condition || o->expect == rev_of(a, s)) {
        return 0;
    }
    return o->expect == 0 ? MU_E_EXISTS : MU_E_REVISION_MISMATCH;
}

/* The key is free, or what is there is this service. */
static int refuse_key(const struct row_at *cur, const struct instance_row *old,
                      const struct instance_row *row)
{
    int is_ours = slice_eq(old->node, row->node) && slice_eq(old->service_id, row->service_id);
    return !cur->is_live || is_ours ? 0 : MU_E_CONFLICT;
}

struct counts {
    uint32_t checks, warning, critical, node_critical;
    int is_enabled;
};

/* What a service that is there keeps when it is described anew. */
static struct counts counts_of(struct apply *a, const struct op_service *m, const struct spot *s)
{
    struct row_at cur;
    struct instance_row row;
    if (s->instance.len == 0) {
        return (struct counts){.node_critical = checks_critical(a, buf_slice(&s->node)),
                               .is_enabled = m->row.is_enabled};
    }
    instance_find(a, buf_slice(&s->instance), &cur, &row);
    return (struct counts){row.n_checks, row.n_warning, row.n_critical, row.n_node_critical,
                           row.is_enabled};
}

static void fill(struct apply *a, const struct op_service *m, const struct spot *s,
                 struct buf *address, struct instance_row *row)
{
    struct counts now = counts_of(a, m, s), *c = &now;
    *row = m->row;
    row->node = buf_slice(&s->node);
    row->is_node_address = m->row.address.len == 0;
    if (row->is_node_address) {
        node_address(a, row->node, address);
        row->address = buf_slice(address);
    }
    row->owns_lease = 0;
    row->ttl_ms = 0;
    row->remove_after_ms = REMOVE_NEVER;
    row->check = (struct check_spec){0};
    row->output = slice_of(NULL, 0);
    row->def_rev = a->rev;
    row->is_enabled = c->is_enabled;
    row->n_checks = c->checks;
    row->n_warning = c->warning;
    row->n_critical = c->critical;
    row->n_node_critical = c->node_critical;
}

/* The filled row under its key. 0, or CONFLICT and nothing is written. */
static int put_row(struct apply *a, const struct op_service *m, const struct spot *s,
                   struct slice key, struct instance_row *row, mu_rev *out_def_rev)
{
    struct row_at cur;
    struct instance_row old;
    struct instance_name n;
    int is_agent = s->is_agent || m->is_agent;
    int is_renamed = s->instance.len != 0 && !slice_eq(buf_slice(&s->instance), key);
    int rc = key_parse_instance(key, &n);
    MU_INVARIANT(rc == 0);
    instance_find(a, key, &cur, &old);
    if (refuse_key(&cur, &old, row) != 0) {
        return MU_E_CONFLICT;
    }
    if (cur.is_live && instance_is_described_same(&old, row) && s->is_agent == is_agent) {
        *out_def_rev = old.def_rev;
        return 0;
    }
    if (is_renamed) {
        instance_bury(a, buf_slice(&s->instance));
        instance_find(a, key, &cur, &old);
    }
    row->meta = row_next_meta(a, &cur);
    instance_judge(a, &old, row);
    instance_write(a, &cur, &n, &old, row);
    place_write(a, row->node, row->service_id, key, is_agent);
    if (is_renamed) {
        checks_rename(a, row->node, row->service_id, n.service);
    }
    *out_def_rev = row->def_rev;
    return 0;
}

static int put(struct apply *a, const struct op_service *m, const struct spot *s, struct slice key,
               mu_rev *out_def_rev)
{
    struct instance_row row;
    struct buf address;
    buf_init(&address);
    fill(a, m, s, &address, &row);
    int rc = put_row(a, m, s, key, &row, out_def_rev);
    buf_fini(&address);
    return rc;
}

/* For the answer. The key stays in a->key. */
static void tell(struct apply *a, struct slice key, struct txn_item *item)
{
    buf_clear(&a->key);
    buf_append_slice(&a->key, key);
    row_tell(a, buf_slice(&a->key), item);
}

static void set(struct apply *a, const struct op *o, const struct spot *s, struct txn_item *item)
{
    const struct op_service *m = &o->u.service;
    struct buf key;
    buf_init(&key);
    choose_key(m, s, &key);
    item->code = refuse(a, o, s);
    if (item->code == 0) {
        item->code = put(a, m, s, buf_slice(&key), &item->mod_rev);
    }
    if (item->code == 0 && a->wants_rows) {
        tell(a, buf_slice(&key), item);
    }
    buf_fini(&key);
}

void op_service(struct apply *a, const struct op *o, struct txn_item *item)
{
    const struct op_service *m = &o->u.service;
    struct spot s;
    int is_set = o->type == OP_SERVICE_SET || o->type == OP_SERVICE_CAS;
    int is_get = o->type == OP_SERVICE_GET;
    int rc = spot_open(a, m->is_agent, m->node, m->row.service_id, &s);
    if (is_set && rc == 0) {
        set(a, o, &s, item);
    } else if (is_set || (is_get && s.instance.len == 0)) {
        item->code = MU_E_NOT_FOUND;
    } else if (is_get) {
        item->mod_rev = rev_of(a, &s);
        tell(a, buf_slice(&s.instance), item);
    } else if (s.instance.len != 0) {
        item->code = refuse(a, o, &s);
        if (item->code == 0) {
            service_gone(a, buf_slice(&s.node), m->row.service_id);
        }
    }
    spot_close(&s);
}
