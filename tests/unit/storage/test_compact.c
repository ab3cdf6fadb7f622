/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/apply/compact.c. */
#include "kit.h"

#include <stdio.h>

#include "base/mem.h"
#include "storage/event.h"
#include "storage/store_impl.h"

static mu_rev compacted(struct kit *k, uint8_t space)
{
    struct view *v = view_open(k->store);
    mu_rev rev = view_compacted(v, space);
    view_close(v);
    return rev;
}

static int count_version(void *arg, const struct config_name *n, const struct config_row *row)
{
    (void)n;
    (void)row;
    (*(unsigned *)arg)++;
    return 0;
}

static unsigned n_versions(struct kit *k, const char *key)
{
    unsigned n = 0;
    struct config_name name = kit_config_name(key);
    struct view *v = view_open(k->store);
    int rc = view_config_history(v, &name, 0, count_version, &n);
    view_close(v);
    return rc == MU_E_NOT_FOUND ? 0 : n;
}

static unsigned n_events(struct kit *k)
{
    unsigned n = 0;
    struct slice key, value;
    struct view *v = view_open(k->store);
    struct db_cur *c = db_cur_open(view_txn(v), DB_EVENTS);
    for (int rc = db_cur_seek(c, slice_of(NULL, 0), &key, &value); rc == 0;
         rc = db_cur_next(c, &key, &value)) {
        n++;
    }
    db_cur_close(c);
    view_close(v);
    return n;
}

/* Ten versions of "a" at 1000, 2000 ... 10000, revisions 1 to 10. */
static void ten_versions(struct kit *k)
{
    char text[16];
    kit_init(k);
    for (int i = 1; i <= 10; i++) {
        k->now = i * 1000;
        snprintf(text, sizeof(text), "%d", i);
        kit_put(k, "a", text);
    }
}

static void put_op(struct kit *k, const struct op *o)
{
    struct command *c = mem_zalloc(sizeof(*c));
    c->type = CMD_TXN;
    c->u.txn = (struct cmd_txn){.n = 1, .ops = o};
    assert_int_equal(0, kit_apply(k, c).code);
    mem_free(c);
}

/* The spaces of a slot are not neighbours; user keys lie between them. */
static void test_each_slot_has_its_own_spaces(void **state)
{
    struct kit k;
    struct op key = {.type = OP_KEY_SET, .u.key = {.key = LIT("k")}};
    struct op record = {.type = OP_RECORD_SET, .u.record = {LIT("query"), LIT("q"), LIT("1")}};
    (void)state;
    kit_init(&k);
    for (int i = 0; i < 3; i++) {
        k.now = 1000 + i;
        key.u.key.flags = (uint64_t)i;
        put_op(&k, &key);
        record.u.record.body = slice_of("123" + i, 1);
        put_op(&k, &record);
        kit_put(&k, "a", i == 0 ? "1" : i == 1 ? "2" : "3");
    }
    unsigned before = n_events(&k);
    kit_compact(&k, SPACE_USER, 5000, 1);
    assert_int_equal(before - 2, n_events(&k));
    assert_true(compacted(&k, SPACE_USER) == 6 && compacted(&k, SPACE_RECORD) == 0);
    kit_compact(&k, SPACE_INSTANCE, 5000, 1);
    assert_int_equal(before - 4, n_events(&k));
    assert_true(compacted(&k, SPACE_RECORD) == 7 && compacted(&k, SPACE_SESSION) == 7);
    assert_int_equal(3, n_versions(&k, "a"));
    kit_check(&k);
    kit_fini(&k);
}

static void test_drops_what_is_old_and_superseded(void **state)
{
    struct kit k;
    (void)state;
    ten_versions(&k);
    /* Version 5 was superseded at 6000: it is the oldest that was still current at 5500. */
    assert_int_equal(1, kit_compact(&k, SPACE_CONFIG, 5500, 1));
    assert_int_equal(6, n_versions(&k, "a"));
    assert_int_equal(4, compacted(&k, SPACE_CONFIG));
    assert_int_equal(MU_E_COMPACTED, kit_read(&k, "a", 4, NULL));
    assert_int_equal(0, kit_read(&k, "a", 5, "5"));
    assert_int_equal(0, kit_read(&k, "a", 0, "10"));
    assert_int_equal(MU_E_COMPACTED, kit_read(&k, "never", 4, NULL));
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "never", 5, NULL));
    /* the other spaces are not touched */
    assert_int_equal(0, compacted(&k, SPACE_INSTANCE));
    kit_check(&k);
    kit_fini(&k);
}

static void test_keeps_the_newest(void **state)
{
    struct kit k;
    (void)state;
    ten_versions(&k);
    kit_compact(&k, SPACE_CONFIG, 1000000, 4);
    assert_int_equal(4, n_versions(&k, "a"));
    assert_int_equal(0, kit_read(&k, "a", 7, "7"));
    assert_int_equal(MU_E_COMPACTED, kit_read(&k, "a", 6, NULL));
    assert_int_equal(6, compacted(&k, SPACE_CONFIG));
    /* the current one always stays */
    kit_compact(&k, SPACE_CONFIG, 1000000, 0);
    assert_int_equal(1, n_versions(&k, "a"));
    assert_int_equal(0, kit_read(&k, "a", 0, "10"));
    assert_int_equal(0, kit_read(&k, "a", 10, "10"));
    assert_int_equal(9, compacted(&k, SPACE_CONFIG));
    kit_check(&k);
    kit_fini(&k);
}

