/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/apply/requests.c. */
#include "kit.h"

#include <stdio.h>

static struct command_result put_with_id(struct kit *k, uint64_t id, const char *key,
                                         const char *content, enum cas_mode cas)
{
    struct command c = {.type = CMD_CONFIG_PUT, .has_request_id = 1};
    memcpy(c.request_id, &id, sizeof(id));
    c.u.config_put.name = kit_config_name(key);
    c.u.config_put.content = slice_str(content);
    c.u.config_put.cas = cas;
    return kit_apply(k, &c);
}

static void test_a_repeated_id_changes_nothing(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    struct command_result first = put_with_id(&k, 7, "a", "1", CAS_NONE);
    kit_put(&k, "a", "2");
    struct command_result again = put_with_id(&k, 7, "a", "3", CAS_NONE);
    assert_true(again.is_duplicate && !first.is_duplicate);
    assert_true(again.mod_rev == first.mod_rev && again.revision == first.revision &&
                again.version == first.version);
    assert_int_equal(0, kit_read(&k, "a", 0, "2"));
    assert_int_equal(0, k.changes.n);
    /* a refusal is an answer, too */
    assert_int_equal(MU_E_EXISTS, put_with_id(&k, 8, "a", "x", CAS_ABSENT).code);
    kit_delete(&k, "a");
    again = put_with_id(&k, 8, "a", "x", CAS_ABSENT);
    assert_true(again.code == MU_E_EXISTS && again.is_duplicate);
    kit_fini(&k);
}

static void test_remembered_over_a_restart(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    put_with_id(&k, 7, "a", "1", CAS_NONE);
    for (int is_clean = 0; is_clean < 2; is_clean++) {
        kit_close(&k, is_clean);
        kit_open(&k);
        assert_true(put_with_id(&k, 7, "a", "3", CAS_NONE).is_duplicate);
    }
    kit_fini(&k);
}

/* Only the newest are kept; those are found however the hash table was shuffled by the others
 * going. */
static void test_the_oldest_are_forgotten(void **state)
{
    struct kit k;
    char key[16];
    uint64_t random = 5, ids[900];
    (void)state;
    kit_init(&k);
    kit_close(&k, 1);
    k.options.request_ids = 200;
    kit_open(&k);
    for (size_t i = 0; i < N_ELEMENTS(ids); i++) {
        ids[i] = kit_random(&random);
        snprintf(key, sizeof(key), "k%zu", i);
        assert_false(put_with_id(&k, ids[i], key, "x", CAS_NONE).is_duplicate);
        if (i % 50 == 49) {
            size_t oldest = i >= 199 ? i - 199 : 0;
            for (size_t j = oldest; j <= i; j++) {
                assert_true(put_with_id(&k, ids[j], "other", "x", CAS_NONE).is_duplicate);
            }
        }
    }
    kit_close(&k, 1);
    kit_open(&k);
    assert_true(put_with_id(&k, ids[700], "other", "x", CAS_NONE).is_duplicate);
    assert_true(put_with_id(&k, ids[899], "other", "x", CAS_NONE).is_duplicate);
    assert_false(
        put_with_id(&k, ids[699], "other", "x", CAS_NONE).is_duplicate); /* this pushes 700 out */
    assert_false(put_with_id(&k, ids[700], "other", "x", CAS_NONE).is_duplicate);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_repeated_id_changes_nothing),
        cmocka_unit_test(test_remembered_over_a_restart),
        cmocka_unit_test(test_the_oldest_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
