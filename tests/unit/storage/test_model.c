/* SPDX-License-Identifier: Apache-2.0 */
/* Random commands against the store and against a model that is as plain as possible: arrays,
 * linear search, every version kept. Results must agree after every command, all that can be read
 * after every few. */
#include "kit.h"

#include <stdio.h>

enum { N_KEYS = 8, N_SERVICES = 3, N_IDS = 5, N_LEASES = 64, N_VERSIONS = 4000, N_REQUESTS = 256 };

struct version {
    mu_rev rev;
    int key;
    int is_deleted;
    size_t len;
    char first; /* of the content, which is one letter over and over */
    int64_t time_ms;
};

struct m_config {
    int is_live;
    mu_rev create_rev, mod_rev;
    uint64_t version;
};

struct m_instance {
    int is_live, is_enabled, is_healthy, is_owned;
    mu_rev create_rev, mod_rev;
    uint64_t version;
    mu_lease_id lease;
    int64_t ttl_ms, remove_after_ms, unhealthy_at;
    uint16_t port;
    enum check_type check;
};

struct m_lease {
    mu_lease_id id; /* 0 = free */
    int64_t ttl_ms, remove_after_ms, remaining_ms;
    uint64_t generation;
    int is_owned, is_overdue;
};

struct m_request {
    uint8_t id;
    int is_used;
    struct command_result result;
};

struct model {
    mu_rev revision;
    mu_rev next; /* the revision that the command under way makes */
    int is_changed;
    int64_t now;
    struct m_config configs[N_KEYS];
    struct version versions[N_VERSIONS];
    size_t n_versions;
    struct m_instance instances[N_SERVICES][N_IDS];
    struct m_lease leases[N_LEASES];
    struct m_request requests[N_REQUESTS];
};

static int number(struct slice s)
{
    assert_int_equal(2, s.len);
    return s.p[1] - '0';
}

static mu_rev change(struct model *m)
{
    m->is_changed = 1;
    return m->next;
}

/* ---- configs ---- */

static int cas_refused(enum cas_mode mode, mu_rev expect, int is_live, mu_rev mod_rev)
{
    if (mode == CAS_ABSENT) {
        return is_live ? MU_E_EXISTS : 0;
    }
    return mode == CAS_REVISION && (is_live ? mod_rev : 0) != expect ? MU_E_REVISION_MISMATCH : 0;
}

static void result_of(struct command_result *r, mu_rev create_rev, mu_rev mod_rev, uint64_t version)
{
    r->create_rev = create_rev;
    r->mod_rev = mod_rev;
    r->version = version;
}

static void put_version(struct model *m, int key, int is_deleted, struct slice content)
{
    assert_true(m->n_versions < N_VERSIONS);
    m->versions[m->n_versions++] = (struct version){
        m->next, key, is_deleted, content.len, content.len != 0 ? (char)content.p[0] : 0, m->now};
}

static void config_put(struct model *m, const struct cmd_config_put *p, struct command_result *r)
{
    int key = number(p->name.key);
    struct m_config *c = &m->configs[key];
    r->code = cas_refused(p->cas, p->expect, c->is_live, c->mod_rev);
    if (r->code != 0) {
        if (c->is_live) {
            result_of(r, c->create_rev, c->mod_rev, c->version);
        }
        return;
    }
    r->is_created = !c->is_live;
    r->is_changed = 1;
    c->create_rev = c->is_live ? c->create_rev : m->next;
    c->version = c->is_live ? c->version + 1 : 1;
    c->mod_rev = change(m);
    c->is_live = 1;
    put_version(m, key, 0, p->content);
    result_of(r, c->create_rev, c->mod_rev, c->version);
}

static void config_delete(struct model *m, const struct cmd_config_delete *p,
                          struct command_result *r)
{
    int key = number(p->name.key);
    struct m_config *c = &m->configs[key];
    if (!c->is_live) {
        r->code = MU_E_NOT_FOUND;
        return;
    }
    c->is_live = 0;
    r->is_changed = 1;
    result_of(r, c->create_rev, change(m), c->version + 1);
    put_version(m, key, 1, slice_of(NULL, 0));
}

/* ---- leases and instances ---- */