/* Versions that are kept stay readable by their revision though a neighbour raised the mark. */
static void test_kept_history_stays_readable(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "quiet", "1"); /* 1 */
    kit_put(&k, "quiet", "2"); /* 2 */
    for (int i = 0; i < 20; i++) {
        kit_put(&k, "busy", "x");
    }
    k.now = 5000;
    kit_compact(&k, SPACE_CONFIG, 4000, 2);
    assert_true(compacted(&k, SPACE_CONFIG) > 2);
    assert_int_equal(0, kit_read(&k, "quiet", 1, "1"));
    assert_int_equal(0, kit_read(&k, "quiet", 2, "2"));
    kit_fini(&k);
}

static void test_old_tombstones_go_altogether(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    kit_put(&k, "b", "1");
    kit_delete(&k, "a"); /* 3, at 1000 */
    k.now = 9000;
    kit_delete(&k, "b"); /* 4, young */
    kit_compact(&k, SPACE_CONFIG, 5000, 100);
    assert_int_equal(0, n_versions(&k, "a"));
    assert_int_equal(2, n_versions(&k, "b"));
    assert_int_equal(2, n_events(&k));
    assert_int_equal(MU_E_COMPACTED, kit_read(&k, "a", 1, NULL));
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "a", 4, NULL));
    assert_int_equal(0, kit_read(&k, "b", 3, "1"));
    assert_int_equal(3, compacted(&k, SPACE_CONFIG));
    /* coming back it is new */
    struct command_result r = kit_put(&k, "a", "2");
    assert_true(r.version == 1 && r.is_created);
    assert_int_equal(1, n_versions(&k, "a"));
    kit_check(&k);
    kit_fini(&k);
}

static void test_instances_and_services(void **state)
{
    struct kit k;
    struct instance_row row;
    char id[16];
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    kit_put(&k, "a", "2");
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "%d", i);
        kit_register(&k, i % 2 ? "web" : "gone", id);
    }
    for (int i = 0; i < 20; i += 2) {
        snprintf(id, sizeof(id), "%d", i);
        kit_deregister(&k, "gone", id);
    }
    kit_compact(&k, SPACE_INSTANCE, 100000, 0);
    /* ten instances and one service are left, and the two versions of the config */
    assert_int_equal(11 + 2, n_events(&k));
    assert_true(kit_find_instance(&k, "web", "1", &row));
    assert_true(compacted(&k, SPACE_INSTANCE) == compacted(&k, SPACE_SERVICE) &&
                compacted(&k, SPACE_INSTANCE) > 0);
    assert_int_equal(0, compacted(&k, SPACE_CONFIG));
    kit_check(&k);
    kit_fini(&k);
}

static int count_change(void *arg, mu_rev rev, uint32_t sub, struct slice key, struct slice row,
                        int is_delete)
{
    (void)rev;
    (void)sub;
    (void)key;
    (void)row;
    (void)is_delete;
    (*(unsigned *)arg)++;
    return 0;
}

static void test_changes_from_below_are_refused(void **state)
{
    struct kit k;
    mu_rev next;
    unsigned n = 0;
    (void)state;
    ten_versions(&k);
    kit_register(&k, "web", "1");           /* 11 */
    kit_compact(&k, SPACE_CONFIG, 5500, 1); /* to 4 */
    struct view *v = view_open(k.store);
    assert_int_equal(MU_E_COMPACTED, view_changes(v, "C", 4, 100, count_change, &n, &next));
    assert_int_equal(MU_E_COMPACTED, view_changes(v, "IC", 4, 100, count_change, &n, &next));
    assert_int_equal(0, n);
    assert_int_equal(0, view_changes(v, "C", 5, 100, count_change, &n, &next));
    assert_int_equal(6, n);
    assert_int_equal(0, view_changes(v, "I", 1, 100, count_change, &n, &next));
    assert_int_equal(7, n);
    view_close(v);
    kit_fini(&k);
}

/* One command does a bounded piece; between the pieces other commands run, and the store may be
 * closed. */
static void test_bounded_pieces(void **state)
{
    struct kit k;
    char key[16];
    (void)state;
    kit_init(&k);
    for (int i = 0; i < 3000; i++) {
        kit_put(&k, "deep", "x");
        snprintf(key, sizeof(key), "k%d", i);
        kit_put(&k, key, "x");
        if (i % 3 == 0) {
            kit_delete(&k, key);
        }
    }
    kit_put(&k, "zz", "1");
    k.now = 5000;
    struct command c = {.type = CMD_COMPACT};
    c.u.compact = (struct cmd_compact){SPACE_CONFIG, 4000, 3};
    unsigned n = 0;
    while (kit_apply(&k, &c).is_changed) {
        kit_put(&k, "deep", "y");
        kit_put(&k, "zz", "y");
        kit_put(&k, n % 2 ? "k0" : "k3", "back");
        kit_check(&k);
        if (n == 2) {
            kit_close(&k, 0);
            kit_open(&k);
        }
        assert_true(++n < 100);
    }
    assert_true(n >= 3);
    kit_check(&k);
    assert_int_equal(0, kit_read(&k, "deep", 0, "y"));
    assert_true(n_versions(&k, "deep") >= 3 && n_versions(&k, "deep") < 3 + 2 * n);
    assert_int_equal(0, n_versions(&k, "k2997"));
    assert_int_equal(1, n_versions(&k, "k2998"));
    kit_fini(&k);
}

