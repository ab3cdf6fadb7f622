/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/db/longkey.h"
#include "storage/event.h"
#include "storage/store_impl.h"

/* ---- folders and stores ---- */

void kit_make_dir(char out[256])
{
    const char *base = getenv("TMPDIR");
    snprintf(out, 256, "%s/muster-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(out));
}

void kit_remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    if (d == NULL) {
        return;
    }
    while ((entry = readdir(d)) != NULL) {
        char path[600];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
            if (unlink(path) != 0) {
                kit_remove_dir(path);
            }
        }
    }
    closedir(d);
    rmdir(dir);
}

void kit_open(struct kit *k)
{
    struct err e = {0};
    struct store_state st;
    k->options.dir = k->dir;
    int rc = store_open(&k->options, &k->store, &k->was_reset, &e);
    if (rc != 0) {
        fail_msg("store_open: %s", e.text);
    }
    store_state(k->store, &st);
    k->index = st.applied;
}

void kit_close(struct kit *k, int is_clean)
{
    store_close(k->store, is_clean);
    k->store = NULL;
}

void kit_init(struct kit *k)
{
    memset(k, 0, sizeof(*k));
    buf_init(&k->bytes);
    k->now = 1000;
    kit_make_dir(k->dir);
    kit_open(k);
}

void kit_fini(struct kit *k)
{
    if (k->store != NULL) {
        kit_close(k, 0);
    }
    buf_fini(&k->bytes);
    kit_remove_dir(k->dir);
}

/* ---- commands ---- */

static void on_result(void *arg, const struct store_entry *entry, const struct command_result *r)
{
    (void)entry;
    *(struct command_result *)arg = *r;
}

struct command_result kit_apply(struct kit *k, struct command *c)
{
    struct command_result r = {.code = 12345};
    struct err e;
    c->wall_ms = k->now;
    buf_clear(&k->bytes);
    command_encode(&k->bytes, c);
    struct store_entry entry = {++k->index, 1, STORE_COMMAND, buf_slice(&k->bytes)};
    assert_int_equal(0, store_has_room(k->store, k->bytes.len, &e));
    store_apply(k->store, &entry, 1, on_result, &r, &k->changes);
    assert_int_not_equal(12345, r.code);
    return r;
}

struct config_name kit_config_name(const char *key)
{
    return (struct config_name){LIT("public"), LIT("g"), slice_str(key)};
}

struct service_name kit_service_name(const char *svc)
{
    return (struct service_name){LIT("public"), LIT("DEFAULT_GROUP"), slice_str(svc)};
}

struct instance_name kit_instance_name(const char *svc, const char *id)
{
    return (struct instance_name){LIT("public"), LIT("DEFAULT_GROUP"), slice_str(svc),
                                  LIT("DEFAULT"), slice_str(id)};
}

struct command_result kit_put_cas(struct kit *k, const char *key, const char *content,
                                  enum cas_mode cas, mu_rev expect)
{
    struct command c = {.type = CMD_CONFIG_PUT};
    c.u.config_put.name = kit_config_name(key);
    c.u.config_put.content = slice_str(content);
    c.u.config_put.content_type = LIT("text/plain");
    c.u.config_put.cas = cas;
    c.u.config_put.expect = expect;
    return kit_apply(k, &c);
}

struct command_result kit_put(struct kit *k, const char *key, const char *content)
{
    return kit_put_cas(k, key, content, CAS_NONE, 0);
}

struct command_result kit_delete(struct kit *k, const char *key)
{
    struct command c = {.type = CMD_CONFIG_DELETE};
    c.u.config_delete.name = kit_config_name(key);
    return kit_apply(k, &c);
}

struct command kit_instance(const char *svc, const char *id)
{
    struct command c = {.type = CMD_INSTANCE_PUT};
    c.u.instance_put.name = kit_instance_name(svc, id);
    c.u.instance_put.row.address = LIT("10.0.0.1");
    c.u.instance_put.row.port = 8080;
    c.u.instance_put.row.weight = 1;
    c.u.instance_put.row.is_enabled = 1;
    c.u.instance_put.row.remove_after_ms = REMOVE_NEVER;
    return c;
}

struct command_result kit_register(struct kit *k, const char *svc, const char *id)
{
    struct command c = kit_instance(svc, id);
    return kit_apply(k, &c);
}

