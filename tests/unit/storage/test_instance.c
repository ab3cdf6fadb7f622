/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/apply/instance.c. */
#include "kit.h"

static void expect_service(struct kit *k, const char *svc, uint32_t n_instances, uint32_t n_healthy)
{
    struct service_row row;
    if (n_instances == 0) {
        assert_false(kit_find_service(k, svc, &row));
        return;
    }
    assert_true(kit_find_service(k, svc, &row));
    assert_int_equal(n_instances, row.n_instances);
    assert_int_equal(n_healthy, row.n_healthy);
}

static struct command_result put_check(struct kit *k, const char *id, const char *target)
{
    struct command c = kit_instance("web", id);
    c.u.instance_put.row.check =
        (struct check_spec){CHECK_HTTP, slice_str(target), LIT("GET"), 5000, 2000, 2, 1};
    return kit_apply(k, &c);
}

static void test_register_and_count(void **state)
{
    struct kit k;
    struct instance_row row;
    (void)state;
    kit_init(&k);
    struct command_result r = kit_register(&k, "web", "1");
    assert_true(r.code == 0 && r.revision == 1 && r.is_created && r.is_changed && r.version == 1 &&
                r.lease == 0);
    /* the instance, then its service, in one revision */
    assert_int_equal(2, k.changes.n);
    assert_true(k.changes.items[0].key.p[0] == SPACE_INSTANCE && k.changes.items[0].sub == 0);
    assert_true(k.changes.items[1].key.p[0] == SPACE_SERVICE && k.changes.items[1].sub == 1 &&
                k.changes.items[1].rev == 1);
    expect_service(&k, "web", 1, 1);
    kit_register(&k, "web", "2");
    expect_service(&k, "web", 2, 2);
    assert_true(kit_find_instance(&k, "web", "1", &row));
    assert_true(row.is_healthy && row.is_enabled && row.port == 8080 && row.meta.create_rev == 1);
    kit_deregister(&k, "web", "1");
    expect_service(&k, "web", 1, 1);
    kit_deregister(&k, "web", "2");
    expect_service(&k, "web", 0, 0);
    assert_true(k.changes.n == 2 && k.changes.items[1].is_delete);
    kit_check(&k);
    kit_fini(&k);
}

static void test_equal_registration_changes_nothing(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_register(&k, "web", "1");
    struct command_result r = kit_register(&k, "web", "1");
    assert_true(r.code == 0 && !r.is_changed && !r.is_created && r.revision == 1 &&
                r.mod_rev == 1 && r.version == 1);
    assert_int_equal(0, k.changes.n);
    /* each member counts */
    struct command c = kit_instance("web", "1");
    c.u.instance_put.row.port = 81;
    assert_true(kit_apply(&k, &c).is_changed);
    c.u.instance_put.row.weight = 3;
    assert_true(kit_apply(&k, &c).is_changed);
    c.u.instance_put.row.address = LIT("10.9.9.9");
    assert_true(kit_apply(&k, &c).is_changed);
    c.u.instance_put.row.tags = slice_of("\1\0\1\0\0\0x", 7);
    assert_true(kit_apply(&k, &c).is_changed);
    c.u.instance_put.row.metadata = slice_of("\1\0\1\0\0\0x\1\0\0\0y", 12);
    assert_true(kit_apply(&k, &c).is_changed);
    c.u.instance_put.row.remove_after_ms = 5;
    assert_true(kit_apply(&k, &c).is_changed);
    assert_false(kit_apply(&k, &c).is_changed);
    c.u.instance_put.row.is_enabled = 0;
    assert_true(kit_apply(&k, &c).is_changed);
    expect_service(&k, "web", 1, 0);
    kit_check(&k);
    kit_fini(&k);
}

