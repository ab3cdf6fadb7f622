/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/view.c and storage/event.c. */
#include "kit.h"

#include <stdio.h>

#include "storage/event.h"
#include "storage/store_impl.h"

struct names {
    char text[2048];
    size_t n;
    size_t stop_after; /* 0 = never */
    struct view *view;
};

static void note(struct names *s, struct slice a, struct slice b)
{
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof(s->text) - len, "%.*s/%.*s ", SLICE_FMT(a), SLICE_FMT(b));
    s->n++;
}

static int on_config(void *arg, const struct config_name *n, const struct config_row *row)
{
    struct names *s = arg;
    assert_false(row->meta.is_deleted);
    note(s, n->group, n->key);
    return s->stop_after != 0 && s->n == s->stop_after ? 77 : 0;
}

static int on_service(void *arg, const struct service_name *n, const struct service_row *row)
{
    assert_true(row->n_instances > 0);
    note(arg, n->group, n->service);
    return 0;
}

static int on_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    assert_true(row->port != 0);
    note(arg, n->service, n->id);
    return 0;
}

static void put(struct kit *k, const char *ns, const char *group, const char *key)
{
    struct command c = {.type = CMD_CONFIG_PUT};
    c.u.config_put.name = (struct config_name){slice_str(ns), slice_str(group), slice_str(key)};
    c.u.config_put.content = slice_str(key);
    assert_int_equal(0, kit_apply(k, &c).code);
}

static void expect_configs(struct kit *k, const char *ns, const char *group, const char *prefix,
                           const char *want)
{
    struct names s = {.n = 0};
    struct view *v = view_open(k->store);
    assert_int_equal(
        0, view_configs(v, slice_str(ns), slice_str(group), slice_str(prefix), on_config, &s));
    view_close(v);
    assert_string_equal(want, s.text);
}

static void test_scans_of_configs(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    put(&k, "public", "b", "x1");
    put(&k, "public", "a", "x2");
    put(&k, "public", "a", "x10");
    put(&k, "public", "a", "y");
    put(&k, "public", "aa", "x1");
    put(&k, "publi", "a", "x1");
    put(&k, "public2", "a", "x1");
    put(&k, "public", "a", "gone");
    struct command c = {.type = CMD_CONFIG_DELETE};
    c.u.config_delete.name = (struct config_name){LIT("public"), LIT("a"), LIT("gone")};
    kit_apply(&k, &c);
    expect_configs(&k, "public", "a", "", "a/x10 a/x2 a/y ");
    expect_configs(&k, "public", "a", "x", "a/x10 a/x2 ");
    expect_configs(&k, "public", "a", "z", "");
    expect_configs(&k, "public", "", "", "a/x10 a/x2 a/y aa/x1 b/x1 ");
    expect_configs(&k, "public", "", "x1", "a/x10 aa/x1 b/x1 "); /* a prefix in every group */
    expect_configs(&k, "none", "", "", "");
    struct names s = {.stop_after = 2};
    struct view *v = view_open(k.store);
    assert_int_equal(77, view_configs(v, LIT("public"), LIT(""), LIT(""), on_config, &s));
    assert_int_equal(2, s.n);
    view_close(v);
    kit_fini(&k);
}

/* A scan inside a scan, and point reads inside both: each has its own place. */
static int nested(void *arg, const struct service_name *n, const struct service_row *row)
{
    struct names *s = arg;
    struct instance_row i;
    struct instance_name first = {n->ns, n->group, n->service, LIT("DEFAULT"), LIT("1")};
    (void)row;
    assert_int_equal(0, view_instances(s->view, n, on_instance, s));
    assert_int_equal(0, view_instance(s->view, &first, &i));
    return 0;
}

static void test_scans_of_services(void **state)
{
    struct kit k;
    struct names s = {.n = 0};
    (void)state;
    kit_init(&k);
    kit_register(&k, "web", "1");
    kit_register(&k, "web", "2");
    kit_register(&k, "web2", "1");
    kit_register(&k, "pay", "1");
    kit_register(&k, "gone", "1");
    kit_deregister(&k, "gone", "1");
    struct view *v = view_open(k.store);
    assert_int_equal(
        0, view_services(v, LIT("public"), LIT("DEFAULT_GROUP"), LIT("web"), on_service, &s));
    assert_string_equal("DEFAULT_GROUP/web DEFAULT_GROUP/web2 ", s.text);
    s = (struct names){.n = 0};
    assert_int_equal(0, view_services(v, LIT("public"), LIT(""), LIT("p"), on_service, &s));
    assert_string_equal("DEFAULT_GROUP/pay ", s.text);
    s = (struct names){.n = 0};
    struct service_name web = kit_service_name("web");
    assert_int_equal(0, view_instances(v, &web, on_instance, &s)); /* not those of web2 */
    assert_string_equal("web/1 web/2 ", s.text);
    s = (struct names){.n = 0};
    assert_int_equal(0, view_all_instances(v, on_instance, &s));
    assert_string_equal("pay/1 web/1 web/2 web2/1 ", s.text);
    s = (struct names){.view = v};
    assert_int_equal(0, view_services(v, LIT(""), LIT(""), LIT(""), nested, &s));
    assert_string_equal("pay/1 web/1 web/2 web2/1 ", s.text);
    view_close(v);
    kit_fini(&k);
}

static int on_version(void *arg, const struct config_name *n, const struct config_row *row)
{
    struct names *s = arg;
    char text[32];
    (void)n;
    snprintf(text, sizeof(text), "%llu%s", (unsigned long long)row->meta.mod_rev,
             row->meta.is_deleted ? "!" : "");
    note(s, slice_str(text), row->content);
    return s->stop_after != 0 && s->n == s->stop_after ? 77 : 0;
}