struct command_result kit_register_ttl(struct kit *k, const char *svc, const char *id,
                                       int64_t ttl_ms, int64_t remove_after_ms)
{
    struct command c = kit_instance(svc, id);
    c.u.instance_put.row.ttl_ms = ttl_ms;
    c.u.instance_put.row.remove_after_ms = remove_after_ms;
    c.u.instance_put.lease_id = 0x7000000000000000 + k->index;
    return kit_apply(k, &c);
}

struct command_result kit_register_lease(struct kit *k, const char *svc, const char *id,
                                         mu_lease_id lease)
{
    struct command c = kit_instance(svc, id);
    c.u.instance_put.row.meta.lease = lease;
    return kit_apply(k, &c);
}

struct command_result kit_deregister(struct kit *k, const char *svc, const char *id)
{
    struct command c = {.type = CMD_INSTANCE_DELETE};
    c.u.instance_delete.name = kit_instance_name(svc, id);
    return kit_apply(k, &c);
}

struct command_result kit_health(struct kit *k, const char *svc, const char *id, mu_rev create_rev,
                                 int is_healthy, const char *output)
{
    struct command c = {.type = CMD_INSTANCE_HEALTH};
    c.u.instance_health.name = kit_instance_name(svc, id);
    c.u.instance_health.create_rev = create_rev;
    c.u.instance_health.is_healthy = is_healthy;
    c.u.instance_health.output = slice_str(output);
    return kit_apply(k, &c);
}

struct command_result kit_grant(struct kit *k, mu_lease_id id, int64_t ttl_ms)
{
    struct command c = {.type = CMD_LEASE_GRANT};
    c.u.lease_grant = (struct cmd_lease_grant){id, ttl_ms};
    return kit_apply(k, &c);
}

struct command_result kit_revoke(struct kit *k, mu_lease_id id)
{
    struct command c = {.type = CMD_LEASE_REVOKE};
    c.u.lease_revoke.id = id;
    return kit_apply(k, &c);
}

struct command_result kit_step(struct kit *k, enum command_type type, mu_lease_id id,
                               uint64_t generation, int64_t remaining_ms)
{
    struct command c = {.type = type};
    struct lease_step s = {id, generation, remaining_ms};
    c.u.lease_steps.n = 1;
    c.u.lease_steps.items = &s;
    return kit_apply(k, &c);
}

unsigned kit_compact(struct kit *k, uint8_t space, int64_t before_ms, uint32_t keep)
{
    unsigned n = 0;
    struct command_result r;
    do {
        struct command c = {.type = CMD_COMPACT};
        c.u.compact = (struct cmd_compact){space, before_ms, keep};
        r = kit_apply(k, &c);
        assert_int_equal(0, r.code);
        assert_true(++n < 1000);
    } while (r.is_changed);
    return n;
}

/* ---- reading ---- */

int kit_read(struct kit *k, const char *key, mu_rev rev, const char *content)
{
    struct config_row row;
    struct config_name n = kit_config_name(key);
    struct view *v = view_open(k->store);
    int rc = view_config(v, &n, rev, &row);
    if (rc == 0 && content != NULL && !slice_eq(row.content, slice_str(content))) {
        fail_msg("%s at %llu is '%.*s', not '%s'", key, (unsigned long long)rev,
                 SLICE_FMT(row.content), content);
    }
    view_close(v);
    return rc;
}

static void drop_borrowed(struct instance_row *row)
{
    row->address = row->tags = row->metadata = row->output = row->check.target = row->check.method =
        slice_of(NULL, 0);
}

int kit_find_instance(struct kit *k, const char *svc, const char *id, struct instance_row *out)
{
    struct instance_name n = kit_instance_name(svc, id);
    struct view *v = view_open(k->store);
    int rc = view_instance(v, &n, out);
    view_close(v);
    assert_true(rc == 0 || rc == MU_E_NOT_FOUND);
    if (rc == 0) {
        drop_borrowed(out);
    }
    return rc == 0;
}

int kit_find_service(struct kit *k, const char *svc, struct service_row *out)
{
    struct service_name n = kit_service_name(svc);
    struct view *v = view_open(k->store);
    int rc = view_service(v, &n, out);
    view_close(v);
    assert_true(rc == 0 || rc == MU_E_NOT_FOUND);
    return rc == 0;
}

int kit_find_lease(struct kit *k, mu_lease_id id, struct lease_row *out)
{
    struct view *v = view_open(k->store);
    int rc = view_lease(v, id, out);
    view_close(v);
    assert_true(rc == 0 || rc == MU_E_NOT_FOUND);
    return rc == 0;
}

