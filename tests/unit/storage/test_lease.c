/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/apply/lease.c. */
#include "kit.h"

#include <stdio.h>

static void test_grant_and_revoke(void **state)
{
    struct kit k;
    struct lease_row row;
    (void)state;
    kit_init(&k);
    struct command_result r = kit_grant(&k, 9, 15000);
    assert_true(r.code == 0 && r.lease == 9 && r.ttl_ms == 15000 && r.is_created && r.is_changed &&
                r.revision == 0);
    assert_int_equal(MU_E_EXISTS, kit_grant(&k, 9, 1).code);
    assert_true(kit_find_lease(&k, 9, &row));
    assert_true(row.ttl_ms == 15000 && row.generation == 1 && row.remaining_ms == 15000 &&
                !row.is_owned && !row.is_overdue);
    assert_int_equal(0, kit_revoke(&k, 9).code);
    assert_false(kit_find_lease(&k, 9, &row));
    r = kit_revoke(&k, 9);
    assert_true(r.code == MU_E_NO_LEASE && !r.is_changed);
    kit_fini(&k);
}

/* All that hangs on it goes in one revision. */
static void test_revoke_removes_its_instances(void **state)
{
    struct kit k;
    struct instance_row row;
    struct service_row s;
    (void)state;
    kit_init(&k);
    kit_grant(&k, 9, 15000);
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%d", i);
        kit_register_lease(&k, i < 3 ? "web" : "pay", id, 9);
    }
    kit_register(&k, "web", "stays");
    struct command_result r = kit_revoke(&k, 9);
    assert_true(r.code == 0 && r.is_changed && r.revision == 7);
    assert_false(kit_find_instance(&k, "web", "0", &row));
    assert_false(kit_find_service(&k, "pay", &s));
    assert_true(kit_find_service(&k, "web", &s) && s.n_instances == 1);
    assert_int_equal(10, k.changes.n);
    for (size_t i = 0; i < k.changes.n; i++) {
        assert_true(k.changes.items[i].rev == 7 && k.changes.items[i].sub == i);
    }
    kit_check(&k);
    kit_fini(&k);
}

static void test_a_plain_lease_ends_at_its_ttl(void **state)
{
    struct kit k;
    struct instance_row row;
    struct lease_row lease;
    (void)state;
    kit_init(&k);
    kit_grant(&k, 9, 15000);
    kit_register_lease(&k, "web", "1", 9);
    assert_true(kit_step(&k, CMD_LEASE_OVERDUE, 9, 1, 0).is_changed);
    assert_false(kit_find_instance(&k, "web", "1", &row));
    assert_false(kit_find_lease(&k, 9, &lease));
    kit_check(&k);
    kit_fini(&k);
}

static void test_overdue_revive_end(void **state)
{
    struct kit k;
    struct instance_row row;
    struct lease_row lease;
    (void)state;
    kit_init(&k);
    mu_lease_id id = kit_register_ttl(&k, "web", "1", 15000, 30000).lease;
    k.now = 20000;
    assert_true(kit_step(&k, CMD_LEASE_OVERDUE, id, 1, 0).is_changed);
    assert_true(kit_find_instance(&k, "web", "1", &row) && !row.is_healthy &&
                row.unhealthy_at == 20000);
    assert_true(kit_find_lease(&k, id, &lease) && lease.is_overdue && lease.generation == 2);
    /* what was proposed before it moved does nothing */
    assert_false(kit_step(&k, CMD_LEASE_END, id, 1, 0).is_changed);
    assert_false(kit_step(&k, CMD_LEASE_REVIVE, id, 1, 0).is_changed);
    assert_false(kit_step(&k, CMD_LEASE_OVERDUE, id, 2, 0).is_changed); /* it is already */
    assert_true(kit_step(&k, CMD_LEASE_REVIVE, id, 2, 0).is_changed);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.is_healthy && row.unhealthy_at == 0);
    assert_true(kit_find_lease(&k, id, &lease) && !lease.is_overdue && lease.generation == 3 &&
                lease.remaining_ms == 15000);
    assert_false(kit_step(&k, CMD_LEASE_END, id, 2, 0).is_changed);
    assert_false(kit_step(&k, CMD_LEASE_REVIVE, id, 3, 0).is_changed); /* it is alive */
    kit_check(&k);
    assert_true(kit_step(&k, CMD_LEASE_OVERDUE, id, 3, 0).is_changed);
    assert_true(kit_step(&k, CMD_LEASE_END, id, 4, 0).is_changed);
    assert_false(kit_find_instance(&k, "web", "1", &row));
    assert_false(kit_find_lease(&k, id, &lease));
    assert_false(kit_step(&k, CMD_LEASE_END, id, 4, 0).is_changed);
    kit_check(&k);
    kit_fini(&k);
}

static void test_removed_at_once(void **state)
{
    struct kit k;
    struct instance_row row;
    (void)state;
    kit_init(&k);
    mu_lease_id id = kit_register_ttl(&k, "web", "1", 15000, 0).lease;
    assert_true(kit_step(&k, CMD_LEASE_OVERDUE, id, 1, 0).is_changed);
    assert_false(kit_find_instance(&k, "web", "1", &row));
    kit_check(&k);
    kit_fini(&k);
}

