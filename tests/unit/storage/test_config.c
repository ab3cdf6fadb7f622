/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/apply/config.c and storage/apply/row.c. */
#include "kit.h"

#include <stdio.h>

#include "base/mem.h"

static void test_put_makes_versions(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    struct command_result r = kit_put(&k, "a", "one");
    assert_true(r.code == 0 && r.revision == 1 && r.mod_rev == 1 && r.create_rev == 1 &&
                r.version == 1);
    assert_true(r.is_created && r.is_changed && !r.is_duplicate);
    r = kit_put(&k, "a", "two");
    assert_true(r.code == 0 && r.revision == 2 && r.mod_rev == 2 && r.create_rev == 1 &&
                r.version == 2);
    assert_true(!r.is_created && r.is_changed);
    assert_int_equal(0, kit_read(&k, "a", 0, "two"));
    assert_int_equal(0, kit_read(&k, "a", 1, "one"));
    /* the same content again is a publication all the same */
    assert_int_equal(3, kit_put(&k, "a", "two").version);
    kit_check(&k);
    kit_fini(&k);
}

static void test_reads_of_old_revisions_are_exact(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "a1"); /* 1 */
    kit_put(&k, "b", "b2"); /* 2 */
    kit_delete(&k, "a");    /* 3 */
    kit_put(&k, "b", "b4"); /* 4 */
    kit_put(&k, "a", "a5"); /* 5 */
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "b", 1, NULL));
    assert_int_equal(0, kit_read(&k, "a", 2, "a1"));
    assert_int_equal(0, kit_read(&k, "b", 3, "b2"));
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "a", 3, NULL));
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "a", 4, NULL));
    assert_int_equal(0, kit_read(&k, "b", 4, "b4"));
    assert_int_equal(0, kit_read(&k, "a", 5, "a5"));
    assert_int_equal(MU_E_FUTURE_REVISION, kit_read(&k, "a", 6, NULL));
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "never", 0, NULL));
    kit_fini(&k);
}

static void test_delete_and_come_back(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    assert_int_equal(MU_E_NOT_FOUND, kit_delete(&k, "a").code);
    kit_put(&k, "a", "1");
    struct command_result r = kit_delete(&k, "a");
    assert_true(r.code == 0 && r.revision == 2 && r.mod_rev == 2 && r.version == 2 &&
                r.is_changed && !r.is_created);
    r = kit_delete(&k, "a");
    assert_true(r.code == MU_E_NOT_FOUND && r.revision == 2 && !r.is_changed);
    r = kit_put(&k, "a", "2");
    assert_true(r.is_created && r.create_rev == 3 && r.version == 1);
    kit_check(&k);
    kit_fini(&k);
}

static void test_compare_and_set(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    struct command_result r = kit_put_cas(&k, "a", "2", CAS_ABSENT, 0);
    assert_true(r.code == MU_E_EXISTS && r.mod_rev == 1 && r.version == 1 && r.revision == 1 &&
                !r.is_changed);
    r = kit_put_cas(&k, "a", "2", CAS_REVISION, 7);
    assert_true(r.code == MU_E_REVISION_MISMATCH && r.mod_rev == 1);
    assert_int_equal(0, kit_read(&k, "a", 0, "1"));
    assert_int_equal(0, kit_put_cas(&k, "a", "2", CAS_REVISION, 1).code);
    r = kit_put_cas(&k, "b", "1", CAS_REVISION, 1);
    assert_true(r.code == MU_E_REVISION_MISMATCH && r.mod_rev == 0);
    assert_int_equal(0, kit_put_cas(&k, "b", "1", CAS_ABSENT, 0).code);
    kit_delete(&k, "b");
    /* a tombstone is absent */
    r = kit_put_cas(&k, "b", "2", CAS_REVISION, 4);
    assert_true(r.code == MU_E_REVISION_MISMATCH && r.mod_rev == 0 && r.version == 0);
    assert_int_equal(0, kit_put_cas(&k, "b", "2", CAS_ABSENT, 0).code);
    kit_check(&k);
    kit_fini(&k);
}

static void test_delete_compares_too(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    struct command c = {.type = CMD_CONFIG_DELETE};
    c.u.config_delete = (struct cmd_config_delete){kit_config_name("a"), CAS_REVISION, 9};
    assert_int_equal(MU_E_REVISION_MISMATCH, kit_apply(&k, &c).code);
    c.u.config_delete.expect = 1;
    assert_int_equal(0, kit_apply(&k, &c).code);
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "a", 0, NULL));
    kit_fini(&k);
}

/* Rows that are too large for the table of rows are kept as events only. */
static void test_large_rows(void **state)
{
    static const size_t sizes[] = {0, 700, 900, 901, 1000, 1024, 1025, 5000, 100000, 3000000};
    struct kit k;
    (void)state;
    kit_init(&k);
    char *text = mem_zalloc(3000001);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
            char key[32];
            memset(text, 'a' + (int)i, sizes[i]);
            text[sizes[i]] = 0;
            snprintf(key, sizeof(key), "k%zu", round == 0 ? i : N_ELEMENTS(sizes) - 1 - i);
            assert_int_equal(0, kit_put(&k, key, text).code);
            assert_int_equal(0, kit_read(&k, key, 0, text));
        }
    }
    kit_check(&k);
    mem_free(text);
    kit_fini(&k);
}