/* ---- consistency ---- */

struct tally {
    mu_lease_id lease;
    struct view *view;
    struct kit *kit;
    struct buf service; /* key of the service that is being counted */
    uint32_t n_instances, n_healthy;
    size_t n_members;
};

static struct slice whole(struct db_txn *t, const struct event *ev, struct buf *mem)
{
    struct slice row;
    assert_int_equal(0, event_row(t, ev, mem, &row));
    assert_int_equal(ev->row_len, row.len);
    return row;
}

/* Does it hang on a lease? */
static int check_row(struct db_txn *t, struct slice key, struct slice value, mu_rev revision)
{
    struct event row, ev;
    struct row_meta m;
    struct buf x, y;
    buf_init(&x);
    buf_init(&y);
    assert_int_equal(0, event_resolve(t, value, &row));
    assert_int_equal(0, row_meta_decode(row.head, &m));
    assert_true(m.mod_rev <= revision && m.create_rev <= m.mod_rev && m.mod_rev != 0);
    assert_int_equal(0, event_get(t, m.mod_rev, m.mod_sub, &ev));
    assert_true(slice_eq(key, ev.key));
    assert_true(slice_eq(whole(t, &row, &x), whole(t, &ev, &y)));
    assert_true(m.lease == 0 || !m.is_deleted);
    int is_member = m.lease != 0;
    if (key.p[0] == SPACE_USER) { /* on that of the session that holds it */
        struct user_row u;
        assert_int_equal(0, user_row_decode(whole(t, &row, &x), &u));
        is_member = u.session.len != 0;
    }
    while (m.prev_rev != 0 && event_get(t, m.prev_rev, m.prev_sub, &ev) == 0) {
        struct row_meta older;
        assert_true(slice_eq(key, ev.key));
        (void)whole(t, &ev, &y);
        assert_int_equal(0, row_meta_decode(ev.head, &older));
        assert_true(older.mod_rev < m.mod_rev ||
                    (older.mod_rev == m.mod_rev && older.mod_sub < m.mod_sub));
        assert_true(older.is_deleted ? m.version == 1 : m.version == older.version + 1);
        m = older;
    }
    buf_fini(&x);
    buf_fini(&y);
    return is_member;
}

static void check_rows(struct tally *t)
{
    struct view *v = t->view;
    struct longkey_cur c;
    struct slice key, value;
    struct buf last;
    buf_init(&last);
    longkey_cur_open(&c, view_txn(v));
    int rc = longkey_cur_seek(&c, LIT("\x02"), &key, &value);
    while (rc == 0) {
        assert_true(slice_cmp(buf_slice(&last), key) < 0);
        buf_clear(&last);
        buf_append_slice(&last, key);
        t->n_members += check_row(view_txn(v), key, value, view_revision(v));
        rc = longkey_cur_next(&c, &key, &value);
    }
    assert_int_equal(MU_E_NOT_FOUND, rc);
    longkey_cur_close(&c);
    buf_fini(&last);
}

static int count_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct tally *t = arg;
    (void)n;
    t->n_instances++;
    t->n_healthy += row->is_healthy && row->is_enabled;
    assert_true(row->is_healthy == (row->unhealthy_at == 0));
    if (row->meta.lease != 0) {
        struct lease_row lease;
        assert_int_equal(0, view_lease(t->view, row->meta.lease, &lease));
        assert_int_equal(row->owns_lease, lease.is_owned);
    }
    return 0;
}

static int check_service(void *arg, const struct service_name *n, const struct service_row *row)
{
    struct tally *t = arg;
    t->n_instances = t->n_healthy = 0;
    assert_int_equal(0, view_instances(t->view, n, count_instance, t));
    assert_true(row->n_instances > 0);
    assert_int_equal(t->n_instances, row->n_instances);
    assert_int_equal(t->n_healthy, row->n_healthy);
    return 0;
}

static int check_member(void *arg, struct slice key)
{
    struct tally *t = arg;
    struct slice value;
    struct event row;
    struct row_meta m;
    assert_int_equal(0, longkey_get(view_txn(t->view), key, &value));
    assert_int_equal(0, event_resolve(view_txn(t->view), value, &row));
    assert_int_equal(0, row_meta_decode(row.head, &m));
    assert_true((m.lease == t->lease || key.p[0] == SPACE_USER) && t->n_members > 0);
    t->n_members--;
    return 0;
}