static struct m_lease *lease_of(struct model *m, mu_lease_id id)
{
    for (size_t i = 0; i < N_LEASES; i++) {
        if (m->leases[i].id == id) {
            return &m->leases[i];
        }
    }
    return NULL;
}

static struct m_lease *lease_new(struct model *m, mu_lease_id id, int64_t ttl_ms)
{
    struct m_lease *l = lease_of(m, 0);
    assert_non_null(l);
    *l = (struct m_lease){.id = id, .ttl_ms = ttl_ms, .remaining_ms = ttl_ms, .generation = 1};
    return l;
}

static void instance_remove(struct model *m, struct m_instance *i)
{
    if (i->is_owned) {
        lease_of(m, i->lease)->id = 0;
    }
    *i = (struct m_instance){
        .create_rev = i->create_rev, .mod_rev = change(m), .version = i->version + 1};
}

static void instance_turn(struct model *m, struct m_instance *i, int is_healthy)
{
    if (i->is_healthy != is_healthy) {
        i->is_healthy = is_healthy;
        i->unhealthy_at = is_healthy ? 0 : m->now;
        i->version++;
        i->mod_rev = change(m);
    }
}

/* order: -1 remove, 0 unhealthy, 1 healthy */
static void all_on_lease(struct model *m, mu_lease_id id, int order)
{
    for (struct m_instance *i = m->instances[0]; i < m->instances[0] + (size_t)N_SERVICES * N_IDS;
         i++) {
        if (i->is_live && i->lease == id) {
            if (order < 0) {
                i->is_owned = 0; /* the caller takes the lease away */
                instance_remove(m, i);
            } else {
                instance_turn(m, i, order);
            }
        }
    }
}

static void lease_end(struct model *m, struct m_lease *l)
{
    all_on_lease(m, l->id, -1);
    l->id = 0;
}

static int lease_step(struct model *m, enum command_type type, const struct lease_step *s)
{
    struct m_lease *l = s->id != 0 ? lease_of(m, s->id) : NULL;
    if (l == NULL || l->generation != s->generation) {
        return 0;
    }
    if (type == CMD_LEASE_END || (type == CMD_LEASE_OVERDUE && !l->is_overdue &&
                                  (!l->is_owned || l->remove_after_ms == 0))) {
        lease_end(m, l);
        return 1;
    }
    if (type == CMD_LEASE_CHECKPOINT) {
        int64_t was = l->remaining_ms;
        l->remaining_ms = s->remaining_ms < l->ttl_ms ? s->remaining_ms : l->ttl_ms;
        return was != l->remaining_ms;
    }
    int is_overdue = type == CMD_LEASE_OVERDUE;
    if (l->is_overdue == is_overdue) {
        return 0;
    }
    all_on_lease(m, l->id, !is_overdue);
    l->is_overdue = is_overdue;
    l->generation++;
    l->remaining_ms = is_overdue ? 0 : l->ttl_ms;
    return 1;
}

static struct m_instance *instance_of(struct model *m, const struct instance_name *n)
{
    return &m->instances[number(n->service)][number(n->id)];
}

static int instance_refused(const struct m_instance *i, mu_rev create_rev)
{
    if (!i->is_live) {
        return MU_E_NOT_FOUND;
    }
    return create_rev != 0 && create_rev != i->create_rev ? MU_E_CONFLICT : 0;
}

