/* SPDX-License-Identifier: Apache-2.0 */
/* Instances, and the service rows that count them.
 *
 * A service row changes when a count does or an instance is described anew; it goes (tombstone)
 * with the last instance. An instance hangs on at most one lease: one made for it (ttl) or one that
 * was granted before. One that stands on a node of the catalog has no check and no lease of its
 * own: the catalog's checks say how it is. */
#include "storage/apply/apply_impl.h"

static const struct instance_row no_instance;

/* ---- the service's row ---- */

static int counts_as_healthy(const struct instance_row *i)
{
    return i->is_healthy && i->is_enabled;
}

static uint32_t moved(uint32_t n, int by)
{
    MU_INVARIANT(by >= 0 || n >= (uint32_t)-by);
    return n + (uint32_t)by;
}

static void count_service(struct apply *a, const struct instance_name *n, int d_instances,
                          int d_healthy, int is_defined)
{
    struct row_at cur;
    struct service_row row = {0};
    if (d_instances == 0 && d_healthy == 0 && !is_defined) {
        return;
    }
    buf_clear(&a->service_key);
    key_service(&a->service_key, &(struct service_name){n->ns, n->group, n->service});
    row_find(a, buf_slice(&a->service_key), &cur);
    if (cur.is_live) {
        int rc = service_row_decode(row_bytes(a, &cur), &row);
        MU_INVARIANT(rc == 0);
    }
    row.meta = row_next_meta(a, &cur);
    row.n_instances = moved(row.n_instances, d_instances);
    row.n_healthy = moved(row.n_healthy, d_healthy);
    row.def_rev = is_defined ? a->rev : row.def_rev;
    row.meta.is_deleted = row.n_instances == 0;
    MU_INVARIANT(row.n_healthy <= row.n_instances);
    buf_clear(&a->row);
    service_row_encode(&a->row, &row);
    row_write(a, &cur);
}

/* ---- writing an instance ---- */

void instance_find(struct apply *a, struct slice key, struct row_at *out,
                   struct instance_row *out_row)
{
    row_find(a, key, out);
    *out_row = no_instance;
    if (out->is_live) {
        int rc = instance_row_decode(row_bytes(a, out), out_row);
        MU_INVARIANT(rc == 0);
    }
}

static void find_named(struct apply *a, const struct instance_name *n, struct row_at *out,
                       struct instance_row *out_row)
{
    buf_clear(&a->key);
    key_instance(&a->key, n);
    instance_find(a, buf_slice(&a->key), out, out_row);
}

void instance_write(struct apply *a, const struct row_at *cur, const struct instance_name *n,
                    const struct instance_row *old, const struct instance_row *row)
{
    int d_instances = !row->meta.is_deleted - cur->is_live;
    int d_healthy = counts_as_healthy(row) - (cur->is_live && counts_as_healthy(old));
    int is_defined = row->def_rev == a->rev;
    buf_clear(&a->row);
    instance_row_encode(&a->row, row);
    row_write(a, cur);
    count_service(a, n, d_instances, d_healthy, is_defined);
}

static void leave_lease(struct apply *a, const struct instance_row *old)
{
    if (old->meta.lease == 0) {
        return;
    }
    lease_detach(a, old->meta.lease, &old->meta);
    if (old->owns_lease) {
        lease_remove(a, old->meta.lease);
    }
}

static struct row_meta remove_instance(struct apply *a, const struct row_at *cur,
                                       const struct instance_name *n,
                                       const struct instance_row *old)
{
    struct instance_row row = {.meta = row_next_meta(a, cur), .def_rev = a->rev};
    row.meta.is_deleted = 1;
    row.meta.lease = 0;
    leave_lease(a, old);
    instance_write(a, cur, n, old, &row);
    return row.meta;
}

static struct row_meta turn_instance(struct apply *a, const struct row_at *cur,
                                     const struct instance_name *n, const struct instance_row *old,
                                     int is_healthy, struct slice output)
{
    struct instance_row row = *old;
    row.meta = row_next_meta(a, cur);
    row.is_healthy = is_healthy;
    row.unhealthy_at = is_healthy ? 0 : a->wall_ms;
    row.output = output;
    instance_write(a, cur, n, old, &row);
    return row.meta;
}

void instance_bury(struct apply *a, struct slice key)
{
    struct row_at cur;
    struct instance_row old;
    struct instance_name n;
    int rc = key_parse_instance(key, &n);
    MU_INVARIANT(rc == 0);
    instance_find(a, key, &cur, &old);
    MU_INVARIANT(cur.is_live);
    (void)remove_instance(a, &cur, &n, &old);
}

void instance_judge(const struct apply *a, const struct instance_row *old, struct instance_row *row)
{
    row->is_healthy = row->n_critical == 0 && row->n_node_critical == 0;
    if (row->is_healthy) {
        row->unhealthy_at = 0;
    } else {
        row->unhealthy_at = old->unhealthy_at != 0 ? old->unhealthy_at : a->wall_ms;
    }
}