/* A run that is taking a deleted key away meets it alive again. */
static void test_a_key_that_comes_back_meanwhile(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    for (int i = 0; i < 3000; i++) {
        kit_put(&k, "a", "x");
    }
    kit_delete(&k, "a");
    k.now = 5000;
    struct command c = {.type = CMD_COMPACT};
    c.u.compact = (struct cmd_compact){SPACE_CONFIG, 4000, 1};
    assert_true(kit_apply(&k, &c).is_changed);
    assert_true(kit_put(&k, "a", "back").is_created);
    kit_compact(&k, SPACE_CONFIG, 4000, 1);
    assert_int_equal(0, kit_read(&k, "a", 0, "back"));
    assert_int_equal(2, n_versions(&k, "a")); /* and the tombstone, until the next run */
    kit_check(&k);
    kit_compact(&k, SPACE_CONFIG, 6000, 1);
    assert_int_equal(1, n_versions(&k, "a"));
    kit_fini(&k);
}

static void test_space_is_used_again(void **state)
{
    struct kit k;
    uint64_t after_first = 0;
    static char text[3000];
    (void)state;
    kit_init(&k);
    memset(text, 'x', sizeof(text) - 1);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 300; i++) {
            kit_put(&k, "a", text);
        }
        kit_compact(&k, SPACE_CONFIG, 1 << 30, 1);
        if (round == 3) {
            after_first = db_end_bytes(k.store->db);
        }
    }
    assert_true(db_end_bytes(k.store->db) <= after_first + after_first / 4);
    assert_true(store_used_bytes(k.store) < 40 * 4096);
    kit_fini(&k);
}

/* Many small rows and then some large ones come and go, again and again: no hole is too small for
 * what comes next. */
static void test_space_of_large_rows_is_used_again(void **state)
{
    struct kit k;
    char key[16];
    uint64_t seed = 77, after_some = 0;
    char *text = mem_zalloc(400001);
    (void)state;
    kit_init(&k);
    memset(text, 'x', 400000);
    for (int round = 0; round < 14; round++) {
        for (int i = 0; i < 2000; i++) {
            snprintf(key, sizeof(key), "k%u", (unsigned)kit_below(&seed, 3000));
            kit_put(&k, key, text + 400000 - 100 - kit_below(&seed, 400));
        }
        for (int i = 0; i < 30; i++) {
            snprintf(key, sizeof(key), "large%u", (unsigned)kit_below(&seed, 8));
            kit_put(&k, key, text + kit_below(&seed, 350000));
        }
        kit_compact(&k, SPACE_CONFIG, 1 << 30, 1);
        after_some = round == 6 ? db_end_bytes(k.store->db) : after_some;
    }
    assert_true(db_end_bytes(k.store->db) <= after_some + after_some / 8);
    kit_check(&k);
    mem_free(text);
    kit_fini(&k);
}

/* With a version its pieces go. */
static void test_pieces_go_with_their_row(void **state)
{
    struct kit k;
    struct slice key, value;
    char *text = mem_zalloc(100001);
    (void)state;
    kit_init(&k);
    memset(text, 'x', 100000);
    kit_put(&k, "a", text);
    kit_put(&k, "a", text);
    kit_delete(&k, "a");
    kit_compact(&k, SPACE_CONFIG, 1 << 30, 1);
    struct view *v = view_open(k.store);
    struct db_cur *c = db_cur_open(view_txn(v), DB_PIECES);
    assert_int_equal(MU_E_NOT_FOUND, db_cur_seek(c, slice_of(NULL, 0), &key, &value));
    db_cur_close(c);
    view_close(v);
    assert_int_equal(0, n_events(&k));
    mem_free(text);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drops_what_is_old_and_superseded),
        cmocka_unit_test(test_each_slot_has_its_own_spaces),
        cmocka_unit_test(test_keeps_the_newest),
        cmocka_unit_test(test_kept_history_stays_readable),
        cmocka_unit_test(test_old_tombstones_go_altogether),
        cmocka_unit_test(test_instances_and_services),
        cmocka_unit_test(test_changes_from_below_are_refused),
        cmocka_unit_test(test_bounded_pieces),
        cmocka_unit_test(test_a_key_that_comes_back_meanwhile),
        cmocka_unit_test(test_space_is_used_again),
        cmocka_unit_test(test_space_of_large_rows_is_used_again),
        cmocka_unit_test(test_pieces_go_with_their_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