/* What the instance would be. 0 or the refusal. */
static int instance_next(struct model *m, const struct cmd_instance_put *p,
                         const struct m_instance *i, struct m_instance *out)
{
    const struct instance_row *row = &p->row;
    struct m_lease *l;
    int is_revived = 0;
    *out = (struct m_instance){.is_live = 1,
                               .is_enabled = row->is_enabled,
                               .port = row->port,
                               .check = row->check.type,
                               .ttl_ms = row->ttl_ms,
                               .remove_after_ms = row->remove_after_ms};
    if (row->ttl_ms > 0) {
        out->is_owned = 1;
        out->lease = i->is_owned ? i->lease : p->lease_id;
        l = lease_of(m, out->lease);
        if (!i->is_owned && l != NULL) {
            return MU_E_CONFLICT;
        }
        is_revived = l != NULL && l->is_overdue;
    } else if (row->meta.lease != 0) {
        l = lease_of(m, row->meta.lease);
        if (l == NULL) {
            return MU_E_NO_LEASE;
        }
        if (l->is_owned) {
            return MU_E_CONFLICT;
        }
        out->lease = row->meta.lease;
    }
    int keeps = i->is_live && i->check == out->check && i->is_owned == out->is_owned &&
                !i->lease == !out->lease && !is_revived;
    out->is_healthy = p->set_health ? row->is_healthy
                      : keeps       ? i->is_healthy
                                    : out->check == CHECK_NONE;
    out->unhealthy_at = out->is_healthy                ? 0
                        : i->is_live && !i->is_healthy ? i->unhealthy_at
                                                       : m->now;
    out->create_rev = i->is_live ? i->create_rev : m->next;
    out->version = i->is_live ? i->version + 1 : 1;
    out->mod_rev = m->next;
    int is_same = i->is_live && !is_revived && i->is_enabled == out->is_enabled &&
                  i->port == out->port && i->check == out->check && i->ttl_ms == out->ttl_ms &&
                  i->remove_after_ms == out->remove_after_ms && i->lease == out->lease &&
                  i->is_healthy == out->is_healthy;
    if (is_same) {
        *out = *i;
    }
    return 0;
}

static void instance_settle_lease(struct model *m, const struct m_instance *was,
                                  const struct m_instance *now)
{
    struct m_lease *l;
    if (was->is_owned && was->lease != now->lease) {
        lease_of(m, was->lease)->id = 0;
    }
    if (!now->is_owned) {
        return;
    }
    l = lease_of(m, now->lease);
    if (l == NULL) {
        l = lease_new(m, now->lease, now->ttl_ms);
        l->is_owned = 1;
    } else if (l->is_overdue || l->ttl_ms != now->ttl_ms ||
               l->remove_after_ms != now->remove_after_ms) {
        l->is_overdue = 0;
        l->generation++;
        l->remaining_ms = now->ttl_ms;
    }
    l->ttl_ms = now->ttl_ms;
    l->remove_after_ms = now->remove_after_ms;
}

static void instance_put(struct model *m, const struct cmd_instance_put *p,
                         struct command_result *r)
{
    struct m_instance *i = instance_of(m, &p->name), next;
    r->code = cas_refused(p->cas, p->expect, i->is_live, i->mod_rev);
    if (r->code != 0) {
        if (i->is_live) {
            result_of(r, i->create_rev, i->mod_rev, i->version);
        }
        return;
    }
    r->code = instance_next(m, p, i, &next);
    if (r->code != 0) {
        return;
    }
    r->is_created = !i->is_live;
    r->is_changed = next.mod_rev == m->next;
    r->lease = next.lease;
    if (r->is_changed) {
        change(m);
        instance_settle_lease(m, i, &next);
        *i = next;
    }
    r->ttl_ms = next.lease != 0 ? lease_of(m, next.lease)->ttl_ms : 0;
    result_of(r, i->create_rev, i->mod_rev, i->version);
}

static void instance_delete(struct model *m, const struct cmd_instance_delete *p,
                            struct command_result *r)
{
    struct m_instance *i = instance_of(m, &p->name);
    r->code = instance_refused(i, p->create_rev);
    if (r->code == 0) {
        r->lease = i->lease;
        r->is_changed = 1;
        mu_rev create_rev = i->create_rev;
        instance_remove(m, i);
        result_of(r, create_rev, i->mod_rev, i->version);
    }
}

static void instance_health(struct model *m, const struct cmd_instance_health *p,
                            struct command_result *r)
{
    struct m_instance *i = instance_of(m, &p->name);
    r->code = instance_refused(i, p->create_rev);
    if (r->code == 0) {
        r->is_changed = i->is_healthy != p->is_healthy;
        instance_turn(m, i, p->is_healthy);
        result_of(r, i->create_rev, i->mod_rev, i->version);
    }
}

static void lease_grant(struct model *m, const struct cmd_lease_grant *p, struct command_result *r)
{
    r->lease = p->id;
    if (lease_of(m, p->id) != NULL) {
        r->code = MU_E_EXISTS;
        return;
    }
    (void)lease_new(m, p->id, p->ttl_ms);
    r->ttl_ms = p->ttl_ms;
    r->is_created = r->is_changed = 1;
}