static int check_lease(void *arg, const struct lease_row *row)
{
    struct tally *t = arg;
    t->lease = row->id;
    return view_lease_keys(t->view, row->id, check_member, arg);
}

static int check_has_service(void *arg, const struct instance_name *n,
                             const struct instance_row *row)
{
    struct service_row s;
    (void)row;
    assert_int_equal(0, view_service(arg, &(struct service_name){n->ns, n->group, n->service}, &s));
    return 0;
}

void kit_check(struct kit *k)
{
    struct tally t = {.kit = k};
    struct slice none = {NULL, 0};
    t.view = view_open(k->store);
    check_rows(&t);
    assert_int_equal(0, view_services(t.view, none, none, none, check_service, &t));
    assert_int_equal(0, view_all_instances(t.view, check_has_service, t.view));
    /* members counted with the rows are exactly those that the leases know */
    assert_int_equal(0, view_leases(t.view, check_lease, &t));
    assert_int_equal(0, t.n_members);
    view_close(t.view);
}

/* ---- random ---- */

uint64_t kit_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

uint64_t kit_below(uint64_t *state, uint64_t n)
{
    return kit_random(state) % n;
}

static void random_instance(uint64_t *seed, struct kit_text *t, struct command *c)
{
    *c = kit_instance(t->service, t->id);
    struct instance_row *row = &c->u.instance_put.row;
    row->port = (uint16_t)(1 + kit_below(seed, 2));
    row->is_enabled = kit_below(seed, 8) != 0;
    c->u.instance_put.lease_id = 1000 + kit_below(seed, 1000);
    switch (kit_below(seed, 4)) {
    case 0:
        row->meta.lease = 1 + kit_below(seed, 6);
        break;
    case 1:
        row->ttl_ms = 1000 * (int64_t)(1 + kit_below(seed, 2));
        row->remove_after_ms = (int64_t)kit_below(seed, 3) - 1;
        break;
    case 2:
        row->check = (struct check_spec){CHECK_TCP, LIT("h:1"), LIT(""), 1000, 500, 1, 1};
        break;
    default:
        c->u.instance_put.set_health = kit_below(seed, 4) == 0;
        row->is_healthy = kit_below(seed, 2) != 0;
        break;
    }
    if (kit_below(seed, 8) == 0) {
        c->u.instance_put.cas = (enum cas_mode)kit_below(seed, 3);
        c->u.instance_put.expect = kit_below(seed, 50);
    }
}

static void random_config(uint64_t *seed, struct kit_text *t, struct command *c)
{
    size_t len =
        kit_below(seed, 16) == 0 ? kit_below(seed, sizeof(t->content)) : kit_below(seed, 40);
    memset(t->content, 'a' + (int)kit_below(seed, 26), len);
    c->type = CMD_CONFIG_PUT;
    c->u.config_put.name = kit_config_name(t->key);
    c->u.config_put.content = slice_of(t->content, len);
    if (kit_below(seed, 4) == 0) {
        c->u.config_put.cas = (enum cas_mode)kit_below(seed, 3);
        c->u.config_put.expect = kit_below(seed, 50);
    }
}

static void random_steps(uint64_t *seed, struct kit_text *t, struct command *c)
{
    c->type = (enum command_type)(CMD_LEASE_OVERDUE + kit_below(seed, 4));
    c->u.lease_steps.n = kit_below(seed, N_ELEMENTS(t->steps));
    c->u.lease_steps.items = t->steps;
    for (size_t i = 0; i < c->u.lease_steps.n; i++) {
        mu_lease_id id = kit_below(seed, 2) ? 1 + kit_below(seed, 6) : 1000 + kit_below(seed, 1000);
        t->steps[i] =
            (struct lease_step){id, 1 + kit_below(seed, 3), (int64_t)kit_below(seed, 2000)};
    }
}