static void test_health_of_checked_instances(void **state)
{
    struct kit k;
    struct instance_row row;
    (void)state;
    kit_init(&k);
    struct command_result r = put_check(&k, "1", "http://a/");
    assert_true(kit_find_instance(&k, "web", "1", &row));
    assert_true(!row.is_healthy && row.unhealthy_at == k.now);
    expect_service(&k, "web", 1, 0);
    k.now = 2000;
    assert_true(kit_health(&k, "web", "1", r.create_rev, 1, "HTTP 200").is_changed);
    expect_service(&k, "web", 1, 1);
    /* the same opinion again is no change */
    assert_false(kit_health(&k, "web", "1", r.create_rev, 1, "HTTP 204").is_changed);
    /* registering again with the same check keeps what the check found */
    assert_false(put_check(&k, "1", "http://a/").is_changed);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.is_healthy && row.unhealthy_at == 0);
    /* another check starts anew */
    k.now = 3000;
    assert_true(put_check(&k, "1", "http://b/").is_changed);
    assert_true(kit_find_instance(&k, "web", "1", &row) && !row.is_healthy &&
                row.unhealthy_at == 3000);
    /* and no check means healthy */
    assert_true(kit_register(&k, "web", "1").is_changed);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.is_healthy);
    kit_check(&k);
    kit_fini(&k);
}

static void test_health_names_the_incarnation(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    assert_int_equal(MU_E_NOT_FOUND, kit_health(&k, "web", "1", 0, 0, "").code);
    struct command_result r = kit_register(&k, "web", "1");
    kit_deregister(&k, "web", "1");
    assert_int_equal(MU_E_NOT_FOUND, kit_health(&k, "web", "1", r.create_rev, 0, "").code);
    kit_register(&k, "web", "1");
    struct command_result late = kit_health(&k, "web", "1", r.create_rev, 0, "");
    assert_true(late.code == MU_E_CONFLICT && !late.is_changed);
    struct command c = {.type = CMD_INSTANCE_DELETE};
    c.u.instance_delete = (struct cmd_instance_delete){kit_instance_name("web", "1"), r.create_rev};
    assert_int_equal(MU_E_CONFLICT, kit_apply(&k, &c).code);
    c.u.instance_delete.create_rev = 3;
    assert_int_equal(0, kit_apply(&k, &c).code);
    assert_int_equal(MU_E_NOT_FOUND, kit_apply(&k, &c).code);
    kit_fini(&k);
}

static void test_order_of_health(void **state)
{
    struct kit k;
    struct instance_row row;
    (void)state;
    kit_init(&k);
    kit_register(&k, "web", "1");
    struct command c = kit_instance("web", "1");
    c.u.instance_put.set_health = 1;
    c.u.instance_put.row.is_healthy = 0;
    k.now = 5000;
    assert_true(kit_apply(&k, &c).is_changed);
    assert_true(kit_find_instance(&k, "web", "1", &row) && !row.is_healthy &&
                row.unhealthy_at == 5000);
    expect_service(&k, "web", 1, 0);
    assert_false(kit_apply(&k, &c).is_changed);
    /* an ordinary registration leaves the order standing */
    assert_false(kit_register(&k, "web", "1").is_changed);
    c.u.instance_put.row.is_healthy = 1;
    assert_true(kit_apply(&k, &c).is_changed);
    expect_service(&k, "web", 1, 1);
    kit_fini(&k);
}

static void test_ttl_makes_and_keeps_a_lease(void **state)
{
    struct kit k;
    struct instance_row row;
    struct lease_row lease;
    (void)state;
    kit_init(&k);
    struct command_result r = kit_register_ttl(&k, "web", "1", 15000, 30000);
    assert_true(r.code == 0 && r.lease != 0 && r.ttl_ms == 15000);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.meta.lease == r.lease &&
                row.owns_lease && row.is_healthy);
    assert_true(kit_find_lease(&k, r.lease, &lease));
    assert_true(lease.is_owned && lease.ttl_ms == 15000 && lease.remove_after_ms == 30000 &&
                lease.generation == 1);
    /* again: nothing changes, the lease is named so that it can be refreshed */
    struct command_result again = kit_register_ttl(&k, "web", "1", 15000, 30000);
    assert_true(!again.is_changed && again.lease == r.lease && again.ttl_ms == 15000);
    /* another ttl keeps the lease but moves its generation */
    again = kit_register_ttl(&k, "web", "1", 20000, 30000);
    assert_true(again.is_changed && again.lease == r.lease && again.ttl_ms == 20000);
    assert_true(kit_find_lease(&k, r.lease, &lease) && lease.ttl_ms == 20000 &&
                lease.generation == 2);
    /* without a ttl it goes */
    assert_true(kit_register(&k, "web", "1").is_changed);
    assert_false(kit_find_lease(&k, r.lease, &lease));
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.meta.lease == 0 && !row.owns_lease &&
                row.is_healthy);
    /* and with the instance */
    r = kit_register_ttl(&k, "web", "1", 15000, 0);
    assert_true(kit_deregister(&k, "web", "1").lease == r.lease);
    assert_false(kit_find_lease(&k, r.lease, &lease));
    kit_check(&k);
    kit_fini(&k);
}