static void lease_revoke(struct model *m, mu_lease_id id, struct command_result *r)
{
    struct m_lease *l = lease_of(m, id);
    r->lease = id;
    r->code = l == NULL ? MU_E_NO_LEASE : 0;
    if (l != NULL) {
        lease_end(m, l);
        r->is_changed = 1;
    }
}

/* ---- one command ---- */

static void run(struct model *m, const struct command *c, struct command_result *r)
{
    switch (c->type) {
    case CMD_CONFIG_PUT:
        config_put(m, &c->u.config_put, r);
        break;
    case CMD_CONFIG_DELETE:
        config_delete(m, &c->u.config_delete, r);
        break;
    case CMD_INSTANCE_PUT:
        instance_put(m, &c->u.instance_put, r);
        break;
    case CMD_INSTANCE_DELETE:
        instance_delete(m, &c->u.instance_delete, r);
        break;
    case CMD_INSTANCE_HEALTH:
        instance_health(m, &c->u.instance_health, r);
        break;
    case CMD_LEASE_GRANT:
        lease_grant(m, &c->u.lease_grant, r);
        break;
    case CMD_LEASE_REVOKE:
        lease_revoke(m, c->u.lease_revoke.id, r);
        break;
    case CMD_COMPACT:
        break;
    default:
        for (size_t i = 0; i < c->u.lease_steps.n; i++) {
            struct lease_step s = command_lease_step(&c->u.lease_steps, i);
            r->is_changed |= lease_step(m, c->type, &s);
        }
        break;
    }
}

static struct command_result model_apply(struct model *m, const struct command *c)
{
    struct command_result r = {0};
    struct m_request *q = &m->requests[c->request_id[0]];
    if (c->has_request_id && q->is_used) {
        r = q->result;
        r.is_duplicate = 1;
        return r;
    }
    m->next = m->revision + 1;
    m->is_changed = 0;
    m->now = c->wall_ms;
    run(m, c, &r);
    m->revision += m->is_changed;
    r.revision = m->revision;
    if (c->has_request_id) {
        *q = (struct m_request){.is_used = 1, .result = r};
    }
    return r;
}

/* ---- comparing ---- */

static void expect_result(const struct command *c, const struct command_result *want,
                          const struct command_result *got)
{
    int is_same = want->code == got->code && want->revision == got->revision &&
                  want->mod_rev == got->mod_rev && want->create_rev == got->create_rev &&
                  want->version == got->version && want->lease == got->lease &&
                  want->ttl_ms == got->ttl_ms && want->is_created == got->is_created &&
                  want->is_changed == got->is_changed && want->is_duplicate == got->is_duplicate;
    if (!is_same) {
        fail_msg(
            "command type %d: want code %d rev %llu mod %llu create %llu version %llu lease %llx ttl %lld %d%d%d, "
            "got code %d rev %llu mod %llu create %llu version %llu lease %llx ttl %lld %d%d%d",
            c->type, want->code, (unsigned long long)want->revision,
            (unsigned long long)want->mod_rev, (unsigned long long)want->create_rev,
            (unsigned long long)want->version, (unsigned long long)want->lease,
            (long long)want->ttl_ms, want->is_created, want->is_changed, want->is_duplicate,
            got->code, (unsigned long long)got->revision, (unsigned long long)got->mod_rev,
            (unsigned long long)got->create_rev, (unsigned long long)got->version,
            (unsigned long long)got->lease, (long long)got->ttl_ms, got->is_created,
            got->is_changed, got->is_duplicate);
    }
}

static const struct version *version_at(const struct model *m, int key, mu_rev rev)
{
    for (size_t i = m->n_versions; i-- > 0;) {
        if (m->versions[i].key == key && m->versions[i].rev <= rev) {
            return &m->versions[i];
        }
    }
    return NULL;
}