static void test_history(void **state)
{
    struct kit k;
    struct names s = {.n = 0};
    struct config_name n = kit_config_name("a"), never = kit_config_name("never");
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "one");
    kit_put(&k, "b", "other");
    kit_put(&k, "a", "two");
    kit_delete(&k, "a");
    kit_put(&k, "a", "three");
    struct view *v = view_open(k.store);
    assert_int_equal(0, view_config_history(v, &n, 0, on_version, &s));
    assert_string_equal("5/three 4!/ 3/two 1/one ", s.text);
    s = (struct names){.n = 0};
    assert_int_equal(0, view_config_history(v, &n, 4, on_version, &s));
    assert_string_equal("3/two 1/one ", s.text);
    s = (struct names){.stop_after = 1};
    assert_int_equal(77, view_config_history(v, &n, 0, on_version, &s));
    assert_string_equal("5/three ", s.text);
    s = (struct names){.n = 0};
    assert_int_equal(0, view_config_history(v, &never, 0, on_version, &s));
    assert_int_equal(0, s.n);
    view_close(v);
    kit_fini(&k);
}

static int on_change(void *arg, mu_rev rev, uint32_t sub, struct slice key, struct slice row,
                     int is_delete)
{
    struct names *s = arg;
    char text[64];
    struct row_meta m;
    assert_int_equal(0, row_meta_decode(row, &m));
    assert_true(m.mod_rev == rev && m.mod_sub == sub && m.is_deleted == is_delete);
    snprintf(text, sizeof(text), "%llu.%u", (unsigned long long)rev, sub);
    note(s, slice_str(text), slice_of(key.p, 1));
    return s->stop_after != 0 && s->n == s->stop_after ? 77 : 0;
}

static mu_rev expect_changes(struct view *v, const char *spaces, mu_rev from, size_t max,
                             const char *want)
{
    struct names s = {.n = 0};
    mu_rev next = 0;
    assert_int_equal(0, view_changes(v, spaces, from, max, on_change, &s, &next));
    assert_string_equal(want, s.text);
    return next;
}

static void test_changes(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");          /* 1 */
    kit_register(&k, "web", "1");   /* 2: two rows */
    kit_register(&k, "web", "1");   /* nothing */
    kit_put(&k, "a", "2");          /* 3 */
    kit_deregister(&k, "web", "1"); /* 4: two rows */
    struct view *v = view_open(k.store);
    assert_int_equal(5, expect_changes(v, "CIS", 1, 100, "1.0/C 2.0/I 2.1/S 3.0/C 4.0/I 4.1/S "));
    assert_int_equal(5, expect_changes(v, "CIS", 0, 100, "1.0/C 2.0/I 2.1/S 3.0/C 4.0/I 4.1/S "));
    assert_int_equal(5, expect_changes(v, "C", 1, 100, "1.0/C 3.0/C "));
    assert_int_equal(5, expect_changes(v, "S", 3, 100, "4.1/S "));
    /* a slice ends with its revision */
    assert_int_equal(3, expect_changes(v, "CIS", 1, 2, "1.0/C 2.0/I 2.1/S "));
    assert_int_equal(3, expect_changes(v, "CIS", 2, 1, "2.0/I 2.1/S "));
    assert_int_equal(2, expect_changes(v, "CIS", 1, 1, "1.0/C "));
    assert_int_equal(5, expect_changes(v, "CIS", 3, 3, "3.0/C 4.0/I 4.1/S "));
    /* nothing yet */
    assert_int_equal(5, expect_changes(v, "CIS", 5, 100, ""));
    assert_int_equal(9, expect_changes(v, "CIS", 9, 100, ""));
    struct names s = {.stop_after = 2};
    mu_rev next;
    assert_int_equal(77, view_changes(v, "CIS", 1, 100, on_change, &s, &next));
    view_close(v);
    kit_fini(&k);
}

/* What a view sees does not move; what it gave out stays valid while rows change under it. */
static void test_a_view_stands_still(void **state)
{
    struct kit k;
    struct config_row row;
    struct config_name n = kit_config_name("a");
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "before");
    struct view *v = view_open(k.store);
    assert_int_equal(0, view_config(v, &n, 0, &row));
    for (int i = 0; i < 200; i++) {
        kit_put(&k, "a", "after");
    }
    assert_true(slice_eq(row.content, LIT("before")));
    assert_true(view_revision(v) == 1 && view_applied(v) == 1);
    assert_int_equal(0, view_config(v, &n, 0, &row));
    assert_true(slice_eq(row.content, LIT("before")));
    struct view *w = view_open(k.store);
    assert_true(view_revision(w) == 201);
    view_close(w);
    view_close(v);
    kit_fini(&k);
}

/* Damage is told, not passed on: here pieces of a row that were cut or taken away behind the
 * store's back. */
static void test_damaged_pieces(void **state)
{
    struct kit k;
    static char text[20001];
    uint8_t key[EVENT_PIECE_KEY_SIZE];
    (void)state;
    kit_init(&k);
    memset(text, 'x', sizeof(text) - 1);
    for (int how = 0; how < 3; how++) {
        mu_rev rev = kit_put(&k, "a", text).mod_rev;
        struct db_txn *t = db_write_begin(k.store->db);
        struct slice piece = event_piece_key(key, rev, 0, how == 2 ? 3 : 1);
        if (how == 0) {
            db_put(t, DB_PIECES, piece, LIT("short"), 0);
        } else {
            db_del(t, DB_PIECES, piece);
        }
        db_write_commit(t, NULL);
        assert_int_equal(MU_E_CORRUPT, kit_read(&k, "a", 0, NULL));
    }
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scans_of_configs),
        cmocka_unit_test(test_scans_of_services),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_a_view_stands_still),
        cmocka_unit_test(test_damaged_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