/* To register again is a sign of life, also when nothing else differs. */
static void test_registering_revives(void **state)
{
    struct kit k;
    struct instance_row row;
    struct lease_row lease;
    (void)state;
    kit_init(&k);
    mu_lease_id id = kit_register_ttl(&k, "web", "1", 15000, REMOVE_NEVER).lease;
    kit_step(&k, CMD_LEASE_OVERDUE, id, 1, 0);
    struct command_result r = kit_register_ttl(&k, "web", "1", 15000, REMOVE_NEVER);
    assert_true(r.is_changed && r.lease == id);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.is_healthy &&
                row.meta.create_rev == 1);
    assert_true(kit_find_lease(&k, id, &lease) && !lease.is_overdue && lease.generation == 3);
    kit_check(&k);
    kit_fini(&k);
}

/* Also when somebody has called the instance healthy meanwhile, so that the rows are equal. */
static void test_registering_revives_a_healthy_instance(void **state)
{
    struct kit k;
    struct lease_row lease;
    (void)state;
    kit_init(&k);
    mu_lease_id id = kit_register_ttl(&k, "web", "1", 15000, REMOVE_NEVER).lease;
    kit_step(&k, CMD_LEASE_OVERDUE, id, 1, 0);
    assert_true(kit_health(&k, "web", "1", 0, 1, "").is_changed);
    kit_register_ttl(&k, "web", "1", 15000, REMOVE_NEVER);
    assert_true(kit_find_lease(&k, id, &lease) && !lease.is_overdue && lease.generation == 3);
    kit_fini(&k);
}

static void test_checkpoint(void **state)
{
    struct kit k;
    struct lease_row row;
    (void)state;
    kit_init(&k);
    kit_grant(&k, 9, 15000);
    struct command_result r = kit_step(&k, CMD_LEASE_CHECKPOINT, 9, 1, 4000);
    assert_true(r.is_changed && r.revision == 0);
    assert_true(kit_find_lease(&k, 9, &row) && row.remaining_ms == 4000 && row.generation == 1);
    kit_step(&k, CMD_LEASE_CHECKPOINT, 9, 1, 99999999);
    assert_true(kit_find_lease(&k, 9, &row) && row.remaining_ms == 15000);
    kit_step(&k, CMD_LEASE_CHECKPOINT, 9, 1, -5);
    assert_true(kit_find_lease(&k, 9, &row) && row.remaining_ms == 0);
    assert_false(kit_step(&k, CMD_LEASE_CHECKPOINT, 9, 2, 7).is_changed);
    kit_fini(&k);
}

static int count_lease(void *arg, const struct lease_row *row)
{
    mu_lease_id *last = arg;
    assert_true(row->id > *last);
    *last = row->id;
    return 0;
}

static int expect_next_sub(void *arg, mu_rev rev, uint32_t sub, struct slice key, struct slice row,
                           int is_delete)
{
    uint32_t *next = arg;
    (void)rev;
    (void)key;
    (void)row;
    (void)is_delete;
    assert_int_equal(*next, sub);
    (*next)++;
    return 0;
}

static void test_many_in_one_command(void **state)
{
    static struct lease_step steps[COMMAND_LEASES_MAX];
    struct command c = {.type = CMD_LEASE_END};
    struct kit k;
    struct service_row s;
    (void)state;
    kit_init(&k);
    c.u.lease_steps.n = COMMAND_LEASES_MAX;
    c.u.lease_steps.items = steps;
    for (size_t i = 0; i < COMMAND_LEASES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%zu", i);
        kit_grant(&k, 1000 - i % 500 + i * 1000, 15000);
        kit_register_lease(&k, "web", id, 1000 - i % 500 + i * 1000);
        steps[i] = (struct lease_step){1000 - i % 500 + i * 1000, i % 2 ? 1 : 2, 0};
    }
    mu_lease_id last = 0;
    assert_int_equal(0, store_leases(k.store, count_lease, &last));
    mu_rev before = kit_put(&k, "x", "x").revision;
    struct command_result r = kit_apply(&k, &c);
    assert_true(r.is_changed && r.revision == before + 1);
    assert_true(kit_find_service(&k, "web", &s) && s.n_instances == COMMAND_LEASES_MAX / 2);
    uint32_t n_changes = 0;
    mu_rev next;
    struct view *v = view_open(k.store);
    assert_int_equal(0, view_changes(v, "IS", r.revision, 1, expect_next_sub, &n_changes, &next));
    assert_int_equal(COMMAND_LEASES_MAX, n_changes); /* each instance and, behind it, its service */
    view_close(v);
    kit_check(&k);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grant_and_revoke),
        cmocka_unit_test(test_revoke_removes_its_instances),
        cmocka_unit_test(test_a_plain_lease_ends_at_its_ttl),
        cmocka_unit_test(test_overdue_revive_end),
        cmocka_unit_test(test_removed_at_once),
        cmocka_unit_test(test_registering_revives),
        cmocka_unit_test(test_registering_revives_a_healthy_instance),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_many_in_one_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