/* At any revision: right, or COMPACTED when it may be; the newest always right. */
static void compare_config(struct model *m, struct view *v, int key, mu_rev rev)
{
    char name[8];
    struct config_row row;
    snprintf(name, sizeof(name), "k%d", key);
    struct config_name n = kit_config_name(name);
    const struct version *want = version_at(m, key, rev);
    int rc = view_config(v, &n, rev, &row);
    if (rc == MU_E_COMPACTED) {
        assert_true(rev <= view_compacted(v, SPACE_CONFIG) && rev != m->revision);
        return;
    }
    assert_int_equal(want == NULL || want->is_deleted ? MU_E_NOT_FOUND : 0, rc);
    if (rc == 0) {
        assert_true(row.meta.mod_rev == want->rev && row.content.len == want->len &&
                    row.meta.time_ms == want->time_ms);
        assert_true(want->len == 0 || (row.content.p[0] == want->first &&
                                       row.content.p[want->len - 1] == want->first));
    }
}

static void compare_instance(struct model *m, struct view *v, int service, int id)
{
    char svc[8], text[8];
    struct instance_row row;
    const struct m_instance *i = &m->instances[service][id];
    snprintf(svc, sizeof(svc), "s%d", service);
    snprintf(text, sizeof(text), "i%d", id);
    struct instance_name n = kit_instance_name(svc, text);
    int rc = view_instance(v, &n, &row);
    assert_int_equal(i->is_live ? 0 : MU_E_NOT_FOUND, rc);
    if (rc == 0) {
        assert_true(row.is_enabled == i->is_enabled && row.is_healthy == i->is_healthy &&
                    row.owns_lease == i->is_owned);
        assert_true(row.meta.create_rev == i->create_rev && row.meta.mod_rev == i->mod_rev &&
                    row.meta.version == i->version);
        assert_true(row.meta.lease == i->lease && row.ttl_ms == i->ttl_ms &&
                    row.unhealthy_at == i->unhealthy_at);
        assert_true(row.port == i->port && row.check.type == i->check &&
                    row.remove_after_ms == i->remove_after_ms);
    }
}

struct lease_count {
    struct model *model;
    size_t n;
};

static int compare_lease(void *arg, const struct lease_row *row)
{
    struct lease_count *count = arg;
    const struct m_lease *l = lease_of(count->model, row->id);
    assert_non_null(l);
    assert_true(l->ttl_ms == row->ttl_ms && l->generation == row->generation &&
                l->remaining_ms == row->remaining_ms);
    assert_true(l->is_owned == row->is_owned && l->is_overdue == row->is_overdue &&
                l->remove_after_ms == row->remove_after_ms);
    count->n++;
    return 0;
}

static void compare(struct model *m, struct kit *k, uint64_t *seed)
{
    struct lease_count count = {m, 0};
    struct view *v = view_open(k->store);
    assert_int_equal(m->revision, view_revision(v));
    for (int key = 0; key < N_KEYS; key++) {
        compare_config(m, v, key, m->revision);
        for (int i = 0; i < 5 && m->revision != 0; i++) {
            compare_config(m, v, key, 1 + kit_below(seed, m->revision));
        }
    }
    for (int s = 0; s < N_SERVICES; s++) {
        for (int i = 0; i < N_IDS; i++) {
            compare_instance(m, v, s, i);
        }
    }
    assert_int_equal(0, view_leases(v, compare_lease, &count));
    for (size_t i = 0; i < N_LEASES; i++) {
        count.n -= m->leases[i].id != 0;
    }
    assert_int_equal(0, count.n);
    view_close(v);
    kit_check(k);
}

static struct model model; /* large */
static struct command one;

static void run_seed(uint64_t seed, int steps)
{
    struct kit k;
    static struct kit_text text;
    kit_init(&k);
    memset(&model, 0, sizeof(model));
    for (int i = 0; i < steps; i++) {
        kit_random_command(&seed, &text, &one);
        k.now = one.wall_ms;
        struct command_result got = kit_apply(&k, &one);
        struct command_result want = model_apply(&model, &one);
        if (one.type == CMD_COMPACT && !want.is_duplicate) {
            want.is_changed = got.is_changed; /* whether more is left is no matter of the model's */
        }
        expect_result(&one, &want, &got);
        if (i % 20 == 0) {
            compare(&model, &k, &seed);
        }
        if (i % 500 == 499) {
            kit_close(&k, i % 1000 == 999);
            kit_open(&k);
        }
    }
    compare(&model, &k, &seed);
    kit_fini(&k);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_seed(seed * 104729, 3000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