void instance_by_lease(struct apply *a, struct slice key, enum instance_order order)
{
    struct row_at cur;
    struct instance_row old;
    struct instance_name n;
    int rc = key_parse_instance(key, &n);
    MU_INVARIANT(rc == 0);
    instance_find(a, key, &cur, &old);
    MU_INVARIANT(cur.is_live);
    if (order == INSTANCE_REMOVE) {
        (void)remove_instance(a, &cur, &n, &old);
    } else if (old.is_healthy != (order == INSTANCE_HEALTHY)) {
        (void)turn_instance(a, &cur, &n, &old, order == INSTANCE_HEALTHY, old.output);
    }
}

/* ---- registering ---- */

/* The lease that the registration leads to. */
struct binding {
    mu_lease_id id; /* 0 = none */
    int is_owned;
    int is_new;           /* to be made */
    int is_revived;       /* it was overdue: registering is a sign of life */
    struct lease_row row; /* when owned, or bound */
};

static int bind_owned(struct apply *a, const struct cmd_instance_put *m,
                      const struct instance_row *old, struct binding *out)
{
    *out = (struct binding){.is_owned = 1};
    if (old->owns_lease) {
        int rc = lease_find(a, old->meta.lease, &out->row);
        MU_INVARIANT(rc == 0);
        out->id = old->meta.lease;
        out->is_revived = out->row.is_overdue;
        return 0;
    }
    if (lease_find(a, m->lease_id, &out->row) == 0) {
        return MU_E_CONFLICT;
    }
    out->id = m->lease_id;
    out->is_new = 1;
    return 0;
}

static int bind_lease(struct apply *a, const struct cmd_instance_put *m,
                      const struct instance_row *old, struct binding *out)
{
    if (m->row.ttl_ms > 0) {
        return bind_owned(a, m, old, out);
    }
    *out = (struct binding){.id = m->row.meta.lease};
    if (out->id == 0) {
        return 0;
    }
    if (lease_find(a, out->id, &out->row) != 0) {
        return MU_E_NO_LEASE;
    }
    return out->row.is_owned ? MU_E_CONFLICT : 0;
}

static int is_same_target(const struct check_spec *x, const struct check_spec *y)
{
    return x->type == y->type && slice_eq(x->target, y->target) && slice_eq(x->method, y->method);
}

/* Health stays what it was while the same thing decides it. */
static void choose_health(const struct apply *a, const struct cmd_instance_put *m, int is_live,
                          const struct instance_row *old, const struct binding *b,
                          struct instance_row *row)
{
    int is_same_judge = is_live && is_same_target(&old->check, &row->check) &&
                        old->owns_lease == b->is_owned && (old->meta.lease != 0) == (b->id != 0) &&
                        !b->is_revived;
    row->is_healthy = is_same_judge ? old->is_healthy : row->check.type == CHECK_NONE;
    row->output = is_same_judge ? old->output : slice_of(NULL, 0);
    if (m->set_health) {
        row->is_healthy = m->row.is_healthy;
    }
    if (row->is_healthy) {
        row->unhealthy_at = 0;
    } else {
        row->unhealthy_at = is_live && !old->is_healthy ? old->unhealthy_at : a->wall_ms;
    }
}

int instance_is_described_same(const struct instance_row *x, const struct instance_row *y)
{
    return x->port == y->port && x->weight == y->weight && x->is_enabled == y->is_enabled &&
           x->is_node_address == y->is_node_address && slice_eq(x->address, y->address) &&
           slice_eq(x->tags, y->tags) && slice_eq(x->metadata, y->metadata) &&
           slice_eq(x->extra, y->extra);
}

static int is_same_registration(const struct instance_row *x, const struct instance_row *y)
{
    const struct check_spec *p = &x->check, *q = &y->check;
    return instance_is_described_same(x, y) && x->is_healthy == y->is_healthy &&
           x->owns_lease == y->owns_lease && x->ttl_ms == y->ttl_ms &&
           x->remove_after_ms == y->remove_after_ms && x->meta.lease == y->meta.lease &&
           is_same_target(p, q) && p->interval_ms == q->interval_ms &&
           p->timeout_ms == q->timeout_ms && p->failures == q->failures &&
           p->successes == q->successes;
}

/* The owned lease follows its instance. Its generation moves when a step that was proposed before
 * must not hit any more. */
static void write_owned_lease(struct apply *a, const struct binding *b,
                              const struct instance_row *row)
{
    struct lease_row l = b->row;
    int is_moved = b->is_new || b->is_revived || l.ttl_ms != row->ttl_ms ||
                   l.remove_after_ms != row->remove_after_ms;
    if (!is_moved) {
        return;
    }
    uint64_t generation = b->is_new ? 0 : l.generation;
    lease_write(a, &(struct lease_row){
                       .id = b->id,
                       .ttl_ms = row->ttl_ms,
                       .generation = generation + 1,
                       .remaining_ms = row->ttl_ms,
                       .remove_after_ms = row->remove_after_ms,
                       .is_owned = 1,
                   });
}