void kit_random_command(uint64_t *seed, struct kit_text *t, struct command *c)
{
    memset(c, 0, sizeof(*c));
    int64_t at = 1 + (int64_t)kit_below(seed, 1000);
    snprintf(t->key, sizeof(t->key), "k%u", (unsigned)kit_below(seed, 8));
    snprintf(t->service, sizeof(t->service), "s%u", (unsigned)kit_below(seed, 3));
    snprintf(t->id, sizeof(t->id), "i%u", (unsigned)kit_below(seed, 5));
    switch (kit_below(seed, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        random_config(seed, t, c);
        break;
    case 4:
        c->type = CMD_CONFIG_DELETE;
        c->u.config_delete.name = kit_config_name(t->key);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        random_instance(seed, t, c);
        break;
    case 9:
    case 10:
        c->type = CMD_INSTANCE_DELETE;
        c->u.instance_delete.name = kit_instance_name(t->service, t->id);
        c->u.instance_delete.create_rev = kit_below(seed, 8) == 0 ? kit_below(seed, 50) : 0;
        break;
    case 11:
        c->type = CMD_INSTANCE_HEALTH;
        c->u.instance_health.name = kit_instance_name(t->service, t->id);
        c->u.instance_health.is_healthy = kit_below(seed, 2) != 0;
        break;
    case 12:
        c->type = CMD_LEASE_GRANT;
        c->u.lease_grant = (struct cmd_lease_grant){1 + kit_below(seed, 6), 15000};
        break;
    case 13:
        c->type = CMD_LEASE_REVOKE;
        c->u.lease_revoke.id = 1 + kit_below(seed, 6);
        break;
    case 14:
        random_steps(seed, t, c);
        break;
    default:
        c->type = kit_below(seed, 8) == 0 ? CMD_COMPACT : CMD_LEASE_GRANT;
        if (c->type == CMD_COMPACT) {
            c->u.compact = (struct cmd_compact){kit_below(seed, 2) ? SPACE_CONFIG : SPACE_INSTANCE,
                                                at, (uint32_t)kit_below(seed, 5)};
        } else {
            c->u.lease_grant = (struct cmd_lease_grant){1 + kit_below(seed, 6), 15000};
        }
        break;
    }
    c->wall_ms = at;
    c->has_request_id = kit_below(seed, 8) == 0;
    c->request_id[0] = (uint8_t)kit_below(seed, 200);
}

static void expect_equal_tables(struct view *v, struct view *w, enum db_table table)
{
    struct slice k1, v1, k2, v2;
    struct db_cur *x = db_cur_open(view_txn(v), table), *y = db_cur_open(view_txn(w), table);
    int rx = db_cur_seek(x, slice_of(NULL, 0), &k1, &v1),
        ry = db_cur_seek(y, slice_of(NULL, 0), &k2, &v2);
    while (rx == 0 && ry == 0) {
        assert_true(slice_eq(k1, k2));
        assert_true(slice_eq(v1, v2));
        rx = db_cur_next(x, &k1, &v1);
        ry = db_cur_next(y, &k2, &v2);
    }
    assert_int_equal(MU_E_NOT_FOUND, rx);
    assert_int_equal(MU_E_NOT_FOUND, ry);
    db_cur_close(x);
    db_cur_close(y);
}

void kit_expect_equal(struct store *x, struct store *y)
{
    struct view *v = view_open(x), *w = view_open(y);
    for (int t = 0; t < DB_TABLE_N; t++) {
        expect_equal_tables(v, w, (enum db_table)t);
    }
    view_close(w);
    view_close(v);
}

void kit_expect_equal_rows(struct store *x, struct store *y)
{
    struct view *v = view_open(x), *w = view_open(y);
    for (int t = DB_META + 1; t < DB_TABLE_N; t++) {
        expect_equal_tables(v, w, (enum db_table)t);
    }
    view_close(w);
    view_close(v);
}

/* ---- golden files ---- */

static void to_hex(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        buf_printf(out, "%02x%s", bytes.p[i], i % 32 == 31 || i + 1 == bytes.len ? "\n" : "");
    }
}

void kit_golden(const char *name, struct slice bytes)
{
    char path[512];
    struct buf hex, file;
    buf_init(&hex);
    buf_init(&file);
    to_hex(&hex, bytes);
    snprintf(path, sizeof(path), "%s/%s.hex", GOLDEN_DIR, name);
    FILE *f = fopen(path, "r");
    if (f == NULL && getenv("MUSTER_GOLDEN_WRITE") != NULL) {
        f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(hex.len, fwrite(hex.p, 1, hex.len, f));
    } else {
        if (f == NULL) {
            fail_msg("no golden file %s", path);
        }
        uint8_t *p = buf_reserve(&file, 1 << 20);
        file.len = fread(p, 1, 1 << 20, f);
        if (!slice_eq(buf_slice(&file), buf_slice(&hex))) {
            fail_msg("%s differs; the bytes are now:\n%.*s", path, SLICE_FMT(buf_slice(&hex)));
        }
    }
    fclose(f);
    buf_fini(&hex);
    buf_fini(&file);
}