static void test_ttl_with_a_lease_id_in_use(void **state)
{
    struct kit k;
    struct instance_row row;
    (void)state;
    kit_init(&k);
    kit_grant(&k, 77, 1000);
    struct command c = kit_instance("web", "1");
    c.u.instance_put.row.ttl_ms = 1000;
    c.u.instance_put.lease_id = 77;
    struct command_result r = kit_apply(&k, &c);
    assert_true(r.code == MU_E_CONFLICT && !r.is_changed && r.revision == 0);
    assert_false(kit_find_instance(&k, "web", "1", &row));
    kit_fini(&k);
}

static void test_binding_to_a_lease(void **state)
{
    struct kit k;
    struct instance_row row;
    (void)state;
    kit_init(&k);
    assert_int_equal(MU_E_NO_LEASE, kit_register_lease(&k, "web", "1", 5).code);
    kit_grant(&k, 5, 10000);
    kit_grant(&k, 6, 20000);
    struct command_result r = kit_register_lease(&k, "web", "1", 5);
    assert_true(r.code == 0 && r.lease == 5 && r.ttl_ms == 10000);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.meta.lease == 5 && !row.owns_lease);
    assert_false(kit_register_lease(&k, "web", "1", 5).is_changed);
    /* move to the other lease: revoking the first one no longer hurts */
    assert_true(kit_register_lease(&k, "web", "1", 6).is_changed);
    kit_check(&k);
    kit_revoke(&k, 5);
    assert_true(kit_find_instance(&k, "web", "1", &row) && row.meta.lease == 6);
    kit_check(&k);
    kit_revoke(&k, 6);
    assert_false(kit_find_instance(&k, "web", "1", &row));
    /* somebody else's own lease is not for binding */
    r = kit_register_ttl(&k, "web", "2", 1000, 0);
    assert_int_equal(MU_E_CONFLICT, kit_register_lease(&k, "web", "3", r.lease).code);
    kit_check(&k);
    kit_fini(&k);
}

static void test_compare_and_set(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    struct command c = kit_instance("web", "1");
    c.u.instance_put.cas = CAS_ABSENT;
    assert_int_equal(0, kit_apply(&k, &c).code);
    struct command_result r = kit_apply(&k, &c);
    assert_true(r.code == MU_E_EXISTS && r.mod_rev == 1);
    c.u.instance_put.cas = CAS_REVISION;
    c.u.instance_put.expect = 2;
    assert_int_equal(MU_E_REVISION_MISMATCH, kit_apply(&k, &c).code);
    c.u.instance_put.expect = 1;
    c.u.instance_put.row.port = 1;
    assert_int_equal(0, kit_apply(&k, &c).code);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register_and_count),
        cmocka_unit_test(test_equal_registration_changes_nothing),
        cmocka_unit_test(test_health_of_checked_instances),
        cmocka_unit_test(test_health_names_the_incarnation),
        cmocka_unit_test(test_order_of_health),
        cmocka_unit_test(test_ttl_makes_and_keeps_a_lease),
        cmocka_unit_test(test_ttl_with_a_lease_id_in_use),
        cmocka_unit_test(test_binding_to_a_lease),
        cmocka_unit_test(test_compare_and_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