static void move_lease(struct apply *a, const struct row_at *cur, const struct instance_row *old,
                       const struct binding *b, const struct instance_row *row)
{
    if (old->meta.lease != b->id) {
        leave_lease(a, old);
        if (b->id != 0) {
            lease_attach(a, b->id, &row->meta, cur->key);
        }
    }
    if (b->is_owned) {
        write_owned_lease(a, b, row);
    }
}

static void lease_result(const struct binding *b, const struct instance_row *row,
                         struct command_result *r)
{
    r->lease = b->id;
    r->ttl_ms = b->id == 0 ? 0 : b->is_owned ? row->ttl_ms : b->row.ttl_ms;
}

/* On a node of the catalog its checks there say how it is, and nothing else. */
static int refuse_judge(const struct cmd_instance_put *m, const struct instance_row *old)
{
    int has_judge = m->row.check.type != CHECK_NONE || m->row.ttl_ms > 0 ||
                    m->row.meta.lease != 0 || m->set_health;
    return old->node.len != 0 && has_judge ? MU_E_CONFLICT : 0;
}

static void keep_place(const struct apply *a, const struct instance_row *old,
                       struct instance_row *row)
{
    if (old->node.len == 0) {
        return;
    }
    row->node = old->node;
    row->service_id = old->service_id;
    row->extra = old->extra;
    row->is_node_address = old->is_node_address && slice_eq(old->address, row->address);
    row->n_checks = old->n_checks;
    row->n_warning = old->n_warning;
    row->n_critical = old->n_critical;
    row->n_node_critical = old->n_node_critical;
    row->remove_after_ms = REMOVE_NEVER;
    instance_judge(a, old, row);
}

void apply_instance_put(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_instance_put *m = &c->u.instance_put;
    struct row_at cur;
    struct instance_row old;
    struct binding b;
    find_named(a, &m->name, &cur, &old);
    if (!row_cas(&cur, m->cas, m->expect, r)) {
        return;
    }
    r->code = refuse_judge(m, &old);
    r->code = r->code != 0 ? r->code : bind_lease(a, m, &old, &b);
    if (r->code != 0) {
        return;
    }
    struct instance_row row = m->row;
    row.meta = row_next_meta(a, &cur);
    row.meta.lease = b.id;
    row.owns_lease = b.is_owned;
    choose_health(a, m, cur.is_live, &old, &b, &row);
    keep_place(a, &old, &row);
    lease_result(&b, &row, r);
    if (cur.is_live && !b.is_revived && is_same_registration(&old, &row)) {
        row_result(&cur, &cur.meta, r);
        r->is_changed = 0;
        return;
    }
    row.def_rev = instance_is_described_same(&old, &row) && cur.is_live ? old.def_rev : a->rev;
    move_lease(a, &cur, &old, &b, &row);
    int is_described = row.def_rev == a->rev && row.node.len != 0;
    instance_write(a, &cur, &m->name, &old, &row);
    row_result(&cur, &row.meta, r);
    if (is_described) {
        service_described(a, buf_slice(&a->key));
    }
}

/* 0, or why the instance is not the one meant. create_rev 0 means any. */
static int refuse_incarnation(const struct row_at *cur, mu_rev create_rev)
{
    if (!cur->is_live) {
        return MU_E_NOT_FOUND;
    }
    return create_rev == 0 || create_rev == cur->meta.create_rev ? 0 : MU_E_CONFLICT;
}

void apply_instance_delete(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_instance_delete *m = &c->u.instance_delete;
    struct row_at cur;
    struct instance_row old;
    find_named(a, &m->name, &cur, &old);
    r->code = refuse_incarnation(&cur, m->create_rev);
    if (r->code != 0) {
        return;
    }
    r->lease = old.meta.lease;
    if (old.node.len != 0) {
        a->notes_leases = 1; /* those of its checks */
        service_gone_of(a, &old);
        row_find(a, buf_slice(&a->key), &cur);
        row_result(&cur, &cur.meta, r);
        r->is_created = 0;
        return;
    }
    struct row_meta after = remove_instance(a, &cur, &m->name, &old);
    row_result(&cur, &after, r);
}

void apply_instance_health(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_instance_health *m = &c->u.instance_health;
    struct row_at cur;
    struct instance_row old;
    find_named(a, &m->name, &cur, &old);
    r->code = refuse_incarnation(&cur, m->create_rev);
    if (r->code == 0 && old.node.len != 0) {
        r->code = MU_E_CONFLICT;
    }
    if (r->code != 0) {
        return;
    }
    struct row_meta after = cur.meta;
    int is_changed = old.is_healthy != m->is_healthy;
    if (is_changed) {
        after = turn_instance(a, &cur, &m->name, &old, m->is_healthy, m->output);
    }
    row_result(&cur, &after, r);
    r->is_changed = is_changed;
}