/* Around the size where a row no longer fits a page, with short and long keys: whole, the right
 * bytes in the right order. */
static void test_rows_in_pieces(void **state)
{
    struct kit k;
    static char text[20001], key[KEY_CONFIG_MAX + 1];
    static const size_t keys[] = {1, 300, 3000, 3500, 4096};
    uint64_t seed = 3;
    (void)state;
    kit_init(&k);
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        memset(key, 'k', keys[i]);
        key[keys[i]] = 0;
        for (size_t len = 1;
             len<sizeof(text) - 1; len += len> 3300 && len < 4200 && i < 2 ? 7 : 397) {
            for (size_t at = 0; at < len; at++) {
                text[at] = (char)('a' + kit_below(&seed, 26));
            }
            text[len] = 0;
            assert_int_equal(0, kit_put(&k, key, text).code);
            assert_int_equal(0, kit_read(&k, key, 0, text));
            mu_rev last = k.changes.items[0].rev;
            assert_int_equal(0, kit_read(&k, key, last, text));
        }
    }
    kit_check(&k);
    kit_fini(&k);
}

static void test_head_without_content(void **state)
{
    struct kit k;
    struct config_row row;
    struct config_name small = kit_config_name("small"), large = kit_config_name("large");
    static char text[70001];
    (void)state;
    kit_init(&k);
    memset(text, 'x', sizeof(text) - 1);
    kit_put(&k, "small", "1");
    kit_put(&k, "large", text);
    struct view *v = view_open(k.store);
    assert_int_equal(0, view_config_head(v, &small, 0, &row));
    assert_true(slice_eq(row.content, LIT("1")));
    assert_int_equal(0, view_config_head(v, &large, 0, &row));
    assert_true(row.content.p == NULL && row.content.len == 70000 &&
                slice_eq(row.content_type, LIT("text/plain")));
    assert_true(row.meta.mod_rev == 2);
    assert_int_equal(0, view_config(v, &large, 0, &row));
    assert_true(row.content.len == 70000 && row.content.p[69999] == 'x');
    view_close(v);
    /* what stands before the content is too long for the head: then all of it is put together */
    struct command c = {.type = CMD_CONFIG_PUT};
    c.u.config_put = (struct cmd_config_put){
        .name = large, .description = slice_of(text, 60000), .content = LIT("2")};
    assert_int_equal(0, kit_apply(&k, &c).code);
    v = view_open(k.store);
    assert_int_equal(0, view_config_head(v, &large, 0, &row));
    assert_true(row.description.len == 60000 && slice_eq(row.content, LIT("2")));
    view_close(v);
    kit_fini(&k);
}

static void test_long_keys(void **state)
{
    struct kit k;
    static char key[KEY_CONFIG_MAX + 1];
    (void)state;
    kit_init(&k);
    memset(key, 'k', KEY_CONFIG_MAX);
    assert_int_equal(0, kit_put(&k, key, "long").code);
    key[KEY_CONFIG_MAX - 1] = 'l';
    assert_int_equal(0, kit_put(&k, key, "other").code);
    assert_int_equal(0, kit_read(&k, key, 0, "other"));
    key[KEY_CONFIG_MAX - 1] = 'k';
    assert_int_equal(0, kit_read(&k, key, 0, "long"));
    assert_int_equal(0, kit_delete(&k, key).code);
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, key, 0, NULL));
    assert_int_equal(0, kit_read(&k, key, 1, "long"));
    kit_check(&k);
    kit_fini(&k);
}

static void test_changes_name_the_row(void **state)
{
    struct kit k;
    struct buf key;
    (void)state;
    kit_init(&k);
    buf_init(&key);
    struct config_name n = kit_config_name("a");
    key_config(&key, &n);
    kit_put(&k, "a", "1");
    assert_int_equal(1, k.changes.n);
    assert_true(k.changes.items[0].rev == 1 && k.changes.items[0].sub == 0 &&
                !k.changes.items[0].is_delete);
    assert_true(slice_eq(k.changes.items[0].key, buf_slice(&key)));
    kit_delete(&k, "a");
    assert_true(k.changes.n == 1 && k.changes.items[0].rev == 2 && k.changes.items[0].is_delete);
    kit_delete(&k, "a");
    assert_int_equal(0, k.changes.n);
    buf_fini(&key);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_makes_versions),
        cmocka_unit_test(test_reads_of_old_revisions_are_exact),
        cmocka_unit_test(test_delete_and_come_back),
        cmocka_unit_test(test_compare_and_set),
        cmocka_unit_test(test_delete_compares_too),
        cmocka_unit_test(test_large_rows),
        cmocka_unit_test(test_rows_in_pieces),
        cmocka_unit_test(test_head_without_content),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_changes_name_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
